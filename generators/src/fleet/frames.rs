//! A frame's way between a session and its wire, with what a fault does to it: it comes twice, late, all over again, or never.
//!
//! A device whose frames are faulted is still a device of ours: it sends nothing that it has not sent before.

use super::frame_faults::{FrameFault, FrameFaults, FrameKind};
use super::{Fleet, LastMile, Sink, Timer};
use crate::websocket;
use squall_core::Time;
use squall_history::{Arrived, Entity, Event, Kind};
use squall_protocol::{ClientFrame, ClientMsgId, ClientSeq, ConversationId, Entry, ServerFrame};
use squall_scenarios::FaultKind;
use squall_scenarios::model::Scenario;
use std::collections::BTreeMap;

/// A frame that is on its way for longer.
struct LateFrame<C> {
    client: u32,
    conn: C,
    frame: Frame,
}

enum Frame {
    Up(ClientFrame),
    Down(ServerFrame),
}

/// Every send of a device as it went out, by its place in its conversation.
type SentFrames = BTreeMap<(ConversationId, ClientSeq), ClientFrame>;

/// Frames that are kept back, and those that are kept to be sent again.
pub(super) struct KeptFrames<C> {
    late: BTreeMap<u32, LateFrame<C>>,
    last: u32,
    /// By client; only kept in scenarios in which it may be asked for.
    sent: Option<BTreeMap<u32, SentFrames>>,
}

impl<C> KeptFrames<C> {
    pub fn new(scenario: &Scenario) -> Self {
        let resends = |kind: &FaultKind| matches!(kind, FaultKind::ResendEverything { .. });
        let keeps = scenario.faults.iter().any(|fault| resends(&fault.kind));
        KeptFrames { late: BTreeMap::new(), last: 0, sent: keeps.then(BTreeMap::new) }
    }

    fn remember(&mut self, client: u32, frame: &ClientFrame) {
        if let (ClientFrame::Send { conversation, client_seq, .. }, Some(sent)) = (frame, &mut self.sent) {
            sent.entry(client).or_default().insert((*conversation, *client_seq), frame.clone());
        }
    }

    /// The client begins a new life: there is nothing that it could say again.
    pub fn forget_all(&mut self, client: u32) {
        if let Some(sent) = &mut self.sent {
            sent.remove(&client);
        }
    }

    /// A message that was refused is given up: it is not sent again.
    pub fn forget(&mut self, client: u32, conversation: ConversationId, id: ClientMsgId) {
        if let Some(sent) = self.sent.as_mut().and_then(|sent| sent.get_mut(&client)) {
            let is_it = |frame: &ClientFrame| matches!(frame, ClientFrame::Send { client_msg_id, .. } if *client_msg_id == id);
            sent.retain(|(c, _), frame| *c != conversation || !is_it(frame));
        }
    }
}

impl<L: LastMile, F: FrameFaults> Fleet<L, F> {
    /// Puts a frame of the session on the wire, unless a fault has other plans for it.
    pub(super) fn transmit(
        &mut self,
        index: u32,
        conn: L::Conn,
        frame: ClientFrame,
        now: Time,
        sink: &mut impl Sink,
    ) {
        let fault = self.faults.fault(index, FrameKind::of_client(&frame));
        self.kept.remember(index, &frame);
        match fault {
            FrameFault::Pass => self.put(index, &frame, now, sink),
            FrameFault::Twice => {
                self.put(index, &frame, now, sink);
                self.put_again(index, &frame, now, sink);
            }
            FrameFault::Late(by) => self.keep_back(index, conn, Frame::Up(frame), now + by),
            FrameFault::LateTwice(by) => {
                self.keep_back(index, conn, Frame::Up(frame.clone()), now + by);
                self.keep_back(index, conn, Frame::Up(frame), now + by);
            }
            FrameFault::Cut => self.last_mile.cut(conn),
        }
    }

    /// Encodes a frame and puts it behind what waits for the network.
    fn put(&mut self, index: u32, frame: &ClientFrame, now: Time, sink: &mut impl Sink) {
        let client = &self.clients[index];
        let at = Entity::Device(client.device());
        match *frame {
            ClientFrame::Watch { conversation, ref users } => {
                let kind = Kind::Watch { conversation, users: users.clone() };
                self.totals.watches += 1;
                sink.event(Event { t: now.0, at, kind });
            }
            ClientFrame::Unwatch { conversation } => {
                sink.event(Event { t: now.0, at, kind: Kind::Watch { conversation, users: Vec::new() } });
            }
            ClientFrame::Ack { conversation, up_to_seq } => {
                sink.event(Event { t: now.0, at, kind: Kind::Ack { conversation, up_to: up_to_seq } });
            }
            ClientFrame::Read { conversation, up_to_seq } => {
                self.totals.reads += 1;
                sink.event(Event { t: now.0, at, kind: Kind::Read { conversation, up_to: up_to_seq } });
            }
            ClientFrame::Sync { conversation, since_seq } => {
                sink.event(Event { t: now.0, at, kind: Kind::Sync { conversation, since: since_seq } });
            }
            ClientFrame::Typing { conversation } => {
                self.totals.typed += 1;
                sink.event(Event { t: now.0, at, kind: Kind::Typing { conversation } });
            }
            // A send is in the history since the person wrote it, `hello` and `refresh` when they are answered, and whoever hides has told so;
            // a heartbeat says nothing.
            ClientFrame::Hello { .. }
            | ClientFrame::Send { .. }
            | ClientFrame::Ping
            | ClientFrame::Refresh { .. }
            | ClientFrame::Invisible { .. } => {}
        }
        let (payload, binary) = (client.codec.encode_client(frame), client.codec.is_binary());
        self.totals.frames += 1;
        let mask = self.mask();
        websocket::write(&mut self.output, binary, &payload, mask);
    }

    fn put_again(&mut self, index: u32, frame: &ClientFrame, now: Time, sink: &mut impl Sink) {
        if let ClientFrame::Send { conversation, client_msg_id, .. } = *frame {
            self.totals.resent += 1;
            let at = Entity::Device(self.device(index));
            sink.event(Event { t: now.0, at, kind: Kind::Resend { conversation, client_msg_id, cause: "fault" } });
        }
        self.put(index, frame, now, sink);
    }

    /// Hands a frame from the wire to the session, unless a fault has other plans for it.
    pub(super) fn receive(
        &mut self,
        index: u32,
        conn: L::Conn,
        frame: ServerFrame,
        now: Time,
        sink: &mut impl Sink,
    ) {
        match self.faults.fault(index, FrameKind::of_server(&frame)) {
            FrameFault::Pass => self.hand_over(index, frame, now, sink),
            FrameFault::Twice => {
                let copy = frame.clone();
                self.hand_over(index, copy, now, sink);
                self.hand_over(index, frame, now, sink);
            }
            FrameFault::Late(by) => self.keep_back(index, conn, Frame::Down(frame), now + by),
            FrameFault::LateTwice(by) => {
                self.keep_back(index, conn, Frame::Down(frame.clone()), now + by);
                self.keep_back(index, conn, Frame::Down(frame), now + by);
            }
            FrameFault::Cut => {
                self.last_mile.cut(conn);
                // What came behind the frame in the stream must not be read without it.
                self.lose(index, "reset", now, sink);
            }
        }
    }

    /// The session takes a frame; what it holds has reached the device, whatever becomes of it there.
    fn hand_over(&mut self, index: u32, frame: ServerFrame, now: Time, sink: &mut impl Sink) {
        let arrived = |entry: &Entry| Arrived {
            seq: entry.seq,
            client_msg_id: entry.client_msg_id,
            author: entry.device,
            client_seq: entry.client_seq,
            stored_at_ms: entry.stored_at_ms,
        };
        if let ServerFrame::Deliver(span) | ServerFrame::Page { span, .. } = &frame {
            self.arriving = span.entries.iter().map(arrived).collect();
        }
        if let ServerFrame::Refreshed { .. } = frame {
            self.token_is_refreshed(index, now, sink);
        }
        self.act(index, now, sink, |session, out| session.handle_frame(frame, now, out));
    }

    fn keep_back(&mut self, client: u32, conn: L::Conn, frame: Frame, until: Time) {
        self.kept.last += 1;
        self.kept.late.insert(self.kept.last, LateFrame { client, conn, frame });
        self.queue.push(until, Timer::LateFrame(self.kept.last));
    }

    /// A frame that was kept back goes on its way, if its connection is still there.
    pub(super) fn release(&mut self, number: u32, now: Time, sink: &mut impl Sink) {
        let Some(LateFrame { client, conn, frame }) = self.kept.late.remove(&number) else { return };
        if self.clients[client].conn != Some(conn) {
            return;
        }
        match frame {
            Frame::Up(frame) => {
                self.put(client, &frame, now, sink);
                self.flush(client);
            }
            Frame::Down(frame) => self.hand_over(client, frame, now, sink),
        }
    }

    /// The client sends all that it has ever sent once more, in order; how many messages that were.
    pub fn resend_everything(&mut self, client: u32, now: Time, sink: &mut impl Sink) -> u64 {
        if !self.is_online(client) {
            return 0;
        }
        let sent = self.kept.sent.as_ref().and_then(|sent| sent.get(&client));
        let frames: Vec<ClientFrame> = sent.map_or_else(Vec::new, |sent| sent.values().cloned().collect());
        for frame in &frames {
            self.put_again(client, frame, now, sink);
        }
        self.flush(client);
        frames.len() as u64
    }
}
