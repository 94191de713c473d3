//! Who may see which entry: a fold over the conversation's own log.
//!
//! **Invariant:** whether a user may see entry n depends on entries up to n only, so it is never in doubt.
//! Checked by `sim/checks/src/members_only.rs`, which folds the log on its own.

use crate::plant::{Plant, planted};
use squall_protocol::limits::{MAX_GROUP_MEMBERS, NEWCOMER_HISTORY};
use squall_protocol::{ConversationId, Payload, Refusal, Seq, UserId};

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

    /// Whether `payload`, sent by `sender`, may become an entry of this log.
    pub fn check(&self, conversation: ConversationId, sender: UserId, payload: &Payload) -> Result<(), Refusal> {
        payload.check()?;
        let exists = !self.stretches.is_empty();
        match payload {
            Payload::Created { direct, members } => {
                let distinct = members.iter().enumerate().all(|(i, m)| !members[..i].contains(m));
                let fits = match (*direct, members.as_slice()) {
                    (true, [a, b]) => conversation == ConversationId::direct(*a, *b),
                    (true, _) => false,
                    (false, members) => !members.is_empty(),
                };
                if exists || !distinct || !fits || !members.contains(&sender) {
                    return Err(Refusal::Conflict);
                }
            }
            _ if !exists => return Err(Refusal::UnknownConversation),
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

#[cfg(test)]
mod tests {
    use super::*;

    const A: UserId = UserId(1);
    const B: UserId = UserId(2);
    const C: UserId = UserId(3);
    const G: ConversationId = ConversationId(77);

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

    #[test]
    fn changes_that_make_no_sense_are_refused() {
        let m = group();
        let direct = ConversationId::direct(A, B);
        let created = |direct, members| Payload::Created { direct, members };
        let table = [
            (A, Payload::Text("x".into()), Ok(())),
            (C, Payload::Text("x".into()), Err(Refusal::NotAMember)),
            (A, Payload::Joined(B), Err(Refusal::Conflict)),
            (A, Payload::Joined(C), Ok(())),
            (C, Payload::Joined(C), Err(Refusal::NotAMember)),
            (A, Payload::Left(C), Err(Refusal::Conflict)),
            (A, Payload::Left(B), Ok(())),
            (A, created(false, vec![A, C]), Err(Refusal::Conflict)),
        ];
        for (sender, payload, expected) in table {
            assert_eq!(m.check(G, sender, &payload), expected, "{sender:?} {payload:?}");
        }
        let new = Membership::default();
        assert_eq!(new.check(direct, A, &created(true, vec![A, B])), Ok(()));
        assert_eq!(new.check(direct, A, &created(true, vec![A, C])), Err(Refusal::Conflict));
        assert_eq!(new.check(direct, C, &created(true, vec![A, B])), Err(Refusal::Conflict));
        assert_eq!(new.check(G, A, &created(false, vec![A, A])), Err(Refusal::Conflict));
        assert_eq!(new.check(G, A, &Payload::Text("x".into())), Err(Refusal::UnknownConversation));
    }
}
