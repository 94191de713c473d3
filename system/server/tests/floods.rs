//! Whoever sends without end, on real sockets: they are read more slowly, lose nothing by it, and nobody else notices.

mod common;

use common::{PATIENCE, Raw, TempDir};
use futures_util::{SinkExt, StreamExt};
use squall_core::rate::{Rate, UserLimits};
use squall_protocol::close::CloseReason;
use squall_protocol::limits::{MAX_CONTROL_FRAME_BYTES, MAX_FRAMES_BEFORE_HELLO};
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Seq, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

const ANNE: UserId = UserId(1);
const BERT: UserId = UserId(2);
const EVE: UserId = UserId(3);

/// Each user has a hundred frames a second, and fifty at once.
async fn start(dir: &TempDir) -> Local {
    start_with(dir, Rate { per_second: 100, burst: 50 }).await
}

async fn start_with(dir: &TempDir, frames: Rate) -> Local {
    let sends = Rate { per_second: 5, burst: 10 };
    let limits = UserLimits { frames, sends, ..UserLimits::default() };
    let config = LocalConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        gateways: 1,
        shards: 1,
        presences: 1,
        data: dir.path().join("data"),
        keys: common::keys(),
        limits,
        cache_bytes: 1 << 20,
    };
    Local::start(config).await.unwrap()
}

fn text(conversation: ConversationId, number: u64, payload: Payload) -> ClientFrame {
    let client_msg_id = ClientMsgId(conversation.0 ^ u128::from(number));
    ClientFrame::Send { conversation, client_msg_id, client_seq: ClientSeq(number), payload }
}

async fn pongs(raw: &mut Raw, count: u32) {
    for _ in 0..count {
        raw.until(|frame| (*frame == ServerFrame::Pong).then_some(())).await;
    }
}

/// What the budget lets pass at once, and a little for a busy machine.
const AT_ONCE: Duration = Duration::from_millis(500);

#[tokio::test]
async fn all_connections_of_a_flooding_user_are_read_more_slowly_and_nothing_is_lost_and_others_notice_nothing() {
    let dir = TempDir::new("floods");
    let local = start(&dir).await;
    let gateway = local.gateways()[0];
    let mut eve = Raw::online(gateway, Codec::Json, EVE.0, 30).await;
    let mut second = Raw::online(gateway, Codec::Protobuf, EVE.0, 31).await;
    let began = Instant::now();
    for _ in 0..100 {
        eve.send(ClientFrame::Ping).await;
        second.send(ClientFrame::Ping).await;
    }
    let flood = async {
        tokio::join!(pongs(&mut eve, 100), pongs(&mut second, 100));
        began.elapsed()
    };
    let honest = async {
        let mut anne = Raw::online(gateway, Codec::Json, ANNE.0, 10).await;
        for _ in 0..20 {
            anne.send(ClientFrame::Ping).await;
            pongs(&mut anne, 1).await;
        }
        began.elapsed()
    };
    let (flood, honest) = timeout(PATIENCE, async { tokio::join!(flood, honest) }).await.unwrap();
    assert!(flood > Duration::from_millis(1_300), "200 frames, of which 50 at once and 100 a second: {flood:?}");
    assert!(flood < Duration::from_secs(5), "{flood:?}");
    assert!(honest < AT_ONCE, "{honest:?}");
}

#[tokio::test]
async fn control_frames_and_fragments_are_frames() {
    let dir = TempDir::new("floods");
    let local = start(&dir).await;
    let mut eve = Raw::online(local.gateways()[0], Codec::Json, EVE.0, 30).await;
    let began = Instant::now();
    for _ in 0..150 {
        eve.socket.send(Message::Ping(vec![b'x'; MAX_CONTROL_FRAME_BYTES].into())).await.unwrap();
    }
    eve.send(ClientFrame::Ping).await;
    let answered = async {
        // Only the newest of pings has to be answered.
        while !matches!(eve.socket.next().await, Some(Ok(Message::Text(_)))) {}
    };
    timeout(PATIENCE, answered).await.unwrap();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(900), "{took:?}");
}

#[tokio::test]
async fn whoever_opens_hundreds_of_connections_pays_for_what_comes_over_them() {
    const CONNECTIONS: u64 = 200;
    let dir = TempDir::new("floods");
    let local = start_with(&dir, Rate { per_second: 10, burst: 1_024 }).await;
    let gateway = local.gateways()[0];
    let mut open = Vec::new();
    for number in 0..CONNECTIONS {
        open.push(Raw::online(gateway, Codec::Protobuf, ANNE.0, 100 + number).await);
    }
    let began = Instant::now();
    for raw in &mut open {
        raw.send(ClientFrame::Ping).await;
    }
    for raw in &mut open {
        pongs(raw, 1).await;
    }
    assert!(began.elapsed() < 2 * AT_ONCE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_others_send_to_somebody_is_no_flood_of_theirs() {
    const SENDERS: u64 = 30;
    let dir = TempDir::new("floods");
    let local = start(&dir).await;
    let gateway = local.gateways()[0];
    let group = ConversationId::group(ANNE, 1);
    let senders: Vec<UserId> = (0..SENDERS).map(|n| UserId(100 + n)).collect();
    let mut anne = Raw::online(gateway, Codec::Protobuf, ANNE.0, 10).await;
    let members = [&[ANNE], senders.as_slice()].concat();
    anne.send(text(group, 1, Payload::Created { direct: false, channel: false, members })).await;
    anne.until(|frame| matches!(frame, ServerFrame::Sent { .. }).then_some(())).await;
    let mut open = Vec::new();
    for sender in &senders {
        open.push(Raw::online(gateway, Codec::Protobuf, sender.0, sender.0).await);
    }
    for (sender, raw) in senders.iter().zip(&mut open) {
        for number in 1..=10 {
            let payload = Payload::Text(format!("{sender} {number}"));
            let client_msg_id = ClientMsgId(u128::from(sender.0) << 64 | u128::from(number));
            let client_seq = ClientSeq(number);
            raw.send(ClientFrame::Send { conversation: group, client_msg_id, client_seq, payload }).await;
        }
    }
    let last = Seq(1 + 10 * SENDERS);
    let mut shown = Seq(1);
    while shown < last {
        shown = anne
            .until(|frame| match frame {
                ServerFrame::Deliver(span) if span.conversation == group => Some(span.to),
                _ => None,
            })
            .await;
        anne.send(ClientFrame::Ack { conversation: group, up_to_seq: shown }).await;
    }
    // Three hundred acks are on the way, and nothing has to wait for them.
    let began = Instant::now();
    anne.send(ClientFrame::Ping).await;
    pongs(&mut anne, 1).await;
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn whoever_asks_for_what_is_two_others_is_told_so_by_the_gateway_and_acks_are_passed_over() {
    let dir = TempDir::new("floods");
    let local = start(&dir).await;
    let mut eve = Raw::online(local.gateways()[0], Codec::Json, EVE.0, 30).await;
    let theirs = ConversationId::direct(ANNE, BERT);
    eve.send(ClientFrame::Ack { conversation: theirs, up_to_seq: Seq(1) }).await;
    eve.send(ClientFrame::Sync { conversation: theirs, since_seq: Seq(0) }).await;
    let refused = |frame: &ServerFrame| match frame {
        ServerFrame::Error { conversation, .. } => Some(*conversation),
        _ => None,
    };
    assert_eq!(eve.until(refused).await, theirs);
}

/// An opening handshake, and what follows it as bytes of our own.
async fn greet(gateway: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
    stream
}

/// A masked frame of one byte and its payload, the mask being zero.
fn control(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

#[tokio::test]
async fn nobody_without_a_token_is_answered_a_ping_nor_sends_them_without_end() {
    let dir = TempDir::new("floods");
    let local = start(&dir).await;
    let mut stream = greet(local.gateways()[0]).await;
    let pings = u32::from(MAX_FRAMES_BEFORE_HELLO) + 1;
    for _ in 0..pings {
        stream.write_all(&control(0x89, b"x")).await.unwrap();
    }
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let code = CloseReason::HelloExpected.code().to_be_bytes();
    assert_eq!(answer.first_chunk::<4>().map(|head| [head[0], head[2], head[3]]), Some([0x88, code[0], code[1]]));
}

#[tokio::test]
async fn of_pings_whose_answers_are_not_read_the_newest_is_answered() {
    let dir = TempDir::new("floods");
    let local = start(&dir).await;
    let mut stream = greet(local.gateways()[0]).await;
    let hello = Codec::Json.encode_client(&ClientFrame::Hello {
        token: common::token(EVE.0, 30),
        connect_count: 1,
        invisible: false,
    });
    let mut wire = vec![0x81, 0x80 | 126];
    wire.extend((hello.len() as u16).to_be_bytes());
    wire.extend([0; 4]);
    wire.extend(hello);
    // In one piece, so that they are read before anything is written.
    (b'0'..=b'9').for_each(|digit| wire.extend(control(0x89, &[digit])));
    stream.write_all(&wire).await.unwrap();
    let mut seen = Vec::new();
    let pong = async {
        while !seen.windows(3).any(|w| w == [0x8A, 1, b'9']) {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
        }
    };
    timeout(PATIENCE, pong).await.expect("the newest is answered");
    assert_eq!(seen.windows(2).filter(|w| *w == [0x8A, 1]).count(), 1);
}
