//! A two-host network driven by hand: no runtime, every future polled when the test says so.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use squall_network::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub const MS: Micros = 1_000;
pub const S: Micros = 1_000_000;
pub const PORT: u16 = 443;

/// Counts how often it was woken.
#[derive(Default)]
pub struct Bell(pub AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    pub fn rings(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// 10 ms each way, nothing random.
pub fn plain() -> Profile {
    Profile {
        latency: LatencyModel::constant(10 * MS),
        patience: 15 * S,
        connect_timeout: 5 * S,
        recv_window: 64 << 10,
        send_buffer: 64 << 10,
        ..Profile::rack()
    }
}

pub struct World {
    pub net: Network,
    pub site: HostId,
    pub server: HostId,
    pub profile: ProfileId,
    pub listener: Option<Listener>,
    pub events: Vec<FleetEvent>,
}

pub fn world(seed: u64, profile: Profile) -> World {
    let net = Network::new(seed);
    let site = net.add_host("clients");
    let server = net.add_host("gateway-0");
    let profile = net.add_profile(profile);
    let listener = Some(net.listen(server, PORT, 128).unwrap());
    World { net, site, server, profile, listener, events: Vec::new() }
}

impl World {
    /// Advances by `span` from the present.
    pub fn pass(&mut self, span: Micros) {
        self.net.advance(self.net.now() + span);
        self.net.drain_events(&mut self.events);
    }

    pub fn accept(&self) -> Option<(Stream, PeerInfo)> {
        match self.listener.as_ref().unwrap().poll_accept(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(accepted) => Some(accepted.unwrap()),
            Poll::Pending => None,
        }
    }

    pub fn open(&self, token: u64) -> ConnId {
        self.net.open(self.site, self.server, PORT, self.profile, token)
    }

    /// A connected virtual client and the server's stream.
    pub fn pair(&mut self, token: u64) -> (ConnId, Stream) {
        let conn = self.open(token);
        self.pass(2 * S);
        let (stream, peer) = self.accept().expect("the connection is established");
        assert_eq!(peer.conn, conn);
        self.events.clear();
        (conn, stream)
    }

    pub fn kinds(&mut self) -> Vec<FleetEventKind> {
        self.events.drain(..).map(|event| event.kind).collect()
    }

    pub fn client_reads(&self, conn: ConnId) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.net.read(conn, &mut bytes);
        bytes
    }
}

pub fn read_with(stream: &mut Stream, waker: &Waker, limit: usize) -> Poll<io::Result<Vec<u8>>> {
    let mut space = vec![0; limit];
    let mut buf = ReadBuf::new(&mut space);
    let polled = Pin::new(stream).poll_read(&mut Context::from_waker(waker), &mut buf);
    polled.map_ok(|()| buf.filled().to_vec())
}

/// What one read gives.
pub fn read(stream: &mut Stream) -> Poll<io::Result<Vec<u8>>> {
    read_with(stream, Waker::noop(), 1 << 20)
}

/// Everything that can be read now.
pub fn read_all(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Poll::Ready(Ok(bytes)) = read(stream) {
        if bytes.is_empty() {
            break;
        }
        all.extend(bytes);
    }
    all
}

pub fn read_error(stream: &mut Stream) -> Option<io::ErrorKind> {
    match read(stream) {
        Poll::Ready(Err(error)) => Some(error.kind()),
        _ => None,
    }
}

pub fn is_eof(stream: &mut Stream) -> bool {
    matches!(read(stream), Poll::Ready(Ok(bytes)) if bytes.is_empty())
}

pub fn write_with(stream: &mut Stream, waker: &Waker, bytes: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_write(&mut Context::from_waker(waker), bytes)
}

pub fn write(stream: &mut Stream, bytes: &[u8]) -> Poll<io::Result<usize>> {
    write_with(stream, Waker::noop(), bytes)
}

pub fn shutdown(stream: &mut Stream) {
    assert!(Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop())).is_ready());
}

/// Polls a future once; it is dropped if pending.
pub fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
