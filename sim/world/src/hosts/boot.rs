//! Starts a role on a host as in reality: an `Env` with simulated seams, and the same `serve()`.

use super::backbone::{EDGE_PORT, INTERNAL_PORT, SimulatedConnector, SimulatedListener};
use super::commits::{Commits, Committer, CursorListener, SettledStorage};
use super::probe::Probe;
use super::turmoil;
use crate::disk::Disk;
use crate::plants;
use squall_core::gateway::Keys;
use squall_core::rate::UserLimits;
use squall_generators::rng::{Stream, key};
use squall_protocol::cluster_secret::ClusterSecret;
use squall_protocol::{HostName, Role};
use squall_runtime::interpose::SimulatedClock;
use squall_server::net::{BoxFuture, Connector};
use squall_server::storage::{Commit, CommitExecutor, Doubt, OpenStorage, StorageError};
use squall_server::{Cluster, Env, serve};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// redb's cache of one shard: the disk is in memory anyway.
const CACHE_BYTES: usize = 8 << 20;
/// The grain of tokio's timers.
const TIMER_GRAIN: Duration = Duration::from_millis(1);
/// The run's wall clock begins here: 2026-01-01T00:00:00Z in µs since the Unix epoch.
pub const EPOCH_US: u64 = 1_767_225_600_000_000;

/// What is the same for all machines of a run.
#[derive(Clone)]
pub struct Common {
    pub cluster: Cluster,
    pub keys: Keys,
    pub cluster_secret: ClusterSecret,
    /// What one user may do.
    pub limits: UserLimits,
    pub commit_latency: Duration,
    pub tick: Duration,
    /// Every host is looked at at every tick, to see that none oversleeps.
    pub every_tick: bool,
    pub seed: u64,
    pub clock: SimulatedClock,
    /// `None`: turmoil's TCP between hosts.
    pub connector: Option<Arc<dyn Fn(squall_network::HostId) -> SimulatedConnector + Send + Sync>>,
    /// Where commits run.
    pub committer: Arc<Committer>,
    /// Why roles ended that should not have.
    pub failures: Arc<Mutex<Vec<String>>>,
}

/// Commits inside simulated time: some of a commit's latency passes before the durable point, which is the end of a tick, some after.
struct SimulatedCommits {
    stream: Mutex<Stream>,
    latency: Duration,
    disk: Disk,
    commits: Arc<Commits>,
    clock: SimulatedClock,
}

impl CommitExecutor for SimulatedCommits {
    fn run(&self, commit: Commit) -> BoxFuture<'static, Result<(), StorageError>> {
        let (total, before) = {
            let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
            (self.latency.mul_f64(0.5 + stream.unit()), 0.2 + 0.6 * stream.unit())
        };
        let extra = Duration::from_micros(self.disk.extra_sync_delay(self.clock.now_us()));
        let (commits, clock) = (Arc::clone(&self.commits), self.clock.clone());
        Box::pin(async move {
            tokio::time::sleep(total.mul_f64(before) + extra).await;
            let proposed_at = clock.now_us();
            let pending = commits.propose(commit, proposed_at);
            tokio::time::sleep(total.mul_f64(1.0 - before)).await;
            // It begins when this tick is over.
            while clock.now_us() == proposed_at {
                tokio::time::sleep(TIMER_GRAIN).await;
            }
            pending.take()
        })
    }
}

/// A host's software, running. It stays on its thread.
pub(super) type Software = Pin<Box<dyn Future<Output = ()>>>;

/// What runs on a host: its role, as in reality. Each start is the same but for what the host's disk holds and what its commits
/// draw.
pub(super) fn software(host: HostName, probe: &Arc<Probe>, common: &Common) -> impl Fn() -> Software + 'static {
    let (probe, common) = (Arc::clone(probe), common.clone());
    let commit_stream = Stream::new(common.seed, &format!("commits {host}"));
    move || {
        let (probe, common, commit_stream) = (Arc::clone(&probe), common.clone(), commit_stream.clone());
        let role = async move {
            let ended = boot(host, Arc::clone(&probe), &common, commit_stream).await;
            let failure = match ended {
                Ok(()) if probe.exits() => None,
                Ok(()) => Some("it has ended, and nobody had asked it to".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(failure) = failure.filter(|_| probe.alive.load(Ordering::Relaxed)) {
                let mut failures = common.failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.push(format!("{host}: {failure}"));
            }
            // A role whose listener went away with its power has nothing more to do.
            std::future::pending::<()>().await;
        };
        Box::pin(role) as Software
    }
}

type BootError = Box<dyn std::error::Error>;

/// The role's process from its start: the same `serve()` as in reality.
async fn boot(name: HostName, probe: Arc<Probe>, common: &Common, commit_stream: Stream) -> Result<(), BootError> {
    let (network, host) = (probe.network.clone(), probe.host);
    let port = match name.role {
        Role::Gateway => EDGE_PORT,
        Role::Messages | Role::Registry | Role::Bus | Role::Presence => INTERNAL_PORT,
    };
    let (listener, connector) = match &common.connector {
        Some(connector) => {
            (SimulatedListener::bind(&network, host, port)?, Arc::new(connector(host)) as Arc<dyn Connector>)
        }
        None if port == EDGE_PORT => (SimulatedListener::bind(&network, host, port)?, turmoil::connector()),
        None => (turmoil::listen(port).await?, turmoil::connector()),
    };
    let open_storage = probe.disk.clone().map(|disk| storage(disk, common, commit_stream, &probe));
    let stop = probe.begins();
    let inspect = probe.inspect.clone();
    let env = Env {
        listener,
        connector,
        wall_ms,
        observer: probe,
        keys: common.keys.clone(),
        cluster_secret: common.cluster_secret.clone(),
        limits: common.limits,
        greetings: squall_protocol::limits::MAX_GREETINGS,
        open_storage,
        stop,
        inspect,
    };
    Ok(serve(name, common.cluster.clone(), env).await?)
}

fn storage(disk: Disk, common: &Common, stream: Stream, probe: &Arc<Probe>) -> OpenStorage {
    let committer = Arc::clone(&common.committer);
    let seed = key(common.seed, &format!("commit thread {}", probe.index));
    let executor: Arc<dyn CommitExecutor> = Arc::new(SimulatedCommits {
        stream: Mutex::new(stream),
        latency: common.commit_latency,
        disk: disk.clone(),
        commits: Arc::new(Commits::new(committer, disk.clone(), seed, EPOCH_US)),
        clock: common.clock.clone(),
    });
    let (probe, unheard) = (Arc::clone(probe), Arc::clone(&probe.unheard));
    let on_cursor: CursorListener = Arc::new(move |user, conversation, cursors| {
        probe.cursor_stands_at(user, conversation, cursors);
    });
    let doubt = Doubt::default();
    // As `chatd` does; a disk without power says so again when it is opened.
    let _ = disk.open().forget_clean();
    Arc::new(move || {
        let storage = plants::open_redb(&disk, &doubt, CACHE_BYTES, Arc::clone(&executor))?;
        Ok(plants::decorate(SettledStorage::new(
            storage,
            disk.clone(),
            Arc::clone(&on_cursor),
            Arc::clone(&unheard),
        )))
    })
}

/// The host's wall clock, which the interposer answers.
fn wall_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "inside a host the interposer answers with its simulated clock")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
