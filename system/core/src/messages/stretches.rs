//! The stretches of one conversation's log that its users may see, found by user.
//!
//! **Invariant:** what is asked of one user costs a search, however many members there are and however often they have come
//! and gone. The many conversations of a few people are a short sorted list and pay for nothing else.

use crate::plant::{Plant, planted};
use squall_protocol::{Rank, Seq, UserId};
use std::collections::BTreeMap;

/// A stretch of the log that a user may see: from shortly before a join to the entry that says that the user has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub user: UserId,
    /// The entry that made the user a member.
    pub joined: Seq,
    pub from: Seq,
    /// The last entry of the stretch; 0, which is no entry, while the user is a member. Above it, what else is known of the member:
    /// their rank in two bits, and whether they left for good.
    until: u64,
}

const UNTIL_BITS: u32 = 56;
const FOR_GOOD: u64 = 1 << (UNTIL_BITS + 2);

/// There are two of them for each of millions of conversations.
const _: () = assert!(size_of::<Stretch>() == 32);

impl Stretch {
    /// A stretch as the disk has it. It lasts still if it has no end.
    pub fn new(user: UserId, joined: Seq, from: Seq, until: Option<Seq>) -> Self {
        let until = until.map_or(0, |until| until.0);
        assert!(until < 1 << UNTIL_BITS, "no log has so many entries");
        Stretch { user, joined, from, until }
    }

    /// The same stretch, of a member of this rank.
    pub fn ranked(self, rank: Rank) -> Self {
        let bits = match rank {
            Rank::Member => 0,
            Rank::Admin => 1,
            Rank::Owner => 2,
        };
        Stretch { until: self.until & !(0b11 << UNTIL_BITS) | bits << UNTIL_BITS, ..self }
    }

    /// The rank that the member has, or had at the end.
    pub fn rank(&self) -> Rank {
        match self.until >> UNTIL_BITS & 0b11 {
            0 => Rank::Member,
            1 => Rank::Admin,
            _ => Rank::Owner,
        }
    }

    /// The same stretch, whose end was for good.
    pub fn left_for_good(self) -> Self {
        Stretch { until: self.until | FOR_GOOD, ..self }
    }

    pub fn is_for_good(&self) -> bool {
        self.until & FOR_GOOD != 0
    }

    /// The last entry of the stretch; `None` while the user is a member.
    pub fn until(&self) -> Option<Seq> {
        let until = self.until & ((1 << UNTIL_BITS) - 1);
        (until != 0).then_some(Seq(until))
    }

    /// The same stretch, which ends with this entry.
    pub fn ended(self, until: Seq) -> Self {
        let marks = self.until & !((1 << UNTIL_BITS) - 1);
        Stretch { until: Stretch::new(self.user, self.joined, self.from, Some(until)).until | marks, ..self }
    }
}

/// Up to this many are a list.
const FEW: usize = 32;

/// Stretches in order of user and join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stretches {
    Few(Vec<Stretch>),
    /// Boxed, so that the few pay for no map.
    Many(Box<BTreeMap<(UserId, Seq), Stretch>>),
}

impl Default for Stretches {
    fn default() -> Self {
        Stretches::Few(Vec::new())
    }
}

impl Stretches {
    pub fn len(&self) -> usize {
        match self {
            Stretches::Few(list) => list.len(),
            Stretches::Many(map) => map.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &Stretch> {
        let (list, map) = match self {
            Stretches::Few(list) => (Some(list), None),
            Stretches::Many(map) => (None, Some(map)),
        };
        list.into_iter().flatten().chain(map.into_iter().flat_map(|map| map.values()))
    }

    /// The stretches of one user, oldest first.
    pub fn of(&self, user: UserId) -> impl DoubleEndedIterator<Item = &Stretch> {
        let (list, map) = match self {
            Stretches::Few(list) => {
                let first = list.partition_point(|s| s.user < user);
                let len = list[first..].iter().take_while(|s| s.user == user).count();
                (Some(&list[first..first + len]), None)
            }
            Stretches::Many(map) => (None, Some(map.range((user, Seq::ZERO)..=(user, Seq(u64::MAX))))),
        };
        list.into_iter().flatten().chain(map.into_iter().flatten().map(|(_, s)| s))
    }

    /// The last stretch of a user that begins with a join up to this entry. Whatever an earlier one shows ends before it.
    pub fn last_of(&self, user: UserId, joined_by: Seq) -> Option<&Stretch> {
        match self {
            Stretches::Few(list) => {
                let end = list.partition_point(|s| (s.user, s.joined) <= (user, joined_by));
                list[..end].last().filter(|s| s.user == user)
            }
            Stretches::Many(map) => {
                let joined_by = match planted(Plant::LargeGroupForgetsTheJoin) {
                    true => Seq(joined_by.0.saturating_sub(1)),
                    false => joined_by,
                };
                map.range((user, Seq::ZERO)..=(user, joined_by)).next_back().map(|(_, stretch)| stretch)
            }
        }
    }

    /// The stretches of a user from the last one that begins with a join up to this entry; all of them if there is none.
    pub fn since(&self, user: UserId, joined_by: Seq) -> impl Iterator<Item = &Stretch> {
        let first = self.last_of(user, joined_by).map_or(Seq::ZERO, |last| last.joined);
        let (list, map) = match self {
            Stretches::Few(list) => {
                let from = list.partition_point(|s| (s.user, s.joined) < (user, first));
                (Some(list[from..].iter().take_while(move |s| s.user == user)), None)
            }
            Stretches::Many(map) => (None, Some(map.range((user, first)..=(user, Seq(u64::MAX))).map(|(_, s)| s))),
        };
        list.into_iter().flatten().chain(map.into_iter().flatten())
    }

    /// Every user who has a stretch, in order: a search each, however many stretches they have.
    pub fn users(&self) -> impl Iterator<Item = UserId> {
        let mut next = Some(UserId(0));
        std::iter::from_fn(move || {
            let from = next?;
            let found = match self {
                Stretches::Few(list) => list.get(list.partition_point(|s| s.user < from)).map(|s| s.user),
                Stretches::Many(map) => map.range((from, Seq::ZERO)..).next().map(|((user, _), _)| *user),
            };
            next = found.and_then(|user| user.0.checked_add(1)).map(UserId);
            found
        })
    }

    /// Adds a stretch, or replaces the one of this user and join.
    pub fn insert(&mut self, stretch: Stretch) {
        let key = (stretch.user, stretch.joined);
        match self {
            Stretches::Few(list) => match list.binary_search_by_key(&key, |s| (s.user, s.joined)) {
                Ok(index) => list[index] = stretch,
                Err(index) if list.len() < FEW => {
                    // Room for one more, not for four: there are as many of these lists as conversations.
                    list.reserve_exact(1);
                    list.insert(index, stretch);
                }
                Err(_) => {
                    let all = list.drain(..).chain([stretch]).map(|s| ((s.user, s.joined), s));
                    *self = Stretches::Many(Box::new(all.collect()));
                }
            },
            Stretches::Many(map) => drop(map.insert(key, stretch)),
        }
    }
}

impl FromIterator<Stretch> for Stretches {
    fn from_iter<I: IntoIterator<Item = Stretch>>(stretches: I) -> Self {
        let mut list: Vec<Stretch> = stretches.into_iter().collect();
        if list.len() > FEW {
            return Stretches::Many(Box::new(list.into_iter().map(|s| ((s.user, s.joined), s)).collect()));
        }
        list.sort_unstable_by_key(|s| (s.user, s.joined));
        Stretches::Few(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(user: u64, joined: u64) -> Stretch {
        Stretch::new(UserId(user), Seq(joined), Seq(1), None)
    }

    #[test]
    fn rank_and_end_of_a_stretch_do_not_touch_each_other() {
        let s = stretch(3, 9).ranked(Rank::Admin);
        assert_eq!((s.until(), s.rank(), s.is_for_good()), (None, Rank::Admin, false));
        let s = s.ended(Seq(12)).left_for_good();
        assert_eq!((s.until(), s.rank(), s.is_for_good()), (Some(Seq(12)), Rank::Admin, true));
        assert_eq!(s.ranked(Rank::Owner).rank(), Rank::Owner);
        assert_eq!(s.ranked(Rank::Owner).ranked(Rank::Member).until(), Some(Seq(12)));
    }

    #[test]
    fn a_list_that_has_become_a_map_says_the_same() {
        let mut stretches = Stretches::default();
        for n in 0..3 * FEW as u64 {
            stretches.insert(stretch(n * 7 % 13, n + 1));
            let mut expected: Vec<_> = (0..=n).map(|n| (n * 7 % 13, n + 1)).collect();
            expected.sort_unstable();
            let found: Vec<_> = stretches.iter().map(|s| (s.user.0, s.joined.0)).collect();
            assert_eq!((found, stretches.len()), (expected.clone(), n as usize + 1));
            let users: std::collections::BTreeSet<u64> = expected.iter().map(|(user, _)| *user).collect();
            assert!(stretches.users().map(|user| user.0).eq(users));
            for by in [0, n / 2, n, n + 1, 99] {
                let last = expected.iter().rfind(|(user, joined)| *user == 5 && *joined <= by);
                let found = stretches.last_of(UserId(5), Seq(by));
                assert_eq!(found.map(|s| (s.user.0, s.joined.0)), last.copied());
                let first = last.map_or(0, |(_, joined)| *joined);
                let rest = expected.iter().filter(|(user, joined)| *user == 5 && *joined >= first);
                let since = stretches.since(UserId(5), Seq(by)).map(|s| (s.user.0, s.joined.0));
                assert!(since.eq(rest.copied()));
            }
            let of_five: Vec<_> = stretches.of(UserId(5)).map(|s| (s.user.0, s.joined.0)).collect();
            assert!(of_five.iter().eq(expected.iter().filter(|(user, _)| *user == 5)));
            assert_eq!(stretches, stretches.iter().copied().collect());
        }
        assert!(matches!(stretches, Stretches::Many(_)));
        let before = stretches.len();
        stretches.insert(stretch(0, 1).ended(Seq(9)));
        assert_eq!((stretches.len(), stretches.of(UserId(0)).next().unwrap().until()), (before, Some(Seq(9))));
    }
}
