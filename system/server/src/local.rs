//! All roles in one process, each with a listener of its own: what `chatd` runs, and what tests on real sockets drive.

use crate::cluster::Cluster;
use crate::net::Tcp;
use crate::observer::{Observer, Point};
use crate::serve::{Env, ServeError, serve};
use crate::storage::{Directory, DirectoryError};
use squall_protocol::token::TokenSecret;
use squall_protocol::{HostName, PerRole, Role};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
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
    /// Where the shards keep their databases; created if absent.
    pub data: PathBuf,
    pub secret: TokenSecret,
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
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Role(#[from] ServeError),
    #[error("{0} ended though its listener is open")]
    Ended(HostName),
    #[error("a role panicked: {0}")]
    Panicked(tokio::task::JoinError),
}

/// The running roles. They end when this is dropped; what is acked is on disk.
#[derive(Debug)]
pub struct Local {
    gateways: Vec<SocketAddr>,
    roles: JoinSet<(HostName, Result<(), ServeError>)>,
}

impl Local {
    /// Binds, opens the databases, and starts all roles. Call inside a tokio runtime.
    pub async fn start(config: LocalConfig) -> Result<Local, LocalError> {
        let mut bound = PerRole::<Vec<Bound>>::default();
        for role in Role::ALL {
            bound[*role] = match role {
                Role::Gateway => bind_gateways(config.listen, config.gateways).await?,
                Role::Messages => bind_internal(config.shards as usize).await?,
                Role::Registry | Role::Bus => bind_internal(1).await?,
            };
        }
        let directory = Directory::claim(&config.data, config.shards, config.cache_bytes)?;
        let storages: Result<Vec<_>, _> = (0..config.shards).map(|shard| directory.open(shard)).collect();
        let mut storages = storages?.into_iter();
        let cluster = Cluster::from_fn(|role| match role {
            Role::Gateway => Vec::new(),
            Role::Messages | Role::Registry | Role::Bus => addresses(&bound[role]),
        });
        let gateways = bound[Role::Gateway].iter().map(|(address, _)| *address).collect();
        let mut local = Local { gateways, roles: JoinSet::new() };
        // Those that are called before those that call them, which are listed first.
        for role in Role::ALL.iter().rev() {
            for (index, (_, listener)) in (0..).zip(std::mem::take(&mut bound[*role])) {
                let env = Env {
                    listener: Box::new(listener),
                    connector: Arc::new(Tcp),
                    wall_ms,
                    observer: Arc::new(Stderr),
                    secret: config.secret.clone(),
                    open_storage: match role {
                        Role::Messages => storages.next(),
                        Role::Gateway | Role::Registry | Role::Bus => None,
                    },
                };
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

/// Free ports that only this machine can reach.
async fn bind_internal(count: usize) -> Result<Vec<Bound>, LocalError> {
    let mut bound = Vec::new();
    for _ in 0..count {
        bound.push(bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await?);
    }
    Ok(bound)
}

fn addresses(bound: &[Bound]) -> Vec<String> {
    bound.iter().map(|(address, _)| address.to_string()).collect()
}

/// Tells a person on standard error what needs one.
struct Stderr;

impl Observer for Stderr {
    fn passed(&self, point: &Point<'_>) {
        match point {
            Point::CommitFailed { reason } => eprintln!("a commit failed, the log is read again: {reason}"),
            Point::RecoveryFailed { reason } => eprintln!("a shard cannot read its disk, trying again: {reason}"),
            // What the system does by itself about faults that it is made for.
            Point::Committed { .. }
            | Point::Acked { .. }
            | Point::DuplicateMet { .. }
            | Point::OldSendLookedUp { .. }
            | Point::ClientSeqGap { .. }
            | Point::Published { .. }
            | Point::Redelivered { .. }
            | Point::UnackedClosed { .. }
            | Point::LookupRetried
            | Point::SyncPage { .. }
            | Point::Recovering
            | Point::Found { .. }
            | Point::Recovered { .. }
            | Point::StaleEntryMet { .. }
            | Point::SnapshotSent { .. }
            | Point::EntriesCleared { .. }
            | Point::ResyncAfterRegistration { .. }
            | Point::TopicDropped { .. }
            | Point::Closed { .. }
            | Point::Lost { .. }
            | Point::LinkUp { .. }
            | Point::LinkDown { .. } => {}
        }
    }
}
