//! What all tasks of a gateway share: its connections, its queues to other roles, its clock.
//!
//! **Invariant:** the table's lock is never held across an await. Its guard is not `Send`, so a task that did would not
//! compile.

use super::presence::Presences;
use super::table::{ConnectionId, Deadline, Table};
use super::uplinks::{Uplinks, registration, session_request};
use crate::clock::Clock;
use crate::hop::Hop;
use crate::links::Pushed;
use crate::observer::{Observer, Point};
use crate::tasks::Tasks;
use squall_core::gateway::{Channels, Keys, Peer};
use squall_core::rate::{Rates, UserLimits};
use squall_core::typing::TypingRates;
use squall_protocol::limits::{FRAMES_BOUGHT, FRAMES_BOUGHT_SHARE, FRAMES_PAUSE};
use squall_protocol::wire::registry::SnapshotEnd;
use squall_protocol::wire::registry::session_request::Request as SessionKind;
use squall_protocol::{ConversationId, UserId, limits};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What a gateway takes of one user, and of those who have shown no token.
pub struct Bounds {
    pub users: UserLimits,
    pub greetings: usize,
}

/// What all tasks of a gateway share.
pub struct Gateway {
    pub index: u32,
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    pub keys: Keys,
    pub uplinks: Uplinks,
    pub presences: Presences,
    pub tasks: Tasks,
    /// Frames of each user, and sends. Locked after the table, if both are.
    frames: Mutex<Rates>,
    shortest_pause: Duration,
    frames_at_once: u32,
    sends: Mutex<Rates>,
    typing: Mutex<TypingRates>,
    table: Mutex<Table>,
    /// Locked after the table, if both are.
    channels: Mutex<Channels>,
    /// Whether any is followed: who asks where none is takes no lock.
    follows: AtomicBool,
    /// Devices are to be told of entries.
    pub news: Notify,
}

impl Gateway {
    /// A gateway without connections.
    pub fn new(
        index: u32,
        clock: Clock,
        observer: Arc<dyn Observer>,
        keys: Keys,
        (uplinks, presences): (Uplinks, Presences),
        tasks: Tasks,
        bounds: Bounds,
    ) -> Self {
        let limits = bounds.users;
        Gateway {
            index,
            clock,
            observer,
            keys,
            uplinks,
            presences,
            tasks,
            frames: Mutex::new(Rates::new(limits.frame_budget())),
            shortest_pause: limits.frame_budget().fills_in().min(FRAMES_PAUSE),
            frames_at_once: (limits.frame_budget().burst / FRAMES_BOUGHT_SHARE).clamp(1, FRAMES_BOUGHT),
            sends: Mutex::new(Rates::new(limits.sends)),
            typing: Mutex::default(),
            table: Mutex::new(Table::new(bounds.greetings, index, clock.wall_ms())),
            channels: Mutex::default(),
            follows: AtomicBool::new(false),
            news: Notify::new(),
        }
    }

    fn frames(&self) -> MutexGuard<'_, Rates> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what a user has made this gateway do; how long none of their connections is to be read for it, if not at all.
    pub fn draw_frame(&self, user: UserId, weight: u32) -> Option<Duration> {
        let wait = self.frames().draw(user, weight, self.clock.now());
        self.pause(wait)
    }

    /// Counts a frame of this weight, and for a connection that has had as many frames as `had` some of its next ones as well, so that
    /// not each of them comes here: how many those are, and how long none of its user's connections is to be read. It pays ahead for as many
    /// as it has had: whoever opens a thousand connections pays for what comes over them, not for what might.
    pub fn buy_frames(&self, user: UserId, weight: u32, had: u8) -> (u32, Option<Duration>) {
        let ahead = u32::from(had).min(self.frames_at_once - 1);
        (ahead, self.draw_frame(user, weight + ahead))
    }

    /// How long none of a user's connections is to be read.
    pub fn pause_of(&self, user: UserId) -> Option<Duration> {
        let wait = self.frames().pause(user, self.clock.now());
        self.pause(wait)
    }

    /// Long enough to read a few frames after it, for a user may have a thousand connections that pause, and short enough for none to
    /// find the bucket full.
    fn pause(&self, wait: Duration) -> Option<Duration> {
        (!wait.is_zero()).then(|| wait.max(self.shortest_pause))
    }

    /// Takes a send from its user's budget; an error says how long the user has to wait.
    pub fn take_send(&self, user: UserId) -> Result<(), Duration> {
        let mut sends = self.sends.lock().unwrap_or_else(PoisonError::into_inner);
        sends.take(user, 1, self.clock.now())
    }

    /// Whether a shard is to be told that this user is writing there.
    pub fn take_typing(&self, peer: Peer, conversation: ConversationId) -> bool {
        let mut typing = self.typing.lock().unwrap_or_else(PoisonError::into_inner);
        typing.take(peer.user, peer.device, conversation, self.clock.now())
    }

    pub fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channels that are followed here.
    pub fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, if there are any.
    pub fn channels_if_any(&self) -> Option<MutexGuard<'_, Channels>> {
        self.follows.load(Ordering::Relaxed).then(|| self.channels())
    }

    /// Whether any channel is followed from now on.
    pub fn note_follows(&self, channels: &Channels) {
        self.follows.store(!channels.is_empty(), Ordering::Relaxed);
    }

    /// A device has been let in: its registry is to know.
    pub fn register(&self, id: ConnectionId, peer: Peer) {
        let registry = self.uplinks.registry_of(peer.user);
        self.uplinks.registrations(registry).handle_connected(id.0);
        self.send_registrations(registry);
    }

    /// A connection is gone: its registry is to forget it.
    pub fn unregister(&self, id: ConnectionId, peer: Peer) {
        self.uplinks.registrations(self.uplinks.registry_of(peer.user)).handle_gone(id.0);
        self.uplinks.unregister(id.0, peer.user, peer.device);
    }

    /// Tells a registry what it is to be told now: the next part, what had no answer in time, and the end of the snapshot.
    pub fn send_registrations(&self, registry: u32) {
        let mut table = self.table();
        let mut registrations = self.uplinks.registrations(registry);
        let queue = &self.uplinks.registries[registry as usize];
        loop {
            let due = registrations.poll(self.clock.now());
            let mut gone = 0;
            for connection in due {
                match table.get_mut(ConnectionId(connection)).and_then(|row| row.peer) {
                    Some(peer) => {
                        let Peer { user, device, connect_count, .. } = peer;
                        self.observer.hop(&Hop::Registering { user, device, registry, connect_count });
                        // What finds no room is told again in time.
                        let registration = SessionKind::Register(registration(connection, peer));
                        queue.offer_for(peer.user, session_request(registration));
                    }
                    None => {
                        registrations.handle_gone(connection);
                        gone += 1;
                    }
                }
            }
            // Those who are gone have left room for others.
            if gone == 0 {
                break;
            }
        }
        if registrations.is_snapshot_told()
            && queue.push(session_request(SessionKind::SnapshotEnd(SnapshotEnd {}))) == Pushed::Queued
        {
            registrations.handle_snapshot_end_told();
            self.observer.passed(&Point::SnapshotTold);
        }
    }

    /// Asks every shard where the user's conversations stand.
    pub fn ask_heads(&self, id: ConnectionId, peer: Peer) {
        let all = self.uplinks.all_shards();
        let mut table = self.table();
        let Some(row) = table.get_mut(id) else { return };
        let was_waiting = std::mem::replace(&mut row.heads_awaited, all) != 0;
        row.heads_asked = true;
        row.heads_round += 1;
        table.forget_heads(id);
        if !was_waiting {
            table.schedule(self.clock.now() + limits::HEADS_RETRY_AFTER, id, Deadline::Heads);
        }
        drop(table);
        self.ask_heads_again(id, peer);
    }

    /// Asks each shard that has not told all its heads for those that it has not told. Not while the device has no room for them.
    pub fn ask_heads_again(&self, id: ConnectionId, peer: Peer) {
        let mut table = self.table();
        let Some(row) = table.get_mut(id).filter(|row| row.has_room_for_heads()) else { return };
        let (awaited, round) = (row.heads_awaited, u64::from(row.heads_round));
        for shard in (0..self.uplinks.shards.len()).filter(|shard| awaited >> shard & 1 == 1) {
            self.uplinks.ask_heads_after(shard, id, peer, round, table.heads_told(id, shard as u32));
        }
    }
}
