//! The two seams to a network, and what is behind them in reality: TCP.
//!
//! A role cannot tell whether a stream is tokio's or a simulator's.

use crate::descriptors::are_exhausted;
use std::future::Future;
use std::io;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection's bytes.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
pub type BoxStream = Box<dyn Stream>;

/// Where connections arrive.
pub trait Listener: Send {
    /// The next connection. An error ends the role, for the listener is gone, unless it says that there are no descriptors left
    /// ([`crate::descriptors::are_exhausted`]).
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>>;
}

/// How a role reaches another one.
pub trait Connector: Send + Sync {
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<BoxStream>>;
}

/// tokio's TCP.
pub struct Tcp;

impl Connector for Tcp {
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<BoxStream>> {
        let address = address.to_owned();
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
}

impl Listener for TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async move {
            loop {
                match TcpListener::accept(self).await {
                    Ok((stream, _)) => {
                        // A connection that died in the queue is its peer's loss, not the listener's.
                        if stream.set_nodelay(true).is_ok() {
                            return Ok(Box::new(stream) as BoxStream);
                        }
                    }
                    Err(error) if are_exhausted(&error) => return Err(error),
                    // A connection that was aborted before we took it: go on.
                    Err(_) => tokio::time::sleep(squall_protocol::limits::LINK_BACKOFF_MIN).await,
                }
            }
        })
    }
}
