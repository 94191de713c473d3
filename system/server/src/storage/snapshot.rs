//! The database as it stands between two commits, opened once for all who read it meanwhile.
//!
//! **Invariants:** whoever begins to read after a commit has returned sees it: a snapshot is taken and forgotten under one lock, and
//! forgotten when a commit is over. No snapshot is kept while a commit runs but those in use, so that the pages that it replaces
//! are free for the next one. Guarded by `server/tests/storage.rs`.

use super::interface::StorageError;
use super::reader::Reader;
use super::redb::failed;
use redb::{Database, ReadableDatabase};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The snapshot of a database, if there is one.
#[derive(Default)]
pub struct Snapshot(Mutex<Option<Arc<Reader>>>);

impl Snapshot {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Reader>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is to read now.
    pub fn of(&self, database: &Database) -> Result<Arc<Reader>, StorageError> {
        let mut kept = self.lock();
        if let Some(reader) = &*kept {
            return Ok(Arc::clone(reader));
        }
        let reader = Arc::new(Reader::new(database.begin_read().map_err(failed)?));
        *kept = Some(Arc::clone(&reader));
        Ok(reader)
    }

    /// A commit begins or is over.
    pub fn forget(&self) {
        // Dropped after the lock: it gives back what the database kept for it.
        let forgotten = self.lock().take();
        drop(forgotten);
    }
}
