//! Whether what a role has in memory is what its disk says: asked by whoever audits, when nothing is under way, and by nobody in operation.
//!
//! A cache over a disk is right as long as both say the same. Where they do not, the next restart changes what people see, and until then
//! nothing else may show it.

use squall_protocol::ConversationId;
use std::sync::{Arc, Mutex, PoisonError};

/// What memory says otherwise than the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    pub conversation: ConversationId,
    /// What it is that differs: words that complete "memory and disk say different things of …".
    pub what: &'static str,
}

/// What was found: how many conversations were compared, and those that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspected {
    pub compared: u64,
    pub differ: Vec<Differs>,
}

type Answer = Box<dyn Fn() -> Inspected + Send>;

/// A handle by which a role's memory is looked at. Clones share it.
#[derive(Clone, Default)]
pub struct Inspect(Arc<Mutex<Option<Answer>>>);

impl Inspect {
    /// The role that runs answers so from now on.
    pub fn answer_with(&self, answer: impl Fn() -> Inspected + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(answer));
    }

    /// Compares. Nothing where no role has begun, for one that has no disk, and for what is not settled: staged, or not written yet.
    pub fn ask(&self) -> Inspected {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map_or_else(Inspected::default, |answer| answer())
    }
}
