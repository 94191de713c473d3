//! Fewer faults, at fewer targets, less often, for shorter.

use super::candidate::{Candidate, Failure, candidate};
use super::fit::retargeted;
use squall_scenarios::{FaultKind, Scenario, Span, Target};

/// Shorter than this, a fault hits hardly anything.
const SHORTEST_FAULT: Span = Span::from_millis(100);
/// Hosts of a target that are tried alone.
const HOSTS_TRIED: usize = 4;

/// All faults gone, then halves of them, quarters, …, and each one.
pub fn fewer(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let (mut candidates, mut size) = (Vec::new(), from.faults.len());
    while size > 0 {
        for (number, chunk) in from.faults.chunks(size).enumerate() {
            let names: Vec<String> = chunk.iter().map(|fault| format!("{:?}", fault.name)).collect();
            let range = number * size..number * size + chunk.len();
            candidates.extend(candidate(from, format!("without {}", names.join(", ")), |scenario| {
                scenario.faults.drain(range);
            }));
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    candidates
}

/// One host of each list of targets that means several, one insider, and one liar.
pub fn narrower(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (index, fault) in from.faults.iter().enumerate() {
        if let FaultKind::Insiders { count: 2.., guessing } = fault.kind {
            candidates.extend(candidate(from, format!("{:?}: one", fault.name), |scenario| {
                scenario.faults[index].kind = FaultKind::Insiders { count: 1, guessing: guessing.min(1) };
            }));
        }
        if let FaultKind::Liars { count: 2.. } = fault.kind {
            candidates.extend(candidate(from, format!("{:?}: one", fault.name), |scenario| {
                scenario.faults[index].kind = FaultKind::Liars { count: 1 };
            }));
        }
        for (_, targets) in fault.kind.targets() {
            let hosts = targets.hosts(&from.topology);
            // The devices, where they are meant, stand for one host more.
            if hosts.len() + usize::from(targets.clients()) < 2 {
                continue;
            }
            let each = hosts.into_iter().map(Target::Host).chain(targets.clients().then_some(Target::Clients));
            for alone in each.take(HOSTS_TRIED) {
                // Nobody is on both sides of a fault: what this list names is in no other.
                let narrow = retargeted(fault, |target| match targets.contains(target) {
                    true => means(target, alone, from).then_some(alone),
                    false => Some(target),
                });
                if let Some(narrow) = narrow {
                    let what = format!("{:?} at {alone} alone", fault.name);
                    candidates.extend(candidate(from, what, |scenario| scenario.faults[index] = narrow));
                }
            }
        }
    }
    candidates
}

/// Whether a target can mean a host, or the devices.
fn means(target: Target, one: Target, scenario: &Scenario) -> bool {
    match one {
        Target::Host(host) => target.hosts(&scenario.topology).contains(&host),
        _ => target == one,
    }
}

/// Once instead of again and again, and at a time that is not drawn.
pub fn less_often(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (index, fault) in from.faults.iter().enumerate() {
        let name = &fault.name;
        candidates
            .extend(candidate(from, format!("{name:?} once"), |scenario| scenario.faults[index].every = None));
        candidates.extend(candidate(from, format!("{name:?} at a fixed time"), |scenario| {
            scenario.faults[index].within = None;
        }));
    }
    candidates
}

/// A quarter and half of the time.
pub fn shorter(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (index, fault) in from.faults.iter().enumerate().filter(|(_, fault)| !fault.kind.is_instant()) {
        let lasts = fault.lasts.unwrap_or(from.phases.load - fault.at);
        for part in [4, 2] {
            let shorter = Span::from_millis((lasts / part).as_millis()).max(SHORTEST_FAULT);
            if shorter < lasts {
                candidates.extend(candidate(from, format!("{:?} for {shorter}", fault.name), |scenario| {
                    scenario.faults[index].lasts = Some(shorter);
                }));
            }
        }
    }
    candidates
}
