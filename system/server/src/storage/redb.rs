//! The embedded default: redb.
//!
//! Bodies lie in append order, so that a commit writes few pages; what changes with every message lies together in one table
//! (`tables`). A commit is one transaction (`write`) with redb's `Durability::Immediate`: it returns after the file has been
//! synced. `reader` is what is read of it.
//!
//! **Invariant:** opening never creates, and changes nothing of what it refuses. Guarded by `server/tests/openings.rs`.

use super::doubt::Doubt;
use super::executor::CommitExecutor;
use super::interface::{Batch, FORMAT, Found, Recovered, Row, Storage, StorageError};
use super::reader::Reader;
use super::snapshot::Snapshot;
use super::tables::{self, FORMAT_ROW, META};
use super::write::commit;
use crate::net::BoxFuture;
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTableMetadata, StorageBackend, TableError};
use squall_core::messages::{Conversation, Fence, Position, Sender, Standing};
use squall_protocol::{ClientSeq, ConversationId, Cursors, DeviceId, Entry, Seq, UserId, Who};
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A shard's database.
pub struct RedbStorage {
    snapshot: Arc<Snapshot>,
    database: Arc<Database>,
    executor: Arc<dyn CommitExecutor>,
}

pub fn failed(error: impl Into<redb::Error>) -> StorageError {
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
    tables::create(&write).map_err(failed)?;
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
        read.open_table(tables::ENTRIES).map_err(failed)?.is_empty().map_err(failed)
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
        Ok(RedbStorage::new(open(backend, cache_bytes)?, executor))
    }

    /// Creates a database on any block device, in place of what an interrupted creation has left there.
    pub fn create_backend(
        backend: impl StorageBackend,
        cache_bytes: usize,
        executor: Arc<dyn CommitExecutor>,
    ) -> Result<Self, StorageError> {
        Ok(RedbStorage::new(create(backend, cache_bytes)?, executor))
    }

    fn new(database: Database, executor: Arc<dyn CommitExecutor>) -> Self {
        RedbStorage { snapshot: Arc::default(), database: Arc::new(database), executor }
    }

    fn read(&self) -> Result<Arc<Reader>, StorageError> {
        self.snapshot.of(&self.database)
    }
}

impl Storage for RedbStorage {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StorageError>> {
        let (database, snapshot) = (Arc::clone(&self.database), Arc::clone(&self.snapshot));
        self.executor.run(Box::new(move || {
            snapshot.forget();
            let committed = commit(&database, &batch);
            snapshot.forget();
            committed
        }))
    }

    fn recovered(&self) -> Result<Recovered, StorageError> {
        self.read()?.recovered()
    }

    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StorageError> {
        self.read()?.conversation(id)
    }

    fn sender(&self, id: ConversationId, who: Who) -> Result<Option<Sender>, StorageError> {
        self.read()?.sender(id, who)
    }

    fn numbered(&self, id: ConversationId, who: Who, number: ClientSeq) -> Result<Option<Entry>, StorageError> {
        self.read()?.numbered(id, who, number)
    }

    fn fence(&self, user: UserId, device: DeviceId) -> Result<Option<Fence>, StorageError> {
        self.read()?.fence(user, device)
    }

    fn fenced(&self) -> Result<Vec<(UserId, DeviceId)>, StorageError> {
        self.read()?.fenced()
    }

    fn standing(&self, id: ConversationId, user: UserId) -> Result<Option<Standing>, StorageError> {
        self.read()?.standing(id, user)
    }

    fn entries(
        &self,
        id: ConversationId,
        from: Seq,
        to: Seq,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read()?.entries(id, from, to, max_entries, max_bytes)
    }

    fn rows_from(&self, position: Position, max: usize) -> Result<Vec<Row>, StorageError> {
        self.read()?.rows_from(position, max)
    }

    fn knows(&self, id: ConversationId, user: UserId) -> Result<bool, StorageError> {
        self.read()?.knows(id, user)
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        max: usize,
    ) -> Result<Vec<ConversationId>, StorageError> {
        self.read()?.conversations_of(user, after, max)
    }

    fn cursors_of(&self, pairs: &[(UserId, ConversationId)]) -> Result<Vec<Cursors>, StorageError> {
        self.read()?.cursors_of(pairs)
    }

    fn cursors_in(&self, id: ConversationId) -> Result<Vec<(UserId, Cursors)>, StorageError> {
        self.read()?.cursors_in(id)
    }

    fn cursors(&self) -> Result<Vec<(UserId, ConversationId, Cursors)>, StorageError> {
        self.read()?.cursors()
    }
}
