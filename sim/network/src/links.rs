//! The active faults and what they add up to: the state of every link, computed anew whenever the set changes.
//!
//! **Invariant:** a link's state is a function of the set of active faults alone, except for `blocked_since` and
//! `held_since`, which remember when the present uninterrupted obstacle began.

use crate::fault::{Fault, FaultKind, Hits, Scope};
use crate::ids::{FaultId, HostId, Micros, NEVER};
use std::collections::BTreeSet;

/// What segments meet on their way, from all active faults.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Path {
    /// [`NEVER`] if the path is not blocked.
    pub blocked_since: Micros,
    /// [`NEVER`] if nothing is held.
    pub held_since: Micros,
    pub add: Micros,
    pub jitter: Micros,
    pub bytes_per_s: Option<u64>,
    pub loss: f64,
    pub refuse: bool,
    pub freeze: bool,
}

impl Path {
    pub const CLEAR: Self = Self {
        blocked_since: NEVER,
        held_since: NEVER,
        add: 0,
        jitter: 0,
        bytes_per_s: None,
        loss: 0.0,
        refuse: false,
        freeze: false,
    };

    pub fn is_blocked(&self) -> bool {
        self.blocked_since != NEVER
    }

    /// Whether control segments that nobody repeats are lost.
    pub fn is_closed(&self) -> bool {
        self.is_blocked() || self.held_since != NEVER
    }

    fn apply(&mut self, kind: FaultKind, since: Micros) {
        match kind {
            FaultKind::Block => self.blocked_since = self.blocked_since.min(since),
            FaultKind::Hold => self.held_since = self.held_since.min(since),
            FaultKind::Latency { add, jitter } => {
                self.add += add;
                self.jitter += jitter;
            }
            FaultKind::Slow { bytes_per_s } => {
                let rate = bytes_per_s.max(1);
                self.bytes_per_s = Some(self.bytes_per_s.map_or(rate, |other| other.min(rate)));
            }
            FaultKind::Loss { p } => self.loss = 1.0 - (1.0 - self.loss) * (1.0 - p.clamp(0.0, 1.0)),
            FaultKind::Refuse => self.refuse = true,
            FaultKind::Freeze => self.freeze = true,
        }
    }
}

#[derive(Clone)]
struct Link {
    path: Path,
    faults: Vec<FaultId>,
}

impl Link {
    const CLEAR: Self = Self { path: Path::CLEAR, faults: Vec::new() };
}

struct Entry {
    /// Gone once the fault was removed; its hits stay.
    fault: Option<Fault>,
    since: Micros,
    hits: Hits,
    /// Hosts at either end of a route on which it has hit something.
    hosts_hit: BTreeSet<u16>,
}

impl Entry {
    /// Lets it count what it just did on a route; whose ends it has hit if it did anything.
    fn count(&mut self, kind: FaultKind, route: &Route, hit: &mut impl FnMut(FaultKind, &mut Hits)) {
        let before = self.hits;
        hit(kind, &mut self.hits);
        if self.hits != before {
            self.hosts_hit.extend([route.from, route.to]);
        }
    }
}

/// One direction of one connection, as faults see it.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub from: u16,
    pub to: u16,
    /// The sending side.
    pub sender: usize,
    pub opener: HostId,
    /// The virtual client's token, if a virtual client opened the connection.
    pub token: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Links {
    hosts: usize,
    /// Row: from, column: to.
    matrix: Vec<Link>,
    entries: Vec<Entry>,
    /// Active faults whose scope is a set of connections, in order of addition.
    on_connections: Vec<FaultId>,
}

impl Links {
    pub fn set_hosts(&mut self, hosts: usize) {
        self.hosts = hosts;
        self.matrix = vec![Link::CLEAR; hosts * hosts];
        self.recompute();
    }

    pub fn add(&mut self, fault: Fault, now: Micros) -> FaultId {
        let id = FaultId(self.entries.len() as u32);
        self.entries.push(Entry {
            fault: Some(fault),
            since: now,
            hits: Hits::default(),
            hosts_hit: BTreeSet::new(),
        });
        self.recompute();
        id
    }

    pub fn active(&self) -> impl Iterator<Item = &Fault> {
        self.entries.iter().filter_map(|entry| entry.fault.as_ref())
    }

    /// Takes the fault out of the active set. False if it was not in it.
    pub fn remove(&mut self, id: FaultId) -> bool {
        let removed = self.entries.get_mut(id.0 as usize).and_then(|entry| entry.fault.take()).is_some();
        if removed {
            self.recompute();
        }
        removed
    }

    /// Whether this fault is there and bounds the speed of links.
    pub fn is_slow(&self, id: FaultId) -> bool {
        let fault = self.entries.get(id.0 as usize).and_then(|entry| entry.fault.as_ref());
        fault.is_some_and(|fault| matches!(fault.kind, FaultKind::Slow { .. }))
    }

    pub fn hits(&self, id: FaultId) -> Hits {
        self.entries.get(id.0 as usize).map_or_else(Hits::default, |entry| entry.hits)
    }

    /// The hosts that the fault has hit, in their order.
    pub fn hosts_hit(&self, id: FaultId) -> Vec<HostId> {
        let entry = self.entries.get(id.0 as usize);
        entry.map_or_else(Vec::new, |entry| entry.hosts_hit.iter().map(|host| HostId(u32::from(*host))).collect())
    }

    fn recompute(&mut self) {
        self.matrix.fill(Link::CLEAR);
        self.on_connections.clear();
        let hosts = self.hosts;
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(fault) = &entry.fault else { continue };
            let id = FaultId(index as u32);
            let Scope::Links { from, to, both_ways } = &fault.scope else {
                self.on_connections.push(id);
                continue;
            };
            let mut apply = |a: HostId, b: HostId| {
                if a.index() >= hosts || b.index() >= hosts {
                    return;
                }
                let link = &mut self.matrix[a.index() * hosts + b.index()];
                if link.faults.last() != Some(&id) {
                    link.faults.push(id);
                    link.path.apply(fault.kind, entry.since);
                }
            };
            for &a in from {
                for &b in to {
                    apply(a, b);
                    if *both_ways {
                        apply(b, a);
                    }
                }
            }
        }
    }

    fn link(&self, route: &Route) -> &Link {
        &self.matrix[route.from as usize * self.hosts + route.to as usize]
    }

    fn selects(&self, id: FaultId, route: &Route) -> Option<(FaultKind, Micros)> {
        let entry = self.entries.get(id.0 as usize)?;
        let fault = entry.fault.as_ref()?;
        let Scope::Connections { select, direction } = &fault.scope else { return None };
        let token = route.token?;
        (direction.covers(route.sender) && select(route.opener, token)).then_some((fault.kind, entry.since))
    }

    /// What segments on this route meet.
    pub fn path(&self, route: &Route) -> Path {
        let mut path = self.link(route).path;
        for &id in &self.on_connections {
            if let Some((kind, since)) = self.selects(id, route) {
                path.apply(kind, since);
            }
        }
        path
    }

    /// Whether anything at all is wrong on this route.
    pub fn is_clear(&self, route: &Route) -> bool {
        self.on_connections.is_empty() && self.link(route).faults.is_empty()
    }

    /// Lets every active fault on the route count what it just did.
    pub fn count(&mut self, route: &Route, mut hit: impl FnMut(FaultKind, &mut Hits)) {
        if self.is_clear(route) {
            return;
        }
        let row = route.from as usize * self.hosts + route.to as usize;
        for index in 0..self.matrix[row].faults.len() {
            let entry = &mut self.entries[self.matrix[row].faults[index].0 as usize];
            if let Some(fault) = &entry.fault {
                entry.count(fault.kind, route, &mut hit);
            }
        }
        for index in 0..self.on_connections.len() {
            let id = self.on_connections[index];
            if let Some((kind, _)) = self.selects(id, route) {
                self.entries[id.0 as usize].count(kind, route, &mut hit);
            }
        }
    }

    pub fn memory_bytes(&self) -> usize {
        self.matrix.capacity() * size_of::<Link>()
            + self.matrix.iter().map(|link| link.faults.capacity() * size_of::<FaultId>()).sum::<usize>()
            + self.entries.capacity() * size_of::<Entry>()
    }
}
