//! What a gateway says to peers that do it wrong, on real sockets; and that it goes on serving the others.

mod common;

use common::{PATIENCE, Raw, TempDir, token};
use futures_util::SinkExt;
use squall_core::rate::UserLimits;
use squall_protocol::close::CloseReason;
use squall_protocol::frames::ErrorCode;
use squall_protocol::limits::{
    HELLO_LIMIT, MAX_BODY_BYTES, MAX_CLIENT_FRAME_BYTES, MAX_FOUNDERS, MAX_HANDSHAKE_BYTES, MAX_HELLO_BYTES,
};
use squall_protocol::token::Token;
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Refusal, Seq, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig, LocalError};
use squall_server::storage::DirectoryError;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

const GROUP: ConversationId = ConversationId::group(UserId(1_000), 7);

/// A whole server on free ports.
struct Server {
    local: Local,
    _dir: TempDir,
}

fn config(dir: &TempDir) -> LocalConfig {
    LocalConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        gateways: 1,
        shards: 2,
        presences: 1,
        data: dir.path().join("data"),
        keys: common::keys(),
        limits: UserLimits::default(),
        cache_bytes: 4 * 1024 * 1024,
    }
}

impl Server {
    async fn start() -> Server {
        let dir = TempDir::new("protocol");
        Server { local: Local::start(config(&dir)).await.unwrap(), _dir: dir }
    }

    fn gateway(&self) -> SocketAddr {
        self.local.gateways()[0]
    }

    /// A well-behaved device, which stays connected while others misbehave.
    async fn witness(&self) -> Witness {
        let raw = Raw::online(self.gateway(), Codec::Protobuf, 1_000, 10_000).await;
        let mut witness = Witness { raw, sent: 0, gateway: self.gateway() };
        let created = Payload::Created { direct: false, channel: false, members: vec![UserId(1_000)] };
        witness.store(created).await;
        witness
    }
}

struct Witness {
    raw: Raw,
    sent: u64,
    gateway: SocketAddr,
}

impl Witness {
    async fn store(&mut self, payload: Payload) {
        self.sent += 1;
        let id = ClientMsgId(u128::from(self.sent));
        self.raw.send(send(GROUP, id, self.sent, payload)).await;
        let seq = self.raw.until(|frame| stored(frame, id)).await;
        assert_eq!(seq, Seq(self.sent));
    }

    /// The old connection still works, and a new one does.
    async fn is_served(&mut self) {
        self.store(Payload::Text("still here".into())).await;
        let mut fresh = Raw::online(self.gateway, Codec::Json, 1_001, 10_010).await;
        fresh.send(ClientFrame::Ping).await;
        fresh.until(|frame| (*frame == ServerFrame::Pong).then_some(())).await;
    }
}

fn send(conversation: ConversationId, id: ClientMsgId, client_seq: u64, payload: Payload) -> ClientFrame {
    ClientFrame::Send { conversation, client_msg_id: id, client_seq: ClientSeq(client_seq), payload }
}

fn stored(frame: &ServerFrame, id: ClientMsgId) -> Option<Seq> {
    match frame {
        ServerFrame::Sent { client_msg_id, server_seq, .. } if *client_msg_id == id => Some(*server_seq),
        _ => None,
    }
}

fn refused(frame: &ServerFrame, id: ClientMsgId) -> Option<Refusal> {
    match frame {
        ServerFrame::Refused { client_msg_id, reason, .. } if *client_msg_id == id => Some(*reason),
        _ => None,
    }
}

fn error_of(frame: &ServerFrame, id: ConversationId) -> Option<ErrorCode> {
    match frame {
        ServerFrame::Error { code, conversation } if *conversation == id => Some(*code),
        _ => None,
    }
}

#[tokio::test]
async fn a_frame_before_hello_or_a_second_hello_closes_with_4001() {
    let server = Server::start().await;
    let mut witness = server.witness().await;
    for codec in Codec::ALL {
        let mut raw = Raw::open(server.gateway(), codec).await;
        raw.send(ClientFrame::Ping).await;
        assert_eq!(raw.close_code().await, CloseReason::HelloExpected.code());
        let mut raw = Raw::online(server.gateway(), codec, 2, 20).await;
        raw.send(ClientFrame::Hello { token: token(2, 20), connect_count: 2, invisible: false }).await;
        assert_eq!(raw.close_code().await, 4001);
    }
    witness.is_served().await;
}

#[tokio::test]
async fn a_token_that_is_not_ours_closes_with_4002() {
    let server = Server::start().await;
    let mut witness = server.witness().await;
    for wrong in [String::new(), "1.2".into(), "1.2.zz".into(), "é".repeat(3_000)].map(Token::from) {
        let mut raw = Raw::open(server.gateway(), Codec::Json).await;
        raw.send(ClientFrame::Hello { token: wrong, connect_count: 1, invisible: false }).await;
        assert_eq!(raw.close_code().await, 4002);
    }
    witness.is_served().await;
}

#[tokio::test]
async fn an_oversized_frame_closes_with_1009() {
    let server = Server::start().await;
    let mut witness = server.witness().await;
    // Just above the limit, far above it, and in fragments that are each below it.
    let mut raw = Raw::online(server.gateway(), Codec::Json, 2, 20).await;
    raw.socket.send(Message::Text("x".repeat(MAX_CLIENT_FRAME_BYTES + 1).into())).await.unwrap();
    assert_eq!(raw.close_code().await, 1009);
    let mut raw = Raw::online(server.gateway(), Codec::Protobuf, 3, 30).await;
    raw.socket.send(Message::Binary(vec![0; 20 * MAX_CLIENT_FRAME_BYTES].into())).await.unwrap();
    assert_eq!(raw.close_code().await, 1009);
    let mut raw = Raw::online(server.gateway(), Codec::Protobuf, 4, 40).await;
    fragments(&mut raw, 2 * MAX_CLIENT_FRAME_BYTES).await;
    assert_eq!(raw.close_code().await, 1009);
    // Whoever has shown no token is given room for one, at once or in fragments.
    let mut raw = Raw::open(server.gateway(), Codec::Json).await;
    raw.send(ClientFrame::Hello { token: "x".repeat(MAX_HELLO_BYTES).into(), connect_count: 1, invisible: false })
        .await;
    assert_eq!(raw.close_code().await, 1009);
    let mut raw = Raw::open(server.gateway(), Codec::Protobuf).await;
    fragments(&mut raw, 2 * MAX_HELLO_BYTES).await;
    assert_eq!(raw.close_code().await, 1009);
    witness.is_served().await;
}

/// One message of zeros in fragments of 16 KiB.
async fn fragments(raw: &mut Raw, bytes: usize) {
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    for n in 0..bytes / 16_384 {
        let opcode = OpCode::Data(if n == 0 { Data::Binary } else { Data::Continue });
        let frame = Frame::message(vec![0; 16_384], opcode, false);
        if raw.socket.send(Message::Frame(frame)).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_malformed_frame_closes_with_4000() {
    let server = Server::start().await;
    let mut witness = server.witness().await;
    for wrong in
        ["", "{", "null", "{\"op\":\"dance\"}", "{\"op\":\"send\"}", "{\"op\":\"ack\",\"conversation\":7}"]
    {
        let mut raw = Raw::online(server.gateway(), Codec::Json, 2, 20).await;
        raw.socket.send(Message::Text(wrong.into())).await.unwrap();
        assert_eq!(raw.close_code().await, 4000, "{wrong}");
    }
    for wrong in [&[][..], &[0xff; 9], &[0x0a, 0x7f], &[0x12, 0x00]] {
        let mut raw = Raw::online(server.gateway(), Codec::Protobuf, 2, 20).await;
        raw.socket.send(Message::Binary(wrong.to_vec().into())).await.unwrap();
        assert_eq!(raw.close_code().await, 4000, "{wrong:?}");
    }
    witness.is_served().await;
}

#[tokio::test]
async fn bytes_that_are_no_websocket_frame_close_with_4000() {
    let server = Server::start().await;
    let mut witness = server.witness().await;
    // An unmasked frame, a reserved opcode, and a text that is not UTF-8.
    for wrong in [&[0x81, 0x02, b'h', b'i'][..], &[0x8f, 0x80, 0, 0, 0, 0], &[0x81, 0x81, 0, 0, 0, 0, 0xff]] {
        let mut raw = Raw::open(server.gateway(), Codec::Json).await;
        raw.socket.get_mut().write_all(wrong).await.unwrap();
        assert_eq!(raw.close_code().await, 4000, "{wrong:?}");
    }
    witness.is_served().await;
}

#[tokio::test]
async fn a_frame_of_the_other_kind_closes_with_1003() {
    let server = Server::start().await;
    let mut witness = server.witness().await;
    let mut raw = Raw::online(server.gateway(), Codec::Json, 2, 20).await;
    raw.socket.send(Message::Binary(Codec::Protobuf.encode_client(&ClientFrame::Ping).into())).await.unwrap();
    assert_eq!(raw.close_code().await, 1003);
    // Another device: the registry may still have the first one, at the same count.
    let mut raw = Raw::online(server.gateway(), Codec::Protobuf, 2, 21).await;
    raw.socket.send(Message::Text("{\"op\":\"ping\"}".into())).await.unwrap();
    assert_eq!(raw.close_code().await, 1003);
    witness.is_served().await;
}

#[tokio::test]
async fn sends_that_may_not_be_are_refused_and_the_connection_stays() {
    let server = Server::start().await;
    let mut witness = server.witness().await;
    for (codec, user) in [(Codec::Json, 2), (Codec::Protobuf, 3)] {
        let mut raw = Raw::online(server.gateway(), codec, user, user * 10).await;
        let text = || Payload::Text("x".into());
        let own = ConversationId::group(UserId(user), 1);
        let anothers = ConversationId::group(UserId(1_000), 999);
        let created = |members: Vec<u64>| Payload::Created {
            direct: false,
            channel: false,
            members: members.into_iter().map(UserId).collect(),
        };
        let too_long = Payload::Text("x".repeat(MAX_BODY_BYTES + 1));
        let cases = [
            (own, 1, text(), Refusal::UnknownConversation),
            (GROUP, 1, text(), Refusal::NotAMember),
            (GROUP, 1, Payload::joined(UserId(user)), Refusal::NotAMember),
            (GROUP, 1, created(vec![user, 1_000]), Refusal::NotAMember),
            // Whether there is such a group, and what number it would take, is not told.
            (GROUP, 2, text(), Refusal::NotAMember),
            (GROUP, 0, text(), Refusal::NotAMember),
            (GROUP, u64::MAX, text(), Refusal::NotAMember),
            (anothers, 1, text(), Refusal::NotAMember),
            (anothers, 2, text(), Refusal::NotAMember),
            (ConversationId::direct(UserId(1_000), UserId(1_001)), 1, text(), Refusal::NotAMember),
            (own, 2, text(), Refusal::ExpectedClientSeq(ClientSeq(1))),
            (own, 1, created(vec![user + 1]), Refusal::Conflict),
            (own, 1, created((0..=MAX_FOUNDERS as u64).collect()), Refusal::GroupTooLarge),
            (own, 1, too_long, Refusal::BodyTooLarge),
        ];
        for (n, (conversation, client_seq, payload, expected)) in (1..).zip(cases) {
            let id = ClientMsgId(n);
            raw.send(send(conversation, id, client_seq, payload)).await;
            assert_eq!(raw.until(|frame| refused(frame, id)).await, expected, "case {n}");
        }
        // No refusal has used up a number.
        raw.send(send(own, ClientMsgId(50), 1, created(vec![user]))).await;
        assert_eq!(raw.until(|frame| stored(frame, ClientMsgId(50))).await, Seq(1));
    }
    witness.is_served().await;
}

#[tokio::test]
async fn a_sync_that_may_not_be_is_answered_with_an_error() {
    let server = Server::start().await;
    let mut witness = server.witness().await;
    let mut raw = Raw::online(server.gateway(), Codec::Json, 2, 20).await;
    for (conversation, since, expected) in [
        (GROUP, 0, ErrorCode::NotAMember),
        (GROUP, u64::MAX, ErrorCode::NotAMember),
        (ConversationId::group(UserId(1_000), 999), 0, ErrorCode::NotAMember),
        (ConversationId::direct(UserId(1_000), UserId(1_001)), 0, ErrorCode::NotAMember),
        (ConversationId(0), 0, ErrorCode::NotAMember),
        (ConversationId::group(UserId(2), 9), 0, ErrorCode::UnknownConversation),
    ] {
        raw.send(ClientFrame::Sync { conversation, since_seq: Seq(since) }).await;
        assert_eq!(raw.until(|frame| error_of(frame, conversation)).await, expected);
    }
    witness.is_served().await;
}

#[tokio::test]
async fn numbers_from_beyond_the_log_do_no_harm() {
    let server = Server::start().await;
    let mut witness = server.witness().await;
    for since in [2, 1 << 40, u64::MAX] {
        witness.raw.send(ClientFrame::Ack { conversation: GROUP, up_to_seq: Seq(since) }).await;
        witness.raw.send(ClientFrame::Sync { conversation: GROUP, since_seq: Seq(since) }).await;
        let page = |frame: &ServerFrame| match frame {
            ServerFrame::Page { span, head } => Some((span.entries.len(), *head)),
            _ => None,
        };
        assert_eq!(witness.raw.until(page).await, (0, Seq(1)));
    }
    let id = ClientMsgId(77);
    witness.raw.send(send(GROUP, id, u64::MAX, Payload::Text("x".into()))).await;
    let expected = Refusal::ExpectedClientSeq(ClientSeq(2));
    assert_eq!(witness.raw.until(|frame| refused(frame, id)).await, expected);
    witness.is_served().await;
}

/// The answer to a request of raw bytes, until the gateway closes.
async fn http(gateway: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("the gateway closes in time").expect("the answer is not cut off by a reset");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn what_is_no_upgrade_gets_an_http_error() {
    let server = Server::start().await;
    let mut witness = server.witness().await;
    let upgrade = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let long = |bytes| format!("GET / HTTP/1.1\r\n{upgrade}X: {}\r\n\r\n", "x".repeat(bytes));
    for (request, status) in [
        ("garbage\r\n\r\n".to_owned(), "400"),
        ("\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "426"),
        (format!("POST / HTTP/1.1\r\n{upgrade}\r\n"), "426"),
        (format!("GET / HTTP/1.0\r\n{upgrade}\r\n"), "426"),
        (format!("GET / HTTP/1.1\r\n{upgrade}Sec-WebSocket-Protocol: mqtt\r\n\r\n"), "400"),
        (long(2 * MAX_HANDSHAKE_BYTES), "431"),
        // Too long, and whole with the read that says so.
        (long(MAX_HANDSHAKE_BYTES), "431"),
    ] {
        let answer = http(server.gateway(), request.as_bytes()).await;
        let first = request.lines().next().unwrap_or_default();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{first}: {answer}");
    }
    witness.is_served().await;
}

#[tokio::test]
async fn a_request_in_pieces_with_a_frame_right_behind_it_is_understood() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.gateway()).await.unwrap();
    let hello =
        Codec::Json.encode_client(&ClientFrame::Hello { token: token(2, 20), connect_count: 1, invisible: false });
    let mut bytes = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    // A masked text frame, the mask being zero; its length fits seven bits or sixteen.
    bytes.push(0x81);
    match u8::try_from(hello.len()) {
        Ok(length) if length < 126 => bytes.push(0x80 | length),
        _ => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(hello.len() as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&hello);
    stream.set_nodelay(true).unwrap();
    for piece in bytes.chunks(70) {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut answer = Vec::new();
    let welcomed = async {
        while !String::from_utf8_lossy(&answer).contains("welcome") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
        }
    };
    tokio::time::timeout(PATIENCE, welcomed).await.expect("a welcome in time");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("squall.v1.json"), "JSON is spoken when nothing is offered: {answer}");
}

#[tokio::test]
async fn who_stalls_before_hello_is_dropped_after_the_limit() {
    let server = Server::start().await;
    let mut witness = server.witness().await;
    // One says nothing, one stops in the midst of its request, one stops after the handshake.
    let silent = TcpStream::connect(server.gateway()).await.unwrap();
    let mut halting = TcpStream::connect(server.gateway()).await.unwrap();
    halting.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let begun = Instant::now();
    let dropped = |mut stream: TcpStream| async move {
        // Closed or reset: either way it is over.
        let _ = stream.read_to_end(&mut Vec::new()).await;
        begun.elapsed()
    };
    let greeted = async {
        let mut raw = Raw::open(server.gateway(), Codec::Json).await;
        let message = tokio::time::timeout(2 * HELLO_LIMIT, futures_util::StreamExt::next(&mut raw.socket)).await;
        let Ok(Some(Ok(Message::Close(Some(frame))))) = message else { panic!("{message:?}") };
        assert_eq!(u16::from(frame.code), CloseReason::HelloTimeout.code());
        begun.elapsed()
    };
    // A slow handshake leaves less time for the hello.
    let mut slow = TcpStream::connect(server.gateway()).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n").await.unwrap();
    let slow = async {
        tokio::time::sleep(HELLO_LIMIT / 2).await;
        let rest = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        slow.write_all(rest).await.unwrap();
        let mut answer = Vec::new();
        // The response ends with an empty line; the first byte after it begins the close frame.
        while !answer.windows(5).any(|w| w.starts_with(b"\r\n\r\n")) {
            assert_ne!(slow.read_buf(&mut answer).await.unwrap(), 0);
        }
        begun.elapsed()
    };
    let all = async { tokio::join!(dropped(silent), dropped(halting), greeted, slow) };
    let (a, b, c, d) = tokio::time::timeout(2 * HELLO_LIMIT, all).await.expect("all are dropped");
    for elapsed in [a, b, c, d] {
        assert!(elapsed > HELLO_LIMIT - Duration::from_millis(200), "{elapsed:?}");
        assert!(elapsed < HELLO_LIMIT + Duration::from_secs(3), "{elapsed:?}");
    }
    witness.is_served().await;
}

#[tokio::test]
async fn a_start_that_cannot_be_says_why() {
    let dir = TempDir::new("protocol");
    let first = Local::start(config(&dir)).await.unwrap();
    let taken = LocalConfig { listen: first.gateways()[0], ..config(&dir) };
    assert!(matches!(Local::start(taken).await, Err(LocalError::Listen { .. })));
    assert!(matches!(
        Local::start(config(&dir)).await,
        Err(LocalError::Directory(DirectoryError::Database { .. }))
    ));
    drop(first);
    let other = LocalConfig { shards: 3, ..config(&dir) };
    assert!(matches!(
        Local::start(other).await,
        Err(LocalError::Directory(DirectoryError::Shards { given: 3, .. }))
    ));
    let high = LocalConfig { listen: "127.0.0.1:65535".parse().unwrap(), gateways: 2, ..config(&dir) };
    assert!(matches!(Local::start(high).await, Err(LocalError::Ports { .. } | LocalError::Listen { .. })));
}
