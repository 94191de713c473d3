//! The channels that a gateway follows, for the devices that it holds.
//!
//! A shard tells a gateway every entry of a channel once; the gateway tells its members' devices, and answers from what it keeps of the log's end
//! the thousands who come back and ask for the same. To know who may see what it goes by the shard's word (this user was a member at
//! that entry, and sees all from this one on) and folds the entries after it itself: whoever leaves is told nothing more here.
//!
//! **Invariants:** nobody is told or shown an entry that is not between the first that the shard named for them and the last before they left;
//! where that cannot be decided from what is at hand, the shard is asked. Every follower is told every entry that is taken in. What is kept is
//! bounded in entries and bytes. Guarded by the tests below and `sim/checks/src/{members_only,no_loss,in_time}.rs`.

use crate::plant::{Plant, planted};
use crate::time::Time;
use squall_protocol::limits::{
    FOLLOW_RETRY_AFTER, MAX_SYNCS_WAITING, MAX_TAIL_BYTES, MAX_TAIL_ENTRIES, MAX_TAILS_BYTES, PAGE_BYTES,
    PAGE_ENTRIES,
};
use squall_protocol::{ConversationId, Entry, LogSpan, Payload, Seq, UserId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

/// A connection of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Follower {
    user: UserId,
    /// The member sees everything from here to the last entry that was taken in.
    from: Seq,
    /// How far its device has been told. The member was one when this entry was stored.
    told: Seq,
}

/// What a shard says of a user: all of the channel from `from` to `as_of` is theirs, and they were a member when that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub user: UserId,
    pub from: Seq,
    pub as_of: Seq,
}

/// What is to be done about a member's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    Known,
    /// Nobody here had followed this channel yet: its shard is to be told.
    Follow,
    /// Too much may have happened since: where the user's conversations stand is to be asked again.
    Undecided,
}

/// What becomes of a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sync {
    Page {
        span: LogSpan,
        head: Seq,
    },
    /// It is answered when the log's end is here.
    Waits,
    /// The shard is to be asked. Of a channel that is followed, if `missed`.
    Ask {
        missed: bool,
    },
}

/// What is to be done after a tail.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How far the log is known now; `None`: the tail does not follow on what was known, and the channel is to be followed anew.
    pub up_to: Option<Seq>,
    /// Nobody here follows this channel: its shard is to be told.
    pub unfollow: bool,
    /// Connections whose users may have left meanwhile.
    pub undecided: Vec<u64>,
    /// Connections that wait for a page, and since where.
    pub waited: Vec<(u64, Seq)>,
}

/// Devices that are to be told the same.
#[derive(Debug, PartialEq, Eq)]
pub struct Telling {
    pub span: LogSpan,
    pub connections: Vec<u64>,
}

#[derive(Debug, Default)]
struct Channel {
    followers: BTreeMap<u64, Follower>,
    /// The end of the log, without a gap, up to `folded`.
    tail: VecDeque<Entry>,
    bytes: usize,
    /// Everything up to here has been taken in; 0 before the first tail.
    folded: Seq,
    /// The shard has been told that it is followed, and has not answered.
    asked_at: Option<Time>,
    waiting: BTreeMap<u64, Seq>,
    /// Whose turn it is to be told; `None` when all have been.
    turn: Option<u64>,
    /// There is more to be told since the turns began.
    again: bool,
}

/// The channels that a gateway follows.
#[derive(Debug, Default)]
pub struct Channels {
    open: BTreeMap<ConversationId, Channel>,
    /// The channels of each connection, those included that its user has left.
    of_connection: BTreeSet<(u64, ConversationId)>,
    bytes: usize,
}

/// What an entry takes beside its payload, about.
const ENVELOPE_BYTES: usize = 128;

fn weight(entry: &Entry) -> usize {
    ENVELOPE_BYTES + entry.payload.size()
}

/// Whether this user is no member any more after this entry.
fn puts_out(entry: &Entry, user: UserId) -> bool {
    matches!(&entry.payload, Payload::Left(left) if left.contains(&user))
}

impl Channel {
    /// The first entry that is kept.
    fn first(&self) -> Seq {
        self.tail.front().map_or(self.folded.next(), |entry| entry.seq)
    }

    fn kept_from(&self, from: Seq) -> impl Iterator<Item = &Entry> {
        let skipped = from.0.saturating_sub(self.first().0) as usize;
        self.tail.iter().skip(skipped)
    }

    /// Takes an entry into the fold and the tail.
    fn take_in(&mut self, entry: Entry) {
        if let Payload::Left(left) = &entry.payload
            && !planted(Plant::TailForgetsWhoLeft)
        {
            // Thousands may go at once.
            let left: BTreeSet<UserId> = left.iter().copied().collect();
            self.followers.retain(|_, follower| follower.told >= entry.seq || !left.contains(&follower.user));
        }
        self.folded = entry.seq;
        self.bytes += weight(&entry);
        self.tail.push_back(entry);
    }

    fn drop_first(&mut self) -> usize {
        let bytes = self.tail.pop_front().map_or(0, |entry| weight(&entry));
        self.bytes -= bytes;
        bytes
    }

    /// What follows `since`, as a page of the shard's would be; `None` if not all of it is kept.
    fn page(&self, since: Seq) -> Option<Vec<Entry>> {
        if since.next() < self.first() {
            return None;
        }
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for entry in self.kept_from(since.next()).take(PAGE_ENTRIES) {
            bytes += entry.payload.size();
            entries.push(entry.clone());
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Some(entries)
    }

    /// What a device is told that knows everything up to `told`: the entries, if they are as many as a page may hold; else how far the log
    /// goes, and it pages at its own speed.
    fn news(&self, conversation: ConversationId, told: Seq) -> LogSpan {
        let entries = self.page(told).filter(|entries| entries.last().is_some_and(|last| last.seq == self.folded));
        match entries {
            Some(mut entries) => {
                if planted(Plant::TailToldByItsEnd) {
                    entries.drain(..entries.len() - 1);
                }
                LogSpan { conversation, from: told.next(), to: self.folded, entries }
            }
            None => LogSpan { conversation, from: self.folded.next(), to: self.folded, entries: Vec::new() },
        }
    }

    /// Somebody is behind: turns begin, or begin once more.
    fn more_to_tell(&mut self) {
        match self.turn {
            Some(_) => self.again = true,
            None => self.turn = Some(0),
        }
    }

    /// Whether whoever was a member at `as_of` is one still, as far as can be told.
    fn is_still_member(&self, user: UserId, as_of: Seq) -> Option<bool> {
        if as_of >= self.folded {
            return Some(true);
        }
        if as_of.next() < self.first() {
            return None;
        }
        Some(!self.kept_from(as_of.next()).any(|entry| puts_out(entry, user)))
    }
}

impl Channels {
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How many channels are followed, how many devices are told, and how many bytes are kept.
    pub fn levels(&self) -> [usize; 3] {
        [self.open.len(), self.of_connection.len(), self.bytes]
    }

    /// A shard says of a connection's user that they are a member.
    pub fn handle_member(&mut self, id: u64, conversation: ConversationId, member: Member, now: Time) -> Heard {
        let Some(channel) = self.open.get_mut(&conversation) else {
            let channel = self.open.entry(conversation).or_default();
            channel.asked_at = Some(now);
            channel.add(id, member);
            self.of_connection.insert((id, conversation));
            return Heard::Follow;
        };
        match (channel.is_still_member(member.user, member.as_of), channel.followers.contains_key(&id)) {
            (Some(true), _) => {
                channel.add(id, member);
                self.of_connection.insert((id, conversation));
                Heard::Known
            }
            // Who has been a follower since is known better by what has been taken in.
            (Some(false), _) | (None, true) => Heard::Known,
            (None, false) => Heard::Undecided,
        }
    }

    /// A shard tells more of a channel.
    pub fn handle_tail(&mut self, span: LogSpan, over: bool) -> Taken {
        let mut taken = Taken::default();
        let Some(channel) = self.open.get_mut(&span.conversation) else {
            return Taken { unfollow: !over, ..taken };
        };
        channel.asked_at = None;
        if over {
            taken.waited = std::mem::take(&mut channel.waiting).into_iter().collect();
            self.close(span.conversation);
            return taken;
        }
        if channel.folded != Seq::ZERO && span.from > channel.folded.next() {
            return taken;
        }
        if channel.folded == Seq::ZERO {
            channel.folded = span.from.prev();
            let first = span.from;
            let lost = channel.followers.iter().filter(|(_, follower)| follower.told.next() < first);
            taken.undecided = lost.map(|(id, _)| *id).collect();
            for id in &taken.undecided {
                channel.followers.remove(id);
                self.of_connection.remove(&(*id, span.conversation));
            }
        }
        let (folded, before) = (channel.folded, channel.bytes);
        for entry in span.entries.into_iter().filter(|entry| entry.seq > folded) {
            channel.take_in(entry);
        }
        self.bytes += channel.bytes - before;
        while channel.tail.len() > MAX_TAIL_ENTRIES
            || channel.bytes > MAX_TAIL_BYTES
            || self.bytes > MAX_TAILS_BYTES
        {
            match channel.drop_first() {
                0 => break,
                bytes => self.bytes -= bytes,
            }
        }
        if channel.folded > folded {
            channel.more_to_tell();
        }
        taken.up_to = Some(channel.folded);
        taken.waited = std::mem::take(&mut channel.waiting).into_iter().collect();
        self.forget_if_unfollowed(span.conversation, &mut taken);
        taken
    }

    fn forget_if_unfollowed(&mut self, conversation: ConversationId, taken: &mut Taken) {
        let Some(channel) = self.open.get(&conversation) else { return };
        if channel.followers.is_empty() && taken.undecided.is_empty() {
            taken.unfollow = true;
            self.close(conversation);
        }
    }

    fn close(&mut self, conversation: ConversationId) {
        if let Some(channel) = self.open.remove(&conversation) {
            self.bytes -= channel.bytes;
            for id in channel.followers.into_keys() {
                self.of_connection.remove(&(id, conversation));
            }
        }
    }

    /// A connection is gone. Returns the channels that nobody here follows any more.
    pub fn handle_gone(&mut self, id: u64) -> Vec<ConversationId> {
        let own = (Bound::Included((id, ConversationId(0))), Bound::Included((id, ConversationId(u128::MAX))));
        let own: Vec<ConversationId> = self.of_connection.range(own).map(|(_, of)| *of).collect();
        let mut unfollowed = Vec::new();
        for conversation in own {
            self.of_connection.remove(&(id, conversation));
            let Some(channel) = self.open.get_mut(&conversation) else { continue };
            channel.followers.remove(&id);
            channel.waiting.remove(&id);
            if channel.followers.is_empty() || planted(Plant::OneGoneAllUnfollowed) {
                self.close(conversation);
                unfollowed.push(conversation);
            }
        }
        unfollowed
    }

    /// A device asks for what comes after `since`.
    pub fn handle_sync(&mut self, id: u64, conversation: ConversationId, since: Seq) -> Sync {
        let Some(channel) = self.open.get_mut(&conversation) else { return Sync::Ask { missed: false } };
        let Some(follower) = channel.followers.get(&id) else { return Sync::Ask { missed: false } };
        if channel.folded == Seq::ZERO {
            let has_room = channel.waiting.len() < MAX_SYNCS_WAITING;
            if has_room {
                channel.waiting.insert(id, since);
            }
            return if has_room { Sync::Waits } else { Sync::Ask { missed: true } };
        }
        // Of what is further on, or from before their time, the shard knows.
        let is_theirs = since.next() >= follower.from || planted(Plant::TailShownFromItsBeginning);
        if since >= channel.folded || !is_theirs {
            return Sync::Ask { missed: false };
        }
        let Some(entries) = channel.page(since) else { return Sync::Ask { missed: true } };
        let to = entries.last().map_or(channel.folded, |last| last.seq);
        let span = LogSpan { conversation, from: since.next(), to, entries };
        Sync::Page { span, head: channel.folded }
    }

    /// Devices that are to be told more of a channel, at most so many; empty when all know all.
    pub fn poll_tell(&mut self, most: usize) -> Vec<Telling> {
        let mut told: Vec<Telling> = Vec::new();
        let Some((conversation, channel)) = self.open.iter_mut().find(|(_, channel)| channel.turn.is_some())
        else {
            return told;
        };
        let from = channel.turn.unwrap_or(0);
        let (mut behind, mut next) = (Vec::new(), None);
        for (id, follower) in channel.followers.range_mut(from..) {
            if behind.len() == most {
                next = Some(*id);
                break;
            }
            if follower.told < channel.folded {
                behind.push((follower.told, *id));
                follower.told = channel.folded;
            }
        }
        let again = next.is_none() && std::mem::take(&mut channel.again);
        channel.turn = if again { Some(0) } else { next };
        behind.sort_unstable();
        let mut last_since = None;
        for (since, id) in behind {
            match told.last_mut().filter(|_| last_since == Some(since)) {
                Some(last) => last.connections.push(id),
                None => {
                    told.push(Telling { span: channel.news(*conversation, since), connections: vec![id] });
                    last_since = Some(since);
                }
            }
        }
        told
    }

    /// Whether somebody is to be told more.
    pub fn has_news(&self) -> bool {
        self.open.values().any(|channel| channel.turn.is_some())
    }

    /// All channels, and how far the log of each is known: a new link to their shard begins with them.
    pub fn followed(&mut self, now: Time) -> Vec<(ConversationId, Option<Seq>)> {
        let all = self.open.iter_mut().map(|(conversation, channel)| {
            channel.asked_at = Some(now);
            (*conversation, channel.known())
        });
        all.collect()
    }

    /// Those whose shards have not answered in time.
    pub fn unanswered(&mut self, now: Time) -> Vec<(ConversationId, Option<Seq>)> {
        let late = |at: &Option<Time>| at.is_some_and(|at| now.since(at) >= FOLLOW_RETRY_AFTER);
        let late = self.open.iter_mut().filter(|(_, channel)| late(&channel.asked_at));
        late.map(|(conversation, channel)| {
            channel.asked_at = Some(now);
            (*conversation, channel.known())
        })
        .collect()
    }

    /// How far the log of a channel is known.
    pub fn known(&self, conversation: ConversationId) -> Option<Seq> {
        self.open.get(&conversation).and_then(Channel::known)
    }
}

impl Channel {
    fn known(&self) -> Option<Seq> {
        (self.folded != Seq::ZERO).then_some(self.folded)
    }

    /// What is said of the same member at two times is one stretch if the two meet; else the later one counts.
    fn add(&mut self, id: u64, member: Member) {
        let Member { user, from, as_of } = member;
        let folded = self.folded;
        let added = match self.followers.get(&id) {
            None => Follower { user, from, told: as_of },
            Some(known) => {
                let end = known.told.max(folded);
                let (earlier_end, later_from) = if as_of >= end { (end, from) } else { (as_of, known.from) };
                let meet = earlier_end.next() >= later_from;
                let from = if meet { from.min(known.from) } else { later_from };
                Follower { user, from, told: known.told.max(as_of) }
            }
        };
        self.followers.insert(id, added);
        if added.told < folded {
            self.more_to_tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use squall_protocol::{ClientMsgId, ClientSeq, DeviceId};

    const C: ConversationId = ConversationId::group(UserId(1), 1);
    const NOW: Time = Time(0);

    fn entry(seq: u64, payload: Payload) -> Entry {
        Entry {
            seq: Seq(seq),
            sender: UserId(1),
            device: DeviceId(1),
            client_msg_id: ClientMsgId(u128::from(seq)),
            client_seq: ClientSeq(seq),
            stored_at_ms: 0,
            payload,
        }
    }

    fn text(seq: u64) -> Entry {
        entry(seq, Payload::Text("x".into()))
    }

    fn span(entries: Vec<Entry>) -> LogSpan {
        let (from, to) = (entries[0].seq, entries[entries.len() - 1].seq);
        LogSpan { conversation: C, from, to, entries }
    }

    fn member(user: u64, from: u64, as_of: u64) -> Member {
        Member { user: UserId(user), from: Seq(from), as_of: Seq(as_of) }
    }

    /// A channel of which a gateway has 11 to 20, and a follower with connection 7 who knows all of it.
    fn followed() -> Channels {
        let mut channels = Channels::default();
        assert_eq!(channels.handle_member(7, C, member(7, 1, 20), NOW), Heard::Follow);
        let taken = channels.handle_tail(span((11..=20).map(text).collect()), false);
        assert_eq!(taken, Taken { up_to: Some(Seq(20)), ..Taken::default() });
        assert_eq!(told(&mut channels), []);
        channels
    }

    fn told(channels: &mut Channels) -> Vec<(u64, u64, u64)> {
        let mut told = Vec::new();
        while channels.has_news() {
            for Telling { span, connections } in channels.poll_tell(2) {
                told.extend(connections.into_iter().map(|id| (id, span.from.0, span.to.0)));
            }
        }
        told
    }

    #[test]
    fn every_follower_is_told_what_it_lacks() {
        let mut channels = followed();
        for id in [8, 9, 10] {
            assert_eq!(channels.handle_member(id, C, member(id, 1, 18), NOW), Heard::Known);
        }
        assert_eq!(told(&mut channels), [(8, 19, 20), (9, 19, 20), (10, 19, 20)]);
        channels.handle_tail(span(vec![text(21), text(22)]), false);
        assert_eq!(told(&mut channels), [7, 8, 9, 10].map(|id| (id, 21, 22)));
        // A tail that comes once more brings nothing; one with a gap before it is not taken.
        assert_eq!(channels.handle_tail(span(vec![text(22)]), false).up_to, Some(Seq(22)));
        assert_eq!(channels.handle_tail(span(vec![text(25)]), false).up_to, None);
        assert_eq!(told(&mut channels), []);
    }

    #[test]
    fn who_has_left_is_told_no_more_and_asks_the_shard() {
        let mut channels = followed();
        channels.handle_member(8, C, member(8, 1, 20), NOW);
        channels.handle_tail(span(vec![text(21), entry(22, Payload::left(UserId(8))), text(23)]), false);
        assert_eq!(told(&mut channels), [(7, 21, 23)]);
        assert_eq!(channels.handle_sync(8, C, Seq(12)), Sync::Ask { missed: false });
        // What a shard says of a time before that changes nothing, and of a time after it does.
        assert_eq!(channels.handle_member(8, C, member(8, 1, 21), NOW), Heard::Known);
        assert_eq!(channels.handle_sync(8, C, Seq(12)), Sync::Ask { missed: false });
        channels.handle_member(8, C, member(8, 5, 24), NOW);
        channels.handle_tail(span(vec![text(24), text(25)]), false);
        assert_eq!(told(&mut channels), [(7, 24, 25), (8, 25, 25)]);
    }

    #[test]
    fn of_whom_too_little_is_known_the_shard_is_asked() {
        let mut channels = followed();
        assert_eq!(channels.handle_member(8, C, member(8, 1, 9), NOW), Heard::Undecided);
        assert_eq!(channels.handle_member(8, C, member(8, 1, 10), NOW), Heard::Known);
        let mut channels = Channels::default();
        channels.handle_member(7, C, member(7, 1, 20), NOW);
        channels.handle_member(8, C, member(8, 1, 9), NOW);
        let taken = channels.handle_tail(span((11..=20).map(text).collect()), false);
        assert_eq!((taken.undecided, taken.up_to), (vec![8], Some(Seq(20))));
    }

    #[test]
    fn a_page_begins_no_earlier_than_a_member_may_see_and_not_beyond_what_is_kept() {
        let mut channels = followed();
        channels.handle_member(8, C, member(8, 15, 20), NOW);
        let page = |channels: &mut Channels, id, since| match channels.handle_sync(id, C, Seq(since)) {
            Sync::Page { span, head } => Some((span.from.0, span.to.0, span.entries.len(), head.0)),
            Sync::Waits | Sync::Ask { .. } => None,
        };
        assert_eq!(page(&mut channels, 7, 10), Some((11, 20, 10, 20)));
        assert_eq!(channels.handle_sync(7, C, Seq(9)), Sync::Ask { missed: true });
        assert_eq!(page(&mut channels, 8, 14), Some((15, 20, 6, 20)));
        assert_eq!(channels.handle_sync(8, C, Seq(13)), Sync::Ask { missed: false });
        // Whoever has all that is here may have been told of more by the shard.
        assert_eq!(channels.handle_sync(7, C, Seq(20)), Sync::Ask { missed: false });
        assert_eq!(channels.handle_sync(9, C, Seq(12)), Sync::Ask { missed: false });
    }

    #[test]
    fn who_asks_before_the_tail_is_here_waits_for_it() {
        let mut channels = Channels::default();
        channels.handle_member(7, C, member(7, 1, 20), NOW);
        assert_eq!(channels.handle_sync(7, C, Seq(12)), Sync::Waits);
        assert_eq!(channels.unanswered(NOW + FOLLOW_RETRY_AFTER), [(C, None)]);
        let taken = channels.handle_tail(span((11..=20).map(text).collect()), false);
        assert_eq!(taken.waited, [(7, Seq(12))]);
        assert_eq!(channels.unanswered(NOW + 2 * FOLLOW_RETRY_AFTER), []);
        assert_eq!(channels.followed(NOW), [(C, Some(Seq(20)))]);
    }

    #[test]
    fn a_channel_is_followed_until_the_last_has_gone_or_it_is_none_any_more() {
        let mut channels = followed();
        channels.handle_member(8, C, member(8, 1, 20), NOW);
        assert_eq!((channels.handle_gone(7), channels.handle_gone(8)), (vec![], vec![C]));
        assert_eq!((channels.is_empty(), channels.levels()), (true, [0, 0, 0]));
        assert!(channels.handle_tail(span(vec![text(21)]), false).unfollow);
        let mut channels = followed();
        let nothing = LogSpan { conversation: C, from: Seq(24), to: Seq(23), entries: Vec::new() };
        assert_eq!(channels.handle_tail(nothing, true), Taken::default());
        assert_eq!((channels.is_empty(), channels.levels()), (true, [0, 0, 0]));
        // The last follower leaves the channel.
        let mut channels = followed();
        assert!(channels.handle_tail(span(vec![entry(21, Payload::left(UserId(7)))]), false).unfollow);
        assert!(channels.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded_and_whoever_is_far_behind_is_told_how_far_the_log_goes() {
        let mut channels = followed();
        let large = |seq| entry(seq, Payload::Text("x".repeat(PAGE_BYTES / 4)));
        for seq in 21..=100 {
            channels.handle_tail(span(vec![large(seq)]), false);
            assert!(channels.levels()[2] <= MAX_TAIL_BYTES);
        }
        assert_eq!(told(&mut channels), [(7, 101, 100)]);
        for seq in 101..=3_000 {
            channels.handle_tail(span(vec![text(seq)]), false);
        }
        assert!(channels.open[&C].tail.len() <= MAX_TAIL_ENTRIES);
    }

    proptest! {
        /// Members come and go, and what shards say of them arrives late or not at all: nobody is told what is not theirs, and whoever is
        /// known to be a member is told all of it.
        #[test]
        fn who_is_told_what_is_what_a_fold_of_the_whole_log_says(
            steps in proptest::collection::vec((0u8..6, 0u64..4, 0u64..30), 1..120),
        ) {
            let mut channels = Channels::default();
            // By user: first visible entry of each stay, its join and its end.
            let mut stays: Vec<Vec<(u64, u64, u64)>> = vec![vec![(1, 1, u64::MAX)]; 4];
            let mut log: Vec<Entry> = (1..=30).map(text).collect();
            let may_see = |stays: &[Vec<(u64, u64, u64)>], user: u64, seq: u64| {
                stays[user as usize].iter().any(|(from, _, to)| (*from..=*to).contains(&seq))
            };
            for (what, user, lag) in steps {
                let next = log.len() as u64 + 1;
                let current = stays[user as usize].last().copied().filter(|(_, _, to)| *to == u64::MAX);
                match what {
                    0 if current.is_some() => {
                        stays[user as usize].last_mut().unwrap().2 = next;
                        log.push(entry(next, Payload::left(UserId(user))));
                    }
                    1 if current.is_none() => {
                        stays[user as usize].push((next.saturating_sub(20).max(1), next, u64::MAX));
                        log.push(entry(next, Payload::joined(UserId(user))));
                    }
                    2 => {
                        // The shard's word of a while ago.
                        let as_of = log.len() as u64 - lag.min(log.len() as u64 - 1);
                        let stay = stays[user as usize].iter().rfind(|(_, joined, to)| *joined <= as_of && as_of < *to);
                        if let Some((from, _, _)) = stay {
                            channels.handle_member(user, C, member(user, *from, as_of), NOW);
                        }
                    }
                    3 => {
                        for unfollowed in channels.handle_gone(user) {
                            prop_assert_eq!(unfollowed, C);
                        }
                    }
                    _ => log.push(text(next)),
                }
                if lag % 3 == 0 && !channels.is_empty() {
                    let have = channels.known(C).map_or(log.len().saturating_sub(25), |known| known.0 as usize);
                    if have < log.len() {
                        channels.handle_tail(span(log[have..].to_vec()), false);
                    }
                }
                while channels.has_news() {
                    for Telling { span, connections } in channels.poll_tell(3) {
                        for id in connections {
                            prop_assert!(span.entries.iter().all(|entry| may_see(&stays, id, entry.seq.0)));
                            let open = (span.from.0..=span.to.0).all(|seq| may_see(&stays, id, seq));
                            prop_assert!(open && may_see(&stays, id, span.to.0), "{id} is told of {}", span.to.0);
                        }
                    }
                }
                for since in [0, log.len() as u64 / 2, (log.len() as u64).saturating_sub(10)] {
                    if let Sync::Page { span, head } = channels.handle_sync(user, C, Seq(since)) {
                        prop_assert!(span.entries.iter().all(|entry| may_see(&stays, user, entry.seq.0)));
                        prop_assert!((span.from.0..=span.to.0).eq(span.entries.iter().map(|entry| entry.seq.0)));
                        prop_assert!(may_see(&stays, user, head.0));
                    }
                }
            }
        }
    }
}
