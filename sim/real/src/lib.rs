//! A scenario on real sockets: the same people, the same workload, the same checks, against a running server.
//!
//! ```text
//!   stations: a thread each                      director: the caller's thread
//!   fleet ─ sockets (epoll) ─► the server         judge: events in order of time ─► checks, history, latencies
//!     └── events, latencies, in batches ────────►  └── verdict, record
//! ```
//!
//! | file | is |
//! |---|---|
//! | `clock`, `target` | real time; where gateways are, and from where they are reached |
//! | `sockets` | the fleet's last mile: connections, delays of a profile, TLS |
//! | `station` | a thread with a part of the people: phases, signals, timers |
//! | `faults` | faults of clients and frames; those of hosts cannot be done from here |
//! | `audit` | a fresh device of each user reads everything |
//! | `read_back` | the log, as fresh devices have shown it |
//! | `judge` | puts what stations tell into one order, and judges it |
//! | `shards` | several generators that shared a run |
//! | `honesty` | what the generator itself took, and whether it was what held the run up |
//! | `conclude` | the verdict and the record |
//!
//! **Invariant:** the clock is asked after what has arrived was read and before what is sent is written, so events of all threads in order
//! of their times are in an order in which they can have happened.

mod audit;
mod clock;
mod conclude;
pub mod descriptors;
mod faults;
mod honesty;
mod judge;
mod options;
mod read_back;
pub mod shards;
mod sockets;
mod station;
mod target;

pub use faults::{Unsupported, unsupported};
pub use honesty::usage;
pub use judge::run as load;
pub use options::{LoadError, LoadOptions};
pub use sockets::{TlsError, TlsSetup};
pub use station::FIRST_FRESH;
pub use target::{Target, TargetError};
