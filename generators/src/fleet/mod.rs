//! The fleet: virtual clients in a slab, no task each, stepped by whoever owns time.
//!
//! A client is a `ClientSession`, a few bytes of WebSocket state, and its place in one queue of timers. What it does
//! and sees goes to the history as it happens.

mod meddling;
mod outputs;
mod seams;
mod sight;

pub use seams::{FleetTotals, LastMile, Latency, Meddle, Meddled, Signal, Sink};
pub use sight::{payload_hash, what};

use crate::calendar::Calendar;
use crate::population::Population;
use crate::rng::key;
use crate::websocket::{self, Incoming};
use crate::workload::{Act, Workload};
use meddling::Meddling;
use squall_core::Time;
use squall_core::client::{ClientSession, Output, Phase};
use squall_history::{Entity, Event, Kind};
use squall_protocol::ids::mix;
use squall_protocol::token::TokenSecret;
use squall_protocol::{Codec, Payload, Seq};
use squall_scenarios::model::Scenario;
use std::io;
use std::time::Duration;

/// What becomes due in the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The session's own timer.
    Timer(u32),
    ComeBack(u32),
    GoAway(u32),
    /// The next send of a user, with its number.
    Send(u32, u32),
    /// The next membership change of a group, with its number.
    Membership(u32, u32),
    /// A frame that a fault has kept back, by its number.
    Late(u32),
}

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
    /// Attempts that have failed or been lost: the next one goes to another gateway.
    moved: u32,
    /// The time of this client's entry in the queue that counts.
    timer: Time,
    messages: u32,
    sessions: u32,
    online_since: Time,
    lost_at: Time,
    was_online: bool,
    /// Bytes that wait, mostly none.
    buffers: Option<Box<Buffers>>,
}

/// A frame that has arrived in part, and what the network has not taken yet.
#[derive(Default)]
struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl<C> Client<C> {
    /// Gives empty buffers back.
    fn tidy(&mut self) {
        self.buffers.take_if(|b| b.input.is_empty() && b.output.is_empty());
    }
}

/// All virtual clients of a run.
pub struct Fleet<L: LastMile> {
    pub last_mile: L,
    population: Population,
    workload: Workload,
    secret: TokenSecret,
    gateways: u32,
    mask_key: u64,
    clients: Vec<Client<L::Conn>>,
    queue: Calendar<Due>,
    totals: FleetTotals,
    masks: u64,
    load_until: Time,
    sessions_end: bool,
    meddling: Meddling<L::Conn>,
    /// How far the span that is being handled speaks: what is shown beyond it had been held back.
    arrived_to: Seq,
    scratch: Vec<Output>,
    /// What a client reads and writes passes through these; what cannot stays in its own buffers.
    input: Vec<u8>,
    output: Vec<u8>,
}

impl<L: LastMile> Fleet<L> {
    /// The clients of a scenario, all away.
    pub fn new(last_mile: L, scenario: &Scenario, seed: u64, secret: TokenSecret) -> Self {
        let population = Population::new(&scenario.population, seed);
        let workload = Workload::new(scenario, seed);
        let heartbeat = scenario.workload.heartbeat_interval.as_duration();
        let clients = (0..population.devices())
            .map(|index| {
                let mut session = ClientSession::new(population.user_of_device(index), population.device(index));
                session.set_heartbeat_interval(heartbeat);
                Client {
                    session,
                    conn: None,
                    wire: Wire::Closed,
                    codec: workload.codec(index),
                    moved: 0,
                    timer: Time::NEVER,
                    messages: 0,
                    sessions: 0,
                    online_since: Time::ZERO,
                    lost_at: Time::NEVER,
                    was_online: false,
                    buffers: None,
                }
            })
            .collect();
        Fleet {
            last_mile,
            workload,
            secret,
            gateways: scenario.topology.gateways,
            mask_key: key(seed, "masks"),
            clients,
            queue: Calendar::default(),
            totals: FleetTotals::default(),
            masks: 0,
            load_until: Time::ZERO,
            sessions_end: true,
            meddling: Meddling::new(scenario),
            arrived_to: Seq::ZERO,
            scratch: Vec::new(),
            input: Vec::new(),
            output: Vec::new(),
            population,
        }
    }

    pub fn population(&self) -> &Population {
        &self.population
    }

    pub fn totals(&self) -> FleetTotals {
        self.totals
    }

    /// The client's connection, if it has one.
    pub fn conn(&self, client: u32) -> Option<L::Conn> {
        self.clients[client as usize].conn
    }

    pub fn is_online(&self, client: u32) -> bool {
        self.clients[client as usize].session.is_online()
    }

    /// How often the client has begun to connect.
    pub fn connect_count(&self, client: u32) -> u64 {
        self.clients[client as usize].session.connect_count()
    }

    pub fn clients(&self) -> u32 {
        self.clients.len() as u32
    }

    /// Forgets every client and its timers; population and totals stay.
    pub fn release_clients(&mut self) {
        self.clients = Vec::new();
        self.queue = Calendar::default();
    }

    /// A client connects at `at`.
    pub fn come_back_at(&mut self, client: u32, at: Time) {
        self.queue.push(at, Due::ComeBack(client));
    }

    /// People send and groups change between `from` and `until`.
    pub fn start_load(&mut self, from: Time, until: Time) {
        self.load_until = until;
        for user in 0..self.population.users() {
            self.schedule_send(user, 0, from);
        }
        for group in 0..self.population.groups() {
            self.schedule_membership(group, 0, from);
        }
    }

    /// Everybody comes back for good.
    pub fn end_load(&mut self, now: Time) {
        self.load_until = Time::ZERO;
        self.sessions_end = false;
        for client in 0..self.clients() {
            self.come_back_at(client, now);
        }
    }

    fn schedule_send(&mut self, user: u32, n: u32, after: Time) {
        let at = Time(self.workload.next_send(user, n, after.0));
        if at < self.load_until {
            self.queue.push(at, Due::Send(user, n));
        }
    }

    fn schedule_membership(&mut self, group: u32, n: u32, after: Time) {
        if let Some(gap) = self.workload.membership_gap(group, n) {
            let at = after + Duration::from_micros(gap);
            if at < self.load_until {
                self.queue.push(at, Due::Membership(group, n));
            }
        }
    }

    /// Does what is due up to `now`.
    pub fn step(&mut self, now: Time, sink: &mut impl Sink) {
        while let Some((at, due)) = self.queue.pop_due(now) {
            match due {
                Due::Timer(client) => {
                    if self.clients[client as usize].timer == at {
                        self.clients[client as usize].timer = Time::NEVER;
                        self.act(client, now, sink, |session, out| session.handle_timeout(now, out));
                    }
                }
                Due::ComeBack(client) => {
                    self.act(client, now, sink, |session, out| session.come_back(now, out));
                    let n = self.clients[client as usize].sessions;
                    if let Some(length) = self.workload.session_length(client, n).filter(|_| self.sessions_end) {
                        self.clients[client as usize].sessions += 1;
                        self.queue.push(now + Duration::from_micros(length), Due::GoAway(client));
                    }
                }
                Due::GoAway(client) if self.sessions_end => {
                    self.act(client, now, sink, |session, out| session.go_away(out));
                    let n = self.clients[client as usize].sessions;
                    let away = Duration::from_micros(self.workload.away_length(client, n));
                    self.queue.push(now + away, Due::ComeBack(client));
                }
                Due::GoAway(_) => {}
                Due::Send(user, n) => {
                    let act = self.workload.send(&self.population, user, n, at.0);
                    if let Some(act) = act {
                        if self.workload.has_follow_up(user, n) {
                            self.perform(act.clone(), now, sink);
                        }
                        self.perform(act, now, sink);
                    }
                    self.schedule_send(user, n + 1, at);
                }
                Due::Membership(group, n) => {
                    if let Some(act) = self.workload.membership(&self.population, group, n) {
                        self.perform(act, now, sink);
                    }
                    self.schedule_membership(group, n + 1, at);
                }
                Due::Late(number) => self.release(number, now, sink),
            }
        }
    }

    /// A person acts: creates the conversation first if this device knows nothing of it.
    fn perform(&mut self, act: Act, now: Time, sink: &mut impl Sink) {
        let Act { device, conversation, payload } = act;
        if !self.clients[device as usize].session.knows(conversation.id) {
            let create = Payload::Created { direct: conversation.direct, members: conversation.members.clone() };
            self.send(device, conversation.id, create, now, sink);
        }
        self.send(device, conversation.id, payload, now, sink);
    }

    fn send(
        &mut self,
        device: u32,
        conversation: squall_protocol::ConversationId,
        payload: Payload,
        now: Time,
        sink: &mut impl Sink,
    ) {
        let client = &mut self.clients[device as usize];
        let client_msg_id = self.workload.message_id(device, client.messages);
        client.messages += 1;
        self.totals.sent += 1;
        sink.event(Event {
            t: now.0,
            at: Entity::Device(client.session.device()),
            kind: Kind::Send {
                conversation,
                sender: client.session.user(),
                client_msg_id,
                body_hash: payload_hash(&payload),
                what: what(&payload),
                members: match &payload {
                    Payload::Created { members, .. } => members.clone(),
                    _ => Vec::new(),
                },
            },
        });
        if self.clients[device as usize].session.phase() == Phase::Away {
            sink.written_while_away(client_msg_id);
        }
        self.act(device, now, sink, |session, out| session.send(conversation, client_msg_id, payload, now, out));
    }

    /// Reads a little of what signals to these clients are about to use. Among millions each client is a cache miss, and reads
    /// that do not depend on each other overlap where handling one signal after the other would wait for each.
    pub fn touch(&self, clients: impl Iterator<Item = u32>) {
        let read = clients.filter_map(|index| self.clients.get(index as usize)).fold(0, |read, client| {
            read ^ client.session.connect_count()
                ^ client.timer.0
                ^ client.online_since.0
                ^ u64::from(client.was_online)
                ^ u64::from(client.session.is_online())
        });
        std::hint::black_box(read);
    }

    /// The network tells a client something.
    pub fn handle_signal(&mut self, index: u32, conn: L::Conn, signal: Signal, now: Time, sink: &mut impl Sink) {
        let client = &mut self.clients[index as usize];
        if client.conn != Some(conn) {
            return;
        }
        match signal {
            Signal::Connected => {
                client.wire = Wire::Upgrading;
                let nonce = nonce(&client.session);
                self.output = websocket::request("chat.example", client.codec.subprotocol(), nonce);
                self.flush(index);
            }
            Signal::Writable => self.flush(index),
            Signal::Readable => self.read(index, conn, now, sink),
            Signal::Lost(reason) => {
                // What arrived before the end still counts.
                self.read(index, conn, now, sink);
                if self.clients[index as usize].conn == Some(conn) {
                    self.lose(index, reason, now, sink);
                }
            }
        }
    }

    fn read(&mut self, index: u32, conn: L::Conn, now: Time, sink: &mut impl Sink) {
        if !self.last_mile.reads(index) {
            return;
        }
        let mut input = std::mem::take(&mut self.input);
        input.clear();
        if let Some(buffers) = &mut self.clients[index as usize].buffers {
            input.append(&mut buffers.input);
        }
        // An error says that nothing more will come; the network tells why in a signal.
        let _ = self.last_mile.read(conn, &mut input);
        let mut used = 0;
        while self.clients[index as usize].conn == Some(conn) {
            match self.take_frame(index, &input[used..], now, sink) {
                Ok(0) => break,
                Ok(len) => used += len,
                Err(_) => {
                    // A gateway that does not speak the protocol: nothing to say to it.
                    self.last_mile.close(conn);
                    self.lose(index, "protocol error", now, sink);
                }
            }
        }
        let client = &mut self.clients[index as usize];
        if client.conn == Some(conn) && used < input.len() {
            client.buffers.get_or_insert_default().input.extend_from_slice(&input[used..]);
        }
        client.tidy();
        self.input = input;
    }

    /// Handles the first frame in `bytes`; how many bytes it took, 0 when it is still torn.
    fn take_frame(&mut self, index: u32, bytes: &[u8], now: Time, sink: &mut impl Sink) -> io::Result<usize> {
        let client = &mut self.clients[index as usize];
        if client.wire == Wire::Upgrading {
            let taken = websocket::accept(bytes, client.codec.subprotocol(), nonce(&client.session))?;
            if taken.is_some() {
                client.wire = Wire::Open;
                let token = self.secret.issue(client.session.user(), client.session.device());
                self.act(index, now, sink, |session, out| session.handle_connected(token, now, out));
            }
            return Ok(taken.unwrap_or(0));
        }
        let Some((incoming, len)) = websocket::read(bytes)? else { return Ok(0) };
        let payload = match (incoming, client.codec) {
            (Incoming::Text(payload), Codec::Json) | (Incoming::Binary(payload), Codec::Protobuf) => payload,
            (Incoming::Close(_, payload), _) => {
                let mask = self.mask();
                let mut farewell = Vec::new();
                websocket::write_close(&mut farewell, payload, mask);
                if let Some(conn) = self.clients[index as usize].conn {
                    // The gateway closes whether or not it reads this.
                    let _ = self.last_mile.write(conn, &farewell);
                    self.last_mile.close(conn);
                }
                self.lose(index, "closed by the gateway", now, sink);
                return Ok(len);
            }
            (Incoming::Control, _) => return Ok(len),
            _ => return Err(io::Error::other("a frame of the other codec")),
        };
        let frame = client.codec.decode_server(payload).map_err(io::Error::other)?;
        self.totals.frames += 1;
        if let Some(frame) = self.meddle_with_received(index, frame, now, sink) {
            self.act(index, now, sink, |session, out| session.handle_frame(frame, now, out));
        }
        Ok(len)
    }

    /// The connection is gone without the session having asked for it.
    fn lose(&mut self, index: u32, reason: &'static str, now: Time, sink: &mut impl Sink) {
        self.forget_connection(index, reason, now, sink);
        self.clients[index as usize].session.handle_disconnected(now);
        self.reschedule(index);
    }

    fn forget_connection(&mut self, index: u32, reason: &'static str, now: Time, sink: &mut impl Sink) {
        let client = &mut self.clients[index as usize];
        client.conn = None;
        client.wire = Wire::Closed;
        client.moved += 1;
        client.buffers = None;
        self.output.clear();
        let client = &mut self.clients[index as usize];
        if client.was_online {
            client.was_online = false;
            client.lost_at = now;
            self.totals.online -= 1;
            let at = Entity::Device(client.session.device());
            sink.event(Event { t: now.0, at, kind: Kind::Disconnect { reason } });
        }
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
        input(&mut self.clients[index as usize].session, &mut outputs);
        for output in outputs.drain(..) {
            self.carry_out(index, output, now, sink);
        }
        self.scratch = outputs;
        self.flush(index);
        self.reschedule(index);
    }

    fn reschedule(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        let due = client.session.poll_timeout();
        if due < client.timer {
            client.timer = due;
            self.queue.push(due, Due::Timer(index));
        }
    }

    fn mask(&mut self) -> u32 {
        self.masks += 1;
        mix(self.mask_key ^ self.masks) as u32
    }

    /// Hands what waits to the network: what was kept before, then what has just been written.
    fn flush(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        if let Some(buffers) = &mut client.buffers
            && !buffers.output.is_empty()
        {
            buffers.output.append(&mut self.output);
            std::mem::swap(&mut buffers.output, &mut self.output);
        }
        let Some(conn) = client.conn else { return self.output.clear() };
        if self.output.is_empty() {
            return;
        }
        let written = match client.wire {
            Wire::Opening => Ok(0),
            _ => self.last_mile.write(conn, &self.output),
        };
        let written = match written {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // The network will say why; the session hears of it then.
            Err(_) => self.output.len(),
        };
        if written < self.output.len() {
            client.buffers.get_or_insert_default().output.extend_from_slice(&self.output[written..]);
        }
        self.output.clear();
        client.tidy();
    }
}

fn nonce(session: &ClientSession) -> u64 {
    mix(session.device().0) ^ session.connect_count()
}
