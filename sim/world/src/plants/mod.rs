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
use squall_server::storage::{CommitExecutor, Doubt, RedbStorage, Storage, StorageError};
use std::sync::Arc;
use storage::PlantedStorage;

/// A shard's database: opened where its creation was completed, created where it was not. On a disk that forgets to sync if that
/// is planted.
pub(crate) fn open_redb(
    disk: &Disk,
    doubt: &Doubt,
    cache_bytes: usize,
    executor: Arc<dyn CommitExecutor>,
) -> Result<RedbStorage, StorageError> {
    let failed = |error: std::io::Error| StorageError::Open(error.to_string());
    let doubt = if planted(Plant::FailedSyncTrusted) { Doubt::default() } else { doubt.clone() };
    let (device, owner) = (doubt.settle(disk.open()).map_err(failed)?, disk.open());
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
    use crate::disk::{CutPoint, DiskConfig, DiskFault};
    use redb::StorageBackend;
    use squall_protocol::{ConversationId, Cursors, Seq, UserId};
    use squall_server::net::BoxFuture;
    use squall_server::storage::{Batch, Commit, Found};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Commits here and now.
    struct Here;

    impl CommitExecutor for Here {
        fn run(&self, commit: Commit) -> BoxFuture<'static, Result<(), StorageError>> {
            let done = commit();
            Box::pin(async { done })
        }
    }

    fn open(disk: &Disk) -> Result<RedbStorage, StorageError> {
        open_redb(disk, &Doubt::default(), 1 << 20, Arc::new(Here))
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

    /// Appends a row each, in the order of these numbers on the disk.
    fn appended(storage: &RedbStorage, numbers: impl Iterator<Item = u64>) -> bool {
        let delivered = Cursors { delivered: Seq(1), read: Seq::ZERO };
        let cursors = numbers.map(|n| (UserId(n), ConversationId(n.into()), delivered)).collect();
        let batch = Batch { cursors, ..Batch::default() };
        let polled = pin!(storage.append(batch)).poll(&mut Context::from_waker(Waker::noop()));
        matches!(polled, Poll::Ready(Ok(())))
    }

    fn rows(storage: &RedbStorage) -> Vec<u64> {
        storage.cursors().unwrap().into_iter().map(|(user, ..)| user.0).collect()
    }

    /// Of these seeds, in how many something was read after a failed sync, or acked, that a power loss took.
    fn losses(knows_its_doubts: bool) -> u64 {
        let lost = |seed| {
            let (disk, doubt) = (Disk::new(seed, DiskConfig::default()), Doubt::default());
            let open = || {
                let doubt = if knows_its_doubts { doubt.clone() } else { Doubt::default() };
                open_redb(&disk, &doubt, 1 << 20, Arc::new(Here))
            };
            let storage = open().unwrap();
            assert!(appended(&storage, 1_000..3_000));
            let fault = disk.add_fault(DiskFault::SyncError { share: 1.0 }, 1);
            assert!(!appended(&storage, 1..2));
            disk.remove_fault(fault);
            assert!(!appended(&storage, 2..3), "redb answers nothing more on this handle");
            drop(storage);
            let storage = open().unwrap();
            let told = rows(&storage);
            // Far from the row whose sync has failed, so that its page is not written again by chance.
            assert!(appended(&storage, 5_000..5_001));
            drop(storage);
            restart(&disk);
            // redb panics over a page of zeros, which is what a block is that was never written.
            let kept = catch_unwind(AssertUnwindSafe(|| self::open(&disk).and_then(|storage| storage.cursors())));
            let kept = kept.map(Result::unwrap_or_default).unwrap_or_default();
            let kept: Vec<u64> = kept.into_iter().map(|(user, ..)| user.0).collect();
            !told.iter().chain(&[5_000]).all(|row| kept.contains(row))
        };
        (0..40).filter(|seed| lost(*seed)).count() as u64
    }

    #[test]
    fn what_is_read_after_a_failed_sync_is_durable() {
        assert_eq!(losses(true), 0);
        assert!(losses(false) > 0, "without it the page cache is believed");
    }

    #[test]
    fn what_was_created_is_never_begun_anew() {
        type Harm = fn(&dyn StorageBackend) -> std::io::Result<()>;
        type IsNamed = fn(&Found) -> bool;
        let harms: [(Harm, IsNamed); 4] = [
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
