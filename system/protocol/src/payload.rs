//! What an entry of a log says.
//!
//! **Invariant:** what has one meaning has one form: one user who joins or leaves is a name, several are a list, in JSON and in
//! Protobuf alike. Tested in `tests/codecs.rs`.

use crate::frames::Refusal;
use crate::ids::UserId;
use crate::limits;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Users whom an entry names, in the order in which it names them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Users(Vec<UserId>);

impl Users {
    /// Whether each is named once and has a valid number, and there is one at least.
    pub fn are_distinct(&self) -> bool {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        !sorted.is_empty()
            && sorted.iter().all(|user| user.is_valid())
            && sorted.windows(2).all(|two| two[0] != two[1])
    }

    fn held_bytes(&self) -> usize {
        self.0.capacity() * size_of::<UserId>()
    }
}

impl std::ops::Deref for Users {
    type Target = [UserId];
    fn deref(&self) -> &[UserId] {
        &self.0
    }
}

impl From<UserId> for Users {
    fn from(user: UserId) -> Self {
        Users(vec![user])
    }
}

impl From<Vec<UserId>> for Users {
    fn from(users: Vec<UserId>) -> Self {
        Users(users)
    }
}

impl<'a> IntoIterator for &'a Users {
    type Item = &'a UserId;
    type IntoIter = std::slice::Iter<'a, UserId>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// What a member of a group may be. There is one owner at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    #[default]
    Member,
    Admin,
    Owner,
}

/// What a setting is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// To put people in.
    Add,
    /// To take others away.
    Remove,
    /// To name the group.
    Rename,
    /// To make admins, and members of them.
    Promote,
    /// To write texts.
    Post,
}

impl Right {
    pub const ALL: [Right; 5] = [Right::Add, Right::Remove, Right::Rename, Right::Promote, Right::Post];
}

/// Who has a right: everybody of this rank and above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holders {
    Owner,
    Admins,
    Members,
}

impl Holders {
    pub const ALL: [Holders; 3] = [Holders::Owner, Holders::Admins, Holders::Members];
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// As JSON has them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrSeveral {
    One(UserId),
    Several(Vec<UserId>),
}

impl Serialize for Users {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [user] => user.serialize(serializer),
            users => users.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Users {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match OneOrSeveral::deserialize(deserializer)? {
            OneOrSeveral::One(user) => user.into(),
            OneOrSeveral::Several(users) => users.into(),
        })
    }
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// What a person wrote.
    Text(String),
    /// The first entry of every log. In a channel its owner and admins add, remove, rename and post, until a setting says otherwise.
    Created {
        direct: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        channel: bool,
        members: Vec<UserId>,
    },
    /// The sender adds these users: all of them, or none.
    Joined(Users),
    /// These users are out: the sender leaves, or removes others.
    Left(Users),
    /// The sender makes this member one of that rank; with `owner`, they hand over and are an admin from then on.
    Role { user: UserId, rank: Rank },
    /// Who may do this from now on.
    Setting { right: Right, who: Holders },
    /// What the group is called; nothing takes the name away.
    Named(String),
    /// The sender blocks the conversation with the other one, or does so no more.
    Blocked(bool),
    /// The sender leaves, and nobody may add them; or, being out so, they may be added again.
    ForGood(bool),
}

impl Payload {
    /// The sender adds one user.
    pub fn joined(user: UserId) -> Self {
        Payload::Joined(user.into())
    }

    /// One user is out.
    pub fn left(user: UserId) -> Self {
        Payload::Left(user.into())
    }

    /// Bytes that it holds beside its own row.
    pub fn held_bytes(&self) -> usize {
        match self {
            Payload::Text(text) => text.capacity(),
            Payload::Created { members, .. } => members.capacity() * size_of::<UserId>(),
            Payload::Joined(users) | Payload::Left(users) => users.held_bytes(),
            Payload::Named(name) => name.capacity(),
            Payload::Role { .. } | Payload::Setting { .. } | Payload::Blocked(_) | Payload::ForGood(_) => 0,
        }
    }

    /// Checks the size limits that need no conversation.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Payload::Text(text) if text.len() > limits::MAX_BODY_BYTES => Err(Refusal::BodyTooLarge),
            Payload::Text(text) if json_len(text) > limits::MAX_BODY_JSON_BYTES => Err(Refusal::BodyTooLarge),
            Payload::Created { members, .. } if members.len() > limits::MAX_FOUNDERS => {
                Err(Refusal::GroupTooLarge)
            }
            Payload::Joined(users) | Payload::Left(users) if users.len() > limits::MAX_NAMED_USERS => {
                Err(Refusal::GroupTooLarge)
            }
            Payload::Named(name) if name.len() > limits::MAX_NAME_BYTES => Err(Refusal::BodyTooLarge),
            _ => Ok(()),
        }
    }

    /// Whether an entry with this makes somebody a member or none.
    pub const fn changes_membership(&self) -> bool {
        match self {
            Payload::Created { .. } | Payload::Joined(_) | Payload::Left(_) | Payload::ForGood(_) => true,
            Payload::Text(_)
            | Payload::Named(_)
            | Payload::Role { .. }
            | Payload::Setting { .. }
            | Payload::Blocked(_) => false,
        }
    }

    /// Whether an entry with this changes who is a member, or who may do what.
    pub const fn changes_rights(&self) -> bool {
        match self {
            Payload::Text(_) | Payload::Named(_) => false,
            Payload::Created { .. }
            | Payload::Joined(_)
            | Payload::Left(_)
            | Payload::Role { .. }
            | Payload::Setting { .. }
            | Payload::Blocked(_)
            | Payload::ForGood(_) => true,
        }
    }

    /// Bytes that this adds to a page, roughly: in JSON, which is never the shorter form.
    pub fn size(&self) -> usize {
        match self {
            Payload::Text(text) => json_len(text),
            Payload::Created { members, .. } => limits::USER_JSON_BYTES * members.len(),
            Payload::Joined(users) | Payload::Left(users) => limits::USER_JSON_BYTES * users.len(),
            Payload::Named(name) => json_len(name),
            Payload::Role { .. } | Payload::Setting { .. } | Payload::Blocked(_) | Payload::ForGood(_) => {
                limits::USER_JSON_BYTES
            }
        }
    }
}

/// Bytes of a text in JSON, without its quotes: what has to be escaped takes two or six (RFC 8259, section 7).
fn json_len(text: &str) -> usize {
    // Most texts have nothing to escape, and without a branch a byte that is found out for many bytes at once.
    let is_plain = |byte: u8| (byte >= b' ') & (byte != b'"') & (byte != b'\\');
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        return text.len();
    }
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | 8 | b'\t' | b'\n' | 12 | b'\r' => 1,
        0..=31 => 5,
        _ => 0,
    };
    text.len() + text.bytes().map(escaped).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_takes_the_bytes_that_it_has_in_json() {
        let all: String = (0u8..128).map(char::from).chain("\u{7ff}\u{ffff}\u{1f600}".chars()).collect();
        for text in ["", "plain", "\"\\\u{1}\n", &all] {
            let json = serde_json::to_string(text).expect("a text is JSON");
            assert_eq!(json_len(text), json.len() - 2, "{text:?}");
        }
    }

    #[test]
    fn a_body_that_json_makes_much_longer_is_too_large() {
        let text = |c: char, len: usize| Payload::Text(c.to_string().repeat(len));
        assert_eq!(text('\n', limits::MAX_BODY_BYTES).check(), Ok(()));
        assert_eq!(text('\u{1}', limits::MAX_BODY_JSON_BYTES / 6).check(), Ok(()));
        assert_eq!(text('\u{1}', limits::MAX_BODY_BYTES).check(), Err(Refusal::BodyTooLarge));
    }
}
