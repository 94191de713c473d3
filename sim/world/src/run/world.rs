//! The world of a run, its phases, and what happens in a tick.

use super::observatory::Observatory;
use super::options::{RunError, RunOptions};
use crate::hosts::group::{Group, GroupThread, begin_tick};
use crate::hosts::machine::Machine;
use crate::hosts::mailbox::SharedMailbox;
use crate::hosts::points::ArmedPoints;
use crate::last_mile::SimulatedFleet;
use crate::memory::accounts::{Account, Peak};
use crate::nemesis::{Nemesis, Sites, Stage};
use squall_core::Time;
use squall_generators::client_faults::SharedClientFaults;
use squall_generators::insiders::FIRST_INSIDER;
use squall_generators::liars::FIRST_LIAR;
use squall_generators::rng::key;
use squall_generators::{Insiders, Liars, Signal, Sink};
use squall_history::{Entity, Event, Kind};
use squall_network::{ConnId, FleetEvent, FleetEventKind, Network};
use squall_protocol::ids::mix;
use squall_reports::record::PhaseRecord;
use squall_runtime::Due;
use squall_runtime::interpose::SimulatedClock;
use squall_scenarios::Scenario;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

const SECOND_US: u64 = 1_000_000;

/// Clients whose memory is fetched together.
const PREFETCHED: usize = 16;

pub(crate) struct World<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) options: RunOptions,
    pub(crate) clock: SimulatedClock,
    pub(crate) now_cell: Arc<AtomicU64>,
    pub(crate) network: Network,
    pub(crate) machines: Vec<Machine>,
    pub(crate) groups: Vec<Group>,
    /// The threads beside this one on which hosts step.
    pub(crate) threads: Vec<Rc<GroupThread>>,
    pub(crate) mailbox: SharedMailbox,
    pub(crate) armed: ArmedPoints,
    pub(crate) client_faults: SharedClientFaults,
    pub(crate) fleet: SimulatedFleet,
    pub(crate) liars: Liars<ConnId>,
    pub(crate) insiders: Insiders<ConnId>,
    pub(crate) nemesis: Nemesis,
    pub(crate) nemesis_sites: Sites,
    pub(crate) observatory: Observatory,
    pub(crate) failures: Arc<Mutex<Vec<String>>>,
    pub(crate) sites: Vec<String>,
    pub(crate) phase: &'static str,
    /// The phases that are over, and when this one began: simulated µs, wall time, frames until then.
    pub(crate) phases: Vec<PhaseRecord>,
    pub(crate) phase_began: (u64, Instant, u64),
    pub(crate) now: u64,
    pub(crate) end: u64,
    pub(crate) started: Instant,
    pub(crate) last_progress: Instant,
    pub(crate) events: Vec<Event>,
    pub(crate) signals: Vec<FleetEvent>,
    pub(crate) slowed: Vec<(u64, u64)>,
    pub(crate) digest: u64,
    pub(crate) stopped: bool,
    pub(crate) peak: Peak,
}

impl<'a> World<'a> {
    fn enter_phase(&mut self, name: &'static str) {
        self.close_phase();
        self.phase = name;
        self.observatory.event(Event { t: self.now, at: Entity::World, kind: Kind::Phase { name } });
    }

    /// Writes down what the phase that ends took.
    pub(crate) fn close_phase(&mut self) {
        #[expect(clippy::disallowed_methods, reason = "wall time is reported and enters no run")]
        let wall_now = Instant::now();
        let frames = self.fleet.totals().frames;
        let (began_at, began_wall, frames_before) = self.phase_began;
        self.phases.push(PhaseRecord {
            name: self.phase.to_owned(),
            simulated_ms: (self.now - began_at) / 1_000,
            wall_ms: wall_now.duration_since(began_wall).as_millis() as u64,
            frames: frames - frames_before,
        });
        self.phase_began = (self.now, wall_now, frames);
    }

    pub(super) fn run(&mut self) -> Result<(), RunError> {
        let ramp = self.scenario.phases.ramp.as_micros();
        let load_end = ramp + self.scenario.phases.load.as_micros();
        self.enter_phase("ramp");
        {
            let _account = Account::Fleet.enter();
            self.schedule_ramp(ramp);
        }
        self.step_until(ramp)?;
        self.enter_phase("load");
        {
            let _account = Account::Fleet.enter();
            self.fleet.start_load(Time(ramp), Time(load_end));
        }
        self.step_until(load_end)?;
        self.enter_phase("heal");
        // The last tick that had something to do may be a while ago, and hosts that start now begin to count here.
        self.set_clocks();
        self.with_nemesis(Nemesis::heal);
        self.drain_events();
        {
            let _account = Account::Fleet.enter();
            self.fleet.end_load(Time(self.now));
        }
        self.enter_phase("quiet");
        self.step_until(self.end)?;
        self.enter_phase("audit");
        self.fleet.tell_unread(Time(self.now), &mut self.observatory);
        Ok(())
    }

    /// Devices connect evenly over the ramp; those that are away come later.
    fn schedule_ramp(&mut self, ramp: u64) {
        let population = &self.scenario.population;
        let devices = u64::from(population.devices());
        let away_key = key(self.options.seed, "away");
        for client in self.fleet.clients() {
            let user = self.fleet.population().owner(client);
            let draw = squall_generators::rng::unit(mix(away_key ^ u64::from(user)));
            let at = if draw < population.away_share {
                population.away_until.as_micros()
            } else {
                // The first tenth is for the hosts to find each other.
                ramp / 10 + u64::from(client) * (ramp * 8 / 10) / devices
            };
            self.fleet.come_back_at(client, Time(at));
        }
    }

    pub(super) fn with_nemesis(&mut self, act: impl FnOnce(&mut Nemesis, &mut Stage<'_>)) {
        let mut stage = Stage {
            scenario: self.scenario,
            machines: &mut self.machines,
            groups: &mut self.groups,
            network: &self.network,
            mailbox: &self.mailbox,
            armed: &self.armed,
            client_faults: &self.client_faults,
            sites: &self.nemesis_sites,
            fleet: &mut self.fleet,
            liars: &mut self.liars,
            insiders: &mut self.insiders,
            observatory: &mut self.observatory,
            now: self.now,
        };
        act(&mut self.nemesis, &mut stage);
    }

    /// Time goes from tick to tick in which something is due; at a tick in between nothing would happen.
    fn step_until(&mut self, end: u64) -> Result<(), RunError> {
        let tick = self.scenario.tick.0.as_micros();
        let end = end.next_multiple_of(tick);
        while self.now < end && !self.stopped {
            self.tick()?;
            let next = if self.options.every_tick { self.now + tick } else { self.next_due() };
            let next = next.checked_next_multiple_of(tick).unwrap_or(u64::MAX);
            let next = next.clamp(self.now + tick, end);
            for second in self.now / SECOND_US..next / SECOND_US {
                self.now = next.min((second + 1) * SECOND_US);
                self.end_second(second);
                if self.stopped {
                    return Ok(());
                }
            }
            self.now = next;
        }
        Ok(())
    }

    /// When something next happens of itself: in the network, the fleet, a host, or at the nemesis's hand. It may turn out to be
    /// moot. The past means at once.
    fn next_due(&mut self) -> u64 {
        let network =
            if self.network.has_fleet_events() { 0 } else { self.network.next_due().unwrap_or(u64::MAX) };
        let people = self.fleet.next_due().min(self.liars.next_due()).min(self.insiders.next_due()).0;
        let faults = if self.phase == "load" { self.nemesis.next_due() } else { u64::MAX };
        let one_each = self.groups.len() == self.machines.len();
        // Hosts that share a `Sim` step at every tick.
        let hosts = if one_each { self.hosts_due() } else { 0 };
        network.min(people).min(faults).min(hosts)
    }

    fn hosts_due(&self) -> u64 {
        let due = self.machines.iter().zip(&self.groups).map(|(machine, group)| machine.due(group)).min();
        match due {
            Some(Due::At(at_us)) => at_us,
            Some(Due::Never) | None => u64::MAX,
        }
    }

    /// Begins and ends the faults that are due.
    pub(crate) fn let_nemesis_act(&mut self) {
        self.with_nemesis(Nemesis::step);
    }

    /// Everything that tells simulated time tells this one.
    fn set_clocks(&mut self) {
        self.clock.set_us(self.now);
        self.now_cell.store(self.now, Ordering::Relaxed);
        self.network.set_now(self.now);
    }

    fn tick(&mut self) -> Result<(), RunError> {
        let now = self.now;
        self.set_clocks();
        if self.phase == "load" {
            self.let_nemesis_act();
            self.drain_events();
        }
        {
            let _account = Account::Network.enter();
            self.network.advance(now);
        }
        self.step_all()?;
        self.with_nemesis(Nemesis::collect);
        self.drain_events();
        let failures = std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(failure) = failures.into_iter().min() {
            return Err(RunError::Host(failure));
        }
        Ok(())
    }

    /// The fleet does a tick, and every host; what a host wants to commit begins as soon as it has stepped.
    fn step_all(&mut self) -> Result<(), RunError> {
        let (now, one_each) = (self.now, self.groups.len() == self.machines.len());
        let every = self.options.every_tick;
        let steps = |group: &Group, machine: &Machine| {
            // Hosts that share a `Sim` step at every tick, and cannot be paused.
            !one_each || machine.due(group).is_by(now) || (every && machine.may_step(now))
        };
        // What strikes from inside a host or the fleet acts on the world in the middle of a tick.
        if self.threads.is_empty() || self.armed.any() || self.client_faults.may_cut() {
            self.step_fleet();
            for (group, machine) in self.groups.iter_mut().zip(&mut self.machines) {
                if steps(group, machine) {
                    group.step().map_err(|error| RunError::Host(format!("{}: {error}", machine.name)))?;
                    machine.pay(now);
                }
            }
            return Ok(());
        }
        let hosts = self.groups.iter().zip(&self.machines);
        let steps: Vec<bool> = hosts.map(|(group, machine)| steps(group, machine)).collect();
        self.network.begin_turn();
        let tick = begin_tick(&self.threads, &self.groups, &steps);
        self.step_fleet();
        let stepped = tick.finish(&mut self.groups, &steps);
        {
            let _account = Account::Network.enter();
            self.network.end_turn();
        }
        self.mailbox.lock().sort_by_host();
        self.machines
            .iter_mut()
            .zip(&steps)
            .filter(|(_, steps)| **steps)
            .for_each(|(machine, _)| machine.pay(now));
        stepped.map_err(RunError::Host)
    }

    /// Tells which devices have a slow path, before anything that was slow reaches them.
    fn tell_slowed(&mut self) {
        self.network.drain_slowed(&mut self.slowed);
        for (token, until) in self.slowed.drain(..) {
            let client = token as u32;
            if client < FIRST_INSIDER {
                let at = Entity::Device(self.fleet.device(client));
                self.observatory.event(Event { t: self.now, at, kind: Kind::Slowed { until } });
            }
        }
    }

    fn step_fleet(&mut self) {
        let _account = Account::Fleet.enter();
        self.tell_slowed();
        let now = Time(self.now);
        let mut signals = std::mem::take(&mut self.signals);
        self.network.drain_events(&mut signals);
        for (index, event) in signals.iter().enumerate() {
            if index % PREFETCHED == 0 {
                self.fleet.prefetch(signals[index..].iter().take(PREFETCHED).map(|event| event.token as u32));
            }
            let signal = match event.kind {
                FleetEventKind::Connected => Signal::Connected,
                FleetEventKind::Readable => Signal::Readable,
                FleetEventKind::Writable => Signal::Writable,
                FleetEventKind::Refused => Signal::Lost("refused"),
                FleetEventKind::ConnectTimedOut => Signal::Lost("connect timed out"),
                FleetEventKind::Eof => Signal::Lost("closed by the peer"),
                FleetEventKind::Reset => Signal::Lost("reset"),
                FleetEventKind::TimedOut => Signal::Lost("timed out"),
            };
            let (client, conn) = (event.token as u32, event.conn);
            if client >= FIRST_LIAR {
                self.liars.handle_signal(client, conn, signal, &mut self.fleet, now, &mut self.observatory);
            } else if client >= FIRST_INSIDER {
                self.insiders.handle_signal(client, conn, signal, &mut self.fleet, now, &mut self.observatory);
            } else {
                self.fleet.handle_signal(client, conn, signal, now, &mut self.observatory);
            }
            if event.kind == FleetEventKind::Eof {
                // Nothing more will come; our half is closed as well.
                let _ = self.network.close(conn);
            }
        }
        signals.clear();
        self.signals = signals;
        self.fleet.step(now, &mut self.observatory);
        self.liars.step(&mut self.fleet, now);
        self.insiders.step(&mut self.fleet, now, &mut self.observatory);
    }

    fn drain_events(&mut self) {
        // In the tick in which it was noted: the next one comes sooner where every tick is looked at.
        self.tell_slowed();
        let mut events = std::mem::take(&mut self.events);
        let found = {
            let mut mailbox = self.mailbox.lock();
            mailbox.take_events(&mut events);
            mailbox.take_found()
        };
        for event in found {
            self.observatory.record(&event);
        }
        for event in events.drain(..) {
            self.observatory.event(event);
        }
        self.events = events;
    }
}
