//! A conversation's sends on one device: in order, each with its number, until acked or refused.
//!
//! **Invariant:** numbers are dense; the front of the queue has the lowest one, and an answered message leaves
//! the queue for good. Guarded by `sim/checks/src/sender_order.rs`.

use super::output::ResendCause;
use crate::plant::{Plant, planted};
use crate::time::Time;
use squall_protocol::limits::{MAX_SENDS_IN_FLIGHT, RESEND_AFTER, RETRY_AFTER_MAX, REWIND_PAUSE};
use squall_protocol::{ClientMsgId, ClientSeq, Payload};
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Pending {
    pub id: ClientMsgId,
    pub payload: Payload,
    /// When it last went out on this connection, unless it is to go out again at once.
    sent_at: Option<Time>,
    /// When it last went out at all.
    copied_at: Time,
    /// It has been on some wire before.
    seen_wire: bool,
    /// Copies on this connection that have had no answer. What an older copy is told is no news once a newer one is on the way.
    on_the_way: u16,
    /// It is on the server's disk, but a message before it is still unanswered.
    stored: bool,
}

/// A message to put on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmission {
    pub id: ClientMsgId,
    pub client_seq: ClientSeq,
    pub payload: Payload,
    /// `None`: it goes out for the first time.
    pub resend: Option<ResendCause>,
}

#[derive(Debug, Clone)]
pub struct Outbox {
    /// The number of the front message.
    base: ClientSeq,
    queue: VecDeque<Pending>,
    /// Since when the front message waits for an answer on this connection.
    waiting_since: Option<Time>,
    rewound_at: Option<Time>,
    /// When any message had an answer on this connection. While there are answers, what is on the way comes at the link's own speed.
    answered_at: Time,
    /// The user has been told to wait: nothing goes out before, on whatever connection.
    not_before: Time,
    /// The number of the front message is a guess, or the one before it was refused: nothing may overtake it.
    one_at_a_time: bool,
    /// How many messages may be on the way: one more for each that is stored since the user was told to wait.
    pace: u8,
    /// Why what has no answer was last called back to go out again.
    rewound_for: ResendCause,
}

/// When a message that went out at `sent_at` goes out again.
fn overdue_at(sent_at: Time, answered_at: Time) -> Time {
    sent_at.max(answered_at) + RESEND_AFTER
}

impl Outbox {
    pub fn new(base: ClientSeq) -> Self {
        Outbox {
            base,
            queue: VecDeque::new(),
            waiting_since: None,
            rewound_at: None,
            answered_at: Time::ZERO,
            not_before: Time::ZERO,
            one_at_a_time: false,
            pace: MAX_SENDS_IN_FLIGHT as u8,
            rewound_for: ResendCause::Connected,
        }
    }

    pub fn push(&mut self, id: ClientMsgId, payload: Payload) {
        self.queue.push_back(Pending {
            id,
            payload,
            sent_at: None,
            copied_at: Time::ZERO,
            seen_wire: false,
            on_the_way: 0,
            stored: false,
        });
    }

    /// The device does not know what it sent in an earlier life. Until the shard has answered for a number, one message at a time
    /// is on the way: of several, one could be taken for its number while the one before it is told another.
    pub fn guess(&mut self) {
        self.one_at_a_time = true;
    }

    pub fn base(&self) -> ClientSeq {
        self.base
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes that it holds beside its own row.
    pub fn held_bytes(&self) -> usize {
        let texts = self.queue.iter().map(|pending| pending.payload.held_bytes()).sum::<usize>();
        self.queue.capacity() * size_of::<Pending>() + texts
    }

    /// The messages that have no answer yet, in order.
    pub fn unanswered(&self) -> impl Iterator<Item = ClientMsgId> {
        self.queue.iter().filter(|pending| !pending.stored).map(|pending| pending.id)
    }

    /// A new connection: nothing is on the way on it.
    pub fn handle_connected(&mut self) {
        self.waiting_since = None;
        self.rewound_at = None;
        self.answered_at = Time::ZERO;
        self.queue.iter_mut().for_each(|pending| pending.on_the_way = 0);
        if planted(Plant::SendAbandonedOnReconnect) {
            while self.queue.pop_front_if(|pending| pending.seen_wire).is_some() {
                self.base = self.base.next();
            }
        }
        self.rewind(ResendCause::Connected);
    }

    fn rewind(&mut self, cause: ResendCause) {
        self.rewound_for = cause;
        for pending in &mut self.queue {
            pending.sent_at = None;
        }
    }

    /// Some copy of this message has had an answer, whatever it says. True: it is news, for neither this message nor the one in
    /// front has gone out again since.
    fn note_answer(&mut self, id: ClientMsgId, now: Time) -> bool {
        self.answered_at = now;
        self.waiting_since = self.waiting_since.map(|_| now);
        let front_copied_at = self.queue.front().map_or(Time::ZERO, |front| front.copied_at);
        let Some(pending) = self.queue.iter_mut().find(|p| p.id == id) else { return true };
        pending.on_the_way = pending.on_the_way.saturating_sub(1);
        pending.on_the_way == 0 && front_copied_at <= pending.copied_at
    }

    /// How many messages may be on the way.
    fn window(&self) -> usize {
        if self.one_at_a_time { 1 } else { usize::from(self.pace) }
    }

    /// What goes out now: unsent messages inside the window, and those whose ack is overdue.
    pub fn transmit(&mut self, now: Time, mut out: impl FnMut(Transmission)) {
        if now < self.not_before {
            return;
        }
        let mut client_seq = self.base;
        let window = self.window();
        let answered_at = self.answered_at;
        for pending in self.queue.iter_mut().take(window) {
            let overdue = pending.sent_at.is_some_and(|at| now >= overdue_at(at, answered_at));
            if !pending.stored && (pending.sent_at.is_none() || overdue) {
                (pending.sent_at, pending.copied_at) = (Some(now), now);
                pending.on_the_way = pending.on_the_way.saturating_add(1);
                let is_resend = std::mem::replace(&mut pending.seen_wire, true);
                if is_resend && planted(Plant::ResendWithNewId) {
                    pending.id.0 += 1;
                }
                self.waiting_since.get_or_insert(now);
                let cause = if overdue { ResendCause::Overdue } else { self.rewound_for };
                let resend = is_resend.then_some(cause);
                out(Transmission { id: pending.id, client_seq, payload: pending.payload.clone(), resend });
            }
            client_seq = client_seq.next();
        }
    }

    /// The server has stored the message. `None`: it was answered before.
    ///
    /// A message behind the front keeps its place, so that the numbers of the others stay right, until those before
    /// it are answered too.
    pub fn handle_stored(&mut self, id: ClientMsgId, now: Time) -> Option<(ClientSeq, Payload)> {
        self.note_answer(id, now);
        let index = self.queue.iter().position(|p| p.id == id && !p.stored)?;
        let client_seq = ClientSeq(self.base.0 + index as u64);
        let pending = &mut self.queue[index];
        pending.stored = true;
        self.one_at_a_time = false;
        self.pace = (self.pace + 1).min(MAX_SENDS_IN_FLIGHT as u8);
        let payload = pending.payload.clone();
        while self.queue.pop_front_if(|p| p.stored).is_some() {
            self.base = self.base.next();
        }
        self.waiting_since = self.queue.front().and_then(|p| p.sent_at).map(|_| now);
        Some((client_seq, payload))
    }

    /// Takes the message out because the server refused it for good, which is an answer; its number is free again.
    ///
    /// Those behind it on the way carry numbers that are now one too high, and mostly share its lot: they go out again one at a
    /// time until one is stored. Copies of large bodies take their time on a slow link, and a whole window for each refusal is
    /// more than it carries.
    pub fn handle_refused(&mut self, id: ClientMsgId, now: Time) -> Option<Pending> {
        self.note_answer(id, now);
        let index = self.queue.iter().position(|p| p.id == id)?;
        let refused = self.queue.remove(index)?;
        self.one_at_a_time = true;
        self.waiting_since = self.waiting_since.filter(|_| !self.queue.is_empty());
        self.rewound_for = ResendCause::Refused;
        for pending in self.queue.iter_mut().skip(index) {
            pending.sent_at = None;
        }
        Some(refused)
    }

    /// The shard, asked to take message `id`, wants number `expected` next: go back to it. False when that has just been
    /// done.
    ///
    /// A front message that is told a higher number than its own carries one that another message has: this device has
    /// forgotten what it sent in an earlier life, and goes on from where the shard stands.
    pub fn handle_expected(&mut self, id: ClientMsgId, expected: ClientSeq, now: Time) -> bool {
        let is_news = self.note_answer(id, now);
        let is_front = self.queue.front().is_some_and(|p| p.id == id);
        if is_front && expected > self.base {
            self.base = expected;
            self.one_at_a_time = false;
            self.rewind(ResendCause::Refused);
            return true;
        }
        if !is_news || self.rewound_at.is_some_and(|at| now.since(at) < REWIND_PAUSE) {
            return false;
        }
        self.rewound_at = Some(now);
        if expected < self.base || self.queue.is_empty() {
            self.base = expected;
        }
        self.rewind(ResendCause::Refused);
        true
    }

    /// The shard is busy, which is an answer; the message goes out again when its ack is overdue.
    pub fn handle_busy(&mut self, id: ClientMsgId, now: Time) {
        self.note_answer(id, now);
    }

    /// The user has done too much: everything goes out again, in order, when the wait is over. Until then there is room for one
    /// message, so one goes first, and each that is stored lets one more be on the way: a whole window at once would mostly be told
    /// to wait again.
    pub fn handle_too_often(&mut self, id: ClientMsgId, wait: Duration, now: Time) {
        self.note_answer(id, now);
        let wait = if planted(Plant::WaitInSeconds) { wait * 1_000 } else { wait };
        if planted(Plant::SendForgottenWhenToldToWait) {
            self.queue.pop_front();
        }
        self.not_before = self.not_before.max(now + wait.min(RETRY_AFTER_MAX));
        self.waiting_since = None;
        self.pace = 1;
        self.rewind(ResendCause::Refused);
    }

    /// Since when an answer is waited for on this connection.
    pub fn waiting_since(&self) -> Option<Time> {
        self.waiting_since.filter(|_| !planted(Plant::HalfOpenNeverNoticed))
    }

    /// When something is to be sent, for the first time or again.
    pub fn poll_timeout(&self) -> Time {
        let waits = self.queue.iter().any(|p| !p.stored && p.sent_at.is_none());
        if waits && self.waiting_since.is_none() && self.not_before > Time::ZERO {
            return self.not_before;
        }
        self.queue
            .iter()
            .take(self.window())
            .filter(|p| !p.stored)
            .filter_map(|p| p.sent_at)
            .min()
            .map_or(Time::NEVER, |at| overdue_at(at, self.answered_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(n: u128) -> Outbox {
        let mut outbox = Outbox::new(ClientSeq::FIRST);
        for id in 1..=n {
            outbox.push(ClientMsgId(id), Payload::Text(id.to_string()));
        }
        outbox
    }

    fn sent(outbox: &mut Outbox, now: Time) -> Vec<(u128, u64, bool)> {
        let mut out = Vec::new();
        outbox.transmit(now, |t| out.push((t.id.0, t.client_seq.0, t.resend.is_some())));
        out
    }

    const fn at(ms: u64) -> Time {
        Time(ms * 1_000)
    }

    #[test]
    fn messages_go_out_once_and_again_when_the_ack_is_overdue() {
        let mut o = outbox(2);
        assert_eq!(sent(&mut o, at(0)), [(1, 1, false), (2, 2, false)]);
        assert_eq!(sent(&mut o, at(2_999)), []);
        assert_eq!(o.poll_timeout(), at(3_000));
        assert!(o.handle_stored(ClientMsgId(1), at(2_999)).is_some());
        // The link is slow and alive: what is behind on it is not sent again before it had time to come.
        assert_eq!(sent(&mut o, at(5_998)), []);
        assert_eq!(o.poll_timeout(), at(5_999));
        assert_eq!(sent(&mut o, at(5_999)), [(2, 2, true)]);
        assert_eq!(o.waiting_since(), Some(at(2_999)));
    }

    #[test]
    fn a_new_connection_sends_everything_again_in_order() {
        let mut o = outbox(3);
        sent(&mut o, at(0));
        o.handle_stored(ClientMsgId(1), at(10));
        o.handle_connected();
        assert_eq!(sent(&mut o, at(20)), [(2, 2, true), (3, 3, true)]);
    }

    #[test]
    fn a_refusal_is_an_answer_that_frees_its_number_and_the_next_message_goes_alone() {
        let mut o = outbox(16);
        sent(&mut o, at(0));
        assert!(o.handle_refused(ClientMsgId(1), at(2_000)).is_some());
        assert_eq!(o.waiting_since(), Some(at(2_000)));
        assert_eq!(sent(&mut o, at(2_000)), [(2, 1, true)]);
        // What those behind it had been told before is no news.
        for id in 3..=16 {
            assert!(!o.handle_expected(ClientMsgId(id), ClientSeq(1), at(2_600)));
        }
        assert_eq!(sent(&mut o, at(2_600)), []);
        assert!(o.handle_refused(ClientMsgId(2), at(2_700)).is_some());
        assert_eq!(sent(&mut o, at(2_700)), [(3, 1, true)]);
        assert!(o.handle_stored(ClientMsgId(3), at(2_800)).is_some());
        assert_eq!(sent(&mut o, at(2_800)).len(), 13, "whoever may write again writes as fast as before");
    }

    #[test]
    fn what_may_not_go_out_wakes_nobody() {
        let mut o = outbox(3);
        sent(&mut o, at(0));
        assert!(o.handle_refused(ClientMsgId(2), at(10)).is_some());
        assert_eq!(o.poll_timeout(), at(3_010));
        assert_eq!(sent(&mut o, at(3_010)), [(1, 1, true)]);
        assert_eq!(o.poll_timeout(), at(6_010));
    }

    #[test]
    fn the_last_message_that_is_refused_leaves_nothing_to_wait_for() {
        let mut o = outbox(1);
        sent(&mut o, at(0));
        assert!(o.handle_refused(ClientMsgId(1), at(1)).is_some());
        assert_eq!((o.waiting_since(), o.poll_timeout()), (None, Time::NEVER));
    }

    #[test]
    fn what_an_older_copy_is_told_is_no_news_while_a_newer_one_is_on_the_way() {
        let mut o = outbox(3);
        sent(&mut o, at(0));
        // The first one was lost on its way: its successors come out of turn, each with an answer.
        assert!(o.handle_expected(ClientMsgId(2), ClientSeq(1), at(100)));
        assert_eq!(sent(&mut o, at(100)).len(), 3);
        // On a slow link the others' answers come when the pause is long over.
        assert!(!o.handle_expected(ClientMsgId(3), ClientSeq(1), at(900)));
        assert_eq!(sent(&mut o, at(900)), []);
        // The new copy of 2 is out of turn as well.
        assert!(o.handle_expected(ClientMsgId(2), ClientSeq(1), at(1_000)));
        assert_eq!(sent(&mut o, at(1_000)).len(), 3);
        o.handle_connected();
        sent(&mut o, at(2_000));
        assert!(
            o.handle_expected(ClientMsgId(3), ClientSeq(1), at(2_100)),
            "copies of an older connection are gone"
        );
    }

    #[test]
    fn the_expected_number_rewinds_once_in_a_while() {
        let mut o = outbox(2);
        sent(&mut o, at(0));
        assert!(o.handle_expected(ClientMsgId(2), ClientSeq(1), at(5)));
        assert_eq!(sent(&mut o, at(5)), [(1, 1, true), (2, 2, true)]);
        assert!(!o.handle_expected(ClientMsgId(2), ClientSeq(1), at(6)));
        assert!(o.handle_expected(ClientMsgId(2), ClientSeq(1), at(600)));
    }

    #[test]
    fn a_device_without_memory_lets_nothing_overtake_its_first_message() {
        let mut o = outbox(2);
        o.guess();
        assert_eq!(sent(&mut o, at(0)), [(1, 1, false)]);
        assert!(o.handle_expected(ClientMsgId(1), ClientSeq(8), at(5)));
        assert_eq!(sent(&mut o, at(5)), [(1, 8, true), (2, 9, false)]);
        let mut new_here = outbox(2);
        new_here.guess();
        sent(&mut new_here, at(0));
        new_here.handle_stored(ClientMsgId(1), at(5));
        assert_eq!(sent(&mut new_here, at(5)), [(2, 2, false)]);
    }

    #[test]
    fn a_device_without_memory_goes_on_where_the_shard_stands() {
        let mut o = outbox(2);
        sent(&mut o, at(0));
        assert!(o.handle_expected(ClientMsgId(1), ClientSeq(8), at(5)));
        assert_eq!(sent(&mut o, at(5)), [(1, 8, true), (2, 9, true)]);
    }

    #[test]
    fn an_ack_out_of_turn_keeps_the_numbers_right() {
        let mut o = outbox(3);
        sent(&mut o, at(0));
        assert!(o.handle_stored(ClientMsgId(2), at(1)).is_some());
        assert!(o.handle_stored(ClientMsgId(2), at(1)).is_none());
        o.handle_connected();
        assert_eq!(sent(&mut o, at(2)), [(1, 1, true), (3, 3, true)]);
        o.handle_stored(ClientMsgId(1), at(3));
        assert_eq!(o.base(), ClientSeq(3));
    }

    #[test]
    fn the_window_bounds_what_is_on_the_way() {
        let mut o = outbox(40);
        assert_eq!(sent(&mut o, at(0)).len(), MAX_SENDS_IN_FLIGHT);
        o.handle_stored(ClientMsgId(1), at(1));
        assert_eq!(sent(&mut o, at(1)), [(17, 17, false)]);
    }

    #[test]
    fn a_limit_of_one_a_second_costs_two_copies_a_message_at_most() {
        let mut o = outbox(40);
        let (mut now, mut allowed_at, mut copies) = (0, 0, 0);
        while !o.is_empty() {
            let mut went = sent(&mut o, at(now));
            copies += went.len();
            for (id, _, _) in went.drain(..) {
                if now >= allowed_at {
                    allowed_at = now + 1_000;
                    o.handle_stored(ClientMsgId(id), at(now));
                } else if o.unanswered().next() == Some(ClientMsgId(id)) {
                    o.handle_too_often(ClientMsgId(id), Duration::from_millis(allowed_at - now), at(now));
                }
            }
            now += 1_000;
            assert!(now < 100_000);
        }
        assert!(copies <= 40 * 2 + MAX_SENDS_IN_FLIGHT, "{copies} copies of 40 messages");
    }

    #[test]
    fn whoever_is_told_to_wait_sends_nothing_before_on_whatever_connection_and_then_all_in_order() {
        let mut o = outbox(3);
        sent(&mut o, at(0));
        o.handle_too_often(ClientMsgId(1), Duration::from_millis(500), at(10));
        // Those behind it had passed, and came out of turn.
        o.handle_expected(ClientMsgId(2), ClientSeq(1), at(11));
        assert_eq!(sent(&mut o, at(12)), []);
        o.handle_connected();
        assert_eq!(sent(&mut o, at(509)), []);
        assert_eq!(o.poll_timeout(), at(510));
        assert_eq!(sent(&mut o, at(510)), [(1, 1, true)]);
        assert_eq!(o.poll_timeout(), at(3_510));
        assert!(o.handle_stored(ClientMsgId(1), at(520)).is_some());
        assert_eq!(sent(&mut o, at(520)), [(2, 2, true), (3, 3, true)]);
        // No server keeps a conversation shut for ever.
        o.handle_too_often(ClientMsgId(1), Duration::MAX, at(600));
        assert_eq!(o.poll_timeout(), at(600) + RETRY_AFTER_MAX);
    }
}
