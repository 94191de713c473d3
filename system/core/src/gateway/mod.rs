//! What a gateway decides: whom it lets in, and where a frame goes.

mod session;

pub use session::{Peer, ServerSession, Step};
