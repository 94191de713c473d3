//! The time of a run: real, monotonic, and counted from the run's beginning.

use squall_core::Time;
use std::time::{Duration, Instant};

/// Counts from an instant that all threads of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// The run begins after `delay`; until then it is 0.
    #[expect(clippy::disallowed_methods, reason = "a run on real sockets happens in real time")]
    pub fn starting_in(delay: Duration) -> Self {
        Clock { began: Instant::now() + delay }
    }

    /// µs since the run began.
    #[expect(clippy::disallowed_methods, reason = "a run on real sockets happens in real time")]
    pub fn now(self) -> Time {
        Time(Instant::now().saturating_duration_since(self.began).as_micros() as u64)
    }

    /// How long until then; nothing, if that is past.
    pub fn until(self, then: Time) -> Duration {
        Duration::from_micros(then.0.saturating_sub(self.now().0))
    }
}
