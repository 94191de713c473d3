//! What a shard of the conversations decides.
//!
//! `conversation` is one log: it judges and numbers sends, with `membership` as the fold that says who may see and do
//! what, over the `stretches` of its users; `regime` says when it is a channel; `delta` is what a commit of it writes. `fence` keeps refusals final. `planner` says which
//! entries the registries are still to be asked for, `fanout` names who receives an entry through which gateway, `debt` what is
//! still owed after that.

mod conversation;
mod debt;
mod delta;
mod fanout;
mod fence;
mod membership;
mod planner;
mod regime;
mod stretches;

pub use conversation::{Conversation, SendOutcome, SendRequest, Sender, numbered_as};
pub use debt::{Debtor, Debts, Overdue, Position};
pub use delta::{LogDelta, SenderDelta};
pub use fanout::{Answered, targets_by_gateway};
pub use fence::{Fence, Fenced, MessageId};
pub use membership::{Membership, admit};
pub use planner::{Part, Planner};
pub use regime::{Hidden, Regime, Standing};
pub use stretches::{Stretch, Stretches};
