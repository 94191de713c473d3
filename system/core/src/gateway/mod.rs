//! What a gateway decides: whom it lets in, where a frame goes, and what a registry is still to be told.

mod registrations;
mod session;

pub use registrations::Registrations;
pub use session::{Peer, ServerSession, Step};
