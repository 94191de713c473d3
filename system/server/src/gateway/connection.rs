//! One device's connection: a small hand-written future, since there are a million of them.

use super::Gateway;
use super::table::{ConnectionId, Deadline, Taken};
use crate::net::BoxStream;
use crate::observer::Point;
use bytes::Bytes;
use futures_util::{Sink, Stream};
use squall_core::Time;
use squall_core::session::{Peer, ServerSession, Step};
use squall_protocol::close::CloseReason;
use squall_protocol::frames::Codec;
use squall_protocol::{ServerFrame, limits};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

type Socket = WebSocketStream<BoxStream>;

/// Where the closing handshake stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// The close frame is to be written.
    Asked(CloseReason),
    /// It is written; the peer may still be sending.
    Lingering,
}

struct Connection {
    gateway: Arc<Gateway>,
    id: ConnectionId,
    codec: Codec,
    session: ServerSession,
    closing: Closing,
    socket: Socket,
    frames: VecDeque<Bytes>,
    dirty: bool,
}

/// Starts the task of a fresh WebSocket. What its handshake has taken since `accepted` is gone from the time for `hello`.
pub fn spawn(gateway: Arc<Gateway>, socket: Socket, codec: Codec, accepted: Time) {
    let id = gateway.table().insert(codec, accepted);
    tokio::spawn(Connection {
        gateway,
        id,
        codec,
        session: ServerSession::default(),
        closing: Closing::No,
        socket,
        frames: VecDeque::new(),
        dirty: false,
    });
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let Some(taken) = this.gateway.table().take(this.id, cx.waker()) else { return Poll::Ready(()) };
            let Taken { mut frames, close, ended } = taken;
            if ended {
                return Poll::Ready(());
            }
            if this.frames.is_empty() {
                this.frames = frames;
            } else {
                this.frames.append(&mut frames);
            }
            if let Some(reason) = close {
                this.close(reason);
            }
            let wrote = match this.poll_write(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
            };
            match this.closing {
                Closing::Lingering => return this.poll_linger(cx),
                Closing::Asked(_) if !wrote => return Poll::Pending,
                Closing::Asked(_) => continue,
                Closing::No => {}
            }
            match Pin::new(&mut this.socket).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => this.handle(message),
                Poll::Ready(Some(Err(error))) => match reason_for(&error) {
                    Some(reason) => this.close(reason),
                    None => return Poll::Ready(()),
                },
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// The close code for what the peer did wrong; `None` when there is no peer to tell.
fn reason_for(error: &WsError) -> Option<CloseReason> {
    match error {
        WsError::Capacity(_) => Some(CloseReason::TooLarge),
        WsError::Utf8(_) | WsError::Protocol(_) => Some(CloseReason::Malformed),
        _ => None,
    }
}

impl Connection {
    /// Puts waiting frames on the wire, then the close frame if one is asked for. Ready when nothing waits any more.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        let mut socket = Pin::new(&mut self.socket);
        let mut flushed = 0;
        while let Some(bytes) = self.frames.pop_front() {
            match socket.as_mut().poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.frames.push_front(bytes);
                    break;
                }
            }
            flushed += bytes.len();
            let message = match self.codec {
                Codec::Protobuf => Message::Binary(bytes),
                Codec::Json => Message::Text(Utf8Bytes::try_from(bytes).expect("our JSON encoder writes UTF-8")),
            };
            socket.as_mut().start_send(message)?;
            self.dirty = true;
        }
        if flushed > 0 {
            self.gateway.table().flushed(self.id, flushed);
        }
        if !self.frames.is_empty() {
            return Poll::Pending;
        }
        self.frames = VecDeque::new();
        if let Closing::Asked(reason) = self.closing {
            let frame = CloseFrame { code: reason.code().into(), reason: Utf8Bytes::from_static(reason.text()) };
            // Queued even when the socket is full; a peer that reads nothing is dropped after the linger anyway.
            socket.as_mut().start_send(Message::Close(Some(frame)))?;
            self.dirty = true;
            self.closing = Closing::Lingering;
            let device = self.session.peer().map(|p| p.device);
            self.gateway.observer.passed(&Point::Closed { device, reason });
        }
        if self.dirty {
            ready!(socket.poll_flush(cx))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads and forgets until the peer is done, so that unread input does not destroy the close frame on its way.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0u8; 256];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(self.socket.get_mut()).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    fn close(&mut self, reason: CloseReason) {
        if self.closing != Closing::No {
            return;
        }
        self.closing = Closing::Asked(reason);
        if matches!(reason, CloseReason::TooSlow | CloseReason::Silence) {
            // Whoever does not read is not waited for.
            self.frames = VecDeque::new();
        }
        // From here on it ends, whether or not the close frame finds room.
        let at = self.gateway.clock.now() + limits::LINGER;
        self.gateway.table().schedule(at, self.id, Deadline::Linger);
    }

    fn handle(&mut self, message: Message) {
        let bytes = match (&message, self.codec) {
            (Message::Text(text), Codec::Json) => text.as_bytes(),
            (Message::Binary(bytes), Codec::Protobuf) => bytes.as_ref(),
            (Message::Text(_) | Message::Binary(_), _) => return self.close(CloseReason::UnsupportedData),
            (Message::Close(_), _) => {
                self.dirty = true;
                return;
            }
            _ => {
                // A WebSocket ping: tungstenite has queued the pong.
                self.dirty = true;
                return self.heard();
            }
        };
        let frame = match self.codec.decode_client(bytes) {
            Ok(frame) => frame,
            Err(_) => return self.close(CloseReason::Malformed),
        };
        self.heard();
        match self.session.handle_frame(frame, &self.gateway.secret) {
            Step::Admit(peer) => self.admit(peer),
            Step::Pong => self.push(ServerFrame::Pong),
            Step::Forward(peer, frame) => self.gateway.uplinks.forward(self.id, peer, frame),
            Step::Close(reason) => self.close(reason),
        }
    }

    fn heard(&mut self) {
        let now = self.gateway.clock.now();
        if let Some(connection) = self.gateway.table().get_mut(self.id) {
            connection.last_heard = now;
        }
    }

    fn push(&mut self, frame: ServerFrame) {
        if self.frames.len() >= limits::MAX_OWN_FRAMES {
            return self.close(CloseReason::TooSlow);
        }
        self.frames.push_back(self.codec.encode_server(&frame).into());
    }

    /// The token is good: welcome the device, and register it without waiting.
    fn admit(&mut self, peer: Peer) {
        let now = self.gateway.clock.now();
        self.push(ServerFrame::Welcome { user: peer.user, device: peer.device });
        let mut table = self.gateway.table();
        if let Some(connection) = table.get_mut(self.id) {
            connection.peer = Some(peer);
        }
        table.schedule(now + limits::SILENCE_LIMIT, self.id, Deadline::Silence);
        table.schedule(now + limits::HEADS_WITHOUT_REGISTRY_AFTER, self.id, Deadline::Registered);
        drop(table);
        self.gateway.uplinks.register(self.id, peer);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let removed = self.gateway.table().remove(self.id);
        if let Some(peer) = removed.and_then(|c| c.peer) {
            self.gateway.observer.passed(&Point::Lost { device: peer.device });
            self.gateway.uplinks.unregister(self.id.0, peer.user, peer.device);
        }
    }
}
