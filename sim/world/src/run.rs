//! One run: builds the world from a scenario and a seed, steps it through its phases, and writes the record.

use crate::accounts::{Account, Peak};
use crate::backbone::{INTERNAL_PORT, SimulatedConnector};
use crate::board::{Probe, SharedBoard};
use crate::committer::Committer;
use crate::disk::{Disk, DiskConfig};
use crate::group::Group;
use crate::interpose::{SimulatedClock, WorldContext, enter_world};
use crate::lanes::{self, Lane};
use crate::last_mile::{NemesisFrameFaults, SimulatedFleet, SimulatedLastMile, Site};
use crate::machine::{Common, Machine};
use crate::nemesis::{Nemesis, Order, Stage};
use crate::observatory::Observatory;
use crate::plants::Bug;
use squall_checks::{Checks, Config};
use squall_core::Time;
use squall_generators::liars::FIRST_LIAR;
use squall_generators::rng::key;
use squall_generators::{Fleet, Liars, Signal, Sink};
use squall_history::{Entity, Event, Kind, Recorder};
use squall_network::{ConnId, FleetEvent, FleetEventKind, HostId, Network, Profile as LinkProfile, ProfileId};
use squall_protocol::ids::mix;
use squall_protocol::token::TokenSecret;
use squall_protocol::{Role, limits};
use squall_reports::RunRecord;
use squall_reports::record::PhaseRecord;
use squall_scenarios::{BUSIEST_SHARD, Backbone, FaultKind, Profile, Scenario};
use squall_server::Cluster;
use squall_server::storage::StorageError;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const SECOND_US: u64 = 1_000_000;

/// Clients whose memory is fetched together.
const TOUCHED: usize = 16;

/// A power cut loses most of what was not synced, keeps some of it, and may tear a block.
const DISK: DiskConfig =
    DiskConfig { capacity_bytes: 64 << 30, sector_bytes: 512, survive_share: 0.2, tear: true };

/// Somebody who is told things while a run goes on.
pub type Listener<T> = Box<dyn FnMut(&T)>;

/// What a run is asked to do beside running.
#[derive(Default)]
pub struct RunOptions {
    pub seed: u64,
    /// Write `history.jsonl` here.
    pub history: Option<PathBuf>,
    /// Only what these conversations and devices, by their numbers, had part in; empty for everything.
    pub history_of: Vec<u64>,
    /// A bug that is planted in the system for this run, and with it for the rest of the process.
    pub plant: Option<&'static Bug>,
    /// The command that repeats this run, for the record.
    pub reproduce: String,
    /// Called for every simulated second with its digests.
    pub on_second: Option<Listener<SecondDigest>>,
    /// Keep everything that happens in this simulated second, for telling two runs apart.
    pub trace_second: Option<u64>,
    /// Called for every line of that second.
    pub on_trace: Option<Listener<str>>,
    /// Called now and then.
    pub on_progress: Option<Listener<Progress>>,
    /// On how many threads hosts step; the run is the same on any number. `None`: as many as there are cores in a large run, one
    /// in a small one.
    pub threads: Option<usize>,
    /// Set from outside to stop early; what was judged until then is reported, inconclusive.
    pub stop: Arc<AtomicBool>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub phase: &'static str,
    pub simulated: Duration,
    /// The longest that the run can take.
    pub total: Duration,
    pub wall: Duration,
    pub connected: u64,
    pub clients: u64,
    pub displayed: u64,
}

/// What one simulated second came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondDigest {
    pub second: u64,
    pub history: u64,
    /// Wire bytes by host, in the order of hosts; sites of devices at the end.
    pub wire: Vec<(String, u64)>,
    /// Durable writes by shard.
    pub disks: Vec<(String, u64)>,
}

/// Why a run could not be finished. None of these says anything of the properties.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot write the history to {path}: {source}")]
    History { path: PathBuf, source: std::io::Error },
    #[error("a host failed: {0}")]
    Host(String),
    #[error("the audit cannot read the disk of {host}: {source}")]
    Audit { host: String, source: StorageError },
}

fn link_profile(profile: Profile) -> LinkProfile {
    match profile {
        Profile::Rack => LinkProfile::rack(),
        Profile::CrossRegion => LinkProfile::cross_region(),
        Profile::Wifi => LinkProfile::wifi(),
        Profile::Lte => LinkProfile::lte(),
        Profile::ThreeG => LinkProfile::threeg(),
        Profile::Flaky => LinkProfile::flaky(),
    }
}

/// Runs a scenario on this thread, which should be fresh, as are those that it starts: what libraries keep for a thread is then the
/// run's own.
pub fn run(scenario: &Scenario, options: RunOptions) -> Result<RunRecord, RunError> {
    let context = WorldContext::new(key(options.seed, "world"));
    let _guard = enter_world(&context);
    lanes::prime_thread();
    let _account = Account::World.enter();
    if let Some(bug) = options.plant {
        squall_core::plant::plant(bug.plant);
    }
    let mut world = World::build(scenario, options)?;
    world.run()?;
    world.conclude()
}

pub(crate) struct World<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) options: RunOptions,
    pub(crate) clock: SimulatedClock,
    pub(crate) now_cell: Arc<AtomicU64>,
    pub(crate) network: Network,
    pub(crate) machines: Vec<Machine>,
    pub(crate) groups: Vec<Group>,
    /// The threads beside this one on which hosts step.
    pub(crate) lanes: Vec<Rc<Lane>>,
    pub(crate) board: SharedBoard,
    pub(crate) fleet: SimulatedFleet,
    pub(crate) liars: Liars<ConnId>,
    pub(crate) nemesis: Nemesis,
    orders: Vec<Order>,
    pub(crate) observatory: Observatory,
    pub(crate) failures: Arc<Mutex<Vec<String>>>,
    pub(crate) sites: Vec<String>,
    pub(crate) phase: &'static str,
    /// The phases that are over, and when this one began: simulated µs, wall time, frames until then.
    pub(crate) phases: Vec<PhaseRecord>,
    phase_began: (u64, Instant, u64),
    pub(crate) now: u64,
    pub(crate) end: u64,
    pub(crate) started: Instant,
    pub(crate) last_progress: Instant,
    pub(crate) events: Vec<Event>,
    pub(crate) signals: Vec<FleetEvent>,
    pub(crate) digest: u64,
    pub(crate) stopped: bool,
    pub(crate) peak: Peak,
}

impl<'a> World<'a> {
    pub(crate) fn build(scenario: &'a Scenario, options: RunOptions) -> Result<Self, RunError> {
        #[expect(clippy::disallowed_methods, reason = "wall time is shown to the user and enters no run")]
        let started = Instant::now();
        let seed = options.seed;
        let network = Network::new(key(seed, "network"));
        let clock = SimulatedClock::default();
        let now_cell = Arc::new(AtomicU64::new(0));
        let targets = scenario.faults.iter().flat_map(|fault| fault.kind.targets());
        let watches = targets.into_iter().any(|(_, targets)| targets.iter().any(|target| target == BUSIEST_SHARD));
        let board = SharedBoard::new(seed, options.history.is_some(), watches);
        let names = scenario.host_names();
        let hosts: Vec<HostId> = names.iter().map(|name| network.add_host(name.clone())).collect();
        let backbone = network.add_profile(link_profile(scenario.network.data_centre));
        let turmoil = scenario.network.backbone == Backbone::Turmoil;
        let clients = scenario.population.devices();
        let common = Common {
            cluster: cluster(scenario),
            secret: TokenSecret::new(key(seed, "token secret").to_le_bytes()),
            commit_latency: scenario.topology.commit_latency.as_duration(),
            tick: scenario.tick.0.as_duration(),
            seed,
            clock: clock.clone(),
            connector: (!turmoil).then(|| connector(&network, backbone, &names, &hosts)),
            committer: Arc::new(Committer::for_clients(clients)),
            failures: Arc::default(),
        };
        let threads = options.threads.unwrap_or_else(|| lanes::threads_for(clients)).min(names.len()).max(1);
        let lanes: Vec<Rc<Lane>> =
            (1..threads).filter(|_| !turmoil).map(|number| Lane::start(number, key(seed, "world"))).collect();
        let named = scenario.hosts();
        let places = lanes::spread(&named, lanes.len() + 1);
        let mut groups = Vec::new();
        let mut machines = Vec::new();
        if turmoil {
            groups.push(Group::new(&common, "all hosts", Account::World, None));
        }
        for (index, (name, host)) in names.iter().zip(&hosts).enumerate() {
            let named = named[index];
            let disk = (named.role == Role::Messages).then(|| Disk::new(key(seed, &format!("disk {name}")), DISK));
            let probe = Arc::new(Probe {
                index: index as u16,
                host: *host,
                network: network.clone(),
                disk,
                board: board.clone(),
                alive: AtomicBool::new(true),
                blocks_lost: AtomicU64::new(0),
                now: Arc::clone(&now_cell),
            });
            if let Some(disk) = &probe.disk {
                let probe = Arc::downgrade(&probe);
                disk.set_on_power_cut(move || {
                    if let Some(probe) = probe.upgrade() {
                        probe.lose_power_mid_commit();
                    }
                });
            }
            if !turmoil {
                // The first thread is this one.
                let lane = places[index].checked_sub(1).map(|lane| &lanes[lane]);
                groups.push(Group::new(&common, name, Account::of(named.role), lane));
            }
            groups.last_mut().expect("one was just pushed").add(name, named, &probe, &common);
            machines.push(Machine::new(name.clone(), named, probe));
        }
        let sites = sites(scenario, &network);
        let site_names = sites.iter().map(|site| network.host_name(site.host)).collect();
        let profiles = moved_to(scenario, &network);
        let load = scenario.phases.ramp.as_micros();
        let nemesis = Nemesis::new(scenario, seed, load, &sites, profiles, turmoil);
        let last_mile = SimulatedLastMile {
            network: network.clone(),
            gateways: hosts[..scenario.topology.gateways as usize].to_vec(),
            sites,
            seed: key(seed, "sites"),
            board: board.clone(),
        };
        let frame_faults = NemesisFrameFaults { board: board.clone() };
        let charged = Account::Fleet.enter();
        let fleet = Fleet::new(last_mile, frame_faults, scenario, seed, common.secret.clone());
        let counts =
            scenario.faults.iter().map(|f| if let FaultKind::Liars { count } = f.kind { count } else { 0 });
        let liars = Liars::new(seed, common.secret.clone(), scenario.topology.gateways, counts.sum());
        drop(charged);
        let shards = machines
            .iter()
            .enumerate()
            .filter(|(_, m)| m.host.role == Role::Messages)
            .map(|(index, _)| index as u16)
            .collect();
        let mut checks = Checks::new(Config { shards });
        checks.require_exposure(&nemesis.exposes(scenario));
        let recorder = match &options.history {
            Some(path) => Some(
                Recorder::create(path, names.clone(), options.history_of.clone())
                    .map_err(|source| RunError::History { path: path.clone(), source })?,
            ),
            None => None,
        };
        let bound = scenario.phases.liveness_bound.map_or(limits::liveness_bound(), |b| b.as_duration());
        let end = load + scenario.phases.load.as_micros() + bound.as_micros() as u64;
        Ok(World {
            scenario,
            options,
            clock,
            now_cell,
            network,
            machines,
            groups,
            lanes,
            board,
            fleet,
            liars,
            nemesis,
            orders: Vec::new(),
            observatory: Observatory::new(checks, recorder, names),
            failures: common.failures,
            sites: site_names,
            phase: "build",
            phases: Vec::new(),
            phase_began: (0, started, 0),
            now: 0,
            end,
            started,
            last_progress: started,
            events: Vec::new(),
            signals: Vec::new(),
            digest: 0,
            stopped: false,
            peak: Peak::default(),
        })
    }

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

    fn run(&mut self) -> Result<(), RunError> {
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
        self.with_stage(|nemesis, scenario, stage, _| nemesis.heal(scenario, stage));
        self.drain_events();
        let orders = std::mem::take(&mut self.orders);
        self.carry_out(orders);
        {
            let _account = Account::Fleet.enter();
            self.fleet.end_load(Time(self.now));
        }
        self.enter_phase("quiet");
        self.step_until(self.end)?;
        self.enter_phase("audit");
        Ok(())
    }

    /// Devices connect evenly over the ramp; those that are away come later.
    fn schedule_ramp(&mut self, ramp: u64) {
        let population = &self.scenario.population;
        let devices = u64::from(self.fleet.clients());
        let away_key = key(self.options.seed, "away");
        for client in 0..self.fleet.clients() {
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

    fn with_stage(&mut self, act: impl FnOnce(&mut Nemesis, &Scenario, &mut Stage<'_>, &SimulatedFleet)) {
        let mut stage = Stage {
            machines: &mut self.machines,
            groups: &mut self.groups,
            network: &self.network,
            board: &self.board,
            events: &mut self.events,
            orders: &mut self.orders,
            unanswered: unanswered(&self.fleet),
            now: self.now,
        };
        act(&mut self.nemesis, self.scenario, &mut stage, &self.fleet);
    }

    fn step_until(&mut self, end: u64) -> Result<(), RunError> {
        let tick = self.scenario.tick.0.as_micros();
        while self.now < end && !self.stopped {
            self.tick()?;
            self.now += tick;
            if self.now / SECOND_US != (self.now - tick) / SECOND_US {
                self.end_second(self.now / SECOND_US - 1);
            }
        }
        Ok(())
    }

    /// Begins and ends the faults that are due; what it wants of fleet and liars.
    pub(crate) fn let_nemesis_act(&mut self) -> Vec<Order> {
        self.with_stage(|nemesis, scenario, stage, fleet| nemesis.step(scenario, stage, fleet));
        std::mem::take(&mut self.orders)
    }

    fn tick(&mut self) -> Result<(), RunError> {
        let now = self.now;
        self.clock.set_us(now);
        self.now_cell.store(now, Ordering::Relaxed);
        self.network.set_now(now);
        if self.phase == "load" {
            let orders = self.let_nemesis_act();
            self.drain_events();
            self.carry_out(orders);
        }
        {
            let _account = Account::Network.enter();
            self.network.advance(now);
        }
        self.step_all()?;
        self.with_stage(|nemesis, _, stage, _| nemesis.collect(stage));
        self.drain_events();
        let failures = std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(failure) = failures.into_iter().min() {
            return Err(RunError::Host(failure));
        }
        Ok(())
    }

    /// The fleet does a tick, and every host; what a host wants to commit begins as soon as it has stepped.
    fn step_all(&mut self) -> Result<(), RunError> {
        let one_each = self.groups.len() == self.machines.len();
        // Machines that share a group cannot be paused.
        let ticks = |machine: &mut Machine| if one_each { machine.ticks_due() } else { 1 };
        if self.lanes.is_empty() || self.board.lock().may_strike_inside() {
            self.step_fleet();
            let mut stepped = self.groups.iter_mut().zip(&mut self.machines);
            return stepped.try_for_each(|(group, m)| group.step(ticks(m)).map_err(RunError::Host));
        }
        let ticks: Vec<u64> = self.machines.iter_mut().map(ticks).collect();
        self.network.begin_turn();
        let tick = lanes::begin_tick(&self.lanes, &self.groups, &ticks);
        self.step_fleet();
        let stepped = tick.finish(&mut self.groups, &ticks);
        {
            let _account = Account::Network.enter();
            self.network.end_turn();
        }
        self.board.lock().sort_by_host();
        stepped.map_err(RunError::Host)
    }

    fn step_fleet(&mut self) {
        let _account = Account::Fleet.enter();
        let now = Time(self.now);
        let mut signals = std::mem::take(&mut self.signals);
        self.network.drain_events(&mut signals);
        for (index, event) in signals.iter().enumerate() {
            if index % TOUCHED == 0 {
                self.fleet.prefetch(signals[index..].iter().take(TOUCHED).map(|event| event.token as u32));
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
    }

    /// What the nemesis wants of the fleet and the liars.
    fn carry_out(&mut self, orders: Vec<Order>) {
        self.board.lock().lies = self.liars.lies();
        let _account = Account::Fleet.enter();
        let now = Time(self.now);
        for order in orders {
            match order {
                Order::ResendEverything { fault, client } => {
                    let messages = self.fleet.resend_everything(client, now, &mut self.observatory);
                    self.nemesis.count(fault, "messages", messages);
                }
                Order::ReadOn { client } => self.fleet.read_on(client, now, &mut self.observatory),
                Order::Liars { active } => self.liars.set_active(active, &mut self.fleet.last_mile),
            }
        }
    }

    fn drain_events(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        let found = {
            let mut board = self.board.lock();
            board.take_events(&mut events);
            board.take_found()
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

type MakeConnector = Arc<dyn Fn(HostId) -> SimulatedConnector + Send + Sync>;

fn connector(network: &Network, profile: ProfileId, names: &[String], hosts: &[HostId]) -> MakeConnector {
    let network = network.clone();
    let names = Arc::new(names.iter().cloned().zip(hosts.iter().copied()).collect::<BTreeMap<_, _>>());
    Arc::new(move |host| SimulatedConnector { network: network.clone(), host, profile, names: Arc::clone(&names) })
}

fn cluster(scenario: &Scenario) -> Cluster {
    Cluster::from_fn(|role| {
        let hosts = 0..scenario.topology.count(role);
        hosts.map(|index| format!("{}:{INTERNAL_PORT}", role.host(index))).collect()
    })
}

/// A site for each last-mile profile of the scenario.
fn sites(scenario: &Scenario, network: &Network) -> Vec<Site> {
    let total: f64 = scenario.network.last_mile.values().sum();
    let (mut sites, mut share) = (Vec::new(), 0.0);
    for (profile, weight) in &scenario.network.last_mile {
        let link = link_profile(*profile);
        let host = network.add_host(format!("clients-{}", link.name));
        share += weight / total;
        sites.push(Site { host, profile: network.add_profile(link), below: (share * (1u64 << 32) as f64) as u64 });
    }
    sites
}

/// The profiles that faults move devices to.
fn moved_to(scenario: &Scenario, network: &Network) -> BTreeMap<Profile, ProfileId> {
    let mut profiles = BTreeMap::new();
    for fault in &scenario.faults {
        if let FaultKind::ProfileChange { to, .. } = fault.kind {
            profiles.entry(to).or_insert_with(|| network.add_profile(link_profile(to)));
        }
    }
    profiles
}

/// Sends that have no answer yet.
fn unanswered(fleet: &SimulatedFleet) -> u64 {
    let totals = fleet.totals();
    totals.sent - totals.acked - totals.refused
}
