//! What a gateway decides: whom it lets in, where a frame goes, and what a registry is still to be told; and whom it tells
//! of the channels that it follows.

mod channels;
mod keys;
mod registrations;
mod session;

pub use channels::{Channels, Heard, Member, Sync, Taken, Telling};
pub use keys::Keys;
pub use registrations::Registrations;
pub use session::{Peer, ServerSession, Step};
