//! Who may see which entry: a fold over the conversation's own log.
//!
//! **Invariant:** whether a user may see entry n depends on entries up to n only, so it is never in doubt.
//! Checked by `sim/checks/src/members_only.rs`, which folds the log on its own.

use super::regime::{Regime, Standing};
use super::stretches::{Stretch, Stretches};
use crate::plant::{Plant, planted};
use squall_protocol::limits::{MAX_GROUP_MEMBERS, NEWCOMER_HISTORY};
use squall_protocol::{ConversationId, Name, Payload, Refusal, Seq, UserId};

impl Stretch {
    /// Whether the user was a member when this entry was stored.
    fn covers(&self, seq: Seq) -> bool {
        self.joined <= seq && self.until().is_none_or(|until| seq <= until)
    }

    /// The entries that the user may see of a log that ends at `head`; `None` if the join is not in it.
    fn visible(&self, head: Seq) -> Option<(Seq, Seq)> {
        (self.joined <= head).then(|| (self.from, self.until().unwrap_or(head).min(head)))
    }
}

/// The membership of one conversation.
///
/// Whoever reads says how far: what is staged beyond that is as if it had not happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    direct: bool,
    /// How many are members now.
    present: u32,
    stretches: Stretches,
}

impl Membership {
    /// A membership as the disk has it.
    pub fn load(direct: bool, stretches: Stretches) -> Self {
        let present = stretches.iter().filter(|s| s.until().is_none()).count() as u32;
        Membership { direct, present, stretches }
    }

    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// How many are members now.
    pub fn present(&self) -> u32 {
        self.present
    }

    pub fn stretches(&self) -> &Stretches {
        &self.stretches
    }

    pub fn is_member(&self, user: UserId) -> bool {
        self.stretches.of(user).next_back().is_some_and(|last| last.until().is_none())
    }

    /// Whether the user has been a member and left, whatever came then.
    fn has_left(&self, user: UserId) -> bool {
        self.stretches.of(user).any(|stretch| stretch.until().is_some())
    }

    /// Whether the user was ever a member.
    pub fn knows(&self, user: UserId) -> bool {
        self.stretches.of(user).next().is_some()
    }

    /// The ranges that the user may see of a log that ends at `head`, oldest first: for planted bugs, which break what is said below.
    fn visible(&self, user: UserId, head: Seq) -> impl Iterator<Item = (Seq, Seq)> {
        let earlier = if planted(Plant::EarlierStayForgotten) {
            self.stretches.of(user).count().saturating_sub(1)
        } else {
            0
        };
        self.stretches.of(user).skip(earlier).filter_map(move |s| s.visible(head))
    }

    /// Whether a bug is planted that lets stretches be other than in order: each begins at most `NEWCOMER_HISTORY` entries before its join and
    /// ends before the next one's. Without one a search finds the stretch that matters, however often somebody has come and gone.
    fn is_broken() -> bool {
        planted(Plant::EarlierStayForgotten)
            || planted(Plant::NewcomerSeesAllHistory)
            || planted(Plant::ReturnShowsTheGap)
    }

    /// Whether the user may see entry `seq` of a log that ends at `head`.
    pub fn may_see(&self, user: UserId, seq: Seq, head: Seq) -> bool {
        if Self::is_broken() {
            return self.visible(user, head).any(|(from, to)| from <= seq && seq <= to);
        }
        // All that begin by then show what follows `seq`; the last of them ends last.
        let joined_by = Seq(seq.0.saturating_add(NEWCOMER_HISTORY)).min(head);
        let last = self.stretches.last_of(user, joined_by).and_then(|last| last.visible(head));
        last.is_some_and(|(from, to)| from <= seq && seq <= to)
    }

    /// Whether the user was a member when this entry was stored.
    pub fn was_member(&self, user: UserId, seq: Seq) -> bool {
        self.stretches.last_of(user, seq).is_some_and(|last| last.covers(seq))
    }

    /// Those who were members when entry `seq` was stored. Whatever is staged after it changes nothing of that.
    pub fn members_at(&self, seq: Seq) -> impl Iterator<Item = UserId> + '_ {
        let includes = move |user: &UserId| {
            self.was_member(*user, seq)
                || planted(Plant::ShownAfterLeaving) && self.stretches.of(*user).any(|s| s.from <= seq)
        };
        self.stretches.users().filter(includes)
    }

    /// The last entry that the user may see of a log that ends at `head`; `None` for a stranger.
    pub fn head_for(&self, user: UserId, head: Seq) -> Option<Seq> {
        self.stretches.last_of(user, head).and_then(|last| last.visible(head)).map(|(_, to)| to)
    }

    /// Where a log that ends at `head` stands for a user; `None` for a stranger.
    pub fn standing(&self, user: UserId, head: Seq, regime: Regime) -> Option<Standing> {
        let last = self.stretches.last_of(user, head)?;
        let (from, to) = last.visible(head)?;
        let is_member = last.until().is_none_or(|until| until > head);
        Some(Standing { head: to, follows_from: (is_member && regime.is_channel(head)).then_some(from) })
    }

    /// The first entry after `since` that the user may see, if the log holds one up to `head`.
    pub fn next_visible(&self, user: UserId, since: Seq, head: Seq) -> Option<Seq> {
        let first = |(from, to): (Seq, Seq)| Some(from.max(since.next())).filter(|first| *first <= to);
        if Self::is_broken() {
            return self.visible(user, head).filter_map(first).min();
        }
        // What begins before the one that is asked from ends before it.
        self.stretches.since(user, since.next()).map_while(|s| s.visible(head)).find_map(first)
    }

    /// Whether `payload`, sent by `sender`, may become an entry of this log. It has passed [`admit`].
    pub fn check(&self, sender: UserId, payload: &Payload) -> Result<(), Refusal> {
        let exists = !self.stretches.is_empty();
        match payload {
            Payload::Created { .. } if exists => return Err(Refusal::Conflict),
            Payload::Created { .. } => {}
            _ if !exists => return Err(Refusal::UnknownConversation),
            Payload::Joined(users) if planted(Plant::AnybodyMayJoin) && users[..] == [sender] => {}
            Payload::Left(users)
                if planted(Plant::LeaverTakesAway)
                    && self.has_left(sender)
                    && users.iter().all(|user| self.is_member(*user)) => {}
            _ if !self.is_member(sender) => return Err(Refusal::NotAMember),
            Payload::Text(_) if planted(Plant::ReturnerNotLetIn) && self.has_left(sender) => {
                return Err(Refusal::NotAMember);
            }
            Payload::Text(_) => {}
            Payload::Joined(users) => {
                if self.direct || users.iter().any(|user| self.is_member(*user)) {
                    return Err(Refusal::Conflict);
                }
                if self.present as usize + users.len() > MAX_GROUP_MEMBERS {
                    return Err(Refusal::GroupTooLarge);
                }
            }
            Payload::Left(users) => {
                if self.direct || !users.iter().all(|user| self.is_member(*user)) {
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
                let founder = |user: &UserId| Stretch::new(*user, seq, seq, None);
                *self = Membership::load(*direct, members.iter().map(founder).collect());
            }
            Payload::Joined(users) => users.iter().for_each(|user| self.join(seq, *user)),
            Payload::Left(users) => users.iter().for_each(|user| self.leave(seq, *user)),
        }
    }

    fn join(&mut self, seq: Seq, user: UserId) {
        let history = if planted(Plant::NewcomerSeesAllHistory) { u64::MAX } else { NEWCOMER_HISTORY };
        let from = Seq(seq.0.saturating_sub(history).max(1));
        let left = self.stretches.of(user).filter_map(|stretch| stretch.until()).max();
        let from = left.filter(|_| planted(Plant::ReturnShowsTheGap)).map_or(from, |left| from.min(left.next()));
        self.stretches.insert(Stretch::new(user, seq, from, None));
        self.present += 1;
    }

    fn leave(&mut self, seq: Seq, user: UserId) {
        let last = self.stretches.of(user).next_back().copied();
        if let Some(last) = last.filter(|s| s.until().is_none()) {
            self.stretches.insert(last.ended(seq));
            self.present -= 1;
        }
    }

    /// The stretches that entry `seq` has begun or ended. `payload` is what it says, and is in the fold.
    pub fn changed_by<'a>(&'a self, seq: Seq, payload: &'a Payload) -> impl Iterator<Item = &'a Stretch> {
        let (all, users) = match payload {
            Payload::Text(_) => (None, &[][..]),
            Payload::Created { .. } => (Some(self.stretches.iter().filter(move |s| s.joined == seq)), &[][..]),
            Payload::Joined(users) | Payload::Left(users) => (None, &users[..]),
        };
        let own = users.iter().flat_map(|user| self.stretches.of(*user));
        let own = own.filter(move |s| s.joined == seq || s.until() == Some(seq));
        all.into_iter().flatten().chain(own)
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
        Payload::Joined(users) | Payload::Left(users) if !users.are_distinct() => Err(Refusal::Conflict),
        Payload::Text(_) | Payload::Joined(_) | Payload::Left(_) => Ok(()),
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
    use squall_protocol::Users;
    use squall_protocol::limits::MAX_NAMED_USERS;

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
        m.apply(Seq(50), &Payload::joined(C));
        m.apply(Seq(60), &Payload::left(C));
        let seen: Vec<u64> = (1..=99).filter(|seq| m.may_see(C, Seq(*seq), Seq(99))).collect();
        assert_eq!(seen, (30..=60).collect::<Vec<u64>>());
        assert_eq!(m.head_for(C, Seq(99)), Some(Seq(60)));
        assert_eq!(m.next_visible(C, Seq::ZERO, Seq(99)), Some(Seq(30)));
        assert_eq!(m.next_visible(C, Seq(60), Seq(99)), None);
        m.apply(Seq(90), &Payload::joined(C));
        assert_eq!(m.next_visible(C, Seq(60), Seq(99)), Some(Seq(70)));
        assert_eq!(m.head_for(C, Seq(99)), Some(Seq(99)));
    }

    #[test]
    fn what_is_staged_beyond_the_end_that_is_asked_about_has_not_happened() {
        let mut m = group();
        m.apply(Seq(50), &Payload::joined(C));
        m.apply(Seq(51), &Payload::left(B));
        assert_eq!((m.head_for(C, Seq(49)), m.head_for(B, Seq(49))), (None, Some(Seq(49))));
        assert_eq!(m.next_visible(C, Seq::ZERO, Seq(49)), None);
        assert!(!m.may_see(C, Seq(45), Seq(49)) && m.may_see(C, Seq(45), Seq(50)));
        let at = |seq| m.members_at(Seq(seq)).collect::<Vec<_>>();
        assert_eq!((at(49), at(50), at(51), at(52)), (vec![A, B], vec![A, B, C], vec![A, B, C], vec![A, C]));
    }

    #[test]
    fn an_entry_names_the_stretches_that_it_changes_and_no_others() {
        let mut m = group();
        let history = [(50, Payload::joined(C)), (60, Payload::left(C)), (90, Payload::joined(C))];
        for (seq, payload) in &history {
            m.apply(Seq(*seq), payload);
        }
        let changed = |seq, payload: &Payload| {
            m.changed_by(Seq(seq), payload).map(|s| (s.user, s.joined.0)).collect::<Vec<_>>()
        };
        let created = created(false, &[A, B]);
        assert_eq!(changed(1, &created), [(A, 1), (B, 1)]);
        assert_eq!(changed(2, &Payload::Text("x".into())), []);
        assert_eq!(history.map(|(seq, payload)| changed(seq, &payload)), [[(C, 50)], [(C, 50)], [(C, 90)]]);
        assert_eq!(m.present(), 3);
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
            (A, Payload::joined(B), Err(Refusal::Conflict)),
            (A, Payload::joined(C), Ok(())),
            (C, Payload::joined(C), Err(Refusal::NotAMember)),
            (A, Payload::left(C), Err(Refusal::Conflict)),
            (A, Payload::left(B), Ok(())),
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
    fn who_is_named_together_comes_and_goes_together_or_nobody_does() {
        let named = |users: std::ops::RangeInclusive<u64>| Users::from(users.map(UserId).collect::<Vec<_>>());
        let mut m = group();
        let table = [
            (Payload::Joined(named(3..=9)), Ok(())),
            (Payload::Joined(named(2..=9)), Err(Refusal::Conflict)),
            (Payload::Left(named(1..=2)), Ok(())),
            (Payload::Left(named(2..=3)), Err(Refusal::Conflict)),
            (Payload::Joined(named(3..=MAX_GROUP_MEMBERS as u64)), Ok(())),
            (Payload::Joined(named(3..=MAX_GROUP_MEMBERS as u64 + 1)), Err(Refusal::GroupTooLarge)),
        ];
        for (payload, expected) in table {
            assert_eq!(m.check(A, &payload), expected, "{payload:?}");
        }
        let (nobody, twice) = (Users::from(Vec::new()), Users::from(vec![C, UserId(4), C]));
        for users in [nobody, twice, vec![C, UserId(UserId::LIMIT)].into()] {
            assert_eq!(admit(G, A, &Payload::Joined(users.clone())), Err(Refusal::Conflict));
            assert_eq!(admit(G, A, &Payload::Left(users)), Err(Refusal::Conflict));
        }
        let most = MAX_NAMED_USERS as u64;
        assert_eq!(admit(G, A, &Payload::Joined(named(1..=most))), Ok(()));
        assert_eq!(admit(G, A, &Payload::Joined(named(1..=most + 1))), Err(Refusal::GroupTooLarge));

        let (joined, left) = (Payload::Joined(named(3..=9)), Payload::Left(named(2..=4)));
        m.apply(Seq(30), &joined);
        m.apply(Seq(40), &left);
        assert_eq!((m.present(), m.members_at(Seq(40)).count(), m.members_at(Seq(41)).count()), (6, 9, 6));
        assert_eq!(
            (m.next_visible(C, Seq::ZERO, Seq(50)), m.head_for(C, Seq(50))),
            (Some(Seq(10)), Some(Seq(40)))
        );
        assert_eq!((m.changed_by(Seq(30), &joined).count(), m.changed_by(Seq(40), &left).count()), (7, 3));
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
            (ConversationId(0), UserId(0), created(true, &[UserId(0), UserId(0)]), stranger),
        ];
        for (conversation, sender, payload, expected) in table {
            assert_eq!(admit(conversation, sender, &payload), expected, "{conversation} {sender} {payload:?}");
        }
    }

    #[test]
    fn who_is_out_has_no_say_and_is_not_put_out_twice() {
        let mut m = group();
        m.apply(Seq(2), &Payload::left(A));
        // Also of whom they founded, also about themselves: they are a stranger with a past.
        for payload in
            [Payload::Text("x".into()), Payload::left(B), Payload::left(A), Payload::joined(A), Payload::joined(C)]
        {
            assert_eq!(m.check(A, &payload), Err(Refusal::NotAMember), "{payload:?}");
        }
        assert_eq!(m.check(A, &created(false, &[A, C])), Err(Refusal::Conflict));
        assert_eq!(m.check(B, &Payload::left(A)), Err(Refusal::Conflict));
        assert_eq!(m.check(B, &Payload::left(B)), Ok(()));
        m.apply(Seq(3), &Payload::left(B));
        // Nobody is left who could let anybody in.
        assert_eq!(m.check(B, &Payload::joined(A)), Err(Refusal::NotAMember));
    }
}
