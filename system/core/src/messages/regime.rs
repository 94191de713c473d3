//! When a group is a channel: a fold over the changes of its membership.
//!
//! A group whose members come to be more than a configured number is a channel from the next entry on, until there are half as many: so nobody
//! who joins and leaves again and again changes it each time. The entry that changes it is still published to its members one by one;
//! so is everything up to it that has to be planned anew, whatever it was planned as before: a copy too many is discarded, and nothing
//! is left to somebody who does not follow the channel yet.
//!
//! What makes a channel's members come and go is shown to those of whom it speaks, and to nobody else but the channel's creator.
//!
//! **Invariants:** the number of members after an entry decides, and nothing else, so that a shard that starts again finds what it has
//! written; who may see or do what does not depend on it. Guarded by the tests below and `sim/checks/src/no_loss.rs`.

use super::membership::Membership;
use crate::plant::{Plant, planted};
use squall_protocol::{Seq, UserId};
use std::collections::BTreeSet;

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

/// The entries of a channel that say who comes or goes. They are shown to those of whom they speak, and to whom the channel's name says has
/// created it: with two hundred thousand members, nobody else is to be told of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden(BTreeSet<Seq>);

impl Hidden {
    /// Of a conversation with this membership.
    pub fn of(membership: &Membership, regime: Regime) -> Self {
        let stretches = membership.stretches().iter();
        let changes = stretches.flat_map(|stretch| [Some(stretch.joined), stretch.until()]).flatten();
        Hidden(changes.filter(|seq| regime.leaves_to_followers(*seq)).collect())
    }

    /// Takes in that an entry says who comes or goes.
    pub fn add(&mut self, seq: Seq) {
        self.0.insert(seq);
    }

    /// The next stretch of the log, from here to there, of which a user is shown all entries; `None` if they are shown none of it.
    pub fn next_shown(&self, membership: &Membership, user: UserId, from: Seq, to: Seq) -> Option<(Seq, Seq)> {
        let is_about = |seq: Seq| {
            membership.stretches().of(user).any(|stretch| stretch.joined == seq || stretch.until() == Some(seq))
        };
        let mut first = from;
        let mut hidden = self.0.range(from..).filter(|seq| !is_about(**seq)).copied();
        let mut next = hidden.next();
        while next == Some(first) {
            first = first.next();
            next = hidden.next();
        }
        let last = next.map_or(to, |next| next.prev().min(to));
        (first <= last).then_some((first, last))
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
    fn who_comes_and_goes_in_a_channel_is_shown_to_whom_it_is_about() {
        use squall_protocol::Payload;
        let mut m = Membership::default();
        let regime = Regime(Seq(2));
        let user = UserId;
        m.apply(
            Seq(1),
            user(1),
            &Payload::Created { direct: false, channel: false, members: vec![user(1), user(2)] },
        );
        for (seq, payload) in [(2, Payload::joined(user(3))), (4, Payload::joined(user(4)))] {
            m.apply(Seq(seq), user(1), &payload);
        }
        let mut hidden = Hidden::of(&m, regime);
        for (seq, payload) in [(5, Payload::joined(user(5))), (7, Payload::left(user(3)))] {
            m.apply(Seq(seq), user(1), &payload);
            hidden.add(Seq(seq));
        }
        assert_eq!(hidden, Hidden::of(&m, regime));
        let shown = |of: u64| {
            let mut from = Seq(1);
            let mut all = Vec::new();
            while let Some((first, last)) = hidden.next_shown(&m, user(of), from, Seq(8)) {
                all.extend(first.0..=last.0);
                from = last.next();
            }
            all
        };
        assert_eq!([shown(2), shown(3)], [vec![1, 2, 3, 6, 8], vec![1, 2, 3, 6, 7, 8]]);
        assert_eq!([shown(4), shown(5)], [vec![1, 2, 3, 4, 6, 8], vec![1, 2, 3, 5, 6, 8]]);
        assert_eq!(hidden.next_shown(&m, user(2), Seq(4), Seq(5)), None);
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
