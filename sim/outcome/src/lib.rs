//! What a run comes to, in whichever world: latencies, service levels, and why a run without a violation may prove nothing.
//!
//! A world brings its checks, its faults and its counts; what follows from them is decided here, the same way for all.

mod latencies;
mod levels;
mod progress;
mod reasons;

pub use latencies::{Latencies, MEASURES};
pub use levels::{service_level_check, service_levels};
pub use progress::Progress;
pub use reasons::{Judged, check_record, message_counts, reasons};
