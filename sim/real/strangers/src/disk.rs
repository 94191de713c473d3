//! The disk's own rate: 4 KiB written over a preallocated file and synced, one after the other. No server that syncs each message alone is faster.

use crate::record::{Disk, Latency};
use anyhow::Result;
use hdrhistogram::Histogram;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

const BLOCK: usize = 4096;
const BLOCKS: u64 = 1024;

pub fn run(directory: &Path, hold: Duration) -> Result<Disk> {
    let path = directory.join("disk-rate");
    fs::write(&path, vec![1; BLOCK * BLOCKS as usize])?;
    let file = OpenOptions::new().write(true).open(&path)?;
    file.sync_all()?;
    let mut took_us: Histogram<u64> = crate::drive::histogram();
    let (block, began) = ([2; BLOCK], Instant::now());
    while began.elapsed() < hold {
        let before = Instant::now();
        file.write_all_at(&block, took_us.len() % BLOCKS * BLOCK as u64)?;
        file.sync_data()?;
        took_us.saturating_record(before.elapsed().as_micros() as u64);
    }
    let syncs_a_second = took_us.len() as f64 / began.elapsed().as_secs_f64();
    fs::remove_file(&path)?;
    Ok(Disk { syncs_a_second, took: Latency::of(&took_us) })
}
