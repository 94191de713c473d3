//! The time of a run: real, monotonic, and counted from the run's beginning.

use squall_core::Time;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often both clocks are looked at.
const LOOKS: u32 = 20;

/// Counts from an instant that all threads of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// The run begins at this time, in ms since the Unix epoch by this machine's clock, or now; until then it is 0. Also gives the time at which
    /// it begins. Generators that were told the same time count from the same time, however long each took to get ready.
    pub fn starting_at(at_ms: Option<f64>) -> (Self, f64) {
        let (now, wall_ms) = both();
        let at_ms = at_ms.unwrap_or(wall_ms);
        let ahead = Duration::from_secs_f64((at_ms - wall_ms).abs().min(1e9) / 1_000.0);
        let began = if at_ms >= wall_ms { now.checked_add(ahead) } else { now.checked_sub(ahead) };
        (Clock { began: began.unwrap_or(now) }, at_ms)
    }

    /// µs since the run began.
    #[expect(clippy::disallowed_methods, reason = "a run on real sockets happens in real time")]
    pub fn now(self) -> Time {
        Time(Instant::now().saturating_duration_since(self.began).as_micros() as u64)
    }

    /// How long until then, at least; nothing, if that is past.
    pub fn until(self, then: Time) -> Duration {
        Duration::from_micros(then.0.saturating_sub(self.now().0))
    }
}

/// Both clocks at one moment. A thread that is put aside between looking at one and at the other would take them for apart by as long: of several
/// looks the quickest counts.
#[expect(clippy::disallowed_methods, reason = "a run on real sockets happens in real time")]
fn both() -> (Instant, f64) {
    let look = || {
        let before = Instant::now();
        let wall = wall_ms();
        let took = before.elapsed();
        (took, before + took / 2, wall)
    };
    let quickest = (0..LOOKS).map(|_| look()).min_by_key(|(took, ..)| *took);
    let (_, now, wall) = quickest.unwrap_or_else(look);
    (now, wall)
}

/// ms since the Unix epoch by this machine's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "generators on several machines are put beside each other by the wall clock"
)]
fn wall_ms() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_from_the_time_it_was_told_whenever_it_is_ready() {
        let (clock, at_ms) = Clock::starting_at(None);
        assert!((wall_ms() - at_ms) < 60_000.0 && clock.now() < Time(60_000_000));
        let (late, _) = Clock::starting_at(Some(at_ms - 3_000.0));
        assert!((3_000_000..63_000_000).contains(&late.now().0), "{:?}", late.now());
        let (early, _) = Clock::starting_at(Some(at_ms + 600_000.0));
        assert_eq!(early.now(), Time::ZERO);
        assert!(early.until(Time::ZERO + Duration::from_secs(1)) >= Duration::from_secs(1));
    }
}
