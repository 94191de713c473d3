//! The audit: what the shards' disks hold when all is over, read from the platters and not from the server's word.

use crate::disk::Disk;
use crate::memory::accounts::Account;
use squall_checks::{AuditEntry, Checks};
use squall_core::messages::Position;
use squall_history::{What, payload_hash};
use squall_protocol::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Payload, Seq, UserId};
use squall_server::net::BoxFuture;
use squall_server::storage::{Commit, CommitExecutor, NewEntry, RedbStorage, Storage, StorageError};
use std::sync::Arc;

/// Entries that are read at a time.
const CHUNK: usize = 16_384;
const CACHE_BYTES: usize = 32 << 20;

/// An audit writes nothing.
struct NoCommits;

impl CommitExecutor for NoCommits {
    fn run(&self, _: Commit) -> BoxFuture<'static, Result<(), StorageError>> {
        Box::pin(async { Err(StorageError::WriterGone) })
    }
}

/// An entry as the checks want it, without its body.
struct Read {
    conversation: ConversationId,
    position: Position,
    seq: Seq,
    sender: UserId,
    device: DeviceId,
    client_msg_id: ClientMsgId,
    client_seq: ClientSeq,
    body_hash: u64,
    what: What,
    members: Box<[UserId]>,
}

impl Read {
    fn of(new: NewEntry) -> Self {
        let (body_hash, what) = (payload_hash(&new.entry.payload), What::of(&new.entry.payload));
        Read {
            conversation: new.conversation,
            position: new.position,
            seq: new.entry.seq,
            sender: new.entry.sender,
            device: new.entry.device,
            client_msg_id: new.entry.client_msg_id,
            client_seq: new.entry.client_seq,
            body_hash,
            what,
            members: match new.entry.payload {
                Payload::Created { members, .. } => members.into(),
                _ => Box::default(),
            },
        }
    }
}

/// Reads a shard's durable log and cursors into the checks; the disk is empty afterwards.
pub fn read_shard(disk: &Disk, seed: u64, checks: &mut Checks) -> Result<(), StorageError> {
    let _account = Account::Audit.enter();
    let durable = disk.take_durable(seed);
    let device = durable.open();
    if !device.is_created().map_err(|error| StorageError::Open(error.to_string()))? {
        // Its creation was never completed: nobody was ever served from it.
        return Ok(());
    }
    let storage = match RedbStorage::open_backend(device, CACHE_BYTES, Arc::new(NoCommits)) {
        // What was there holds nothing any more: whoever was acked will be missed.
        Err(StorageError::Unusable(_)) => return Ok(()),
        opened => opened?,
    };
    let mut log: Vec<Read> = Vec::new();
    let mut next = 0;
    loop {
        let chunk = storage.rows_from(next, CHUNK)?;
        let Some((last, _)) = chunk.last() else { break };
        next = last + 1;
        for (_, entry) in chunk {
            log.push(Read::of(entry?));
        }
    }
    // Conversation by conversation, each in the order of the disk, whatever its numbers say.
    log.sort_unstable_by_key(|read| (read.conversation, read.position));
    let _account = Account::Checks.enter();
    for read in &log {
        checks.audit_entry(&AuditEntry {
            conversation: read.conversation,
            seq: read.seq,
            sender: read.sender,
            device: read.device,
            client_msg_id: read.client_msg_id,
            client_seq: read.client_seq,
            body_hash: read.body_hash,
            what: read.what,
            members: &read.members,
        });
    }
    for (device, conversation, up_to) in storage.cursors()? {
        checks.audit_cursor(device, conversation, up_to);
    }
    Ok(())
}
