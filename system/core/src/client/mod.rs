//! A device: it connects, sends, shows, acks and syncs, and remembers all that across connections.
//!
//! `session` is the whole device, `thread` one conversation on it, `outbox` what waits to be sent there, `typing` who is shown as writing, `receipts` what it knows of who has read what, `output` what all of
//! them say. The machine is a few hundred bytes, so that millions fit in one process; it never stores what can be derived.

mod outbox;
mod output;
mod receipts;
mod session;
mod thread;
mod typing;

pub use output::{Output, ResendCause, Shown, Via};
pub use receipts::ReceiptBook;
pub use session::{ClientSession, Phase};
