//! A thread with a part of the people: their fleet, its sockets, and the phases of the run.

use crate::audit::Audit;
use crate::clock::Clock;
use crate::faults::{Faults, Stage};
use crate::honesty::thread_time;
use crate::options::Plan;
use crate::sockets::{Conn, Delays, Mile, Sockets, Told};
use mio::Events;
use squall_core::Time;
use squall_generators::client_faults::SharedClientFaults;
use squall_generators::insiders::FIRST_INSIDER;
use squall_generators::liars::FIRST_LIAR;
use squall_generators::rng::{Stream, key, unit};
use squall_generators::{Corner, Fleet, FleetTotals, Insiders, Latency, Liars, Sink, Who};
use squall_history::Event;
use squall_protocol::ids::mix;
use squall_protocol::{ClientMsgId, DeviceId, UserId};
use squall_reports::FaultRecord;
use squall_scenarios::FaultKind;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// The number of the first fresh device among the clients of a station: above those of the population, below those who attack.
pub const FIRST_FRESH: u32 = 0x8000_0000;
/// The longest sleep: so old may what the judge knows be.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// Items that are handed to the judge together, at least, unless they have waited for [`LONGEST_WAIT`]: to wake the judge costs more than what it is
/// then told.
const BATCH: usize = 2_048;
/// An audit that reads nothing for so long has read what there is, and however slowly it reads, it ends after so long.
const AUDIT_PATIENCE: Duration = Duration::from_secs(10);
const AUDIT_LIMIT: Duration = Duration::from_secs(600);
/// Between two looks whether all is settled.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a station tells the judge, in order of its times.
#[derive(Debug)]
pub enum Item {
    Event(Event),
    Latency(Time, Latency),
    Away(Time, ClientMsgId, u64),
    NoSample(Time, ClientMsgId),
    Meant(Time, ClientMsgId, u64),
}

impl Item {
    pub fn at(&self) -> u64 {
        match self {
            Item::Event(event) => event.t,
            Item::Latency(at, _) | Item::Away(at, ..) | Item::NoSample(at, _) | Item::Meant(at, ..) => at.0,
        }
    }
}

/// What happened since the last batch; nothing that happens later has an earlier time than `until`.
pub struct Batch {
    pub station: usize,
    pub items: Vec<Item>,
    pub until: Time,
    pub totals: FleetTotals,
    /// Connections that were there, whether or not anybody was welcomed.
    pub reached: u64,
    pub phase: &'static str,
    /// When that phase began here.
    pub since: Time,
    pub end: Option<Box<End>>,
}

/// What a station leaves.
pub struct End {
    pub corners: Vec<(&'static str, u64)>,
    pub gateways: Vec<u64>,
    pub faults: Vec<FaultRecord>,
    pub lies: u64,
    /// Every device with its user, and whether everything is owed to it.
    pub devices: Vec<(DeviceId, UserId, bool)>,
    /// Users whose log could not be read to its end.
    pub unread: u64,
    pub failed_opens: u64,
    pub wire_bytes: u64,
    /// When each phase began here, and what had been done by then; the last is the end.
    pub phases: Vec<Began>,
    pub error: Option<io::Error>,
}

/// What a station had done when a phase began.
#[derive(Debug, Clone, Copy)]
pub struct Began {
    pub phase: &'static str,
    /// CPU time of the thread.
    pub cpu: Duration,
    pub totals: FleetTotals,
    /// Bytes of the rows of people, their conversations, timers and sockets.
    pub bytes: u64,
}

/// Takes what fleets tell, and knows the time.
pub trait Feed: Sink {
    fn clock(&self) -> Clock;
}

/// The sink of a station: what happens goes to the judge in batches.
pub struct Outbox {
    items: Vec<Item>,
    clock: Clock,
    now: Rc<Cell<Time>>,
}

impl Sink for Outbox {
    fn event(&mut self, event: Event) {
        self.items.push(Item::Event(event));
    }

    fn latency(&mut self, latency: Latency) {
        self.items.push(Item::Latency(self.now.get(), latency));
    }

    fn was_away(&mut self, message: ClientMsgId, us: u64) {
        self.items.push(Item::Away(self.now.get(), message, us));
    }

    fn is_no_sample(&mut self, message: ClientMsgId) {
        self.items.push(Item::NoSample(self.now.get(), message));
    }

    fn was_meant(&mut self, message: ClientMsgId, us_before: u64) {
        self.items.push(Item::Meant(self.now.get(), message, us_before));
    }
}

impl Feed for Outbox {
    fn clock(&self) -> Clock {
        self.clock
    }
}

/// One thread's part of a run.
pub struct Station {
    number: usize,
    plan: Arc<Plan>,
    who: Who,
    clock: Clock,
    now: Rc<Cell<Time>>,
    events: Events,
    mile: Mile,
    fleet: Fleet<Mile, SharedClientFaults>,
    liars: Liars<Conn>,
    insiders: Insiders<Conn>,
    faults: Faults,
    audit: Option<Audit>,
    outbox: Outbox,
    judge: SyncSender<Batch>,
    stop: Arc<AtomicBool>,
    phase: &'static str,
    since: Time,
    phases: Vec<Began>,
    told_at: Time,
}

impl Station {
    pub fn new(
        number: usize,
        plan: Arc<Plan>,
        who: Who,
        clock: Clock,
        judge: SyncSender<Batch>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let (scenario, shared, now) =
            (&plan.scenario, SharedClientFaults::default(), Rc::new(Cell::new(Time::ZERO)));
        let delays = plan.with_profiles.then(|| {
            let stream = Stream::new(who.seed, &format!("last mile {} of {}", who.part.number, who.part.of));
            Delays::new(scenario, who.seed, shared.clone(), stream)
        });
        let sockets =
            Sockets::new(Arc::clone(&plan.targets), Arc::clone(&plan.sources), plan.tls.clone(), delays)?;
        let mile = Mile {
            sockets: Rc::new(RefCell::new(sockets)),
            targets: Arc::clone(&plan.targets),
            first: 0,
            now: Rc::clone(&now),
        };
        // Who attacks is nobody's part: the first one has them all.
        let mut attacked = scenario.clone();
        if who.part.number > 0 {
            let is_attack =
                |kind: &FaultKind| matches!(kind, FaultKind::Liars { .. } | FaultKind::Insiders { .. });
            attacked.faults.retain(|fault| !is_attack(&fault.kind));
        }
        let faults =
            Faults::new(scenario, who.seed, Time::ZERO + scenario.phases.ramp.as_duration(), shared.clone());
        Ok(Station {
            number,
            clock,
            events: Events::with_capacity(1_024),
            fleet: Fleet::new(mile.clone(), shared, scenario, who.clone()),
            liars: Liars::new(&attacked, &who),
            insiders: Insiders::new(&attacked, &who),
            faults,
            audit: None,
            outbox: Outbox { items: Vec::with_capacity(BATCH), clock, now: Rc::clone(&now) },
            judge,
            stop,
            phase: "",
            since: Time::ZERO,
            phases: Vec::new(),
            told_at: Time::ZERO,
            mile,
            now,
            who,
            plan,
        })
    }

    /// The whole run of these people.
    pub fn run(mut self) {
        let error = self.go().err();
        let end = self.end(error);
        self.tell(Some(Box::new(end)));
    }

    fn go(&mut self) -> io::Result<()> {
        let phases = self.plan.scenario.phases.clone();
        let load = Time::ZERO + phases.ramp.as_duration();
        let heal = load + phases.load.as_duration();
        let bound = heal + self.plan.bound;
        self.begin("ramp");
        self.schedule_ramp(phases.ramp.as_micros());
        self.until(load, |_| false)?;
        self.begin("load");
        self.fleet.start_load(load, heal);
        self.until(heal, |_| false)?;
        if self.is_stopped() {
            return Ok(());
        }
        self.begin("quiet");
        self.at_the_faults(|faults, plan, stage| faults.heal(&plan.scenario, stage));
        self.fleet.end_load(self.now.get());
        self.until(bound, |station| station.fleet.is_settled())?;
        if self.is_stopped() {
            return Ok(());
        }
        self.begin("audit");
        let audit = Audit::new(&self.plan, &self.who, self.mile.clone());
        self.audit = Some(audit);
        self.until(self.now.get().max(bound) + AUDIT_LIMIT, |station| {
            let Station { audit, fleet, now, outbox, .. } = station;
            let Some(audit) = audit else { return true };
            // Whoever lacks something has the whole bound to get it.
            audit.look(fleet, now.get(), outbox) || (now.get() >= bound && audit.idle(now.get()) >= AUDIT_PATIENCE)
        })
    }

    fn begin(&mut self, phase: &'static str) {
        if !self.phase.is_empty() {
            self.tell(None);
        }
        self.phase = phase;
        self.since = self.now.get();
        self.note(phase);
    }

    fn note(&mut self, phase: &'static str) {
        let bytes = self.fleet.held_bytes() + self.mile.sockets.borrow().held_bytes();
        self.phases.push(Began { phase, cpu: thread_time(), totals: self.fleet.totals(), bytes: bytes as u64 });
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Devices connect evenly over the ramp; those that are away come later. As in the simulator, counted over all people.
    fn schedule_ramp(&mut self, ramp: u64) {
        let population = &self.plan.scenario.population;
        let devices = u64::from(population.devices());
        let away_key = key(self.who.seed, "away");
        for client in self.fleet.clients() {
            let user = self.fleet.population().owner(client);
            let draw = unit(mix(away_key ^ u64::from(user)));
            let at = match draw < population.away_share {
                true => population.away_until.as_micros(),
                false => ramp / 10 + u64::from(client) * (ramp * 8 / 10) / devices,
            };
            self.fleet.come_back_at(client, Time(at));
        }
    }

    fn look_at_the_clock(&self) -> Time {
        let now = self.clock.now().max(self.now.get());
        self.now.set(now);
        now
    }

    fn at_the_faults(&mut self, act: impl FnOnce(&mut Faults, &Plan, &mut Stage<'_, Outbox>)) {
        let Station { fleet, liars, insiders, now, outbox, faults, plan, .. } = self;
        act(faults, plan, &mut Stage { fleet, liars, insiders, now: now.get(), sink: outbox });
    }

    /// Goes on until then, or until this is so.
    fn until(&mut self, then: Time, mut is_it: impl FnMut(&mut Self) -> bool) -> io::Result<()> {
        let mut next_look = self.now.get() + LOOK_EVERY;
        while !self.is_stopped() {
            let now = self.look_at_the_clock();
            if now >= then {
                return Ok(());
            }
            if now >= next_look {
                next_look = now + LOOK_EVERY;
                if is_it(self) {
                    return Ok(());
                }
            }
            let due = self.next_due().min(then);
            let sleep = self.clock.until(due).min(LONGEST_WAIT);
            self.mile.sockets.borrow_mut().wait(&mut self.events, sleep)?;
            self.hear();
            self.act();
            self.mile.sockets.borrow_mut().hand_over();
            if self.outbox.items.len() >= BATCH || self.now.get().since(self.told_at) >= LONGEST_WAIT {
                self.tell(None);
            }
        }
        Ok(())
    }

    fn next_due(&mut self) -> Time {
        let people = self.fleet.next_due().min(self.liars.next_due()).min(self.insiders.next_due());
        let faults = if self.phase == "load" { self.faults.next_due() } else { Time::NEVER };
        let audit = self.audit.as_mut().map_or(Time::NEVER, Audit::next_due);
        people.min(faults).min(audit).min(self.mile.sockets.borrow_mut().next_due())
    }

    /// Tells clients what the system has said.
    fn hear(&mut self) {
        let now = self.look_at_the_clock();
        for event in &self.events {
            self.mile.sockets.borrow_mut().take(event, now);
        }
        loop {
            let now = self.clock.now();
            let Some(told) = self.mile.sockets.borrow_mut().next(now) else { break };
            // What it brought has been read: later than that nobody has seen it.
            let now = self.look_at_the_clock();
            self.hand_over(&told, now);
            self.mile.sockets.borrow_mut().told(&told);
        }
    }

    fn hand_over(&mut self, told: &Told, now: Time) {
        let Told { client, conn, signal } = *told;
        let Station { fleet, liars, insiders, audit, outbox, .. } = self;
        if client >= FIRST_LIAR {
            liars.handle_signal(client, conn, signal, fleet, now, outbox);
        } else if client >= FIRST_INSIDER {
            insiders.handle_signal(client, conn, signal, fleet, now, outbox);
        } else if client >= FIRST_FRESH {
            audit.iter_mut().for_each(|audit| audit.handle_signal(client, conn, signal, now, outbox));
        } else {
            fleet.handle_signal(client, conn, signal, now, outbox);
        }
    }

    /// What is due of itself.
    fn act(&mut self) {
        let now = self.look_at_the_clock();
        if self.phase == "load" {
            self.at_the_faults(|faults, plan, stage| faults.step(&plan.scenario, stage));
        }
        let Station { fleet, liars, insiders, audit, outbox, .. } = self;
        fleet.step(now, outbox);
        liars.step(fleet, now);
        insiders.step(fleet, now, outbox);
        audit.iter_mut().for_each(|audit| audit.step(now, outbox));
        if self.phase != "load" {
            self.at_the_faults(|faults, plan, stage| faults.step(&plan.scenario, stage));
        }
    }

    fn tell(&mut self, end: Option<Box<End>>) {
        self.told_at = self.now.get();
        // The next one is about as long.
        let next = self.outbox.items.len();
        let batch = Batch {
            station: self.number,
            items: std::mem::replace(&mut self.outbox.items, Vec::with_capacity(next)),
            until: self.now.get(),
            totals: self.fleet.totals(),
            reached: self.mile.sockets.borrow().reached,
            phase: self.phase,
            since: self.since,
            end,
        };
        // A judge who is gone has heard enough.
        let _ = self.judge.send(batch);
    }

    fn end(&mut self, error: Option<io::Error>) -> End {
        self.note("end");
        self.at_the_faults(|faults, _, stage| faults.settle(stage));
        let is_whole = !self.is_stopped() && error.is_none();
        if is_whole {
            self.fleet.tell_unread(self.now.get(), &mut self.outbox);
        }
        let population = self.fleet.population();
        let device = |client| {
            let reachable = is_whole && !self.insiders.are(population.owner(client));
            (population.device(client), population.user_of_device(client), reachable)
        };
        let gateways: Vec<u64> = self.fleet.gateways().iter().map(|gateway| gateway.connected).collect();
        let corners = Corner::ALL.iter().map(|corner| corner.name());
        let sockets = self.mile.sockets.borrow();
        End {
            corners: corners.map(|name| (name, self.fleet.corners().hits(name).unwrap_or(0))).collect(),
            gateways: self.fleet.gateways().iter().map(|gateway| gateway.connected_peak).collect(),
            faults: self.faults.records(&self.plan.scenario, &gateways),
            lies: self.liars.lies() + self.insiders.hits().map(|(_, hits)| hits).sum::<u64>(),
            devices: self.fleet.clients().map(device).collect(),
            unread: self.audit.as_ref().map_or(0, Audit::unread),
            failed_opens: sockets.failed_opens,
            wire_bytes: sockets.wire_bytes,
            phases: std::mem::take(&mut self.phases),
            error,
        }
    }
}
