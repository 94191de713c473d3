//! The fleet: virtual clients in a slab, no task each, stepped by whoever owns time.
//!
//! A client is a `ClientSession`, a few bytes of WebSocket state, and its place in one queue of timers. What it does
//! and sees goes to the history as it happens.

mod balancer;
mod corners;
mod frame_faults;
mod frames;
mod last_mile;
mod memory;
mod missing;
mod outputs;
mod presence;
mod reading;
mod reinstall;
mod rows;
mod sink;
mod timers;
mod tokens;
mod totals;
mod typing;
mod waited;
mod watching;
mod who;
mod wire;

pub use balancer::GatewayTotals;
pub use corners::{Corner, Corners};
pub use frame_faults::{FrameFault, FrameFaults, FrameKind, NoFrameFaults};
pub use last_mile::{LastMile, Signal};
pub(crate) use outputs::seen_name;
pub use sink::{Delivered, Latency, Sink};
pub use totals::FleetTotals;
pub use who::{Part, Who};

use crate::population::{Conversation, Population};
use crate::rng::key;
use crate::tokens::SharedTokens;
use crate::workload::{Act, Workload};
use balancer::Balancer;
use frames::KeptFrames;
use missing::Missing;
use presence::Presence;
use reading::Reading;
use rows::Rows;
use squall_core::Time;
use squall_core::client::{ClientSession, Output, Phase};
use squall_history::{Arrived, Entity, Event, Kind, What, payload_hash};
use squall_protocol::{ClientMsgId, Codec, Payload, Seq, limits};
use squall_scenarios::model::Scenario;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use timers::{Timer, Timers};
use tokens::Shown;
use typing::Writers;
use waited::Waited;
use watching::Watching;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Closed,
    Opening,
    Upgrading,
    Open,
}

struct Client<C> {
    session: ClientSession,
    conn: Option<C>,
    wire: Wire,
    codec: Codec,
    /// The gateway of its last attempt.
    gateway: u16,
    /// That attempt has failed, or its connection was lost: the next one goes to another gateway.
    failed: bool,
    /// The time of this client's entry in the queue that counts.
    timer: Time,
    messages: u32,
    sessions: u32,
    /// When its person meant it to be connected. A connection that a fault has cost is no absence: what comes late for it is late.
    presence: Presence,
    tokens: Shown,
    /// What is to be said of it once it is connected again; boxed, for mostly it is connected.
    gone: Option<Box<Gone>>,
    was_online: bool,
    /// How often it has been installed anew.
    life: u16,
    /// Bytes that wait, mostly none.
    buffers: Option<Box<Buffers>>,
}

/// A client that is not connected, or is and does not know better.
struct Gone {
    /// Since when it waits to be connected again, as its person sees it: it has noticed the loss, or has been taken up; later by
    /// what its person was away since.
    lost_at: Time,
    /// Its person had put it away: what it waits for is no fault's doing.
    by_choice: bool,
    /// Since when it should be connected and is not, whether or not it knows.
    missing_since: Time,
}

impl Default for Gone {
    fn default() -> Self {
        Gone { lost_at: Time::NEVER, by_choice: false, missing_since: Time::NEVER }
    }
}

/// People whom a creation has no room for, in each entry that adds them: each of them is owed it.
const ADDED_AT_ONCE: usize = 512;

/// There are millions of them.
const _: () = assert!(size_of::<Client<(u32, u32)>>() <= 208);

/// A frame that has arrived in part, and what the network has not taken yet.
#[derive(Default)]
struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
    /// The network has taken so much of it.
    taken: usize,
}

impl Buffers {
    /// The network has taken so much more. What is left moves only when it is less than what goes, so that megabytes that a slow link takes
    /// in small pieces are not moved for each.
    fn take(&mut self, written: usize) {
        self.taken += written;
        if 2 * self.taken >= self.output.len() {
            self.output.drain(..self.taken);
            self.taken = 0;
        }
    }
}

impl<C> Client<C> {
    /// Gives empty buffers back.
    fn tidy(&mut self) {
        self.buffers.take_if(|b| b.input.is_empty() && b.output.is_empty());
    }
}

/// All virtual clients of a run.
pub struct Fleet<L: LastMile, F> {
    pub last_mile: L,
    pub faults: F,
    population: Population,
    workload: Workload,
    watching: Watching,
    tokens: SharedTokens,
    part: Part,
    balancer: Balancer,
    missing: Missing,
    mask_key: u64,
    heartbeat: Duration,
    clients: Rows<Client<L::Conn>>,
    /// How often clients have been installed anew, of those that have.
    lives: BTreeMap<u32, u16>,
    queue: Timers,
    reading: Reading,
    totals: FleetTotals,
    corners: Corners,
    masks: u64,
    load_until: Time,
    sessions_end: bool,
    kept: KeptFrames<L::Conn>,
    writers: Writers,
    /// How far the span that is being handled speaks: what is shown beyond it had been held back.
    arrived_to: Seq,
    /// The entries of that span, for the history.
    arriving: Vec<Arrived>,
    /// Messages that have waited for a person who had put their device away.
    waited: BTreeMap<ClientMsgId, Waited>,
    /// By how much whoever calls has come late for the act that is under way, in µs.
    late_us: u64,
    scratch: Vec<Output>,
    /// What a client reads and writes passes through these; what cannot stays in its own buffers.
    input: Vec<u8>,
    output: Vec<u8>,
}

impl<L: LastMile, F: FrameFaults> Fleet<L, F> {
    /// The clients of a scenario, all away.
    pub fn new(last_mile: L, faults: F, scenario: &Scenario, who: Who) -> Self {
        let Who { seed, run, part, first_device, tokens } = who;
        let population = Population::new(&scenario.population, seed).of_run(run).with_devices_from(first_device);
        let workload = Workload::new(scenario, seed).of_run(run);
        let heartbeat = scenario.workload.heartbeat_interval.as_duration();
        let client = |index| {
            let mut session = ClientSession::new(population.user_of_device(index), population.device(index));
            session.set_heartbeat_interval(heartbeat);
            if scenario.receipts.are_kept() {
                session.keep_receipts();
            }
            Client {
                session,
                conn: None,
                wire: Wire::Closed,
                codec: workload.codec(index),
                gateway: 0,
                failed: false,
                timer: Time::NEVER,
                messages: 0,
                sessions: 0,
                presence: Presence::default(),
                tokens: Shown::default(),
                gone: None,
                was_online: false,
                life: 0,
                buffers: None,
            }
        };
        Fleet {
            last_mile,
            faults,
            tokens,
            part,
            balancer: Balancer::new(key(seed, "balancer"), scenario.topology.gateways),
            missing: Missing::default(),
            mask_key: key(seed, "masks"),
            heartbeat,
            clients: Rows::new(part.devices(&population), client),
            lives: BTreeMap::new(),
            queue: Timers::default(),
            reading: Reading::new(&scenario.receipts, seed),
            totals: FleetTotals::default(),
            corners: Corners::default(),
            masks: 0,
            load_until: Time::ZERO,
            sessions_end: true,
            kept: KeptFrames::new(scenario),
            writers: Writers::default(),
            arrived_to: Seq::ZERO,
            arriving: Vec::new(),
            waited: BTreeMap::new(),
            late_us: 0,
            scratch: Vec::new(),
            input: Vec::new(),
            output: Vec::new(),
            workload,
            watching: Watching::new(scenario, seed),
            population,
        }
    }

    pub fn population(&self) -> &Population {
        &self.population
    }

    pub fn totals(&self) -> FleetTotals {
        self.totals
    }

    /// Corners that devices have come to.
    pub fn corners(&self) -> &Corners {
        &self.corners
    }

    /// The client's connection, if it has one.
    pub fn conn(&self, client: u32) -> Option<L::Conn> {
        self.clients.get(client)?.conn
    }

    pub fn is_online(&self, client: u32) -> bool {
        self.clients.get(client).is_some_and(|client| client.session.is_online())
    }

    /// How many devices each gateway has.
    pub fn gateways(&self) -> &[GatewayTotals] {
        self.balancer.totals()
    }

    /// A fault has broken the client's connection: it is missing from now on, though it may take long to find out.
    pub fn connection_is_broken(&mut self, client: u32, now: Time) {
        let Some(client) = self.clients.get_mut(client) else { return };
        if client.was_online {
            self.missing.add(&mut client.gone.get_or_insert_default().missing_since, now);
        }
    }

    /// Whether every device that should have been connected at `then` and was not has been since, or has been put away.
    pub fn all_back(&self, then: Time) -> bool {
        self.missing.all_back(then)
    }

    /// How often the client has begun to connect.
    pub fn connect_count(&self, client: u32) -> u64 {
        self.clients.get(client).map_or(0, |client| client.session.connect_count())
    }

    /// A client's device, if it is one of these.
    pub fn session(&self, client: u32) -> Option<&ClientSession> {
        self.clients.get(client).map(|client| &client.session)
    }

    /// Whether every client is connected, has an answer to all that it sent, and knows of nothing that it lacks.
    pub fn is_settled(&self) -> bool {
        self.clients.iter().all(|client| client.session.is_online() && !client.session.is_busy())
    }

    /// The numbers of all clients.
    pub fn clients(&self) -> Range<u32> {
        self.clients.numbers()
    }

    /// Forgets every client and its timers; population and totals stay.
    pub fn release_clients(&mut self) {
        self.clients.release();
        self.queue = Timers::default();
    }

    /// A client connects at `at`.
    pub fn come_back_at(&mut self, client: u32, at: Time) {
        self.queue.push(at, Timer::ComeBack(client));
    }

    /// People send and groups change between `from` and `until`.
    pub fn start_load(&mut self, from: Time, until: Time) {
        self.load_until = until;
        for user in self.part.users(&self.population) {
            self.schedule_send(user, 0, from);
        }
        self.start_watching(from);
        for group in 0..self.population.groups() {
            self.schedule_membership(group, 0, from);
            // Somebody of another part may write first, and could not let it be founded.
            if self.part.of > 1 && self.is_own(self.population.group_owner(group)) {
                self.queue.push(from, Timer::Found(group));
            }
        }
    }

    fn is_own(&self, user: u32) -> bool {
        self.part.users(&self.population).contains(&user)
    }

    /// Everybody comes back for good.
    pub fn end_load(&mut self, now: Time) {
        self.load_until = Time::ZERO;
        self.keep_connected();
        for client in self.clients() {
            self.come_back_at(client, now);
        }
    }

    fn schedule_send(&mut self, user: u32, n: u32, after: Time) {
        let at = Time(self.workload.next_send(user, n, after.0));
        if at < self.load_until {
            self.queue.push(at, Timer::Send(user, n));
            self.schedule_typing(user, n, after, at);
        }
    }

    fn schedule_membership(&mut self, group: u32, n: u32, after: Time) {
        if let Some(gap) = self.workload.membership_gap(group, n) {
            let at = after + Duration::from_micros(gap);
            if at < self.load_until {
                self.queue.push(at, Timer::Membership(group, n));
            }
        }
    }

    /// When a client next has something to do of itself; never, if none has.
    pub fn next_due(&mut self) -> Time {
        self.queue.next_due().unwrap_or(Time::NEVER)
    }

    /// Does what is due up to `now`.
    pub fn step(&mut self, now: Time, sink: &mut impl Sink) {
        while let Some((at, timer)) = self.queue.pop_due(now) {
            match timer {
                Timer::Session(client) => {
                    if self.clients[client].timer == at {
                        self.clients[client].timer = Time::NEVER;
                        self.corners.times_out(&self.clients[client].session, now);
                        self.act(client, now, sink, |session, out| session.handle_timeout(now, out));
                    }
                }
                Timer::ComeBack(client) => {
                    let taken_up = &mut self.clients[client];
                    if taken_up.session.phase() == Phase::Away {
                        self.is_taken_up(client, now, sink);
                    }
                    self.act(client, now, sink, |session, out| session.come_back(now, out));
                    let n = self.clients[client].sessions;
                    if let Some(length) = self.workload.session_length(client, n).filter(|_| self.sessions_end) {
                        self.clients[client].sessions += 1;
                        self.queue.push(now + Duration::from_micros(length), Timer::GoAway(client));
                    }
                }
                Timer::GoAway(client) if self.sessions_end => {
                    self.put_away(client, now, sink);
                    let n = self.clients[client].sessions;
                    let away = Duration::from_micros(self.workload.away_length(client, n));
                    self.queue.push(now + away, Timer::ComeBack(client));
                }
                Timer::GoAway(_) => {}
                Timer::Send(user, n) => {
                    let act = self.workload.send(&self.population, user, n, at.0);
                    if let Some(act) = act {
                        self.late_us = now.since(at).as_micros() as u64;
                        for _ in 0..self.workload.follow_ups(user, n) {
                            self.perform(act.clone(), now, sink);
                        }
                        self.perform(act, now, sink);
                        self.late_us = 0;
                    }
                    self.schedule_send(user, n + 1, at);
                }
                Timer::Membership(group, n) => {
                    if let Some(act) = self.workload.membership(&self.population, group, n, at.0) {
                        self.perform(act, now, sink);
                    }
                    self.schedule_membership(group, n + 1, at);
                }
                Timer::Found(group) => self.found(group, now, sink),
                Timer::Look(client, n) => self.look(client, n, now, sink),
                Timer::LateFrame(number) => self.release(number, now, sink),
                Timer::Typing(user, n) => self.says_typing(user, n, now, sink),
                Timer::Read(client) => self.read_next(client, now, sink),
            }
        }
    }

    fn is_taken_up(&mut self, client: u32, now: Time, sink: &mut impl Sink) {
        let taken_up = &mut self.clients[client];
        let gone = taken_up.gone.get_or_insert_default();
        match gone.missing_since {
            Time::NEVER => self.missing.add(&mut gone.missing_since, now),
            since => self.missing.resume(since),
        }
        if let Some(since) = taken_up.presence.begins(now)
            && gone.lost_at != Time::NEVER
        {
            gone.lost_at += now.since(since);
        }
        for message in taken_up.session.unanswered_messages() {
            if let Some(waited) = self.waited.get_mut(&message) {
                sink.was_away(message, now.since(waited.since).as_micros() as u64);
                *waited = Waited { since: Time::NEVER, before: waited.until(now) };
            }
        }
    }

    /// Nobody puts a device away any more of themselves.
    pub fn keep_connected(&mut self) {
        self.sessions_end = false;
    }

    /// A person puts a device away for good.
    pub fn leave(&mut self, client: u32, now: Time, sink: &mut impl Sink) {
        self.put_away(client, now, sink);
    }

    fn put_away(&mut self, client: u32, now: Time, sink: &mut impl Sink) {
        let put_away = &mut self.clients[client];
        put_away.presence.ends(now);
        if !put_away.was_online {
            let at = Entity::Device(put_away.session.device());
            sink.event(Event { t: now.0, at, kind: Kind::Away });
        }
        // Whoever gives up while it waits for a connection that a fault has cost waits for that one still.
        let gone = put_away.gone.get_or_insert_default();
        gone.by_choice |= put_away.was_online;
        let before = gone.missing_since;
        self.act(client, now, sink, |session, out| session.go_away(out));
        let put_away = &mut self.clients[client];
        put_away.failed = false;
        match before {
            Time::NEVER => self.missing.remove(&mut put_away.gone.get_or_insert_default().missing_since),
            since => self.missing.suspend(since),
        }
        for message in put_away.session.unanswered_messages() {
            let waited = self.waited.entry(message).or_insert(Waited { since: now, before: Duration::ZERO });
            waited.since = now;
        }
    }

    /// A person acts: creates the conversation first if this device knows nothing of it. Nobody can write into a group of
    /// which they have not heard: its owner, who alone may create it, does both the first time; after that, what somebody would
    /// write who has not heard yet is not written.
    fn perform(&mut self, act: Act, now: Time, sink: &mut impl Sink) {
        let Act { mut device, conversation, payload } = act;
        if self.clients.get(device).is_none() {
            // What somebody of another part does is done there.
            return;
        }
        if let Some(owner) = conversation.owner.filter(|_| !self.knows(device, conversation.id)) {
            let first = self.population.first_device(owner);
            let is_founded_elsewhere = self.clients.get(first).is_none();
            if is_founded_elsewhere || (device != first && self.knows(first, conversation.id)) {
                return;
            }
            device = first;
        }
        self.create(device, &conversation, now, sink);
        self.send(device, conversation.id, payload, now, sink);
    }

    fn found(&mut self, group: u32, now: Time, sink: &mut impl Sink) {
        let conversation = self.population.group(group);
        self.create(self.population.first_device(self.population.group_owner(group)), &conversation, now, sink);
    }

    /// Creates a conversation of which this device knows nothing.
    fn create(&mut self, device: u32, conversation: &Conversation, now: Time, sink: &mut impl Sink) {
        if !self.knows(device, conversation.id) {
            // The creator is the first of them. Whom the creation has no room for are added at once, a part at a time.
            let (founders, others) =
                conversation.members.split_at(conversation.members.len().min(limits::MAX_FOUNDERS));
            let create = Payload::Created {
                direct: conversation.is_direct(),
                channel: !conversation.is_direct() && self.population.is_channel(conversation.id),
                members: founders.to_vec(),
            };
            self.send(device, conversation.id, create, now, sink);
            for added in others.chunks(ADDED_AT_ONCE) {
                self.send(device, conversation.id, Payload::Joined(added.to_vec().into()), now, sink);
            }
        }
    }

    fn knows(&self, device: u32, conversation: squall_protocol::ConversationId) -> bool {
        self.clients[device].session.knows(conversation)
    }

    fn send(
        &mut self,
        device: u32,
        conversation: squall_protocol::ConversationId,
        payload: Payload,
        now: Time,
        sink: &mut impl Sink,
    ) {
        let client = &mut self.clients[device];
        let client_msg_id = self.workload.message_id(device, client.messages);
        client.messages += 1;
        self.totals.sent += 1;
        if self.late_us > 0 {
            sink.was_meant(client_msg_id, self.late_us);
        }
        sink.event(Event {
            t: now.0,
            at: Entity::Device(client.device()),
            kind: Kind::Send {
                conversation,
                sender: client.session.user(),
                client_msg_id,
                body_hash: payload_hash(&payload),
                what: What::of(&payload),
                members: What::named(&payload).to_vec(),
            },
        });
        if self.clients[device].session.phase() == Phase::Away {
            self.waited.insert(client_msg_id, Waited { since: now, before: Duration::ZERO });
        }
        let text = if let Payload::Text(text) = &payload { Some(text.clone()) } else { None };
        self.act(device, now, sink, |session, out| session.send(conversation, client_msg_id, payload, now, out));
        self.corners.sends(&self.clients[device].session, conversation, text.as_deref());
    }

    /// Lets the session do something, carries its outputs out, and keeps its timer.
    fn act(
        &mut self,
        index: u32,
        now: Time,
        sink: &mut impl Sink,
        input: impl FnOnce(&mut ClientSession, &mut Vec<Output>),
    ) {
        let mut outputs = std::mem::take(&mut self.scratch);
        input(&mut self.clients[index].session, &mut outputs);
        for output in outputs.drain(..) {
            self.carry_out(index, output, now, sink);
        }
        self.scratch = outputs;
        self.flush(index);
        self.reschedule(index);
    }

    fn reschedule(&mut self, index: u32) {
        let client = &mut self.clients[index];
        let due = client.session.poll_timeout();
        if due < client.timer {
            client.timer = due;
            self.queue.push(due, Timer::Session(index));
        }
    }
}
