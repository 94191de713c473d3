//! `squall bugs`: lists the bugs that can be planted, and with `--check` plants each and sees that the right check is the
//! first to catch it.
//!
//! A check that is never seen to fail proves nothing. Nor does a scenario that fails by itself: those that find bugs must pass
//! without one.

mod explaining;
mod shrinking;
mod why;

use crate::child::{self, Children};
use crate::exit::Exit;
use crate::input;
use crate::output;
use crate::overwrite;
use crate::source::Source;
use crate::stop;
use squall_reports::RunRecord;
use squall_reports::record::Verdict;
use squall_reports::text_table::TextTable;
use squall_scenarios::Span;
use squall_world::plants::{BUGS, Bug};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

#[derive(clap::Args)]
pub struct Args {
    /// Only these bugs; all when absent.
    names: Vec<String>,
    /// Run each bug's scenario with the bug planted until the right check catches it.
    #[arg(long)]
    check: bool,
    /// Seeds that are tried from each start.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Starts: start S tries the seeds S000, S001, and so on.
    #[arg(long, default_value_t = 3, requires = "check", value_parser = clap::value_parser!(u64).range(1..=1000))]
    starts: u64,
    /// Processes at a time; one for each core when absent.
    #[arg(long, value_parser = input::jobs, allow_negative_numbers = true)]
    jobs: Option<usize>,
    /// The folder of the scenarios that find bugs.
    #[arg(long, value_name = "DIR", default_value = "scenarios/bugs")]
    scenarios: PathBuf,
    /// Hunt in the standard swarm, which knows none of the bugs, instead of their scenarios.
    #[arg(long, requires = "check")]
    swarm: bool,
    /// Shrink a failing run of each bug, and compare with the least that can show it.
    #[arg(long, conflicts_with = "check", group = "shrinks")]
    shrink: bool,
    /// Explain the first run that finds each bug, as `squall explain` does, which knows nothing of the bug.
    #[arg(long, conflicts_with_all = ["check", "shrink"])]
    explain: bool,
    /// Shrink a failing run of each bug, and see whether `squall explain --why` names the fault, where one is left.
    #[arg(long, conflicts_with_all = ["check", "explain"], group = "shrinks")]
    why: bool,
    /// Wall time that shrinking one bug may take, and asking why.
    #[arg(long, value_name = "TIME", default_value = "90s", requires = "shrinks")]
    limit: Span,
    /// Write each shrunk scenario into this folder.
    #[arg(long, value_name = "DIR", requires = "shrinks")]
    out: Option<PathBuf>,
}

/// How far apart starts are.
const SEEDS_PER_START: u64 = 1_000;
/// Seeds with which a scenario must pass without a bug.
const CLEAN_SEEDS: u64 = 3;

pub fn main(args: Args) -> Exit {
    let named: Result<Vec<&Bug>, Exit> = args.names.iter().map(|name| input::bug(name)).collect();
    let bugs: Vec<&Bug> = match named {
        Ok(named) if named.is_empty() => BUGS.iter().collect(),
        Ok(named) => named,
        Err(exit) => return exit,
    };
    if (args.check || args.shrink || args.explain || args.why) && !has_scenarios(&args) {
        return Exit::BadInput;
    }
    if args.out.as_deref().is_some_and(|out| overwrite::is_same(out, &args.scenarios)) {
        output::complaint!(
            "{}: --out would write over the scenarios that are read; name another folder",
            args.scenarios.display()
        );
        return Exit::BadInput;
    }
    if args.explain {
        return explaining::main(&args, &bugs);
    }
    if args.why {
        return why::main(&args, &bugs);
    }
    match (args.check, args.shrink) {
        (true, _) => check(&args, &bugs),
        (false, true) => shrinking::main(&args, &bugs),
        (false, false) => list(&args, &bugs),
    }
}

fn list(args: &Args, bugs: &[&Bug]) -> Exit {
    if !args.names.is_empty() {
        for bug in bugs {
            output::line!(
                "{}: {}\n  caught by {} in {}\n  needs {} and {}: {}",
                bug.name,
                bug.how,
                bug.caught_by.join(" or "),
                file_of(&args.scenarios, bug.scenario).display(),
                counted(bug.devices, "device"),
                counted(bug.faults, "fault"),
                bug.why
            );
        }
        return Exit::Pass;
    }
    let mut table = TextTable::new(6, &["bug", "caught by", "scenario", "devices", "faults", "how it happens"]);
    for bug in bugs {
        let (devices, faults) = (bug.devices.to_string(), bug.faults.to_string());
        table.row(vec![
            bug.name.into(),
            bug.caught_by.join(", "),
            bug.scenario.into(),
            devices,
            faults,
            bug.how.into(),
        ]);
    }
    print(&table);
    Exit::Pass
}

fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn print(table: &TextTable) {
    let mut text = String::new();
    table.write(&mut text, |_, _, cell| cell);
    output::text(&text);
}

fn file_of(folder: &Path, scenario: &str) -> PathBuf {
    folder.join(format!("{scenario}.toml"))
}

/// What a process of its own is to find out.
#[derive(Clone, Copy)]
enum Task {
    /// That the scenario passes with this seed when nothing is planted.
    Clean { scenario: &'static str, seed: u64 },
    /// With which seed from this start the bug is caught.
    Hunt { bug: &'static Bug, start: u64 },
}

/// What came of the seeds from one start.
#[derive(Default)]
struct Hunt {
    /// The check that caught the bug, the seeds that it took, and the time of the first violation in simulated µs.
    caught: Option<(String, u64, u64)>,
    /// Checks that were first and are none of the bug's, and runs that did not finish.
    wrong: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Findings {
    hunts: BTreeMap<&'static str, Vec<Hunt>>,
    /// Runs without a bug: how many, and those that did not pass.
    clean: u64,
    unclean: Vec<String>,
}

/// What all workers share.
struct Work<'a> {
    args: &'a Args,
    children: Children,
    tasks: Mutex<VecDeque<Task>>,
    findings: Mutex<Findings>,
}

/// Whether the scenarios that find bugs are there; says what to do where they are not.
fn has_scenarios(args: &Args) -> bool {
    let there = args.scenarios.is_dir();
    if !there {
        output::complaint!(
            "{}: no such folder; run this in a checkout, or name the folder of scenarios/bugs with --scenarios",
            args.scenarios.display()
        );
    }
    there
}

fn check(args: &Args, bugs: &[&'static Bug]) -> Exit {
    let mut scenarios: BTreeSet<&'static str> = bugs.iter().map(|bug| bug.scenario).collect();
    if args.swarm {
        // That the swarm passes without a bug is for a sweep to show.
        scenarios.clear();
    }
    for scenario in &scenarios {
        if let Err(exit) = input::load(&file_of(&args.scenarios, scenario)) {
            return exit;
        }
    }
    let children = match Children::new(stop::flag()) {
        Ok(children) => children,
        Err(error) => {
            output::complaint!("cannot start runs in processes of their own: {error}");
            return Exit::BadInput;
        }
    };
    let clean = scenarios.iter().flat_map(|s| (0..CLEAN_SEEDS).map(|seed| Task::Clean { scenario: s, seed }));
    let hunts = bugs.iter().flat_map(|bug| (0..args.starts).map(|start| Task::Hunt { bug, start }));
    let tasks: VecDeque<Task> = clean.chain(hunts).collect();
    let jobs = child::jobs(args.jobs, tasks.len() as u64);
    let work = Work { args, children, tasks: Mutex::new(tasks), findings: Mutex::default() };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| work.carry_out());
        }
    });
    let stopped = work.children.stopped();
    let findings = work.findings.into_inner().unwrap_or_else(PoisonError::into_inner);
    conclude(bugs, &findings, args.starts, stopped)
}

impl Work<'_> {
    fn carry_out(&self) {
        while !self.children.stopped() {
            let next = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                None => return,
                Some(Task::Clean { scenario, seed }) => self.clean(scenario, seed),
                Some(Task::Hunt { bug, start }) => self.hunt(bug, start),
            }
        }
    }

    fn findings(&self) -> std::sync::MutexGuard<'_, Findings> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clean(&self, scenario: &'static str, seed: u64) {
        let file = file_of(&self.args.scenarios, scenario);
        let Some(run) = self.run(&Source::File(file.clone()), seed, None) else { return };
        let mut findings = self.findings();
        findings.clean += 1;
        let verdict = match &run {
            Ok(record) if record.verdict == Verdict::Pass => return,
            Ok(record) => record.verdict.name().to_owned(),
            Err(reason) => reason.clone(),
        };
        findings.unclean.push(format!("{verdict}: squall run {} --seed {seed}", input::quoted(&file)));
    }

    fn hunt(&self, bug: &'static Bug, start: u64) {
        let source = match self.args.swarm {
            true => Source::Swarm,
            false => Source::File(file_of(&self.args.scenarios, bug.scenario)),
        };
        let mut hunt = Hunt::default();
        for tried in 1..=self.args.seeds {
            let seed = start * SEEDS_PER_START + tried - 1;
            let Some(run) = self.run(&source, seed, Some(bug)) else { return };
            match run.as_ref().map(|record| caught(bug, record)) {
                Ok(Caught::Nothing) => continue,
                Ok(Caught::By(check, t)) => {
                    // It must be the bug that was caught: without it, nothing is violated.
                    match self.run(&source, seed, None) {
                        None => return,
                        Some(Ok(record)) if record.verdict != Verdict::Violated => {
                            hunt.caught = Some((check, tried, t));
                            break;
                        }
                        Some(_) => *hunt.wrong.entry("what is violated without it too".into()).or_default() += 1,
                    }
                }
                Ok(Caught::ByOthers(checks)) => *hunt.wrong.entry(checks).or_default() += 1,
                Err(reason) => *hunt.wrong.entry(reason.clone()).or_default() += 1,
            }
        }
        self.findings().hunts.entry(bug.name).or_default().push(hunt);
    }

    /// Runs a seed in a process; `None` when everything is to stop. A run that did not finish says why.
    fn run(&self, source: &Source, seed: u64, bug: Option<&Bug>) -> Option<Result<RunRecord, String>> {
        let planted = bug.map(|bug| ["--plant".as_ref(), OsStr::new(bug.name)]);
        let extra: Vec<&OsStr> = planted.into_iter().flatten().collect();
        match self.children.run(source, seed, &extra, &|| false) {
            Ok(outcome) => outcome.map(|outcome| {
                let said = outcome.text.lines().last().unwrap_or("it said nothing").to_owned();
                outcome.record.ok_or_else(|| format!("a run did not finish ({said})"))
            }),
            Err(error) => Some(Err(format!("a run could not be started ({error})"))),
        }
    }
}

/// What a run with a bug in it came to.
enum Caught {
    Nothing,
    /// By this check first, at this time.
    By(String, u64),
    ByOthers(String),
}

/// Whether the right check caught the bug: the first violation is of one that the bug names, and the one that it names first,
/// whose property it breaks, is violated by the end of the run.
fn caught(bug: &Bug, record: &RunRecord) -> Caught {
    let violated = || record.checks.iter().filter_map(|c| Some((c.first.as_ref()?.t, c.name.as_str())));
    let Some(first) = violated().map(|(t, _)| t).min() else { return Caught::Nothing };
    let checks: Vec<&str> = violated().filter(|(t, _)| *t == first).map(|(_, name)| name).collect();
    let broken = violated().any(|(_, name)| name == bug.caught_by[0]);
    match bug.caught_by.iter().find(|check| checks.contains(*check)) {
        Some(check) if broken => Caught::By((*check).to_owned(), first),
        _ => Caught::ByOthers(checks.join(" and ")),
    }
}

fn conclude(bugs: &[&'static Bug], findings: &Findings, starts: u64, stopped: bool) -> Exit {
    let header = ["bug", "found", "by", "median seeds", "worst", "simulated s"];
    let mut table = TextTable::new(3, &header);
    let (mut found, mut wrong_lines) = (0, Vec::new());
    for bug in bugs {
        let hunts = findings.hunts.get(bug.name).map_or(&[][..], |hunts| hunts.as_slice());
        let caught: Vec<&(String, u64, u64)> = hunts.iter().filter_map(|hunt| hunt.caught.as_ref()).collect();
        let everywhere = !hunts.is_empty() && caught.len() as u64 == starts;
        found += usize::from(everywhere);
        let answer = match (everywhere, hunts.len() as u64 == starts) {
            (true, _) => "yes".to_owned(),
            (false, true) => format!("{} of {starts}", caught.len()),
            (false, false) => "not run".to_owned(),
        };
        let by: BTreeSet<&str> = caught.iter().map(|(check, ..)| check.as_str()).collect();
        let (mut seeds, mut times): (Vec<u64>, Vec<u64>) = caught.iter().map(|(_, n, t)| (*n, *t)).unzip();
        seeds.sort_unstable();
        times.sort_unstable();
        let cell = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        table.row(vec![
            bug.name.into(),
            answer,
            by.into_iter().collect::<Vec<_>>().join(", "),
            cell(seeds.get(seeds.len() / 2).map(u64::to_string)),
            cell(seeds.last().map(u64::to_string)),
            cell(times.get(times.len() / 2).map(|us| format!("{:.1}", *us as f64 / 1e6))),
        ]);
        let mut wrong: BTreeMap<&str, u64> = BTreeMap::new();
        for (what, count) in hunts.iter().flat_map(|hunt| &hunt.wrong) {
            *wrong.entry(what).or_default() += count;
        }
        wrong_lines
            .extend(wrong.iter().map(|(what, count)| format!("  {}: first {what}, {count} runs", bug.name)));
    }
    print(&table);
    if !wrong_lines.is_empty() {
        output::line!(
            "\nnot counted, since another check was first or the run did not finish:\n{}",
            wrong_lines.join("\n")
        );
    }
    for line in &findings.unclean {
        output::line!("without a bug {line}");
    }
    let clean = findings.clean - findings.unclean.len() as u64;
    let interrupted = if stopped { "interrupted: " } else { "" };
    let alone = match findings.clean {
        0 => String::new(),
        runs => format!("; without a bug {clean} of {runs} runs passed"),
    };
    output::line!("\n{interrupted}{found} of {} found{alone}", bugs.len());
    if stopped || found < bugs.len() || !findings.unclean.is_empty() { Exit::Violated } else { Exit::Pass }
}
