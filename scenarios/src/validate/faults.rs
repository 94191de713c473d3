//! What every fault must satisfy: times that fit, a name of its own.

use super::findings::Findings;
use super::{kinds, targets};
use crate::model::{Fault, FaultKind, Scenario};
use crate::words::quote;
use std::collections::BTreeMap;

/// More than this is a slip of a unit, not a scenario.
const MAX_OCCURRENCES: u64 = 10_000;

pub(super) fn faults(scenario: &Scenario, findings: &mut Findings) {
    let mut names = BTreeMap::new();
    for (index, fault) in scenario.faults.iter().enumerate() {
        let place = format!("faults[{index}]");
        times(scenario, fault, &place, findings);
        targets::targets(scenario, fault, &place, findings);
        kinds::particulars(scenario, fault, &place, findings);
        findings.name(&format!("{place}.name"), &fault.name);
        if !fault.name.is_empty() && names.insert(fault.name.as_str(), index).is_some() {
            let message = format!("name is {}, and so is another fault's", quote(&fault.name));
            findings.add(&format!("{place}.name"), &[], message, "give each fault a name of its own, or none");
        }
    }
}

fn times(scenario: &Scenario, fault: &Fault, place: &str, findings: &mut Findings) {
    let (load, tick) = (scenario.phases.load, scenario.tick.0);
    if fault.at >= load {
        let message = format!("at is \"{}\", but the load phase ends at \"{load}\"", fault.at);
        findings.add(
            &format!("{place}.at"),
            &["phases"],
            message,
            "choose an earlier time, or a longer load in [phases]",
        );
    } else if !fault.kind.is_instant() && fault.at + tick > load {
        let message = format!(
            "at is \"{}\", but the load phase ends at \"{load}\": a fault lasts at least one tick, \"{tick}\"",
            fault.at
        );
        let help = "choose an earlier time, or a longer load in [phases]";
        findings.add(&format!("{place}.at"), &["phases", "tick"], message, help);
    }
    within(scenario, fault, place, findings);
    let key = format!("{place}.for");
    match fault.lasts {
        None if matches!(fault.kind, FaultKind::RollingRestart { .. }) => {
            let message = "a rolling-restart needs \"for\": how long each process is down".to_owned();
            findings.add(&key, &["faults"], message, "write e.g. for = \"2s\"");
        }
        Some(_) if fault.kind.is_instant() => {
            let message = format!("a {} happens at one instant, so it has no \"for\"", fault.kind.name());
            findings.add(&key, &[], message, "leave it out; \"every\" repeats the fault");
        }
        Some(lasts) if lasts < tick => {
            let message = format!("for is \"{lasts}\", but must be at least one tick, \"{tick}\"");
            findings.add(&key, &["tick"], message, "write e.g. for = \"5s\"");
        }
        _ => {}
    }
    let key = format!("{place}.every");
    match (fault.every, fault.lasts) {
        (Some(every), _) if every < tick => {
            let message = format!("every is \"{every}\", but must be at least one tick, \"{tick}\"");
            findings.add(&key, &["tick"], message, "write e.g. every = \"10s\"");
        }
        (Some(every), _) if load.as_micros() / every.as_micros().max(1) > MAX_OCCURRENCES => {
            let message = format!(
                "every is \"{every}\", which is more than {MAX_OCCURRENCES} times in a load of \"{load}\""
            );
            findings.add(&key, &["phases"], message, "write a longer time");
        }
        (Some(_), None) if !fault.kind.is_instant() => {
            let message = "without \"for\" this fault lasts until the load ends, so it cannot repeat".to_owned();
            findings.add(&key, &["faults"], message, "add e.g. for = \"5s\", or leave \"every\" out");
        }
        (Some(every), Some(lasts)) if !fault.kind.is_instant() && every <= lasts => {
            let message = format!(
                "every is \"{every}\", but the fault lasts \"{lasts}\": it must end before it begins again"
            );
            findings.add(
                &key,
                &[],
                message,
                format!("write a time longer than \"{lasts}\", or a shorter \"for\""),
            );
        }
        _ => {}
    }
}

fn within(scenario: &Scenario, fault: &Fault, place: &str, findings: &mut Findings) {
    let Some(within) = fault.within else { return };
    let key = format!("{place}.within");
    let load = scenario.phases.load;
    if fault.at + within > load {
        let message = format!(
            "it may begin \"{}\" after the load does, but the load phase ends at \"{load}\"",
            fault.at + within
        );
        findings.add(&key, &["phases"], message, "choose an earlier time, a shorter \"within\" or a longer load");
    }
    if let Some(every) = fault.every.filter(|every| within + fault.lasts.unwrap_or_default() >= *every) {
        let message =
            format!("within \"{within}\" and what it lasts are not over when it repeats after \"{every}\"");
        findings.add(&key, &[], message, "write a shorter \"within\", or a longer \"every\"");
    }
}
