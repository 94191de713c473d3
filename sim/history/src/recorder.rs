//! Writes `history.jsonl`: every event of a run, or those about some conversations and devices, one JSON object a line, in
//! order of simulated time.

use crate::{Event, Filter};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// A history file being written.
pub struct Recorder {
    file: BufWriter<File>,
    hosts: Vec<String>,
    filter: Filter,
    events: u64,
}

impl Recorder {
    /// Creates (or replaces) the file. `hosts` names the hosts by index. It holds what the filter wants, and what happened to hosts.
    pub fn create(path: &Path, hosts: Vec<String>, filter: Filter) -> io::Result<Self> {
        Ok(Recorder { file: BufWriter::with_capacity(1 << 20, File::create(path)?), hosts, filter, events: 0 })
    }

    pub fn record(&mut self, event: &Event) -> io::Result<()> {
        if !self.filter.wants(event) {
            return Ok(());
        }
        self.events += 1;
        self.file.write_all(event.to_json(&self.hosts).as_bytes())?;
        self.file.write_all(b"\n")
    }

    /// Flushes and says how many events were written.
    pub fn finish(mut self) -> io::Result<u64> {
        self.file.flush()?;
        Ok(self.events)
    }
}
