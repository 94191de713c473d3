//! What a run is asked to do, and why it could not be done.

use crate::sockets::TlsSetup;
use crate::target::Target;
use squall_generators::{Part, RunId, SharedTokens};
use squall_outcome::Progress;
use squall_reports::RunRecord;
use squall_scenarios::Scenario;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Somebody who is told how far a run is.
pub type Watcher = Box<dyn FnMut(&Progress) + Send>;

/// What a run against a server is asked to do.
pub struct LoadOptions {
    pub seed: u64,
    /// Names people, devices and messages.
    pub run: RunId,
    /// The people of this generator, where several share a run.
    pub part: Part,
    pub targets: Vec<Target>,
    pub tokens: SharedTokens,
    pub tls: Option<TlsSetup>,
    /// Hold back what devices write and read as long as their profile says.
    pub with_profiles: bool,
    /// Threads that drive connections.
    pub threads: u32,
    /// Connections that there may be at once.
    pub connections: u64,
    /// A run in which a hundredth of all sends left later than this for their time says nothing.
    pub late_at_most: Duration,
    /// Processes of the server, to be looked at from beside.
    pub servers: Vec<u32>,
    /// When the run begins, in ms since the Unix epoch, so that several generators begin at once; now, when absent.
    pub begins_at_ms: Option<f64>,
    pub history: Option<PathBuf>,
    pub reproduce: String,
    pub on_progress: Option<Watcher>,
    /// Faults that were left out of the scenario.
    pub left_out: Vec<String>,
    /// Set from outside to stop early.
    pub stop: Arc<AtomicBool>,
}

/// The same, as stations need it.
pub struct Plan {
    pub scenario: Scenario,
    pub targets: Arc<[Target]>,
    pub sources: Arc<[Option<IpAddr>]>,
    pub tls: Option<TlsSetup>,
    pub with_profiles: bool,
    /// How long the quiet is at most.
    pub bound: Duration,
    /// Fresh devices that a station has at once.
    pub readers: usize,
}

/// Why a run could not be finished. None of these says anything of the properties.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{}: cannot write the history: {source}", path.display())]
    History {
        path: PathBuf,
        source: io::Error,
        /// What the run came to all the same, where it has ended.
        ended: Option<Box<RunRecord>>,
    },
    #[error("cannot wait for connections: {0}")]
    Sockets(#[from] io::Error),
    #[error("no device could connect to {0}: is the server running, and is this where it listens?")]
    Nobody(String),
    #[error(
        "whoever answers at {0} welcomed no device: is it a gateway, and are the tokens good for it (the secret that it has, or what --token-command writes)?"
    )]
    Unwelcome(String),
}
