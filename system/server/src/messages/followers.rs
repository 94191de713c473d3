//! The gateways that follow channels, and how far each has been told.
//!
//! Of a channel a shard owes each gateway one tail at a time: the entries that it has not had. What is committed while one is on its way waits until
//! the gateway has taken that in, and goes together. A tail without an acknowledgement is told again; a new link begins with what its
//! gateway follows and has.
//!
//! **Invariants:** a gateway that follows is told every entry, in order and without a gap, whatever a commit, a recovery or a queue without room
//! has kept from it before (`sim/checks/src/{no_loss,in_time}.rs`). A row is a (gateway, channel), and takes the same memory whatever is owed.

use super::session::Session;
use super::shard::Shard;
use super::state::ShardState;
use crate::hop::Hop;
use crate::links::Pushed;
use crate::observer::Point;
use crate::storage::{Storage, StorageError};
use crate::work::Work;
use squall_core::Time;
use squall_core::plant::{Plant, planted};
use squall_protocol::frames::{Entry, LogSpan};
use squall_protocol::wire::messages::{Reply, Tail, reply};
use squall_protocol::{ConversationId, Seq, limits, protobuf};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A gateway that follows a channel.
struct Row {
    session: Arc<Session>,
    /// It has taken in everything up to here.
    have: Seq,
    /// It has been told everything up to here.
    sent: Seq,
    sent_at: Time,
}

/// Who follows which channel.
#[derive(Default)]
pub struct Followers {
    rows: Mutex<BTreeMap<ConversationId, Vec<Row>>>,
    /// How many channels are followed: a commit where none is takes no lock.
    channels: AtomicUsize,
}

impl Followers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConversationId, Vec<Row>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, rows: &BTreeMap<ConversationId, Vec<Row>>) {
        self.channels.store(rows.len(), Ordering::Relaxed);
    }

    fn are_none(&self) -> bool {
        self.channels.load(Ordering::Relaxed) == 0
    }

    /// A gateway's link is gone, and all its rows.
    pub fn close(&self, session: &Arc<Session>) {
        let mut rows = self.lock();
        rows.retain(|_, following| {
            following.retain(|row| !Arc::ptr_eq(&row.session, session));
            !following.is_empty()
        });
        self.note(&rows);
    }

    pub fn unfollow(&self, session: &Arc<Session>, conversation: ConversationId) {
        let mut rows = self.lock();
        if let Some(following) = rows.get_mut(&conversation) {
            following.retain(|row| !Arc::ptr_eq(&row.session, session));
            if following.is_empty() {
                rows.remove(&conversation);
            }
        }
        self.note(&rows);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        if self.are_none() { 0 } else { self.lock().values().map(Vec::len).sum() }
    }
}

/// Queues a tail: all entries from `from` to `to`, of a channel since that entry. False: there is no room for it.
fn push(shard: &Shard, session: &Session, span: LogSpan, since: Seq, over: bool) -> bool {
    let (conversation, from, seq) = (span.conversation, span.from, span.to);
    let tail = Tail { span: Some(protobuf::span_to_wire(&span)), over, channel_since: since.0 };
    let reply = Reply { connection: 0, device: 0, channels: Vec::new(), reply: Some(reply::Reply::Tail(tail)) };
    shard.observer.worked(Work::Publication, 1);
    shard.observer.passed(&Point::ChannelTold { conversation, seq, again: false });
    shard.observer.hop(&Hop::TailTold { conversation, from, to: seq });
    session.replies.push(reply) == Pushed::Queued
}

/// The entries after `have`, as many as a page holds.
fn read(
    storage: &dyn Storage,
    conversation: ConversationId,
    have: Seq,
    durable: Seq,
) -> Result<LogSpan, StorageError> {
    let mut entries = Vec::new();
    if have < durable {
        entries = storage.entries(conversation, have.next(), durable, limits::PAGE_ENTRIES, limits::PAGE_BYTES)?;
    }
    let to = entries.last().map_or(have, |last| last.seq);
    Ok(LogSpan { conversation, from: have.next(), to, entries })
}

impl Row {
    fn is_told(&self) -> bool {
        self.sent == self.have
    }

    /// Tells all that there is after what it has.
    fn tell(
        &mut self,
        shard: &Shard,
        storage: &dyn Storage,
        conversation: ConversationId,
        (durable, since): (Seq, Seq),
    ) -> Result<(), StorageError> {
        let span = read(storage, conversation, self.have, durable)?;
        let to = span.to;
        if push(shard, &self.session, span, since, false) {
            (self.sent, self.sent_at) = (to, shard.clock.now());
        }
        Ok(())
    }
}

/// A gateway follows a channel from now on; it has all entries up to `have`. Whatever cannot be answered now it asks again.
pub fn handle_follow(shard: &Shard, session: &Arc<Session>, conversation: ConversationId, have: Option<Seq>) {
    let mut state = shard.state();
    let Some(storage) = state.storage.clone() else { return };
    if let Err(error) = follow(shard, &mut state, storage.as_ref(), session, conversation, have) {
        shard.handle_read_error(&mut state, &error);
    }
}

fn follow(
    shard: &Shard,
    state: &mut ShardState,
    storage: &dyn Storage,
    session: &Arc<Session>,
    conversation: ConversationId,
    have: Option<Seq>,
) -> Result<(), StorageError> {
    let log = state.cache.get(conversation, storage)?;
    let (durable, since) = (log.durable(), log.regime().0);
    if log.is_no_channel() {
        shard.followers.unfollow(session, conversation);
        push(shard, session, nothing_after(conversation, durable), Seq::ZERO, true);
        return Ok(());
    }
    let have = have.unwrap_or(Seq(durable.0.saturating_sub(limits::TAIL_ENTRIES as u64))).min(durable);
    let span = read(storage, conversation, have, durable)?;
    let to = span.to;
    let told = push(shard, session, span, since, false);
    let row =
        Row { session: Arc::clone(session), have, sent: if told { to } else { have }, sent_at: shard.clock.now() };
    let mut rows = shard.followers.lock();
    let following = rows.entry(conversation).or_default();
    following.retain(|row| !Arc::ptr_eq(&row.session, session));
    following.push(row);
    shard.followers.note(&rows);
    Ok(())
}

fn nothing_after(conversation: ConversationId, end: Seq) -> LogSpan {
    LogSpan { conversation, from: end.next(), to: end, entries: Vec::new() }
}

/// A gateway has taken in everything up to here: what has come meanwhile is next.
pub fn handle_took(shard: &Shard, session: &Arc<Session>, conversation: ConversationId, up_to: Seq) {
    let mut state = shard.state();
    let mut rows = shard.followers.lock();
    let row = rows
        .get_mut(&conversation)
        .and_then(|following| following.iter_mut().find(|row| Arc::ptr_eq(&row.session, session)));
    let Some(row) = row else { return };
    (row.have, row.sent) = (up_to, up_to);
    // Without either it is told at the next look.
    let Some(storage) = state.storage.clone() else { return };
    let stands = state.cache.peek(conversation).map(|log| (log.durable(), log.regime().0));
    let Some((durable, since)) = stands else { return };
    if durable > up_to
        && !planted(Plant::TailOwedIsForgotten)
        && let Err(error) = row.tell(shard, storage.as_ref(), conversation, (durable, since))
    {
        drop(rows);
        shard.handle_read_error(&mut state, &error);
    }
}

/// These entries of a conversation are durable: whoever follows it and has been told all before is told them at once.
pub fn handle_committed<'e>(
    shard: &Shard,
    conversation: ConversationId,
    since: Seq,
    entries: impl Iterator<Item = &'e Entry> + Clone,
) {
    if shard.followers.are_none() {
        return;
    }
    let mut rows = shard.followers.lock();
    let Some(following) = rows.get_mut(&conversation) else { return };
    let Some(first) = entries.clone().next().map(|entry| entry.seq) else { return };
    let now = shard.clock.now();
    for row in following.iter_mut().filter(|row| row.is_told() && row.sent.next() == first) {
        let mut bytes = 0;
        // What is left over is read when this has been taken in.
        let room = entries.clone().take_while(|entry| {
            let has_room = bytes < limits::PAGE_BYTES;
            bytes += entry.payload.size();
            has_room
        });
        let entries: Vec<Entry> = room.take(limits::PAGE_ENTRIES).cloned().collect();
        let to = entries.last().map_or(row.sent, |last| last.seq);
        if push(shard, &row.session, LogSpan { conversation, from: first, to, entries }, since, false) {
            (row.sent, row.sent_at) = (to, now);
        }
    }
}

/// Tells again what has had no acknowledgement, what found no room or was found on the disk, and who follows what is no channel any more.
pub fn look_again(shard: &Shard) {
    if shard.followers.are_none() {
        return;
    }
    let mut guard = shard.state();
    let state = &mut *guard;
    let Some(storage) = state.storage.clone() else { return };
    let now = shard.clock.now();
    let mut rows = shard.followers.lock();
    let mut failed = None;
    rows.retain(|conversation, following| {
        let log = match state.cache.get(*conversation, storage.as_ref()) {
            Ok(log) => log,
            Err(error) => {
                failed = Some(error);
                return true;
            }
        };
        let (durable, since, is_over) = (log.durable(), log.regime().0, log.is_no_channel());
        following.retain_mut(|row| {
            if is_over {
                return !push(shard, &row.session, nothing_after(*conversation, durable), since, true);
            }
            if planted(Plant::TailOwedIsForgotten) {
                return true;
            }
            if !row.is_told() && now.since(row.sent_at) >= limits::REDELIVER_AFTER {
                row.sent = row.have;
                shard.observer.passed(&Point::ChannelTold {
                    conversation: *conversation,
                    seq: row.have,
                    again: true,
                });
            }
            if row.is_told() && durable > row.have {
                failed =
                    row.tell(shard, storage.as_ref(), *conversation, (durable, since)).err().or(failed.take());
            }
            true
        });
        !following.is_empty()
    });
    shard.followers.note(&rows);
    drop(rows);
    if let Some(error) = failed {
        shard.handle_read_error(&mut guard, &error);
    }
}
