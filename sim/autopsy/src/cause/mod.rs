//! The rules, by the question that a violation asks. Each looks for the last step that is missing or wrong on the way of the message, and
//! names what preceded it.
//!
//! **Invariant:** a rule reads the history only, and a sentence says nothing that the history does not.

mod admission;
mod content;
mod cursors;
mod delivery;
mod durable;
mod order;
mod redelivery;
mod routes;
mod sending;
mod shown;
mod stamps;
mod twice;

use crate::case::{Case, Subject};
use crate::story::{Story, at};

/// The sentence that names the cause of a violation.
pub fn cause(story: &Story, subject: &Subject) -> String {
    let case = Case::new(story, subject);
    let read_back = || subject.seq.and_then(|seq| durable::misread(&case, seq));
    let found = match subject.property.as_str() {
        "no-duplicates" | "members-only" | "sender-order" if read_back().is_some() => read_back(),
        "no-loss" | "in-time" => delivery::cause(&case),
        "every-send-answered" => sending::cause(&case),
        "acked-is-durable" | "same-order" => durable::cause(&case),
        "dense-sequence" => durable::cause(&case).or_else(|| shown::ahead(&case)),
        "no-duplicates" => twice::cause(&case),
        "members-only" => {
            admission::cause(&case).or_else(|| shown::cause(&case)).or_else(|| content::cause(&case))
        }
        "limits-hold" => admission::beyond_a_limit(&case),
        "wire-privacy" => shown::on_the_wire(&case),
        "nothing-unsent" => content::cause(&case),
        "cursor-behind-acks" | "cursor-never-back" => cursors::cause(&case),
        "current-routes" => routes::cause(&case),
        "sender-order" => order::cause(&case),
        "same-stamps" => stamps::cause(&case).or_else(|| durable::cause(&case)),
        _ => None,
    };
    found.unwrap_or_else(|| last_step(&case))
}

/// Where no rule knows a cause: the last thing that happened to the message.
fn last_step(case: &Case<'_>) -> String {
    let about = case.events().rfind(|event| event.t <= case.subject.t);
    match about {
        Some(event) => format!(
            "no rule knows the cause; the last step on its way was at {} on {}",
            at(event.t),
            case.story.name(event.at)
        ),
        None => "the history tells nothing of it".to_owned(),
    }
}
