//! What panics ends its role with an error that names it; nothing hangs unheard.

use squall_core::rate::UserLimits;
use squall_protocol::Role;
use squall_protocol::cluster_secret::ClusterSecret;
use squall_protocol::token::KeySet;
use squall_server::net::{BoxFuture, BoxStream, Connector, Listener, Tcp};
use squall_server::observer::Unobserved;
use squall_server::{Cluster, Env, Stop, serve};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Longer than it takes to start a role on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nobody ever comes.
struct Quiet;

impl Listener for Quiet {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(std::future::pending())
    }
}

/// A bug that strikes where a link is opened.
struct Buggy;

impl Connector for Buggy {
    fn connect(&self, _: &str) -> BoxFuture<'static, io::Result<BoxStream>> {
        Box::pin(async { panic!("our own bug") })
    }
}

async fn told_of(role: Role, connector: Arc<dyn Connector>) -> String {
    let cluster = Cluster::from_fn(|role| vec![format!("{role}-0")]);
    let env = Env {
        listener: Box::new(Quiet),
        connector,
        wall_ms: || 0,
        observer: Arc::new(Unobserved),
        keys: KeySet::of_secret("a secret for tests").into(),
        cluster_secret: ClusterSecret::new("a secret for links"),
        limits: UserLimits::default(),
        greetings: squall_protocol::limits::MAX_GREETINGS,
        open_storage: Some(Arc::new(|| panic!("our own bug"))),
        stop: Stop::default(),
        inspect: Default::default(),
    };
    let ended = tokio::time::timeout(PATIENCE, serve(role.host(0), cluster, env)).await;
    ended.expect("a role that lacks a task does not go on").expect_err("it has not ended well").to_string()
}

#[tokio::test]
async fn a_shard_whose_commit_task_panics_ends_and_says_so() {
    let told = told_of(Role::Messages, Arc::new(Tcp)).await;
    assert!(told.contains("messages-0") && told.contains("commits") && told.contains("our own bug"), "{told}");
}

#[tokio::test]
async fn a_gateway_whose_link_panics_ends_and_says_so() {
    let told = told_of(Role::Gateway, Arc::new(Buggy)).await;
    assert!(told.contains("gateway-0") && told.contains("link") && told.contains("our own bug"), "{told}");
}
