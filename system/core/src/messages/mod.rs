//! What a shard of the conversations decides.
//!
//! `conversation` is one log: it judges and numbers sends, with `membership` as the fold that says who may see and do
//! what. `fanout` names who receives an entry through which gateway, `debt` what is still owed after that.

mod conversation;
mod debt;
mod fanout;
mod membership;

pub use conversation::{Conversation, SendOutcome, SendRequest, Sender};
pub use debt::{Debts, Overdue, Position};
pub use fanout::targets_by_gateway;
pub use membership::{Membership, Stretch, admit};
