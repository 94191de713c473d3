//! Ticks: how far others have come with what this person has written.
//!
//! A message has them on its line when it is shown again, after a restart; what comes later has a line of its own, once. Of what others have written
//! nobody is told who else has read it.

use super::title;
use squall_core::client::Shown;
use squall_protocol::{ConversationId, Cursors, Payload, Receipt, ReceiptCounts, Receipts, Seq, UserId};
use std::collections::BTreeMap;

/// What is known of one conversation.
#[derive(Debug, Default)]
struct Row {
    /// Where this person's own texts stand, in order.
    own: Vec<Seq>,
    /// How far each of the others has come, and with which of these texts that has been told.
    others: BTreeMap<UserId, (Cursors, Cursors)>,
    counts: Option<ReceiptCounts>,
}

impl Row {
    /// The last of the own texts up to here.
    fn last_own(&self, up_to: Seq) -> Seq {
        let count = self.own.partition_point(|seq| *seq <= up_to);
        count.checked_sub(1).map_or(Seq::ZERO, |last| self.own[last])
    }

    fn own_of(&self, Cursors { delivered, read }: Cursors) -> Cursors {
        Cursors { delivered: self.last_own(delivered), read: self.last_own(read) }
    }
}

/// The ticks of all conversations.
#[derive(Debug, Default)]
pub struct Ticks {
    rows: BTreeMap<ConversationId, Row>,
}

impl Ticks {
    /// An entry is on the screen. Returns what stands behind an own text of which others have been shown something already.
    pub fn note(&mut self, shown: &Shown, own: UserId) -> Option<String> {
        let entry = &shown.entry;
        if entry.sender != own || !matches!(entry.payload, Payload::Text(_)) {
            return None;
        }
        let row = self.rows.entry(shown.conversation).or_default();
        row.own.push(entry.seq);
        let (mut read, mut delivered) = (Vec::new(), Vec::new());
        for (user, (known, told)) in &mut row.others {
            if known.read >= entry.seq {
                read.push(user.to_string());
                told.read = entry.seq;
            } else if known.delivered >= entry.seq {
                delivered.push(user.to_string());
            }
            if known.delivered >= entry.seq {
                told.delivered = entry.seq;
            }
        }
        let part =
            |what: &str, users: Vec<String>| (!users.is_empty()).then(|| format!("{what} {}", users.join(", ")));
        let parts: Vec<String> =
            [part("read by", read), part("delivered to", delivered)].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| format!("\u{2713}\u{2713} {}", parts.join("; ")))
    }

    /// Others have come further: a line for each who has now been shown, or has read, more of what this person has written.
    pub fn handle(&mut self, receipts: &Receipts, own: UserId) -> Vec<String> {
        let conversation = receipts.conversation;
        let title = title(conversation, own);
        let row = self.rows.entry(conversation).or_default();
        let mut lines = Vec::new();
        for receipt in receipts.users.iter().filter(|told| told.user != own) {
            lines.extend(tick(row, receipt).map(|line| format!("[{title} {line}")));
        }
        if let Some(counts) = receipts.counts.filter(|counts| row.counts.replace(*counts) != Some(*counts)) {
            let ReceiptCounts { up_to, delivered, read } = counts;
            // The author has it, too.
            let others = |count: u64| count.saturating_sub(1);
            if row.own.last() == Some(&up_to) && delivered > 1 {
                let (delivered, read) = (others(delivered), read);
                lines
                    .push(format!("[{title} #{up_to}] \u{2713}\u{2713} delivered to {delivered}, read by {read}"));
            }
        }
        lines
    }
}

fn tick(row: &mut Row, receipt: &Receipt) -> Option<String> {
    let known = receipt.cursors();
    let now = row.own_of(known);
    let (_, told) = row.others.get(&receipt.user).copied().unwrap_or_default();
    row.others.insert(receipt.user, (known, told.or_further(now)));
    let user = receipt.user;
    match now {
        Cursors { read, .. } if read > told.read => Some(format!("#{read}] \u{2713}\u{2713} read by {user}")),
        Cursors { delivered, .. } if delivered > told.delivered => {
            Some(format!("#{delivered}] \u{2713}\u{2713} delivered to {user}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_core::client::Via;
    use squall_protocol::{ClientMsgId, ClientSeq, DeviceId, Entry};

    const ANNE: UserId = UserId(1);
    const BERT: UserId = UserId(2);
    const C: ConversationId = ConversationId::direct(ANNE, BERT);

    fn shown(seq: u64, sender: UserId) -> Shown {
        let entry = Entry {
            seq: Seq(seq),
            sender,
            device: DeviceId(1),
            client_msg_id: ClientMsgId(seq.into()),
            client_seq: ClientSeq(seq),
            stored_at_ms: 0,
            payload: Payload::Text("hello".into()),
        };
        Shown { conversation: C, entry, via: Via::Deliver }
    }

    fn told(user: UserId, delivered: u64, read: u64) -> Receipts {
        let users = vec![Receipt { user, delivered: Seq(delivered), read: Seq(read) }];
        Receipts { conversation: C, users, counts: None }
    }

    #[test]
    fn who_is_told_of_are_others_and_of_what_is_ones_own() {
        let mut ticks = Ticks::default();
        assert_eq!(ticks.note(&shown(2, ANNE), ANNE), None);
        assert_eq!(ticks.handle(&told(BERT, 2, 0), ANNE), ["[with 2 #2] \u{2713}\u{2713} delivered to 2"]);
        // Bert writes: he has shown that himself.
        assert_eq!(ticks.note(&shown(3, BERT), ANNE), None);
        assert_eq!(ticks.handle(&told(BERT, 3, 0), ANNE), Vec::<String>::new());
        assert_eq!(ticks.handle(&told(BERT, 3, 3), ANNE), ["[with 2 #2] \u{2713}\u{2713} read by 2"]);
        assert_eq!(ticks.handle(&told(BERT, 3, 3), ANNE), Vec::<String>::new());
        assert_eq!(ticks.handle(&told(ANNE, 3, 3), ANNE), Vec::<String>::new());
    }

    #[test]
    fn what_is_shown_again_says_how_far_others_have_come_with_it() {
        let mut ticks = Ticks::default();
        assert_eq!(ticks.handle(&told(BERT, 4, 2), ANNE), Vec::<String>::new());
        assert_eq!(ticks.note(&shown(2, ANNE), ANNE).as_deref(), Some("\u{2713}\u{2713} read by 2"));
        assert_eq!(ticks.note(&shown(4, ANNE), ANNE).as_deref(), Some("\u{2713}\u{2713} delivered to 2"));
        assert_eq!(ticks.note(&shown(5, ANNE), ANNE), None);
        assert_eq!(ticks.handle(&told(BERT, 4, 4), ANNE), ["[with 2 #4] \u{2713}\u{2713} read by 2"]);
    }

    #[test]
    fn of_a_large_group_it_is_told_how_many() {
        let mut ticks = Ticks::default();
        ticks.note(&shown(2, ANNE), ANNE);
        let counted = |up_to, delivered, read| Receipts {
            conversation: C,
            users: Vec::new(),
            counts: Some(ReceiptCounts { up_to: Seq(up_to), delivered, read }),
        };
        assert_eq!(ticks.handle(&counted(2, 1, 0), ANNE), Vec::<String>::new());
        let line = "[with 2 #2] \u{2713}\u{2713} delivered to 7, read by 3";
        assert_eq!(ticks.handle(&counted(2, 8, 3), ANNE), [line]);
        assert_eq!(ticks.handle(&counted(3, 8, 3), ANNE), Vec::<String>::new());
    }
}
