//! The commit task: takes what is staged, makes it durable, then acks and hands over to the dispatcher.
//!
//! Commits are grouped: what is staged while one commit runs goes into the next.
//!
//! **Invariant:** `finish` is the only place that marks an entry durable, and it runs after its commit. Guarded by
//! `sim/checks/src/acked_is_durable.rs`; on a real disk by `server/tests/sigkill/`.

use super::backoff::Backoff;
use super::dispatch;
use super::dispatcher::Plan;
use super::followers;
use super::readers::Readers;
use super::receipts;
use super::shard::Shard;
use super::state::follower;
use crate::hop::Hop;
use crate::observer::Point;
use crate::storage::{Batch, NewEntry, Storage};
use crate::work::Work;
use rustc_hash::FxHashMap;
use squall_core::Time;
use squall_core::messages::LogDelta;
use squall_core::plant::{Plant, planted};
use squall_protocol::{ConversationId, Cursors, Payload, UserId, limits};
use std::sync::Arc;

/// Commits for as long as the shard lives.
pub async fn run(shard: Arc<Shard>) {
    let mut cursors_written = shard.clock.now();
    let mut backoff = Backoff::default();
    loop {
        let Some(storage) = open(&shard, &mut backoff).await else { continue };
        let (batch, stood) = cut(&shard, storage.as_ref(), &mut cursors_written);
        if batch.is_empty() {
            drop(storage);
            let idle = tokio::time::sleep(limits::CURSOR_FLUSH_INTERVAL);
            tokio::select! {
                biased;
                () = shard.work.notified() => {}
                () = idle => {}
            }
            continue;
        }
        shard.observer.worked(Work::Commit, 1);
        shard.observer.worked(Work::Entry, batch.entries.len());
        shard.observer.worked(Work::EntryByte, batch.entries.iter().map(|new| new.entry.payload.size()).sum());
        shard.observer.hop(&Hop::Committing { batch: &batch });
        let committed = storage.append(batch.clone()).await;
        drop(storage);
        match committed {
            Ok(()) => {
                finish(&shard, batch, &stood);
                if backoff.handle_done() {
                    shard.observer.passed(&Point::StorageUp);
                }
            }
            Err(error) => {
                let reason = error.to_string();
                shard.observer.passed(&Point::CommitFailed { reason: &reason });
                shard.observer.hop(&Hop::CommitFailed { batch: &batch });
                handle_failed(&shard, &mut backoff, &reason);
                let mut state = shard.state();
                state.storage = None;
                state.is_committing = false;
                state.read_failed = false;
            }
        }
    }
}

fn handle_failed(shard: &Shard, backoff: &mut Backoff, reason: &str) {
    if backoff.handle_failed(shard.clock.now()) {
        shard.observer.passed(&Point::StorageDown { reason });
    }
}

/// The storage, opened anew or recovered first if need be, and only when it may be tried. `None`: not just now.
async fn open(shard: &Shard, backoff: &mut Backoff) -> Option<Arc<dyn Storage>> {
    let (open, read_failed) = {
        let mut state = shard.state();
        if state.read_failed {
            // Nobody is to wait for a commit that cannot be.
            state.storage = None;
        }
        (state.storage.is_some(), state.read_failed)
    };
    let opened = match (open, read_failed) {
        (true, _) => Ok(()),
        (false, true) => {
            handle_failed(shard, backoff, "a read failed");
            rest(shard, backoff).await;
            shard.reopen()
        }
        // At once, whatever the back-off says: what is on the disk can be read meanwhile.
        (false, false) => shard.recover(),
    };
    if let Err(error) = opened {
        let reason = error.to_string();
        shard.observer.passed(&Point::RecoveryFailed { reason: &reason });
        handle_failed(shard, backoff, &reason);
    }
    rest(shard, backoff).await;
    shard.state().storage.clone()
}

/// Waits until the disk may be tried again. Meanwhile sends are answered `busy`.
async fn rest(shard: &Shard, backoff: &Backoff) {
    if backoff.poll_timeout() > shard.clock.now() {
        shard.state().is_resting = true;
        tokio::time::sleep_until(shard.clock.instant(backoff.poll_timeout())).await;
        shard.state().is_resting = false;
    }
}

/// Takes all that is staged, with the rows that belong to it, and cursors once in a while; with where these have stood until now.
fn cut(shard: &Shard, storage: &dyn Storage, cursors_written: &mut Time) -> (Batch, Vec<Cursors>) {
    let now = shard.clock.now();
    let mut state = shard.state();
    let entries = state.staged.cut();
    let (mut batch, mut stood) = (Batch::default(), Vec::new());
    let mut places: FxHashMap<ConversationId, usize> = FxHashMap::default();
    for new in &entries {
        // Everything staged is in this batch, so the state in memory is the state after it.
        let log = state.cache.peek(new.conversation).expect("a conversation with staged entries stays in memory");
        let place = *places.entry(new.conversation).or_insert_with(|| {
            batch.logs.push(LogDelta::of(log));
            batch.logs.len() - 1
        });
        batch.logs[place].note(log, &new.entry);
    }
    if now.since(*cursors_written) >= limits::CURSOR_FLUSH_INTERVAL {
        *cursors_written = now;
        batch.cursors = state.cursors.cut(now, shard.sessions.are_closing());
        stood = receipts::stood(shard, &mut state, storage, &batch.cursors);
        if planted(Plant::ReceiptBeforeCommit) {
            receipts::plan(shard, &mut state, &batch.cursors, &stood);
        }
        let dispatched = state.watermark();
        // What is acked is on disk before nobody asks for it any more.
        let may_pass = !state.cursors.hold_watermark();
        if dispatched > state.dispatched && may_pass {
            state.dispatched = dispatched;
            batch.dispatched = Some(dispatched);
        }
    }
    batch.entries = entries;
    batch.fences = state.fences.cut();
    if planted(Plant::FenceLostBesideJoin) && !newcomers(&batch).is_empty() {
        batch.fences.clear();
    }
    state.is_committing = !batch.is_empty();
    (batch, stood)
}

/// The batch is durable: tell the senders, all of them, and then plan the fan-out. `stood`: where its cursors stood before.
fn finish(shard: &Shard, mut batch: Batch, stood: &[Cursors]) {
    for new in &batch.entries {
        shard.observer.passed(&Point::Committed { conversation: new.conversation, entry: &new.entry });
    }
    let unseen = if planted(Plant::NewcomerMissesRacingEntry) { newcomers(&batch) } else { Vec::new() };
    let registries = shard.dispatcher.registries.len();
    let mut guard = shard.state();
    let state = &mut *guard;
    let mut answered = Vec::with_capacity(batch.entries.len());
    state.is_committing = false;
    for NewEntry { conversation, entry, .. } in &batch.entries {
        state.staged.handle_durable(entry);
        let log = state.cache.peek_mut(*conversation).expect("a conversation with staged entries stays in memory");
        log.handle_durable(entry.seq);
        let waiters = state.waiters.remove(&(*conversation, entry.seq)).unwrap_or_default();
        // Who said it again on a newer connection waits there, too, behind the earlier one.
        answered.push(waiters.last().map(|waiter| waiter.answered(entry.sender)));
        for waiter in waiters {
            let channel = follower(log, entry.sender, entry.seq);
            waiter.answer(shard.observer.as_ref(), *conversation, entry.seq, entry.stored_at_ms, channel);
            shard.observer.passed(&Point::Acked {
                conversation: *conversation,
                device: waiter.device,
                client_msg_id: waiter.client_msg_id,
                seq: entry.seq,
            });
        }
    }
    tell_followers(shard, &batch);
    let mut plans = Vec::with_capacity(batch.entries.len());
    for (new, answered) in std::mem::take(&mut batch.entries).into_iter().zip(answered) {
        let conversation = new.conversation;
        let log = state.cache.peek(conversation).expect("a conversation with staged entries stays in memory");
        let readers = match unseen.is_empty() {
            true => state.readers.of(log, &new.entry, registries),
            false => {
                let members = log.membership().members_at(new.entry.seq);
                Readers::new(members.filter(|user| !unseen.contains(&(*user, conversation))), registries)
            }
        };
        state.planner.handle_committed(new.position);
        let channel = log.regime().is_channel(log.durable());
        plans.push(Plan { new, readers, answered, channel });
    }
    shard.observer.worked(Work::Member, state.readers.take_listed());
    state.fences.handle_durable();
    dispatch::plan(shard, state, plans);
    if !planted(Plant::ReceiptBeforeCommit) {
        receipts::plan(shard, state, &batch.cursors, stood);
    }
}

/// Tells the gateways that follow a channel what this batch has of it.
fn tell_followers(shard: &Shard, batch: &Batch) {
    for log in &batch.logs {
        let own = batch.entries.iter().filter(|new| new.conversation == log.id);
        followers::handle_committed(shard, log.id, log.regime.0, own.map(|new| &new.entry));
    }
}

/// Who joins in this batch. The bug `newcomer-misses-racing-entry` reads who is a member before the commit, without them.
fn newcomers(batch: &Batch) -> Vec<(UserId, ConversationId)> {
    let joined = |new: &NewEntry| match &new.entry.payload {
        Payload::Joined(users) => users.iter().map(|user| (*user, new.conversation)).collect(),
        _ => Vec::new(),
    };
    batch.entries.iter().flat_map(joined).collect()
}
