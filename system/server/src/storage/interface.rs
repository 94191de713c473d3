//! What a shard asks of durable storage: one small trait, and what goes in and out of it.
//!
//! **Invariant:** when `append` returns `Ok`, all of the batch is on disk; when it fails, all or none of it may be,
//! and the caller must reopen before it believes anything. Guarded by `sim/checks/src/acked_is_durable.rs`.

use crate::net::BoxFuture;
use squall_core::messages::{Conversation, Fence, LogDelta, Position, Sender, Standing};
use squall_protocol::{ClientSeq, ConversationId, Cursors, DeviceId, Entry, Seq, UserId, Who};
use std::sync::Arc;

/// What one commit writes, all or nothing.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    /// New entries at their positions, ascending.
    pub entries: Vec<NewEntry>,
    /// What `entries` have changed of each of their conversations.
    pub logs: Vec<LogDelta>,
    /// Fences as they are now.
    pub fences: Vec<(UserId, DeviceId, Fence)>,
    /// How far users have come; a cursor never goes back.
    pub cursors: Vec<(UserId, ConversationId, Cursors)>,
    /// All entries before this position owe nobody anything.
    pub dispatched: Option<Position>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.fences.is_empty() && self.cursors.is_empty() && self.dispatched.is_none()
    }
}

/// An entry and its place in the shard's append order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    pub position: Position,
    pub conversation: ConversationId,
    pub entry: Entry,
}

/// What is there in place of a database of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Found {
    #[error("no file")]
    Missing,
    #[error("an empty file")]
    Empty,
    #[error("{0}")]
    Foreign(String),
    #[error("a damaged database ({0})")]
    Damaged(String),
    #[error("a database of the older format {0}")]
    Older(u64),
    #[error("a database of the newer format {0}")]
    Newer(u64),
}

/// The format of the rows and tables that this build writes, and the only one that it reads. 0 stands for the files from before formats
/// had numbers. Whoever changes a row, a key or a table counts it up.
pub const FORMAT: u64 = 5;

/// Why storage cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("found {0}, expected a database of a messages shard in format {FORMAT}")]
    Unusable(Found),
    #[error("cannot open the database: {0}")]
    Open(String),
    #[error("the database failed: {0}")]
    Database(String),
    #[error("row {row} of {table} cannot be read")]
    Corrupt { table: &'static str, row: String },
    #[error("a commit to {conversation} does not follow on what is stored")]
    DoesNotFollow { conversation: ConversationId },
    #[error("the writer has ended")]
    WriterGone,
    #[error("the writer panicked: {0}")]
    WriterPanicked(String),
}

impl StorageError {
    /// One row cannot be read, and all others can: whoever does not ask for it is not concerned.
    pub fn is_one_row(&self) -> bool {
        matches!(self, StorageError::Corrupt { .. })
    }
}

/// A row of the log: its place, and the entry if it can be read.
pub type Row = (Position, Result<NewEntry, StorageError>);

/// What a restarted shard starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// The place of the next entry.
    pub next_position: Position,
    /// All entries before this place owe nobody anything; `None` when the row that says so cannot be read.
    pub dispatched: Option<Position>,
}

/// A shard's disk.
pub trait Storage: Send + Sync {
    /// Writes the batch; returns when it is durable.
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StorageError>>;
    /// What a restarted shard starts from.
    fn recovered(&self) -> Result<Recovered, StorageError>;
    /// A conversation's state after its last durable entry, without its senders.
    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StorageError>;
    /// What is known of a device that has sent into a conversation.
    fn sender(&self, id: ConversationId, who: Who) -> Result<Option<Sender>, StorageError>;
    /// The message that the device has sent into the conversation with this number, however long ago: a few look-ups.
    fn numbered(&self, id: ConversationId, who: Who, number: ClientSeq) -> Result<Option<Entry>, StorageError>;
    /// The fence of a device of this user, and whose there are.
    fn fence(&self, user: UserId, device: DeviceId) -> Result<Option<Fence>, StorageError>;
    fn fenced(&self) -> Result<Vec<(UserId, DeviceId)>, StorageError>;
    /// Where it stands for a user; `None` for a stranger. Costs the same however many members there are.
    fn standing(&self, id: ConversationId, user: UserId) -> Result<Option<Standing>, StorageError>;
    /// Entries `from..=to` in order, at most `max_entries`, ending early once bodies exceed `max_bytes`.
    fn entries(
        &self,
        id: ConversationId,
        from: Seq,
        to: Seq,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StorageError>;
    /// Rows of the log from this position on, in append order, also those that cannot be read.
    fn rows_from(&self, position: Position, max: usize) -> Result<Vec<Row>, StorageError>;
    /// Whether the user is or was a member: one look-up, however long the log and however many its members.
    fn knows(&self, id: ConversationId, user: UserId) -> Result<bool, StorageError>;
    /// Conversations that the user is or was a member of, in order of their numbers, at most `max` after this one.
    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        max: usize,
    ) -> Result<Vec<ConversationId>, StorageError>;
    /// Where these users' cursors stand, 0 for one that does not exist.
    fn cursors_of(&self, pairs: &[(UserId, ConversationId)]) -> Result<Vec<Cursors>, StorageError>;
    /// Where the cursors of all users of a conversation stand, in order of users, those who have left included.
    fn cursors_in(&self, id: ConversationId) -> Result<Vec<(UserId, Cursors)>, StorageError>;
    /// All cursors, for an audit.
    fn cursors(&self) -> Result<Vec<(UserId, ConversationId, Cursors)>, StorageError>;
}

/// Opens (or reopens) a shard's storage. It creates one only where the creation has never been completed.
pub type OpenStorage = Arc<dyn Fn() -> Result<Arc<dyn Storage>, StorageError> + Send + Sync>;
