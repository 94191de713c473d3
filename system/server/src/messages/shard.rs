//! A shard: its state under one lock, its disk, and what its tasks share.
//!
//! **Invariants:** after a failed commit nothing in memory is believed: `recover` drops it all and reads the disk, and until
//! then `storage` is `None` and nobody is told more than `busy`. Guarded by `sim/checks/src/acked_is_durable.rs`. What cannot be
//! read harms who asks for it and nobody else. Guarded by `server/tests/damage.rs`.

use super::dispatcher::{Dispatcher, Plan};
use super::fences::Fences;
use super::state::ShardState;
use crate::clock::Clock;
use crate::observer::{Observer, Point};
use crate::storage::{Counted, OpenStorage, Storage, StorageError};
use crate::tasks::Tasks;
use squall_core::messages::Debts;
use squall_protocol::limits;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A shard of all conversations.
pub struct Shard {
    state: Mutex<ShardState>,
    open_storage: OpenStorage,
    pub dispatcher: Dispatcher,
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    pub tasks: Tasks,
    /// Something waits to be committed.
    pub work: Notify,
    /// Rows that cannot be read and have been told of.
    damaged: Mutex<BTreeSet<String>>,
}

impl Shard {
    pub fn new(
        open_storage: OpenStorage,
        dispatcher: Dispatcher,
        clock: Clock,
        observer: Arc<dyn Observer>,
        tasks: Tasks,
    ) -> Self {
        let state = Mutex::new(ShardState::empty());
        Shard {
            state,
            open_storage,
            dispatcher,
            clock,
            observer,
            tasks,
            work: Notify::new(),
            damaged: Mutex::default(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, ShardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk, whose reads are counted from here on.
    fn open(&self) -> Result<Arc<dyn Storage>, StorageError> {
        Ok(Arc::new(Counted::new((self.open_storage)()?, Arc::clone(&self.observer))))
    }

    /// Drops all memory, opens the disk, and plans anew what it holds beyond the dispatch watermark.
    pub fn recover(&self) -> Result<(), StorageError> {
        *self.state() = ShardState::empty();
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
        state.debts = Debts::new(recovered.next_position);
        let rows = storage.rows_from(dispatched, usize::MAX)?;
        let mut plans = Vec::with_capacity(rows.len());
        for (_, row) in rows {
            let planned = row.and_then(|new| {
                let log = state.cache.get(new.conversation, storage.as_ref())?;
                Ok((log.membership().members_at(new.entry.seq).collect(), new))
            });
            let (members, new) = match planned {
                Ok(planned) => planned,
                Err(error) if error.is_one_row() => {
                    self.tell_of_row(&error);
                    continue;
                }
                Err(error) => return Err(error),
            };
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
