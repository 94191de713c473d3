//! Monotonic time as the machines see it.

use std::ops::{Add, AddAssign};
use std::time::Duration;

/// Microseconds since some fixed moment of the process that runs the machine. Never wall-clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    pub const ZERO: Time = Time(0);
    /// Later than everything: "no timer".
    pub const NEVER: Time = Time(u64::MAX);

    /// The time between; zero when `earlier` is later.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A time or none, in the eight bytes of a time: of what there is for each of millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaybeTime(Time);

impl MaybeTime {
    pub const NONE: MaybeTime = MaybeTime(Time::NEVER);

    pub fn get(self) -> Option<Time> {
        (self != MaybeTime::NONE).then_some(self.0)
    }

    pub fn is_none(self) -> bool {
        self == MaybeTime::NONE
    }

    /// Puts a time in the place of what was there.
    pub fn replace(&mut self, time: Time) -> Option<Time> {
        std::mem::replace(self, time.into()).get()
    }
}

impl Default for MaybeTime {
    fn default() -> Self {
        MaybeTime::NONE
    }
}

/// What never comes is none.
impl From<Time> for MaybeTime {
    fn from(time: Time) -> Self {
        MaybeTime(time)
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, wait: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, wait: Duration) {
        *self = *self + wait;
    }
}
