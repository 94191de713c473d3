//! A shard's answers to gateways.
//!
//! **Invariant:** no answer speaks of an entry that is not durable. A resend of a staged entry waits with the first
//! copy; while storage is being recovered nothing is answered that depends on it. Guarded by `sim/checks/src/acked_is_durable.rs`.
//!
//! **Invariant:** a shard takes nothing that is about a conversation of another one: what a gateway has misrouted is told of, and left undone, for an answer
//! would speak of a log that is not here. Guarded by `tests.rs` beside this file and `sim/checks/src/cursor_follows_acks.rs`.
//!
//! **Invariant:** authorise before work. What the frame and the conversation's name decide is decided before the lock is
//! taken; a stranger is turned away before a log is loaded, and learns the same whether there is one or not. Guarded by
//! `tests.rs` beside this file and `server/tests/names.rs`.

use super::dispatch;
use super::dispatcher::Plan;
use super::pages::{handle_heads, handle_sync};
use super::readers::Readers;
use super::receipts;
use super::shard::Shard;
use super::state::{ShardState, Waiter, follower};
use crate::hop::Hop;
use crate::links::Queue;
use crate::observer::{Observer, Point};
use crate::storage::{NewEntry, Storage, StorageError};
use crate::work::Work;
use squall_core::messages::{Fenced, SendOutcome, SendRequest, admit, numbered_as};
use squall_core::plant::{Plant, planted};
use squall_core::rate::retry_after_ms;
use squall_protocol::frames::ErrorCode;
use squall_protocol::wire::messages::{Caller, Follower, HeadsPart, Reply, Request, reply};
use squall_protocol::{
    ClientFrame, ClientMsgId, ConversationId, DeviceId, Payload, Refusal, ServerFrame, UserId, protobuf, relay,
};

/// Who asks, and where the answer goes.
struct Requester<'a> {
    caller: &'a Caller,
    replies: &'a Queue<Reply>,
    observer: &'a dyn Observer,
}

impl Requester<'_> {
    fn reply(&self, frame: &ServerFrame) -> Reply {
        self.observer.hop(&Hop::Answered { device: DeviceId(self.caller.device), frame });
        self.wrap(relay::reply_to_wire(frame), Vec::new())
    }

    /// Tells a sender that its message cannot be taken just now. Whoever asks for anything else asks again by itself.
    fn refuse_for_now(&self, message: Option<(ConversationId, ClientMsgId)>) {
        if let Some((conversation, client_msg_id)) = message {
            let refused = ServerFrame::Refused { conversation, client_msg_id, reason: Refusal::Busy };
            self.replies.offer(self.reply(&refused));
        }
    }

    fn user(&self) -> UserId {
        UserId(self.caller.user)
    }

    fn tell_asked(&self, request: &relay::Request) {
        let (user, device) = (self.user(), DeviceId(self.caller.device));
        self.observer.hop(&match request {
            relay::Request::Frame(frame) => Hop::Asked { user, device, frame },
            relay::Request::Heads(_) => Hop::HeadsAsked { user, device },
        });
    }

    fn wrap(&self, reply: reply::Reply, channels: Vec<Follower>) -> Reply {
        Reply { connection: self.caller.connection, device: self.caller.device, reply: Some(reply), channels }
    }
}

/// The message that a request brings, if it is a send.
fn message_of(request: &relay::Request) -> Option<(ConversationId, ClientMsgId)> {
    match request {
        relay::Request::Frame(ClientFrame::Send { conversation, client_msg_id, .. }) => {
            Some((*conversation, *client_msg_id))
        }
        relay::Request::Frame(_) | relay::Request::Heads(_) => None,
    }
}

/// The conversation that a request is about, if it is about one.
fn conversation_of(request: &relay::Request) -> Option<ConversationId> {
    match request {
        relay::Request::Frame(
            ClientFrame::Send { conversation, .. }
            | ClientFrame::Ack { conversation, .. }
            | ClientFrame::Read { conversation, .. }
            | ClientFrame::Sync { conversation, .. }
            | ClientFrame::Typing { conversation },
        ) => Some(*conversation),
        relay::Request::Frame(
            ClientFrame::Hello { .. }
            | ClientFrame::Ping
            | ClientFrame::Refresh { .. }
            | ClientFrame::Watch { .. }
            | ClientFrame::Unwatch { .. }
            | ClientFrame::Invisible { .. },
        )
        | relay::Request::Heads(_) => None,
    }
}

/// Whether it is an ack or a read of a conversation that by its name is not its user's. It would have no answer.
fn is_vain(from: &Requester<'_>, request: &relay::Request) -> bool {
    matches!(request, relay::Request::Frame(ClientFrame::Ack { conversation, .. } | ClientFrame::Read { conversation, .. })
        if !conversation.is_open_to(from.user()))
}

/// Takes one request of a gateway.
pub fn handle(shard: &Shard, request: Request, replies: &Queue<Reply>) {
    let (Some(caller), Some(request)) = (request.caller, request.request) else { return };
    // What cannot be read is not from a gateway of ours.
    let Ok(request) = relay::request_from_wire(request) else { return };
    shard.observer.worked(Work::Request, 1);
    let from = Requester { caller: &caller, replies, observer: shard.observer.as_ref() };
    shard.observer.worked(Work::Member, named_members(&request));
    from.tell_asked(&request);
    if let Some(conversation) = conversation_of(&request).filter(|conversation| !shard.share.has(*conversation)) {
        let (device, times) = (DeviceId(caller.device), shard.count_misrouted());
        shard.observer.passed(&Point::Misrouted { conversation, device, times });
        return from.refuse_for_now(message_of(&request));
    }
    if is_vain(&from, &request) {
        return;
    }
    if let Err(refused) = admitted(&from, &request) {
        replies.offer(from.reply(&refused));
        return;
    }
    if let Err(refused) = within_limits(shard, &from, &request) {
        replies.offer(from.reply(&refused));
        return;
    }
    let mut state = shard.state();
    let message = message_of(&request);
    let Some(storage) = state.storage.clone() else { return from.refuse_for_now(message) };
    if let Err(error) = answer(shard, &mut state, storage.as_ref(), &from, request) {
        from.refuse_for_now(message);
        shard.handle_read_error(&mut state, &error);
    }
}

/// How many members a creation or a change names.
fn named_members(request: &relay::Request) -> usize {
    match request {
        relay::Request::Frame(ClientFrame::Send { payload: Payload::Created { members, .. }, .. }) => {
            members.len()
        }
        relay::Request::Frame(ClientFrame::Send {
            payload: Payload::Joined(users) | Payload::Left(users),
            ..
        }) => users.len().saturating_sub(1),
        relay::Request::Frame(_) | relay::Request::Heads(_) => 0,
    }
}

/// What the frame alone decides. An ack has no answer; what it may not do is left undone later.
fn admitted(from: &Requester<'_>, request: &relay::Request) -> Result<(), ServerFrame> {
    match request {
        relay::Request::Frame(ClientFrame::Send { conversation, client_msg_id, payload, .. }) => {
            admit(*conversation, from.user(), payload).map_err(|reason| ServerFrame::Refused {
                conversation: *conversation,
                client_msg_id: *client_msg_id,
                reason,
            })
        }
        relay::Request::Frame(ClientFrame::Sync { conversation, .. })
            if !conversation.is_open_to(from.user()) && !planted(Plant::PagesForWhoeverAsks) =>
        {
            Err(ServerFrame::Error { code: ErrorCode::NotAMember, conversation: *conversation })
        }
        relay::Request::Frame(_) | relay::Request::Heads(_) => Ok(()),
    }
}

/// Whether its user may create or add so much just now. A resend of what is stored waits with the rest.
fn within_limits(shard: &Shard, from: &Requester<'_>, request: &relay::Request) -> Result<(), ServerFrame> {
    let relay::Request::Frame(ClientFrame::Send { conversation, client_msg_id, payload, .. }) = request else {
        return Ok(());
    };
    shard.growth().check(from.user(), payload, shard.clock.now()).map_err(|wait| {
        let reason = Refusal::TooOften { retry_after_ms: retry_after_ms(wait) };
        shard.observer.passed(&Point::TooOften { user: from.user() });
        ServerFrame::Refused { conversation: *conversation, client_msg_id: *client_msg_id, reason }
    })
}

fn answer(
    shard: &Shard,
    state: &mut ShardState,
    storage: &dyn Storage,
    from: &Requester<'_>,
    request: relay::Request,
) -> Result<(), StorageError> {
    match request {
        relay::Request::Heads(heads) => {
            let (part, channels) = handle_heads(shard, state, storage, from.caller, heads)?;
            let told = if shard.tells_receipts { conversations_of(&part) } else { Vec::new() };
            from.replies.offer(from.wrap(reply::Reply::Heads(part), channels));
            tell_receipts(state, storage, from, told)?;
        }
        relay::Request::Frame(ClientFrame::Send { conversation, client_msg_id, client_seq, payload }) => {
            let send = SendRequest {
                sender: UserId(from.caller.user),
                device: DeviceId(from.caller.device),
                connect_count: from.caller.connect_count,
                client_msg_id,
                client_seq,
                payload,
                stored_at_ms: shard.clock.wall_ms(),
            };
            handle_send(shard, state, storage, from, conversation, send)?;
        }
        relay::Request::Frame(ClientFrame::Ack { conversation, up_to_seq }) => {
            if !state.is_stranger(storage, conversation, from.user())? {
                state.handle_ack(storage, from.caller, conversation, up_to_seq, shard.clock.now())?;
            }
        }
        relay::Request::Frame(ClientFrame::Read { conversation, up_to_seq }) => {
            if !state.is_stranger(storage, conversation, from.user())? {
                state.handle_read(storage, from.caller, conversation, up_to_seq, shard.clock.now())?;
            }
        }
        relay::Request::Frame(ClientFrame::Sync { conversation, since_seq }) => {
            let open = planted(Plant::PagesForWhoeverAsks);
            let (answer, channel) = match !open && state.is_stranger(storage, conversation, from.user())? {
                true => (ServerFrame::Error { code: ErrorCode::NotAMember, conversation }, None),
                false => handle_sync(shard, state, storage, from.caller, conversation, since_seq)?,
            };
            let reply = from.reply(&answer);
            from.replies.offer(Reply { channels: channel.into_iter().collect(), ..reply });
            let is_last = matches!(&answer, ServerFrame::Page { span, head } if span.to >= *head);
            let told = Some(conversation).filter(|_| is_last && shard.tells_receipts);
            tell_receipts(state, storage, from, told)?;
        }
        relay::Request::Frame(
            ClientFrame::Hello { .. }
            | ClientFrame::Ping
            | ClientFrame::Refresh { .. }
            | ClientFrame::Watch { .. }
            | ClientFrame::Unwatch { .. }
            | ClientFrame::Invisible { .. },
        ) => {
            unreachable!("`relay` lets none of these through")
        }
        // A session takes it before it comes here.
        relay::Request::Frame(ClientFrame::Typing { .. }) => {}
    }
    Ok(())
}

fn conversations_of(part: &HeadsPart) -> Vec<ConversationId> {
    part.heads.iter().filter_map(|head| protobuf::conversation_from_wire(head.conversation).ok()).collect()
}

/// Whoever has missed notices is told how far everybody has come.
fn tell_receipts(
    state: &mut ShardState,
    storage: &dyn Storage,
    from: &Requester<'_>,
    conversations: impl IntoIterator<Item = ConversationId>,
) -> Result<(), StorageError> {
    for receipts in receipts::told_to(state, storage, from.user(), conversations)? {
        from.replies.offer(from.reply(&ServerFrame::Receipts { receipts }));
    }
    Ok(())
}

/// Tells the connection that its device has had a newer one. Mostly nobody is there any more who could read it.
fn tell_of_stale_count(shard: &Shard, from: &Requester<'_>, highest: u64) {
    shard.observer.passed(&Point::StaleSend { device: DeviceId(from.caller.device) });
    from.replies.offer(from.reply(&ServerFrame::Stale { connect_count: highest, superseded: false }));
}

fn handle_send(
    shard: &Shard,
    state: &mut ShardState,
    storage: &dyn Storage,
    from: &Requester<'_>,
    conversation: ConversationId,
    send: SendRequest,
) -> Result<(), StorageError> {
    let (device, client_msg_id, client_seq) = (send.device, send.client_msg_id, send.client_seq);
    let refused = |reason| from.reply(&ServerFrame::Refused { conversation, client_msg_id, reason });
    let refuse = |reason| {
        from.replies.offer(refused(reason));
    };
    if state.is_resting || !state.staged.has_room_for(send.sender, &send.payload) {
        refuse(Refusal::Busy);
        return Ok(());
    }
    let who = (send.sender, device);
    match state.fences.judge(who, send.connect_count, (conversation, client_msg_id), storage)? {
        Fenced::No => {}
        Fenced::Stale { highest } => {
            tell_of_stale_count(shard, from, highest);
            return Ok(());
        }
        Fenced::Refused(reason) => {
            if !state.fences.repeat(who, (from.replies.clone(), refused(reason))) {
                refuse(Refusal::Busy);
            }
            shard.work.notify_one();
            return Ok(());
        }
    }
    let connect_count = send.connect_count;
    // For good: no copy of it is ever stored. What it follows from may be staged; its fence is in the same commit or in a later one.
    let refuse_for_good = |state: &mut ShardState, reason| {
        let message = ((conversation, client_msg_id), reason);
        let reply = (from.replies.clone(), refused(reason));
        if !state.fences.refuse(who, connect_count, message, reply, storage)? {
            refuse(Refusal::Busy);
        }
        shard.work.notify_one();
        Ok(())
    };
    let open = planted(Plant::CreationTakesAnyName) || planted(Plant::AnybodyMayJoin);
    if !open && state.is_stranger(storage, conversation, send.sender)? {
        return refuse_for_good(state, Refusal::NotAMember);
    }
    let numbered = numbered_as(send.sender, device);
    let log = state.cache.get_for(conversation, numbered, storage)?;
    let connection = from.caller.connection;
    let waiter = Waiter { replies: from.replies.clone(), connection, device, client_msg_id };
    match log.handle_send(send) {
        SendOutcome::Staged(entry) => {
            log.note_regime(&entry, shard.channel_above);
            shard.growth().spend(entry.sender, &entry.payload, shard.clock.now());
            shard.observer.hop(&Hop::Staged { conversation, entry: &entry });
            if planted(Plant::AckBeforeCommit) {
                waiter.answer(from.observer, conversation, entry.seq, entry.stored_at_ms, None);
            }
            let answered = waiter.answered(entry.sender);
            state.waiters.insert((conversation, entry.seq), vec![waiter]);
            let position = state.next_position;
            state.next_position += 1;
            let new = NewEntry { position, conversation, entry };
            if planted(Plant::DeliverBeforePersist) {
                let members = log.membership().members_at(new.entry.seq);
                let readers = Readers::new(members, shard.dispatcher.registries.len());
                dispatch::plan_unwritten(
                    shard,
                    state,
                    Plan { new: new.clone(), readers, answered: Some(answered), channel: false },
                );
            }
            state.staged.push(new);
            shard.work.notify_one();
        }
        SendOutcome::Duplicate(seq) => {
            let is_durable = seq <= log.durable();
            shard.observer.passed(&Point::DuplicateMet { conversation, device, client_msg_id });
            shard.observer.hop(&Hop::Recognised { conversation, device, client_msg_id, seq });
            if is_durable {
                // Its stamp is on disk only: what is known by heart is as small as dedup needs it.
                let entry = storage.entries(conversation, seq, seq, 1, usize::MAX)?.pop();
                let entry = entry.ok_or_else(|| StorageError::Corrupt {
                    table: "conversations",
                    row: format!("{conversation}/{seq}"),
                })?;
                let again = planted(Plant::RestampedDuplicate);
                let stamp = if again { shard.clock.wall_ms() } else { entry.stored_at_ms };
                let channel = follower(log, entry.sender, entry.seq);
                waiter.answer(from.observer, conversation, seq, stamp, channel);
            } else {
                state.waiters.entry((conversation, seq)).or_default().push(waiter);
            }
        }
        SendOutcome::Old => {
            shard.observer.passed(&Point::OldSendLookedUp { conversation, device });
            match storage.numbered(conversation, numbered, client_seq)? {
                Some(entry) if entry.client_msg_id == client_msg_id => {
                    let seq = entry.seq;
                    shard.observer.hop(&Hop::Recognised { conversation, device, client_msg_id, seq });
                    let channel = follower(log, entry.sender, entry.seq);
                    waiter.answer(from.observer, conversation, entry.seq, entry.stored_at_ms, channel)
                }
                // What is staged is not on disk yet, and may be what is asked for.
                None if !log.is_settled() => refuse(Refusal::Busy),
                Some(_) | None => refuse(Refusal::ExpectedClientSeq(log.next_client_seq(numbered))),
            }
        }
        SendOutcome::Refused(reason) => {
            if matches!(reason, Refusal::ExpectedClientSeq(_)) {
                shard.observer.passed(&Point::ClientSeqGap { conversation, device });
            }
            if !reason.is_temporary() {
                return refuse_for_good(state, reason);
            }
            refuse(reason);
        }
        SendOutcome::Stale { highest } => tell_of_stale_count(shard, from, highest),
    }
    Ok(())
}
