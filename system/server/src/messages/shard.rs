//! A shard's state and its answers to gateways.
//!
//! **Invariant:** no answer speaks of an entry that is not durable. A resend of a staged entry waits with the first
//! copy; while storage is being recovered nothing is answered at all.

use super::cache::Cache;
use super::dispatch::{Dispatcher, Plan};
use crate::clock::Clock;
use crate::links::Queue;
use crate::observer::{Observer, Point};
use crate::storage::{NewEntry, OpenStorage, Storage, StorageError};
use rustc_hash::FxHashMap;
use squall_core::conversation::{SendRequest, Verdict};
use squall_core::debt::{Debts, Position};
use squall_core::plant::{Plant, planted};
use squall_protocol::wire::client::Send;
use squall_protocol::wire::messages::request::Request as Kind;
use squall_protocol::wire::messages::{Caller, Reply, Request, reply};
use squall_protocol::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Refusal, Seq, UserId, limits, protobuf};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Somebody who is told when an entry is durable.
pub struct Waiter {
    pub replies: Queue<Reply>,
    pub connection: u64,
    pub device: DeviceId,
    pub client_msg_id: ClientMsgId,
}

/// A reply that waits, and where it goes.
pub type Deferred = (Queue<Reply>, Reply);

/// All that a shard knows. It is dropped and built anew from the disk when a commit fails.
pub struct State {
    /// `None` while recovering.
    pub storage: Option<Arc<dyn Storage>>,
    pub cache: Cache,
    /// Entries to be committed, in append order.
    pub staged: Vec<NewEntry>,
    pub waiters: FxHashMap<(ConversationId, Seq), Vec<Waiter>>,
    /// Refusals that follow from a staged change of membership: told when that is durable.
    pub deferred: FxHashMap<(ConversationId, Seq), Vec<Deferred>>,
    pub next_position: Position,
    pub debts: Debts,
    /// Cursors that have moved since the last commit.
    pub cursors: BTreeMap<(DeviceId, ConversationId), Seq>,
    /// The dispatch watermark as it is on disk.
    pub dispatched: Position,
}

impl State {
    fn empty() -> Self {
        State {
            storage: None,
            cache: Cache::default(),
            staged: Vec::new(),
            waiters: FxHashMap::default(),
            deferred: FxHashMap::default(),
            next_position: 0,
            debts: Debts::default(),
            cursors: BTreeMap::new(),
            dispatched: 0,
        }
    }
}

/// A shard of all conversations.
pub struct Shard {
    state: Mutex<State>,
    open_storage: OpenStorage,
    pub dispatcher: Dispatcher,
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    /// Something waits to be committed.
    pub work: Notify,
}

impl Shard {
    pub fn new(
        open_storage: OpenStorage,
        dispatcher: Dispatcher,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let state = Mutex::new(State::empty());
        Shard { state, open_storage, dispatcher, clock, observer, work: Notify::new() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all memory, opens the disk, and plans anew what it holds beyond the dispatch watermark.
    pub fn recover(&self) -> Result<(), StorageError> {
        *self.state() = State::empty();
        self.dispatcher.forget();
        self.observer.passed(&Point::Recovering);
        let storage = (self.open_storage)()?;
        let recovered = storage.recovered()?;
        let mut state = self.state();
        state.next_position = recovered.next_position;
        state.dispatched = recovered.dispatched;
        state.debts = Debts::new(recovered.next_position);
        let entries = storage.entries_from(recovered.dispatched, usize::MAX)?;
        let mut plans = Vec::with_capacity(entries.len());
        for new in entries {
            let log = state.cache.get(new.conversation, storage.as_ref())?;
            let members = log.membership().members_at(new.entry.seq).collect();
            state.debts.handle_committed(new.position);
            self.observer.passed(&Point::Found { conversation: new.conversation, entry: &new.entry });
            plans.push(Plan { new, members });
        }
        state.storage = Some(storage);
        drop(state);
        self.observer.passed(&Point::Recovered { replanned: plans.len() });
        self.dispatcher.plan(plans, self.clock.now());
        Ok(())
    }

    /// Takes one request of a gateway.
    pub fn handle(&self, request: Request, replies: &Queue<Reply>) {
        let (Some(caller), Some(kind)) = (request.caller, request.request) else { return };
        let mut state = self.state();
        let Some(storage) = state.storage.clone() else { return };
        let result = match kind {
            Kind::Send(send) => self.handle_send(&mut state, storage.as_ref(), &caller, send, replies),
            Kind::Ack(ack) => {
                let (conversation, up_to) = (ConversationId(ack.conversation), Seq(ack.up_to_seq));
                self.handle_ack(&mut state, storage.as_ref(), &caller, conversation, up_to)
            }
            Kind::Sync(sync) => {
                let (conversation, since) = (ConversationId(sync.conversation), Seq(sync.since_seq));
                self.handle_sync(&mut state, storage.as_ref(), &caller, conversation, since).map(|reply| {
                    respond(replies, &caller, reply);
                })
            }
            Kind::Heads(heads) => {
                self.handle_heads(&mut state, storage.as_ref(), &caller, heads.request_id).map(|parts| {
                    for part in parts {
                        respond(replies, &caller, reply::Reply::Heads(part));
                    }
                })
            }
        };
        if result.is_err() {
            // A disk that cannot be read: forget everything, and let the committer open it again.
            state.storage = None;
            self.work.notify_one();
        }
    }

    fn handle_send(
        &self,
        state: &mut State,
        storage: &dyn Storage,
        caller: &Caller,
        send: Send,
        replies: &Queue<Reply>,
    ) -> Result<(), StorageError> {
        let Ok((conversation, client_msg_id, client_seq, payload)) = protobuf::send_from_wire(send) else {
            return Ok(());
        };
        let device = DeviceId(caller.device);
        let refuse = |reason| {
            let refused = protobuf::refused_to_wire(conversation, client_msg_id, reason);
            respond(replies, caller, reply::Reply::Refused(refused));
        };
        if state.staged.len() >= limits::MAX_STAGED {
            refuse(Refusal::Busy);
            return Ok(());
        }
        let request = SendRequest {
            sender: UserId(caller.user),
            device,
            connect_count: caller.connect_count,
            client_msg_id,
            client_seq,
            payload,
            stored_at_ms: self.clock.wall_ms(),
        };
        let log = state.cache.get(conversation, storage)?;
        let waiter = Waiter { replies: replies.clone(), connection: caller.connection, device, client_msg_id };
        match log.handle_send(request) {
            Verdict::Staged(entry) => {
                if planted(Plant::AckBeforeCommit) {
                    waiter.answer(conversation, entry.seq);
                }
                state.waiters.insert((conversation, entry.seq), vec![waiter]);
                let position = state.next_position;
                state.next_position += 1;
                let new = NewEntry { position, conversation, entry };
                if planted(Plant::DeliverBeforePersist) {
                    let members = log.membership().members_at(new.entry.seq).collect();
                    self.dispatcher.plan(vec![Plan { new: new.clone(), members }], self.clock.now());
                }
                state.staged.push(new);
                self.work.notify_one();
            }
            Verdict::Duplicate(seq) => {
                let is_durable = seq <= log.durable();
                self.observer.passed(&Point::DuplicateMet { conversation, device, client_msg_id });
                if is_durable {
                    waiter.answer(conversation, seq);
                } else {
                    state.waiters.entry((conversation, seq)).or_default().push(waiter);
                }
            }
            Verdict::Old => {
                self.observer.passed(&Point::OldSendLookedUp { conversation, device });
                let next = log.next_client_seq(device);
                match find_old(storage, conversation, device, client_seq)? {
                    Some((id, seq)) if id == client_msg_id => waiter.answer(conversation, seq),
                    _ => refuse(Refusal::ExpectedClientSeq(next)),
                }
            }
            Verdict::Refused(reason) => {
                if matches!(reason, Refusal::ExpectedClientSeq(_)) {
                    self.observer.passed(&Point::ClientSeqGap { conversation, device });
                }
                if reason.is_temporary() || log.membership_is_durable() {
                    refuse(reason);
                } else {
                    let refused = protobuf::refused_to_wire(conversation, client_msg_id, reason);
                    let reply = Reply {
                        connection: caller.connection,
                        device: caller.device,
                        reply: Some(reply::Reply::Refused(refused)),
                    };
                    let head = log.head();
                    state.deferred.entry((conversation, head)).or_default().push((replies.clone(), reply));
                }
            }
            Verdict::Stale => {}
        }
        Ok(())
    }

    pub fn handle_ack(
        &self,
        state: &mut State,
        storage: &dyn Storage,
        caller: &Caller,
        conversation: ConversationId,
        up_to: Seq,
    ) -> Result<(), StorageError> {
        let (user, device) = (UserId(caller.user), DeviceId(caller.device));
        let log = state.cache.get(conversation, storage)?;
        // A device can have shown no more than there is, and only a member's word counts.
        let up_to = up_to.min(log.durable());
        if up_to == Seq::ZERO || !log.membership().knows(user) {
            return Ok(());
        }
        let cursor = state.cursors.entry((device, conversation)).or_insert(up_to);
        *cursor = (*cursor).max(up_to);
        state.debts.handle_ack(device, conversation, up_to, self.clock.now());
        Ok(())
    }
}

impl Waiter {
    /// Tells the sender that its message is entry `seq`, durably.
    pub fn answer(&self, conversation: ConversationId, seq: Seq) {
        let sent = protobuf::sent_to_wire(conversation, self.client_msg_id, seq);
        // A full queue is a gateway that does not read; the device will ask again elsewhere.
        self.replies.push(Reply {
            connection: self.connection,
            device: self.device.0,
            reply: Some(reply::Reply::Sent(sent)),
        });
    }
}

fn respond(replies: &Queue<Reply>, caller: &Caller, reply: reply::Reply) {
    replies.push(Reply { connection: caller.connection, device: caller.device, reply: Some(reply) });
}

/// The message that a device once sent with this number, searched from the end of the log.
fn find_old(
    storage: &dyn Storage,
    conversation: ConversationId,
    device: DeviceId,
    client_seq: ClientSeq,
) -> Result<Option<(ClientMsgId, Seq)>, StorageError> {
    let Some(log) = storage.conversation(conversation)? else { return Ok(None) };
    let mut to = log.head();
    for _ in 0..limits::OLD_SEND_PAGES {
        if to == Seq::ZERO {
            break;
        }
        let from = Seq(to.0.saturating_sub(limits::PAGE_ENTRIES as u64 - 1).max(1));
        let entries = storage.entries(conversation, from, to, limits::PAGE_ENTRIES, usize::MAX)?;
        if let Some(found) = entries.iter().find(|e| e.device == device && e.client_seq == client_seq) {
            return Ok(Some((found.client_msg_id, found.seq)));
        }
        to = from.prev();
    }
    Ok(None)
}
