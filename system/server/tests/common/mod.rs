//! What the tests on real sockets share: temporary directories, and a WebSocket that speaks frames.

#![allow(dead_code, reason = "each test file uses a part of it")]

use futures_util::{SinkExt, StreamExt};
use squall_core::rate::UserLimits;
use squall_protocol::token::{Claims, Issuer, KeySet, Token};
use squall_protocol::{ClientFrame, Codec, DeviceId, ServerFrame, UserId};
use squall_server::local::{Local, LocalConfig};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

pub const SECRET: &str = "a secret for tests";

/// Longer than any answer takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A token that outlives every test.
pub fn token(user: u64, device: u64) -> Token {
    Issuer::of_secret(SECRET).issue(&claims(user, device, u64::MAX / 2_000))
}

pub fn claims(user: u64, device: u64, expires_s: u64) -> Claims {
    Claims { user: UserId(user), device: DeviceId(device), expires_s, not_before_s: None }
}

/// Checks what `token` makes.
pub fn keys() -> squall_core::gateway::Keys {
    KeySet::of_secret(SECRET).into()
}

/// Everything in one process, with one gateway and one shard, and databases in this directory.
pub fn config(data: &Path) -> LocalConfig {
    LocalConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        gateways: 1,
        shards: 1,
        presences: 1,
        data: data.to_owned(),
        keys: keys(),
        limits: UserLimits::default(),
        cache_bytes: 1 << 20,
    }
}

/// A life of such a server: what is done with it ends with its process, as far as a test can tell.
pub fn live(data: &Path, act: impl AsyncFnOnce(Local)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { act(Local::start(config(data)).await.unwrap()).await });
}

/// The next frame of a device that has said hello with its first count.
pub async fn welcome(raw: &mut Raw, user: u64, device: u64) {
    match raw.frame().await {
        ServerFrame::Welcome { user: u, device: d, .. } if (u.0, d.0) == (user, device) => {}
        other => panic!("a welcome was expected, not {other:?}"),
    }
}

/// A directory that goes away with the test.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(name: &str) -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("squall-{name}-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the directory for temporary files can be written");
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A WebSocket whose every step the test takes itself.
pub struct Raw {
    pub socket: WebSocketStream<TcpStream>,
    codec: Codec,
}

impl Raw {
    /// Connects and shakes hands; no hello yet.
    pub async fn open(gateway: SocketAddr, codec: Codec) -> Raw {
        let mut request = format!("ws://{gateway}/").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(codec.subprotocol()));
        let stream = TcpStream::connect(gateway).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        Raw { socket, codec }
    }

    /// Connects, says hello and is welcomed.
    pub async fn online(gateway: SocketAddr, codec: Codec, user: u64, device: u64) -> Raw {
        let mut raw = Raw::open(gateway, codec).await;
        raw.send(ClientFrame::Hello { token: token(user, device), connect_count: 1, invisible: false }).await;
        welcome(&mut raw, user, device).await;
        raw
    }

    pub async fn send(&mut self, frame: ClientFrame) {
        let bytes = self.codec.encode_client(&frame);
        let message = match self.codec {
            Codec::Json => Message::Text(String::from_utf8(bytes).unwrap().into()),
            Codec::Protobuf => Message::Binary(bytes.into()),
        };
        self.socket.send(message).await.unwrap();
    }

    async fn message(&mut self) -> Message {
        let next = tokio::time::timeout(PATIENCE, self.socket.next());
        next.await.expect("an answer in time").expect("an open connection").expect("a readable message")
    }

    /// The next frame.
    pub async fn frame(&mut self) -> ServerFrame {
        match self.message().await {
            Message::Text(text) => Codec::Json.decode_server(text.as_bytes()).unwrap(),
            Message::Binary(bytes) => Codec::Protobuf.decode_server(&bytes).unwrap(),
            other => panic!("a frame was expected, not {other:?}"),
        }
    }

    /// The next frame, or the code of the close that comes in its place.
    pub async fn frame_or_close(&mut self) -> Result<ServerFrame, u16> {
        match self.message().await {
            Message::Text(text) => Ok(Codec::Json.decode_server(text.as_bytes()).unwrap()),
            Message::Binary(bytes) => Ok(Codec::Protobuf.decode_server(&bytes).unwrap()),
            Message::Close(frame) => Err(frame.expect("a close frame with a code").code.into()),
            other => panic!("a frame was expected, not {other:?}"),
        }
    }

    /// The next frame that `wanted` makes something of.
    pub async fn until<T>(&mut self, mut wanted: impl FnMut(&ServerFrame) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(&self.frame().await) {
                return found;
            }
        }
    }

    /// The close code that the connection ends with; frames before it are passed over.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.message().await {
                return frame.expect("a close frame with a code").code.into();
            }
        }
    }
}
