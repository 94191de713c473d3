//! One channel at a gateway: who of its devices follows it, the end of its log, and what of it each is shown.

use super::{Member, Said};
use crate::plant::{Plant, planted};
use crate::time::Time;
use squall_protocol::limits::{PAGE_BYTES, PAGE_ENTRIES};
use squall_protocol::{ConversationId, Entry, LogSpan, Seq, UserId};
use std::collections::{BTreeMap, VecDeque};

/// A connection of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Follower {
    pub(super) user: UserId,
    /// The member sees everything from here to the last entry that was taken in.
    pub(super) from: Seq,
    /// The user was a member when this entry was stored.
    pub(super) member_at: Seq,
    /// How far its device has been told.
    pub(super) told: Seq,
    /// What follows that, up to here, is hidden from the member.
    pub(super) clear: Seq,
}

#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) followers: BTreeMap<u64, Follower>,
    /// The end of the log, without a gap, up to `folded`.
    pub(super) tail: VecDeque<Kept>,
    pub(super) bytes: usize,
    /// Everything up to here has been taken in; 0 before the first tail.
    pub(super) folded: Seq,
    /// What changes the members after this entry is shown to those of whom it speaks, and to the creator; 0 if all of it is shown.
    pub(super) since: Seq,
    /// The shard has been told that it is followed, and has not answered.
    pub(super) asked_at: Option<Time>,
    pub(super) waiting: BTreeMap<u64, Seq>,
    /// Whose turn it is to be told; `None` when all have been.
    pub(super) turn: Option<u64>,
    /// There is more to be told since the turns began.
    pub(super) again: bool,
}

/// What an entry takes beside its payload, about.
const ENVELOPE_BYTES: usize = 128;

/// An entry that is kept, and of whom it says that they come or go, in order.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) entry: Entry,
    pub(super) about: Vec<UserId>,
}

impl Kept {
    fn new(entry: Entry) -> Self {
        let mut about = entry.moves().to_vec();
        about.sort_unstable();
        Kept { entry, about }
    }

    fn is_about(&self, user: UserId) -> bool {
        self.about.binary_search(&user).is_ok()
    }

    /// Whether this user is no member any more after it.
    fn puts_out(&self, user: UserId) -> bool {
        !self.entry.takes_away().is_empty() && self.is_about(user)
    }

    fn weight(&self) -> usize {
        ENVELOPE_BYTES + self.entry.payload.size()
    }
}

/// Who reads: a member, or the channel's creator, who is shown all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    pub(super) user: UserId,
    pub(super) is_creator: bool,
}

impl Reader {
    pub(super) fn of(conversation: ConversationId, user: UserId) -> Self {
        Reader { user, is_creator: conversation.founded_by(user) }
    }
}

impl Channel {
    /// The first entry that is kept.
    pub(super) fn first(&self) -> Seq {
        self.tail.front().map_or(self.folded.next(), |kept| kept.entry.seq)
    }

    pub(super) fn kept_from(&self, from: Seq) -> impl Iterator<Item = &Kept> {
        let skipped = from.0.saturating_sub(self.first().0) as usize;
        self.tail.iter().skip(skipped)
    }

    /// Takes an entry into the fold and the tail.
    pub(super) fn take_in(&mut self, entry: Entry) {
        let kept = Kept::new(entry);
        let seq = kept.entry.seq;
        if !kept.entry.takes_away().is_empty() && !planted(Plant::TailForgetsWhoLeft) {
            self.followers.retain(|_, follower| follower.member_at >= seq || !kept.puts_out(follower.user));
        }
        self.folded = seq;
        self.bytes += kept.weight();
        self.tail.push_back(kept);
    }

    pub(super) fn drop_first(&mut self) -> usize {
        let bytes = self.tail.pop_front().map_or(0, |kept| kept.weight());
        self.bytes -= bytes;
        bytes
    }

    /// Whether an entry is shown to those of whom it speaks, and not to all.
    pub(super) fn hides(&self, kept: &Kept) -> bool {
        self.since != Seq::ZERO && kept.entry.seq > self.since && !kept.about.is_empty()
    }

    pub(super) fn shows(&self, kept: &Kept, reader: Reader) -> bool {
        !self.hides(kept) || reader.is_creator || kept.is_about(reader.user)
    }

    /// What a reader is shown of what follows `since`, as much as a page of the shard's would hold, and how far that goes; `None` if not all of
    /// it is kept.
    pub(super) fn page(&self, since: Seq, reader: Reader) -> Option<(Vec<Entry>, Seq)> {
        if since.next() < self.first() {
            return None;
        }
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for kept in self.kept_from(since.next()).filter(|kept| self.shows(kept, reader)) {
            bytes += kept.entry.payload.size();
            entries.push(kept.entry.clone());
            if entries.len() == PAGE_ENTRIES || bytes >= PAGE_BYTES {
                return Some((entries, kept.entry.seq));
            }
        }
        Some((entries, self.folded))
    }

    /// What a device is told that knows everything up to `told`, and is shown nothing between that and `clear`: the entries, if they are as
    /// many as a page may hold; else how far the log goes, and it pages at its own speed. `None` if there is nothing for it.
    pub(super) fn news(
        &self,
        conversation: ConversationId,
        (told, clear): (Seq, Seq),
        reader: Reader,
    ) -> Option<LogSpan> {
        let page = self.page(clear, reader).filter(|(_, to)| *to == self.folded);
        let Some((mut entries, to)) = page else {
            return Some(LogSpan { conversation, from: self.folded.next(), to: self.folded, entries: Vec::new() });
        };
        if planted(Plant::TailToldByItsEnd) {
            entries.drain(..entries.len().saturating_sub(1));
        }
        (!entries.is_empty()).then_some(LogSpan { conversation, from: told.next(), to, entries })
    }

    /// Somebody is behind: turns begin, or begin once more.
    pub(super) fn more_to_tell(&mut self) {
        match self.turn {
            Some(_) => self.again = true,
            None => self.turn = Some(0),
        }
    }

    /// Whether whoever was a member at `as_of` is one still, as far as can be told.
    pub(super) fn is_still_member(&self, user: UserId, as_of: Seq) -> Option<bool> {
        if as_of >= self.folded {
            return Some(true);
        }
        if as_of.next() < self.first() {
            return None;
        }
        Some(!self.kept_from(as_of.next()).any(|kept| kept.puts_out(user)))
    }
}

impl Channel {
    pub(super) fn known(&self) -> Option<Seq> {
        (self.folded != Seq::ZERO).then_some(self.folded)
    }

    /// What is said of the same member at two times is one stretch if the two meet; else the later one counts. A device that is told of
    /// one entry with it still lacks what stands between that and what it has been told of.
    pub(super) fn add(&mut self, id: u64, member: Member) {
        let Member { user, from, as_of, said } = member;
        let folded = self.folded;
        let added = match self.followers.get(&id) {
            None => Follower { user, from, member_at: as_of, told: as_of, clear: as_of },
            Some(known) => {
                let member_at = known.member_at.max(as_of);
                let end = known.member_at.max(folded);
                let (earlier_end, later_from) = if as_of >= end { (end, from) } else { (as_of, known.from) };
                let meet = earlier_end.next() >= later_from;
                let from = if meet { from.min(known.from) } else { later_from };
                match said {
                    Said::Entry if meet && as_of > known.told.next() => Follower { from, member_at, ..*known },
                    Said::Entry | Said::Head => {
                        let (told, clear) = (known.told.max(as_of), known.clear.max(as_of));
                        Follower { user, from, member_at, told, clear }
                    }
                }
            }
        };
        self.followers.insert(id, added);
        if added.clear < folded {
            self.more_to_tell();
        }
    }
}
