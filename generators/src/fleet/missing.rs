//! Devices that should be connected and are not: who has been missing since when.

use squall_core::Time;
use std::collections::BTreeMap;

/// How many devices have been missing since each time.
#[derive(Default)]
pub(super) struct Missing(BTreeMap<u64, u32>);

impl Missing {
    /// A device should be connected from now on. `since` is its own note of it, which stays if it is missing already.
    pub fn add(&mut self, since: &mut Time, now: Time) {
        if *since == Time::NEVER {
            *since = now;
            self.resume(*since);
        }
    }

    /// A device is connected.
    pub fn remove(&mut self, since: &mut Time) {
        let was = std::mem::replace(since, Time::NEVER);
        self.suspend(was);
    }

    /// Its person has taken up again a device that was missing when they put it away: it has been missing all the time.
    pub fn resume(&mut self, since: Time) {
        *self.0.entry(since.0).or_default() += 1;
    }

    /// Its person puts away a device that is missing: nobody waits for it until they take it up again.
    pub fn suspend(&mut self, was: Time) {
        if let Some(count) = self.0.get_mut(&was.0) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&was.0);
            }
        }
    }

    /// Whether everybody who was missing at `then` has been back since, or is put away.
    pub fn all_back(&self, then: Time) -> bool {
        self.0.first_key_value().is_none_or(|(since, _)| *since > then.0)
    }
}
