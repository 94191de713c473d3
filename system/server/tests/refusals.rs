//! A definite refusal is final, on real sockets with two gateways: no copy of a refused message is stored afterwards, wherever
//! it was held up.

mod common;

use common::{Raw, TempDir, token};
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Refusal, Seq, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};
use std::path::Path;

const ANNE: u64 = 1;
const BERT: u64 = 2;
const GROUP: ConversationId = ConversationId::group(UserId(ANNE), 77);
const LATE: ClientMsgId = ClientMsgId(900);

async fn start(data: &Path) -> Local {
    let config = LocalConfig { gateways: 2, ..common::config(data) };
    Local::start(config).await.unwrap()
}

/// Bert's device, online at a gateway with this connect count.
async fn bert(local: &Local, gateway: usize, connect_count: u64) -> Raw {
    let mut raw = Raw::open(local.gateways()[gateway], Codec::Json).await;
    raw.send(ClientFrame::Hello { token: token(BERT, 20), connect_count, invisible: false }).await;
    common::welcome(&mut raw, BERT, 20).await;
    raw
}

async fn transmit(raw: &mut Raw, id: ClientMsgId, number: u64, payload: Payload) {
    let (conversation, client_seq) = (GROUP, ClientSeq(number));
    raw.send(ClientFrame::Send { conversation, client_msg_id: id, client_seq, payload }).await;
}

/// Sends and waits for the answer: the place, or why not.
async fn send(raw: &mut Raw, id: ClientMsgId, number: u64, payload: Payload) -> Result<Seq, Refusal> {
    transmit(raw, id, number, payload).await;
    raw.until(|frame| match frame {
        ServerFrame::Sent { client_msg_id, server_seq, .. } if *client_msg_id == id => Some(Ok(*server_seq)),
        ServerFrame::Refused { client_msg_id, reason, .. } if *client_msg_id == id => Some(Err(*reason)),
        _ => None,
    })
    .await
}

fn text() -> Payload {
    Payload::Text("a message that was refused".into())
}

async fn make_group(anne: &mut Raw) {
    let created = Payload::Created { direct: false, channel: false, members: vec![UserId(ANNE), UserId(BERT)] };
    assert_eq!(send(anne, ClientMsgId(1), 1, created).await, Ok(Seq(1)));
    assert_eq!(send(anne, ClientMsgId(2), 2, Payload::left(UserId(BERT))).await, Ok(Seq(2)));
}

/// The texts that the group holds.
async fn texts(raw: &mut Raw) -> usize {
    raw.send(ClientFrame::Sync { conversation: GROUP, since_seq: Seq::ZERO }).await;
    raw.until(|frame| match frame {
        ServerFrame::Page { span, .. } => {
            Some(span.entries.iter().filter(|entry| matches!(entry.payload, Payload::Text(_))).count())
        }
        _ => None,
    })
    .await
}

/// A life of the server, at the end of which nothing of it runs.
fn live(data: &Path, act: impl AsyncFnOnce(&Local, &mut Raw)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let local = start(data).await;
        let mut anne = Raw::online(local.gateways()[0], Codec::Json, ANNE, 10).await;
        act(&local, &mut anne).await;
    });
}

/// Bert is refused on his second connection.
async fn refused(local: &Local, anne: &mut Raw) {
    make_group(anne).await;
    let mut new = bert(local, 1, 2).await;
    assert_eq!(send(&mut new, LATE, 1, text()).await, Err(Refusal::NotAMember));
}

/// What the first connection's gateway had in its queue arrives when Bert is a member again.
async fn arrives_late(local: &Local, anne: &mut Raw) {
    let mut old = bert(local, 0, 1).await;
    assert_eq!(send(anne, ClientMsgId(3), 3, Payload::joined(UserId(BERT))).await, Ok(Seq(3)));
    transmit(&mut old, LATE, 1, text()).await;
    // The same connection's next request is answered after that one has been judged.
    assert_eq!(texts(&mut old).await, 0, "stored after its refusal");
    let mut new = bert(local, 1, 3).await;
    assert_eq!(send(&mut new, ClientMsgId(901), 1, text()).await, Ok(Seq(4)), "and the device goes on");
    assert_eq!(texts(anne).await, 1);
}

#[test]
fn a_copy_that_comes_late_from_the_old_connection_is_not_stored() {
    let dir = TempDir::new("refusals");
    live(dir.path(), async |local, anne| {
        refused(local, anne).await;
        arrives_late(local, anne).await;
    });
}

#[test]
fn nor_is_it_by_a_shard_that_has_been_started_anew() {
    let dir = TempDir::new("refusals");
    live(dir.path(), async |local, anne| refused(local, anne).await);
    live(dir.path(), async |local, anne| arrives_late(local, anne).await);
}

#[tokio::test]
async fn a_second_copy_on_the_same_connection_is_refused_as_the_first_was() {
    let dir = TempDir::new("refusals");
    let local = start(dir.path()).await;
    let mut anne = Raw::online(local.gateways()[0], Codec::Json, ANNE, 10).await;
    make_group(&mut anne).await;
    let mut raw = bert(&local, 1, 1).await;
    assert_eq!(send(&mut raw, LATE, 1, text()).await, Err(Refusal::NotAMember));
    assert_eq!(send(&mut anne, ClientMsgId(3), 3, Payload::joined(UserId(BERT))).await, Ok(Seq(3)));
    assert_eq!(send(&mut raw, LATE, 1, text()).await, Err(Refusal::NotAMember));
    assert_eq!(send(&mut raw, ClientMsgId(901), 1, text()).await, Ok(Seq(4)));
    assert_eq!(texts(&mut anne).await, 1);
}
