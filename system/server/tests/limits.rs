//! What one user may do, on real sockets: floods are told to wait and harm nobody, and a device that obeys loses nothing.

mod common;

use common::{PATIENCE, Raw, TempDir, token};
use squall_client::{Config, Device, Event, Fixed, Gateways};
use squall_core::rate::{Rate, UserLimits};
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, DeviceId, Payload, Refusal, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};
use std::path::Path;
use std::sync::Arc;
use tokio::time::{Instant, timeout};

const ANNE: UserId = UserId(1);
const BERT: UserId = UserId(2);
const EVE: UserId = UserId(3);

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

fn created(direct: bool, members: &[UserId]) -> Payload {
    Payload::Created { direct, channel: false, members: members.to_vec() }
}

async fn transmit(raw: &mut Raw, conversation: ConversationId, number: u64, payload: Payload) {
    let client_msg_id = ClientMsgId(conversation.0 ^ u128::from(number));
    raw.send(ClientFrame::Send { conversation, client_msg_id, client_seq: ClientSeq(number), payload }).await;
}

/// The next answer to a send: `Ok` when it is stored.
async fn answer(raw: &mut Raw) -> Result<(), Refusal> {
    raw.until(|frame| match frame {
        ServerFrame::Sent { .. } => Some(Ok(())),
        ServerFrame::Refused { reason, .. } => Some(Err(*reason)),
        _ => None,
    })
    .await
}

fn is_told_to_wait(answer: Result<(), Refusal>) -> bool {
    matches!(answer, Err(Refusal::TooOften { retry_after_ms }) if (1..=60_000).contains(&retry_after_ms))
}

#[tokio::test]
async fn all_connections_of_a_user_share_one_budget_and_nobody_else_s() {
    let dir = TempDir::new("limits");
    let limits = UserLimits { sends: Rate { per_second: 1, burst: 10 }, ..UserLimits::default() };
    let local = start(&dir.path().join("data"), limits).await;
    let gateway = local.gateways()[0];
    let mut eve = [
        Raw::online(gateway, Codec::Json, EVE.0, 30).await,
        Raw::online(gateway, Codec::Protobuf, EVE.0, 31).await,
    ];
    let theirs = ConversationId::direct(EVE, ANNE);
    let mut refused = 0;
    for n in 1..=10 {
        for raw in &mut eve {
            transmit(raw, theirs, n, Payload::Text("buy".into())).await;
            refused += u32::from(is_told_to_wait(answer(raw).await));
        }
    }
    assert!((8..=10).contains(&refused), "of 20 sends of two devices {refused} were refused");
    let mut anne = Raw::online(gateway, Codec::Json, ANNE.0, 10).await;
    transmit(&mut anne, ConversationId::direct(ANNE, BERT), 1, created(true, &[ANNE, BERT])).await;
    assert_eq!(answer(&mut anne).await, Ok(()));
}

#[tokio::test]
async fn a_stranger_who_makes_groups_without_end_is_told_to_wait_and_their_victim_can_read_and_write() {
    let dir = TempDir::new("limits");
    let limits = UserLimits { creations: Rate { per_second: 1, burst: 20 }, ..UserLimits::default() };
    let local = start(&dir.path().join("data"), limits).await;
    let gateway = local.gateways()[0];
    let mut eve = Raw::online(gateway, Codec::Protobuf, EVE.0, 30).await;
    let mut made = 0;
    for n in 0..400 {
        transmit(&mut eve, ConversationId::group(EVE, n), 1, created(false, &[EVE, ANNE])).await;
        let answer = answer(&mut eve).await;
        made += u32::from(answer.is_ok());
        assert!(answer.is_ok() || is_told_to_wait(answer), "{answer:?}");
    }
    assert!((20..30).contains(&made), "{made} groups were made");
    let mut anne = Raw::online(gateway, Codec::Json, ANNE.0, 10).await;
    let heads = anne.until(|frame| match frame {
        ServerFrame::Heads { heads } => Some(heads.len()),
        _ => None,
    });
    assert_eq!(heads.await, made as usize);
    let own = ConversationId::direct(ANNE, BERT);
    transmit(&mut anne, own, 1, created(true, &[ANNE, BERT])).await;
    assert_eq!(answer(&mut anne).await, Ok(()));
    // What is refused for another reason has cost her nothing.
    for _ in 0..40 {
        transmit(&mut anne, own, 2, created(true, &[ANNE, BERT])).await;
        assert_eq!(answer(&mut anne).await, Err(Refusal::Conflict));
    }
    transmit(&mut anne, ConversationId::group(ANNE, 1), 1, created(false, &[ANNE, BERT])).await;
    assert_eq!(answer(&mut anne).await, Ok(()));
}

#[tokio::test]
async fn whoever_takes_somebody_in_and_out_without_end_is_told_to_wait() {
    let dir = TempDir::new("limits");
    let limits = UserLimits { changes: Rate { per_second: 1, burst: 20 }, ..UserLimits::default() };
    let local = start(&dir.path().join("data"), limits).await;
    let mut eve = Raw::online(local.gateways()[0], Codec::Protobuf, EVE.0, 30).await;
    let group = ConversationId::group(EVE, 1);
    transmit(&mut eve, group, 1, created(false, &[EVE, ANNE])).await;
    assert_eq!(answer(&mut eve).await, Ok(()));
    let (mut made, mut number) = (0, 2);
    for _ in 0..200 {
        let change = if made % 2 == 0 { Payload::left(ANNE) } else { Payload::joined(ANNE) };
        transmit(&mut eve, group, number, change).await;
        let answer = answer(&mut eve).await;
        assert!(answer.is_ok() || is_told_to_wait(answer), "{answer:?}");
        (made, number) = (made + u32::from(answer.is_ok()), number + u64::from(answer.is_ok()));
    }
    assert!((20..30).contains(&made), "{made} changes were made");
    transmit(&mut eve, group, number, Payload::Text("still here".into())).await;
    assert_eq!(answer(&mut eve).await, Ok(()));
}

#[tokio::test]
async fn a_device_that_is_told_to_wait_does_and_loses_nothing() {
    const MESSAGES: u128 = 60;
    let dir = TempDir::new("limits");
    let limits = UserLimits { sends: Rate { per_second: 30, burst: 10 }, ..UserLimits::default() };
    let local = start(&dir.path().join("data"), limits).await;
    let config = Config { user: ANNE, device: DeviceId(10), codec: Codec::Json, connects_before: 0 };
    let gateways = Gateways::new(&[format!("ws://{}", local.gateways()[0])], 0).unwrap();
    let began = Instant::now();
    let (device, mut events) = Device::start(config, Arc::new(Fixed(token(ANNE.0, 10))), Arc::new(gateways));
    for n in 0..MESSAGES {
        device.send_direct(BERT, ClientMsgId(1_000 + n), ClientMsgId(n), n.to_string()).await.unwrap();
    }
    let stored = async {
        let mut stored = Vec::new();
        while let Some(event) = events.recv().await {
            match event {
                Event::Stored { client_msg_id, .. } if client_msg_id.0 < MESSAGES => stored.push(client_msg_id.0),
                Event::Stored { .. }
                | Event::Online
                | Event::Shown(_)
                | Event::Resent { .. }
                | Event::Typing { .. }
                | Event::TypingOver { .. }
                | Event::ToldToWait { .. } => {}
                other => panic!("{other:?}"),
            }
            if stored.len() == MESSAGES as usize {
                break;
            }
        }
        stored
    };
    let stored = timeout(2 * PATIENCE, stored).await.expect("all are stored in the end");
    assert_eq!(stored, (0..MESSAGES).collect::<Vec<_>>());
    assert!(began.elapsed().as_millis() >= 1_500, "61 sends of which 30 a second are taken");
}
