//! Who may use the name of a conversation, on real sockets: strangers try, and the two whose it is talk undisturbed.

mod common;

use common::{Raw, TempDir};
use squall_core::rate::UserLimits;
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Refusal, Seq, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};

const ANNE: u64 = 1;
const BERT: u64 = 2;
const EVE: u64 = 3;
const SECRETS: &str = "nobody else may read this";

fn created(direct: bool, members: &[u64]) -> Payload {
    Payload::Created { direct, channel: false, members: members.iter().copied().map(UserId).collect() }
}

/// Sends and waits for the answer: the place, or why not.
async fn send(
    raw: &mut Raw,
    conversation: ConversationId,
    id: u128,
    number: u64,
    payload: Payload,
) -> Result<Seq, Refusal> {
    let (id, client_seq) = (ClientMsgId(id), ClientSeq(number));
    raw.send(ClientFrame::Send { conversation, client_msg_id: id, client_seq, payload }).await;
    raw.until(|frame| match frame {
        ServerFrame::Sent { client_msg_id, server_seq, .. } if *client_msg_id == id => Some(Ok(*server_seq)),
        ServerFrame::Refused { client_msg_id, reason, .. } if *client_msg_id == id => Some(Err(*reason)),
        _ => None,
    })
    .await
}

/// What a sync shows, and whether anything had been delivered before it.
async fn seen(raw: &mut Raw, conversation: ConversationId) -> Vec<Payload> {
    raw.send(ClientFrame::Sync { conversation, since_seq: Seq::ZERO }).await;
    let mut seen = Vec::new();
    raw.until(|frame| match frame {
        ServerFrame::Deliver(span) => {
            seen.extend(span.entries.iter().map(|entry| entry.payload.clone()));
            None
        }
        ServerFrame::Page { span, .. } => {
            seen.extend(span.entries.iter().map(|entry| entry.payload.clone()));
            Some(())
        }
        ServerFrame::Error { .. } => Some(()),
        _ => None,
    })
    .await;
    seen
}

#[tokio::test]
async fn a_third_person_can_neither_read_nor_block_a_direct_conversation() {
    let attempts = [
        created(false, &[EVE]),
        created(false, &[EVE, ANNE, BERT]),
        created(true, &[EVE, ANNE]),
        created(true, &[ANNE, BERT]),
        // With a 64-bit hash for a name, this partner gave a direct conversation of Eve's the name of Anne's and Bert's.
        created(true, &[EVE, 7_167_911_855_231_950_543]),
    ];
    for attempt in attempts {
        let dir = TempDir::new("names");
        let config = LocalConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            gateways: 1,
            shards: 2,
            presences: 1,
            data: dir.path().join("data"),
            keys: common::keys(),
            limits: UserLimits::default(),
            cache_bytes: 4 * 1024 * 1024,
        };
        let local = Local::start(config).await.unwrap();
        let gateway = local.gateways()[0];
        let mut eve = Raw::online(gateway, Codec::Json, EVE, 30).await;
        let mut anne = Raw::online(gateway, Codec::Protobuf, ANNE, 10).await;
        let mut bert = Raw::online(gateway, Codec::Json, BERT, 20).await;
        let theirs = ConversationId::direct(UserId(ANNE), UserId(BERT));

        let eves = send(&mut eve, theirs, 31, 1, attempt.clone()).await;
        assert_eq!(eves, Err(Refusal::NotAMember), "{attempt:?}");
        let begun = send(&mut anne, theirs, 11, 1, created(true, &[ANNE, BERT])).await;
        assert_eq!(begun, Ok(Seq(1)), "Anne is blocked after {attempt:?}");
        assert_eq!(send(&mut anne, theirs, 12, 2, Payload::Text(SECRETS.into())).await, Ok(Seq(2)));
        assert_eq!(send(&mut bert, theirs, 21, 1, Payload::Text("agreed".into())).await, Ok(Seq(3)));
        // The same again, now that it exists.
        assert_eq!(send(&mut eve, theirs, 32, 1, attempt.clone()).await, Err(Refusal::NotAMember));
        assert_eq!(seen(&mut eve, theirs).await, [], "Eve reads after {attempt:?}");
        assert_eq!(seen(&mut bert, theirs).await.last(), Some(&Payload::Text("agreed".into())));
    }
}
