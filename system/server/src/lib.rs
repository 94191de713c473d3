//! The chat system's roles, and the one composition root that starts them.
//!
//! A role is given its listener, its connector, its storage, its clocks and an observer; it cannot tell a simulation
//! from the real thing. `gateway` holds devices' WebSockets, `messages` the durable logs, `registry` who is connected
//! where, `bus` carries deliveries to gateways, `presence` who is online.

mod bus;
pub mod clock;
mod cluster;
pub mod descriptors;
mod gateway;
pub mod hop;
pub mod inspect;
pub mod level;
mod links;
pub mod local;
mod memory;
mod messages;
pub mod net;
pub mod observer;
mod presence;
mod registry;
mod serve;
mod stop;
pub mod storage;
mod tasks;
pub mod work;

pub use cluster::Cluster;
pub use serve::{Env, ServeError, serve};
pub use stop::Stop;
pub use tasks::Panicked;
