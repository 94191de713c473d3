//! The nemesis: begins and ends the scenario's faults, and counts what each of them hit.
//!
//! | file | is |
//! |---|---|
//! | `plan` | when each fault strikes: occurrences, drawn times, compound faults taken apart |
//! | `targets` | whom it is about |
//! | `pairs` | which faults have met |
//! | `strike`, `held` | one occurrence; what it holds while it lasts, by family |
//! | `processes`, `power`, `links`, `disks`, `clocks`, `frames`, `clients` | a family of faults each: how one begins, what it holds, how it ends and what it hit, and the rule that computes the state in force from everything that is held |
//!
//! **Invariant:** what is down, cut or wrong follows from the set of active strikes, so the end of one never undoes another.
//! Checked by `the_end_of_a_fault_undoes_no_other_for_every_pair_of_kinds`.

mod clients;
mod clocks;
mod disks;
mod frames;
mod held;
mod links;
mod pairs;
mod plan;
mod power;
mod processes;
mod stage;
mod strike;
mod targets;
#[cfg(test)]
mod tests;

pub use pairs::SIDES;
pub use stage::{Place, Sites, Stage};

use crate::disk::DiskFault;
use crate::hosts::points::Struck;
use held::{Family, Held, Planned, State};
use squall_core::Time;
use squall_generators::FrameFault;
use squall_history::{Entity, Event, Kind};
use squall_network::FaultKind as LinkFault;
use squall_protocol::Role;
use squall_reports::FaultRecord;
use squall_reports::record::PairRecord;
use squall_scenarios::{DiskOperation, Fault, FaultKind, Scenario};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use strike::Strike;

/// All faults of a run.
pub struct Nemesis {
    strikes: Vec<Planned>,
    /// Strikes that are over, and after which not everybody is back yet.
    awaited: Vec<usize>,
}

impl Nemesis {
    /// `load` is when the load phase begins, in µs of the run.
    pub fn new(scenario: &Scenario, seed: u64, load: u64) -> Self {
        let strikes = plan::plan(scenario, load, seed).into_iter();
        let strikes = strikes.map(|strike| Planned { strike, state: State::Waiting }).collect();
        Nemesis { strikes, awaited: Vec::new() }
    }

    /// Applies what is due at `stage.now`: first ends, then beginnings.
    pub fn step(&mut self, stage: &mut Stage<'_>) {
        for index in 0..self.strikes.len() {
            if self.strikes[index].active().is_some_and(|(strike, _)| strike.ends <= stage.now) {
                self.end(index, stage);
            }
        }
        for index in 0..self.strikes.len() {
            let Planned { strike, state } = &self.strikes[index];
            if matches!(state, State::Waiting) && strike.begins <= stage.now {
                let is_instant = strike.kind.is_instant();
                self.begin(index, stage);
                if is_instant {
                    self.end(index, stage);
                }
            }
        }
        // A clock that drifts is a little further off at every tick.
        if self.clocks().next().is_some() {
            clocks::apply(self.clocks(), stage);
        }
    }

    fn active(&self) -> impl Iterator<Item = (&Strike, &Held)> {
        self.strikes.iter().filter_map(Planned::active)
    }

    fn clocks(&self) -> impl Iterator<Item = (&Strike, &clocks::Held)> {
        self.active().filter_map(|(strike, held)| match held {
            Held::Clocks(held) => Some((strike, held)),
            _ => None,
        })
    }

    fn links(&self) -> impl Iterator<Item = (&Strike, &links::Held)> {
        self.active().filter_map(|(strike, held)| match held {
            Held::Links(held) => Some((strike, held)),
            _ => None,
        })
    }

    fn insiders(&self) -> impl Iterator<Item = (&Strike, &clients::Held)> {
        self.active().filter_map(|(strike, held)| match held {
            Held::Clients(held @ clients::Held::Insiders { .. }) => Some((strike, held)),
            _ => None,
        })
    }

    fn liars(&self) -> impl Iterator<Item = (&Strike, &clients::Held)> {
        self.active().filter_map(|(strike, held)| match held {
            Held::Clients(held @ clients::Held::Liars { .. }) => Some((strike, held)),
            _ => None,
        })
    }

    /// When a strike next begins or ends, in µs of the run.
    pub fn next_due(&self) -> u64 {
        let times = self.strikes.iter().map(|Planned { strike, state }| match state {
            State::Waiting => strike.begins,
            State::Active(_) => strike.ends,
            State::Over => u64::MAX,
        });
        times.min().unwrap_or(u64::MAX)
    }

    /// Ends everything: the heal.
    pub fn heal(&mut self, stage: &mut Stage<'_>) {
        for index in 0..self.strikes.len() {
            match &self.strikes[index].state {
                State::Active(_) => self.end(index, stage),
                State::Waiting => self.strikes[index].state = State::Over,
                State::Over => {}
            }
        }
    }

    fn begin(&mut self, index: usize, stage: &mut Stage<'_>) {
        let Planned { strike, state } = &mut self.strikes[index];
        targets::resolve(strike, stage);
        stage.mailbox.lock().storm_begins();
        let carrier = match strike.kind {
            FaultKind::CarrierGone { carrier } => Some(links::draw_carrier(strike, carrier, stage)),
            _ => None,
        };
        let whom = clients::draw(index, strike, stage);
        strike.harm = targets::harmed(&strike.kind, &whom.clients(carrier, stage), stage);
        tell(strike, true, stage);
        if let Some(bystanders) = &mut stage.observatory.bystanders {
            bystanders.handle_fault(&strike.kind, stage.now);
        }
        let held = match &strike.kind.clone() {
            FaultKind::Crash { target, point: None } => Held::Processes(processes::crash(strike, target, stage)),
            FaultKind::Crash { target, point: Some(point) } => {
                Held::Processes(processes::crash_at(index, strike, *point, target, stage))
            }
            FaultKind::Stop { target, window } => {
                Held::Processes(processes::stop(index, strike, target, *window, stage))
            }
            FaultKind::Pause { target } => Held::Processes(processes::pause(strike, target, stage)),
            FaultKind::PowerLoss { target, point: None } => Held::Power(power::lose(index, strike, target, stage)),
            FaultKind::PowerLoss { target, point: Some(point) } => {
                Held::Power(power::lose_at(index, strike, *point, target, stage))
            }
            FaultKind::Partition { between, and } => {
                Held::Links(links::between(between, and, LinkFault::Block, stage))
            }
            FaultKind::PartitionOneWay { from, to } => {
                Held::Links(links::one_way(from, to, LinkFault::Block, stage))
            }
            FaultKind::Hold { between, and } => Held::Links(links::between(between, and, LinkFault::Hold, stage)),
            FaultKind::Latency { between, and, add, jitter } => {
                let latency = LinkFault::Latency { add: add.as_micros(), jitter: jitter.as_micros() };
                Held::Links(links::between(between, and, latency, stage))
            }
            FaultKind::SlowLink { between, and, bytes_per_s } => {
                let slow = LinkFault::Slow { bytes_per_s: *bytes_per_s };
                Held::Links(links::between(between, and, slow, stage))
            }
            FaultKind::Loss { between, and, share } => {
                Held::Links(links::between(between, and, LinkFault::Loss { p: *share }, stage))
            }
            FaultKind::Refuse { from, to } => Held::Links(links::one_way(from, to, LinkFault::Refuse, stage)),
            FaultKind::CarrierGone { .. } => {
                let site = carrier.expect("the carrier has been drawn");
                Held::Links(links::carrier_gone(site, stage))
            }
            FaultKind::DiskErrors { target, operation, share } => {
                let share = *share;
                let fault = match operation {
                    DiskOperation::Read => DiskFault::ReadError { share },
                    DiskOperation::Write => DiskFault::WriteError { share },
                    DiskOperation::Sync => DiskFault::SyncError { share },
                };
                Held::Disks(disks::begin(strike, target, fault, stage))
            }
            FaultKind::DiskFull { target } => Held::Disks(disks::begin(strike, target, DiskFault::Full, stage)),
            FaultKind::SlowDisk { target, add } => {
                let slow = DiskFault::SlowSync { extra_us: add.as_micros() };
                Held::Disks(disks::begin(strike, target, slow, stage))
            }
            FaultKind::StalledDisk { target } => {
                let stalled = DiskFault::Stalled { until_us: strike.ends };
                Held::Disks(disks::begin(strike, target, stalled, stage))
            }
            FaultKind::Clock { target, .. } => Held::Clocks(clocks::begin(target, stage)),
            FaultKind::DropSentAcks { share } => {
                frames::cut_sent_acks(index, strike, *share, stage);
                Held::Frames
            }
            FaultKind::DropDeviceAcks { share } => {
                frames::cut_device_acks(index, strike, *share, stage);
                Held::Frames
            }
            FaultKind::DuplicateAcks { share } => {
                frames::begin(index, strike, *share, (frames::ACKS, FrameFault::Twice), stage);
                Held::Frames
            }
            FaultKind::DelayAcks { share, by } => {
                let late = FrameFault::Late(by.as_duration());
                frames::begin(index, strike, *share, (frames::ACKS, late), stage);
                Held::Frames
            }
            FaultKind::DuplicateSends { share } => {
                frames::begin(index, strike, *share, (frames::SENDS, FrameFault::Twice), stage);
                Held::Frames
            }
            FaultKind::ResendEverything { share } => {
                Held::Clients(clients::resend_everything(strike, *share, stage))
            }
            FaultKind::Reinstall { share } => Held::Clients(clients::reinstall(strike, *share, stage)),
            FaultKind::Liars { .. } => Held::Clients(clients::liars(stage)),
            FaultKind::Insiders { .. } => Held::Clients(clients::insiders(stage)),
            FaultKind::SlowReader { .. } => Held::Clients(clients::slow_reader(whom, stage)),
            FaultKind::ProfileChange { to, .. } => {
                Held::Clients(clients::profile_change(whom, strike, *to, stage))
            }
            FaultKind::Disconnect { .. } => Held::Clients(clients::disconnect(whom, strike, stage)),
            FaultKind::HalfOpen { .. } => Held::Clients(clients::half_open(whom, strike, stage)),
            FaultKind::RollingRestart { .. } | FaultKind::Swizzle { .. } | FaultKind::Flap { .. } => {
                unreachable!("these are taken apart before they strike")
            }
        };
        let family = held.family();
        *state = State::Active(held);
        if family == Family::Links {
            links::count_turmoil(strike, stage);
        }
        self.apply(family, stage);
        // A power loss at a time has struck inside its hosts.
        self.collect(stage);
    }

    fn end(&mut self, index: usize, stage: &mut Stage<'_>) {
        let Planned { strike, state } = &mut self.strikes[index];
        strike.ends = stage.now;
        let State::Active(held) = std::mem::replace(state, State::Over) else { return };
        let family = held.family();
        // Faults of clients and frames stand under their number, whatever their family.
        let read_again = stage.client_faults.end(index);
        let (mut resends, mut reinstalls) = (Vec::new(), Vec::new());
        match &held {
            Held::Clients(clients::Held::Resends(clients)) => resends.clone_from(clients),
            Held::Clients(clients::Held::Reinstalls(clients)) => reinstalls.clone_from(clients),
            _ => {}
        }
        match held {
            Held::Processes(held) => processes::end(index, held, strike, stage),
            Held::Power(held) => power::end(index, held, strike, stage),
            Held::Links(held) => links::end(held, strike, stage),
            Held::Disks(held) => disks::end(held, strike, stage),
            Held::Clocks(held) => clocks::end(held, strike, stage),
            Held::Frames => {}
            Held::Clients(held) => clients::end(held, strike, stage),
        }
        self.apply(family, stage);
        tell(&self.strikes[index].strike, false, stage);
        stage.read_on(read_again);
        clients::resend(&resends, &mut self.strikes[index].strike, stage);
        clients::begin_anew(&reinstalls, &mut self.strikes[index].strike, stage);
        self.awaited.push(index);
    }

    /// Computes the state in force from everything that is held, for a family whose set of strikes has changed.
    fn apply(&self, family: Family, stage: &mut Stage<'_>) {
        match family {
            Family::Links => links::apply_turmoil(self.links(), stage),
            Family::Clocks => clocks::apply(self.clocks(), stage),
            Family::Clients => {
                clients::apply_liars(self.liars(), stage);
                clients::apply_insiders(self.insiders(), stage);
            }
            // Machines count who holds them; disks and the last mile compute for themselves.
            Family::Processes | Family::Power | Family::Disks | Family::Frames => {}
        }
    }

    /// Takes in the cuts of power and of processes that have struck inside hosts, ends those hosts' tasks, and counts what faults
    /// of clients and frames have hit.
    pub fn collect(&mut self, stage: &mut Stage<'_>) {
        for armed in stage.armed.take_late() {
            let probe = stage.machines[usize::from(armed.host)].probe.clone();
            if probe.alive.load(Ordering::Relaxed) {
                probe.strike(armed);
            } else {
                // Something else has struck it in this tick: it goes on waiting.
                stage.armed.arm(armed);
            }
        }
        for (host, fault) in stage.armed.take_ended() {
            stage.machines[usize::from(host)].probe.has_exited(fault);
        }
        for struck in stage.armed.take_struck() {
            self.take_in(struck, stage);
        }
        if stage.client_faults.ever() {
            let hits = stage.client_faults.lock().take_hits();
            hits.into_iter().for_each(|((fault, what), hits)| self.strikes[fault].strike.count(what, hits));
        }
        if !self.awaited.is_empty() {
            self.see_who_is_back(stage);
        }
    }

    fn take_in(&mut self, struck: Struck, stage: &mut Stage<'_>) {
        let Struck { host, fault, lost_power, unsynced_blocks, connections } = struck;
        let machine = usize::from(host);
        let Planned { strike, state } = &mut self.strikes[fault];
        match state {
            State::Active(Held::Power(held)) => held.down.hold(machine, stage),
            State::Active(Held::Processes(
                processes::Held::Down(down) | processes::Held::Stopping { down, .. },
            )) => down.hold(machine, stage),
            State::Active(_) | State::Waiting | State::Over => unreachable!("what is over has disarmed its cuts"),
        }
        strike.strikes(stage.machines[machine].host);
        strike.count(if lost_power { "hosts" } else { "processes" }, 1);
        strike.count("unsynced_blocks", unsynced_blocks);
        strike.count("connections", connections);
        if let FaultKind::PowerLoss { point: Some(_), .. } | FaultKind::Crash { point: Some(_), .. } = strike.kind
        {
            // The dark time counts from the strike, not from when the point was armed.
            strike.ends = strike.ends.max(stage.now + strike.length);
        }
        let group = stage.group_of(machine);
        stage.machines[machine].is_down(&mut stage.groups[group], lost_power);
    }

    /// Strikes that are over, and after which somebody may still be missing.
    fn see_who_is_back(&mut self, stage: &mut Stage<'_>) {
        let mut awaited = std::mem::take(&mut self.awaited);
        awaited.retain(|index| {
            let strike = &mut self.strikes[*index].strike;
            let all_back = stage.fleet.all_back(Time(strike.ends));
            if all_back {
                strike.is_settled(stage);
            }
            !all_back
        });
        self.awaited = awaited;
    }

    /// The run is over: those who are missing still have been for at least as long.
    pub fn settle(&mut self, stage: &mut Stage<'_>) {
        for index in std::mem::take(&mut self.awaited) {
            self.strikes[index].strike.is_settled(stage);
        }
    }

    /// One record a fault, its occurrences added up.
    pub fn records(&self, scenario: &Scenario) -> Vec<FaultRecord> {
        let load = scenario.phases.ramp.as_millis();
        let record = |fault: &Fault| {
            let strikes = self.strikes.iter().map(|planned| &planned.strike);
            let strikes: Vec<&Strike> = strikes.filter(|strike| strike.name == fault.name).collect();
            let mut record = FaultRecord {
                name: fault.name.clone(),
                kind: fault.kind.name().to_owned(),
                // A fault for which no time was left stands where it was to begin.
                at_ms: strikes.first().map_or(load + fault.at.as_millis(), |first| first.begins / 1_000),
                until_ms: strikes.iter().map(|strike| strike.ends / 1_000).max().unwrap_or(0),
                targets: Vec::new(),
                missed: Vec::new(),
                never: Vec::new(),
                affected: BTreeMap::new(),
                all_back_ms: None,
                connected_after: BTreeMap::new(),
            };
            record.until_ms = record.until_ms.max(record.at_ms);
            let (mut targets, mut missed) = (BTreeSet::new(), BTreeSet::new());
            for strike in &strikes {
                targets.extend(strike.targets.iter().cloned());
                missed.extend(strike.targets.iter().chain(&strike.must_strike).cloned());
                for (what, count) in &strike.hits {
                    *record.affected.entry(what.clone()).or_default() += count;
                }
                if let Some((after_us, gateways)) = &strike.all_back {
                    record.all_back_ms = record.all_back_ms.max(Some(after_us / 1_000));
                    let gateways = (0..).zip(gateways);
                    record.connected_after =
                        gateways.map(|(n, devices)| (Role::Gateway.host(n).to_string(), *devices)).collect();
                }
            }
            // Who was struck once by a fault that strikes often was struck.
            missed.retain(|target| strikes.iter().all(|strike| !strike.struck.contains(target)));
            if let FaultKind::Insiders { .. } = fault.kind {
                let never = record.affected.iter().filter(|(_, hits)| **hits == 0);
                record.never = never.map(|(attack, _)| attack.clone()).collect();
            }
            record.targets = targets.into_iter().collect();
            record.missed = missed.into_iter().collect();
            record
        };
        scenario.faults.iter().map(record).collect()
    }

    /// Which faults have met, each the other in its course or its recovery.
    pub fn pairs(&self, scenario: &Scenario) -> Vec<PairRecord> {
        let met = pairs::met(self.strikes.iter().map(|planned| &planned.strike), scenario).into_iter();
        met.map(|((first, second), hits)| PairRecord { first, second, hits }).collect()
    }

    /// The checks that the scenario's faults must expose.
    pub fn exposes(&self, scenario: &Scenario) -> Vec<&'static str> {
        let mut names = Vec::new();
        for fault in &scenario.faults {
            names.extend(fault.must_expose(&scenario.topology));
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn tell(strike: &Strike, active: bool, stage: &mut Stage<'_>) {
    let (name, targets, harm) = (strike.name.clone(), strike.targets.clone(), strike.harm.clone());
    let kind = Kind::Fault { name, active, targets, harm };
    stage.tell(Event { t: stage.now, at: Entity::World, kind });
}
