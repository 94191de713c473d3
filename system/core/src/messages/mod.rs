//! What a shard of the conversations decides.
//!
//! `conversation` is one log: it judges and numbers sends, with `membership` as the fold that says who may see what and `rights`
//! as what follows from it of who may do what, over the `stretches` of its users and the `settings` of who has which right;
//! `regime` says when it is a channel; `delta` is what a commit of it writes. `fence` keeps refusals final. `planner` says which entries the registries are still to be asked for, `fanout` names who receives an entry through which gateway, `debt` what is
//! still owed after that.

mod conversation;
mod debt;
mod delta;
mod fanout;
mod fence;
mod membership;
mod planner;
mod regime;
mod rights;
mod settings;
mod stretches;

pub use conversation::{Conversation, SendOutcome, SendRequest, Sender, numbered_as};
pub use debt::{Debtor, Debts, Overdue, Position};
pub use delta::{LogDelta, SenderDelta};
pub use fanout::{Answered, targets_by_gateway};
pub use fence::{Fence, Fenced, MessageId};
pub use membership::{Blocks, Membership};
pub use planner::{Part, Planner};
pub use regime::{Hidden, Regime, Standing};
pub use rights::admit;
pub use settings::Settings;
pub use stretches::{Stretch, Stretches};
