//! Faults of links, disks and clocks: what is in force is always computed from all active faults.

use super::strike::State;
use super::{Nemesis, Stage};
use crate::disk::DiskFault;
use squall_network::{Fault, FaultKind as LinkFault, HostId};
use squall_scenarios::{FaultKind, Scenario, Targets};

impl Nemesis {
    #[expect(clippy::too_many_arguments, reason = "two sides, a direction and a kind are what a link fault is")]
    pub(super) fn link(
        &mut self,
        index: usize,
        scenario: &Scenario,
        stage: &mut Stage<'_>,
        a: &Targets,
        b: &Targets,
        both_ways: bool,
        kind: LinkFault,
    ) {
        let (a, b) = (self.hosts_of(scenario, stage, a), self.hosts_of(scenario, stage, b));
        let fault = if both_ways { Fault::between(a, b, kind) } else { Fault::one_way(a, b, kind) };
        self.strikes[index].links.push(stage.network.add_fault(fault));
        if self.turmoil {
            self.apply_turmoil(scenario, stage);
        }
    }

    pub(super) fn disk(
        &mut self,
        index: usize,
        scenario: &Scenario,
        stage: &Stage<'_>,
        target: &Targets,
        fault: DiskFault,
    ) {
        for machine in machines_of(scenario, stage, target) {
            if let Some(disk) = &stage.machines[machine].probe.disk {
                self.strikes[index].disks.push((machine, disk.add_fault(fault)));
            }
        }
    }

    /// Sets every host's clock to what all active faults together say.
    pub(super) fn set_clocks(&self, scenario: &Scenario, stage: &mut Stage<'_>) {
        for machine in 0..stage.machines.len() {
            let mut skew = 0.0;
            for strike in self.strikes.iter().filter(|s| s.state == State::Active) {
                if let FaultKind::Clock { target, ahead, behind, drift_ppm } = &strike.kind
                    && target.hosts(&scenario.topology).contains(&stage.machines[machine].host)
                {
                    let lasted = stage.now.saturating_sub(strike.begins) as f64;
                    skew += ahead.as_micros() as f64 - behind.as_micros() as f64 + lasted * drift_ppm / 1e6;
                }
            }
            let group = machine.min(stage.groups.len() - 1);
            stage.groups[group].set_clock_skew(skew as i64);
        }
    }

    fn hosts_of(&self, scenario: &Scenario, stage: &Stage<'_>, targets: &Targets) -> Vec<HostId> {
        let mut hosts: Vec<HostId> =
            machines_of(scenario, stage, targets).into_iter().map(|m| stage.machines[m].probe.host).collect();
        if targets.clients() {
            hosts.extend(self.places.iter().map(|place| place.host));
        }
        hosts
    }

    /// Sets turmoil's links to what all active faults together say. turmoil does not count what a fault stops; the
    /// links that it covers are counted instead.
    pub(super) fn apply_turmoil(&mut self, scenario: &Scenario, stage: &Stage<'_>) {
        let sim = stage.groups[0].sim();
        let names: Vec<&str> = stage.machines.iter().map(|m| m.name.as_str()).collect();
        for (i, a) in names.iter().enumerate() {
            for b in &names[i + 1..] {
                sim.repair(*a, *b);
                sim.release(*a, *b);
            }
        }
        for strike in self.strikes.iter_mut().filter(|s| s.state == State::Active) {
            let (a, b, one_way, hold) = match &strike.kind {
                FaultKind::Partition { between, and } => (between, and, false, false),
                FaultKind::PartitionOneWay { from, to } => (from, to, true, false),
                FaultKind::Hold { between, and } => (between, and, false, true),
                _ => continue,
            };
            for a in a.hosts(&scenario.topology).iter().map(ToString::to_string) {
                for b in b.hosts(&scenario.topology).iter().map(ToString::to_string) {
                    match (one_way, hold) {
                        (true, _) => sim.partition_oneway(a.as_str(), b.as_str()),
                        (false, true) => sim.hold(a.as_str(), b.as_str()),
                        (false, false) => sim.partition(a.as_str(), b.as_str()),
                    }
                    *strike.affected.entry("links".to_owned()).or_default() += 1;
                }
            }
        }
    }
}

/// The machines that targets mean, by their place on the stage.
pub(super) fn machines_of(scenario: &Scenario, stage: &Stage<'_>, targets: &Targets) -> Vec<usize> {
    let hosts = targets.hosts(&scenario.topology);
    stage.machines.iter().enumerate().filter(|(_, m)| hosts.contains(&m.host)).map(|(i, _)| i).collect()
}
