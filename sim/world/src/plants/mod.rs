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

use crate::disk::Disk;
use disk::WriteBehind;
use squall_core::plant::planted;
use squall_server::storage::{CommitExecutor, RedbStorage, Storage, StorageError};
use std::sync::Arc;
use storage::PlantedStorage;

/// A shard's database: opened where its creation was completed, created where it was not. On a disk that forgets to sync if that
/// is planted.
pub(crate) fn open_redb(
    disk: &Disk,
    cache_bytes: usize,
    executor: Arc<dyn CommitExecutor>,
) -> Result<RedbStorage, StorageError> {
    let failed = |error: std::io::Error| StorageError::Open(error.to_string());
    let (device, owner) = (disk.open(), disk.open());
    let exists = owner.is_created().map_err(failed)?;
    let storage = match (planted(Plant::CommitWithoutSync), exists) {
        (false, true) => RedbStorage::open_backend(device, cache_bytes, executor)?,
        (false, false) => RedbStorage::create_backend(device, cache_bytes, executor)?,
        (true, true) => {
            RedbStorage::open_backend(WriteBehind::new(device).map_err(failed)?, cache_bytes, executor)?
        }
        (true, false) => {
            RedbStorage::create_backend(WriteBehind::new(device).map_err(failed)?, cache_bytes, executor)?
        }
    };
    if !exists && !planted(Plant::CreationNotRecorded) {
        owner.mark_created().map_err(failed)?;
    }
    Ok(storage)
}

/// The storage as the shard gets it: with the planted bug, if that lives in the storage.
pub(crate) fn decorate(storage: impl Storage + 'static) -> Arc<dyn Storage> {
    if storage::LIVE_HERE.into_iter().any(planted) {
        return Arc::new(PlantedStorage::new(storage));
    }
    Arc::new(storage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{CutPoint, DiskConfig};
    use redb::StorageBackend;
    use squall_server::net::BoxFuture;
    use squall_server::storage::{Commit, Found};

    /// Commits here and now.
    struct Here;

    impl CommitExecutor for Here {
        fn run(&self, commit: Commit) -> BoxFuture<'static, Result<(), StorageError>> {
            let done = commit();
            Box::pin(async { done })
        }
    }

    fn open(disk: &Disk) -> Result<RedbStorage, StorageError> {
        open_redb(disk, 1 << 20, Arc::new(Here))
    }

    fn restart(disk: &Disk) {
        disk.power_loss();
        disk.process_started();
    }

    #[test]
    fn a_creation_that_a_power_cut_interrupts_anywhere_is_begun_anew() {
        let config = DiskConfig { survive_share: 0.5, tear: true, ..DiskConfig::default() };
        let mut struck = 0;
        for (seed, point) in (1..60).flat_map(|nth| [(nth, CutPoint::Write(nth)), (nth, CutPoint::Sync(nth))]) {
            let disk = Disk::new(seed, config);
            let cut = disk.cut_power_at(point);
            struck += u32::from(open(&disk).is_err());
            disk.disarm(cut);
            restart(&disk);
            let storage = open(&disk).unwrap_or_else(|error| panic!("{point:?}: {error}"));
            assert_eq!(storage.recovered().unwrap().next_position, 0);
            drop(storage);
            restart(&disk);
            assert!(open(&disk).is_ok(), "{point:?}");
        }
        assert!(struck > 5, "{struck}");
    }

    #[test]
    fn what_was_created_is_never_begun_anew() {
        type Harm = fn(&dyn StorageBackend) -> std::io::Result<()>;
        let harms: [(Harm, fn(&Found) -> bool); 4] = [
            (|device| device.set_len(0), |found| *found == Found::Empty),
            (|device| device.write(0, &[0; 9]), |found| matches!(found, Found::Foreign(_))),
            (|device| device.write(0, b"another program's"), |found| matches!(found, Found::Foreign(_))),
            (|device| device.set_len(4096), |found| matches!(found, Found::Damaged(_))),
        ];
        for (harm, is_named) in harms {
            let disk = Disk::new(1, DiskConfig::default());
            drop(open(&disk).unwrap());
            let device = disk.open();
            harm(&device).and_then(|()| device.sync_data()).unwrap();
            let before = disk.take_digest();
            for _ in 0..2 {
                let refused = open(&disk).err();
                assert!(matches!(&refused, Some(StorageError::Unusable(found)) if is_named(found)), "{refused:?}");
                restart(&disk);
            }
            assert_eq!(disk.take_digest(), before, "the evidence is left alone");
        }
    }
}
