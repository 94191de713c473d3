//! What faults do to single frames: they come twice, late, or all over again.
//!
//! A device that does this is still a device of ours: it says nothing that it has not said before.

use super::seams::{Meddle, Meddled};
use super::{Due, Fleet, LastMile, Sink, Wire};
use crate::websocket;
use squall_core::Time;
use squall_history::{Entity, Event, Kind};
use squall_protocol::{ClientFrame, ClientMsgId, ClientSeq, ConversationId, ServerFrame};
use squall_scenarios::FaultKind;
use squall_scenarios::model::Scenario;
use std::collections::BTreeMap;

/// A frame that is on its way for longer.
struct Delayed<C> {
    client: u32,
    conn: C,
    frame: Either,
}

enum Either {
    Up(ClientFrame),
    Down(ServerFrame),
}

/// Every send of a device as it went out, by its place in its conversation.
type Said = BTreeMap<(ConversationId, ClientSeq), ClientFrame>;

/// Frames that are kept back or kept for later.
pub(super) struct Meddling<C> {
    delayed: BTreeMap<u32, Delayed<C>>,
    last: u32,
    /// By client; only kept in scenarios in which it may be asked for.
    said: Option<BTreeMap<u32, Said>>,
}

impl<C> Meddling<C> {
    pub fn new(scenario: &Scenario) -> Self {
        let resends = |kind: &FaultKind| matches!(kind, FaultKind::ResendEverything { .. });
        let keeps = scenario.faults.iter().any(|fault| resends(&fault.kind));
        Meddling { delayed: BTreeMap::new(), last: 0, said: keeps.then(BTreeMap::new) }
    }

    /// A message that was refused is given up: it is not said again.
    pub fn forget(&mut self, client: u32, conversation: ConversationId, id: ClientMsgId) {
        if let Some(said) = self.said.as_mut().and_then(|said| said.get_mut(&client)) {
            let is_it = |frame: &ClientFrame| matches!(frame, ClientFrame::Send { client_msg_id, .. } if *client_msg_id == id);
            said.retain(|(c, _), frame| *c != conversation || !is_it(frame));
        }
    }
}

impl<L: LastMile> Fleet<L> {
    /// Puts a frame of the session on the wire, unless a fault has other plans for it.
    pub(super) fn transmit(
        &mut self,
        index: u32,
        conn: L::Conn,
        frame: ClientFrame,
        now: Time,
        sink: &mut impl Sink,
    ) {
        let meddle = match frame {
            ClientFrame::Ack { .. } => self.last_mile.meddle(index, Meddled::DeviceAck),
            ClientFrame::Send { .. } => self.last_mile.meddle(index, Meddled::Send),
            _ => Meddle::Pass,
        };
        if let (ClientFrame::Send { conversation, client_seq, .. }, Some(said)) = (&frame, &mut self.meddling.said)
        {
            said.entry(index).or_default().insert((*conversation, *client_seq), frame.clone());
        }
        match meddle {
            Meddle::Pass => self.put(index, &frame, now, sink),
            Meddle::Twice => {
                self.put(index, &frame, now, sink);
                self.put_again(index, &frame, now, sink);
            }
            Meddle::Late(by) => self.delay(index, conn, Either::Up(frame), now + by),
        }
    }

    /// Encodes a frame and puts it behind what waits for the network.
    fn put(&mut self, index: u32, frame: &ClientFrame, now: Time, sink: &mut impl Sink) {
        let client = &self.clients[index as usize];
        let at = Entity::Device(client.session.device());
        match *frame {
            ClientFrame::Ack { conversation, up_to_seq } => {
                sink.event(Event { t: now.0, at, kind: Kind::Ack { conversation, up_to: up_to_seq } });
            }
            ClientFrame::Sync { conversation, since_seq } => {
                sink.event(Event { t: now.0, at, kind: Kind::Sync { conversation, since: since_seq } });
            }
            _ => {}
        }
        let (payload, binary) = (client.codec.encode_client(frame), client.codec.is_binary());
        self.totals.frames += 1;
        let mask = self.mask();
        websocket::write(&mut self.output, binary, &payload, mask);
    }

    fn put_again(&mut self, index: u32, frame: &ClientFrame, now: Time, sink: &mut impl Sink) {
        if let ClientFrame::Send { conversation, client_msg_id, .. } = *frame {
            self.totals.resent += 1;
            let at = Entity::Device(self.clients[index as usize].session.device());
            sink.event(Event { t: now.0, at, kind: Kind::Resend { conversation, client_msg_id } });
        }
        self.put(index, frame, now, sink);
    }

    /// The frame that the session gets now; the second copy, if there is one, has been handled.
    pub(super) fn meddle_with_received(
        &mut self,
        index: u32,
        frame: ServerFrame,
        now: Time,
        sink: &mut impl Sink,
    ) -> Option<ServerFrame> {
        if !matches!(frame, ServerFrame::Sent { .. }) {
            return Some(frame);
        }
        match (self.last_mile.meddle(index, Meddled::SentAck), self.clients[index as usize].conn) {
            (Meddle::Twice, _) => {
                let copy = frame.clone();
                self.act(index, now, sink, |session, out| session.handle_frame(copy, now, out));
                Some(frame)
            }
            (Meddle::Late(by), Some(conn)) => {
                self.delay(index, conn, Either::Down(frame), now + by);
                None
            }
            _ => Some(frame),
        }
    }

    fn delay(&mut self, client: u32, conn: L::Conn, frame: Either, until: Time) {
        self.meddling.last += 1;
        self.meddling.delayed.insert(self.meddling.last, Delayed { client, conn, frame });
        self.queue.push(until, Due::Late(self.meddling.last));
    }

    /// A frame that was kept back goes on its way, if its connection is still there.
    pub(super) fn release(&mut self, number: u32, now: Time, sink: &mut impl Sink) {
        let Some(Delayed { client, conn, frame }) = self.meddling.delayed.remove(&number) else { return };
        if self.clients[client as usize].conn != Some(conn) {
            return;
        }
        match frame {
            Either::Up(frame) => {
                self.put(client, &frame, now, sink);
                self.flush(client);
            }
            Either::Down(frame) => {
                self.act(client, now, sink, |session, out| session.handle_frame(frame, now, out))
            }
        }
    }

    /// The client sends all that it has ever sent once more, in order; how many messages that were.
    pub fn resend_everything(&mut self, client: u32, now: Time, sink: &mut impl Sink) -> u64 {
        if !self.is_online(client) {
            return 0;
        }
        let said = self.meddling.said.as_ref().and_then(|said| said.get(&client));
        let frames: Vec<ClientFrame> = said.map_or_else(Vec::new, |said| said.values().cloned().collect());
        for frame in &frames {
            self.put_again(client, frame, now, sink);
        }
        self.flush(client);
        frames.len() as u64
    }

    /// A client that had stopped reading reads on.
    pub fn read_on(&mut self, client: u32, now: Time, sink: &mut impl Sink) {
        if let super::Client { conn: Some(conn), wire: Wire::Upgrading | Wire::Open, .. } =
            self.clients[client as usize]
        {
            self.read(client, conn, now, sink);
        }
    }
}
