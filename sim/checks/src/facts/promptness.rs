//! When each entry should have been on a device at the latest, and what came later than that.
//!
//! The clock of an entry and a device starts at the latest of: the first ack or display of the entry anywhere; the device's
//! connection; the end of the last fault on what lies between them: the device itself, its gateway, the entry's shard, the
//! registry that knows its user and the bus that carries what is for its gateway, or a link between two of these. From there it may take [`limits::prompt_bound`], a second for each page of a backlog, and what the last mile adds of
//! itself. A fault that only makes a link slower stops no clock: it adds what it costs on the way there and back, [`CROSSINGS`] times.
//!
//! Where nothing has harmed that way for as long as all of this may take, and the device is connected to the same gateway all the while, nothing
//! excuses what the bound allows for: there an entry may take [`limits::undisturbed_bound`] alone, from the last time that something was slow
//! on the device's own path. What heals by a redelivery is late there.
//!
//! An entry that a device did not get in time is met when it is displayed at last: by a later message, by a page after a
//! reconnect. So nothing is kept of what has not come, but the long connections that each device has had. Who may see an entry
//! only the audit can tell: what seems late is kept until then.
//!
//! Known limits: of a connection that has ended nothing is judged in its last [`Config::noticed_us`], for it may have been dead
//! without knowing; what a leaver was still owed is left to the end of the run.

use super::Facts;
use super::intervals;
use super::rows::{CONNECTED, NONE, mark};
use crate::Config;
use rustc_hash::FxHashMap;
use squall_history::Harm;
use squall_protocol::ids::rendezvous;
use squall_protocol::{DeviceId, UserId, limits};

/// Late entries that are kept; more would say nothing new.
const MAX_LATE: usize = 65_536;
const BOUND_US: u64 = limits::prompt_bound().as_micros() as u64;
const PAGE_US: u64 = limits::PROMPT_PAGE.as_micros() as u64;
/// How often an entry that comes late crosses a slow link at most, both ways counted: a link or connection is asked for a sign of life,
/// opened anew, a look-up, heads and a page are asked for, and come.
const CROSSINGS: u64 = 16;
/// What is over for so long has left nothing behind.
const HEALED_US: u64 = BOUND_US;
/// Pages that come with longer pauses than this between are no backlog.
const PAUSE_MS: u32 = 2_000;

pub(super) fn ms(us: u64) -> u32 {
    u32::try_from(us / 1_000).unwrap_or(u32::MAX).max(1)
}

/// A fault while it lasted, with whom it may have harmed.
struct Harmful {
    name: String,
    from: u64,
    /// `u64::MAX` while it lasts.
    to: u64,
    harm: Harm,
    /// Its devices by their rows, sorted.
    devices: Vec<u32>,
}

/// A connection that is over, as far as it was surely alive, in µs.
#[derive(Debug, Clone, Copy)]
struct Session {
    from: u64,
    to: u64,
    pages: u16,
    gateway: u16,
}

/// An entry that was displayed later than it should, if its user might see it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Late {
    pub t: u64,
    pub pair: u32,
    pub place: u32,
    pub message: u32,
    /// Since when the device was connected to this gateway, and until when it was so without the entry, in µs.
    connected: u64,
    pub until: u64,
    gateway: u16,
    /// How much it might take if no fault slowed it down, in µs.
    bound: u64,
    /// Nothing had harmed its way for so long that this was all it might take.
    pub undisturbed: bool,
}

/// What is kept of connections and faults, and what seems late.
pub(crate) struct Promptness {
    gateways: Vec<u16>,
    registries: Vec<u16>,
    buses: Vec<u16>,
    noticed_us: u64,
    bound_us: u64,
    undisturbed_us: Option<u64>,
    /// In order of their beginnings.
    harms: Vec<Harmful>,
    sessions: FxHashMap<u32, Vec<Session>>,
    late: Vec<Late>,
}

impl Promptness {
    pub fn new(config: &Config) -> Self {
        Promptness {
            gateways: config.gateways.clone(),
            registries: config.registries.clone(),
            buses: config.buses.clone(),
            noticed_us: config.noticed_us,
            bound_us: BOUND_US + config.last_mile_us,
            undisturbed_us: config.undisturbed_us,
            harms: Vec::new(),
            sessions: FxHashMap::default(),
            late: Vec::new(),
        }
    }

    /// The faults that were on this device, in whatever life, or between it and this shard.
    fn on_the_way(
        &self,
        late: &Late,
        (lives, user): (&[u32], UserId),
        shard: Option<u16>,
    ) -> impl Iterator<Item = &Harmful> {
        let of = |hosts: &[u16], key: u64| match hosts.len() {
            0 => None,
            count => hosts.get(rendezvous(key, count as u32) as usize).copied(),
        };
        let gateway = self.gateways.get(usize::from(late.gateway)).copied();
        let way = [gateway, shard, of(&self.registries, user.0), of(&self.buses, late.gateway.into())];
        self.harms.iter().filter(move |h| is_its(h, lives) || concerns(&h.harm, &way))
    }

    /// When a clock that would start at `late.connected` or `visible` does so in truth, and how long it runs: after the last fault on
    /// this device, or between it and this shard, that left it no time, and longer by what others cost.
    fn clock(&self, late: &Late, whose: (&[u32], UserId), visible: u64, shard: Option<u16>) -> (u64, u64) {
        let harms: Vec<&Harmful> = self.on_the_way(late, whose, shard).collect();
        let meets = |h: &Harmful, start: u64, bound: u64| h.from <= start.saturating_add(bound) && h.to > start;
        let delayed = |start: u64| {
            let delays = harms.iter().filter(|h| meets(h, start, late.bound)).filter_map(|h| h.harm.delay_us);
            late.bound + CROSSINGS * delays.sum::<u64>()
        };
        let start = harms.iter().fold(visible.max(late.connected), |start, h| {
            let stops = h.harm.delay_us.is_none() && meets(h, start, delayed(start));
            if stops { h.to } else { start }
        });
        (start, delayed(start))
    }

    /// Whether nothing has harmed the way of an entry for long, when its clock starts, until it was there. An author is shown what
    /// they `own` with its ack, and faults of frames may be about anybody's.
    fn is_undisturbed(
        &self,
        late: &Late,
        whose: (&[u32], UserId),
        start: u64,
        shard: Option<u16>,
        own: bool,
    ) -> bool {
        let is_over = |h: &Harmful| h.from > late.until || h.to.saturating_add(HEALED_US) <= start;
        self.on_the_way(late, whose, shard).all(is_over)
            && (!own || self.harms.iter().filter(|h| is_of_frames(h)).all(is_over))
    }

    /// Whether any fault was, within a time, on these hosts, on a link between two of them, or on one of these devices. One of frames may be
    /// about anybody's. What befalls nothing but hosts of those `spared`, and no link, does not count.
    pub(super) fn harms_within(
        &self,
        way: &[Option<u16>],
        devices: &[u32],
        (from, to): (u64, u64),
        spared: &[u16],
    ) -> bool {
        let is_its_own = |h: &Harmful| {
            h.harm.split.is_none()
                && !h.harm.hosts.is_empty()
                && h.harm.hosts.iter().all(|host| spared.contains(host))
        };
        let lasts = |h: &&Harmful| h.from <= to && h.to >= from && !is_its_own(h);
        let harms = |h: &Harmful| is_of_frames(h) || is_its(h, devices) || concerns(&h.harm, way);
        self.harms.iter().filter(lasts).any(harms)
    }

    /// Whether nothing has harmed the way from a device to a shard for long before a time, and until another.
    pub(super) fn nothing_harms_acks(
        &self,
        lives: &[u32],
        gateway: u16,
        shard: Option<u16>,
        (from, until): (u64, u64),
    ) -> bool {
        let way = [self.gateways.get(usize::from(gateway)).copied(), shard];
        let is_over = |h: &Harmful| h.from > until || h.to.saturating_add(HEALED_US) <= from;
        self.harms.iter().filter(|h| is_of_frames(h) || is_its(h, lives) || concerns(&h.harm, &way)).all(is_over)
    }
}

impl Promptness {
    /// The hosts between two devices, by their gateways, in a conversation of this shard; `user` is the reader's.
    pub(super) fn way(&self, gateway: u16, authors: u16, shard: Option<u16>, user: UserId) -> [Option<u16>; 5] {
        let of = |hosts: &[u16], key: u64| match hosts.len() {
            0 => None,
            count => hosts.get(rendezvous(key, count as u32) as usize).copied(),
        };
        let host = |gateway: u16| self.gateways.get(usize::from(gateway)).copied();
        let (registry, bus) = (of(&self.registries, user.0), of(&self.buses, gateway.into()));
        [host(gateway), host(authors), shard, registry, bus]
    }

    /// Whether a fault may have kept bytes back meanwhile in one of these hosts or on the path of one of these devices.
    pub(super) fn holds_back(&self, way: &[Option<u16>], devices: &[u32], (from, until): (u64, u64)) -> bool {
        let is_on = |h: &Harmful| {
            h.harm.connections || is_its(h, devices) || (h.harm.split.is_none() && concerns(&h.harm, way))
        };
        self.harms.iter().any(|h| h.from <= until && h.to >= from && is_on(h))
    }

    /// Whether any fault has touched these hosts or a link between two of them meanwhile.
    pub(super) fn is_touched(&self, way: &[Option<u16>], (from, until): (u64, u64)) -> bool {
        self.harms.iter().any(|h| h.from <= until && h.to >= from && concerns(&h.harm, way))
    }
}

/// Whether a fault was on these hosts, or on a link between two of them.
fn concerns(harm: &Harm, way: &[Option<u16>]) -> bool {
    let on_the_way = |hosts: &[u16]| hosts.iter().any(|host| way.contains(&Some(*host)));
    match harm.split {
        Some(split) => on_the_way(&harm.hosts[..split]) && on_the_way(&harm.hosts[split..]),
        None => on_the_way(&harm.hosts),
    }
}

/// Whether a fault struck a device, in whichever of its lives.
fn is_its(h: &Harmful, lives: &[u32]) -> bool {
    lives.iter().any(|life| h.devices.binary_search(life).is_ok())
}

/// A fault of frames may be about anybody's.
fn is_of_frames(h: &Harmful) -> bool {
    h.harm.connections && h.harm.hosts.is_empty() && h.devices.is_empty()
}

impl Facts {
    fn rows_of(&mut self, devices: &[DeviceId]) -> Vec<u32> {
        let mut rows: Vec<u32> = devices.iter().map(|device| self.device(*device, None)).collect();
        rows.sort_unstable();
        rows
    }

    pub(super) fn fault_begins(&mut self, name: &str, harm: &Harm) {
        let devices = self.rows_of(&harm.devices);
        let harm = Harm { devices: Vec::new(), ..harm.clone() };
        self.promptness.harms.push(Harmful { name: name.to_owned(), from: self.now, to: u64::MAX, harm, devices });
    }

    pub(super) fn fault_ends(&mut self, name: &str, harm: &Harm) {
        let devices = self.rows_of(&harm.devices);
        let is_it = |h: &&mut Harmful| {
            h.to == u64::MAX && h.name == name && h.harm.hosts == harm.hosts && h.devices == devices
        };
        if let Some(harm) = self.promptness.harms.iter_mut().find(is_it) {
            harm.to = self.now;
        }
    }

    pub(super) fn connected(&mut self, device: u32, gateway: u16) {
        let now = self.now;
        let row = &mut self.devices[device];
        (row.connected_ms, row.gateway, row.pages) = (ms(now), gateway, 0);
    }

    pub(super) fn disconnected(&mut self, device: u32) {
        let row = &self.devices[device];
        if row.gone_since != CONNECTED {
            return;
        }
        let from = u64::from(row.connected_ms) * 1_000;
        let to = self.now.saturating_sub(self.promptness.noticed_us);
        let session = Session { from, to, pages: row.pages, gateway: row.gateway };
        if to > from + self.promptness.bound_us {
            self.promptness.sessions.entry(device).or_default().push(session);
        }
    }

    pub(super) fn page_came(&mut self, device: u32) {
        let now = ms(self.now);
        let row = &mut self.devices[device];
        row.pages = if now - row.page_ms > PAUSE_MS { 1 } else { row.pages.saturating_add(1) };
        row.page_ms = now;
    }

    /// A device is about to display an entry for the first time: was it connected without it for too long?
    pub(super) fn look_for_lateness(&mut self, pair: u32, place: u32, message: u32) {
        let seen = u64::from(self.messages[message].seen_ms) * 1_000;
        let least = self.promptness.undisturbed_us.unwrap_or(self.promptness.bound_us);
        if self.now <= seen.saturating_add(least) || self.promptness.late.len() >= MAX_LATE {
            return;
        }
        let device = self.pairs[pair].device;
        let row = &self.devices[device];
        let current = Session {
            from: u64::from(row.connected_ms) * 1_000,
            to: self.now,
            pages: row.pages,
            gateway: row.gateway,
        };
        let past = self.promptness.sessions.get(&device).map_or(&[][..], Vec::as_slice);
        let late = past.iter().chain([&current]).find_map(|session| {
            let late = Late {
                t: self.now,
                pair,
                place,
                message,
                connected: session.from,
                until: session.to,
                gateway: session.gateway,
                bound: self.promptness.bound_us + u64::from(session.pages) * PAGE_US,
                undisturbed: false,
            };
            (self.late_since(&late, seen).is_some()).then_some(late)
        });
        let late = late.or_else(|| {
            let slow_until = u64::from(self.devices[device].slow_until_ms) * 1_000;
            let late = Late {
                t: self.now,
                pair,
                place,
                message,
                connected: current.from.max(slow_until),
                until: self.now,
                gateway: current.gateway,
                bound: self.promptness.undisturbed_us? + u64::from(current.pages) * PAGE_US,
                undisturbed: true,
            };
            (self.late_since(&late, seen).is_some()).then_some(late)
        });
        self.promptness.late.extend(late);
    }

    /// When the clock of a late entry started and how long it might take, if it is late for somebody who might see it from `visible`
    /// on.
    fn late_since(&self, late: &Late, visible: u64) -> Option<(u64, u64)> {
        let start = visible.max(late.connected);
        if late.until <= start.saturating_add(late.bound) {
            return None;
        }
        let shard = usize::from(self.conversations[self.pairs[late.pair].conversation].shard);
        let host = self.shards.get(shard).map(|shard| shard.host);
        let device = self.pairs[late.pair].device;
        let user = self.devices[device].user()?;
        let lives: Vec<u32> = std::iter::once(device).chain(self.earlier_lives(device)).collect();
        let whose = (&lives[..], user);
        if late.undisturbed {
            let author = self.messages[late.message].pair;
            let own = author != NONE && self.pairs[author].device == device;
            let judged = self.promptness.is_undisturbed(late, whose, start, host, own);
            return judged.then_some((start, late.bound));
        }
        let (start, bound) = self.promptness.clock(late, whose, visible, host);
        (late.until > start.saturating_add(bound)).then_some((start, bound))
    }

    /// What came late, with the time when its clock started and how much it might take, once the audit has said who may see it.
    pub fn late(&self) -> impl Iterator<Item = (&Late, (u64, u64))> {
        self.promptness.late.iter().filter_map(|late| {
            let pair = &self.pairs[late.pair];
            let device = &self.devices[pair.device];
            // What befalls a device that is owed nothing, such as an attacker's, is its own doing.
            let user = device.user().filter(|_| device.is(mark::REACHABLE))?;
            // Who is shown what nobody owes them has it as soon as they do.
            let owed = !intervals::contains(&self.hidden(user, pair.conversation), late.place);
            let visible = self.visible_since(user, pair.conversation, late).filter(|_| owed)?;
            self.late_since(late, visible).map(|clock| (late, clock))
        })
    }

    /// Since when a member might see an entry: since it was first seen or, for a newcomer, since their join was.
    fn visible_since(&self, user: UserId, conversation: u32, late: &Late) -> Option<u64> {
        let seen = |place| {
            let message = self.at(conversation, place)?;
            Some(u64::from(self.messages[message].seen_ms) * 1_000)
        };
        let (joined, since_creation) = self.stay_at(user, conversation, late.place)?;
        if since_creation { seen(late.place) } else { seen(joined).max(seen(late.place)) }
    }
}
