//! What clients write in a turn, gathered by connection: the system takes all of it with one call a connection.
//!
//! **Invariant:** of one connection everything goes in the order in which it was written: what the system has not taken stands before
//! whatever comes, and while it stands nothing more is taken.

use super::{Conn, Sockets};
use squall_core::Time;
use squall_generators::Signal;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

/// How long what was written first may wait for what is written last, in a turn that is long.
const LONGEST: Duration = Duration::from_millis(2);
/// Of one connection so much is gathered at most.
const MOST_BYTES: usize = 64 * 1024;
/// Buffers that are kept for the next turn, and how large they may be.
const SPARE: usize = 1_024;
const SPARE_BYTES: usize = 4 * 1024;

/// Where a socket stands that has nothing gathered.
pub(super) const NOTHING: u32 = u32::MAX;

/// What has been written in this turn.
#[derive(Default)]
pub(super) struct Outgoing {
    written: Vec<(Conn, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    since: Time,
}

impl Sockets {
    /// Takes what a client writes; without room, as the system would say it.
    pub(super) fn gather(&mut self, conn: Conn, bytes: &[u8], now: Time) -> io::Result<usize> {
        let Some(socket) = self.rows.get_mut(conn.place as usize).filter(|socket| socket.life == conn.life) else {
            return Err(ErrorKind::NotConnected.into());
        };
        if socket.stream.is_none() {
            return Err(ErrorKind::NotConnected.into());
        }
        if socket.parts.as_ref().is_some_and(|parts| !parts.unwritten.is_empty()) {
            socket.waits_to_write = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let outgoing = &mut self.outgoing;
        if socket.outgoing == NOTHING {
            if outgoing.written.is_empty() {
                outgoing.since = now;
            }
            socket.outgoing = outgoing.written.len() as u32;
            outgoing.written.push((conn, outgoing.spare.pop().unwrap_or_default()));
        }
        let (_, gathered) = &mut outgoing.written[socket.outgoing as usize];
        match socket.parts.as_mut().and_then(|parts| parts.tls.as_mut()) {
            // It keeps what it has enciphered until the end of the turn.
            Some(tls) => tls.put(bytes),
            None => gathered.extend_from_slice(bytes),
        }
        if gathered.len() >= MOST_BYTES || now.since(outgoing.since) >= LONGEST {
            self.hand_over();
        }
        Ok(bytes.len())
    }

    /// Hands the system what has been gathered.
    pub fn hand_over(&mut self) {
        let mut written = std::mem::take(&mut self.outgoing.written);
        for (conn, bytes) in &mut written {
            self.write_out(*conn, bytes);
            let buffer = std::mem::take(bytes);
            if buffer.capacity() <= SPARE_BYTES && self.outgoing.spare.len() < SPARE {
                self.outgoing.spare.push(buffer);
            }
        }
        written.clear();
        self.outgoing.written = written;
    }

    /// The same for one connection, which is about to change.
    pub(super) fn hand_over_of(&mut self, conn: Conn) {
        let Some(place) = self.get(conn).map(|socket| socket.outgoing).filter(|place| *place != NOTHING) else {
            return;
        };
        let mut bytes = std::mem::take(&mut self.outgoing.written[place as usize].1);
        self.write_out(conn, &mut bytes);
    }

    fn write_out(&mut self, conn: Conn, bytes: &mut Vec<u8>) {
        let Some(socket) = self.get(conn) else { return bytes.clear() };
        socket.outgoing = NOTHING;
        if socket.parts.as_ref().is_some_and(|parts| parts.tls.is_some()) {
            return self.flush(conn);
        }
        let Some(stream) = socket.stream.as_mut().filter(|_| !bytes.is_empty()) else { return bytes.clear() };
        let taken = match stream.write(bytes) {
            Ok(taken) => taken,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            // Why shows when the connection is read.
            Err(_) => bytes.len(),
        };
        if taken < bytes.len() {
            socket.waits_to_write = true;
            socket.parts.get_or_insert_default().unwritten.extend_from_slice(&bytes[taken..]);
        }
        self.wire_bytes += taken as u64;
        bytes.clear();
    }

    /// There is room: first for what was left, then for what its client has.
    pub(super) fn room(&mut self, conn: Conn) {
        let Some(socket) = self.get(conn) else { return };
        if let Some(parts) = &mut socket.parts
            && (parts.tls.is_some() || parts.link.is_some())
        {
            self.flush(conn);
        }
        let Sockets { rows, wire_bytes, .. } = self;
        let socket = rows.get_mut(conn.place as usize).filter(|socket| socket.life == conn.life);
        let Some(socket) = socket.filter(|socket| socket.waits_to_write) else { return };
        if let (Some(parts), Some(stream)) = (&mut socket.parts, &mut socket.stream)
            && !parts.unwritten.is_empty()
        {
            let taken = match stream.write(&parts.unwritten) {
                Ok(taken) => taken,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
                Err(_) => parts.unwritten.len(),
            };
            parts.unwritten.drain(..taken);
            *wire_bytes += taken as u64;
            if !parts.unwritten.is_empty() {
                return;
            }
            parts.unwritten = Vec::new();
        }
        socket.waits_to_write = false;
        self.tell(conn, Signal::Writable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;
    use mio::Events;
    use std::io::Read;
    use std::net::TcpListener;

    /// Sockets with one connection, and its other end.
    fn connected() -> (Sockets, Events, Conn, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::parse(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
        let mut sockets = Sockets::new([target].into(), [None].into(), None, None).unwrap();
        let (conn, mut events) = (sockets.open(0, 0), Events::with_capacity(16));
        let other = listener.accept().unwrap().0;
        assert!(matches!(signals(&mut sockets, &mut events)[..], [Signal::Connected]));
        (sockets, events, conn, other)
    }

    fn signals(sockets: &mut Sockets, events: &mut Events) -> Vec<Signal> {
        sockets.wait(events, Duration::from_secs(10)).unwrap();
        events.iter().for_each(|event| sockets.take(event, Time::ZERO));
        let told = std::iter::from_fn(|| {
            let told = sockets.next(Time::ZERO)?;
            sockets.told(&told);
            Some(told.signal)
        });
        told.collect()
    }

    #[test]
    fn what_is_written_in_a_turn_goes_in_its_order_at_the_turns_end() {
        let (mut sockets, _, conn, mut other) = connected();
        (0..=255u8).for_each(|n| assert_eq!(sockets.write(conn, &[n; 3], Time::ZERO).unwrap(), 3));
        other.set_nonblocking(true).unwrap();
        assert_eq!(other.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
        sockets.hand_over();
        other.set_nonblocking(false).unwrap();
        let mut came = [0; 768];
        other.read_exact(&mut came).unwrap();
        assert!((0..=255u8).zip(came.chunks(3)).all(|(n, three)| three == [n; 3]));
        // What waits when a connection is closed goes before its end.
        sockets.write(conn, b"farewell", Time::ZERO).unwrap();
        sockets.close(conn);
        let mut rest = Vec::new();
        other.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"farewell");
    }

    #[test]
    fn what_finds_no_room_stays_in_its_place_and_stops_its_client_until_there_is_some() {
        let (mut sockets, mut events, conn, mut other) = connected();
        let mut written = 0u64;
        let mut piece = |sockets: &mut Sockets| {
            let bytes: Vec<u8> = (0..1_000).flat_map(|n| (written + n).to_le_bytes()).collect();
            let done = sockets.write(conn, &bytes, Time::ZERO).map(|taken| assert_eq!(taken, bytes.len()));
            sockets.hand_over();
            written += if done.is_ok() { 1_000 } else { 0 };
            done
        };
        let full = std::iter::repeat_with(|| piece(&mut sockets)).find_map(Result::err).unwrap();
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        let reader = std::thread::spawn(move || {
            let mut came = Vec::new();
            other.read_to_end(&mut came).unwrap();
            came
        });
        while !signals(&mut sockets, &mut events).contains(&Signal::Writable) {}
        piece(&mut sockets).unwrap();
        // Its end is not lost behind what waits either.
        while sockets.get(conn).and_then(|socket| socket.parts.as_ref()).is_some_and(|p| !p.unwritten.is_empty()) {
            signals(&mut sockets, &mut events);
        }
        sockets.close(conn);
        let came = reader.join().unwrap();
        let numbers: Vec<u64> =
            came.chunks(8).map(|eight| u64::from_le_bytes(eight.try_into().unwrap())).collect();
        assert!(numbers.iter().copied().eq(0..written), "{} of {written}", numbers.len());
    }
}
