//! The chat system's decisions, as pure machines: no I/O, no clock, no randomness of their own.
//!
//! A folder or file a role: `client` is the device, `gateway` its connection's other end, `messages` a shard of the
//! conversations, `registry` who is connected where, `presence` who is online. The bus decides nothing. `rate`, `turns` and `typing` hold users apart; `few` is a small map. Each machine takes inputs and `now`, and
//! gives outputs; the shells in `system/server`, `system/client` and the fleet of virtual clients carry them out. The
//! vocabulary is one: `handle_*(…, now)`, `poll_timeout`, `handle_timeout`.

pub mod client;
pub mod few;
pub mod gateway;
pub mod messages;
pub mod plant;
pub mod presence;
pub mod rate;
pub mod registry;
pub mod time;
pub mod turns;
pub mod typing;

pub use time::{MaybeTime, Time};
