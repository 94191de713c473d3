//! When the person of a device is there, for latencies that count the time that people wait and not the time that they are away.
//!
//! **Invariant:** whoever gives up before the answer has waited as well: that time counts when the answer comes at last, so that an
//! outage in which everybody gives up is as long as one in which nobody does.

use squall_core::{MaybeTime, Time};
use std::collections::VecDeque;
use std::time::Duration;

/// Absences that are remembered of a device; about what was before them nothing is said.
const REMEMBERED: usize = 8;

/// When a device's person was there.
#[derive(Default)]
pub(super) struct Presence {
    /// Since when it is known; never while the person has not taken the device up for the first time.
    since: MaybeTime,
    /// Absences since then, oldest first; the last one may still last.
    absences: Option<Box<Absences>>,
}

/// From and to; boxed, for with most people there are none, and there are millions of them.
#[derive(Default)]
struct Absences(VecDeque<(Time, Time)>);

impl Presence {
    /// The person takes the device up. Since when it had been put away, if it had been in their hands before.
    pub fn begins(&mut self, now: Time) -> Option<Time> {
        if self.since.is_none() {
            self.since = now.into();
            return None;
        }
        let (from, to) = self.absences.as_mut()?.0.back_mut()?;
        if *to != Time::NEVER {
            return None;
        }
        *to = now;
        Some(*from)
    }

    /// The person puts the device away.
    pub fn ends(&mut self, now: Time) {
        let Absences(absences) = &mut **self.absences.get_or_insert_default();
        if absences.len() == REMEMBERED
            && let Some((_, forgotten)) = absences.pop_front()
        {
            self.since = forgotten.into();
        }
        absences.push_back((now, Time::NEVER));
    }

    /// How long the person was there between `from` and `now`. `None`: they were not at `from`, or it is too long ago.
    pub fn between(&self, from: Time, now: Time) -> Option<Duration> {
        if self.since.get().is_none_or(|since| from < since) {
            return None;
        }
        let mut there = now.since(from);
        for (left, back) in self.absences.iter().flat_map(|absences| &absences.0) {
            if *left <= from && from < *back {
                return None;
            }
            if *left > from {
                there = there.saturating_sub((*back).min(now).since(*left));
            }
        }
        Some(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    fn seconds(presence: &Presence, from: u64, now: u64) -> Option<u64> {
        presence.between(at(from), at(now)).map(|there| there.as_secs())
    }

    #[test]
    fn what_people_wait_is_counted_without_their_absences() {
        let mut presence = Presence::default();
        assert_eq!(seconds(&presence, 0, 9), None);
        assert_eq!(presence.begins(at(1)), None);
        presence.ends(at(10));
        assert_eq!(presence.begins(at(15)), Some(at(10)));
        presence.ends(at(20));
        assert_eq!(presence.begins(at(30)), Some(at(20)));
        assert_eq!(seconds(&presence, 0, 40), None, "they had not come yet");
        assert_eq!(seconds(&presence, 2, 9), Some(7));
        assert_eq!(seconds(&presence, 9, 31), Some(22 - 5 - 10));
        assert_eq!(seconds(&presence, 12, 31), None, "they were away when it was sent");
        assert_eq!(seconds(&presence, 16, 31), Some(5));
    }

    #[test]
    fn of_what_is_forgotten_nothing_is_said() {
        let mut presence = Presence::default();
        presence.begins(at(0));
        for n in 0..=REMEMBERED as u64 {
            presence.ends(at(10 * n + 5));
            presence.begins(at(10 * n + 10));
        }
        assert_eq!(seconds(&presence, 9, 200), None);
        assert_eq!(seconds(&presence, 10, 20), Some(5));
    }
}
