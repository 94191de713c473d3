//! What kind of path a connection runs over: latency, loss, bandwidth, NAT, drops, and TCP's limits.
//!
//! **Invariant:** a profile never changes once registered; faults come on top of it and never alter it.

use crate::ids::Micros;
use crate::rng::Rng;

/// Milliseconds in [`Micros`].
const MS: Micros = 1_000;
/// Seconds in [`Micros`].
const S: Micros = 1_000_000;

/// One-way latency: a floor and an exponential tail that is cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LatencyModel {
    /// The least one-way latency, µs.
    pub base: Micros,
    /// Mean of the exponential tail on top of `base`, µs.
    pub jitter: Micros,
    /// The most that the tail can add, µs.
    pub jitter_cap: Micros,
}

impl LatencyModel {
    /// The same latency for every segment.
    pub const fn constant(base: Micros) -> Self {
        Self { base, jitter: 0, jitter_cap: 0 }
    }

    pub(crate) fn draw(&self, rng: &mut Rng) -> Micros {
        self.base + rng.exponential(self.jitter).min(self.jitter_cap)
    }
}

/// How a connection's path behaves in the absence of faults. Times are in µs, sizes in bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct Profile {
    /// What reports call it.
    pub name: String,
    /// One-way latency of each direction.
    pub latency: LatencyModel,
    /// Probability that a segment needs one more transmission. Values above 0.95 count as 0.95.
    pub loss: f64,
    /// Rate of each direction of one connection, bytes per second.
    pub bandwidth_bytes_per_s: Option<u64>,
    /// After this long without traffic a NAT forgets the connection: both directions are silent from then on.
    pub nat_idle_timeout: Option<Micros>,
    /// Mean of the exponential time to the next drop of the connection.
    pub mean_time_between_drops: Option<Micros>,
    /// Mean length of a drop, in which everything is lost and retransmitted afterwards; none is longer than four times
    /// that. `None`: the path never
    /// comes back (a new address after a hand-over), and each end finds out by its own patience.
    pub drop_duration: Option<Micros>,
    /// How long unacknowledged data is retransmitted before the sender's end fails with a time-out.
    pub patience: Micros,
    /// How long a connection attempt is retried.
    pub connect_timeout: Micros,
    /// Bytes that may be in flight or delivered but unread, each direction.
    pub recv_window: u32,
    /// Bytes that the sender's kernel takes before they are acknowledged.
    pub send_buffer: u32,
    /// Probability that a segment is torn at a random point and its second part comes a little later.
    pub tear: f64,
}

impl Profile {
    /// The profile of this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::rack(), Self::cross_region(), Self::wifi(), Self::lte(), Self::threeg(), Self::flaky()];
        all.into_iter().find(|profile| profile.name == name)
    }

    /// The longest that a path of this kind delays what a connection that outlives it carries, µs: a drop, the retransmission of
    /// what was lost, and the latency there and back.
    pub fn longest_delay(&self) -> Micros {
        let latency = self.latency.base + self.latency.jitter_cap;
        let sent_again =
            if self.loss > 0.0 || self.drop_duration.is_some() { crate::transmit::RTO_MAX } else { 0 };
        4 * self.drop_duration.unwrap_or(0) + sent_again + 2 * latency
    }

    /// Two machines in one data centre: 0.1 ms, no loss, Linux's patience shortened to 20 s as data-centre services
    /// set it (`TCP_USER_TIMEOUT`).
    pub fn rack() -> Self {
        Self {
            name: "rack".into(),
            latency: LatencyModel { base: 100, jitter: 30, jitter_cap: 2 * MS },
            loss: 0.0,
            bandwidth_bytes_per_s: None,
            nat_idle_timeout: None,
            mean_time_between_drops: None,
            drop_duration: None,
            patience: 20 * S,
            connect_timeout: 5 * S,
            recv_window: 1 << 20,
            send_buffer: 1 << 20,
            tear: 0.0,
        }
    }

    /// Two regions over a leased backbone: 40 ms one way, 0.01 % loss.
    pub fn cross_region() -> Self {
        Self {
            name: "cross-region".into(),
            latency: LatencyModel { base: 40 * MS, jitter: MS, jitter_cap: 20 * MS },
            loss: 0.0001,
            recv_window: 4 << 20,
            send_buffer: 4 << 20,
            connect_timeout: 10 * S,
            ..Self::rack()
        }
    }

    /// A home network on a fixed line: 8 ms and jitter of 4 ms one way, 0.2 % loss, 6 MB/s, a router that forgets
    /// idle connections after two hours (RFC 5382 asks for at least 2 h 4 min).
    pub fn wifi() -> Self {
        Self {
            name: "wifi".into(),
            latency: LatencyModel { base: 8 * MS, jitter: 4 * MS, jitter_cap: 200 * MS },
            loss: 0.002,
            bandwidth_bytes_per_s: Some(6_000_000),
            nat_idle_timeout: Some(7_440 * S),
            mean_time_between_drops: Some(6 * 3_600 * S),
            drop_duration: Some(3 * S),
            patience: 30 * S,
            connect_timeout: 20 * S,
            recv_window: 64 << 10,
            send_buffer: 64 << 10,
            tear: 0.0,
        }
    }

    /// LTE: 25 ms and jitter of 12 ms one way, 0.5 % loss that the radio's own retransmission leaves, 2 MB/s, a
    /// carrier's NAT of 30 min, and a hand-over that breaks the path about once in 40 min.
    pub fn lte() -> Self {
        Self {
            name: "4g".into(),
            latency: LatencyModel { base: 25 * MS, jitter: 12 * MS, jitter_cap: 600 * MS },
            loss: 0.005,
            bandwidth_bytes_per_s: Some(2_000_000),
            nat_idle_timeout: Some(1_800 * S),
            mean_time_between_drops: Some(2_400 * S),
            drop_duration: Some(5 * S),
            ..Self::wifi()
        }
    }

    /// UMTS: 90 ms and jitter of 40 ms one way, 1.5 % loss, 150 KB/s, a carrier's NAT of 5 min, a drop in 15 min.
    pub fn threeg() -> Self {
        Self {
            name: "3g".into(),
            latency: LatencyModel { base: 90 * MS, jitter: 40 * MS, jitter_cap: 2 * S },
            loss: 0.015,
            bandwidth_bytes_per_s: Some(150_000),
            nat_idle_timeout: Some(300 * S),
            mean_time_between_drops: Some(900 * S),
            drop_duration: Some(8 * S),
            ..Self::wifi()
        }
    }

    /// A train at the edge of coverage: 60 ms and jitter of 80 ms one way, 5 % loss, 60 KB/s, torn segments, and a
    /// drop in two minutes that the connection does not survive.
    pub fn flaky() -> Self {
        Self {
            name: "flaky".into(),
            latency: LatencyModel { base: 60 * MS, jitter: 80 * MS, jitter_cap: 3 * S },
            loss: 0.05,
            bandwidth_bytes_per_s: Some(60_000),
            nat_idle_timeout: Some(120 * S),
            mean_time_between_drops: Some(120 * S),
            drop_duration: None,
            tear: 0.05,
            ..Self::wifi()
        }
    }
}
