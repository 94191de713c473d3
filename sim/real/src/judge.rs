//! Puts what the stations tell into one order, judges it, and measures it.
//!
//! **Invariant:** what is judged is in order of its times: something is taken only when every station has told all that it has up to
//! then.

use crate::clock::Clock;
use crate::conclude::conclude;
use crate::honesty::{Usage, process_time, socket_memory, thread_time, usage, yield_to_others};
use crate::options::{LoadError, LoadOptions, Plan};
use crate::read_back::ReadBack;
use crate::station::{Batch, End, Item, Station};
use crate::target::sources;
use rustc_hash::FxHashMap;
use squall_checks::{Checks, Config, PresenceConfig};
use squall_core::Time;
use squall_generators::{FleetTotals, Latency, Who};
use squall_history::{Entity, Event, Filter, Kind, Recorder};
use squall_outcome::{Latencies, Progress};
use squall_protocol::{ClientMsgId, DeviceId, UserId, limits};
use squall_reports::series::Sample;
use squall_reports::{Histogram, RunRecord};
use squall_scenarios::{FaultKind, Measure, Scenario};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Batches that may wait for the judge, of some 2,000 events each: at 500,000 events a second those of eight seconds, in less than a gigabyte. Stations wait
/// when there are more, and say that they are late.
const WAITING: usize = 2_048;
/// Judging has what the machine's cores have left, so that it takes nothing from what is measured; it has time after the load.
const JUDGES_NICENESS: i32 = 15;
/// Connections from one address, out of the 28,000 ports that Linux gives: the fuller they are, the longer the kernel looks for a free one, and
/// one that was closed is not free for a minute.
pub const FROM_ONE_ADDRESS: u64 = 4_000;
/// How long everybody may fail to connect before the run is given up.
const NOBODY_AFTER: Duration = Duration::from_secs(15);
/// Between two looks at the server's processes and the screen.
const SECOND_US: u64 = 1_000_000;

/// Everything that is learnt while a run goes on.
pub struct Judge {
    pub checks: Checks,
    pub latencies: Latencies,
    /// How late sends left for their time.
    pub late: Histogram,
    /// What fresh devices have read.
    pub read: ReadBack,
    /// First members of conversations, by the message that created each.
    pub founded: FxHashMap<ClientMsgId, Vec<UserId>>,
    recorder: Option<Recorder>,
    pub history_error: Option<io::Error>,
    sent_at: FxHashMap<ClientMsgId, u64>,
    meant: FxHashMap<ClientMsgId, u64>,
    away: FxHashMap<ClientMsgId, u64>,
    first_fresh: DeviceId,
    seconds: u64,
    pub totals: FleetTotals,
    /// When each phase began, and how many frames there had been.
    pub phases: Vec<(&'static str, Time, u64)>,
    /// CPU time of judging.
    pub cpu: Duration,
    /// CPU time of the process before it began.
    cpu_before: Duration,
    server_began: Usage,
    pub server: Usage,
    pub server_peak_rss: u64,
    servers: Vec<u32>,
    backlog: u64,
    /// No device was welcomed, and the run was given up; whether there were connections at all.
    nobody_came: Option<bool>,
    /// Devices are told how far others have come, and who is online.
    pub people_read: bool,
    people_watch: bool,
    /// One shard of several leaves that to whoever has all of them.
    judges: bool,
    /// When the run began by this machine's clock, in ms since the Unix epoch.
    pub began_at_ms: f64,
    /// By how much the server's clock is ahead of it, in ms, and how far that may be off.
    pub clock: Option<(f64, f64)>,
}

/// Runs a scenario against a server, and judges it.
pub fn run(scenario: &Scenario, mut options: LoadOptions) -> Result<RunRecord, LoadError> {
    let mut scenario = scenario.clone();
    scenario.topology.gateways = options.targets.len() as u32;
    let sources = sources(&options.targets, 2 * options.connections, FROM_ONE_ADDRESS);
    let threads = options.threads.max(1);
    let bound = scenario.phases.liveness_bound.map_or(limits::liveness_bound(), |bound| bound.as_duration());
    let readers = (options.connections / u64::from(threads) / 4).clamp(8, 1_000);
    let plan = Arc::new(Plan {
        targets: options.targets.clone().into(),
        sources: sources.into(),
        tls: options.tls.clone(),
        with_profiles: options.with_profiles,
        bound,
        readers: readers as usize,
        scenario,
    });
    let (clock, began_at_ms) = Clock::starting_at(options.begins_at_ms);
    let (tell, told) = sync_channel(WAITING);
    let mut stations = Vec::new();
    for number in 0..threads {
        let who = Who {
            seed: options.seed,
            run: options.run,
            part: options.part.split(number, threads),
            first_device: 1,
            tokens: Arc::clone(&options.tokens),
        };
        let (plan, tell, stop) = (Arc::clone(&plan), tell.clone(), Arc::clone(&options.stop));
        let (ready, is_ready) = sync_channel(1);
        let station = std::thread::Builder::new().name(format!("station-{number}")).stack_size(16 << 20).spawn(
            move || match Station::new(number as usize, plan, who, clock, tell, stop) {
                Ok(station) => {
                    let _ = ready.send(Ok(()));
                    station.run();
                }
                Err(error) => drop(ready.send(Err(error))),
            },
        )?;
        is_ready.recv().map_err(|_| io::Error::other("a station has died"))??;
        stations.push(station);
    }
    drop(tell);
    let mut judge = Judge::new(&plan.scenario, &options)?;
    judge.began_at_ms = began_at_ms;
    let ends = judge.listen(&told, threads as usize, clock, &plan, &mut options);
    for station in stations {
        if let Err(panic) = station.join() {
            std::panic::resume_unwind(panic);
        }
    }
    if let Some(reached) = judge.nobody_came {
        let urls: Vec<&str> = options.targets.iter().map(|target| target.url.as_str()).collect();
        let urls = urls.join(", ");
        return Err(if reached { LoadError::Unwelcome(urls) } else { LoadError::Nobody(urls) });
    }
    conclude(judge, ends, &plan, options, clock.now())
}

impl Judge {
    pub fn new(scenario: &Scenario, options: &LoadOptions) -> Result<Self, LoadError> {
        // Host 0 is the server as a whole, of which nothing is known; gateways follow, for devices know them apart.
        let gateways = options.targets.len() as u16;
        let names = std::iter::once("server".to_owned());
        let hosts: Vec<String> = names.chain(options.targets.iter().map(|target| target.url.clone())).collect();
        let heartbeat = scenario.workload.heartbeat_interval.as_duration();
        let mut checks = Checks::new(Config {
            shards: vec![0],
            gateways: (1..=gateways).collect(),
            registries: vec![0],
            buses: vec![0],
            noticed_us: (heartbeat + limits::ANSWER_LIMIT).as_micros() as u64,
            last_mile_us: if options.with_profiles { longest_delay(scenario) } else { 0 },
            channel_above: scenario.limits.channel_above,
            // From how many members on a group is told of in another way is the server's own setting.
            named_up_to: u32::MAX,
            without_disks: true,
            // Whom it may tell of whom is known here; how long that takes is a matter of hosts and links of which nothing is.
            presence: (scenario.presence.watches > 0).then(|| PresenceConfig {
                hosts: vec![0],
                ttl_us: scenario.presence.ttl.as_micros(),
                grace_us: scenario.presence.grace.as_micros(),
                is_timely: false,
            }),
            ..Config::default()
        });
        let exposed = scenario.faults.iter().flat_map(|fault| fault.must_expose(&scenario.topology)).copied();
        let mut exposed: Vec<&str> = exposed.collect();
        exposed.sort_unstable();
        exposed.dedup();
        checks.require_exposure(&exposed);
        let recorder = match &options.history {
            Some(path) => {
                Some(Recorder::create(path, hosts, Filter::default()).map_err(|source| LoadError::History {
                    path: path.clone(),
                    source,
                    ended: None,
                })?)
            }
            None => None,
        };
        let population =
            squall_generators::Population::new(&scenario.population, options.seed).of_run(options.run);
        Ok(Judge {
            checks,
            latencies: Latencies::new(),
            late: Histogram::new(),
            read: ReadBack::default(),
            founded: FxHashMap::default(),
            recorder,
            history_error: None,
            sent_at: FxHashMap::default(),
            meant: FxHashMap::default(),
            away: FxHashMap::default(),
            first_fresh: population.with_devices_from(u64::from(crate::station::FIRST_FRESH) + 1).device(0),
            seconds: 0,
            totals: FleetTotals::default(),
            phases: Vec::new(),
            cpu: Duration::ZERO,
            cpu_before: process_time(),
            server_began: look_at(&options.servers),
            server: Usage::default(),
            server_peak_rss: 0,
            servers: options.servers.clone(),
            backlog: 0,
            nobody_came: None,
            people_read: scenario.receipts.are_kept(),
            people_watch: scenario.presence.watches > 0,
            judges: options.part.of == 1,
            began_at_ms: 0.0,
            clock: None,
        })
    }

    /// Takes everything until all stations have ended.
    fn listen(
        &mut self,
        told: &Receiver<Batch>,
        stations: usize,
        clock: Clock,
        plan: &Plan,
        options: &mut LoadOptions,
    ) -> Vec<End> {
        let mut queues: Vec<VecDeque<Item>> = (0..stations).map(|_| VecDeque::new()).collect();
        let mut until = vec![Time::ZERO; stations];
        let mut totals = vec![FleetTotals::default(); stations];
        let mut reached = vec![0; stations];
        let (mut phases, mut since) = (vec!["ramp"; stations], vec![Time::ZERO; stations]);
        let mut ends: Vec<Option<End>> = (0..stations).map(|_| None).collect();
        yield_to_others(JUDGES_NICENESS);
        let cpu_before = thread_time();
        let mut phase = "";
        let mut shown_at = Time::ZERO;
        loop {
            match told.recv_timeout(Duration::from_millis(100)) {
                Ok(batch) => {
                    let station = batch.station;
                    queues[station].extend(batch.items);
                    until[station] = batch.until;
                    totals[station] = batch.totals;
                    reached[station] = batch.reached;
                    (phases[station], since[station]) = (batch.phase, batch.since);
                    if let Some(end) = batch.end {
                        until[station] = Time::NEVER;
                        ends[station] = Some(*end);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.totals = sum(&totals);
            // A phase of the run is what the slowest station is in.
            let order = ["ramp", "load", "quiet", "audit"];
            let now_in = order.into_iter().find(|name| phases.contains(name)).unwrap_or("audit");
            let ripe = until.iter().min().copied().unwrap_or(Time::ZERO);
            if phase != now_in {
                phase = now_in;
                let there = phases.iter().zip(&since).filter(|(name, _)| **name == phase);
                let at = there.map(|(_, since)| *since).max().unwrap_or(Time::ZERO).min(ripe);
                // What was before it is told before it: whoever merges shards takes each in its order.
                self.judge_up_to(at, &mut queues);
                self.phases.push((phase, at, self.totals.frames));
                self.event(&Event { t: at.0, at: Entity::World, kind: Kind::Phase { name: phase } });
            }
            self.judge_up_to(ripe, &mut queues);
            let now = clock.now();
            if now.since(shown_at) >= Duration::from_millis(100) {
                shown_at = now;
                self.show(phase, now, plan, options);
                let began = Time::ZERO + plan.scenario.phases.ramp.as_duration() / 2;
                if self.totals.connects == 0 && now > began + NOBODY_AFTER && !is_stopped(options) {
                    self.nobody_came = Some(reached.iter().any(|reached| *reached > 0));
                    options.stop.store(true, Ordering::Relaxed);
                }
            }
        }
        self.judge_up_to(Time::NEVER, &mut queues);
        self.cpu = thread_time().saturating_sub(cpu_before);
        ends.into_iter().flatten().collect()
    }

    fn judge_up_to(&mut self, ripe: Time, queues: &mut [VecDeque<Item>]) {
        loop {
            let first = |queue: &VecDeque<Item>| queue.front().map(Item::at).filter(|at| *at <= ripe.0);
            let next =
                queues.iter().enumerate().filter_map(|(station, queue)| Some((first(queue)?, station))).min();
            let Some((at, station)) = next else { break };
            while self.seconds < at / SECOND_US {
                self.end_second();
            }
            if let Some(item) = queues[station].pop_front() {
                self.take(item);
            }
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Event(event) => self.event(&event),
            Item::Latency(_, latency) => self.latency(latency),
            Item::Away(_, message, us) => {
                if let Some(sent) = self.sent_at.get_mut(&message) {
                    *sent += us;
                }
                *self.away.entry(message).or_default() += us;
            }
            Item::NoSample(_, message) => drop(self.sent_at.remove(&message)),
            Item::Meant(_, message, us) => drop(self.meant.insert(message, us)),
        }
    }

    pub fn event(&mut self, event: &Event) {
        match &event.kind {
            Kind::Send { client_msg_id, members, .. } => {
                let late = self.meant.remove(client_msg_id).unwrap_or(0);
                self.late.record_us(late);
                self.sent_at.insert(*client_msg_id, event.t - late.min(event.t));
                if !members.is_empty() {
                    self.founded.insert(*client_msg_id, members.clone());
                }
            }
            Kind::Sent { client_msg_id, stored_at_ms, .. } => {
                if let Some(sent) = self.sent_at.remove(client_msg_id) {
                    self.compare_clocks(sent, event.t, *stored_at_ms);
                    self.latencies.record(Measure::SendToAck, event.t.saturating_sub(sent));
                }
            }
            Kind::Refused { client_msg_id, .. } => drop(self.sent_at.remove(client_msg_id)),
            _ => {}
        }
        if let Entity::Device(device) = event.at
            && self.is_fresh(device)
        {
            self.read.observe(device, event);
        }
        if self.judges {
            self.checks.observe(event);
        }
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.record(event)
        {
            self.history_error = Some(error);
            self.recorder = None;
        }
    }

    /// An ack says what the server's clock showed between two times of ours: the shorter that was, the better is known how they differ.
    fn compare_clocks(&mut self, sent: u64, acked: u64, stored_at_ms: u64) {
        let half_ms = acked.saturating_sub(sent) as f64 / 2_000.0;
        // The stamp is cut to a whole millisecond.
        let error = half_ms + 1.0;
        if self.clock.is_none_or(|(_, before)| error < before) {
            let ours = self.began_at_ms + sent as f64 / 1_000.0 + half_ms;
            self.clock = Some((stored_at_ms as f64 - ours, error));
        }
    }

    fn is_fresh(&self, device: DeviceId) -> bool {
        let place = device.0.wrapping_sub(self.first_fresh.0);
        // Above them are those who attack.
        place < u64::from(squall_generators::insiders::FIRST_INSIDER - crate::station::FIRST_FRESH)
    }

    fn latency(&mut self, latency: Latency) {
        match latency {
            Latency::SendToDeliver(delivered) => {
                let away = if delivered.is_from_elsewhere { self.away.get(&delivered.message) } else { None };
                let took = delivered.took_us.saturating_sub(away.copied().unwrap_or(0));
                self.latencies.record(Measure::SendToDeliver, took);
            }
            Latency::Reconnect(us) => self.latencies.record(Measure::Reconnect, us),
            Latency::ReconnectByChoice(us) => self.latencies.record(Measure::ReconnectByChoice, us),
            Latency::AllBack(us) => self.latencies.record(Measure::AllBack, us),
        }
    }

    fn end_second(&mut self) {
        self.seconds += 1;
        self.backlog = self.checks.owed_to_absent();
        let totals = &self.totals;
        let mut levels = vec![("connected", totals.online), ("backlog", self.backlog)];
        let mut counts = vec![
            ("connects", totals.connects),
            ("reconnects", totals.reconnects),
            ("sends", totals.sent),
            ("acks", totals.acked),
            ("refusals", totals.refused),
            ("resends", totals.resent),
            ("deliveries", totals.delivered),
            ("displays", totals.displayed),
            ("typing_said", totals.typed),
            ("typing_told", totals.typing_shown),
            ("generator_cpu_us", process_time().saturating_sub(self.cpu_before).as_micros() as u64),
        ];
        if self.people_read {
            counts.extend([("reads", totals.reads), ("receipts_told", totals.receipts)]);
        }
        if self.people_watch {
            counts.extend([("presence_changes_told", totals.presences), ("watches", totals.watches)]);
        }
        if !self.servers.is_empty() {
            let used = look_at(&self.servers);
            self.server_peak_rss = self.server_peak_rss.max(used.rss_bytes);
            self.server = Usage { cpu_us: used.cpu_us.saturating_sub(self.server_began.cpu_us), ..used };
            levels.push(("server_rss_bytes", used.rss_bytes));
            counts.push(("server_cpu_us", self.server.cpu_us));
            levels.extend(socket_memory().map(|bytes| ("socket_memory_bytes", bytes)));
        }
        self.latencies.end_second(Sample { levels, totals: counts, memory_bytes: BTreeMap::new() });
    }

    fn show(&self, phase: &'static str, now: Time, plan: &Plan, options: &mut LoadOptions) {
        let phases = &plan.scenario.phases;
        let total = phases.ramp.as_duration() + phases.load.as_duration() + plan.bound;
        let progress = Progress {
            phase,
            simulated: Duration::from_micros(now.0),
            total,
            wall: Duration::from_micros(now.0),
            connected: self.totals.online,
            clients: u64::from(plan.scenario.population.devices()),
            displayed: self.totals.displayed,
        };
        if let Some(on_progress) = &mut options.on_progress {
            on_progress(&progress);
        }
    }

    /// Closes the history file.
    pub fn finish_history(&mut self) -> io::Result<()> {
        if let Some(error) = self.history_error.take() {
            return Err(error);
        }
        self.recorder.take().map_or(Ok(()), |recorder| recorder.finish().map(|_| ()))
    }
}

/// Whether somebody asked the run to end early.
pub fn is_stopped(options: &LoadOptions) -> bool {
    options.stop.load(Ordering::Relaxed)
}

fn look_at(servers: &[u32]) -> Usage {
    servers.iter().filter_map(|pid| usage(*pid)).fold(Usage::default(), |all, one| Usage {
        cpu_us: all.cpu_us + one.cpu_us,
        rss_bytes: all.rss_bytes + one.rss_bytes,
    })
}

fn longest_delay(scenario: &Scenario) -> u64 {
    let changes = scenario.faults.iter().filter_map(|fault| match fault.kind {
        FaultKind::ProfileChange { to, .. } => Some(to),
        _ => None,
    });
    let profiles = scenario.network.last_mile.keys().copied().chain(changes);
    let named = profiles.filter_map(|profile| squall_network::Profile::named(profile.name()));
    named.map(|profile| profile.longest_delay()).max().unwrap_or(0)
}

fn sum(totals: &[FleetTotals]) -> FleetTotals {
    totals.iter().fold(FleetTotals::default(), |all, one| FleetTotals {
        online: all.online + one.online,
        online_peak: all.online_peak + one.online_peak,
        connects: all.connects + one.connects,
        reconnects: all.reconnects + one.reconnects,
        sent: all.sent + one.sent,
        acked: all.acked + one.acked,
        refused: all.refused + one.refused,
        resent: all.resent + one.resent,
        delivered: all.delivered + one.delivered,
        displayed: all.displayed + one.displayed,
        discarded: all.discarded + one.discarded,
        synced: all.synced + one.synced,
        frames: all.frames + one.frames,
        reads: all.reads + one.reads,
        receipts: all.receipts + one.receipts,
        refreshes: all.refreshes + one.refreshes,
        tokens_refused: all.tokens_refused + one.tokens_refused,
        typed: all.typed + one.typed,
        typing_shown: all.typing_shown + one.typing_shown,
        presences: all.presences + one.presences,
        watches: all.watches + one.watches,
    })
}
