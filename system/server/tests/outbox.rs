//! What others write cannot fill a device's outbox: it is not thrown out for it, whatever its encoding makes of a text.

mod common;

use common::{PATIENCE, Raw, TempDir};
use squall_core::rate::{Rate, UserLimits};
use squall_protocol::limits::{MAX_BODY_JSON_BYTES, MAX_SENDS_IN_FLIGHT, MAX_SYNCS_OPEN};
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Seq, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};
use std::collections::BTreeSet;
use std::path::Path;
use tokio::time::timeout;

const EVE: UserId = UserId(1);
const BERT: UserId = UserId(2);

async fn start(data: &Path, limits: UserLimits) -> Local {
    let config = LocalConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        gateways: 1,
        shards: 1,
        presences: 1,
        data: data.to_owned(),
        keys: common::keys(),
        limits,
        cache_bytes: 1 << 20,
    };
    Local::start(config).await.unwrap()
}

/// A text that is six times as long in JSON, and as long there as one may be.
fn escaped() -> Payload {
    Payload::Text("\u{1}".repeat(MAX_BODY_JSON_BYTES / 6))
}

async fn send(raw: &mut Raw, conversation: ConversationId, number: u64, payload: Payload) {
    let client_msg_id = ClientMsgId(conversation.0 ^ u128::from(number));
    raw.send(ClientFrame::Send { conversation, client_msg_id, client_seq: ClientSeq(number), payload }).await;
}

async fn stored(raw: &mut Raw) {
    raw.until(|frame| matches!(frame, ServerFrame::Sent { .. }).then_some(())).await;
}

/// Eve's groups with Bert, each with so many texts.
async fn groups(eve: &mut Raw, texts: u64) -> Vec<ConversationId> {
    let groups: Vec<_> = (0..MAX_SYNCS_OPEN as u64).map(|n| ConversationId::group(EVE, n)).collect();
    for group in &groups {
        send(eve, *group, 1, Payload::Created { direct: false, channel: false, members: vec![EVE, BERT] }).await;
        stored(eve).await;
        for number in 2..2 + texts {
            send(eve, *group, number, escaped()).await;
            stored(eve).await;
        }
    }
    groups
}

#[tokio::test]
async fn all_pages_that_a_device_may_ask_for_at_once_reach_it() {
    let dir = TempDir::new("pages");
    let local = start(dir.path(), UserLimits::default()).await;
    let mut eve = Raw::online(local.gateways()[0], Codec::Json, EVE.0, 10).await;
    let groups = groups(&mut eve, 5).await;
    let mut bert = Raw::online(local.gateways()[0], Codec::Json, BERT.0, 20).await;
    for conversation in &groups {
        bert.send(ClientFrame::Sync { conversation: *conversation, since_seq: Seq::ZERO }).await;
    }
    // Bert reads nothing until all of them must be on their way.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    for _ in &groups {
        let page = bert.until(|frame| matches!(frame, ServerFrame::Page { .. }).then_some(()));
        timeout(PATIENCE, page).await.expect("every page comes");
    }
}

#[tokio::test]
async fn a_device_that_is_behind_is_told_how_far_the_log_goes_and_stays() {
    let dir = TempDir::new("behind");
    let local = start(dir.path(), UserLimits::default()).await;
    let mut eve = Raw::online(local.gateways()[0], Codec::Json, EVE.0, 10).await;
    let group = groups(&mut eve, 0).await[0];
    let mut bert = Raw::online(local.gateways()[0], Codec::Json, BERT.0, 20).await;
    // More than an outbox holds, while Bert reads nothing: the kernel's buffers take some of it.
    let texts = 20 * MAX_SENDS_IN_FLIGHT as u64;
    for number in 2..2 + texts {
        send(&mut eve, group, number, escaped()).await;
        stored(&mut eve).await;
    }
    let last = Seq(1 + texts);
    let told = bert.until(|frame| match frame {
        ServerFrame::Deliver(span) if span.to == last && span.entries.is_empty() => Some(span.from),
        _ => None,
    });
    let from = timeout(PATIENCE, told).await.expect("the connection stays, and the end of the log is told");
    assert_eq!(from, last.next(), "it speaks for no entry that it does not bring");
    bert.send(ClientFrame::Sync { conversation: group, since_seq: last.prev() }).await;
    let page = bert.until(|frame| matches!(frame, ServerFrame::Page { .. }).then_some(()));
    timeout(PATIENCE, page).await.expect("what was not brought can be fetched");
}

/// More conversations than an outbox holds heads of.
const MANY: u64 = 18_000;

#[tokio::test]
async fn somebody_who_was_added_to_thousands_of_groups_connects_and_is_told_of_each() {
    let dir = TempDir::new("many");
    let plenty = Rate { per_second: 1_000_000, burst: 1_000_000 };
    let limits = UserLimits {
        frames: plenty,
        sends: plenty,
        creations: plenty,
        additions: plenty,
        changes: plenty,
        ..UserLimits::default()
    };
    let local = start(dir.path(), limits).await;
    let mut eve = Raw::online(local.gateways()[0], Codec::Protobuf, EVE.0, 10).await;
    for first in (0..MANY).step_by(1_000) {
        for n in first..first + 1_000 {
            let created = Payload::Created { direct: false, channel: false, members: vec![EVE, BERT] };
            send(&mut eve, ConversationId::group(EVE, n), 1, created).await;
        }
        for _ in 0..1_000 {
            stored(&mut eve).await;
        }
    }
    let mut bert = Raw::online(local.gateways()[0], Codec::Json, BERT.0, 20).await;
    let mut told = BTreeSet::new();
    let all = async {
        while told.len() < MANY as usize {
            if let ServerFrame::Heads { heads } = bert.frame().await {
                told.extend(heads.into_iter().map(|head| head.conversation));
            }
        }
    };
    timeout(6 * PATIENCE, all).await.expect("the connection stays, and every head comes");
    // And he is told of what is new.
    send(&mut eve, ConversationId::group(EVE, MANY - 1), 2, Payload::Text("new".into())).await;
    let delivered = bert.until(|frame| matches!(frame, ServerFrame::Deliver(_)).then_some(()));
    timeout(PATIENCE, delivered).await.expect("a new message comes");
}
