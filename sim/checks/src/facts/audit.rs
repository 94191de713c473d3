//! Takes what the audit found on the disks: log entries, from which membership is folded, cursors and devices.

use super::Facts;
use super::fact::{Fact, Logged, Origin};
use super::intervals::{self, Range};
use super::membership::{Stay, visible};
use super::refusals::LoggedChange;
use super::rows::{NONE, content, known, mark, small};
use crate::rules::Deed;
use squall_history::What;
use squall_protocol::{ClientMsgId, ClientSeq, ConversationId, Cursors, DeviceId, Name, Seq, UserId};

/// An entry of a log, as it was read from a shard's disk.
#[derive(Debug, Clone, Copy)]
pub struct AuditEntry<'a> {
    pub conversation: ConversationId,
    pub seq: Seq,
    pub sender: UserId,
    pub device: DeviceId,
    pub client_msg_id: ClientMsgId,
    pub client_seq: ClientSeq,
    pub stored_at_ms: u64,
    pub body_hash: u64,
    pub what: What,
    /// Whom it names that its kind does not.
    pub members: &'a [UserId],
}

impl Facts {
    /// Takes an entry of a log. Those of one conversation come together, in the order of the disk.
    pub fn audit_entry(&mut self, entry: &AuditEntry<'_>) -> Fact {
        if !std::mem::replace(&mut self.audited, true) {
            self.find_contested();
        }
        let conversation = self.conversation(entry.conversation);
        self.membership.read(conversation);
        let place = small(entry.seq);
        let expected = self.advance(conversation, place);
        let forbidden = self.fold(conversation, place, entry);

        let (message, taken) = self.witness(conversation, place, entry.client_msg_id);
        let fingerprint = content(entry.conversation, entry.sender, entry.body_hash, entry.what);
        let origin = self.origin(message, conversation, fingerprint, Some(entry.device));
        let stamps = (Some(entry.device), Some(entry.client_seq), entry.stored_at_ms);
        self.compare_stamps(message, conversation, None, entry.seq, stamps);
        if self.epoch_ms > 0 && !self.is_stored_in_time(message, entry.stored_at_ms) {
            self.wrong_time(message, conversation, entry.seq);
        }
        let shard = self.conversations[conversation].shard;
        self.spent.entry(shard, message, entry);
        let row = &mut self.messages[message];
        let again = row.is(known::LOGGED);
        row.known |= known::LOGGED;
        if row.seq == place && origin == Origin::Sent {
            row.known |= known::LOGGED_AS_ACKED;
        }
        let (pair, order) = (row.pair, row.order);
        let mut overtaken_by = None;
        if pair != NONE && !again && self.pairs[pair].conversation == conversation {
            let last = &mut self.pairs[pair].logged_order;
            overtaken_by = Some(*last).filter(|last| *last > order);
            *last = (*last).max(order);
        }
        let row = &self.conversations[conversation];
        let across_restart = row.first_epoch != row.last_epoch;
        Fact::Logged(Logged {
            message,
            conversation,
            seq: entry.seq,
            taken,
            again,
            expected,
            overtaken_by,
            origin,
            forbidden,
            across_restart,
        })
    }

    /// Takes a durable cursor.
    pub fn audit_cursor(&mut self, user: UserId, conversation: ConversationId, cursors: Cursors) -> Fact {
        self.audited = true;
        let up_to = cursors.delivered;
        match self.users_row(user, conversation) {
            Some(pair) => Fact::Cursor { pair, up_to },
            None => Fact::StrayCursor { user, conversation: self.conversation(conversation), up_to },
        }
    }

    /// Takes a device. All entries have come before.
    pub fn audit_device(&mut self, id: DeviceId, user: UserId, reachable: bool) -> Fact {
        self.audited = true;
        self.settle();
        let device = self.device(id, Some(user));
        self.devices[device].set_user(user);
        self.devices[device].set(mark::REACHABLE, reachable);
        Fact::Device { device }
    }

    /// Closes the fold, so that membership can be asked for.
    pub fn settle(&mut self) {
        self.membership.settle();
        self.spent.settle();
    }

    /// The conversations of a user, in order, with the entries that they may see and that are in the log.
    pub fn owed(&self, user: UserId) -> impl Iterator<Item = (u32, Vec<Range>)> {
        self.membership.of(user).chunk_by(|a, b| a.conversation == b.conversation).map(move |stays| {
            let conversation = stays[0].conversation;
            let head = self.conversations[conversation].head;
            let beyond = [Range { from: head.saturating_add(1), to: u32::MAX }];
            let mut entries = intervals::subtract(&visible(stays), &beyond);
            if let Some(gaps) = self.membership.gaps.get(&conversation) {
                entries = intervals::subtract(&entries, gaps);
            }
            (conversation, intervals::subtract(&entries, &self.hidden(user, conversation)))
        })
    }

    /// How many a gateway has to tell of channels at the end: each device that is there, of each channel that its user is in. `None` where members attack, on
    /// as many connections as they like.
    pub fn followers(&self) -> Option<u64> {
        let there = self.devices.rows().filter(|device| device.is(mark::REACHABLE));
        let followers =
            there.filter_map(|device| device.user()).map(|user| self.membership.channels_of(user)).sum();
        self.insiders.is_empty().then_some(followers)
    }

    /// What is not owed to a user of what they may see of a conversation: who comes and goes in a channel.
    pub(super) fn hidden(&self, user: UserId, conversation: u32) -> Vec<Range> {
        let creator = match self.conversations[conversation].id.name() {
            Some(Name::Group { creator, .. }) => Some(creator),
            Some(Name::Direct { .. }) | None => None,
        };
        self.membership.hidden(user, conversation, creator)
    }

    /// What a user may see of a conversation, with no end while they are a member.
    pub fn may_see(&self, user: UserId, conversation: u32) -> Vec<Range> {
        visible(self.membership.of_in(user, conversation))
    }

    /// The entry that made a user a member for the stay that has not ended and in which they may see this one, and whether that was
    /// the creation.
    pub(super) fn stay_at(&self, user: UserId, conversation: u32, seq: u32) -> Option<(u32, bool)> {
        let stays = self.membership.of_in(user, conversation);
        let stay = stays.iter().find(|stay| stay.to == u32::MAX && stay.from <= seq);
        stay.map(|stay| (stay.joined, stay.since_creation()))
    }

    /// Whether a user was a member after each of these entries, and whether after none of them.
    pub fn membership_after(&self, user: UserId, conversation: u32, prefixes: Range) -> (bool, bool) {
        let stays = self.membership.of_in(user, conversation);
        let always = stays.iter().any(|stay| stay.covers(prefixes.from) && stay.covers(prefixes.to));
        let meets = |stay: &Stay| stay.joined <= prefixes.to && (stay.to == u32::MAX || prefixes.from < stay.to);
        (always, !stays.iter().any(meets))
    }

    /// Whether the audit found an entry at this place.
    pub fn is_logged(&self, conversation: u32, seq: u32) -> bool {
        let gaps = self.membership.gaps.get(&conversation);
        (1..=self.conversations[conversation].head).contains(&seq)
            && !gaps.is_some_and(|gaps| intervals::contains(gaps, seq))
    }

    /// Moves the head of a conversation's log. The place that should have come next, when it is another.
    fn advance(&mut self, conversation: u32, place: u32) -> Option<Seq> {
        let head = self.conversations[conversation].head;
        let next = u64::from(head) + 1;
        if u64::from(place) > next {
            let gap = Range { from: head + 1, to: place - 1 };
            intervals::add(self.membership.gaps.entry(conversation).or_default(), gap);
        }
        self.conversations[conversation].head = head.max(place);
        (u64::from(place) != next).then_some(Seq(next))
    }

    /// Takes an entry into the fold. Why its author may not write it there, if the log before it is whole.
    fn fold(&mut self, conversation: u32, place: u32, entry: &AuditEntry<'_>) -> Option<&'static str> {
        let row = &mut self.conversations[conversation];
        let is_whole = !self.membership.gaps.contains_key(&conversation);
        let AuditEntry { sender: author, what, members: named, .. } = *entry;
        let deed = Deed { conversation: entry.conversation, author, what, named };
        let forbidden = self.membership.forbids(&deed).filter(|_| is_whole);
        self.membership.fold(place, &deed);
        row.created |= what.is_creation();
        row.members_changed |= what.is_change();
        if let Some(changes) = self.contested.get_mut(&conversation).filter(|_| what != What::Text) {
            changes.push(LoggedChange { seq: place, author, what, named: named.into() });
        }
        forbidden
    }
}
