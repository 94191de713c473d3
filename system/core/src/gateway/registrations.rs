//! What a gateway has to tell one registry: each connection once, in bounded parts, until the registry has said that it knows it.
//!
//! A session begins with a snapshot, all connections that the gateway holds; those that come later stand behind them. The snapshot is
//! told when none of its connections is left to be confirmed, and only then what older sessions left is stale.
//!
//! **Invariants:** a connection is forgotten only when it is confirmed or gone (`sim/checks/src/no_loss.rs`); never more than `window`
//! are on the way; the end of the snapshot is told once, after all of it. Guarded by the tests below.

use crate::time::Time;
use rustc_hash::FxHashMap;
use squall_protocol::limits::{MAX_REGISTRATIONS_ON_THE_WAY, REGISTRATION_RETRY_AFTER};
use std::collections::{BTreeMap, VecDeque};

/// A place in the order in which connections are told.
type Ticket = u64;

#[derive(Debug)]
struct OnTheWay {
    connection: u64,
    sent_at: Time,
    /// It has been told more than once.
    again: bool,
}

/// What is left to tell one registry. Nothing while there is no session: the next one begins with everything.
#[derive(Debug)]
pub struct Registrations {
    window: usize,
    is_open: bool,
    last_ticket: Ticket,
    waiting: VecDeque<(Ticket, u64)>,
    on_the_way: BTreeMap<Ticket, OnTheWay>,
    /// None of those is to be told again before.
    retry_at: Time,
    tickets: FxHashMap<u64, Ticket>,
    /// The last ticket of the snapshot, until its end is told.
    snapshot: Option<Ticket>,
}

impl Default for Registrations {
    fn default() -> Self {
        Registrations::new(MAX_REGISTRATIONS_ON_THE_WAY)
    }
}

impl Registrations {
    /// With at most `window` of them on the way.
    pub fn new(window: usize) -> Self {
        Registrations {
            window,
            is_open: false,
            last_ticket: 0,
            waiting: VecDeque::new(),
            on_the_way: BTreeMap::new(),
            retry_at: Time::NEVER,
            tickets: FxHashMap::default(),
            snapshot: None,
        }
    }

    /// A session begins with these connections.
    pub fn handle_opened(&mut self, connections: impl IntoIterator<Item = u64>) {
        self.handle_closed();
        self.is_open = true;
        for connection in connections {
            self.handle_connected(connection);
        }
        self.snapshot = Some(self.last_ticket);
    }

    /// The session is over.
    pub fn handle_closed(&mut self) {
        *self = Registrations { last_ticket: self.last_ticket, ..Registrations::new(self.window) };
    }

    /// Whether there is a session.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether something of the snapshot is still to be confirmed.
    pub fn is_in_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// A device has connected.
    pub fn handle_connected(&mut self, connection: u64) {
        if self.is_open {
            self.last_ticket += 1;
            self.waiting.push_back((self.last_ticket, connection));
        }
    }

    /// The connection is gone: nobody waits for its confirmation.
    pub fn handle_gone(&mut self, connection: u64) {
        if let Some(ticket) = self.tickets.remove(&connection) {
            self.on_the_way.remove(&ticket);
        }
    }

    /// The registry knows the connection. True: it has been told more than once, so an earlier answer may be lost, and with it that
    /// this was news to it.
    pub fn handle_confirmed(&mut self, connection: u64) -> bool {
        let Some(ticket) = self.tickets.remove(&connection) else { return false };
        self.on_the_way.remove(&ticket).is_some_and(|told| told.again)
    }

    /// The connections to be told now, again or for the first time. Whoever asks tells all of them, or says which are gone.
    pub fn poll(&mut self, now: Time) -> Vec<u64> {
        let mut due = Vec::new();
        if now >= self.retry_at {
            for told in self.on_the_way.values_mut() {
                if now.since(told.sent_at) >= REGISTRATION_RETRY_AFTER {
                    (told.sent_at, told.again) = (now, true);
                    due.push(told.connection);
                }
            }
            let first = self.on_the_way.values().map(|told| told.sent_at).min();
            self.retry_at = first.map_or(Time::NEVER, |first| first + REGISTRATION_RETRY_AFTER);
        }
        while self.on_the_way.len() < self.window
            && let Some((ticket, connection)) = self.waiting.pop_front()
        {
            // A connection may have come while the snapshot was taken, and is in both.
            if let std::collections::hash_map::Entry::Vacant(vacant) = self.tickets.entry(connection) {
                vacant.insert(ticket);
                self.on_the_way.insert(ticket, OnTheWay { connection, sent_at: now, again: false });
                self.retry_at = self.retry_at.min(now + REGISTRATION_RETRY_AFTER);
                due.push(connection);
            }
        }
        due
    }

    /// Whether everything of the snapshot is confirmed or gone, and the registry has not been told so yet.
    pub fn is_snapshot_told(&self) -> bool {
        let first_waiting = self.waiting.front().map(|(ticket, _)| *ticket);
        let first = self.on_the_way.keys().next().copied().into_iter().chain(first_waiting).min();
        self.snapshot.is_some_and(|last| first.is_none_or(|first| first > last))
    }

    /// The end of the snapshot is on its way.
    pub fn handle_snapshot_end_told(&mut self) {
        self.snapshot = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(ms * 1_000)
    }

    fn opened(window: usize, connections: u64) -> Registrations {
        let mut registrations = Registrations::new(window);
        registrations.handle_opened(1..=connections);
        registrations
    }

    #[test]
    fn a_snapshot_goes_in_parts_and_its_end_after_all_of_it() {
        let mut registrations = opened(3, 7);
        assert_eq!(registrations.poll(at(0)), [1, 2, 3]);
        assert_eq!(registrations.poll(at(1)), [0; 0]);
        registrations.handle_confirmed(2);
        assert_eq!(registrations.poll(at(2)), [4]);
        // Somebody who comes now is none of the snapshot.
        registrations.handle_connected(8);
        for connection in [1, 3, 4, 5, 6] {
            registrations.handle_confirmed(connection);
            registrations.poll(at(3));
            assert!(!registrations.is_snapshot_told());
        }
        registrations.handle_confirmed(7);
        assert!(registrations.is_snapshot_told());
        assert!(registrations.is_snapshot_told(), "until it has been passed on");
        registrations.handle_snapshot_end_told();
        assert!(!registrations.is_snapshot_told());
        assert!(!registrations.handle_confirmed(8));
    }

    #[test]
    fn what_is_not_confirmed_is_told_again_and_then_nobody_knows_whether_it_was_news() {
        let mut registrations = opened(3, 4);
        assert_eq!(registrations.poll(at(0)), [1, 2, 3]);
        assert!(!registrations.handle_confirmed(2));
        assert_eq!(registrations.poll(at(0) + REGISTRATION_RETRY_AFTER), [1, 3, 4]);
        assert!(registrations.handle_confirmed(3));
        assert!(!registrations.handle_confirmed(4));
        assert!(!registrations.is_snapshot_told());
        registrations.handle_gone(1);
        assert!(registrations.is_snapshot_told());
    }

    #[test]
    fn an_empty_gateway_has_told_everything_at_once() {
        assert!(opened(3, 0).is_snapshot_told());
    }

    #[test]
    fn without_a_session_nothing_is_kept_and_the_next_one_begins_with_everything() {
        let mut registrations = opened(3, 2);
        registrations.poll(at(0));
        registrations.handle_closed();
        registrations.handle_connected(3);
        assert_eq!(registrations.poll(at(60_000)), [0; 0]);
        assert!(!registrations.is_snapshot_told());
        registrations.handle_opened([1, 2, 3]);
        assert_eq!(registrations.poll(at(60_000)), [1, 2, 3]);
    }

    #[test]
    fn a_connection_that_comes_while_the_snapshot_is_taken_is_told_once() {
        let mut registrations = opened(3, 1);
        registrations.handle_connected(1);
        assert_eq!(registrations.poll(at(0)), [1]);
        registrations.handle_confirmed(1);
        assert!(registrations.is_snapshot_told());
    }
}
