//! A presence host's table: whose devices are connected where, when everybody was last there, and which gateways are to be told.
//!
//! A user is online while a device of theirs is connected, and for a grace after the last one has gone, so that whoever is back at once has never
//! been away. A device is invisible when it says so, and then its user looks offline. As in the registry, a gateway's devices belong to
//! its session and live as long as its lease; a new session begins with all that the gateway holds.
//!
//! What gateways are told is a state, never a change: who has changed is due, and is told as things stand when their turn comes. So what
//! changes twice within a second is told once, and nothing waits in memory but the names of those who are due.
//!
//! **Invariants:** a host that has just started says of nobody that they are offline before every gateway can have told it whom it holds; an
//! invisible device is never what makes a user online; the last state is told, whatever was left out before it. Guarded by the tests in
//! `core/tests/presence.rs` and by `sim/checks/src/presence_holds.rs`.

use crate::plant::{Plant, planted};
use crate::time::Time;
use rustc_hash::FxHashMap;
use squall_protocol::limits::{self, LEASE, MAX_LAST_SEEN, PRESENCE_TOLD_EVERY, PRESENCE_UNKNOWN_FOR};
use squall_protocol::{DeviceId, Seen, UserId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A host that has not looked for so long, though it does several times a second, was not running.
const STOOD_STILL: Duration = Duration::from_secs(2);

/// How long somebody counts as online without a sign of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceTimes {
    /// A connection on which nothing was heard for so long is no presence. At most [`limits::SILENCE_LIMIT`], after which it is closed anyway.
    pub ttl: Duration,
    /// After the last connection was lost.
    pub grace: Duration,
}

impl Default for PresenceTimes {
    fn default() -> Self {
        PresenceTimes { ttl: limits::PRESENCE_TTL, grace: limits::PRESENCE_GRACE }
    }
}

impl PresenceTimes {
    /// How long a gateway that says nothing vouches for its devices.
    pub fn lease(self) -> Duration {
        LEASE.min(self.ttl)
    }

    /// How often a gateway renews that.
    pub fn renewal(self) -> Duration {
        self.lease() / 3
    }
}

/// How it stands with a user: if they are not online, when they last were, in ms since the epoch; 0: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    pub state: Seen,
    pub last_seen_ms: u64,
}

impl Presence {
    pub const ONLINE: Presence = Presence { state: Seen::Online, last_seen_ms: 0 };
    pub const UNKNOWN: Presence = Presence { state: Seen::Unknown, last_seen_ms: 0 };
}

/// What a gateway says of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Here {
    pub user: UserId,
    pub device: DeviceId,
    pub connection: u64,
    pub connect_count: u64,
    pub invisible: bool,
}

/// The two clocks at one moment: one for what passes, and one for what people read, in ms since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub time: Time,
    pub wall_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Device {
    device: DeviceId,
    connection: u64,
    connect_count: u64,
    gateway: u32,
    session: u32,
    invisible: bool,
}

#[derive(Debug, Default)]
struct User {
    devices: Vec<Device>,
    last_seen_ms: u64,
    /// Online until then, though no device is here.
    grace_until: Time,
}

impl User {
    fn is_invisible(&self) -> bool {
        self.devices.iter().any(|device| device.invisible)
    }

    /// Whether a device makes the user online.
    fn is_seen(&self) -> bool {
        !self.devices.is_empty() && !self.is_invisible()
    }

    fn was_seen(&mut self, at_ms: u64) {
        self.last_seen_ms = self.last_seen_ms.max(at_ms);
    }
}

#[derive(Debug)]
struct Gateway {
    session: u32,
    lease_until: Time,
    /// When it last said that its devices are there, in ms since the epoch.
    vouched_ms: u64,
}

#[derive(Debug)]
struct Subscription {
    gateway: u32,
    told: Option<(Time, Presence)>,
}

/// The session of a gateway; what an older one says is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceSession {
    pub gateway: u32,
    session: u32,
}

/// The table of one presence host.
#[derive(Debug)]
pub struct PresenceTable {
    times: PresenceTimes,
    /// Until then whoever is not here may be with a gateway that has not told of them yet.
    fresh_until: Time,
    users: FxHashMap<UserId, User>,
    /// Those without a device, by when they were last seen: so many are remembered.
    away: BTreeSet<(u64, UserId)>,
    most_away: usize,
    graces: BTreeSet<(Time, UserId)>,
    gateways: BTreeMap<u32, Gateway>,
    last_session: u32,
    subscriptions: FxHashMap<UserId, Vec<Subscription>>,
    /// Of whom each gateway is to be told.
    due: BTreeMap<u32, BTreeSet<UserId>>,
    /// Changes that were told together with a later one.
    sampled: usize,
    /// When what is due was last looked at.
    looked: Time,
}

impl PresenceTable {
    /// A host that has just started.
    pub fn new(times: PresenceTimes, now: Time) -> Self {
        PresenceTable::with_memory_for(MAX_LAST_SEEN, times, now)
    }

    /// The same, which remembers so many users who are away.
    pub fn with_memory_for(most_away: usize, times: PresenceTimes, now: Time) -> Self {
        let fresh_for =
            if planted(Plant::OfflineWaveAfterRestart) { Duration::ZERO } else { PRESENCE_UNKNOWN_FOR };
        PresenceTable {
            times,
            fresh_until: now + fresh_for,
            users: FxHashMap::default(),
            away: BTreeSet::new(),
            most_away,
            graces: BTreeSet::new(),
            gateways: BTreeMap::new(),
            last_session: 0,
            subscriptions: FxHashMap::default(),
            due: BTreeMap::new(),
            sampled: 0,
            looked: now,
        }
    }

    /// A gateway opens a session. Its devices stay until `handle_snapshot_end`; it subscribes anew to whom it wants to hear of.
    pub fn handle_open(&mut self, gateway: u32, now: Now) -> PresenceSession {
        self.last_session += 1;
        let session = self.last_session;
        let lease_until = now.time + self.times.lease();
        // What it vouched for in its last session counts until the end of the snapshot says what has gone since.
        let vouched_ms = self.gateways.get(&gateway).map_or(now.wall_ms, |before| before.vouched_ms);
        self.gateways.insert(gateway, Gateway { session, lease_until, vouched_ms });
        self.unsubscribe_all(gateway);
        PresenceSession { gateway, session }
    }

    fn is_current(&self, id: PresenceSession) -> bool {
        self.gateways.get(&id.gateway).is_some_and(|gateway| gateway.session == id.session)
    }

    /// Renews the lease. False: the session is not known (any more); the gateway must open a new one.
    pub fn handle_renew(&mut self, id: PresenceSession, now: Now) -> bool {
        match self.gateways.get_mut(&id.gateway) {
            Some(gateway) if gateway.session == id.session => {
                gateway.lease_until = now.time + self.times.lease();
                gateway.vouched_ms = now.wall_ms;
                true
            }
            _ => false,
        }
    }

    /// A device is here, or says something else of itself than before.
    pub fn handle_here(&mut self, id: PresenceSession, here: Here, now: Now) {
        if !self.is_current(id) {
            return;
        }
        let device = Device {
            device: here.device,
            connection: here.connection,
            connect_count: here.connect_count,
            gateway: id.gateway,
            session: id.session,
            invisible: here.invisible,
        };
        let user = self.users.entry(here.user).or_default();
        if user.devices.is_empty() {
            self.away.remove(&(user.last_seen_ms, here.user));
        }
        let was_seen = user.is_seen();
        match user.devices.iter_mut().find(|known| known.device == here.device) {
            // The same count from another connection is a `hello` that somebody says again.
            Some(known)
                if known.connect_count > here.connect_count
                    || known.connect_count == here.connect_count
                        && (known.connection, known.gateway) != (here.connection, id.gateway) => {}
            Some(known) => *known = device,
            None => user.devices.push(device),
        }
        if user.is_invisible() {
            user.grace_until = Time::ZERO;
        }
        if was_seen && !user.is_seen() {
            user.was_seen(now.wall_ms);
        }
        self.changed(here.user);
    }

    /// A connection is gone, which was last heard of so long ago.
    pub fn handle_gone(
        &mut self,
        id: PresenceSession,
        (user, device): (UserId, DeviceId),
        connection: u64,
        seen_ago: Duration,
        now: Now,
    ) {
        if !self.is_current(id) {
            return;
        }
        let seen_ms = now.wall_ms.saturating_sub(seen_ago.as_millis() as u64);
        let is_it = |row: &Device| {
            row.device == device
                && (row.connection == connection && row.gateway == id.gateway || planted(Plant::GoneTakesTheNewer))
        };
        self.take_away(user, is_it, seen_ms, now.time);
    }

    /// Takes devices of a user away that were last seen at this time.
    fn take_away(&mut self, id: UserId, goes: impl Fn(&Device) -> bool, seen_ms: u64, now: Time) {
        let Some(user) = self.users.get_mut(&id) else { return };
        let (before, was_seen) = (user.devices.len(), user.is_seen());
        user.devices.retain(|device| !goes(device));
        if user.devices.len() == before {
            return;
        }
        let is_last = user.devices.is_empty();
        // The bug goes by the device that went first, not by the one that stayed.
        let is_older = planted(Plant::LastSeenOfTheOlder) && is_last && user.last_seen_ms > 0;
        if was_seen && !is_older {
            user.was_seen(seen_ms);
        }
        if is_last {
            if was_seen {
                user.grace_until = now + self.times.grace;
                self.graces.insert((user.grace_until, id));
            }
            self.away.insert((user.last_seen_ms, id));
            self.forget();
        }
        self.changed(id);
    }

    /// Forgets those who have been away for longest, if they are too many.
    fn forget(&mut self) {
        while self.away.len() > self.most_away
            && let Some((_, id)) = self.away.pop_first()
        {
            self.users.remove(&id);
        }
    }

    /// The gateway has told of all that it holds: what its older sessions left has gone since. Returns how many devices that were.
    pub fn handle_snapshot_end(&mut self, id: PresenceSession, now: Now) -> usize {
        let Some(vouched_ms) =
            self.gateways.get(&id.gateway).filter(|_| self.is_current(id)).map(|g| g.vouched_ms)
        else {
            return 0;
        };
        let gone = self.take_all_away(
            |row| row.gateway == id.gateway && row.session != id.session,
            |_| vouched_ms,
            now.time,
        );
        if let Some(gateway) = self.gateways.get_mut(&id.gateway) {
            gateway.vouched_ms = now.wall_ms;
        }
        gone
    }

    fn take_all_away(&mut self, goes: impl Fn(&Device) -> bool, seen_ms: impl Fn(u32) -> u64, now: Time) -> usize {
        let concerned = |(id, user): (&UserId, &User)| {
            let last =
                user.devices.iter().filter(|device| goes(device)).map(|device| seen_ms(device.gateway)).max()?;
            Some((*id, last, user.devices.iter().filter(|device| goes(device)).count()))
        };
        let mut users: Vec<(UserId, u64, usize)> = self.users.iter().filter_map(concerned).collect();
        users.sort_unstable();
        let gone = users.iter().map(|(_, _, devices)| devices).sum();
        for (id, last, _) in users {
            self.take_away(id, &goes, last, now);
        }
        gone
    }

    /// The gateway wants to hear of this user, of whom it knows when they were last seen, or does not (0).
    pub fn handle_subscribe(&mut self, id: PresenceSession, user: UserId, last_seen_ms: u64) {
        if !self.is_current(id) {
            return;
        }
        let rows = self.subscriptions.entry(user).or_default();
        match rows.iter_mut().find(|row| row.gateway == id.gateway) {
            Some(row) => row.told = None,
            None => rows.push(Subscription { gateway: id.gateway, told: None }),
        }
        self.due.entry(id.gateway).or_default().insert(user);
        if last_seen_ms > 0 {
            self.remember(user, last_seen_ms);
        }
    }

    /// Believes when somebody was last seen, who is not here.
    fn remember(&mut self, id: UserId, last_seen_ms: u64) {
        let user = self.users.entry(id).or_default();
        if !user.devices.is_empty() || user.last_seen_ms >= last_seen_ms {
            return;
        }
        self.away.remove(&(user.last_seen_ms, id));
        user.last_seen_ms = last_seen_ms;
        self.away.insert((last_seen_ms, id));
        self.forget();
    }

    pub fn handle_unsubscribe(&mut self, id: PresenceSession, user: UserId) {
        if !self.is_current(id) {
            return;
        }
        if let Some(rows) = self.subscriptions.get_mut(&user) {
            rows.retain(|row| row.gateway != id.gateway);
            if rows.is_empty() {
                self.subscriptions.remove(&user);
            }
        }
        if let Some(due) = self.due.get_mut(&id.gateway) {
            due.remove(&user);
        }
    }

    fn unsubscribe_all(&mut self, gateway: u32) {
        self.due.remove(&gateway);
        self.subscriptions.retain(|_, rows| {
            rows.retain(|row| row.gateway != gateway);
            !rows.is_empty()
        });
    }

    /// Something may stand otherwise with a user: whoever wants to hear of them is to be told.
    fn changed(&mut self, user: UserId) {
        for row in self.subscriptions.get(&user).into_iter().flatten() {
            if !self.due.entry(row.gateway).or_default().insert(user) {
                self.sampled += 1;
            }
        }
    }

    /// How it stands with a user.
    pub fn presence(&self, id: UserId, now: Time) -> Presence {
        let user = self.users.get(&id);
        if user.is_some_and(|user| user.is_seen() || user.devices.is_empty() && user.grace_until > now) {
            return Presence::ONLINE;
        }
        // Whoever is here and not seen hides, whatever else is not known yet.
        let hides = user.is_some_and(|user| !user.devices.is_empty());
        if now < self.fresh_until && !hides {
            return Presence::UNKNOWN;
        }
        Presence { state: Seen::Offline, last_seen_ms: user.map_or(0, |user| user.last_seen_ms) }
    }

    /// Drops the devices of gateways whose lease has run out, ends graces, and is fresh no more when that is over. Returns how many devices
    /// have gone.
    ///
    /// A host that has stood still has heard nobody meanwhile: what waits in its sockets is heard before anybody is given up.
    pub fn handle_timeout(&mut self, now: Now) -> usize {
        if now.time.since(std::mem::replace(&mut self.looked, now.time)) > STOOD_STILL {
            let lease_until = now.time + self.times.lease();
            self.gateways
                .values_mut()
                .for_each(|gateway| gateway.lease_until = gateway.lease_until.max(lease_until));
            return 0;
        }
        let is_over = |gateway: &Gateway| gateway.lease_until <= now.time;
        let expired: BTreeMap<u32, u64> =
            self.gateways.iter().filter(|(_, g)| is_over(g)).map(|(index, g)| (*index, g.vouched_ms)).collect();
        let mut gone = 0;
        if !expired.is_empty() {
            for gateway in expired.keys() {
                self.gateways.remove(gateway);
                self.unsubscribe_all(*gateway);
            }
            let last = |gateway: u32| expired.get(&gateway).copied().unwrap_or_default();
            gone = self.take_all_away(|row| expired.contains_key(&row.gateway), last, now.time);
        }
        while let Some((until, user)) = self.graces.first().copied().filter(|(until, _)| *until <= now.time) {
            self.graces.remove(&(until, user));
            self.changed(user);
        }
        if self.fresh_until != Time::ZERO && now.time >= self.fresh_until {
            self.fresh_until = Time::ZERO;
            let mut all: Vec<UserId> = self.subscriptions.keys().copied().collect();
            all.sort_unstable();
            all.into_iter().for_each(|user| self.changed(user));
        }
        gone
    }

    /// Gateways that are to be told of somebody.
    pub fn due(&self) -> Vec<u32> {
        self.due.iter().filter(|(_, users)| !users.is_empty()).map(|(gateway, _)| *gateway).collect()
    }

    /// What a gateway is to be told now: so many users at most, each as it stands, and nobody of whom it was told within the last second.
    pub fn poll_notices(&mut self, gateway: u32, most: usize, now: Time) -> Vec<(UserId, Presence)> {
        let Some(due) = self.due.remove(&gateway) else { return Vec::new() };
        let (mut notices, mut later) = (Vec::new(), BTreeSet::new());
        for user in due {
            let presence = self.presence(user, now);
            let rows = self.subscriptions.get_mut(&user);
            let Some(row) = rows.and_then(|rows| rows.iter_mut().find(|row| row.gateway == gateway)) else {
                continue;
            };
            match row.told {
                Some((_, told)) if told == presence => {}
                Some((at, _)) if now.since(at) < PRESENCE_TOLD_EVERY => {
                    if !planted(Plant::LastStateSwallowed) {
                        later.insert(user);
                    }
                }
                _ if notices.len() >= most => {
                    later.insert(user);
                }
                _ => {
                    row.told = Some((now, presence));
                    notices.push((user, presence));
                }
            }
        }
        if !later.is_empty() {
            self.due.insert(gateway, later);
        }
        notices
    }

    /// Changes that were told together with a later one since this was last asked.
    pub fn take_sampled(&mut self) -> usize {
        std::mem::take(&mut self.sampled)
    }

    /// How many users have a device here, how many are remembered, and how many (gateway, user) there are to tell of.
    pub fn levels(&self) -> [usize; 3] {
        let subscriptions = self.subscriptions.values().map(Vec::len).sum();
        [self.users.len() - self.away.len().min(self.users.len()), self.away.len(), subscriptions]
    }
}
