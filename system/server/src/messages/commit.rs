//! The commit task: takes what is staged, makes it durable, then acks and hands over to the dispatcher.
//!
//! Commits are grouped: what is staged while one commit runs goes into the next.
//!
//! **Invariant:** `finish` is the only place that marks an entry durable, and it runs after its commit. Guarded by
//! `sim/checks/src/acked_is_durable.rs`; on a real disk by `server/tests/sigkill/`.

use super::dispatcher::Plan;
use super::shard::Shard;
use crate::observer::Point;
use crate::storage::{Batch, NewEntry, Storage};
use rustc_hash::{FxHashMap, FxHashSet};
use squall_core::Time;
use squall_core::plant::{Plant, planted};
use squall_protocol::{ConversationId, Payload, UserId, limits};
use std::sync::Arc;

/// Commits for as long as the shard lives.
pub async fn run(shard: Arc<Shard>) {
    let mut cursors_written = shard.clock.now();
    loop {
        let Some(storage) = open(&shard).await else { continue };
        let batch = cut(&shard, &mut cursors_written);
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
        let committed = storage.append(batch.clone()).await;
        drop(storage);
        match committed {
            Ok(()) => finish(&shard, batch),
            Err(error) => {
                shard.observer.passed(&Point::CommitFailed { reason: &error.to_string() });
                shard.state().storage = None;
            }
        }
    }
}

/// The storage, recovered first if need be. `None`: it could not be opened just now.
async fn open(shard: &Shard) -> Option<Arc<dyn Storage>> {
    if let Some(storage) = shard.state().storage.clone() {
        return Some(storage);
    }
    if let Err(error) = shard.recover() {
        shard.observer.passed(&Point::RecoveryFailed { reason: &error.to_string() });
        tokio::time::sleep(limits::LINK_BACKOFF_MAX).await;
    }
    shard.state().storage.clone()
}

/// Takes all that is staged, with the rows that belong to it, and cursors once in a while.
fn cut(shard: &Shard, cursors_written: &mut Time) -> Batch {
    let now = shard.clock.now();
    let mut state = shard.state();
    let entries = std::mem::take(&mut state.staged);
    let mut batch = Batch::default();
    let mut seen = FxHashSet::default();
    for new in &entries {
        if seen.insert(new.conversation) {
            // Everything staged is in this batch, so the state in memory is the state after it.
            let log =
                state.cache.peek(new.conversation).expect("a conversation with staged entries stays in memory");
            batch.conversations.push(log.clone());
        }
        match &new.entry.payload {
            Payload::Created { members, .. } => {
                batch.members.extend(members.iter().map(|m| (*m, new.conversation)))
            }
            Payload::Joined(user) => batch.members.push((*user, new.conversation)),
            Payload::Text(_) | Payload::Left(_) => {}
        }
    }
    if now.since(*cursors_written) >= limits::CURSOR_FLUSH_INTERVAL {
        *cursors_written = now;
        let cursors = std::mem::take(&mut state.cursors);
        batch.cursors = cursors.into_iter().map(|((device, c), seq)| (device, c, seq)).collect();
        let dispatched = state.debts.dispatched();
        if dispatched > state.dispatched {
            state.dispatched = dispatched;
            batch.dispatched = Some(dispatched);
        }
    }
    batch.entries = entries;
    batch
}

/// The batch is durable: tell the senders, then plan the fan-out.
fn finish(shard: &Shard, batch: Batch) {
    for new in &batch.entries {
        shard.observer.passed(&Point::Committed { conversation: new.conversation, entry: &new.entry });
    }
    let mut state = shard.state();
    if state.storage.is_none() {
        // A read has failed in the meantime and everything is about to be recovered from the disk.
        return;
    }
    let unseen = if planted(Plant::NewcomerMissesRacingEntry) { newcomers(&batch) } else { Vec::new() };
    let mut plans = Vec::with_capacity(batch.entries.len());
    // Who is to have an entry follows from what is durable; memory may be further on.
    let logs: FxHashMap<_, _> = batch.conversations.iter().map(|log| (log.id(), log)).collect();
    for new in batch.entries {
        let (conversation, seq) = (new.conversation, new.entry.seq);
        let log = state.cache.peek_mut(conversation).expect("a conversation with staged entries stays in memory");
        log.handle_durable(seq);
        let members = logs[&conversation].membership().members_at(seq);
        let members = members.filter(|user| !unseen.contains(&(*user, conversation))).collect();
        for waiter in state.waiters.remove(&(conversation, seq)).unwrap_or_default() {
            waiter.answer(conversation, seq);
            shard.observer.passed(&Point::Acked {
                conversation,
                device: waiter.device,
                client_msg_id: waiter.client_msg_id,
                seq,
            });
        }
        for (replies, reply) in state.deferred.remove(&(conversation, seq)).unwrap_or_default() {
            replies.push(reply);
        }
        state.debts.handle_committed(new.position);
        plans.push(Plan { new, members });
    }
    drop(state);
    shard.dispatcher.plan(plans, shard.clock.now());
}

/// The bug `newcomer-misses-racing-entry` reads who is a member before the commit: without those who join in it.
fn newcomers(batch: &Batch) -> Vec<(UserId, ConversationId)> {
    let joined = |new: &NewEntry| match new.entry.payload {
        Payload::Joined(user) => Some((user, new.conversation)),
        _ => None,
    };
    batch.entries.iter().filter_map(joined).collect()
}
