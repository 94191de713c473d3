//! Scenario files: what they say, what is wrong with them, and the library of them beside this crate.
//!
//! A scenario file is TOML. Every section and nearly every key has a default, so the shortest useful file is a population and
//! something that happens to it:
//!
//! ```
//! let scenario = squall_scenarios::parse(
//!     r#"
//!     description = "A gateway dies while people write."
//!
//!     [population]            # who is there
//!     users = 20
//!     devices_per_user = 2
//!
//!     [workload]              # what they do
//!     send_interval = "2s"
//!
//!     [phases]                # ramp, load, then heal, quiet and audit
//!     load = "20s"
//!
//!     [[faults]]              # what happens to them; times count from the start of the load
//!     kind = "crash"
//!     target = ["gateway-0"]  # a host, all of a role ("gateway-*"), or "clients" for the devices
//!     at = "5s"
//!     for = "3s"
//!
//!     [[checks.service_levels]]
//!     measure = "send-to-ack"
//!     percentile = 99
//!     at_most = "5s"
//!     "#,
//!     "first.toml".as_ref(),
//! );
//! assert_eq!(scenario.unwrap().faults[0].name, "crash-1");
//! ```
//!
//! The other sections are `[topology]` (how many hosts of each role), `[network]` (what carries the bytes) and `[costs]` (what work
//! costs a host). The types in `model`, `people`, `topology`, `network`, `costs` and `faults` document every key with its default; [`json_schema`] prints the same
//! for editors.
//!
//! A wrong file is answered with every problem at once, each with file, line, column, what was found, what was expected and
//! the next step ([`Problem`]). No text makes the parser panic. Checked by `tests/library.rs`.

mod costs;
mod faults;
mod field;
mod library;
mod limits;
pub mod model;
mod network;
mod parse;
pub mod people;
mod presence;
mod problem;
mod reader;
pub mod receipts;
mod schema;
mod span;
mod target;
mod tokens;
mod topology;
mod typing;
mod validate;
mod words;
mod write;

pub use faults::Occurrence;
pub use library::{FolderError, files_in};
pub use model::*;
pub use parse::{load, parse};
pub use problem::Problem;
pub use schema::json_schema;
pub use span::{Span, SpanError};
pub use target::{Target, TargetError, Targets};
pub use validate::Finding;
pub use words::{nearest, printable};
