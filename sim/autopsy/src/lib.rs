//! Why a property was violated: one sentence that names the cause, and the story around it.
//!
//! | file | is |
//! |---|---|
//! | `story` | events and hops, and what one asks of them |
//! | `lives` | devices that begin anew, told apart |
//! | `log` | what stood where in the conversation, and who was a member |
//! | `standing` | who may do what there, and since which entry |
//! | `case` | a violation with the story around it |
//! | `steps` | what each event says, in a lane, in words |
//! | `asides` | the same of what nobody is owed, and of channels |
//! | `diagram` | the story of a message as a diagram |
//! | `links` | which step follows from which |
//! | `trace` | the same story on time axes, with what lasted |
//! | `cause/` | the rules: a file for each question that a violation asks |
//!
//! **Invariant:** this crate sees the history, identifiers and what a report is made of, and nothing else: not the system's code, not what was planted, not the scenario.
//! Guarded by its manifest and `sim/cli/tests/layers.rs`.

mod asides;
mod case;
mod cause;
mod diagram;
mod links;
mod lives;
mod log;
mod standing;
mod steps;
mod story;
mod trace;

pub use case::{Case, Subject};
pub use cause::cause;
pub use diagram::diagram;
pub use story::{Story, at};
pub use trace::trace;
