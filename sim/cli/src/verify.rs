//! `squall verify-determinism`: a seed in two processes that have as little in common as can be arranged.
//!
//! One process is stopped for over a second several times, a busy core runs beside them, and they differ in environment, in the
//! number of threads on which hosts step, in whether hosts are looked at while they sleep and, by the kernel's address
//! randomisation, in addresses. Every simulated second's
//! digests of wire bytes, events and durable writes must agree. Where they do not, both run again and the first event that differs is named.

use crate::child::dies_with_its_parent;
use crate::exit::Exit;
use crate::input;
use crate::output;
use crate::source::Source;
use squall_reports::Verdict;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub struct Args {
    /// Scenario files, or folders of them.
    files: Vec<PathBuf>,
    /// The scenario that the seed draws, instead of files.
    #[arg(long)]
    swarm: bool,
    /// The seed.
    #[arg(long, default_value_t = 0, value_parser = input::seed, allow_negative_numbers = true)]
    seed: u64,
}

/// After so many simulated seconds one of the two is stopped, and for how long. A small run makes them in a tenth of a second.
const STOPS_AFTER: [usize; 3] = [3, 12, 30];
const STOP_FOR: Duration = Duration::from_millis(1_100);
/// How long the kernel may take to stop a process.
const STOPS_WITHIN: Duration = Duration::from_millis(50);
/// On how many threads the hosts of the other one step.
const OTHER_THREADS: &str = "3";
/// The load beside them spins so often (some ten milliseconds), then pauses.
const LOAD_SPINS: u64 = 500_000;
const LOAD_PAUSE: Duration = Duration::from_millis(20);

pub fn main(args: Args) -> Exit {
    let sources = match Source::all_of(&args.files, args.swarm) {
        Ok(sources) => sources,
        Err(exit) => return exit,
    };
    let mut worst = Exit::Pass;
    for source in sources {
        match compare(&source, args.seed) {
            Ok(Ok(agreed)) => {
                output::line!("same      {} seed {}: {agreed}", source.name(), args.seed)
            }
            Ok(Err(difference)) => {
                output::line!("DIFFERENT {} seed {}: {difference}", source.name(), args.seed);
                worst = Exit::Violated;
            }
            Err(error) => {
                output::complaint!("{}: cannot run it twice: {error}", source.name());
                return Exit::Unfinished;
            }
        }
    }
    worst
}

fn start(source: &Source, seed: u64, other: bool, extra: &[&str]) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").args(source.arguments(seed)).args(extra);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    if other {
        command.env("SQUALL_OTHER_ENVIRONMENT", "x".repeat(5_000)).env_remove("HOME");
    }
    // One goes from event to event, the other looks at every host at every tick.
    command.args(if other { &["--threads", OTHER_THREADS][..] } else { &["--threads", "1", "--every-tick"] });
    dies_with_its_parent(&mut command);
    command.spawn()
}

/// What a run prints. `on_line` is told how many lines there are so far, as they come.
fn lines(child: &mut Child, mut on_line: impl FnMut(usize)) -> std::io::Result<Vec<String>> {
    let stdout = child.stdout.take().ok_or_else(|| std::io::Error::other("no standard output"))?;
    let mut lines: Vec<String> = Vec::new();
    for line in BufReader::new(stdout).lines() {
        lines.push(line?);
        on_line(lines.len());
    }
    let status = child.wait()?;
    let verdicts = [Verdict::Pass, Verdict::Violated, Verdict::Inconclusive];
    if verdicts.into_iter().any(|verdict| Exit::is(verdict, status.code())) {
        Ok(lines)
    } else {
        Err(std::io::Error::other(format!("a run ended with {status}")))
    }
}

/// A core that is busy with something else until this is dropped.
struct Load {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            // Busy every other moment: what others get of the cores then changes all the time.
            let mut spins = 0u64;
            while !until.load(Ordering::Relaxed) {
                std::hint::spin_loop();
                spins += 1;
                if spins.is_multiple_of(LOAD_SPINS) {
                    std::thread::park_timeout(LOAD_PAUSE);
                }
            }
        });
        Load { over, thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that only spins cannot panic.
            let _ = thread.join();
        }
    }
}

/// What agrees, in words, or what does not.
fn compare(source: &Source, seed: u64) -> std::io::Result<Result<String, String>> {
    let load = Load::start();
    let mut steady = start(source, seed, false, &["--digests"])?;
    let mut stopped = start(source, seed, true, &["--digests"])?;
    let steady = std::thread::spawn(move || lines(&mut steady, |_| {}));
    let (pid, mut stops) = (stopped.id(), 0);
    let b = lines(&mut stopped, |seconds| {
        if STOPS_AFTER.contains(&seconds) {
            stops += u32::from(stop_for_a_while(pid));
        }
    })?;
    let a = steady.join().map_err(|_| std::io::Error::other("the reader panicked"))??;
    drop(load);
    if ![&a, &b].iter().all(|lines| lines.last().is_some_and(|last| last.starts_with("{\"end\""))) {
        return Err(std::io::Error::other("a run could not be finished"));
    }
    if stops == 0 {
        return Err(std::io::Error::other(
            "the run was over before it could be stopped once; name a longer scenario",
        ));
    }
    if let Some(second) = (0..a.len().max(b.len())).find(|i| a.get(*i) != b.get(*i)) {
        let hosts = differing_hosts(a.get(second), b.get(second));
        let event = first_event(source, seed, second)?;
        return Ok(Err(format!("second {second}, {hosts}; {event}")));
    }
    let digest = a.last().and_then(|last| last.split('"').nth(3)).unwrap_or_default();
    Ok(Ok(format!("{} simulated seconds, digest {digest}, one process stopped {stops} times", a.len() - 1)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this thread stops another process for a while; no simulation runs on it"
)]
/// Stops the process for a while. False if it was over already.
fn stop_for_a_while(pid: u32) -> bool {
    let signal = |signal| {
        // SAFETY: kill takes two integers and touches no memory. The child is reaped only when all of its output has been read, which
        // is not so yet, so the number is still its own or a zombie's.
        unsafe { libc::kill(pid as libc::pid_t, signal) == 0 }
    };
    let asked = Instant::now();
    if !signal(libc::SIGSTOP) {
        return false;
    }
    while !is_stopped(pid) {
        if asked.elapsed() > STOPS_WITHIN {
            // A zombie takes signals and cannot be stopped.
            signal(libc::SIGCONT);
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(STOP_FOR);
    signal(libc::SIGCONT)
}

/// Whether the kernel says that the process is stopped (`T`, proc_pid_stat(5)).
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the state is in brackets and may hold anything.
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

fn differing_hosts(a: Option<&String>, b: Option<&String>) -> String {
    let parse = |line: Option<&String>| line.and_then(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    let (Some(a), Some(b)) = (parse(a), parse(b)) else { return "one run is longer than the other".into() };
    let mut differing = Vec::new();
    for part in ["wire", "disks"] {
        let pairs = a[part].as_array().into_iter().flatten().zip(b[part].as_array().into_iter().flatten());
        differing.extend(pairs.filter(|(x, y)| x != y).map(|(x, _)| format!("{part} of {}", x[0])));
    }
    if a["history"] != b["history"] {
        differing.push("history".into());
    }
    differing.join(", ")
}

/// Runs both again, keeping everything of that second, and finds the first line that differs.
fn first_event(source: &Source, seed: u64, second: usize) -> std::io::Result<String> {
    if second == 0 {
        return Ok("in the first second, which is not traced".into());
    }
    let extra = ["--trace-second", &second.to_string()];
    let (mut a, mut b) = (start(source, seed, false, &extra)?, start(source, seed, true, &extra)?);
    let a = std::thread::spawn(move || lines(&mut a, |_| {}));
    let b = lines(&mut b, |_| {})?;
    let a = a.join().map_err(|_| std::io::Error::other("the reader panicked"))??;
    Ok(match (0..a.len().max(b.len())).find(|i| a.get(*i) != b.get(*i)) {
        Some(i) => {
            let show = |lines: &[String]| lines.get(i).cloned().unwrap_or_else(|| "nothing".into());
            format!("first difference:\n  {}\n  {}", show(&a), show(&b))
        }
        None => "a second pair of runs agreed in that second: the difference comes and goes".into(),
    })
}
