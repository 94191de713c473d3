//! Which devices ask for the same place of a conversation again and again.
//!
//! A device that asks is waiting for what it has been told of: the page brings it on, or there is nothing to wait for. Asking for the same
//! place is counted on one connection, on which nothing is slow, and it counts for something only where nothing has harmed the device,
//! its gateway, the shard or the links between them from long before the first time on. A connection may have died without its device knowing: so
//! something must have come over it since the time before last.

use super::Facts;
use super::promptness::ms;
use super::rows::{CONNECTED, mark};
use rustc_hash::FxHashMap;

/// How often a device may ask for the same place: the shard may be about to have what it has told of.
const ASKS: u32 = 5;
/// Vain questions that are kept; more would say nothing new.
const MAX_VAIN: usize = 1_024;

/// What a device asked for last in a conversation, until it is shown more.
#[derive(Debug, Clone, Copy)]
struct Asking {
    since: u32,
    times: u32,
    /// When it was asked first, and last.
    from_ms: u32,
    at_ms: u32,
    /// When the connection began on which it was.
    connected_ms: u32,
}

/// A place that a device has asked for in vain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vain {
    pub from: u64,
    pub t: u64,
    pub pair: u32,
    pub since: u32,
    pub times: u32,
}

/// What devices ask for.
#[derive(Default)]
pub(crate) struct Syncs {
    /// Whether anything can be said of a way that nothing harms.
    is_judged: bool,
    asking: FxHashMap<u32, Asking>,
    /// Syncs and connections, and those of the syncs that asked for the same place as the one before.
    pub evaluated: u64,
    pub again: u64,
    pub vain: Vec<Vain>,
}

impl Syncs {
    pub fn new(is_judged: bool) -> Self {
        Syncs { is_judged, ..Syncs::default() }
    }
}

impl Facts {
    /// A device asks for what comes after `since`.
    pub(super) fn asks(&mut self, pair: u32, since: u32) {
        self.syncs.evaluated += 1;
        let (now, row) = (ms(self.now), &self.pairs[pair]);
        let (device, connected_ms) = (row.device, self.devices[row.device].connected_ms);
        let first = Asking { since, times: 1, from_ms: now, at_ms: now, connected_ms };
        let Some(before) = self.syncs.asking.insert(pair, first) else { return };
        if before.since != since {
            return;
        }
        self.syncs.again += 1;
        let row = &self.devices[device];
        // An attacker asks for what it likes.
        if !self.syncs.is_judged || row.is(mark::INSIDER) || row.gone_since != CONNECTED {
            return;
        }
        let is_another = before.connected_ms != connected_ms || row.slow_until_ms >= before.from_ms;
        if is_another || row.heard_ms < before.at_ms {
            return;
        }
        let asking = Asking { times: before.times + 1, at_ms: now, ..before };
        if asking.times < ASKS {
            self.syncs.asking.insert(pair, asking);
        } else if self.nothing_harms_since(pair, u64::from(asking.from_ms) * 1_000) {
            self.in_vain(pair, asking);
        }
    }

    fn in_vain(&mut self, pair: u32, asking: Asking) {
        // What it asks for from now on says nothing new.
        self.syncs.asking.insert(pair, Asking { times: 1, from_ms: asking.at_ms, ..asking });
        if self.syncs.vain.len() < MAX_VAIN {
            let Asking { since, times, from_ms, .. } = asking;
            self.syncs.vain.push(Vain { from: u64::from(from_ms) * 1_000, t: self.now, pair, since, times });
        }
    }

    /// Whether nothing has harmed the way from the device of a pair to its shard from long before a time until now.
    pub(super) fn nothing_harms_since(&self, pair: u32, from: u64) -> bool {
        let row = &self.pairs[pair];
        let gateway = self.devices[row.device].gateway;
        let shard = self.shards.get(usize::from(self.conversations[row.conversation].shard));
        let lives: Vec<u32> = std::iter::once(row.device).chain(self.earlier_lives(row.device)).collect();
        self.promptness.nothing_harms_acks(&lives, gateway, shard.map(|shard| shard.host), (from, self.now))
    }

    /// A device has been shown more of a conversation.
    pub(super) fn asks_no_more(&mut self, pair: u32) {
        if !self.syncs.asking.is_empty() {
            self.syncs.asking.remove(&pair);
        }
    }
}
