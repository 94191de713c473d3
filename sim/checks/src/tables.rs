//! What a shard's disk holds of one conversation, table by table, as the audit has read it.
//!
//! The types are the format's (`system/server/src/storage/README.md`) and not the server's: whoever fills them has a decoder of
//! their own.

use squall_history::What;
use squall_protocol::{ClientSeq, ConversationId, Cursors, DeviceId, Rank, Seq, UserId, Who};

/// All rows of a conversation.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    pub conversation: ConversationId,
    /// In the order of their positions.
    pub entries: Vec<EntryRow>,
    pub head: Option<HeadRow>,
    pub members: Vec<MemberRow>,
    pub senders: Vec<SenderRow>,
    /// Full chunks of positions, by their number.
    pub index: Vec<(u64, Vec<u64>)>,
    /// Full chunks of the places of a device's messages, by device and number.
    pub sent: Vec<(Who, u64, Vec<u64>)>,
    pub cursors: Vec<(UserId, Cursors)>,
}

/// An entry in the log.
#[derive(Debug, Clone)]
pub struct EntryRow {
    pub position: u64,
    pub seq: Seq,
    pub sender: UserId,
    pub device: DeviceId,
    pub client_seq: ClientSeq,
    pub what: What,
    pub body_hash: u64,
    /// Whom it names that its kind does not.
    pub members: Box<[UserId]>,
    /// The chain value that is stored with it, and whether it follows from the entry before and this one.
    pub chain: u64,
    pub chain_holds: bool,
}

/// What is kept of the conversation as a whole.
#[derive(Debug, Clone)]
pub struct HeadRow {
    pub head: Seq,
    /// Positions that are in no full chunk yet.
    pub tail: Vec<u64>,
    pub chain: u64,
    pub present: u32,
    pub stretches: u32,
    /// Two bits for each right that a setting speaks of, and who of the two has blocked their conversation.
    pub settings: u32,
    pub blocked: u32,
    /// The fingerprint of the group's name, as an entry that gives it has; 0 without one.
    pub name_hash: u64,
}

/// A time for which a user may see entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberRow {
    pub user: UserId,
    /// The entry that says that they have joined.
    pub joined: Seq,
    pub visible_from: Seq,
    /// 0 while they are a member.
    pub until: Seq,
    pub rank: Rank,
    pub for_good: bool,
}

/// A device that has sent.
#[derive(Debug, Clone)]
pub struct SenderRow {
    pub who: Who,
    pub next_client_seq: ClientSeq,
    /// Places of its messages that are in no full chunk yet, and at least its last 32.
    pub places: Vec<u64>,
}
