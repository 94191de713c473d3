//! A deterministic simulated TCP network for one process and one seed. It knows nothing of chat or of turmoil.
//!
//! # Model
//!
//! Hosts, and sites on which virtual clients live, open connections to ports of hosts. A connection runs over a
//! [`Profile`]; faults ([`Fault`]) come on top, on ordered pairs of hosts or on picked connections. The caller drives
//! time: [`Network::advance`] delivers what is due and wakes whoever waits; [`Network::set_now`] stamps what hosts
//! write in between. Programs on hosts use [`Listener`] and [`Stream`]; millions of virtual clients use
//! [`Network::open`], [`Network::write`], [`Network::read`] and [`Network::drain_events`], with no task and no waker.
//!
//! Bytes arrive in order: a prefix of what was written, and then, perhaps, a cut. A segment that meets a partition is
//! retransmitted after the heal; a sender whose data makes no progress for its profile's `patience` fails with a
//! time-out. FIN and RST travel as segments and are stopped like them; an RST is sent once. A machine without power is
//! silent, and answers its old connections with RST once it is back.
//!
//! # Deliberate simplifications
//!
//! - No congestion control: the receive window, the send buffer and the bandwidth limit the rate.
//! - Loss is drawn when a segment is sent, as the delay of the retransmission that gets through.
//! - Acknowledgements and window updates cost an event, and take a latency, only if somebody waits for them;
//!   otherwise the sender knows at delivery, provided that the way back is open.
//! - Bandwidth, the profile's and a slow link's, is for each connection and direction, not shared.
//! - A segment that had left before a fault began passes it. A partition shorter than one latency may go unnoticed.
//! - A held SYN is lost and sent again rather than released.
//! - A drop is looked at when something is sent or arrives: an idle connection has no event and no heap memory.
//! - Keep-alive probes do not exist: an end with nothing in flight never finds out by itself.
//!
//! # Files
//!
//! `network` is the handle, `stream` and `sync_io` the two ways to use a connection; `state` holds everything,
//! `transmit`, `deliver`, `handshake`, `ends` and `hosts` are what happens to it; `turn` lets hosts act beside each
//! other, and `calls` is what they call for meanwhile; `conn`, `queue`, `events`, `segments` and `links` are its parts.

mod calls;
mod conn;
mod deliver;
mod digest;
mod ends;
mod events;
mod fault;
mod fleet;
mod handshake;
mod hosts;
mod ids;
mod links;
mod network;
mod profile;
mod queue;
mod rng;
mod segments;
mod state;
mod stats;
mod stream;
mod sync_io;
mod tokens;
mod transmit;
mod turn;

pub use conn::{EndState, Phase};
pub use fault::{Fault, FaultKind, Hits, Predicate, Scope, Travel};
pub use fleet::{FleetEvent, FleetEventKind, ReadOutcome};
pub use hosts::CloseStyle;
pub use ids::{ConnId, FaultId, HostId, Micros, NEVER, ProfileId, Side};
pub use network::Network;
pub use profile::{LatencyModel, Profile};
pub use segments::SegmentKind;
pub use stats::{ConnInfo, SegmentTrace, Stats, TraceFn};
pub use stream::{Listener, PeerInfo, Stream};
