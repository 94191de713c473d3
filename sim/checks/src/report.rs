//! What a check says at the end: its verdict, what it judged, what it was exposed to, what it found wrong.
//!
//! **Invariant:** a check that judged nothing never says `Pass`.

use crate::bounded::AuditLevel;
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, Seq, UserId};

/// Violations that each check keeps; it counts all of them.
pub const KEPT_VIOLATIONS: usize = 10;

/// What became of a property in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Violated,
    /// Nothing was judged, or nothing was exposed where exposure was required.
    Inconclusive,
}

impl Verdict {
    /// The verdict as `run.json` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Violated => "violated",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// One breach of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Microseconds since the start of the run; the end of the run for what only the audit could tell.
    pub t: u64,
    pub check: &'static str,
    pub conversation: Option<ConversationId>,
    pub seq: Option<Seq>,
    pub client_msg_id: Option<ClientMsgId>,
    /// The device that saw it; for what stands in a log, the device that sent it.
    pub device: Option<DeviceId>,
    /// Of whom it was told something: who is shown as online or writing, or whose receipt it is.
    pub user: Option<UserId>,
    /// What of a host was too full, for what is about no conversation.
    pub level: Option<AuditLevel>,
    /// A sentence: which message, who, what was expected and what was seen.
    pub message: String,
}

/// What one check has to say about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    pub name: &'static str,
    pub verdict: Verdict,
    /// How many items were judged.
    pub evaluated: u64,
    /// What `evaluated` counts, in words.
    pub evaluation: &'static str,
    /// How many items a fault could have broken.
    pub exposed: u64,
    /// What `exposed` counts, in words.
    pub exposure: &'static str,
    /// How many items broke the property.
    pub violations: u64,
    pub first: Option<Violation>,
    /// The first violations, `first` among them: at most [`KEPT_VIOLATIONS`].
    pub kept: Vec<Violation>,
}

/// A check's counts while the run goes on.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub evaluated: u64,
    pub exposed: u64,
    pub violations: u64,
    pub kept: Vec<Violation>,
    pub exposure_required: bool,
}

impl Tally {
    /// Counts a violation; the words are only made for those that are kept.
    pub fn violate(&mut self, violation: impl FnOnce() -> Violation) {
        self.violate_many(1, violation);
    }

    /// Counts several violations of which one is worded.
    pub fn violate_many(&mut self, count: u64, violation: impl FnOnce() -> Violation) {
        self.violations += count;
        if count > 0 && self.kept.len() < KEPT_VIOLATIONS {
            self.kept.push(violation());
        }
    }

    pub fn verdict(&self) -> Verdict {
        if self.violations > 0 {
            Verdict::Violated
        } else if self.evaluated == 0 || (self.exposure_required && self.exposed == 0) {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        }
    }
}
