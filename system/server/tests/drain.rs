//! A server that is to end says so to its devices, answers what it has taken, closes them one after the other, and forgets nothing.

mod common;

use common::{PATIENCE, Raw, TempDir};
use squall_protocol::limits::COME_BACK_WITHIN;
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Seq, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const WINDOW: Duration = Duration::from_secs(2);
const DEVICES: u64 = 40;

async fn start(data: &Path) -> Local {
    let config = LocalConfig { shards: 2, ..common::config(data) };
    Local::start(config).await.unwrap()
}

fn chat(user: u64) -> (ConversationId, Payload) {
    let people = [UserId(user), UserId(user + 1_000)];
    (
        ConversationId::direct(people[0], people[1]),
        Payload::Created { direct: true, channel: false, members: people.to_vec() },
    )
}

/// What a device saw of the end: when it was told to come back and after what, whether its send was answered, the close code.
async fn see_out(mut raw: Raw) -> (Instant, u64, bool, u16) {
    let mut answered = false;
    let (told, after_ms) = loop {
        match raw.frame().await {
            ServerFrame::Sent { .. } => answered = true,
            ServerFrame::ComeBack { after_ms } => break (Instant::now(), after_ms),
            _ => {}
        }
    };
    loop {
        match timeout(PATIENCE, raw.frame_or_close()).await.expect("an end in time") {
            Ok(ServerFrame::Sent { .. }) => answered = true,
            Ok(_) => {}
            Err(code) => return (told, after_ms, answered, code),
        }
    }
}

/// A process of its own, as far as tasks go.
fn process<T>(life: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let lived = runtime.block_on(life);
    runtime.shutdown_timeout(PATIENCE);
    lived
}

#[test]
fn devices_are_told_answered_and_closed_over_the_window_and_the_next_start_has_all() {
    let dir = TempDir::new("drain");
    process(drained(dir.path()));
    process(started_again(dir.path()));
}

async fn drained(data: &Path) {
    let mut local = start(data).await;
    let gateway = local.gateways()[0];
    let mut devices = Vec::new();
    for user in 1..=DEVICES {
        let codec = if user % 2 == 0 { Codec::Json } else { Codec::Protobuf };
        devices.push(Raw::online(gateway, codec, user, user).await);
    }
    // Sent, and not waited for.
    for (user, raw) in (1..).zip(&mut devices) {
        let (conversation, payload) = chat(user);
        let client_msg_id = ClientMsgId(u128::from(user));
        raw.send(ClientFrame::Send { conversation, client_msg_id, client_seq: ClientSeq(1), payload }).await;
    }
    let begun = Instant::now();
    let stopping = tokio::spawn(async move { local.stop(WINDOW).await });
    let watching: Vec<_> = devices.into_iter().map(|raw| tokio::spawn(see_out(raw))).collect();
    tokio::time::sleep(WINDOW / 2).await;
    assert!(TcpStream::connect(gateway).await.is_err(), "nobody is taken any more");
    let mut told = Vec::new();
    for watched in watching {
        let (at, after_ms, answered, code) = watched.await.expect("no panic");
        assert!(answered && u128::from(after_ms) <= COME_BACK_WITHIN.as_millis(), "{answered} {after_ms}");
        assert_eq!(code, 1012);
        told.push(at - begun);
    }
    told.sort();
    let in_first_half = told.iter().filter(|at| **at < WINDOW / 2).count();
    assert!((10..=30).contains(&in_first_half), "{told:?}");
    stopping.await.expect("no panic").expect("every role ends as it was asked to");
}

async fn started_again(data: &Path) {
    let local = start(data).await;
    for user in 1..=DEVICES {
        let mut raw = Raw::online(local.gateways()[0], Codec::Protobuf, user, user + 500).await;
        raw.send(ClientFrame::Sync { conversation: chat(user).0, since_seq: Seq::ZERO }).await;
        let entries = raw
            .until(|frame| match frame {
                ServerFrame::Page { span, .. } => Some(span.entries.len()),
                _ => None,
            })
            .await;
        assert_eq!(entries, 1, "user {user}");
    }
}

#[tokio::test]
async fn a_server_without_devices_ends_at_once() {
    let dir = TempDir::new("drain-empty");
    let mut local = start(dir.path()).await;
    let begun = Instant::now();
    local.stop(Duration::from_secs(60)).await.expect("every role ends as it was asked to");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}
