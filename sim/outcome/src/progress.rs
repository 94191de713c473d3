//! How far a run is, for whoever watches.

use std::time::Duration;

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub phase: &'static str,
    pub simulated: Duration,
    /// The longest that the run can take.
    pub total: Duration,
    pub wall: Duration,
    pub connected: u64,
    pub clients: u64,
    pub displayed: u64,
}
