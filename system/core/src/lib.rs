//! The chat system's decisions, as pure machines: no I/O, no clock, no randomness of their own.
//!
//! Each machine takes inputs and `now`, and gives outputs; the shells in `system/server`, `system/client` and the
//! fleet of virtual clients carry them out. The vocabulary is one: `handle_*(…, now)`, `poll_timeout`, `handle_timeout`.

pub mod client;
pub mod conversation;
pub mod debt;
pub mod fanout;
pub mod membership;
pub mod plant;
pub mod registry;
pub mod session;
pub mod time;

pub use time::Time;
