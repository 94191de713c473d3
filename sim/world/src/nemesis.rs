//! The nemesis: begins and ends the scenario's faults, and counts what each of them hit.
//!
//! **Invariant:** what is down or cut follows from the set of active faults, so the end of one never undoes another: a
//! machine starts again when the last fault that holds it down has ended, and links are the network's to compute.

use crate::board::{Armed, Share, SharedBoard, Struck};
use crate::disk::{CutPoint, DiskFault, FaultId as DiskFaultId};
use crate::machine::{Group, Machine, Power};
use squall_generators::rng::Stream;
use squall_generators::{Fleet, LastMile};
use squall_history::{Entity, Event, Kind};
use squall_network::{CloseStyle, ConnId, Fault, FaultId, FaultKind as LinkFault, HostId, Network};
use squall_reports::FaultRecord;
use squall_scenarios::{CLIENTS, DiskOperation, FaultKind, Occurrence, Point, Scenario};
use std::collections::BTreeMap;

/// A cut in the middle of a commit strikes at one of this many writes from its beginning on.
const MID_COMMIT_WRITES: u64 = 24;

/// What the nemesis works on.
pub struct Stage<'a> {
    pub machines: &'a mut [Machine],
    pub groups: &'a mut [Group],
    pub network: &'a Network,
    pub board: &'a SharedBoard,
    pub events: &'a mut Vec<Event>,
    pub now: u64,
}

/// One occurrence of a fault of the scenario.
struct Strike {
    name: String,
    kind: FaultKind,
    /// µs of the run.
    begins: u64,
    ends: u64,
    /// How long the scenario wants it, µs.
    length: u64,
    state: State,
    links: Vec<FaultId>,
    /// Machines that this strike holds down.
    down: Vec<usize>,
    /// Machines that this strike has paused.
    paused: Vec<usize>,
    /// Faults of disks, each with its machine.
    disks: Vec<(usize, DiskFaultId)>,
    /// Entries that machines with a wrong clock had stamped before.
    stamped: Vec<(u16, u64)>,
    affected: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Active,
    Over,
}

/// All faults of a run.
pub struct Nemesis {
    strikes: Vec<Strike>,
    stream: Stream,
    sites: Vec<HostId>,
    /// Links between hosts are turmoil's.
    turmoil: bool,
}

impl Nemesis {
    /// `load` is when the load phase begins, in µs of the run.
    pub fn new(scenario: &Scenario, seed: u64, load: u64, sites: Vec<HostId>, turmoil: bool) -> Self {
        let mut strikes = Vec::new();
        for fault in &scenario.faults {
            for Occurrence { begins, ends } in fault.occurrences(scenario.phases.load) {
                strikes.push(Strike {
                    name: fault.name.clone(),
                    kind: fault.kind.clone(),
                    begins: load + begins.as_micros(),
                    ends: load + ends.as_micros(),
                    length: ends.as_micros() - begins.as_micros(),
                    state: State::Waiting,
                    links: Vec::new(),
                    down: Vec::new(),
                    paused: Vec::new(),
                    disks: Vec::new(),
                    stamped: Vec::new(),
                    affected: BTreeMap::new(),
                });
            }
        }
        Nemesis { strikes, stream: Stream::new(seed, "nemesis"), sites, turmoil }
    }

    /// Applies what is due at `stage.now`.
    pub fn step<L: LastMile<Conn = ConnId>>(
        &mut self,
        scenario: &Scenario,
        stage: &mut Stage<'_>,
        fleet: &Fleet<L>,
    ) {
        for index in 0..self.strikes.len() {
            if self.strikes[index].state == State::Active && self.strikes[index].ends <= stage.now {
                self.end(index, scenario, stage);
            }
        }
        for index in 0..self.strikes.len() {
            if self.strikes[index].state == State::Waiting && self.strikes[index].begins <= stage.now {
                self.begin(index, scenario, stage, fleet);
                if self.strikes[index].kind.is_instant() {
                    self.end(index, scenario, stage);
                }
            }
        }
        // A clock that drifts is a little further off at every tick; `end` sets it right again.
        if self.strikes.iter().any(|s| s.state == State::Active && matches!(s.kind, FaultKind::Clock { .. })) {
            self.set_clocks(scenario, stage);
        }
    }

    /// Ends everything: the heal.
    pub fn heal(&mut self, scenario: &Scenario, stage: &mut Stage<'_>) {
        for index in 0..self.strikes.len() {
            match self.strikes[index].state {
                State::Active => self.end(index, scenario, stage),
                State::Waiting => self.strikes[index].state = State::Over,
                State::Over => {}
            }
        }
    }

    fn tell(&self, index: usize, active: bool, stage: &mut Stage<'_>) {
        let name = self.strikes[index].name.clone();
        stage.events.push(Event { t: stage.now, at: Entity::World, kind: Kind::Fault { name, active } });
    }

    fn count(&mut self, index: usize, what: &str, by: u64) {
        *self.strikes[index].affected.entry(what.to_owned()).or_default() += by;
    }

    fn begin<L: LastMile<Conn = ConnId>>(
        &mut self,
        index: usize,
        scenario: &Scenario,
        stage: &mut Stage<'_>,
        fleet: &Fleet<L>,
    ) {
        self.strikes[index].state = State::Active;
        self.tell(index, true, stage);
        match self.strikes[index].kind.clone() {
            FaultKind::Crash { target } => {
                for machine in machines_of(scenario, stage, &target) {
                    self.hold_down(index, machine, stage);
                    if stage.machines[machine].power == Power::Up {
                        self.crash(index, machine, stage);
                    }
                }
            }
            FaultKind::PowerLoss { target, point: None } => {
                for machine in machines_of(scenario, stage, &target) {
                    if stage.machines[machine].power == Power::Up {
                        let probe = stage.machines[machine].probe.clone();
                        probe.lose_power(&mut stage.board.lock(), index);
                    } else {
                        // Another fault has it down already: it stays down until this one ends as well.
                        self.hold_down(index, machine, stage);
                        self.count(index, "hosts", 1);
                        stage.machines[machine].lose_power_while_down();
                    }
                }
                self.collect(stage);
            }
            FaultKind::PowerLoss { target, point: Some(point) } => {
                for machine in machines_of(scenario, stage, &target) {
                    if let (Point::MidCommit, Some(disk)) = (point, &stage.machines[machine].probe.disk) {
                        // One of the writes of the next commits, or a sync.
                        let nth = 1 + self.stream.below(MID_COMMIT_WRITES);
                        let sync = self.stream.chance(0.3);
                        disk.cut_power_at(if sync { CutPoint::Sync(1) } else { CutPoint::Write(nth) });
                    }
                    stage.board.lock().armed.push(Armed { host: machine as u16, point, fault: index });
                }
            }
            FaultKind::Partition { between, and } => {
                self.link(index, scenario, stage, &between, &and, true, LinkFault::Block)
            }
            FaultKind::PartitionOneWay { from, to } => {
                self.link(index, scenario, stage, &from, &to, false, LinkFault::Block)
            }
            FaultKind::Hold { between, and } => {
                self.link(index, scenario, stage, &between, &and, true, LinkFault::Hold)
            }
            FaultKind::Latency { between, and, add, jitter } => {
                let latency = LinkFault::Latency { add: add.as_micros(), jitter: jitter.as_micros() };
                self.link(index, scenario, stage, &between, &and, true, latency)
            }
            FaultKind::SlowLink { between, and, bytes_per_s } => {
                self.link(index, scenario, stage, &between, &and, true, LinkFault::Slow { bytes_per_s })
            }
            FaultKind::Loss { between, and, share } => {
                self.link(index, scenario, stage, &between, &and, true, LinkFault::Loss { p: share })
            }
            FaultKind::Refuse { from, to } => {
                self.link(index, scenario, stage, &from, &to, false, LinkFault::Refuse)
            }
            FaultKind::Pause { target } => {
                for machine in machines_of(scenario, stage, &target) {
                    let up = stage.machines[machine].power == Power::Up;
                    self.count(index, "processes", u64::from(up));
                    stage.machines[machine].pause();
                    self.strikes[index].paused.push(machine);
                }
            }
            FaultKind::Clock { target, .. } => {
                let board = stage.board.lock();
                let stamped = |machine: usize| board.stamped.get(&(machine as u16)).copied().unwrap_or(0);
                let before: Vec<(u16, u64)> =
                    machines_of(scenario, stage, &target).into_iter().map(|m| (m as u16, stamped(m))).collect();
                self.strikes[index].stamped = before;
            }
            FaultKind::DiskErrors { target, operation, share } => {
                let fault = match operation {
                    DiskOperation::Read => DiskFault::ReadError { share },
                    DiskOperation::Write => DiskFault::WriteError { share },
                    DiskOperation::Sync => DiskFault::SyncError { share },
                };
                self.disk(index, scenario, stage, &target, fault);
            }
            FaultKind::DiskFull { target } => self.disk(index, scenario, stage, &target, DiskFault::Full),
            FaultKind::SlowDisk { target, add } => {
                let slow = DiskFault::SlowSync { extra_us: add.as_micros() };
                self.disk(index, scenario, stage, &target, slow);
            }
            FaultKind::StalledDisk { target } => {
                let stalled = DiskFault::Stalled { until_us: self.strikes[index].ends };
                self.disk(index, scenario, stage, &target, stalled);
            }
            FaultKind::DropSentAcks { share } => {
                stage.board.lock().sent_ack_cuts.push(Share { fault: index, share })
            }
            FaultKind::DropDeviceAcks { share } => {
                stage.board.lock().device_ack_cuts.push(Share { fault: index, share })
            }
            FaultKind::Disconnect { share } => {
                let cut = self.each_online(fleet, share, |conn| stage.network.cut(conn));
                self.count(index, "connections", cut);
            }
            FaultKind::HalfOpen { share } => {
                let frozen = self.each_online(fleet, share, |conn| stage.network.freeze(conn));
                self.count(index, "connections", frozen);
            }
        }
    }

    fn each_online<L: LastMile<Conn = ConnId>>(
        &mut self,
        fleet: &Fleet<L>,
        share: f64,
        mut strike: impl FnMut(ConnId) -> bool,
    ) -> u64 {
        let mut struck = 0;
        for client in 0..fleet.clients() {
            if self.stream.chance(share)
                && fleet.is_online(client)
                && let Some(conn) = fleet.conn(client)
            {
                struck += u64::from(strike(conn));
            }
        }
        struck
    }

    fn hold_down(&mut self, index: usize, machine: usize, stage: &mut Stage<'_>) {
        stage.machines[machine].held_down += 1;
        self.strikes[index].down.push(machine);
    }

    fn crash(&mut self, index: usize, machine: usize, stage: &mut Stage<'_>) {
        let style = if self.stream.chance(0.5) { CloseStyle::Fin } else { CloseStyle::Rst };
        let connections = stage.network.connections_of(stage.machines[machine].probe.host).len() as u64;
        self.count(index, "processes", 1);
        self.count(index, "connections", connections);
        let group = machine.min(stage.groups.len() - 1);
        stage.machines[machine].crash(&mut stage.groups[group], style);
        stage.events.push(Event { t: stage.now, at: Entity::Host(machine as u16), kind: Kind::Crash });
    }

    /// Takes in the power cuts that have struck inside hosts, and ends those hosts' tasks.
    pub fn collect(&mut self, stage: &mut Stage<'_>) {
        let late = stage.board.lock().take_late();
        for armed in late {
            let probe = stage.machines[usize::from(armed.host)].probe.clone();
            probe.lose_power(&mut stage.board.lock(), armed.fault);
        }
        let (struck, cuts) = {
            let mut board = stage.board.lock();
            (std::mem::take(&mut board.struck), std::mem::take(&mut board.cuts))
        };
        for Struck { host, fault, unsynced_blocks, connections } in struck {
            let machine = usize::from(host);
            self.hold_down(fault, machine, stage);
            self.count(fault, "hosts", 1);
            self.count(fault, "unsynced_blocks", unsynced_blocks);
            self.count(fault, "connections", connections);
            if matches!(self.strikes[fault].kind, FaultKind::PowerLoss { point: Some(_), .. }) {
                // The dark time counts from the strike, not from when the point was armed.
                let strike = &mut self.strikes[fault];
                strike.ends = strike.ends.max(stage.now + strike.length);
            }
            let group = machine.min(stage.groups.len() - 1);
            stage.machines[machine].go_dark(&mut stage.groups[group]);
        }
        for (fault, cut) in cuts {
            self.count(fault, "connections", cut);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "two sides, a direction and a kind are what a link fault is")]
    fn link(
        &mut self,
        index: usize,
        scenario: &Scenario,
        stage: &mut Stage<'_>,
        a: &[String],
        b: &[String],
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

    fn disk(&mut self, index: usize, scenario: &Scenario, stage: &Stage<'_>, target: &[String], fault: DiskFault) {
        for machine in machines_of(scenario, stage, target) {
            if let Some(disk) = &stage.machines[machine].probe.disk {
                self.strikes[index].disks.push((machine, disk.add_fault(fault)));
            }
        }
    }

    /// Sets every host's clock to what all active faults together say.
    fn set_clocks(&self, scenario: &Scenario, stage: &mut Stage<'_>) {
        for machine in 0..stage.machines.len() {
            let mut skew = 0.0;
            for strike in self.strikes.iter().filter(|s| s.state == State::Active) {
                if let FaultKind::Clock { target, ahead, behind, drift_ppm } = &strike.kind
                    && scenario.expand_targets(target).contains(&stage.machines[machine].name)
                {
                    let lasted = stage.now.saturating_sub(strike.begins) as f64;
                    skew += ahead.as_micros() as f64 - behind.as_micros() as f64 + lasted * drift_ppm / 1e6;
                }
            }
            let group = machine.min(stage.groups.len() - 1);
            stage.groups[group].set_clock_skew(skew as i64);
        }
    }

    fn hosts_of(&self, scenario: &Scenario, stage: &Stage<'_>, targets: &[String]) -> Vec<HostId> {
        let mut hosts = Vec::new();
        for name in scenario.expand_targets(targets) {
            if name == CLIENTS {
                hosts.extend(&self.sites);
            } else if let Some(machine) = stage.machines.iter().find(|m| m.name == name) {
                hosts.push(machine.probe.host);
            }
        }
        hosts
    }

    fn end(&mut self, index: usize, scenario: &Scenario, stage: &mut Stage<'_>) {
        self.strikes[index].state = State::Over;
        self.strikes[index].ends = stage.now;
        {
            let mut board = stage.board.lock();
            board.armed.retain(|armed| armed.fault != index);
            board.sent_ack_cuts.retain(|share| share.fault != index);
            board.device_ack_cuts.retain(|share| share.fault != index);
        }
        if let FaultKind::PowerLoss { target, point: Some(Point::MidCommit) } = &self.strikes[index].kind {
            for machine in machines_of(scenario, stage, &target.clone()) {
                if let Some(disk) = &stage.machines[machine].probe.disk {
                    disk.disarm_cuts();
                }
            }
        }
        for id in std::mem::take(&mut self.strikes[index].links) {
            stage.network.remove_fault(id);
            let hits = stage.network.fault_hits(id);
            for (what, hit) in [
                ("segments_stalled", hits.segments_stalled),
                ("segments_held", hits.segments_held),
                ("segments_delayed", hits.segments_delayed),
                ("segments_lost", hits.segments_lost),
                ("connects_refused", hits.connects_refused),
                ("connects_stalled", hits.connects_stalled),
            ] {
                if hit > 0 {
                    self.count(index, what, hit);
                }
            }
            if self.turmoil {
                self.apply_turmoil(scenario, stage);
            }
        }
        for machine in std::mem::take(&mut self.strikes[index].paused) {
            stage.machines[machine].resume();
        }
        for (machine, before) in std::mem::take(&mut self.strikes[index].stamped) {
            let now = stage.board.lock().stamped.get(&machine).copied().unwrap_or(0);
            self.count(index, "entries_stamped", now - before);
        }
        if matches!(self.strikes[index].kind, FaultKind::Clock { .. }) {
            self.set_clocks(scenario, stage);
        }
        for (machine, id) in std::mem::take(&mut self.strikes[index].disks) {
            if let Some(disk) = &stage.machines[machine].probe.disk {
                disk.remove_fault(id);
                let hits = disk.fault_hits().iter().find(|hits| hits.id == id).map_or(0, |hits| hits.hits);
                self.count(index, "disk_operations", hits);
            }
        }
        for machine in std::mem::take(&mut self.strikes[index].down) {
            stage.machines[machine].held_down -= 1;
            if stage.machines[machine].held_down == 0 {
                let group = machine.min(stage.groups.len() - 1);
                stage.machines[machine].restart(&mut stage.groups[group]);
                stage.events.push(Event { t: stage.now, at: Entity::Host(machine as u16), kind: Kind::Restart });
            }
        }
        self.tell(index, false, stage);
    }

    /// Sets turmoil's links to what all active faults together say. turmoil does not count what a fault stops; the
    /// links that it covers are counted instead.
    fn apply_turmoil(&mut self, scenario: &Scenario, stage: &Stage<'_>) {
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
            for a in scenario.expand_targets(a).iter().filter(|name| *name != CLIENTS) {
                for b in scenario.expand_targets(b).iter().filter(|name| *name != CLIENTS) {
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

    /// One record a fault, its occurrences added up.
    pub fn records(&self) -> Vec<FaultRecord> {
        let mut records: Vec<FaultRecord> = Vec::new();
        for strike in &self.strikes {
            let (at_ms, until_ms) = (strike.begins / 1_000, strike.ends / 1_000);
            let place = records.iter().position(|r| r.name == strike.name).unwrap_or_else(|| {
                records.push(FaultRecord {
                    name: strike.name.clone(),
                    kind: strike.kind.name().to_owned(),
                    at_ms,
                    until_ms,
                    affected: BTreeMap::new(),
                });
                records.len() - 1
            });
            let record = &mut records[place];
            record.until_ms = record.until_ms.max(until_ms);
            for (what, count) in &strike.affected {
                *record.affected.entry(what.clone()).or_default() += count;
            }
        }
        records
    }

    /// The checks that the scenario's faults are declared against.
    pub fn exposes(&self, scenario: &Scenario) -> Vec<&'static str> {
        let mut names = Vec::new();
        for fault in &scenario.faults {
            let mut roles: Vec<String> = Vec::new();
            for (_, targets) in fault.kind.targets() {
                let hosts = scenario.expand_targets(targets);
                roles.extend(hosts.iter().filter_map(|h| h.rsplit_once('-').map(|(role, _)| role.to_owned())));
            }
            let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
            names.extend(squall_checks::against(fault.kind.name(), &roles));
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn machines_of(scenario: &Scenario, stage: &Stage<'_>, targets: &[String]) -> Vec<usize> {
    let names = scenario.expand_targets(targets);
    stage.machines.iter().enumerate().filter(|(_, m)| names.contains(&m.name)).map(|(i, _)| i).collect()
}
