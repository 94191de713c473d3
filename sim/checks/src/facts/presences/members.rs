//! Who is a member of what, as anybody has witnessed it: as much of it as matters to whoever watches.
//!
//! Memory: 16 bytes a member; of what has been sent and nobody has witnessed yet, whom it names.

use rustc_hash::FxHashMap;
use squall_history::What;
use squall_protocol::{ClientMsgId, ConversationId, UserId};

/// A user, by their row.
type User = u32;

/// Milliseconds of the run, rounded up.
fn ms(us: u64) -> u32 {
    u32::try_from(us.div_ceil(1_000)).unwrap_or(u32::MAX)
}

#[derive(Debug, Clone, Copy)]
struct Member {
    user: User,
    seq: u32,
    joined_ms: u32,
    /// 0 while they are a member.
    left_ms: u32,
}

#[derive(Debug)]
struct Change {
    conversation: ConversationId,
    added: Vec<User>,
    taken: Vec<User>,
}

#[derive(Debug, Default)]
pub(super) struct Members {
    /// In order of users: a channel may have hundreds of thousands.
    of: FxHashMap<ConversationId, Vec<Member>>,
    /// What nobody has witnessed yet.
    changes: FxHashMap<ClientMsgId, Change>,
}

impl Members {
    /// Somebody sends what changes who is a member.
    pub fn handle_send(
        &mut self,
        id: ClientMsgId,
        (conversation, author): (ConversationId, UserId),
        what: What,
        named: &[UserId],
        mut row: impl FnMut(UserId) -> User,
    ) {
        let mut added: Vec<User> = what.added(named).map(&mut row).collect();
        if what.is_creation() {
            added.extend(named.iter().map(|user| row(*user)));
        }
        let taken: Vec<User> = what.taken(author, named).map(row).collect();
        if !added.is_empty() || !taken.is_empty() {
            self.changes.insert(id, Change { conversation, added, taken });
        }
    }

    /// An entry stands at this place, as somebody has seen. Whoever sees it later sees nothing new.
    pub fn handle_entry(&mut self, id: ClientMsgId, seq: u64, now: u64) {
        let Some(Change { conversation, added, taken }) = self.changes.remove(&id) else { return };
        let seq = u32::try_from(seq).unwrap_or(u32::MAX);
        let members = self.of.entry(conversation).or_default();
        put_in(members, added.iter().chain(&taken));
        for user in added {
            let member = member(members, user);
            if seq > member.seq {
                *member = Member { user, seq, joined_ms: ms(now), left_ms: 0 };
            }
        }
        for user in taken {
            let member = member(members, user);
            if seq > member.seq {
                (member.seq, member.left_ms) = (seq, ms(now).max(1));
            }
        }
    }

    fn find(&self, conversation: ConversationId, user: User) -> Option<Member> {
        let members = self.of.get(&conversation)?;
        members.binary_search_by_key(&user, |member| member.user).ok().map(|place| members[place])
    }

    /// Since when a user is no member of a conversation any more, in µs; `None`: they are one, or nobody has seen that they are not.
    pub fn left(&self, conversation: ConversationId, user: User) -> Option<u64> {
        self.find(conversation, user).filter(|member| member.left_ms > 0).map(|m| u64::from(m.left_ms) * 1_000)
    }

    /// Whether a user is surely a member, and has been since.
    pub fn is_member_since(&self, conversation: ConversationId, user: User, then: u64) -> bool {
        let known = self.find(conversation, user);
        known.is_some_and(|member| member.left_ms == 0 && u64::from(member.joined_ms) * 1_000 <= then)
    }
}

/// Rows for those who have none, in order of users like all others.
fn put_in<'a>(members: &mut Vec<Member>, users: impl Iterator<Item = &'a User>) {
    let is_new = |user: &&User| members.binary_search_by_key(*user, |member| member.user).is_err();
    let mut new: Vec<User> = users.filter(is_new).copied().collect();
    if new.is_empty() {
        return;
    }
    new.sort_unstable();
    new.dedup();
    members.reserve_exact(new.len());
    members.extend(new.into_iter().map(|user| Member { user, seq: 0, joined_ms: 0, left_ms: 0 }));
    // Two runs, each in order, which are merged.
    members.sort_by_key(|member| member.user);
}

fn member(members: &mut [Member], user: User) -> &mut Member {
    let place = members.binary_search_by_key(&user, |member| member.user);
    &mut members[place.expect("everybody has a row before it is written")]
}
