//! Counters, the trace of single segments, and what can be asked about a connection.

use crate::conn::{EndState, Phase};
use crate::ids::{ConnId, HostId, Micros, ProfileId, Side};
use crate::segments::SegmentKind;

/// Counts since the start, for the whole network.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Connections that take a slot now, attempts included.
    pub open: u64,
    /// The most that `open` has been.
    pub open_peak: u64,
    /// Connection attempts.
    pub attempts: u64,
    /// Attempts that reached the opener's `Connected`.
    pub connected: u64,
    /// Attempts that were answered with RST.
    pub refused: u64,
    /// SYNs refused because an accept queue was full.
    pub accept_overflows: u64,
    /// Attempts that nobody answered in time.
    pub connect_timeouts: u64,
    /// Segments delivered.
    pub segments: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// Ends that a reset ended.
    pub resets: u64,
    /// Ends whose patience ran out.
    pub timeouts: u64,
}

/// One delivered segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentTrace {
    pub at: Micros,
    pub conn: ConnId,
    /// The virtual client's token, if one opened the connection.
    pub token: Option<u64>,
    pub from: HostId,
    pub to: HostId,
    pub sender: Side,
    pub kind: SegmentKind,
    pub len: usize,
    /// Hash of the bytes; zero if there are none.
    pub hash: u64,
}

/// Sees every delivered segment, under the network's lock: it must not call the network.
pub type TraceFn = Box<dyn FnMut(&SegmentTrace) + Send>;

/// What the network knows of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnInfo {
    pub conn: ConnId,
    /// The virtual client's token, if one opened the connection.
    pub token: Option<u64>,
    pub opener: HostId,
    pub acceptor: HostId,
    pub port: u16,
    pub profile: ProfileId,
    pub phase: Phase,
    /// The opener's end, then the acceptor's.
    pub ends: [EndState; 2],
    /// Half-open: nothing gets through any more.
    pub frozen: bool,
    /// Bytes that the opener, then the acceptor, has not read.
    pub unread: [usize; 2],
    /// Bytes written by the opener, then by the acceptor, that are not acknowledged.
    pub unacknowledged: [usize; 2],
}
