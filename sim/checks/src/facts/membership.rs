//! Who may see what, in all conversations: the fold over each log, entry by entry ([`Rules`]), and what of it is owed to whom.
//!
//! A group whose members come to be more than a configured number is a channel from the next entry on, until half as many are left; what
//! changes its members then is owed to those of whom it speaks and to its creator. It is no secret: whoever is shown it all the same may
//! see it.

use super::intervals::{self, Range};
use crate::rules::{Deed, Ended, Rules, Standing};
use rustc_hash::{FxHashMap, FxHashSet};
use squall_protocol::UserId;

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
    /// The conversation that is being read, and what its log says so far.
    reading: Option<u32>,
    rules: Rules,
    /// Places that a log should have and has not.
    pub gaps: FxHashMap<u32, Vec<Range>>,
    channel_above: u32,
    /// Whether the conversation that is being read is a channel.
    is_channel: bool,
    /// Conversations that are channels at the end of their logs.
    channels: FxHashSet<u32>,
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

    /// Ends the conversation that was being read: those who are present stay.
    fn close(&mut self) {
        let rules = std::mem::take(&mut self.rules);
        let Some(conversation) = self.reading.take() else { return };
        if self.is_channel {
            self.channels.insert(conversation);
        }
        for (user, Standing { from, joined, .. }) in rules.people() {
            self.stays.push(Stay { user: *user, conversation, from: *from, to: u32::MAX, joined: *joined });
        }
    }

    /// Why the author of an entry may not write it next to the conversation that is being read.
    pub fn forbids(&self, deed: &Deed<'_>) -> Option<&'static str> {
        self.rules.objection(deed).map(|objection| objection.sentence)
    }

    /// Takes an entry of the conversation that is being read.
    pub fn fold(&mut self, seq: u32, deed: &Deed<'_>) {
        let Some(conversation) = self.reading else { return };
        if self.is_channel && deed.what.moves() {
            self.hidden.entry(conversation).or_default().push(seq);
        }
        let stays = &mut self.stays;
        self.rules.fold(seq, deed, |Ended { user, standing: Standing { from, joined, .. }, to, .. }| {
            stays.push(Stay { user, conversation, from, to, joined });
        });
        let present = self.rules.people().len() as u32;
        self.is_channel = match self.is_channel {
            true => present > self.channel_above / 2,
            false => self.channel_above > 0 && present > self.channel_above,
        };
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

    /// In how many channels a user is at the end.
    pub fn channels_of(&self, user: UserId) -> u64 {
        let present = self.of(user).iter().filter(|stay| stay.to == u32::MAX);
        present.filter(|stay| self.channels.contains(&stay.conversation)).count() as u64
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

/// The entries that somebody may see who was there like this.
pub(super) fn visible(stays: &[Stay]) -> Vec<Range> {
    let mut ranges = Vec::with_capacity(1);
    stays.iter().for_each(|stay| intervals::add(&mut ranges, Range { from: stay.from, to: stay.to }));
    ranges
}
