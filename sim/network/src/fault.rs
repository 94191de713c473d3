//! What can be wrong with links and connections, and what each fault hit.
//!
//! **Invariant:** a fault describes itself only. The state of a path is always computed from the whole set of active
//! faults (`links.rs`), so the end of one never undoes another. Checked by
//! `every_pair_of_faults_ends_independently` in `tests/fault_overlap.rs`.

use std::fmt;

use crate::ids::{HostId, Micros, Side};

/// Selects connections by the opener's host and token. It must be pure: it is asked again for every segment.
pub type Predicate = Box<dyn Fn(HostId, u64) -> bool + Send>;

/// Which segments a fault is about.
pub enum Scope {
    /// Everything that travels from a host of `from` to a host of `to`, and back if `both_ways`.
    Links { from: Vec<HostId>, to: Vec<HostId>, both_ways: bool },
    /// The connections of virtual clients that `select` picks, in one direction or in both.
    Connections { select: Predicate, direction: Travel },
}

/// Which way segments travel, seen from the connection's opener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Travel {
    Both,
    FromOpener,
    ToOpener,
}

impl Travel {
    pub(crate) fn covers(self, sender: usize) -> bool {
        match self {
            Travel::Both => true,
            Travel::FromOpener => sender == Side::Opener as usize,
            Travel::ToOpener => sender == Side::Acceptor as usize,
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Links { from, to, both_ways } => {
                f.debug_struct("Links").field("from", from).field("to", to).field("both_ways", both_ways).finish()
            }
            Scope::Connections { direction, .. } => f.debug_tuple("Connections").field(direction).finish(),
        }
    }
}

/// What is wrong while the fault lasts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum FaultKind {
    /// A partition: segments are lost, and TCP retransmits them.
    Block,
    /// Segments wait in the network and are released at once, in order, when no hold remains.
    Hold,
    /// Each segment takes longer by `add` and an exponential `jitter`, both µs.
    Latency { add: Micros, jitter: Micros },
    /// Each connection's direction carries at most this many bytes per second. The slowest wins.
    Slow { bytes_per_s: u64 },
    /// Each transmission is lost with probability `p`, on top of the profile's loss.
    Loss { p: f64 },
    /// Connection attempts are answered with RST.
    Refuse,
    /// Connections that exist when the fault starts, or send while it lasts, become half-open for ever.
    Freeze,
}

/// A fault: what and where. It lasts from `add_fault` to `remove_fault`.
#[derive(Debug)]
pub struct Fault {
    pub scope: Scope,
    pub kind: FaultKind,
}

impl Fault {
    /// A fault on everything between two sets of hosts.
    pub fn between(from: impl Into<Vec<HostId>>, to: impl Into<Vec<HostId>>, kind: FaultKind) -> Self {
        Self { scope: Scope::Links { from: from.into(), to: to.into(), both_ways: true }, kind }
    }

    /// A fault on what travels from one set of hosts to another, and not back.
    pub fn one_way(from: impl Into<Vec<HostId>>, to: impl Into<Vec<HostId>>, kind: FaultKind) -> Self {
        Self { scope: Scope::Links { from: from.into(), to: to.into(), both_ways: false }, kind }
    }

    /// A fault on the virtual clients' connections that a predicate picks.
    pub fn connections(select: impl Fn(HostId, u64) -> bool + Send + 'static, kind: FaultKind) -> Self {
        Self { scope: Scope::Connections { select: Box::new(select), direction: Travel::Both }, kind }
    }
}

/// What a fault did. All zero: it touched nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Hits {
    /// Segments that a partition stopped.
    pub segments_stalled: u64,
    /// Bytes in those segments.
    pub bytes_stalled: u64,
    /// Segments that a hold kept.
    pub segments_held: u64,
    /// Bytes in those segments.
    pub bytes_held: u64,
    /// Segments that came later through added latency or a slow link.
    pub segments_delayed: u64,
    /// Segments that needed a retransmission while a loss fault was active on their path.
    pub segments_lost: u64,
    /// Connections that a freeze made half-open.
    pub connections_cut: u64,
    /// Connection attempts that were answered with RST.
    pub connects_refused: u64,
    /// Transmissions of a SYN or of its answer that were stopped.
    pub connects_stalled: u64,
}

impl Hits {
    /// Whether the fault touched anything.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}
