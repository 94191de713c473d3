//! Gateways that were asked to end, whom they closed for it, and when those were back.
//!
//! When a gateway was asked to end is the world's word; that a device was closed for it, and when it was connected again, the
//! device's own.
//!
//! Memory: a word a second of each drain, and a row a device that has been closed and is not back yet.

use super::Facts;
use crate::Config;
use rustc_hash::{FxHashMap, FxHashSet};

/// What a device says of a connection that its gateway has closed because it ends, or that it has left because it was told to.
const CLOSED: [&str; 2] = ["closed for a restart", "asked to leave"];
const SECOND: u64 = 1_000_000;
/// Whoever was closed is connected again within this time, in µs.
pub(crate) const BACK_WITHIN: u64 = 10 * SECOND;

/// One gateway that was asked to end.
#[derive(Debug)]
pub(crate) struct Drain {
    pub host: u16,
    /// When it was asked, in µs, and over how long it was to close its connections.
    pub t: u64,
    pub window: u64,
    /// How many it closed.
    pub closed: u64,
    /// How many of those were connected again in each second since it was asked.
    pub back: Vec<u32>,
    /// A fault of another kind was active meanwhile: nothing is said of how evenly and how soon they were back.
    pub disturbed: bool,
    /// When its process was killed because it had not ended, in µs.
    pub killed: Option<u64>,
    /// When its process was over, in µs.
    ended: Option<u64>,
}

impl Drain {
    /// How many may be connected again in one second: half as many again as are closed in one on average. Where that is next to nothing,
    /// a few more.
    pub fn most_a_second(&self) -> u64 {
        let rate = self.closed * SECOND / self.window.max(SECOND);
        (rate + rate / 2).max(rate + 10)
    }
}

/// A device that was closed and was not back in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overdue {
    pub device: u32,
    /// When it was closed, in µs.
    pub closed: u64,
    /// When it was connected again, if it was.
    pub back: Option<u64>,
}

/// What is known of all of them.
pub(crate) struct Drains {
    gateways: Vec<u16>,
    pub drains: Vec<Drain>,
    /// Of each device that was closed and is not back: by which drain, and when.
    gone: FxHashMap<u32, (usize, u64)>,
    overdue: Vec<(usize, Overdue)>,
    /// Closed for a restart by a gateway that nobody had asked to end: the device, and when.
    pub unasked: Vec<(u32, u64)>,
    /// Connections that devices have had.
    pub connections: u64,
    pub closed: u64,
    /// Faults that are active and ask nobody to end.
    others: FxHashSet<String>,
    /// The fault that began last, and when, in µs: if it asks somebody to end, that comes next.
    begun: Option<(String, u64)>,
}

impl Drains {
    pub fn new(config: &Config) -> Self {
        Drains {
            gateways: config.gateways.clone(),
            drains: Vec::new(),
            gone: FxHashMap::default(),
            overdue: Vec::new(),
            unasked: Vec::new(),
            connections: 0,
            closed: 0,
            others: FxHashSet::default(),
            begun: None,
        }
    }

    /// Whether some drain is going on, or some device that was closed is still on its way back.
    fn is_under_way(&self, drain: usize, now: u64) -> bool {
        let Drain { t, window, .. } = self.drains[drain];
        now <= t + window + BACK_WITHIN
    }

    /// Something else has been wrong since then.
    fn disturb(&mut self, since: u64) {
        for drain in 0..self.drains.len() {
            if self.is_under_way(drain, since) {
                self.drains[drain].disturbed = true;
            }
        }
    }

    pub fn handle_fault(&mut self, name: &str, active: bool, now: u64) {
        // What began last asked nobody to end.
        if let Some((_, since)) = self.begun.take()
            && !self.others.is_empty()
        {
            self.disturb(since);
        }
        match active {
            true => {
                self.others.insert(name.to_owned());
                self.begun = Some((name.to_owned(), now));
            }
            false => {
                self.others.remove(name);
            }
        }
    }

    /// A host was asked to end. Shards are, too; of those nothing is kept.
    pub fn handle_asked(&mut self, host: u16, window: u64, now: u64) {
        if let Some((name, _)) = &self.begun {
            self.others.remove(name);
        }
        if self.gateways.contains(&host) {
            self.drains.push(Drain {
                host,
                t: now,
                window,
                closed: 0,
                back: Vec::new(),
                disturbed: !self.others.is_empty(),
                killed: None,
                ended: None,
            });
        }
    }

    fn open(&self, host: u16) -> Option<usize> {
        self.drains.iter().rposition(|drain| drain.host == host && drain.ended.is_none())
    }

    /// The host's process is over: by itself, or `killed`.
    pub fn handle_over(&mut self, host: u16, killed: bool, now: u64) {
        if let Some(drain) = self.open(host) {
            self.drains[drain].ended = Some(now);
            self.drains[drain].killed = killed.then_some(now);
        }
    }

    /// A device that had been connected to this gateway since `connected`, in µs, is not any more. It may hear of it when the process has
    /// long ended.
    pub fn handle_disconnected(&mut self, device: u32, (gateway, connected): (u16, u64), reason: &str, now: u64) {
        if !CLOSED.contains(&reason) {
            return;
        }
        self.closed += 1;
        let host = self.gateways.get(usize::from(gateway)).copied();
        let closed_it =
            |drain: &Drain| Some(drain.host) == host && drain.ended.is_none_or(|ended| connected <= ended);
        match self.drains.iter().rposition(closed_it) {
            Some(drain) => {
                self.drains[drain].closed += 1;
                self.gone.insert(device, (drain, now));
            }
            None => self.unasked.push((device, now)),
        }
    }

    pub fn handle_connected(&mut self, device: u32, now: u64) {
        self.connections += 1;
        if self.gone.is_empty() {
            return;
        }
        let Some((drain, closed)) = self.gone.remove(&device) else { return };
        let second = ((now - self.drains[drain].t) / SECOND) as usize;
        let back = &mut self.drains[drain].back;
        if back.len() <= second {
            back.resize(second + 1, 0);
        }
        back[second] += 1;
        if now - closed > BACK_WITHIN {
            self.overdue.push((drain, Overdue { device, closed, back: Some(now) }));
        }
    }

    /// The person has put the device away: nobody waits for it.
    pub fn handle_away(&mut self, device: u32) {
        self.gone.remove(&device);
    }

    /// Those who were not back in time from a drain that nothing disturbed; `now` is the end of the run.
    pub fn overdue(&self, now: u64) -> Vec<Overdue> {
        let missing = self
            .gone
            .iter()
            .map(|(device, (drain, closed))| (*drain, Overdue { device: *device, closed: *closed, back: None }));
        let late = missing.filter(|(_, overdue)| now - overdue.closed > BACK_WITHIN);
        let all = self.overdue.iter().copied().chain(late);
        let mut all: Vec<Overdue> =
            all.filter(|(drain, _)| !self.drains[*drain].disturbed).map(|(_, overdue)| overdue).collect();
        all.sort_unstable_by_key(|overdue| (overdue.closed, overdue.device));
        all
    }
}

impl Facts {
    /// The gateways that were asked to end, and what came of it.
    pub fn drains(&self) -> &Drains {
        &self.drains
    }
}
