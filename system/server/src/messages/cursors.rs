//! Cursors that have moved and are not on disk yet: each waits as long as its conversation lets it, and goes with all others that are due.
//!
//! **Invariants:** a cursor that is held only moves forward, and goes into one commit (`sim/checks/src/cursor_never_back.rs`). What a device of a direct
//! conversation or a group has acked is on disk before the watermark passes the entry (`ShardState::watermark`), so that what a shard forgets when
//! it restarts is published once more, and acked once more (`sim/checks/src/receipts_hold.rs`).

use squall_core::Time;
use squall_core::messages::Conversation;
use squall_core::plant::{Plant, planted};
use squall_protocol::{ConversationId, Cursors, UserId, limits};
use std::collections::BTreeMap;
use std::time::Duration;

/// How soon a conversation's cursors are written, and what others are told of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A direct conversation or a small group: each member is named to the others.
    Named = 0,
    /// A large group: how many have come how far.
    Counted = 1,
    /// A channel: nobody is told of others.
    Channel = 2,
}

impl Pace {
    /// That of a log as far as it is durable; `named_up_to`: members of the largest group of which each is named.
    pub fn of(log: &Conversation, named_up_to: u32) -> Pace {
        if log.regime().is_channel(log.durable()) {
            Pace::Channel
        } else if log.membership().present() > named_up_to && !planted(Plant::EverybodyIsNamed) {
            Pace::Counted
        } else {
            Pace::Named
        }
    }

    const ALL: [Pace; 3] = [Pace::Named, Pace::Counted, Pace::Channel];

    fn interval(self) -> Duration {
        match self {
            Pace::Named => limits::CURSOR_FLUSH_INTERVAL,
            Pace::Counted => limits::CURSOR_FLUSH_LARGE,
            Pace::Channel => limits::CURSOR_FLUSH_CHANNEL,
        }
    }
}

/// The cursors of a user in a conversation, as they are to be written.
pub type Moved = (UserId, ConversationId, Cursors);

/// All cursors that wait.
#[derive(Default)]
pub struct MovedCursors {
    /// Of direct conversations and groups, by pace.
    waiting: [BTreeMap<(ConversationId, UserId), Cursors>; 2],
    /// Of channels, by user: they go early when one of the user's devices does.
    channels: BTreeMap<(UserId, ConversationId), Cursors>,
    /// When those of each pace were last taken.
    taken: [Option<Time>; 3],
}

impl MovedCursors {
    /// A user has come so far.
    pub fn note(&mut self, user: UserId, conversation: ConversationId, pace: Pace, cursors: Cursors, now: Time) {
        let is_first = match pace {
            Pace::Named | Pace::Counted => self.waiting[pace as usize].is_empty(),
            Pace::Channel => self.channels.is_empty(),
        };
        if is_first && pace != Pace::Named {
            // The first one has the whole time before it: what follows goes along.
            self.taken[pace as usize] = Some(now);
        }
        let held = match pace {
            Pace::Named | Pace::Counted => self.waiting[pace as usize].entry((conversation, user)).or_default(),
            Pace::Channel => self.channels.entry((user, conversation)).or_default(),
        };
        *held = held.or_further(cursors);
    }

    /// A device of this user is gone: how far they have come in channels is written with what is next.
    pub fn handle_gone(&mut self, user: UserId) {
        let own = (user, ConversationId(0))..=(user, ConversationId(u128::MAX));
        let gone: Vec<ConversationId> =
            self.channels.range(own).map(|((_, conversation), _)| *conversation).collect();
        for conversation in gone {
            let Some(cursors) = self.channels.remove(&(user, conversation)) else { continue };
            let held = self.waiting[Pace::Named as usize].entry((conversation, user)).or_default();
            *held = held.or_further(cursors);
        }
    }

    /// Takes those that are due, or all of them, in order of conversations. Of channels a commit takes so many, and the next ones the rest.
    pub fn cut(&mut self, now: Time, all: bool) -> Vec<Moved> {
        let mut due = BTreeMap::new();
        let mut take = |(conversation, user), cursors| {
            let held: &mut Cursors = due.entry((conversation, user)).or_default();
            *held = held.or_further(cursors);
        };
        for pace in Pace::ALL {
            let taken = self.taken[pace as usize].is_some_and(|taken| now.since(taken) < pace.interval());
            let is_full = pace == Pace::Channel && self.channels.len() > limits::MAX_CHANNEL_CURSORS_HELD;
            if taken && !all && !is_full {
                continue;
            }
            match pace {
                Pace::Named | Pace::Counted => {
                    let waiting = std::mem::take(&mut self.waiting[pace as usize]);
                    waiting.into_iter().for_each(|(key, cursors)| take(key, cursors));
                }
                Pace::Channel => {
                    let most = if all { usize::MAX } else { limits::MAX_CHANNEL_CURSORS_A_COMMIT };
                    for _ in 0..self.channels.len().min(most) {
                        let Some(((user, conversation), cursors)) = self.channels.pop_first() else { break };
                        take((conversation, user), cursors);
                    }
                }
            }
            if pace != Pace::Channel || self.channels.is_empty() {
                self.taken[pace as usize] = Some(now);
            }
        }
        due.into_iter().map(|((conversation, user), cursors)| (user, conversation, cursors)).collect()
    }

    /// How many are to be written soon: all but those of channels, which wait for a minute, and these once that is over.
    pub fn due_soon(&self, now: Time) -> usize {
        let since = self.taken[Pace::Channel as usize];
        let are_over = since.is_some_and(|since| now.since(since) > Pace::Channel.interval());
        let of_channels = if are_over { self.channels.len() } else { 0 };
        self.waiting.iter().map(BTreeMap::len).sum::<usize>() + of_channels
    }

    /// Whether some are left for which the watermark waits: who follows a channel is told by other means.
    pub fn hold_watermark(&self) -> bool {
        !self.waiting[Pace::Counted as usize].is_empty()
    }

    /// How far a user has come by what is held.
    pub fn of(&self, user: UserId, conversation: ConversationId) -> Cursors {
        let held = self.waiting.iter().filter_map(|waiting| waiting.get(&(conversation, user)));
        let held = held.chain(self.channels.get(&(user, conversation)));
        held.fold(Cursors::default(), |so_far, held| so_far.or_further(*held))
    }

    pub fn len(&self) -> usize {
        self.waiting.iter().map(BTreeMap::len).sum::<usize>() + self.channels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::Seq;

    const C: ConversationId = ConversationId::group(UserId(1), 1);
    const D: ConversationId = ConversationId::group(UserId(1), 2);

    fn at(ms: u64) -> Time {
        Time(ms * 1_000)
    }

    fn delivered(seq: u64) -> Cursors {
        Cursors { delivered: Seq(seq), read: Seq::ZERO }
    }

    #[test]
    fn a_cursor_waits_as_long_as_its_conversation_lets_it_and_only_moves_forward() {
        let mut moved = MovedCursors::default();
        assert_eq!(moved.cut(at(0), false), []);
        moved.note(UserId(2), D, Pace::Counted, delivered(4), at(100));
        moved.note(UserId(2), C, Pace::Named, delivered(7), at(100));
        moved.note(UserId(2), C, Pace::Named, Cursors { delivered: Seq(6), read: Seq(5) }, at(200));
        assert_eq!(moved.cut(at(499), false), []);
        let further = Cursors { delivered: Seq(7), read: Seq(5) };
        assert_eq!(moved.cut(at(500), false), [(UserId(2), C, further)]);
        assert!(moved.hold_watermark() && moved.len() == 1);
        moved.note(UserId(3), D, Pace::Counted, delivered(5), at(5_000));
        let both = [(UserId(2), D, delivered(4)), (UserId(3), D, delivered(5))];
        assert_eq!(moved.cut(at(5_100), false), both);
        assert!(!moved.hold_watermark() && moved.is_empty());
    }

    #[test]
    fn a_shard_that_ends_writes_all() {
        let mut moved = MovedCursors::default();
        moved.note(UserId(2), D, Pace::Channel, delivered(4), at(100));
        assert_eq!(moved.cut(at(600), false), []);
        assert_eq!(moved.cut(at(700), true), [(UserId(2), D, delivered(4))]);
    }

    #[test]
    fn what_somebody_has_seen_of_channels_is_written_when_they_go_and_not_before_a_minute_otherwise() {
        let mut moved = MovedCursors::default();
        moved.note(UserId(2), C, Pace::Channel, delivered(3), at(0));
        moved.note(UserId(2), D, Pace::Channel, delivered(4), at(100));
        moved.note(UserId(3), D, Pace::Channel, delivered(5), at(100));
        assert_eq!(moved.cut(at(600), false), []);
        moved.handle_gone(UserId(2));
        assert_eq!(moved.of(UserId(2), D), delivered(4));
        assert_eq!(moved.cut(at(1_100), false), [(UserId(2), C, delivered(3)), (UserId(2), D, delivered(4))]);
        assert_eq!(moved.cut(at(59_999), false), []);
        assert_eq!(moved.cut(at(60_000), false), [(UserId(3), D, delivered(5))]);
        assert!(moved.is_empty());
    }

    #[test]
    fn those_of_channels_do_not_wait_when_they_are_too_many() {
        let mut moved = MovedCursors::default();
        let (held, most) = (limits::MAX_CHANNEL_CURSORS_HELD, limits::MAX_CHANNEL_CURSORS_A_COMMIT);
        for user in 1..=held as u64 {
            moved.note(UserId(user), D, Pace::Channel, delivered(1), at(0));
        }
        assert_eq!(moved.cut(at(500), false), []);
        moved.note(UserId(held as u64 + 1), D, Pace::Channel, delivered(1), at(600));
        assert_eq!((moved.cut(at(1_000), false).len(), moved.len()), (most, held + 1 - most));
        assert_eq!(moved.cut(at(1_500), false), []);
    }

    #[test]
    fn those_of_a_large_channel_go_with_several_commits() {
        let mut moved = MovedCursors::default();
        let most = limits::MAX_CHANNEL_CURSORS_A_COMMIT;
        for user in 1..=most as u64 + 1 {
            moved.note(UserId(user), D, Pace::Channel, delivered(1), at(0));
        }
        assert_eq!((moved.cut(at(60_000), false).len(), moved.len()), (most, 1));
        assert_eq!((moved.cut(at(60_500), false).len(), moved.len()), (1, 0));
    }
}
