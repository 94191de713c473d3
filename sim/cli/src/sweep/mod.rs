//! `squall sweep`: many seeds of many scenarios, each in a process of its own.

mod tally;

use crate::child::{self, Children};
use crate::input::{BAD_INPUT, Seeds, Shard};
use crate::output;
use crate::progress::{Meter, Stopwatch};
use crate::source::Source;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tally::{Run, Tally};

#[derive(clap::Args)]
pub struct Args {
    /// Scenario files, or folders of them.
    files: Vec<PathBuf>,
    /// Run the scenario that each seed draws, instead of files.
    #[arg(long)]
    swarm: bool,
    /// Seeds, A..B without B, or one number.
    #[arg(long, default_value = "0..20")]
    seeds: Seeds,
    /// Processes at a time; one for each core when absent.
    #[arg(long)]
    jobs: Option<usize>,
    /// Only this part of the runs, e.g. 2/4: for spreading a sweep over machines.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Write JUnit XML of all runs into this file, a suite for each run.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Exit with 0 in spite of inconclusive runs, where they are at most so many in a hundred and nothing is violated.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    inconclusive_at_most: f64,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
}

/// How often progress is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

pub fn main(args: Args) -> u8 {
    let sources = match Source::all_of(&args.files, args.swarm) {
        Ok(sources) => sources,
        Err(code) => return code,
    };
    let all = sources.iter().flat_map(|source| args.seeds.0.clone().map(move |seed| (source.clone(), seed)));
    let mine = all.enumerate().filter(|(run, _)| args.shard.is_none_or(|shard| shard.has(*run)));
    let runs: VecDeque<Run> =
        mine.enumerate().map(|(number, (_, (source, seed)))| Run { number, source, seed }).collect();
    if runs.is_empty() {
        eprintln!("this part of the sweep has no runs; ask for more seeds, or for fewer parts");
        return BAD_INPUT;
    }
    if let Some(junit) = &args.junit
        && let Err(error) = std::fs::write(junit, "")
    {
        // Found out now rather than when the night is over. Until then the file is no XML, so that nobody takes it for green.
        eprintln!("{}: cannot write it: {error}; name another file with --junit", junit.display());
        return BAD_INPUT;
    }
    let stop = child::stop_flag();
    let children = match Children::new(stop) {
        Ok(children) => children,
        Err(error) => {
            eprintln!("cannot start runs in processes of their own: {error}");
            return BAD_INPUT;
        }
    };
    let tally = sweep(&children, runs, &args);
    if let Some(junit) = &args.junit
        && let Err(error) = std::fs::write(junit, tally.junit())
    {
        eprintln!("{}: cannot write it: {error}", junit.display());
        return BAD_INPUT;
    }
    output::text(&tally.render(children.stopped()));
    tally.exit_status(args.inconclusive_at_most)
}

/// Makes the runs, as many at a time as asked, until they are over or the user stops them.
fn sweep(children: &Children, runs: VecDeque<Run>, args: &Args) -> Tally {
    let (total, watch) = (runs.len(), Stopwatch::start());
    let meter = Mutex::new(Meter::new(args.quiet));
    let runs = Mutex::new(runs);
    let tally = Mutex::new(Tally::new(total, args.junit.is_some()));
    let lock = || tally.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        while !children.stopped() {
            let next = runs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(run) = next else { return };
            let outcome = match children.run(&run.source, run.seed, &[], &|| false) {
                Ok(None) => return,
                Ok(Some(outcome)) => Ok(outcome),
                Err(error) => Err(error),
            };
            if let Some(lines) = lock().add(&run, outcome) {
                let meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
                meter.aside(|| output::line!("{lines}"));
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..child::jobs(args.jobs)).map(|_| scope.spawn(work)).collect();
        while !workers.iter().all(|worker| worker.is_finished()) {
            let text = lock().progress(watch.elapsed());
            let share = lock().share_done();
            let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
            meter.show(share, watch.elapsed(), || text);
            drop(meter);
            std::thread::park_timeout(LOOK_INTERVAL);
        }
    });
    meter.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.took(watch.elapsed());
    tally
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse::<f64>().ok();
    number
        .filter(|number| (0.0..=100.0).contains(number))
        .ok_or_else(|| format!("{text:?} is no percentage; write a number from 0 to 100, e.g. 2.5"))
}
