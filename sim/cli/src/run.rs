//! `squall run`: one scenario, one seed, one verdict.

use crate::about::about;
use crate::exit::Exit;
use crate::explain;
use crate::input;
use crate::output;
use crate::overwrite::{self, Written};
use crate::progress::{Display, Form};
use crate::source::Source;
use crate::stop;
use squall_history::Filter;
use squall_reports::lock::{FolderLock, LockError};
use squall_reports::{RunRecord, store};
use squall_scenarios::Scenario;
use squall_world::memory::{MemoryEstimate, available_bytes, size};
use squall_world::{RunError, RunOptions, SecondDigest};
use std::cell::RefCell;
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

#[derive(clap::Args)]
pub struct Args {
    /// The scenario file.
    file: Option<PathBuf>,
    /// Run the scenario that the seed draws, instead of a file.
    #[arg(long)]
    swarm: bool,
    /// The seed that decides everything random; the file's own, or 0, when absent.
    #[arg(long, value_parser = input::seed, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Let everything that the network draws be drawn anew: jitter, losses and drops, and nothing else. `squall explain --why` does.
    #[arg(long, hide = true, value_name = "N", default_value_t = 0)]
    salt: u64,
    /// Plant this bug in the system under test and see whether the checks catch it; `squall bugs` lists them.
    #[arg(long, value_name = "NAME")]
    plant: Option<String>,
    /// Write run.json, junit.xml and report.html into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write history.jsonl: every event, one JSON object a line. Needs --out.
    #[arg(long, requires = "out")]
    history: bool,
    /// Like --history, with only what this conversation or device (by its number) had part in, and each of its hops through the
    /// hosts. Can be given several times.
    #[arg(long, value_name = "ID", requires = "out", conflicts_with = "history", value_parser = input::id, allow_negative_numbers = true)]
    history_of: Vec<u128>,
    /// On how many threads hosts step; the run is the same on any number. One in a run of less than 5,000 clients and as many as
    /// there are cores, at most eight, in a larger one, when absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: Option<u64>,
    /// Look at every host at every tick, to see that none oversleeps; the run is the same, and takes longer.
    #[arg(long)]
    every_tick: bool,
    /// Do not explain violations: the run is not run again for its report.
    #[arg(long, hide = true)]
    no_autopsy: bool,
    /// Print one line instead of the summary and no progress.
    #[arg(long)]
    quiet: bool,
    /// For whom progress is shown on standard error: for a person, or as JSON lines for a program, also with --quiet.
    #[arg(long, value_enum, default_value_t)]
    progress: Form,
    /// Print the digests of every simulated second as JSON lines instead of the summary.
    #[arg(long, hide = true)]
    digests: bool,
    /// Print every event and segment of this simulated second (above 0) instead of the summary.
    #[arg(long, hide = true, value_parser = clap::value_parser!(u64).range(1..))]
    trace_second: Option<u64>,
}

pub fn main(args: Args) -> Exit {
    let plant = args.plant.as_deref().map(input::bug).transpose();
    let loaded = plant.and_then(|plant| {
        let source = Source::of(args.file, args.swarm)?;
        let (scenario, seed) = source.load(args.seed)?;
        Ok((plant, source, scenario, seed))
    });
    let (plant, source, scenario, seed) = match loaded {
        Ok(loaded) => loaded,
        Err(exit) => {
            // Whoever looks into the folder after this must not find that an earlier run has passed.
            if let Some(Err(error)) = args.out.as_deref().map(clear_results) {
                output::complaint!("{error}");
            }
            return exit;
        }
    };
    if let Source::File(file) = &source {
        let out = Written::folder("--out", args.out.as_deref(), &store::RUN_FILES);
        if let Err(exit) = overwrite::refuse(std::slice::from_ref(file), &[out]) {
            return exit;
        }
    }
    let _lock = match args.out.as_deref().map(FolderLock::take).transpose() {
        Ok(lock) => lock,
        Err(error) => {
            output::complaint!("{error}");
            return Exit::BadInput;
        }
    };
    if let Some(out) = &args.out
        && let Err(error) = store::clear(out)
    {
        output::complaint!("{error}; name another folder with --out");
        return Exit::BadInput;
    }
    let form = args.progress;
    let quiet = args.quiet || form == Form::Json || args.digests || args.trace_second.is_some();
    if let Err(exit) = fits(&scenario, &source.name(), quiet) {
        return exit;
    }
    if source == Source::Swarm && !quiet {
        output::complaint!("seed {seed} draws: {}", squall_generators::swarm::in_words(&scenario));
    }
    let said = Scenario { seed: Some(seed), ..scenario.clone() }.to_short_toml();
    let planted = plant.map_or_else(String::new, |bug| format!(" --plant {}", bug.name));
    let salt = args.salt;
    let salted = if salt > 0 { format!(" --salt {salt}") } else { String::new() };
    let reproduce = source.command("run", seed) + &planted + &salted;
    let machine_readable = args.digests || args.trace_second.is_some();
    let wants_history = args.history || !args.history_of.is_empty();
    let history = args.out.as_ref().filter(|_| wants_history).map(|out| out.join(store::HISTORY_FILE));
    let (followed, history_of) = (history.clone(), args.history_of.clone());
    let stop = stop::flag_or_end();
    #[expect(clippy::disallowed_methods, reason = "when a run was made is told in its record and enters no run")]
    let started = SystemTime::now();
    // A thread of its own: what libraries keep for a thread then belongs to the run.
    let (digests, trace_second) = (args.digests, args.trace_second);
    let threads = args.threads.map(|threads| threads as usize);
    let result = std::thread::Builder::new()
        .name("run".into())
        .stack_size(16 << 20)
        .spawn(move || {
            let display = Rc::new(RefCell::new(Display::new(quiet, form)));
            let on_progress = Rc::clone(&display);
            let options = RunOptions {
                seed,
                salt,
                history,
                filter: Filter::of_numbers(&args.history_of),
                follow: !args.history_of.is_empty(),
                on_event: None,
                plant,
                reproduce,
                on_second: digests.then(|| Box::new(print_digest) as Box<dyn FnMut(&SecondDigest)>),
                trace_second,
                on_trace: trace_second.map(|_| Box::new(print_line) as Box<dyn FnMut(&str)>),
                on_progress: Some(Box::new(move |progress| on_progress.borrow_mut().show(progress))),
                every_tick: args.every_tick,
                threads,
                stop,
            };
            let result = squall_world::run(&scenario, options);
            display.borrow().finish();
            (result, scenario)
        })
        .expect("a thread can be started")
        .join();
    let (result, scenario) = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    // What a run came to is told also where its history could not be written.
    let (mut record, lost) = match result {
        Ok(record) => (record, None),
        Err(RunError::History { path, source, ended: Some(record) }) => {
            (*record, Some(RunError::History { path, source, ended: None }))
        }
        Err(error) => {
            output::complaint!("the run could not be finished and proves nothing: {error}");
            return Exit::Unfinished;
        }
    };
    if !args.no_autopsy && !machine_readable && explain::is_short(&record) {
        match explain::autopsies(&scenario, &record, plant) {
            Ok(autopsies) => record.autopsies = autopsies,
            Err(error) => output::complaint!("violations are not explained: {error}"),
        }
    }
    if digests && !record.interrupted {
        // What is not there when a run did not come to its end.
        print_line(&serde_json::json!({ "end": record.digest }).to_string());
    }
    if args.quiet {
        print_line(&one_line(&record));
    } else if !machine_readable {
        output::text(&squall_reports::summary::render(&record, std::io::stdout().is_terminal()));
    }
    // After the verdict was printed: a full disk takes the files and not the answer.
    if let Some(error) = lost {
        output::complaint!("{error}; nothing of the run was kept");
        if let Some(Err(error)) = args.out.as_deref().map(store::clear_results) {
            output::complaint!("{error}");
        }
        return Exit::Unfinished;
    }
    if let Some(history) = followed.filter(|_| !history_of.is_empty()) {
        // A history that cannot be read is told by whoever opens it.
        for id in without_part(&history, &history_of).unwrap_or_default() {
            output::complaint!("--history-of {id}: no conversation or device of this number had part in this run");
        }
    }
    if let Some(out) = &args.out {
        record.about = Some(about(started));
        if let Err(error) = squall_reports::write_all(out, &record, &said) {
            output::complaint!("{error}");
            return Exit::Unfinished;
        }
    }
    record.verdict.into()
}

/// Removes what an earlier run has come to, unless another one is about to come to something in this folder.
fn clear_results(out: &Path) -> Result<(), LockError> {
    let _lock = FolderLock::if_there(out)?;
    Ok(store::clear_results(out)?)
}

/// Which of these numbers are those of no conversation and no device in a history.
fn without_part(history: &Path, numbers: &[u128]) -> std::io::Result<Vec<u128>> {
    let mut missing: Vec<(u128, [String; 2])> = numbers
        .iter()
        .map(|number| (*number, ["conversation", "device"].map(|of| format!("\"{of}\":\"{number}\""))))
        .collect();
    let mut lines = std::io::BufReader::new(std::fs::File::open(history)?).lines();
    while let Some(line) = lines.next().filter(|_| !missing.is_empty()) {
        let line = line?;
        missing.retain(|(_, fields)| !fields.iter().any(|field| line.contains(field)));
    }
    Ok(missing.into_iter().map(|(number, _)| number).collect())
}

/// Says what memory the run is expected to take, and refuses where the machine cannot hold it.
fn fits(scenario: &Scenario, name: &str, quiet: bool) -> Result<(), Exit> {
    let estimate = MemoryEstimate::of(scenario);
    let (expected, available) = (estimate.bytes(), available_bytes());
    let expected_size = size(expected as f64);
    match available {
        Some(available) if expected > available => {
            output::complaint!(
                "{}: this run is expected to take {expected_size} of memory, but {} are available:\n{estimate}\n\
                 set fewer users in [population], a shorter load in [phases] or a longer send_interval in [workload], or free memory",
                name,
                size(available as f64)
            );
            return Err(Exit::BadInput);
        }
        Some(available) if !quiet => {
            output::complaint!("memory: about {expected_size} expected, {} available", size(available as f64));
        }
        None if !quiet => output::complaint!("memory: about {expected_size} expected"),
        _ => {}
    }
    Ok(())
}

/// The run in one line: verdict, counts, and what is wrong.
pub fn one_line(record: &RunRecord) -> String {
    let mut line = format!(
        "{:<12} {} seed {}: {} acked, {} shown, {:.0} x real time",
        record.verdict.name(),
        record.scenario,
        record.seed,
        record.messages.acked,
        record.messages.displayed,
        record.speed
    );
    for check in record.checks.iter().filter(|c| c.violations > 0) {
        let first = check.first.as_ref().map_or("", |v| v.message.as_str());
        let count = if check.violations == 1 { "violation" } else { "violations" };
        line.push_str(&format!("\n  {}: {} {count}; {first}", check.name, check.violations));
    }
    for reason in &record.inconclusive_because {
        line.push_str(&format!("\n  inconclusive: {reason}"));
    }
    line
}

fn print_digest(digest: &SecondDigest) {
    let line = serde_json::json!({
        "second": digest.second,
        "history": format!("{:016x}", digest.history),
        "wire": digest.wire.iter().map(|(host, d)| (host, format!("{d:016x}"))).collect::<Vec<_>>(),
        "disks": digest.disks.iter().map(|(host, d)| (host, format!("{d:016x}"))).collect::<Vec<_>>(),
    });
    print_line(&line.to_string());
}

fn print_line(line: &str) {
    output::line!("{line}");
}
