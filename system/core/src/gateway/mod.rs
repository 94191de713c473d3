//! What a gateway decides: whom it lets in, where a frame goes, and what a registry is still to be told; whom it tells
//! of the channels that it follows, and of whom it tells that they are online; and what waits for a device until all else is written.

mod channels;
mod keys;
mod notices;
mod registrations;
mod session;
mod watches;

pub use channels::{Channels, Heard, Levels, Member, Said, Sync, Taken, Telling};
pub use keys::Keys;
pub use notices::{About, Due, Notices};
pub use registrations::Registrations;
pub use session::{Peer, ServerSession, Step};
pub use watches::{AskLease, TooManyWatches, Wanted, Watches};
