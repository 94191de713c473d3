//! Opening and serving gRPC over the seams of `net`.

use crate::net::{BoxStream, Connector, Listener};
use crate::observer::{Observer, Point};
use futures_util::Stream;
use hyper_util::rt::TokioIo;
use squall_protocol::limits;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::{Connected, Router};
use tonic::transport::{Channel, Endpoint, Server};
use tower::layer::util::{Identity, Stack};
use tower::util::MapResponseLayer;

const WINDOW_BYTES: u32 = limits::LINK_WINDOW_BYTES as u32;

/// Opens a channel to `address`.
pub async fn dial(connector: Arc<dyn Connector>, address: &str) -> Result<Channel, tonic::transport::Error> {
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
            let accepted = listener.accept().await;
            (listener, accepted)
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
