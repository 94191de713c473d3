//! What all tasks of a gateway share: its connections, its queues to other roles, its clock.
//!
//! **Invariant:** the table's lock is never held across an await. Its guard is not `Send`, so a task that did would not
//! compile.

use super::table::{ConnectionId, Deadline, Table};
use super::uplinks::Uplinks;
use crate::clock::Clock;
use crate::observer::Observer;
use crate::tasks::Tasks;
use squall_core::gateway::Peer;
use squall_protocol::limits;
use squall_protocol::token::TokenSecret;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What all tasks of a gateway share.
pub struct Gateway {
    pub index: u32,
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    pub secret: TokenSecret,
    pub uplinks: Uplinks,
    pub tasks: Tasks,
    table: Mutex<Table>,
}

impl Gateway {
    /// A gateway without connections.
    pub fn new(
        index: u32,
        clock: Clock,
        observer: Arc<dyn Observer>,
        secret: TokenSecret,
        uplinks: Uplinks,
        tasks: Tasks,
    ) -> Self {
        Gateway { index, clock, observer, secret, uplinks, tasks, table: Mutex::default() }
    }

    pub fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks every shard where the user's conversations stand.
    pub fn ask_heads(&self, id: ConnectionId, peer: Peer) {
        let all = self.uplinks.all_shards();
        let mut table = self.table();
        let Some(row) = table.get_mut(id) else { return };
        let was_waiting = std::mem::replace(&mut row.heads_awaited, all) != 0;
        row.heads_asked = true;
        row.heads_round += 1;
        let round = row.heads_round;
        if !was_waiting {
            table.schedule(self.clock.now() + limits::HEADS_RETRY_AFTER, id, Deadline::Heads);
        }
        drop(table);
        self.uplinks.ask_heads_of(id, peer, all, round);
    }
}
