//! Who may see what: a fold over each conversation's log, entry by entry.
//!
//! **Invariant:** membership is a fold over the conversation's own log and this fold is the checks' own: members of the
//! creation see from 1, a newcomer from [`limits::NEWCOMER_HISTORY`] entries before the join, a leaver up to the entry
//! that says so. A group whose members come to be more than a configured number is a channel from the next entry on, until half as many
//! are left; what changes its members then is owed to those of whom it speaks and to its creator. It is no secret: whoever is shown it all
//! the same may see it.

use super::AuditEntry;
use super::intervals::{self, Range};
use rustc_hash::FxHashMap;
use squall_history::What;
use squall_protocol::{Name, UserId, limits};
use std::collections::{BTreeMap, BTreeSet};

/// A time during which a user may see entries of a conversation. `to` is `u32::MAX` while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stay {
    user: UserId,
    pub conversation: u32,
    pub from: u32,
    pub to: u32,
    /// The entry that made them a member.
    pub joined: u32,
}

impl Stay {
    /// Whoever joins later sees something from before the join.
    pub fn since_creation(&self) -> bool {
        self.joined == self.from
    }

    /// Whether the user was a member after entry `seq`, whatever came then.
    pub fn covers(&self, seq: u32) -> bool {
        self.joined <= seq && (self.to == u32::MAX || seq < self.to)
    }
}

/// Who may see what, in all conversations.
#[derive(Default)]
pub(super) struct Membership {
    /// By user and conversation once `sorted`.
    stays: Vec<Stay>,
    sorted: bool,
    /// The conversation that is being read, and its members with the first entry that they may see and the one that made them members.
    reading: Option<u32>,
    present: BTreeMap<UserId, (u32, u32)>,
    /// Places that a log should have and has not.
    pub gaps: FxHashMap<u32, Vec<Range>>,
    channel_above: u32,
    /// Whether the conversation that is being read is a channel.
    is_channel: bool,
    /// By conversation: places of a channel that are owed to few.
    hidden: FxHashMap<u32, Vec<u32>>,
}

impl Membership {
    /// Groups with more members than this are channels; with 0 none is.
    pub fn new(channel_above: u32) -> Self {
        Membership { channel_above, ..Membership::default() }
    }

    /// The next entry is of this conversation; those of one conversation come together.
    pub fn read(&mut self, conversation: u32) {
        self.sorted = false;
        if self.reading != Some(conversation) {
            self.close();
            self.reading = Some(conversation);
            self.is_channel = false;
        }
    }

    /// Closes the fold, so that membership can be asked for.
    pub fn settle(&mut self) {
        if !self.sorted {
            self.close();
            self.stays.sort_unstable();
            self.sorted = true;
        }
    }

    /// How many are members as of the last entry.
    pub fn present(&self) -> usize {
        self.present.len()
    }

    /// Ends the conversation that was being read: those who are present stay.
    fn close(&mut self) {
        let Some(conversation) = self.reading.take() else { return };
        for (user, (from, joined)) in std::mem::take(&mut self.present) {
            self.stays.push(Stay { user, conversation, from, to: u32::MAX, joined });
        }
    }

    /// Why the author of an entry may not write it next to the conversation that is being read, which has been created already or not.
    pub fn forbids(&self, entry: &AuditEntry<'_>, created: bool) -> Option<&'static str> {
        let is_member = |user: &UserId| self.present.contains_key(user);
        let direct = match entry.conversation.name() {
            Some(Name::Direct { .. }) => true,
            Some(Name::Group { .. }) => false,
            None => return Some("the conversation's name is nobody's"),
        };
        match entry.what {
            What::Created if created => Some("the conversation had been created before"),
            What::Created => names_others(entry).then_some("the conversation's name says otherwise"),
            _ if !created => Some("nobody had created the conversation"),
            _ if !is_member(&entry.sender) => Some("its author was no member"),
            What::Text => None,
            _ if direct => Some("two people's conversation is theirs alone"),
            _ if names_twice(entry) => Some("it names nobody, or somebody twice"),
            what => {
                let (mut added, mut taken) = (what.added(entry.members), what.taken(entry.members));
                let known = added.any(|user| is_member(&user)).then_some("that user was a member");
                known.or(taken.any(|user| !is_member(&user)).then_some("that user was no member"))
            }
        }
    }

    /// Takes an entry of the conversation that is being read.
    pub fn fold(&mut self, seq: u32, what: What, members: &[UserId], created: bool) {
        if let (true, Some(conversation)) = (self.is_channel && what.is_change(), self.reading) {
            self.hidden.entry(conversation).or_default().push(seq);
        }
        self.fold_members(seq, what, members, created);
        let present = self.present.len() as u32;
        self.is_channel = match self.is_channel {
            true => present > self.channel_above / 2,
            false => self.channel_above > 0 && present > self.channel_above,
        };
    }

    fn fold_members(&mut self, seq: u32, what: What, members: &[UserId], created: bool) {
        match what {
            What::Created if !created => {
                self.present.extend(members.iter().map(|user| (*user, (1, 1))));
            }
            What::Created | What::Text => {}
            what => {
                for user in what.added(members) {
                    let from = seq.saturating_sub(limits::NEWCOMER_HISTORY as u32).max(1);
                    self.present.entry(user).or_insert((from, seq));
                }
                for user in what.taken(members) {
                    if let (Some((from, joined)), Some(conversation)) = (self.present.remove(&user), self.reading)
                    {
                        self.stays.push(Stay { user, conversation, from, to: seq, joined });
                    }
                }
            }
        }
    }

    /// The places of a conversation that are not owed to a user, though they may see them. `creator`: whom its name says to have created it.
    pub fn hidden(&self, user: UserId, conversation: u32, creator: Option<UserId>) -> Vec<Range> {
        let Some(places) = self.hidden.get(&conversation).filter(|_| creator != Some(user)) else {
            return Vec::new();
        };
        let own = self.of_in(user, conversation);
        let is_about = |place: u32| own.iter().any(|stay| stay.joined == place || stay.to == place);
        let hidden = places.iter().filter(|place| !is_about(**place));
        hidden.map(|place| Range { from: *place, to: *place }).collect()
    }

    /// The stays of a user, by conversation.
    pub fn of(&self, user: UserId) -> &[Stay] {
        debug_assert!(self.sorted);
        let from = self.stays.partition_point(|stay| stay.user < user);
        let len = self.stays[from..].partition_point(|stay| stay.user == user);
        &self.stays[from..from + len]
    }

    pub fn of_in(&self, user: UserId, conversation: u32) -> &[Stay] {
        let all = self.of(user);
        let from = all.partition_point(|stay| stay.conversation < conversation);
        let len = all[from..].partition_point(|stay| stay.conversation == conversation);
        &all[from..from + len]
    }
}

/// Whether an entry that is to name several users names fewer, or one of them twice.
fn names_twice(entry: &AuditEntry<'_>) -> bool {
    let several = matches!(entry.what, What::JoinedSeveral | What::LeftSeveral);
    let named: BTreeSet<UserId> = entry.members.iter().copied().collect();
    several && (named.len() != entry.members.len() || named.len() < 2)
}

/// Whether a creation is not what the name of its conversation says: its two people and nobody else; or its creator and others, each once.
fn names_others(creation: &AuditEntry<'_>) -> bool {
    let members: BTreeSet<UserId> = creation.members.iter().copied().collect();
    let once = members.len() == creation.members.len() && members.contains(&creation.sender);
    let as_named = match creation.conversation.name() {
        Some(Name::Direct { low, high }) => members == [low, high].into(),
        Some(Name::Group { creator, .. }) => creator == creation.sender,
        None => false,
    };
    !(once && as_named)
}

/// The entries that somebody may see who was there like this.
pub(super) fn visible(stays: &[Stay]) -> Vec<Range> {
    let mut ranges = Vec::with_capacity(1);
    stays.iter().for_each(|stay| intervals::add(&mut ranges, Range { from: stay.from, to: stay.to }));
    ranges
}
