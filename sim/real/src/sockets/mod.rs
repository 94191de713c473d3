//! The fleet's connections on real sockets: driven by epoll, no task and no buffer a client.
//!
//! **Invariant:** what has arrived is read before the clock is asked when that was, so that nothing is said to have been seen before it
//! was sent, on whichever thread. So a [`squall_generators::LastMile::read`] reads no socket: [`Sockets::next`] has read it, and what a client leaves there
//! waits for it. A client that does not read has its socket left alone, as a device does.

mod delay;
mod mile;
mod outgoing;
mod tls;

pub use delay::Delays;
pub use mile::Mile;
pub use tls::{TlsError, TlsSetup};

use crate::target::Target;
use delay::{Link, Way};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use outgoing::{NOTHING, Outgoing};
use slab::Slab;
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use squall_core::Time;
use squall_generators::Signal;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tls::Tls;

/// How much is read with one call; what is shorter was all.
const READ_BYTES: usize = 64 * 1024;

/// A connection: its place, and which of those that have had the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conn {
    place: u32,
    life: u32,
}

struct Socket {
    /// `None` where none could be opened.
    stream: Option<TcpStream>,
    life: u32,
    client: u32,
    /// Where what was written in this turn stands.
    outgoing: u32,
    is_connected: bool,
    /// The next time that there is room is told.
    waits_to_write: bool,
    /// Nothing comes or goes any more, and neither side knows.
    is_frozen: bool,
    /// The client was told that there is something and has not read it.
    is_unread: bool,
    /// Closed by the client: it ends when what it has written is gone.
    is_leaving: bool,
    parts: Option<Box<Parts>>,
}

/// What only some connections have.
#[derive(Default)]
struct Parts {
    /// What has arrived and was not taken.
    held: Vec<u8>,
    /// What was written and the system had no room for.
    unwritten: Vec<u8>,
    /// The connection ended after that.
    end: Option<&'static str>,
    link: Option<Link>,
    tls: Option<Tls>,
}

/// What is to be done about a connection.
#[derive(Debug, Clone, Copy)]
enum Pending {
    /// Read what the system has.
    Fill,
    /// Tell its client.
    Tell(Signal),
}

/// What came of waiting.
pub struct Told {
    pub client: u32,
    pub conn: Conn,
    pub signal: Signal,
}

/// All connections of one thread.
pub struct Sockets {
    poll: Poll,
    rows: Slab<Socket>,
    lives: u32,
    targets: Arc<[Target]>,
    sources: Arc<[Option<IpAddr>]>,
    opened: usize,
    tls: Option<TlsSetup>,
    delays: Option<Delays>,
    /// What is to be told without the system having said so.
    pending: VecDeque<(Conn, Pending)>,
    /// What the connection that is being told of has brought.
    incoming: Vec<u8>,
    current: Option<Conn>,
    outgoing: Outgoing,
    buffer: Box<[u8]>,
    /// Half-open connections that their client has left: the other side must not hear of it.
    graves: Vec<TcpStream>,
    pub failed_opens: u64,
    /// Connections that were there.
    pub reached: u64,
    pub wire_bytes: u64,
}

impl Sockets {
    pub fn new(
        targets: Arc<[Target]>,
        sources: Arc<[Option<IpAddr>]>,
        tls: Option<TlsSetup>,
        delays: Option<Delays>,
    ) -> io::Result<Self> {
        Ok(Sockets {
            poll: Poll::new()?,
            rows: Slab::new(),
            lives: 0,
            targets,
            sources,
            opened: 0,
            tls,
            delays,
            pending: VecDeque::new(),
            incoming: Vec::new(),
            current: None,
            outgoing: Outgoing::default(),
            buffer: vec![0; READ_BYTES].into(),
            graves: Vec::new(),
            failed_opens: 0,
            reached: 0,
            wire_bytes: 0,
        })
    }

    /// Waits until something happens, for so long at most.
    pub fn wait(&mut self, events: &mut Events, most: Duration) -> io::Result<()> {
        self.hand_over();
        let most = if self.pending.is_empty() { most } else { Duration::ZERO };
        match self.poll.poll(events, Some(most)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            done => done,
        }
    }

    /// When something that is delayed is due; never, if nothing is.
    pub fn next_due(&mut self) -> Time {
        self.delays.as_mut().map_or(Time::NEVER, Delays::next_due)
    }

    /// Bytes of the rows of all connections, with what waits in them; what TLS and the system hold is not counted.
    pub fn held_bytes(&self) -> usize {
        let of_parts = |parts: &Parts| {
            let link = parts.link.as_ref().map_or(0, Link::held_bytes);
            size_of::<Parts>() + parts.held.capacity() + parts.unwritten.capacity() + link
        };
        let parts =
            self.rows.iter().filter_map(|(_, socket)| socket.parts.as_deref()).map(of_parts).sum::<usize>();
        // A slab has a word beside each row.
        self.rows.capacity() * (size_of::<Socket>() + size_of::<usize>()) + parts
    }

    fn get(&mut self, conn: Conn) -> Option<&mut Socket> {
        self.rows.get_mut(conn.place as usize).filter(|socket| socket.life == conn.life)
    }

    /// What an event of the system has to tell: first that there is a connection, then what it brought, then that there is room.
    pub fn take(&mut self, event: &Event, now: Time) {
        let place = event.token().0;
        let Some(socket) = self.rows.get_mut(place) else { return };
        let conn = Conn { place: place as u32, life: socket.life };
        if socket.is_frozen {
            return;
        }
        if !socket.is_connected {
            if !event.is_writable() && !event.is_error() {
                return;
            }
            match connected(socket) {
                Ok(false) => return,
                Ok(true) => {
                    socket.is_connected = true;
                    self.reached += 1;
                    match socket.parts.as_mut().and_then(|parts| parts.link.as_mut()) {
                        // A handshake takes a way there and back.
                        Some(_) => self.delay(conn, Way::Connect, &[], now),
                        None => self.pending.push_back((conn, Pending::Tell(Signal::Connected))),
                    }
                }
                Err(reason) => return self.pending.push_back((conn, Pending::Tell(Signal::Lost(reason)))),
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.pending.push_back((conn, Pending::Fill));
        }
        if event.is_read_closed() {
            // The end stands behind what a short read has taken, and is told only once.
            self.pending.push_back((conn, Pending::Fill));
        }
        if event.is_writable() {
            self.room(conn);
        }
    }

    fn tell(&mut self, conn: Conn, signal: Signal) {
        self.pending.push_back((conn, Pending::Tell(signal)));
    }

    /// The next thing to tell a client, with what it brought read already: `incoming` belongs to it until [`Sockets::told`].
    pub fn next(&mut self, now: Time) -> Option<Told> {
        loop {
            if let Some((conn, way)) = self.delays.as_mut().and_then(|delays| delays.pop(now)) {
                self.release(conn, way, now);
            }
            let Some((conn, pending)) = self.pending.pop_front() else {
                match self.delays.as_mut().is_some_and(|delays| delays.next_due() <= now) {
                    true => continue,
                    false => return None,
                }
            };
            let Some(socket) = self.get(conn) else { continue };
            let (client, is_leaving) = (socket.client, socket.is_leaving);
            let signal = match pending {
                Pending::Fill if socket.is_unread => continue,
                Pending::Fill => match self.fill(conn, now, false) {
                    None => continue,
                    Some(signal) => signal,
                },
                Pending::Tell(signal) => signal,
            };
            if is_leaving {
                // Its client knows nothing of it any more.
                if matches!(signal, Signal::Lost(_)) {
                    self.forget(conn);
                }
                self.incoming.clear();
                continue;
            }
            return Some(Told { client, conn, signal });
        }
    }

    /// The client has been told: what it left of what came waits for it, and a connection that is over is gone.
    pub fn told(&mut self, told: &Told) {
        if matches!(told.signal, Signal::Lost(_)) {
            self.incoming.clear();
            self.current = None;
            return self.forget(told.conn);
        }
        if self.current.take() == Some(told.conn) && !self.incoming.is_empty() {
            let left = std::mem::take(&mut self.incoming);
            if let Some(socket) = self.get(told.conn) {
                socket.is_unread = true;
                socket.parts.get_or_insert_default().held.extend_from_slice(&left);
            }
        }
        self.incoming.clear();
        // What was held back for it and has come lies there already.
        if let (Signal::Readable, Some(socket)) = (told.signal, self.get(told.conn)) {
            socket.is_unread = socket.parts.as_ref().is_some_and(|parts| !parts.held.is_empty());
        }
    }

    /// A client that had stopped reading reads on: what the system has for it is read.
    pub fn read_on(&mut self, conn: Conn, now: Time) {
        if let Some(socket) = self.get(conn)
            && std::mem::take(&mut socket.is_unread)
        {
            let held = socket.parts.as_mut().map(|parts| std::mem::take(&mut parts.held)).unwrap_or_default();
            let end = self.fill(conn, now, true);
            let came = std::mem::take(&mut self.incoming);
            if let Some(socket) = self.get(conn) {
                let parts = socket.parts.get_or_insert_default();
                // What was delayed may have come to stand here meanwhile.
                let later = std::mem::replace(&mut parts.held, held);
                parts.held.extend_from_slice(&later);
                parts.held.extend_from_slice(&came);
            }
            self.current = None;
            let lost = match end {
                Some(lost @ Signal::Lost(_)) => Pending::Tell(lost),
                _ => Pending::Fill,
            };
            self.pending.push_back((conn, lost));
        }
    }

    /// Reads what there is; what to tell of it. A read that gives less than was asked for was all: of what comes behind it, the end included, the
    /// system tells once more. Only what it told of long ago is read until there is nothing (`to_the_end`).
    fn fill(&mut self, conn: Conn, now: Time, to_the_end: bool) -> Option<Signal> {
        let Sockets { rows, buffer, incoming, wire_bytes, .. } = self;
        let socket = rows.get_mut(conn.place as usize)?;
        let stream = socket.stream.as_mut()?;
        let mut end = None;
        let before = incoming.len();
        loop {
            match stream.read(buffer) {
                Ok(0) => end = Some("closed by the peer"),
                Ok(len) => {
                    *wire_bytes += len as u64;
                    match socket.parts.as_mut().and_then(|parts| parts.tls.as_mut()) {
                        Some(tls) => {
                            if tls.take(&buffer[..len], incoming).is_err() {
                                end = Some("TLS failed");
                            }
                        }
                        None => incoming.extend_from_slice(&buffer[..len]),
                    }
                    if end.is_none() && (len == buffer.len() || to_the_end) {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => end = Some(reason(&error)),
            }
            break;
        }
        let has_tls = socket.parts.as_ref().is_some_and(|parts| parts.tls.is_some());
        let is_delayed = socket.parts.as_ref().is_some_and(|parts| parts.link.is_some());
        if has_tls {
            self.flush(conn);
        }
        if is_delayed {
            let came: Vec<u8> = self.incoming.drain(before..).collect();
            if !came.is_empty() {
                self.delay(conn, Way::Down, &came, now);
            }
            if let Some(end) = end {
                self.delay_end(conn, end, now);
            }
            return None;
        }
        self.current = Some(conn);
        match end {
            Some(reason) => Some(Signal::Lost(reason)),
            None if self.incoming.len() > before => Some(Signal::Readable),
            None => {
                self.current = None;
                None
            }
        }
    }

    /// Ends a connection without a word to its client.
    fn forget(&mut self, conn: Conn) {
        if self.get(conn).is_some() {
            let socket = self.rows.remove(conn.place as usize);
            if let (true, Some(stream)) = (socket.is_frozen, socket.stream) {
                self.graves.push(stream);
            }
        }
    }

    /// From now on nothing passes on this connection, and neither end knows. Whether it was there.
    pub fn freeze(&mut self, conn: Conn) -> bool {
        self.hand_over_of(conn);
        self.get(conn).is_some_and(|socket| {
            socket.is_frozen = true;
            true
        })
    }

    fn open_stream(&mut self, address: SocketAddr) -> io::Result<TcpStream> {
        let source = self.sources[self.opened % self.sources.len()];
        self.opened += 1;
        let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if is_under_way(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(TcpStream::from_std(socket.into()))
    }

    fn open(&mut self, client: u32, gateway: u32) -> Conn {
        self.lives = self.lives.wrapping_add(1);
        let target = &self.targets[gateway as usize];
        let (address, is_secure) = (target.address, target.is_secure);
        let tls = is_secure
            .then(|| self.tls.as_ref().and_then(|setup| setup.begin(&self.targets[gateway as usize].host)))
            .flatten();
        let link = self.delays.as_mut().and_then(|delays| delays.link(client));
        let parts = (tls.is_some() || link.is_some()).then(|| Box::new(Parts { tls, link, ..Parts::default() }));
        // Where TLS was asked for nothing is said without it, least of all a token.
        let opened = match is_secure && parts.as_ref().is_none_or(|parts| parts.tls.is_none()) {
            true => Err(io::Error::other("TLS cannot begin")),
            false => self.open_stream(address),
        };
        let place = self.rows.insert(Socket {
            stream: None,
            life: self.lives,
            client,
            outgoing: NOTHING,
            is_connected: false,
            waits_to_write: false,
            is_frozen: false,
            is_unread: false,
            is_leaving: false,
            parts,
        });
        let conn = Conn { place: place as u32, life: self.lives };
        let registered = opened.and_then(|mut stream| {
            self.poll.registry().register(&mut stream, Token(place), Interest::READABLE | Interest::WRITABLE)?;
            Ok(stream)
        });
        match registered {
            Ok(stream) => self.rows[place].stream = Some(stream),
            // Somebody is there, and says so at once.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                self.pending.push_back((conn, Pending::Tell(Signal::Lost("refused"))));
            }
            Err(_) => {
                self.failed_opens += 1;
                self.pending.push_back((conn, Pending::Tell(Signal::Lost("no socket could be opened"))));
            }
        }
        conn
    }

    fn write(&mut self, conn: Conn, bytes: &[u8], now: Time) -> io::Result<usize> {
        let Some(socket) = self.get(conn) else { return Err(ErrorKind::NotConnected.into()) };
        if socket.is_frozen {
            return Ok(bytes.len());
        }
        if socket.parts.as_ref().is_some_and(|parts| parts.link.is_some()) {
            self.delay(conn, Way::Up, bytes, now);
            return Ok(bytes.len());
        }
        self.gather(conn, bytes, now)
    }

    /// Hands the system what waits behind a delay or in TLS.
    fn flush(&mut self, conn: Conn) {
        let Some(socket) = self.get(conn) else { return };
        let (Some(stream), Some(parts)) = (socket.stream.as_mut(), socket.parts.as_mut()) else { return };
        let mut written = 0;
        let done = match (&mut parts.tls, &mut parts.link) {
            (Some(tls), Some(link)) => link
                .take_ripe(|bytes| {
                    tls.put(bytes);
                    Ok(bytes.len())
                })
                .and_then(|_| tls.flush(stream, &mut written)),
            (Some(tls), None) => tls.flush(stream, &mut written),
            (None, Some(link)) => link.take_ripe(|bytes| {
                let len = stream.write(bytes)?;
                written += len;
                Ok(len)
            }),
            (None, None) => Ok(true),
        };
        let is_over =
            socket.is_leaving && matches!(done, Ok(true)) && parts.link.as_ref().is_none_or(Link::is_up_empty);
        self.wire_bytes += written as u64;
        // An error shows when the connection is read.
        if is_over {
            self.forget(conn);
        }
    }

    fn delay(&mut self, conn: Conn, way: Way, bytes: &[u8], now: Time) {
        let Sockets { rows, delays, .. } = self;
        let link = rows.get_mut(conn.place as usize).and_then(|socket| socket.parts.as_mut()?.link.as_mut());
        if let (Some(delays), Some(link)) = (delays, link) {
            delays.put(conn, link, way, bytes, now);
        }
    }

    fn delay_end(&mut self, conn: Conn, reason: &'static str, now: Time) {
        if let Some(parts) = self.get(conn).and_then(|socket| socket.parts.as_mut()) {
            parts.end = Some(reason);
        }
        self.delay(conn, Way::End, &[], now);
    }

    /// Something that was delayed has come.
    fn release(&mut self, conn: Conn, way: Way, now: Time) {
        match way {
            Way::Connect => self.pending.push_front((conn, Pending::Tell(Signal::Connected))),
            Way::Up => {
                if let Some(link) = self.get(conn).and_then(|socket| socket.parts.as_mut()?.link.as_mut()) {
                    link.ripen(now);
                }
                self.flush(conn);
            }
            Way::Down => {
                let Some(socket) = self.get(conn) else { return };
                let is_unread = socket.is_unread;
                let Some(parts) = socket.parts.as_mut() else { return };
                let Some(came) = parts.link.as_mut().and_then(Link::arrive) else { return };
                parts.held.extend_from_slice(&came);
                if !is_unread {
                    self.pending.push_front((conn, Pending::Tell(Signal::Readable)));
                }
            }
            Way::End => {
                let end = self.get(conn).and_then(|socket| socket.parts.as_mut()?.end.take());
                if let Some(reason) = end {
                    self.pending.push_back((conn, Pending::Tell(Signal::Lost(reason))));
                }
            }
        }
    }

    fn close(&mut self, conn: Conn) {
        self.hand_over_of(conn);
        let Some(socket) = self.get(conn) else { return };
        socket.is_leaving = true;
        let waits = !socket.is_frozen
            && socket
                .parts
                .as_ref()
                .is_some_and(|parts| parts.link.as_ref().is_some_and(|link| !link.is_up_empty()));
        if !waits {
            if !socket.is_frozen {
                self.flush(conn);
            }
            self.forget(conn);
        }
    }

    fn cut(&mut self, conn: Conn) {
        self.hand_over_of(conn);
        if let Some(socket) = self.get(conn) {
            if let Some(stream) = &socket.stream {
                // With no time to linger a close is a reset.
                let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
            socket.stream = None;
            self.pending.push_back((conn, Pending::Tell(Signal::Lost("reset"))));
        }
    }
}

/// Whether a connection that was begun is there by now.
fn connected(socket: &Socket) -> Result<bool, &'static str> {
    let stream = socket.stream.as_ref().ok_or("reset")?;
    match stream.take_error() {
        Ok(Some(error)) | Err(error) => return Err(reason(&error)),
        Ok(None) => {}
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected || is_under_way(&error) => Ok(false),
        Err(error) => Err(reason(&error)),
    }
}

fn is_under_way(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// Why a connection is over, in the words of the history.
fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::TimedOut => "timed out",
        _ => "reset",
    }
}
