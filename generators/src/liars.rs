//! Clients that are nobody's: they speak real WebSocket bytes and lie.
//!
//! **Invariant:** a lie leaves no trace. A liar's sends have no `send` event, so that one in a log breaks
//! `nothing-unsent`; what a stranger is shown is displayed to a user who is a member of nothing, which breaks
//! `members-only`; and whoever is disturbed by a lie loses something that the other checks miss.

use crate::fleet::seen_name;
use crate::population::{Conversation, Population};
use crate::rng::{below, key};
use crate::tokens::{Flaw, Issued, SharedTokens, forged};
use crate::websocket::{self, Incoming};
use crate::{Fleet, FrameFaults, LastMile, Signal, Sink, Who};
use squall_core::Time;
use squall_history::{Entity, Event, Kind, Via, What, payload_hash};
use squall_protocol::ids::mix;
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, DeviceId, LogSpan, Payload, Receipts, Seq,
    ServerFrame, UserId,
};
use squall_scenarios::{FaultKind, Scenario};
use std::sync::Arc;
use std::time::Duration;

/// The number of the first liar among the clients of the last mile: far above those of devices.
pub const FIRST_LIAR: u32 = 0xffff_0000;
/// Between two lies of one liar.
const LIE_EVERY: Duration = Duration::from_millis(700);
/// Lies that a stranger knows.
const LIES: u32 = 12;
/// The sorts of which one writes JSON and the next, so many liars on, Protobuf.
const A_CODEC_EACH: u32 = 4;
/// Before a liar that was turned away comes back.
const BACK_AFTER: Duration = Duration::from_secs(1);
/// A liar with a replayed `hello` leaves after this many steps: it listens, and says nothing more.
const REPLAYED_STEPS: u32 = 3;

/// What a liar does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// A user of no conversation writes to those of others, reads, acks and joins them, and creates them in their place.
    Stranger,
    /// A token in the name of a real device that no gateway may take: each time with another flaw.
    Forger,
    /// A real device's `hello`, word for word, from another connection.
    Replayer,
    /// Bytes that are no frames.
    Garbler,
    /// A user of no conversation whose token is about to be good for nothing, and who stays for as long as it is let.
    Outstayer,
    /// A user of no conversation who would last longer by the token of a real device.
    Thief,
}

const SORTS: [Sort; 6] =
    [Sort::Stranger, Sort::Forger, Sort::Replayer, Sort::Garbler, Sort::Outstayer, Sort::Thief];

/// What is wrong with the tokens of a forger, in turn.
const FLAWS: [Flaw; 5] = [Flaw::Forged, Flaw::Expired, Flaw::OtherAlgorithm, Flaw::UnknownKey, Flaw::NotYet];

/// What whoever stays too long is answered.
const OUTSTAYED: &str = "outstayed";
const LEEWAY_S: i64 = squall_protocol::limits::TOKEN_LEEWAY.as_secs() as i64;

/// What a liar has shown and asked, as far as an answer to it would be wrong.
#[derive(Clone, Copy)]
struct Claim {
    flaw: &'static str,
    expires_s: i64,
    not_before_s: Option<i64>,
    asked: Time,
}

struct Liar<C> {
    sort: Sort,
    conn: Option<C>,
    upgraded: bool,
    connects: u64,
    steps: u32,
    next: Time,
    input: Vec<u8>,
    gateway: u16,
    claim: Option<Claim>,
    /// It has asked for a sign of life, and asks for no other before it has it: so an answer is to the last question.
    asks: bool,
}

/// All liars of a run.
pub struct Liars<C> {
    key: u64,
    /// The number of the first one's device.
    first: u64,
    tokens: SharedTokens,
    gateways: u32,
    liars: Vec<Liar<C>>,
    /// How many act at the moment.
    active: u32,
    lies: u64,
}

impl<C: Copy + Eq> Liars<C> {
    /// Those of a scenario. None acts yet.
    pub fn new(scenario: &Scenario, who: &Who) -> Self {
        let counts = scenario.faults.iter().map(|fault| match fault.kind {
            FaultKind::Liars { count } => count,
            _ => 0,
        });
        let most: u32 = counts.sum();
        let liar = |index: u32| Liar {
            sort: SORTS[index as usize % SORTS.len()],
            conn: None,
            upgraded: false,
            connects: 0,
            steps: 0,
            next: Time::ZERO,
            input: Vec::new(),
            gateway: 0,
            claim: None,
            asks: false,
        };
        let liars = (0..most).map(liar).collect();
        Liars {
            key: key(who.seed, "liars") ^ who.run.salt("liars"),
            first: who.run.first_device() + u64::from(FIRST_LIAR) + 1,
            tokens: Arc::clone(&who.tokens),
            gateways: scenario.topology.gateways,
            liars,
            active: 0,
            lies: 0,
        }
    }

    /// From now on this many act; the others have left.
    pub fn set_active(&mut self, active: u32, last_mile: &mut impl LastMile<Conn = C>) {
        self.active = active.min(self.liars.len() as u32);
        for liar in &mut self.liars[self.active as usize..] {
            if let Some(conn) = liar.conn.take() {
                last_mile.close(conn);
            }
        }
    }

    /// When a liar next does something of itself; never, if none acts.
    pub fn next_due(&self) -> Time {
        self.liars[..self.active as usize].iter().map(|liar| liar.next).min().unwrap_or(Time::NEVER)
    }

    /// How many act at the moment.
    pub fn active(&self) -> u32 {
        self.active
    }

    /// Lies told so far: frames that no honest client sends.
    pub fn lies(&self) -> u64 {
        self.lies
    }

    /// Lets every liar whose time has come do something.
    pub fn step<L: LastMile<Conn = C>, F: FrameFaults>(&mut self, fleet: &mut Fleet<L, F>, now: Time) {
        for index in 0..self.active {
            let liar = &mut self.liars[index as usize];
            if liar.next > now {
                continue;
            }
            liar.next = now + LIE_EVERY;
            match liar.conn {
                None => {
                    liar.connects += 1;
                    liar.upgraded = false;
                    liar.steps = 0;
                    liar.input.clear();
                    liar.claim = None;
                    liar.asks = false;
                    let gateway =
                        below(mix(self.key ^ u64::from(index) ^ liar.connects), u64::from(self.gateways));
                    liar.gateway = gateway as u16;
                    liar.conn = Some(fleet.last_mile.open(FIRST_LIAR + index, gateway as u32));
                }
                Some(conn) if liar.upgraded => self.lie(index, conn, fleet, now),
                Some(_) => {}
            }
        }
    }

    fn user(&self, index: u32) -> UserId {
        UserId(mix(self.key ^ u64::from(index)) >> 1)
    }

    fn codec(index: u32) -> Codec {
        if (index / A_CODEC_EACH).is_multiple_of(2) { Codec::Json } else { Codec::Protobuf }
    }

    fn lie<L: LastMile<Conn = C>, F: FrameFaults>(
        &mut self,
        index: u32,
        conn: C,
        fleet: &mut Fleet<L, F>,
        now: Time,
    ) {
        let liar = &mut self.liars[index as usize];
        if liar.asks {
            return;
        }
        liar.steps += 1;
        let (sort, step) = (liar.sort, liar.steps);
        let draw = mix(self.key ^ mix(u64::from(index)) ^ liar.connects << 32 ^ u64::from(step));
        if sort == Sort::Replayer && step > REPLAYED_STEPS {
            self.turned_away(index, now);
            return fleet.last_mile.close(conn);
        }
        let codec = Self::codec(index);
        let mut bytes = Vec::new();
        if sort == Sort::Garbler && step > 1 {
            bytes = garbage(draw, codec);
        } else {
            let frame = self.frame(index, sort, step, draw, fleet, now);
            websocket::write(&mut bytes, codec.is_binary(), &codec.encode_client(&frame), draw as u32);
        }
        // The hello of a stranger is true, and a replayer says nothing more than its hello.
        let is_lie = match sort {
            Sort::Stranger | Sort::Garbler => step > 1,
            Sort::Forger | Sort::Outstayer => true,
            Sort::Replayer => step == 1,
            Sort::Thief => step > 1,
        };
        // What finds no room is a lie less.
        let written = fleet.last_mile.write(conn, &bytes).is_ok_and(|written| written > 0);
        self.lies += u64::from(is_lie && written);
    }

    fn frame<L: LastMile<Conn = C>, F: FrameFaults>(
        &mut self,
        index: u32,
        sort: Sort,
        step: u32,
        draw: u64,
        fleet: &Fleet<L, F>,
        now: Time,
    ) -> ClientFrame {
        let population = fleet.population();
        let own = (self.user(index), DeviceId(self.first + u64::from(index)));
        let victim = below(draw, u64::from(population.devices())) as u32;
        let real = (population.user_of_device(victim), population.device(victim));
        if step == 1 {
            let connects = self.liars[index as usize].connects;
            return match sort {
                Sort::Stranger | Sort::Garbler | Sort::Thief => ClientFrame::Hello {
                    token: self.tokens.issue(own.0, own.1, now).token,
                    connect_count: connects,
                    invisible: false,
                },
                Sort::Outstayer => {
                    let expiring = self.flawed(index, Flaw::Expiring, own, now);
                    ClientFrame::Hello { token: expiring.token, connect_count: connects, invisible: false }
                }
                Sort::Forger => {
                    let flaw = FLAWS[connects as usize % FLAWS.len()];
                    let wrong = self.flawed(index, flaw, real, now);
                    ClientFrame::Hello {
                        token: wrong.token,
                        connect_count: fleet.connect_count(victim) + 1_000,
                        invisible: false,
                    }
                }
                // Of a device that is connected: what it had said is what can be heard and said again.
                Sort::Replayer if fleet.is_online(victim) => ClientFrame::Hello {
                    token: self.tokens.issue(real.0, real.1, now).token,
                    connect_count: fleet.connect_count(victim),
                    invisible: false,
                },
                Sort::Replayer => ClientFrame::Ping,
            };
        }
        match sort {
            Sort::Replayer => ClientFrame::Ping,
            Sort::Outstayer => {
                let liar = &mut self.liars[index as usize];
                liar.asks = true;
                if let Some(claim) = &mut liar.claim {
                    (claim.flaw, claim.asked) = (OUTSTAYED, now);
                }
                ClientFrame::Ping
            }
            Sort::Thief => {
                let Issued { token, expires_s, not_before_s } = self.tokens.issue(real.0, real.1, now);
                self.claim(index, Claim { flaw: "another's", expires_s, not_before_s, asked: now });
                ClientFrame::Refresh { token }
            }
            Sort::Stranger | Sort::Forger | Sort::Garbler => {
                strangers_lie(step, &foreign(population, step, draw), own.0, index, draw)
            }
        }
    }

    /// A token with a flaw, or with a wrong signature where such a one cannot be had.
    fn flawed(&mut self, index: u32, flaw: Flaw, (user, device): (UserId, DeviceId), now: Time) -> Issued {
        let (flaw, issued) = match self.tokens.flawed(flaw, user, device, now) {
            Some(issued) => (flaw, issued),
            None => (Flaw::Forged, forged(self.tokens.issue(user, device, now))),
        };
        let Issued { expires_s, not_before_s, .. } = issued;
        self.claim(index, Claim { flaw: flaw.name(), expires_s, not_before_s, asked: now });
        issued
    }

    fn claim(&mut self, index: u32, claim: Claim) {
        self.liars[index as usize].claim = Some(claim);
    }

    /// A gateway has answered what it may have had no reason to.
    fn is_taken(&self, index: u32, now: Time, sink: &mut impl Sink) {
        let liar = &self.liars[index as usize];
        let Some(Claim { flaw, expires_s, not_before_s, asked }) = liar.claim else { return };
        let (gateway, asked) = (liar.gateway, asked.0);
        let at = Entity::Device(DeviceId(self.first + u64::from(index)));
        let kind = Kind::TokenTaken { gateway, flaw, expires_s, not_before_s, asked };
        sink.event(Event { t: now.0, at, kind });
    }

    /// The network tells a liar something.
    pub fn handle_signal<L: LastMile<Conn = C>, F: FrameFaults>(
        &mut self,
        client: u32,
        conn: C,
        signal: Signal,
        fleet: &mut Fleet<L, F>,
        now: Time,
        sink: &mut impl Sink,
    ) {
        let index = client - FIRST_LIAR;
        let Some(liar) = self.liars.get_mut(index as usize).filter(|liar| liar.conn == Some(conn)) else { return };
        match signal {
            Signal::Connected => {
                let (authority, path) = fleet.last_mile.resource(0);
                let request = websocket::request(authority, path, Self::codec(index).subprotocol(), self.key);
                let _ = fleet.last_mile.write(conn, &request);
            }
            Signal::Readable => {
                let _ = fleet.last_mile.read(conn, &mut liar.input);
                if !self.read(index, now, sink) {
                    self.turned_away(index, now);
                    fleet.last_mile.close(conn);
                }
            }
            Signal::Writable => {}
            Signal::Lost(_) => self.turned_away(index, now),
        }
    }

    fn turned_away(&mut self, index: u32, now: Time) {
        let liar = &mut self.liars[index as usize];
        liar.conn = None;
        liar.next = now + BACK_AFTER;
    }

    /// Takes in what has arrived. False: the gateway has had enough.
    fn read(&mut self, index: u32, now: Time, sink: &mut impl Sink) -> bool {
        let codec = Self::codec(index);
        let mut input = std::mem::take(&mut self.liars[index as usize].input);
        let mut used = 0;
        let goes_on = loop {
            let rest = &input[used..];
            if !self.liars[index as usize].upgraded {
                match websocket::accept(rest, codec.subprotocol(), self.key) {
                    Ok(Some(len)) => {
                        used += len;
                        self.liars[index as usize].upgraded = true;
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
                    // What it cannot read shows it nothing.
                    if let Ok(frame) = codec.decode_server(payload) {
                        self.handle_frame(index, frame, now, sink);
                    }
                }
                Ok(Some((Incoming::Control, len))) => used += len,
                Ok(Some((Incoming::Close(..), _))) | Err(_) => break false,
            }
        };
        input.drain(..used);
        self.liars[index as usize].input = input;
        goes_on
    }

    fn handle_frame(&mut self, index: u32, frame: ServerFrame, now: Time, sink: &mut impl Sink) {
        match frame {
            ServerFrame::Deliver(span) | ServerFrame::Page { span, .. } => self.show(index, span, now, sink),
            // A thief's own hello is true, and its answer may come after the lie that follows.
            ServerFrame::Welcome { .. } if self.liars[index as usize].sort == Sort::Thief => {}
            ServerFrame::Welcome { .. } | ServerFrame::Refreshed { .. } => self.is_taken(index, now, sink),
            ServerFrame::Presence { user, state, last_seen_ms } => {
                if self.liars[index as usize].sort != Sort::Replayer {
                    let at = Entity::Device(DeviceId(self.first + u64::from(index)));
                    let kind = Kind::Presence { user, state: seen_name(state), last_seen_ms };
                    sink.event(Event { t: now.0, at, kind });
                }
            }
            ServerFrame::Pong => {
                self.liars[index as usize].asks = false;
                // Before it was asked so late, there was no reason not to answer.
                if self.has_outstayed(index) {
                    self.is_taken(index, now, sink);
                }
            }
            ServerFrame::Typing { conversation, user } => {
                if self.liars[index as usize].sort != Sort::Replayer {
                    let at = Entity::Device(DeviceId(self.first + u64::from(index)));
                    sink.event(Event { t: now.0, at, kind: Kind::TypingShown { conversation, user } });
                }
            }
            ServerFrame::Sent { .. }
            | ServerFrame::Refused { .. }
            | ServerFrame::Heads { .. }
            | ServerFrame::Error { .. }
            | ServerFrame::Stale { .. }
            | ServerFrame::ComeBack { .. } => {}
            ServerFrame::Receipts { receipts } => self.is_told(index, receipts, now, sink),
        }
    }

    /// Who has read what is no business of a stranger.
    fn is_told(&self, index: u32, receipts: Vec<Receipts>, now: Time, sink: &mut impl Sink) {
        if self.liars[index as usize].sort != Sort::Stranger {
            return;
        }
        for Receipts { conversation, users, counts } in receipts {
            let at = Entity::Device(DeviceId(self.first + u64::from(index)));
            sink.event(Event { t: now.0, at, kind: Kind::Receipts { conversation, users, counts } });
        }
    }

    /// Whether what was asked last was asked when the token of whoever asked was good for nothing, by a clock that is right.
    fn has_outstayed(&self, index: u32) -> bool {
        let claim = self.liars[index as usize].claim.filter(|claim| claim.flaw == OUTSTAYED);
        claim.is_some_and(|claim| (claim.asked.0 / 1_000_000) as i64 > claim.expires_s + LEEWAY_S)
    }

    /// What a liar is shown goes to the history. With a replayed `hello` it sees what the device's user may see.
    fn show(&self, index: u32, span: LogSpan, now: Time, sink: &mut impl Sink) {
        if self.liars[index as usize].sort == Sort::Replayer {
            return;
        }
        for entry in span.entries {
            sink.event(Event {
                t: now.0,
                at: Entity::Device(DeviceId(self.first + u64::from(index))),
                kind: Kind::Display {
                    user: self.user(index),
                    conversation: span.conversation,
                    seq: entry.seq,
                    sender: entry.sender,
                    client_msg_id: entry.client_msg_id,
                    body_hash: payload_hash(&entry.payload),
                    what: What::of(&entry.payload),
                    via: Via::Page,
                },
            });
        }
    }
}

/// What a stranger says at a step: the frames that ask something of a conversation, in turn.
fn strangers_lie(step: u32, foreign: &Conversation, own: UserId, index: u32, draw: u64) -> ClientFrame {
    let conversation = foreign.id;
    let numbered = |client_seq, payload| ClientFrame::Send {
        conversation,
        client_msg_id: ClientMsgId(u128::from(draw) << 64 | u128::from(index)),
        client_seq,
        payload,
    };
    let send = |payload| numbered(ClientSeq::FIRST, payload);
    let text = || Payload::Text("I was never here".to_owned());
    match step % LIES {
        0 => send(text()),
        1 => ClientFrame::Ack { conversation, up_to_seq: Seq(1 << 40) },
        2 => ClientFrame::Sync { conversation, since_seq: Seq::ZERO },
        // A group of the name that two others have for theirs, with them or without.
        3 => {
            let others = foreign.members.iter().filter(|_| draw & 2 == 0).copied();
            send(Payload::Created { direct: false, channel: false, members: others.chain([own]).collect() })
        }
        4 => send(Payload::joined(own)),
        // Others' conversation, as they would create it.
        5 => send(Payload::Created {
            direct: foreign.is_direct(),
            channel: false,
            members: foreign.members.clone(),
        }),
        6 => numbered(ClientSeq(0), text()),
        7 => ClientFrame::Typing { conversation },
        8 => ClientFrame::Read { conversation, up_to_seq: Seq(1 << 40) },
        9 => numbered(ClientSeq(u64::MAX), text()),
        10 => ClientFrame::Watch { conversation, users: foreign.members.iter().copied().take(2).collect() },
        _ => ClientFrame::Unwatch { conversation },
    }
}

/// A conversation that a stranger has no part in: a group, or two people's. A group in place of theirs takes two people's.
fn foreign(population: &Population, step: u32, draw: u64) -> Conversation {
    let wants_two = step % LIES == 3;
    if population.groups() > 0 && !wants_two && draw & 1 == 0 {
        return population.group(below(draw, u64::from(population.groups())) as u32);
    }
    let user = below(mix(draw), u64::from(population.users())) as u32;
    match population.partner(user, 0) {
        Some(partner) => population.direct(user, partner),
        None => {
            let id = ConversationId::group(population.user(user), draw);
            Conversation { id, owner: Some(user), members: vec![population.user(user)] }
        }
    }
}

/// A frame that no codec reads, an empty one, a huge one, or no frame at all.
fn garbage(draw: u64, codec: Codec) -> Vec<u8> {
    let noise: Vec<u8> = (0..64).map(|n| mix(draw ^ n) as u8).collect();
    let mut bytes = Vec::new();
    match draw % 5 {
        0 => websocket::write(&mut bytes, codec.is_binary(), &noise, draw as u32),
        1 => websocket::write(&mut bytes, !codec.is_binary(), b"{}", draw as u32),
        2 => websocket::write(&mut bytes, codec.is_binary(), b"{\"op\":\"send\"}", draw as u32),
        // A length that no gateway takes.
        3 => bytes = vec![0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4],
        _ => bytes = noise,
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The name of a frame that a stranger must lie with; `None` for one that asks nothing of a conversation. A new frame is
    /// added here first, and then to `strangers_lie`.
    fn name(frame: &ClientFrame) -> Option<&'static str> {
        match frame {
            ClientFrame::Send { .. } => Some("send"),
            ClientFrame::Ack { .. } => Some("ack"),
            ClientFrame::Read { .. } => Some("read"),
            ClientFrame::Sync { .. } => Some("sync"),
            ClientFrame::Typing { .. } => Some("typing"),
            ClientFrame::Watch { .. } => Some("watch"),
            ClientFrame::Unwatch { .. } => Some("unwatch"),
            ClientFrame::Hello { .. }
            | ClientFrame::Ping
            | ClientFrame::Refresh { .. }
            | ClientFrame::Invisible { .. } => None,
        }
    }

    #[test]
    fn strangers_lie_with_every_frame_that_asks_something_of_a_conversation() {
        let (a, b, own) = (UserId(1), UserId(3), UserId(2));
        let theirs = Conversation { id: ConversationId::direct(a, b), owner: None, members: vec![a, b] };
        let lie = |step| strangers_lie(step, &theirs, own, 0, 7);
        let names: BTreeSet<_> = (0..LIES).map(|step| name(&lie(step)).expect("it asks something")).collect();
        assert_eq!(names, BTreeSet::from(["ack", "read", "send", "sync", "typing", "unwatch", "watch"]));
        let numbers: BTreeSet<_> = (0..LIES)
            .filter_map(|step| match lie(step) {
                ClientFrame::Send { client_seq, .. } => Some(client_seq.0),
                _ => None,
            })
            .collect();
        assert_eq!(numbers, BTreeSet::from([0, 1, u64::MAX]));
        let created = (0..LIES).filter_map(|step| match lie(step) {
            ClientFrame::Send { payload: Payload::Created { direct, members, .. }, .. } => Some((direct, members)),
            _ => None,
        });
        assert_eq!(created.collect::<Vec<_>>(), [(false, vec![own]), (true, vec![a, b])]);
    }
}
