//! The bug `commit-without-sync`: a disk cache that says "synced" and writes later.
//!
//! It writes in order, as an honest cache does: what a power cut leaves is a state that the database once had, only an old one.

use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of so many syncs one is real.
const SYNCS_PER_WRITE_BACK: u64 = 24;

#[derive(Debug)]
enum Write {
    Length(u64),
    Bytes(u64, Vec<u8>),
}

#[derive(Debug, Default)]
struct Cache {
    bytes: Vec<u8>,
    /// What the disk below has not been given.
    unwritten: Vec<Write>,
    syncs: u64,
}

/// A backend that holds writes back.
#[derive(Debug)]
pub struct WriteBehind<B> {
    disk: B,
    cache: Mutex<Cache>,
}

impl<B: StorageBackend> WriteBehind<B> {
    pub fn new(disk: B) -> io::Result<Self> {
        let mut bytes = vec![0; disk.len()? as usize];
        disk.read(0, &mut bytes)?;
        Ok(WriteBehind { disk, cache: Mutex::new(Cache { bytes, ..Cache::default() }) })
    }

    /// The cache of a process that lives; a dead one has none, and its disk says so.
    fn cache(&self) -> io::Result<MutexGuard<'_, Cache>> {
        self.disk.len()?;
        Ok(self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write_back(&self, cache: &mut Cache) -> io::Result<()> {
        for write in cache.unwritten.drain(..) {
            match write {
                Write::Length(len) => self.disk.set_len(len)?,
                Write::Bytes(offset, data) => self.disk.write(offset, &data)?,
            }
        }
        self.disk.sync_data()
    }
}

impl<B: StorageBackend> StorageBackend for WriteBehind<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.cache()?.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let cache = self.cache()?;
        let from = offset as usize;
        let data = cache.bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(data);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut cache = self.cache()?;
        cache.bytes.resize(len as usize, 0);
        cache.unwritten.push(Write::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut cache = self.cache()?;
        cache.syncs += 1;
        if cache.syncs.is_multiple_of(SYNCS_PER_WRITE_BACK) { self.write_back(&mut cache) } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut cache = self.cache()?;
        let from = offset as usize;
        let place = cache.bytes.get_mut(from..from + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        place.copy_from_slice(data);
        cache.unwritten.push(Write::Bytes(offset, data.to_vec()));
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        let mut cache = self.cache()?;
        self.write_back(&mut cache)?;
        drop(cache);
        self.disk.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.disk.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.disk.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.disk.unlock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, DiskConfig};

    #[test]
    fn a_power_cut_takes_what_a_sync_had_promised() {
        let disk = Disk::new(1, DiskConfig::default());
        let cache = WriteBehind::new(disk.open()).unwrap();
        cache.set_len(4096).unwrap();
        cache.write(0, &[7; 4096]).unwrap();
        cache.sync_data().unwrap();
        let mut read = [0; 4096];
        cache.read(0, &mut read).unwrap();
        assert_eq!(read, [7; 4096]);
        disk.power_loss();
        assert!(cache.sync_data().is_err());
        disk.process_started();
        assert_eq!(disk.open().len().unwrap(), 0);
    }

    #[test]
    fn what_is_written_back_is_durable() {
        let disk = Disk::new(1, DiskConfig::default());
        let cache = WriteBehind::new(disk.open()).unwrap();
        cache.set_len(4096).unwrap();
        cache.write(0, &[7; 4096]).unwrap();
        (0..SYNCS_PER_WRITE_BACK).for_each(|_| cache.sync_data().unwrap());
        disk.power_loss();
        disk.process_started();
        assert_eq!(disk.open().len().unwrap(), 4096);
    }
}
