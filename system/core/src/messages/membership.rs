//! Who may see which entry: a fold over the conversation's own log.
//!
//! **Invariant:** whether a user may see entry n depends on entries up to n only, so it is never in doubt.
//! Checked by `sim/checks/src/members_only.rs`, which folds the log on its own.

use crate::plant::{Plant, planted};
use squall_protocol::limits::{MAX_GROUP_MEMBERS, NEWCOMER_HISTORY};
use squall_protocol::{ConversationId, Name, Payload, Refusal, Seq, UserId};

/// A stretch of the log that a user may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub user: UserId,
    pub from: Seq,
    /// The last entry of the stretch; `None` while the user is a member.
    pub until: Option<Seq>,
}

impl Stretch {
    fn contains(&self, seq: Seq) -> bool {
        self.from <= seq && self.until.is_none_or(|until| seq <= until)
    }
}

/// The membership of one conversation, in order of joining.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    pub direct: bool,
    pub stretches: Vec<Stretch>,
}

impl Membership {
    pub fn is_member(&self, user: UserId) -> bool {
        self.stretches.iter().any(|s| s.user == user && s.until.is_none())
    }

    /// Whether the user was ever a member.
    pub fn knows(&self, user: UserId) -> bool {
        self.stretches.iter().any(|s| s.user == user)
    }

    pub fn may_see(&self, user: UserId, seq: Seq) -> bool {
        self.stretches.iter().any(|s| s.user == user && s.contains(seq))
    }

    /// Those who may see entry `seq` because they were members when it was stored.
    pub fn members_at(&self, seq: Seq) -> impl Iterator<Item = UserId> + '_ {
        let includes = move |s: &&Stretch| s.contains(seq) || planted(Plant::ShownAfterLeaving) && s.from <= seq;
        self.stretches.iter().filter(includes).map(|s| s.user)
    }

    /// The last entry that the user may see of a log that ends at `head`; `None` for a stranger.
    pub fn head_for(&self, user: UserId, head: Seq) -> Option<Seq> {
        self.stretches.iter().filter(|s| s.user == user).map(|s| s.until.unwrap_or(head).min(head)).max()
    }

    /// The first entry after `since` that the user may see, if the log holds one up to `head`.
    pub fn next_visible(&self, user: UserId, since: Seq, head: Seq) -> Option<Seq> {
        self.stretches
            .iter()
            .filter(|s| s.user == user)
            .map(|s| (s.from.max(since.next()), s.until.unwrap_or(head).min(head)))
            .filter(|(from, until)| from <= until)
            .map(|(from, _)| from)
            .min()
    }

    /// Whether `payload`, sent by `sender`, may become an entry of this log. It has passed [`admit`].
    pub fn check(&self, sender: UserId, payload: &Payload) -> Result<(), Refusal> {
        let exists = !self.stretches.is_empty();
        match payload {
            Payload::Created { .. } if exists => return Err(Refusal::Conflict),
            Payload::Created { .. } => {}
            _ if !exists => return Err(Refusal::UnknownConversation),
            Payload::Joined(user) if planted(Plant::AnybodyMayJoin) && *user == sender => {}
            _ if !self.is_member(sender) => return Err(Refusal::NotAMember),
            Payload::Text(_) => {}
            Payload::Joined(user) => {
                if self.direct || self.is_member(*user) {
                    return Err(Refusal::Conflict);
                }
                if self.stretches.iter().filter(|s| s.until.is_none()).count() >= MAX_GROUP_MEMBERS {
                    return Err(Refusal::GroupTooLarge);
                }
            }
            Payload::Left(user) => {
                if self.direct || !self.is_member(*user) {
                    return Err(Refusal::Conflict);
                }
            }
        }
        Ok(())
    }

    /// Takes entry `seq` into the fold. `payload` has passed `check`.
    pub fn apply(&mut self, seq: Seq, payload: &Payload) {
        match payload {
            Payload::Text(_) => {}
            Payload::Created { direct, members } => {
                self.direct = *direct;
                self.stretches = members.iter().map(|&user| Stretch { user, from: Seq(1), until: None }).collect();
            }
            Payload::Joined(user) => {
                let history = if planted(Plant::NewcomerSeesAllHistory) { u64::MAX } else { NEWCOMER_HISTORY };
                let from = Seq(seq.0.saturating_sub(history).max(1));
                self.stretches.push(Stretch { user: *user, from, until: None });
            }
            Payload::Left(user) => {
                if let Some(s) = self.stretches.iter_mut().find(|s| s.user == *user && s.until.is_none()) {
                    s.until = Some(seq);
                }
            }
        }
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
        Payload::Created { direct, members } => match names_its_members(conversation, sender, *direct, members) {
            true => Ok(()),
            false => Err(Refusal::Conflict),
        },
        Payload::Joined(user) if !user.is_valid() => Err(Refusal::Conflict),
        Payload::Text(_) | Payload::Joined(_) | Payload::Left(_) => Ok(()),
    }
}

/// Whether a creation says what the name says: a direct conversation its two people and nobody else; a group its creator and
/// others, each once.
fn names_its_members(conversation: ConversationId, sender: UserId, direct: bool, members: &[UserId]) -> bool {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    match (conversation.name(), direct) {
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

    const A: UserId = UserId(1);
    const B: UserId = UserId(2);
    const C: UserId = UserId(3);
    const G: ConversationId = ConversationId::group(A, 77);

    fn group() -> Membership {
        let mut m = Membership::default();
        m.apply(Seq(1), &Payload::Created { direct: false, members: vec![A, B] });
        m
    }

    #[test]
    fn a_newcomer_sees_the_last_entries_from_before_the_join_and_a_leaver_nothing_after() {
        let mut m = group();
        m.apply(Seq(50), &Payload::Joined(C));
        m.apply(Seq(60), &Payload::Left(C));
        assert!(
            !m.may_see(C, Seq(29)) && m.may_see(C, Seq(30)) && m.may_see(C, Seq(60)) && !m.may_see(C, Seq(61))
        );
        assert_eq!(m.head_for(C, Seq(99)), Some(Seq(60)));
        assert_eq!(m.next_visible(C, Seq::ZERO, Seq(99)), Some(Seq(30)));
        assert_eq!(m.next_visible(C, Seq(60), Seq(99)), None);
        m.apply(Seq(90), &Payload::Joined(C));
        assert_eq!(m.next_visible(C, Seq(60), Seq(99)), Some(Seq(70)));
        assert_eq!(m.head_for(C, Seq(99)), Some(Seq(99)));
    }

    fn created(direct: bool, members: &[UserId]) -> Payload {
        Payload::Created { direct, members: members.to_vec() }
    }

    #[test]
    fn changes_that_make_no_sense_are_refused() {
        let m = group();
        let table = [
            (A, Payload::Text("x".into()), Ok(())),
            (C, Payload::Text("x".into()), Err(Refusal::NotAMember)),
            (A, Payload::Joined(B), Err(Refusal::Conflict)),
            (A, Payload::Joined(C), Ok(())),
            (C, Payload::Joined(C), Err(Refusal::NotAMember)),
            (A, Payload::Left(C), Err(Refusal::Conflict)),
            (A, Payload::Left(B), Ok(())),
            (A, created(false, &[A, C]), Err(Refusal::Conflict)),
        ];
        for (sender, payload, expected) in table {
            assert_eq!(m.check(sender, &payload), expected, "{sender:?} {payload:?}");
        }
        let new = Membership::default();
        assert_eq!(new.check(A, &created(true, &[A, B])), Ok(()));
        assert_eq!(new.check(A, &Payload::Text("x".into())), Err(Refusal::UnknownConversation));
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
            (direct, C, Payload::Joined(C), stranger),
            (direct, A, Payload::Text("x".into()), Ok(())),
            (G, A, created(false, &[A]), Ok(())),
            (G, A, created(false, &[B, A, C]), Ok(())),
            (G, A, created(false, &[]), nonsense),
            (G, A, created(false, &[B, C]), nonsense),
            (G, A, created(false, &[A, B, A]), nonsense),
            (G, A, created(false, &[A, beyond]), nonsense),
            (G, A, created(true, &[A, B]), nonsense),
            (G, B, created(false, &[A, B]), stranger),
            (G, A, Payload::Joined(beyond), nonsense),
            (ConversationId(0), UserId(0), created(true, &[UserId(0), UserId(0)]), stranger),
        ];
        for (conversation, sender, payload, expected) in table {
            assert_eq!(admit(conversation, sender, &payload), expected, "{conversation} {sender} {payload:?}");
        }
    }
}
