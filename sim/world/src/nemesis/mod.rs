//! The nemesis: begins and ends the scenario's faults, and counts what each of them hit.
//!
//! **Invariant:** what is down or cut follows from the set of active faults, so the end of one never undoes another: a
//! machine starts again when the last fault that holds it down has ended, and links are the network's to compute.

mod begin;
mod end;
mod links;
mod strike;
#[cfg(test)]
mod tests;

use crate::board::{SharedBoard, Struck};
use crate::group::Group;
use crate::last_mile::Site;
use crate::machine::Machine;
use squall_generators::rng::Stream;
use squall_generators::{Fleet, LastMile};
use squall_history::{Entity, Event, Kind};
use squall_network::{CloseStyle, ConnId, HostId, Network, ProfileId};
use squall_reports::FaultRecord;
use squall_scenarios::{FaultKind, Profile, Scenario};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use strike::{State, Strike};

/// What the nemesis wants of those whom it cannot reach itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// This client sends everything again, for this fault.
    ResendEverything { fault: usize, client: u32 },
    /// This client reads on.
    ReadOn { client: u32 },
    /// So many liars act from now on.
    Liars { active: u32 },
}

/// What the nemesis works on.
pub struct Stage<'a> {
    pub machines: &'a mut [Machine],
    pub groups: &'a mut [Group],
    pub network: &'a Network,
    pub board: &'a SharedBoard,
    pub events: &'a mut Vec<Event>,
    pub orders: &'a mut Vec<Order>,
    /// Sends without an answer.
    pub unanswered: u64,
    pub now: u64,
}

/// Where devices are, as the nemesis needs it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    host: HostId,
    profile: Profile,
    link: ProfileId,
}

/// All faults of a run.
pub struct Nemesis {
    strikes: Vec<Strike>,
    stream: Stream,
    places: Vec<Place>,
    /// The network's profiles, by the scenario's.
    profiles: BTreeMap<Profile, ProfileId>,
    /// Links between hosts are turmoil's.
    turmoil: bool,
}

impl Nemesis {
    /// `load` is when the load phase begins, in µs of the run; `sites` has one for each last-mile profile of the scenario,
    /// in their order.
    pub fn new(
        scenario: &Scenario,
        seed: u64,
        load: u64,
        sites: &[Site],
        profiles: BTreeMap<Profile, ProfileId>,
        turmoil: bool,
    ) -> Self {
        let stream = Stream::new(seed, "nemesis");
        let strikes = strike::plan(scenario, load, &mut Stream::new(seed, "times of faults"));
        let places = scenario.network.last_mile.keys().zip(sites);
        let places = places
            .map(|(profile, site)| Place { host: site.host, profile: *profile, link: site.profile })
            .collect();
        Nemesis { strikes, stream, places, profiles, turmoil }
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
        let Strike { name, targets, .. } = &self.strikes[index];
        let kind = Kind::Fault { name: name.clone(), active, targets: targets.clone() };
        stage.events.push(Event { t: stage.now, at: Entity::World, kind });
    }

    /// Counts what a fault has hit.
    pub fn count(&mut self, index: usize, what: &str, by: u64) {
        *self.strikes[index].affected.entry(what.to_owned()).or_default() += by;
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
            if probe.alive.load(Ordering::Relaxed) {
                probe.strike(&mut stage.board.lock(), armed);
            } else {
                // Something else has struck it in this tick: it goes on waiting.
                stage.board.lock().armed.push(armed);
            }
        }
        let (struck, hits) = {
            let mut board = stage.board.lock();
            (std::mem::take(&mut board.struck), std::mem::take(&mut board.hits))
        };
        for Struck { host, fault, lost_power, unsynced_blocks, connections } in struck {
            let machine = usize::from(host);
            self.hold_down(fault, machine, stage);
            self.count(fault, if lost_power { "hosts" } else { "processes" }, 1);
            self.count(fault, "unsynced_blocks", unsynced_blocks);
            self.count(fault, "connections", connections);
            if self.strikes[fault].waits_for_a_point() {
                // The dark time counts from the strike, not from when the point was armed.
                let strike = &mut self.strikes[fault];
                strike.ends = strike.ends.max(stage.now + strike.length);
            }
            let group = machine.min(stage.groups.len() - 1);
            stage.machines[machine].is_down(&mut stage.groups[group], lost_power);
        }
        for ((fault, what), hits) in hits {
            self.count(fault, what, hits);
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
                    kind: strike.declared.to_owned(),
                    at_ms,
                    until_ms,
                    targets: Vec::new(),
                    affected: BTreeMap::new(),
                });
                records.len() - 1
            });
            let record = &mut records[place];
            record.until_ms = record.until_ms.max(until_ms);
            record.targets.extend(strike.targets.iter().cloned());
            record.targets.sort();
            record.targets.dedup();
            for (what, count) in &strike.affected {
                *record.affected.entry(what.clone()).or_default() += count;
            }
        }
        records
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
