//! The seam to a network, and what is behind it in reality: TCP to one of several gateways.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection's bytes.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
pub type BoxStream = Box<dyn Stream>;

/// A fresh connection to a gateway, before the opening handshake.
pub struct Dialled {
    /// What the handshake's `Host` names.
    pub authority: String,
    pub stream: BoxStream,
}

/// How a device reaches gateways.
pub trait Dial: Send + Sync + 'static {
    /// Opens a connection. `attempt` grows by one with each of this device's attempts: choose another gateway than the
    /// last time if there is one.
    fn dial(&self, attempt: u64) -> BoxFuture<io::Result<Dialled>>;
}

/// Gateways on TCP, taken in turn.
#[derive(Debug, Clone)]
pub struct Gateways {
    authorities: Vec<String>,
    /// Where this device begins, so that devices spread.
    first: u64,
}

/// A gateway's address that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotAGateway {
    #[error("'{0}' is not a gateway's address: expected ws://HOST:PORT, such as ws://127.0.0.1:7400")]
    Malformed(String),
    #[error("'{0}' asks for TLS, which this client does not speak: use ws:// to a gateway or a local TLS tunnel")]
    Tls(String),
    #[error("no gateway is named")]
    None,
}

impl Gateways {
    /// `urls` are `ws://host:port`. The first attempt goes to number `first`, modulo how many there are.
    pub fn new<S: AsRef<str>>(urls: &[S], first: u64) -> Result<Self, NotAGateway> {
        let authorities: Vec<String> =
            urls.iter().map(|url| authority(url.as_ref())).collect::<Result<_, NotAGateway>>()?;
        if authorities.is_empty() {
            return Err(NotAGateway::None);
        }
        Ok(Gateways { authorities, first })
    }
}

fn authority(url: &str) -> Result<String, NotAGateway> {
    if url.starts_with("wss://") {
        return Err(NotAGateway::Tls(url.to_owned()));
    }
    let malformed = || NotAGateway::Malformed(url.to_owned());
    let rest = url.strip_prefix("ws://").ok_or_else(malformed)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = authority.rsplit_once(':').ok_or_else(malformed)?;
    if host.is_empty() || authority.contains('/') || u16::from_str(port).is_err() {
        return Err(malformed());
    }
    Ok(authority.to_owned())
}

impl Dial for Gateways {
    fn dial(&self, attempt: u64) -> BoxFuture<io::Result<Dialled>> {
        let index = (self.first.wrapping_add(attempt) % self.authorities.len() as u64) as usize;
        let authority = self.authorities[index].clone();
        Box::pin(async move {
            let stream = TcpStream::connect(authority.as_str()).await?;
            stream.set_nodelay(true)?;
            Ok(Dialled { authority, stream: Box::new(stream) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_used_is_told_why() {
        assert!(Gateways::new(&["ws://127.0.0.1:7400", "ws://chat.example:80/"], 0).is_ok());
        assert!(matches!(Gateways::new(&["wss://a:1"], 0), Err(NotAGateway::Tls(_))));
        assert_eq!(Gateways::new::<&str>(&[], 0).unwrap_err(), NotAGateway::None);
        for wrong in ["", "127.0.0.1:7400", "ws://a", "ws://:1", "ws://a:70000", "ws://a:1/path", "http://a:1"] {
            assert!(matches!(Gateways::new(&[wrong], 0), Err(NotAGateway::Malformed(_))), "{wrong}");
        }
    }
}
