//! The composition root: starts one role with what it is given, in reality and in a simulation alike.

use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::inspect::Inspect;
use crate::links::Dialler;
use crate::net::{Connector, Listener};
use crate::observer::Observer;
use crate::stop::Stop;
use crate::storage::OpenStorage;
use crate::tasks::{Panicked, Tasks, reason};
use crate::{bus, gateway, messages, presence, registry};
use futures_util::FutureExt;
use squall_core::gateway::Keys;
use squall_core::rate::UserLimits;
use squall_protocol::cluster_secret::ClusterSecret;
use squall_protocol::{HostName, Role};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// What a role is given.
pub struct Env {
    /// Where devices arrive (a gateway) or other roles do (all others).
    pub listener: Box<dyn Listener>,
    pub connector: Arc<dyn Connector>,
    /// Wall-clock milliseconds since the Unix epoch.
    pub wall_ms: fn() -> u64,
    pub observer: Arc<dyn Observer>,
    /// Under which tokens of devices are checked.
    pub keys: Keys,
    /// By which roles know each other.
    pub cluster_secret: ClusterSecret,
    pub limits: UserLimits,
    /// How many connections a gateway may have in their opening handshake, and how many that have shown no token.
    pub greetings: usize,
    /// A messages shard's disk; others need none.
    pub open_storage: Option<OpenStorage>,
    /// By which the role is asked to end in good order.
    pub stop: Stop,
    /// By which a shard's memory is compared with its disk.
    pub inspect: Inspect,
}

/// Why a role ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{host} has no storage")]
    NoStorage { host: HostName },
    #[error("the listener of {host} failed: {source}")]
    Listener { host: HostName, source: std::io::Error },
    #[error("the internal service of {host} failed: {source}")]
    Internal { host: HostName, source: tonic::transport::Error },
    #[error("{host} has ended: {source}")]
    Panicked { host: HostName, source: Panicked },
}

/// Runs a host's role until it has ended as it was asked to (`Ok`), its listener fails or one of its tasks panics. Call inside a tokio
/// runtime.
pub async fn serve(host: HostName, cluster: Cluster, env: Env) -> Result<(), ServeError> {
    let tasks = Tasks::default();
    let role = AssertUnwindSafe(run(host, cluster, env, tasks.clone())).catch_unwind();
    let panicked = |source| ServeError::Panicked { host, source };
    tokio::select! {
        biased;
        source = tasks.panicked() => Err(panicked(source)),
        ended = role => ended
            .unwrap_or_else(|panic| Err(panicked(Panicked { task: "role", reason: reason(panic.as_ref()) }))),
    }
}

async fn run(host: HostName, mut cluster: Cluster, env: Env, tasks: Tasks) -> Result<(), ServeError> {
    let clock = Clock::new(env.wall_ms);
    let dialler = Dialler { connector: env.connector, secret: env.cluster_secret.clone() };
    let internal = |source| ServeError::Internal { host, source };
    match host.role {
        Role::Gateway => gateway::run(gateway::Parts {
            index: host.index,
            listener: env.listener,
            dialler,
            cluster,
            clock,
            observer: env.observer,
            keys: env.keys,
            limits: env.limits,
            greetings: env.greetings,
            tasks,
            stop: env.stop,
        })
        .await
        .map_err(|source| ServeError::Listener { host, source }),
        Role::Messages => messages::run(messages::Parts {
            share: messages::Share { index: host.index, shards: cluster[Role::Messages].len() as u32 },
            listener: env.listener,
            dialler,
            registries: std::mem::take(&mut cluster[Role::Registry]),
            buses: std::mem::take(&mut cluster[Role::Bus]),
            open_storage: env.open_storage.ok_or(ServeError::NoStorage { host })?,
            limits: env.limits,
            clock,
            observer: env.observer,
            tasks,
            stop: env.stop,
            inspect: env.inspect,
        })
        .await
        .map_err(internal),
        // They have nothing that others could not tell them again.
        Role::Registry => {
            let running = registry::run(env.listener, clock, env.observer, tasks, env.cluster_secret);
            until(&env.stop, running).await.map_err(internal)
        }
        Role::Presence => {
            let (secret, times) = (env.cluster_secret, env.limits.presence);
            let running = presence::run(env.listener, clock, env.observer, tasks, secret, times);
            until(&env.stop, running).await.map_err(internal)
        }
        Role::Bus => {
            let running = bus::run(env.listener, env.observer, tasks, env.cluster_secret);
            until(&env.stop, running).await.map_err(internal)
        }
    }
}

/// Runs a role that ends at once when it is asked to.
async fn until<E>(stop: &Stop, running: impl Future<Output = Result<(), E>>) -> Result<(), E> {
    tokio::select! {
        biased;
        _ = stop.requested() => Ok(()),
        ended = running => ended,
    }
}
