//! The tables of a shard's database, as `README.md` beside this file describes them for strangers.
//!
//! **Invariant:** whoever changes a table, a key or a row counts `FORMAT` up. Guarded by nobody but `server/tests/format.rs`,
//! which reads a database with a decoder of its own.

use super::interface::FORMAT;
use super::seal::{HEAD, MEMBER, SENDER};
use redb::{TableDefinition, WriteTransaction};
use squall_core::messages::Position;
use squall_protocol::{ConversationId, Seq, UserId, Who};
use std::ops::RangeInclusive;

/// Position → entry.
pub const ENTRIES: TableDefinition<Position, &[u8]> = TableDefinition::new("entries");
/// (conversation, kind, id, number) → what changes with a message. The rows of one conversation lie together, and a message of
/// a small one changes one page.
pub const CONVERSATIONS: TableDefinition<ConversationKey, &[u8]> = TableDefinition::new("conversations");
/// (conversation, chunk) → the positions of `INDEX_CHUNK` entries.
pub const INDEX: TableDefinition<(u128, u64), &[u8]> = TableDefinition::new("index");
/// (conversation, user, device, chunk) → the places of `SENT_CHUNK` messages of the device.
pub const SENT: TableDefinition<(u128, u64, u64, u64), &[u8]> = TableDefinition::new("sent");
/// (user, conversation) → nothing.
pub const MEMBERS: TableDefinition<(u64, u128), &[u8]> = TableDefinition::new("members");
/// (conversation, user) → how far they have come: the members of one conversation share a page.
pub const CURSORS: TableDefinition<(u128, u64), &[u8]> = TableDefinition::new("cursors");
/// (user, device) → its fence.
pub const FENCES: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("fences");
/// Name → number.
pub const MARKS: TableDefinition<&str, &[u8]> = TableDefinition::new("marks");
/// All entries before this position owe nobody anything.
pub const DISPATCHED: &str = "dispatched";
/// Readable to every build, whatever its format.
pub const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// The number of the format, written at the creation and read before anything else.
pub const FORMAT_ROW: &str = "format";

/// Conversation, kind, user, join or device.
pub type ConversationKey = (u128, u8, u64, u64);

pub const fn head_key(id: ConversationId) -> ConversationKey {
    (id.0, HEAD, 0, 0)
}

pub const fn sender_key(id: ConversationId, (user, device): Who) -> ConversationKey {
    (id.0, SENDER, user.0, device.0)
}

pub const fn member_key(id: ConversationId, user: UserId, joined: Seq) -> ConversationKey {
    (id.0, MEMBER, user.0, joined.0)
}

/// All member rows of a conversation, or those of one user.
pub fn member_keys(id: ConversationId, user: Option<UserId>) -> RangeInclusive<ConversationKey> {
    let (first, last) = user.map_or((0, u64::MAX), |user| (user.0, user.0));
    (id.0, MEMBER, first, 0)..=(id.0, MEMBER, last, u64::MAX)
}

pub fn create(write: &WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(ENTRIES)?;
    write.open_table(CONVERSATIONS)?;
    write.open_table(INDEX)?;
    write.open_table(SENT)?;
    write.open_table(MEMBERS)?;
    write.open_table(CURSORS)?;
    write.open_table(FENCES)?;
    write.open_table(MARKS)?;
    write.open_table(META)?.insert(FORMAT_ROW, FORMAT)?;
    Ok(())
}
