//! When a shard may try its disk again after failures.
//!
//! The first failure is answered at once: most disks fail once. What goes on failing is tried ever more rarely, for each try reads
//! the whole file.

use squall_core::Time;
use squall_protocol::limits::{STORAGE_BACKOFF_MAX, STORAGE_BACKOFF_MIN};

/// Failures of a disk since it last did what it was asked.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    until: Time,
}

impl Backoff {
    /// The disk has failed. Returns whether it was well before.
    pub fn handle_failed(&mut self, now: Time) -> bool {
        if self.failures > 0 {
            let doubled = STORAGE_BACKOFF_MIN.saturating_mul(1 << (self.failures - 1).min(16));
            self.until = now + doubled.min(STORAGE_BACKOFF_MAX);
        }
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }

    /// The disk has done what it was asked. Returns whether it had failed before.
    pub fn handle_done(&mut self) -> bool {
        std::mem::take(self).failures > 0
    }

    /// From when on it may be tried again.
    pub fn poll_timeout(&self) -> Time {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_disk_that_fails_for_long_is_tried_ever_more_rarely() {
        let mut backoff = Backoff::default();
        let (mut now, mut tries) = (Time(0), 0);
        assert!(backoff.handle_failed(now), "it was well");
        while now < Time(0) + Duration::from_secs(60) {
            now = now.max(backoff.poll_timeout());
            tries += 1;
            assert!(!backoff.handle_failed(now));
        }
        assert!((10..20).contains(&tries), "{tries} tries in a minute");
        assert!(backoff.poll_timeout() <= now + STORAGE_BACKOFF_MAX);
        assert!(backoff.handle_done() && !backoff.handle_done());
        assert_eq!(backoff.poll_timeout(), Time(0), "a disk that is well again is not waited for");
    }

    #[test]
    fn the_first_failure_is_answered_at_once() {
        let mut backoff = Backoff::default();
        backoff.handle_failed(Time(7));
        assert!(backoff.poll_timeout() <= Time(7));
    }
}
