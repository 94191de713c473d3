//! The embedded default: redb.
//!
//! Bodies lie in append order, so that a commit writes few pages; one row a conversation holds everything else, with
//! the positions of its last entries, and full chunks of positions move to an index. A commit is one transaction with
//! redb's `Durability::Immediate`: it returns after the file has been synced.
//!
//! **Invariant:** opening never creates, and changes nothing of what it refuses. Guarded by `server/tests/openings.rs`.

use super::codec::{decode_conversation, decode_entry, decode_row, encode_conversation, encode_entry};
use super::doubt::Doubt;
use super::executor::CommitExecutor;
use super::interface::{Batch, FORMAT, Found, NewEntry, Recovered, Row, Storage, StorageError};
use crate::net::BoxFuture;
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition, TableError,
};
use rustc_hash::FxHashMap;
use squall_core::messages::{Conversation, Position};
use squall_core::plant::{Plant, planted};
use squall_protocol::limits::INDEX_CHUNK;
use squall_protocol::wire::log::ConversationRow;
use squall_protocol::{ConversationId, DeviceId, Entry, Seq, UserId};
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;

const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const CONVERSATIONS: TableDefinition<u128, &[u8]> = TableDefinition::new("conversations");
/// (conversation, chunk) → the positions of `INDEX_CHUNK` entries, eight bytes each, little endian.
const INDEX: TableDefinition<(u128, u64), &[u8]> = TableDefinition::new("index");
const MEMBERS: TableDefinition<(u64, u128), ()> = TableDefinition::new("members");
/// Ordered by conversation first: the devices of one conversation share a page.
const CURSORS: TableDefinition<(u128, u64), u64> = TableDefinition::new("cursors");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const DISPATCHED: &str = "dispatched";
/// The number of the format, written at the creation and read before anything else.
const FORMAT_ROW: &str = "format";

/// A shard's database.
pub struct RedbStorage {
    database: Arc<Database>,
    executor: Arc<dyn CommitExecutor>,
}

fn failed(error: impl Into<redb::Error>) -> StorageError {
    match error.into() {
        // Only who asks for this page meets it; after an error of the file redb answers nobody any more.
        redb::Error::Corrupted(what) => StorageError::Corrupt { table: "pages", row: what },
        error => StorageError::Database(error.to_string()),
    }
}

/// Why a database was not opened.
fn not_opened(error: DatabaseError) -> StorageError {
    match error {
        DatabaseError::Storage(redb::StorageError::Corrupted(what)) => {
            StorageError::Unusable(Found::Damaged(what))
        }
        DatabaseError::Storage(redb::StorageError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            StorageError::Unusable(Found::Damaged(format!("cut off: {error}")))
        }
        DatabaseError::UpgradeRequired(version) => {
            StorageError::Unusable(Found::Foreign(format!("a file of redb's old format {version}")))
        }
        other => StorageError::Open(other.to_string()),
    }
}

/// The nine bytes with which every file of redb begins.
const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";

/// Opens what is there, and creates nothing.
fn open(backend: impl StorageBackend, cache_bytes: usize) -> Result<Database, StorageError> {
    let unread = |error: io::Error| StorageError::Open(error.to_string());
    let mut first = vec![0; backend.len().map_err(unread)?.min(MAGIC.len() as u64) as usize];
    if first.is_empty() {
        return Err(StorageError::Unusable(Found::Empty));
    }
    backend.read(0, &mut first).map_err(unread)?;
    if first != MAGIC {
        let found = format!("a file that begins with \"{}\"", first.escape_ascii());
        return Err(StorageError::Unusable(Found::Foreign(found)));
    }
    // The one way to give redb a backend of one's own. It creates in an empty one only, and this one is not.
    let database = Database::builder().set_cache_size(cache_bytes).create_with_backend(backend);
    let database = database.map_err(not_opened)?;
    let read = database.begin_read().map_err(failed)?;
    match read.open_table(META) {
        Ok(meta) => match meta.get(FORMAT_ROW).map_err(failed)?.map_or(0, |format| format.value()) {
            FORMAT => {}
            older @ ..FORMAT => return Err(StorageError::Unusable(Found::Older(older))),
            newer => return Err(StorageError::Unusable(Found::Newer(newer))),
        },
        Err(TableError::TableDoesNotExist(_)) => {
            return Err(StorageError::Unusable(Found::Foreign("a database of redb without our tables".into())));
        }
        Err(error) => return Err(failed(error)),
    }
    drop(read);
    Ok(database)
}

/// Creates a database with its tables, durably, in place of whatever an interrupted creation has left: redb 4.5 sets the length
/// before it writes its magic number, and refuses such a file for ever.
fn create(backend: impl StorageBackend, cache_bytes: usize) -> Result<Database, StorageError> {
    let emptied = backend.len().and_then(|len| if len > 0 { backend.set_len(0) } else { Ok(()) });
    emptied.map_err(|error| StorageError::Open(error.to_string()))?;
    let database = Database::builder().set_cache_size(cache_bytes).create_with_backend(backend);
    let database = database.map_err(not_opened)?;
    let write = database.begin_write().map_err(failed)?;
    write.open_table(ENTRIES).map_err(failed)?;
    write.open_table(CONVERSATIONS).map_err(failed)?;
    write.open_table(INDEX).map_err(failed)?;
    write.open_table(MEMBERS).map_err(failed)?;
    write.open_table(CURSORS).map_err(failed)?;
    write.open_table(META).map_err(failed)?.insert(FORMAT_ROW, FORMAT).map_err(failed)?;
    write.commit().map_err(failed)?;
    Ok(database)
}

fn file_backend(options: &OpenOptions, path: &Path) -> Result<FileBackend, StorageError> {
    let file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StorageError::Unusable(Found::Missing),
        _ => StorageError::Open(error.to_string()),
    })?;
    FileBackend::new(file).map_err(not_opened)
}

impl RedbStorage {
    /// Creates a database in a file, in place of what an interrupted creation has left there, and closes it. It is durable,
    /// but for its name in the directory.
    pub fn create_file(path: &Path) -> Result<(), StorageError> {
        let backend = file_backend(OpenOptions::new().read(true).write(true).create(true).truncate(true), path)?;
        create(backend, 0)?.close().map_err(not_opened)
    }

    /// Whether the database in this file, which must be one, has never had a message.
    pub fn is_empty_file(path: &Path) -> Result<bool, StorageError> {
        let database = open(file_backend(OpenOptions::new().read(true).write(true), path)?, 0)?;
        let read = database.begin_read().map_err(failed)?;
        read.open_table(ENTRIES).map_err(failed)?.is_empty().map_err(failed)
    }

    /// Opens the database in a file; creates none. `doubt` is what this process knows of the file; `cache_bytes` bounds redb's
    /// cache.
    pub fn open_file(
        path: &Path,
        doubt: &Doubt,
        cache_bytes: usize,
        executor: Arc<dyn CommitExecutor>,
    ) -> Result<Self, StorageError> {
        let file = doubt.settle(file_backend(OpenOptions::new().read(true).write(true), path)?);
        Self::open_backend(file.map_err(|error| StorageError::Open(error.to_string()))?, cache_bytes, executor)
    }

    /// Opens the database on any block device; creates none.
    pub fn open_backend(
        backend: impl StorageBackend,
        cache_bytes: usize,
        executor: Arc<dyn CommitExecutor>,
    ) -> Result<Self, StorageError> {
        Ok(RedbStorage { database: Arc::new(open(backend, cache_bytes)?), executor })
    }

    /// Creates a database on any block device, in place of what an interrupted creation has left there.
    pub fn create_backend(
        backend: impl StorageBackend,
        cache_bytes: usize,
        executor: Arc<dyn CommitExecutor>,
    ) -> Result<Self, StorageError> {
        Ok(RedbStorage { database: Arc::new(create(backend, cache_bytes)?), executor })
    }

    fn row(&self, id: ConversationId) -> Result<Option<ConversationRow>, StorageError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(CONVERSATIONS).map_err(failed)?;
        let Some(bytes) = table.get(id.0).map_err(failed)? else { return Ok(None) };
        decode_row(id, bytes.value()).map(Some)
    }

    /// The positions of entries `from..=to`, which must exist.
    fn positions(
        &self,
        id: ConversationId,
        row: &ConversationRow,
        from: Seq,
        to: Seq,
    ) -> Result<Vec<Position>, StorageError> {
        let tail_start = row.head - row.tail.len() as u64 + 1;
        let read = self.database.begin_read().map_err(failed)?;
        let index = read.open_table(INDEX).map_err(failed)?;
        let mut positions = Vec::new();
        let mut seq = from.0;
        while seq <= to.0.min(row.head) {
            if seq >= tail_start {
                positions.push(row.tail[(seq - tail_start) as usize]);
                seq += 1;
                continue;
            }
            let chunk = (seq - 1) / INDEX_CHUNK as u64;
            let corrupt = || StorageError::Corrupt { table: "index", row: format!("{id}/{chunk}") };
            let bytes = index.get((id.0, chunk)).map_err(failed)?.ok_or_else(corrupt)?;
            let first = ((seq - 1) % INDEX_CHUNK as u64) as usize;
            if bytes.value().len() != 8 * INDEX_CHUNK {
                return Err(corrupt());
            }
            for position in bytes.value().chunks_exact(8).skip(first) {
                if seq > to.0 {
                    break;
                }
                positions.push(u64::from_le_bytes(position.try_into().map_err(|_| corrupt())?));
                seq += 1;
            }
        }
        Ok(positions)
    }

    fn entry_at(&self, position: Position) -> Result<NewEntry, StorageError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(ENTRIES).map_err(failed)?;
        let bytes = table
            .get(position)
            .map_err(failed)?
            .ok_or_else(|| StorageError::Corrupt { table: "entries", row: position.to_string() })?;
        decode_entry(position, bytes.value())
    }
}

/// Runs the whole batch in one transaction and syncs.
fn commit(database: &Database, batch: &Batch) -> Result<(), StorageError> {
    let write = database.begin_write().map_err(failed)?;
    {
        let mut entries = write.open_table(ENTRIES).map_err(failed)?;
        let mut positions: FxHashMap<ConversationId, Vec<Position>> = FxHashMap::default();
        for new in &batch.entries {
            positions.entry(new.conversation).or_default().push(new.position);
            entries.insert(new.position, encode_entry(new).as_slice()).map_err(failed)?;
        }
        let mut conversations = write.open_table(CONVERSATIONS).map_err(failed)?;
        let mut index = write.open_table(INDEX).map_err(failed)?;
        for conversation in &batch.conversations {
            let id = conversation.id();
            let mut tail = match conversations.get(id.0).map_err(failed)? {
                Some(bytes) => decode_row(id, bytes.value())?.tail,
                None => Vec::new(),
            };
            tail.append(positions.get_mut(&id).ok_or_else(|| StorageError::Corrupt {
                table: "conversations",
                row: format!("{id}: a batch names it without an entry"),
            })?);
            let mut first_chunk = (conversation.head().0 - tail.len() as u64) / INDEX_CHUNK as u64;
            while tail.len() >= INDEX_CHUNK {
                let chunk: Vec<u8> = tail.drain(..INDEX_CHUNK).flat_map(u64::to_le_bytes).collect();
                index.insert((id.0, first_chunk), chunk.as_slice()).map_err(failed)?;
                first_chunk += 1;
            }
            conversations.insert(id.0, encode_conversation(conversation, tail).as_slice()).map_err(failed)?;
        }
        if !batch.members.is_empty() {
            let mut members = write.open_table(MEMBERS).map_err(failed)?;
            for (user, conversation) in &batch.members {
                members.insert((user.0, conversation.0), ()).map_err(failed)?;
            }
        }
        if !batch.cursors.is_empty() {
            let mut cursors = write.open_table(CURSORS).map_err(failed)?;
            for (device, conversation, seq) in &batch.cursors {
                let key = (conversation.0, device.0);
                let stored = cursors.get(key).map_err(failed)?.map_or(0, |v| v.value());
                if seq.0 > stored || planted(Plant::ReceiptGoesBack) {
                    cursors.insert(key, seq.0).map_err(failed)?;
                }
            }
        }
        if let Some(dispatched) = batch.dispatched {
            write.open_table(META).map_err(failed)?.insert(DISPATCHED, dispatched).map_err(failed)?;
        }
    }
    write.commit().map_err(failed)
}

impl Storage for RedbStorage {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StorageError>> {
        let database = Arc::clone(&self.database);
        self.executor.run(Box::new(move || commit(&database, &batch)))
    }

    fn recovered(&self) -> Result<Recovered, StorageError> {
        let read = self.database.begin_read().map_err(failed)?;
        let entries = read.open_table(ENTRIES).map_err(failed)?;
        let next_position = entries.last().map_err(failed)?.map_or(0, |(position, _)| position.value() + 1);
        let meta = read.open_table(META).map_err(failed)?;
        let dispatched = meta.get(DISPATCHED).map_err(failed)?.map_or(0, |v| v.value());
        Ok(Recovered { next_position, dispatched })
    }

    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StorageError> {
        let Some(row) = self.row(id)? else { return Ok(None) };
        let index = row.clone();
        decode_conversation(id, row, |seq| {
            let positions = self.positions(id, &index, seq, seq)?;
            let position = *positions
                .first()
                .ok_or_else(|| StorageError::Corrupt { table: "index", row: format!("{id}/{seq}") })?;
            Ok(self.entry_at(position)?.entry.client_msg_id)
        })
        .map(Some)
    }

    fn entries(
        &self,
        id: ConversationId,
        from: Seq,
        to: Seq,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let Some(row) = self.row(id)? else { return Ok(Vec::new()) };
        let to = Seq(to.0.min(from.0.saturating_add(max_entries as u64).saturating_sub(1)));
        let positions = self.positions(id, &row, from, to)?;
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(ENTRIES).map_err(failed)?;
        let (mut entries, mut bytes) = (Vec::with_capacity(positions.len()), 0);
        for position in positions {
            let row = table
                .get(position)
                .map_err(failed)?
                .ok_or_else(|| StorageError::Corrupt { table: "entries", row: position.to_string() })?;
            bytes += row.value().len();
            entries.push(decode_entry(position, row.value())?.entry);
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(entries)
    }

    fn rows_from(&self, position: Position, max: usize) -> Result<Vec<Row>, StorageError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(ENTRIES).map_err(failed)?;
        let mut rows = Vec::new();
        for row in table.range(position..).map_err(failed)?.take(max) {
            let (position, bytes) = row.map_err(failed)?;
            let position = position.value();
            rows.push((position, decode_entry(position, bytes.value())));
        }
        Ok(rows)
    }

    fn knows(&self, id: ConversationId, user: UserId) -> Result<bool, StorageError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(MEMBERS).map_err(failed)?;
        Ok(table.get((user.0, id.0)).map_err(failed)?.is_some())
    }

    fn conversations_of(&self, user: UserId) -> Result<Vec<ConversationId>, StorageError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(MEMBERS).map_err(failed)?;
        let rows = table.range((user.0, 0)..=(user.0, u128::MAX)).map_err(failed)?;
        rows.map(|row| row.map(|(key, _)| ConversationId(key.value().1)).map_err(failed)).collect()
    }

    fn cursors_of(&self, pairs: &[(DeviceId, ConversationId)]) -> Result<Vec<Seq>, StorageError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(CURSORS).map_err(failed)?;
        let stored = |(device, conversation): &(DeviceId, ConversationId)| {
            let row = table.get((conversation.0, device.0)).map_err(failed)?;
            Ok(row.map_or(Seq::ZERO, |seq| Seq(seq.value())))
        };
        pairs.iter().map(stored).collect()
    }

    fn cursors(&self) -> Result<Vec<(DeviceId, ConversationId, Seq)>, StorageError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(CURSORS).map_err(failed)?;
        table
            .iter()
            .map_err(failed)?
            .map(|row| {
                let (key, seq) = row.map_err(failed)?;
                let (conversation, device) = key.value();
                Ok((DeviceId(device), ConversationId(conversation), Seq(seq.value())))
            })
            .collect()
    }
}
