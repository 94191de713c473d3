//! What a run leaves behind: its record (`run.json`), the summary for people, JUnit for CI, a page of HTML.
//!
//! **Invariant:** this crate reads records and runs nothing; every rendering is made from the [`RunRecord`] alone, so that
//! a report can be made again from `run.json` at any time.

pub mod campaign;
pub mod compare;
pub mod date;
pub mod folder;
pub mod html;
pub mod junit;
pub mod latency;
pub mod lock;
pub mod merge;
pub mod number;
pub mod plots;
pub mod record;
pub mod series;
pub mod statistics;
pub mod store;
pub mod story;
pub mod summary;
pub mod sweep;
#[cfg(test)]
mod testing;
pub mod text_table;
pub mod trace;
pub mod trend;

pub use latency::{Histogram, Percentiles};
pub use record::{
    CheckRecord, ClientCounts, FaultRecord, FirstViolation, MemoryRecord, MessageCounts, RunRecord,
    SometimesRecord, Verdict, overall_verdict, ratio,
};
pub use store::{LoadError, RenderError, WriteError, load, render_again, write_all};
