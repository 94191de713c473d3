//! Being asked to stop: by Ctrl-C, by SIGTERM, by a terminal that is closed.

use crate::output::complaint;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The status of a run that was asked a second time.
const STOPPED_TWICE: c_int = 130;

/// Set when the user asks to stop.
pub fn flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in signals() {
        // Where it cannot be watched for, a signal ends everything without a count: no reason not to begin.
        let _ = register(signal, Arc::clone(&stop));
    }
    stop
}

/// The same; a second signal ends the process at once.
pub fn flag_or_end() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in signals() {
        let twice = register_conditional_shutdown(signal, STOPPED_TWICE, Arc::clone(&stop));
        if twice.and_then(|_| register(signal, Arc::clone(&stop))).is_err() {
            complaint!("cannot watch for Ctrl-C; an interrupted run will print nothing");
        }
    }
    stop
}

/// What asks to stop. Whoever has started us with `nohup` wants a closed terminal to be no reason.
fn signals() -> impl Iterator<Item = c_int> {
    [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| *signal != SIGHUP || !is_ignored(SIGHUP))
}

/// As the system tells it; where it does not, no signal is.
fn is_ignored(signal: c_int) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
