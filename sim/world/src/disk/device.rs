//! One block device: what each operation does to the platter, under the faults and the power cuts that are set.
//!
//! No locks and no handles here: [`super::backend`] decides who may call.
//!
//! **Invariant:** an operation that meets a power cut answers an error, whatever of it reached the platter: to its caller
//! the outcome is unknown.

use std::io;

use super::faults::{Draws, FaultSet};
use super::platter::{BLOCK_BYTES, Lost, Platter};
use super::{CutId, CutPoint, DiskConfig, DiskStats};

/// Which concern a stream of draws serves. Faults use their ids, which start at 1, in a seed of their own.
const POWER_STREAM: u64 = 1;
const FAILED_IO_STREAM: u64 = 2;
const FAULT_STREAM: u64 = 3;

#[derive(Debug)]
struct ArmedCut {
    id: CutId,
    point: CutPoint,
    /// Operations that still succeed before the one that meets the cut.
    left: u64,
}

#[derive(Debug)]
pub(super) struct Device {
    pub config: DiskConfig,
    pub platter: Platter,
    pub faults: FaultSet,
    pub stats: DiskStats,
    /// Handles of another incarnation are dead.
    pub incarnation: u64,
    /// Whether the host runs, so that `open` gives a live handle.
    pub running: bool,
    /// A database has been created here, and its creator has said so, durably: a name in a directory that a real disk would have.
    pub created: bool,
    power_draws: Draws,
    io_draws: Draws,
    armed: Vec<ArmedCut>,
    /// Cuts that were ever armed.
    cuts: u64,
    handles: u64,
    exclusive: Option<u64>,
    shared: Vec<u64>,
}

impl Device {
    pub fn new(seed: u64, config: DiskConfig, platter: Platter) -> Self {
        assert!(
            config.sector_bytes.is_power_of_two() && (1..=BLOCK_BYTES).contains(&config.sector_bytes),
            "a sector has a power of two of bytes, at most {BLOCK_BYTES}: {}",
            config.sector_bytes
        );
        Self {
            config,
            platter,
            faults: FaultSet::new(Draws::new(seed, FAULT_STREAM).next()),
            stats: DiskStats::default(),
            incarnation: 0,
            running: true,
            created: false,
            power_draws: Draws::new(seed, POWER_STREAM),
            io_draws: Draws::new(seed, FAILED_IO_STREAM),
            armed: Vec::new(),
            cuts: 0,
            handles: 0,
            exclusive: None,
            shared: Vec::new(),
        }
    }

    /// The incarnation and the number of a new handle; a host that does not run gives a dead one.
    pub fn new_handle(&mut self) -> (u64, u64) {
        self.handles += 1;
        let incarnation = if self.running { self.incarnation } else { u64::MAX };
        (incarnation, self.handles)
    }

    pub fn read(&mut self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.stats.reads += 1;
        self.stats.bytes_read += out.len() as u64;
        if self.faults.read_fails() {
            return Err(io::Error::other("simulated read error"));
        }
        if self.platter.read(offset, out) {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "read beyond the end of the disk"))
        }
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.stats.writes += 1;
        self.stats.bytes_written += data.len() as u64;
        if self.meets_cut(CutPoint::is_write) {
            // The write reaches the page cache at most, whose blocks share the fate of every other unsynced one.
            let _ = self.write_blocks(offset, data);
            self.lose_power(false);
            return Err(power_lost());
        }
        if self.faults.write_fails() {
            let blocks = data.len().div_ceil(BLOCK_BYTES) as u64;
            let reached = self.io_draws.below(blocks + 1) as usize * BLOCK_BYTES;
            let _ = self.write_blocks(offset, &data[..reached.min(data.len())]);
            return Err(io::Error::other("simulated write error"));
        }
        self.write_blocks(offset, data)
    }

    pub fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.platter.set_len(len);
        Ok(())
    }

    pub fn sync(&mut self) -> io::Result<()> {
        self.stats.syncs += 1;
        if self.meets_cut(CutPoint::is_sync) {
            self.lose_power(true);
            return Err(power_lost());
        }
        if self.faults.sync_fails() {
            self.stats.failed_syncs += 1;
            self.platter.fail_sync(0.5, &mut self.io_draws);
            return Err(io::Error::other("simulated sync error"));
        }
        if !self.faults.sync_lies(self.platter.has_unsynced()) {
            self.platter.sync();
        }
        Ok(())
    }

    pub fn arm(&mut self, point: CutPoint) -> CutId {
        let (CutPoint::Write(nth) | CutPoint::Sync(nth)) = point;
        assert!(nth > 0, "the first write or sync from now is number 1");
        self.cuts += 1;
        let id = CutId(self.cuts);
        self.armed.push(ArmedCut { id, point, left: nth - 1 });
        id
    }

    pub fn armed_cuts(&self) -> usize {
        self.armed.len()
    }

    pub fn disarm(&mut self, cut: CutId) {
        self.armed.retain(|armed| armed.id != cut);
    }

    /// The process is gone: its handles are dead and its locks are free. What it wrote stays in the page cache.
    pub fn end_process(&mut self) {
        self.incarnation += 1;
        self.running = false;
        self.exclusive = None;
        self.shared.clear();
    }

    /// Power is gone at this instant. In the middle of a sync any subset of the unsynced blocks has reached the platter,
    /// from none to all of them, and a block may be torn. Returns the number of unsynced blocks that are lost.
    pub fn lose_power(&mut self, in_sync: bool) -> u64 {
        let mut share = self.faults.survive_share(self.config.survive_share);
        let mut tear = self.config.tear || self.faults.tears();
        if in_sync {
            tear |= self.power_draws.chance(0.5);
            share = match self.power_draws.below(4) {
                0 => share,
                1 => 1.0,
                _ => self.power_draws.unit().max(share),
            };
        }
        let sector = tear.then_some(self.config.sector_bytes);
        let Lost { lost, survived, torn } = self.platter.lose_power(share, sector, &mut self.power_draws);
        self.faults.hit_survived(survived);
        if torn {
            self.faults.hit_torn();
        }
        self.stats.power_losses += 1;
        self.stats.blocks_lost += lost;
        self.stats.blocks_survived += survived;
        self.stats.blocks_torn += u64::from(torn);
        self.end_process();
        lost
    }

    /// Locks the whole disk for one handle, as `flock` does; false if another one holds it.
    pub fn try_lock(&mut self, handle: u64, exclusive: bool) -> bool {
        let others = self.exclusive.is_some_and(|held| held != handle)
            || (exclusive && self.shared.iter().any(|&held| held != handle));
        if others {
            return false;
        }
        self.unlock(handle);
        if exclusive {
            self.exclusive = Some(handle);
        } else {
            self.shared.push(handle);
        }
        true
    }

    pub fn unlock(&mut self, handle: u64) {
        self.exclusive = self.exclusive.filter(|&held| held != handle);
        self.shared.retain(|&held| held != handle);
    }

    fn meets_cut(&mut self, counts: impl Fn(&CutPoint) -> bool) -> bool {
        let mut met = false;
        self.armed.retain_mut(|cut| {
            if !counts(&cut.point) {
                return true;
            }
            if cut.left == 0 {
                met = true;
                return false;
            }
            cut.left -= 1;
            true
        });
        met
    }

    /// Writes block by block, so that a disk that fills up keeps the prefix, as `pwrite` would.
    fn write_blocks(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let full = self.faults.is_full();
        let mut offset = offset;
        let mut data = data;
        while !data.is_empty() {
            if self.platter.is_unallocated(offset) {
                let over = self.platter.allocated_bytes() + BLOCK_BYTES as u64 > self.config.capacity_bytes;
                if full || over {
                    self.faults.hit_full();
                    self.stats.full_writes += 1;
                    return Err(io::Error::new(io::ErrorKind::StorageFull, "simulated disk is full"));
                }
            }
            let in_block = BLOCK_BYTES - (offset % BLOCK_BYTES as u64) as usize;
            let (now, rest) = data.split_at(in_block.min(data.len()));
            self.platter.write_in_block(offset, now);
            offset += now.len() as u64;
            data = rest;
        }
        Ok(())
    }
}

fn power_lost() -> io::Error {
    io::Error::other("simulated power loss")
}
