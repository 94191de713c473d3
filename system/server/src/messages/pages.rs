//! Reading for devices: pages of a sync, and the heads of a user's conversations.
//!
//! **Invariants:** a page ends where the log is durable and holds nothing that this member may not see. Guarded by
//! `sim/checks/src/{acked_is_durable,members_only}.rs`.

use super::shard::Shard;
use super::state::{ShardState, follows};
use crate::hop::Hop;
use crate::observer::Point;
use crate::storage::{Storage, StorageError};
use squall_core::messages::{Conversation, Standing};
use squall_core::plant::{Plant, planted};
use squall_protocol::frames::{Entry, ErrorCode, Head, LogSpan};
use squall_protocol::wire::messages::{Caller, Follower, HeadsOf, HeadsPart};
use squall_protocol::{ConversationId, DeviceId, Seq, ServerFrame, UserId, limits, protobuf};

/// The page after `since`, or why there is none; and what its gateway is told if it is of a channel. Whoever calls has asked whether its user is a stranger.
pub fn handle_sync(
    shard: &Shard,
    state: &mut ShardState,
    storage: &dyn Storage,
    caller: &Caller,
    conversation: ConversationId,
    since: Seq,
) -> Result<(ServerFrame, Option<Follower>), StorageError> {
    let (user, device) = (UserId(caller.user), DeviceId(caller.device));
    let log = state.cache.get(conversation, storage)?;
    let durable = log.durable();
    // The bug `pages-for-whoever-asks` reads with the eyes of a member.
    let member = log.membership().stretches().iter().next().filter(|_| planted(Plant::PagesForWhoeverAsks));
    let user = member.map_or(user, |member| member.user);
    let Some(Standing { head, follows_from }) = log.standing(user) else {
        let code = if durable == Seq::ZERO { ErrorCode::UnknownConversation } else { ErrorCode::NotAMember };
        return Ok((ServerFrame::Error { code, conversation }, None));
    };
    let mut span = LogSpan { conversation, from: since.next(), to: head.max(since), entries: Vec::new() };
    if let Some(first) = log.membership().next_visible(user, since, durable) {
        let (entries, to) = shown(log, storage, user, first, head)?;
        // The bug `short-page-is-last` forgets that bytes may have ended it.
        let is_last = planted(Plant::ShortPageIsLast) && entries.len() < limits::PAGE_ENTRIES;
        span.to = if is_last { span.to } else { to };
        span.entries = entries.into_iter().filter(|e| log.membership().may_see(user, e.seq, durable)).collect();
        if since > Seq::ZERO && planted(Plant::PagesFromChunkBorder) {
            let chunk = limits::INDEX_CHUNK as u64;
            let border = Seq((first.0 - 1) / chunk * chunk + 1);
            let before = storage.entries(conversation, border, since, limits::PAGE_ENTRIES, usize::MAX)?;
            span.entries.splice(..0, before);
        }
        if span.to < head && planted(Plant::PageEdgeOffByOne) {
            span.entries.pop();
        }
    }
    let more = span.to < head;
    shard.observer.passed(&Point::SyncPage { conversation, device, entries: span.entries.len(), more });
    Ok((ServerFrame::Page { span, head }, follows_from.map(|from| follows(conversation, from, durable))))
}

/// What a user is shown of a log from here to there, as much as a page holds, and how far that goes. What is hidden from them is not read.
fn shown(
    log: &mut Conversation,
    storage: &dyn Storage,
    user: UserId,
    first: Seq,
    head: Seq,
) -> Result<(Vec<Entry>, Seq), StorageError> {
    let id = log.id();
    let Some((hidden, membership)) = log.hidden(user) else {
        let entries = storage.entries(id, first, head, limits::PAGE_ENTRIES, limits::PAGE_BYTES)?;
        let to = entries.last().map_or(head, |last| last.seq);
        return Ok((entries, to));
    };
    let (mut entries, mut from) = (Vec::new(), first);
    let (mut room, mut bytes) = (limits::PAGE_ENTRIES, limits::PAGE_BYTES);
    while let Some((next, last)) = hidden.next_shown(membership, user, from, head) {
        if room == 0 || bytes == 0 {
            return Ok((entries, from.prev()));
        }
        let read = storage.entries(id, next, last, room, bytes)?;
        from = read.last().map_or(last, |entry| entry.seq).next();
        room -= read.len();
        bytes = bytes.saturating_sub(read.iter().map(|entry| entry.payload.size()).sum());
        entries.extend(read);
    }
    Ok((entries, head))
}

/// Where the user's conversations stand, a part of `HEADS_PER_FRAME` at a time; the last one says so. The gateway asks for one when the
/// device has room for it, so that however many there are, they are neither held here nor lost in a full queue.
pub fn handle_heads(
    shard: &Shard,
    state: &mut ShardState,
    storage: &dyn Storage,
    caller: &Caller,
    heads_of: HeadsOf,
) -> Result<(HeadsPart, Vec<Follower>), StorageError> {
    let (user, device) = (UserId(caller.user), DeviceId(caller.device));
    let HeadsOf { request_id, after } = heads_of;
    let asked_after = after.and_then(|id| protobuf::conversation_from_wire(Some(id)).ok());
    let ids = storage.conversations_of(user, asked_after, limits::HEADS_PER_FRAME)?;
    let next = ids.last().filter(|_| ids.len() == limits::HEADS_PER_FRAME).copied();
    let (mut heads, mut channels) = (Vec::new(), Vec::new());
    for id in ids {
        if planted(Plant::HeadsOmitNewConversations) && cursor(state, storage, user, id)?.is_none() {
            continue;
        }
        let standing = match state.cache.peek(id) {
            Some(log) => log.standing(user).map(|standing| (standing, log.durable())),
            None => match storage.standing(id, user) {
                // A member's head is the log's.
                Ok(standing) => standing.map(|standing| (standing, standing.head)),
                // Of all the user's conversations this one is left out.
                Err(error) if error.is_one_row() => {
                    shard.tell_of_row(&error);
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        let head = standing.map(|(standing, _)| standing.head);
        if let Some((Standing { follows_from: Some(from), .. }, durable)) = standing {
            channels.push(follows(id, from, durable));
        }
        let acked = match planted(Plant::HeadsSkipTheAcked) {
            true => cursor(state, storage, user, id)?,
            false => None,
        };
        if let Some(head) = head.filter(|head| *head > acked.unwrap_or(Seq::ZERO)) {
            heads.push(Head { conversation: id, head });
        }
    }
    if planted(Plant::CursorAdvancedOnConnect) {
        for Head { conversation, head } in heads.iter().copied() {
            state.handle_ack(storage, caller, conversation, head, shard.clock.now())?;
        }
    }
    if planted(Plant::RedeliveryStopsAfterReconnect) {
        state.debts.cancel_timers(device);
    } else if asked_after.is_none() {
        // The gateway asks for all parts, until the connection is gone, and the next one is told them all again.
        state.debts.handle_heads((user, device), caller.connect_count);
    }
    let next = next.filter(|_| !planted(Plant::HeadsFirstPartOnly));
    let last = next.is_none();
    shard.observer.hop(&Hop::HeadsTold { device, heads: &heads, last });
    let heads = heads.iter().map(protobuf::head_to_wire).collect();
    let part = HeadsPart { request_id, heads, last, after, next: next.and_then(protobuf::conversation_to_wire) };
    Ok((part, channels))
}

/// Where a user's cursor stands. The bug `heads-omit-new-conversations` takes the cursors for the list of a user's conversations, and
/// `heads-skip-the-acked` takes what a user has acked for what a device has.
fn cursor(
    state: &ShardState,
    storage: &dyn Storage,
    user: UserId,
    conversation: ConversationId,
) -> Result<Option<Seq>, StorageError> {
    let stored = storage.cursors_of(&[(user, conversation)])?.first().map_or(Seq::ZERO, |stored| stored.delivered);
    let moved = state.cursors.of(user, conversation).delivered;
    Ok(Some(stored.max(moved)).filter(|cursor| *cursor > Seq::ZERO))
}
