//! The two clocks of a role: monotonic time from tokio, wall-clock time from whoever runs it.

use squall_core::Time;
use tokio::time::Instant;

/// A role's sense of time.
#[derive(Clone, Copy)]
pub struct Clock {
    start: Instant,
    wall_ms: fn() -> u64,
}

impl Clock {
    /// `wall_ms` gives milliseconds since the Unix epoch. Call inside a tokio runtime.
    pub fn new(wall_ms: fn() -> u64) -> Self {
        Clock { start: Instant::now(), wall_ms }
    }

    pub fn now(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// For people, and to tell lives of a process apart; never for order.
    pub fn wall_ms(&self) -> u64 {
        (self.wall_ms)()
    }

    /// The moment at which `now` will be `time`, for tokio's timers.
    pub fn instant(&self, time: Time) -> Instant {
        self.start + std::time::Duration::from_micros(time.0.min(u64::MAX / 4))
    }
}
