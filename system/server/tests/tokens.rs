//! Tokens on real sockets: what is refused, how long a connection lasts, and how one key follows another.

mod common;

use common::{Raw, SECRET, TempDir, claims, token, welcome};
use squall_client::{BoxFuture, Config, Device, Event, Events, Gateways, Tokens};
use squall_core::gateway::Keys;
use squall_core::rate::UserLimits;
use squall_protocol::close::CloseReason;
use squall_protocol::token::{Claims, Issuer, KeySet, Token};
use squall_protocol::{ClientFrame, Codec, DeviceId, ServerFrame, UserId};
use squall_server::local::{Local, LocalConfig};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The key pair of RFC 8037, appendix A.1, beside a secret.
const KEYS: &str = r#"{"keys":[
    {"kty":"oct","kid":"old","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
    {"kty":"OKP","kid":"new","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
     "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}]}"#;
/// Its public key, as a secret that everybody may know: HS256 under it, with the pair's id, is the oldest attack on tokens.
const PUBLIC_AS_SECRET: &str =
    r#"{"keys":[{"kty":"oct","kid":"new","k":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

struct Server {
    local: Local,
    keys: Keys,
    _dir: TempDir,
}

impl Server {
    async fn start(keys: KeySet, gateways: u16) -> Server {
        let (dir, keys) = (TempDir::new("tokens"), Keys::from(keys));
        let config = LocalConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            gateways,
            shards: 1,
            presences: 1,
            data: dir.path().join("data"),
            keys: keys.clone(),
            limits: UserLimits::default(),
            cache_bytes: 4 * 1024 * 1024,
        };
        Server { local: Local::start(config).await.unwrap(), keys, _dir: dir }
    }

    fn gateway(&self) -> SocketAddr {
        self.local.gateways()[0]
    }

    async fn hello(&self, codec: Codec, token: &Token) -> Raw {
        let mut raw = Raw::open(self.gateway(), codec).await;
        raw.send(ClientFrame::Hello { token: token.clone(), connect_count: 1, invisible: false }).await;
        raw
    }

    /// The code that this token is closed with, in either codec.
    async fn refusal(&self, token: &Token) -> u16 {
        let mut codes = Vec::new();
        for codec in Codec::ALL {
            codes.push(self.hello(codec, token).await.close_code().await);
        }
        assert_eq!(codes[0], codes[1]);
        codes[0]
    }
}

#[expect(clippy::disallowed_methods, reason = "the server on these sockets has the machine's clock")]
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn set(json: &str) -> KeySet {
    KeySet::of_jwk_set(json).unwrap()
}

fn issuer(id: &str) -> Issuer {
    set(KEYS).issuer(Some(id)).unwrap()
}

fn until(expires_s: u64) -> Claims {
    claims(1, 10, expires_s)
}

async fn is_served(raw: &mut Raw) {
    raw.send(ClientFrame::Ping).await;
    raw.until(|frame| (*frame == ServerFrame::Pong).then_some(())).await;
}

#[tokio::test]
async fn what_is_no_token_of_ours_is_refused() {
    let server = Server::start(set(KEYS), 1).await;
    let good = issuer("old").issue(&until(now_s() + 600));
    let (_, rest) = good.as_str().split_once('.').unwrap();
    let (message, _) = good.as_str().rsplit_once('.').unwrap();
    let (_, payload) = message.split_once('.').unwrap();
    let mine = || set(PUBLIC_AS_SECRET).issuer(None).unwrap().issue(&until(now_s() + 600));
    for (what, token) in [
        // {"alg":"none"}, {"alg":"none","kid":"old"}
        ("unsigned", format!("eyJhbGciOiJub25lIn0.{payload}.").into()),
        ("unsigned, with a key's id", format!("eyJhbGciOiJub25lIiwia2lkIjoib2xkIn0.{payload}.").into()),
        // {"alg":"EdDSA","kid":"old"}
        ("with another algorithm in its header", format!("eyJhbGciOiJFZERTQSIsImtpZCI6Im9sZCJ9.{rest}").into()),
        ("signed with what everybody knows", mine()),
        ("under no key's id", Issuer::of_secret(SECRET).issue(&until(now_s() + 600))),
        ("cut off", message.into()),
        ("not valid yet", issuer("new").issue(&Claims { not_before_s: Some(now_s() + 90), ..until(u64::MAX) })),
        ("of a user that cannot be", issuer("new").issue(&claims(UserId::LIMIT, 10, u64::MAX))),
        ("too long", format!("{}.{rest}", "A".repeat(5_000)).into()),
    ] {
        let token: Token = token;
        assert_eq!(server.refusal(&token).await, CloseReason::BadToken.code(), "a token {what}");
    }
    let expired = issuer("new").issue(&until(now_s() - 61));
    assert_eq!(server.refusal(&expired).await, CloseReason::TokenExpired.code());
    for token in [good, issuer("new").issue(&Claims { not_before_s: Some(now_s() + 30), ..until(now_s() - 30) })] {
        welcome(&mut server.hello(Codec::Json, &token).await, 1, 10).await;
    }
}

#[tokio::test]
async fn a_connection_ends_when_its_token_has_expired_and_lasts_as_long_as_a_newer_one() {
    let server = Server::start(KeySet::of_secret(SECRET), 1).await;
    let issuer = Issuer::of_secret(SECRET);
    let others = |ago: u64| issuer.issue(&claims(2, 20, now_s() - ago));
    // Within its leeway, and for three seconds more.
    let old = issuer.issue(&until(now_s() - 57));
    let (mut ends, mut lasts) =
        (server.hello(Codec::Json, &old).await, server.hello(Codec::Protobuf, &others(57)).await);
    let expired =
        |user, device| ServerFrame::Welcome { user: UserId(user), device: DeviceId(device), expires_in_ms: 0 };
    assert_eq!((ends.frame().await, lasts.frame().await), (expired(1, 10), expired(2, 20)));
    lasts.send(ClientFrame::Refresh { token: issuer.issue(&claims(2, 20, now_s() + 600)) }).await;
    let told = lasts
        .until(|frame| match frame {
            ServerFrame::Refreshed { expires_in_ms } => Some(*expires_in_ms),
            _ => None,
        })
        .await;
    assert!((590_000..=600_000).contains(&told), "{told}");
    is_served(&mut ends).await;
    assert_eq!(ends.close_code().await, CloseReason::TokenExpired.code());
    assert!(now_s() <= until(now_s()).expires_s + 10);
    tokio::time::sleep(Duration::from_secs(2)).await;
    is_served(&mut lasts).await;
    // A newer one that ends before: that one counts.
    lasts.send(ClientFrame::Refresh { token: others(58) }).await;
    assert_eq!(lasts.close_code().await, CloseReason::TokenExpired.code());
}

#[tokio::test]
async fn nobody_lasts_longer_by_the_token_of_another() {
    let server = Server::start(KeySet::of_secret(SECRET), 1).await;
    let bad = CloseReason::BadToken.code();
    let expired = Issuer::of_secret(SECRET).issue(&until(now_s() - 70));
    for (token, code) in [
        (token(2, 20), bad),
        (token(1, 11), bad),
        ("x.y.z".into(), bad),
        (expired, CloseReason::TokenExpired.code()),
    ] {
        for codec in Codec::ALL {
            let mut raw = Raw::online(server.gateway(), codec, 1, 10).await;
            raw.send(ClientFrame::Refresh { token: token.clone() }).await;
            assert_eq!(raw.close_code().await, code);
        }
    }
    let mut raw = Raw::open(server.gateway(), Codec::Json).await;
    raw.send(ClientFrame::Refresh { token: token(1, 10) }).await;
    assert_eq!(raw.close_code().await, CloseReason::HelloExpected.code());
}

#[tokio::test]
async fn one_key_follows_another_and_nobody_is_locked_out() {
    let server = Server::start(set(KEYS), 1).await;
    let (old, new) = (issuer("old").issue(&until(now_s() + 600)), issuer("new").issue(&until(now_s() + 600)));
    let mut connected = server.hello(Codec::Json, &old).await;
    welcome(&mut connected, 1, 10).await;
    welcome(&mut server.hello(Codec::Json, &new).await, 1, 10).await;
    // The old one is taken away: whoever is connected stays so, and comes back with a token of the new one.
    let only_new = r#"{"keys":[{"kty":"OKP","kid":"new","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    server.keys.replace(set(only_new));
    assert_eq!(server.refusal(&old).await, CloseReason::BadToken.code());
    let mut late = server.hello(Codec::Protobuf, &new).await;
    welcome(&mut late, 1, 10).await;
    connected.send(ClientFrame::Refresh { token: new }).await;
    connected.until(|frame| matches!(frame, ServerFrame::Refreshed { .. }).then_some(())).await;
}

/// Hands out these tokens, the last one again and again.
struct Backend(Mutex<Vec<Token>>);

impl Tokens for Backend {
    fn fetch(&self) -> BoxFuture<io::Result<Token>> {
        let mut tokens = self.0.lock().unwrap();
        let token = if tokens.len() > 1 { tokens.remove(0) } else { tokens[0].clone() };
        Box::pin(async move { Ok(token) })
    }
}

fn device(server: &Server, tokens: &[Token]) -> (Device, Events) {
    let urls: Vec<String> = server.local.gateways().iter().map(|gateway| format!("ws://{gateway}")).collect();
    let config = Config { user: UserId(1), device: DeviceId(10), codec: Codec::Json, connects_before: now_s() };
    let tokens = Arc::new(Backend(Mutex::new(tokens.to_vec())));
    Device::start(config, tokens, Arc::new(Gateways::new(&urls, 0).unwrap()))
}

/// What the person hears of the connection, up to this.
async fn heard(events: &mut Events, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    while all.last().is_none_or(|said| said != last) {
        let event = tokio::time::timeout(common::PATIENCE, events.recv()).await;
        all.push(match event.expect("in time").expect("the device lives") {
            Event::Online => "online".to_owned(),
            Event::Offline { code, .. } => format!("offline {}", code.unwrap_or_default()),
            Event::TokenRefused => "refused".to_owned(),
            other => format!("{other:?}"),
        });
    }
    all
}

#[tokio::test]
async fn a_device_comes_back_with_a_newer_token_and_gives_up_when_two_gateways_refuse() {
    let server = Server::start(KeySet::of_secret(SECRET), 2).await;
    let expired = Issuer::of_secret(SECRET).issue(&until(now_s() - 58));
    let (device_a, mut events) = device(&server, &[expired, token(1, 10)]);
    assert_eq!(heard(&mut events, "online").await, ["online"]);
    assert_eq!(heard(&mut events, "online").await, ["offline 4009", "online"]);
    tokio::join!(device_a.stop(), async { while events.recv().await.is_some() {} });

    let forged = Issuer::of_secret("another").issue(&until(u64::MAX));
    let (device_b, mut events) = device(&server, &[forged.clone(), token(1, 10)]);
    assert_eq!(heard(&mut events, "online").await, ["offline 4002", "online"]);
    tokio::join!(device_b.stop(), async { while events.recv().await.is_some() {} });

    let (device_c, mut events) = device(&server, &[forged]);
    assert_eq!(heard(&mut events, "refused").await, ["offline 4002", "offline 4002", "refused"]);
    device_c.resume().await.unwrap();
    assert_eq!(heard(&mut events, "refused").await, ["offline 4002", "offline 4002", "refused"]);
}
