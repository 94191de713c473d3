//! Whether what a device acks moves its cursor on the disk.
//!
//! Each ack is awaited for as long as an entry may take on a way that nothing harms, and for two flushes of cursors. It is judged only
//! if nothing has harmed the device, its gateway, the shard or the links between them for long before that and until it is over, and if the
//! device was on the same connection all the while. A connection may have died without its device knowing: so something must have come over
//! it since, or the device must have kept it for longer than it takes to notice.

use super::Facts;
use super::crowds::{PACES, late_us};
use super::promptness::ms;
use super::rows::{CONNECTED, mark};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Acks of one time that are awaited, and that wait for a sign of life; of more, as many are not judged.
const MAX_AWAITED: usize = 1 << 18;
/// Cursors that are kept for having stayed behind; more would say nothing new.
const MAX_BEHIND: usize = 1_024;
/// What comes so long after an ack was sent on a path on which nothing is slow was sent after the ack had arrived, in ms.
const SIGN_OF_LIFE_MS: u32 = 1_000;

#[derive(Debug, Clone, Copy)]
struct Awaited {
    t: u64,
    pair: u32,
    /// The row of its user.
    own: u32,
    up_to: u32,
    connected_ms: u32,
}

/// A device with acks that are awaited.
#[derive(Default)]
struct Acking {
    acks: u32,
    /// When something last came to it.
    heard_ms: u32,
}

/// A cursor that did not follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Behind {
    /// When the device acked, and when its cursor should have followed, in µs.
    pub acked: u64,
    pub t: u64,
    pub pair: u32,
    pub up_to: u32,
    pub cursor: u32,
}

/// The acks of the last seconds, and what became of earlier ones.
#[derive(Default)]
pub(crate) struct Acks {
    /// How long a cursor may take; `None`: nothing can be said of it.
    bound_us: Option<u64>,
    noticed_us: u64,
    /// By how soon the cursors of their conversations are written.
    awaited: [VecDeque<Awaited>; PACES],
    acking: FxHashMap<u32, Acking>,
    /// Those whose time is over and whose device has heard nothing since, with where their cursors stood.
    silent: [VecDeque<(Awaited, u32)>; PACES],
    /// Acks that were judged, and those of them whose device had connected again or whose shard had restarted.
    pub judged: u64,
    pub exposed: u64,
    pub behind: Vec<Behind>,
}

impl Acks {
    pub fn new(bound_us: Option<u64>, noticed_us: u64) -> Self {
        Acks { bound_us, noticed_us, ..Acks::default() }
    }
}

impl Facts {
    /// The device acks further than its cursor stands.
    pub(super) fn await_cursor(&mut self, pair: u32, own: u32, up_to: u32) {
        let row = &self.pairs[pair];
        let pace = self.pace(row.conversation);
        if self.acks.bound_us.is_none()
            || up_to <= self.pairs[own].cursor
            || self.acks.awaited[pace].len() >= MAX_AWAITED
        {
            return;
        }
        let device = &self.devices[row.device];
        // An attacker acks what it likes.
        if device.is(mark::INSIDER) || device.gone_since != CONNECTED {
            return;
        }
        self.acks.acking.entry(row.device).or_default().acks += 1;
        let connected_ms = device.connected_ms;
        self.acks.awaited[pace].push_back(Awaited { t: self.now, pair, own, up_to, connected_ms });
    }

    /// Something has come to a device.
    pub(super) fn heard(&mut self, device: u32) {
        self.devices[device].heard_ms = ms(self.now);
        if let Some(acking) = self.acks.acking.get_mut(&device) {
            acking.heard_ms = ms(self.now);
        }
    }

    /// Looks at the acks whose time is over by now.
    pub(super) fn look_for_cursors(&mut self) {
        let Some(bound) = self.acks.bound_us else { return };
        for pace in 0..PACES {
            self.look_for_those(pace, bound + late_us(pace));
        }
    }

    fn look_for_those(&mut self, pace: usize, bound: u64) {
        while let Some(ack) = self.acks.awaited[pace].pop_front_if(|ack| ack.t + bound < self.now) {
            let Facts { acks, pairs, .. } = self;
            let (device, cursor) = (pairs[ack.pair].device, pairs[ack.own].cursor);
            let Some(acking) = acks.acking.get_mut(&device) else { continue };
            let is_heard = acking.heard_ms >= ms(ack.t) + SIGN_OF_LIFE_MS;
            acking.acks -= 1;
            if acking.acks == 0 {
                acks.acking.remove(&device);
            }
            match is_heard {
                true => self.judge_ack(&ack, cursor, ack.t + bound),
                false if acks.silent[pace].len() < MAX_AWAITED => acks.silent[pace].push_back((ack, cursor)),
                false => {}
            }
        }
        let noticed = bound + self.acks.noticed_us;
        while let Some((ack, cursor)) = self.acks.silent[pace].pop_front_if(|(ack, _)| ack.t + noticed < self.now)
        {
            self.judge_ack(&ack, cursor, ack.t + bound);
        }
    }

    /// Judges an ack whose time was over at `due`, when the cursor stood at this place.
    fn judge_ack(&mut self, ack: &Awaited, cursor: u32, due: u64) {
        let row = &self.pairs[ack.pair];
        let device = &self.devices[row.device];
        if !self.arrived_surely(ack, row.device, row.conversation, due) {
            return;
        }
        let exposed = device.has_reconnected() || self.shard_restarts(row.conversation) > 0;
        self.acks.judged += 1;
        self.acks.exposed += u64::from(exposed);
        if cursor < ack.up_to && self.acks.behind.len() < MAX_BEHIND {
            self.acks.behind.push(Behind { acked: ack.t, t: due, pair: ack.pair, up_to: ack.up_to, cursor });
        }
    }

    /// Whether nothing excuses an ack from having come to its shard.
    fn arrived_surely(&self, ack: &Awaited, device: u32, conversation: u32, due: u64) -> bool {
        let row = &self.devices[device];
        let stayed = row.gone_since == CONNECTED && row.connected_ms == ack.connected_ms;
        if !stayed || row.slow_until_ms >= ms(ack.t) || row.is(mark::INSIDER) {
            return false;
        }
        let shard = self.shards.get(usize::from(self.conversations[conversation].shard)).map(|shard| shard.host);
        let lives: Vec<u32> = std::iter::once(device).chain(self.earlier_lives(device)).collect();
        self.promptness.nothing_harms_acks(&lives, row.gateway, shard, (ack.t, due))
    }
}
