//! tonic between two hosts on the simulated network, in a world that goes from event to event.
//!
//! Calls, keep-alive and the end of a connection that has gone dark come at the same times as in a world that steps at every tick
//! and inspects its hosts.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use squall_network::{HostId, Network, Profile, ProfileId, Stream};
use squall_runtime::interpose::{HostContext, SimulatedClock, prime_thread};
use squall_runtime::{Blocking, Due, HostRuntime, Marks, Settings, Stepping};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::body::Body;
use tonic::client::Grpc as Client;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::server::{Grpc as Server, NamedService, UnaryService};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

const TICK_US: u64 = 1_000;
const PORT: u16 = 7_000;
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(3);
const DARK_FROM_US: u64 = 35_000_000;
const END_US: u64 = 60_000_000;

#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

/// Answers after a while, or never.
#[derive(Clone)]
struct Echo;

impl UnaryService<Text> for Echo {
    type Response = Text;
    type Future = BoxFuture<'static, Result<Response<Text>, Status>>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        Box::pin(async move {
            let text = request.into_inner();
            if text.text == "never" {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
            Ok(Response::new(text))
        })
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "squall.Echo";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Server::new(ProstCodec::<Text, Text>::default()).unary(Echo, request).await) })
    }
}

/// A stream that tells tonic nothing about its other end.
struct Peer(Stream);

impl Connected for Peer {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

async fn serve(network: Network, host: HostId) {
    let listener = network.listen(host, PORT, 16).unwrap();
    let incoming = futures_util::stream::unfold(listener, |listener| async move {
        let accepted = poll_fn(|cx| listener.poll_accept(cx)).await;
        Some((accepted.map(|(stream, _)| Peer(stream)), listener))
    });
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(PATIENCE))
        .add_service(Echo);
    server.serve_with_incoming(Box::pin(incoming)).await.unwrap();
}

async fn say(channel: &Channel, text: &str) -> Result<String, Status> {
    let mut client = Client::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/squall.Echo/Say");
    let request = Request::new(Text { text: text.to_owned() });
    let answer = client.unary(request, path, ProstCodec::<Text, Text>::default()).await?;
    Ok(answer.into_inner().text)
}

async fn ask(network: Network, from: HostId, to: HostId, profile: ProfileId, log: impl Fn(String)) {
    let connector = tower::service_fn(move |_: http::Uri| {
        let network = network.clone();
        async move { network.connect(from, to, PORT, profile).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://squall")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(PATIENCE)
        .keep_alive_while_idle(true);
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    for n in 0..40 {
        let answer = say(&channel, &n.to_string()).await;
        log(answer.unwrap_or_else(|status| format!("{:?}", status.code())));
        tokio::time::sleep(Duration::from_millis(1 + n * n)).await;
    }
    let answer = say(&channel, "never").await;
    log(answer.unwrap_or_else(|status| format!("failed with {:?}", status.code())));
    std::future::pending::<()>().await;
}

/// The two hosts for a minute, in the last part of which one of them is dark. What the client saw when, the digest of the wire, and
/// how many steps it took.
fn run(stepping: Stepping) -> (Vec<(u64, String)>, Vec<u64>, u64) {
    let every_tick = stepping == Stepping::Inspected;
    let (clock, marks, network) = (SimulatedClock::default(), Marks::default(), Network::new(1));
    let profile = network.add_profile(Profile::rack());
    let ids = [network.add_host("server"), network.add_host("client")];
    let log: Arc<Mutex<Vec<(u64, String)>>> = Arc::default();
    let mut hosts: Vec<HostRuntime> = ids
        .into_iter()
        .enumerate()
        .map(|(index, id)| {
            let context = HostContext::new(index as u64, clock.clone(), 1_700_000_000_000_000);
            let settings =
                Settings { seed: 7, blocking: Blocking::Refused, stepping, inspect_every_us: 7 * TICK_US };
            let pump = network.clone();
            let outside = Box::new(move |cx: &mut Context<'_>| pump.poll_woken(id, cx));
            HostRuntime::new(context, settings, marks.marker(index), outside)
        })
        .collect();
    let (server, network_of_server) = (ids[0], network.clone());
    hosts[0].start(move || serve(network_of_server.clone(), server));
    hosts[1].start({
        let (network, log, clock) = (network.clone(), Arc::clone(&log), clock.clone());
        move || {
            let (log, clock) = (Arc::clone(&log), clock.clone());
            let write = move |line| log.lock().unwrap().push((clock.now_us(), line));
            ask(network.clone(), ids[1], ids[0], profile, write)
        }
    });
    let (mut now, mut steps, mut marked) = (0, 0, Vec::new());
    while now <= END_US {
        clock.set_us(now);
        network.set_now(now);
        network.advance(now);
        if now == DARK_FROM_US {
            network.power_off(ids[0]);
            hosts[0].crash();
        }
        for host in &mut hosts {
            if every_tick || host.wants_to_run() {
                steps += 1;
                host.step();
            }
        }
        // Whom a later host has woken runs in the next tick.
        marks.take(&mut marked);
        let next_tick = now + TICK_US;
        now = match every_tick || hosts.iter().any(HostRuntime::wants_to_run) {
            true => next_tick,
            false => {
                let due = hosts.iter().map(HostRuntime::due).min().unwrap();
                let due = network.next_due().map_or(due, |at| due.min(Due::At(at))).min(Due::At(END_US + 1));
                let Due::At(at) = due else { unreachable!("the end is due") };
                let before_dark = if now < DARK_FROM_US { at.min(DARK_FROM_US) } else { at };
                before_dark.next_multiple_of(TICK_US).max(next_tick)
            }
        };
    }
    let wire = network.take_digests().into_iter().map(|(_, digest)| digest).collect();
    let lines = std::mem::take(&mut *log.lock().unwrap());
    (lines, wire, steps)
}

#[test]
fn calls_pings_and_a_dark_peer_come_at_the_same_times_as_in_a_world_that_steps_every_tick() {
    // hyper keeps a date for the thread, so that each world has one of its own.
    let on_its_own = |stepping| {
        let world = move || {
            prime_thread();
            run(stepping)
        };
        std::thread::spawn(world).join().unwrap()
    };
    let (lines, wire, steps) = on_its_own(Stepping::WhenDue);
    let (every_lines, every_wire, every_steps) = on_its_own(Stepping::Inspected);
    println!("{steps} steps instead of {every_steps}");
    assert_eq!(lines, every_lines);
    assert_eq!(wire, every_wire);
    assert!(lines.len() == 41 && steps * 50 < every_steps, "{steps} of {every_steps} steps, {lines:?}");
    let answers: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
    assert!((0..40).all(|n| answers[n] == n.to_string()));
    let (failed_at, failure) = &lines[40];
    assert_eq!(failure, "failed with Unavailable");
    let limit = DARK_FROM_US + (KEEP_ALIVE + PATIENCE).as_micros() as u64 + TICK_US;
    assert!((DARK_FROM_US + PATIENCE.as_micros() as u64..=limit).contains(failed_at), "{failed_at}");
}
