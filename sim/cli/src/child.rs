//! Runs in processes of their own, each with the record that it leaves.
//!
//! A process a run, because what is interposed and what libraries keep for a process belong to one run. **Invariant:** a child
//! does not outlive its parent, and what children write is gone when [`Children`] is.

use crate::progress::Stopwatch;
use crate::source::Source;
use squall_reports::RunRecord;
use squall_world::memory::size;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Wall time after which a run is taken for stuck and ended.
const RUN_LIMIT: Duration = Duration::from_secs(1_200);
/// How often a running process is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Its memory is looked at once in so many looks.
const MEMORY_LOOKS: u64 = 5;

/// What a run that ended left.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit status; `None` where a signal ended it.
    pub status: Option<i32>,
    /// What it printed.
    pub text: String,
    /// Its record; `None` where it could not be finished.
    pub record: Option<RunRecord>,
}

/// Starts runs and waits for them. Any number of threads may do so at once.
pub struct Children {
    program: PathBuf,
    folder: PathBuf,
    begun: AtomicU64,
    stop: Arc<AtomicBool>,
    explains: bool,
}

impl Children {
    /// Children that end when `stop` is set.
    ///
    /// # Errors
    /// When this program's own file is not found, or there is no place for what children write.
    pub fn new(stop: Arc<AtomicBool>) -> io::Result<Children> {
        let program = std::env::current_exe()?;
        Ok(Children { program, folder: new_folder()?, begun: AtomicU64::new(0), stop, explains: false })
    }

    /// From now on records of violated runs say why: each such run is run again with an ear for its first violations.
    pub fn explain(&mut self) {
        self.explains = true;
    }

    /// Whether the user has asked to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A folder that is gone when this is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a scenario to its end; `None` when it was stopped before, by the user or because `enough`.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn run(
        &self,
        source: &Source,
        seed: u64,
        extra: &[&OsStr],
        enough: &dyn Fn() -> bool,
    ) -> io::Result<Option<Outcome>> {
        let out = self.folder.join(format!("run-{}", self.begun.fetch_add(1, Ordering::Relaxed)));
        let outcome = self.run_in(&out, source, seed, extra, enough);
        // A record that stays behind is removed with the folder.
        let _ = std::fs::remove_dir_all(&out);
        outcome
    }

    /// The same, with its files in this folder, where they stay.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn run_in(
        &self,
        out: &Path,
        source: &Source,
        seed: u64,
        extra: &[&OsStr],
        enough: &dyn Fn() -> bool,
    ) -> io::Result<Option<Outcome>> {
        let mut command = Command::new(&self.program);
        command.arg("run").args(source.arguments(seed)).args(extra).arg("--quiet").arg("--out").arg(out);
        if !self.explains {
            command.arg("--no-autopsy");
        }
        // A group of its own: a terminal's Ctrl-C is for us to pass on.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        dies_with_its_parent(&mut command);
        let starved = starved_processes();
        let mut held = 0;
        let Some(output) = self.wait(command.spawn()?, &mut held, enough)? else { return Ok(None) };
        let record = squall_reports::load(out).ok();
        let text = [output.stdout, output.stderr].concat();
        let mut text = String::from_utf8_lossy(&text).trim_end().to_owned();
        if let Some(signal) = output.status.signal() {
            let starved = starved.zip(starved_processes()).is_some_and(|(before, after)| after > before);
            text =
                [text, killed(&source.command("run", seed), signal, held, starved)].join("\n").trim().to_owned();
        }
        Ok(Some(Outcome { status: output.status.code(), text, record }))
    }

    /// Waits for the end of a process. `held` is the most memory that it was seen to have.
    fn wait(&self, mut child: Child, held: &mut u64, enough: &dyn Fn() -> bool) -> io::Result<Option<Output>> {
        let watch = Stopwatch::start();
        for look in 0_u64.. {
            if watch.elapsed() > RUN_LIMIT {
                child.kill()?;
                child.wait()?;
                let limit = RUN_LIMIT.as_secs();
                return Err(io::Error::other(format!("it was not over after {limit} s, and was ended")));
            }
            if child.try_wait()?.is_some() {
                // A run prints a few lines, far less than a pipe holds.
                return child.wait_with_output().map(Some);
            }
            if self.stopped() || enough() {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            if look.is_multiple_of(MEMORY_LOOKS) {
                *held = peak_bytes(child.id()).unwrap_or(*held);
            }
            std::thread::park_timeout(POLL_INTERVAL);
        }
        unreachable!("there are more looks than a process can live")
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        // A temporary folder that cannot be removed is no reason to fail now.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What is said of a run that a signal ended.
fn killed(command: &str, signal: i32, held: u64, starved: bool) -> String {
    let name = signal_hook::low_level::signal_name(signal).unwrap_or("of no name");
    let memory = match held {
        0 => String::new(),
        held => format!("; it had held {} when last looked at", size(held as f64)),
    };
    let starved = match starved {
        true => ", and the kernel ended a process for want of memory meanwhile: run fewer at a time with --jobs",
        false => "",
    };
    format!("{command}: killed by signal {signal} ({name}){memory}{starved}")
}

/// The most memory that a process has had resident, where it still has any.
fn peak_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1_024)
}

/// How many processes the kernel has ended for want of memory since the machine began.
fn starved_processes() -> Option<u64> {
    let counts = std::fs::read_to_string("/proc/vmstat").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// A new folder among the temporary ones.
fn new_folder() -> io::Result<PathBuf> {
    let folders = (0..).map(|number| std::env::temp_dir().join(format!("squall-{}-{number}", std::process::id())));
    for folder in folders {
        match std::fs::create_dir(&folder) {
            // Left by a process that had our number and was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder),
        }
    }
    unreachable!("there are more numbers than folders")
}

/// The kernel ends the child when the thread that starts it ends, in whatever way.
pub fn dies_with_its_parent(command: &mut Command) {
    // SAFETY: prctl takes two integers here, touches no memory, and may be called between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}

/// Processes at a time for so many runs: as many as the user says, or one for each core, and no more than there are runs.
pub fn jobs(asked: Option<usize>, runs: u64) -> usize {
    let wanted = asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    wanted.min(usize::try_from(runs).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_run_is_told_with_its_signal_and_memory() {
        assert_eq!(
            killed("squall run a.toml --seed 3", 11, 0, false),
            "squall run a.toml --seed 3: killed by signal 11 (SIGSEGV)"
        );
        let starved = killed("squall run a.toml --seed 3", 9, 3 << 30, true);
        assert!(
            starved.contains("signal 9 (SIGKILL); it had held 3.00 GiB when last looked at, and the kernel"),
            "{starved}"
        );
        assert!(peak_bytes(std::process::id()).is_some_and(|bytes| bytes > 100_000));
    }
}
