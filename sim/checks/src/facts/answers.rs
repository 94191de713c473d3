//! Whether sends are answered in time.
//!
//! What a device sends in a conversation goes out in order, and what it is told about one message lets others go. So not each message is
//! timed but each answer: from the latest of the one before it, the end of the wait that the device was told of, the first send
//! after all had been answered, the connection, and the last time that something was slow on the device's path. It may take what an entry may take on a way that
//! nothing harms, and is judged only there. An answer that comes over the connection over which it was due shows that this one was alive.

use super::Facts;
use super::rows::{CONNECTED, mark};
use rustc_hash::FxHashMap;
use squall_protocol::{ClientMsgId, limits};

/// Answers that are kept for having come late; more would say nothing new.
const MAX_TARDY: usize = 1_024;

/// An answer that came later than it should.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tardy {
    pub message: u32,
    /// Since when it was due, and when it came, in µs.
    pub since: u64,
    pub t: u64,
    pub bound: u64,
    /// The device had been told to wait until then.
    pub waited: bool,
}

/// Since when an answer is due.
#[derive(Debug, Clone, Copy)]
struct Due {
    since: u64,
    waited: bool,
}

/// The answers that devices wait for, and those that came late.
#[derive(Default)]
pub(crate) struct Answers {
    /// How long one may take; `None`: nothing can be said of it.
    bound_us: Option<u64>,
    /// By the row of a device in a conversation, while it has a send without an answer.
    due: FxHashMap<u32, Due>,
    pub tardy: Vec<Tardy>,
}

impl Answers {
    pub fn new(bound_us: Option<u64>) -> Self {
        Answers { bound_us, ..Answers::default() }
    }
}

impl Facts {
    /// A device sends.
    pub(super) fn await_answer(&mut self, pair: u32) {
        if self.answers.bound_us.is_some() {
            let since = self.now;
            self.answers.due.entry(pair).or_insert(Due { since, waited: false });
        }
    }

    /// A device is told what becomes of a message: that it is stored or refused, or that it must wait for so long.
    pub(super) fn answered(&mut self, id: ClientMsgId, wait_ms: Option<u64>) {
        let Some(bound) = self.answers.bound_us else { return };
        let Some(message) = self.messages.find(id) else { return };
        let pair = self.messages[message].pair;
        let Some(due) = self.answers.due.get(&pair).copied() else { return };
        let longest = limits::RETRY_AFTER_MAX.as_millis() as u64;
        let wait = self.now + wait_ms.unwrap_or(0).min(longest) * 1_000;
        if wait_ms.is_none() && self.pairs[pair].unanswered == 0 {
            self.answers.due.remove(&pair);
        } else {
            // Whoever has been told to wait for longer does.
            let waited = wait_ms.is_some() || due.since > self.now;
            self.answers.due.insert(pair, Due { since: wait.max(due.since), waited });
        }
        let device = self.pairs[pair].device;
        let row = &self.devices[device];
        let since = due.since.max(u64::from(row.connected_ms) * 1_000).max(u64::from(row.slow_until_ms) * 1_000);
        let is_late = self.now > since.saturating_add(bound) && row.gone_since == CONNECTED;
        // An attacker asks for what befalls it.
        if !is_late || row.is(mark::INSIDER) || self.answers.tardy.len() >= MAX_TARDY {
            return;
        }
        if self.nothing_harms_since(pair, since) {
            let waited = due.waited && since == due.since;
            self.answers.tardy.push(Tardy { message, since, t: self.now, bound, waited });
        }
    }
}
