//! Refusals that wait until they are final: the fences of devices (`core::messages::Fence`), and who is told when they are durable.
//!
//! **Invariant:** a refusal that follows from the log is told after the commit that holds its fence, and after that of every
//! change of membership that it follows from. Guarded by `tests.rs` beside this file and `server/tests/refusals.rs`.

use super::state::Deferred;
use crate::storage::{Storage, StorageError};
use rustc_hash::FxHashSet;
use squall_core::messages::{Fence, Fenced, MessageId};
use squall_core::plant::{Plant, planted};
use squall_protocol::limits::MAX_STAGED;
use squall_protocol::{DeviceId, Refusal, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// Whose fence it is. The user belongs to it, so that nobody fences anybody else.
pub type Who = (UserId, DeviceId);

/// The fences of a shard. A send of a device that has none, as nearly all are, costs one look into a set.
#[derive(Default)]
pub struct Fences {
    /// Those who have one: at most as many as there are devices.
    fenced: FxHashSet<Who>,
    /// Those that the disk does not have as they are here.
    changed: BTreeMap<Who, Fence>,
    /// To be written by the next commit, and who is told then.
    dirty: BTreeSet<Who>,
    waiting: Vec<Deferred>,
    /// Written by the commit under way, and who is told when it is durable.
    committing: (BTreeSet<Who>, Vec<Deferred>),
}

impl Fences {
    /// The fences of a disk.
    pub fn load(fenced: impl IntoIterator<Item = Who>) -> Self {
        Fences { fenced: fenced.into_iter().collect(), ..Fences::default() }
    }

    fn get(&self, who: Who, storage: &dyn Storage) -> Result<Option<Fence>, StorageError> {
        if !self.fenced.contains(&who) {
            return Ok(None);
        }
        match self.changed.get(&who) {
            Some(fence) => Ok(Some(fence.clone())),
            None => storage.fence(who.0, who.1),
        }
    }

    pub fn judge(
        &self,
        who: Who,
        connect_count: u64,
        id: MessageId,
        storage: &dyn Storage,
    ) -> Result<Fenced, StorageError> {
        if planted(Plant::RefusalNotFenced) {
            return Ok(Fenced::No);
        }
        Ok(self.get(who, storage)?.map_or(Fenced::No, |fence| fence.judge(connect_count, id)))
    }

    /// Says again what has been refused before, as soon as that is durable. False: too many wait for that.
    pub fn repeat(&mut self, who: Who, reply: Deferred) -> bool {
        if !self.changed.contains_key(&who) {
            reply.0.offer(reply.1);
            return true;
        }
        if self.waiting.len() >= MAX_STAGED {
            return false;
        }
        self.dirty.insert(who);
        self.waiting.push(reply);
        true
    }

    /// Refuses for good, once that is durable. False: not just now.
    pub fn refuse(
        &mut self,
        who: Who,
        connect_count: u64,
        message: (MessageId, Refusal),
        reply: Deferred,
        storage: &dyn Storage,
    ) -> Result<bool, StorageError> {
        let mut fence = self.get(who, storage)?.unwrap_or_default();
        if planted(Plant::RefusalNotFenced) {
            fence = Fence::default();
        }
        if self.waiting.len() >= MAX_STAGED || !fence.refuse(connect_count, message.0, message.1) {
            return Ok(false);
        }
        self.fenced.insert(who);
        self.changed.insert(who, fence);
        self.dirty.insert(who);
        self.waiting.push(reply);
        Ok(true)
    }

    /// What the next commit writes. It is the only one until `handle_durable`.
    pub fn cut(&mut self) -> Vec<(UserId, DeviceId, Fence)> {
        self.committing = (std::mem::take(&mut self.dirty), std::mem::take(&mut self.waiting));
        self.committing.0.iter().map(|who| (who.0, who.1, self.changed[who].clone())).collect()
    }

    /// Whether every refusal that was decided is durable.
    pub fn are_durable(&self) -> bool {
        self.dirty.is_empty() && self.committing.0.is_empty()
    }

    /// The commit is durable: the refused are told.
    pub fn handle_durable(&mut self) {
        let (written, told) = std::mem::take(&mut self.committing);
        for who in written.difference(&self.dirty) {
            self.changed.remove(who);
        }
        for (replies, reply) in told {
            replies.offer(reply);
        }
    }
}
