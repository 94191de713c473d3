//! What a server costs: processor time and memory of its processes, and how often the disk was told to empty its cache meanwhile.
//!
//! Read from /proc and /sys, so that every server is measured alike and from outside.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Of /proc/PID/stat; the kernel says times in these to everybody.
const TICKS_A_SECOND: f64 = 100.0;

/// A server's processes, and the disk on which its data is.
pub struct Meter {
    roots: Vec<u32>,
    disk: PathBuf,
}

/// What has been used up to a moment.
#[derive(Clone, Copy)]
pub struct Reading {
    pub server_cpu_s: f64,
    pub client_cpu_s: f64,
    /// Of the whole machine: only a calm one says something about the server.
    pub disk_flushes: u64,
}

struct Process {
    pid: u32,
    parent: u32,
    cpu_s: f64,
    /// What its ended children have used.
    children_cpu_s: f64,
}

fn process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, which may hold anything, is in parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        cpu_s: (ticks(11)? + ticks(12)?) / TICKS_A_SECOND,
        children_cpu_s: (ticks(13)? + ticks(14)?) / TICKS_A_SECOND,
    })
}

fn all_processes() -> Result<Vec<Process>> {
    let pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(process).collect())
}

/// A field of /proc/PID/status, in bytes.
fn status_bytes(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.unwrap_or(0) * 1024
}

impl Meter {
    /// `roots`: the server's processes; their descendants belong to it. `data`: a place on the disk that it writes to.
    pub fn new(roots: Vec<u32>, data: &Path) -> Result<Self> {
        ensure!(!roots.is_empty(), "no process is named: --pid");
        let device =
            fs::metadata(data).with_context(|| format!("{} cannot be looked at", data.display()))?.st_dev();
        let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
        Ok(Meter { roots, disk: PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat")) })
    }

    fn processes(&self) -> Result<Vec<Process>> {
        let mut rest = all_processes()?;
        let mut ours: Vec<Process> = Vec::new();
        loop {
            let belongs = |p: &Process| self.roots.contains(&p.pid) || ours.iter().any(|o| o.pid == p.parent);
            let (more, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(belongs);
            if more.is_empty() {
                break;
            }
            ours.extend(more);
            rest = others;
        }
        for root in &self.roots {
            ensure!(ours.iter().any(|p| p.pid == *root), "the server's process {root} is gone");
        }
        Ok(ours)
    }

    pub fn pids(&self) -> Result<Vec<u32>> {
        Ok(self.processes()?.iter().map(|p| p.pid).collect())
    }

    pub fn read(&self) -> Result<Reading> {
        let server_cpu_s = self.processes()?.iter().map(|p| p.cpu_s + p.children_cpu_s).sum();
        let client_cpu_s = process(std::process::id()).context("/proc/self/stat")?.cpu_s;
        let stat = fs::read_to_string(&self.disk).unwrap_or_default();
        // Documentation/block/stat.rst: the sixteenth is flush I/Os.
        let disk_flushes = stat.split_whitespace().nth(15).and_then(|n| n.parse().ok()).unwrap_or(0);
        Ok(Reading { server_cpu_s, client_cpu_s, disk_flushes })
    }

    /// Resident memory of all processes. Pages of files and shared memory, which PostgreSQL's processes have in common, are counted for the process
    /// that has most of them, and for no other. `pids`: of these processes only, which spares a look at all of the machine's.
    pub fn memory_bytes(pids: &[u32]) -> u64 {
        let (mut own, mut shared) = (0, 0);
        for pid in pids {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            own += status_bytes(&status, "RssAnon");
            shared = shared.max(status_bytes(&status, "RssFile") + status_bytes(&status, "RssShmem"));
        }
        own + shared
    }
}
