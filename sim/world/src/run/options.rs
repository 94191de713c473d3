//! What a run is asked to do, what it tells while it goes on, and why it could not be finished.

use super::audit::AuditError;
use crate::plants::Bug;
use squall_history::{Event, Filter};
use squall_outcome::Progress;
use squall_reports::RunRecord;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Somebody who is told things while a run goes on.
pub type Listener<T> = Box<dyn FnMut(&T)>;

/// What a run is asked to do beside running.
#[derive(Default)]
pub struct RunOptions {
    pub seed: u64,
    /// Draws of the network of their own: jitter, losses and drops are others, and nothing else that is drawn. 0 is the seed's own.
    pub salt: u64,
    /// Write `history.jsonl` here.
    pub history: Option<PathBuf>,
    /// What of it is wanted: everything, if nothing is named.
    pub filter: Filter,
    /// Tell the hops of what is wanted, in the history and to `on_event`; the run is the same.
    pub follow: bool,
    /// Called for every event and hop that is wanted.
    pub on_event: Option<Listener<Event>>,
    /// A bug that is planted in the system for this run, and with it for the rest of the process.
    pub plant: Option<&'static Bug>,
    /// The command that repeats this run, for the record.
    pub reproduce: String,
    /// Called for every simulated second with its digests.
    pub on_second: Option<Listener<SecondDigest>>,
    /// Keep everything that happens in this simulated second, for telling two runs apart.
    pub trace_second: Option<u64>,
    /// Called for every line of that second.
    pub on_trace: Option<Listener<str>>,
    /// Called now and then.
    pub on_progress: Option<Listener<Progress>>,
    /// Look at every host at every tick, to see that none oversleeps; the run is the same.
    pub every_tick: bool,
    /// On how many threads hosts step; the run is the same on any number. `None`: as many as there are cores in a large run, one
    /// in a small one.
    pub threads: Option<usize>,
    /// Set from outside to stop early; what was judged until then is reported, inconclusive.
    pub stop: Arc<AtomicBool>,
}

/// What one simulated second came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondDigest {
    pub second: u64,
    pub history: u64,
    /// Wire bytes by host, in the order of hosts; sites of devices at the end.
    pub wire: Vec<(String, u64)>,
    /// Durable writes by shard.
    pub disks: Vec<(String, u64)>,
}

/// Why a run could not be finished. None of these says anything of the properties.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{}: cannot write the history: {source}", path.display())]
    History {
        path: PathBuf,
        source: std::io::Error,
        /// What the run came to all the same, where it has ended: its verdict does not need the file.
        ended: Option<Box<RunRecord>>,
    },
    #[error("a host failed: {0}")]
    Host(String),
    #[error("the audit cannot read the disk of {host}: {source}")]
    Audit { host: String, source: AuditError },
}
