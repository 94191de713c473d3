//! Faults of clients and frames, carried out in the fleet as in the simulator. What a fault does to hosts, links and disks cannot be done from
//! here: such a file is refused, with what to use instead, or its faults are left out and named in the record.
//!
//! **Invariant:** a fault strikes at the time that the simulator draws for it: both draw from the same stream.

use crate::sockets::{Conn, Mile};
use crate::station::Feed;
use squall_core::Time;
use squall_generators::client_faults::{ClientFault, Cohort, Share, SharedClientFaults};
use squall_generators::insiders::Attack;
use squall_generators::rng::Stream;
use squall_generators::{Fleet, FrameFault, FrameKind, Insiders, LastMile, Latency, Liars, Sink};
use squall_history::{Entity, Event, Harm, Kind};
use squall_protocol::Role;
use squall_reports::FaultRecord;
use squall_scenarios::{Fault, FaultKind, KindName, Occurrence, Scenario, Strikes};
use std::collections::BTreeMap;

/// Acks in both directions: of sends, and of deliveries.
const ACKS: &[FrameKind] = &[FrameKind::Sent, FrameKind::Ack];
const SENT: &[FrameKind] = &[FrameKind::Sent];
const SENDS: &[FrameKind] = &[FrameKind::Send];

/// What can be done from here: `Faults::begin` has a way for each.
const HERE: &[KindName] = &[
    KindName::Disconnect,
    KindName::HalfOpen,
    KindName::SlowReader,
    KindName::ProfileChange,
    KindName::ResendEverything,
    KindName::DropSentAcks,
    KindName::DropDeviceAcks,
    KindName::DuplicateAcks,
    KindName::DelayAcks,
    KindName::DuplicateSends,
    KindName::Liars,
    KindName::Insiders,
];

/// A fault that cannot be done here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    pub name: String,
    pub kind: &'static str,
    /// What comes closest to it against a real server.
    pub instead: &'static str,
}

/// The faults of a scenario that cannot be done here: those of hosts, links and disks, and of whole carriers.
pub fn unsupported(scenario: &Scenario) -> Vec<Unsupported> {
    let row = |fault: &Fault| {
        let instead = match (&fault.kind, fault.kind.strikes()) {
            (FaultKind::Stop { .. } | FaultKind::RollingRestart { graceful: true, .. }, _) => {
                "end the server's process yourself with SIGTERM while the load runs"
            }
            (FaultKind::Crash { .. } | FaultKind::RollingRestart { .. }, _) => {
                "kill the server's process yourself while the load runs"
            }
            (FaultKind::PowerLoss { .. }, _) => {
                "cut the machine's power, or kill -9 its virtual machine, while the load runs"
            }
            (FaultKind::Pause { .. }, _) => "kill -STOP and kill -CONT the server's process while the load runs",
            // Each life of a device is one of its own for the checks, and who shares a run among generators knows of one only.
            (FaultKind::Reinstall { .. }, _) => "run it in the simulator: squall run",
            _ if HERE.contains(&fault.kind.kind_name()) => return None,
            (_, Strikes::Devices) => {
                "use half-open, which takes connections from devices as silently, or run it in the simulator: squall run"
            }
            (_, Strikes::Hosts) => "set the host's clock yourself, or run it in the simulator: squall run",
            (_, Strikes::Links) => {
                "shape the real network (tc netem, nft) while the load runs, or run it in the simulator: squall run"
            }
            (_, Strikes::Disks) => {
                "use a faulty block device (dm-flakey, dm-delay) under the server, or run it in the simulator: squall run"
            }
        };
        Some(Unsupported { name: fault.name.clone(), kind: fault.kind.name(), instead })
    };
    scenario.faults.iter().filter_map(row).collect()
}

struct Strike {
    fault: usize,
    kind: FaultKind,
    begins: Time,
    ends: Time,
    stream: Stream,
    state: State,
    hits: BTreeMap<&'static str, u64>,
    /// How long after its end everybody was back.
    all_back_us: Option<u64>,
}

enum State {
    Waiting,
    /// What had been done before by those who attack.
    Active {
        lies: u64,
        attacks: Vec<u64>,
    },
    /// Over, and somebody is still missing.
    Awaited,
    Over,
}

/// The faults of one station.
pub struct Faults {
    strikes: Vec<Strike>,
    shared: SharedClientFaults,
}

/// What faults act on.
pub struct Stage<'a, S> {
    pub fleet: &'a mut Fleet<Mile, SharedClientFaults>,
    pub liars: &'a mut Liars<Conn>,
    pub insiders: &'a mut Insiders<Conn>,
    pub now: Time,
    pub sink: &'a mut S,
}

impl Faults {
    /// `load` is when the load begins. Of several stations each has its part of every fault.
    pub fn new(scenario: &Scenario, seed: u64, load: Time, shared: SharedClientFaults) -> Self {
        let heal = load + scenario.phases.load.as_duration();
        let mut strikes = Vec::new();
        for (number, fault) in scenario.faults.iter().enumerate() {
            for (n, Occurrence { begins, ends }) in fault.occurrences(scenario.phases.load).into_iter().enumerate()
            {
                let mut stream = Stream::new(seed, &format!("fault {} {n}", fault.name));
                let later = fault.within.map_or(0, |within| stream.below(within.as_micros() + 1));
                let at = |span: u64| Time((load.0 + span + later).min(heal.0));
                if at(begins.as_micros()) < heal {
                    strikes.push(Strike {
                        fault: number,
                        kind: fault.kind.clone(),
                        begins: at(begins.as_micros()),
                        ends: at(ends.as_micros()),
                        stream: Stream::new(seed, &format!("fault {} {n} part 0", fault.name)),
                        state: State::Waiting,
                        hits: BTreeMap::new(),
                        all_back_us: None,
                    });
                }
            }
        }
        Faults { strikes, shared }
    }

    /// When one next begins or ends.
    pub fn next_due(&self) -> Time {
        let due = self.strikes.iter().map(|strike| match strike.state {
            State::Waiting => strike.begins,
            State::Active { .. } => strike.ends,
            State::Awaited | State::Over => Time::NEVER,
        });
        due.min().unwrap_or(Time::NEVER)
    }

    /// Ends what is over, begins what is due, counts what was hit.
    pub fn step(&mut self, scenario: &Scenario, stage: &mut Stage<'_, impl Feed>) {
        for index in 0..self.strikes.len() {
            if matches!(self.strikes[index].state, State::Active { .. }) && self.strikes[index].ends <= stage.now {
                self.end(index, scenario, stage);
            }
        }
        for index in 0..self.strikes.len() {
            let strike = &self.strikes[index];
            if matches!(strike.state, State::Waiting) && strike.begins <= stage.now {
                let is_instant = strike.kind.is_instant();
                self.begin(index, scenario, stage);
                if is_instant {
                    self.end(index, scenario, stage);
                }
            }
        }
        if self.shared.ever() {
            for ((strike, what), hits) in self.shared.lock().take_hits() {
                *self.strikes[strike].hits.entry(what).or_default() += hits;
            }
        }
        for strike in self.strikes.iter_mut().filter(|strike| matches!(strike.state, State::Awaited)) {
            if stage.fleet.all_back(strike.ends) {
                strike.is_settled(stage);
            }
        }
    }

    /// Ends everything: the heal.
    pub fn heal(&mut self, scenario: &Scenario, stage: &mut Stage<'_, impl Feed>) {
        for index in 0..self.strikes.len() {
            match self.strikes[index].state {
                State::Active { .. } => self.end(index, scenario, stage),
                State::Waiting => self.strikes[index].state = State::Over,
                State::Awaited | State::Over => {}
            }
        }
    }

    /// The run is over: who is missing still has been for at least as long.
    pub fn settle(&mut self, stage: &mut Stage<'_, impl Feed>) {
        let awaited = self.strikes.iter_mut().filter(|strike| matches!(strike.state, State::Awaited));
        awaited.for_each(|strike| strike.is_settled(stage));
    }

    fn begin(&mut self, index: usize, scenario: &Scenario, stage: &mut Stage<'_, impl Feed>) {
        let strike = &mut self.strikes[index];
        let kind = strike.kind.clone();
        let online = |strike: &mut Strike, stage: &Stage<'_, _>, share: f64| -> Vec<u32> {
            stage
                .fleet
                .clients()
                .filter(|client| strike.stream.chance(share) && stage.fleet.is_online(*client))
                .collect()
        };
        let whom = match kind {
            FaultKind::Disconnect { share }
            | FaultKind::HalfOpen { share }
            | FaultKind::ResendEverything { share } => online(strike, stage, share),
            FaultKind::SlowReader { share } | FaultKind::ProfileChange { share, .. } => {
                let cohort = Cohort { fault: index, key: strike.stream.next_u64(), share };
                self.shared.begin(match kind {
                    FaultKind::ProfileChange { to: profile, .. } => ClientFault::ProfileChange { cohort, profile },
                    _ => ClientFault::SlowReaders(cohort),
                });
                stage.fleet.clients().filter(|client| cohort.has(*client)).collect()
            }
            _ => Vec::new(),
        };
        let strike = &mut self.strikes[index];
        let excuses = !matches!(
            kind,
            FaultKind::Liars { .. } | FaultKind::Insiders { .. } | FaultKind::ResendEverything { .. }
        );
        let harm = Harm {
            devices: whom
                .iter()
                .filter(|_| excuses)
                .map(|client| stage.fleet.population().device(*client))
                .collect(),
            connections: !matches!(kind, FaultKind::Liars { .. }),
            ..Harm::default()
        };
        tell(&scenario.faults[strike.fault].name, true, harm, stage);
        let share_of = |strike: &mut Strike, share: f64| Share {
            fault: index,
            share,
            stream: Stream::from_key(strike.stream.next_u64()),
        };
        let frames = |strike: &mut Strike, share: f64, frames: &'static [FrameKind], what: FrameFault| {
            let share = share_of(strike, share);
            self.shared.begin(ClientFault::Frames { share, frames, what });
        };
        strike.state = State::Active {
            lies: stage.liars.lies(),
            attacks: stage.insiders.hits().map(|(_, hits)| hits).collect(),
        };
        match kind {
            // Between the commit and the device the ack is lost with its connection: from here it is the last step that is cut.
            FaultKind::DropSentAcks { share } => frames(strike, share, SENT, FrameFault::Cut),
            FaultKind::DuplicateAcks { share } => frames(strike, share, ACKS, FrameFault::Twice),
            FaultKind::DelayAcks { share, by } => frames(strike, share, ACKS, FrameFault::Late(by.as_duration())),
            FaultKind::DuplicateSends { share } => frames(strike, share, SENDS, FrameFault::Twice),
            FaultKind::DropDeviceAcks { share } => {
                let share = share_of(strike, share);
                self.shared.begin(ClientFault::CutDeviceAcks(share));
            }
            FaultKind::Disconnect { .. } | FaultKind::HalfOpen { .. } => {
                let is_cut = matches!(kind, FaultKind::Disconnect { .. });
                for client in whom {
                    let Some(conn) = stage.fleet.conn(client) else { continue };
                    match is_cut {
                        true => stage.fleet.last_mile.cut(conn),
                        false => drop(stage.fleet.last_mile.sockets.borrow_mut().freeze(conn)),
                    }
                    *strike.hits.entry("connections").or_default() += 1;
                    stage.fleet.connection_is_broken(client, stage.now);
                }
            }
            FaultKind::ResendEverything { .. } => {
                for client in whom {
                    *strike.hits.entry("messages").or_default() +=
                        stage.fleet.resend_everything(client, stage.now, stage.sink);
                }
            }
            FaultKind::Liars { .. } | FaultKind::Insiders { .. } => self.apply(stage),
            FaultKind::ProfileChange { .. } => {
                *strike.hits.entry("connections").or_default() +=
                    stage.fleet.last_mile.change_profiles(&self.shared);
            }
            FaultKind::SlowReader { .. } => {}
            _ => unreachable!("{} is refused or left out", kind.name()),
        }
    }

    fn end(&mut self, index: usize, scenario: &Scenario, stage: &mut Stage<'_, impl Feed>) {
        let strike = &mut self.strikes[index];
        strike.ends = stage.now;
        let State::Active { lies, attacks } = std::mem::replace(&mut strike.state, State::Awaited) else { return };
        match strike.kind {
            FaultKind::Liars { .. } => *strike.hits.entry("lies").or_default() += stage.liars.lies() - lies,
            FaultKind::Insiders { guessing, .. } => {
                for ((attack, hits), before) in stage.insiders.hits().zip(attacks) {
                    if guessing > 0 || attack != Attack::GuessDevice {
                        *strike.hits.entry(attack.name()).or_default() += hits - before;
                    }
                }
            }
            _ => {}
        }
        let name = scenario.faults[strike.fault].name.clone();
        let readers = self.shared.end(index);
        stage.fleet.last_mile.change_profiles(&self.shared);
        self.apply(stage);
        tell(&name, false, Harm::default(), stage);
        for client in readers {
            if let Some(conn) = stage.fleet.conn(client) {
                let sockets = stage.fleet.last_mile.sockets.clone();
                sockets.borrow_mut().read_on(conn, stage.now);
                stage.now = stage.sink.clock().now();
                stage.fleet.last_mile.now.set(stage.now);
            }
            stage.fleet.read_on(client, stage.now, stage.sink);
        }
    }

    /// As many liars and insiders act as all active strikes together want.
    fn apply(&self, stage: &mut Stage<'_, impl Feed>) {
        let (mut liars, mut insiders) = (0, 0);
        for strike in self.strikes.iter().filter(|strike| matches!(strike.state, State::Active { .. })) {
            match strike.kind {
                FaultKind::Liars { count } => liars += count,
                FaultKind::Insiders { count, .. } => insiders += count,
                _ => {}
            }
        }
        stage.liars.set_active(liars, &mut stage.fleet.last_mile);
        stage.insiders.set_active(insiders, stage.fleet, stage.now, stage.sink);
    }

    /// One record for each fault of the scenario, with what this station did of it.
    pub fn records(&self, scenario: &Scenario, gateways: &[u64]) -> Vec<FaultRecord> {
        let record = |(number, fault): (usize, &Fault)| {
            let strikes: Vec<&Strike> = self.strikes.iter().filter(|strike| strike.fault == number).collect();
            let load = scenario.phases.ramp.as_millis();
            let at_ms = strikes.first().map_or(load + fault.at.as_millis(), |first| first.begins.0 / 1_000);
            let mut record = FaultRecord {
                name: fault.name.clone(),
                kind: fault.kind.name().to_owned(),
                at_ms,
                until_ms: strikes.iter().map(|strike| strike.ends.0 / 1_000).max().unwrap_or(0).max(at_ms),
                targets: Vec::new(),
                missed: Vec::new(),
                affected: BTreeMap::new(),
                never: Vec::new(),
                all_back_ms: strikes.iter().filter_map(|strike| strike.all_back_us).max().map(|us| us / 1_000),
                connected_after: BTreeMap::new(),
            };
            for (what, hits) in strikes.iter().flat_map(|strike| &strike.hits) {
                *record.affected.entry((*what).to_owned()).or_default() += hits;
            }
            if record.all_back_ms.is_some() {
                let gateways = (0..).zip(gateways);
                record.connected_after =
                    gateways.map(|(n, devices)| (Role::Gateway.host(n).to_string(), *devices)).collect();
            }
            record
        };
        scenario.faults.iter().enumerate().map(record).collect()
    }
}

impl Strike {
    fn is_settled<S: Sink>(&mut self, stage: &mut Stage<'_, S>) {
        let after = stage.now.since(self.ends).as_micros() as u64;
        self.state = State::Over;
        self.all_back_us = Some(after);
        stage.sink.latency(Latency::AllBack(after));
    }
}

fn tell(name: &str, active: bool, harm: Harm, stage: &mut Stage<'_, impl Sink>) {
    let kind = Kind::Fault { name: name.to_owned(), active, targets: Vec::new(), harm };
    stage.sink.event(Event { t: stage.now.0, at: Entity::World, kind });
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_scenarios::parse;
    use std::path::Path;

    #[test]
    fn faults_of_hosts_are_named_with_what_to_use_instead() {
        let text = "[[faults]]\nkind = \"disconnect\"\nshare = 0.5\nat = \"1s\"\n[[faults]]\nname = \"dies\"\nkind = \"crash\"\n\
             target = [\"gateway-0\"]\nat = \"2s\"\nfor = \"1s\"\n[[faults]]\nkind = \"disk-full\"\ntarget = [\"messages-0\"]\nat = \"2s\"\nfor = \"1s\"\n";
        let scenario = parse(text, Path::new("x.toml")).expect("a sound scenario");
        let refused = unsupported(&scenario);
        assert_eq!(refused.iter().map(|fault| fault.kind).collect::<Vec<_>>(), ["crash", "disk-full"]);
        assert_eq!(refused[0].name, "dies");
        assert!(refused[0].instead.contains("kill") && refused[1].instead.contains("block device"));
    }

    #[test]
    fn every_kind_can_be_done_or_is_refused() {
        let devices = KindName::ALL.iter().filter(|kind| kind.strikes() == Strikes::Devices);
        let mut refused: Vec<&str> = devices.filter(|kind| !HERE.contains(kind)).map(|kind| kind.name()).collect();
        refused.sort_unstable();
        assert_eq!(refused, ["carrier-gone", "reinstall"]);
        let text = "[network]\nlast_mile = { wifi = 1.0 }\n[[faults]]\nkind = \"carrier-gone\"\nat = \"1s\"\nfor = \"2s\"\n";
        let refused = unsupported(&parse(text, Path::new("x.toml")).expect("a sound scenario"));
        assert!(refused[0].instead.contains("half-open"), "{refused:?}");
    }
}
