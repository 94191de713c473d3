//! Who may see which entry: a fold over the conversation's own log. Who may do what by it is in `rights.rs`.
//!
//! **Invariant:** whether a user may see entry n depends on entries up to n only, so it is never in doubt.
//! Checked by `sim/checks/src/members_only.rs`, which folds the log on its own.

use super::regime::{Regime, Standing};
use super::settings::Settings;
use super::stretches::{Stretch, Stretches};
use crate::plant::{Plant, planted};
use squall_protocol::limits::NEWCOMER_HISTORY;
use squall_protocol::{Payload, Rank, Seq, UserId};

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

/// Who of the two has blocked their conversation: 1 for the lower number, 2 for the higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Blocks(pub(super) u8);

impl Blocks {
    /// As the disk has them; `None` for what none are.
    pub fn of_bits(bits: u32) -> Option<Self> {
        u8::try_from(bits).ok().filter(|bits| *bits <= 0b11).map(Blocks)
    }

    pub fn bits(self) -> u32 {
        self.0.into()
    }
}

/// The membership of one conversation, and what follows from it.
///
/// Whoever reads says how far: what is staged beyond that is as if it had not happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    pub(super) direct: bool,
    pub(super) blocked: Blocks,
    pub(super) settings: Settings,
    /// How many are members now.
    pub(super) present: u32,
    pub(super) stretches: Stretches,
}

/// There is one for each of millions of conversations: who has no settings pays for none.
const _: () = assert!(size_of::<Membership>() <= 32);

impl Membership {
    /// A membership as the disk has it.
    pub fn load(direct: bool, settings: Settings, blocked: Blocks, stretches: Stretches) -> Self {
        let present = stretches.iter().filter(|s| s.until().is_none()).count() as u32;
        Membership { direct, blocked, settings, present, stretches }
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }

    pub fn blocked(&self) -> Blocks {
        self.blocked
    }

    /// The stay of somebody who is a member.
    fn stay(&self, user: UserId) -> Option<&Stretch> {
        self.stretches.of(user).next_back().filter(|last| last.until().is_none())
    }

    /// The rank of somebody who is a member.
    pub fn rank(&self, user: UserId) -> Option<Rank> {
        self.stay(user).map(Stretch::rank)
    }

    /// Whether the user has left and may not be added.
    pub(super) fn is_out_for_good(&self, user: UserId) -> bool {
        self.stretches.of(user).next_back().is_some_and(Stretch::is_for_good)
    }

    /// Who owns the group, if anybody is a member. Looks at all stretches.
    fn owner(&self) -> Option<&Stretch> {
        self.stretches.iter().find(|s| s.until().is_none() && s.rank() == Rank::Owner)
    }

    /// The bit of one of the two of a direct conversation.
    pub(super) fn bit(&self, user: UserId) -> u8 {
        if self.stretches.iter().next().is_some_and(|first| first.user == user) { 1 } else { 2 }
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
        self.stay(user).is_some()
    }

    /// Whether the user has been a member and left, whatever came then.
    pub(super) fn has_left(&self, user: UserId) -> bool {
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

    /// Whether a bug is planted that lets stretches be other than in order: each begins at most `NEWCOMER_HISTORY` entries before its join, and
    /// not before the one before it, and ends before the next one's join. Without one a search finds the stretch that matters, however often somebody has come and
    /// gone.
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
        // Those that begin by then show what follows `seq`, but for some that begin later than a newcomer's; the last of them ends last.
        let mut joined_by = Seq(seq.0.saturating_add(NEWCOMER_HISTORY)).min(head);
        while let Some(last) = self.stretches.last_of(user, joined_by) {
            match last.visible(head) {
                Some((from, to)) if from <= seq => return seq <= to,
                _ => joined_by = Seq(last.joined.0.saturating_sub(1)),
            }
        }
        false
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

    /// Whether the user is a member after this entry, whatever is staged behind it.
    pub fn is_member_after(&self, user: UserId, seq: Seq) -> bool {
        self.stretches.last_of(user, seq).is_some_and(|last| last.until().is_none_or(|until| until > seq))
    }

    /// Those who are members after this entry, in order.
    pub fn members_after(&self, seq: Seq) -> impl Iterator<Item = UserId> + '_ {
        self.stretches.users().filter(move |user| self.is_member_after(*user, seq))
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

    /// Takes entry `seq` of `sender` into the fold. `payload` has passed `check`.
    pub fn apply(&mut self, seq: Seq, sender: UserId, payload: &Payload) {
        match payload {
            Payload::Text(_) | Payload::Named(_) => {}
            Payload::Created { direct, channel, members } => {
                let settings = if *channel { Settings::channel() } else { Settings::default() };
                let founder = |user: &UserId| {
                    let rank = if !*direct && *user == sender { Rank::Owner } else { Rank::Member };
                    Stretch::new(*user, seq, seq, None).ranked(rank)
                };
                *self =
                    Membership::load(*direct, settings, Blocks::default(), members.iter().map(founder).collect());
            }
            Payload::Joined(users) => users.iter().for_each(|user| self.join(seq, *user)),
            Payload::Left(users) => self.leave(seq, users, false),
            Payload::Role { user, rank } => {
                self.give_rank(*user, *rank);
                if *rank == Rank::Owner {
                    self.give_rank(sender, Rank::Admin);
                }
            }
            Payload::Setting { right, who } => self.settings = self.settings.with(*right, *who),
            Payload::Blocked(true) => self.blocked.0 |= self.bit(sender),
            Payload::Blocked(false) => self.blocked.0 &= !self.bit(sender),
            Payload::ForGood(true) => self.leave(seq, &[sender], true),
            // They see what they have said, and nothing else.
            Payload::ForGood(false) => self.stretches.insert(Stretch::new(sender, seq, seq, Some(seq))),
        }
    }

    fn join(&mut self, seq: Seq, user: UserId) {
        let history = if planted(Plant::NewcomerSeesAllHistory) { u64::MAX } else { NEWCOMER_HISTORY };
        let from = Seq(seq.0.saturating_sub(history).max(1));
        // Whoever has said that they may be added again has been told how far the log went: nothing before that comes back.
        let from = self.stretches.of(user).next_back().map_or(from, |last| from.max(last.from));
        let left = self.stretches.of(user).filter_map(|stretch| stretch.until()).max();
        let from = left.filter(|_| planted(Plant::ReturnShowsTheGap)).map_or(from, |left| from.min(left.next()));
        let before = self.stretches.of(user).next_back().map_or(Rank::Member, Stretch::rank);
        let rank = if planted(Plant::ReturnedAdminIsAdmin) { before.min(Rank::Admin) } else { Rank::Member };
        self.stretches.insert(Stretch::new(user, seq, from, None).ranked(rank));
        self.present += 1;
    }

    fn leave(&mut self, seq: Seq, users: &[UserId], for_good: bool) {
        let mut owner_left = false;
        for user in users {
            let Some(stay) = self.stay(*user).copied() else { continue };
            let ended = stay.ended(seq);
            self.stretches.insert(if for_good { ended.left_for_good() } else { ended });
            self.present -= 1;
            owner_left |= stay.rank() == Rank::Owner;
        }
        if owner_left && !planted(Plant::NobodySucceedsTheOwner) {
            self.succeed();
        }
    }

    /// The group is the admin's who has been a member for longest, or the member's if there is no admin.
    fn succeed(&mut self) {
        let present = self.stretches.iter().filter(|s| s.until().is_none());
        let next = present.min_by_key(|s| (std::cmp::Reverse(s.rank()), s.joined, s.user)).map(|s| s.user);
        if let Some(next) = next {
            self.give_rank(next, Rank::Owner);
        }
    }

    fn give_rank(&mut self, user: UserId, rank: Rank) {
        if let Some(stay) = self.stay(user).copied() {
            let rank = match rank == Rank::Member && planted(Plant::DemotedAdminStaysAdmin) {
                true => stay.rank(),
                false => rank,
            };
            self.stretches.insert(stay.ranked(rank));
        }
    }

    /// The stretches that entry `seq` of `sender` has begun, ended or given another rank. `payload` is what it says, and is in the fold.
    pub fn changed_by<'a>(
        &'a self,
        seq: Seq,
        sender: UserId,
        payload: &'a Payload,
    ) -> impl Iterator<Item = &'a Stretch> {
        let founded = matches!(payload, Payload::Created { .. });
        let all = founded.then(|| self.stretches.iter().filter(move |s| s.joined == seq));
        let named = match payload {
            Payload::Joined(users) | Payload::Left(users) => &users[..],
            Payload::Role { user, .. } => std::slice::from_ref(user),
            _ => &[],
        };
        let own = matches!(payload, Payload::Role { rank: Rank::Owner, .. } | Payload::ForGood(_));
        let users = named.iter().copied().chain(own.then_some(sender));
        let is_role = matches!(payload, Payload::Role { .. });
        let users = users.flat_map(move |user| {
            let reached = if is_role { self.stretches.last_of(user, seq) } else { None };
            let moved = self.stretches.of(user).filter(move |s| s.joined == seq || s.until() == Some(seq));
            moved.filter(move |_| !is_role).chain(reached)
        });
        // Whose group it was, and whose it is.
        let left =
            |user: &UserId| self.stretches.of(*user).any(|s| s.until() == Some(seq) && s.rank() == Rank::Owner);
        let owner_left = match payload {
            Payload::Left(users) => users.iter().any(left),
            Payload::ForGood(true) => left(&sender),
            _ => false,
        };
        let heir = if owner_left { self.owner() } else { None };
        all.into_iter().flatten().chain(users).chain(heir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::admit;
    use squall_protocol::limits::{MAX_GROUP_MEMBERS, MAX_NAMED_USERS};
    use squall_protocol::{ConversationId, Refusal, Users};

    const A: UserId = UserId(1);
    const B: UserId = UserId(2);
    const C: UserId = UserId(3);
    const G: ConversationId = ConversationId::group(A, 77);

    fn group() -> Membership {
        let mut m = Membership::default();
        m.apply(Seq(1), A, &Payload::Created { direct: false, channel: false, members: vec![A, B] });
        m
    }

    #[test]
    fn a_newcomer_sees_the_last_entries_from_before_the_join_and_a_leaver_nothing_after() {
        let mut m = group();
        m.apply(Seq(50), A, &Payload::joined(C));
        m.apply(Seq(60), A, &Payload::left(C));
        let seen: Vec<u64> = (1..=99).filter(|seq| m.may_see(C, Seq(*seq), Seq(99))).collect();
        assert_eq!(seen, (30..=60).collect::<Vec<u64>>());
        assert_eq!(m.head_for(C, Seq(99)), Some(Seq(60)));
        assert_eq!(m.next_visible(C, Seq::ZERO, Seq(99)), Some(Seq(30)));
        assert_eq!(m.next_visible(C, Seq(60), Seq(99)), None);
        m.apply(Seq(90), A, &Payload::joined(C));
        assert_eq!(m.next_visible(C, Seq(60), Seq(99)), Some(Seq(70)));
        assert_eq!(m.head_for(C, Seq(99)), Some(Seq(99)));
    }

    #[test]
    fn what_is_staged_beyond_the_end_that_is_asked_about_has_not_happened() {
        let mut m = group();
        m.apply(Seq(50), A, &Payload::joined(C));
        m.apply(Seq(51), A, &Payload::left(B));
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
            m.apply(Seq(*seq), A, payload);
        }
        let changed = |seq, payload: &Payload| {
            m.changed_by(Seq(seq), A, payload).map(|s| (s.user, s.joined.0)).collect::<Vec<_>>()
        };
        let created = created(false, &[A, B]);
        assert_eq!(changed(1, &created), [(A, 1), (B, 1)]);
        assert_eq!(changed(2, &Payload::Text("x".into())), []);
        assert_eq!(history.map(|(seq, payload)| changed(seq, &payload)), [[(C, 50)], [(C, 50)], [(C, 90)]]);
        assert_eq!(m.present(), 3);
    }

    fn created(direct: bool, members: &[UserId]) -> Payload {
        Payload::Created { direct, channel: false, members: members.to_vec() }
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
        m.apply(Seq(30), A, &joined);
        m.apply(Seq(40), A, &left);
        assert_eq!((m.present(), m.members_at(Seq(40)).count(), m.members_at(Seq(41)).count()), (6, 9, 6));
        assert_eq!(
            (m.next_visible(C, Seq::ZERO, Seq(50)), m.head_for(C, Seq(50))),
            (Some(Seq(10)), Some(Seq(40)))
        );
        assert_eq!((m.changed_by(Seq(30), A, &joined).count(), m.changed_by(Seq(40), A, &left).count()), (7, 3));
    }

    #[test]
    fn who_is_out_has_no_say_and_is_not_put_out_twice() {
        let mut m = group();
        m.apply(Seq(2), A, &Payload::left(A));
        // Also of whom they founded, also about themselves: they are a stranger with a past.
        for payload in
            [Payload::Text("x".into()), Payload::left(B), Payload::left(A), Payload::joined(A), Payload::joined(C)]
        {
            assert_eq!(m.check(A, &payload), Err(Refusal::NotAMember), "{payload:?}");
        }
        assert_eq!(m.check(A, &created(false, &[A, C])), Err(Refusal::Conflict));
        assert_eq!(m.check(B, &Payload::left(A)), Err(Refusal::Conflict));
        assert_eq!(m.check(B, &Payload::left(B)), Ok(()));
        m.apply(Seq(3), A, &Payload::left(B));
        // Nobody is left who could let anybody in.
        assert_eq!(m.check(B, &Payload::joined(A)), Err(Refusal::NotAMember));
    }
}
