//! A commit: one transaction that writes what has changed, and nothing else.
//!
//! **Invariant:** a batch goes on where the disk stands: the entries of a log follow on its head, and on its chain. Guarded by
//! `server/tests/storage.rs`.

use super::codec::{
    decode, decode_cursors, encode, encode_cursors, encode_entry, encode_fence, encode_numbers, encode_stretch,
};
use super::interface::{Batch, StorageError};
use super::redb::failed;
use super::seal::{Key, seal};
use super::tables::{
    CONVERSATIONS, CURSORS, ConversationKey, DISPATCHED, ENTRIES, FENCES, INDEX, MARKS, MEMBERS, SENT, head_key,
    member_key, sender_key,
};
use redb::{Database, ReadableTable, Table, WriteTransaction};
use rustc_hash::FxHashMap;
use squall_core::messages::{LogDelta, SenderDelta};
use squall_core::plant::{Plant, planted};
use squall_protocol::limits::{DEDUP_WINDOW, INDEX_CHUNK, SENT_CHUNK};
use squall_protocol::wire::log::{ConversationRow, SenderRow};
use squall_protocol::{ConversationId, Cursors, Seq};

type Conversations<'t> = Table<'t, ConversationKey, &'static [u8]>;

/// Runs the whole batch in one transaction and syncs.
pub fn commit(database: &Database, batch: &Batch) -> Result<(), StorageError> {
    let write = database.begin_write().map_err(failed)?;
    if !batch.logs.is_empty() {
        write_logs(&write, batch)?;
    }
    if !batch.fences.is_empty() {
        let mut fences = write.open_table(FENCES).map_err(failed)?;
        for (user, device, fence) in &batch.fences {
            let row = encode_fence(*user, *device, fence);
            fences.insert((user.0, device.0), row.as_slice()).map_err(failed)?;
        }
    }
    write_cursors(&write, batch)?;
    if let Some(dispatched) = batch.dispatched {
        let row = encode_numbers(Key::Mark(DISPATCHED), [dispatched]);
        write.open_table(MARKS).map_err(failed)?.insert(DISPATCHED, row.as_slice()).map_err(failed)?;
    }
    write.commit().map_err(failed)
}

fn write_logs(write: &WriteTransaction, batch: &Batch) -> Result<(), StorageError> {
    let mut conversations = write.open_table(CONVERSATIONS).map_err(failed)?;
    let mut rows: FxHashMap<ConversationId, ConversationRow> = FxHashMap::default();
    for log in &batch.logs {
        let row = match conversations.get(head_key(log.id)).map_err(failed)? {
            Some(bytes) => decode(Key::Conversation(log.id), bytes.value())?,
            None => ConversationRow::default(),
        };
        rows.insert(log.id, row);
    }
    let mut entries = write.open_table(ENTRIES).map_err(failed)?;
    for new in &batch.entries {
        let row = rows.get_mut(&new.conversation).ok_or_else(|| does_not_follow(new.conversation))?;
        if new.entry.seq != Seq(row.head).next() {
            if !planted(Plant::SequenceReusedAfterCrash) {
                return Err(does_not_follow(new.conversation));
            }
            row.tail.truncate(new.entry.seq.0.saturating_sub(1) as usize % INDEX_CHUNK);
        }
        let (bytes, chain) = encode_entry(new, row.chain);
        entries.insert(new.position, bytes.as_slice()).map_err(failed)?;
        (row.head, row.chain) = (new.entry.seq.0, chain);
        row.tail.push(new.position);
    }
    drop(entries);
    // A table that is opened is written, and most commits change nobody's membership.
    let changes = batch.logs.iter().any(|log| !log.changed.is_empty());
    let mut users = if changes { Some(write.open_table(MEMBERS).map_err(failed)?) } else { None };
    for log in &batch.logs {
        let row = rows.remove(&log.id).ok_or_else(|| does_not_follow(log.id))?;
        write_head(write, &mut conversations, log, row)?;
        for stretch in &log.changed {
            let key = member_key(log.id, stretch.user, stretch.joined);
            conversations.insert(key, encode_stretch(log.id, stretch).as_slice()).map_err(failed)?;
            let named = seal(Key::UserConversation(stretch.user, log.id), Vec::new());
            if let Some(users) = &mut users {
                users.insert((stretch.user.0, log.id.0), named.as_slice()).map_err(failed)?;
            }
        }
        let written = !(planted(Plant::ChangeSkipsSenderRow) && !log.changed.is_empty() && log.head > Seq(1));
        for sender in log.senders.iter().filter(|_| written) {
            write_sender(write, &mut conversations, log.id, sender)?;
        }
    }
    Ok(())
}

fn write_head(
    write: &WriteTransaction,
    conversations: &mut Conversations<'_>,
    log: &LogDelta,
    mut row: ConversationRow,
) -> Result<(), StorageError> {
    if row.head != log.head.0 {
        return Err(does_not_follow(log.id));
    }
    (row.direct, row.present, row.stretches) = (log.direct, log.present, log.stretches);
    row.channel_since = log.regime.0.0;
    if !planted(Plant::SettingLostByRecovery) || !log.changed.is_empty() {
        row.settings = log.settings.bits();
    }
    row.blocked = log.blocked.bits();
    if let Some(name) = &log.name {
        row.name.clone_from(name);
    }
    if row.tail.len() >= INDEX_CHUNK {
        let mut index = write.open_table(INDEX).map_err(failed)?;
        let mut chunk = row.head.saturating_sub(row.tail.len() as u64) / INDEX_CHUNK as u64;
        while row.tail.len() >= INDEX_CHUNK {
            let positions = encode_numbers(Key::Index(log.id, chunk), row.tail.drain(..INDEX_CHUNK));
            index.insert((log.id.0, chunk), positions.as_slice()).map_err(failed)?;
            chunk += 1;
        }
    }
    let bytes = encode(Key::Conversation(log.id), &row);
    conversations.insert(head_key(log.id), bytes.as_slice()).map_err(failed)?;
    Ok(())
}

fn write_sender(
    write: &WriteTransaction,
    conversations: &mut Conversations<'_>,
    id: ConversationId,
    sender: &SenderDelta,
) -> Result<(), StorageError> {
    let (key, (user, device)) = (Key::Sender(id, sender.who), sender.who);
    let stored = match conversations.get(sender_key(id, sender.who)).map_err(failed)? {
        Some(bytes) => decode::<SenderRow>(key, bytes.value())?.places,
        None => Vec::new(),
    };
    let mut row = SenderRow {
        next_client_seq: sender.next_client_seq.0,
        connect_count: sender.connect_count,
        places: stored,
    };
    row.places.extend(sender.places.iter().map(|place| place.0));
    // A full chunk goes once as many as are known by heart stay behind.
    if row.places.len() >= SENT_CHUNK + DEDUP_WINDOW {
        let mut sent = write.open_table(SENT).map_err(failed)?;
        let first = row.next_client_seq.saturating_sub(1 + row.places.len() as u64);
        let mut chunk = first / SENT_CHUNK as u64;
        while row.places.len() >= SENT_CHUNK + DEDUP_WINDOW {
            let places = encode_numbers(Key::Sent(id, sender.who, chunk), row.places.drain(..SENT_CHUNK));
            sent.insert((id.0, user.0, device.0, chunk), places.as_slice()).map_err(failed)?;
            chunk += 1;
        }
    }
    let bytes = encode(key, &row);
    conversations.insert(sender_key(id, sender.who), bytes.as_slice()).map_err(failed)?;
    Ok(())
}

/// A cursor never goes back. One that cannot be read is written anew.
fn write_cursors(write: &WriteTransaction, batch: &Batch) -> Result<(), StorageError> {
    if batch.cursors.is_empty() {
        return Ok(());
    }
    let mut cursors = write.open_table(CURSORS).map_err(failed)?;
    for (user, conversation, moved) in &batch.cursors {
        let key = (conversation.0, user.0);
        let stored = match cursors.get(key).map_err(failed)? {
            Some(row) => decode_cursors(*conversation, *user, row.value()).unwrap_or_default(),
            None => Cursors::default(),
        };
        let further = if planted(Plant::ReceiptGoesBack) { *moved } else { stored.or_further(*moved) };
        let is_news = further != stored;
        if is_news && !(planted(Plant::ReadAloneNotWritten) && further.delivered == stored.delivered) {
            let row = encode_cursors(*conversation, *user, further);
            cursors.insert(key, row.as_slice()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Memory and disk disagree about this log. The commit fails, and memory is built anew from the disk.
fn does_not_follow(id: ConversationId) -> StorageError {
    StorageError::DoesNotFollow { conversation: id }
}
