//! What a shard owes to devices: deliveries that they have not acked.
//!
//! Every `REDELIVER_AFTER` the device is told how far its log goes, and fetches what it lacks by itself, at its own speed; each page
//! that it acks is progress, so a device that is paging is left alone. After `MAX_REDELIVERIES` tries its connection is to be
//! closed, and as that order may be lost like any delivery, the tries begin again.
//!
//! **Invariants:** a debt ends with an ack, with a registry that no longer knows the device, or with heads that are told to a later
//! connection of it than the one that was delivered to: in the last two cases it learns from heads what it lacks
//! (`sim/checks/src/no_loss.rs`). The watermark stays below every entry that a debt is open for, so that a restarted shard plans
//! those again, for debts are in memory only; a debt's size does not depend on how much is owed (the tests below).

use crate::plant::{Plant, planted};
use crate::time::Time;
use squall_protocol::limits::{DEBT_MARKS, MAX_REDELIVERIES, REDELIVER_AFTER};
use squall_protocol::{ConversationId, DeviceId, Seq, UserId, Who};
use std::collections::{BTreeMap, VecDeque};

/// The place of an entry in the shard's append order.
pub type Position = u64;

type Key = (Who, ConversationId);

/// A device that has been delivered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Debtor {
    pub user: UserId,
    pub device: DeviceId,
    /// Which of its connections.
    pub connect_count: u64,
}

#[derive(Debug)]
struct Debt {
    connect_count: u64,
    /// Unacked entries in order, each with its place on disk: all of them while the stride is 1, else the first, and of the others one a
    /// stride. One that is left out stands behind its neighbour in the log and on the disk.
    marks: VecDeque<(Seq, Position)>,
    stride: u64,
    /// The last entry that is owed.
    last: Seq,
    /// How far the device has shown the log since it owes something.
    shown: Seq,
    tries: u8,
    due: Time,
    /// Which row of the queue is this debt's.
    ticket: u64,
}

/// What to do about a debt that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overdue {
    /// Look the device up again and tell it that its log goes as far as this entry, the last one that was published to it.
    Redeliver { user: UserId, device: DeviceId, conversation: ConversationId, head: Seq },
    /// All tries are used up: close the device's connection.
    Close { user: UserId, device: DeviceId },
}

impl Overdue {
    pub fn user(&self) -> UserId {
        match self {
            Overdue::Redeliver { user, .. } | Overdue::Close { user, .. } => *user,
        }
    }
}

/// What the bug `debt-evicted` has room for.
const REMEMBERED: usize = 24;

/// All open debts of a shard.
#[derive(Debug, Default)]
pub struct Debts {
    open: BTreeMap<Key, Debt>,
    /// Debts by the time they were due when queued; a debt that moved on is queued again.
    queue: VecDeque<(Time, Key, u64)>,
    last_ticket: u64,
    /// Where the first entry of debts lies, and of how many.
    pins: BTreeMap<Position, u32>,
}

impl Debts {
    /// The entry has been published to these devices.
    pub fn handle_published(
        &mut self,
        position: Position,
        conversation: ConversationId,
        seq: Seq,
        targets: impl IntoIterator<Item = Debtor>,
        now: Time,
    ) {
        for Debtor { user, device, connect_count } in targets {
            let key = ((user, device), conversation);
            let due = now + REDELIVER_AFTER;
            if planted(Plant::DebtEvicted) && self.open.len() >= REMEMBERED {
                self.forget_oldest();
            }
            let debt = self.open.entry(key).or_insert_with(|| {
                self.last_ticket += 1;
                self.queue.push_back((due, key, self.last_ticket));
                let marks = VecDeque::new();
                let ticket = self.last_ticket;
                Debt { connect_count, marks, stride: 1, last: seq, shown: Seq::ZERO, tries: 0, due, ticket }
            });
            let before = debt.marks.front().copied();
            if connect_count > debt.connect_count {
                // A later connection is told heads after it was registered: what an earlier one was owed is in them.
                debt.connect_count = connect_count;
                debt.shown = Seq::ZERO;
                debt.marks.clear();
                debt.stride = 1;
            }
            debt.add(seq, position);
            let after = debt.marks.front().copied();
            self.move_pin(before, after);
        }
    }

    /// The device has shown everything up to `up_to`.
    pub fn handle_ack(&mut self, who: Who, conversation: ConversationId, up_to: Seq, now: Time) {
        let Some(debt) = self.open.get_mut(&(who, conversation)) else { return };
        if up_to >= debt.last {
            return self.end((who, conversation));
        }
        // A device that pages through a long backlog comes to what is owed to this connection last of all.
        if up_to <= debt.shown {
            return;
        }
        debt.shown = up_to;
        debt.tries = 0;
        debt.due = now + REDELIVER_AFTER;
        let before = debt.marks.front().copied();
        if before.is_none_or(|(seq, _)| seq > up_to) {
            return;
        }
        // Between two marks there may be others that are owed: the first one stands for them.
        while let Some((next, _)) = debt.marks.get(1)
            && (debt.marks[0].0 <= up_to && debt.stride == 1 || *next <= up_to.next())
        {
            debt.marks.pop_front();
        }
        let after = debt.marks.front().copied();
        self.move_pin(before, after);
    }

    /// The device, which was looked up when it was owed as far as `head`, is not connected any more: it will sync when it is. If it has been
    /// published to since, it is there again.
    pub fn handle_vanished(&mut self, who: Who, conversation: ConversationId, head: Seq) {
        if self.open.get(&(who, conversation)).is_some_and(|debt| debt.last == head) {
            self.end((who, conversation));
        }
    }

    /// A connection of the device is told heads: what earlier ones were owed is in them. What this one or a later one is owed is
    /// not, for it may have been published after these heads were read.
    pub fn handle_heads(&mut self, who: Who, connect_count: u64) {
        let debts = self.open.range((who, ConversationId(0))..=(who, ConversationId(u128::MAX)));
        let earlier = debts.filter(|(_, debt)| debt.connect_count < connect_count).map(|(key, _)| *key);
        let earlier: Vec<Key> = earlier.collect();
        earlier.into_iter().for_each(|key| self.end(key));
    }

    /// The bug `debt-evicted`: there is room for so many debts only.
    fn forget_oldest(&mut self) {
        if let Some((_, key, _)) = self.queue.pop_front() {
            self.end(key);
        }
    }

    fn end(&mut self, key: Key) {
        if let Some(debt) = self.open.remove(&key) {
            self.move_pin(debt.marks.front().copied(), None);
        }
    }

    fn move_pin(&mut self, before: Option<(Seq, Position)>, after: Option<(Seq, Position)>) {
        if before == after {
            return;
        }
        if let Some((_, position)) = before
            && let Some(debts) = self.pins.get_mut(&position)
        {
            *debts -= 1;
            if *debts == 0 {
                self.pins.remove(&position);
            }
        }
        if let Some((_, position)) = after {
            *self.pins.entry(position).or_default() += 1;
        }
    }

    /// The bug `redelivery-stops-after-reconnect`: the timers of the device's debts end with its old connection, and an
    /// entry that joins such a debt starts none.
    pub fn cancel_timers(&mut self, device: DeviceId) {
        self.queue.retain(|(_, ((_, debtor), _), _)| *debtor != device);
    }

    /// When `handle_timeout` has something to do at the earliest.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.queue.front().map(|(due, _, _)| *due)
    }

    /// The debts that are due, at most `max` of them; the others are still due the next time.
    pub fn handle_timeout(&mut self, now: Time, max: usize) -> Vec<Overdue> {
        let mut out = Vec::new();
        if planted(Plant::NoRedelivery) {
            return out;
        }
        while out.len() < max
            && let Some((_, key, ticket)) = self.queue.pop_front_if(|(due, _, _)| *due <= now)
        {
            let Some(debt) = self.open.get_mut(&key).filter(|debt| debt.ticket == ticket) else { continue };
            if debt.due > now {
                let due = debt.due;
                let place = self.queue.partition_point(|(d, _, _)| *d <= due);
                self.queue.insert(place, (due, key, ticket));
                continue;
            }
            let ((user, device), conversation) = key;
            debt.due = now + REDELIVER_AFTER;
            if planted(Plant::RedeliveryBacksOffForLong) && debt.tries >= 1 {
                debt.due = now + 18 * REDELIVER_AFTER;
            }
            self.queue.push_back((debt.due, key, ticket));
            if debt.tries == MAX_REDELIVERIES {
                // The order to close may be lost as the deliveries were: only what the header names ends the debt.
                debt.tries = 0;
                out.push(Overdue::Close { user, device });
                if planted(Plant::RedeliveryGivesUp) {
                    self.end(key);
                }
                continue;
            }
            debt.tries += 1;
            out.push(Overdue::Redeliver { user, device, conversation, head: debt.last });
        }
        out
    }

    /// Nobody owes an ack for an entry below this place; `None` where nobody owes any.
    pub fn first_owed(&self) -> Option<Position> {
        self.pins.first_key_value().map(|(position, _)| *position)
    }

    /// Open debts, a (device, conversation) each.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}

impl Debt {
    fn add(&mut self, seq: Seq, position: Position) {
        self.last = self.last.max(seq);
        let place = self.marks.partition_point(|(s, _)| *s < seq);
        let follows = |mark: Option<&(Seq, Position)>| mark.is_none_or(|(s, _)| s.0 + self.stride <= seq.0);
        if self.marks.get(place).is_some_and(|(s, _)| *s == seq)
            || place > 0 && !follows(self.marks.get(place - 1))
        {
            return;
        }
        self.marks.insert(place, (seq, position));
        if self.marks.len() > DEBT_MARKS {
            self.stride *= 2;
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: DeviceId = DeviceId(1);
    const C: ConversationId = ConversationId(5);
    const U: UserId = UserId(9);
    const MANY: usize = 100;

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    fn connection(connect_count: u64) -> Debtor {
        Debtor { user: U, device: D, connect_count }
    }

    fn with_debt() -> Debts {
        let mut debts = Debts::default();
        debts.handle_published(0, C, Seq(1), [connection(1)], at(0));
        debts.handle_published(1, C, Seq(2), [connection(1)], at(0));
        debts
    }

    #[test]
    fn an_ack_settles_what_it_covers() {
        let mut debts = with_debt();
        assert_eq!(debts.first_owed(), Some(0));
        debts.handle_ack((U, D), C, Seq(1), at(1));
        assert_eq!(debts.first_owed(), Some(1));
        debts.handle_ack((U, D), C, Seq(2), at(1));
        assert_eq!((debts.first_owed(), debts.open()), (None, 0));
        assert_eq!(debts.handle_timeout(at(60), MANY), vec![]);
    }

    #[test]
    fn an_unacked_delivery_is_told_of_three_times_and_then_the_connection_is_closed() {
        let mut debts = with_debt();
        assert_eq!(debts.handle_timeout(at(4), MANY), vec![]);
        let again = Overdue::Redeliver { user: U, device: D, conversation: C, head: Seq(2) };
        for try_at in [5, 10, 15] {
            assert_eq!(debts.handle_timeout(at(try_at), MANY), vec![again.clone()]);
        }
        assert_eq!(debts.handle_timeout(at(20), MANY), vec![Overdue::Close { user: U, device: D }]);
        // Should that have been lost as well, it begins anew; the entries stay undispatched until the device is gone.
        assert_eq!((debts.first_owed(), debts.open()), (Some(0), 1));
        assert_eq!(debts.handle_timeout(at(25), MANY), vec![again]);
        debts.handle_vanished((U, D), C, Seq(1));
        assert_eq!(debts.open(), 1);
        debts.handle_vanished((U, D), C, Seq(2));
        assert_eq!((debts.first_owed(), debts.open()), (None, 0));
    }

    #[test]
    fn progress_starts_the_tries_anew() {
        let mut debts = with_debt();
        assert_eq!(debts.handle_timeout(at(5), MANY).len(), 1);
        debts.handle_ack((U, D), C, Seq(1), at(7));
        assert_eq!(debts.handle_timeout(at(10), MANY), vec![]);
        let again = Overdue::Redeliver { user: U, device: D, conversation: C, head: Seq(2) };
        assert_eq!(debts.handle_timeout(at(12), MANY), vec![again]);
    }

    #[test]
    fn a_device_that_pages_through_a_long_backlog_is_left_alone_until_it_says_nothing_new() {
        let mut debts = Debts::default();
        debts.handle_published(0, C, Seq(900), [connection(1)], at(0));
        for page in 1..=100 {
            assert_eq!(debts.handle_timeout(at(4 * page), MANY), vec![], "page {page}");
            debts.handle_ack((U, D), C, Seq(8 * page), at(4 * page));
        }
        assert_eq!(debts.first_owed(), Some(0), "nothing that it is owed is shown yet");
        let tries = [405, 410, 415, 420].map(|s| {
            debts.handle_ack((U, D), C, Seq(800), at(s));
            debts.handle_timeout(at(s), MANY).pop()
        });
        assert_eq!(tries[3], Some(Overdue::Close { user: U, device: D }));
    }

    #[test]
    fn heads_of_a_later_connection_end_what_an_earlier_one_was_owed_and_nothing_else() {
        let mut debts = with_debt();
        debts.handle_published(2, ConversationId(6), Seq(1), [connection(3)], at(0));
        debts.handle_heads((U, D), 1);
        assert_eq!(debts.open(), 2);
        debts.handle_heads((U, D), 2);
        assert_eq!((debts.open(), debts.first_owed()), (1, Some(2)));
        // A delivery to a connection that is told heads by itself: it is owed no more than since then.
        debts.handle_published(3, ConversationId(6), Seq(2), [connection(4)], at(1));
        assert_eq!(debts.first_owed(), Some(3));
        debts.handle_heads((U, DeviceId(2)), 9);
        assert_eq!(debts.open(), 1);
    }

    #[test]
    fn a_device_that_acks_nothing_holds_little_memory_and_the_watermark_where_it_is() {
        let mut debts = Debts::default();
        for n in 0..10_000 {
            debts.handle_published(n, C, Seq(n + 1), [connection(1)], at(0));
        }
        assert!(debts.open[&((U, D), C)].marks.len() <= DEBT_MARKS);
        assert_eq!(debts.first_owed(), Some(0));
        // What was thinned out is owed all the same.
        debts.handle_ack((U, D), C, Seq(9_000), at(1));
        assert!(debts.first_owed().is_some_and(|first| first > 0 && first <= 9_000));
        debts.handle_ack((U, D), C, Seq(9_999), at(1));
        assert!(debts.first_owed().is_some_and(|first| first <= 9_999));
        debts.handle_ack((U, D), C, Seq(10_000), at(1));
        assert_eq!(debts.first_owed(), None);
    }

    #[test]
    fn a_debt_that_comes_and_goes_is_told_of_once_when_it_is_due() {
        let mut debts = Debts::default();
        for second in 0..8 {
            debts.handle_published(second, C, Seq(second + 1), [connection(1)], at(second));
            if second < 7 {
                debts.handle_ack((U, D), C, Seq(second + 1), at(second));
            }
        }
        assert_eq!(debts.handle_timeout(at(11), MANY), vec![]);
        assert_eq!(debts.handle_timeout(at(12), MANY).len(), 1);
        assert_eq!(debts.queue.len(), 1);
    }
}
