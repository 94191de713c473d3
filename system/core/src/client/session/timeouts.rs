//! What a device does of itself when time has passed: it connects, asks for signs of life, says again, and leaves.
//!
//! **Invariant:** `poll_timeout` names the time at which `handle_timeout` has something to do next; whoever drives the session needs no
//! other clock. Guarded by `core/tests/client.rs`.

use super::{ClientSession, Lack, Output, Phase, Thread};
use crate::plant::{Plant, planted};
use crate::time::{MaybeTime, Time};
use squall_protocol::ClientFrame;
use squall_protocol::limits::{ANSWER_LIMIT, CONNECT_LIMIT, ELSEWHERE_AFTER, RESEND_AFTER};

impl ClientSession {
    /// Since when some send waits for its answer on this connection.
    fn waiting_since(&self) -> Option<Time> {
        self.threads.iter().filter_map(|t| t.outbox()?.waiting_since()).min()
    }

    /// When `handle_timeout` has something to do.
    pub fn poll_timeout(&self) -> Time {
        let typing = self.aside.as_ref().map_or(Time::NEVER, |aside| aside.typists.poll_timeout());
        self.poll_phase().min(typing)
    }

    fn poll_phase(&self) -> Time {
        match self.phase {
            Phase::Away | Phase::Stopped => Time::NEVER,
            Phase::Offline { retry_at } => retry_at,
            Phase::Stale { until, .. } | Phase::Leaving { until, .. } => until,
            Phase::Connecting { since } | Phase::Greeting { since } => since + CONNECT_LIMIT,
            Phase::Online { next_ping, ping_sent, heard } => {
                let silence = ping_sent.get().map_or(next_ping, |at| at + ANSWER_LIMIT);
                let sends = self.waiting_since().map_or(Time::NEVER, |since| {
                    let patience = if !ping_sent.is_none() { ANSWER_LIMIT } else { RESEND_AFTER };
                    (since.max(heard) + patience).min(since + ELSEWHERE_AFTER)
                });
                let reads = self.receipts().map_or(Time::NEVER, |book| book.poll_timeout());
                let own = silence.min(sends).min(self.refresh_at).min(reads);
                self.threads.iter().map(Thread::poll_timeout).fold(own, Time::min)
            }
        }
    }

    pub fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        if let Some(aside) = &mut self.aside {
            aside.typists.handle_timeout(now, out);
            self.tidy();
        }
        match self.phase {
            Phase::Away | Phase::Stopped => {}
            Phase::Stale { until, .. } => {
                if now >= until {
                    self.give_up("stale count", now, out);
                }
            }
            Phase::Leaving { until, .. } => {
                if now >= until {
                    self.give_up("asked to leave", now, out);
                }
            }
            Phase::Offline { retry_at } => {
                if now >= retry_at {
                    self.connect(now, out);
                }
            }
            Phase::Connecting { since } | Phase::Greeting { since } => {
                if now.since(since) >= CONNECT_LIMIT {
                    self.give_up("no welcome", now, out);
                }
            }
            Phase::Online { next_ping, ping_sent, heard } => {
                self.handle_online_timeout(next_ping, ping_sent, heard, now, out)
            }
        }
    }

    fn handle_online_timeout(
        &mut self,
        next_ping: Time,
        ping_sent: MaybeTime,
        heard: Time,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        // A send without answer says that its shard is down or the connection bad; only a gateway that says nothing at all, asked
        // for a sign of life meanwhile, is to be left for it.
        let waiting = self.waiting_since();
        let unheard = waiting.map(|since| now.since(since.max(heard)));
        let silent = ping_sent.get().is_some_and(|at| now.since(at) >= ANSWER_LIMIT)
            || unheard.is_some_and(|unheard| unheard >= ANSWER_LIMIT)
            || waiting.is_some_and(|since| now.since(since) >= ELSEWHERE_AFTER);
        if silent {
            return self.give_up("no answer", now, out);
        }
        // So does a page that has not come, if nothing else has.
        let unpaged = |t: &Thread| matches!(t.lack(), Lack::Asked { at, .. } if at >= heard) && t.is_lack_due(now);
        let doubtful = unheard.is_some_and(|unheard| unheard >= RESEND_AFTER) || self.threads.iter().any(unpaged);
        if ping_sent.is_none() && (now >= next_ping || doubtful) {
            let ping_sent =
                if planted(Plant::HalfOpenNeverNoticed) { MaybeTime::NONE } else { MaybeTime::from(now) };
            self.phase = Phase::Online { next_ping: now + self.heartbeat_interval(), ping_sent, heard };
            out.push(Output::Transmit(ClientFrame::Ping));
        }
        self.refresh_if_due(now, out);
        self.say_read(now, out);
        for index in 0..self.threads.len() {
            self.threads[index].handle_timeout(now);
            if self.threads[index].outbox().is_some() {
                self.transmit(self.threads[index].id, now, out);
            }
        }
        self.sync(now, out);
    }
}
