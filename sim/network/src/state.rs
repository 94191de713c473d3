//! The network's whole state behind one lock, and the bookkeeping that every other part uses: who is told what,
//! when a slot is released, what a path looks like now.
//!
//! **Invariants:** wakers are never woken or dropped under the lock: they leave through [`Effects`]. A slot is released
//! exactly when neither end has an owner or a kernel that knows it (`settle`).

use std::collections::VecDeque;
use std::task::Waker;

use crate::calls::HostCalls;
use crate::conn::{EndState, Phase, Table};
use crate::digest::{hash_bytes, mix};
use crate::events::{DueEvent, Events};
use crate::fleet::{FleetEvent, FleetEventKind};
use crate::ids::{ConnId, HostId, Micros, Side};
use crate::links::{Links, Path};
use crate::profile::Profile;
use crate::queue::QueuePool;
use crate::rng::Rng;
use crate::segments::SegmentKind;
use crate::stats::{SegmentTrace, Stats, TraceFn};
use crate::tokens::Tokens;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Power {
    Up,
    /// The process is dead, the machine runs: attempts are refused.
    Crashed,
    /// The machine is silent.
    Off,
}

pub(crate) struct ListenerState {
    pub port: u16,
    pub backlog: usize,
    pub ready: VecDeque<ConnId>,
    pub reserved: usize,
    pub waker: Option<Waker>,
}

pub(crate) struct Host {
    pub name: String,
    pub power: Power,
    pub paused: bool,
    pub incarnation: u32,
    /// In order of opening, but for the holes that closing fills from the end.
    pub conns: Vec<u32>,
    pub listeners: Vec<ListenerState>,
    pub digest: u64,
    pub pumped: bool,
    pub pump: Option<Waker>,
    pub woken: Vec<Waker>,
    /// What its programs have called for in this turn.
    pub calls: HostCalls,
}

/// What is to be done once the lock is released.
#[derive(Default)]
pub(crate) struct Effects {
    pub wake: Vec<Waker>,
    /// Dropping a waker can drop a task and with it a stream, which takes the lock.
    pub trash: Vec<Waker>,
}

pub(crate) struct NetworkState {
    pub now: Micros,
    pub seed: u64,
    /// Counts calls of `advance`, for the coalescing of `Readable`.
    pub round: u32,
    pub conns: Table,
    pub events: Events,
    /// Scratch space of `advance`.
    pub batch: Vec<DueEvent>,
    pub pool: QueuePool,
    pub hosts: Vec<Host>,
    pub links: Links,
    pub profiles: Vec<Profile>,
    pub tokens: Tokens,
    /// Directions that wait for a fault to end or a host to return, in the order in which they stalled.
    pub stalled: Vec<(ConnId, u8)>,
    pub fleet_events: Vec<FleetEvent>,
    /// Virtual clients on whose path something takes long, either way, and when it arrives.
    pub slowed: Vec<(u64, Micros)>,
    pub wire: Rng,
    pub drops: Rng,
    pub stats: Stats,
    pub trace: Option<TraceFn>,
    pub effects: Effects,
    /// Hosts act beside each other, and what they do is noted.
    pub in_turn: bool,
}

impl NetworkState {
    pub fn new(seed: u64) -> Self {
        Self {
            now: 0,
            seed,
            round: 1,
            conns: Table::default(),
            events: Events::default(),
            batch: Vec::new(),
            pool: QueuePool::default(),
            hosts: Vec::new(),
            links: Links::default(),
            profiles: Vec::new(),
            tokens: Tokens::default(),
            stalled: Vec::new(),
            fleet_events: Vec::new(),
            slowed: Vec::new(),
            wire: Rng::new(seed, "wire"),
            drops: Rng::new(seed, "drops"),
            stats: Stats::default(),
            trace: None,
            effects: Effects::default(),
            in_turn: false,
        }
    }

    pub fn path(&self, slot: u32, sender: usize) -> Path {
        self.links.path(&self.conns.at(slot).route(sender))
    }

    pub fn profile_of(&self, slot: u32) -> &Profile {
        &self.profiles[self.conns.at(slot).profile as usize]
    }

    /// Routes a waker: to the host's pump if it has one, directly otherwise.
    pub fn wake(&mut self, host: usize, waker: Waker) {
        let host = &mut self.hosts[host];
        if host.pumped {
            host.woken.push(waker);
            self.effects.wake.extend(host.pump.take());
        } else {
            self.effects.wake.push(waker);
        }
    }

    fn tell(&mut self, slot: u32, kind: FleetEventKind) {
        let conn = self.conns.id(slot);
        let token = self.conns.at(slot).token;
        self.fleet_events.push(FleetEvent { token, conn, kind });
    }

    /// The owner of `side` can read, or learns of an end.
    pub fn notify_reader(&mut self, slot: u32, side: usize, kind: FleetEventKind) {
        let conn = self.conns.at_mut(slot);
        if !conn.ends[side].owned {
            return;
        }
        if conn.fleet && side == Side::Opener as usize {
            if kind == FleetEventKind::Readable {
                if conn.told_readable == self.round {
                    return;
                }
                conn.told_readable = self.round;
            }
            self.tell(slot, kind);
            return;
        }
        let host = conn.hosts[side] as usize;
        if self.hosts[host].paused {
            return;
        }
        let waker = if side == Side::Acceptor as usize {
            conn.acceptor_read.take()
        } else {
            conn.rare_wakers.as_mut().and_then(|wakers| wakers.opener_read.take())
        };
        if let Some(waker) = waker {
            self.wake(host, waker);
        }
    }

    /// The owner of `side` has room to write again, if it waits for that.
    pub fn notify_writer(&mut self, slot: u32, side: usize) {
        let conn = self.conns.at_mut(slot);
        if !conn.ends[side].write_blocked || !conn.ends[side].owned {
            return;
        }
        let host = conn.hosts[side] as usize;
        if conn.fleet && side == Side::Opener as usize {
            conn.ends[side].write_blocked = false;
            if conn.ends[side].is_live() {
                self.tell(slot, FleetEventKind::Writable);
            }
        } else if !self.hosts[host].paused {
            conn.ends[side].write_blocked = false;
            if let Some(waker) = conn.rare_wakers.as_mut().and_then(|wakers| wakers.write[side].take()) {
                self.wake(host, waker);
            }
        }
    }

    /// Wakes whoever waits on `side`, for whatever.
    pub fn notify_all(&mut self, slot: u32, side: usize, kind: FleetEventKind) {
        self.notify_reader(slot, side, kind);
        self.notify_writer(slot, side);
    }

    /// Counts a delivered segment in both hosts' digests and shows it to the trace.
    pub fn record_delivery(&mut self, slot: u32, sender: usize, kind: SegmentKind, len: usize) {
        let conn = self.conns.at(slot);
        let hash = match (&conn.queues[sender], len) {
            (_, 0) | (None, _) => 0,
            (Some(queue), _) => hash_bytes(queue.arriving(len)),
        };
        let [from, to] = [conn.hosts[sender], conn.hosts[1 - sender]];
        let tag = u64::from(slot) << 8 | (kind as u64) << 1 | sender as u64;
        let value = mix(mix(self.now, tag), hash);
        for host in [from, to] {
            let digest = &mut self.hosts[host as usize].digest;
            *digest = mix(*digest, value);
        }
        self.stats.segments += 1;
        self.stats.bytes += len as u64;
        if let Some(trace) = &mut self.trace {
            trace(&SegmentTrace {
                at: self.now,
                conn: ConnId { slot, generation: conn.generation },
                token: conn.fleet.then_some(conn.token),
                from: HostId(u32::from(from)),
                to: HostId(u32::from(to)),
                sender: Side::of(sender),
                kind,
                len,
                hash,
            });
        }
    }

    /// Returns the queue to the pool if it carries nothing.
    pub fn shrink(&mut self, slot: u32, sender: usize) {
        let queue = &mut self.conns.at_mut(slot).queues[sender];
        if let Some(idle) = queue.take_if(|queue| queue.is_idle()) {
            self.pool.give_back(idle);
        }
    }

    pub fn trash_wakers(&mut self, slot: u32, side: usize) {
        let conn = self.conns.at_mut(slot);
        if side == Side::Acceptor as usize {
            self.effects.trash.extend(conn.acceptor_read.take());
        }
        if let Some(wakers) = &mut conn.rare_wakers {
            self.effects.trash.extend(wakers.write[side].take());
            if side == Side::Opener as usize {
                self.effects.trash.extend(wakers.opener_read.take());
            }
        }
    }

    /// Draws conclusions after an end changed: ends that have nobody left to talk to, and slots to release.
    pub fn settle(&mut self, slot: u32) {
        let conn = self.conns.at_mut(slot);
        if !conn.used {
            return;
        }
        let opener_waits = conn.queues[0]
            .as_ref()
            .is_some_and(|queue| queue.segments.iter().any(|segment| segment.kind == SegmentKind::Open));
        if conn.phase != Phase::Established && !conn.ends[0].is_live() && !opener_waits {
            conn.ends[1].owned = false;
            conn.ends[1].state = EndState::Gone;
            self.unreserve(slot);
        }
        let conn = self.conns.at_mut(slot);
        for side in 0..2 {
            if !conn.ends[side].owned && (!conn.ends[side].is_live() || !conn.ends[1 - side].is_live()) {
                conn.ends[side].state = EndState::Gone;
            }
        }
        let opener = conn.ends[0];
        if conn.fleet && opener.owned && !opener.is_live() && conn.readable(0) == 0 {
            conn.ends[0].owned = false;
            conn.ends[0].state = EndState::Gone;
            return self.settle(slot);
        }
        if conn.ends.iter().all(|end| end.state == EndState::Gone && !end.owned) {
            self.release(slot);
        }
    }

    fn release(&mut self, slot: u32) {
        let id = self.conns.id(slot);
        self.trash_wakers(slot, 0);
        self.trash_wakers(slot, 1);
        self.unreserve(slot);
        let conn = self.conns.at_mut(slot);
        let (token, fleet, hosts) = (conn.token, conn.fleet, conn.hosts);
        let queues = std::mem::take(&mut conn.queues);
        for queue in queues.into_iter().flatten() {
            self.pool.give_back(queue);
        }
        for (side, host) in hosts.into_iter().enumerate() {
            self.unlink(host as usize, slot, side);
        }
        if fleet {
            self.tokens.remove(token, id);
        }
        self.conns.remove(slot);
        self.stats.open -= 1;
    }

    /// Takes a connection out of a host's list. A connection from a host to itself is there twice.
    fn unlink(&mut self, host: usize, slot: u32, side: usize) {
        let position = self.conns.at(slot).positions[side] as usize;
        let list = &mut self.hosts[host].conns;
        list.swap_remove(position);
        let Some(&moved) = list.get(position) else { return };
        let last = list.len() as u32;
        let conn = self.conns.at_mut(moved);
        for other in 0..2 {
            let same_end = moved == slot && other == side;
            if conn.hosts[other] as usize == host && conn.positions[other] == last && !same_end {
                conn.positions[other] = position as u32;
            }
        }
    }

    /// Gives a reserved place in the accept queue back.
    pub fn unreserve(&mut self, slot: u32) {
        let conn = self.conns.at_mut(slot);
        if !std::mem::take(&mut conn.reserved) {
            return;
        }
        let (host, port) = (conn.hosts[1] as usize, conn.port);
        if let Some(listener) = self.listener_mut(host, port) {
            listener.reserved = listener.reserved.saturating_sub(1);
        }
    }

    pub fn listener_mut(&mut self, host: usize, port: u16) -> Option<&mut ListenerState> {
        self.hosts[host].listeners.iter_mut().find(|listener| listener.port == port)
    }
}
