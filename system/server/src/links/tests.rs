//! Roles that listen on ports, and strangers who call them: without the secret of the cluster nobody learns or changes anything.

use super::services::bus::bus_client::BusClient;
use super::services::messages::messages_client::MessagesClient;
use super::services::registry::registry_client::RegistryClient;
use super::{Dialler, dial};
use crate::net::Tcp;
use crate::observer::Unobserved;
use crate::storage::StorageError;
use crate::{Cluster, Env, serve};
use squall_protocol::cluster_secret::ClusterSecret;
use squall_protocol::token::KeySet;
use squall_protocol::wire::{bus, messages, registry};
use squall_protocol::{HostName, Role};
use std::sync::Arc;
use tokio::net::TcpListener;
use tonic::{Code, Status};

/// A role of its own on a port, and its address.
async fn listening(host: HostName) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let env = Env {
        listener: Box::new(listener),
        connector: Arc::new(Tcp),
        wall_ms: || 0,
        observer: Arc::new(Unobserved),
        keys: KeySet::of_secret("for tokens").into(),
        cluster_secret: ClusterSecret::new("for links"),
        limits: squall_core::rate::UserLimits::default(),
        greetings: squall_protocol::limits::MAX_GREETINGS,
        open_storage: Some(Arc::new(|| Err(StorageError::WriterGone))),
        stop: crate::stop::Stop::default(),
        inspect: Default::default(),
    };
    let cluster = Cluster::from_fn(|_| Vec::new());
    tokio::spawn(async move { serve(host, cluster, env).await });
    address
}

/// What each service answers to whoever has this secret.
async fn answers(secret: &str, addresses: &[String; 3]) -> [Result<(), Status>; 3] {
    let dialler = Dialler { connector: Arc::new(Tcp), secret: ClusterSecret::new(secret) };
    let [messages, registry, bus] = addresses;
    let mut shard = MessagesClient::new(dial(&dialler, messages).await.unwrap());
    let requests = one(messages::Requests::default());
    let read = shard.session(requests).await.map(drop);
    let mut table = RegistryClient::new(dial(&dialler, registry).await.unwrap());
    let look_up = table.lookup(one(registry::LookupRequests::default())).await.map(drop);
    let mut topics = BusClient::new(dial(&dialler, bus).await.unwrap());
    let subscribed = topics.subscribe(bus::Subscription { gateway: 0 }).await.map(drop);
    [read, look_up, subscribed]
}

fn one<T: Send + 'static>(item: T) -> impl futures_util::Stream<Item = T> + Send + 'static {
    futures_util::stream::iter([item])
}

#[tokio::test]
async fn a_stranger_gets_nothing_from_any_role_and_a_token_key_is_no_pass() {
    let mut addresses = Vec::new();
    for role in [Role::Messages, Role::Registry, Role::Bus] {
        addresses.push(listening(role.host(0)).await);
    }
    let addresses: [String; 3] = addresses.try_into().unwrap();
    for answer in answers("for links", &addresses).await {
        assert!(answer.is_ok(), "{answer:?}");
    }
    for secret in ["for tokens", "", "another"] {
        for answer in answers(secret, &addresses).await {
            assert_eq!(answer.expect_err("no stranger is let in").code(), Code::Unauthenticated);
        }
    }
}
