//! `squall sweep`: many seeds of many scenarios, each in a process of its own.
//!
//! A process a seed, because what is interposed and what libraries keep for a process belong to one run.

use crate::input::{self, BAD_INPUT, Seeds, Shard};
use crate::output;
use std::collections::VecDeque;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    /// Scenario files, or folders of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Seeds, A..B without B, or one number.
    #[arg(long, default_value = "0..20")]
    seeds: Seeds,
    /// Processes at a time; one for each core when absent.
    #[arg(long)]
    jobs: Option<usize>,
    /// Only this part of the runs, e.g. 2/4: for spreading a sweep over machines.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
}

/// How often a running process is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Tally {
    passed: u64,
    violated: Vec<String>,
    inconclusive: Vec<String>,
    failed: Vec<String>,
}

pub fn main(args: Args) -> u8 {
    let files = match input::expand(&args.files) {
        Ok(files) => files,
        Err(code) => return code,
    };
    for file in &files {
        if let Err(code) = input::load(file) {
            return code;
        }
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("cannot find my own program to start it again: {error}");
            return BAD_INPUT;
        }
    };
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into)).max(1);
    let all = files.iter().flat_map(|file| args.seeds.0.clone().map(move |seed| (file.clone(), seed)));
    let mine = all.enumerate().filter(|(run, _)| args.shard.is_none_or(|shard| shard.has(*run)));
    let work: VecDeque<(PathBuf, u64)> = mine.map(|(_, run)| run).collect();
    let total = work.len();
    if total == 0 {
        eprintln!("this part of the sweep has no runs; ask for more seeds, or for fewer parts");
        return BAD_INPUT;
    }
    let (work, tally) = (Mutex::new(work), Mutex::new(Tally::default()));
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Where it cannot be watched for, a signal ends the sweep without its count: no reason not to begin.
        let _ = signal_hook::flag::register(signal, Arc::clone(&stop));
    }
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let next = work.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((file, seed)) = next else { return };
                    let mut command = Command::new(&program);
                    command.arg("run").arg(&file).args(["--seed", &seed.to_string(), "--quiet"]);
                    // A group of its own: a terminal's Ctrl-C is for the sweep to pass on.
                    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                    let output = command.spawn().and_then(|child| finish(child, &stop));
                    match output {
                        Ok(None) => return,
                        Ok(Some(output)) => report(&input::quoted(&file), seed, Ok(output), &tally),
                        Err(error) => report(&input::quoted(&file), seed, Err(error), &tally),
                    }
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let run = tally.passed as usize + tally.violated.len() + tally.inconclusive.len() + tally.failed.len();
    let interrupted = if stop.load(Ordering::Relaxed) { "interrupted: " } else { "" };
    output::line!(
        "{interrupted}{run} of {total} runs: {} passed, {} violated, {} inconclusive, {} did not finish",
        tally.passed,
        tally.violated.len(),
        tally.inconclusive.len(),
        tally.failed.len()
    );
    match (tally.failed.is_empty(), tally.violated.is_empty(), tally.inconclusive.is_empty() && run == total) {
        (false, _, _) => BAD_INPUT,
        (true, false, _) => 1,
        (true, true, false) => 3,
        (true, true, true) => 0,
    }
}

/// Waits for a run; `None` when the sweep was interrupted and the run with it.
pub fn finish(mut child: Child, stop: &AtomicBool) -> std::io::Result<Option<Output>> {
    loop {
        if child.try_wait()?.is_some() {
            // A run prints a few lines, far less than a pipe holds.
            return child.wait_with_output().map(Some);
        }
        if stop.load(Ordering::Relaxed) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::park_timeout(POLL_INTERVAL);
    }
}

fn report(file: &str, seed: u64, output: std::io::Result<std::process::Output>, tally: &Mutex<Tally>) {
    let reproduce = format!("squall run {file} --seed {seed}");
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let (code, text) = match output {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8_lossy(&text).trim_end().to_owned())
        }
        Err(error) => (None, error.to_string()),
    };
    if code == Some(0) {
        tally.passed += 1;
        return;
    }
    output::line!("{text}\n  reproduce: {reproduce}");
    match code {
        Some(1) => tally.violated.push(reproduce),
        Some(3) => tally.inconclusive.push(reproduce),
        _ => tally.failed.push(reproduce),
    }
}
