//! Who is online, on sockets and in both codecs: online, offline with when, gone in silence, no member any more, and hidden.

mod common;

use common::{PATIENCE, Raw, TempDir, token, welcome};
use squall_core::presence::PresenceTimes;
use squall_core::rate::UserLimits;
use squall_protocol::limits::{MAX_WATCHED_AT_ONCE, PRESENCE_UNKNOWN_FOR};
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Seen, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{sleep, timeout};

const ANNE: UserId = UserId(1);
const BERT: UserId = UserId(2);
const EVE: UserId = UserId(3);
const GROUP: ConversationId = ConversationId::group(ANNE, 1);
const TTL: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(1);
/// Longer than anything takes that is to happen by itself.
const LONG: Duration = Duration::from_secs(20);

async fn start(data: &Path) -> Local {
    let limits = UserLimits { presence: PresenceTimes { ttl: TTL, grace: GRACE }, ..UserLimits::default() };
    Local::start(LocalConfig { gateways: 2, shards: 2, presences: 2, limits, ..common::config(data) })
        .await
        .unwrap()
}

async fn send(raw: &mut Raw, number: u64, payload: Payload) {
    let client_msg_id = ClientMsgId(u128::from(number));
    raw.send(ClientFrame::Send { conversation: GROUP, client_msg_id, client_seq: ClientSeq(number), payload })
        .await;
    let sent = raw.until(|frame| matches!(frame, ServerFrame::Sent { .. }).then_some(()));
    timeout(PATIENCE, sent).await.expect("it is stored");
}

/// Waits until the device is told this of a user; when they were last seen.
async fn told(raw: &mut Raw, of: UserId, what: Seen) -> u64 {
    let told = async {
        loop {
            // A heartbeat, so that whoever waits is there.
            raw.send(ClientFrame::Ping).await;
            let found = raw.until(|frame| match frame {
                ServerFrame::Presence { user, state, last_seen_ms } if (*user, *state) == (of, what) => {
                    Some(Some(*last_seen_ms))
                }
                ServerFrame::Pong => Some(None),
                _ => None,
            });
            if let Some(found) = found.await {
                return found;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PRESENCE_UNKNOWN_FOR + LONG, told).await.unwrap_or_else(|_| panic!("{of} is told to be {what:?}"))
}

/// What the device is told within a while, of whomever.
async fn heard_within(raw: &mut Raw, time: Duration) -> Vec<(UserId, Seen)> {
    let mut heard = Vec::new();
    let listen = async {
        loop {
            if let ServerFrame::Presence { user, state, .. } = raw.frame().await {
                heard.push((user, state));
            }
        }
    };
    let _ = timeout(time, listen).await;
    heard
}

fn now_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "these tests run on real time")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

fn watch(users: &[UserId]) -> ClientFrame {
    ClientFrame::Watch { conversation: GROUP, users: users.to_vec() }
}

async fn of_members(codec: Codec) {
    let dir = TempDir::new("presence");
    let local = start(dir.path()).await;
    let [first, second] = [local.gateways()[0], local.gateways()[1]];
    let mut anne = Raw::online(first, codec, ANNE.0, 10).await;
    send(&mut anne, 1, Payload::Created { direct: false, channel: false, members: vec![ANNE, BERT] }).await;
    let bert = Raw::online(second, codec, BERT.0, 20).await;
    anne.send(watch(&[BERT, EVE])).await;
    assert_eq!(told(&mut anne, BERT, Seen::Online).await, 0);
    // One who says nothing and is not closed is away once the time to live is over; nobody else has been told of.
    let silent_since = now_ms();
    let last_seen = told(&mut anne, BERT, Seen::Offline).await;
    assert!(last_seen <= silent_since + 1_000, "{last_seen} is after {silent_since}");
    drop(bert);
    // One who comes back is there again, and away after the grace, with when that was.
    let mut bert = Raw::open(first, codec).await;
    bert.send(ClientFrame::Hello { token: token(BERT.0, 20), connect_count: 2, invisible: false }).await;
    welcome(&mut bert, BERT.0, 20).await;
    told(&mut anne, BERT, Seen::Online).await;
    let left = now_ms();
    bert.socket.close(None).await.unwrap();
    let last_seen = told(&mut anne, BERT, Seen::Offline).await;
    assert!(last_seen.abs_diff(left) < 3_000, "{last_seen} and {left}");
    // Whoever hides looks as they did before.
    let mut bert = Raw::open(second, codec).await;
    bert.send(ClientFrame::Hello { token: token(BERT.0, 20), connect_count: 3, invisible: true }).await;
    welcome(&mut bert, BERT.0, 20).await;
    assert_eq!(heard_within(&mut anne, Duration::from_secs(2)).await, []);
    bert.send(ClientFrame::Invisible { on: false }).await;
    told(&mut anne, BERT, Seen::Online).await;
    bert.send(ClientFrame::Invisible { on: true }).await;
    assert!(told(&mut anne, BERT, Seen::Offline).await >= last_seen);
    bert.send(ClientFrame::Invisible { on: false }).await;
    told(&mut anne, BERT, Seen::Online).await;
    // Who watches no more is told no more.
    anne.send(ClientFrame::Unwatch { conversation: GROUP }).await;
    bert.socket.close(None).await.unwrap();
    assert_eq!(heard_within(&mut anne, Duration::from_secs(3)).await, []);
}

#[tokio::test]
async fn members_are_told_who_is_online_in_json() {
    of_members(Codec::Json).await;
}

#[tokio::test]
async fn members_are_told_who_is_online_in_protobuf() {
    of_members(Codec::Protobuf).await;
}

#[tokio::test]
async fn strangers_and_those_who_have_left_learn_nothing() {
    let dir = TempDir::new("presence-strangers");
    let local = start(dir.path()).await;
    let gateway = local.gateways()[0];
    let mut anne = Raw::online(gateway, Codec::Json, ANNE.0, 10).await;
    let mut eve = Raw::online(gateway, Codec::Json, EVE.0, 30).await;
    send(&mut anne, 1, Payload::Created { direct: false, channel: false, members: vec![ANNE, BERT] }).await;
    // Of a group, of one that does not exist, of two other people, and too many.
    eve.send(watch(&[ANNE])).await;
    eve.send(ClientFrame::Watch { conversation: ConversationId::group(ANNE, 2), users: vec![ANNE] }).await;
    eve.send(ClientFrame::Watch { conversation: ConversationId::direct(ANNE, BERT), users: vec![ANNE] }).await;
    let many = (1..=MAX_WATCHED_AT_ONCE as u64 + 1).map(UserId).collect();
    eve.send(ClientFrame::Watch { conversation: GROUP, users: many }).await;
    assert_eq!(heard_within(&mut eve, Duration::from_secs(2)).await, []);
    // Whoever has left asks for a lease in vain.
    send(&mut anne, 2, Payload::joined(EVE)).await;
    eve.send(watch(&[ANNE])).await;
    told(&mut eve, ANNE, Seen::Online).await;
    send(&mut anne, 3, Payload::left(EVE)).await;
    eve.send(watch(&[ANNE])).await;
    assert_eq!(heard_within(&mut eve, Duration::from_secs(2)).await, []);
}
