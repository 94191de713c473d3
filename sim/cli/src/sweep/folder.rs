//! The folder of a sweep: what is kept of each run, and the page of all of them.

use super::plan::Run;
use super::tally::Tally;
use crate::child::{Children, Outcome};
use crate::source::Source;
use squall_generators::swarm;
use squall_reports::store::{self, WriteError};
use squall_reports::sweep::{RUNS_FOLDER, SweepBuilder, SweepRun, files};
use squall_reports::{RunRecord, Verdict};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Violated runs of which all events are kept; each is made once more for that. Of further ones the report names the command.
const MOST_HISTORIES: u64 = 20;

/// Where a sweep writes.
pub struct Folder {
    dir: PathBuf,
    builder: Mutex<SweepBuilder>,
    histories: AtomicU64,
}

impl Folder {
    /// A folder without what an earlier sweep has left in it.
    ///
    /// # Errors
    /// It cannot be made or cleared.
    pub fn new(dir: &Path, started: String) -> Result<Folder, WriteError> {
        files::clear(dir)?;
        let builder = Mutex::new(SweepBuilder::new(started));
        Ok(Folder { dir: dir.to_owned(), builder, histories: AtomicU64::new(0) })
    }

    fn of(&self, run: &Run) -> PathBuf {
        self.dir.join(RUNS_FOLDER).join(&run.folder)
    }

    /// Makes a run and keeps of it what is worth keeping: all of one that did not pass, a violated one's events too.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn make(&self, children: &Children, run: &Run) -> io::Result<Option<Outcome>> {
        let dir = self.of(run);
        let Some(outcome) = children.run_in(&dir, &run.source, run.seed, &[], &|| false)? else { return Ok(None) };
        let mut has_history = false;
        match outcome.record.as_ref().map(|record| (record.verdict, record)) {
            Some((Verdict::Pass, record)) => {
                // A record that could not be made smaller is whole.
                let _ = files::keep_little(&dir, record);
            }
            Some((Verdict::Violated, _)) if self.histories.fetch_add(1, Ordering::Relaxed) < MOST_HISTORIES => {
                let history: [&std::ffi::OsStr; 1] = ["--history".as_ref()];
                let again = children.run_in(&dir, &run.source, run.seed, &history, &|| false)?;
                has_history = again.is_some() && dir.join(store::HISTORY_FILE).exists();
            }
            _ => {}
        }
        self.add(run, &outcome, has_history);
        Ok(Some(outcome))
    }

    /// A run that could not be started.
    pub fn failed(&self, run: &Run, why: &str) {
        let outcome = Outcome { status: None, text: why.to_owned(), record: None };
        self.add(run, &outcome, false);
    }

    fn add(&self, run: &Run, outcome: &Outcome, has_history: bool) {
        let record: Option<&RunRecord> = outcome.record.as_ref();
        let drew = (run.source == Source::Swarm).then(|| swarm::in_words(&swarm::draw(run.seed)));
        let because = if record.is_none() { vec![outcome.text.clone()] } else { Vec::new() };
        let kept = SweepRun {
            number: run.number,
            scenario: record.map_or_else(|| run.source.name(), |record| record.scenario.clone()),
            seed: run.seed,
            verdict: record.map(|record| record.verdict),
            violated: Vec::new(),
            because,
            cause: None,
            drew,
            wall_ms: 0,
            reproduce: run.source.command("run", run.seed),
            folder: format!("{RUNS_FOLDER}/{}", run.folder),
            has_history,
            new_corners: Vec::new(),
        };
        self.builder.lock().unwrap_or_else(PoisonError::into_inner).add(kept, record);
    }

    /// Writes the record and the page of the whole sweep.
    ///
    /// # Errors
    /// The disk is full or may only be read.
    pub fn finish(self, tally: &Tally, wall: Duration) -> Result<(), WriteError> {
        let builder = self.builder.into_inner().unwrap_or_else(PoisonError::into_inner);
        let sweep = builder.finish(tally.asked(), wall.as_millis() as u64, tally.interrupted(), tally.never());
        files::write(&self.dir, &sweep, &tally.junit())
    }
}
