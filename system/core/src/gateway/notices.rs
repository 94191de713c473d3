//! What a gateway tells a device if there is room: notices, which wait until all else that waits for the device is written.
//!
//! A row only for a device for which something waits. Of two notices about the same the newer one counts and takes the older one's place; what
//! has waited for [`NOTICE_STALE_AFTER`] is dropped and not told.
//!
//! **Invariants:** bounded in items and bytes, for each device and for all of them; nothing here ever takes room or a turn from what a
//! device is owed, and whoever reads nothing is closed for that alone. Guarded by the tests below and `sim/checks/src/typing_holds.rs`.

use crate::plant::{Plant, planted};
use crate::time::Time;
use rustc_hash::FxHashMap;
use squall_protocol::limits::{
    MAX_DEVICE_NOTICE_BYTES, MAX_DEVICE_NOTICES, MAX_DEVICES_NOTICE_BYTES, NOTICE_STALE_AFTER,
};
use squall_protocol::{ConversationId, ServerFrame, UserId};
use std::collections::VecDeque;

/// What a notice is about: a newer one about the same takes the place of an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum About {
    Typing(ConversationId, UserId),
    /// Of those who have come further: each notice names others, and takes nobody's place.
    Receipts,
}

impl About {
    /// `None` of a frame that is no notice: a device is owed it, or it is told as things stand when the device has room (`watches`).
    pub fn of(frame: &ServerFrame) -> Option<About> {
        match frame {
            ServerFrame::Typing { conversation, user } => Some(About::Typing(*conversation, *user)),
            ServerFrame::Receipts { .. } => Some(About::Receipts),
            ServerFrame::Welcome { .. }
            | ServerFrame::Sent { .. }
            | ServerFrame::Refused { .. }
            | ServerFrame::Deliver(_)
            | ServerFrame::Page { .. }
            | ServerFrame::Heads { .. }
            | ServerFrame::Pong
            | ServerFrame::Error { .. }
            | ServerFrame::Stale { .. }
            | ServerFrame::ComeBack { .. }
            | ServerFrame::Refreshed { .. }
            | ServerFrame::Presence { .. } => None,
        }
    }
}

/// A notice in its device's codec.
#[derive(Debug)]
struct Waiting<B> {
    about: About,
    at: Time,
    bytes: B,
}

#[derive(Debug)]
struct Row<B> {
    waiting: VecDeque<Waiting<B>>,
    bytes: usize,
}

impl<B> Default for Row<B> {
    fn default() -> Self {
        Row { waiting: VecDeque::new(), bytes: 0 }
    }
}

/// What is to be written, and how many were dropped because they had waited for too long.
#[derive(Debug, PartialEq, Eq)]
pub struct Due<B> {
    pub notices: Vec<B>,
    pub stale: usize,
}

/// The notices of all devices of a gateway, by the numbers of their connections. `B` is an encoded frame.
#[derive(Debug)]
pub struct Notices<B> {
    rows: FxHashMap<u64, Row<B>>,
    bytes: usize,
}

impl<B> Default for Notices<B> {
    fn default() -> Self {
        Notices { rows: FxHashMap::default(), bytes: 0 }
    }
}

impl<B: AsRef<[u8]>> Notices<B> {
    /// A notice waits for this connection; false if there is no room and it is dropped.
    pub fn push(&mut self, connection: u64, about: About, bytes: B, now: Time) -> bool {
        let length = bytes.as_ref().len();
        let row = self.rows.entry(connection).or_default();
        let (mut items, mut held, mut all) = (row.waiting.len(), row.bytes, self.bytes);
        let is_older = |waiting: &Waiting<B>| waiting.about == about && about != About::Receipts;
        let older = row.waiting.iter().position(is_older);
        if let Some(older) = older {
            let freed = row.waiting[older].bytes.as_ref().len();
            (items, held, all) = (items - 1, held - freed, all - freed);
        }
        let has_room = items < MAX_DEVICE_NOTICES
            && held + length <= MAX_DEVICE_NOTICE_BYTES
            && all + length <= MAX_DEVICES_NOTICE_BYTES;
        if !has_room {
            if row.waiting.is_empty() {
                self.rows.remove(&connection);
            }
            return false;
        }
        if let Some(older) = older {
            row.waiting.remove(older);
        }
        row.waiting.push_back(Waiting { about, at: now, bytes });
        (row.bytes, self.bytes) = (held + length, all + length);
        true
    }

    /// Whether anything waits for this connection.
    pub fn has(&self, connection: u64) -> bool {
        !self.rows.is_empty() && self.rows.contains_key(&connection)
    }

    /// All that waits for this connection and is not too old, in order.
    pub fn take(&mut self, connection: u64, now: Time) -> Due<B> {
        let Some(row) = self.rows.remove(&connection) else { return Due { notices: Vec::new(), stale: 0 } };
        self.bytes -= row.bytes;
        let all = row.waiting.len();
        let is_fresh =
            |waiting: &Waiting<B>| now.since(waiting.at) < NOTICE_STALE_AFTER || planted(Plant::StaleNoticeTold);
        let notices: Vec<B> = row.waiting.into_iter().filter(is_fresh).map(|waiting| waiting.bytes).collect();
        Due { stale: all - notices.len(), notices }
    }

    /// The connection is gone.
    pub fn forget(&mut self, connection: u64) {
        if let Some(row) = self.rows.remove(&connection) {
            self.bytes -= row.bytes;
        }
    }

    /// How many wait, and their bytes.
    pub fn fill(&self) -> (usize, usize) {
        (self.rows.values().map(|row| row.waiting.len()).sum(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000);

    fn about(user: u64) -> About {
        About::Typing(ConversationId::direct(UserId(1), UserId(2)), UserId(user))
    }

    fn taken(notices: &mut Notices<Vec<u8>>, connection: u64, now: Time) -> (Vec<u8>, usize) {
        let due = notices.take(connection, now);
        (due.notices.into_iter().map(|bytes| bytes[0]).collect(), due.stale)
    }

    #[test]
    fn the_newer_of_two_about_the_same_is_told_in_its_own_turn() {
        let mut notices = Notices::default();
        for (user, byte) in [(1, 1), (2, 2), (1, 3)] {
            assert!(notices.push(7, about(user), vec![byte], NOW));
        }
        assert!(notices.has(7) && !notices.has(8));
        assert_eq!(notices.fill(), (2, 2));
        assert_eq!(taken(&mut notices, 7, NOW), (vec![2, 3], 0));
        assert_eq!((taken(&mut notices, 7, NOW), notices.fill()), ((vec![], 0), (0, 0)));
    }

    #[test]
    fn what_has_waited_too_long_is_not_told() {
        let mut notices = Notices::default();
        notices.push(7, about(1), vec![1], NOW);
        notices.push(7, about(2), vec![2], NOW + NOTICE_STALE_AFTER / 2);
        assert_eq!(taken(&mut notices, 7, NOW + NOTICE_STALE_AFTER), (vec![2], 1));
    }

    #[test]
    fn a_device_has_a_share_and_all_of_them_a_bound() {
        let mut notices = Notices::default();
        let pushed = |notices: &mut Notices<Vec<u8>>, connection, bytes| {
            (0..).take_while(|n| notices.push(connection, about(*n), vec![0; bytes], NOW)).count()
        };
        assert_eq!(pushed(&mut notices, 1, 1), MAX_DEVICE_NOTICES);
        assert_eq!(pushed(&mut notices, 2, MAX_DEVICE_NOTICE_BYTES / 4), 4);
        // What is there already can still be said anew.
        assert!(notices.push(1, about(0), vec![1], NOW));
        assert!(!notices.push(3, about(0), vec![0; MAX_DEVICE_NOTICE_BYTES + 1], NOW) && !notices.has(3));
        let devices =
            (10..).take_while(|c| notices.push(*c, about(0), vec![0; MAX_DEVICE_NOTICE_BYTES], NOW)).count();
        assert_eq!(devices, MAX_DEVICES_NOTICE_BYTES / MAX_DEVICE_NOTICE_BYTES - 2);
        notices.forget(2);
        assert!(notices.push(9, about(0), vec![0; MAX_DEVICE_NOTICE_BYTES], NOW));
    }
}
