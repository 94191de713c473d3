//! The search for the smallest scenario that still violates the same property.
//!
//! A scenario that has changed draws everything anew, so that a failure may hide from the seed that showed it: each candidate is
//! tried with several seeds, and the first one that shows the failure stays with it.
//!
//! **Invariant:** what is taken violates the property, and no other one before it.

use super::candidates::{Candidate, EDITS, Failure};
use crate::child::Children;
use crate::progress::{Meter, Stopwatch};
use crate::source::Source;
use squall_reports::{CheckRecord, RunRecord, Verdict};
use squall_scenarios::{Scenario, Span};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A scenario with a seed that violates something, and the record of that run.
#[derive(Debug, Clone)]
pub struct Failing {
    pub scenario: Scenario,
    pub seed: u64,
    pub record: RunRecord,
}

impl Failing {
    pub fn clients(&self) -> u32 {
        self.scenario.population.devices()
    }

    pub fn faults(&self) -> usize {
        self.scenario.faults.len()
    }

    /// Its size in a few words.
    fn size(&self) -> String {
        let (clients, faults) = (self.clients(), self.faults());
        let word = if faults == 1 { "fault" } else { "faults" };
        format!("{clients} clients, {faults} {word}, load {}", self.scenario.phases.load)
    }
}

/// What bounds a search.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub wall: Duration,
    /// Processes at a time.
    pub jobs: usize,
    /// Under so many other salts of the network what is taken must be violated as well: it is then no race that luck has won. 0 takes
    /// what fails as it is.
    pub steady: u64,
}

/// Salts for that, far from those under which anybody judges what was found.
const FIRST_SALT: u64 = 1_000;

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// No candidate shows the failure.
    NothingSmaller,
    TimeIsUp,
    Interrupted,
}

/// What a search has found.
#[derive(Debug, Clone)]
pub struct Shrunk {
    pub smallest: Failing,
    /// Runs that it took.
    pub runs: u64,
    /// How often something smaller was found.
    pub steps: u64,
    pub ended: Ended,
    pub wall: Duration,
}

/// The check that a run violates first, by the time of its first violation.
pub fn first_violated(record: &RunRecord) -> Option<&CheckRecord> {
    let violated = record.checks.iter().filter(|check| check.verdict == Verdict::Violated);
    violated.min_by_key(|check| check.first.as_ref().map_or(u64::MAX, |first| first.t))
}

/// Shrinks what fails while `property` is violated before any other. `plant` names a planted bug that every run has.
///
/// # Errors
/// When candidates cannot be written or run.
pub fn shrink(
    children: &Children,
    failing: Failing,
    plant: Option<&str>,
    property: &str,
    limits: Limits,
    meter: &mut Meter,
) -> io::Result<Shrunk> {
    let mut search = Search {
        children,
        plant,
        property,
        limits,
        meter,
        watch: Stopwatch::start(),
        smallest: failing,
        refused: BTreeSet::new(),
        runs: AtomicU64::new(0),
        steps: 0,
    };
    let done = search.go_to_the_end()?;
    search.meter.finish();
    let ended = match (done, children.stopped()) {
        (true, _) => Ended::NothingSmaller,
        (false, true) => Ended::Interrupted,
        (false, false) => Ended::TimeIsUp,
    };
    let (runs, steps, wall) = (search.runs.into_inner(), search.steps, search.watch.elapsed());
    Ok(Shrunk { smallest: search.smallest, runs, steps, ended, wall })
}

struct Search<'a> {
    children: &'a Children,
    plant: Option<&'a str>,
    property: &'a str,
    limits: Limits,
    meter: &'a mut Meter,
    watch: Stopwatch,
    smallest: Failing,
    /// Candidates that did not show the failure, as files.
    refused: BTreeSet<String>,
    runs: AtomicU64,
    steps: u64,
}

impl Search<'_> {
    /// Goes through all edits until none makes anything smaller: `true`; `false` when it had to stop before.
    fn go_to_the_end(&mut self) -> io::Result<bool> {
        loop {
            let before = self.steps;
            for edit in EDITS {
                // In one pass, what was refused is not tried again on something smaller; the last pass tries everything.
                let mut refused = BTreeSet::new();
                while let Some(candidate) = self.next(edit, &refused) {
                    let found = self.try_out(&candidate)?;
                    if found.is_none() && self.is_over() {
                        return Ok(false);
                    }
                    let Some(found) = found else {
                        self.refused.insert(candidate.scenario.to_toml());
                        refused.insert(candidate.what);
                        continue;
                    };
                    self.smallest = found;
                    self.steps += 1;
                    let (what, size, seed) = (candidate.what, self.smallest.size(), self.smallest.seed);
                    self.meter.note(|| format!("{what}: still violated with seed {seed}; {size}"));
                }
            }
            if self.steps == before {
                return Ok(true);
            }
        }
    }

    fn next(&self, edit: &super::candidates::Edit, refused: &BTreeSet<String>) -> Option<Candidate> {
        let first = first_violated(&self.smallest.record).and_then(|check| check.first.as_ref());
        let at = first.map_or(Span::ZERO, |first| Span::from_micros(first.t));
        let candidates = edit(&self.smallest.scenario, &Failure { property: self.property, at });
        candidates.into_iter().find(|candidate| {
            !refused.contains(&candidate.what) && !self.refused.contains(&candidate.scenario.to_toml())
        })
    }

    fn is_over(&self) -> bool {
        self.children.stopped() || self.watch.elapsed() >= self.limits.wall
    }

    /// Runs a candidate with several seeds at once until one shows the failure.
    fn try_out(&mut self, candidate: &Candidate) -> io::Result<Option<Failing>> {
        let file = self.children.folder().join("candidate.toml");
        std::fs::write(&file, candidate.scenario.to_toml())?;
        let source = Source::File(file);
        let seeds = self.seeds();
        let threads = self.limits.jobs.min(seeds.len());
        let seeds = Mutex::new(seeds);
        let found: Mutex<Option<io::Result<Failing>>> = Mutex::new(None);
        let settled = AtomicBool::new(false);
        let this = &*self;
        let work = || {
            let enough = || settled.load(Ordering::Relaxed) || this.is_over();
            while !enough() {
                let next = seeds.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(seed) = next else { return };
                this.runs.fetch_add(1, Ordering::Relaxed);
                let outcome = this.children.run(&source, seed, &plant_arguments(this.plant), &enough);
                let shown = match outcome {
                    Ok(outcome) => outcome.and_then(|outcome| outcome.record),
                    Err(error) => {
                        settled.store(true, Ordering::Relaxed);
                        *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Err(error));
                        return;
                    }
                };
                let Some(record) = shown.filter(|record| this.shows(candidate, record)) else { continue };
                let Search { children, plant, property, .. } = *this;
                let case = Case { children, source: &source, seed, plant, property };
                let steady = match case.is_steady(this.limits.steady, &this.runs, &enough) {
                    Ok(steady) => steady,
                    Err(error) => {
                        settled.store(true, Ordering::Relaxed);
                        *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Err(error));
                        return;
                    }
                };
                if steady {
                    settled.store(true, Ordering::Relaxed);
                    let failing = Failing { scenario: candidate.scenario.clone(), seed, record };
                    found.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(Ok(failing));
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        self.show(&candidate.what);
        found.into_inner().unwrap_or_else(PoisonError::into_inner).transpose()
    }

    /// Whether a run of the candidate fails as the first one did.
    fn shows(&self, candidate: &Candidate, record: &RunRecord) -> bool {
        let same = first_violated(record).is_some_and(|check| check.name == self.property);
        let accuses = || {
            record
                .checks
                .iter()
                .any(|check| violates(record, &check.name) && !violates(&self.smallest.record, &check.name))
        };
        same && !(candidate.may_accuse && accuses())
    }

    /// The seeds to try: the one that failed last, and others; fewer where a run takes long.
    fn seeds(&self) -> VecDeque<u64> {
        let others = match self.smallest.record.wall_ms {
            0..700 => 8,
            700..10_000 => 3,
            _ => 1,
        };
        let last = self.smallest.seed;
        [last].into_iter().chain((0..=others).filter(|seed| *seed != last).take(others as usize)).collect()
    }

    fn show(&mut self, tried: &str) {
        let (elapsed, limit) = (self.watch.elapsed(), self.limits.wall);
        let left = Span::from_secs(limit.saturating_sub(elapsed).as_secs());
        let share = elapsed.as_secs_f64() / limit.as_secs_f64().max(0.001);
        let runs = self.runs.load(Ordering::Relaxed);
        let size = self.smallest.size();
        self.meter.show(share, elapsed, || format!("{size}; {runs} runs, tried: {tried}; {left} left"));
    }
}

/// A run that is asked whether other draws of the network violate the same.
pub struct Case<'a> {
    pub children: &'a Children,
    pub source: &'a Source,
    pub seed: u64,
    pub plant: Option<&'a str>,
    pub property: &'a str,
}

impl Case<'_> {
    /// Whether it is violated under so many other salts; each run that it takes is counted.
    pub fn is_steady(&self, salts: u64, runs: &AtomicU64, enough: &dyn Fn() -> bool) -> io::Result<bool> {
        for salt in FIRST_SALT..FIRST_SALT + salts {
            runs.fetch_add(1, Ordering::Relaxed);
            let salt = salt.to_string();
            let mut extra = plant_arguments(self.plant);
            extra.extend(["--salt".as_ref(), OsStr::new(&salt)]);
            let outcome = self.children.run(self.source, self.seed, &extra, enough)?;
            let record = outcome.and_then(|outcome| outcome.record);
            if !record.is_some_and(|record| violates(&record, self.property)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether a run violates this property, before or after others.
pub fn violates(record: &RunRecord, property: &str) -> bool {
    record.checks.iter().any(|check| check.name == property && check.verdict == Verdict::Violated)
}

/// The arguments that plant a bug.
pub fn plant_arguments(plant: Option<&str>) -> Vec<&OsStr> {
    plant.map_or_else(Vec::new, |plant| vec![OsStr::new("--plant"), OsStr::new(plant)])
}
