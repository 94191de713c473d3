//! How many members of each large group have come to the end of its log, kept from one commit of cursors to the next.
//!
//! A cursor goes no further than the log, and members change with an entry only. So whoever was on disk before an entry was stored has not come
//! to it, and for as long as no further one is stored, whoever comes to it crosses it once: what a commit moves is all that there is to
//! look at. All rows are read only of a group of which nothing is known, since a restart mostly, and only of so many at once; of any
//! other one counts are known from its next entry on.
//!
//! **Invariant:** what is kept is what counting all rows would find, or nothing. Guarded by the test below, and `sim/checks/src/receipts_hold.rs`.

use squall_protocol::limits::{COUNTED_ANEW_A_COMMIT, MAX_COUNTS_KEPT};
use squall_protocol::{ConversationId, Cursors, ReceiptCounts, Seq};
use std::collections::BTreeMap;

/// A member's cursors on disk before a commit, and after it.
#[derive(Debug, Clone, Copy)]
pub struct Crossing {
    pub before: Cursors,
    pub after: Cursors,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    counts: ReceiptCounts,
    /// False: who had come to this entry before is not known.
    is_known: bool,
}

/// The counts of all large groups in which something moves.
#[derive(Debug, Default)]
pub struct Counts {
    kept: BTreeMap<ConversationId, Kept>,
    /// Groups of which all rows were read in this commit.
    counted_anew: usize,
}

impl Counts {
    /// As it was last counted.
    pub fn of(&self, conversation: ConversationId) -> Option<ReceiptCounts> {
        self.kept.get(&conversation).filter(|kept| kept.is_known).map(|kept| kept.counts)
    }

    /// Another commit has moved cursors.
    pub fn begin(&mut self) {
        self.counted_anew = 0;
    }

    /// A commit has moved members' cursors in a large group whose log goes as far as `end`. `count` reads all of its rows. `None`: nobody knows
    /// how many there are.
    pub fn handle_moved<E>(
        &mut self,
        conversation: ConversationId,
        end: Seq,
        moved: impl IntoIterator<Item = Crossing>,
        count: impl FnOnce() -> Result<ReceiptCounts, E>,
    ) -> Result<Option<ReceiptCounts>, E> {
        let nobody = ReceiptCounts { up_to: end, delivered: 0, read: 0 };
        let mut kept = match self.kept.get(&conversation) {
            Some(kept) if kept.counts.up_to == end => *kept,
            Some(_) => Kept { counts: nobody, is_known: true },
            None => Kept { counts: nobody, is_known: false },
        };
        if kept.is_known {
            for Crossing { before, after } in moved {
                kept.counts.delivered += u64::from(before.delivered < end && after.delivered >= end);
                kept.counts.read += u64::from(before.read < end && after.read >= end);
            }
        } else if self.counted_anew < COUNTED_ANEW_A_COMMIT {
            self.counted_anew += 1;
            kept = Kept { counts: count()?, is_known: true };
        }
        if self.kept.len() >= MAX_COUNTS_KEPT && !self.kept.contains_key(&conversation) {
            self.kept.clear();
        }
        self.kept.insert(conversation, kept);
        Ok(self.of(conversation))
    }

    /// It is no large group, or what has moved there is not known.
    pub fn forget(&mut self, conversation: ConversationId) {
        self.kept.remove(&conversation);
    }

    /// What has moved is not known.
    pub fn forget_all(&mut self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use squall_protocol::UserId;

    const C: ConversationId = ConversationId::group(UserId(1), 1);
    const USERS: usize = 6;

    #[derive(Debug, Clone)]
    enum Step {
        Append,
        /// Somebody comes, or goes: an entry says so.
        Change(usize),
        Shown(usize, u64),
        Read(usize, u64),
        Commit,
        Forgotten,
        /// Others take what may be counted anew.
        Busy(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Append),
            1 => (0..USERS).prop_map(Step::Change),
            6 => (0..USERS, 0..3u64).prop_map(|(user, behind)| Step::Shown(user, behind)),
            4 => (0..USERS, 0..3u64).prop_map(|(user, behind)| Step::Read(user, behind)),
            6 => Just(Step::Commit),
            1 => Just(Step::Forgotten),
            1 => any::<bool>().prop_map(Step::Busy),
        ]
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_counting_all_would_find(steps in prop::collection::vec(step(), 1..200)) {
            let (mut counts, mut end, mut is_busy) = (Counts::default(), 1, false);
            let (mut stored, mut held) = ([Cursors::default(); USERS], [Cursors::default(); USERS]);
            let mut is_member = [true; USERS];
            for step in steps {
                match step {
                    Step::Append => end += 1,
                    Step::Change(user) => {
                        end += 1;
                        is_member[user] = !is_member[user];
                    }
                    Step::Shown(user, behind) if is_member[user] => {
                        let delivered = Seq(u64::saturating_sub(end, behind));
                        held[user] = held[user].or_further(Cursors { delivered, read: Seq::ZERO });
                    }
                    Step::Read(user, behind) if is_member[user] => {
                        let up_to = Seq(u64::saturating_sub(end, behind));
                        held[user] = held[user].or_further(Cursors { delivered: up_to, read: up_to });
                    }
                    Step::Shown(..) | Step::Read(..) => {}
                    Step::Forgotten => counts.forget_all(),
                    Step::Busy(is_so) => is_busy = is_so,
                    Step::Commit => {
                        let before = stored;
                        for user in 0..USERS {
                            stored[user] = before[user].or_further(held[user]);
                        }
                        let there = |user: &usize| is_member[*user];
                        let moved = (0..USERS).filter(there).filter(|user| held[*user] != Cursors::default());
                        let moved = moved.map(|user| Crossing { before: before[user], after: stored[user] });
                        let moved: Vec<Crossing> = moved.collect();
                        held = [Cursors::default(); USERS];
                        if moved.is_empty() {
                            continue;
                        }
                        let have = |of: fn(&Cursors) -> Seq| {
                            (0..USERS).filter(there).filter(|user| of(&stored[*user]) >= Seq(end)).count() as u64
                        };
                        let all = ReceiptCounts {
                            up_to: Seq(end),
                            delivered: have(|stand| stand.delivered),
                            read: have(|stand| stand.read),
                        };
                        counts.begin();
                        if is_busy {
                            counts.counted_anew = COUNTED_ANEW_A_COMMIT;
                        }
                        let was_known = counts.kept.contains_key(&C);
                        let told = counts.handle_moved(C, Seq(end), moved, || Ok::<_, ()>(all)).unwrap();
                        prop_assert!(told.is_none_or(|told| told == all), "{told:?} instead of {all:?}");
                        prop_assert!(told.is_some() || is_busy || was_known);
                        prop_assert_eq!(counts.of(C), told);
                    }
                }
            }
        }
    }
}
