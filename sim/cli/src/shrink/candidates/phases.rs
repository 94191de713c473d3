//! Shorter runs.

use super::candidate::{Candidate, Failure, candidate};
use squall_scenarios::{Profile, Scenario, Span};

const SHORTEST_LOAD: Span = Span::from_secs(1);
const SHORTEST_RAMP: Span = Span::from_millis(200);

/// Enough for devices on Wi-Fi and LTE to come back and receive what is owed.
const SHORT_QUIET: Span = Span::from_secs(30);
/// What can be said before anything is owed: a shorter quiet makes none of these look violated.
const SAFETY: &[&str] =
    &["no-duplicates", "dense-sequence", "same-order", "sender-order", "nothing-unsent", "members-only"];

/// A quarter, half and three quarters of the load; the load until just after the violation, or until the last fault has begun.
pub fn shorter_load(from: &Scenario, failure: &Failure<'_>) -> Vec<Candidate> {
    let load = from.phases.load;
    let violated = after(failure.at - from.phases.ramp);
    let faults_begun = from.faults.iter().map(|fault| after(fault.at)).max().unwrap_or(SHORTEST_LOAD);
    let mut lengths = vec![load / 4, load / 2, violated, faults_begun, load * 3 / 4];
    lengths.iter_mut().for_each(|length| *length = rounded(*length).max(SHORTEST_LOAD));
    lengths.retain(|length| *length < load);
    lengths.sort();
    lengths.dedup();
    let cut = |length: Span| candidate(from, format!("load {length}"), |scenario| scenario.phases.load = length);
    let mut candidates: Vec<Candidate> = lengths.into_iter().filter_map(cut).collect();
    // The same faults in less time.
    let half = rounded(load / 2);
    if half >= SHORTEST_LOAD {
        candidates.extend(candidate(from, format!("load and times of faults {half}"), |scenario| {
            scenario.phases.load = half;
            scenario.faults.iter_mut().for_each(|fault| fault.at = fault.at / 2);
            scenario.workload.flash_crowds.iter_mut().for_each(|crowd| crowd.at = crowd.at / 2);
        }));
    }
    candidates
}

/// A whole second after this one has begun.
fn after(moment: Span) -> Span {
    Span::from_secs(moment.as_millis() / 1_000 + 1)
}

/// To whole seconds, for people; below a second to milliseconds.
fn rounded(length: Span) -> Span {
    match length.as_millis() {
        millis @ 0..1_000 => Span::from_millis(millis),
        millis => Span::from_secs(millis / 1_000),
    }
}

/// Everything sooner by the time before the first fault, or by half of it.
pub fn sooner(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let Some(first) = from.faults.iter().map(|fault| fault.at).min() else { return Vec::new() };
    let mut lengths = vec![rounded(first), rounded(first / 2)];
    lengths.retain(|by| !by.is_zero() && from.phases.load - *by >= SHORTEST_LOAD);
    let earlier = |by: Span| {
        candidate(from, format!("everything {by} sooner"), |scenario| {
            scenario.phases.load = scenario.phases.load - by;
            scenario.faults.iter_mut().for_each(|fault| fault.at = fault.at - by);
            scenario.workload.flash_crowds.iter_mut().for_each(|crowd| crowd.at = crowd.at - by);
        })
    };
    lengths.into_iter().filter_map(earlier).collect()
}

pub fn shorter_ramp(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let ramp = from.phases.ramp;
    let mut lengths = vec![SHORTEST_RAMP, Span::from_secs(1), ramp / 2];
    lengths.retain(|length| (SHORTEST_RAMP..ramp).contains(length));
    lengths.sort();
    lengths.dedup();
    let cut = |length: Span| candidate(from, format!("ramp {length}"), |scenario| scenario.phases.ramp = length);
    lengths.into_iter().filter_map(cut).collect()
}

/// A shorter quiet, where nothing that is owed is what fails, and nothing needs a long one.
pub fn shorter_quiet(from: &Scenario, failure: &Failure<'_>) -> Vec<Candidate> {
    let slow = |profile: &Profile| matches!(profile, Profile::ThreeG | Profile::Flaky);
    let needed = from.network.last_mile.keys().any(slow)
        || from.faults.iter().any(|fault| fault.kind.kind_name().heals_late());
    let long = from.phases.liveness_bound.is_none_or(|bound| bound > SHORT_QUIET);
    if needed || !long || !SAFETY.contains(&failure.property) {
        return Vec::new();
    }
    let shorter = candidate(from, format!("liveness_bound {SHORT_QUIET}"), |scenario| {
        scenario.phases.liveness_bound = Some(SHORT_QUIET);
    });
    shorter.into_iter().map(|shorter| Candidate { may_accuse: true, ..shorter }).collect()
}

/// No service levels; each one gone where they are what fails.
pub fn fewer_service_levels(from: &Scenario, failure: &Failure<'_>) -> Vec<Candidate> {
    let levels = from.checks.service_levels.len();
    if failure.property != "service-levels" {
        let none = candidate(from, "no service levels", |scenario| scenario.checks.service_levels.clear());
        return none.into_iter().collect();
    }
    let without = |index: usize| {
        let what = format!("without service level {} of {levels}", index + 1);
        candidate(from, what, |scenario| {
            scenario.checks.service_levels.remove(index);
        })
    };
    if levels > 1 { (0..levels).filter_map(without).collect() } else { Vec::new() }
}

/// Nobody compares bystanders, and work costs nothing, unless that is what fails.
pub fn free_work(from: &Scenario, failure: &Failure<'_>) -> Vec<Candidate> {
    if failure.property == "nobody-harmed" {
        return Vec::new();
    }
    let alone = candidate(from, "no bystanders", |scenario| scenario.checks.bystanders = None);
    let free = candidate(from, "free work", |scenario| scenario.costs = None);
    alone.into_iter().chain(free).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_matter_of_safety_is_a_check() {
        assert!(SAFETY.iter().all(|name| squall_checks::names().any(|known| known == *name)));
    }
}
