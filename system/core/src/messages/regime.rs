//! When a group is a channel: a fold over the changes of its membership.
//!
//! A group whose members come to be more than a configured number is a channel from the next entry on, until there are half as many: so nobody
//! who joins and leaves again and again changes it each time. The entry that changes it is still published to its members one by one;
//! so is everything up to it that has to be planned anew, whatever it was planned as before: a copy too many is discarded, and nothing
//! is left to somebody who does not follow the channel yet.
//!
//! **Invariants:** the number of members after an entry decides, and nothing else, so that a shard that starts again finds what it has
//! written; who may see or do what does not depend on it. Guarded by the tests below and `sim/checks/src/no_loss.rs`.

use crate::plant::{Plant, planted};
use squall_protocol::Seq;

/// Since which entry a conversation is a channel; 0, which is no entry, while it is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Regime(pub Seq);

impl Regime {
    /// After an entry with which there are so many members.
    pub fn after(self, seq: Seq, members: u32, channel_above: u32) -> Regime {
        if self.0 == Seq::ZERO && members > channel_above {
            Regime(seq)
        } else if self.0 != Seq::ZERO && members <= channel_above / 2 {
            Regime::default()
        } else {
            self
        }
    }

    /// Whether the conversation is a channel as of this end of its log.
    pub fn is_channel(self, end: Seq) -> bool {
        self.0 != Seq::ZERO && self.0 <= end
    }

    /// Whether this entry goes to those who follow the channel, and not to its members one by one.
    pub fn leaves_to_followers(self, seq: Seq) -> bool {
        let last = if planted(Plant::CrossingLeftToFollowers) { seq } else { seq.prev() };
        self.is_channel(last)
    }
}

/// Where a conversation stands for one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The last entry that the user may see.
    pub head: Seq,
    /// It is a channel and the user a member, who sees all of it from this entry on.
    pub follows_from: Option<Seq>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(members: &[u32]) -> Vec<u64> {
        let mut regime = Regime::default();
        let steps = (1..).zip(members);
        steps
            .map(|(seq, members)| {
                regime = regime.after(Seq(seq), *members, 10);
                regime.0.0
            })
            .collect()
    }

    #[test]
    fn a_group_is_a_channel_from_one_member_too_many_until_half_are_gone() {
        assert_eq!(fold(&[9, 10, 11, 12, 11, 10, 9, 6, 5, 6, 10, 11]), [0, 0, 3, 3, 3, 3, 3, 3, 0, 0, 0, 12]);
        // One creation may do.
        assert_eq!(fold(&[200_000]), [1]);
    }

    #[test]
    fn the_entry_that_changes_it_and_all_before_it_are_published_to_members() {
        let regime = Regime(Seq(7));
        assert_eq!([6, 7, 8].map(|seq| regime.leaves_to_followers(Seq(seq))), [false, false, true]);
        assert_eq!([6, 7, 8].map(|end| regime.is_channel(Seq(end))), [false, true, true]);
        assert!(!Regime::default().leaves_to_followers(Seq(1)) && !Regime::default().is_channel(Seq(9)));
        assert!(Regime(Seq(1)).leaves_to_followers(Seq(2)) && !Regime(Seq(1)).leaves_to_followers(Seq(1)));
    }
}
