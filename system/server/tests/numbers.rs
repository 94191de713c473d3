//! Two people whose devices have one number, which whoever hands out tokens must not let happen: they are two devices all the same.

mod common;

use common::{Raw, TempDir};
use squall_core::rate::UserLimits;
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Refusal, Seq, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};

const ANNE: UserId = UserId(1);
const BERT: UserId = UserId(2);
const NUMBER: u64 = 10;
const THEIRS: ConversationId = ConversationId::direct(ANNE, BERT);

async fn send(raw: &mut Raw, id: u128, number: u64, payload: Payload) -> Result<Seq, Refusal> {
    let (client_msg_id, client_seq) = (ClientMsgId(id), ClientSeq(number));
    raw.send(ClientFrame::Send { conversation: THEIRS, client_msg_id, client_seq, payload }).await;
    raw.until(|frame| match frame {
        ServerFrame::Sent { client_msg_id, server_seq, .. } if client_msg_id.0 == id => Some(Ok(*server_seq)),
        ServerFrame::Refused { client_msg_id, reason, .. } if client_msg_id.0 == id => Some(Err(*reason)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn two_people_with_one_device_number_do_not_disturb_each_other() {
    let dir = TempDir::new("numbers");
    let config = LocalConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        gateways: 1,
        shards: 1,
        presences: 1,
        data: dir.path().join("data"),
        keys: common::keys(),
        limits: UserLimits::default(),
        cache_bytes: 1 << 20,
    };
    let local = Local::start(config).await.unwrap();
    let gateway = local.gateways()[0];
    let mut anne = Raw::online(gateway, Codec::Json, ANNE.0, NUMBER).await;
    let mut bert = Raw::online(gateway, Codec::Json, BERT.0, NUMBER).await;
    let created = Payload::Created { direct: true, channel: false, members: vec![ANNE, BERT] };
    let text = || Payload::Text("hello".into());
    assert_eq!(send(&mut anne, 1, 1, created).await, Ok(Seq(1)));
    assert_eq!(send(&mut anne, 2, 2, text()).await, Ok(Seq(2)));
    // Bert's device is not the one that sent it.
    bert.until(|frame| match frame {
        ServerFrame::Deliver(span) => (span.to == Seq(2)).then_some(()),
        _ => None,
    })
    .await;
    // His messages are not taken for hers, neither under her next number nor under an id of hers, and use none of her numbers up.
    let first = Refusal::ExpectedClientSeq(ClientSeq::FIRST);
    assert_eq!(send(&mut bert, 3, 3, text()).await, Err(first));
    assert_eq!(send(&mut bert, 2, 1, text()).await, Ok(Seq(3)));
    assert_eq!(send(&mut anne, 4, 3, text()).await, Ok(Seq(4)));
    assert_eq!(send(&mut bert, 5, 2, text()).await, Ok(Seq(5)));
}
