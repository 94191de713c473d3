//! What carries the traffic between hosts: our network. turmoil's TCP, the second opinion, is in `turmoil.rs`.

use crate::memory::accounts::Account;
use squall_network::{HostId, Network, ProfileId};
use squall_server::net::{BoxFuture, BoxStream, Connector, Listener};
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The port on which gateways take devices.
pub const EDGE_PORT: u16 = 7400;
/// The port on which all other roles take each other.
pub const INTERNAL_PORT: u16 = 7000;
/// Connections that a listener holds until they are accepted.
const ACCEPT_QUEUE: usize = 1 << 20;

/// Where hosts of our network are found by name.
pub type Names = Arc<BTreeMap<String, HostId>>;

pub(super) fn split(address: &str) -> io::Result<(&str, u16)> {
    address
        .split_once(':')
        .and_then(|(name, port)| Some((name, port.parse().ok()?)))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is not name:port")))
}

/// A stream of our network; what the network keeps for it is charged to the network and not to the host that calls.
struct SimulatedStream(squall_network::Stream);

impl AsyncRead for SimulatedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let _account = Account::Network.enter();
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for SimulatedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let _account = Account::Network.enter();
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _account = Account::Network.enter();
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A listener on our network.
pub struct SimulatedListener(squall_network::Listener);

impl SimulatedListener {
    pub fn bind(network: &Network, host: HostId, port: u16) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(SimulatedListener(network.listen(host, port, ACCEPT_QUEUE)?)))
    }
}

impl Listener for SimulatedListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async move {
            let (stream, _) = std::future::poll_fn(|cx| self.0.poll_accept(cx)).await?;
            Ok(Box::new(SimulatedStream(stream)) as BoxStream)
        })
    }
}

/// A connector on our network.
pub struct SimulatedConnector {
    pub network: Network,
    pub host: HostId,
    pub profile: ProfileId,
    pub names: Names,
}

impl Connector for SimulatedConnector {
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (network, host, profile) = (self.network.clone(), self.host, self.profile);
        let target = split(address).and_then(|(name, port)| match self.names.get(name) {
            Some(to) => Ok((*to, port)),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("no host is named {name}"))),
        });
        Box::pin(async move {
            let (to, port) = target?;
            Ok(Box::new(SimulatedStream(network.connect(host, to, port, profile).await?)) as BoxStream)
        })
    }
}
