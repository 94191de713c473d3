//! A device on any connector: the session of `squall_core::client`, driven over WebSockets.
//!
//! `device` owns the machine and carries out what it says, `link` is one connection's bytes, `dial` the seam to a
//! network, `tokens` the one to the app's backend. What the device has seen and what it has yet to send lives as long as its task; a process that starts
//! again starts from nothing and must use a device that has never sent (see `Device`).

mod device;
mod dial;
mod link;
mod tokens;
pub mod who;

pub use device::{Config, Device, Event, Events, Gone, Status};
pub use dial::{BoxFuture, BoxStream, Dial, Dialled, Gateways, NotAGateway, Stream};
pub use tokens::{Fixed, Tokens};
