//! Turns: whoever asks for much waits behind himself, not others behind him.
//!
//! **Invariants:** of those who wait, each has one turn before anybody has a second; what one asked for first comes first; bounded in
//! all and a user. Guarded by the tests below.

use rustc_hash::FxHashMap;
use squall_protocol::UserId;
use std::collections::VecDeque;

/// What users have asked for, a turn each.
#[derive(Debug)]
pub struct Turns<T> {
    /// A row only while the user waits for something.
    waiting: FxHashMap<UserId, VecDeque<T>>,
    order: VecDeque<UserId>,
    len: usize,
    bound: usize,
    share: usize,
}

impl<T> Turns<T> {
    /// At most `bound` in all and `share` of a user.
    pub fn new(bound: usize, share: usize) -> Self {
        Turns { waiting: FxHashMap::default(), order: VecDeque::new(), len: 0, bound, share }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends to what this user waits for. False: there is no room, and it is dropped.
    #[must_use]
    pub fn push(&mut self, user: UserId, what: T) -> bool {
        let own = self.waiting.get(&user).map_or(0, VecDeque::len);
        if self.len >= self.bound || own >= self.share {
            return false;
        }
        if own == 0 {
            self.order.push_back(user);
        }
        self.waiting.entry(user).or_default().push_back(what);
        self.len += 1;
        true
    }

    /// The first thing that the user whose turn it is waits for.
    pub fn pop(&mut self) -> Option<T> {
        let user = self.order.pop_front()?;
        let own = self.waiting.get_mut(&user)?;
        let what = own.pop_front()?;
        if own.is_empty() {
            self.waiting.remove(&user);
        } else {
            self.order.push_back(user);
        }
        self.len -= 1;
        Some(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(turns: &mut Turns<u32>) -> Vec<u32> {
        std::iter::from_fn(|| turns.pop()).collect()
    }

    #[test]
    fn whoever_asks_for_much_waits_behind_himself() {
        let mut turns = Turns::new(100, 50);
        (0..4).for_each(|n| assert!(turns.push(UserId(1), n)));
        assert!(turns.push(UserId(2), 20));
        assert!(turns.push(UserId(3), 30));
        assert!(turns.push(UserId(2), 21));
        assert_eq!(all(&mut turns), [0, 20, 30, 1, 21, 2, 3]);
        assert!(turns.is_empty() && turns.waiting.is_empty() && turns.order.is_empty());
    }

    #[test]
    fn a_user_has_a_share_and_all_together_a_bound() {
        let mut turns = Turns::new(3, 2);
        assert_eq!([1, 1, 1].map(|user| turns.push(UserId(user), 0)), [true, true, false]);
        assert_eq!([2, 3].map(|user| turns.push(UserId(user), 0)), [true, false]);
        assert_eq!(turns.len(), 3);
        assert!(turns.pop().is_some());
        assert!(turns.push(UserId(3), 1));
    }
}
