//! Who is told that somebody is writing, on sockets: fellow members on whatever gateway, in both codecs, once a second at most, and nobody else.

mod common;

use common::{PATIENCE, Raw, TempDir};
use squall_protocol::limits::TYPING_INTERVAL;
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Seq, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const ANNE: UserId = UserId(1);
const BERT: UserId = UserId(2);
const CARL: UserId = UserId(3);
const EVE: UserId = UserId(4);
const GROUP: ConversationId = ConversationId::group(ANNE, 1);
const PAIR: ConversationId = ConversationId::direct(ANNE, BERT);
/// Long enough for whatever is told.
const WHILE: Duration = Duration::from_millis(700);

async fn start(data: &Path) -> Local {
    Local::start(LocalConfig { gateways: 2, shards: 2, ..common::config(data) }).await.unwrap()
}

async fn send(raw: &mut Raw, conversation: ConversationId, number: u64, payload: Payload) -> Seq {
    let client_msg_id = ClientMsgId(u128::from(number) << 64 | conversation.spread() as u128);
    raw.send(ClientFrame::Send { conversation, client_msg_id, client_seq: ClientSeq(number), payload }).await;
    let sent = raw.until(|frame| match frame {
        ServerFrame::Sent { client_msg_id: id, server_seq, .. } if *id == client_msg_id => Some(*server_seq),
        ServerFrame::Refused { reason, .. } => panic!("{reason:?}"),
        _ => None,
    });
    timeout(PATIENCE, sent).await.expect("it is stored")
}

/// Waits for a place of a conversation to be delivered: its device is known to its registry.
async fn delivered(raw: &mut Raw, conversation: ConversationId, place: Seq) {
    let told = raw.until(|frame| match frame {
        ServerFrame::Deliver(span) if span.conversation == conversation && span.to >= place => Some(()),
        _ => None,
    });
    timeout(PATIENCE, told).await.expect("it is delivered");
    raw.send(ClientFrame::Ack { conversation, up_to_seq: place }).await;
}

async fn types(raw: &mut Raw, conversation: ConversationId) {
    raw.send(ClientFrame::Typing { conversation }).await;
}

/// Whom this device is told of meanwhile, each time.
async fn told(raw: &mut Raw, meanwhile: Duration) -> Vec<(ConversationId, UserId)> {
    let (until, mut told) = (Instant::now() + meanwhile, Vec::new());
    while let Ok(frame) = tokio::time::timeout_at(until, raw.frame()).await {
        if let ServerFrame::Typing { conversation, user } = frame {
            told.push((conversation, user));
        }
    }
    told
}

#[tokio::test]
async fn members_are_told_on_all_gateways_and_nobody_else_and_once_a_second_at_most() {
    let dir = TempDir::new("typing");
    let local = start(dir.path()).await;
    let [first, second] = [local.gateways()[0], local.gateways()[1]];
    let mut anne = Raw::online(first, Codec::Json, ANNE.0, 10).await;
    let mut annes_other = Raw::online(second, Codec::Protobuf, ANNE.0, 11).await;
    let mut bert = Raw::online(second, Codec::Protobuf, BERT.0, 20).await;
    let mut carl = Raw::online(first, Codec::Json, CARL.0, 30).await;
    let mut eve = Raw::online(first, Codec::Json, EVE.0, 40).await;
    let members = vec![ANNE, BERT, CARL];
    send(&mut anne, GROUP, 1, Payload::Created { direct: false, channel: false, members }).await;
    for other in [&mut annes_other, &mut bert, &mut carl] {
        delivered(other, GROUP, Seq(1)).await;
    }

    types(&mut anne, GROUP).await;
    assert_eq!(told(&mut bert, WHILE).await, [(GROUP, ANNE)]);
    assert_eq!(told(&mut carl, WHILE).await, [(GROUP, ANNE)]);
    assert_eq!(told(&mut annes_other, WHILE).await, []);

    // A storm, from two devices on two gateways.
    let begun = Instant::now();
    for _ in 0..50 {
        types(&mut anne, GROUP).await;
        types(&mut annes_other, GROUP).await;
    }
    let times = told(&mut bert, WHILE).await.len() as u32;
    assert!(
        (1..=1 + (begun.elapsed().as_millis() / TYPING_INTERVAL.as_millis()) as u32).contains(&times),
        "{times}"
    );

    // A stranger is told nothing and believed nothing; nor does a conversation that is not there come to be.
    types(&mut eve, GROUP).await;
    types(&mut eve, PAIR).await;
    types(&mut anne, ConversationId::direct(ANNE, EVE)).await;
    assert_eq!(told(&mut bert, WHILE).await, []);
    assert_eq!(told(&mut eve, WHILE).await, []);
    eve.send(ClientFrame::Ping).await;
    assert_eq!(eve.frame().await, ServerFrame::Pong);

    // Whoever was taken away is told nothing more, and nothing is told of them.
    let carls = told(&mut carl, Duration::ZERO).await;
    assert!(carls.len() <= 1 + times as usize);
    send(&mut anne, GROUP, 2, Payload::left(CARL)).await;
    delivered(&mut carl, GROUP, Seq(2)).await;
    sleep(TYPING_INTERVAL).await;
    types(&mut anne, GROUP).await;
    types(&mut carl, GROUP).await;
    assert_eq!(told(&mut bert, WHILE).await, [(GROUP, ANNE)]);
    assert_eq!(told(&mut carl, WHILE).await, []);
}

#[tokio::test]
async fn a_block_ends_it_for_both_until_it_is_taken_back() {
    let dir = TempDir::new("typing-blocked");
    let local = start(dir.path()).await;
    let [first, second] = [local.gateways()[0], local.gateways()[1]];
    let mut anne = Raw::online(first, Codec::Protobuf, ANNE.0, 10).await;
    let mut bert = Raw::online(second, Codec::Json, BERT.0, 20).await;
    send(&mut anne, PAIR, 1, Payload::Created { direct: true, channel: false, members: vec![ANNE, BERT] }).await;
    delivered(&mut bert, PAIR, Seq(1)).await;
    send(&mut bert, PAIR, 1, Payload::Blocked(true)).await;
    delivered(&mut anne, PAIR, Seq(2)).await;
    types(&mut anne, PAIR).await;
    types(&mut bert, PAIR).await;
    assert_eq!(told(&mut bert, WHILE).await, []);
    assert_eq!(told(&mut anne, WHILE).await, []);
    send(&mut bert, PAIR, 2, Payload::Blocked(false)).await;
    delivered(&mut anne, PAIR, Seq(3)).await;
    sleep(TYPING_INTERVAL).await;
    types(&mut anne, PAIR).await;
    assert_eq!(told(&mut bert, WHILE).await, [(PAIR, ANNE)]);
}
