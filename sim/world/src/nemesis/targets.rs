//! Whom a fault is about: targets that are drawn become hosts when it begins.

use super::Stage;
use super::strike::Strike;
use squall_generators::rng::{Stream, shuffle};
use squall_history::Harm;
use squall_network::HostId;
use squall_protocol::Role;
use squall_scenarios::{FaultKind, Scenario, Target, Targets};

/// A link that is slower by up to this still carries everything; beyond, what waits for an answer may give up first.
const SLOW_US: u64 = 250_000;

/// Draws the hosts of targets that say how many are meant, and finds those that are known by what they do.
pub(super) fn resolve(strike: &mut Strike, stage: &Stage<'_>) {
    let busiest = stage.mailbox.lock().busiest_shard(stage.scenario.topology.messages);
    for targets in strike.kind.targets_mut() {
        *targets = draw_hosts(stage.scenario, targets, &mut strike.stream, busiest);
    }
    strike.targets = named(&strike.kind, stage.scenario).into_iter().map(|(name, _)| name).collect();
}

/// Everybody whom a kind of fault names, as records name them, links with their side.
pub(super) fn named(kind: &FaultKind, scenario: &Scenario) -> Vec<(String, Target)> {
    let sides = kind.targets();
    let named = sides.iter().flat_map(|(key, targets)| {
        let side = if *key == "target" { String::new() } else { format!("{key} ") };
        each_of(scenario, targets).into_iter().map(move |target| (format!("{side}{target}"), target))
    });
    named.collect()
}

/// Every host that targets mean, and the devices at the end.
pub(super) fn each_of(scenario: &Scenario, targets: &Targets) -> Vec<Target> {
    let hosts = targets.hosts(&scenario.topology).into_iter().map(Target::Host);
    hosts.chain(targets.clients().then_some(Target::Clients)).collect()
}

/// Whom a fault may harm, for the checks. `struck` are the devices that have been drawn for it. Liars and insiders harm nobody, nor
/// does who says something twice or begins anew; whose connection is cut with a frame learns of it.
pub(super) fn harmed(kind: &FaultKind, struck: &[u32], stage: &Stage<'_>) -> Harm {
    let sides = kind.targets();
    let ends: Vec<Vec<usize>> = sides.iter().map(|(_, targets)| stage.machines_of(targets)).collect();
    // Who is on a gateway that is to end has everything as before, until its turn has come: that excuses nothing.
    let is_harmed = |machine: &usize| {
        !matches!(kind, FaultKind::Stop { .. }) || stage.machines[*machine].host.role != Role::Gateway
    };
    Harm {
        split: match &ends[..] {
            [one, other] if !one.is_empty() && !other.is_empty() => Some(one.len()),
            _ => None,
        },
        hosts: ends.into_iter().flatten().filter(is_harmed).map(|machine| machine as u16).collect(),
        devices: struck.iter().map(|client| stage.fleet.device(*client)).collect(),
        connections: sides.iter().any(|(_, targets)| targets.clients())
            || (sides.is_empty() && !matches!(kind, FaultKind::Liars { .. })),
        delay_us: match kind {
            FaultKind::Latency { add, jitter, .. } => Some(add.as_micros() + jitter.as_micros()),
            _ => None,
        }
        .filter(|delay| *delay <= SLOW_US),
    }
}

/// Whom targets mean, with those drawn that are to be drawn. `busiest` is the shard with the busiest conversation.
pub(super) fn draw_hosts(scenario: &Scenario, targets: &Targets, stream: &mut Stream, busiest: u32) -> Targets {
    let mut drawn = Vec::new();
    for target in targets.iter() {
        let mut meant = target.hosts(&scenario.topology);
        match target {
            Target::Clients => drawn.push(target),
            Target::Host(_) | Target::All(_) => {}
            Target::OneOf(_) => meant = vec![meant[stream.below(meant.len() as u64) as usize]],
            Target::ShareOf { percent, .. } => {
                shuffle(&mut meant, stream);
                meant.truncate(((meant.len() as f64 * (percent / 100.0)).ceil() as usize).max(1));
            }
            Target::BusiestShard => meant = vec![Role::Messages.host(busiest)],
        }
        drawn.extend(meant.into_iter().map(Target::Host));
    }
    drawn.into()
}

impl Stage<'_> {
    /// The machines that targets mean, by their place on the stage.
    pub(super) fn machines_of(&self, targets: &Targets) -> Vec<usize> {
        let hosts = targets.hosts(&self.scenario.topology);
        let meant = self.machines.iter().enumerate().filter(|(_, machine)| hosts.contains(&machine.host));
        meant.map(|(index, _)| index).collect()
    }

    /// The network's hosts that targets mean: machines, and the sites of all devices for `clients`.
    pub(super) fn hosts_of(&self, targets: &Targets) -> Vec<HostId> {
        let machines = self.machines_of(targets).into_iter();
        let mut hosts: Vec<HostId> = machines.map(|machine| self.machines[machine].probe.host).collect();
        if targets.clients() {
            hosts.extend(self.sites.places.iter().map(|place| place.host));
        }
        hosts
    }
}
