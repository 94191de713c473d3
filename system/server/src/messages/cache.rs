//! The conversations that a shard has in memory: a cache over storage, bounded in conversations and in what is known
//! of them, second-chance eviction.
//!
//! **Invariant:** a conversation with staged entries is never evicted: memory is then ahead of the disk.

use crate::storage::{Storage, StorageError};
use rustc_hash::FxHashMap;
use squall_core::messages::Conversation;
use squall_protocol::limits::{EVICTION_CANDIDATES, MAX_CACHED_CONVERSATIONS, MAX_CACHED_ROWS};
use squall_protocol::{ConversationId, Who};
use std::collections::VecDeque;

struct Slot {
    conversation: Conversation,
    used: bool,
    /// Its members and senders, when it was last asked for.
    rows: u32,
}

/// Conversations by id.
#[derive(Default)]
pub struct Cache {
    slots: FxHashMap<ConversationId, Slot>,
    /// In the order in which they are considered for eviction.
    clock: VecDeque<ConversationId>,
    /// The rows of all slots.
    rows: usize,
}

impl Cache {
    /// How many conversations there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The conversation, from memory or disk; a new, empty one if no entry has created it.
    pub fn get(&mut self, id: ConversationId, storage: &dyn Storage) -> Result<&mut Conversation, StorageError> {
        if !self.slots.contains_key(&id) {
            let conversation = storage.conversation(id)?.unwrap_or_else(|| Conversation::new(id));
            self.evict(conversation.rows());
            self.slots.insert(id, Slot { conversation, used: false, rows: 0 });
            self.clock.push_back(id);
        }
        let slot = self.slots.get_mut(&id).expect("inserted above when it was absent");
        slot.used = true;
        let rows = slot.conversation.rows();
        self.rows = self.rows + rows - slot.rows as usize;
        slot.rows = rows as u32;
        Ok(&mut slot.conversation)
    }

    /// The conversation with what is known of a device that is about to send into it.
    pub fn get_for(
        &mut self,
        id: ConversationId,
        who: Who,
        storage: &dyn Storage,
    ) -> Result<&mut Conversation, StorageError> {
        let log = self.get(id, storage)?;
        if log.sender(who).is_none()
            && let Some(sender) = storage.sender(id, who)?
        {
            log.load_sender(sender);
        }
        Ok(log)
    }

    /// The conversation if it is in memory.
    pub fn peek(&self, id: ConversationId) -> Option<&Conversation> {
        self.slots.get(&id).map(|slot| &slot.conversation)
    }

    /// All that are in memory, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Conversation> {
        self.slots.values().map(|slot| &slot.conversation)
    }

    /// For a planted bug: takes back what is staged, instead of forgetting it all.
    pub fn take_back(mut self) -> Self {
        self.slots.values_mut().for_each(|slot| slot.conversation.take_back_all_but_members());
        self
    }

    pub fn peek_mut(&mut self, id: ConversationId) -> Option<&mut Conversation> {
        self.slots.get_mut(&id).map(|slot| &mut slot.conversation)
    }

    /// Makes room for one more that has so many rows, looking at a few candidates only, and at more for a larger one.
    fn evict(&mut self, rows: usize) {
        for _ in 0..EVICTION_CANDIDATES + rows {
            if self.slots.len() < MAX_CACHED_CONVERSATIONS && self.rows + rows <= MAX_CACHED_ROWS {
                return;
            }
            let Some(id) = self.clock.pop_front() else { return };
            match self.slots.get_mut(&id) {
                Some(slot) if slot.used || !slot.conversation.is_settled() => {
                    slot.used = false;
                    self.clock.push_back(id);
                }
                _ => self.rows -= self.slots.remove(&id).map_or(0, |slot| slot.rows as usize),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{RedbStorage, WriterThread};
    use squall_core::messages::{SendOutcome, SendRequest};
    use squall_protocol::limits::MAX_FOUNDERS;
    use squall_protocol::{ClientMsgId, ClientSeq, DeviceId, Payload, UserId};
    use std::sync::Arc;

    #[test]
    fn large_groups_leave_room_for_fewer_conversations() {
        let executor = Arc::new(WriterThread::spawn().unwrap());
        let memory = redb::backends::InMemoryBackend::new();
        let storage = RedbStorage::create_backend(memory, 1024 * 1024, executor).unwrap();
        let mut cache = Cache::default();
        let groups = 2 * MAX_CACHED_ROWS / MAX_FOUNDERS;
        for n in 0..groups as u64 {
            let log = cache.get(ConversationId::group(UserId(1), n), &storage).unwrap();
            let members = (1..=MAX_FOUNDERS as u64).map(UserId).collect();
            let request = SendRequest {
                sender: UserId(1),
                device: DeviceId(1),
                connect_count: 1,
                client_msg_id: ClientMsgId(1),
                client_seq: ClientSeq::FIRST,
                payload: Payload::Created { direct: false, channel: false, members },
                stored_at_ms: 0,
            };
            let SendOutcome::Staged(entry) = log.handle_send(request) else { panic!("a creation is in order") };
            log.handle_durable(entry.seq);
            cache.get(ConversationId::group(UserId(1), n), &storage).unwrap();
            // Each has its second chance before it goes.
            assert!(cache.rows <= MAX_CACHED_ROWS + MAX_CACHED_ROWS / 4, "{} rows with {n} groups", cache.rows);
        }
        assert!(cache.len() > groups / 4, "{} of {groups}", cache.len());
        let counted: usize = cache.slots.values().map(|slot| slot.conversation.rows()).sum();
        assert_eq!(cache.rows, counted);
    }
}
