//! What a failed sync has left in doubt, and how it becomes certain before anybody reads it.
//!
//! After a sync that failed the kernel takes the pages for clean: what is read back is what was written, though the disk may have
//! none of it, and no later sync writes it. redb answers nothing more on such a handle, and finds a sound database when it is
//! opened anew: in the page cache. So whatever was written since the last good sync is read and written once more, and synced,
//! before the database is opened. Then what is on disk is what was read, whether that commit is among it or not.
//!
//! **Invariant:** nothing that a failed sync was to make durable is read by a database before a good sync has. Guarded by
//! `sim/world/src/plants/mod.rs`.

use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Offset and length of a write.
type Span = (u64, usize);

#[derive(Debug, Default)]
struct Spans {
    /// Written since the last good sync.
    unsynced: Vec<Span>,
    /// Some sync of them has failed.
    in_doubt: bool,
}

/// What a process knows of its writes to one file. It outlives every open of that file. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Doubt(Arc<Mutex<Spans>>);

impl Doubt {
    fn spans(&self) -> MutexGuard<'_, Spans> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device, watched, once nothing on it is in doubt any more. Nobody else may have it open.
    pub fn settle<B: StorageBackend>(&self, device: B) -> io::Result<Watched<B>> {
        let mut spans = self.spans();
        if spans.in_doubt {
            spans.unsynced.sort_unstable();
            spans.unsynced.dedup();
            let len = device.len()?;
            for (offset, length) in &spans.unsynced {
                let mut bytes = vec![0; (*length).min(len.saturating_sub(*offset) as usize)];
                device.read(*offset, &mut bytes)?;
                device.write(*offset, &bytes)?;
            }
            device.sync_data()?;
            *spans = Spans::default();
        }
        drop(spans);
        Ok(Watched { device, doubt: self.clone() })
    }
}

/// A device whose writes and syncs are followed.
#[derive(Debug)]
pub struct Watched<B> {
    device: B,
    doubt: Doubt,
}

impl<B: StorageBackend> StorageBackend for Watched<B> {
    fn len(&self) -> io::Result<u64> {
        self.device.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.device.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.device.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.device.sync_data();
        let mut spans = self.doubt.spans();
        match &synced {
            Ok(()) => spans.unsynced.clear(),
            Err(_) => spans.in_doubt = true,
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        // Before it is tried: of a write that fails a part may be there.
        self.doubt.spans().unsynced.push((offset, data.len()));
        self.device.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.device.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.device.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.device.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.device.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.device.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.device.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.device.query_lock_range(start, end)
    }
}
