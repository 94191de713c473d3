//! Receipts on one device: how far its own user and others have come in each conversation, and how much is unread.
//!
//! What has been read is said until the server tells it back. Of what is told each cursor counts as far as it is further than what is known: notices
//! and answers come on different ways, and an older one may be the last to come.
//!
//! **Invariants:** what is unread is what others have written and this device has shown, beyond what its user has read on any of their devices; no
//! cursor goes back. Guarded by `sim/checks/src/receipts_hold.rs`; input by output in `core/tests/receipts.rs`.

use crate::few::Few;
use crate::plant::{Plant, planted};
use crate::time::{MaybeTime, Time};
use squall_protocol::limits::{MAX_ACKS_AGAIN, MAX_UNREAD_COUNTED, READ_RETRY_AFTER, READ_RETRY_MAX};
use squall_protocol::{ConversationId, Cursors, Receipt, ReceiptCounts, Receipts, Seq, UserId};
use std::collections::VecDeque;
use std::time::Duration;

/// What one device knows of one conversation.
#[derive(Debug, Clone, Default)]
struct Row {
    /// How far its user has come, as the server has told.
    own: Cursors,
    /// How far the person has read, on this device or, as far as was told, on another.
    read: Seq,
    /// When that was said last, while it has not been told back, and how often.
    said: MaybeTime,
    tries: u8,
    /// What the device has shown has been said once more on this connection.
    acked_anew: bool,
    /// What it has last acked, when, while that has not been told back, and how often since.
    acked: Seq,
    acked_at: MaybeTime,
    ack_tries: u8,
    others: Few<UserId, Cursors>,
    /// Of large groups alone.
    counts: Option<Box<ReceiptCounts>>,
    /// Others' texts beyond `read`, the latest of them.
    unread: VecDeque<Seq>,
}

/// What a device is to do about what it was told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Whose cursors have moved.
    pub users: Vec<Receipt>,
    pub counts: Option<ReceiptCounts>,
    /// The server does not know how far the device has shown the conversation.
    pub ack: bool,
}

/// The receipts of one device.
#[derive(Debug, Clone, Default)]
pub struct ReceiptBook {
    rows: Few<ConversationId, Row>,
}

/// How long something is waited for that has been said so often again.
fn wait(tries: u8) -> Duration {
    READ_RETRY_AFTER.saturating_mul(1 << tries.min(8)).min(READ_RETRY_MAX)
}

impl Row {
    fn is_unsaid(&self) -> bool {
        self.read > self.own.read
    }

    fn forget_read(&mut self) {
        while self.unread.front().is_some_and(|seq| *seq <= self.read) {
            self.unread.pop_front();
        }
    }

    fn read_due(&self) -> Time {
        match self.said.get() {
            Some(at) if self.is_unsaid() => at + wait(self.tries),
            Some(_) | None => Time::NEVER,
        }
    }

    /// Of a large group nobody is told back what they have been delivered: nothing is said for ever.
    fn ack_due(&self) -> Time {
        match self.acked_at.get() {
            Some(at) if self.acked > self.own.delivered && self.ack_tries < MAX_ACKS_AGAIN => {
                at + wait(self.ack_tries)
            }
            Some(_) | None => Time::NEVER,
        }
    }
}

impl ReceiptBook {
    /// A new connection: what was said on the old one may be lost.
    pub fn handle_connected(&mut self) {
        for (_, row) in self.rows.iter_mut() {
            (row.said, row.tries, row.acked_anew) = (MaybeTime::NONE, 0, false);
            (row.acked_at, row.ack_tries) = (MaybeTime::NONE, 0);
        }
    }

    /// The device shows a text that somebody else has written.
    pub fn handle_text(&mut self, conversation: ConversationId, seq: Seq) {
        let row = self.rows.or_default(conversation);
        if seq <= row.read {
            return;
        }
        if row.unread.len() == MAX_UNREAD_COUNTED {
            row.unread.pop_front();
        }
        row.unread.push_back(seq);
    }

    /// The person has read so far. False: that is known.
    pub fn read(&mut self, conversation: ConversationId, up_to: Seq) -> bool {
        let row = self.rows.or_default(conversation);
        if up_to <= row.read {
            return false;
        }
        row.read = up_to;
        row.forget_read();
        row.tries = 0;
        true
    }

    /// It is said on this connection.
    pub fn handle_said(&mut self, conversation: ConversationId, now: Time) {
        if let Some(row) = self.rows.get_mut(conversation) {
            row.said = MaybeTime::from(now);
        }
    }

    /// What is to be said now, of conversations in which something is: on a new connection, or once more.
    pub fn poll_read(&mut self, now: Time) -> Option<(ConversationId, Seq)> {
        let unsaid =
            self.rows.iter_mut().find(|(_, row)| row.is_unsaid() && (row.said.is_none() || row.read_due() <= now));
        let (conversation, row) = unsaid?;
        if !row.said.is_none() {
            row.tries = row.tries.saturating_add(1);
        }
        row.said = MaybeTime::from(now);
        Some((conversation, row.read))
    }

    /// The device has acked so far.
    pub fn handle_acked(&mut self, conversation: ConversationId, up_to: Seq, now: Time) {
        let row = self.rows.or_default(conversation);
        row.acked = row.acked.max(up_to);
        (row.acked_at, row.ack_tries) = (MaybeTime::from(now), 0);
    }

    /// What is to be acked once more, for it has not been told back.
    pub fn poll_ack(&mut self, now: Time) -> Option<(ConversationId, Seq)> {
        let (conversation, row) = self.rows.iter_mut().find(|(_, row)| row.ack_due() <= now)?;
        row.ack_tries += 1;
        row.acked_at = MaybeTime::from(now);
        Some((conversation, row.acked))
    }

    /// When something is to be said once more.
    pub fn poll_timeout(&self) -> Time {
        self.rows.iter().map(|(_, row)| row.read_due().min(row.ack_due())).fold(Time::NEVER, Time::min)
    }

    /// The server tells how far members have come. `shown` is how far this device has.
    pub fn handle_receipts(&mut self, own: UserId, receipts: Receipts, shown: Seq) -> Told {
        let row = self.rows.or_default(receipts.conversation);
        let mut told = Told::default();
        for receipt in receipts.users {
            let known = if receipt.user == own { &mut row.own } else { row.others.or_default(receipt.user) };
            let further = match planted(Plant::OldReceiptCounts) {
                true => receipt.cursors(),
                false => known.or_further(receipt.cursors()),
            };
            if further != *known {
                *known = further;
                told.users.push(Receipt::of(receipt.user, further));
            }
            if receipt.user == own {
                if !planted(Plant::ReadElsewhereUnheard) {
                    row.read = row.read.max(further.read);
                    row.forget_read();
                }
                if !row.is_unsaid() {
                    row.said = MaybeTime::NONE;
                }
                // What is on its way is told back soon; what was said on an earlier connection may be lost.
                told.ack = !row.acked_anew && further.delivered < shown;
                row.acked_anew = true;
            }
        }
        if receipts.counts.is_some() && receipts.counts.as_ref() != row.counts.as_deref() {
            row.counts = receipts.counts.map(Box::new);
            told.counts = receipts.counts;
        }
        told
    }

    /// How far the person has read, as this device knows.
    pub fn read_up_to(&self, conversation: ConversationId) -> Seq {
        self.rows.get(conversation).map_or(Seq::ZERO, |row| row.read)
    }

    /// Others' texts that the person has not read: as many as are counted, if there are more.
    pub fn unread(&self, conversation: ConversationId) -> usize {
        self.rows.get(conversation).map_or(0, |row| row.unread.len())
    }

    /// How far somebody else has come.
    pub fn of(&self, conversation: ConversationId, user: UserId) -> Cursors {
        self.rows.get(conversation).and_then(|row| row.others.get(user)).copied().unwrap_or_default()
    }

    /// How far others have come who are named, and how many have where they are counted.
    pub fn others(
        &self,
        conversation: ConversationId,
    ) -> (impl Iterator<Item = (UserId, Cursors)>, Option<ReceiptCounts>) {
        let row = self.rows.get(conversation);
        let others = row.into_iter().flat_map(|row| row.others.iter().map(|(user, cursors)| (user, *cursors)));
        (others, row.and_then(|row| row.counts.as_deref().copied()))
    }

    /// Every conversation of which something is known.
    pub fn conversations(&self) -> impl Iterator<Item = ConversationId> {
        self.rows.iter().map(|(conversation, _)| conversation)
    }

    /// Bytes that it holds, about.
    pub fn held_bytes(&self) -> usize {
        let of_row =
            |(_, row): (ConversationId, &Row)| row.others.held_bytes() + row.unread.capacity() * size_of::<Seq>();
        size_of::<Self>() + self.rows.held_bytes() + self.rows.iter().map(of_row).sum::<usize>()
    }
}
