//! The audit: what the shards' disks hold when all is over, read from the platters and not from the server's word.

use crate::accounts::Account;
use crate::disk::Disk;
use squall_checks::{AuditEntry, Checks};
use squall_generators::fleet::{payload_hash, what};
use squall_protocol::{ConversationId, Payload};
use squall_server::net::BoxFuture;
use squall_server::storage::{Commit, CommitLane, NewEntry, RedbStorage, Storage, StorageError};
use std::sync::Arc;

/// Entries that are read at a time.
const CHUNK: usize = 16_384;
const CACHE_BYTES: usize = 32 << 20;

/// An audit writes nothing.
struct NoCommits;

impl CommitLane for NoCommits {
    fn run(&self, _: Commit) -> BoxFuture<'static, Result<(), StorageError>> {
        Box::pin(async { Err(StorageError::WriterGone) })
    }
}

/// Reads a shard's durable log and cursors into the checks; the disk is empty afterwards.
pub fn read_shard(disk: &Disk, seed: u64, checks: &mut Checks) -> Result<(), StorageError> {
    let _account = Account::Audit.enter();
    let durable = disk.take_durable(seed);
    let storage = RedbStorage::open_backend(durable.open(), CACHE_BYTES, Arc::new(NoCommits))?;
    let mut places: Vec<(ConversationId, u64)> = Vec::new();
    let mut next = 0;
    loop {
        let chunk = storage.entries_from(next, CHUNK)?;
        let Some(last) = chunk.last() else { break };
        next = last.position + 1;
        places.extend(chunk.iter().map(|new| (new.conversation, new.position)));
    }
    // Conversation by conversation, each in the order of the disk, whatever its numbers say.
    places.sort_unstable();
    for (_, position) in places {
        for new in storage.entries_from(position, 1)? {
            audit_entry(&new, checks);
        }
    }
    for (device, conversation, up_to) in storage.cursors()? {
        checks.audit_cursor(device, conversation, up_to);
    }
    Ok(())
}

fn audit_entry(new: &NewEntry, checks: &mut Checks) {
    let entry = &new.entry;
    let members = match &entry.payload {
        Payload::Created { members, .. } => members.as_slice(),
        _ => &[],
    };
    let _account = Account::Checks.enter();
    checks.audit_entry(&AuditEntry {
        conversation: new.conversation,
        seq: entry.seq,
        sender: entry.sender,
        device: entry.device,
        client_msg_id: entry.client_msg_id,
        client_seq: entry.client_seq,
        body_hash: payload_hash(&entry.payload),
        what: what(&entry.payload),
        members,
    });
}
