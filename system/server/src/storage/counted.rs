//! A shard's storage that tells how much is read from it.
//!
//! What is written is counted by the task that commits, which knows what it writes.

use super::interface::{Batch, Recovered, Row, Storage, StorageError};
use crate::net::BoxFuture;
use crate::observer::Observer;
use crate::work::Work;
use squall_core::messages::{Conversation, Fence, Position, Sender, Standing};
use squall_protocol::{ClientSeq, ConversationId, Cursors, DeviceId, Entry, Seq, UserId, Who};
use std::sync::Arc;

/// Storage whose reads are counted.
pub struct Counted {
    inner: Arc<dyn Storage>,
    observer: Arc<dyn Observer>,
}

impl Counted {
    pub fn new(inner: Arc<dyn Storage>, observer: Arc<dyn Observer>) -> Self {
        Counted { inner, observer }
    }

    /// A look-up costs a row also where it finds nothing.
    fn rows(&self, rows: usize) {
        self.observer.worked(Work::Row, rows.max(1));
    }

    fn bodies<'a>(&self, entries: impl Iterator<Item = &'a Entry>) {
        self.observer.worked(Work::RowByte, entries.map(|entry| entry.payload.size()).sum());
    }
}

impl Storage for Counted {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StorageError>> {
        self.inner.append(batch)
    }

    fn recovered(&self) -> Result<Recovered, StorageError> {
        self.rows(1);
        self.inner.recovered()
    }

    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StorageError> {
        let found = self.inner.conversation(id)?;
        self.rows(found.as_ref().map_or(1, |log| 1 + log.membership().stretches().len()));
        Ok(found)
    }

    fn sender(&self, id: ConversationId, who: Who) -> Result<Option<Sender>, StorageError> {
        let found = self.inner.sender(id, who)?;
        self.rows(found.as_ref().map_or(1, |sender| 2 + sender.recent.len()));
        Ok(found)
    }

    fn numbered(&self, id: ConversationId, who: Who, number: ClientSeq) -> Result<Option<Entry>, StorageError> {
        let found = self.inner.numbered(id, who, number)?;
        self.rows(found.as_ref().map_or(1, |_| 4));
        Ok(found)
    }

    fn fence(&self, user: UserId, device: DeviceId) -> Result<Option<Fence>, StorageError> {
        self.rows(1);
        self.inner.fence(user, device)
    }

    fn fenced(&self) -> Result<Vec<(UserId, DeviceId)>, StorageError> {
        let found = self.inner.fenced()?;
        self.rows(found.len());
        Ok(found)
    }

    fn standing(&self, id: ConversationId, user: UserId) -> Result<Option<Standing>, StorageError> {
        self.rows(2);
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
        let entries = self.inner.entries(id, from, to, max_entries, max_bytes)?;
        self.rows(entries.len());
        self.bodies(entries.iter());
        Ok(entries)
    }

    fn rows_from(&self, position: Position, max: usize) -> Result<Vec<Row>, StorageError> {
        let rows = self.inner.rows_from(position, max)?;
        self.rows(rows.len());
        self.bodies(rows.iter().filter_map(|(_, row)| row.as_ref().ok()).map(|new| &new.entry));
        Ok(rows)
    }

    fn knows(&self, id: ConversationId, user: UserId) -> Result<bool, StorageError> {
        self.rows(1);
        self.inner.knows(id, user)
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        max: usize,
    ) -> Result<Vec<ConversationId>, StorageError> {
        let found = self.inner.conversations_of(user, after, max)?;
        self.rows(found.len());
        Ok(found)
    }

    fn cursors_of(&self, pairs: &[(UserId, ConversationId)]) -> Result<Vec<Cursors>, StorageError> {
        self.rows(pairs.len());
        self.inner.cursors_of(pairs)
    }

    fn cursors_in(&self, id: ConversationId) -> Result<Vec<(UserId, Cursors)>, StorageError> {
        let found = self.inner.cursors_in(id)?;
        self.rows(found.len());
        Ok(found)
    }

    fn cursors(&self) -> Result<Vec<(UserId, ConversationId, Cursors)>, StorageError> {
        let found = self.inner.cursors()?;
        self.rows(found.len());
        Ok(found)
    }
}
