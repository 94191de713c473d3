//! The simulated block device of one host, under redb's `StorageBackend`.
//!
//! A [`Disk`] is the hardware and outlives processes. What a process writes lands in an overlay, as in the kernel's page
//! cache, and a sync makes it durable. When the process dies the overlay stays; when the host loses power it goes,
//! except for what the seed lets survive or tear.
//!
//! **Invariants:** what was synced survives everything but a lying sync; after [`Disk::process_died`] or
//! [`Disk::power_loss`] no handle, old or new, can change the disk until [`Disk::process_started`]; the same seed and
//! the same calls give the same bytes, errors and digest. No time passes here: delays are only reported.
//! Guarded by this folder's tests.

mod backend;
mod device;
mod faults;
mod platter;
mod rest;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use backend::Backend;
use device::Device;
pub use faults::{DiskFault, FaultHits, FaultId};
use platter::Platter;

/// What a disk is made of, and what it does when power is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiskConfig {
    /// Bytes that can be allocated, in blocks of 4 KiB; a block of zeros takes none.
    pub capacity_bytes: u64,
    /// The unit that is written whole or not at all; a power of two, at most 4096, which makes tearing impossible.
    pub sector_bytes: usize,
    /// The probability that an unsynced block has reached the platter anyway when power is lost.
    pub survive_share: f64,
    /// Whether a power loss tears one of the blocks that did not reach the platter.
    pub tear: bool,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self { capacity_bytes: 64 << 30, sector_bytes: 512, survive_share: 0.0, tear: false }
    }
}

/// An armed power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutId(u64);

/// Where an armed power cut strikes, counted from 1 for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutPoint {
    /// At this write, before it answers.
    Write(u64),
    /// In the middle of this sync: none, some or all of it is durable.
    Sync(u64),
}

impl CutPoint {
    fn is_write(&self) -> bool {
        matches!(self, Self::Write(_))
    }

    fn is_sync(&self) -> bool {
        matches!(self, Self::Sync(_))
    }
}

/// Totals since the disk was made, and what is unsynced now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    pub reads: u64,
    pub bytes_read: u64,
    pub writes: u64,
    pub bytes_written: u64,
    /// Writes that failed for want of space.
    pub full_writes: u64,
    /// All syncs, also those that failed or lied.
    pub syncs: u64,
    pub failed_syncs: u64,
    pub power_losses: u64,
    /// Unsynced blocks that a power loss destroyed, torn ones included.
    pub blocks_lost: u64,
    /// Unsynced blocks that had reached the platter when power was lost.
    pub blocks_survived: u64,
    pub blocks_torn: u64,
    pub unsynced_blocks: u64,
    pub allocated_bytes: u64,
}

type OnPowerCut = Box<dyn FnMut() + Send>;

/// Waits for a commit that runs on another thread.
pub type Running = Box<dyn FnOnce() + Send>;

/// Begins a commit. It is told whether a power cut is armed, which acts on the world around, so that the commit must run here
/// and now; what it gives back is to be waited for before anybody else looks at the disk.
pub type Proposal = Box<dyn FnOnce(bool) -> Option<Running> + Send>;

struct Shared {
    device: Mutex<Device>,
    /// A lock of its own, so that the callback may call the disk.
    on_power_cut: Mutex<Option<OnPowerCut>>,
    /// The commit that is to begin when the host has stepped.
    proposed: Mutex<Option<Proposal>>,
    /// The commit that runs on another thread.
    busy: Mutex<Option<Running>>,
}

/// A cheap handle on the disk of one host, for the world. The process on that host uses a [`Backend`].
#[derive(Clone)]
pub struct Disk(Arc<Shared>);

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Disk").field(&self.stats()).finish()
    }
}

impl Disk {
    /// An empty disk. `seed` decides which operations its faults hit and what a power loss leaves.
    pub fn new(seed: u64, config: DiskConfig) -> Self {
        Self::with_platter(seed, config, Platter::new())
    }

    /// Takes what is durable out of this disk, as a disk of its own, without its faults: what an auditor may open when all
    /// is over. The process that ran here is dead afterwards, and this disk is empty.
    pub fn take_durable(&self, seed: u64) -> Self {
        let mut device = self.settled();
        device.end_process();
        let (platter, created) = (device.platter.take_durable(), std::mem::take(&mut device.created));
        let taken = Self::with_platter(seed, device.config, platter);
        taken.device().created = created;
        taken
    }

    /// A handle for the process that runs on the host. If none runs, the handle is dead from the start: code that a
    /// crash has not yet unwound must not be able to reopen its database.
    pub fn open(&self) -> Backend {
        let (incarnation, handle) = self.settled().new_handle();
        Backend::new(self.clone(), incarnation, handle)
    }

    /// A new process starts on the host, with power: from here on [`Disk::open`] gives live handles. True of a new disk.
    pub fn process_started(&self) {
        let mut device = self.settled();
        if device.running {
            // A restart that skipped the crash must still fence the old process.
            device.end_process();
        }
        device.running = true;
    }

    /// SIGKILL: every handle is dead, and unsynced writes stay in the page cache for the next process.
    pub fn process_died(&self) {
        self.settled().end_process();
        self.forget_proposed();
    }

    /// Power is lost at this instant: every handle is dead, and unsynced writes are gone but for what the seed spares.
    /// Returns the number of unsynced blocks that were lost. Does not run the power-cut callback.
    pub fn power_loss(&self) -> u64 {
        let lost = self.settled().lose_power(false);
        self.forget_proposed();
        lost
    }

    /// Arms a power cut at the k-th write or sync from now. Cuts add up; each strikes once.
    pub fn cut_power_at(&self, point: CutPoint) -> CutId {
        self.settled().arm(point)
    }

    /// Forgets this cut if it has not struck.
    pub fn disarm(&self, cut: CutId) {
        self.settled().disarm(cut);
    }

    /// How many armed cuts have not struck.
    pub fn armed_cuts(&self) -> usize {
        self.settled().armed_cuts()
    }

    /// What to call when an armed cut strikes. It runs inside the write or sync that met the cut, on the
    /// thread of its host, after the disk is dead and without any of its locks.
    pub fn set_on_power_cut(&self, callback: impl FnMut() + Send + 'static) {
        *lock(&self.0.on_power_cut) = Some(Box::new(callback));
    }

    /// `key` names the stream from which the fault draws, for itself alone.
    pub fn add_fault(&self, fault: DiskFault, key: u64) -> FaultId {
        self.settled().faults.add(fault, key)
    }

    /// Ends one fault and no other; false if it was not active. Its hits stay in [`Disk::fault_hits`].
    pub fn remove_fault(&self, id: FaultId) -> bool {
        self.settled().faults.remove(id)
    }

    /// Every fault that this disk ever had, with what it hit.
    pub fn fault_hits(&self) -> Vec<FaultHits> {
        self.settled().faults.hits()
    }

    /// By how many µs a sync that starts at the simulated time `now_us` is delayed; for the asynchronous wrapper to
    /// await. Slow syncs add up and a stall holds until its end.
    pub fn extra_sync_delay(&self, now_us: u64) -> u64 {
        self.settled().faults.sync_delay_us(now_us)
    }

    pub fn stats(&self) -> DiskStats {
        let device = self.settled();
        DiskStats {
            unsynced_blocks: device.platter.unsynced_blocks(),
            allocated_bytes: device.platter.allocated_bytes(),
            ..device.stats
        }
    }

    /// How often it was synced and how many bytes were written to it, in all; without the work that [`stats`](Self::stats) takes.
    pub fn written(&self) -> (u64, u64) {
        let stats = self.settled().stats;
        (stats.syncs, stats.bytes_written)
    }

    /// Memory that the disk's content takes, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.settled().platter.memory_bytes()
    }

    /// A digest of every change of the durable image so far, in order. It rolls on and is never reset.
    pub fn take_digest(&self) -> u64 {
        self.settled().platter.digest()
    }

    fn with_platter(seed: u64, config: DiskConfig, platter: Platter) -> Self {
        Self(Arc::new(Shared {
            device: Mutex::new(Device::new(seed, config, platter)),
            on_power_cut: Mutex::new(None),
            proposed: Mutex::new(None),
            busy: Mutex::new(None),
        }))
    }

    /// What a process on the host reaches, a commit under way included.
    fn device(&self) -> MutexGuard<'_, Device> {
        lock(&self.0.device)
    }

    /// What the world reaches: never the middle of a commit.
    fn settled(&self) -> MutexGuard<'_, Device> {
        self.settle();
        self.device()
    }

    /// Takes a commit that begins with [`Disk::begin_proposed`]; a process that dies before takes it along.
    ///
    /// # Panics
    /// When one waits already: a database has one writer.
    pub fn propose(&self, commit: Proposal) {
        let before = lock(&self.0.proposed).replace(commit);
        assert!(before.is_none(), "a disk has at most one commit proposed");
    }

    /// Begins the proposed commit, if there is one.
    pub fn begin_proposed(&self) {
        let Some(begin) = lock(&self.0.proposed).take() else { return };
        let cut_is_armed = self.settled().armed_cuts() > 0;
        if let Some(running) = begin(cut_is_armed) {
            *lock(&self.0.busy) = Some(running);
        }
    }

    /// Waits for the commit that is under way on another thread, if there is one.
    pub fn settle(&self) {
        if let Some(wait) = lock(&self.0.busy).take() {
            wait();
        }
    }

    /// Drops a commit that has not begun. Its database goes with it, and may call the disk.
    fn forget_proposed(&self) {
        drop(lock(&self.0.proposed).take());
    }

    /// The callback is taken out while it runs, so that it may even replace itself.
    fn report_power_cut(&self) {
        let Some(mut callback) = lock(&self.0.on_power_cut).take() else { return };
        callback();
        lock(&self.0.on_power_cut).get_or_insert(callback);
    }
}

/// A panic elsewhere must not turn every later disk operation into a second panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
