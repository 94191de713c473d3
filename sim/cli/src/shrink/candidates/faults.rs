//! Fewer faults, at fewer targets, less often, for shorter.

use super::fit::retargeted;
use super::{Candidate, Failure, candidate};
use squall_scenarios::{Scenario, Span};

/// Shorter than this, a fault hits hardly anything.
const SHORTEST_FAULT: Span = Span::from_millis(100);
/// Hosts of a target that are tried alone.
const HOSTS_TRIED: usize = 4;

/// All faults gone, then halves of them, quarters, …, and each one.
pub fn fewer(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let (mut candidates, mut size) = (Vec::new(), from.faults.len());
    while size > 0 {
        for (number, chunk) in from.faults.chunks(size).enumerate() {
            let names: Vec<&str> = chunk.iter().map(|fault| fault.name.as_str()).collect();
            let range = number * size..number * size + chunk.len();
            candidates.extend(candidate(from, format!("without {}", names.join(", ")), |scenario| {
                scenario.faults.drain(range);
            }));
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    candidates
}

/// One host of each list of targets that means several.
pub fn narrower(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (index, fault) in from.faults.iter().enumerate() {
        for (_, targets) in fault.kind.targets() {
            let hosts = from.expand_targets(targets);
            if hosts.len() < 2 {
                continue;
            }
            for host in hosts.iter().take(HOSTS_TRIED) {
                // A host is on one side of a fault only: what this list names is in no other.
                let alone = |target: &str| match targets.iter().any(|named| named == target) {
                    true if from.expand_target(target).contains(host) => Some(host.clone()),
                    true => None,
                    false => Some(target.to_owned()),
                };
                if let Some(narrow) = retargeted(fault, alone) {
                    let what = format!("{} at {host} alone", fault.name);
                    candidates.extend(candidate(from, what, |scenario| scenario.faults[index] = narrow));
                }
            }
        }
    }
    candidates
}

/// Once instead of again and again.
pub fn less_often(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let each = from.faults.iter().enumerate().filter(|(_, fault)| fault.every.is_some());
    each.filter_map(|(index, fault)| {
        candidate(from, format!("{} once", fault.name), |scenario| scenario.faults[index].every = None)
    })
    .collect()
}

/// A quarter and half of the time.
pub fn shorter(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (index, fault) in from.faults.iter().enumerate().filter(|(_, fault)| !fault.kind.is_instant()) {
        let lasts = fault.lasts.unwrap_or(from.phases.load - fault.at);
        for part in [4, 2] {
            let shorter = Span::from_millis((lasts / part).as_millis()).max(SHORTEST_FAULT);
            if shorter < lasts {
                candidates.extend(candidate(from, format!("{} for {shorter}", fault.name), |scenario| {
                    scenario.faults[index].lasts = Some(shorter);
                }));
            }
        }
    }
    candidates
}
