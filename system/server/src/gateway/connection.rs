//! One device's connection: a small hand-written future, since there are a million of them.
//!
//! What others see of it is its row in `table`, through which they also reach it: frames to send, and why to close.
//!
//! **Invariants:** while nothing happens it holds no buffer; nothing follows a close frame; whoever reads nothing is dropped
//! after `LINGER`. Guarded by `server/tests/protocol.rs`. Whoever sends more frames than a user may is not read meanwhile, on any
//! of their connections, and nobody is read for longer than a turn. Guarded by `server/tests/floods.rs`.

use super::handshake::Upgraded;
use super::state::Gateway;
use super::table::{ConnectionId, Deadline, Taken};
use super::websocket::{self, Fault, Flow, Incoming, Reader};
use super::{channels, presence};
use crate::hop::Hop;
use crate::links::Pushed;
use crate::net::BoxStream;
use crate::observer::{Point, Unfit};
use crate::tasks::Task;
use crate::work::Work;
use bytes::Bytes;
use squall_core::Time;
use squall_core::gateway::{Peer, ServerSession, Step};
use squall_core::plant::{Plant, planted};
use squall_core::rate::retry_after_ms;
use squall_protocol::Codec;
use squall_protocol::close::CloseReason;
use squall_protocol::frames::ErrorCode;
use squall_protocol::{ClientFrame, ConversationId, Refusal, ServerFrame, limits};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Where the closing handshake stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// The close frame is to be written.
    Requested(CloseReason),
    /// It is written, or on its way; the peer may still be sending.
    Lingering,
    /// The peer has closed; once its answer is written, all is said.
    Answered,
}

/// What waits to be written, and what to be read. A connection has one only while something does.
#[derive(Default)]
struct Backlog {
    frames: VecDeque<Bytes>,
    /// The answer to the newest ping: earlier ones need none (RFC 6455, section 5.5.3).
    pong: Option<Vec<u8>>,
    /// Bytes of the gateway's own frames since all was last written.
    own_bytes: usize,
    /// Encoded, and written up to `written`.
    wire: Vec<u8>,
    written: usize,
    /// All is written and the stream has not flushed it yet.
    flushing: bool,
    /// The reader may have whole frames, whose turn has not come.
    held_back: bool,
    /// Until then nothing is read: the user has sent more than they may.
    pause: Option<Pin<Box<Sleep>>>,
}

/// One device's connection. While nothing happens it is all that there is, beside its row in the table.
struct Connection {
    gateway: Arc<Gateway>,
    stream: BoxStream,
    id: ConnectionId,
    session: ServerSession,
    reader: Reader,
    backlog: Option<Box<Backlog>>,
    codec: Codec,
    closing: Closing,
    frames_before_hello: u8,
    /// Frames by weight that its user's budget has been charged for, and that have not come yet.
    frames_bought: u8,
    /// How many it has had, as far as that can be counted.
    frames_had: u8,
    /// Frames that it was sent by others than this gateway and that it has not acked: so many acks are nothing that its user has caused.
    acks_owed: u32,
}

/// Starts the task of a fresh WebSocket. What its handshake has taken since `accepted` is gone from the time for `hello`.
pub fn spawn(gateway: Arc<Gateway>, upgraded: Upgraded, accepted: Time) {
    let Upgraded { stream, codec, mut rest } = upgraded;
    let id = gateway.table().insert(codec, accepted);
    let mut connection = Connection {
        gateway,
        stream,
        id,
        session: ServerSession::default(),
        reader: Reader::default(),
        backlog: None,
        codec,
        closing: Closing::No,
        frames_before_hello: 0,
        frames_bought: 0,
        frames_had: 0,
        acks_owed: 0,
    };
    let mut backlog = Backlog::default();
    let mut turn = limits::FRAMES_A_TURN;
    connection.take_in(&mut rest, &mut backlog, &mut turn);
    connection.keep(backlog);
    tokio::spawn(connection);
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let gateway = Arc::clone(&this.gateway);
        let _guard = gateway.tasks.guard(Task::Connection);
        let mut backlog = this.backlog.take().map(|kept| *kept).unwrap_or_default();
        let polled = this.work(cx, &mut backlog);
        this.keep(backlog);
        polled
    }
}

/// The close code for what the peer did wrong.
fn reason_for(fault: Fault) -> CloseReason {
    match fault {
        Fault::TooLarge => CloseReason::TooLarge,
        Fault::Protocol => CloseReason::Malformed,
    }
}

/// What a frame weighs in its user's budget and in a turn: reading and decoding it is dearer for each few KiB of it.
fn weight(incoming: &Incoming<'_>) -> u32 {
    let bytes = match incoming {
        Incoming::Text(bytes) | Incoming::Binary(bytes) => bytes.len(),
        Incoming::Fragment | Incoming::Ping(_) | Incoming::Pong | Incoming::Close(_) => 0,
    };
    1 + (bytes / limits::FRAME_WEIGHT_BYTES) as u32
}

impl Connection {
    /// Reads and writes until nothing more can be done, or until it is the turn of others.
    fn work(&mut self, cx: &mut Context<'_>, backlog: &mut Backlog) -> Poll<()> {
        let mut turn = limits::FRAMES_A_TURN;
        loop {
            let Some(taken) = self.gateway.table().take(self.id, cx.waker()) else { return Poll::Ready(()) };
            let Taken { frames, close, ended, has_notices } = taken;
            if ended {
                return Poll::Ready(());
            }
            self.acks_owed = limits::MAX_ACKS_OWED.min(self.acks_owed + frames.len() as u32);
            match self.closing {
                // Nothing follows a close frame (RFC 6455, section 5.5.1).
                Closing::Lingering | Closing::Answered => drop(frames),
                Closing::No | Closing::Requested(_) if backlog.frames.is_empty() => backlog.frames = frames.into(),
                Closing::No | Closing::Requested(_) => backlog.frames.extend(frames),
            }
            if let Some(reason) = close {
                self.close(reason, backlog);
            }
            let wrote = match self.poll_write(cx, backlog) {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
            };
            match self.closing {
                Closing::Answered if wrote => return Poll::Ready(()),
                Closing::Answered => return Poll::Pending,
                Closing::Lingering => return self.poll_linger(cx),
                Closing::Requested(_) if !wrote => return Poll::Pending,
                Closing::Requested(_) => continue,
                Closing::No => {}
            }
            if wrote && has_notices && self.take_notices(backlog) {
                continue;
            }
            ready!(self.poll_may_read(cx, backlog));
            if turn == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if std::mem::take(&mut backlog.held_back) {
                self.take_in(&mut [], backlog, &mut turn);
                continue;
            }
            let mut scratch = [MaybeUninit::uninit(); limits::READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.take_in(buffer.filled_mut(), backlog, &mut turn),
                _ => return Poll::Ready(()),
            }
        }
    }

    /// Nothing waits to be written: it is the turn of notices. Whether there are any.
    fn take_notices(&mut self, backlog: &mut Backlog) -> bool {
        let due = self.gateway.table().take_notices(self.id, self.gateway.clock.now());
        if let (Some(peer), 1..) = (self.session.peer(), due.stale) {
            self.gateway.observer.passed(&Point::NoticesDropped { device: peer.device, notices: due.stale });
        }
        backlog.frames.extend(due.notices);
        !backlog.frames.is_empty()
    }

    /// Keeps what could not be written or is not to be read yet; nothing, mostly.
    fn keep(&mut self, backlog: Backlog) {
        let unwritten = !backlog.frames.is_empty() || !backlog.wire.is_empty() || backlog.flushing;
        if unwritten || backlog.pong.is_some() || backlog.held_back || backlog.pause.is_some() {
            self.backlog = Some(Box::new(backlog));
        }
    }

    /// Ready when this connection's user may be read. Another connection of theirs may have been first to what there was.
    fn poll_may_read(&mut self, cx: &mut Context<'_>, backlog: &mut Backlog) -> Poll<()> {
        while let (Some(pause), Some(peer)) = (&mut backlog.pause, self.session.peer()) {
            ready!(pause.as_mut().poll(cx));
            backlog.pause = self.gateway.pause_of(peer.user).map(|wait| Box::pin(sleep(wait)));
        }
        Poll::Ready(())
    }

    /// Puts waiting frames on the wire, then the close frame if one is asked for. Ready when nothing waits any more.
    fn poll_write(&mut self, cx: &mut Context<'_>, backlog: &mut Backlog) -> Poll<io::Result<()>> {
        let is_text = self.codec == Codec::Json;
        loop {
            if backlog.flushing {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                backlog.flushing = false;
            }
            // Ahead of the frames that wait: it is not part of the application's order. Nor does a second one wait behind it.
            if backlog.wire.is_empty()
                && let Some(pong) = backlog.pong.take()
            {
                websocket::write_pong(&mut backlog.wire, &pong);
            }
            let (mut flushed, mut frames) = (0, 0);
            while backlog.wire.len() < limits::WRITE_BYTES
                && let Some(frame) = backlog.frames.pop_front()
            {
                flushed += frame.len();
                frames += 1;
                websocket::write_message(&mut backlog.wire, is_text, &frame);
            }
            if flushed > 0 {
                self.gateway.observer.worked(Work::Frame, frames);
                self.gateway.observer.worked(Work::FrameByte, flushed);
                self.gateway.table().flushed(self.id, flushed);
            }
            if let (Closing::Requested(reason), true) = (self.closing, backlog.frames.is_empty()) {
                let mut payload = reason.code().to_be_bytes().to_vec();
                payload.extend_from_slice(reason.text().as_bytes());
                websocket::write_close(&mut backlog.wire, &payload);
                // A peer that reads nothing is dropped after the linger anyway.
                self.closing = Closing::Lingering;
                let device = self.session.peer().map(|p| p.device);
                self.gateway.observer.passed(&Point::Closed { device, reason });
            }
            if backlog.wire.is_empty() {
                backlog.own_bytes = 0;
                return Poll::Ready(Ok(()));
            }
            while backlog.written < backlog.wire.len() {
                let rest = &backlog.wire[backlog.written..];
                match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    n => backlog.written += n,
                }
            }
            backlog.written = 0;
            backlog.wire = Vec::new();
            backlog.flushing = true;
        }
    }

    /// Reads and forgets until the peer is done, so that unread input does not destroy the close frame on its way.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0u8; 256];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    /// Takes what has arrived, as much of it as is left of the turn and of what its user may send.
    fn take_in(&mut self, bytes: &mut [u8], backlog: &mut Backlog, turn: &mut u32) {
        let mut reader = std::mem::take(&mut self.reader);
        let fed = reader.feed(bytes, self.max_message_bytes(), |incoming| {
            let (weight, owed) = (weight(&incoming), self.acks_owed);
            self.handle(incoming, backlog);
            *turn = turn.saturating_sub(weight);
            if self.acks_owed == owed {
                self.count(weight, backlog);
            }
            match self.closing {
                Closing::No if *turn == 0 || backlog.pause.is_some() => {
                    backlog.held_back = true;
                    Flow::Pause
                }
                Closing::No => Flow::Next(self.max_message_bytes()),
                Closing::Requested(_) | Closing::Lingering | Closing::Answered => Flow::Stop,
            }
        });
        self.reader = reader;
        if let Err(fault) = fed {
            self.close(reason_for(fault), backlog);
        }
    }

    /// Counts a frame, which has been handled: to its user, who pauses when there are too many of them.
    fn count(&mut self, weight: u32, backlog: &mut Backlog) {
        let Some(peer) = self.session.peer() else {
            self.frames_before_hello += 1;
            if self.frames_before_hello > limits::MAX_FRAMES_BEFORE_HELLO {
                self.close(CloseReason::HelloExpected, backlog);
            }
            return;
        };
        let had = self.frames_had;
        self.frames_had = had.saturating_add(1);
        if let Some(left) = u32::from(self.frames_bought).checked_sub(weight) {
            self.frames_bought = left as u8;
            return;
        }
        let (bought, wait) = self.gateway.buy_frames(peer.user, weight - u32::from(self.frames_bought), had);
        self.frames_bought = bought as u8;
        if let Some(wait) = wait {
            self.gateway.observer.passed(&Point::HeldBack { user: peer.user });
            backlog.pause = Some(Box::pin(sleep(wait)));
        }
    }

    /// The largest message that is taken: whoever has shown no token is given little room.
    fn max_message_bytes(&self) -> usize {
        if self.session.peer().is_some() { limits::MAX_CLIENT_FRAME_BYTES } else { limits::MAX_HELLO_BYTES }
    }

    fn close(&mut self, reason: CloseReason, backlog: &mut Backlog) {
        if self.closing != Closing::No {
            return;
        }
        self.closing = Closing::Requested(reason);
        backlog.pong = None;
        if reason.abandons_backlog() {
            backlog.frames = VecDeque::new();
        }
        // From here on it ends, whether or not the close frame finds room.
        let at = self.gateway.clock.now() + limits::LINGER;
        self.gateway.table().schedule(at, self.id, Deadline::Linger);
    }

    fn handle(&mut self, incoming: Incoming<'_>, backlog: &mut Backlog) {
        let bytes = match (incoming, self.codec) {
            (Incoming::Text(bytes), Codec::Json) | (Incoming::Binary(bytes), Codec::Protobuf) => bytes,
            (Incoming::Text(_) | Incoming::Binary(_), _) => {
                return self.close(CloseReason::UnsupportedData, backlog);
            }
            (Incoming::Ping(payload), _) => {
                // Whoever has shown no token is told nothing.
                backlog.pong = self.session.peer().map(|_| payload.to_vec());
                return self.heard();
            }
            (Incoming::Pong, _) => return self.heard(),
            (Incoming::Fragment, _) => return,
            (Incoming::Close(payload), _) => {
                websocket::write_close(&mut backlog.wire, payload);
                backlog.frames = VecDeque::new();
                backlog.pong = None;
                self.closing = Closing::Answered;
                let at = self.gateway.clock.now() + limits::LINGER;
                return self.gateway.table().schedule(at, self.id, Deadline::Linger);
            }
        };
        self.gateway.observer.worked(Work::Frame, 1);
        self.gateway.observer.worked(Work::FrameByte, bytes.len());
        let frame = match self.codec.decode_client(bytes) {
            Ok(frame) => frame,
            Err(_) => return self.close(CloseReason::Malformed, backlog),
        };
        self.heard();
        if matches!(frame, ClientFrame::Hello { .. } | ClientFrame::Refresh { .. }) {
            self.gateway.observer.worked(Work::Token, 1);
        }
        match self.session.handle_frame(frame, &self.gateway.keys, self.gateway.clock.wall_ms()) {
            Step::Admit { peer, expires_s, invisible } => self.admit(peer, expires_s, invisible, backlog),
            Step::Refreshed(expires_s) => self.refresh(expires_s, backlog),
            Step::Pong => self.push(ServerFrame::Pong, backlog),
            Step::Watch(peer, conversation, users) => {
                presence::handle_watch(&self.gateway, self.id, peer, conversation, users);
            }
            Step::Unwatch(conversation) => presence::handle_unwatch(&self.gateway, self.id, conversation),
            Step::Invisible(on) => {
                if let Some(peer) = self.session.peer() {
                    presence::handle_invisible(&self.gateway, self.id, peer, on);
                }
            }
            Step::Forward(peer, frame) => self.forward(peer, frame, backlog),
            Step::Close(reason) => self.close(reason, backlog),
            Step::Correct { connect_count, reason } => {
                self.push(ServerFrame::Stale { connect_count, superseded: false }, backlog);
                self.close(reason, backlog);
            }
        }
    }

    /// Hands a frame on, unless it is a send too many, or the name of its conversation says that it is none of this user's: that ends
    /// here, before it takes room in the queue that all devices of this gateway share.
    fn forward(&mut self, peer: Peer, frame: ClientFrame, backlog: &mut Backlog) {
        let (user, device) = (peer.user, peer.device);
        self.gateway.observer.hop(&Hop::Asked { user, device, frame: &frame });
        if matches!(frame, ClientFrame::Ack { .. }) {
            self.acks_owed = self.acks_owed.saturating_sub(1);
        }
        if let ClientFrame::Typing { conversation } = frame {
            return self.forward_typing(peer, conversation, &frame);
        }
        match frame {
            // It would have no answer anyway.
            ClientFrame::Ack { conversation, .. } | ClientFrame::Read { conversation, .. }
                if !conversation.is_open_to(user) =>
            {
                return;
            }
            ClientFrame::Sync { conversation, .. }
                if !conversation.is_open_to(user) && !planted(Plant::PagesForWhoeverAsks) =>
            {
                let error = ServerFrame::Error { code: ErrorCode::NotAMember, conversation };
                self.gateway.observer.hop(&Hop::Answered { device, frame: &error });
                return self.push(error, backlog);
            }
            _ => {}
        }
        if let ClientFrame::Send { conversation, client_msg_id, .. } = frame
            && let Err(wait) = self.gateway.take_send(peer.user)
        {
            self.gateway.observer.passed(&Point::TooOften { user: peer.user });
            let reason = Refusal::TooOften { retry_after_ms: retry_after_ms(wait) };
            let refused = ServerFrame::Refused { conversation, client_msg_id, reason };
            self.gateway.observer.hop(&Hop::Answered { device, frame: &refused });
            return self.push(refused, backlog);
        }
        if let ClientFrame::Sync { conversation, since_seq } = frame
            && channels::answers(&self.gateway, self.id, peer, conversation, since_seq)
        {
            return;
        }
        let pushed = self.gateway.uplinks.forward(self.id, peer, &frame);
        // Whoever asks for anything else asks again by itself.
        if let (ClientFrame::Send { conversation, client_msg_id, .. }, false) = (frame, pushed == Pushed::Queued) {
            let reason = Refusal::Busy;
            self.push(ServerFrame::Refused { conversation, client_msg_id, reason }, backlog);
        }
    }

    /// Hands on that a person is writing, unless they may not or have just been told to be. It has no answer.
    fn forward_typing(&self, peer: Peer, conversation: ConversationId, frame: &ClientFrame) {
        let why = if !conversation.is_open_to(peer.user) {
            Unfit::NotAllowed
        } else if !self.gateway.take_typing(peer, conversation) {
            Unfit::TooSoon
        } else if self.gateway.uplinks.forward_typing(self.id, peer, frame) != Pushed::Queued {
            Unfit::NoRoom
        } else {
            return;
        };
        self.gateway.observer.passed(&Point::TypingDropped { user: peer.user, why });
    }

    fn heard(&mut self) {
        let now = self.gateway.clock.now();
        let mut table = self.gateway.table();
        let Some(row) = table.get_mut(self.id) else { return };
        row.last_heard = now;
        if std::mem::take(&mut row.silent)
            && let Some(peer) = row.peer
        {
            table.schedule(now + self.gateway.presences.times.ttl, self.id, Deadline::Presence);
            drop(table);
            presence::handle_connected(&self.gateway, self.id, peer);
        }
    }

    fn push(&mut self, frame: ServerFrame, backlog: &mut Backlog) {
        let frame: Bytes = self.codec.encode_server(&frame).into();
        let bytes = backlog.own_bytes + frame.len();
        if backlog.frames.len() >= limits::MAX_OWN_FRAMES || bytes > limits::MAX_OWN_FRAME_BYTES {
            return self.close(CloseReason::TooSlow, backlog);
        }
        backlog.own_bytes = bytes;
        backlog.frames.push_back(frame);
    }

    /// The token is good: welcome the device, and register it without waiting.
    fn admit(&mut self, peer: Peer, expires_s: u64, invisible: bool, backlog: &mut Backlog) {
        let now = self.gateway.clock.now();
        let expires_in_ms = expires_in_ms(expires_s, self.gateway.clock.wall_ms());
        self.push(ServerFrame::Welcome { user: peer.user, device: peer.device, expires_in_ms }, backlog);
        let mut table = self.gateway.table();
        table.handle_admitted(self.id, peer, invisible);
        table.handle_token(self.id, expires_s, now, self.gateway.clock.wall_ms());
        table.schedule(now + limits::SILENCE_LIMIT, self.id, Deadline::Silence);
        table.schedule(now + limits::HEADS_WITHOUT_REGISTRY_AFTER, self.id, Deadline::Registered);
        if self.gateway.presences.looks_for_silence() {
            table.schedule(now + self.gateway.presences.times.ttl, self.id, Deadline::Presence);
        }
        drop(table);
        self.gateway.register(self.id, peer);
        presence::handle_connected(&self.gateway, self.id, peer);
    }

    /// A newer token is good: the connection lasts as long as that one.
    fn refresh(&mut self, expires_s: u64, backlog: &mut Backlog) {
        let (now, wall_ms) = (self.gateway.clock.now(), self.gateway.clock.wall_ms());
        if !planted(Plant::RefreshMovesNothing) {
            self.gateway.table().handle_token(self.id, expires_s, now, wall_ms);
        }
        self.push(ServerFrame::Refreshed { expires_in_ms: expires_in_ms(expires_s, wall_ms) }, backlog);
    }
}

/// How long a token still counts, as a device is told.
fn expires_in_ms(expires_s: u64, wall_ms: u64) -> u64 {
    let longest = limits::LONGEST_EXPIRY_TOLD.as_millis() as u64;
    expires_s.saturating_mul(1_000).saturating_sub(wall_ms).min(longest)
}

impl Drop for Connection {
    fn drop(&mut self) {
        let removed = self.gateway.table().remove(self.id);
        if let Some(row) = removed
            && let Some(peer) = row.peer
        {
            let given_up = row.is_given_up();
            let seen_ago = if given_up { self.gateway.clock.now().since(row.last_heard) } else { Duration::ZERO };
            if !(row.silent || given_up && planted(Plant::SilentStayOnline)) {
                presence::handle_gone(&self.gateway, self.id, peer, seen_ago);
            }
            presence::handle_watcher_gone(&self.gateway, self.id);
            self.gateway.observer.passed(&Point::Lost { device: peer.device });
            channels::handle_gone(&self.gateway, self.id, peer);
            self.gateway.unregister(self.id, peer);
        }
    }
}
