//! `squall explain --why`: which fault was necessary.
//!
//! | file | is |
//! |---|---|
//! | `mod` | from a record to an answer: is it the same build, is it short enough, and then the search and its curves |
//! | `search` | which sets of faults are tried, and what is known of them by then; knows no run |
//! | `curve` | at which times a fault is tried; knows no run |
//! | `replays` | runs in processes of their own, under salts of the network |
//! | `told` | the answer in words, as a table and as a page |
//!
//! Each fault draws from a stream of its own, so that leaving one out changes no other. A replay is the same scenario and seed with other
//! draws of the network alone. What was planted is planted in each replay, as a part of the build, and nothing else asks for it.

mod curve;
mod replays;
mod search;
mod told;

pub use replays::{Replayed, Stop};
pub use search::Answer;
pub use told::sentence;

use super::{Args, bad};
use crate::child::{self, Children};
use crate::exit::Exit;
use crate::input;
use crate::output;
use crate::progress::{Meter, Stopwatch};
use crate::shrink::search::{Failing, Limits, first_violated, plant_arguments, shrink};
use crate::source::Source;
use crate::stop;
use curve::Point;
use replays::Runner;
use search::Findings;
use squall_reports::RunRecord;
use squall_reports::store::SCENARIO_FILE;
use std::time::Duration;

/// About how many replays an answer takes: with and without each of a few faults, and a curve.
const REPLAYS_EXPECTED: u32 = 70;
/// Shrinking a long run may take one part of the time in so many.
const SHRINKING: u32 = 3;
/// Under how many other salts what is shrunk must be violated: of what luck alone has won there is nothing to say.
pub const STEADY: u64 = 5;
/// Of how many faults a curve is drawn, at most.
const CURVES: usize = 3;

/// What was found.
pub struct Why {
    pub subject: Replayed,
    pub findings: Findings,
    /// By the fault's place in the scenario.
    pub curves: Vec<(usize, Vec<Point>)>,
    /// What was left to draw when it ended.
    pub curves_untried: usize,
    pub stop: Option<Stop>,
    pub replays: u64,
    pub wall: Duration,
}

impl Why {
    /// The names of these faults, as the scenario has them.
    pub fn names(&self, faults: &[usize]) -> Vec<&str> {
        faults.iter().map(|fault| self.subject.scenario.faults[*fault].name.as_str()).collect()
    }
}

/// Explains which fault the record's first violation needed.
pub fn main(args: &Args) -> Result<(), Exit> {
    let limit = args.limit;
    if limit.is_zero() {
        return Err(bad(
            &"--limit 0s leaves no time for a single replay; give some, e.g. --limit 3m, or leave it out",
        ));
    }
    let dir = args.dir.display();
    let record = super::load(&args.dir)?;
    refuse_what_is_no_run(args, &record)?;
    let file = args.dir.join(SCENARIO_FILE);
    let scenario = input::load(&file)?;
    let plant = record.planted.as_deref().map(input::bug).transpose()?.map(|bug| bug.name.to_owned());
    let Some((property, at)) =
        first_violated(&record).map(|check| (check.name.clone(), check.first.as_ref().map_or(0, |first| first.t)))
    else {
        return Err(bad(&format!(
            "{dir}: nothing was violated in this run, so there is no fault to blame; `squall sweep` finds seeds that violate something"
        )));
    };
    let watch = Stopwatch::start();
    let limit = limit.as_duration();
    let wall = Duration::from_millis(record.wall_ms);
    let shrunk_by_hand = format!(
        "shrink it first: squall shrink {} --seed {}{}",
        input::quoted(&file),
        record.seed,
        plant.as_deref().map_or_else(String::new, |plant| format!(" --plant {plant}"))
    );
    if wall * 2 > limit {
        output::complaint!(
            "{dir}: one replay takes {} s, too long for a limit of {}: give more with --limit, or {shrunk_by_hand}",
            wall.as_secs(),
            args.limit
        );
        return Err(Exit::Inconclusive);
    }
    let children = Children::new(stop::flag())
        .map_err(|error| bad(&format!("cannot start replays in processes of their own: {error}")))?;
    let mut meter = Meter::new(args.quiet);
    let mut subject = Replayed { scenario, seed: record.seed, plant, property };
    is_the_same_run(args, &children, &record, &subject)?;
    let mut shrunk = None;
    if wall * REPLAYS_EXPECTED > limit * 2 {
        let (clients, faults) = (subject.scenario.population.devices(), subject.scenario.faults.len());
        meter.note(|| format!("a replay takes {} s, so it is shrunk first", wall.as_secs().max(1)));
        let failing = Failing { scenario: subject.scenario.clone(), seed: subject.seed, record: record.clone() };
        let limits = Limits { wall: limit / SHRINKING, jobs: child::jobs(None, u64::MAX).min(2), steady: STEADY };
        let smaller = shrink(&children, failing, subject.plant.as_deref(), &subject.property, limits, &mut meter)
            .map_err(|error| bad(&format!("cannot run smaller scenarios: {error}")))?;
        subject.scenario = smaller.smallest.scenario;
        subject.seed = smaller.smallest.seed;
        shrunk = Some(format!(
            "Shrunk first, from {clients} clients and {faults} faults to {} and {}, with seed {}.",
            subject.scenario.population.devices(),
            subject.scenario.faults.len(),
            subject.seed
        ));
    }
    let left = limit.saturating_sub(watch.elapsed());
    let mut why = seek(&children, subject, left, (child::jobs(None, u64::MAX), CURVES), &mut meter);
    why.wall = watch.elapsed();
    if let Some(Stop::Failed(reason)) = &why.stop {
        output::complaint!("a replay could not be run: {reason}");
        return Err(Exit::Unfinished);
    }
    let title = format!("{} was violated at {}", why.subject.property, squall_autopsy::at(at));
    output::text(&told::text(&why, &title, shrunk.as_deref(), args.limit));
    if let Some(path) = &args.html {
        let page = told::page(&why, &title, shrunk.as_deref(), args.limit);
        std::fs::write(path, page).map_err(|error| {
            bad(&format!("{}: cannot write the page: {error}; name another file with --html", path.display()))
        })?;
    }
    match why.findings.answer {
        Answer::Unknown => Err(Exit::Inconclusive),
        _ => Ok(()),
    }
}

/// A record that is not of one whole run as a user makes it cannot be replayed.
fn refuse_what_is_no_run(args: &Args, record: &RunRecord) -> Result<(), Exit> {
    let dir = args.dir.display();
    if record.interrupted {
        return Err(bad(&format!(
            "{dir}: this run was stopped before its end, and no other run comes to the same digest; make it again with --out: {}",
            record.reproduce
        )));
    }
    if !record.merged.is_empty() {
        return Err(bad(&format!(
            "{dir}: this record is merged of {} runs; name the folder of one that was violated",
            record.merged.len()
        )));
    }
    if record.salt > 0 {
        return Err(bad(&format!(
            "{dir}: this run is a replay itself, with salt {} of the network; make it without --salt, with --out",
            record.salt
        )));
    }
    Ok(())
}

/// Runs it as it was recorded.
fn is_the_same_run(args: &Args, children: &Children, record: &RunRecord, subject: &Replayed) -> Result<(), Exit> {
    let dir = args.dir.display();
    let source = Source::File(args.dir.join(SCENARIO_FILE));
    let outcome = children
        .run(&source, subject.seed, &plant_arguments(subject.plant.as_deref()), &|| false)
        .map_err(|error| bad(&format!("{dir}: the run could not be run again: {error}")))?;
    let Some(outcome) = outcome else {
        output::complaint!("interrupted before anything was known");
        return Err(Exit::Inconclusive);
    };
    let Some(again) = outcome.record else {
        output::complaint!("{}\n{dir}: the run could not be run again", outcome.text);
        return Err(Exit::Unfinished);
    };
    if again.digest != record.digest {
        return Err(bad(&format!(
            "{dir}: {}",
            super::replay::ReplayError::AnotherRun { found: again.digest, recorded: record.digest.clone() }
        )));
    }
    Ok(())
}

/// Seeks the fault that was necessary, and draws the curves of so many of those that were.
pub fn seek(
    children: &Children,
    subject: Replayed,
    limit: Duration,
    (jobs, curves): (usize, usize),
    meter: &mut Meter,
) -> Why {
    let names: Vec<String> = subject.scenario.faults.iter().map(|fault| fault.name.clone()).collect();
    let watch = Stopwatch::start();
    let mut runner = Runner { children, subject: &subject, jobs, watch, limit, meter, replays: 0 };
    let (findings, mut stop) = search::search(&names, &mut runner);
    let (of_which, beside) = match &findings.answer {
        Answer::Necessary { necessary, least } => (necessary.clone(), least.clone()),
        Answer::Together(least) => (least.clone(), least.clone()),
        Answer::NeedsNone | Answer::NotReproducible | Answer::Unknown => (Vec::new(), Vec::new()),
    };
    let wanted = of_which.len().min(curves);
    let mut curves = Vec::new();
    for &fault in &of_which[..wanted] {
        if stop.is_some() {
            break;
        }
        let (points, ended) = runner.curve(fault, &beside);
        curves.push((fault, points));
        stop = ended;
    }
    runner.meter.finish();
    let (replays, curves_untried) = (runner.replays, of_which.len() - curves.len());
    Why { subject, findings, curves, curves_untried, stop, replays, wall: watch.elapsed() }
}
