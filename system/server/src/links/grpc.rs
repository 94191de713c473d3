//! Opening and serving gRPC over the seams of `net`.
//!
//! **Invariant:** a call without the proof of the cluster's secret is refused before anything of it is looked at, whatever carries
//! it. Guarded by `tests.rs` beside this file.

use crate::descriptors::are_exhausted;
use crate::net::{BoxStream, Connector, Listener};
use crate::observer::{Observer, Point};
use futures_util::Stream;
use hyper_util::rt::TokioIo;
use squall_protocol::cluster_secret::ClusterSecret;
use squall_protocol::limits;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::{Connected, Router};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status};
use tower::layer::util::{Identity, Stack};
use tower::util::MapResponseLayer;

const WINDOW_BYTES: u32 = limits::LINK_WINDOW_BYTES as u32;

/// The metadata of a call that proves that its caller is of the cluster.
const PROOF: &str = "squall-cluster";

/// Shows the proof with every call.
#[derive(Clone)]
pub struct Prover(MetadataValue<Ascii>);

impl Interceptor for Prover {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(PROOF, self.0.clone());
        Ok(request)
    }
}

/// Lets in nobody who is not of the cluster, before anything of a call is looked at.
#[derive(Clone)]
pub struct Gatekeeper {
    secret: ClusterSecret,
    observer: Arc<dyn Observer>,
}

impl Interceptor for Gatekeeper {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let proof = request.metadata().get(PROOF).and_then(|proof| proof.to_str().ok());
        if proof.is_some_and(|proof| self.secret.is_proved_by(proof)) {
            return Ok(request);
        }
        self.observer.passed(&Point::StrangerRefused);
        Err(Status::unauthenticated("not of this cluster"))
    }
}

/// A service behind its gatekeeper.
pub fn guarded<S>(
    service: S,
    secret: &ClusterSecret,
    observer: &Arc<dyn Observer>,
) -> InterceptedService<S, Gatekeeper> {
    InterceptedService::new(service, Gatekeeper { secret: secret.clone(), observer: Arc::clone(observer) })
}

/// How a role reaches others: over which streams, and with what proof.
#[derive(Clone)]
pub struct Dialler {
    pub connector: Arc<dyn Connector>,
    pub secret: ClusterSecret,
}

/// A link to another role, each call of which carries the proof.
pub type Link = InterceptedService<Channel, Prover>;

/// Opens a link to `address`.
pub async fn dial(dialler: &Dialler, address: &str) -> Result<Link, tonic::transport::Error> {
    let proof = dialler.secret.proof().parse().expect("hexadecimal digits are ASCII");
    Ok(InterceptedService::new(connect(Arc::clone(&dialler.connector), address).await?, Prover(proof)))
}

async fn connect(connector: Arc<dyn Connector>, address: &str) -> Result<Channel, tonic::transport::Error> {
    let address = address.to_owned();
    Endpoint::from_static("http://squall")
        .connect_timeout(limits::LINK_CONNECT_LIMIT)
        .http2_keep_alive_interval(limits::LINK_KEEPALIVE_INTERVAL)
        .keep_alive_timeout(limits::LINK_KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect_with_connector(tower::service_fn(move |_: http::Uri| {
            let connecting = connector.connect(&address);
            async move { Ok::<_, io::Error>(TokioIo::new(connecting.await?)) }
        }))
        .await
}

/// Keeps a link open for ever: `run` dials and works until the link breaks, then it is tried again, ever more slowly
/// while it fails at once.
pub async fn keep_open<F, Fut>(to: String, observer: Arc<dyn Observer>, mut run: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), LinkError>>,
{
    let mut wait = limits::LINK_BACKOFF_MIN;
    loop {
        let started = tokio::time::Instant::now();
        let _ = run().await;
        observer.passed(&Point::LinkDown { to: &to });
        if started.elapsed() > limits::LINK_BACKOFF_MAX {
            wait = limits::LINK_BACKOFF_MIN;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(limits::LINK_BACKOFF_MAX);
    }
}

/// Why a link ended. Its keeper opens it again.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("the stream ended: {0}")]
    Stream(#[from] tonic::Status),
}

type Answer = http::Response<tonic::body::Body>;
/// Answers with a date of their own.
pub type Dated = Stack<MapResponseLayer<fn(Answer) -> Answer>, Identity>;

/// Dates an answer by the clock of the host. Left to hyper, the date would be one that it keeps for a thread: on a thread with
/// several hosts, another one's.
fn date(mut answer: Answer) -> Answer {
    #[expect(
        clippy::disallowed_methods,
        reason = "the header is the host's wall clock, which whoever runs it answers"
    )]
    let now = std::time::SystemTime::now();
    if let Ok(date) = http::HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
        answer.headers_mut().insert(http::header::DATE, date);
    }
    answer
}

/// A server builder with the keep-alive and windows of all internal services.
pub fn serve_grpc() -> Server<Dated> {
    Server::builder()
        .layer(MapResponseLayer::new(date as fn(Answer) -> Answer))
        .http2_keepalive_interval(Some(limits::LINK_KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(limits::LINK_KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
}

/// Serves until the listener fails.
pub async fn incoming(router: Router<Dated>, listener: Box<dyn Listener>) -> Result<(), tonic::transport::Error> {
    router.serve_with_incoming(Incoming::new(listener)).await
}

type Accepting = Pin<Box<dyn Future<Output = (Box<dyn Listener>, io::Result<BoxStream>)> + Send>>;

/// A listener as the stream of connections that tonic wants.
struct Incoming(Accepting);

impl Incoming {
    fn new(listener: Box<dyn Listener>) -> Self {
        Incoming(Self::accept(listener))
    }

    fn accept(mut listener: Box<dyn Listener>) -> Accepting {
        Box::pin(async move {
            loop {
                match listener.accept().await {
                    Err(error) if are_exhausted(&error) => tokio::time::sleep(limits::LINK_BACKOFF_MIN).await,
                    accepted => return (listener, accepted),
                }
            }
        })
    }
}

impl Stream for Incoming {
    type Item = io::Result<Peer>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready((listener, accepted)) => {
                self.0 = Self::accept(listener);
                match accepted {
                    Ok(stream) => Poll::Ready(Some(Ok(Peer(stream)))),
                    Err(_) => Poll::Ready(None),
                }
            }
        }
    }
}

/// A stream that tells tonic nothing about its other end.
struct Peer(BoxStream);

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
