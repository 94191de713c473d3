//! What a shard owes to devices, deliveries that they have not acked, and the dispatch watermark that follows from it.
//!
//! Every `REDELIVER_AFTER` the device is told how far its log goes, and fetches what it lacks by itself, at its own speed; each page
//! that it acks is progress, so a device that is paging is left alone. After `MAX_REDELIVERIES` tries its connection is to be
//! closed, and as that order may be lost like any delivery, the tries begin again.
//!
//! **Invariants:** only an ack, or a registry that no longer knows the device (it will sync when it comes back), ends a debt
//! (`sim/checks/src/no_loss.rs`). The watermark stays below every entry that is not planned yet or that a debt is open for,
//! so that a restarted shard plans those again, for debts are in memory only (the tests below).

use crate::plant::{Plant, planted};
use crate::time::Time;
use rustc_hash::FxHashMap;
use squall_protocol::limits::{MAX_REDELIVERIES, REDELIVER_AFTER};
use squall_protocol::{ConversationId, DeviceId, Seq, UserId};
use std::collections::{BTreeMap, VecDeque};

/// The place of an entry in the shard's append order.
pub type Position = u64;

type Key = (DeviceId, ConversationId);

#[derive(Debug)]
struct Debt {
    user: UserId,
    /// Unacked entries in order, each with its place on disk.
    entries: VecDeque<(Seq, Position)>,
    tries: u8,
    due: Time,
}

/// What to do about a debt that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overdue {
    /// Look the device up again and tell it that its log goes as far as this entry, the last one that was published to it.
    Redeliver { user: UserId, device: DeviceId, conversation: ConversationId, head: Seq },
    /// All tries are used up: close the device's connection.
    Close { user: UserId, device: DeviceId },
}

/// All open debts of a shard, and its dispatch watermark.
#[derive(Debug, Default)]
pub struct Debts {
    open: FxHashMap<Key, Debt>,
    /// Debts by the time they were due when queued; a debt that moved on is queued again.
    queue: VecDeque<(Time, Key)>,
    /// Entries that are not yet planned (`u32::MAX`) or how many devices still owe an ack.
    unsettled: BTreeMap<Position, u32>,
    /// One past the last entry that was committed.
    next_position: Position,
}

const UNPLANNED: u32 = u32::MAX;

impl Debts {
    /// An empty book; the next entry to be committed has `next_position`.
    pub fn new(next_position: Position) -> Self {
        Debts { next_position, ..Debts::default() }
    }

    /// An entry is durable and waits to be planned.
    pub fn handle_committed(&mut self, position: Position) {
        self.unsettled.insert(position, UNPLANNED);
        self.next_position = self.next_position.max(position + 1);
    }

    /// The entry cannot be read, so nobody will be told of it and nobody owes an ack.
    pub fn handle_unreadable(&mut self, position: Position) {
        if self.is_unplanned(position) {
            self.unsettled.remove(&position);
        }
    }

    /// The entry has been published to these devices (none: nobody is online).
    pub fn handle_planned(
        &mut self,
        position: Position,
        conversation: ConversationId,
        seq: Seq,
        targets: impl IntoIterator<Item = (UserId, DeviceId)>,
        now: Time,
    ) {
        if !self.is_unplanned(position) {
            return;
        }
        let mut owed = 0;
        for (user, device) in targets {
            let key = (device, conversation);
            let due = now + REDELIVER_AFTER;
            let debt = self.open.entry(key).or_insert_with(|| {
                self.queue.push_back((due, key));
                Debt { user, entries: VecDeque::new(), tries: 0, due }
            });
            let place = debt.entries.partition_point(|(s, _)| *s < seq);
            if debt.entries.get(place).is_none_or(|(s, _)| *s != seq) {
                debt.entries.insert(place, (seq, position));
                owed += 1;
            }
        }
        if owed == 0 {
            self.unsettled.remove(&position);
        } else {
            self.unsettled.insert(position, owed);
        }
    }

    /// The device has shown everything up to `up_to`.
    pub fn handle_ack(&mut self, device: DeviceId, conversation: ConversationId, up_to: Seq, now: Time) {
        let Some(debt) = self.open.get_mut(&(device, conversation)) else { return };
        let before = debt.entries.len();
        while let Some((_, position)) = debt.entries.pop_front_if(|(seq, _)| *seq <= up_to) {
            settle(&mut self.unsettled, position);
        }
        if debt.entries.is_empty() {
            self.open.remove(&(device, conversation));
        } else if debt.entries.len() < before {
            debt.tries = 0;
            debt.due = now + REDELIVER_AFTER;
        }
    }

    /// The device is not connected any more: it will sync when it is.
    pub fn handle_vanished(&mut self, device: DeviceId, conversation: ConversationId) {
        if let Some(debt) = self.open.remove(&(device, conversation)) {
            for (_, position) in debt.entries {
                settle(&mut self.unsettled, position);
            }
        }
    }

    /// The bug `redelivery-stops-after-reconnect`: the timers of the device's debts end with its old connection, and an
    /// entry that joins such a debt starts none.
    pub fn cancel_timers(&mut self, device: DeviceId) {
        self.queue.retain(|(_, (debtor, _))| *debtor != device);
    }

    /// When `handle_timeout` has something to do at the earliest.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.queue.front().map(|(due, _)| *due)
    }

    /// The debts that are due.
    pub fn handle_timeout(&mut self, now: Time) -> Vec<Overdue> {
        let mut out = Vec::new();
        if planted(Plant::NoRedelivery) {
            return out;
        }
        while let Some((_, key)) = self.queue.pop_front_if(|(due, _)| *due <= now) {
            let Some(debt) = self.open.get_mut(&key) else { continue };
            if debt.due > now {
                let due = debt.due;
                let place = self.queue.partition_point(|(d, _)| *d <= due);
                self.queue.insert(place, (due, key));
                continue;
            }
            let (device, conversation) = key;
            debt.due = now + REDELIVER_AFTER;
            self.queue.push_back((debt.due, key));
            if debt.tries == MAX_REDELIVERIES {
                // The order to close may be lost as the deliveries were: only an ack or a vanished entry ends the debt.
                debt.tries = 0;
                out.push(Overdue::Close { user: debt.user, device });
                if planted(Plant::RedeliveryGivesUp) {
                    self.handle_vanished(device, conversation);
                }
                continue;
            }
            debt.tries += 1;
            if let Some((head, _)) = debt.entries.back() {
                out.push(Overdue::Redeliver { user: debt.user, device, conversation, head: *head });
            }
        }
        out
    }

    /// Everything below this place has been planned and owes nothing: a restarted shard need not plan it again.
    pub fn dispatched(&self) -> Position {
        if planted(Plant::WatermarkIgnoresDebts) {
            return self.next_position;
        }
        self.unsettled.first_key_value().map_or(self.next_position, |(position, _)| *position)
    }

    /// Whether the entry waits to be planned.
    pub fn is_unplanned(&self, position: Position) -> bool {
        self.unsettled.get(&position) == Some(&UNPLANNED)
    }

    /// The first entry that waits to be planned.
    pub fn first_unplanned(&self) -> Option<Position> {
        self.unsettled.iter().find(|(_, owed)| **owed == UNPLANNED).map(|(position, _)| *position)
    }

    /// Open debts, a (device, conversation) each.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}

fn settle(unsettled: &mut BTreeMap<Position, u32>, position: Position) {
    if let Some(owed) = unsettled.get_mut(&position) {
        *owed -= 1;
        if *owed == 0 {
            unsettled.remove(&position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: DeviceId = DeviceId(1);
    const C: ConversationId = ConversationId(5);
    const U: UserId = UserId(9);

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    fn with_debt() -> Debts {
        let mut debts = Debts::new(0);
        debts.handle_committed(0);
        debts.handle_committed(1);
        debts.handle_planned(0, C, Seq(1), [(U, D)], at(0));
        debts.handle_planned(1, C, Seq(2), [(U, D)], at(0));
        debts
    }

    #[test]
    fn an_ack_settles_what_it_covers() {
        let mut debts = with_debt();
        assert_eq!(debts.dispatched(), 0);
        debts.handle_ack(D, C, Seq(1), at(1));
        assert_eq!(debts.dispatched(), 1);
        debts.handle_ack(D, C, Seq(2), at(1));
        assert_eq!((debts.dispatched(), debts.open()), (2, 0));
        assert_eq!(debts.handle_timeout(at(60)), vec![]);
    }

    #[test]
    fn an_unacked_delivery_is_redelivered_three_times_and_then_the_connection_is_closed() {
        let mut debts = with_debt();
        assert_eq!(debts.handle_timeout(at(4)), vec![]);
        let again = Overdue::Redeliver { user: U, device: D, conversation: C, head: Seq(2) };
        for try_at in [5, 10, 15] {
            assert_eq!(debts.handle_timeout(at(try_at)), vec![again.clone()]);
        }
        assert_eq!(debts.handle_timeout(at(20)), vec![Overdue::Close { user: U, device: D }]);
        // Should that have been lost as well, it begins anew; the entries stay undispatched until the device is gone.
        assert_eq!((debts.dispatched(), debts.open()), (0, 1));
        assert_eq!(debts.handle_timeout(at(25)), vec![again]);
        debts.handle_vanished(D, C);
        assert_eq!((debts.dispatched(), debts.open()), (2, 0));
    }

    #[test]
    fn progress_starts_the_tries_anew() {
        let mut debts = with_debt();
        assert_eq!(debts.handle_timeout(at(5)).len(), 1);
        debts.handle_ack(D, C, Seq(1), at(7));
        assert_eq!(debts.handle_timeout(at(10)), vec![]);
        let again = Overdue::Redeliver { user: U, device: D, conversation: C, head: Seq(2) };
        assert_eq!(debts.handle_timeout(at(12)), vec![again]);
    }

    #[test]
    fn an_entry_that_nobody_owes_is_dispatched_once_planned_and_not_before() {
        let mut debts = Debts::new(7);
        debts.handle_committed(7);
        assert_eq!(debts.dispatched(), 7);
        debts.handle_planned(7, C, Seq(1), [], at(0));
        assert_eq!(debts.dispatched(), 8);
    }

    #[test]
    fn a_vanished_device_owes_nothing() {
        let mut debts = with_debt();
        debts.handle_vanished(D, C);
        assert_eq!(debts.dispatched(), 2);
    }
}
