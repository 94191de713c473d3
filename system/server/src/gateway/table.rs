//! All connections of a gateway: who they are, what waits for them, what they wait for.
//!
//! **Invariant:** a connection number is never used twice, neither by this process nor, but for the chance of one in two thousand million, by another
//! gateway or a later life of this one: so that a delivery meant for a connection that is gone cannot reach another one, and so that a shard
//! can tell by the number alone which connection it has answered. What waits for a device is bounded in bytes (`MAX_OUTBOX_BYTES`).

use super::outgoing::Outgoing;
use bytes::Bytes;
use slab::Slab;
use squall_core::Time;
use squall_core::gateway::{About, Due, Notices, Peer};
use squall_core::plant::{Plant, planted};
use squall_protocol::Codec;
use squall_protocol::close::CloseReason;
use squall_protocol::ids::mix;
use squall_protocol::token::refused_from_ms;
use squall_protocol::{ConversationId, DeviceId, limits};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::task::Waker;
use std::time::Duration;

/// A connection: slot in the low half; in the high half how many connections there were before, counted from where this life of the gateway
/// began to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    fn slot(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }
}

/// What is to be looked at when its time comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// `hello` must have come.
    Hello,
    /// Something must have been heard.
    Silence,
    /// The registry must have answered, else the heads are asked for without it.
    Registered,
    /// The shards must have told their heads.
    Heads,
    /// The peer has had time to read the close frame.
    Linger,
    /// The token may have expired.
    Expiry,
    /// Something must have been heard, or its device makes nobody online.
    Presence,
}

impl Deadline {
    const ALL: [Deadline; 7] = [
        Deadline::Hello,
        Deadline::Silence,
        Deadline::Registered,
        Deadline::Heads,
        Deadline::Linger,
        Deadline::Expiry,
        Deadline::Presence,
    ];
}

/// One connection as others see it.
pub struct ConnectionRow {
    id: ConnectionId,
    pub codec: Codec,
    pub peer: Option<Peer>,
    pub last_heard: Time,
    /// The `exp` of the newest token that its device has shown.
    expires_s: u64,
    /// When that is looked at next; other looks are of older tokens.
    expiry_look: Time,
    /// The session of the registry that last confirmed this connection; 0 before the first.
    pub registered_in: u32,
    /// Heads have been asked for since the device connected.
    pub heads_asked: bool,
    /// Counts how often heads were asked for; an answer to an earlier time proves nothing.
    pub heads_round: u32,
    /// Shards that have not told their heads yet, a bit each.
    pub heads_awaited: u64,
    outbox: Vec<Bytes>,
    outbox_bytes: u32,
    close: Option<CloseReason>,
    /// The task is to end now.
    pub ended: bool,
    /// Its device makes its user look offline.
    pub invisible: bool,
    /// It has been silent for so long that it makes nobody online.
    pub silent: bool,
    waker: Option<Waker>,
}

/// What a connection's task takes out.
pub struct Taken {
    pub frames: Vec<Bytes>,
    pub close: Option<CloseReason>,
    pub ended: bool,
    /// Notices wait for when all else is written.
    pub has_notices: bool,
}

impl ConnectionRow {
    /// Queues a frame for the device; too much of it closes the row.
    pub fn push(&mut self, frame: &mut Outgoing) {
        if self.close.is_some() {
            return;
        }
        let bytes = frame.bytes(self.codec);
        let waiting = self.outbox_bytes as usize + bytes.len();
        if waiting > limits::MAX_OUTBOX_BYTES {
            return self.close(CloseReason::TooSlow);
        }
        self.outbox_bytes = waiting as u32;
        if self.outbox.capacity() == 0 {
            self.outbox.reserve_exact(1);
        }
        self.outbox.push(bytes);
        self.wake();
    }

    /// Bytes that wait for the device.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox_bytes as usize
    }

    /// Whether another part of the heads finds room beside what waits for the device.
    pub fn has_room_for_heads(&self) -> bool {
        (self.outbox_bytes as usize) < limits::MAX_OUTBOX_BYTES / 4
    }

    /// Asks the task to close; the first reason stands.
    pub fn close(&mut self, reason: CloseReason) {
        self.close.get_or_insert(reason);
        self.wake();
    }

    pub fn end(&mut self) {
        self.ended = true;
        self.wake();
    }

    /// Whether it is to be closed for its silence, or for want of room: it was last there when it was last heard.
    pub fn is_given_up(&self) -> bool {
        matches!(self.close, Some(CloseReason::Silence | CloseReason::TooSlow | CloseReason::Unacked))
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A deadline in sixteen bytes, for there are two or three a connection: what is to be looked at stands in the lowest bits of
/// the time. In order of time, then of deadline, then of row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PackedDeadline {
    at: u64,
    id: ConnectionId,
}

impl PackedDeadline {
    const BITS: u32 = 3;

    fn new(at: Time, id: ConnectionId, deadline: Deadline) -> Self {
        PackedDeadline { at: at.0 << Self::BITS | deadline as u64, id }
    }

    fn at(self) -> Time {
        Time(self.at >> Self::BITS)
    }

    fn deadline(self) -> Deadline {
        Deadline::ALL[(self.at & ((1 << Self::BITS) - 1)) as usize]
    }
}

/// All connections, and their deadlines.
pub struct Table {
    slots: Slab<ConnectionRow>,
    uses: u32,
    /// Those that have shown no token yet, the oldest first: at most so many.
    greeting: BTreeSet<ConnectionId>,
    most_greeting: usize,
    /// How far shards have told their heads to connections for which one part was not enough.
    heads_told: BTreeMap<(ConnectionId, u32), ConversationId>,
    deadlines: BinaryHeap<Reverse<PackedDeadline>>,
    /// What waits for devices until all else is written.
    pub notices: Notices<Bytes>,
}

impl Table {
    /// Without connections, of which at most so many will have shown no token. No two lives of gateways begin at the same moment and have the
    /// same index: where their numbers begin follows from both.
    pub fn new(most_greeting: usize, gateway: u32, began_ms: u64) -> Self {
        Table {
            slots: Slab::new(),
            // In the lower half: numbers stand in the order in which connections came.
            uses: (mix(began_ms ^ mix(u64::from(gateway) + 1)) >> 33) as u32,
            greeting: BTreeSet::new(),
            most_greeting,
            heads_told: BTreeMap::new(),
            deadlines: BinaryHeap::new(),
            notices: Notices::default(),
        }
    }

    pub fn insert(&mut self, codec: Codec, now: Time) -> ConnectionId {
        self.uses = self.uses.wrapping_add(1);
        if self.slots.len() == self.slots.capacity() {
            // Grow by a quarter: a gateway that doubled would hold room for as many connections as it has.
            self.slots.reserve_exact(64.max(self.slots.len() / 4));
        }
        let entry = self.slots.vacant_entry();
        let id = ConnectionId(u64::from(self.uses) << 32 | entry.key() as u64);
        entry.insert(ConnectionRow {
            id,
            codec,
            peer: None,
            last_heard: now,
            expires_s: 0,
            expiry_look: Time::NEVER,
            registered_in: 0,
            heads_asked: false,
            heads_round: 0,
            heads_awaited: 0,
            outbox: Vec::new(),
            outbox_bytes: 0,
            close: None,
            ended: false,
            invisible: false,
            silent: false,
            waker: None,
        });
        self.schedule(now + limits::HELLO_LIMIT, id, Deadline::Hello);
        self.greeting.insert(id);
        if self.greeting.len() > self.most_greeting {
            self.end_oldest_greeting();
        }
        id
    }

    /// Of those who have shown no token the oldest makes room, if there is one: at once, for a close frame and the time to read it would
    /// keep what others need.
    pub fn end_oldest_greeting(&mut self) {
        if let Some(oldest) = self.greeting.pop_first()
            && let Some(row) = self.get_mut(oldest)
        {
            row.end();
        }
    }

    /// The connection's device has shown its token.
    pub fn handle_admitted(&mut self, id: ConnectionId, peer: Peer, invisible: bool) {
        self.greeting.remove(&id);
        if let Some(row) = self.get_mut(id) {
            (row.peer, row.invisible) = (Some(peer), invisible);
        }
    }

    /// The device has shown a token with this `exp`: the connection lasts until the clock, which says `wall_ms`, has passed it by the leeway.
    pub fn handle_token(&mut self, id: ConnectionId, expires_s: u64, now: Time, wall_ms: u64) {
        let Some(row) = self.get_mut(id) else { return };
        row.expires_s = expires_s;
        self.look_at_expiry_by(id, now, wall_ms);
    }

    /// Sees to it that the connection's expiry is looked at in time. A clock runs as tokio's does until it is set, which `handle_clock_set` is for.
    fn look_at_expiry_by(&mut self, id: ConnectionId, now: Time, wall_ms: u64) {
        let Some(row) = self.get_mut(id) else { return };
        let left = Duration::from_millis(refused_from_ms(row.expires_s).saturating_sub(wall_ms));
        let look = now + left.min(limits::LONGEST_EXPIRY_TOLD);
        if look < row.expiry_look {
            row.expiry_look = look;
            self.schedule(look, id, Deadline::Expiry);
        }
    }

    /// A look at a connection's expiry is due: closes it if its token counts no longer.
    pub fn handle_expiry_due(&mut self, id: ConnectionId, due: Time, now: Time, wall_ms: u64) {
        let Some(row) = self.get_mut(id).filter(|row| row.expiry_look == due) else { return };
        row.expiry_look = Time::NEVER;
        if wall_ms >= refused_from_ms(row.expires_s) {
            return row.close(CloseReason::TokenExpired);
        }
        self.look_at_expiry_by(id, now, wall_ms);
    }

    /// The clock has been set: what expires does so earlier or later than was thought.
    pub fn handle_clock_set(&mut self, now: Time, wall_ms: u64) {
        let open: Vec<ConnectionId> = self.open().map(|(id, _)| id).collect();
        open.into_iter().for_each(|id| self.look_at_expiry_by(id, now, wall_ms));
    }

    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut ConnectionRow> {
        self.slots.get_mut(id.slot()).filter(|c| c.id == id)
    }

    /// The connection if it still is this device's.
    pub fn get_device(&mut self, id: ConnectionId, device: DeviceId) -> Option<&mut ConnectionRow> {
        self.get_mut(id).filter(|c| c.peer.is_some_and(|p| p.device == device))
    }

    /// All connections, in the order of their rows.
    pub fn all(&self) -> impl Iterator<Item = ConnectionId> {
        self.slots.iter().map(|(_, row)| row.id)
    }

    /// How many connections have shown no token.
    pub fn greeting(&self) -> usize {
        self.greeting.len()
    }

    pub fn remove(&mut self, id: ConnectionId) -> Option<ConnectionRow> {
        self.get_mut(id)?;
        self.greeting.remove(&id);
        self.forget_heads(id);
        self.notices.forget(id.0);
        Some(self.slots.remove(id.slot()))
    }

    /// What the connection's task has to do, and how to wake it for more. `None`: the connection is gone.
    pub fn take(&mut self, id: ConnectionId, waker: &Waker) -> Option<Taken> {
        let row = self.get_mut(id)?;
        if !row.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            row.waker = Some(waker.clone());
        }
        let (frames, close, ended) = (std::mem::take(&mut row.outbox), row.close, row.ended);
        Some(Taken { frames, close, ended, has_notices: self.notices.has(id.0) })
    }

    /// Tells a device something if there is room: it waits until all else that waits for the device is written. False: there is none.
    pub fn notify(&mut self, id: ConnectionId, about: About, frame: &mut Outgoing, now: Time) -> bool {
        let Some(row) = self.get_mut(id) else { return true };
        if row.close.is_some() {
            return true;
        }
        if planted(Plant::TypingInPlaceOfADelivery) && row.outbox.pop().is_some() {
            row.push(frame);
            return true;
        }
        let codec = row.codec;
        row.wake();
        self.notices.push(id.0, about, frame.bytes(codec), now)
    }

    /// The notices that a connection is to write now, for nothing else waits.
    pub fn take_notices(&mut self, id: ConnectionId, now: Time) -> Due<Bytes> {
        self.notices.take(id.0, now)
    }

    /// Heads are told from the first one on.
    pub fn forget_heads(&mut self, id: ConnectionId) {
        while let Some((key, _)) = self.heads_told.range((id, 0)..=(id, u32::MAX)).next() {
            let key = *key;
            self.heads_told.remove(&key);
        }
    }

    /// After which conversation the shard's next part of the heads begins; `None`: it has told none.
    pub fn heads_told(&self, id: ConnectionId, shard: u32) -> Option<ConversationId> {
        self.heads_told.get(&(id, shard)).copied()
    }

    /// A part of a shard's heads has come, which was asked for after `after`. What it is to the connection: nothing, if it is of an
    /// earlier round or a part that has come before; else it counts as told, and all of them with the last one.
    pub fn handle_heads_part(
        &mut self,
        id: ConnectionId,
        shard: u32,
        round: u64,
        after: Option<ConversationId>,
        next: Option<ConversationId>,
    ) -> bool {
        let told = self.heads_told(id, shard);
        let Some(row) = self.get_mut(id) else { return false };
        if round != u64::from(row.heads_round) || row.heads_awaited >> shard & 1 == 0 || after != told {
            return false;
        }
        match next {
            Some(next) => {
                self.heads_told.insert((id, shard), next);
            }
            None => {
                row.heads_awaited &= !(1 << shard);
                self.heads_told.remove(&(id, shard));
            }
        }
        true
    }

    /// The task has put this much on the wire.
    pub fn flushed(&mut self, id: ConnectionId, bytes: usize) {
        if let Some(row) = self.get_mut(id) {
            row.outbox_bytes = row.outbox_bytes.saturating_sub(bytes as u32);
        }
    }

    pub fn schedule(&mut self, at: Time, id: ConnectionId, deadline: Deadline) {
        if self.deadlines.len() == self.deadlines.capacity() {
            self.deadlines.reserve_exact(64.max(self.deadlines.len() / 4));
        }
        self.deadlines.push(Reverse(PackedDeadline::new(at, id, deadline)));
    }

    /// Takes what was due first, with the time at which it was, if that has come.
    pub fn pop_due(&mut self, now: Time) -> Option<(ConnectionId, Deadline, Time)> {
        let Reverse(due) = *self.deadlines.peek()?;
        if due.at() > now {
            return None;
        }
        self.deadlines.pop();
        Some((due.id, due.deadline(), due.at()))
    }

    /// Connections whose device has shown its token.
    pub fn open(&self) -> impl Iterator<Item = (ConnectionId, Peer)> + '_ {
        self.slots.iter().filter_map(|(_, c)| c.peer.map(|peer| (c.id, peer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::UserId;

    #[test]
    fn of_those_who_show_no_token_the_oldest_makes_room_for_the_newest() {
        const MOST: usize = 16;
        let mut table = Table::new(MOST, 0, 0);
        let first = table.insert(Codec::Json, Time(0));
        let peer = Peer { user: UserId(1), device: DeviceId(1), connect_count: 1 };
        table.handle_admitted(first, peer, false);
        let second = table.insert(Codec::Json, Time(0));
        for _ in 1..MOST {
            table.insert(Codec::Json, Time(0));
        }
        assert_eq!(table.get_mut(second).map(|row| row.ended), Some(false));
        table.insert(Codec::Json, Time(0));
        assert_eq!(table.get_mut(second).map(|row| row.ended), Some(true));
        (0..MOST).for_each(|_| table.end_oldest_greeting());
        assert_eq!(table.get_mut(first).map(|row| row.ended), Some(false), "who has shown one is not concerned");
    }

    #[test]
    fn no_two_gateways_and_no_two_lives_of_one_have_a_number_in_common() {
        let mut numbers = BTreeSet::new();
        for (gateway, began_ms) in [(0, 1_000), (1, 1_000), (0, 1_001), (0, 61_000)] {
            let mut table = Table::new(10, gateway, began_ms);
            let ids: Vec<ConnectionId> = (0..1_000).map(|_| table.insert(Codec::Json, Time(0))).collect();
            assert!(ids.is_sorted());
            numbers.extend(ids);
        }
        assert_eq!(numbers.len(), 4_000);
    }

    #[test]
    fn a_connection_lasts_as_long_as_its_newest_token_by_a_clock_that_may_be_set() {
        const NOW_MS: u64 = 1_800_000_000_000;
        let exp = |after_s: u64| NOW_MS / 1_000 + after_s;
        let at = |after_s: u64| Time(after_s * 1_000_000);
        let mut table = Table::new(1, 0, 0);
        let id = table.insert(Codec::Json, at(0));
        table.handle_admitted(id, Peer { user: UserId(1), device: DeviceId(1), connect_count: 1 }, false);
        table.pop_due(at(1_000)).expect("its hello");
        let due = |table: &mut Table, now: u64, ahead_s: u64| {
            let mut looks = 0;
            while let Some((id, Deadline::Expiry, due)) = table.pop_due(at(now)) {
                table.handle_expiry_due(id, due, at(now), NOW_MS + (now + ahead_s) * 1_000);
                looks += 1;
            }
            (looks, table.get_mut(id).unwrap().close)
        };
        table.handle_token(id, exp(40), at(0), NOW_MS);
        assert_eq!(due(&mut table, 99, 0), (0, None));
        // A newer one: the look finds out, and is followed by one.
        table.handle_token(id, exp(100), at(50), NOW_MS + 50_000);
        assert_eq!(due(&mut table, 100, 0), (1, None));
        // One that ends before: looked at as early as that; the look at the other one is in vain.
        table.handle_token(id, exp(90), at(101), NOW_MS + 101_000);
        table.handle_token(id, exp(200), at(102), NOW_MS + 102_000);
        table.handle_token(id, exp(90), at(103), NOW_MS + 103_000);
        table.handle_token(id, exp(u64::MAX / 2), at(104), NOW_MS + 104_000);
        assert_eq!(due(&mut table, 160, 0), (2, None));
        // The clock goes ahead.
        table.handle_token(id, exp(200), at(161), NOW_MS + 161_000);
        table.handle_clock_set(at(170), NOW_MS + 240_000);
        assert_eq!(due(&mut table, 189, 70), (0, None));
        assert_eq!(due(&mut table, 190, 70), (1, Some(CloseReason::TokenExpired)));
    }

    #[test]
    fn deadlines_come_back_as_they_were_put_in_order_of_time() {
        let mut table = Table::new(1, 0, 0);
        for (n, deadline) in Deadline::ALL.into_iter().enumerate() {
            table.schedule(Time(100 - n as u64), ConnectionId(n as u64), deadline);
        }
        assert_eq!(table.pop_due(Time(93)), None);
        let mut found = Vec::new();
        while let Some((id, deadline, at)) = table.pop_due(Time(100)) {
            assert_eq!(at, Time(100 - id.0));
            found.push((id.0, deadline));
        }
        let expected: Vec<_> = Deadline::ALL.into_iter().enumerate().map(|(n, d)| (n as u64, d)).rev().collect();
        assert_eq!(found, expected);
    }
}
