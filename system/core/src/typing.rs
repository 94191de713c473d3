//! How often a user may be told to be writing in a conversation: once in [`TYPING_INTERVAL`].
//!
//! A row a user and conversation, for as long as it says anything. A gateway has such a table for what its devices say, so that no flood
//! takes room on its links, and a shard one for what all gateways say.
//!
//! **Invariants:** what is refused costs nothing and moves nothing; the table is bounded, and full of those who have just been let through
//! it lets nobody else through. Guarded by the tests below and `sim/checks/src/typing_holds.rs`.

use crate::plant::{Plant, planted};
use crate::time::Time;
use rustc_hash::FxHashMap;
use squall_protocol::limits::{MAX_TYPING_REMEMBERED, TYPING_INTERVAL};
use squall_protocol::{ConversationId, DeviceId, UserId, Who};

/// With so many rows the table is looked through for the first time.
const FIRST_TIDY: usize = MAX_TYPING_REMEMBERED / 64;

/// When somebody was last let through.
#[derive(Debug)]
pub struct TypingRates {
    last: FxHashMap<(Who, ConversationId), Time>,
    tidy_at: usize,
}

impl Default for TypingRates {
    fn default() -> Self {
        TypingRates { last: FxHashMap::default(), tidy_at: FIRST_TIDY }
    }
}

impl TypingRates {
    /// Whether this user may be told now to be writing there. `device`: on which of their devices, which changes nothing.
    pub fn take(&mut self, user: UserId, device: DeviceId, conversation: ConversationId, now: Time) -> bool {
        let device = if planted(Plant::TypingLimitPerDevice) { device } else { DeviceId(0) };
        let key = ((user, device), conversation);
        if self.last.get(&key).is_some_and(|last| now.since(*last) < TYPING_INTERVAL) {
            return false;
        }
        if self.last.len() >= self.tidy_at {
            self.last.retain(|_, last| now.since(*last) < TYPING_INTERVAL);
            self.tidy_at = (2 * self.last.len()).clamp(FIRST_TIDY, MAX_TYPING_REMEMBERED);
        }
        if self.last.len() >= MAX_TYPING_REMEMBERED && !self.last.contains_key(&key) {
            return false;
        }
        self.last.insert(key, now);
        true
    }

    /// How many are remembered.
    pub fn rows(&self) -> usize {
        self.last.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: ConversationId = ConversationId::direct(UserId(1), UserId(2));
    const D: ConversationId = ConversationId::direct(UserId(1), UserId(3));

    const fn ms(ms: u64) -> Time {
        Time(ms * 1_000)
    }

    #[test]
    fn a_user_is_let_through_once_a_second_in_each_conversation_on_whatever_device() {
        let mut rates = TypingRates::default();
        let mut take =
            |user, device, conversation, at| rates.take(UserId(user), DeviceId(device), conversation, ms(at));
        assert!(take(1, 11, C, 0));
        assert!(!take(1, 11, C, 999) && !take(1, 12, C, 999));
        assert!(take(1, 11, D, 999) && take(2, 21, C, 999));
        // What was refused has cost nothing.
        assert!(take(1, 12, C, 1_000));
        assert!(!take(1, 11, C, 1_999));
    }

    #[test]
    fn a_full_table_lets_nobody_else_through_and_empties_by_itself() {
        let mut rates = TypingRates::default();
        let all =
            (0..MAX_TYPING_REMEMBERED as u64).filter(|n| rates.take(UserId(*n), DeviceId(0), C, ms(0))).count();
        assert_eq!(all, MAX_TYPING_REMEMBERED);
        assert!(!rates.take(UserId(u64::MAX), DeviceId(0), C, ms(500)));
        assert!(rates.take(UserId(u64::MAX), DeviceId(0), C, ms(1_000)));
        assert_eq!(rates.rows(), 1);
    }
}
