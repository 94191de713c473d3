//! Replays in processes of their own: the scenario with some of its faults, or with one moved, under salts of the network.

use super::curve::Point;
use super::search::{Faults, Replays, Tally};
use crate::child::Children;
use crate::progress::{Meter, Stopwatch};
use crate::shrink::search::violates;
use crate::source::Source;
use squall_scenarios::{Scenario, Span};
use std::ffi::OsStr;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

/// Replays for each time of a curve.
const REPLAYS_A_TIME: u32 = 4;

/// What is replayed.
#[derive(Debug, Clone)]
pub struct Replayed {
    pub scenario: Scenario,
    pub seed: u64,
    /// A planted bug that every replay has: it belongs to the build, and nothing here looks at it.
    pub plant: Option<String>,
    /// The property that is violated first. Only its violations count.
    pub property: String,
}

/// Why no more can be replayed.
#[derive(Debug)]
pub enum Stop {
    TimeIsUp,
    Interrupted,
    /// A replay could not be run.
    Failed(String),
}

/// Runs replays of one subject until the time is up.
pub struct Runner<'a> {
    pub children: &'a Children,
    pub subject: &'a Replayed,
    /// Processes at a time.
    pub jobs: usize,
    pub watch: Stopwatch,
    pub limit: Duration,
    pub meter: &'a mut Meter,
    /// Replays that have come to their end.
    pub replays: u64,
}

impl Runner<'_> {
    /// The scenario with some of its faults.
    fn with(&self, faults: &[usize]) -> Scenario {
        let kept = faults.iter().map(|fault| self.subject.scenario.faults[*fault].clone());
        Scenario { faults: kept.collect(), ..self.subject.scenario.clone() }
    }

    /// The curve of a fault, with those that are there beside it.
    pub fn curve(&mut self, fault: usize, beside: &Faults) -> (Vec<Point>, Option<Stop>) {
        let load = self.subject.scenario.phases.load;
        let own = self.subject.scenario.faults[fault].at;
        let place = beside.iter().position(|other| *other == fault).expect("it is among them");
        let salts: Vec<u64> = (1..=REPLAYS_A_TIME.into()).collect();
        super::curve::curve(load, own, |at| {
            let mut scenario = self.with(beside);
            scenario.faults[place].at = at;
            if !scenario.findings().is_empty() {
                return Ok(None);
            }
            let seen = self.replay(&scenario, &salts, || format!("a fault at {at}"))?;
            let violated = seen.iter().filter(|violated| **violated).count() as u32;
            Ok(Some(Tally { violated, of: seen.len() as u32 }))
        })
    }

    /// Whether the property is violated under each of these salts.
    fn replay(
        &mut self,
        scenario: &Scenario,
        salts: &[u64],
        what: impl FnOnce() -> String,
    ) -> Result<Vec<bool>, Stop> {
        let file = self.children.folder().join("replay.toml");
        let text = Scenario { seed: Some(self.subject.seed), ..scenario.clone() }.to_toml();
        std::fs::write(&file, text).map_err(|error| Stop::Failed(format!("{}: {error}", file.display())))?;
        let source = Source::File(file);
        let mut seen = Vec::new();
        for together in salts.chunks(self.jobs.max(1)) {
            let ended = Mutex::new(Vec::new());
            let this = &*self;
            std::thread::scope(|scope| {
                for &salt in together {
                    let (source, ended) = (&source, &ended);
                    scope.spawn(move || {
                        let violated = this.one(source, salt);
                        ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((salt, violated));
                    });
                }
            });
            let mut ended = ended.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            ended.sort_by_key(|(salt, _)| *salt);
            for (_, violated) in ended {
                seen.push(violated?);
                self.replays += 1;
            }
        }
        self.show(what);
        Ok(seen)
    }

    fn one(&self, source: &Source, salt: u64) -> Result<bool, Stop> {
        let salt = salt.to_string();
        let mut extra = vec![OsStr::new("--salt"), OsStr::new(&salt)];
        if let Some(plant) = &self.subject.plant {
            extra.extend([OsStr::new("--plant"), OsStr::new(plant)]);
        }
        let failed = |reason: String| Stop::Failed(reason);
        let enough = || self.watch.elapsed() >= self.limit;
        let outcome = self
            .children
            .run(source, self.subject.seed, &extra, &enough)
            .map_err(|error: io::Error| failed(error.to_string()))?;
        match outcome {
            Some(outcome) => match outcome.record {
                Some(record) => Ok(violates(&record, &self.subject.property)),
                None => Err(failed(outcome.text)),
            },
            None if self.children.stopped() => Err(Stop::Interrupted),
            None => Err(Stop::TimeIsUp),
        }
    }

    fn show(&mut self, what: impl FnOnce() -> String) {
        let (elapsed, limit) = (self.watch.elapsed(), self.limit);
        let left = Span::from_secs(limit.saturating_sub(elapsed).as_secs());
        let share = elapsed.as_secs_f64() / limit.as_secs_f64().max(0.001);
        let replays = self.replays;
        self.meter.show(share, elapsed, || format!("{replays} replays, {left} left; tried: {}", what()));
    }
}

impl Replays for Runner<'_> {
    type Stop = Stop;

    fn run(&mut self, faults: &[usize], salts: &[u64]) -> Result<Vec<bool>, Stop> {
        let of = self.subject.scenario.faults.len();
        self.replay(&self.with(faults), salts, || format!("{} of {of} faults", faults.len()))
    }
}
