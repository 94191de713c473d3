//! How far the members of a conversation have come in it: what a shard keeps of each user, and what devices are told of it.
//!
//! **Invariant:** a user has read no more than has been delivered to one of their devices. Guarded by `sim/checks/src/receipts_hold.rs`.

use crate::ids::{ConversationId, Seq, UserId};
use serde::{Deserialize, Serialize};

/// How far a user has come in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursors {
    /// One of the user's devices has shown everything up to here.
    pub delivered: Seq,
    /// The user has read everything up to here.
    pub read: Seq,
}

impl Cursors {
    /// The further of both, each cursor by itself.
    #[must_use]
    pub fn or_further(self, other: Cursors) -> Cursors {
        Cursors { delivered: self.delivered.max(other.delivered), read: self.read.max(other.read) }
    }

    /// Neither is further than this place.
    #[must_use]
    pub fn up_to(self, last: Seq) -> Cursors {
        Cursors { delivered: self.delivered.min(last), read: self.read.min(last) }
    }
}

/// How far one user has come, as devices are told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub user: UserId,
    pub delivered: Seq,
    pub read: Seq,
}

impl Receipt {
    pub fn of(user: UserId, Cursors { delivered, read }: Cursors) -> Self {
        Receipt { user, delivered, read }
    }

    pub fn cursors(&self) -> Cursors {
        Cursors { delivered: self.delivered, read: self.read }
    }
}

/// How many members of a large group have come to one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptCounts {
    /// The entry, the last one of the log when they were counted.
    pub up_to: Seq,
    pub delivered: u64,
    pub read: u64,
}

/// What a device is told of a conversation: in a small one of each member, in a large one of the device's own user, with counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipts {
    pub conversation: ConversationId,
    pub users: Vec<Receipt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<ReceiptCounts>,
}
