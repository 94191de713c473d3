//! Builds the world of a run: network, hosts with their disks, threads, the fleet, the nemesis, the checks.

use super::observatory::{Listening, Observatory};
use super::options::{RunError, RunOptions};
use super::world::World;
use crate::disk::{Disk, DiskConfig};
use crate::hosts::backbone::{INTERNAL_PORT, SimulatedConnector};
use crate::hosts::bill::Bill;
use crate::hosts::boot::{Common, EPOCH_US};
use crate::hosts::commits::Committer;
use crate::hosts::group::{Group, GroupThread};
use crate::hosts::hops::{Followed, Voice};
use crate::hosts::machine::Machine;
use crate::hosts::mailbox::SharedMailbox;
use crate::hosts::points::ArmedPoints;
use crate::hosts::probe::Probe;
use crate::hosts::threads;
use crate::last_mile::{SimulatedLastMile, Site};
use crate::memory::accounts::{Account, Peak};
use crate::nemesis::{Nemesis, Place, Sites};
use squall_checks::{Allowance, Checks, Config, Limits, PresenceConfig};
use squall_core::Time;
use squall_core::presence::PresenceTimes;
use squall_core::rate::{Rate, UserLimits};
use squall_generators::client_faults::SharedClientFaults;
use squall_generators::places::Places;
use squall_generators::rng::key;
use squall_generators::{Backend, Fleet, Insiders, Liars, Who};
use squall_history::Recorder;
use squall_network::{HostId, Network, Profile as LinkProfile, ProfileId};
use squall_protocol::cluster_secret::ClusterSecret;
use squall_protocol::token::{Issuer, KeySet, Material};
use squall_protocol::{Role, limits};
use squall_runtime::Marks;
use squall_runtime::interpose::SimulatedClock;
use squall_scenarios::{Backbone, FaultKind, Profile, Scenario, Target};
use squall_server::Cluster;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

/// A power cut loses most of what was not synced, keeps some of it, and may tear a block.
const DISK: DiskConfig =
    DiskConfig { capacity_bytes: 64 << 30, sector_bytes: 512, survive_share: 0.2, tear: true };

fn link_profile(profile: Profile) -> LinkProfile {
    LinkProfile::named(profile.name()).expect("the network knows every profile of a scenario")
}

/// What everything that the network draws follows from, and nothing else.
fn network_key(seed: u64, salt: u64) -> u64 {
    match salt {
        0 => key(seed, "network"),
        salt => key(seed, &format!("network salt {salt}")),
    }
}

impl<'a> World<'a> {
    pub(crate) fn build(scenario: &'a Scenario, mut options: RunOptions) -> Result<Self, RunError> {
        #[expect(clippy::disallowed_methods, reason = "wall time is shown to the user and enters no run")]
        let started = Instant::now();
        let seed = options.seed;
        let network = Network::new(network_key(seed, options.salt));
        let clock = SimulatedClock::default();
        let now_cell = Arc::new(AtomicU64::new(0));
        let targets = scenario.faults.iter().flat_map(|fault| fault.kind.targets());
        let asks_for_busiest = targets.into_iter().any(|(_, targets)| targets.contains(Target::BusiestShard));
        let mailbox = SharedMailbox::new(options.history.is_some() || options.follow, asks_for_busiest);
        let (armed, client_faults) = (ArmedPoints::default(), SharedClientFaults::default());
        let followed = options.follow.then(|| Followed::new(options.filter.clone()));
        let names = scenario.host_names();
        let hosts: Vec<HostId> = names.iter().map(|name| network.add_host(name.clone())).collect();
        let backbone = network.add_profile(link_profile(scenario.network.data_centre));
        let turmoil = scenario.network.backbone == Backbone::Turmoil;
        let clients = scenario.population.devices();
        let common = Common {
            cluster: cluster(scenario),
            keys: keys(seed).into(),
            cluster_secret: ClusterSecret::new(key(seed, "cluster secret").to_le_bytes()),
            limits: user_limits(scenario),
            commit_latency: scenario.topology.commit_latency.as_duration(),
            tick: scenario.tick.0.as_duration(),
            every_tick: options.every_tick,
            seed,
            clock: clock.clone(),
            connector: (!turmoil).then(|| connector(&network, backbone, &names, &hosts)),
            committer: Arc::new(Committer::for_clients(clients)),
            failures: Arc::default(),
        };
        let wanted = options.threads.unwrap_or_else(|| threads::threads_for(clients)).min(names.len()).max(1);
        let threads: Vec<Rc<GroupThread>> = (1..wanted)
            .filter(|_| !turmoil)
            .map(|number| GroupThread::start(number, key(seed, "world")))
            .collect();
        let named = scenario.hosts();
        let places = threads::spread(&named, threads.len() + 1);
        let mut groups = Vec::new();
        let mut machines = Vec::new();
        let marks = Marks::default();
        if turmoil {
            groups.push(Group::on_turmoil(&common, &marks));
        }
        for (index, (name, host)) in names.iter().zip(&hosts).enumerate() {
            let named = named[index];
            let disk = named.role.has_disk().then(|| Disk::new(key(seed, &format!("disk {name}")), DISK));
            let probe = Arc::new(Probe {
                index: index as u16,
                host: *host,
                network: network.clone(),
                disk,
                mailbox: mailbox.clone(),
                armed: armed.clone(),
                client_faults: client_faults.clone(),
                alive: AtomicBool::new(true),
                blocks_lost: AtomicU64::new(0),
                unheard: Default::default(),
                now: Arc::clone(&now_cell),
                bill: scenario.costs.as_ref().map(Bill::new),
                stop: Default::default(),
                inspect: Default::default(),
                voice: followed.clone().map(Voice::new),
            });
            if let Some(disk) = &probe.disk {
                let probe = Arc::downgrade(&probe);
                disk.set_on_power_cut(move || {
                    if let Some(probe) = probe.upgrade() {
                        probe.lose_power_mid_commit();
                    }
                });
            }
            if turmoil {
                groups[0].turmoil().expect("the group of all hosts").add(named, &probe, &common);
            } else {
                // The first thread is this one.
                let thread = places[index].checked_sub(1).map(|thread| &threads[thread]);
                groups.push(Group::of_host(&common, &marks, named, &probe, thread));
            }
            machines.push(Machine::new(name.clone(), named, probe));
        }
        let places = Places::new(&scenario.network, seed);
        let sites = sites(&places, &network);
        let site_names = sites.iter().map(|site| network.host_name(site.host)).collect();
        let load = scenario.phases.ramp.as_micros();
        let nemesis = Nemesis::new(scenario, seed, load);
        let profiles = profiles_of_faults(scenario, &network);
        let nemesis_sites = Sites { places: places_of(scenario, &sites), profiles: profiles.clone() };
        let last_mile = SimulatedLastMile {
            network: network.clone(),
            gateways: hosts[..scenario.topology.gateways as usize].to_vec(),
            sites,
            places,
            profiles,
            faults: client_faults.clone(),
        };
        let charged = Account::Fleet.enter();
        let who = Who::everybody(seed, Arc::new(backend(seed, scenario)));
        let (liars, insiders) = (Liars::new(scenario, &who), Insiders::new(scenario, &who));
        let fleet = Fleet::new(last_mile, client_faults.clone(), scenario, who);
        drop(charged);
        let mut checks = Checks::new(judged(scenario, &machines));
        checks.require_exposure(&nemesis.exposes(scenario));
        let recorder = match &options.history {
            Some(path) => Some(
                Recorder::create(path, names.clone(), options.filter.clone())
                    .map_err(|source| RunError::History { path: path.clone(), source, ended: None })?,
            ),
            None => None,
        };
        let listening = Listening { followed, on_event: options.on_event.take() };
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
            threads,
            mailbox,
            armed,
            client_faults,
            fleet,
            liars,
            insiders,
            nemesis,
            nemesis_sites,
            observatory: Observatory::new(checks, recorder, names, listening),
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
            slowed: Vec::new(),
            digest: 0,
            stopped: false,
            peak: Peak::default(),
        })
    }
}

/// Under which tokens are made: a secret, by its id. Beside it the server has a pair of keys, with which nobody is issued anything.
const SECRET: &str = "secret";
const PAIR: &str = "pair";

fn secret(seed: u64) -> [u8; 32] {
    std::array::from_fn(|n| key(seed, &format!("token secret {n}")) as u8)
}

fn pair(seed: u64) -> [u8; 32] {
    std::array::from_fn(|n| key(seed, &format!("token pair {n}")) as u8)
}

fn keys(seed: u64) -> KeySet {
    KeySet::of(&[(SECRET, Material::Secret(&secret(seed))), (PAIR, Material::Pair(pair(seed)))])
}

/// The app's backend, whose clock is right.
fn backend(seed: u64, scenario: &Scenario) -> Backend {
    let issuer = Issuer::of(SECRET, Material::Secret(&secret(seed)));
    let backend = Backend::new(issuer, EPOCH_US / 1_000_000, scenario.tokens.lifetime.as_duration());
    backend.beside_pair(PAIR, pair(seed)).away(backend_away(scenario))
}

/// When the app's backend is out of reach, in time of the run.
fn backend_away(scenario: &Scenario) -> Range<Time> {
    let (load, end) =
        (scenario.phases.ramp.as_micros(), (scenario.phases.ramp + scenario.phases.load).as_micros());
    let from = load + scenario.tokens.away_from.as_micros();
    Time(from)..Time((from + scenario.tokens.away_for.as_micros()).min(end))
}

/// What the checks need to know of the world.
fn judged(scenario: &Scenario, machines: &[Machine]) -> Config {
    let of = |roles: &[Role]| {
        let hosts = machines.iter().enumerate().filter(|(_, machine)| roles.contains(&machine.host.role));
        hosts.map(|(index, _)| index as u16).collect()
    };
    let changes = scenario.faults.iter().filter_map(|fault| match fault.kind {
        FaultKind::ProfileChange { to, .. } => Some(to),
        _ => None,
    });
    let profiles = scenario.network.last_mile.keys().copied().chain(changes).map(link_profile);
    let touches_clocks = |kind: &FaultKind| matches!(kind, FaultKind::Clock { .. } | FaultKind::Pause { .. });
    let clocks_hold = scenario.costs.is_none() && !scenario.faults.iter().any(|fault| touches_clocks(&fault.kind));
    let heartbeat = scenario.workload.heartbeat_interval.as_duration();
    Config {
        shards: of(&[Role::Messages]),
        gateways: of(&[Role::Gateway]),
        registries: of(&[Role::Registry]),
        buses: of(&[Role::Bus]),
        noticed_us: (heartbeat + limits::ANSWER_LIMIT).as_micros() as u64,
        limits: allowed(scenario),
        channel_above: scenario.limits.channel_above,
        presence: (scenario.presence.watches > 0).then(|| PresenceConfig {
            hosts: of(&[Role::Presence]),
            ttl_us: scenario.presence.ttl.as_micros(),
            grace_us: scenario.presence.grace.as_micros(),
            is_timely: undisturbed_us(scenario).is_some(),
        }),
        named_up_to: scenario.limits.receipts_named_up_to,
        without_disks: false,
        all_are_named: largest_group(scenario)
            <= scenario.limits.receipts_named_up_to.min(scenario.limits.channel_above),
        epoch_ms: if clocks_hold { EPOCH_US / 1_000 } else { 0 },
        undisturbed_us: undisturbed_us(scenario),
        typing_us: typing_us(scenario),
        no_tokens_us: Some(backend_away(scenario))
            .filter(|away| !away.is_empty())
            .map(|away| away.start.0..away.end.0),
        last_mile_us: profiles.map(|profile| profile.longest_delay()).max().unwrap_or(0),
    }
}

/// More than ever are in a group as guests.
const GUESTS: u32 = 8;

/// The most members that a group may come to have: those with whom it begins, and guests.
fn largest_group(scenario: &Scenario) -> u32 {
    let population = &scenario.population;
    let drawn = if population.groups > 0 { population.group_size_max } else { 0 };
    population.giants.iter().map(|giant| giant.members).fold(drawn, u32::max).saturating_add(GUESTS)
}

/// How often what is shown at last has crossed the data centre at most: a look-up made again, a publication, heads and a page.
const HOPS: u64 = 16;

/// What an entry may take whose way nothing has touched, in µs: nothing is said of it where work costs time, where people are not
/// read for a while because they have said too much, and of turmoil's TCP, whose latencies are its own.
fn undisturbed_us(scenario: &Scenario) -> Option<u64> {
    let limits = &scenario.limits;
    let reads = (limits.frames_per_second, limits.frames_burst);
    let is_read = reads.0 >= limits::USER_FRAMES.0 && reads.1 >= limits::USER_FRAMES.1;
    if scenario.costs.is_some() || scenario.network.backbone == Backbone::Turmoil || !is_read {
        return None;
    }
    let latency = link_profile(scenario.network.data_centre).latency;
    let crossing = scenario.tick.0.as_micros() + latency.base + latency.jitter_cap;
    Some(limits::undisturbed_bound().as_micros() as u64 + HOPS * crossing)
}

/// What somebody says of their writing may take until it is shown, in µs: a look-up behind another one and two crossings of the last mile, a
/// few times over; nothing is said of turmoil's TCP.
fn typing_us(scenario: &Scenario) -> Option<u64> {
    let is_judged = scenario.typing.is_said() && scenario.network.backbone != Backbone::Turmoil;
    is_judged.then_some((limits::NOTICE_STALE_AFTER + 5 * limits::UNDISTURBED_CROSSING).as_micros() as u64)
}

/// What one user may do.
fn allowed(scenario: &Scenario) -> Limits {
    let of = |per_second, at_once| Allowance { per_second, at_once };
    let l = &scenario.limits;
    Limits {
        sends: of(l.sends_per_second, l.sends_burst),
        growth: [
            of(l.creations_per_second, l.creations_burst),
            of(l.additions_per_second, l.additions_burst),
            of(l.changes_per_second, l.changes_burst),
        ],
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
fn sites(places: &Places, network: &Network) -> Vec<Site> {
    let site = |profile| {
        let link = link_profile(profile);
        let host = network.add_host(format!("clients-{}", link.name));
        Site { host, profile: network.add_profile(link) }
    };
    places.profiles().map(site).collect()
}

/// The sites of the last-mile profiles, as the nemesis needs them.
fn places_of(scenario: &Scenario, sites: &[Site]) -> Vec<Place> {
    let places = scenario.network.last_mile.keys().zip(sites);
    places.map(|(profile, site)| Place { host: site.host, profile: *profile, link: site.profile }).collect()
}

/// The network's profiles that faults put devices on, by the scenario's.
fn profiles_of_faults(scenario: &Scenario, network: &Network) -> BTreeMap<Profile, ProfileId> {
    let mut profiles = BTreeMap::new();
    for fault in &scenario.faults {
        if let FaultKind::ProfileChange { to, .. } = fault.kind {
            profiles.entry(to).or_insert_with(|| network.add_profile(link_profile(to)));
        }
    }
    profiles
}

/// The limits of a scenario, as the server takes them.
fn user_limits(scenario: &Scenario) -> UserLimits {
    let (limits, presence) = (&scenario.limits, &scenario.presence);
    let rate = |per_second, burst| Rate { per_second, burst };
    UserLimits {
        frames: rate(limits.frames_per_second, limits.frames_burst),
        sends: rate(limits.sends_per_second, limits.sends_burst),
        creations: rate(limits.creations_per_second, limits.creations_burst),
        additions: rate(limits.additions_per_second, limits.additions_burst),
        changes: rate(limits.changes_per_second, limits.changes_burst),
        channel_above: limits.channel_above,
        tells_receipts: scenario.receipts.are_kept(),
        receipts_named_up_to: limits.receipts_named_up_to,
        presence: PresenceTimes { ttl: presence.ttl.as_duration(), grace: presence.grace.as_duration() },
    }
}
