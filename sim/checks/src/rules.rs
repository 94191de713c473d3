//! What a conversation's own log says of who may see and do what, entry by entry.
//!
//! **Invariant:** this fold is the checks' own, written from the protocol's page and from nothing of the server: members of the creation see
//! from 1, a newcomer from [`limits::NEWCOMER_HISTORY`] entries before the join, a leaver up to the entry that says so; and an entry is one
//! that its author had the right to.

use squall_history::What;
use squall_protocol::{ConversationId, Holders, Name, Rank, Right, UserId, limits};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What somebody says in a conversation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deed<'a> {
    pub conversation: ConversationId,
    pub author: UserId,
    pub what: What,
    /// Whom it names that its kind does not.
    pub named: &'a [UserId],
}

/// Why it may not be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Objection {
    /// The reason that the server gives, in small letters only.
    pub reason: &'static str,
    pub sentence: &'static str,
}

fn because(reason: &'static str, sentence: &'static str) -> Option<Objection> {
    Some(Objection { reason, sentence })
}

/// Somebody who is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The first entry that they may see.
    pub from: u32,
    /// The one that made them a member.
    pub joined: u32,
    pub rank: Rank,
}

/// A membership that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub user: UserId,
    pub standing: Standing,
    pub to: u32,
    pub for_good: bool,
}

/// One conversation, as far as its log has been read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    created: bool,
    people: BTreeMap<UserId, Standing>,
    out_for_good: BTreeSet<UserId>,
    /// Where somebody has last said that they may be added again: a newcomer sees nothing from before.
    taken_back: BTreeMap<UserId, u32>,
    /// What settings speak of.
    rights: BTreeMap<Right, Holders>,
    blockers: BTreeSet<UserId>,
}

impl Rules {
    pub fn people(&self) -> &BTreeMap<UserId, Standing> {
        &self.people
    }

    pub fn rights(&self) -> &BTreeMap<Right, Holders> {
        &self.rights
    }

    pub fn blockers(&self) -> &BTreeSet<UserId> {
        &self.blockers
    }

    fn has(&self, rank: Rank, right: Right) -> bool {
        let usual = if right == Right::Promote { Holders::Owner } else { Holders::Members };
        let least = match self.rights.get(&right).copied().unwrap_or(usual) {
            Holders::Owner => Rank::Owner,
            Holders::Admins => Rank::Admin,
            Holders::Members => Rank::Member,
        };
        rank >= least
    }

    /// What stands against this as the next entry.
    pub fn objection(&self, deed: &Deed<'_>) -> Option<Objection> {
        let Deed { conversation, author, what, named } = *deed;
        let direct = match conversation.name() {
            Some(Name::Direct { .. }) => true,
            Some(Name::Group { .. }) => false,
            None => return because("notamember", "the conversation's name is nobody's"),
        };
        if what.is_creation() {
            return match self.created {
                true => because("conflict", "the conversation had been created before"),
                false => against_the_name(deed),
            };
        }
        if !self.created {
            return because("unknownconversation", "nobody had created the conversation");
        }
        let own = self.people.get(&author).map(|standing| standing.rank);
        if what == What::ForGood(false) {
            return match (self.out_for_good.contains(&author), own) {
                (true, _) => None,
                (false, Some(_)) => because("conflict", "its author had not left for good"),
                (false, None) => because("notamember", "its author had not left for good"),
            };
        }
        let Some(own) = own else { return because("notamember", "its author was no member") };
        if direct {
            self.objection_of_two(author, what)
        } else {
            self.objection_in_group(author, own, what, named)
        }
    }

    fn objection_of_two(&self, author: UserId, what: What) -> Option<Objection> {
        match what {
            What::Text if self.blockers.is_empty() => None,
            What::Text => because("blocked", "one of the two had blocked the conversation"),
            What::Blocked(is_so) if self.blockers.contains(&author) == is_so => {
                because("conflict", "it was so already")
            }
            What::Blocked(_) => None,
            _ => because("conflict", "two people's conversation is theirs alone"),
        }
    }

    fn objection_in_group(&self, author: UserId, own: Rank, what: What, named: &[UserId]) -> Option<Objection> {
        let lacks = |right| !self.has(own, right);
        let no_right = || because("notallowed", "its author had no right to that");
        let above = |user: &UserId| self.people.get(user).is_some_and(|other| other.rank > own);
        match what {
            What::Text => {
                if lacks(Right::Post) {
                    no_right()
                } else {
                    None
                }
            }
            What::Named => {
                if lacks(Right::Rename) {
                    no_right()
                } else {
                    None
                }
            }
            What::ForGood(_) => None,
            What::Blocked(_) => because("conflict", "a group cannot be blocked"),
            What::Setting { right, who } => {
                let usual = if right == Right::Promote { Holders::Owner } else { Holders::Members };
                match self.rights.get(&right).copied().unwrap_or(usual) == who {
                    true => because("conflict", "it was so already"),
                    false => {
                        if own == Rank::Owner {
                            None
                        } else {
                            no_right()
                        }
                    }
                }
            }
            What::Role { user, rank } => match self.people.get(&user).map(|standing| standing.rank) {
                None => because("conflict", "that user was no member"),
                Some(current) if current == rank => because("conflict", "that user had that rank"),
                Some(Rank::Owner) => because("notallowed", "nobody takes the ownership away"),
                Some(_) if rank == Rank::Owner => {
                    if own == Rank::Owner {
                        None
                    } else {
                        no_right()
                    }
                }
                Some(_) if user == author && rank == Rank::Member => None,
                Some(_) if lacks(Right::Promote) => no_right(),
                Some(current) if current > own => because("notallowed", "that user was above its author"),
                Some(_) => None,
            },
            What::JoinedSeveral | What::LeftSeveral if named.len() > limits::MAX_NAMED_USERS => {
                because("grouptoolarge", "it names more users than one entry may")
            }
            What::JoinedSeveral | What::LeftSeveral if names_twice(named) => {
                because("conflict", "it names nobody, or somebody twice")
            }
            What::Joined(_) | What::JoinedSeveral => {
                if what.added(named).any(|user| self.people.contains_key(&user)) {
                    because("conflict", "that user was a member")
                } else if self.people.len() + what.added(named).count() > limits::MAX_GROUP_MEMBERS {
                    because("grouptoolarge", "the group was as large as a group may be")
                } else if what.added(named).any(|user| self.out_for_good.contains(&user)) {
                    because("notallowed", "that user had left for good")
                } else if lacks(Right::Add) {
                    no_right()
                } else {
                    None
                }
            }
            What::Left(_) | What::LeftSeveral => {
                let mut others = what.taken(author, named).filter(|user| *user != author).peekable();
                if what.taken(author, named).any(|user| !self.people.contains_key(&user)) {
                    because("conflict", "that user was no member")
                } else if others.peek().is_some() && lacks(Right::Remove) {
                    no_right()
                } else if others.any(|user| above(&user)) {
                    because("notallowed", "that user was above its author")
                } else {
                    None
                }
            }
            What::Created | What::CreatedChannel => None,
        }
    }

    /// Takes an entry. Whoever's membership it ends is told.
    pub fn fold(&mut self, seq: u32, deed: &Deed<'_>, mut ended: impl FnMut(Ended)) {
        let Deed { author, what, named, conversation } = *deed;
        match what {
            What::Text | What::Named => {}
            What::Created | What::CreatedChannel if self.created => {}
            What::Created | What::CreatedChannel => {
                self.created = true;
                let is_group = !matches!(conversation.name(), Some(Name::Direct { .. }));
                for user in named {
                    let rank = if is_group && *user == author { Rank::Owner } else { Rank::Member };
                    self.people.insert(*user, Standing { from: 1, joined: 1, rank });
                }
                if what == What::CreatedChannel {
                    let closed = [Right::Add, Right::Remove, Right::Rename, Right::Post];
                    self.rights.extend(closed.map(|right| (right, Holders::Admins)));
                }
            }
            What::Role { user, rank } => {
                if let Some(standing) = self.people.get_mut(&user) {
                    standing.rank = rank;
                }
                if let Some(standing) = self.people.get_mut(&author).filter(|_| rank == Rank::Owner) {
                    standing.rank = Rank::Admin;
                }
            }
            What::Setting { right, who } => drop(self.rights.insert(right, who)),
            What::Blocked(true) => drop(self.blockers.insert(author)),
            What::Blocked(false) => drop(self.blockers.remove(&author)),
            What::ForGood(false) => {
                self.out_for_good.remove(&author);
                self.taken_back.insert(author, seq);
                let standing = Standing { from: seq, joined: seq, rank: Rank::Member };
                ended(Ended { user: author, standing, to: seq, for_good: false });
            }
            What::Joined(_) | What::JoinedSeveral => {
                let from = seq.saturating_sub(limits::NEWCOMER_HISTORY as u32).max(1);
                for user in what.added(named) {
                    let from = self.taken_back.get(&user).map_or(from, |said| from.max(*said));
                    self.people.entry(user).or_insert(Standing { from, joined: seq, rank: Rank::Member });
                }
            }
            What::Left(_) | What::LeftSeveral | What::ForGood(true) => {
                let (for_good, mut ownerless) = (what == What::ForGood(true), false);
                for user in what.taken(author, named) {
                    let Some(standing) = self.people.remove(&user) else { continue };
                    ownerless |= standing.rank == Rank::Owner;
                    ended(Ended { user, standing, to: seq, for_good });
                    if for_good {
                        self.out_for_good.insert(user);
                    }
                }
                // The oldest of the highest.
                let heir = |(user, standing): &(&UserId, &mut Standing)| {
                    (Reverse(standing.rank), standing.joined, **user)
                };
                if let Some((_, standing)) = self.people.iter_mut().filter(|_| ownerless).min_by_key(heir) {
                    standing.rank = Rank::Owner;
                }
            }
        }
    }
}

/// Whether what is to name several users names fewer, or one of them twice.
fn names_twice(named: &[UserId]) -> bool {
    let distinct: BTreeSet<UserId> = named.iter().copied().collect();
    distinct.len() != named.len() || distinct.len() < 2
}

/// What is wrong with a creation by the name of its conversation: it is its two people's and nobody else's; or its creator's and others', each
/// once.
fn against_the_name(deed: &Deed<'_>) -> Option<Objection> {
    let members: BTreeSet<UserId> = deed.named.iter().copied().collect();
    let once = members.len() == deed.named.len() && members.contains(&deed.author);
    let as_named = match deed.conversation.name() {
        Some(Name::Direct { low, high }) => members == [low, high].into() && deed.what == What::Created,
        Some(Name::Group { creator, .. }) => creator == deed.author,
        None => false,
    };
    if once && as_named { None } else { because("conflict", "the conversation's name says otherwise") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: UserId = UserId(1);
    const B: UserId = UserId(2);
    const C: UserId = UserId(3);
    const D: UserId = UserId(4);

    struct Log {
        rules: Rules,
        conversation: ConversationId,
        seq: u32,
        ended: Vec<Ended>,
    }

    impl Log {
        fn of(conversation: ConversationId, created: What, members: &[UserId]) -> Log {
            let mut log = Log { rules: Rules::default(), conversation, seq: 0, ended: Vec::new() };
            assert_eq!(log.say(A, created, members), None);
            log
        }

        /// Why it is refused; if it is not, it is in the log.
        fn say(&mut self, author: UserId, what: What, named: &[UserId]) -> Option<&'static str> {
            let deed = Deed { conversation: self.conversation, author, what, named };
            let refused = self.rules.objection(&deed).map(|objection| objection.reason);
            if refused.is_none() {
                self.seq += 1;
                self.rules.fold(self.seq, &deed, |ended| self.ended.push(ended));
            }
            refused
        }

        fn rank(&self, user: UserId) -> Option<Rank> {
            self.rules.people().get(&user).map(|standing| standing.rank)
        }
    }

    fn group() -> Log {
        Log::of(ConversationId::group(A, 7), What::Created, &[A, B, C])
    }

    const fn role(user: UserId, rank: Rank) -> What {
        What::Role { user, rank }
    }

    #[test]
    fn ranks_say_who_does_what_to_whom() {
        let mut log = group();
        let (no, vain) = (Some("notallowed"), Some("conflict"));
        let table = [
            (B, role(B, Rank::Admin), no),
            (B, role(C, Rank::Owner), no),
            (A, role(A, Rank::Member), no),
            (A, role(D, Rank::Admin), vain),
            (A, role(B, Rank::Member), vain),
            (A, role(B, Rank::Admin), None),
            (C, What::Left(B), no),
            (C, What::Left(A), no),
            (B, What::Left(A), no),
            (B, role(C, Rank::Admin), no),
            (B, What::Setting { right: Right::Add, who: Holders::Owner }, no),
            (A, What::Setting { right: Right::Add, who: Holders::Members }, vain),
            (A, What::Setting { right: Right::Promote, who: Holders::Admins }, None),
            (A, What::Setting { right: Right::Add, who: Holders::Admins }, None),
            (C, What::Joined(D), no),
            (B, role(C, Rank::Admin), None),
            (C, What::Joined(D), None),
            (C, role(B, Rank::Member), None),
            (C, role(C, Rank::Member), None),
            (C, role(C, Rank::Admin), no),
            (A, role(D, Rank::Owner), None),
            (A, What::Left(D), no),
            (B, What::Blocked(true), vain),
        ];
        for (author, what, expected) in table {
            assert_eq!(log.say(author, what, &[]), expected, "{author} {what:?}");
        }
        assert_eq!([A, B, C, D].map(|user| log.rank(user).unwrap()), {
            [Rank::Admin, Rank::Member, Rank::Member, Rank::Owner]
        });
    }

    #[test]
    fn a_channel_is_closed_until_it_is_opened_and_what_its_owner_leaves_is_the_eldest_admin_s() {
        let mut log = Log::of(ConversationId::group(A, 7), What::CreatedChannel, &[A, B, C]);
        assert_eq!(log.say(B, What::Text, &[]), Some("notallowed"));
        assert_eq!(log.say(A, What::Text, &[]), None);
        assert_eq!(log.say(A, What::Setting { right: Right::Post, who: Holders::Members }, &[]), None);
        assert_eq!(log.say(B, What::Text, &[]), None);
        assert_eq!(log.say(A, role(C, Rank::Admin), &[]), None);
        assert_eq!(log.say(A, What::Left(A), &[]), None);
        assert_eq!((log.rank(B), log.rank(C)), (Some(Rank::Member), Some(Rank::Owner)));
        assert_eq!(log.say(C, What::LeftSeveral, &[B, C]), None);
        assert_eq!((log.rules.people().len(), log.ended.len()), (0, 3));
    }

    #[test]
    fn who_has_left_for_good_is_added_by_nobody_before_they_say_so() {
        let mut log = group();
        assert_eq!(log.say(B, What::ForGood(false), &[]), Some("conflict"));
        assert_eq!(log.say(B, What::ForGood(true), &[]), None);
        assert_eq!(log.say(A, What::Joined(B), &[]), Some("notallowed"));
        assert_eq!(log.say(A, What::JoinedSeveral, &[B, D]), Some("notallowed"));
        assert_eq!(log.say(B, What::Text, &[]), Some("notamember"));
        assert_eq!(log.say(B, What::ForGood(false), &[]), None);
        assert_eq!(log.say(B, What::ForGood(false), &[]), Some("notamember"));
        assert_eq!(log.say(A, What::JoinedSeveral, &[B, D]), None);
        // From where they said so, and not from the beginning.
        assert_eq!(log.rules.people()[&B].from, 3);
        let seen: Vec<_> = log.ended.iter().map(|e| (e.user, e.standing.from, e.to, e.for_good)).collect();
        assert_eq!(seen, [(B, 1, 2, true), (B, 3, 3, false)]);
    }

    #[test]
    fn while_either_blocks_neither_writes() {
        let mut log = Log::of(ConversationId::direct(A, B), What::Created, &[A, B]);
        assert_eq!(log.say(B, What::Blocked(false), &[]), Some("conflict"));
        assert_eq!(log.say(B, What::Blocked(true), &[]), None);
        assert_eq!((log.say(A, What::Text, &[]), log.say(B, What::Text, &[])), (Some("blocked"), Some("blocked")));
        assert_eq!(log.say(A, What::Blocked(true), &[]), None);
        assert_eq!(log.say(B, What::Blocked(false), &[]), None);
        assert_eq!(log.say(B, What::Text, &[]), Some("blocked"));
        assert_eq!(log.say(A, What::Blocked(false), &[]), None);
        assert_eq!(log.say(B, What::Text, &[]), None);
    }
}
