//! A shard: its state under one lock, its disk, and what its tasks share.
//!
//! **Invariant:** after a failed commit nothing in memory is believed: `recover` drops it all and reads the disk, and until
//! then `storage` is `None` and nobody is answered. Guarded by `sim/checks/src/acked_is_durable.rs`.

use super::dispatcher::{Dispatcher, Plan};
use super::old_sends::OldSends;
use super::state::ShardState;
use crate::clock::Clock;
use crate::observer::{Observer, Point};
use crate::storage::{OpenStorage, StorageError};
use squall_core::messages::Debts;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A shard of all conversations.
pub struct Shard {
    state: Mutex<ShardState>,
    open_storage: OpenStorage,
    pub dispatcher: Dispatcher,
    pub old_sends: OldSends,
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
        let state = Mutex::new(ShardState::empty());
        Shard {
            state,
            open_storage,
            dispatcher,
            old_sends: OldSends::default(),
            clock,
            observer,
            work: Notify::new(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, ShardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all memory, opens the disk, and plans anew what it holds beyond the dispatch watermark.
    pub fn recover(&self) -> Result<(), StorageError> {
        *self.state() = ShardState::empty();
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
}
