//! What reaches a device's connection, displayed or not: copies, what is held back behind a gap, what is dropped again.
//!
//! What is displayed is judged as such. Of the rest the places are kept until the audit has said who may see them, and so are
//! the places that a span speaks for and does not hold. The stamps of an entry (its author's device, its number there, when it
//! was stored) are compared with those of every other copy as they come.

use super::Facts;
use super::intervals::{self, Range};
use super::rows::{NONE, known, small};
use rustc_hash::FxHashMap;
use squall_history::Arrived;
use squall_protocol::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Seq};

/// Wrong stamps that are kept.
const MAX_KEPT: usize = 1_024;

/// A copy of an entry whose stamps are not those of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongStamp {
    pub t: u64,
    pub message: u32,
    pub conversation: u32,
    /// The device that it reached; `None` for the disk.
    pub device: Option<u32>,
    pub seq: Seq,
    pub what: &'static str,
}

/// What has arrived, as far as it is not known by what is displayed.
#[derive(Default)]
pub(crate) struct Arrivals {
    /// Entries that have arrived, and those of them that were not to be displayed at once.
    pub entries: u64,
    pub aside: u64,
    /// By pair: places of entries that arrived and were not to be displayed, and places that a span spoke for without an entry.
    undisplayed: FxHashMap<u32, Vec<Range>>,
    withheld: FxHashMap<u32, Vec<Range>>,
    /// Stamps that were compared with an earlier copy's, how many of those on disk, and those that were wrong.
    pub stamps: u64,
    pub stamps_on_disk: u64,
    pub wrong_stamps: Vec<WrongStamp>,
}

impl Facts {
    /// A delivery or page that speaks for a range of the log reaches a device.
    pub(super) fn arrived(
        &mut self,
        device: DeviceId,
        conversation: ConversationId,
        span: Range,
        held: &[Arrived],
    ) {
        let pair = self.pair(device, conversation, None);
        let row = &self.pairs[pair];
        let (position, device, conversation) = (row.position, row.device, row.conversation);
        let follows = span.from <= position.saturating_add(1);
        let mut next = span.from;
        for entry in held {
            let place = small(entry.seq);
            self.arrivals.entries += 1;
            if place > next {
                self.spoken_for(pair, Range { from: next, to: place - 1 });
            }
            next = next.max(place.saturating_add(1));
            // What follows on the last entry is displayed now, and judged as such.
            let displayed =
                if place > position { follows && place <= span.to } else { self.has_displayed(pair, place) };
            if !displayed {
                self.arrivals.aside += 1;
                let aside = self.arrivals.undisplayed.entry(pair).or_default();
                intervals::add(aside, Range { from: place, to: place });
            }
            let message = self.message(entry.client_msg_id);
            let stamps = (Some(entry.author), Some(entry.client_seq), entry.stored_at_ms);
            self.compare_stamps(message, conversation, Some(device), entry.seq, stamps);
        }
        if next <= span.to {
            self.spoken_for(pair, Range { from: next, to: span.to });
        }
    }

    fn spoken_for(&mut self, pair: u32, range: Range) {
        intervals::add(self.arrivals.withheld.entry(pair).or_default(), range);
    }

    /// An ack says when the message was stored.
    pub(super) fn ack_stamp(
        &mut self,
        device: u32,
        conversation: u32,
        id: ClientMsgId,
        seq: Seq,
        stored_at_ms: u64,
    ) {
        let message = self.message(id);
        self.compare_stamps(message, conversation, Some(device), seq, (None, None, stored_at_ms));
    }

    /// Compares a copy's stamps with those of the copies before it; the first sets them.
    pub(super) fn compare_stamps(
        &mut self,
        message: u32,
        conversation: u32,
        device: Option<u32>,
        seq: Seq,
        (author, client_seq, stored_at_ms): (Option<DeviceId>, Option<ClientSeq>, u64),
    ) {
        let row = &self.messages[message];
        let sender = (row.is(known::SENT) && row.pair != NONE)
            .then(|| self.guesses.number(self.devices[self.pairs[row.pair].device].id));
        let row = &mut self.messages[message];
        self.arrivals.stamps += u64::from(row.stored_ms != 0);
        self.arrivals.stamps_on_disk += u64::from(row.stored_ms != 0 && device.is_none());
        let same = |kept: &mut u32, new: u32| {
            std::mem::replace(kept, if *kept == 0 { new } else { *kept }) == 0 || *kept == new
        };
        let stored = same(&mut row.stored_ms, (stored_at_ms as u32).max(1));
        let number = client_seq.is_none_or(|number| same(&mut row.client_seq, (number.0 as u32).max(1)));
        let by_its_author = author.is_none_or(|author| sender.is_none_or(|sender| sender == author));
        let what = match (stored, number, by_its_author) {
            (true, true, true) => return,
            (false, _, _) => "another time of storing than an earlier copy",
            (_, false, _) => "another number at its author's device than an earlier copy",
            (_, _, false) => "an author's device that did not send it",
        };
        self.keep(message, conversation, device, seq, what);
    }

    /// The disk says that an entry was stored before it was sent, or after somebody had it.
    pub(super) fn wrong_time(&mut self, message: u32, conversation: u32, seq: Seq) {
        self.keep(
            message,
            conversation,
            None,
            seq,
            "a time of storing that is not between its send and its first appearance",
        );
    }

    fn keep(&mut self, message: u32, conversation: u32, device: Option<u32>, seq: Seq, what: &'static str) {
        if self.arrivals.wrong_stamps.len() < MAX_KEPT {
            let t = self.now;
            self.arrivals.wrong_stamps.push(WrongStamp { t, message, conversation, device, seq, what });
        }
    }

    /// What has arrived without being displayed and is none of its user's business, and what was withheld of what is; by pair.
    pub fn astray(&self) -> Vec<(u32, Range, Astray)> {
        let mut found = Vec::new();
        for (places, astray) in
            [(&self.arrivals.undisplayed, Astray::Told), (&self.arrivals.withheld, Astray::Withheld)]
        {
            let mut pairs: Vec<_> = places.iter().collect();
            pairs.sort_unstable_by_key(|(pair, _)| **pair);
            for (pair, places) in pairs {
                let row = &self.pairs[*pair];
                let conversation = &self.conversations[row.conversation];
                let Some(user) = self.devices[row.device].user().filter(|_| conversation.created) else {
                    continue;
                };
                let visible = self.may_see(user, row.conversation);
                let beyond = Range { from: conversation.head.saturating_add(1), to: u32::MAX };
                let wrong = match astray {
                    Astray::Told => intervals::subtract(places, &visible),
                    Astray::Withheld => {
                        let logged = intervals::subtract(&visible, &[beyond]);
                        let logged = intervals::subtract(&logged, &self.hidden(user, row.conversation));
                        intervals::subtract(places, &intervals::subtract(places, &logged))
                    }
                };
                found.extend(wrong.into_iter().map(|range| (*pair, range, astray)));
            }
        }
        found
    }
}

/// How a span was wrong for its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Astray {
    /// It held an entry that its user may not see.
    Told,
    /// It spoke for a place and left out the entry there, which its user may see.
    Withheld,
}
