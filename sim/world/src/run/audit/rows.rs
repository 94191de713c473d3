//! The rows of a shard's disk, as a stranger decodes them.
//!
//! **Invariant:** nothing here comes from the server: a decoder that shared its code would share its mistakes. The source is
//! `system/server/src/storage/README.md`, format 5, and `log.proto` beside it for the numbers of fields.

use redb::TableDefinition;
use squall_protocol::{ClientMsgId, ConversationId, Holders, Payload, Rank, Right, UserId};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The format that is decoded here.
pub const FORMAT: u64 = 5;

pub const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
pub const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
pub const CONVERSATIONS: TableDefinition<(u128, u8, u64, u64), &[u8]> = TableDefinition::new("conversations");
pub const INDEX: TableDefinition<(u128, u64), &[u8]> = TableDefinition::new("index");
pub const SENT: TableDefinition<(u128, u64, u64, u64), &[u8]> = TableDefinition::new("sent");
pub const MEMBERS: TableDefinition<(u64, u128), &[u8]> = TableDefinition::new("members");
pub const FENCES: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("fences");
pub const CURSORS: TableDefinition<(u128, u64), &[u8]> = TableDefinition::new("cursors");

/// Kinds of rows in `CONVERSATIONS`.
pub const HEAD: u8 = 0;
pub const SENDER: u8 = 1;
pub const MEMBER: u8 = 2;

const CHECKSUM: usize = 8;

/// The value of a row, if its checksum holds. `columns` are those of its key, big endian, one after the other.
pub fn value<'r>(table: &str, columns: &[u8], row: &'r [u8]) -> Option<&'r [u8]> {
    let (value, checksum) = row.split_at_checked(row.len().checked_sub(CHECKSUM)?)?;
    let seed = xxh3_64(&[table.as_bytes(), columns].concat());
    (xxh3_64_with_seed(value, seed).to_le_bytes() == checksum).then_some(value)
}

/// A row's value that is numbers of 8 bytes.
pub fn numbers(value: &[u8]) -> Option<Vec<u64>> {
    let (numbers, rest) = value.as_chunks::<8>();
    rest.is_empty().then(|| numbers.iter().map(|number| u64::from_le_bytes(*number)).collect())
}

/// The value of `entries`: the stored entry, and its chain value.
pub fn linked(value: &[u8]) -> Option<(&[u8], u64)> {
    let (entry, link) = value.split_at_checked(value.len().checked_sub(8)?)?;
    Some((entry, u64::from_le_bytes(link.try_into().ok()?)))
}

/// The chain value of an entry after this one.
pub fn chain(before: u64, entry: &[u8]) -> u64 {
    xxh3_64_with_seed(entry, before)
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StoredEntry {
    #[prost(message, optional, tag = "1")]
    pub conversation: Option<Id>,
    #[prost(message, optional, tag = "2")]
    pub entry: Option<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Id {
    #[prost(fixed64, tag = "1")]
    pub high: u64,
    #[prost(fixed64, tag = "2")]
    pub low: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    #[prost(fixed64, tag = "2")]
    pub sender: u64,
    #[prost(fixed64, tag = "3")]
    pub device: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub client_msg_id: Vec<u8>,
    #[prost(uint64, tag = "5")]
    pub client_seq: u64,
    #[prost(uint64, tag = "6")]
    pub stored_at_ms: u64,
    #[prost(message, optional, tag = "7")]
    pub payload: Option<Said>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Said {
    #[prost(oneof = "What", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum What {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(message, tag = "2")]
    Created(Created),
    #[prost(fixed64, tag = "3")]
    Joined(u64),
    #[prost(fixed64, tag = "4")]
    Left(u64),
    #[prost(message, tag = "5")]
    JoinedSeveral(Users),
    #[prost(message, tag = "6")]
    LeftSeveral(Users),
    #[prost(message, tag = "7")]
    Role(Role),
    #[prost(message, tag = "8")]
    Setting(Setting),
    #[prost(string, tag = "9")]
    Named(String),
    #[prost(bool, tag = "10")]
    Blocked(bool),
    #[prost(bool, tag = "11")]
    ForGood(bool),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Role {
    #[prost(fixed64, tag = "1")]
    pub user: u64,
    #[prost(uint32, tag = "2")]
    pub rank: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Setting {
    #[prost(uint32, tag = "1")]
    pub right: u32,
    #[prost(uint32, tag = "2")]
    pub who: u32,
}

/// The rank of that number.
pub fn rank(number: u32) -> Option<Rank> {
    [Rank::Member, Rank::Admin, Rank::Owner].get(number as usize).copied()
}

fn right(number: u32) -> Option<Right> {
    let rights = [Right::Add, Right::Remove, Right::Rename, Right::Promote, Right::Post];
    rights.get((number as usize).checked_sub(1)?).copied()
}

fn holders(number: u32) -> Option<Holders> {
    [Holders::Owner, Holders::Admins, Holders::Members].get((number as usize).checked_sub(1)?).copied()
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Users {
    #[prost(fixed64, repeated, tag = "1")]
    pub users: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Created {
    #[prost(bool, tag = "1")]
    pub direct: bool,
    #[prost(fixed64, repeated, tag = "2")]
    pub members: Vec<u64>,
    #[prost(bool, tag = "3")]
    pub channel: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Head {
    #[prost(uint64, tag = "1")]
    pub head: u64,
    #[prost(bool, tag = "2")]
    pub direct: bool,
    #[prost(uint64, repeated, tag = "3")]
    pub tail: Vec<u64>,
    #[prost(fixed64, tag = "4")]
    pub chain: u64,
    #[prost(uint32, tag = "5")]
    pub present: u32,
    #[prost(uint32, tag = "6")]
    pub stretches: u32,
    #[prost(uint32, tag = "8")]
    pub settings: u32,
    #[prost(uint32, tag = "9")]
    pub blocked: u32,
    #[prost(string, tag = "10")]
    pub name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Member {
    #[prost(uint64, tag = "1")]
    pub visible_from: u64,
    #[prost(uint64, tag = "2")]
    pub until: u64,
    #[prost(uint32, tag = "3")]
    pub rank: u32,
    #[prost(bool, tag = "4")]
    pub for_good: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Sender {
    #[prost(uint64, tag = "2")]
    pub next_client_seq: u64,
    #[prost(uint64, tag = "3")]
    pub connect_count: u64,
    #[prost(uint64, repeated, tag = "4")]
    pub places: Vec<u64>,
}

impl Id {
    pub fn conversation(&self) -> ConversationId {
        ConversationId(u128::from(self.high) << 64 | u128::from(self.low))
    }
}

impl Entry {
    pub fn client_msg_id(&self) -> Option<ClientMsgId> {
        Some(ClientMsgId(u128::from_be_bytes(self.client_msg_id.as_slice().try_into().ok()?)))
    }

    /// What it says, in the words of the protocol, by which the fleet's words are compared.
    pub fn payload(self) -> Option<Payload> {
        Some(match self.payload?.what? {
            What::Text(text) => Payload::Text(text),
            What::Created(Created { direct, channel, members }) => {
                Payload::Created { direct, channel, members: members.into_iter().map(UserId).collect() }
            }
            What::Role(Role { user, rank: number }) => Payload::Role { user: UserId(user), rank: rank(number)? },
            What::Setting(setting) => {
                Payload::Setting { right: right(setting.right)?, who: holders(setting.who)? }
            }
            What::Named(name) => Payload::Named(name),
            What::Blocked(is_so) => Payload::Blocked(is_so),
            What::ForGood(is_so) => Payload::ForGood(is_so),
            What::Joined(user) => Payload::joined(UserId(user)),
            What::Left(user) => Payload::left(UserId(user)),
            What::JoinedSeveral(Users { users }) => {
                Payload::Joined(users.into_iter().map(UserId).collect::<Vec<_>>().into())
            }
            What::LeftSeveral(Users { users }) => {
                Payload::Left(users.into_iter().map(UserId).collect::<Vec<_>>().into())
            }
        })
    }
}
