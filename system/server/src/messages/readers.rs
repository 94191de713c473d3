//! Who is to have an entry: the members at that moment, by the registry that knows where they are.
//!
//! **Invariant:** but for channels, whose followers are told, these are exactly `Membership::members_at`, and an entry costs what it changes, not what its group has members or ever
//! had: the list of one entry is that of the one before, and what has been changed since. A list is used for the very next entry of its
//! conversation and for no other. Checked by the test below, which compares the two.

use rustc_hash::FxHashMap;
use squall_core::messages::Conversation;
use squall_core::plant::{Plant, planted};
use squall_protocol::frames::Entry;
use squall_protocol::ids::rendezvous;
use squall_protocol::limits::{FEW_READERS, MAX_READER_CHANGES, MAX_READERS_KEPT};
use squall_protocol::{ConversationId, Payload, Seq, UserId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Users by their registry, each list in order.
type Lists = Arc<[Vec<UserId>]>;

/// The readers of an entry, shared with its neighbours.
#[derive(Debug, Clone)]
pub struct Readers {
    base: Lists,
    /// Who is to be added or left out, the last change of a user in force.
    changes: Arc<[(UserId, bool)]>,
}

fn registry_of(user: UserId, registries: usize) -> usize {
    rendezvous(user.0, registries as u32) as usize
}

impl Readers {
    /// These users, who are in order.
    pub fn new(users: impl IntoIterator<Item = UserId>, registries: usize) -> Self {
        let mut lists = vec![Vec::new(); registries];
        users.into_iter().for_each(|user| lists[registry_of(user, registries)].push(user));
        Readers { base: lists.into(), changes: Arc::new([]) }
    }

    fn changed(&self, user: UserId) -> Option<bool> {
        self.changes.iter().rev().find(|(changed, _)| *changed == user).map(|(_, is_in)| *is_in)
    }

    pub fn contains(&self, registry: usize, user: UserId) -> bool {
        self.changed(user).unwrap_or_else(|| self.base[registry].binary_search(&user).is_ok())
    }

    /// Those whom this registry knows.
    pub fn of(&self, registry: usize) -> impl Iterator<Item = UserId> + '_ {
        let kept = self.base[registry].iter().copied().filter(|user| self.changed(*user).is_none());
        let registries = self.base.len();
        let added = self.changes.iter().enumerate().filter(move |(place, (user, is_in))| {
            let is_last = self.changes[place + 1..].iter().all(|(later, _)| later != user);
            is_last && *is_in && registry_of(*user, registries) == registry
        });
        kept.chain(added.map(|(_, (user, _))| *user))
    }

    /// All whom this registry is to be asked for: those, and perhaps a few who have just left. What two neighbours share is the same
    /// list, and need not be looked at twice.
    pub fn asked(&self, registry: usize) -> (&[UserId], impl Iterator<Item = UserId> + '_) {
        let registries = self.base.len();
        let changed = self.changes.iter().map(|(user, _)| *user);
        (&self.base[registry], changed.filter(move |user| registry_of(*user, registries) == registry))
    }

    /// No more than this registry is to be asked for.
    pub fn len(&self, registry: usize) -> usize {
        self.base[registry].len() + self.changes.len()
    }

    fn listed(&self) -> usize {
        self.base.iter().map(Vec::len).sum()
    }

    fn with(&self, users: &[UserId], is_in: bool) -> Readers {
        let (few, new) = (self.changes.len() + users.len(), users.iter().map(|user| (*user, is_in)));
        if few <= MAX_READER_CHANGES {
            let changes = self.changes.iter().copied().chain(new).collect();
            return Readers { base: Arc::clone(&self.base), changes };
        }
        // Many are written into lists at once, for each change is looked through for each reader.
        let registries = self.base.len();
        let mut lists: Vec<BTreeSet<UserId>> =
            (0..registries).map(|registry| self.of(registry).collect()).collect();
        for user in users {
            let list = &mut lists[registry_of(*user, registries)];
            if is_in {
                list.insert(*user)
            } else {
                list.remove(user)
            };
        }
        let lists = lists.into_iter().map(|list| list.into_iter().collect());
        Readers { base: lists.collect(), changes: Arc::new([]) }
    }
}

/// The readers of the next entry of a conversation.
#[derive(Debug)]
struct Next {
    seq: Seq,
    readers: Readers,
}

/// The readers of entries that follow each other.
#[derive(Debug, Default)]
pub struct SharedReaders {
    next: FxHashMap<ConversationId, Next>,
    /// Members in these lists.
    members: usize,
    /// Members that have been written into lists since it was last asked.
    listed: usize,
}

impl SharedReaders {
    /// Those who were members when this entry was stored.
    pub fn of(&mut self, log: &Conversation, entry: &Entry, registries: usize) -> Readers {
        let (id, seq) = (log.id(), entry.seq);
        if log.regime().leaves_to_followers(seq) {
            // Of a channel only who comes or goes is told one by one, all others by those who follow it.
            self.forget(id);
            let moved: BTreeSet<UserId> = entry.moves().iter().copied().collect();
            let members = moved.into_iter().filter(|user| log.membership().was_member(*user, seq));
            return Readers::new(members, registries);
        }
        let kept = self.forget(id).filter(|next| next.seq == seq && !planted(Plant::ShownAfterLeaving));
        let readers = match (&entry.payload, kept) {
            (Payload::Created { .. }, _) | (_, None) => {
                let readers = Readers::new(log.membership().members_at(seq), registries);
                self.listed += readers.listed();
                readers
            }
            (Payload::Joined(users), Some(next)) => self.changed(&next.readers, users, true),
            // Whoever is out and may be added again has no part in it but for this entry.
            (Payload::ForGood(false), Some(next)) => self.changed(&next.readers, &[entry.sender], true),
            // Who leaves is told so.
            (_, Some(next)) => next.readers,
        };
        let next = match &entry.payload {
            Payload::Left(users) => self.changed(&readers, users, false),
            Payload::ForGood(_) => self.changed(&readers, &[entry.sender], false),
            _ => readers.clone(),
        };
        self.keep(id, Next { seq: seq.next(), readers: next });
        readers
    }

    fn changed(&mut self, readers: &Readers, users: &[UserId], is_in: bool) -> Readers {
        let changed = readers.with(users, is_in);
        if !Arc::ptr_eq(&changed.base, &readers.base) {
            self.listed += changed.listed();
        }
        changed
    }

    /// How many members have been written into lists since this was last asked.
    pub fn take_listed(&mut self) -> usize {
        std::mem::take(&mut self.listed)
    }

    fn weight(next: &Next) -> usize {
        (0..next.readers.base.len()).map(|registry| next.readers.len(registry)).sum()
    }

    fn forget(&mut self, id: ConversationId) -> Option<Next> {
        let next = self.next.remove(&id)?;
        self.members -= Self::weight(&next);
        Some(next)
    }

    /// When there is no more room all begin anew: a list that is missing is made again, at the price of its length.
    fn keep(&mut self, id: ConversationId, next: Next) {
        let weight = Self::weight(&next);
        if weight <= FEW_READERS {
            return;
        }
        if self.members + weight > MAX_READERS_KEPT {
            self.next.clear();
            self.members = 0;
        }
        self.members += weight;
        self.next.insert(id, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use squall_core::messages::{SendOutcome, SendRequest};
    use squall_protocol::{ClientMsgId, ClientSeq, DeviceId, Users};

    fn send(sender: UserId, n: u64, payload: Payload) -> SendRequest {
        SendRequest {
            sender,
            device: DeviceId(1),
            client_msg_id: ClientMsgId(u128::from(n)),
            client_seq: ClientSeq(n),
            payload,
            stored_at_ms: 0,
            connect_count: 1,
        }
    }

    fn several(users: std::ops::RangeInclusive<u64>) -> Users {
        users.map(UserId).collect::<Vec<_>>().into()
    }

    proptest! {
        #[test]
        fn the_readers_of_each_entry_are_its_members(steps in proptest::collection::vec((0u64..12, 0u8..7), 1..200)) {
            let owner = UserId(100);
            let id = ConversationId::group(owner, 1);
            let mut log = Conversation::new(id);
            let (mut shared, mut accepted) = (SharedReaders::default(), 0);
            let mut for_good = 0;
            let created = Payload::Created { direct: false, channel: false, members: (90..=140).map(UserId).collect() };
            let changes = steps.into_iter().map(|(user, what)| match what {
                0 => Payload::left(UserId(user)),
                1 => Payload::joined(UserId(user)),
                2 => Payload::left(UserId(101 + user)),
                // Some that are kept as changes, and some that are too many.
                3 => Payload::Joined(several(200 + 5 * user..=203 + 8 * user)),
                4 => Payload::Left(several(200 + 5 * user..=203 + 8 * user)),
                5 => Payload::ForGood(user % 2 == 0),
                _ => Payload::Text("x".into()),
            });
            for payload in [created].into_iter().chain(changes) {
                let (sender, number) = match payload {
                    // Of somebody who is out for good half of the time, under the number of a device that nobody else has.
                    Payload::ForGood(_) => (UserId(102), for_good + 1),
                    _ => (owner, accepted + 1),
                };
                let SendOutcome::Staged(entry) = log.handle_send(send(sender, number, payload)) else { continue };
                if sender == owner { accepted += 1 } else { for_good += 1 }
                let readers = shared.of(&log, &entry, 3);
                let members: BTreeSet<UserId> = log.membership().members_at(entry.seq).collect();
                let found: Vec<UserId> = (0..3).flat_map(|registry| readers.of(registry).collect::<Vec<_>>()).collect();
                prop_assert_eq!(found.len(), members.len());
                prop_assert_eq!(&found.into_iter().collect::<BTreeSet<_>>(), &members);
                for user in (0..300).map(UserId) {
                    prop_assert_eq!(readers.contains(registry_of(user, 3), user), members.contains(&user));
                    let (base, changed) = readers.asked(registry_of(user, 3));
                    let is_asked = base.contains(&user) || changed.collect::<Vec<_>>().contains(&user);
                    prop_assert!(is_asked || !members.contains(&user));
                }
            }
        }
    }

    #[test]
    fn a_burst_of_changes_in_a_large_group_lists_it_a_few_times_and_not_for_each() {
        let owner = UserId(100);
        let mut log = Conversation::new(ConversationId::group(owner, 1));
        let mut shared = SharedReaders::default();
        let created =
            Payload::Created { direct: false, channel: false, members: (1..=5_000).map(UserId).collect() };
        let leaves = (200..690).map(|user| Payload::left(UserId(user)));
        for (n, payload) in (1..).zip([created].into_iter().chain(leaves)) {
            let SendOutcome::Staged(entry) = log.handle_send(send(owner, n, payload)) else { panic!("refused") };
            shared.of(&log, &entry, 2);
        }
        let listed = shared.take_listed();
        assert!(listed <= 5_000 * (2 + 490 / MAX_READER_CHANGES), "{listed} members listed");
    }

    #[test]
    fn lists_are_kept_up_to_a_limit_and_made_again_beyond() {
        let mut shared = SharedReaders::default();
        let large = Readers::new((0..MAX_READERS_KEPT as u64 / 2).map(UserId), 2);
        for n in 1..=5 {
            let id = ConversationId::group(UserId(n), 1);
            shared.keep(id, Next { seq: Seq(1), readers: large.clone() });
            assert!(shared.members <= MAX_READERS_KEPT);
        }
        assert_eq!(shared.next.len(), 1);
    }
}
