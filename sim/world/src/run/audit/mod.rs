//! The audit: what the shards' disks hold when all is over, read from the platters with a decoder that is not the server's.
//!
//! | file | is |
//! |---|---|
//! | `rows` | tables, rows, checksums and the chain, as the format's description has them |
//! | `parts` | everything but the log, conversation by conversation |
//! | `mod` | reads all of it into the checks |

mod parts;
mod rows;

use crate::disk::Disk;
use crate::memory::accounts::Account;
use parts::{Part, Parts};
use prost::Message;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend};
use rustc_hash::FxHashMap;
use squall_checks::tables::{EntryRow, Tables};
use squall_checks::{AuditEntry, Checks};
use squall_history::{Extent, Hop, What, payload_hash};
use squall_protocol::ids::mix;
use squall_protocol::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Seq, UserId};
use std::collections::BTreeSet;

const CACHE_BYTES: usize = 32 << 20;

/// Why a disk cannot be audited: redb's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AuditError(String);

fn failed(error: impl std::fmt::Display) -> AuditError {
    AuditError(error.to_string())
}

/// An entry as the checks want it, without its body.
struct Read {
    conversation: ConversationId,
    client_msg_id: ClientMsgId,
    body_hash: u64,
    stored_at_ms: u64,
    row: EntryRow,
}

/// Whoever follows something is told every entry that a disk holds.
pub type Logged<'a> = Option<&'a mut dyn FnMut(Hop)>;

/// Reads all tables of a shard into the checks; the disk is empty afterwards.
///
/// # Errors
/// The database was opened and cannot be read to its end.
pub fn read_shard(disk: &Disk, seed: u64, checks: &mut Checks, logged: Logged<'_>) -> Result<(), AuditError> {
    let _account = Account::Audit.enter();
    let durable = disk.take_durable(seed);
    let device = durable.open();
    // A disk whose creation was never completed has served nobody. One that lost what it had holds nothing any more: whoever was acked will
    // be missed.
    if !device.is_created().map_err(failed)? || device.len().map_err(failed)? == 0 {
        return Ok(());
    }
    let database = match Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(device) {
        Ok(database) => database,
        Err(error) => {
            checks.audit_damage(format!("A shard's database cannot be opened: {error}."));
            return Ok(());
        }
    };
    let read = database.begin_read().map_err(failed)?;
    let meta = read.open_table(rows::META).map_err(failed)?;
    let format = meta.get("format").map_err(failed)?.map_or(0, |format| format.value());
    if format != rows::FORMAT {
        return Err(AuditError(format!("its format is {format}, and the audit reads {}", rows::FORMAT)));
    }
    let log = read_log(&read, checks, logged)?;
    let mut known = Pairs::default();
    {
        let mut log = log.into_iter().peekable();
        let mut parts = Parts::of(&read)?;
        // Conversation by conversation, each in the order of the disk, whatever its numbers say.
        loop {
            let next = [log.peek().map(|entry| entry.conversation), parts.next()?].into_iter().flatten().min();
            let Some(conversation) = next else { break };
            let mut tables = Tables { conversation, ..Tables::default() };
            parts.take(&mut tables, checks)?;
            let users: BTreeSet<UserId> = tables.members.iter().map(|row| row.user).collect();
            users.iter().for_each(|user| known.add(user.0, conversation.0));
            let _account = Account::Checks.enter();
            while let Some(entry) = log.next_if(|entry| entry.conversation == conversation) {
                checks.audit_entry(&AuditEntry {
                    conversation,
                    seq: entry.row.seq,
                    sender: entry.row.sender,
                    device: entry.row.device,
                    client_msg_id: entry.client_msg_id,
                    client_seq: entry.row.client_seq,
                    stored_at_ms: entry.stored_at_ms,
                    body_hash: entry.body_hash,
                    what: entry.row.what,
                    members: &entry.row.members,
                });
                tables.entries.push(entry.row);
            }
            checks.audit_tables(&tables);
        }
    }
    lists(&read, &known, checks)?;
    fences(&read, checks)?;
    for cursor in parts::cursors(&read)? {
        if let (conversation, Part::Cursor(user, cursors)) = cursor? {
            checks.audit_cursor(user, conversation, cursors);
        }
    }
    Ok(())
}

/// All entries, by conversation and then in the order of the disk.
fn read_log(read: &ReadTransaction, checks: &mut Checks, mut logged: Logged<'_>) -> Result<Vec<Read>, AuditError> {
    let mut log: Vec<Read> = Vec::new();
    let mut chains: FxHashMap<ConversationId, u64> = FxHashMap::default();
    let mut next = 0;
    for row in read.open_table(rows::ENTRIES).map_err(failed)?.iter().map_err(failed)? {
        let (key, row) = row.map_err(failed)?;
        let position = key.value();
        if position != next {
            checks.audit_damage(format!("A log has an entry at position {position}, and {next} was due."));
        }
        next = position + 1;
        match entry(position, row.value(), &mut chains, &mut logged) {
            Some(entry) => log.push(entry),
            None => {
                checks.audit_damage(format!("The entry at position {position} of a log is not as it was written."))
            }
        }
    }
    log.sort_by_key(|read| read.conversation);
    Ok(log)
}

fn entry(
    position: u64,
    row: &[u8],
    chains: &mut FxHashMap<ConversationId, u64>,
    logged: &mut Logged<'_>,
) -> Option<Read> {
    let value = rows::value("entries", &position.to_be_bytes(), row)?;
    let (bytes, chain) = rows::linked(value)?;
    let stored = rows::StoredEntry::decode(bytes).ok()?;
    let conversation = stored.conversation?.conversation();
    let before = chains.insert(conversation, chain).unwrap_or(0);
    let entry = stored.entry?;
    let (seq, sender, device) = (Seq(entry.seq), UserId(entry.sender), DeviceId(entry.device));
    let (client_msg_id, client_seq) = (entry.client_msg_id()?, ClientSeq(entry.client_seq));
    let (stored_at_ms, payload) = (entry.stored_at_ms, entry.payload()?);
    if let Some(tell) = logged {
        let extent = Extent::of(&payload);
        tell(Hop::Logged { device, conversation, client_msg_id, seq, stored_at_ms, extent });
    }
    let row = EntryRow {
        position,
        seq,
        sender,
        device,
        client_seq,
        what: What::of(&payload),
        body_hash: 0,
        chain,
        chain_holds: rows::chain(before, bytes) == chain,
        members: Box::default(),
    };
    let body_hash = payload_hash(&payload);
    let members = What::named(&payload).into();
    Some(Read {
        conversation,
        client_msg_id,
        body_hash,
        stored_at_ms,
        row: EntryRow { members, body_hash, ..row },
    })
}

/// A set of pairs of users and conversations, of which only the sum is kept; a difference is looked for when there is one.
#[derive(Default, PartialEq, Eq)]
struct Pairs {
    count: u64,
    sum: u64,
}

impl Pairs {
    fn add(&mut self, user: u64, conversation: u128) {
        self.count += 1;
        let conversation = mix(conversation as u64) ^ (conversation >> 64) as u64;
        self.sum = self.sum.wrapping_add(mix(mix(user) ^ conversation));
    }
}

/// The lists of users' conversations say the same as the member rows.
fn lists(read: &ReadTransaction, known: &Pairs, checks: &mut Checks) -> Result<(), AuditError> {
    let table = read.open_table(rows::MEMBERS).map_err(failed)?;
    let mut listed = Pairs::default();
    for stored in table.iter().map_err(failed)? {
        let (key, row) = stored.map_err(failed)?;
        let (user, id) = key.value();
        listed.add(user, id);
        let columns = [&user.to_be_bytes()[..], &id.to_be_bytes()].concat();
        if rows::value("members", &columns, row.value()).is_none_or(|value| !value.is_empty()) {
            checks.audit_damage(format!(
                "User {user}'s row of conversation {} is not as it was written.",
                ConversationId(id)
            ));
        }
    }
    if listed == *known {
        return Ok(());
    }
    let mut differing: BTreeSet<(u64, u128)> = BTreeSet::new();
    for stored in table.iter().map_err(failed)? {
        differing.insert(stored.map_err(failed)?.0.value());
    }
    let mut last = None;
    for stored in read.open_table(rows::CONVERSATIONS).map_err(failed)?.iter().map_err(failed)? {
        let (id, kind, user, _) = stored.map_err(failed)?.0.value();
        if kind == rows::MEMBER && last.replace((user, id)) != Some((user, id)) && !differing.remove(&(user, id)) {
            let conversation = ConversationId(id);
            checks.audit_damage(format!(
                "User {user} has a member row in conversation {conversation}, which is not in their list."
            ));
        }
    }
    for (user, id) in differing {
        let conversation = ConversationId(id);
        checks.audit_damage(format!(
            "Conversation {conversation} is in the list of user {user}, who has no member row in it."
        ));
    }
    Ok(())
}

/// Fences are as they were written. That they hold is told by what devices were refused and what the logs have.
fn fences(read: &ReadTransaction, checks: &mut Checks) -> Result<(), AuditError> {
    for stored in read.open_table(rows::FENCES).map_err(failed)?.iter().map_err(failed)? {
        let (key, row) = stored.map_err(failed)?;
        let (user, device) = key.value();
        let columns = [&user.to_be_bytes()[..], &device.to_be_bytes()].concat();
        if rows::value("fences", &columns, row.value()).is_none() {
            checks.audit_damage(format!(
                "The fence of device {} of user {user} is not as it was written.",
                DeviceId(device)
            ));
        }
    }
    Ok(())
}
