//! Reading and writing, without tasks: the API of virtual clients, and what the asynchronous handles build on.
//!
//! **Invariant:** no call panics or affects another connection because an id is stale: it answers `NotConnected`.

use std::io::{self, ErrorKind};

use crate::conn::{Attempt, EndState, Phase};
use crate::fleet::{FleetEvent, ReadOutcome};
use crate::ids::{ConnId, HostId, ProfileId, Side};
use crate::network::Network;
use crate::state::NetworkState;

const OPENER: usize = Side::Opener as usize;

/// The error that an end's owner sees, and what the operating system would call it.
pub(crate) fn error_of(state: EndState) -> io::Error {
    match state {
        EndState::Gone | EndState::Live => ErrorKind::NotConnected.into(),
        EndState::Reset => ErrorKind::ConnectionReset.into(),
        EndState::TimedOut | EndState::ConnectTimedOut => ErrorKind::TimedOut.into(),
        EndState::Refused => ErrorKind::ConnectionRefused.into(),
    }
}

impl NetworkState {
    /// Takes what fits into the send buffer. `WouldBlock` if nothing does; the writer is told when there is room.
    pub fn write(&mut self, slot: u32, side: usize, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.fits(slot, side, bytes.len())?;
        if taken > 0 {
            self.put(slot, side, &bytes[..taken]);
        }
        Ok(taken)
    }

    /// How many of `len` bytes a write takes now, at least one of any. It takes none when it fails.
    pub fn fits(&mut self, slot: u32, side: usize, len: usize) -> io::Result<usize> {
        let conn = self.conns.at(slot);
        let end = conn.ends[side];
        if !end.owned {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if !end.is_live() {
            return Err(error_of(end.state));
        }
        if end.closed || conn.shut_in_turn[side] {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if len == 0 {
            return Ok(0);
        }
        let taken = self.send_room(slot, side).saturating_sub(conn.written_in_turn[side] as usize).min(len);
        if taken == 0 || conn.phase == Phase::Connecting {
            self.conns.at_mut(slot).ends[side].write_blocked = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// Sends bytes that fit.
    pub fn put(&mut self, slot: u32, side: usize, bytes: &[u8]) {
        self.queue(slot, side).append(bytes);
        self.transmit(slot, side);
    }

    /// Hands up to `limit` readable bytes to `take`. `Ok(None)`: nothing now. `Ok(Some(0))`: the end of the stream.
    pub fn read(
        &mut self,
        slot: u32,
        side: usize,
        limit: usize,
        take: impl FnOnce(&[u8]),
    ) -> io::Result<Option<usize>> {
        let count = self.look(slot, side, limit, take)?;
        if let Some(count) = count.filter(|count| *count > 0) {
            self.consume(slot, side, count);
        }
        Ok(count)
    }

    /// As [`NetworkState::read`], but what is handed out stays where it is.
    pub fn look(
        &self,
        slot: u32,
        side: usize,
        limit: usize,
        take: impl FnOnce(&[u8]),
    ) -> io::Result<Option<usize>> {
        let conn = self.conns.at(slot);
        let end = conn.ends[side];
        if !end.owned {
            return Err(ErrorKind::NotConnected.into());
        }
        let readable = conn.queues[1 - side].as_ref().map_or(&[][..], |queue| queue.readable_bytes());
        if readable.is_empty() {
            return match end.state {
                EndState::Live if end.eof => Ok(Some(0)),
                EndState::Live => Ok(None),
                failed => Err(error_of(failed)),
            };
        }
        let count = readable.len().min(limit);
        take(&readable[..count]);
        Ok(Some(count))
    }

    /// The owner of `side` has read `count` bytes.
    pub fn consume(&mut self, slot: u32, side: usize, count: usize) {
        let sender = 1 - side;
        let conn = self.conns.at_mut(slot);
        let both_live = conn.ends[sender].is_live() && conn.ends[side].is_live();
        let Some(queue) = &mut conn.queues[sender] else { return };
        queue.consume(count);
        let sender_waits = queue.unsent() > 0;
        if both_live {
            self.open_window(slot, sender, count, sender_waits);
        }
        self.shrink(slot, sender);
    }

    /// Room in the window takes its way to the sender: one latency, and not across a partition. It costs an event
    /// only if the sender waits for it; otherwise it is as if the sender knew.
    fn open_window(&mut self, slot: u32, sender: usize, count: usize, sender_waits: bool) {
        let back = self.conns.at(slot).route(1 - sender);
        let closed = !self.links.is_clear(&back) && self.links.path(&back).is_closed();
        if !closed && !sender_waits {
            return;
        }
        if let Some(queue) = &mut self.conns.at_mut(slot).queues[sender] {
            queue.leave_unadvertised(count);
        }
        if closed {
            self.list_stalled(slot, sender);
        } else {
            self.set_ack(slot, sender, self.now);
        }
    }
}

/// For virtual clients.
impl Network {
    /// Starts a connection for a virtual client that lives on `site`. What becomes of it is told by
    /// [`Network::drain_events`] under `token`.
    pub fn open(&self, site: HostId, to: HostId, port: u16, profile: ProfileId, token: u64) -> ConnId {
        self.with(|state| state.open(&Attempt { from: site, to, port, profile, token: Some(token) }))
    }

    /// Takes up to all of `bytes` into the send buffer and says how many.
    ///
    /// `WouldBlock`: no room, or not connected yet; `Writable` follows. `NotConnected`: no such connection.
    /// `BrokenPipe`: closed on this side.
    pub fn write(&self, conn: ConnId, bytes: &[u8]) -> io::Result<usize> {
        self.with_conn(conn, |state, slot| client(state, slot)?.write(slot, OPENER, bytes)).unwrap_or_else(stale)
    }

    /// Appends everything that can be read to `into`.
    ///
    /// `NotConnected`: no such connection. After `Reset` or `TimedOut` what was delivered before can still be read.
    pub fn read(&self, conn: ConnId, into: &mut Vec<u8>) -> io::Result<ReadOutcome> {
        self.with_conn(conn, |state, slot| {
            let state = client(state, slot)?;
            let eof = state.conns.at(slot).ends[OPENER].eof;
            let count = state.read(slot, OPENER, usize::MAX, |bytes| into.extend_from_slice(bytes))?.unwrap_or(0);
            state.settle(slot);
            Ok(if eof { ReadOutcome::Eof(count) } else { ReadOutcome::Data(count) })
        })
        .unwrap_or_else(stale)
    }

    /// Closes gracefully: FIN behind everything written. The id is invalid from then on.
    pub fn close(&self, conn: ConnId) -> io::Result<()> {
        self.with_conn(conn, |state, slot| {
            client(state, slot)?.close_end(slot, OPENER);
            Ok(())
        })
        .unwrap_or_else(stale)
    }

    /// Aborts with RST. What was written and has not left is lost. The id is invalid from then on.
    pub fn reset(&self, conn: ConnId) -> io::Result<()> {
        self.with_conn(conn, |state, slot| {
            client(state, slot)?.abort_end(slot, OPENER);
            Ok(())
        })
        .unwrap_or_else(stale)
    }

    /// Moves what virtual clients should know to the end of `into`, in the order in which it happened.
    pub fn drain_events(&self, into: &mut Vec<FleetEvent>) {
        self.with(|state| into.append(&mut state.fleet_events));
    }

    /// Moves the tokens of virtual clients on whose path something takes longer than 400 ms, either way, to the end of `into`, with
    /// the time at which it arrives: it is lost and sent again, waits for the end of a drop, or for bandwidth.
    pub fn drain_slowed(&self, into: &mut Vec<(u64, crate::Micros)>) {
        self.with(|state| into.append(&mut state.slowed));
    }
}

fn client(state: &mut NetworkState, slot: u32) -> io::Result<&mut NetworkState> {
    let conn = state.conns.at(slot);
    if conn.fleet && conn.ends[OPENER].owned { Ok(state) } else { Err(ErrorKind::NotConnected.into()) }
}

fn stale<T>() -> io::Result<T> {
    Err(ErrorKind::NotConnected.into())
}
