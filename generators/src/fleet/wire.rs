//! Bytes: what a client writes to its connection and reads from it, frame by frame.

use super::frame_faults::FrameFaults;
use super::{Fleet, LastMile, Signal, Sink, Wire};
use crate::websocket::{self, Incoming};
use squall_core::Time;
use squall_core::client::ClientSession;
use squall_history::{Entity, Event, Kind};
use squall_protocol::Codec;
use squall_protocol::close::CloseReason;
use squall_protocol::ids::mix;
use std::io;

impl<L: LastMile, F: FrameFaults> Fleet<L, F> {
    /// The network tells a client something.
    pub fn handle_signal(&mut self, index: u32, conn: L::Conn, signal: Signal, now: Time, sink: &mut impl Sink) {
        let client = &mut self.clients[index];
        if client.conn != Some(conn) {
            return;
        }
        match signal {
            Signal::Connected => {
                client.wire = Wire::Upgrading;
                let nonce = nonce(&client.session);
                let (authority, path) = self.last_mile.resource(client.gateway.into());
                self.output = websocket::request(authority, path, client.codec.subprotocol(), nonce);
                self.flush(index);
            }
            Signal::Writable => self.flush(index),
            Signal::Readable => self.read(index, conn, now, sink),
            Signal::Lost(reason) => {
                // What arrived before the end still counts.
                self.read(index, conn, now, sink);
                if self.clients[index].conn == Some(conn) {
                    self.lose(index, reason, now, sink);
                }
            }
        }
    }

    /// A client that had stopped reading reads on.
    pub fn read_on(&mut self, client: u32, now: Time, sink: &mut impl Sink) {
        let super::Client { conn, wire, .. } = self.clients[client];
        if let (Some(conn), Wire::Upgrading | Wire::Open) = (conn, wire) {
            self.read(client, conn, now, sink);
        }
    }

    fn read(&mut self, index: u32, conn: L::Conn, now: Time, sink: &mut impl Sink) {
        if !self.faults.reads(index) {
            return;
        }
        let mut input = std::mem::take(&mut self.input);
        input.clear();
        if let Some(buffers) = &mut self.clients[index].buffers {
            input.append(&mut buffers.input);
        }
        // An error says that nothing more will come; the network tells why in a signal.
        let _ = self.last_mile.read(conn, &mut input);
        let mut used = 0;
        while self.clients[index].conn == Some(conn) {
            match self.take_frame(index, conn, &input[used..], now, sink) {
                Ok(0) => break,
                Ok(len) => used += len,
                Err(_) => {
                    // A gateway that does not speak the protocol: nothing to say to it.
                    self.last_mile.close(conn);
                    self.lose(index, "protocol error", now, sink);
                }
            }
        }
        let client = &mut self.clients[index];
        if client.conn == Some(conn) && used < input.len() {
            client.buffers.get_or_insert_default().input.extend_from_slice(&input[used..]);
        }
        client.tidy();
        self.input = input;
    }

    /// Handles the first frame in `bytes`; how many bytes it took, 0 when it is still torn.
    fn take_frame(
        &mut self,
        index: u32,
        conn: L::Conn,
        bytes: &[u8],
        now: Time,
        sink: &mut impl Sink,
    ) -> io::Result<usize> {
        let client = &mut self.clients[index];
        if client.wire == Wire::Upgrading {
            let taken = websocket::accept(bytes, client.codec.subprotocol(), nonce(&client.session))?;
            if taken.is_some() {
                client.wire = Wire::Open;
                let token = self.issue(index, now);
                self.act(index, now, sink, |session, out| session.handle_connected(token, now, out));
            }
            return Ok(taken.unwrap_or(0));
        }
        let Some((incoming, len)) = websocket::read(bytes)? else { return Ok(0) };
        let payload = match (incoming, client.codec) {
            (Incoming::Text(payload), Codec::Json) | (Incoming::Binary(payload), Codec::Protobuf) => payload,
            (Incoming::Close(code, payload), _) => {
                let mask = self.mask();
                let mut farewell = Vec::new();
                websocket::write_close(&mut farewell, payload, mask);
                // The gateway closes whether or not it reads this.
                let _ = self.last_mile.write(conn, &farewell);
                self.last_mile.close(conn);
                let is = |reason: CloseReason| code == Some(reason.code());
                let reason = match () {
                    () if is(CloseReason::Restart) => "closed for a restart",
                    () if is(CloseReason::TokenExpired) => "closed for an expired token",
                    () if is(CloseReason::BadToken) => "closed for a bad token",
                    () => "closed by the gateway",
                };
                self.is_closed_for(index, code.unwrap_or_default(), now, sink);
                self.forget_connection(index, reason, now, sink);
                self.act(index, now, sink, |session, out| match code {
                    Some(code) => session.handle_closed(code, now, out),
                    None => session.handle_disconnected(now),
                });
                self.corners.waits(&self.clients[index].session, now);
                return Ok(len);
            }
            (Incoming::Control, _) => return Ok(len),
            (Incoming::Text(_), Codec::Protobuf) | (Incoming::Binary(_), Codec::Json) => {
                return Err(io::Error::other("a frame of the other codec"));
            }
        };
        let frame = client.codec.decode_server(payload).map_err(io::Error::other)?;
        self.totals.frames += 1;
        self.corners.receives(&frame);
        self.receive(index, conn, frame, now, sink);
        Ok(len)
    }

    /// The connection is gone without the session having asked for it.
    pub(super) fn lose(&mut self, index: u32, reason: &'static str, now: Time, sink: &mut impl Sink) {
        self.forget_connection(index, reason, now, sink);
        let session = &mut self.clients[index].session;
        session.handle_disconnected(now);
        self.corners.waits(session, now);
        self.reschedule(index);
    }

    pub(super) fn forget_connection(&mut self, index: u32, reason: &'static str, now: Time, sink: &mut impl Sink) {
        let client = &mut self.clients[index];
        client.conn = None;
        client.wire = Wire::Closed;
        client.failed = true;
        client.buffers = None;
        self.output.clear();
        let client = &mut self.clients[index];
        if client.was_online {
            client.was_online = false;
            let gone = client.gone.get_or_insert_default();
            gone.lost_at = now;
            self.totals.online -= 1;
            self.balancer.disconnected(client.gateway);
            self.missing.add(&mut gone.missing_since, now);
            let at = Entity::Device(client.device());
            sink.event(Event { t: now.0, at, kind: Kind::Disconnect { reason } });
        }
    }

    pub(super) fn mask(&mut self) -> u32 {
        self.masks += 1;
        mix(self.mask_key ^ self.masks) as u32
    }

    /// Hands what waits to the network: what was kept before, then what has just been written.
    pub(super) fn flush(&mut self, index: u32) {
        let client = &mut self.clients[index];
        let Some(conn) = client.conn else { return self.output.clear() };
        let mut waiting = client.buffers.as_mut().filter(|buffers| !buffers.output.is_empty());
        let unwritten = match &mut waiting {
            Some(buffers) => {
                buffers.output.append(&mut self.output);
                &buffers.output[buffers.taken..]
            }
            None => &self.output,
        };
        if unwritten.is_empty() {
            return;
        }
        let written = match client.wire {
            Wire::Opening => Ok(0),
            _ => self.last_mile.write(conn, unwritten),
        };
        let written = match written {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // The network will say why; the session hears of it then.
            Err(_) => unwritten.len(),
        };
        match waiting {
            Some(buffers) => buffers.take(written),
            None if written < self.output.len() => {
                client.buffers.get_or_insert_default().output.extend_from_slice(&self.output[written..]);
            }
            None => {}
        }
        self.output.clear();
        client.tidy();
    }
}

fn nonce(session: &ClientSession) -> u64 {
    mix(session.device().0) ^ session.connect_count()
}
