//! All that a shard knows, and who waits for what of it.
//!
//! **Invariant:** nothing here outlives a failed commit: the whole is dropped and built anew from the disk. Guarded by
//! `sim/checks/src/acked_is_durable.rs`.

use super::cache::Cache;
use super::counts::Counts;
use super::cursors::{MovedCursors, Pace};
use super::dispatcher::Plan;
use super::fences::Fences;
use super::readers::SharedReaders;
use super::staged::Staged;
use crate::hop::Hop;
use crate::links::Queue;
use crate::observer::Observer;
use crate::storage::{Storage, StorageError};
use rustc_hash::FxHashMap;
use squall_core::Time;
use squall_core::messages::{Answered, Conversation, Debts, Planner, Position};
use squall_core::plant::{Plant, planted};
use squall_protocol::wire::messages::{Caller, Follower, Reply};
use squall_protocol::{ClientMsgId, ConversationId, Cursors, DeviceId, Seq, ServerFrame, UserId, protobuf, relay};
use std::sync::Arc;

/// Somebody who is told when an entry is durable.
pub struct Waiter {
    pub replies: Queue<Reply>,
    pub connection: u64,
    pub device: DeviceId,
    pub client_msg_id: ClientMsgId,
}

/// What a gateway is told of the conversation with an author's ack, if it is a channel and they have been a member since their entry: of that entry
/// their device hears, and of none that came after it.
pub fn follower(log: &Conversation, author: UserId, seq: Seq) -> Option<Follower> {
    let from = log.standing(author)?.follows_from?;
    let stay = log.membership().stretches().last_of(author, log.durable())?;
    let as_of = if planted(Plant::AckTakenForHeads) { log.durable() } else { seq };
    (stay.joined <= as_of).then(|| follows(log.id(), from, as_of))
}

/// A member who sees all of a channel from here to there.
pub fn follows(conversation: ConversationId, from: Seq, as_of: Seq) -> Follower {
    Follower { conversation: protobuf::conversation_to_wire(conversation), from: from.0, as_of: as_of.0 }
}

/// A reply that waits, and where it goes.
pub type Deferred = (Queue<Reply>, Reply);

/// All that a shard knows. It is dropped and built anew from the disk when a commit fails.
pub struct ShardState {
    /// `None` while recovering, and while a disk that cannot be read is opened anew.
    pub storage: Option<Arc<dyn Storage>>,
    /// A read has failed, after which the database answers nothing; it is to be opened anew.
    pub read_failed: bool,
    /// The disk fails again and again: no send is taken until it may be tried again.
    pub is_resting: bool,
    /// A commit is under way.
    pub is_committing: bool,
    pub cache: Cache,
    pub staged: Staged,
    pub waiters: FxHashMap<(ConversationId, Seq), Vec<Waiter>>,
    pub fences: Fences,
    pub next_position: Position,
    /// What registries are still to be asked for.
    pub planner: Planner<Arc<Plan>>,
    /// Of the next entry of each large group.
    pub readers: SharedReaders,
    pub debts: Debts,
    /// Cursors that have moved and are not on disk.
    pub cursors: MovedCursors,
    /// How many members of large groups have come to the end of their logs.
    pub counts: Counts,
    /// The dispatch watermark as it is on disk.
    pub dispatched: Position,
    /// Of groups with more members it is told how many have come how far.
    pub named_up_to: u32,
}

impl ShardState {
    /// Nothing is known: before the first recovery, and while one is due.
    pub fn empty(registries: usize, named_up_to: u32) -> Self {
        ShardState {
            storage: None,
            read_failed: false,
            is_resting: false,
            is_committing: false,
            cache: Cache::default(),
            staged: Staged::default(),
            waiters: FxHashMap::default(),
            fences: Fences::default(),
            next_position: 0,
            planner: Planner::new(registries, 0, 0, 0),
            readers: SharedReaders::default(),
            debts: Debts::default(),
            cursors: MovedCursors::default(),
            counts: Counts::default(),
            dispatched: 0,
            named_up_to,
        }
    }

    /// Whether nothing that was taken waits to become durable.
    pub fn is_settled(&self) -> bool {
        !self.is_committing && self.staged.held() == 0 && self.cursors.is_empty() && self.fences.are_durable()
    }

    /// Everything below this place has been planned and owes nothing: a restarted shard need not plan it again.
    pub fn watermark(&self) -> Position {
        if planted(Plant::WatermarkIgnoresDebts) {
            return self.planner.next_position();
        }
        let planned = self.planner.dispatched();
        self.debts.first_owed().map_or(planned, |owed| owed.min(planned))
    }

    /// Whether the user has no part in this conversation and never had: not its founder by name, and in no entry of it, staged
    /// ones included. Whoever joins stays known, so the answer is never outdated by what is not durable. Takes one look-up
    /// at most; no log is loaded for a stranger.
    pub fn is_stranger(
        &self,
        storage: &dyn Storage,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<bool, StorageError> {
        if !conversation.is_open_to(user) {
            return Ok(true);
        }
        if conversation.founded_by(user) {
            return Ok(false);
        }
        match self.cache.peek(conversation) {
            Some(log) => Ok(!log.membership().knows(user)),
            None => Ok(!storage.knows(conversation, user)?),
        }
    }

    /// A device has shown everything up to `up_to`. Whoever calls has asked whether its user is a stranger.
    pub fn handle_ack(
        &mut self,
        storage: &dyn Storage,
        caller: &Caller,
        conversation: ConversationId,
        up_to: Seq,
        now: Time,
    ) -> Result<(), StorageError> {
        let who = (UserId(caller.user), DeviceId(caller.device));
        self.move_cursors(storage, who.0, conversation, Cursors { delivered: up_to, read: Seq::ZERO }, now)?;
        let log = self.cache.get(conversation, storage)?;
        // A device can have shown no more than there is, and only a member's word counts.
        let up_to = up_to.min(log.durable());
        if up_to > Seq::ZERO && log.membership().knows(who.0) {
            self.debts.handle_ack(who, conversation, up_to, now);
        }
        Ok(())
    }

    /// A person has read everything up to `up_to`, so that one of their devices has shown it. Whoever calls has asked whether they are a
    /// stranger. What another device of theirs is owed stays owed.
    pub fn handle_read(
        &mut self,
        storage: &dyn Storage,
        caller: &Caller,
        conversation: ConversationId,
        up_to: Seq,
        now: Time,
    ) -> Result<(), StorageError> {
        let delivered = if planted(Plant::ReadAheadOfDelivered) { Seq::ZERO } else { up_to };
        self.move_cursors(storage, UserId(caller.user), conversation, Cursors { delivered, read: up_to }, now)
    }

    /// Nobody has come further than they may see.
    fn move_cursors(
        &mut self,
        storage: &dyn Storage,
        user: UserId,
        conversation: ConversationId,
        cursors: Cursors,
        now: Time,
    ) -> Result<(), StorageError> {
        let log = self.cache.get(conversation, storage)?;
        let last = log.membership().head_for(user, log.durable()).unwrap_or(Seq::ZERO);
        let cursors = cursors.up_to(last);
        if cursors != Cursors::default() {
            let pace = Pace::of(log, self.named_up_to);
            self.cursors.note(user, conversation, pace, cursors, now);
        }
        Ok(())
    }
}

impl Waiter {
    /// Where this user is told so.
    pub fn answered(&self, user: UserId) -> Answered {
        Answered { who: (user, self.device), connection: self.connection }
    }

    /// Tells the sender that its message is entry `seq`, durably.
    pub fn answer(
        &self,
        observer: &dyn Observer,
        conversation: ConversationId,
        seq: Seq,
        stored_at_ms: u64,
        channel: Option<Follower>,
    ) {
        let client_msg_id = self.client_msg_id;
        let sent = ServerFrame::Sent { conversation, client_msg_id, server_seq: seq, stored_at_ms };
        observer.hop(&Hop::Answered { device: self.device, frame: &sent });
        // A full queue is a gateway that does not read; the device will ask again elsewhere.
        self.replies.offer(Reply {
            connection: self.connection,
            device: self.device.0,
            channels: channel.into_iter().collect(),
            reply: Some(relay::reply_to_wire(&sent)),
        });
    }
}
