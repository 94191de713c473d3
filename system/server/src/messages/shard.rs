//! A shard: its state under one lock, its disk, and what its tasks share.
//!
//! **Invariants:** after a failed commit nothing in memory is believed: `recover` drops it all and reads the disk, and until
//! then `storage` is `None` and nobody is told more than `busy`. Guarded by `sim/checks/src/acked_is_durable.rs`. What cannot be
//! read harms who asks for it and nobody else. Guarded by `server/tests/damage.rs`.

use super::dispatch;
use super::dispatcher::Dispatcher;
use super::fences::Fences;
use super::followers::Followers;
use super::notices::Notices;
use super::session::Sessions;
use super::state::ShardState;
use crate::clock::Clock;
use crate::hop::Hop;
use crate::observer::{Observer, Point};
use crate::storage::{Counted, OpenStorage, Storage, StorageError};
use crate::tasks::Tasks;
use squall_core::messages::{Planner, Position};
use squall_core::plant::{Plant, planted};
use squall_core::rate::{Growth, UserLimits};
use squall_protocol::ids::rendezvous;
use squall_protocol::{ConversationId, limits};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Which of the shards one is: who has which conversation follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub index: u32,
    pub shards: u32,
}

impl Share {
    pub fn has(self, conversation: ConversationId) -> bool {
        rendezvous(conversation.spread(), self.shards) == self.index
    }
}

/// A shard of all conversations.
pub struct Shard {
    pub share: Share,
    state: Mutex<ShardState>,
    /// How many wait for the state.
    waiting: AtomicUsize,
    open_storage: OpenStorage,
    growth: Mutex<Growth>,
    pub dispatcher: Dispatcher,
    pub sessions: Sessions,
    pub followers: Followers,
    pub notices: Notices,
    /// A group with more members is a channel.
    pub channel_above: u32,
    /// Devices are told how far others have come.
    pub tells_receipts: bool,
    /// Of a larger group it is told how many have come how far, and not who.
    named_up_to: u32,
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    pub tasks: Tasks,
    /// Something waits to be committed.
    pub work: Notify,
    /// How often memory has been dropped.
    lives: AtomicU32,
    /// Requests that were another shard's.
    misrouted: AtomicU64,
    /// Rows that cannot be read and have been told of.
    damaged: Mutex<BTreeSet<String>>,
}

impl Shard {
    pub fn new(
        share: Share,
        open_storage: OpenStorage,
        limits: UserLimits,
        dispatcher: Dispatcher,
        clock: Clock,
        observer: Arc<dyn Observer>,
        tasks: Tasks,
    ) -> Self {
        let state = Mutex::new(ShardState::empty(dispatcher.registries.len(), limits.receipts_named_up_to));
        Shard {
            share,
            state,
            waiting: AtomicUsize::new(0),
            open_storage,
            growth: Mutex::new(Growth::new(limits)),
            followers: Followers::default(),
            notices: Notices::new(dispatcher.registries.len()),
            channel_above: limits.channel_above,
            tells_receipts: limits.tells_receipts,
            named_up_to: limits.receipts_named_up_to,
            dispatcher,
            sessions: Sessions::default(),
            clock,
            observer,
            tasks,
            work: Notify::new(),
            lives: AtomicU32::new(0),
            misrouted: AtomicU64::new(0),
            damaged: Mutex::default(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, ShardState> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        state
    }

    /// Lets others have the state who wait for it: its lock is given to whoever asks first once it is free, and whoever asks again and
    /// again mostly does.
    pub async fn let_others(&self) {
        for _ in 0..limits::YIELDS_TO_OTHERS {
            if self.waiting.load(Ordering::Relaxed) == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The disk, whose reads are counted from here on.
    fn open(&self) -> Result<Arc<dyn Storage>, StorageError> {
        Ok(Arc::new(Counted::new((self.open_storage)()?, Arc::clone(&self.observer))))
    }

    /// What users create and add. It has a lock of its own, so that whoever does too much is refused before the shard's is taken.
    pub fn growth(&self) -> MutexGuard<'_, Growth> {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all memory, opens the disk, and begins to plan anew what it holds beyond the dispatch watermark.
    pub fn recover(&self) -> Result<(), StorageError> {
        let registries = self.dispatcher.registries.len();
        {
            // All that was known goes here, before anything is read anew: there may be much of it.
            let mut state = self.state();
            let before = std::mem::replace(&mut *state, ShardState::empty(registries, self.named_up_to));
            if planted(Plant::MembersOutliveFailedCommit) {
                state.cache = before.cache.take_back();
            }
        }
        self.dispatcher.forget();
        self.observer.passed(&Point::Recovering);
        let storage = self.open()?;
        let recovered = storage.recovered()?;
        let mut state = self.state();
        state.next_position = recovered.next_position;
        let dispatched = recovered.dispatched.unwrap_or_else(|| {
            // Where to begin is not known: all of the log is looked at again.
            self.tell_of_row(&StorageError::Corrupt { table: "marks", row: "dispatched".into() });
            0
        });
        state.dispatched = dispatched;
        state.fences = Fences::load(storage.fenced()?);
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        state.planner = Planner::new(registries, life, dispatched, recovered.next_position);
        drop(state);
        self.tell_of_found(storage.as_ref(), dispatched, recovered.next_position)?;
        self.state().storage = Some(storage);
        self.observer.hop(&Hop::Recovered { entries: recovered.next_position, dispatched });
        let replanned = (recovered.next_position - dispatched) as usize;
        self.observer.passed(&Point::Recovered { replanned });
        dispatch::catch_up(self);
        Ok(())
    }

    /// Tells of the entries that a commit may have made durable without anybody knowing: no more than can have been staged. They are read in
    /// pieces, and none is kept: the planner reads what it needs by itself, while the shard serves.
    fn tell_of_found(
        &self,
        storage: &dyn Storage,
        dispatched: Position,
        next: Position,
    ) -> Result<(), StorageError> {
        let mut from = dispatched.max(next.saturating_sub(limits::MAX_STAGED as u64));
        loop {
            let rows = storage.rows_from(from, limits::PLAN_READ_ENTRIES)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            from = last + 1;
            for (_, row) in rows {
                match row {
                    Ok(new) => {
                        self.observer.passed(&Point::Found { conversation: new.conversation, entry: &new.entry });
                    }
                    Err(error) if error.is_one_row() => self.tell_of_row(&error),
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Opens the disk anew after a failed read. Memory is kept: what it takes for durable came from commits that succeeded.
    /// A disk that says otherwise is recovered from like any other.
    pub fn reopen(&self) -> Result<(), StorageError> {
        drop(self.state().storage.take());
        let storage = self.open()?;
        let on_disk = storage.recovered()?.next_position;
        let mut state = self.state();
        if on_disk != state.next_position - state.staged.len() as u64 {
            drop((state, storage));
            return self.recover();
        }
        state.read_failed = false;
        state.storage = Some(storage);
        Ok(())
    }

    /// One more request has come that is another shard's. Returns how many that makes.
    pub fn count_misrouted(&self) -> u64 {
        1 + self.misrouted.fetch_add(1, Ordering::Relaxed)
    }

    /// Somebody's read has failed, who has been told: one row harms nobody else; after any other error the database has to be
    /// opened anew before it answers anybody.
    pub fn handle_read_error(&self, state: &mut ShardState, error: &StorageError) {
        if error.is_one_row() {
            return self.tell_of_row(error);
        }
        if !std::mem::replace(&mut state.read_failed, true) {
            self.observer.passed(&Point::ReadFailed { reason: &error.to_string() });
        }
        self.work.notify_one();
    }

    /// Tells of a row that cannot be read, once.
    pub fn tell_of_row(&self, error: &StorageError) {
        let reason = error.to_string();
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.len() < limits::MAX_DAMAGED_ROWS_TOLD && damaged.insert(reason.clone()) {
            drop(damaged);
            self.observer.passed(&Point::RowDamaged { reason: &reason });
        }
    }
}
