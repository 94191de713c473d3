//! The composition root: starts one role with what it is given, in reality and in a simulation alike.

use crate::clock::Clock;
use crate::net::{Connector, Listener};
use crate::observer::Observer;
use crate::storage::OpenStorage;
use crate::{bus, gateway, messages, registry};
use squall_protocol::token::TokenSecret;
use std::fmt;
use std::sync::Arc;

/// What a process does in the cluster. The number is its index among those of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Gateway(u32),
    Messages(u32),
    Registry(u32),
    Bus(u32),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Gateway(i) => write!(f, "gateway-{i}"),
            Role::Messages(i) => write!(f, "messages-{i}"),
            Role::Registry(i) => write!(f, "registry-{i}"),
            Role::Bus(i) => write!(f, "bus-{i}"),
        }
    }
}

/// The internal addresses of all that others call. Fixed for a run: who owns a conversation follows from it.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    pub messages: Vec<String>,
    pub registries: Vec<String>,
    pub buses: Vec<String>,
}

/// What a role is given.
pub struct Env {
    /// Where devices arrive (a gateway) or other roles do (all others).
    pub listener: Box<dyn Listener>,
    pub connector: Arc<dyn Connector>,
    /// Wall-clock milliseconds since the Unix epoch.
    pub wall_ms: fn() -> u64,
    pub observer: Arc<dyn Observer>,
    pub secret: TokenSecret,
    /// A messages shard's disk; others need none.
    pub open_storage: Option<OpenStorage>,
}

/// Why a role ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{role} has no storage")]
    NoStorage { role: Role },
    #[error("the listener of {role} failed: {source}")]
    Listener { role: Role, source: std::io::Error },
    #[error("the internal service of {role} failed: {source}")]
    Internal { role: Role, source: tonic::transport::Error },
}

/// Runs a role until its listener fails. Call inside a tokio runtime.
pub async fn serve(role: Role, cluster: Cluster, env: Env) -> Result<(), ServeError> {
    let clock = Clock::new(env.wall_ms);
    let internal = |source| ServeError::Internal { role, source };
    match role {
        Role::Gateway(index) => gateway::run(gateway::Parts {
            index,
            listener: env.listener,
            connector: env.connector,
            cluster,
            clock,
            observer: env.observer,
            secret: env.secret,
        })
        .await
        .map_err(|source| ServeError::Listener { role, source }),
        Role::Messages(_) => messages::run(messages::Parts {
            listener: env.listener,
            connector: env.connector,
            registries: cluster.registries,
            buses: cluster.buses,
            open_storage: env.open_storage.ok_or(ServeError::NoStorage { role })?,
            clock,
            observer: env.observer,
        })
        .await
        .map_err(internal),
        Role::Registry(_) => registry::run(env.listener, clock, env.observer).await.map_err(internal),
        Role::Bus(_) => bus::run(env.listener, env.observer).await.map_err(internal),
    }
}
