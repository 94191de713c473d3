//! A group that becomes a channel, on sockets: its members are told by their gateways, from one end of its life to the other.

mod common;

use common::{PATIENCE, Raw, TempDir};
use squall_core::rate::UserLimits;
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Entry, Payload, Seq, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};
use std::path::Path;
use tokio::time::timeout;

const OWNER: UserId = UserId(1);
const CHANNEL: ConversationId = ConversationId::group(OWNER, 1);

async fn start(data: &Path) -> Local {
    let config = LocalConfig {
        gateways: 2,
        shards: 2,
        limits: UserLimits { channel_above: 3, ..UserLimits::default() },
        ..common::config(data)
    };
    Local::start(config).await.unwrap()
}

async fn send(raw: &mut Raw, number: u64, payload: Payload) -> Seq {
    let client_msg_id = ClientMsgId(u128::from(number));
    raw.send(ClientFrame::Send { conversation: CHANNEL, client_msg_id, client_seq: ClientSeq(number), payload })
        .await;
    let sent = raw.until(|frame| match frame {
        ServerFrame::Sent { server_seq, .. } => Some(*server_seq),
        _ => None,
    });
    timeout(PATIENCE, sent).await.expect("it is stored")
}

fn text(n: u64) -> Payload {
    Payload::Text(format!("message {n}"))
}

/// The next delivery that brings anything, in whose course this device is told of that place.
async fn told(raw: &mut Raw, place: Seq) -> (Seq, Vec<Entry>) {
    let told = raw.until(|frame| match frame {
        ServerFrame::Deliver(span) if span.to == place && !span.entries.is_empty() => {
            Some((span.from, span.entries.clone()))
        }
        _ => None,
    });
    timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("entry {place} is told"))
}

#[tokio::test]
async fn members_are_told_by_their_gateways_until_it_is_a_group_again() {
    let dir = TempDir::new("channels");
    let local = start(dir.path()).await;
    let [first, second] = [local.gateways()[0], local.gateways()[1]];
    let mut owner = Raw::online(first, Codec::Json, OWNER.0, 10).await;
    let mut members = Vec::new();
    for user in 2..=5 {
        let codec = if user % 2 == 0 { Codec::Json } else { Codec::Protobuf };
        members.push(Raw::online(if user < 4 { first } else { second }, codec, user, user * 10).await);
    }
    let created = Payload::Created { direct: false, channel: false, members: (1..=4).map(UserId).collect() };
    assert_eq!(send(&mut owner, 1, created).await, Seq(1));
    for member in &mut members[..3] {
        told(member, Seq(1)).await;
    }
    send(&mut owner, 2, text(2)).await;
    for member in &mut members[..3] {
        assert_eq!(told(member, Seq(2)).await.1.len(), 1);
    }
    // Who comes is told so, and nobody else: the next message speaks for that place without it.
    send(&mut owner, 3, Payload::joined(UserId(5))).await;
    assert_eq!(told(&mut members[3], Seq(3)).await.1.len(), 1);
    send(&mut owner, 4, text(4)).await;
    for member in &mut members[..3] {
        let (from, entries) = told(member, Seq(4)).await;
        assert_eq!((from, entries.iter().map(|entry| entry.seq).collect::<Vec<_>>()), (Seq(3), vec![Seq(4)]));
    }
    told(&mut members[3], Seq(4)).await;
    // A page is the same from a gateway that has the log's end.
    members[0].send(ClientFrame::Sync { conversation: CHANNEL, since_seq: Seq(1) }).await;
    let page = members[0].until(|frame| match frame {
        ServerFrame::Page { span, head } => Some((span.clone(), *head)),
        _ => None,
    });
    let (span, head) = timeout(PATIENCE, page).await.expect("a page comes");
    let places: Vec<u64> = span.entries.iter().map(|entry| entry.seq.0).collect();
    assert_eq!((span.from, span.to, head, places), (Seq(2), Seq(4), Seq(4), vec![2, 4]));
    // All but one go, with one entry: whoever stays is told by the shard again.
    send(&mut owner, 5, Payload::Left((3..=5).map(UserId).collect::<Vec<_>>().into())).await;
    told(&mut members[1], Seq(5)).await;
    send(&mut owner, 6, Payload::left(UserId(2))).await;
    told(&mut members[0], Seq(6)).await;
    assert_eq!(send(&mut owner, 7, text(7)).await, Seq(7));
    send(&mut owner, 8, Payload::joined(UserId(3))).await;
    told(&mut members[1], Seq(8)).await;
    send(&mut owner, 9, text(9)).await;
    told(&mut members[1], Seq(9)).await;
}
