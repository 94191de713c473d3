//! What happened in a run, seen from outside the system: events, their JSON lines, their digest.
//!
//! **Invariant:** an event says what a device did or saw, what a host passed, or what the nemesis did; it never
//! repeats a server's word as if it had been seen.

mod event;
mod recorder;

pub use event::{Entity, Event, Kind, Via, What, body_hash};
pub use recorder::Recorder;
