//! What happened in a run, seen from outside the system: events, their JSON lines, their digest.
//!
//! **Invariant:** an event says what a device did or saw, what a host passed, or what the nemesis did; it never
//! repeats a server's word as if it had been seen.

mod content;
mod event;
mod filter;
mod harm;
mod hop;
mod recorder;
mod words;

pub use content::{What, body_hash, payload_hash};
pub use event::{Arrived, EVER, Entity, Event, Kind, Via};
pub use filter::Filter;
pub use harm::Harm;
pub use hop::{Asked, Extent, Hop, Place, Told};
pub use recorder::Recorder;
pub use words::Word;
