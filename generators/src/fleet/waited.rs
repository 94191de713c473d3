//! How long a message waits for its author, who had put the device away.
//!
//! **Invariant:** a message waits only while its author is away; what it waited before is kept when they come back.

use squall_core::Time;
use std::time::Duration;

/// How long a message has waited for the person who wrote it, and who had put the device away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waited {
    /// Since when it waits so; never: they are there.
    pub since: Time,
    /// How long it did before.
    pub before: Duration,
}

impl Waited {
    /// All of it, up to now.
    pub fn until(&self, now: Time) -> Duration {
        if self.since == Time::NEVER { self.before } else { self.before + now.since(self.since) }
    }
}
