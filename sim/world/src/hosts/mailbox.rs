//! What hosts tell while they run: their events, the points that they pass, what they have stored.
//!
//! Hosts that step on several threads tell it in any order; [`Mailbox::sort_by_host`] puts what one tick brought in the order of
//! hosts.

use rustc_hash::{FxHashMap, FxHashSet};
use squall_history::{Entity, Event};
use squall_protocol::ids::rendezvous;
use squall_protocol::{ConversationId, Seq};
use squall_server::level::Level;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::points::SOMETIMES;

/// How full something was at its fullest, before the first fault and in all, and how full it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filled {
    pub before: u64,
    pub highest: u64,
    pub now: u64,
    /// The least that there was in the current stretch of [`STRETCH`] and in the one before, and how often it was told in this one.
    least: [u64; 2],
    told: u32,
}

/// So often is a level told in 10 s, at each housekeeping: longer than anything takes that passes.
const STRETCH: u32 = 40;

impl Filled {
    fn stands(&mut self, now: u64, most: u64) {
        self.now = now;
        self.highest = self.highest.max(most);
        if self.told == STRETCH {
            (self.least, self.told) = ([now, self.least[0]], 0);
        }
        self.least[0] = if self.told == 0 { now } else { self.least[0].min(now) };
        self.told += 1;
    }

    /// What is there and does not pass by itself.
    pub fn end(&self, passes: bool) -> u64 {
        if passes { self.least[0].min(self.least[1]) } else { self.now }
    }
}

/// What hosts have told and the world has not yet taken.
pub struct Mailbox {
    events: Vec<Event>,
    /// Entries that have an `append` event, kept when a history is written: an entry that a power cut left on the disk
    /// without a word gets its event when recovery finds it.
    appended: Option<FxHashSet<(ConversationId, Seq)>>,
    found: Vec<Event>,
    sometimes: FxHashMap<&'static str, u64>,
    /// Entries that each host has stamped with its clock and committed.
    stamped: FxHashMap<u16, u64>,
    /// How full each host's queues, debts and tables were and are.
    levels: Vec<[Option<Filled>; Level::ALL.len()]>,
    /// A fault has begun.
    stormy: bool,
    /// Entries by conversation, counted where a fault asks for the busiest.
    busiest: Option<FxHashMap<ConversationId, u64>>,
}

/// The mailbox, shared by all hosts and the world.
#[derive(Clone)]
pub struct SharedMailbox(Arc<Mutex<Mailbox>>);

impl SharedMailbox {
    /// With `counts_conversations`, entries are counted by conversation.
    pub fn new(with_history: bool, counts_conversations: bool) -> Self {
        SharedMailbox(Arc::new(Mutex::new(Mailbox {
            events: Vec::new(),
            appended: with_history.then(FxHashSet::default),
            found: Vec::new(),
            sometimes: FxHashMap::default(),
            stamped: FxHashMap::default(),
            levels: Vec::new(),
            stormy: false,
            busiest: counts_conversations.then(FxHashMap::default),
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox {
    pub fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The first fault begins.
    pub fn storm_begins(&mut self) {
        self.stormy = true;
    }

    /// So much there is of something on this host, and at most so much there has been lately. True: it is more than ever before.
    pub fn stands(&mut self, host: u16, level: Level, now: u64, most: u64) -> bool {
        let host = usize::from(host);
        if host >= self.levels.len() {
            self.levels.resize(host + 1, [None; Level::ALL.len()]);
        }
        let filled = self.levels[host][level as usize].get_or_insert_default();
        let is_highest = most > filled.highest;
        filled.stands(now, most);
        if !self.stormy {
            filled.before = filled.highest;
        }
        is_highest
    }

    /// What hosts have told, by host and level.
    pub fn levels(&self) -> impl Iterator<Item = (u16, Level, Filled)> {
        (0..).zip(&self.levels).flat_map(|(host, levels)| {
            let told = Level::ALL.into_iter().filter_map(|level| Some((level, levels[level as usize]?)));
            told.map(move |(level, filled)| (host, level, filled))
        })
    }

    /// An entry was committed by this host; `append` is its event.
    pub fn committed(&mut self, host: u16, conversation: ConversationId, seq: Seq, append: Event) {
        *self.stamped.entry(host).or_default() += 1;
        if let Some(busiest) = &mut self.busiest {
            *busiest.entry(conversation).or_default() += 1;
        }
        if let Some(appended) = &mut self.appended {
            appended.insert((conversation, seq));
        }
        self.events.push(append);
    }

    /// Recovery has found an entry. Where a history is written and it has had no `append` event, it gets one there.
    pub fn found(&mut self, conversation: ConversationId, seq: Seq, append: impl FnOnce() -> Event) {
        if self.appended.as_mut().is_some_and(|seen| seen.insert((conversation, seq))) {
            self.found.push(append());
        }
    }

    /// Counts a point that a host or the world itself has passed.
    pub fn count(&mut self, point: &'static str) {
        debug_assert!(SOMETIMES.contains(&point), "{point} is no point");
        *self.sometimes.entry(point).or_default() += 1;
    }

    /// Entries that all hosts have committed so far.
    pub fn stamped_in_all(&self) -> u64 {
        self.stamped.values().sum()
    }

    /// Hits of every point, in the order of `SOMETIMES`.
    pub fn sometimes(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        SOMETIMES.iter().map(|name| (*name, self.sometimes.get(name).copied().unwrap_or(0)))
    }

    /// How many entries this host has stamped so far.
    pub fn stamped(&self, host: u16) -> u64 {
        self.stamped.get(&host).copied().unwrap_or(0)
    }

    /// The shard that owns the conversation with most entries so far.
    pub fn busiest_shard(&self, shards: u32) -> u32 {
        let counts = self.busiest.iter().flatten();
        let busiest = counts.max_by_key(|(conversation, entries)| (**entries, **conversation));
        busiest.map_or(0, |(conversation, _)| rendezvous(conversation.spread(), shards))
    }

    pub fn take_events(&mut self, into: &mut Vec<Event>) {
        into.append(&mut self.events);
    }

    /// Appends that belong in the history and are no event of the run.
    pub fn take_found(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.found)
    }

    /// Puts what hosts have told in this tick in the order of hosts, as if they had stepped one after the other.
    pub fn sort_by_host(&mut self) {
        let host = |event: &Event| match event.at {
            Entity::Host(host) => host,
            _ => unreachable!("only hosts tell the mailbox"),
        };
        self.events.sort_by_key(host);
        self.found.sort_by_key(host);
    }
}
