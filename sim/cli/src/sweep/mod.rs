//! `squall sweep`: many seeds of many scenarios, each in a process of its own.

mod folder;
mod pace;
mod plan;
mod tally;

use crate::child::{self, Children};
use crate::exit::Exit;
use crate::input::{self, Seeds, Shard};
use crate::output;
use crate::overwrite::{self, Written};
use crate::progress::{Form, Meter, Stopwatch};
use crate::source::Source;
use crate::stop;
use folder::Folder;
use pace::Pace;
use plan::Plan;
use serde_json::json;
use squall_reports::lock::FolderLock;
use squall_reports::store;
use squall_reports::sweep::{RUNS_FOLDER, SWEEP_FILES, files};
use squall_scenarios::Span;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tally::Tally;

#[derive(clap::Args)]
pub struct Args {
    /// Scenario files, or folders of them.
    files: Vec<PathBuf>,
    /// Run the scenario that each seed draws, instead of files.
    #[arg(long)]
    swarm: bool,
    /// Seeds, A..B without B, or one number; 0..20 when absent, and with --for all from 0 on.
    #[arg(long)]
    seeds: Option<Seeds>,
    /// Begin runs for this much wall time, seed by seed over all files; those under way then go on to their end.
    #[arg(long = "for", value_name = "TIME", value_parser = input::wall_time, allow_negative_numbers = true)]
    budget: Option<Span>,
    /// Processes at a time; one for each core when absent.
    #[arg(long, value_parser = input::jobs, allow_negative_numbers = true)]
    jobs: Option<usize>,
    /// Only this part of the runs, e.g. 2/4: for spreading a sweep over machines.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Write report.html, sweep.json, junit.xml and a folder for each run into this folder; all events of violated runs too.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write JUnit XML of all runs into this file, a suite for each run.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Exit with 0 in spite of inconclusive runs, where they are at most so many in a hundred and nothing is violated.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    inconclusive_at_most: f64,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
    /// For whom progress is shown on standard error: for a person, or as JSON lines for a program.
    #[arg(long, value_enum, default_value_t)]
    progress: Form,
}

/// How often progress is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Seeds where nobody names any.
const SEEDS: std::ops::Range<u64> = 0..20;

pub fn main(args: Args) -> Exit {
    // Before anything else can fail: until the sweep is over nobody must take for green what an earlier one has left.
    let lock = match clear_results(&args) {
        Ok(lock) => lock,
        Err(exit) => return exit,
    };
    let sources = match Source::all_of(&args.files, args.swarm) {
        Ok(sources) => sources,
        Err(exit) => return exit,
    };
    let plan = match (&args.seeds, args.budget) {
        (seeds, None) => {
            let seeds = seeds.as_ref().map_or(SEEDS, |seeds| seeds.0.clone());
            Plan::file_by_file(&sources, seeds, args.shard)
        }
        (Some(seeds), Some(_)) => Plan::seed_by_seed(&sources, seeds.0.clone(), args.shard),
        (None, Some(_)) => Plan::seed_by_seed(&sources, 0..u64::MAX, args.shard),
    };
    if plan.runs() == 0 {
        output::complaint!("this part of the sweep has no runs; ask for more seeds, or for fewer parts");
        return Exit::BadInput;
    }
    let _lock = match (lock, args.out.as_deref()) {
        (None, Some(out)) => match FolderLock::take(out) {
            Ok(lock) => Some(lock),
            Err(error) => {
                output::complaint!("{error}");
                return Exit::BadInput;
            }
        },
        (lock, _) => lock,
    };
    #[expect(clippy::disallowed_methods, reason = "when a sweep was made is told in its record and enters no run")]
    let started = crate::about::when(SystemTime::now());
    let folder = match args.out.as_ref().map(|out| Folder::new(out, started)).transpose() {
        Ok(folder) => folder,
        Err(error) => {
            output::complaint!("{error}; name another folder with --out");
            return Exit::BadInput;
        }
    };
    let stop = stop::flag();
    let mut children = match Children::new(stop) {
        Ok(children) => children,
        Err(error) => {
            output::complaint!("cannot start runs in processes of their own: {error}");
            return Exit::BadInput;
        }
    };
    if args.out.is_some() {
        children.explain();
    }
    let jobs = child::jobs(args.jobs, plan.runs());
    // Where time decides there is nothing to count.
    let has_end = args.budget.is_none();
    let pace = Pace::new(jobs, has_end.then(|| plan.runs_of_each()).into_iter().flatten());
    let asked = has_end.then(|| plan.runs());
    let sweep = Sweep {
        children: &children,
        folder: folder.as_ref(),
        plan: Mutex::new(plan),
        tally: Mutex::new(Tally::new(asked, args.junit.is_some() || args.out.is_some())),
        pace: Mutex::new(pace),
        meter: Mutex::new(Meter::of(args.quiet, args.progress)),
        watch: Stopwatch::start(),
        budget: args.budget.map(|span| span.as_duration()),
    };
    let (tally, wall) = sweep.make(jobs);
    conclude(&args, folder, &tally, wall)
}

/// Refuses to write over what is to be run, and removes what an earlier sweep has come to. The folder of it is then ours, where it is there.
fn clear_results(args: &Args) -> Result<Option<FolderLock>, Exit> {
    // What cannot be read is said when it is.
    let named = args.files.iter().flat_map(|path| match path.is_dir() {
        true => squall_scenarios::files_in(path).unwrap_or_default(),
        false => vec![path.clone()],
    });
    let read: Vec<PathBuf> = named.collect();
    let out = args.out.as_deref();
    let written = [Written::file("--junit", args.junit.as_deref()), Written::folder("--out", out, &SWEEP_FILES)];
    overwrite::refuse(&read, &written)?;
    let bad = |problem: String| {
        output::complaint!("{problem}");
        Exit::BadInput
    };
    let lock = out.map(FolderLock::if_there).transpose().map_err(|error| bad(error.to_string()))?.flatten();
    if let Some(junit) = &args.junit {
        std::fs::write(junit, "").map_err(|error| {
            bad(format!("{}: cannot write it: {error}; name another file with --junit", junit.display()))
        })?;
    }
    out.map_or(Ok(()), files::clear_results)
        .map_err(|error| bad(format!("{error}; name another folder with --out")))?;
    if let Some(file) = out.and_then(|out| lies_in(&read, &out.join(RUNS_FOLDER))) {
        output::complaint!("{}: lies in the folder that --out clears; copy it elsewhere first", file.display());
        return Err(Exit::BadInput);
    }
    Ok(lock)
}

/// The file among these that lies in a folder.
fn lies_in<'f>(files: &'f [PathBuf], folder: &Path) -> Option<&'f PathBuf> {
    let folder = std::fs::canonicalize(folder).ok()?;
    files.iter().find(|file| std::fs::canonicalize(file).is_ok_and(|file| file.starts_with(&folder)))
}

/// Says what a sweep came to, and then writes it down: a full disk takes the files and not the answer.
fn conclude(args: &Args, folder: Option<Folder>, tally: &Tally, wall: Duration) -> Exit {
    output::text(&tally.render());
    let mut written = true;
    if let Some(junit) = &args.junit
        && let Err(error) = store::write(junit, &tally.junit())
    {
        output::complaint!("{error}");
        written = false;
    }
    if let Some(Err(error)) = folder.map(|folder| folder.finish(tally, wall)) {
        output::complaint!("{error}");
        written = false;
    }
    if written { tally.exit(args.inconclusive_at_most) } else { Exit::Unfinished }
}

/// A sweep that goes on.
struct Sweep<'s> {
    children: &'s Children,
    folder: Option<&'s Folder>,
    plan: Mutex<Plan>,
    tally: Mutex<Tally>,
    pace: Mutex<Pace>,
    meter: Mutex<Meter>,
    watch: Stopwatch,
    budget: Option<Duration>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sweep<'_> {
    /// Makes the runs, as many at a time as asked, until they are over, the time is up or the user stops them.
    fn make(self, jobs: usize) -> (Tally, Duration) {
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| self.work())).collect();
            while !workers.iter().all(|worker| worker.is_finished()) {
                self.show();
                std::thread::park_timeout(LOOK_INTERVAL);
            }
        });
        let wall = self.watch.elapsed();
        let mut tally = self.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        tally.ended(wall, self.children.stopped());
        let meter = self.meter.into_inner().unwrap_or_else(PoisonError::into_inner);
        meter.finish();
        meter.event(|| tally.as_json("end", wall, None));
        (tally, wall)
    }

    fn work(&self) {
        while !self.children.stopped() && self.budget.is_none_or(|budget| self.watch.elapsed() < budget) {
            let next = lock(&self.plan).next();
            let Some(run) = next else { return };
            lock(&self.tally).begun();
            let watch = Stopwatch::start();
            let made = match self.folder {
                Some(folder) => folder.make(self.children, &run),
                None => self.children.run(&run.source, run.seed, &[], &|| false),
            };
            let outcome = match made {
                Ok(None) => return,
                Ok(Some(outcome)) => Ok(outcome),
                Err(error) => {
                    let why = format!("{}: cannot run it: {error}", run.source.name());
                    self.folder.inspect(|folder| folder.failed(&run, &why));
                    Err(why)
                }
            };
            lock(&self.pace).ended(&run.source, watch.elapsed());
            let verdict = outcome.as_ref().ok().and_then(|outcome| Some(outcome.record.as_ref()?.verdict.name()));
            let lines = lock(&self.tally).add(&run, outcome);
            let meter = lock(&self.meter);
            if let Some(lines) = lines {
                meter.aside(|| output::line!("{lines}"));
            }
            meter.event(|| {
                json!({
                    "event": "run",
                    "number": run.number,
                    "scenario": run.source.name(),
                    "seed": run.seed,
                    "verdict": verdict,
                    "wall_s": watch.elapsed().as_secs_f64(),
                    "reproduce": run.source.command("run", run.seed),
                })
            });
        }
    }

    fn show(&self) {
        let wall = self.watch.elapsed();
        let left = match self.budget {
            Some(budget) => Some(budget.saturating_sub(wall)),
            None => lock(&self.pace).left(),
        };
        let (share, line, json) = {
            let tally = lock(&self.tally);
            let share =
                self.budget.map_or_else(|| tally.share_done(), |budget| wall.div_duration_f64(budget).min(1.0));
            (share, tally.progress(left), tally.as_json("progress", wall, left))
        };
        let mut meter = lock(&self.meter);
        meter.show(share, wall, || line);
        meter.report(wall, || json);
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse::<f64>().ok();
    number
        .filter(|number| (0.0..=100.0).contains(number))
        .ok_or_else(|| format!("{text:?} is no percentage; write a number from 0 to 100, e.g. 2.5"))
}
