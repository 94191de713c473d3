//! Bugs that live in what the storage is told and answers.

use squall_core::messages::{Conversation, Fence, Position, Sender, Standing};
use squall_core::plant::{Plant, planted};
use squall_protocol::{ClientSeq, ConversationId, Cursors, DeviceId, Entry, Payload, Seq, UserId, Who};
use squall_server::net::BoxFuture;
use squall_server::storage::{Batch, Recovered, Row, Storage, StorageError};

/// The bugs of this file.
pub const LIVE_HERE: [Plant; 5] = [
    Plant::DedupForgottenOnRestart,
    Plant::SequenceReusedAfterCrash,
    Plant::OrderByWallClock,
    Plant::BodyTruncated,
    Plant::BodyEndsAtNul,
];

/// What `body-truncated` keeps of a body, in bytes.
const COLUMN_BYTES: usize = 64;

/// A storage with one of the bugs.
pub struct PlantedStorage<S> {
    inner: S,
}

impl<S: Storage> PlantedStorage<S> {
    pub fn new(inner: S) -> Self {
        PlantedStorage { inner }
    }
}

fn truncate(entry: &mut Entry) {
    if let Payload::Text(text) = &mut entry.payload {
        let end = (0..=COLUMN_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        *text = text[..end.unwrap_or(0)].into();
    }
}

fn end_at_nul(entry: &mut Entry) {
    if let Payload::Text(text) = &mut entry.payload
        && let Some(end) = text.find('\0')
    {
        *text = text[..end].into();
    }
}

/// Numbers entries by the order of their time stamps.
fn order_by_wall_clock(entries: &mut [Entry]) {
    let places: Vec<Seq> = entries.iter().map(|entry| entry.seq).collect();
    entries.sort_by_key(|entry| entry.stored_at_ms);
    entries.iter_mut().zip(places).for_each(|(entry, seq)| entry.seq = seq);
}

impl<S: Storage> Storage for PlantedStorage<S> {
    fn append(&self, mut batch: Batch) -> BoxFuture<'_, Result<(), StorageError>> {
        if planted(Plant::BodyTruncated) {
            batch.entries.iter_mut().for_each(|new| truncate(&mut new.entry));
        }
        if planted(Plant::BodyEndsAtNul) {
            batch.entries.iter_mut().for_each(|new| end_at_nul(&mut new.entry));
        }
        self.inner.append(batch)
    }

    fn recovered(&self) -> Result<Recovered, StorageError> {
        self.inner.recovered()
    }

    /// A shard asks for a conversation that it has not in memory: in a small run only after a restart.
    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StorageError> {
        let Some(stored) = self.inner.conversation(id)? else { return Ok(None) };
        let mut head = stored.head();
        if planted(Plant::SequenceReusedAfterCrash) && head > Seq::ZERO {
            head = head.prev();
        }
        Ok(Some(Conversation::load(id, head, stored.membership().clone()).with_regime(stored.regime())))
    }

    /// Asked for a device that sends for the first time since its shard has started.
    fn sender(&self, id: ConversationId, who: Who) -> Result<Option<Sender>, StorageError> {
        if planted(Plant::DedupForgottenOnRestart) {
            return Ok(None);
        }
        self.inner.sender(id, who)
    }

    fn numbered(&self, id: ConversationId, who: Who, number: ClientSeq) -> Result<Option<Entry>, StorageError> {
        self.inner.numbered(id, who, number)
    }

    fn fence(&self, user: UserId, device: DeviceId) -> Result<Option<Fence>, StorageError> {
        self.inner.fence(user, device)
    }

    fn fenced(&self) -> Result<Vec<(UserId, DeviceId)>, StorageError> {
        self.inner.fenced()
    }

    fn standing(&self, id: ConversationId, user: UserId) -> Result<Option<Standing>, StorageError> {
        self.inner.standing(id, user)
    }

    fn entries(
        &self,
        id: ConversationId,
        from: Seq,
        to: Seq,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let mut entries = self.inner.entries(id, from, to, max_entries, max_bytes)?;
        if planted(Plant::OrderByWallClock) {
            order_by_wall_clock(&mut entries);
        }
        Ok(entries)
    }

    fn rows_from(&self, position: Position, max: usize) -> Result<Vec<Row>, StorageError> {
        self.inner.rows_from(position, max)
    }

    fn knows(&self, id: ConversationId, user: UserId) -> Result<bool, StorageError> {
        self.inner.knows(id, user)
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        max: usize,
    ) -> Result<Vec<ConversationId>, StorageError> {
        self.inner.conversations_of(user, after, max)
    }

    fn cursors_of(&self, pairs: &[(UserId, ConversationId)]) -> Result<Vec<Cursors>, StorageError> {
        self.inner.cursors_of(pairs)
    }

    fn cursors_in(&self, id: ConversationId) -> Result<Vec<(UserId, Cursors)>, StorageError> {
        self.inner.cursors_in(id)
    }

    fn cursors(&self) -> Result<Vec<(UserId, ConversationId, Cursors)>, StorageError> {
        self.inner.cursors()
    }
}
