//! Members who attack: real tokens of real people, from devices of their own beside the honest ones.
//!
//! What they write where they may is legitimate, so it has its `send` event, and what the system allows them changes memberships
//! like anybody's. What they do to themselves is theirs: of their own devices nothing is demanded. Everybody else is judged as
//! ever, also whom they add or take away, so harm to others breaks the check that is there for it.
//!
//! **Invariant:** what an insider does under the number of another's device is told of a device of their own, which is said to go by
//! that number: what it changes for the other breaks the check that is there for it. What reaches an insider is displayed to their
//! user, so that what is not theirs breaks `members-only`.

mod attacks;
mod seat;

pub use attacks::Attack;

use crate::population::Population;
use crate::rng::{Stream, below, key};
use crate::tokens::SharedTokens;
use crate::websocket::{self, Incoming};
use crate::{Fleet, FrameFaults, LastMile, Signal, Sink, Who};
use attacks::{BY_FRAMES, Number, OVERSIZED, Shot, Upto, Victims};
use seat::{DEVICES, Device, Role, SEATS, Seat};
use squall_core::Time;
use squall_history::{EVER, Entity, Event, Kind, Via, What, payload_hash};
use squall_protocol::ids::mix;
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, ConversationId, DeviceId, LogSpan, Payload, Refusal, Seq, ServerFrame,
    UserId,
};
use squall_scenarios::{FaultKind, Scenario};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The number of the first insider's first connection among the clients of the last mile: above those of devices, below the liars'.
pub const FIRST_INSIDER: u32 = 0xfff0_0000;
/// Between two attacks on one connection.
const ATTACK_EVERY: Duration = Duration::from_millis(400);
/// Before a connection that was closed is opened again.
const BACK_AFTER: Duration = Duration::from_secs(1);
/// Numbers of devices that are an insider's: their own, and one for each that they guess. A guess beyond is one of before.
const DEVICES_EACH: usize = 4_096;
/// A count that no honest device reaches.
const HIGHEST_COUNT: u64 = u64::MAX >> 1;

struct Insider<C> {
    /// Index of the person whose devices these are.
    index: u32,
    /// The number of the first of their devices.
    first: u64,
    devices: Vec<Device>,
    seats: Vec<Seat<C>>,
    messages: u32,
}

/// All insiders of a run.
pub struct Insiders<C> {
    key: u64,
    tokens: SharedTokens,
    gateways: u32,
    insiders: Vec<Insider<C>>,
    /// How many act at the moment.
    active: u32,
    /// Attacks so far, by kind.
    hits: BTreeMap<Attack, u64>,
    stream: Stream,
}

impl<C: Copy + Eq> Insiders<C> {
    /// Those of a scenario; who they are is drawn from the seed. None acts yet.
    pub fn new(scenario: &Scenario, who: &Who) -> Self {
        let wanted = scenario.faults.iter().filter_map(|fault| match fault.kind {
            FaultKind::Insiders { count, guessing } => Some((count, guessing)),
            _ => None,
        });
        // So many may act at once, and the first of them use device numbers of others as well.
        let (most, guessing) = wanted.fold((0, 0), |all, (count, guessing)| (all.0 + count, all.1.max(guessing)));
        let users = scenario.population.users;
        let key = key(who.seed, "insiders");
        let mut people: Vec<u32> = Vec::new();
        for number in 0..most.min(users) {
            // Each is another person: who has been drawn already gives way to the next.
            let drawn = below(mix(key ^ u64::from(number)), users.into()) as u32;
            let free = (drawn..users).chain(0..drawn).find(|index| !people.contains(index));
            people.extend(free);
        }
        let insider = |(number, index): (u32, &u32)| {
            let first =
                who.run.first_device() + u64::from(FIRST_INSIDER) + u64::from(number) * DEVICES_EACH as u64 + 1;
            Insider {
                index: *index,
                first,
                devices: (0..DEVICES as u64).map(|device| Device::new(DeviceId(first + device), None)).collect(),
                seats: SEATS
                    .iter()
                    .filter(|(role, _)| *role != Role::Guesser || number < guessing)
                    .map(|(role, device)| Seat::new(*role, *device))
                    .collect(),
                messages: 0,
            }
        };
        let insiders = (0..).zip(&people).map(insider).collect();
        Insiders {
            key,
            tokens: Arc::clone(&who.tokens),
            gateways: scenario.topology.gateways,
            insiders,
            active: 0,
            hits: BTreeMap::new(),
            stream: Stream::from_key(key),
        }
    }

    /// From now on this many act; the others have left.
    pub fn set_active<L: LastMile<Conn = C>, F: FrameFaults>(
        &mut self,
        active: u32,
        fleet: &mut Fleet<L, F>,
        now: Time,
        sink: &mut impl Sink,
    ) {
        let before = std::mem::replace(&mut self.active, active.min(self.insiders.len() as u32));
        for number in before..self.active {
            let insider = &self.insiders[number as usize];
            insider
                .devices
                .iter()
                .for_each(|device| announce(device, insider.index, fleet.population(), now, sink));
        }
        for number in self.active..before {
            for seat in 0..self.insiders[number as usize].seats.len() {
                self.lose(number as usize, seat, now, sink);
            }
            for seat in &mut self.insiders[number as usize].seats {
                if let Some(conn) = seat.conn.take() {
                    fleet.last_mile.close(conn);
                }
            }
        }
    }

    /// How many act at the moment.
    pub fn active(&self) -> u32 {
        self.active
    }

    /// Whether one of them is this person, by index: what happens to their own devices is their own doing.
    pub fn are(&self, user: u32) -> bool {
        self.insiders.iter().any(|insider| insider.index == user)
    }

    /// How often each attack has been made so far; all are named.
    pub fn hits(&self) -> impl Iterator<Item = (Attack, u64)> + '_ {
        Attack::ALL.iter().map(|attack| (*attack, self.hits.get(attack).copied().unwrap_or(0)))
    }

    /// When an insider next does something; never, if none acts.
    pub fn next_due(&self) -> Time {
        let seats = self.insiders[..self.active as usize].iter().flat_map(|insider| &insider.seats);
        seats.map(|seat| seat.next).min().unwrap_or(Time::NEVER)
    }

    fn count(&mut self, attack: Attack) {
        *self.hits.entry(attack).or_default() += 1;
    }

    /// Lets every connection whose time has come do something.
    pub fn step<L: LastMile<Conn = C>, F: FrameFaults>(
        &mut self,
        fleet: &mut Fleet<L, F>,
        now: Time,
        sink: &mut impl Sink,
    ) {
        for number in 0..self.active as usize {
            for seat in 0..self.insiders[number].seats.len() {
                let place = &mut self.insiders[number].seats[seat];
                if place.next > now {
                    continue;
                }
                place.next = now + ATTACK_EVERY;
                match place.conn {
                    None => self.open(number, seat, fleet, now, sink),
                    Some(_) if place.upgraded && !place.greeted => self.greet(number, seat, fleet, now),
                    Some(_) if place.welcomed && !place.is_stuffed() => {
                        self.attack(number, seat, fleet, now, sink)
                    }
                    Some(_) => {}
                }
                self.insiders[number].seats[seat].flush(&mut fleet.last_mile);
            }
        }
    }

    fn open<L: LastMile<Conn = C>, F: FrameFaults>(
        &mut self,
        number: usize,
        seat: usize,
        fleet: &mut Fleet<L, F>,
        now: Time,
        sink: &mut impl Sink,
    ) {
        let insider = &mut self.insiders[number];
        if insider.seats[seat].role == Role::Guesser {
            let population = fleet.population();
            let victim = self.stream.below(population.devices().into()) as u32;
            // Of another person: what is done to one's own devices is one's own.
            if population.owner(victim) == insider.index {
                return;
            }
            let known = insider.devices.iter().position(|device| device.guessed == Some(victim));
            insider.seats[seat].device = known.unwrap_or_else(|| insider.guess(victim, population, now, sink));
        }
        let gateway = self.stream.below(self.gateways.into()) as u32;
        let client = FIRST_INSIDER + (number * SEATS.len() + seat) as u32;
        let conn = fleet.last_mile.open(client, gateway);
        self.insiders[number].seats[seat].opened(conn, gateway as u16);
    }

    /// Says `hello`, as whoever this connection pretends to be.
    fn greet<L: LastMile<Conn = C>, F: FrameFaults>(
        &mut self,
        number: usize,
        seat: usize,
        fleet: &Fleet<L, F>,
        now: Time,
    ) {
        let population = fleet.population();
        let draw = self.stream.next_u64();
        let insider = &mut self.insiders[number];
        let user = population.user(insider.index);
        let place = &mut insider.seats[seat];
        let device = &mut insider.devices[place.device];
        let own = device.number(population);
        let (named, count, attack) = match place.role {
            Role::Double if draw & 1 == 0 => (own, device.connects.saturating_sub(1), Some(Attack::LowerCount)),
            Role::Double => (own, device.connects, Some(Attack::EqualCount)),
            Role::Boaster => {
                device.connects = HIGHEST_COUNT;
                (own, HIGHEST_COUNT, Some(Attack::HighestCount))
            }
            Role::Guesser => {
                device.connects = device.guessed.map_or(0, |victim| fleet.connect_count(victim) + 1);
                (own, device.connects, Some(Attack::GuessDevice))
            }
            Role::Main => {
                device.connects += 1;
                (own, device.connects, None)
            }
            Role::Deaf | Role::Mute | Role::Spare => {
                device.connects += 1;
                (own, device.connects, Some(Attack::ManyConnections))
            }
        };
        let frame = ClientFrame::Hello {
            token: self.tokens.issue(user, named, now).token,
            connect_count: count,
            invisible: false,
        };
        place.write_frame(&frame, draw as u32);
        place.greeted = true;
        attack.into_iter().for_each(|attack| self.count(attack));
    }

    fn attack<L: LastMile<Conn = C>, F: FrameFaults>(
        &mut self,
        number: usize,
        seat: usize,
        fleet: &Fleet<L, F>,
        now: Time,
        sink: &mut impl Sink,
    ) {
        let mut draw = self.stream.below(BY_FRAMES.iter().map(|(_, chance)| chance).sum());
        let drawn = BY_FRAMES.iter().find(|(_, chance)| {
            let is_it = draw < *chance;
            draw = draw.saturating_sub(*chance);
            is_it
        });
        let Some((attack, _)) = drawn else { return };
        let index = self.insiders[number].index;
        let Some(victims) = Victims::draw(fleet.population(), index, &mut self.stream) else { return };
        for shot in attack.frames(&victims, &mut self.stream) {
            self.shoot(number, seat, shot, victims.user, now, sink);
        }
        self.count(*attack);
    }

    /// Puts one frame of an attack on the wire, and its `send` in the history.
    fn shoot(&mut self, number: usize, seat: usize, shot: Shot, user: UserId, now: Time, sink: &mut impl Sink) {
        let mask = self.stream.next_u64() as u32;
        let insider = &mut self.insiders[number];
        let place = &mut insider.seats[seat];
        let device = &mut insider.devices[place.device];
        let at = Entity::Device(device.id);
        let frame = match shot {
            Shot::Oversized => return place.write_oversized(OVERSIZED, mask),
            Shot::SendAgain => match device.last.clone() {
                Some(last) => last,
                None => return,
            },
            Shot::Hello => ClientFrame::Hello {
                token: self.tokens.issue(user, device.id, now).token,
                connect_count: device.connects,
                invisible: false,
            },
            Shot::Sync { conversation } => ClientFrame::Sync { conversation, since_seq: Seq::ZERO },
            Shot::Ack { conversation, up_to } => {
                let up_to_seq = match up_to {
                    Upto::Shown => device.shown_up_to(conversation),
                    Upto::This(seq) => seq,
                };
                ClientFrame::Ack { conversation, up_to_seq }
            }
            Shot::Send { conversation, number, payload } => {
                let turn = *device.next.entry(conversation).or_insert(ClientSeq::FIRST);
                let client_seq = match number {
                    Number::Next => {
                        device.next.insert(conversation, turn.next());
                        turn
                    }
                    Number::Ahead(by) => ClientSeq(turn.0.saturating_add(by)),
                    Number::This(number) => number,
                };
                let id = mix(self.key ^ device.id.0 << 32 ^ u64::from(insider.messages));
                let client_msg_id = ClientMsgId(u128::from(id) << 64 | u128::from(insider.messages));
                insider.messages += 1;
                send_event(at, conversation, client_msg_id, user, &payload, now, sink);
                let shown = (conversation, payload_hash(&payload), What::of(&payload));
                device.sent.insert(client_msg_id, shown);
                let frame = ClientFrame::Send { conversation, client_msg_id, client_seq, payload };
                device.last = Some(frame.clone());
                frame
            }
        };
        place.write_frame(&frame, mask);
    }

    /// The network tells an insider something.
    pub fn handle_signal<L: LastMile<Conn = C>, F: FrameFaults>(
        &mut self,
        client: u32,
        conn: C,
        signal: Signal,
        fleet: &mut Fleet<L, F>,
        now: Time,
        sink: &mut impl Sink,
    ) {
        let client = (client - FIRST_INSIDER) as usize;
        let (number, seat) = (client / SEATS.len(), client % SEATS.len());
        let Some(insider) = self.insiders.get_mut(number) else { return };
        let place = &mut insider.seats[seat];
        if place.conn != Some(conn) {
            return;
        }
        match signal {
            Signal::Connected => {
                let (authority, path) = fleet.last_mile.resource(place.gateway.into());
                let request = websocket::request(authority, path, place.codec().subprotocol(), self.key);
                place.write_bytes(&request);
                place.flush(&mut fleet.last_mile);
            }
            Signal::Readable if place.role == Role::Deaf && place.welcomed => self.count(Attack::NeverRead),
            Signal::Readable => {
                let mut input = std::mem::take(&mut place.input);
                let _ = fleet.last_mile.read(conn, &mut input);
                let user = fleet.population().user(insider.index);
                if self.read(number, seat, &mut input, user, now, sink) {
                    let place = &mut self.insiders[number].seats[seat];
                    place.input = input;
                    place.flush(&mut fleet.last_mile);
                } else {
                    self.lose(number, seat, now, sink);
                    fleet.last_mile.close(conn);
                }
            }
            Signal::Writable => place.flush(&mut fleet.last_mile),
            Signal::Lost(_) => self.lose(number, seat, now, sink),
        }
    }

    /// The connection is over.
    fn lose(&mut self, number: usize, seat: usize, now: Time, sink: &mut impl Sink) {
        let insider = &mut self.insiders[number];
        let place = &mut insider.seats[seat];
        place.next = now + BACK_AFTER;
        if std::mem::replace(&mut place.welcomed, false) {
            let device = &mut insider.devices[place.device];
            device.welcomed -= 1;
            if device.welcomed == 0 {
                let kind = Kind::Disconnect { reason: "lost" };
                sink.event(Event { t: now.0, at: Entity::Device(device.id), kind });
            }
        }
        // A place that acts no more has its connection closed by whoever asked.
        if (number as u32) < self.active {
            place.conn = None;
        }
    }

    /// Takes in what has arrived. False: the gateway has had enough.
    fn read(
        &mut self,
        number: usize,
        seat: usize,
        input: &mut Vec<u8>,
        user: UserId,
        now: Time,
        sink: &mut impl Sink,
    ) -> bool {
        let mut used = 0;
        let goes_on = loop {
            let (rest, place) = (&input[used..], &mut self.insiders[number].seats[seat]);
            let codec = place.codec();
            if !place.upgraded {
                match websocket::accept(rest, codec.subprotocol(), self.key) {
                    Ok(Some(len)) => {
                        used += len;
                        place.upgraded = true;
                        continue;
                    }
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            }
            match websocket::read(rest) {
                Ok(None) => break true,
                Ok(Some((Incoming::Text(payload) | Incoming::Binary(payload), len))) => {
                    used += len;
                    if let Ok(frame) = codec.decode_server(payload) {
                        self.handle_frame(number, seat, frame, user, now, sink);
                    }
                }
                Ok(Some((Incoming::Control, len))) => used += len,
                Ok(Some((Incoming::Close(..), _))) | Err(_) => break false,
            }
        };
        input.drain(..used);
        goes_on
    }

    fn handle_frame(
        &mut self,
        number: usize,
        seat: usize,
        frame: ServerFrame,
        user: UserId,
        now: Time,
        sink: &mut impl Sink,
    ) {
        let insider = &mut self.insiders[number];
        let place = &mut insider.seats[seat];
        let device = &mut insider.devices[place.device];
        let at = Entity::Device(device.id);
        match frame {
            ServerFrame::Welcome { .. } if !place.welcomed => {
                place.welcomed = true;
                device.welcomed += 1;
                if device.welcomed == 1 {
                    let (gateway, connect_count) = (place.gateway, device.connects);
                    sink.event(Event {
                        t: now.0,
                        at,
                        kind: Kind::Connect { user, gateway, connect_count, expires_s: EVER },
                    });
                }
            }
            ServerFrame::Sent { conversation, client_msg_id, server_seq, stored_at_ms } => {
                let Some((_, body_hash, what)) = device.sent.remove(&client_msg_id) else { return };
                sink.event(Event {
                    t: now.0,
                    at,
                    kind: Kind::Sent { conversation, client_msg_id, seq: server_seq, stored_at_ms },
                });
                let own = Shown { conversation, seq: server_seq, sender: user, client_msg_id, body_hash, what };
                show(device, user, own, Via::Ack, now, sink);
            }
            ServerFrame::Refused { conversation, client_msg_id, reason } => match reason {
                Refusal::ExpectedClientSeq(expected) => drop(device.next.insert(conversation, expected)),
                Refusal::Busy => {}
                _ => {
                    // It has consumed no number.
                    let turn = device.next.entry(conversation).or_insert(ClientSeq::FIRST);
                    *turn = ClientSeq(turn.0.saturating_sub(1).max(1));
                    device.sent.remove(&client_msg_id);
                }
            },
            ServerFrame::Deliver(span) => self.arrived(number, seat, span, Via::Deliver, user, now, sink),
            ServerFrame::Page { span, .. } => self.arrived(number, seat, span, Via::Page, user, now, sink),
            _ => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "who, what, how and when")]
    fn arrived(
        &mut self,
        number: usize,
        seat: usize,
        span: LogSpan,
        via: Via,
        user: UserId,
        now: Time,
        sink: &mut impl Sink,
    ) {
        let insider = &mut self.insiders[number];
        let place = &mut insider.seats[seat];
        let device = &mut insider.devices[place.device];
        let conversation = span.conversation;
        for entry in span.entries {
            let (body_hash, what) = (payload_hash(&entry.payload), What::of(&entry.payload));
            let (seq, sender, client_msg_id) = (entry.seq, entry.sender, entry.client_msg_id);
            show(
                device,
                user,
                Shown { conversation, seq, sender, client_msg_id, body_hash, what },
                via,
                now,
                sink,
            );
        }
        let up_to_seq = device.shown_up_to(conversation);
        match place.role {
            Role::Mute => self.count(Attack::NeverAck),
            _ => {
                place.write_frame(&ClientFrame::Ack { conversation, up_to_seq }, up_to_seq.0 as u32);
                let kind = Kind::Ack { conversation, up_to: up_to_seq };
                sink.event(Event { t: now.0, at: Entity::Device(device.id), kind });
            }
        }
    }
}

impl<C> Insider<C> {
    /// One more device, which goes by the number of somebody else's; its place among the insider's.
    fn guess(&mut self, victim: u32, population: &Population, now: Time, sink: &mut impl Sink) -> usize {
        if self.devices.len() == DEVICES_EACH {
            return DEVICES;
        }
        let device = Device::new(DeviceId(self.first + self.devices.len() as u64), Some(victim));
        announce(&device, self.index, population, now, sink);
        self.devices.push(device);
        self.devices.len() - 1
    }
}

/// The history learns of a device with which an insider attacks.
fn announce(device: &Device, index: u32, population: &Population, now: Time, sink: &mut impl Sink) {
    let number = device.guessed.map(|victim| population.device(victim));
    let kind = Kind::Insider { user: population.user(index), number };
    sink.event(Event { t: now.0, at: Entity::Device(device.id), kind });
}

/// An entry that an insider sees.
struct Shown {
    conversation: ConversationId,
    seq: Seq,
    sender: UserId,
    client_msg_id: ClientMsgId,
    body_hash: u64,
    what: What,
}

/// What is new is displayed to the insider's user; what it leaves out is passed over, for an attacker waits for nothing.
fn show(device: &mut Device, user: UserId, shown: Shown, via: Via, now: Time, sink: &mut impl Sink) {
    let Shown { conversation, seq, sender, client_msg_id, body_hash, what } = shown;
    let before = device.shown_up_to(conversation);
    if seq <= before {
        return;
    }
    device.shown.insert(conversation, seq);
    let at = Entity::Device(device.id);
    if seq > before.next() {
        let kind = Kind::Skip { conversation, from: before.next(), to: seq.prev() };
        sink.event(Event { t: now.0, at, kind });
    }
    let kind = Kind::Display { user, conversation, seq, sender, client_msg_id, body_hash, what, via };
    sink.event(Event { t: now.0, at, kind });
}

fn send_event(
    at: Entity,
    conversation: ConversationId,
    client_msg_id: ClientMsgId,
    sender: UserId,
    payload: &Payload,
    now: Time,
    sink: &mut impl Sink,
) {
    let members = What::named(payload).to_vec();
    let (body_hash, what) = (payload_hash(payload), What::of(payload));
    let kind = Kind::Send { conversation, sender, client_msg_id, body_hash, what, members };
    sink.event(Event { t: now.0, at, kind });
    // How long an attack takes says nothing of the service.
    sink.is_no_sample(client_msg_id);
}
