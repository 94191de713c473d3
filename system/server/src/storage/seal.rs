//! What makes a row tell that it is not what was written: a checksum over its key and value, and the chain of a log's entries.
//!
//! **Invariant:** a row that lies under another key, or of which a bit has changed, is told as damaged and is never believed.
//! Guarded by `server/tests/damage.rs`. The algorithm is part of the format: `README.md` beside this file has it for strangers.

use super::interface::StorageError;
use squall_core::messages::Position;
use squall_protocol::{ConversationId, DeviceId, Seq, UserId, Who};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The key of a row, in whichever table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Entry(Position),
    Conversation(ConversationId),
    Sender(ConversationId, Who),
    /// The user, and the entry that says that they have joined.
    Member(ConversationId, UserId, Seq),
    /// A chunk of the places of a conversation's entries.
    Index(ConversationId, u64),
    /// A chunk of the places of a device's messages.
    Sent(ConversationId, Who, u64),
    UserConversation(UserId, ConversationId),
    Cursor(ConversationId, UserId),
    Fence(UserId, DeviceId),
    Mark(&'static str),
}

const CHECKSUM: usize = size_of::<u64>();

impl Key {
    pub const fn table(self) -> &'static str {
        match self {
            Key::Entry(_) => "entries",
            Key::Conversation(_) | Key::Sender(..) | Key::Member(..) => "conversations",
            Key::Index(..) => "index",
            Key::Sent(..) => "sent",
            Key::UserConversation(..) => "members",
            Key::Cursor(..) => "cursors",
            Key::Fence(..) => "fences",
            Key::Mark(_) => "marks",
        }
    }

    /// The columns of the key, in order.
    fn columns(self) -> Columns {
        let columns = Columns::default().with(self.table().as_bytes());
        match self {
            Key::Entry(position) => columns.u64(position),
            Key::Conversation(id) => columns.u128(id.0).with(&[HEAD]).u64(0).u64(0),
            Key::Sender(id, (user, device)) => columns.u128(id.0).with(&[SENDER]).u64(user.0).u64(device.0),
            Key::Member(id, user, joined) => columns.u128(id.0).with(&[MEMBER]).u64(user.0).u64(joined.0),
            Key::Index(id, chunk) => columns.u128(id.0).u64(chunk),
            Key::Sent(id, (user, device), chunk) => columns.u128(id.0).u64(user.0).u64(device.0).u64(chunk),
            Key::UserConversation(user, id) => columns.u64(user.0).u128(id.0),
            Key::Cursor(id, user) => columns.u128(id.0).u64(user.0),
            Key::Fence(user, device) => columns.u64(user.0).u64(device.0),
            Key::Mark(name) => columns.with(name.as_bytes()),
        }
    }

    fn seed(self) -> u64 {
        xxh3_64(self.columns().as_bytes())
    }

    /// The error that says that this row cannot be read.
    pub fn corrupt(self) -> StorageError {
        let row = match self {
            Key::Entry(position) => position.to_string(),
            Key::Conversation(id) => id.to_string(),
            Key::Sender(id, (user, device)) => format!("{id}/sender {user}/{device}"),
            Key::Member(id, user, joined) => format!("{id}/member {user} since {joined}"),
            Key::Index(id, chunk) => format!("{id}/{chunk}"),
            Key::Sent(id, (user, device), chunk) => format!("{id}/{user}/{device}/{chunk}"),
            Key::UserConversation(user, id) => format!("{user}/{id}"),
            Key::Cursor(id, user) => format!("{id}/{user}"),
            Key::Fence(user, device) => format!("{user}/{device}"),
            Key::Mark(name) => name.into(),
        };
        StorageError::Corrupt { table: self.table(), row }
    }
}

/// The kinds of rows in the table `conversations`: those of one conversation lie together.
pub const HEAD: u8 = 0;
pub const SENDER: u8 = 1;
pub const MEMBER: u8 = 2;

/// A key as bytes, big endian.
struct Columns {
    bytes: [u8; 64],
    len: usize,
}

impl Default for Columns {
    fn default() -> Self {
        Columns { bytes: [0; 64], len: 0 }
    }
}

impl Columns {
    fn with(mut self, column: &[u8]) -> Self {
        self.bytes[self.len..self.len + column.len()].copy_from_slice(column);
        self.len += column.len();
        self
    }

    fn u64(self, column: u64) -> Self {
        self.with(&column.to_be_bytes())
    }

    fn u128(self, column: u128) -> Self {
        self.with(&column.to_be_bytes())
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Closes a row: its checksum follows its value.
pub fn seal(key: Key, mut value: Vec<u8>) -> Vec<u8> {
    let checksum = xxh3_64_with_seed(&value, key.seed());
    value.extend_from_slice(&checksum.to_le_bytes());
    value
}

/// The value of a row that is what was written under this key.
pub fn unseal(key: Key, row: &[u8]) -> Result<&[u8], StorageError> {
    let (value, checksum) = row.split_last_chunk::<CHECKSUM>().ok_or_else(|| key.corrupt())?;
    if u64::from_le_bytes(*checksum) != xxh3_64_with_seed(value, key.seed()) {
        return Err(key.corrupt());
    }
    Ok(value)
}

/// The chain value of an entry: it speaks for the entry and for all before it. `before` is the value of the one before, 0 for
/// the first.
pub fn chained(before: u64, entry: &[u8]) -> u64 {
    xxh3_64_with_seed(entry, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ConversationId = ConversationId::group(UserId(1), 7);

    #[test]
    fn a_row_is_read_back_under_its_own_key_only() {
        let keys = [
            Key::Entry(1),
            Key::Entry(2),
            Key::Conversation(ID),
            Key::Sender(ID, (UserId(1), DeviceId(1))),
            Key::Sender(ID, (UserId(2), DeviceId(1))),
            Key::Member(ID, UserId(1), Seq(1)),
            Key::Member(ID, UserId(1), Seq(2)),
            Key::Index(ID, 1),
            Key::Cursor(ID, UserId(1)),
            Key::Cursor(ID, UserId(2)),
            Key::Sent(ID, (UserId(1), DeviceId(1)), 1),
            Key::Sent(ID, (UserId(2), DeviceId(1)), 1),
            Key::UserConversation(UserId(1), ID),
            Key::Fence(UserId(1), DeviceId(1)),
            Key::Mark("dispatched"),
        ];
        for key in keys {
            let row = seal(key, b"value".to_vec());
            for other in keys {
                assert_eq!(unseal(other, &row).is_ok(), other == key, "{key:?} read as {other:?}");
            }
            for bit in 0..8 * row.len() {
                let mut row = row.clone();
                row[bit / 8] ^= 1 << (bit % 8);
                assert!(unseal(key, &row).is_err(), "{key:?} with bit {bit} changed");
            }
            assert!(unseal(key, &row[..row.len() - 1]).is_err() && unseal(key, &[]).is_err());
        }
    }

    #[test]
    fn a_chain_speaks_for_every_entry_and_their_order() {
        let chain = |entries: &[&str]| entries.iter().fold(0, |before, entry| chained(before, entry.as_bytes()));
        let values =
            [chain(&["a", "b", "c"]), chain(&["b", "a", "c"]), chain(&["a", "c"]), chain(&["a", "b", "d"])];
        assert!((1..4).all(|other| values[other] != values[0]));
    }
}
