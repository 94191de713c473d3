//! Who was online, by what devices did, and what those who watched them were shown.
//!
//! The model knows three states of a user: *seen*, when a device of theirs is connected and none of those that are makes them invisible; *hidden*,
//! when one does; *away*, when none is connected. From each change follows from when on the one or the other is to be shown, and from when on
//! it may not be. A watcher is judged by the watches of their connection, by the members of these conversations as anybody has witnessed
//! them, and by the faults between everybody concerned: nothing is said while one lasts, nor for [`HEAL`] after it.
//!
//! Memory: nothing where nobody watches; else a row for each device and each user who has part in it, and [`watches`] and [`members`].
//! Users and devices go by rows of their own, four bytes each.

mod members;
mod watches;

use super::promptness::Promptness;
use crate::Config;
use members::Members;
use rustc_hash::{FxHashMap, FxHashSet};
use squall_history::{What, Word};
use squall_protocol::ids::rendezvous;
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, UserId, limits};
use std::collections::BTreeSet;
use watches::{Shown, Watches};

const SECOND: u64 = 1_000_000;
/// What a change may take to be shown beside what the last mile adds, in µs: nobody is told of one user twice within a second; and
/// what a lease, a subscription and its first answer may take.
const SLACK: u64 = 5 * SECOND;
/// After a fault, in µs: a host that has lost its memory says nothing for certain for [`limits::PRESENCE_UNKNOWN_FOR`], links are opened and leases
/// asked for again meanwhile.
pub(crate) const HEAL: u64 = limits::PRESENCE_UNKNOWN_FOR.as_micros() as u64 + 15 * SECOND;
/// What a hidden user's host may be away without its gateways knowing, in µs.
const HIDDEN_SLACK: u64 = 10 * SECOND;
const LEASE: u64 = limits::WATCH_LEASE.as_micros() as u64;
/// The longest that a device waits for the welcome of a connection of which others may have been told, in µs.
const CONNECTING: u64 = limits::CONNECT_LIMIT.as_micros() as u64 + 5 * SECOND;
/// Where a watcher is looked at again while something harms them, in µs.
const LOOK_AGAIN: u64 = 10 * SECOND;
/// Violations that are kept; more would say nothing new.
const MAX_WRONGS: usize = 256;

/// What the checks need to know of a run in which people watch.
#[derive(Debug, Clone, Default)]
pub struct PresenceConfig {
    /// The host of each presence host: user `u` is known to `hosts[rendezvous(u, hosts.len())]`.
    pub hosts: Vec<u16>,
    pub ttl_us: u64,
    pub grace_us: u64,
    /// Whether anything can be said of how long something takes.
    pub is_timely: bool,
}

/// What a watcher was shown that is wrong, or was not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misled {
    /// The user was there all the time since.
    FalselyOffline { since: u64 },
    /// They had not been away for as long as the grace lasts.
    Flapped { since: u64 },
    /// They had been away or hidden since.
    FalselyOnline { since: u64, hidden: bool },
    /// The user has been there since, and is not shown so.
    NotShownOnline { since: u64 },
    /// They have been away or hidden since, and are not shown so.
    NotShownOffline { since: u64, hidden: bool },
    /// They were last there at `seen`, and not at the time that was told, in µs of the run.
    LastSeen { seen: u64, told: u64 },
    /// The watcher is in no conversation with the user in which they watch them, since then.
    NotTheirs { since: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MisledOne {
    pub t: u64,
    pub device: DeviceId,
    pub user: UserId,
    pub misled: Misled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Seen,
    Hidden,
    Away,
}

#[derive(Debug)]
struct User {
    id: UserId,
    /// By their rows, like those who watch.
    devices: Vec<u32>,
    state: State,
    since: u64,
    /// When the user was last seen, if that is known.
    seen_until: Option<u64>,
    /// A device of theirs is connected that does not hide.
    has_open: bool,
    /// Until when one was, for however short, if none is: nobody is told that they were last there later.
    visible_until: u64,
    /// By how much the server may take that to be earlier: whoever is put away says so, a lost connection is noticed by its silence.
    noticed_within: u64,
    /// From when on they are to be shown online, and from when on offline; never, where that is far away.
    online_from: u64,
    offline_from: u64,
    watchers: BTreeSet<u32>,
}

impl User {
    /// Nobody has seen them yet.
    fn new(id: UserId) -> Self {
        User {
            id,
            devices: Vec::new(),
            state: State::Away,
            since: 0,
            seen_until: None,
            has_open: false,
            visible_until: 0,
            noticed_within: 0,
            online_from: u64::MAX,
            offline_from: 0,
            watchers: BTreeSet::new(),
        }
    }
}

#[derive(Debug)]
struct Device {
    id: DeviceId,
    /// Its user's row.
    user: u32,
    is_connected: bool,
    is_invisible: bool,
    /// Of its latest connection.
    gateway: u16,
    /// In the facts.
    row: u32,
    slow_until: u64,
    watches: Watches,
}

/// All that is known of it.
#[derive(Debug, Default)]
pub(crate) struct Presences {
    config: Option<PresenceConfig>,
    gateways: Vec<u16>,
    shards: Vec<u16>,
    late: u64,
    noticed: u64,
    epoch_ms: u64,
    user_rows: FxHashMap<UserId, u32>,
    users: Vec<User>,
    device_rows: FxHashMap<DeviceId, u32>,
    devices: Vec<Device>,
    members: Members,
    blocked: FxHashSet<ConversationId>,
    /// Users whose own attacks make their devices nobody's business.
    insiders: FxHashSet<UserId>,
    /// When a device is to be looked at for what it shows of a user.
    dues: BTreeSet<(u64, u32, u32)>,
    /// Shown online though nobody knows that they are: the server hears of a connection a little before its device does.
    early: Vec<MisledOne>,
    pub wrongs: Vec<MisledOne>,
    pub connections: u64,
    pub judged: u64,
    pub told: u64,
}

impl Presences {
    pub fn new(config: &Config) -> Self {
        Presences {
            config: config.presence.clone(),
            gateways: config.gateways.clone(),
            shards: config.shards.clone(),
            late: 2 * config.last_mile_us,
            noticed: config.noticed_us,
            epoch_ms: config.epoch_ms,
            ..Presences::default()
        }
    }

    fn is_on(&self) -> bool {
        self.config.is_some()
    }

    fn slack(&self) -> u64 {
        SLACK + self.late
    }

    fn wrong(&mut self, t: u64, device: DeviceId, user: UserId, misled: Misled) {
        if self.wrongs.len() < MAX_WRONGS {
            self.wrongs.push(MisledOne { t, device, user, misled });
        }
    }

    fn user(&mut self, id: UserId) -> u32 {
        user_row(&mut self.user_rows, &mut self.users, id)
    }

    fn device(&mut self, id: DeviceId, user: UserId, row: u32) -> &mut Device {
        let place = match self.device_rows.get(&id) {
            Some(place) => *place,
            None => {
                let (user, place) = (self.user(user), self.devices.len() as u32);
                self.device_rows.insert(id, place);
                let watches = Watches::default();
                let (is_connected, is_invisible, gateway, slow_until) = (false, false, 0, 0);
                self.devices.push(Device {
                    id,
                    user,
                    is_connected,
                    is_invisible,
                    gateway,
                    row,
                    slow_until,
                    watches,
                });
                self.users[user as usize].devices.push(place);
                place
            }
        };
        &mut self.devices[place as usize]
    }

    pub fn handle_connected(&mut self, device: DeviceId, user: UserId, row: u32, gateway: u16, now: u64) {
        self.connections += 1;
        if !self.is_on() {
            return;
        }
        let device = self.device(device, user, row);
        (device.is_connected, device.gateway) = (true, gateway);
        let explains = !device.is_invisible;
        let row = device.user;
        if explains {
            self.early.retain(|early| early.user != user);
        }
        self.settle(row, now, 0);
    }

    /// `by_choice`: it was put away, and told its gateway.
    pub fn handle_disconnected(&mut self, device: DeviceId, by_choice: bool, now: u64) {
        let Some(place) = self.device_rows.get(&device).copied() else { return };
        let device = &mut self.devices[place as usize];
        device.is_connected = false;
        let user = device.user;
        for watched in device.watches.take() {
            self.users[watched as usize].watchers.remove(&place);
        }
        let silence = self.config.as_ref().map_or(0, |config| if by_choice { 0 } else { config.ttl_us });
        self.settle(user, now, silence);
    }

    pub fn handle_invisible(&mut self, device: DeviceId, user: UserId, row: u32, on: bool, now: u64) {
        if !self.is_on() {
            return;
        }
        let device = self.device(device, user, row);
        device.is_invisible = on;
        let user = device.user;
        self.settle(user, now, 0);
    }

    pub fn handle_insider(&mut self, user: UserId) {
        self.insiders.insert(user);
    }

    pub fn handle_slowed(&mut self, device: DeviceId, until: u64) {
        if let Some(place) = self.device_rows.get(&device) {
            let device = &mut self.devices[*place as usize];
            device.slow_until = device.slow_until.max(until);
        }
    }

    /// A device of a user has done something: what follows for whoever watches them. `silence`: how long the server may take to learn that a
    /// connection is gone, in µs.
    fn settle(&mut self, id: u32, now: u64, silence: u64) {
        let Some(config) = &self.config else { return };
        let (slack, gone, noticed) = (self.slack(), silence + config.grace_us, self.noticed);
        let user = &mut self.users[id as usize];
        let connected = user.devices.iter().map(|place| &self.devices[*place as usize]).filter(|d| d.is_connected);
        let (mut any, mut hidden, mut open) = (false, false, false);
        for device in connected {
            any = true;
            hidden |= device.is_invisible;
            open |= !device.is_invisible;
        }
        // One device that goes and another that comes may be heard in the other order.
        if std::mem::replace(&mut user.has_open, open) || open {
            user.visible_until = now;
        }
        let state = match (any, hidden) {
            (false, _) => State::Away,
            (true, true) => State::Hidden,
            (true, false) => State::Seen,
        };
        let before = std::mem::replace(&mut user.state, state);
        if before == state {
            return;
        }
        let came_from = std::mem::replace(&mut user.since, now);
        if before == State::Seen {
            // Whoever was there for so short that the server may not have known is not said to have been.
            user.seen_until = (user.online_from <= now).then_some(now);
            user.noticed_within = if silence > 0 { noticed } else { 0 };
        }
        match state {
            State::Seen => {
                user.online_from = now + slack + if silence > 0 { gone } else { 0 };
                user.offline_from = u64::MAX;
            }
            State::Hidden => {
                user.offline_from = user.offline_from.min(now + slack);
                user.online_from = u64::MAX;
            }
            State::Away => {
                // Whoever was hidden for so long that it must be known stays offline.
                let was_known = before == State::Hidden && came_from + slack <= now;
                if !was_known {
                    user.offline_from = now + gone + slack;
                }
                user.online_from = u64::MAX;
            }
        }
        let due = user.online_from.min(user.offline_from).max(now);
        self.dues.extend(user.watchers.iter().map(|watcher| (due, *watcher, id)));
    }

    /// A device watches these in a conversation, in place of whom it has watched there.
    pub fn handle_watch(
        &mut self,
        device: DeviceId,
        (user, row): (UserId, u32),
        conversation: ConversationId,
        users: &[UserId],
        now: u64,
    ) {
        if !self.is_on() {
            return;
        }
        let slack = self.slack();
        let users: Vec<u32> = users.iter().map(|user| self.user(*user)).collect();
        let watcher = self.device(device, user, row);
        let gone = watcher.watches.handle_watch(conversation, &users, (now, now.saturating_sub(slack)));
        let place = self.device_rows[&device];
        for user in gone {
            self.users[user as usize].watchers.remove(&place);
        }
        for user in users {
            self.users[user as usize].watchers.insert(place);
            self.dues.insert((now + slack, place, user));
        }
    }

    /// Somebody sends what changes who is a member, or may be told of whom.
    pub fn handle_send(
        &mut self,
        id: ClientMsgId,
        (conversation, author): (ConversationId, UserId),
        what: What,
        named: &[UserId],
    ) {
        if !self.is_on() || what == What::Text {
            return;
        }
        if matches!(what, What::Blocked(_)) {
            self.blocked.insert(conversation);
        }
        let Presences { members, user_rows, users, .. } = self;
        members.handle_send(id, (conversation, author), what, named, |user| user_row(user_rows, users, user));
    }

    /// An entry stands at this place, as somebody has seen.
    pub fn handle_entry(&mut self, id: ClientMsgId, seq: u64, now: u64) {
        self.members.handle_entry(id, seq, now);
    }

    /// Whether something harmed, within a time, whoever is concerned with what a watcher is shown of a user. `but_host`: what befalls the user's
    /// presence host alone, and no link of it, does not count.
    fn harmed(
        &self,
        harms: &Promptness,
        (watcher, user): (u32, u32),
        (from, now): (u64, u64),
        but_host: bool,
    ) -> bool {
        let Some(config) = &self.config else { return true };
        let device = &self.devices[watcher as usize];
        let user = &self.users[user as usize];
        // A host that has just started is as one that has lost its memory, and of that no more is excused.
        if now < HEAL && !but_host {
            return true;
        }
        let mut rows = vec![device.row];
        let mut slow = device.slow_until;
        let gateway = |number: u16| self.gateways.get(usize::from(number)).copied();
        let of = |hosts: &[u16], key: u64| match hosts.len() {
            0 => None,
            count => hosts.get(rendezvous(key, count as u32) as usize).copied(),
        };
        let spared = if but_host { &config.hosts[..] } else { &[] };
        let mut way = vec![gateway(device.gateway), of(&config.hosts, user.id.0)];
        way.extend(device.watches.conversations().map(|conversation| of(&self.shards, conversation.spread())));
        for other in user.devices.iter().map(|place| &self.devices[*place as usize]) {
            rows.push(other.row);
            way.push(gateway(other.gateway));
            slow = slow.max(other.slow_until);
        }
        slow + self.slack() >= now || harms.harms_within(&way, &rows, (from, now), spared)
    }

    fn is_nobodys_business(&self, device: &Device, user: u32) -> bool {
        let is = |user: u32| self.insiders.contains(&self.users[user as usize].id);
        !self.insiders.is_empty() && (is(device.user) || is(user))
    }

    /// A device shows how it stands with somebody.
    pub fn handle_shown(
        &mut self,
        harms: &Promptness,
        device: DeviceId,
        user: UserId,
        (state, last_seen_ms): (Word, u64),
        now: u64,
    ) {
        self.told += 1;
        let Some(config) = &self.config else { return };
        let Some(place) = self.device_rows.get(&device).copied() else {
            // Nobody whose device has ever been welcomed.
            if state != "unknown" {
                self.wrong(now, device, user, Misled::NotTheirs { since: 0 });
            }
            return;
        };
        let (slack, late) = (SLACK + self.late, self.late);
        let (is_timely, grace) = (config.is_timely, config.grace_us);
        let (id, user) = (user, self.user(user));
        self.devices[place as usize].watches.show(user, Shown::of(state));
        let watcher = &self.devices[place as usize];
        if state == "unknown" || self.is_nobodys_business(watcher, user) {
            return;
        }
        self.judged += 1;
        // Whoever has left may be told for as long as the lease lasts.
        let own = watcher.user;
        let last_left = |conversation: ConversationId| {
            let gone = [own, user].into_iter().filter_map(|member| self.members.left(conversation, member)).min();
            gone.filter(|gone| now > gone + LEASE + slack)
        };
        let gone: Vec<Option<u64>> =
            watcher.watches.of(user).map(|(conversation, _)| last_left(conversation)).collect();
        let was_told = watcher.watches.ended_since(user, now.saturating_sub(slack));
        if !was_told && gone.iter().all(Option::is_some) {
            let since = gone.into_iter().flatten().max().unwrap_or(0);
            return self.wrong(now, device, id, Misled::NotTheirs { since });
        }
        let truth = &self.users[user as usize];
        let (kind, since, seen_until) = (truth.state, truth.since, truth.seen_until);
        let (online_from, offline_from) = (truth.online_from, truth.offline_from);
        let (noticed, visible_until) =
            (truth.noticed_within, if truth.has_open { now } else { truth.visible_until });
        // What is told by then is about this absence, and not about one before it.
        let is_settled = now + late + 2 * SECOND >= since + if kind == State::Away { grace } else { slack };
        let misled = match state {
            "online" if kind == State::Hidden && now >= offline_from + HIDDEN_SLACK => {
                Some(Misled::FalselyOnline { since, hidden: true })
            }
            "online" if kind == State::Away && now >= offline_from => {
                Some(Misled::FalselyOnline { since: seen_until.unwrap_or(since), hidden: false })
            }
            "offline" if kind == State::Seen && now >= online_from => Some(Misled::FalselyOffline { since }),
            "offline"
                if kind == State::Away && seen_until == Some(since) && now + late + 2 * SECOND < since + grace =>
            {
                Some(Misled::Flapped { since })
            }
            "offline" if kind != State::Seen && last_seen_ms > 0 && self.epoch_ms > 0 => {
                let told = last_seen_ms.saturating_sub(self.epoch_ms) * 1_000;
                // Whoever has never been seen for sure may have been for a moment; never since they were last seen at all.
                let seen = seen_until.unwrap_or(0);
                let is_old = is_settled && told + noticed + slack < seen;
                let is_new = told > visible_until + slack;
                (is_old || is_new).then_some(Misled::LastSeen { seen: seen_until.unwrap_or(visible_until), told })
            }
            _ => None,
        };
        let Some(misled) = misled else { return };
        let always = matches!(misled, Misled::FalselyOnline { hidden: true, .. });
        if !is_timely && !always {
            return;
        }
        // A host that loses its memory knows nobody; it may not say that they are away, or there.
        let but_host = always || matches!(misled, Misled::FalselyOffline { .. } | Misled::Flapped { .. });
        let from = match misled {
            Misled::LastSeen { seen, .. } => seen.saturating_sub(self.noticed + HEAL),
            _ => now.saturating_sub(HEAL).min(since),
        };
        if self.harmed(harms, (place, user), (from, now), but_host) {
            return;
        }
        match misled {
            Misled::FalselyOnline { hidden: false, .. } if self.early.len() < MAX_WRONGS => {
                self.early.push(MisledOne { t: now, device, user: id, misled });
            }
            _ => self.wrong(now, device, id, misled),
        }
    }

    /// Looks at whoever should have been shown something by now.
    pub fn look(&mut self, harms: &Promptness, now: u64) {
        while let Some(early) = self.early.first().copied().filter(|early| early.t + CONNECTING <= now) {
            self.early.remove(0);
            let pair = (self.device_rows[&early.device], self.user_rows[&early.user]);
            if !self.harmed(harms, pair, (early.t.saturating_sub(HEAL), now), false) {
                self.wrong(early.t, early.device, early.user, early.misled);
            }
        }
        while let Some((at, device, user)) = self.dues.first().copied().filter(|(at, _, _)| *at <= now) {
            self.dues.remove(&(at, device, user));
            self.look_at(harms, device, user, at);
        }
    }

    fn look_at(&mut self, harms: &Promptness, device: u32, id: u32, now: u64) {
        let Some(config) = &self.config else { return };
        let (watcher, user) = (&self.devices[device as usize], &self.users[id as usize]);
        if !config.is_timely || !watcher.is_connected || self.is_nobodys_business(watcher, id) {
            return;
        }
        // Of watches that have been there for long, one is enough, in a conversation in which both surely are.
        let slack = self.slack();
        let shows = watcher.watches.of(id).any(|(conversation, since)| {
            let is_in = |user: u32| self.members.is_member_since(conversation, user, since);
            since + slack <= now && !self.blocked.contains(&conversation) && is_in(watcher.user) && is_in(id)
        });
        if !shows {
            return;
        }
        let misled = match watcher.watches.shown(id) {
            shown if now >= user.online_from && shown != Shown::Online => {
                Misled::NotShownOnline { since: user.since }
            }
            shown if now >= user.offline_from && shown != Shown::Offline => Misled::NotShownOffline {
                since: user.seen_until.unwrap_or(0),
                hidden: user.state == State::Hidden,
            },
            _ => {
                self.judged += 1;
                let next = [user.online_from, user.offline_from].into_iter().filter(|next| *next > now).min();
                self.dues.extend(next.filter(|next| *next != u64::MAX).map(|next| (next, device, id)));
                return;
            }
        };
        if self.harmed(harms, (device, id), (now.saturating_sub(HEAL), now), false) {
            self.dues.insert((now + LOOK_AGAIN, device, id));
        } else {
            self.judged += 1;
            let (device, user) = (watcher.id, user.id);
            self.wrong(now, device, user, misled);
        }
    }
}

/// The row of a user, who gets one now if they have none.
fn user_row(rows: &mut FxHashMap<UserId, u32>, users: &mut Vec<User>, id: UserId) -> u32 {
    *rows.entry(id).or_insert_with(|| {
        users.push(User::new(id));
        users.len() as u32 - 1
    })
}
