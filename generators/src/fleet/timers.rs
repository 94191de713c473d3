//! What becomes due in the fleet, in order of time: a calendar of sixteen bytes an entry, for each client has a few.
//!
//! **Invariant:** of one moment, entries leave by kind, then by whom they concern, then by number.

use crate::calendar::Calendar;
use squall_core::Time;

/// What becomes due in the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// The session's own.
    Session(u32),
    ComeBack(u32),
    GoAway(u32),
    /// The next send of a user, with its number.
    Send(u32, u32),
    /// The next membership change of a group, with its number.
    Membership(u32, u32),
    /// A group's owner founds it before anybody writes.
    Found(u32),
    /// A frame that a fault has kept back, by its number.
    LateFrame(u32),
    /// It is said that a user is writing what they send next, with its number.
    Typing(u32, u32),
    /// A client's person reads what was shown first of what they have not read.
    Read(u32),
    /// A client's person looks at others, with the number of the look.
    Look(u32, u32),
}

/// A timer in eight bytes, in the same order: kind, then whom it concerns, then a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Packed(u64);

const _: () = assert!(size_of::<(Time, Packed)>() == 16);

impl Packed {
    const NUMBER_BITS: u32 = 28;
    const KIND_SHIFT: u32 = 32 + Self::NUMBER_BITS;

    /// # Panics
    /// When something has a number of 2^28, which nobody reaches who has a turn of a second or more.
    fn new(timer: Timer) -> Self {
        let (kind, whom, number) = match timer {
            Timer::Session(client) => (0, client, 0),
            Timer::ComeBack(client) => (1, client, 0),
            Timer::GoAway(client) => (2, client, 0),
            Timer::Send(user, n) => (3, user, n),
            Timer::Membership(group, n) => (4, group, n),
            Timer::Found(group) => (5, group, 0),
            Timer::LateFrame(number) => (6, number, 0),
            Timer::Typing(user, n) => (7, user, n),
            Timer::Read(client) => (8, client, 0),
            Timer::Look(client, n) => (9, client, n),
        };
        assert!(number >> Self::NUMBER_BITS == 0, "{timer:?} has a number beyond what a timer holds");
        Packed(kind << Self::KIND_SHIFT | u64::from(whom) << Self::NUMBER_BITS | u64::from(number))
    }

    fn timer(self) -> Timer {
        let whom = (self.0 >> Self::NUMBER_BITS) as u32;
        let number = self.0 as u32 & ((1 << Self::NUMBER_BITS) - 1);
        match self.0 >> Self::KIND_SHIFT {
            0 => Timer::Session(whom),
            1 => Timer::ComeBack(whom),
            2 => Timer::GoAway(whom),
            3 => Timer::Send(whom, number),
            4 => Timer::Membership(whom, number),
            5 => Timer::Found(whom),
            6 => Timer::LateFrame(whom),
            7 => Timer::Typing(whom, number),
            8 => Timer::Read(whom),
            _ => Timer::Look(whom, number),
        }
    }
}

/// All timers of the fleet.
#[derive(Default)]
pub(super) struct Timers(Calendar<Packed>);

impl Timers {
    pub fn push(&mut self, at: Time, timer: Timer) {
        self.0.push(at, Packed::new(timer));
    }

    /// Bytes that they hold.
    pub fn held_bytes(&self) -> usize {
        self.0.held_bytes()
    }

    /// When the first one is due, if there is one.
    pub fn next_due(&mut self) -> Option<Time> {
        self.0.next_due()
    }

    /// Takes the first one, if it is due by `now`.
    pub fn pop_due(&mut self, now: Time) -> Option<(Time, Timer)> {
        self.0.pop_due(now).map(|(at, packed)| (at, packed.timer()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In their order.
    fn timers() -> Vec<Timer> {
        let few = [0, 1, 7, u32::MAX];
        let numbered = |make: fn(u32, u32) -> Timer| {
            few.into_iter().flat_map(move |whom| [0, 1, (1 << 28) - 1].map(|number| make(whom, number)))
        };
        let mut all = Vec::new();
        all.extend(few.map(Timer::Session));
        all.extend(few.map(Timer::ComeBack));
        all.extend(few.map(Timer::GoAway));
        all.extend(numbered(Timer::Send));
        all.extend(numbered(Timer::Membership));
        all.extend(few.map(Timer::Found));
        all.extend(few.map(Timer::LateFrame));
        all.extend(numbered(Timer::Typing));
        all.extend(few.map(Timer::Read));
        all.extend(numbered(Timer::Look));
        all
    }

    #[test]
    fn what_becomes_due_at_one_moment_leaves_by_kind_whom_and_number() {
        let mut queue = Timers::default();
        for timer in timers().into_iter().rev() {
            queue.push(Time(5), timer);
        }
        let left: Vec<Timer> = std::iter::from_fn(|| queue.pop_due(Time(5))).map(|(_, timer)| timer).collect();
        assert_eq!(left, timers());
    }

    #[test]
    #[should_panic(expected = "beyond what a timer holds")]
    fn a_number_that_does_not_fit_is_told() {
        Timers::default().push(Time(0), Timer::Send(1, 1 << 28));
    }
}
