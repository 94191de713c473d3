//! The rules, by the question that a violation asks. Each looks for the last step that is missing or wrong on the way of the message, and
//! names what preceded it.
//!
//! **Invariant:** a rule reads the history only, and a sentence says nothing that the history does not.

mod admission;
mod answer;
mod channel;
mod content;
mod cursors;
mod delivery;
mod drains;
mod durable;
mod levels;
mod limits;
mod lookup;
mod order;
mod pauses;
mod presence;
mod receipts;
mod redelivery;
mod refusal;
mod rights;
mod routes;
mod sending;
mod shown;
mod stamps;
mod tables;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_asides;
mod tokens;
mod twice;
mod typing;
mod vain;

use crate::case::{Case, Subject};
use crate::diagram::Focus;
use crate::steps::describe;
use crate::story::{Story, at};
use squall_history::{Hop, Kind};

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
        "bounded-and-back" => levels::cause(&case),
        "limits-hold" => limits::cause(&case),
        "wire-privacy" => shown::on_the_wire(&case),
        "nothing-unsent" => content::cause(&case),
        "cursor-behind-acks" | "cursor-never-back" | "cursor-follows-acks" => cursors::cause(&case),
        "current-routes" => routes::cause(&case),
        "drains-gently" => drains::cause(&case),
        "no-vain-syncs" => vain::cause(&case),
        "presence-holds" => presence::cause(&case),
        "receipts-hold" => receipts::cause(&case),
        "tokens-hold" => tokens::cause(&case),
        "typing-holds" => typing::cause(&case),
        "sender-order" => order::cause(&case),
        "tables-agree" => tables::cause(&case),
        "same-stamps" => stamps::cause(&case).or_else(|| durable::cause(&case)),
        _ => None,
    };
    found.unwrap_or_else(|| last_step(&case))
}

/// Where no rule knows a cause: the last thing that happened to the message, and what had befallen hosts before.
fn last_step(case: &Case<'_>) -> String {
    let focus = Focus::of(case);
    let until = |event: &&squall_history::Event| event.t <= case.subject.t;
    // What the audit read is no step of a way.
    let step = case
        .events()
        .rev()
        .filter(until)
        .filter(|event| !matches!(event.kind, Kind::Hop(Hop::Logged { .. })))
        .find_map(|event| describe(case, &focus, event).map(|step| (event.t, step)));
    let Some((t, step)) = step else { return "the history tells nothing of it".to_owned() };
    let stop = case.shard.and_then(|shard| case.story.stopped_between(shard, 0, t));
    let before =
        stop.map_or(String::new(), |stop| format!("; before that, {} {}", case.shard_name(), stop.verb()));
    format!("no rule knows the cause; the last step on its way: {} {} at {}{before}", step.lane, step.text, at(t))
}
