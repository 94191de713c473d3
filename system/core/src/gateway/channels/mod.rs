//! The channels that a gateway follows, for the devices that it holds.
//!
//! A shard tells a gateway every entry of a channel once; the gateway tells its members' devices, and answers from what it keeps of the log's end
//! the thousands who come back and ask for the same. To know who may see what it goes by the shard's word (this user was a member at
//! that entry, and sees all from this one on) and folds the entries after it itself: whoever leaves is told nothing more here.
//!
//! **Invariants:** nobody is told or shown an entry that is not between the first that the shard named for them and the last before they left;
//! where that cannot be decided from what is at hand, the shard is asked. Every follower is told every entry that is taken in. What is kept is
//! bounded in entries and bytes. Guarded by the tests below and `sim/checks/src/{members_only,no_loss,in_time}.rs`.

mod channel;
#[cfg(test)]
mod tests;

use crate::plant::{Plant, planted};
use crate::time::Time;
use channel::{Channel, Reader};
use squall_protocol::limits::{
    FOLLOW_RETRY_AFTER, MAX_SYNCS_WAITING, MAX_TAIL_BYTES, MAX_TAIL_ENTRIES, MAX_TAILS_BYTES,
};
use squall_protocol::{ConversationId, LogSpan, Seq, UserId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// What a shard says of a user: all of the channel from `from` to `as_of` is theirs, and they were a member when that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub user: UserId,
    pub from: Seq,
    pub as_of: Seq,
    pub said: Said,
}

/// What a member's device is told together with that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// That the log goes as far as `as_of`: it asks for what it lacks.
    Head,
    /// Of the entry `as_of`, and nothing of those before it.
    Entry,
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

/// How many channels are followed, how many devices are told of them, a device once for each, how many bytes are kept; and how many entries
/// and bytes of the one of which there are most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Levels {
    pub channels: usize,
    pub followers: usize,
    pub bytes: usize,
    pub most_entries: usize,
    pub most_bytes: usize,
}

/// The channels that a gateway follows.
#[derive(Debug, Default)]
pub struct Channels {
    open: BTreeMap<ConversationId, Channel>,
    /// The channels of each connection, those included that its user has left.
    of_connection: BTreeSet<(u64, ConversationId)>,
    bytes: usize,
}

impl Channels {
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How full all of it is.
    pub fn levels(&self) -> Levels {
        let most = |of: fn(&Channel) -> usize| self.open.values().map(of).max().unwrap_or(0);
        Levels {
            channels: self.open.len(),
            followers: self.open.values().map(|channel| channel.followers.len()).sum(),
            bytes: self.bytes,
            most_entries: most(|channel| channel.tail.len()),
            most_bytes: most(|channel| channel.bytes),
        }
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

    /// A shard tells more of what is a channel since that entry.
    pub fn handle_tail(&mut self, span: LogSpan, since: Seq, over: bool) -> Taken {
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
        channel.since = since;
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

    /// The channels that are followed for a connection, those included that its user has left.
    pub fn of(&self, id: u64) -> impl Iterator<Item = ConversationId> {
        let own = (Bound::Included((id, ConversationId(0))), Bound::Included((id, ConversationId(u128::MAX))));
        self.of_connection.range(own).map(|(_, of)| *of)
    }

    /// A connection is gone. Returns the channels that nobody here follows any more.
    pub fn handle_gone(&mut self, id: u64) -> Vec<ConversationId> {
        let own: Vec<ConversationId> = self.of(id).collect();
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
        let reader = Reader::of(conversation, follower.user);
        let Some((entries, to)) = channel.page(since, reader) else { return Sync::Ask { missed: true } };
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
        let (folded, mut behind, mut next) = (channel.folded, Vec::new(), None);
        for (id, follower) in channel.followers.range_mut(from..) {
            if behind.len() == most {
                next = Some(*id);
                break;
            }
            if follower.clear < folded {
                behind.push((follower.told, follower.clear, Reader::of(*conversation, follower.user), *id));
            }
        }
        let again = next.is_none() && std::mem::take(&mut channel.again);
        channel.turn = if again { Some(0) } else { next };
        // Most know the same, and are shown the same.
        let mut made: BTreeMap<(Seq, Seq, Vec<Seq>), Option<usize>> = BTreeMap::new();
        for (known, clear, reader, id) in behind {
            let hidden = channel.kept_from(clear.next()).filter(|kept| channel.hides(kept));
            let shown = hidden.filter(|kept| channel.shows(kept, reader)).map(|kept| kept.entry.seq).collect();
            let place = *made.entry((known, clear, shown)).or_insert_with(|| {
                let span = channel.news(*conversation, (known, clear), reader)?;
                told.push(Telling { span, connections: Vec::new() });
                Some(told.len() - 1)
            });
            let Some(follower) = channel.followers.get_mut(&id) else { continue };
            follower.clear = folded;
            if let Some(place) = place {
                follower.told = folded;
                told[place].connections.push(id);
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
