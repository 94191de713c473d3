//! A queue of what is due when, for millions of entries: cheap to put in, cheap to take out in order.
//!
//! Time is cut into days; an entry waits unsorted in its day, days that are far off share a pile, and only today's entries are
//! kept in order (a calendar queue: Brown, CACM 31(10), 1988). A heap of everything would touch twenty cache lines an entry.
//!
//! **Invariant:** entries leave in order of time, then of value, whatever the order in which they came. Guarded by
//! `entries_leave_as_from_a_heap`.

use squall_core::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Length of a day in µs, as a power of two: 131 ms.
const DAY_BITS: u32 = 17;
/// Days that have a place of their own: 134 s.
const DAYS: u64 = 1 << 10;

/// A priority queue by time.
#[derive(Debug, Clone)]
pub struct Calendar<T> {
    today: u64,
    /// Entries of today, and late ones.
    due: BinaryHeap<Reverse<(Time, T)>>,
    /// Entries of the next days, by day modulo `DAYS`, and how many there are.
    days: Vec<Vec<(Time, T)>>,
    in_days: usize,
    /// Entries that were beyond those days when they came. They are looked through every half round.
    later: Vec<(Time, T)>,
}

fn day(at: Time) -> u64 {
    at.0 >> DAY_BITS
}

impl<T: Ord + Copy> Default for Calendar<T> {
    fn default() -> Self {
        Calendar {
            today: 0,
            due: BinaryHeap::new(),
            days: (0..DAYS).map(|_| Vec::new()).collect(),
            in_days: 0,
            later: Vec::new(),
        }
    }
}

impl<T: Ord + Copy> Calendar<T> {
    pub fn push(&mut self, at: Time, value: T) {
        let day = day(at);
        if day <= self.today {
            self.due.push(Reverse((at, value)));
        } else if day - self.today < DAYS {
            self.in_days += 1;
            self.days[(day % DAYS) as usize].push((at, value));
        } else {
            self.later.push((at, value));
        }
    }

    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        let days = self.days.iter().map(Vec::capacity).sum::<usize>();
        let entries = self.due.capacity() + days + self.later.capacity();
        entries * size_of::<(Time, T)>() + self.days.capacity() * size_of::<Vec<(Time, T)>>()
    }

    /// When the first entry is due, if there is one.
    pub fn next_due(&mut self) -> Option<Time> {
        while self.due.is_empty() && (self.in_days > 0 || !self.later.is_empty()) {
            self.turn(u64::MAX);
        }
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the first entry, if it is due by `now`.
    pub fn pop_due(&mut self, now: Time) -> Option<(Time, T)> {
        while self.due.is_empty() && self.today < day(now) {
            self.turn(day(now));
        }
        let Reverse((at, _)) = self.due.peek()?;
        if *at > now {
            return None;
        }
        self.due.pop().map(|Reverse(entry)| entry)
    }

    /// The next day begins, or, where nothing comes before it, `last`.
    fn turn(&mut self, last: u64) {
        let before = self.today;
        let soon = self.later.iter().map(|(at, _)| day(*at));
        self.today = match self.in_days {
            0 => soon.min().unwrap_or(u64::MAX).clamp(before + 1, last),
            _ => before + 1,
        };
        let entries = std::mem::take(&mut self.days[(self.today % DAYS) as usize]);
        self.in_days -= entries.len();
        self.due = entries.into_iter().map(Reverse).collect::<Vec<_>>().into();
        if self.today / (DAYS / 2) != before / (DAYS / 2) || self.today > before + 1 {
            for (at, value) in std::mem::take(&mut self.later) {
                self.push(at, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_leave_as_from_a_heap(
            steps in proptest::collection::vec(
                (proptest::collection::vec((0u64..400_000_000, 0u32..5), 0..6), 0u64..3_000_000),
                1..200,
            ),
        ) {
            let mut calendar = Calendar::default();
            let mut heap = BinaryHeap::new();
            let mut now = 0;
            for (pushes, step) in steps {
                for (ahead, value) in pushes {
                    // Some are late: what is pushed for the past is due at once.
                    let at = Time((now + ahead).saturating_sub(100_000));
                    calendar.push(at, value);
                    heap.push(Reverse((at, value)));
                }
                now += step;
                loop {
                    let expected = heap.peek().filter(|Reverse((at, _))| at.0 <= now).map(|Reverse(entry)| *entry);
                    prop_assert_eq!(calendar.pop_due(Time(now)), expected);
                    if expected.is_none() {
                        break;
                    }
                    heap.pop();
                }
            }
        }
    }

    #[test]
    fn an_empty_calendar_turns_to_any_day_at_once() {
        let mut calendar = Calendar::default();
        assert_eq!(calendar.pop_due(Time(u64::MAX / 2)), None);
        calendar.push(Time(5), 1);
        calendar.push(Time::NEVER, 2);
        assert_eq!(calendar.pop_due(Time(u64::MAX / 2)), Some((Time(5), 1)));
    }
}
