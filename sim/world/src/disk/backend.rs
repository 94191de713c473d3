//! A process's handle on its host's disk, as redb sees it.
//!
//! **Invariants:** a handle whose process has died answers errors and changes nothing, so that redb's `Drop` cannot commit
//! after a crash; the power-cut callback runs without the disk's lock, so that it may call the disk. Two databases
//! cannot be open at once: the second gets redb's `DatabaseAlreadyOpen`, as it would from `flock`.

use std::fmt;
use std::io;
use std::ops::Bound;

use redb::{BackendError, StorageBackend};

use super::Disk;
use super::device::Device;
use crate::memory::accounts::Account;

/// One open of a [`Disk`] by the process that runs on its host.
pub struct Backend {
    disk: Disk,
    incarnation: u64,
    handle: u64,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("incarnation", &self.incarnation).field("handle", &self.handle).finish()
    }
}

impl Backend {
    pub(super) fn new(disk: Disk, incarnation: u64, handle: u64) -> Self {
        Self { disk, incarnation, handle }
    }

    /// Whether the process that opened this handle still runs.
    pub fn is_alive(&self) -> bool {
        let device = self.disk.device();
        device.running && device.incarnation == self.incarnation
    }

    /// Says that the database on this disk is complete, in one durable step, as the rename of a finished file into a
    /// directory that is then synced. A process that is dead says nothing any more.
    pub fn mark_created(&self) -> io::Result<()> {
        self.with(|device| {
            device.created = true;
            Ok(())
        })
    }

    /// Whether that was ever said.
    pub fn is_created(&self) -> io::Result<bool> {
        self.with(|device| Ok(device.created))
    }

    /// Drops clean blocks from the page cache, as a process does that cannot know what syncs have failed before it.
    pub fn forget_clean(&self) -> io::Result<()> {
        self.with(|device| {
            device.platter.forget_clean();
            Ok(())
        })
    }

    fn with<T>(&self, operation: impl FnOnce(&mut Device) -> io::Result<T>) -> io::Result<T> {
        let _account = Account::Disks.enter();
        let mut device = self.disk.device();
        if !device.running || device.incarnation != self.incarnation {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "simulated disk: this process is dead"));
        }
        let result = operation(&mut device);
        let power_was_cut = !device.running;
        drop(device);
        if power_was_cut {
            self.disk.report_power_cut();
        }
        result
    }

    fn try_lock(&self, start: Bound<u64>, end: Bound<u64>, exclusive: bool) -> Result<bool, BackendError> {
        if !is_whole(start, end) {
            return Err(BackendError::Unsupported);
        }
        self.with(|device| Ok(device.try_lock(self.handle, exclusive))).map_err(BackendError::Io)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.with(|device| Ok(device.platter.len()))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|device| device.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|device| device.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(Device::sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|device| device.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.with(|device| {
            device.unlock(self.handle);
            Ok(())
        })
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.try_lock(start, end, true)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.try_lock(start, end, false)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        if !is_whole(start, end) {
            return Err(BackendError::Unsupported);
        }
        self.close().map_err(BackendError::Io)
    }
}

/// Only locks of the whole storage are supported: a disk belongs to one process.
fn is_whole(start: Bound<u64>, end: Bound<u64>) -> bool {
    matches!(start, Bound::Unbounded | Bound::Included(0)) && matches!(end, Bound::Unbounded)
}
