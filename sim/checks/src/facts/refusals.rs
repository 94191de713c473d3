//! Whether the log explains a refusal: at some prefix of it between what had been witnessed when the message was sent and what was
//! durable at the refusal, its reason must hold.
//!
//! What was durable at the refusal nobody outside can know. What was sent after it was not: there the prefixes end.

use super::intervals::Range;
use super::rows::{NONE, known, small};
use super::{Change, Facts, RefusedSend};
use crate::rules::{Deed, Rules};
use squall_history::What;
use squall_protocol::{ClientMsgId, Seq, UserId};

/// Refusals, as the history has them, of whoever is a member.
const RIGHTS: [&str; 2] = ["not_allowed", "blocked"];

/// An entry that changed who may do what, as the audit found it.
#[derive(Debug, Clone)]
pub(super) struct LoggedChange {
    pub seq: u32,
    pub author: UserId,
    pub what: What,
    pub named: Box<[UserId]>,
}

impl Facts {
    /// A person sends something of this kind.
    pub(super) fn note_kind(&mut self, id: ClientMsgId, what: What, named: &[UserId]) {
        let message = self.message(id);
        self.messages[message].known |= match what {
            What::Text => return,
            What::Created | What::CreatedChannel => known::CREATION,
            _ => {
                self.changes.insert(message, Change { what, named: named.into() });
                known::CHANGE
            }
        };
    }

    /// What a message is, as it was sent.
    pub(super) fn kind_of(&self, message: u32) -> What {
        match &self.messages[message] {
            row if row.is(known::CREATION) => What::Created,
            row if row.is(known::CHANGE) => self.changes.get(&message).map_or(What::Text, |change| change.what),
            _ => What::Text,
        }
    }

    /// The prefixes of a log at which a refusal may have been decided.
    fn prefixes(&self, refusal: &RefusedSend, conversation: u32) -> Range {
        let sent_ms = self.messages[refusal.message].sent_ms;
        let head = self.conversations[conversation].head;
        let (mut from, mut to) = (0, head);
        for place in 1..=head {
            let Some(message) = self.at(conversation, place) else { continue };
            let row = &self.messages[message];
            if row.seen_ms < sent_ms {
                from = place;
            }
            if message >= refusal.named && row.is(known::SENT) {
                to = to.min(place - 1);
            }
        }
        Range { from, to: to.max(from) }
    }

    /// Before the audit: whose logs are to be remembered.
    pub(super) fn find_contested(&mut self) {
        for refusal in &self.refusals {
            let row = &self.messages[refusal.message];
            if row.pair != NONE && (row.is(known::CHANGE) || RIGHTS.contains(&refusal.reason)) {
                self.contested.entry(self.pairs[row.pair].conversation).or_default();
            }
        }
    }

    /// That at no prefix of the log at which a refusal may have been decided its reason holds.
    fn unexplained(
        &self,
        refusal: &RefusedSend,
        author: UserId,
        conversation: u32,
        reason: &str,
    ) -> Option<&'static str> {
        let changes = self.contested.get(&conversation)?;
        if self.membership.gaps.contains_key(&conversation) {
            return None;
        }
        let id = self.conversations[conversation].id;
        let named = self.changes.get(&refusal.message).map_or(&[][..], |change| &change.named);
        let deed = Deed { conversation: id, author, what: self.kind_of(refusal.message), named };
        let prefixes = self.prefixes(refusal, conversation);
        let mut rules = Rules::default();
        let holds = |rules: &Rules| rules.objection(&deed).is_some_and(|objection| objection.reason == reason);
        for LoggedChange { seq, author, what, named } in changes.iter().take_while(|c| c.seq <= prefixes.to) {
            if *seq > prefixes.from && holds(&rules) {
                return None;
            }
            rules.fold(*seq, &Deed { conversation: id, author: *author, what: *what, named }, |_| {});
        }
        (!holds(&rules)).then_some("by the log it was in order all the time")
    }

    /// What contradicts a refusal for this reason, if something does.
    pub fn contradicts(&self, refusal: &RefusedSend, reason: &str) -> Option<&'static str> {
        let row = &self.messages[refusal.message];
        let pair = &self.pairs[row.pair];
        let conversation = pair.conversation;
        let sender = self.devices[pair.device].user()?;
        let after = |user| self.membership_after(user, conversation, self.prefixes(refusal, conversation));
        match reason {
            _ if row.is(known::LOGGED) => Some("it is in the log all the same"),
            _ if !self.audited => None,
            "conflict" if row.is(known::CREATION) => {
                let created = self.conversations[conversation].created;
                // The creation is the first entry: at the refusal, it may not even have been sent.
                let existed = created && self.prefixes(refusal, conversation).to > 0;
                (!existed).then_some("nobody else had created the conversation")
            }
            "conflict" | "grouptoolarge" if row.is(known::CHANGE) => {
                self.unexplained(refusal, sender, conversation, reason)
            }
            "notallowed" | "blocked" => self.unexplained(refusal, sender, conversation, reason),
            "notamember" if self.kind_of(refusal.message) == What::ForGood(false) => {
                self.unexplained(refusal, sender, conversation, reason)
            }
            "conflict" => Some("a text can be in conflict with nothing"),
            "notamember" => after(sender).0.then_some("its sender was a member all the time"),
            "unknownconversation" => row
                .is(known::SENT_TO_KNOWN)
                .then_some("an entry of that conversation had been seen before it was sent"),
            _ => Some("nothing that the checks know of explains that"),
        }
    }

    /// Whether an entry's time of storing lies between its send and its first appearance, by a clock that nobody has touched.
    pub(super) fn is_stored_in_time(&self, message: u32, stored_at_ms: u64) -> bool {
        let row = &self.messages[message];
        let Some(stored) = stored_at_ms.checked_sub(self.epoch_ms) else { return false };
        let stored = small(Seq(stored));
        !row.is(known::SENT)
            || (row.sent_ms <= stored.saturating_add(1) && stored <= row.seen_ms.saturating_add(1))
    }
}
