//! A gateway's part in who is online: what presence hosts are told of its devices, whom these watch, and what they are told.
//!
//! It has queues and links of its own, to presence hosts and, for leases, to shards, so that nothing durable waits behind it. A cluster
//! without presence hosts has none of them: a device that watches hears nothing.
//!
//! **Invariants:** nothing is told over what waits for a device beyond [`limits::OUTBOX_BYTES_FOR_PRESENCE`], where the rest is durable or its
//! own: it is told later, as it then stands. A new link begins with all devices and all whom they watch. Guarded by
//! `sim/checks/src/presence_holds.rs` and `server/tests/presence.rs`.

use super::outgoing::Outgoing;
use super::state::Gateway;
use super::table::ConnectionId;
use crate::links::{Pushed, Queue};
use crate::observer::Point;
use squall_core::Time;
use squall_core::gateway::{AskLease, Peer, Registrations, Wanted, Watches};
use squall_core::plant::{Plant, planted};
use squall_core::presence::PresenceTimes;
use squall_protocol::ids::rendezvous;
use squall_protocol::wire::messages::LeaseRequest;
use squall_protocol::wire::presence as wire;
use squall_protocol::wire::presence::request::Request as Kind;
use squall_protocol::{ConversationId, ServerFrame, UserId, limits, protobuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What one presence host is to be told.
pub struct Host {
    pub queue: Queue<wire::Request>,
    /// Devices that it has not confirmed yet. Locked after the table and the watches, if several are.
    devices: Mutex<Registrations>,
    /// Users of whom it has said nothing yet since it was asked. Locked like those.
    users: Mutex<Registrations>,
    /// Something that has to reach it found no room: the link begins anew, with everything.
    pub reset: Notify,
    /// Since when there is no link; `None` while there is one, or once it has been told that nobody knows.
    pub away_since: Mutex<Option<Time>>,
}

/// A gateway's part in who is online.
pub struct Presences {
    pub hosts: Vec<Host>,
    /// Leases that are asked for, for each shard.
    pub leases: Vec<Queue<LeaseRequest>>,
    /// Locked after the table, if both are.
    watches: Mutex<Watches>,
    /// Whether any device watches: who asks where none does takes no lock.
    any: AtomicBool,
    /// Devices are to be told something.
    pub news: Notify,
    pub times: PresenceTimes,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn request(kind: Kind) -> wire::Request {
    wire::Request { request: Some(kind) }
}

impl Presences {
    pub fn new(hosts: usize, shards: usize, times: PresenceTimes) -> Self {
        let host = || Host {
            queue: Queue::default(),
            devices: Mutex::default(),
            users: Mutex::default(),
            reset: Notify::new(),
            away_since: Mutex::new(None),
        };
        let shards = if hosts == 0 { 0 } else { shards };
        Presences {
            hosts: (0..hosts).map(|_| host()).collect(),
            leases: (0..shards).map(|_| Queue::stale_after(limits::WATCH_RETRY_AFTER)).collect(),
            watches: Mutex::default(),
            any: AtomicBool::new(false),
            news: Notify::new(),
            times,
        }
    }

    pub fn are_kept(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// The host that has this user.
    pub fn host_of(&self, user: UserId) -> usize {
        rendezvous(user.0, self.hosts.len() as u32) as usize
    }

    /// Whether silence has to be looked for here, because it counts before a connection is closed for it.
    pub fn looks_for_silence(&self) -> bool {
        self.are_kept() && self.times.ttl < limits::SILENCE_LIMIT
    }

    pub fn watches(&self) -> MutexGuard<'_, Watches> {
        lock(&self.watches)
    }

    /// Changes the watches, and notes what follows from it.
    fn change<T>(&self, change: impl FnOnce(&mut Watches) -> T) -> T {
        let mut watches = self.watches();
        let changed = change(&mut watches);
        self.any.store(!watches.is_empty(), Ordering::Relaxed);
        if !watches.due().is_empty() {
            self.news.notify_one();
        }
        changed
    }

    fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn ask(&self, ask: AskLease, shard: usize) {
        let lease = LeaseRequest {
            connection: ask.connection,
            watcher: ask.watcher.0,
            conversation: protobuf::conversation_to_wire(ask.conversation),
            users: ask.users.iter().map(|user| user.0).collect(),
            asked_at: ask.asked_at.0,
        };
        // What finds no room is asked for again.
        self.leases[shard].offer_for(ask.watcher, lease);
    }
}

/// A device has been let in.
pub fn handle_connected(gateway: &Gateway, id: ConnectionId, peer: Peer) {
    let presences = &gateway.presences;
    if presences.are_kept() {
        let host = presences.host_of(peer.user);
        lock(&presences.hosts[host].devices).handle_connected(id.0);
        tell_devices(gateway, host);
    }
}

/// A device says something else of itself than before.
pub fn handle_invisible(gateway: &Gateway, id: ConnectionId, peer: Peer, on: bool) {
    if let Some(row) = gateway.table().get_mut(id) {
        row.invisible = on;
    }
    let presences = &gateway.presences;
    if presences.are_kept() {
        let host = presences.host_of(peer.user);
        let mut devices = lock(&presences.hosts[host].devices);
        // What it said before may not be confirmed yet.
        devices.handle_gone(id.0);
        devices.handle_connected(id.0);
        drop(devices);
        tell_devices(gateway, host);
    }
}

/// A connection is gone, or silent, since so long ago.
pub fn handle_gone(gateway: &Gateway, id: ConnectionId, peer: Peer, seen_ago: Duration) {
    let presences = &gateway.presences;
    if !presences.are_kept() {
        return;
    }
    let host = &presences.hosts[presences.host_of(peer.user)];
    let is_open = {
        let mut devices = lock(&host.devices);
        devices.handle_gone(id.0);
        devices.is_open()
    };
    let gone = wire::Gone {
        user: peer.user.0,
        device: peer.device.0,
        connection: id.0,
        seen_ago_ms: seen_ago.as_millis() as u64,
    };
    // Without a session it is what the next one does not name.
    if is_open && host.queue.push(request(Kind::Gone(gone))) != Pushed::Queued {
        host.reset.notify_one();
    }
}

/// A connection that watched is gone.
pub fn handle_watcher_gone(gateway: &Gateway, id: ConnectionId) {
    if gateway.presences.any() {
        let wanted = gateway.presences.change(|watches| watches.handle_gone(id.0));
        want(gateway, wanted);
    }
}

/// A device wants to watch these.
pub fn handle_watch(
    gateway: &Gateway,
    id: ConnectionId,
    peer: Peer,
    conversation: ConversationId,
    users: Vec<UserId>,
) {
    let presences = &gateway.presences;
    // By its name alone it is none of this user's, or nobody could be told of.
    if !presences.are_kept() || !conversation.is_open_to(peer.user) || users.is_empty() {
        return;
    }
    let now = gateway.clock.now();
    let asked = presences.change(|watches| watches.handle_watch(id.0, peer.user, conversation, users, now));
    match asked {
        Ok((ask, wanted)) => {
            want(gateway, wanted);
            presences.ask(ask, gateway.uplinks.shard_of(conversation));
        }
        Err(_) => gateway.observer.passed(&Point::WatchRefused { device: peer.device }),
    }
}

pub fn handle_unwatch(gateway: &Gateway, id: ConnectionId, conversation: ConversationId) {
    if gateway.presences.any() {
        let wanted = gateway.presences.change(|watches| watches.handle_unwatch(id.0, conversation));
        want(gateway, wanted);
    }
}

/// A shard has answered who may be watched.
pub fn handle_lease(
    gateway: &Gateway,
    id: ConnectionId,
    conversation: ConversationId,
    asked_at: Time,
    granted: &[UserId],
) {
    let now = gateway.clock.now();
    if granted.is_empty() {
        gateway.observer.passed(&Point::WatchEnded { conversation });
    }
    let wanted =
        gateway.presences.change(|watches| watches.handle_lease(id.0, conversation, asked_at, granted, now));
    want(gateway, wanted);
}

/// A presence host has said how it stands with a user.
pub fn handle_notice(gateway: &Gateway, host: usize, user: UserId, presence: squall_core::presence::Presence) {
    lock(&gateway.presences.hosts[host].users).handle_confirmed(user.0);
    gateway.presences.change(|watches| watches.handle_presence(user, presence));
}

/// A presence host knows a device as it was told.
pub fn handle_noted(gateway: &Gateway, host: usize, connection: u64, invisible: bool) {
    let mut table = gateway.table();
    let is_current = table
        .get_mut(ConnectionId(connection))
        .is_none_or(|row| row.invisible == invisible || planted(Plant::InvisibleToldBySnapshot));
    if is_current {
        lock(&gateway.presences.hosts[host].devices).handle_confirmed(connection);
    }
}

/// Tells presence hosts of whom this gateway wants to hear, and of whom no more.
fn want(gateway: &Gateway, wanted: Wanted) {
    let presences = &gateway.presences;
    for user in wanted.unsubscribe {
        let host = &presences.hosts[presences.host_of(user)];
        lock(&host.users).handle_gone(user.0);
        // What finds no room costs the host a row, until the next link.
        host.queue.offer(request(Kind::Unsubscribe(user.0)));
    }
    let mut hosts: Vec<usize> = Vec::new();
    for user in wanted.subscribe {
        let host = presences.host_of(user);
        lock(&presences.hosts[host].users).handle_connected(user.0);
        hosts.push(host);
    }
    hosts.sort_unstable();
    hosts.dedup();
    hosts.into_iter().for_each(|host| tell_users(gateway, host));
}

/// A link to a host begins: it is to know all devices, and all of whom this gateway wants to hear.
pub fn begin_session(gateway: &Gateway, index: usize, is_first: bool) {
    let presences = &gateway.presences;
    let host = &presences.hosts[index];
    // Under the locks, so that nobody comes or goes between the snapshot and what follows it.
    let table = gateway.table();
    let watches = presences.watches();
    host.queue.clear();
    host.queue.offer(request(Kind::Open(wire::Open { gateway: gateway.index })));
    let own = table.open().filter(|(_, peer)| presences.host_of(peer.user) == index);
    lock(&host.devices).handle_opened(own.map(|(id, _)| id.0));
    let own = watches.watched().filter(|user| presences.host_of(*user) == index);
    let own = own.filter(|_| is_first || !planted(Plant::SubscribedOnFirstLinkOnly));
    lock(&host.users).handle_opened(own.map(|user| user.0));
    *lock(&host.away_since) = None;
}

/// A link to a host is over: nothing more is kept for it.
pub fn end_session(gateway: &Gateway, index: usize) {
    let host = &gateway.presences.hosts[index];
    lock(&host.devices).handle_closed();
    lock(&host.users).handle_closed();
    lock(&host.away_since).get_or_insert(gateway.clock.now());
    let presences = &gateway.presences;
    presences.watches().handle_stale(|user| presences.host_of(user) == index);
}

/// Tells a host of the devices of which it is to be told now, and the end of the snapshot once it knows all of them.
pub fn tell_devices(gateway: &Gateway, index: usize) {
    let host = &gateway.presences.hosts[index];
    let mut table = gateway.table();
    let mut devices = lock(&host.devices);
    let in_snapshot = devices.is_in_snapshot();
    loop {
        let mut gone = 0;
        for connection in devices.poll(gateway.clock.now()) {
            let row = table.get_mut(ConnectionId(connection)).filter(|row| !row.silent);
            match row.and_then(|row| row.peer.map(|peer| (peer, row.invisible))) {
                Some((peer, invisible)) => {
                    let here = wire::Device {
                        user: peer.user.0,
                        device: peer.device.0,
                        connection,
                        connect_count: peer.connect_count,
                        invisible: invisible && !(in_snapshot && planted(Plant::InvisibleToldBySnapshot)),
                    };
                    // What finds no room is told again in time.
                    host.queue.offer_for(peer.user, request(Kind::Here(here)));
                }
                None => {
                    devices.handle_gone(connection);
                    gone += 1;
                }
            }
        }
        // Those who are gone have left room for others.
        if gone == 0 {
            break;
        }
    }
    if devices.is_snapshot_told()
        && host.queue.push(request(Kind::SnapshotEnd(wire::SnapshotEnd {}))) == Pushed::Queued
    {
        devices.handle_snapshot_end_told();
    }
}

/// Asks a host about the users about whom it is to be asked now.
pub fn tell_users(gateway: &Gateway, index: usize) {
    let presences = &gateway.presences;
    let host = &presences.hosts[index];
    let watches = presences.watches();
    let mut users = lock(&host.users);
    loop {
        let mut gone = 0;
        for user in users.poll(gateway.clock.now()) {
            match watches.known(UserId(user)) {
                Some(known) => {
                    // Whoever was online when it was last heard was there until now, as far as anybody knows.
                    let last_seen_ms = known.map_or(0, |known| match known.state {
                        squall_protocol::Seen::Online => gateway.clock.wall_ms(),
                        _ => known.last_seen_ms,
                    });
                    host.queue.offer(request(Kind::Subscribe(wire::Subscribe { user, last_seen_ms })));
                }
                None => {
                    users.handle_gone(user);
                    gone += 1;
                }
            }
        }
        if gone == 0 {
            break;
        }
    }
}

/// Renews the lease of this gateway's devices.
pub fn renew(gateway: &Gateway, index: usize) {
    // One that finds no room has a successor before the lease runs out.
    gateway.presences.hosts[index].queue.offer(request(Kind::Renew(wire::Renew {})));
}

/// Looks at what is due, with the gateway's housekeeping: leases to be asked for or over, and hosts that have been away for long.
pub fn handle_timeout(gateway: &Gateway) {
    let presences = &gateway.presences;
    if !presences.any() {
        return;
    }
    let now = gateway.clock.now();
    let (asks, wanted, lapsed) = presences.change(|watches| watches.handle_timeout(now));
    if lapsed > 0 {
        gateway.observer.passed(&Point::WatchLapsed { users: lapsed });
    }
    want(gateway, wanted);
    for ask in asks {
        let shard = gateway.uplinks.shard_of(ask.conversation);
        presences.ask(ask, shard);
    }
    for (index, host) in presences.hosts.iter().enumerate() {
        let since = *lock(&host.away_since);
        if since.is_some_and(|since| now.since(since) >= limits::PRESENCE_UNKNOWN_FOR) {
            gateway.observer.passed(&Point::PresenceUnknown);
            presences.change(|watches| watches.handle_unknown(|user| presences.host_of(user) == index));
            *lock(&host.away_since) = Some(now);
        }
    }
}

/// Tells devices what there is to tell, for as long as the gateway lives.
pub async fn run(gateway: Arc<Gateway>) {
    loop {
        gateway.presences.news.notified().await;
        loop {
            tell_some(&gateway);
            if gateway.presences.watches().due().is_empty() {
                break;
            }
            tokio::time::sleep(limits::PRESENCE_TURN).await;
        }
    }
}

/// Tells so many devices what they watch, as it stands, and none for which other things wait.
fn tell_some(gateway: &Gateway) {
    let mut table = gateway.table();
    let mut watches = gateway.presences.watches();
    let mut told = 0;
    for connection in watches.due() {
        if told == limits::WATCHERS_A_TURN {
            break;
        }
        let Some(row) = table.get_mut(ConnectionId(connection)) else {
            watches.take_due(connection);
            continue;
        };
        if row.outbox_bytes() > limits::OUTBOX_BYTES_FOR_PRESENCE {
            if let Some(peer) = row.peer {
                gateway.observer.passed(&Point::PresenceHeldBack { device: peer.device });
            }
            continue;
        }
        told += 1;
        for (user, presence) in watches.take_due(connection) {
            let (state, last_seen_ms) = (presence.state, presence.last_seen_ms);
            row.push(&mut Outgoing::new(ServerFrame::Presence { user, state, last_seen_ms }));
        }
    }
}
