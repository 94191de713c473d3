//! A conversation's sends on one device: in order, each with its number, until acked or refused.
//!
//! **Invariant:** numbers are dense; the front of the queue has the lowest one, and an answered message leaves
//! the queue for good. Guarded by `sim/checks/src/sender_order.rs`.

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
    /// When it last went out on this connection.
    sent_at: Option<Time>,
    /// It has been on some wire before.
    seen_wire: bool,
    /// It is on the server's disk, but a message before it is still unanswered.
    stored: bool,
}

/// A message to put on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmission {
    pub id: ClientMsgId,
    pub client_seq: ClientSeq,
    pub payload: Payload,
    pub is_resend: bool,
}

#[derive(Debug, Clone)]
pub struct Outbox {
    /// The number of the front message.
    base: ClientSeq,
    queue: VecDeque<Pending>,
    /// Since when the front message waits for an answer on this connection.
    waiting_since: Option<Time>,
    rewound_at: Option<Time>,
    /// The user has been told to wait: nothing goes out before, on whatever connection.
    not_before: Time,
    /// The number of the front message is a guess, so that nothing may overtake it.
    guessed: bool,
}

impl Outbox {
    pub fn new(base: ClientSeq) -> Self {
        Outbox {
            base,
            queue: VecDeque::new(),
            waiting_since: None,
            rewound_at: None,
            not_before: Time::ZERO,
            guessed: false,
        }
    }

    pub fn push(&mut self, id: ClientMsgId, payload: Payload) {
        self.queue.push_back(Pending { id, payload, sent_at: None, seen_wire: false, stored: false });
    }

    /// The device does not know what it sent in an earlier life. Until the shard has answered for a number, one message at a time
    /// is on the way: of several, one could be taken for its number while the one before it is told another.
    pub fn guess(&mut self) {
        self.guessed = true;
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

    /// The messages that have no answer yet, in order.
    pub fn unanswered(&self) -> impl Iterator<Item = ClientMsgId> {
        self.queue.iter().filter(|pending| !pending.stored).map(|pending| pending.id)
    }

    /// A new connection: nothing is on the way on it.
    pub fn handle_connected(&mut self) {
        self.waiting_since = None;
        self.rewound_at = None;
        if planted(Plant::SendAbandonedOnReconnect) {
            while self.queue.pop_front_if(|pending| pending.seen_wire).is_some() {
                self.base = self.base.next();
            }
        }
        self.rewind();
    }

    fn rewind(&mut self) {
        for pending in &mut self.queue {
            pending.sent_at = None;
        }
    }

    /// What goes out now: unsent messages inside the window, and those whose ack is overdue.
    pub fn transmit(&mut self, now: Time, mut out: impl FnMut(Transmission)) {
        if now < self.not_before {
            return;
        }
        let mut client_seq = self.base;
        let window = if self.guessed { 1 } else { MAX_SENDS_IN_FLIGHT };
        for pending in self.queue.iter_mut().take(window) {
            let overdue = pending.sent_at.is_some_and(|at| now.since(at) >= RESEND_AFTER);
            if !pending.stored && (pending.sent_at.is_none() || overdue) {
                pending.sent_at = Some(now);
                let is_resend = std::mem::replace(&mut pending.seen_wire, true);
                if is_resend && planted(Plant::ResendWithNewId) {
                    pending.id.0 += 1;
                }
                self.waiting_since.get_or_insert(now);
                out(Transmission { id: pending.id, client_seq, payload: pending.payload.clone(), is_resend });
            }
            client_seq = client_seq.next();
        }
    }

    /// The server has stored the message. `None`: it was answered before.
    ///
    /// A message behind the front keeps its place, so that the numbers of the others stay right, until those before
    /// it are answered too.
    pub fn handle_stored(&mut self, id: ClientMsgId, now: Time) -> Option<(ClientSeq, Payload)> {
        let index = self.queue.iter().position(|p| p.id == id && !p.stored)?;
        let client_seq = ClientSeq(self.base.0 + index as u64);
        let pending = &mut self.queue[index];
        pending.stored = true;
        self.guessed = false;
        let payload = pending.payload.clone();
        while self.queue.pop_front_if(|p| p.stored).is_some() {
            self.base = self.base.next();
        }
        self.waiting_since = self.queue.front().and_then(|p| p.sent_at).map(|_| now);
        Some((client_seq, payload))
    }

    /// Takes the message out because the server refused it for good; its number is free again.
    pub fn handle_refused(&mut self, id: ClientMsgId) -> Option<Pending> {
        let index = self.queue.iter().position(|p| p.id == id)?;
        let refused = self.queue.remove(index)?;
        // Those behind it carried numbers that are now one too high; the shard refuses them and they go out again.
        for pending in self.queue.iter_mut().skip(index) {
            pending.sent_at = None;
        }
        if self.queue.is_empty() {
            self.waiting_since = None;
        }
        Some(refused)
    }

    /// The shard, asked to take message `id`, wants number `expected` next: go back to it. False when that has just been
    /// done.
    ///
    /// A front message that is told a higher number than its own carries one that another message has: this device has
    /// forgotten what it sent in an earlier life, and goes on from where the shard stands.
    pub fn handle_expected(&mut self, id: ClientMsgId, expected: ClientSeq, now: Time) -> bool {
        let is_front = self.queue.front().is_some_and(|p| p.id == id);
        if is_front && expected > self.base {
            self.base = expected;
            self.guessed = false;
            self.rewind();
            return true;
        }
        if self.rewound_at.is_some_and(|at| now.since(at) < REWIND_PAUSE) {
            return false;
        }
        self.rewound_at = Some(now);
        if expected < self.base || self.queue.is_empty() {
            self.base = expected;
        }
        self.rewind();
        true
    }

    /// The shard is busy, which is an answer; the message goes out again when its ack is overdue.
    pub fn handle_busy(&mut self, now: Time) {
        self.waiting_since = self.waiting_since.map(|_| now);
    }

    /// The user has done too much: everything goes out again, in order, when the wait is over.
    pub fn handle_too_often(&mut self, wait: Duration, now: Time) {
        let wait = if planted(Plant::WaitInSeconds) { wait * 1_000 } else { wait };
        if planted(Plant::SendForgottenWhenToldToWait) {
            self.queue.pop_front();
        }
        self.not_before = self.not_before.max(now + wait.min(RETRY_AFTER_MAX));
        self.waiting_since = None;
        self.rewind();
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
            .take(MAX_SENDS_IN_FLIGHT)
            .filter(|p| !p.stored)
            .filter_map(|p| p.sent_at)
            .min()
            .map_or(Time::NEVER, |at| at + RESEND_AFTER)
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
        outbox.transmit(now, |t| out.push((t.id.0, t.client_seq.0, t.is_resend)));
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
        assert_eq!(sent(&mut o, at(3_000)), [(2, 2, true)]);
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
    fn a_refused_message_frees_its_number() {
        let mut o = outbox(3);
        sent(&mut o, at(0));
        assert!(o.handle_refused(ClientMsgId(1)).is_some());
        assert_eq!(sent(&mut o, at(1)), [(2, 1, true), (3, 2, true)]);
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
    fn whoever_is_told_to_wait_sends_nothing_before_on_whatever_connection_and_then_all_in_order() {
        let mut o = outbox(3);
        sent(&mut o, at(0));
        o.handle_too_often(Duration::from_millis(500), at(10));
        // Those behind it had passed, and came out of turn.
        o.handle_expected(ClientMsgId(2), ClientSeq(1), at(11));
        assert_eq!(sent(&mut o, at(12)), []);
        o.handle_connected();
        assert_eq!(sent(&mut o, at(509)), []);
        assert_eq!(o.poll_timeout(), at(510));
        assert_eq!(sent(&mut o, at(510)), [(1, 1, true), (2, 2, true), (3, 3, true)]);
        assert_eq!(o.poll_timeout(), at(3_510));
        // No server keeps a conversation shut for ever.
        o.handle_too_often(Duration::MAX, at(600));
        assert_eq!(o.poll_timeout(), at(600) + RETRY_AFTER_MAX);
    }
}
