//! Planted bugs: each a mistake that real systems have made, and the check that must catch it.
//!
//! A bug that lives at a seam is a decorator here, so that the system has no hook for it: [`storage`] around a shard's storage,
//! [`disk`] under its database. The others are hooks in `system/`, behind the feature `plants` of `squall-core`.
//!
//! **Invariant:** a process in which nothing is planted runs the same bytes as one that has no plants.

mod disk;
mod storage;
mod table;

pub use squall_core::plant::Plant;
pub use table::{BUGS, Bug, find};

use crate::disk::Backend;
use disk::WriteBehind;
use squall_core::plant::planted;
use squall_server::storage::{CommitExecutor, RedbStorage, Storage, StorageError};
use std::sync::Arc;
use storage::PlantedStorage;

/// Opens a shard's database, on a disk that forgets to sync if that is planted.
pub(crate) fn open_redb(
    disk: Backend,
    cache_bytes: usize,
    executor: Arc<dyn CommitExecutor>,
) -> Result<RedbStorage, StorageError> {
    if planted(Plant::CommitWithoutSync) {
        let disk = WriteBehind::new(disk).map_err(|error| StorageError::Open(error.to_string()))?;
        return RedbStorage::open_backend(disk, cache_bytes, executor);
    }
    RedbStorage::open_backend(disk, cache_bytes, executor)
}

/// The storage as the shard gets it: with the planted bug, if that lives in the storage.
pub(crate) fn decorate(storage: impl Storage + 'static) -> Arc<dyn Storage> {
    if storage::LIVE_HERE.into_iter().any(planted) {
        return Arc::new(PlantedStorage::new(storage));
    }
    Arc::new(storage)
}
