//! The last mile in front of a real socket: what a device writes and reads is held back as long as the scenario's profile of its
//! network says, so that latencies can be laid beside the simulator's.
//!
//! Latency, jitter, retransmissions and bandwidth are the profile's. Its drops, its NAT and its TCP windows are left out: on a real network
//! they belong to the real one.

use super::Conn;
use squall_core::Time;
use squall_generators::calendar::Calendar;
use squall_generators::client_faults::SharedClientFaults;
use squall_generators::places::Places;
use squall_generators::rng::{Stream, exponential};
use squall_network::Profile;
use squall_scenarios::{FaultKind, Profile as Name, Scenario};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};

/// The first wait before something is sent again, and the longest, in µs (RFC 6298 with Linux's floor).
const RTO_MIN_US: u64 = 200_000;
const RTO_MAX_US: u64 = 2_000_000;

/// What is delayed: that there is a connection, bytes from the device, bytes to it, the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Connect,
    Up,
    Down,
    End,
}

/// What is on its way on one connection.
#[derive(Default)]
pub(super) struct Link {
    profile: usize,
    /// Written by the device: when each piece reaches the gateway's network.
    up: VecDeque<(Time, Vec<u8>)>,
    /// Pieces of `up` whose time has come, from the first on.
    ripe: usize,
    /// How much of the first piece has been handed on.
    written: usize,
    down: VecDeque<Vec<u8>>,
    /// When each direction has sent all that it was given, and when the last of it arrives.
    free: [Time; 2],
    arrives: [Time; 2],
}

impl Link {
    pub fn is_up_empty(&self) -> bool {
        self.up.is_empty()
    }

    /// Bytes that it holds beside its own row.
    pub fn held_bytes(&self) -> usize {
        let up = self.up.iter().map(|(_, bytes)| bytes.capacity()).sum::<usize>();
        let down = self.down.iter().map(Vec::capacity).sum::<usize>();
        let rows = self.up.capacity() * size_of::<(Time, Vec<u8>)>() + self.down.capacity() * size_of::<Vec<u8>>();
        rows + up + down
    }

    /// The time of what is due by now has come.
    pub fn ripen(&mut self, now: Time) {
        self.ripe = self.up.iter().take_while(|(due, _)| *due <= now).count();
    }

    /// Hands on what is ripe; whether that was all of it.
    pub fn take_ripe(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        while self.ripe > 0 {
            let Some((_, bytes)) = self.up.front() else { break };
            match write(&bytes[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            if self.written == bytes.len() {
                self.up.pop_front();
                self.ripe -= 1;
                self.written = 0;
            }
        }
        Ok(true)
    }

    /// The next piece for the device.
    pub fn arrive(&mut self) -> Option<Vec<u8>> {
        self.down.pop_front()
    }
}

/// Decides how long everything of one thread takes.
pub struct Delays {
    /// Those of the places in their order, then those that faults put devices on.
    profiles: Vec<(Name, Profile)>,
    places: Places,
    faults: SharedClientFaults,
    stream: Stream,
    queue: Calendar<(u32, u32, Way)>,
}

impl Delays {
    /// Those of a scenario; `stream` is what they draw from.
    pub fn new(scenario: &Scenario, seed: u64, faults: SharedClientFaults, stream: Stream) -> Self {
        let places = Places::new(&scenario.network, seed);
        let changes = scenario.faults.iter().filter_map(|fault| match fault.kind {
            FaultKind::ProfileChange { to, .. } => Some(to),
            _ => None,
        });
        let named = |name: Name| Profile::named(name.name()).map(|profile| (name, profile));
        let profiles = places.profiles().chain(changes).filter_map(named).collect();
        Delays { profiles, places, faults, stream, queue: Calendar::default() }
    }

    pub(super) fn link(&mut self, client: u32) -> Option<Link> {
        let mut link = Link { profile: self.places.of(client), ..Link::default() };
        if self.faults.ever() {
            let moved = self.faults.lock().profile_of(client);
            self.change(&mut link, client, moved);
        }
        Some(link)
    }

    /// Puts a device's connection on this profile, or on its own; whether that is another than before.
    pub(super) fn change(&self, link: &mut Link, client: u32, to: Option<Name>) -> bool {
        let own = self.places.of(client);
        let wanted = to.and_then(|to| self.profiles.iter().position(|(name, _)| *name == to)).unwrap_or(own);
        std::mem::replace(&mut link.profile, wanted) != wanted
    }

    pub(super) fn next_due(&mut self) -> Time {
        self.queue.next_due().unwrap_or(Time::NEVER)
    }

    pub(super) fn pop(&mut self, now: Time) -> Option<(Conn, Way)> {
        let (_, (place, life, way)) = self.queue.pop_due(now)?;
        Some((Conn { place, life }, way))
    }

    /// Puts something on its way.
    pub(super) fn put(&mut self, conn: Conn, link: &mut Link, way: Way, bytes: &[u8], now: Time) {
        let (_, profile) = &self.profiles[link.profile];
        let to_device = usize::from(matches!(way, Way::Down | Way::End));
        let start = now.max(link.free[to_device]).0;
        let sending = profile.bandwidth_bytes_per_s.map_or(0, |rate| bytes.len() as u64 * 1_000_000 / rate.max(1));
        link.free[to_device] = Time(start + sending);
        let ways = if way == Way::Connect { 2 } else { 1 };
        let mut travels = 0;
        for _ in 0..ways {
            let tail = exponential(self.stream.next_u64(), profile.latency.jitter as f64) as u64;
            travels += profile.latency.base + tail.min(profile.latency.jitter_cap);
            let mut wait = RTO_MIN_US;
            while self.stream.chance(profile.loss.min(0.95)) {
                travels += wait;
                wait = (wait * 2).min(RTO_MAX_US);
            }
        }
        // In order, whatever became of what went before.
        let due = Time(start + sending + travels).max(link.arrives[to_device]);
        link.arrives[to_device] = due;
        match way {
            Way::Up => link.up.push_back((due, bytes.to_vec())),
            Way::Down => link.down.push_back(bytes.to_vec()),
            Way::Connect | Way::End => {}
        }
        self.queue.push(due, (conn.place, conn.life, way));
    }
}
