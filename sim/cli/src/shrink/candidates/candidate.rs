//! A smaller scenario to try, and how an edit makes one.

use super::fit;
use squall_scenarios::{Scenario, Span};

/// A scenario to try, and what is smaller in it.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub what: String,
    pub scenario: Scenario,
    /// Whether it may make other properties look violated that are not: it counts only if it adds no violated check.
    pub may_accuse: bool,
}

/// What is known of the failure that must stay.
#[derive(Debug, Clone)]
pub struct Failure<'a> {
    /// The check that is violated first.
    pub property: &'a str,
    /// When, from the start of the run.
    pub at: Span,
}

/// The candidate that an edit makes; `None` where it changes nothing or what it makes cannot run.
pub fn candidate(from: &Scenario, what: impl Into<String>, edit: impl FnOnce(&mut Scenario)) -> Option<Candidate> {
    let mut scenario = from.clone();
    edit(&mut scenario);
    if scenario == *from {
        return None;
    }
    fit::fit(&mut scenario);
    let sound = scenario != *from && scenario.findings().is_empty();
    sound.then(|| Candidate { what: what.into(), scenario, may_accuse: false })
}

/// Numbers below `from` and not below `least`: that one, a quarter, a half, three quarters, one less.
pub fn below(from: u32, least: u32) -> Vec<u32> {
    let mut numbers = vec![least, from / 4, from / 2, from - from / 4, from.saturating_sub(1)];
    numbers.retain(|number| (least..from).contains(number));
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_below_are_below() {
        assert_eq!(below(40, 2), [2, 10, 20, 30, 39]);
        assert_eq!(below(3, 2), [2]);
        assert!(below(2, 2).is_empty());
        assert!(below(0, 0).is_empty());
    }
}
