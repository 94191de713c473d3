//! What a commit writes of a conversation beside its entries: what they have changed, and nothing else.
//!
//! **Invariant:** a commit does not grow with the group. A text changes the head and its sender, a join one stretch.

use super::conversation::{Conversation, numbered_as};
use super::membership::Blocks;
use super::regime::Regime;
use super::settings::Settings;
use super::stretches::Stretch;
use squall_protocol::{ClientSeq, ConversationId, Entry, Payload, Seq, Who};

/// What has changed of a device that sends into a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderDelta {
    pub who: Who,
    pub next_client_seq: ClientSeq,
    pub connect_count: u64,
    /// The places of its new messages, ascending.
    pub places: Vec<Seq>,
}

/// What some new entries have changed of their conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDelta {
    pub id: ConversationId,
    pub head: Seq,
    pub direct: bool,
    pub settings: Settings,
    pub blocked: Blocks,
    /// What the group is called, if that has changed.
    pub name: Option<String>,
    /// How many are members now, and how many stretches there are in all.
    pub present: u32,
    pub stretches: u32,
    pub regime: Regime,
    /// Stretches that have begun or ended.
    pub changed: Vec<Stretch>,
    pub senders: Vec<SenderDelta>,
}

impl LogDelta {
    /// What is to be written of a conversation, as memory has it. Its entries are still to be noted.
    pub fn of(log: &Conversation) -> Self {
        let membership = log.membership();
        LogDelta {
            id: log.id(),
            head: log.head(),
            direct: membership.is_direct(),
            settings: membership.settings(),
            blocked: membership.blocked(),
            name: None,
            present: membership.present(),
            stretches: membership.stretches().len() as u32,
            regime: log.regime(),
            changed: Vec::new(),
            senders: Vec::new(),
        }
    }

    /// Takes in what an entry has changed. All that memory has staged of this log is noted, in its order.
    pub fn note(&mut self, log: &Conversation, entry: &Entry) {
        self.changed.extend(log.membership().changed_by(entry.seq, entry.sender, &entry.payload));
        if let Payload::Named(name) = &entry.payload {
            self.name = Some(name.clone());
        }
        let who = numbered_as(entry.sender, entry.device);
        if let Some(delta) = self.senders.iter_mut().find(|delta| delta.who == who) {
            delta.places.push(entry.seq);
            return;
        }
        let sender = log.sender(who).expect("the sender of a staged entry is in memory");
        self.senders.push(SenderDelta {
            who,
            next_client_seq: sender.next_client_seq,
            connect_count: sender.connect_count,
            places: vec![entry.seq],
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{SendOutcome, SendRequest};
    use squall_protocol::{ClientMsgId, DeviceId, UserId};

    fn staged(log: &mut Conversation, sender: UserId, payload: Payload) -> Entry {
        let device = DeviceId(sender.0 * 10);
        let request = SendRequest {
            sender,
            device,
            connect_count: 4,
            client_msg_id: ClientMsgId(u128::from(log.head().0)),
            client_seq: log.next_client_seq((sender, device)),
            payload,
            stored_at_ms: 0,
        };
        match log.handle_send(request) {
            SendOutcome::Staged(entry) => entry,
            outcome => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn a_text_to_a_large_group_changes_its_head_and_one_sender() {
        let members: Vec<UserId> = (1..=5_000).map(UserId).collect();
        let mut log = Conversation::new(ConversationId::group(UserId(1), 7));
        let created = staged(&mut log, UserId(1), Payload::Created { direct: false, channel: false, members });
        let mut delta = LogDelta::of(&log);
        delta.note(&log, &created);
        assert_eq!((delta.changed.len(), delta.stretches, delta.present), (5_000, 5_000, 5_000));

        let first = staged(&mut log, UserId(2), Payload::Text("x".into()));
        let left = staged(&mut log, UserId(3), Payload::left(UserId(9)));
        let second = staged(&mut log, UserId(2), Payload::Text("x".into()));
        let mut delta = LogDelta::of(&log);
        [&first, &left, &second].into_iter().for_each(|entry| delta.note(&log, entry));
        assert_eq!((delta.head, delta.present, delta.stretches), (Seq(4), 4_999, 5_000));
        let gone = Stretch::new(UserId(9), Seq(1), Seq(1), Some(Seq(3)));
        assert_eq!(delta.changed, [gone]);
        let sender = |user: u64, places: &[u64], next| SenderDelta {
            who: (UserId(user), DeviceId(user * 10)),
            next_client_seq: ClientSeq(next),
            connect_count: 4,
            places: places.iter().copied().map(Seq).collect(),
        };
        assert_eq!(delta.senders, [sender(2, &[2, 4], 3), sender(3, &[3], 2)]);
    }
}
