//! One conversation's log as its shard keeps it in memory: sequence, dedup, membership.
//!
//! The machine runs ahead of the disk: what it accepts is *staged* until `handle_durable`. When a commit fails,
//! whether its entries are on disk is unknown; the shard then drops every machine and loads them anew.
//!
//! **Invariants:** `seq` is dense from 1 and never reused (`sim/checks/src/dense_sequence.rs`); one entry a
//! `client_msg_id` (`no_duplicates.rs`); a device's entries stand in its own order (`sender_order.rs`). Whoever writes under a number
//! that is somebody else's as well has messages of their own, and the other's are not concerned (the tests below).

use super::membership::Membership;
use super::regime::{Hidden, Regime, Standing};
use super::rights::admit;
use crate::plant::{Plant, planted};
use squall_protocol::limits::DEDUP_WINDOW;
use squall_protocol::{
    ClientMsgId, ClientSeq, ConversationId, DeviceId, Entry, Payload, Refusal, Seq, UserId, Who,
};
use std::collections::VecDeque;

/// A send as it reaches the shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendRequest {
    pub sender: UserId,
    pub device: DeviceId,
    pub connect_count: u64,
    pub client_msg_id: ClientMsgId,
    pub client_seq: ClientSeq,
    pub payload: Payload,
    /// Wall clock of the shard, milliseconds since the Unix epoch.
    pub stored_at_ms: u64,
}

/// What becomes of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// A new entry: commit it, then answer.
    Staged(Entry),
    /// The message is entry `seq` already. Answer when that is durable.
    Duplicate(Seq),
    /// The number was taken long ago, by a message that is no longer known by heart: look it up in the log.
    Old,
    Refused(Refusal),
    /// A copy from a connection that is not the device's newest, which has this count: it is not stored. Mostly the device has
    /// left that connection; one that is really there counts on from here.
    Stale {
        highest: u64,
    },
}

/// What the log knows of one device that has sent into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    pub who: Who,
    pub next_client_seq: ClientSeq,
    /// The highest connect count that a send of this device carried.
    pub connect_count: u64,
    /// The last `DEDUP_WINDOW` accepted messages, oldest first.
    pub recent: VecDeque<(ClientMsgId, Seq)>,
}

impl Sender {
    /// The accepted message with this number, if it is remembered.
    fn numbered(&self, number: ClientSeq) -> Option<Seq> {
        let back = self.next_client_seq.0.checked_sub(number.0)?;
        let index = self.recent.len().checked_sub(usize::try_from(back).ok()?)?;
        self.recent.get(index).map(|(_, seq)| *seq)
    }
}

impl Sender {
    /// Whether a disk knows of it what is known here. A connect count without a message of its own is in memory alone.
    pub fn is_as_on_disk(&self, disk: Option<&Sender>) -> bool {
        match disk {
            Some(disk) => self.next_client_seq == disk.next_client_seq && self.recent == disk.recent,
            None => self.recent.is_empty(),
        }
    }
}

/// Whose messages are numbered together: a device's.
pub fn numbered_as(user: UserId, device: DeviceId) -> Who {
    (user, if planted(Plant::DedupByUserNotDevice) { DeviceId(user.0) } else { device })
}

/// One conversation in memory: its membership, and of the devices that send into it those that have since it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    id: ConversationId,
    /// The last assigned place.
    head: Seq,
    /// The last place that is on disk.
    durable: Seq,
    membership: Membership,
    /// The last staged entry that changes who is a member, or who may do what; 0 when none does.
    membership_staged: Seq,
    regime: Regime,
    /// As of the last time that nothing was staged that changes the membership.
    durable_regime: Regime,
    /// Of a channel of which somebody has asked for a page.
    hidden: Option<Box<Hidden>>,
    /// In order of user and device.
    senders: Vec<Sender>,
}

impl Conversation {
    /// A conversation that no entry has created yet.
    pub fn new(id: ConversationId) -> Self {
        Conversation::load(id, Seq::ZERO, Membership::default())
    }

    /// A conversation as the disk has it. Its senders come one by one, when they send.
    pub fn load(id: ConversationId, head: Seq, membership: Membership) -> Self {
        Conversation {
            id,
            head,
            durable: head,
            membership,
            membership_staged: Seq::ZERO,
            regime: Regime::default(),
            durable_regime: Regime::default(),
            hidden: None,
            senders: Vec::new(),
        }
    }

    /// The same, of which the disk says whether it is a channel.
    pub fn with_regime(self, regime: Regime) -> Self {
        Conversation { regime, durable_regime: regime, ..self }
    }

    /// Takes in what the disk knows of a device that is about to send.
    pub fn load_sender(&mut self, sender: Sender) {
        let place = self.find(sender.who);
        assert!(place.is_err(), "{:?} of {:?} is loaded over what memory has", sender.who, self.id);
        self.insert_sender(place.unwrap_or_else(|place| place), sender);
    }

    fn insert_sender(&mut self, place: usize, sender: Sender) {
        // Room for one more, not for four: there are as many of these lists as conversations.
        self.senders.reserve_exact(1);
        self.senders.insert(place, sender);
    }

    fn find(&self, who: Who) -> Result<usize, usize> {
        self.senders.binary_search_by_key(&who, |s| s.who)
    }

    /// What is known of a device. Without `load_sender` before its first send nothing is.
    pub fn sender(&self, who: Who) -> Option<&Sender> {
        self.find(who).ok().map(|index| &self.senders[index])
    }

    /// For a planted bug: takes back what is staged, and forgets that members were part of it.
    pub fn take_back_all_but_members(&mut self) {
        (self.head, self.membership_staged, self.senders) = (self.durable, Seq::ZERO, Vec::new());
    }

    /// Those that have sent since it was loaded, in order.
    pub fn senders(&self) -> &[Sender] {
        &self.senders
    }

    /// What of it, if anything, is other than a disk has it. Of what is staged a disk knows nothing: that is no difference.
    pub fn differs_from(&self, disk: &Conversation) -> Option<&'static str> {
        let parts = [
            ("its head", self.head == disk.head),
            ("its members", self.membership == disk.membership),
            ("whether it is a channel", self.regime == disk.regime),
        ];
        let first = parts.into_iter().find(|(_, same)| !same);
        first.filter(|_| self.is_settled()).map(|(what, _)| what)
    }

    pub fn id(&self) -> ConversationId {
        self.id
    }

    pub fn head(&self) -> Seq {
        self.head
    }

    pub fn durable(&self) -> Seq {
        self.durable
    }

    /// Stays of members and senders that are known of it: what it takes in memory goes with them.
    pub fn rows(&self) -> usize {
        1 + self.membership.stretches().len() + self.senders.len()
    }

    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Whether it is a channel, staged entries included.
    pub fn regime(&self) -> Regime {
        self.regime
    }

    /// An entry that has just been staged may make it a channel, or one no more. Whoever stages says so next.
    pub fn note_regime(&mut self, entry: &Entry, channel_above: u32) {
        if entry.payload.changes_membership() && !self.membership.is_direct() {
            let before = self.regime;
            self.regime = before.after(entry.seq, self.membership.present(), channel_above);
            match &mut self.hidden {
                Some(hidden) if before == self.regime => hidden.add(entry.seq),
                hidden => *hidden = None,
            }
        }
    }

    /// Of a channel: what is shown to those of whom it speaks, who are not all of its members. Its creator is shown all.
    pub fn hidden(&mut self, user: UserId) -> Option<(&Hidden, &Membership)> {
        if self.regime.0 == Seq::ZERO || self.id.founded_by(user) {
            return None;
        }
        let (membership, regime) = (&self.membership, self.regime);
        let hidden = self.hidden.get_or_insert_with(|| Box::new(Hidden::of(membership, regime)));
        Some((hidden, membership))
    }

    /// Where it stands for a user, as far as it is durable; `None` for a stranger. While it is staged that it is no channel any more,
    /// which may fail, whoever asks is told of one: to follow what is none costs an answer, not to follow what is one would cost entries.
    pub fn standing(&self, user: UserId) -> Option<Standing> {
        let regime = if self.regime.is_channel(self.durable) { self.regime } else { self.durable_regime };
        self.membership.standing(user, self.durable, regime)
    }

    /// Whether it is known for good to be no channel: nothing that is staged may make it one again by failing.
    pub fn is_no_channel(&self) -> bool {
        self.membership_is_durable() && !self.regime.is_channel(self.durable)
    }

    /// Who is a member, and may do what, according to memory is so on disk as well. While it is not, nothing definite can be said of it.
    pub fn membership_is_durable(&self) -> bool {
        self.membership_staged == Seq::ZERO
    }

    /// Nothing is staged: the disk has all that memory has.
    pub fn is_settled(&self) -> bool {
        self.head == self.durable
    }

    /// Judges a send of a device that has been loaded, if the disk knows it. The order of the questions matters: a resend is
    /// recognised even when its sender has left since.
    pub fn handle_send(&mut self, request: SendRequest) -> SendOutcome {
        let sender = self.find(numbered_as(request.sender, request.device));
        let (next, connect_count) = match sender {
            Err(_) => (ClientSeq::FIRST, 0),
            Ok(i) => {
                let sender = &self.senders[i];
                let known = sender.recent.iter().find(|(id, _)| *id == request.client_msg_id);
                if let Some((_, seq)) = known.filter(|_| !planted(Plant::NoServerDedup)) {
                    return SendOutcome::Duplicate(*seq);
                }
                if planted(Plant::DedupByUserNotDevice)
                    && let Some(seq) = sender.numbered(request.client_seq)
                {
                    return SendOutcome::Duplicate(seq);
                }
                (sender.next_client_seq, sender.connect_count)
            }
        };
        let takes_any_number = planted(Plant::NoServerDedup) || planted(Plant::ResendReorders);
        let (next, connect_count) =
            if takes_any_number { (request.client_seq, request.connect_count) } else { (next, connect_count) };
        if request.connect_count < connect_count && !planted(Plant::DedupByUserNotDevice) {
            return SendOutcome::Stale { highest: connect_count };
        }
        if request.client_seq < next && request.client_seq >= ClientSeq::FIRST {
            return SendOutcome::Old;
        }
        if request.client_seq != next {
            // Before membership: what makes the sender a member may be the very message that this one overtook.
            return SendOutcome::Refused(Refusal::ExpectedClientSeq(next));
        }
        let admitted = admit(self.id, request.sender, &request.payload);
        if let Err(refusal) = admitted.and_then(|()| self.membership.check(request.sender, &request.payload)) {
            return SendOutcome::Refused(refusal);
        }
        SendOutcome::Staged(self.stage(sender, request))
    }

    fn stage(&mut self, sender: Result<usize, usize>, request: SendRequest) -> Entry {
        let seq = self.head.next();
        self.head = seq;
        self.membership.apply(seq, request.sender, &request.payload);
        if request.payload.changes_rights() {
            self.membership_staged = seq;
        }
        let index = sender.unwrap_or_else(|place| {
            let new = Sender {
                who: numbered_as(request.sender, request.device),
                next_client_seq: ClientSeq::FIRST,
                connect_count: 0,
                recent: VecDeque::new(),
            };
            self.insert_sender(place, new);
            place
        });
        let sender = &mut self.senders[index];
        sender.next_client_seq = request.client_seq.next();
        sender.connect_count = request.connect_count;
        if sender.recent.len() == DEDUP_WINDOW {
            sender.recent.pop_front();
        }
        if sender.recent.len() == sender.recent.capacity() {
            sender.recent.reserve_exact(1 + sender.recent.len() / 2);
        }
        sender.recent.push_back((request.client_msg_id, seq));
        Entry {
            seq,
            sender: request.sender,
            device: request.device,
            client_msg_id: request.client_msg_id,
            client_seq: request.client_seq,
            stored_at_ms: request.stored_at_ms,
            payload: request.payload,
        }
    }

    /// The number that the log takes next from this device.
    pub fn next_client_seq(&self, who: Who) -> ClientSeq {
        self.sender(who).map_or(ClientSeq::FIRST, |s| s.next_client_seq)
    }

    /// Everything up to `seq` is on disk.
    pub fn handle_durable(&mut self, seq: Seq) {
        assert!(seq <= self.head, "entry {seq} of {:?} was never staged", self.id);
        self.durable = self.durable.max(seq);
        if self.membership_staged <= self.durable {
            self.membership_staged = Seq::ZERO;
            self.durable_regime = self.regime;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: UserId = UserId(1);
    const B: UserId = UserId(2);

    fn send(sender: UserId, id: u128, client_seq: u64, payload: Payload) -> SendRequest {
        SendRequest {
            sender,
            device: DeviceId(sender.0 * 10),
            connect_count: 1,
            client_msg_id: ClientMsgId(id),
            client_seq: ClientSeq(client_seq),
            payload,
            stored_at_ms: 0,
        }
    }

    fn text(sender: UserId, id: u128, client_seq: u64) -> SendRequest {
        send(sender, id, client_seq, Payload::Text("x".into()))
    }

    fn created() -> Conversation {
        let mut c = Conversation::new(ConversationId::direct(A, B));
        let create = send(A, 1, 1, Payload::Created { direct: true, channel: false, members: vec![A, B] });
        assert!(matches!(c.handle_send(create), SendOutcome::Staged(e) if e.seq == Seq(1)));
        c
    }

    fn seq_of(outcome: SendOutcome) -> Option<Seq> {
        match outcome {
            SendOutcome::Staged(entry) => Some(entry.seq),
            _ => None,
        }
    }

    #[test]
    fn a_resend_of_a_staged_message_joins_it() {
        let mut c = created();
        assert_eq!(seq_of(c.handle_send(text(A, 2, 2))), Some(Seq(2)));
        assert!(!c.is_settled());
        assert_eq!(c.handle_send(text(A, 2, 2)), SendOutcome::Duplicate(Seq(2)));
        c.handle_durable(Seq(2));
        assert_eq!(c.handle_send(text(A, 2, 2)), SendOutcome::Duplicate(Seq(2)));
    }

    #[test]
    fn a_gap_is_answered_with_the_number_that_is_due() {
        let mut c = created();
        assert_eq!(c.handle_send(text(A, 9, 5)), SendOutcome::Refused(Refusal::ExpectedClientSeq(ClientSeq(2))));
        assert_eq!(c.handle_send(text(B, 9, 2)), SendOutcome::Refused(Refusal::ExpectedClientSeq(ClientSeq(1))));
        // No message has the number 0: nothing is looked up for it.
        assert_eq!(c.handle_send(text(A, 9, 0)), SendOutcome::Refused(Refusal::ExpectedClientSeq(ClientSeq(2))));
        assert_eq!(seq_of(c.handle_send(text(B, 10, 1))), Some(Seq(2)));
    }

    #[test]
    fn a_message_that_overtook_the_creation_before_it_is_called_back_not_refused() {
        let mut c = Conversation::new(ConversationId::direct(A, B));
        assert_eq!(c.handle_send(text(A, 2, 2)), SendOutcome::Refused(Refusal::ExpectedClientSeq(ClientSeq(1))));
        let create = send(A, 1, 1, Payload::Created { direct: true, channel: false, members: vec![A, B] });
        assert_eq!(seq_of(c.handle_send(create)), Some(Seq(1)));
        assert_eq!(seq_of(c.handle_send(text(A, 2, 2))), Some(Seq(2)));
    }

    #[test]
    fn a_refusal_consumes_no_number() {
        let mut c = created();
        assert_eq!(c.handle_send(text(UserId(3), 4, 1)), SendOutcome::Refused(Refusal::NotAMember));
        assert_eq!(
            c.handle_send(send(A, 5, 2, Payload::joined(UserId(3)))),
            SendOutcome::Refused(Refusal::Conflict)
        );
        assert_eq!(seq_of(c.handle_send(text(A, 6, 2))), Some(Seq(2)));
    }

    #[test]
    fn a_copy_from_an_older_connection_cannot_overtake() {
        let mut c = created();
        let mut newer = text(A, 2, 2);
        newer.connect_count = 2;
        assert_eq!(seq_of(c.handle_send(newer)), Some(Seq(2)));
        assert_eq!(c.handle_send(text(A, 3, 3)), SendOutcome::Stale { highest: 2 });
    }

    #[test]
    fn a_message_beyond_the_window_is_looked_up() {
        let mut c = created();
        for n in 0..DEDUP_WINDOW as u64 {
            assert!(seq_of(c.handle_send(text(A, 100 + u128::from(n), 2 + n))).is_some());
        }
        assert_eq!(c.handle_send(send(A, 1, 1, Payload::Text("x".into()))), SendOutcome::Old);
        assert_eq!(c.handle_send(text(A, 100, 2)), SendOutcome::Duplicate(Seq(2)));
    }

    #[test]
    fn whoever_writes_under_the_number_of_another_s_device_is_no_concern_of_its() {
        let mut c = created();
        let guessed = |id, client_seq, connect_count| SendRequest {
            device: DeviceId(A.0 * 10),
            connect_count,
            ..text(B, id, client_seq)
        };
        // Bert has numbers of his own there, from 1, whatever Anne's device has sent.
        assert_eq!(
            c.handle_send(guessed(2, 2, 9)),
            SendOutcome::Refused(Refusal::ExpectedClientSeq(ClientSeq::FIRST))
        );
        assert_eq!(seq_of(c.handle_send(guessed(2, 1, 9))), Some(Seq(2)));
        assert_eq!(c.handle_send(guessed(2, 1, 9)), SendOutcome::Duplicate(Seq(2)));
        // Anne's message is not taken for his, her number is not used up, and her connection has not been left.
        assert_eq!(c.handle_send(text(A, 1, 1)), SendOutcome::Duplicate(Seq(1)));
        assert_eq!(seq_of(c.handle_send(text(A, 3, 2))), Some(Seq(3)));
        assert_eq!(seq_of(c.handle_send(text(B, 4, 1))), Some(Seq(4)));
    }

    #[test]
    fn a_number_that_another_has_used_first_is_still_free_for_its_device() {
        let mut c = created();
        let first = SendRequest { device: DeviceId(B.0 * 10), ..text(A, 2, 1) };
        assert_eq!(seq_of(c.handle_send(first)), Some(Seq(2)));
        assert_eq!(seq_of(c.handle_send(text(B, 3, 1))), Some(Seq(3)));
    }
}
