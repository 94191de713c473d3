//! What a message says, as far as a history tells it: its kind and a fingerprint.
//!
//! **Invariant:** whoever writes an entry into the history, the device that sent or shows it, the host that stored it or the
//! audit that read it from a disk, takes kind and fingerprint from here; so the checks can compare them.

use serde::{Deserialize, Serialize};
use squall_protocol::{Holders, Payload, Rank, Right, UserId, ids::mix};

/// What an entry says, as far as a check needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Text,
    /// The conversation was created.
    Created,
    /// This user joined.
    Joined(UserId),
    /// This user left or was removed.
    Left(UserId),
    /// Several joined, or none or more than one is out: who, the event says beside.
    JoinedSeveral,
    LeftSeveral,
    /// The conversation was created, as a channel.
    CreatedChannel,
    /// This user has this rank from now on.
    Role {
        user: UserId,
        rank: Rank,
    },
    /// These have the right from now on.
    Setting {
        right: Right,
        who: Holders,
    },
    /// The group has a name.
    Named,
    /// The author blocks the conversation, or does so no more.
    Blocked(bool),
    /// The author leaves for good, or takes that back.
    ForGood(bool),
}

impl What {
    pub fn of(payload: &Payload) -> What {
        match payload {
            Payload::Text(_) => What::Text,
            Payload::Created { channel: true, .. } => What::CreatedChannel,
            Payload::Created { .. } => What::Created,
            Payload::Role { user, rank } => What::Role { user: *user, rank: *rank },
            Payload::Setting { right, who } => What::Setting { right: *right, who: *who },
            Payload::Named(_) => What::Named,
            Payload::Blocked(is_so) => What::Blocked(*is_so),
            Payload::ForGood(is_so) => What::ForGood(*is_so),
            Payload::Joined(users) => match users[..] {
                [user] => What::Joined(user),
                _ => What::JoinedSeveral,
            },
            Payload::Left(users) => match users[..] {
                [user] => What::Left(user),
                _ => What::LeftSeveral,
            },
        }
    }

    /// Whom an entry names that its kind does not.
    pub fn named(payload: &Payload) -> &[UserId] {
        match payload {
            Payload::Created { members, .. } => members,
            Payload::Joined(users) | Payload::Left(users) if users.len() != 1 => users,
            _ => &[],
        }
    }

    /// Whom an entry of this kind, which names these beside, adds to those who are members.
    pub fn added(self, named: &[UserId]) -> impl Iterator<Item = UserId> {
        let one = if let What::Joined(user) = self { Some(user) } else { None };
        one.into_iter().chain(named.iter().copied().filter(move |_| self == What::JoinedSeveral))
    }

    /// Whom an entry of this author takes away.
    pub fn taken(self, author: UserId, named: &[UserId]) -> impl Iterator<Item = UserId> {
        let one = match self {
            What::Left(user) => Some(user),
            What::ForGood(true) => Some(author),
            _ => None,
        };
        one.into_iter().chain(named.iter().copied().filter(move |_| self == What::LeftSeveral))
    }

    /// Whether it makes somebody a member or none.
    pub fn moves(self) -> bool {
        matches!(
            self,
            What::Joined(_) | What::Left(_) | What::JoinedSeveral | What::LeftSeveral | What::ForGood(_)
        )
    }

    pub fn is_creation(self) -> bool {
        matches!(self, What::Created | What::CreatedChannel)
    }

    /// Whether it changes who is a member, what the group is called, or who may do what.
    pub fn is_change(self) -> bool {
        !(self == What::Text || self.is_creation())
    }
}

/// The fingerprint of an entry's content. It tells contents of one kind apart: compare it together with [`What`].
pub fn payload_hash(payload: &Payload) -> u64 {
    match payload {
        Payload::Text(text) => body_hash(text.as_bytes()),
        Payload::Created { direct, members, .. } => {
            members.iter().fold(mix(u64::from(*direct)), |hash, member| mix(hash ^ member.0))
        }
        Payload::Named(name) => body_hash(name.as_bytes()),
        // Their kind says it all.
        Payload::Role { .. } | Payload::Setting { .. } | Payload::Blocked(_) | Payload::ForGood(_) => 0,
        Payload::Joined(users) => listed(users, 1),
        Payload::Left(users) => listed(users, 2),
    }
}

/// One user has the fingerprint that they have always had.
fn listed(users: &[UserId], kind: u64) -> u64 {
    match users {
        [user] => mix(user.0 ^ kind),
        users => users.iter().fold(kind, |hash, user| mix(hash ^ user.0)),
    }
}

/// A fingerprint of a message's content: FNV-1a over the body, then finalised.
pub fn body_hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_that_differ_differ_in_kind_or_fingerprint() {
        let (one, two) = (UserId(1), UserId(2));
        let created =
            |direct, members: &[UserId]| Payload::Created { direct, channel: false, members: members.to_vec() };
        let payloads = [
            Payload::Text("a".into()),
            Payload::Text("b".into()),
            created(true, &[one, two]),
            created(false, &[one, two]),
            created(false, &[two, one]),
            Payload::joined(one),
            Payload::joined(two),
            Payload::Joined(vec![one, two].into()),
            Payload::Joined(vec![two, one].into()),
            Payload::Left(vec![one, two].into()),
            Payload::left(one),
            Payload::Created { direct: false, channel: true, members: vec![one, two] },
            Payload::Role { user: one, rank: Rank::Admin },
            Payload::Role { user: one, rank: Rank::Owner },
            Payload::Role { user: two, rank: Rank::Owner },
            Payload::Setting { right: Right::Add, who: Holders::Owner },
            Payload::Setting { right: Right::Post, who: Holders::Owner },
            Payload::Setting { right: Right::Post, who: Holders::Admins },
            Payload::Named("a".into()),
            Payload::Named("b".into()),
            Payload::Blocked(true),
            Payload::Blocked(false),
            Payload::ForGood(true),
            Payload::ForGood(false),
        ];
        for (index, one) in payloads.iter().enumerate() {
            for other in &payloads[index + 1..] {
                let told = |payload: &Payload| (What::of(payload), payload_hash(payload));
                assert_ne!(told(one), told(other), "{one:?} and {other:?}");
            }
        }
    }
}
