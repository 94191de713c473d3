//! All roles in one process: what `chatd` runs, and what tests on real sockets drive. Gateways listen on TCP; the others are
//! reached from within the process only, under their hosts' names.

use crate::cluster::Cluster;
use crate::descriptors;
use crate::level::Level;
use crate::memory::InProcess;
use crate::net::Listener;
use crate::observer::{Observer, Point};
use crate::serve::{Env, ServeError, serve};
use crate::stop::Stop;
use crate::storage::{Directory, DirectoryError};
use squall_core::gateway::Keys;
use squall_core::rate::UserLimits;
use squall_protocol::cluster_secret::ClusterSecret;
use squall_protocol::{HostName, PerRole, Role};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What to run, and where.
pub struct LocalConfig {
    /// The first gateway's address; the others take the ports after it. With port 0 each takes a free one.
    pub listen: SocketAddr,
    /// At least 1.
    pub gateways: u16,
    /// 1 to `MAX_SHARDS`.
    pub shards: u32,
    /// Hosts that know who is online; 0: nobody is told.
    pub presences: u32,
    /// Where the shards keep their databases; created if absent.
    pub data: PathBuf,
    /// Under which tokens are checked. Whoever keeps a clone can replace them while it runs.
    pub keys: Keys,
    /// What one user may do.
    pub limits: UserLimits,
    /// redb's cache, for each shard.
    pub cache_bytes: usize,
}

/// Why the cluster could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("{gateways} gateways from port {port} on do not fit below port 65536")]
    Ports { port: u16, gateways: u16 },
    #[error("cannot make a secret for the links between roles: {0}")]
    Secret(io::Error),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Role(#[from] ServeError),
    #[error("{0} ended though its listener is open")]
    Ended(HostName),
    #[error("a role panicked: {0}")]
    Panicked(tokio::task::JoinError),
}

/// The running roles. They end in good order by [`Local::stop`], and at once when this is dropped; what is acked is on disk.
#[derive(Debug)]
pub struct Local {
    gateways: Vec<SocketAddr>,
    roles: JoinSet<(HostName, Result<(), ServeError>)>,
    stops: PerRole<Stop>,
    count: PerRole<u32>,
}

impl Local {
    /// Binds, opens the databases, and starts all roles. Call inside a tokio runtime.
    pub async fn start(config: LocalConfig) -> Result<Local, LocalError> {
        let bound = bind_gateways(config.listen, config.gateways).await?;
        let directory = Directory::claim(&config.data, config.shards, config.cache_bytes)?;
        let storages: Result<Vec<_>, _> = (0..config.shards).map(|shard| directory.open(shard)).collect();
        let mut storages = storages?.into_iter();
        let internal = PerRole::from_fn(|role| match role {
            Role::Gateway => 0,
            Role::Messages => config.shards,
            Role::Registry | Role::Bus => 1,
            Role::Presence => config.presences,
        });
        let names = |role: Role| (0..internal[role]).map(move |index| role.host(index));
        let process = InProcess::default();
        let cluster_secret = fresh_secret().map_err(LocalError::Secret)?;
        let cluster = Cluster::from_fn(|role| names(role).map(|host| host.to_string()).collect());
        let mut listeners: PerRole<Vec<Box<dyn Listener>>> =
            PerRole::from_fn(|role| names(role).map(|host| process.listen(host.to_string())).collect());
        let mut local = Local {
            gateways: Vec::new(),
            roles: JoinSet::new(),
            stops: PerRole::from_fn(|_| Stop::default()),
            count: PerRole::from_fn(|_| 0),
        };
        for (address, listener) in bound {
            local.gateways.push(address);
            listeners[Role::Gateway].push(Box::new(listener));
        }
        // Those that are called before those that call them, which are listed first.
        for role in Role::ALL.iter().rev() {
            for (index, listener) in (0..).zip(std::mem::take(&mut listeners[*role])) {
                let env = Env {
                    listener,
                    connector: Arc::new(process.clone()),
                    wall_ms,
                    observer: Arc::new(Stderr(role.host(index))),
                    keys: config.keys.clone(),
                    cluster_secret: cluster_secret.clone(),
                    limits: config.limits,
                    greetings: descriptors::greetings(config.gateways),
                    open_storage: match role {
                        Role::Messages => storages.next(),
                        Role::Gateway | Role::Registry | Role::Bus | Role::Presence => None,
                    },
                    stop: local.stops[*role].clone(),
                    inspect: Default::default(),
                };
                local.count[*role] += 1;
                let (host, cluster) = (role.host(index), cluster.clone());
                local.roles.spawn(async move { (host, serve(host, cluster, env).await) });
            }
        }
        Ok(local)
    }

    /// Where devices connect, a gateway each.
    pub fn gateways(&self) -> &[SocketAddr] {
        &self.gateways
    }

    /// Ends all roles in good order, those that are called after those that call them: gateways close their connections over `window`,
    /// then shards make durable what they have taken. An error is one of a role that did not end as it was asked to.
    pub async fn stop(&mut self, window: Duration) -> Result<(), LocalError> {
        for role in Role::ALL {
            self.stops[*role].request(window);
            let mut left = self.count[*role];
            while left > 0 {
                match self.roles.join_next().await {
                    Some(Ok((host, Ok(())))) if host.role == *role => left -= 1,
                    Some(Ok((host, Ok(())))) => return Err(LocalError::Ended(host)),
                    Some(Ok((_, Err(error)))) => return Err(error.into()),
                    Some(Err(error)) => return Err(LocalError::Panicked(error)),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Waits until a role ends, which none does by itself.
    pub async fn ended(&mut self) -> LocalError {
        match self.roles.join_next().await {
            Some(Ok((_, Err(error)))) => error.into(),
            Some(Ok((host, Ok(())))) => LocalError::Ended(host),
            Some(Err(error)) => LocalError::Panicked(error),
            None => std::future::pending().await,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where reality hands the wall clock in")]
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The secret of this process's cluster, which nobody else has to know: as many random bytes of the system as its MAC has.
fn fresh_secret() -> io::Result<ClusterSecret> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(ClusterSecret::new(bytes))
}

type Bound = (SocketAddr, TcpListener);

async fn bind(address: SocketAddr) -> Result<Bound, LocalError> {
    let failed = |source| LocalError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    Ok((listener.local_addr().map_err(failed)?, listener))
}

async fn bind_gateways(listen: SocketAddr, gateways: u16) -> Result<Vec<Bound>, LocalError> {
    let mut bound = Vec::new();
    for index in 0..gateways {
        let mut address = listen;
        if listen.port() != 0 {
            let ports = LocalError::Ports { port: listen.port(), gateways };
            address.set_port(listen.port().checked_add(index).ok_or(ports)?);
        }
        bound.push(bind(address).await?);
    }
    Ok(bound)
}

/// Tells a person on standard error what needs one, each state once.
struct Stderr(HostName);

impl Observer for Stderr {
    fn passed(&self, point: &Point<'_>) {
        match point {
            Point::StorageDown { reason } => {
                eprintln!("{}: the disk fails, senders are told to wait: {reason}", self.0);
            }
            Point::StorageUp => eprintln!("{}: the disk works again", self.0),
            Point::RowDamaged { reason } => {
                eprintln!("{}: what depends on one row is refused, all else goes on: {reason}", self.0);
            }
            // The more there are, the more rarely one is told.
            Point::Misrouted { conversation, device, times } if times.is_power_of_two() => eprintln!(
                "{}: {times} requests of gateways were about conversations of other shards, and left undone, the last one by device {device} about {conversation}: gateway and shard do not agree on who has which",
                self.0
            ),
            // Nobody is owed a notice.
            Point::QueueFull { what: Level::Notices, .. } => {}
            Point::QueueFull { what, refused } => {
                eprintln!("{}: {refused} find no room: there may be no more {}", self.0, what.name());
            }
            Point::DescriptorsExhausted => eprintln!(
                "{}: no connection can be taken: all files and sockets that this process may have are open; raise `ulimit -n`, or start more gateways",
                self.0
            ),
            // What the system does by itself about faults that it is made for.
            Point::Misrouted { .. }
            | Point::CommitFailed { .. }
            | Point::RecoveryFailed { .. }
            | Point::ReadFailed { .. }
            | Point::Committed { .. }
            | Point::Acked { .. }
            | Point::DuplicateMet { .. }
            | Point::OldSendLookedUp { .. }
            | Point::ClientSeqGap { .. }
            | Point::StaleSend { .. }
            | Point::TooOften { .. }
            | Point::HeldBack { .. }
            | Point::Published { .. }
            | Point::Redelivered { .. }
            | Point::UnackedClosed { .. }
            | Point::LookupRetried
            | Point::SyncPage { .. }
            | Point::Recovering
            | Point::Found { .. }
            | Point::Recovered { .. }
            | Point::StaleEntryMet { .. }
            | Point::SnapshotBegun { .. }
            | Point::SnapshotTold
            | Point::StrangerRefused
            | Point::EntriesCleared { .. }
            | Point::ResyncAfterRegistration { .. }
            | Point::HeadsWithoutRegistry { .. }
            | Point::HeadsAskedAgain { .. }
            | Point::TopicDropped { .. }
            | Point::RemindedInstead { .. }
            | Point::Noticed { .. }
            | Point::NoticesDropped { .. }
            | Point::ReadRefused { .. }
            | Point::TypingTold { .. }
            | Point::TypingDropped { .. }
            | Point::NoticesUnanswered { .. }
            | Point::ChannelTold { .. }
            | Point::ChannelFollowed { .. }
            | Point::ChannelOver { .. }
            | Point::PageFromTail { .. }
            | Point::PageNotInTail { .. }
            | Point::PageWaited { .. }
            | Point::WatchRefused { .. }
            | Point::WatchEnded { .. }
            | Point::WatchLapsed { .. }
            | Point::PresenceUnknown
            | Point::PresenceHeldBack { .. }
            | Point::PresenceSampled { .. }
            | Point::DevicesVanished { .. }
            | Point::Closed { .. }
            | Point::Lost { .. }
            | Point::LinkUp { .. }
            | Point::LinkDown { .. } => {}
        }
    }
}
