//! How each fault begins.

use super::links::machines_of;
use super::strike::{State, draw_hosts};
use super::{Nemesis, Order, Stage};
use crate::board::{Armed, Covered, Cut, Meddler, Moved, Share};
use crate::disk::{CutPoint, DiskFault};
use crate::last_mile::SimulatedFleet;
use crate::machine::Power;
use squall_generators::{FrameFault, FrameKind};
use squall_network::{CloseStyle, ConnId, Fault, FaultKind as LinkFault, HostId};
use squall_scenarios::{DiskOperation, FaultKind, Point, Scenario};

/// A cut in the middle of a commit strikes at one of this many writes from its beginning on.
const MID_COMMIT_WRITES: u64 = 24;

impl Nemesis {
    pub(super) fn begin(
        &mut self,
        index: usize,
        scenario: &Scenario,
        stage: &mut Stage<'_>,
        fleet: &SimulatedFleet,
    ) {
        self.strikes[index].state = State::Active;
        self.resolve_targets(index, scenario, stage);
        if let FaultKind::CarrierGone { carrier } = self.strikes[index].kind {
            let drawn = self.stream.below(self.places.len() as u64) as usize;
            let place = self.places.iter().find(|place| Some(place.profile) == carrier);
            let gone = place.unwrap_or(&self.places[drawn]).host;
            self.strikes[index].targets = vec![stage.network.host_name(gone)];
            self.strikes[index].carrier = Some(gone);
        }
        self.tell(index, true, stage);
        match self.strikes[index].kind.clone() {
            FaultKind::Crash { target, point: Some(point) } => {
                for machine in machines_of(scenario, stage, &target) {
                    let style = if self.stream.chance(0.5) { CloseStyle::Fin } else { CloseStyle::Rst };
                    let cut = Cut::Process(style);
                    stage.board.lock().armed.push(Armed { host: machine as u16, point, fault: index, cut });
                }
            }
            FaultKind::Crash { target, point: None } => {
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
                        let lost = stage.machines[machine].lose_power_while_down();
                        self.count(index, "hosts", u64::from(lost));
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
                        let cut = disk.cut_power_at(if sync { CutPoint::Sync(1) } else { CutPoint::Write(nth) });
                        self.strikes[index].cuts.push((machine, cut));
                    }
                    stage.board.lock().armed.push(Armed {
                        host: machine as u16,
                        point,
                        fault: index,
                        cut: Cut::Power,
                    });
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
            FaultKind::RollingRestart { .. } | FaultKind::Swizzle { .. } | FaultKind::Flap { .. } => {
                unreachable!("these are taken apart before they strike")
            }
            FaultKind::DuplicateAcks { share } => {
                self.meddle(index, stage, &[FrameKind::Sent, FrameKind::Ack], share, FrameFault::Twice)
            }
            FaultKind::DelayAcks { share, by } => {
                let late = FrameFault::Late(by.as_duration());
                self.meddle(index, stage, &[FrameKind::Sent, FrameKind::Ack], share, late);
            }
            FaultKind::DuplicateSends { share } => {
                self.meddle(index, stage, &[FrameKind::Send], share, FrameFault::Twice)
            }
            FaultKind::ResendEverything { share } => {
                for client in 0..fleet.clients() {
                    if self.stream.chance(share) && fleet.is_online(client) {
                        stage.orders.push(Order::ResendEverything { fault: index, client });
                    }
                }
            }
            FaultKind::Liars { .. } => {
                self.strikes[index].lies_before = stage.board.lock().lies;
                self.set_liars(stage);
            }
            FaultKind::SlowReader { share } => {
                let key = self.stream.next_u64();
                stage.board.lock().slow_readers.push(Covered { fault: index, key, share });
                stage.board.rouse();
            }
            FaultKind::ProfileChange { share, to } => {
                let covered = Covered { fault: index, key: self.stream.next_u64(), share };
                stage.board.lock().moved.push(Moved { covered, profile: self.profiles[&to] });
                stage.board.rouse();
                let changed = self.set_profiles(stage);
                self.count(index, "connections", changed);
            }
            FaultKind::CarrierGone { .. } => {
                let gone = self.strikes[index].carrier;
                let gateways = machines_of(scenario, stage, &["gateway-*".to_owned()]);
                let gateways: Vec<HostId> = gateways.into_iter().map(|m| stage.machines[m].probe.host).collect();
                let fault = Fault::between(Vec::from_iter(gone), gateways, LinkFault::Block);
                self.strikes[index].links.push(stage.network.add_fault(fault));
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

    fn each_online(&mut self, fleet: &SimulatedFleet, share: f64, mut strike: impl FnMut(ConnId) -> bool) -> u64 {
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

    /// Draws the hosts of targets that say how many are meant, and finds those that are known by what they do.
    fn resolve_targets(&mut self, index: usize, scenario: &Scenario, stage: &Stage<'_>) {
        let mut kind = self.strikes[index].kind.clone();
        let busiest = stage.board.lock().busiest_shard(scenario.topology.messages);
        for targets in kind.targets_mut() {
            *targets = draw_hosts(scenario, targets, &mut self.stream, busiest);
        }
        let sides = kind.targets();
        let named = sides.iter().flat_map(|(key, hosts)| {
            let side = if *key == "target" { String::new() } else { format!("{key} ") };
            hosts.iter().flat_map(|host| scenario.expand_target(host)).map(move |host| format!("{side}{host}"))
        });
        self.strikes[index].targets = named.collect();
        self.strikes[index].kind = kind;
    }

    fn meddle(&self, fault: usize, stage: &Stage<'_>, frames: &'static [FrameKind], share: f64, what: FrameFault) {
        stage.board.lock().meddlers.push(Meddler { share: Share { fault, share }, frames, what });
        stage.board.rouse();
    }

    /// As many liars act as all active faults together want.
    pub(super) fn set_liars(&self, stage: &mut Stage<'_>) {
        let active = self.strikes.iter().filter(|strike| strike.state == State::Active);
        let active =
            active.map(|strike| if let FaultKind::Liars { count } = strike.kind { count } else { 0 }).sum();
        stage.orders.push(Order::Liars { active });
    }

    /// Puts every device's connection on the profile that all active faults together say; how many that changed.
    pub(super) fn set_profiles(&self, stage: &Stage<'_>) -> u64 {
        let board = stage.board.lock();
        let mut changed = 0;
        for place in &self.places {
            for conn in stage.network.connections_of(place.host) {
                let token = stage.network.conn_info(conn).and_then(|info| info.token);
                let profile = token.and_then(|token| board.moved_to(token as u32)).unwrap_or(place.link);
                changed += u64::from(stage.network.set_profile(conn, profile));
            }
        }
        changed
    }
}
