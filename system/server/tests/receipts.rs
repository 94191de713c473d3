//! Receipts on sockets: what one device reads is told to the others, is on disk, and is no business of who has left.

mod common;

use common::{PATIENCE, Raw, TempDir, live};
use squall_core::rate::UserLimits;
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Receipt, Seq, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};
use std::time::Duration;
use tokio::time::timeout;

const OWNER: UserId = UserId(1);
const READER: UserId = UserId(2);
const LEAVER: UserId = UserId(3);
const GROUP: ConversationId = ConversationId::group(OWNER, 1);
/// Twice as long as cursors wait.
const A_WHILE: Duration = Duration::from_secs(1);

async fn send(raw: &mut Raw, number: u64, payload: Payload) -> Seq {
    let client_msg_id = ClientMsgId(u128::from(number));
    raw.send(ClientFrame::Send { conversation: GROUP, client_msg_id, client_seq: ClientSeq(number), payload })
        .await;
    let sent = raw.until(|frame| match frame {
        ServerFrame::Sent { server_seq, .. } => Some(*server_seq),
        _ => None,
    });
    timeout(PATIENCE, sent).await.expect("it is stored")
}

async fn ack(raw: &mut Raw, up_to_seq: u64) {
    raw.send(ClientFrame::Ack { conversation: GROUP, up_to_seq: Seq(up_to_seq) }).await;
}

async fn read(raw: &mut Raw, up_to_seq: u64) {
    raw.send(ClientFrame::Read { conversation: GROUP, up_to_seq: Seq(up_to_seq) }).await;
}

fn receipt(user: UserId, delivered: u64, read: u64) -> Receipt {
    Receipt { user, delivered: Seq(delivered), read: Seq(read) }
}

/// Waits until a device is told this of a user.
async fn told(raw: &mut Raw, wanted: Receipt) {
    let told = raw.until(|frame| match frame {
        ServerFrame::Receipts { receipts } => {
            let users = receipts.iter().filter(|told| told.conversation == GROUP).flat_map(|told| &told.users);
            users.into_iter().any(|told| *told == wanted).then_some(())
        }
        _ => None,
    });
    timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("{wanted:?} is told"));
}

/// How many frames of receipts come within a while.
async fn frames_of_receipts(raw: &mut Raw) -> usize {
    let mut count = 0;
    let counting = async {
        loop {
            count += usize::from(matches!(raw.frame().await, ServerFrame::Receipts { .. }));
        }
    };
    let _ = timeout(A_WHILE, counting).await;
    count
}

#[test]
fn what_is_read_is_told_in_one_notice_and_is_still_known_after_a_restart() {
    let dir = TempDir::new("receipts");
    live(dir.path(), before);
    live(dir.path(), after);
}

async fn before(mut local: Local) {
    let gateway = local.gateways()[0];
    let mut owner = Raw::online(gateway, Codec::Json, OWNER.0, 10).await;
    let mut reader = Raw::online(gateway, Codec::Protobuf, READER.0, 20).await;
    let mut readers_other = Raw::online(gateway, Codec::Json, READER.0, 21).await;
    let members = vec![OWNER, READER, LEAVER];
    send(&mut owner, 1, Payload::Created { direct: false, channel: false, members }).await;
    for number in 2..=40 {
        send(&mut owner, number, Payload::Text("hello".into())).await;
    }
    // Delivered, and then read: many at once are one notice or two, for a commit may come between.
    ack(&mut reader, 40).await;
    told(&mut owner, receipt(READER, 40, 0)).await;
    for up_to in 2..=40 {
        read(&mut reader, up_to).await;
    }
    assert!((1..=2).contains(&frames_of_receipts(&mut owner).await));
    told(&mut readers_other, receipt(READER, 40, 40)).await;
    // What was never shown, or is beyond the end, is read as far as there is something.
    read(&mut owner, 1_000).await;
    told(&mut reader, receipt(OWNER, 40, 40)).await;
    // An older one moves nothing.
    read(&mut reader, 3).await;
    ack(&mut reader, 2).await;
    drop((owner, reader, readers_other));
    local.stop(Duration::ZERO).await.expect("every role ends as it was asked to");
}

async fn after(local: Local) {
    let mut owner = Raw::online(local.gateways()[0], Codec::Protobuf, OWNER.0, 10).await;
    told(&mut owner, receipt(READER, 40, 40)).await;
    let mut reader = Raw::online(local.gateways()[0], Codec::Json, READER.0, 22).await;
    told(&mut reader, receipt(READER, 40, 40)).await;
}

#[tokio::test]
async fn whoever_has_left_is_told_nothing_and_moves_nothing() {
    let dir = TempDir::new("receipts-left");
    let local = Local::start(common::config(dir.path())).await.unwrap();
    let gateway = local.gateways()[0];
    let mut owner = Raw::online(gateway, Codec::Json, OWNER.0, 10).await;
    let mut reader = Raw::online(gateway, Codec::Json, READER.0, 20).await;
    let mut leaver = Raw::online(gateway, Codec::Protobuf, LEAVER.0, 30).await;
    let mut stranger = Raw::online(gateway, Codec::Json, 4, 40).await;
    let members = vec![OWNER, READER, LEAVER];
    send(&mut owner, 1, Payload::Created { direct: false, channel: false, members }).await;
    send(&mut owner, 2, Payload::left(LEAVER)).await;
    send(&mut owner, 3, Payload::Text("now we are two".into())).await;
    frames_of_receipts(&mut leaver).await;
    read(&mut leaver, 3).await;
    read(&mut stranger, 3).await;
    ack(&mut stranger, 3).await;
    read(&mut reader, 3).await;
    told(&mut owner, receipt(READER, 3, 3)).await;
    assert_eq!((frames_of_receipts(&mut leaver).await, frames_of_receipts(&mut stranger).await), (0, 0));
    // Nor is anybody told of them.
    let mut another = Raw::online(gateway, Codec::Json, OWNER.0, 11).await;
    let known = another.until(|frame| match frame {
        ServerFrame::Receipts { receipts } => {
            Some(receipts.iter().flat_map(|told| &told.users).map(|told| told.user).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(timeout(PATIENCE, known).await.expect("receipts come with heads"), [READER, OWNER]);
}

#[tokio::test]
async fn what_is_read_in_a_channel_is_written_when_its_reader_goes() {
    let dir = TempDir::new("receipts-channel");
    let limits = UserLimits { channel_above: 2, ..UserLimits::default() };
    let config = LocalConfig { limits, ..common::config(dir.path()) };
    let local = Local::start(config).await.unwrap();
    let gateway = local.gateways()[0];
    let mut owner = Raw::online(gateway, Codec::Json, OWNER.0, 10).await;
    let members = vec![OWNER, READER, LEAVER];
    send(&mut owner, 1, Payload::Created { direct: false, channel: false, members }).await;
    send(&mut owner, 2, Payload::Text("hello".into())).await;
    let mut readers_other = Raw::online(gateway, Codec::Json, READER.0, 21).await;
    let mut reader = Raw::online(gateway, Codec::Protobuf, READER.0, 20).await;
    frames_of_receipts(&mut readers_other).await;
    read(&mut reader, 2).await;
    assert_eq!(frames_of_receipts(&mut readers_other).await, 0);
    drop(reader);
    told(&mut readers_other, receipt(READER, 2, 2)).await;
    // Of a channel nobody else is told.
    assert_eq!(frames_of_receipts(&mut owner).await, 0);
}
