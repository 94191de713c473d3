//! Whom a gateway's devices watch: leases of the conversations' shards, and what each device has been told.
//!
//! A watch names a conversation and some of its members. It shows nothing before the conversation's shard has granted it, and for as long as the
//! lease lasts from when it was asked for; the gateway asks again after half of that. When the shard says no, or has said nothing until the
//! end, the watch shows nothing more. A gateway wants to hear of a user once, however many of its devices watch them.
//!
//! What a device is told is a state: who has changed is due for it, and is told as it stands once the device has room.
//!
//! **Invariants:** nobody is told of somebody without a lease that lasts (`sim/checks/src/presence_holds.rs`); whatever was left out, the last
//! state is told. Guarded by the tests below.

use crate::presence::Presence;
use crate::time::Time;
use squall_protocol::limits::{
    MAX_WATCHED_AT_ONCE, MAX_WATCHED_USERS, MAX_WATCHES, WATCH_LEASE, WATCH_RETRY_AFTER,
};
use squall_protocol::{ConversationId, Seen, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// A connection of this gateway, by its number.
type Connection = u64;

/// What a shard is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskLease {
    pub connection: Connection,
    pub watcher: UserId,
    pub conversation: ConversationId,
    pub users: Vec<UserId>,
    pub asked_at: Time,
}

/// Of whom the gateway wants to hear from now on, and of whom no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub subscribe: Vec<UserId>,
    pub unsubscribe: Vec<UserId>,
}

/// A watch that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyWatches;

struct Watch {
    watcher: UserId,
    users: Box<[UserId]>,
    /// Those whom the lease is about: the bit of each is its place in `users`.
    granted: u64,
    /// When the lease ends.
    until: Time,
    asked_at: Time,
    /// When something is to be done about it.
    look_at: Time,
}

/// A set of users is one word.
const _: () = assert!(MAX_WATCHED_AT_ONCE <= u64::BITS as usize);

impl Watch {
    fn are_granted(&self) -> Vec<UserId> {
        self.of(self.granted)
    }

    fn of(&self, set: u64) -> Vec<UserId> {
        let is_in = |(place, _): &(usize, &UserId)| set >> place & 1 == 1;
        self.users.iter().enumerate().filter(is_in).map(|(_, user)| *user).collect()
    }
}

/// There is one for each pair of a device and a user whom it watches.
struct Watcher {
    connection: Connection,
    /// Watches of this connection that show the user.
    watches: u16,
    told: Told,
}

/// What a device has been told of a user, if it has been: in a word, of which the lowest bits are the state.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Told(u64);

impl Told {
    fn of(presence: Presence) -> Told {
        Told(presence.last_seen_ms << 2 | (1 + presence.state as u64))
    }

    fn is_nothing(self) -> bool {
        self == Told::default()
    }

    /// Whether the device shows something of the user.
    fn is_known(self) -> bool {
        !self.is_nothing() && self.0 & 3 != 1 + Seen::Unknown as u64
    }
}

#[derive(Default)]
struct Watched {
    known: Option<Presence>,
    /// It is from before the link to the user's host was lost: whoever has been told it keeps it, and nobody else is told.
    is_stale: bool,
    watchers: Vec<Watcher>,
}

/// All watches of a gateway.
pub struct Watches {
    watches: BTreeMap<(Connection, ConversationId), Watch>,
    looks: BTreeSet<(Time, Connection, ConversationId)>,
    watched: BTreeMap<UserId, Watched>,
    /// Whom each connection is to be told of, and of whom it is to hear that nobody can tell.
    due: BTreeMap<Connection, BTreeSet<UserId>>,
    most_watched: usize,
}

impl Default for Watches {
    fn default() -> Self {
        Watches::with_room_for(MAX_WATCHED_USERS)
    }
}

impl Watches {
    /// With room for so many users, whoever watches them.
    pub fn with_room_for(most_watched: usize) -> Self {
        Watches {
            watches: BTreeMap::new(),
            looks: BTreeSet::new(),
            watched: BTreeMap::new(),
            due: BTreeMap::new(),
            most_watched,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// A device wants to watch these members of a conversation, in place of whom it watches there.
    ///
    /// # Errors
    /// They are too many, or it has too many watches.
    pub fn handle_watch(
        &mut self,
        connection: Connection,
        watcher: UserId,
        conversation: ConversationId,
        mut users: Vec<UserId>,
        now: Time,
    ) -> Result<(AskLease, Wanted), TooManyWatches> {
        users.sort_unstable();
        users.dedup();
        let others = self.of(connection).filter(|other| *other != conversation).count();
        if users.len() > MAX_WATCHED_AT_ONCE || others >= MAX_WATCHES {
            return Err(TooManyWatches);
        }
        let wanted = self.end(connection, conversation, false);
        let users = users.into_boxed_slice();
        let watch = Watch { watcher, users, granted: 0, until: Time::ZERO, asked_at: now, look_at: Time::NEVER };
        self.watches.insert((connection, conversation), watch);
        Ok((self.ask(connection, conversation, now), wanted))
    }

    fn of(&self, connection: Connection) -> impl Iterator<Item = ConversationId> {
        let all = (connection, ConversationId(0))..=(connection, ConversationId(u128::MAX));
        self.watches.range(all).map(|((_, conversation), _)| *conversation)
    }

    fn look_at(&mut self, key: (Connection, ConversationId), at: Time) {
        let Some(watch) = self.watches.get_mut(&key) else { return };
        self.looks.remove(&(watch.look_at, key.0, key.1));
        watch.look_at = at;
        self.looks.insert((at, key.0, key.1));
    }

    fn ask(&mut self, connection: Connection, conversation: ConversationId, now: Time) -> AskLease {
        let key = (connection, conversation);
        let watch = self.watches.get_mut(&key).expect("the watch that is asked for is here");
        watch.asked_at = now;
        let (watcher, users, until) = (watch.watcher, watch.users.to_vec(), watch.until);
        let again = now + WATCH_RETRY_AFTER;
        self.look_at(key, if until > now { again.min(until) } else { again });
        AskLease { connection, watcher, conversation, users, asked_at: now }
    }

    /// A shard says who of those may be watched, in answer to what was asked then; nobody: the device may not watch there at all.
    pub fn handle_lease(
        &mut self,
        connection: Connection,
        conversation: ConversationId,
        asked_at: Time,
        granted: &[UserId],
        now: Time,
    ) -> Wanted {
        let key = (connection, conversation);
        let Some(watch) = self.watches.get_mut(&key) else { return Wanted::default() };
        let until = asked_at + WATCH_LEASE;
        // An answer to a question before the last one may be outdated by the next; one that comes after its own end says nothing.
        if asked_at != watch.asked_at || until <= now {
            return Wanted::default();
        }
        if granted.is_empty() {
            return self.end(connection, conversation, true);
        }
        watch.until = until;
        let may = |(place, user): (usize, &UserId)| u64::from(granted.contains(user)) << place;
        let granted = watch.users.iter().enumerate().map(may).fold(0, |set, bit| set | bit);
        let before = std::mem::replace(&mut watch.granted, granted);
        let (released, shown) = (watch.of(before & !granted), granted & !before);
        let users: Vec<(usize, UserId)> = watch.users.iter().copied().enumerate().collect();
        let mut wanted = Wanted::default();
        for user in released {
            self.release(user, connection, true, &mut wanted);
        }
        for (place, user) in users.into_iter().filter(|(place, _)| shown >> place & 1 == 1) {
            if !self.show(user, connection, &mut wanted) {
                // There is no room for one more: the device is told nothing of them.
                self.watches.get_mut(&key).expect("the watch is here").granted &= !(1 << place);
            }
        }
        self.look_at(key, asked_at + WATCH_LEASE / 2);
        wanted
    }

    /// A connection is shown a user from now on. False: the gateway hears of too many.
    fn show(&mut self, user: UserId, connection: Connection, wanted: &mut Wanted) -> bool {
        if !self.watched.contains_key(&user) {
            if self.watched.len() >= self.most_watched {
                return false;
            }
            wanted.subscribe.push(user);
        }
        let watched = self.watched.entry(user).or_default();
        match watched.watchers.iter_mut().find(|watcher| watcher.connection == connection) {
            Some(watcher) => watcher.watches += 1,
            None => watched.watchers.push(Watcher { connection, watches: 1, told: Told::default() }),
        }
        if watched.known.is_some() {
            self.due.entry(connection).or_default().insert(user);
        }
        true
    }

    /// One watch of a connection shows a user no more. With `told`, it hears so.
    fn release(&mut self, user: UserId, connection: Connection, told: bool, wanted: &mut Wanted) {
        let Some(watched) = self.watched.get_mut(&user) else { return };
        let Some(place) = watched.watchers.iter().position(|watcher| watcher.connection == connection) else {
            return;
        };
        let watcher = &mut watched.watchers[place];
        watcher.watches -= 1;
        if watcher.watches > 0 {
            return;
        }
        let was_told = watcher.told.is_known();
        watched.watchers.swap_remove(place);
        let was_last = watched.watchers.is_empty();
        if told && was_told {
            self.due.entry(connection).or_default().insert(user);
        } else {
            self.is_due_no_more(user, connection);
        }
        if was_last {
            self.watched.remove(&user);
            wanted.unsubscribe.push(user);
        }
    }

    fn is_due_no_more(&mut self, user: UserId, connection: Connection) {
        if let Some(due) = self.due.get_mut(&connection) {
            due.remove(&user);
            if due.is_empty() {
                self.due.remove(&connection);
            }
        }
    }

    /// Ends a watch. With `told`, its device hears that it can tell of nobody any more.
    fn end(&mut self, connection: Connection, conversation: ConversationId, told: bool) -> Wanted {
        let mut wanted = Wanted::default();
        let Some(watch) = self.watches.remove(&(connection, conversation)) else { return wanted };
        self.looks.remove(&(watch.look_at, connection, conversation));
        for user in watch.are_granted() {
            self.release(user, connection, told, &mut wanted);
        }
        wanted
    }

    pub fn handle_unwatch(&mut self, connection: Connection, conversation: ConversationId) -> Wanted {
        self.end(connection, conversation, false)
    }

    /// A connection is gone, and all that it watched.
    pub fn handle_gone(&mut self, connection: Connection) -> Wanted {
        let mut wanted = Wanted::default();
        for conversation in self.of(connection).collect::<Vec<_>>() {
            let more = self.end(connection, conversation, false);
            wanted.subscribe.extend(more.subscribe);
            wanted.unsubscribe.extend(more.unsubscribe);
        }
        self.due.remove(&connection);
        wanted
    }

    /// What is to be asked of shards now, and who is heard of no more because a lease has ended. The last number counts those.
    pub fn handle_timeout(&mut self, now: Time) -> (Vec<AskLease>, Wanted, usize) {
        let (mut asks, mut wanted, mut lapsed) = (Vec::new(), Wanted::default(), 0);
        while let Some((_, connection, conversation)) = self.looks.first().copied().filter(|(at, _, _)| *at <= now)
        {
            let watch =
                self.watches.get_mut(&(connection, conversation)).expect("a look is at a watch that is here");
            if watch.until <= now && watch.granted != 0 {
                lapsed += 1;
                let released = watch.are_granted();
                watch.granted = 0;
                for user in released {
                    self.release(user, connection, true, &mut wanted);
                }
            }
            let watch = &self.watches[&(connection, conversation)];
            let unanswered = watch.asked_at + WATCH_LEASE != watch.until;
            if unanswered && now < watch.asked_at + WATCH_RETRY_AFTER {
                self.look_at((connection, conversation), watch.asked_at + WATCH_RETRY_AFTER);
            } else {
                asks.push(self.ask(connection, conversation, now));
            }
        }
        (asks, wanted, lapsed)
    }

    /// Whom the gateway wants to hear of.
    pub fn watched(&self) -> impl Iterator<Item = UserId> {
        self.watched.keys().copied()
    }

    /// What is known of a user whom somebody watches; the inner `None`: nothing yet.
    pub fn known(&self, user: UserId) -> Option<Option<Presence>> {
        self.watched.get(&user).map(|watched| watched.known)
    }

    /// A presence host says how it stands with a user. One that has just started and does not know takes nothing back that was known.
    pub fn handle_presence(&mut self, user: UserId, presence: Presence) {
        let Some(watched) = self.watched.get_mut(&user) else { return };
        if watched.known.is_some() && presence.state == Seen::Unknown {
            return;
        }
        let was_stale = std::mem::take(&mut watched.is_stale);
        if watched.known.replace(presence) != Some(presence) || was_stale {
            self.due_for_all(user);
        }
    }

    /// The link to the host of these is lost: what is known of them may be outdated.
    pub fn handle_stale(&mut self, is_it: impl Fn(UserId) -> bool) {
        self.watched.iter_mut().filter(|(user, _)| is_it(**user)).for_each(|(_, watched)| watched.is_stale = true);
    }

    /// Nobody can tell any more how it stands with these.
    pub fn handle_unknown(&mut self, is_it: impl Fn(UserId) -> bool) {
        let users: Vec<UserId> = self.watched.keys().copied().filter(|user| is_it(*user)).collect();
        for user in users {
            if let Some(watched) = self.watched.get_mut(&user)
                && watched.known.is_some_and(|known| known.state != Seen::Unknown)
            {
                (watched.known, watched.is_stale) = (Some(Presence::UNKNOWN), false);
                self.due_for_all(user);
            }
        }
    }

    fn due_for_all(&mut self, user: UserId) {
        for watcher in self.watched.get(&user).map_or(&[][..], |watched| &watched.watchers) {
            self.due.entry(watcher.connection).or_default().insert(user);
        }
    }

    /// Connections that are to be told something.
    pub fn due(&self) -> Vec<Connection> {
        self.due.keys().copied().collect()
    }

    /// What a connection is to be told now, each user as it stands.
    pub fn take_due(&mut self, connection: Connection) -> Vec<(UserId, Presence)> {
        let due = self.due.remove(&connection).unwrap_or_default();
        let mut told = Vec::with_capacity(due.len());
        for user in due {
            let watched = self.watched.get_mut(&user);
            let is_stale = watched.as_ref().is_some_and(|watched| watched.is_stale);
            let known = watched.as_ref().and_then(|watched| watched.known);
            let watcher = watched
                .and_then(|watched| watched.watchers.iter_mut().find(|watcher| watcher.connection == connection));
            match (watcher, known) {
                (Some(watcher), Some(known))
                    if watcher.told != Told::of(known) && !(is_stale && watcher.told.is_nothing()) =>
                {
                    watcher.told = Told::of(known);
                    told.push((user, known));
                }
                (Some(_), _) => {}
                // It watches them no more.
                (None, _) => told.push((user, Presence::UNKNOWN)),
            }
        }
        told
    }

    /// How many watches there are, and how many users are watched.
    pub fn levels(&self) -> [usize; 2] {
        [self.watches.len(), self.watched.len()]
    }
}
