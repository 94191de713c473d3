//! The conversations that a shard has in memory: a bounded cache over storage, second-chance eviction.
//!
//! **Invariant:** a conversation with staged entries is never evicted: memory is then ahead of the disk.

use crate::storage::{Storage, StorageError};
use rustc_hash::FxHashMap;
use squall_core::messages::Conversation;
use squall_protocol::limits::{EVICTION_CANDIDATES, MAX_CACHED_CONVERSATIONS};
use squall_protocol::{ConversationId, Who};
use std::collections::VecDeque;

struct Slot {
    conversation: Conversation,
    used: bool,
}

/// Conversations by id.
#[derive(Default)]
pub struct Cache {
    slots: FxHashMap<ConversationId, Slot>,
    /// In the order in which they are considered for eviction.
    clock: VecDeque<ConversationId>,
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
            self.evict();
            self.slots.insert(id, Slot { conversation, used: false });
            self.clock.push_back(id);
        }
        let slot = self.slots.get_mut(&id).expect("inserted above when it was absent");
        slot.used = true;
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

    pub fn peek_mut(&mut self, id: ConversationId) -> Option<&mut Conversation> {
        self.slots.get_mut(&id).map(|slot| &mut slot.conversation)
    }

    /// Makes room for one more, looking at a few candidates only.
    fn evict(&mut self) {
        for _ in 0..EVICTION_CANDIDATES {
            if self.slots.len() < MAX_CACHED_CONVERSATIONS {
                return;
            }
            let Some(id) = self.clock.pop_front() else { return };
            match self.slots.get_mut(&id) {
                Some(slot) if slot.used || !slot.conversation.is_settled() => {
                    slot.used = false;
                    self.clock.push_back(id);
                }
                _ => {
                    self.slots.remove(&id);
                }
            }
        }
    }
}
