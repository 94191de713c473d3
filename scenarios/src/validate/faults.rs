//! What each fault must satisfy: hosts that exist, times that fit, something to hit.

use super::Findings;
use crate::model::{Backbone, Fault, FaultKind, Point, Scenario, Topology};
use crate::span::Span;
use crate::target::{Target, Targets};
use crate::words::quote;
use squall_protocol::{HostName, Role};
use std::collections::BTreeMap;

/// More than this is a slip of a unit, not a scenario.
const MAX_OCCURRENCES: u64 = 10_000;

pub(super) fn faults(scenario: &Scenario, findings: &mut Findings) {
    let mut names = BTreeMap::new();
    for (index, fault) in scenario.faults.iter().enumerate() {
        let place = format!("faults[{index}]");
        times(scenario, fault, &place, findings);
        targets(scenario, fault, &place, findings);
        particulars(scenario, fault, &place, findings);
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

fn targets(scenario: &Scenario, fault: &Fault, place: &str, findings: &mut Findings) {
    let (topology, lists) = (&scenario.topology, fault.kind.targets());
    for (key, targets) in &lists {
        let place = format!("{place}.{key}");
        if targets.is_empty() {
            let message = format!("{key} is empty, but a fault needs somebody to hit");
            findings.add(&place, &[], message, format!("write e.g. {key} = [\"gateway-0\"]"));
        }
        for (index, target) in targets.iter().enumerate() {
            let (place, label) = (format!("{place}[{index}]"), format!("{key}[{index}]"));
            if target == Target::Clients && fault.kind.is_of_hosts() {
                let message = format!("{label} is \"clients\", but only hosts can have a {}", fault.kind.name());
                findings.add(&place, &[], message, "for devices, use the kind \"disconnect\" or \"half-open\"");
            } else if !target.exists(topology) {
                let message = format!("{label} is \"{target}\", but the hosts are {}", topology.in_words());
                findings.add(&place, &["topology"], message, help_for_missing(target));
            }
        }
    }
    if let [(_, one), (key, other)] = lists.as_slice() {
        let place = format!("{place}.{key}");
        if let Some(both) = on_both(one, other, topology) {
            let message = format!("{both} is on both sides of this {}", fault.kind.name());
            findings.add(&place, &["topology"], message, "leave it on one side");
        } else if misses_gateways(one, other, topology) || misses_gateways(other, one, topology) {
            let message = "clients have connections to gateways only, so this fault would hit nothing".to_owned();
            findings.add(&place, &["topology"], message, "set clients against e.g. \"gateway-*\"");
        }
    }
}

/// Somebody who is on both sides of a fault.
fn on_both(one: &Targets, other: &Targets, topology: &Topology) -> Option<Target> {
    let others = other.hosts(topology);
    let host = one.hosts(topology).into_iter().find(|host| others.contains(host));
    host.map(Target::Host).or((one.clients() && other.clients()).then_some(Target::Clients))
}

/// Whether one side is clients alone and the other has hosts, but no gateway.
fn misses_gateways(clients: &Targets, hosts: &Targets, topology: &Topology) -> bool {
    let hosts = hosts.hosts(topology);
    let alone = clients.clients() && clients.hosts(topology).is_empty();
    alone && !hosts.is_empty() && hosts.iter().all(|host| host.role != Role::Gateway)
}

fn help_for_missing(target: Target) -> String {
    match target {
        Target::Host(HostName { role, index }) => {
            let enough = index.saturating_add(1);
            format!("write one of those, or set {} = {enough} in [topology]", Topology::key(role))
        }
        _ => "write one of those, or add such hosts in [topology]".to_owned(),
    }
}

/// The first host whose role is not `role`, where all must have it.
fn of_another_role(role: Role, targets: &Targets, topology: &Topology) -> Option<HostName> {
    targets.hosts(topology).into_iter().find(|host| host.role != role)
}

fn particulars(scenario: &Scenario, fault: &Fault, place: &str, findings: &mut Findings) {
    if let Some(share) = fault.kind.share().filter(|share| !(*share > 0.0 && *share <= 1.0)) {
        let message = format!("share is {share}, but must be above 0 and at most 1");
        findings.add(&format!("{place}.share"), &[], message, "write e.g. share = 0.2");
    }
    match &fault.kind {
        FaultKind::Crash { point: Some(Point::MidCommit), .. } => {
            let message = "a process that dies leaves its writes to the system, so there is no middle".to_owned();
            findings.add(&format!("{place}.point"), &[], message, "use the kind \"power-loss\" or another point");
        }
        FaultKind::Crash { target, point: Some(_) } | FaultKind::PowerLoss { target, point: Some(_) } => {
            if let Some(host) = of_another_role(Role::Messages, target, &scenario.topology) {
                let message = format!("only messages hosts pass this point, but the target includes {host}");
                findings.add(
                    &format!("{place}.point"),
                    &["topology"],
                    message,
                    "leave it out, or target e.g. \"messages-*\"",
                );
            }
        }
        FaultKind::Latency { .. }
        | FaultKind::SlowLink { .. }
        | FaultKind::Loss { .. }
        | FaultKind::Refuse { .. }
            if scenario.network.backbone == Backbone::Turmoil =>
        {
            if !fault.kind.targets().iter().any(|(_, targets)| targets.clients()) {
                let kind = fault.kind.name();
                let message = format!("a {kind} between hosts has no effect on backbone = \"turmoil\"");
                findings.add(
                    &format!("{place}.kind"),
                    &["network"],
                    message,
                    "leave the fault or the backbone out",
                );
            }
        }
        FaultKind::Latency { add, jitter, .. } if add.is_zero() && jitter.is_zero() => {
            let message = "add and jitter are both \"0s\", so this fault would change nothing".to_owned();
            findings.add(&format!("{place}.add"), &["faults"], message, "write e.g. add = \"200ms\"");
        }
        FaultKind::Flap { down, up, between, and } => {
            if between.iter().chain(and.iter()).any(|target| target == Target::BusiestShard) {
                let message = "a flap is laid out before the run, when no shard is the busiest yet".to_owned();
                findings.add(&format!("{place}.kind"), &[], message, "name the shards, or \"messages-*\"");
            }
            for (key, span) in [("down", down), ("up", up)] {
                findings.span(&format!("{place}.{key}"), *span, Span::from_millis(1)..=Span::from_secs(86_400));
            }
        }
        FaultKind::DelayAcks { by, .. } if by.is_zero() => {
            let message = "by is \"0s\", so this fault would change nothing".to_owned();
            findings.add(&format!("{place}.by"), &[], message, "write e.g. by = \"2s\"");
        }
        FaultKind::Liars { count } => findings.count(&format!("{place}.count"), *count, 1..=1_000),
        FaultKind::CarrierGone { carrier: Some(carrier) }
            if !scenario.network.last_mile.get(carrier).is_some_and(|share| *share > 0.0) =>
        {
            let message = "no device of this scenario is on that last-mile profile".to_owned();
            let help = "name one of those in last_mile, or leave carrier out to draw one";
            findings.add(&format!("{place}.carrier"), &["network"], message, help);
        }
        FaultKind::SlowLink { bytes_per_s: 0, .. } => {
            let message = "bytes_per_s is 0, which is a partition".to_owned();
            findings.add(&format!("{place}.bytes_per_s"), &[], message, "write e.g. bytes_per_s = 20_000");
        }
        FaultKind::Pause { .. } if scenario.network.backbone == Backbone::Turmoil => {
            let message = "all hosts share one clock on backbone = \"turmoil\", so none can be paused".to_owned();
            findings.add(&format!("{place}.kind"), &["network"], message, "leave the fault or the backbone out");
        }
        FaultKind::Clock { .. } if scenario.network.backbone == Backbone::Turmoil => {
            let message = "all hosts share one clock on backbone = \"turmoil\", so none can be wrong".to_owned();
            findings.add(&format!("{place}.kind"), &["network"], message, "leave the fault or the backbone out");
        }
        FaultKind::RollingRestart { .. } | FaultKind::Swizzle { .. }
            if fault.kind.targets().iter().any(|(_, targets)| targets.contains(Target::BusiestShard)) =>
        {
            let message =
                format!("a {} is laid out before the run, when no shard is the busiest yet", fault.kind.name());
            findings.add(&format!("{place}.kind"), &[], message, "name the shards, or \"messages-*\"");
        }
        FaultKind::Clock { ahead, behind, drift_ppm, .. } => {
            findings.number(&format!("{place}.drift_ppm"), *drift_ppm, -100_000.0..=100_000.0);
            if ahead == behind && *drift_ppm == 0.0 {
                let message = "this clock is neither ahead nor behind and does not drift".to_owned();
                findings.add(&format!("{place}.ahead"), &["faults"], message, "write e.g. ahead = \"2s\"");
            }
        }
        kind if kind.is_of_disks() => {
            let lists = kind.targets();
            let other =
                |(_, targets): &(_, &Targets)| of_another_role(Role::Messages, targets, &scenario.topology);
            if let Some(host) = lists.iter().find_map(other) {
                let message = format!("only messages hosts have a disk, but the target includes {host}");
                let help = "target e.g. \"messages-*\"";
                findings.add(&format!("{place}.target"), &["topology"], message, help);
            }
        }
        _ => {}
    }
}
