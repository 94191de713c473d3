//! Runs in processes of their own, each with the record that it leaves.
//!
//! A process a run, because what is interposed and what libraries keep for a process belong to one run. **Invariant:** a child
//! does not outlive its parent, and what children write is gone when [`Children`] is.

use crate::progress::Stopwatch;
use crate::source::Source;
use squall_reports::RunRecord;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Wall time after which a run is taken for stuck and ended.
const RUN_LIMIT: Duration = Duration::from_secs(1_200);
/// How often a running process is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

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
}

impl Children {
    /// Children that end when `stop` is set.
    ///
    /// # Errors
    /// When this program's own file is not found, or there is no place for what children write.
    pub fn new(stop: Arc<AtomicBool>) -> io::Result<Children> {
        let program = std::env::current_exe()?;
        Ok(Children { program, folder: new_folder()?, begun: AtomicU64::new(0), stop })
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
        let mut command = Command::new(&self.program);
        command.arg("run").args(source.arguments(seed)).args(extra).arg("--quiet").arg("--out").arg(&out);
        // A group of its own: a terminal's Ctrl-C is for us to pass on.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        dies_with_its_parent(&mut command);
        let ended = self.wait(command.spawn()?, enough);
        let record = squall_reports::load(&out).ok();
        // A record that stays behind is removed with the folder.
        let _ = std::fs::remove_dir_all(&out);
        let Some(output) = ended? else { return Ok(None) };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).trim_end().to_owned();
        Ok(Some(Outcome { status: output.status.code(), text, record }))
    }

    fn wait(&self, mut child: Child, enough: &dyn Fn() -> bool) -> io::Result<Option<Output>> {
        let watch = Stopwatch::start();
        loop {
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
            std::thread::park_timeout(POLL_INTERVAL);
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        // A temporary folder that cannot be removed is no reason to fail now.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
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

/// Set when the user asks to stop, by Ctrl-C or SIGTERM.
pub fn stop_flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Where it cannot be watched for, a signal ends everything without a count: no reason not to begin.
        let _ = signal_hook::flag::register(signal, Arc::clone(&stop));
    }
    stop
}

/// Processes at a time where the user does not say: one for each core.
pub fn jobs(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into)).max(1)
}
