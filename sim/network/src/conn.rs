//! A connection at rest: two ends, and a queue for each direction that has something to carry.
//!
//! **Invariants:** an idle connection owns no heap memory except a registered waker's. An end's `owned` flag is what
//! makes a handle valid: once it is clear, whatever a stale handle does is refused or swallowed.

use std::task::Waker;

use crate::ids::{ConnId, HostId, Micros, NEVER, ProfileId};
use crate::links::Route;
use crate::queue::Queue;

/// What an end's kernel knows of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndState {
    /// The kernel has no such connection (any more).
    Gone,
    Live,
    /// Ended by the peer's RST or by a cut.
    Reset,
    /// Ended because nothing was acknowledged for too long.
    TimedOut,
    /// The attempt was answered with RST.
    Refused,
    /// The attempt was answered by nobody.
    ConnectTimedOut,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The opener waits for its SYN-ACK.
    Connecting,
    /// The opener may send; the acceptor has not seen its answer.
    Opening,
    Established,
}

/// A request for a connection.
pub(crate) struct Attempt {
    pub from: HostId,
    pub to: HostId,
    pub port: u16,
    pub profile: ProfileId,
    /// A virtual client's token.
    pub token: Option<u64>,
}

/// One end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub state: EndState,
    /// A handle, or the listener's accept queue, still refers to this end.
    pub owned: bool,
    /// This end sends nothing more; its FIN is queued, in flight or delivered.
    pub closed: bool,
    /// The peer's FIN was delivered to this end.
    pub eof: bool,
    /// The owner waits for room in the send buffer.
    pub write_blocked: bool,
}

impl End {
    pub const GONE: Self =
        Self { state: EndState::Gone, owned: false, closed: false, eof: false, write_blocked: false };
    pub const OPEN: Self = Self { state: EndState::Live, owned: true, ..Self::GONE };

    pub fn is_live(&self) -> bool {
        self.state == EndState::Live
    }
}

/// The wakers that a connection of virtual clients rarely has.
#[derive(Default)]
pub(crate) struct RareWakers {
    pub opener_read: Option<Waker>,
    /// By side.
    pub write: [Option<Waker>; 2],
}

/// Fields are in order of use, so that most deliveries touch one cache line of it.
#[repr(C, align(64))]
pub(crate) struct Conn {
    /// By sending side.
    pub queues: [Option<Box<Queue>>; 2],
    pub generation: u32,
    pub hosts: [u16; 2],
    pub ends: [End; 2],
    pub profile: u16,
    pub phase: Phase,
    /// The slot is taken.
    pub used: bool,
    /// A virtual client is the opener: events go to the fleet, not to a waker.
    pub fleet: bool,
    /// Nothing gets through in either direction, ever again.
    pub frozen: bool,
    /// A place in the listener's accept queue is reserved.
    pub reserved: bool,
    pub syn_attempts: u8,
    /// Last write or delivery, for the NAT; while connecting, when the attempt began.
    pub active_at: Micros,
    /// Next drop of the path, [`NEVER`] if the profile has none.
    pub drops_at: Micros,
    pub token: u64,
    pub acceptor_read: Option<Waker>,
    pub rare_wakers: Option<Box<RareWakers>>,
    /// The advance in which the virtual client was last told that it can read.
    pub told_readable: u32,
    /// Position in each host's list of connections.
    pub positions: [u32; 2],
    /// Bytes that each side has written in this turn.
    pub written_in_turn: [u32; 2],
    /// Each side has closed its direction in this turn.
    pub shut_in_turn: [bool; 2],
    pub port: u16,
}

impl Conn {
    fn vacant() -> Self {
        Self {
            token: 0,
            drops_at: NEVER,
            active_at: 0,
            queues: [None, None],
            acceptor_read: None,
            rare_wakers: None,
            generation: 0,
            positions: [0; 2],
            written_in_turn: [0; 2],
            shut_in_turn: [false; 2],
            told_readable: 0,
            hosts: [0; 2],
            port: 0,
            profile: 0,
            ends: [End::GONE; 2],
            phase: Phase::Connecting,
            syn_attempts: 0,
            fleet: false,
            frozen: false,
            reserved: false,
            used: false,
        }
    }

    pub fn route(&self, sender: usize) -> Route {
        Route {
            from: self.hosts[sender],
            to: self.hosts[1 - sender],
            sender,
            opener: HostId(u32::from(self.hosts[0])),
            token: self.fleet.then_some(self.token),
        }
    }

    /// Bytes that the owner of `side` could read.
    pub fn readable(&self, side: usize) -> usize {
        self.queues[1 - side].as_ref().map_or(0, |queue| queue.readable())
    }
}

/// Slots come in chunks, so that growth neither copies nor doubles. With the 63 bytes that aligning it may take, a chunk stays
/// below 2^17 bytes, a size that allocators have a class for.
const CHUNK: usize = 1_000;
const _: () = assert!(CHUNK * size_of::<Conn>() + 63 <= 1 << 17 && CHUNK * size_of::<Conn>() > 15 << 13);

/// All connections, by slot.
#[derive(Default)]
pub(crate) struct Table {
    chunks: Vec<Box<[Conn]>>,
    free: Vec<u32>,
}

impl Table {
    /// Takes a free slot. Its generation is already that of the new connection.
    pub fn insert(&mut self) -> ConnId {
        if self.free.is_empty() {
            let first = self.chunks.len() * CHUNK;
            self.chunks.push((0..CHUNK).map(|_| Conn::vacant()).collect());
            self.free.extend((first as u32..(first + CHUNK) as u32).rev());
        }
        let slot = self.free.pop().expect("a chunk was just added");
        let conn = self.at_mut(slot);
        conn.used = true;
        ConnId { slot, generation: conn.generation }
    }

    /// Frees the slot; the caller has taken queues and wakers out.
    pub fn remove(&mut self, slot: u32) {
        let conn = self.at_mut(slot);
        let generation = conn.generation.wrapping_add(1);
        *conn = Conn { generation, ..Conn::vacant() };
        self.free.push(slot);
    }

    pub fn at(&self, slot: u32) -> &Conn {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    pub fn at_mut(&mut self, slot: u32) -> &mut Conn {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// Whether the id names a connection that exists.
    pub fn contains(&self, id: ConnId) -> bool {
        self.chunks.get(id.slot as usize / CHUNK).is_some_and(|chunk| {
            let conn = &chunk[id.slot as usize % CHUNK];
            conn.used && conn.generation == id.generation
        })
    }

    pub fn id(&self, slot: u32) -> ConnId {
        ConnId { slot, generation: self.at(slot).generation }
    }

    /// Every connection in order of slot.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Conn)> {
        self.chunks
            .iter()
            .flatten()
            .enumerate()
            .filter(|(_, conn)| conn.used)
            .map(|(slot, conn)| (slot as u32, conn))
    }

    pub fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Conn>()
            + self.chunks.capacity() * size_of::<Box<[Conn]>>()
            + self.free.capacity() * size_of::<u32>()
    }
}
