//! Whom a fault may strike: somebody who exists, who can have it, and who is on one side only.

use super::findings::Findings;
use crate::model::{Fault, Scenario, Strikes, Topology};
use crate::target::{Target, Targets};
use squall_protocol::{HostName, Role};

pub(super) fn targets(scenario: &Scenario, fault: &Fault, place: &str, findings: &mut Findings) {
    let (topology, lists) = (&scenario.topology, fault.kind.targets());
    let hosts_only = matches!(fault.kind.strikes(), Strikes::Hosts | Strikes::Disks);
    for (key, targets) in &lists {
        let place = format!("{place}.{key}");
        if targets.is_empty() {
            let message = format!("{key} is empty, but a fault needs somebody to hit");
            findings.add(&place, &[], message, format!("write e.g. {key} = [\"gateway-0\"]"));
        }
        for (index, target) in targets.iter().enumerate() {
            let (place, label) = (format!("{place}[{index}]"), format!("{key}[{index}]"));
            if target == Target::Clients && hosts_only {
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
