//! Who may do what in a conversation, by the fold over its own log; and what no log can allow.
//!
//! **Invariant:** whether a user may write entry n depends on entries up to n − 1 and on the conversation's name. The rules are those of
//! `system/protocol/README.md`. Checked by `sim/checks/src/members_only.rs` and `every_send_answered.rs`, which have rules of their own.

use super::membership::{Blocks, Membership};
use crate::plant::{Plant, planted};
use squall_protocol::limits::MAX_GROUP_MEMBERS;
use squall_protocol::{ConversationId, Name, Payload, Rank, Refusal, Right, UserId};

impl Membership {
    /// Whether `payload`, sent by `sender`, may become an entry of this log. It has passed [`admit`].
    pub fn check(&self, sender: UserId, payload: &Payload) -> Result<(), Refusal> {
        let exists = !self.stretches.is_empty();
        match payload {
            Payload::Created { .. } if exists => return Err(Refusal::Conflict),
            Payload::Created { .. } => return Ok(()),
            _ if !exists => return Err(Refusal::UnknownConversation),
            Payload::ForGood(false) if self.is_out_for_good(sender) => return Ok(()),
            Payload::Joined(users) if planted(Plant::AnybodyMayJoin) && users[..] == [sender] => {}
            Payload::Left(users)
                if planted(Plant::LeaverTakesAway)
                    && self.has_left(sender)
                    && users.iter().all(|user| self.is_member(*user)) =>
            {
                return Ok(());
            }
            Payload::Text(_) if planted(Plant::RemovedAdminPosts) && self.was_admin(sender) => return Ok(()),
            _ => {}
        }
        let rank = match self.rank(sender) {
            Some(rank) => rank,
            None if matches!(payload, Payload::Joined(_)) && planted(Plant::AnybodyMayJoin) => Rank::Owner,
            None => return Err(Refusal::NotAMember),
        };
        match payload {
            Payload::Text(_) if planted(Plant::ReturnerNotLetIn) && self.has_left(sender) => {
                Err(Refusal::NotAMember)
            }
            Payload::Text(_) | Payload::Blocked(_) if self.direct => self.check_direct(sender, payload),
            // Two people's conversation is theirs alone, and a group has nobody to block.
            Payload::Blocked(_) | Payload::ForGood(false) => Err(Refusal::Conflict),
            _ if self.direct => Err(Refusal::Conflict),
            Payload::Text(_) => self.may(Right::Post, rank),
            Payload::Named(_) => self.may(Right::Rename, rank),
            Payload::ForGood(true) => Ok(()),
            Payload::Joined(users) => {
                if users.iter().any(|user| self.is_member(*user)) {
                    return Err(Refusal::Conflict);
                }
                if self.present as usize + users.len() > MAX_GROUP_MEMBERS {
                    return Err(Refusal::GroupTooLarge);
                }
                if users.iter().any(|user| self.is_out_for_good(*user)) && !planted(Plant::ForGoodUndoneByOthers) {
                    return Err(Refusal::NotAllowed);
                }
                self.may(Right::Add, rank)
            }
            Payload::Left(users) => {
                if !users.iter().all(|user| self.is_member(*user)) {
                    return Err(Refusal::Conflict);
                }
                users.iter().filter(|user| **user != sender).try_for_each(|user| {
                    self.may(Right::Remove, rank)?;
                    self.is_not_above(*user, rank)
                })
            }
            Payload::Role { user, rank: given } => self.check_role(sender, rank, *user, *given),
            Payload::Setting { right, who } => match self.settings.who(*right) == *who {
                true => Err(Refusal::Conflict),
                false => {
                    if rank == Rank::Owner {
                        Ok(())
                    } else {
                        Err(Refusal::NotAllowed)
                    }
                }
            },
            Payload::Created { .. } => unreachable!("whether it is there has been asked"),
        }
    }

    fn check_direct(&self, sender: UserId, payload: &Payload) -> Result<(), Refusal> {
        let Blocks(blocked) = self.blocked;
        match payload {
            Payload::Blocked(is_so) if (blocked & self.bit(sender) != 0) == *is_so => Err(Refusal::Conflict),
            Payload::Text(_) if planted(Plant::BlockerStillWrites) && blocked & !self.bit(sender) == 0 => Ok(()),
            Payload::Text(_) if blocked != 0 => Err(Refusal::Blocked),
            _ => Ok(()),
        }
    }

    /// Whether a member of one rank may give another one, or themselves, another.
    fn check_role(&self, sender: UserId, rank: Rank, user: UserId, given: Rank) -> Result<(), Refusal> {
        let current = self.rank(user).ok_or(Refusal::Conflict)?;
        if current == given {
            return Err(Refusal::Conflict);
        }
        match (current, given) {
            // An owner hands over, and does nothing else with what only they have.
            (Rank::Owner, _) => Err(Refusal::NotAllowed),
            (_, Rank::Owner) => {
                if rank == Rank::Owner {
                    Ok(())
                } else {
                    Err(Refusal::NotAllowed)
                }
            }
            (_, Rank::Member) if user == sender => Ok(()),
            (_, Rank::Admin) if user == sender && planted(Plant::MemberTakesPromotion) => Ok(()),
            _ => {
                self.may(Right::Promote, rank)?;
                self.is_not_above(user, rank)
            }
        }
    }

    fn may(&self, right: Right, rank: Rank) -> Result<(), Refusal> {
        if self.settings.give(right, rank) { Ok(()) } else { Err(Refusal::NotAllowed) }
    }

    /// Nobody does anything to those above them.
    fn is_not_above(&self, user: UserId, rank: Rank) -> Result<(), Refusal> {
        if self.rank(user).is_some_and(|other| other > rank) { Err(Refusal::NotAllowed) } else { Ok(()) }
    }

    /// For a planted bug.
    fn was_admin(&self, user: UserId) -> bool {
        self.stretches.of(user).any(|s| s.rank() >= Rank::Admin)
    }
}

/// What is wrong with a send by itself, whatever the log holds: its size, and what the conversation's name says of its
/// sender and of those whom a creation names. The cheap questions come first. Reads nothing and needs no lock.
pub fn admit(conversation: ConversationId, sender: UserId, payload: &Payload) -> Result<(), Refusal> {
    if !conversation.is_open_to(sender) && !planted(Plant::CreationTakesAnyName) {
        return Err(Refusal::NotAMember);
    }
    payload.check()?;
    match payload {
        Payload::Created { .. } if planted(Plant::CreationTakesAnyName) => Ok(()),
        Payload::Created { .. } if !conversation.founded_by(sender) => Err(Refusal::NotAMember),
        Payload::Created { direct: true, channel: true, .. } => Err(Refusal::Conflict),
        Payload::Created { direct, members, .. } => {
            match names_its_members(conversation, sender, *direct, members) {
                true => Ok(()),
                false => Err(Refusal::Conflict),
            }
        }
        Payload::Joined(users) | Payload::Left(users) if !users.are_distinct() => Err(Refusal::Conflict),
        _ => Ok(()),
    }
}

/// Whether a creation says what the name says: a direct conversation its two people and nobody else; a group its creator and
/// others, each once.
fn names_its_members(conversation: ConversationId, sender: UserId, direct: bool, members: &[UserId]) -> bool {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    match (conversation.name(), direct) {
        (Some(Name::Direct { .. }), true) if planted(Plant::DirectNamesWhoever) => sorted.contains(&sender),
        (Some(Name::Direct { low, high }), true) => sorted == [low, high],
        (Some(Name::Group { .. }), false) => {
            let distinct = sorted.windows(2).all(|pair| pair[0] != pair[1]);
            distinct && sorted.binary_search(&sender).is_ok() && sorted.iter().all(|member| member.is_valid())
        }
        (Some(_), _) | (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::limits::MAX_NAME_BYTES;
    use squall_protocol::{Holders, Seq};

    const A: UserId = UserId(1);
    const B: UserId = UserId(2);
    const C: UserId = UserId(3);
    const G: ConversationId = ConversationId::group(A, 77);

    fn created(direct: bool, members: &[UserId]) -> Payload {
        Payload::Created { direct, channel: false, members: members.to_vec() }
    }

    fn group() -> Membership {
        let mut m = Membership::default();
        m.apply(Seq(1), A, &created(false, &[A, B]));
        m
    }

    #[test]
    fn a_name_admits_its_founders_to_create_what_it_says_and_nothing_else() {
        let direct = ConversationId::direct(A, B);
        let beyond = UserId(UserId::LIMIT);
        let (stranger, nonsense) = (Err(Refusal::NotAMember), Err(Refusal::Conflict));
        let table = [
            (direct, A, created(true, &[A, B]), Ok(())),
            (direct, B, created(true, &[A, B]), Ok(())),
            (direct, B, created(true, &[B, A]), Ok(())),
            (direct, A, created(true, &[A, C]), nonsense),
            (direct, A, created(true, &[A]), nonsense),
            (direct, A, created(true, &[A, B, B]), nonsense),
            (direct, A, created(false, &[A, B]), nonsense),
            (direct, C, created(true, &[A, B]), stranger),
            (direct, C, created(false, &[C]), stranger),
            (direct, C, created(true, &[C, A]), stranger),
            (direct, C, Payload::Text("x".into()), stranger),
            (direct, C, Payload::joined(C), stranger),
            (direct, A, Payload::Text("x".into()), Ok(())),
            (G, A, created(false, &[A]), Ok(())),
            (G, A, created(false, &[B, A, C]), Ok(())),
            (G, A, created(false, &[]), nonsense),
            (G, A, created(false, &[B, C]), nonsense),
            (G, A, created(false, &[A, B, A]), nonsense),
            (G, A, created(false, &[A, beyond]), nonsense),
            (G, A, created(true, &[A, B]), nonsense),
            (G, B, created(false, &[A, B]), stranger),
            (G, A, Payload::joined(beyond), nonsense),
            (G, A, Payload::Created { direct: false, channel: true, members: vec![A, B] }, Ok(())),
            (direct, A, Payload::Created { direct: true, channel: true, members: vec![A, B] }, nonsense),
            (G, A, Payload::Named("x".repeat(MAX_NAME_BYTES)), Ok(())),
            (G, A, Payload::Named("x".repeat(MAX_NAME_BYTES + 1)), Err(Refusal::BodyTooLarge)),
            (ConversationId(0), UserId(0), created(true, &[UserId(0), UserId(0)]), stranger),
        ];
        for (conversation, sender, payload, expected) in table {
            assert_eq!(admit(conversation, sender, &payload), expected, "{conversation} {sender} {payload:?}");
        }
    }

    fn refused(m: &Membership, table: &[(UserId, Payload, Result<(), Refusal>)]) {
        for (sender, payload, expected) in table {
            assert_eq!(m.check(*sender, payload), *expected, "{sender:?} {payload:?}");
        }
    }

    fn role(user: UserId, rank: Rank) -> Payload {
        Payload::Role { user, rank }
    }

    const NO: Result<(), Refusal> = Err(Refusal::NotAllowed);
    const VAIN: Result<(), Refusal> = Err(Refusal::Conflict);

    #[test]
    fn ranks_say_who_does_what_to_whom() {
        let setting = |right, who| Payload::Setting { right, who };
        let mut m = group();
        m.apply(Seq(2), A, &Payload::joined(C));
        refused(
            &m,
            &[
                (B, role(C, Rank::Admin), NO),
                (B, role(B, Rank::Admin), NO),
                (A, role(A, Rank::Admin), NO),
                (A, role(UserId(9), Rank::Admin), VAIN),
                (A, role(B, Rank::Member), VAIN),
                (B, Payload::left(A), NO),
                (B, Payload::left(C), Ok(())),
                (B, setting(Right::Post, Holders::Owner), NO),
                (A, setting(Right::Post, Holders::Members), VAIN),
                (A, Payload::Blocked(true), VAIN),
            ],
        );
        m.apply(Seq(3), A, &role(B, Rank::Admin));
        m.apply(Seq(4), A, &setting(Right::Promote, Holders::Admins));
        m.apply(Seq(5), A, &setting(Right::Post, Holders::Admins));
        refused(
            &m,
            &[
                (C, Payload::left(B), NO),
                (B, Payload::left(A), NO),
                (B, role(C, Rank::Admin), Ok(())),
                (B, role(B, Rank::Member), Ok(())),
                (B, role(C, Rank::Owner), NO),
                (C, Payload::Text("x".into()), NO),
                (B, Payload::Text("x".into()), Ok(())),
            ],
        );
        // A removed admin who is added again is a member.
        m.apply(Seq(6), A, &Payload::left(B));
        m.apply(Seq(7), A, &Payload::joined(B));
        assert_eq!(m.rank(B), Some(Rank::Member));
        m.apply(Seq(8), A, &role(C, Rank::Owner));
        assert_eq!([A, B, C].map(|user| m.rank(user).unwrap()), [Rank::Admin, Rank::Member, Rank::Owner]);
        let moved: Vec<UserId> = m.changed_by(Seq(8), A, &role(C, Rank::Owner)).map(|s| s.user).collect();
        assert_eq!(moved, [C, A]);
        // The oldest admin has the group of an owner who leaves.
        let left = Payload::left(C);
        m.apply(Seq(9), C, &left);
        assert_eq!((m.rank(A), m.rank(B)), (Some(Rank::Owner), Some(Rank::Member)));
        let moved: Vec<UserId> = m.changed_by(Seq(9), C, &left).map(|s| s.user).collect();
        assert_eq!(moved, [C, A]);
    }

    #[test]
    fn who_has_left_for_good_is_added_by_nobody_before_they_say_so() {
        let mut m = group();
        m.apply(Seq(2), B, &Payload::ForGood(true));
        let both = Payload::Joined(vec![B, C].into());
        refused(
            &m,
            &[
                (A, Payload::joined(B), NO),
                (A, both.clone(), NO),
                (B, Payload::Text("x".into()), Err(Refusal::NotAMember)),
                (B, Payload::ForGood(false), Ok(())),
                (A, Payload::ForGood(false), VAIN),
                (C, Payload::ForGood(false), Err(Refusal::NotAMember)),
            ],
        );
        m.apply(Seq(3), B, &Payload::ForGood(false));
        refused(&m, &[(A, both, Ok(())), (B, Payload::ForGood(false), Err(Refusal::NotAMember))]);
        let seen: Vec<u64> = (1..9).filter(|seq| m.may_see(B, Seq(*seq), Seq(8))).collect();
        assert_eq!((seen, m.present()), (vec![1, 2, 3], 1));
        assert!(m.members_at(Seq(3)).eq([A, B]) && m.members_at(Seq(4)).eq([A]));
        // What a newcomer sees does not reach back over the entry with which they said so: their device has been told what it is to skip.
        m.apply(Seq(26), A, &Payload::joined(B));
        let head = Seq(40);
        let seen: Vec<u64> = (1..=40).filter(|seq| m.may_see(B, Seq(*seq), head)).collect();
        assert_eq!(seen, [1, 2, 3].into_iter().chain(6..=40).collect::<Vec<u64>>());
        let mut m = group();
        m.apply(Seq(2), B, &Payload::ForGood(true));
        m.apply(Seq(9), B, &Payload::ForGood(false));
        m.apply(Seq(26), A, &Payload::joined(B));
        for since in 0..40 {
            let next = (since + 1..=40).find(|seq| m.may_see(B, Seq(*seq), head)).map(Seq);
            assert_eq!(m.next_visible(B, Seq(since), head), next, "after {since}");
        }
    }

    #[test]
    fn while_either_blocks_neither_writes() {
        let mut m = Membership::default();
        m.apply(Seq(1), A, &created(true, &[A, B]));
        let text = || Payload::Text("x".into());
        m.apply(Seq(2), B, &Payload::Blocked(true));
        let blocked = Err(Refusal::Blocked);
        refused(&m, &[(A, text(), blocked), (B, text(), blocked), (B, Payload::Blocked(true), VAIN)]);
        refused(&m, &[(A, Payload::Blocked(false), VAIN), (A, Payload::ForGood(true), VAIN)]);
        m.apply(Seq(3), A, &Payload::Blocked(true));
        m.apply(Seq(4), B, &Payload::Blocked(false));
        refused(&m, &[(A, text(), blocked), (B, text(), blocked)]);
        m.apply(Seq(5), A, &Payload::Blocked(false));
        refused(&m, &[(A, text(), Ok(())), (B, text(), Ok(()))]);
    }
}
