//! What programs on simulated hosts hold: a listener and streams that look like `tokio::net`'s.
//!
//! **Invariants:** a stream's drop closes its own end and nothing else; after its host's crash or power loss every
//! operation of it is refused or swallowed. Checked by `handles_of_a_dead_incarnation_are_harmless`.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::calls::{Dial, DialState};
use crate::conn::{Attempt, EndState, Phase, RareWakers};
use crate::ids::{ConnId, HostId, ProfileId, Side};
use crate::network::Network;
use crate::state::{ListenerState, NetworkState, Power};
use crate::sync_io::error_of;

impl NetworkState {
    /// Remembers who waits to read on `side`.
    pub fn register_reader(&mut self, slot: u32, side: usize, waker: &Waker) {
        let conn = self.conns.at_mut(slot);
        let place = if side == Side::Acceptor as usize {
            &mut conn.acceptor_read
        } else {
            &mut conn.rare_wakers.get_or_insert_default().opener_read
        };
        replace(place, waker, &mut self.effects.trash);
    }

    fn register_writer(&mut self, slot: u32, side: usize, waker: &Waker) {
        let wakers: &mut RareWakers = self.conns.at_mut(slot).rare_wakers.get_or_insert_default();
        replace(&mut wakers.write[side], waker, &mut self.effects.trash);
    }
}

fn replace(place: &mut Option<Waker>, waker: &Waker, trash: &mut Vec<Waker>) {
    if !place.as_ref().is_some_and(|old| old.will_wake(waker)) {
        trash.extend(place.replace(waker.clone()));
    }
}

/// One end of a connection.
pub struct Stream {
    network: Network,
    conn: ConnId,
    side: Side,
}

impl Stream {
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    pub fn side(&self) -> Side {
        self.side
    }
}

/// A stream that connects. Dropped before it has, it closes what it has begun.
struct Dialling {
    network: Network,
    dial: Arc<Dial>,
}

impl Dialling {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let conn = match &mut *self.dial.lock() {
            DialState::Noted(waker) => {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            DialState::Begun(conn) => *conn,
            DialState::Over => return Poll::Ready(Err(ErrorKind::NotConnected.into())),
        };
        let polled = self.network.with_conn(conn, |state, slot| {
            let conn = state.conns.at(slot);
            match conn.ends[0].state {
                _ if !conn.ends[0].owned => Poll::Ready(Err(ErrorKind::NotConnected.into())),
                EndState::Live if conn.phase == Phase::Connecting => {
                    state.register_reader(slot, 0, cx.waker());
                    Poll::Pending
                }
                EndState::Live => Poll::Ready(Ok(())),
                failed => Poll::Ready(Err(error_of(failed))),
            }
        });
        match polled.unwrap_or(Poll::Ready(Err(ErrorKind::NotConnected.into()))) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                *self.dial.lock() = DialState::Over;
                Poll::Ready(Ok(Stream { network: self.network.clone(), conn, side: Side::Opener }))
            }
        }
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        self.network.with(|state| state.host_hangs_up(&self.dial));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let side = self.side as usize;
        self.network.with_conn(self.conn, |state, slot| state.host_closes(slot, side));
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let side = self.side as usize;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let polled = self.network.with_conn(self.conn, |state, slot| {
            match state.host_reads(slot, side, buf.remaining(), |bytes| buf.put_slice(bytes)) {
                Ok(Some(_)) => Poll::Ready(Ok(())),
                Ok(None) => {
                    state.register_reader(slot, side, cx.waker());
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            }
        });
        polled.unwrap_or(Poll::Ready(Err(ErrorKind::NotConnected.into())))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let side = self.side as usize;
        let polled = self.network.with_conn(self.conn, |state, slot| match state.host_writes(slot, side, bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                state.register_writer(slot, side, cx.waker());
                Poll::Pending
            }
            done => Poll::Ready(done),
        });
        polled.unwrap_or(Poll::Ready(Err(ErrorKind::BrokenPipe.into())))
    }

    /// The kernel has everything already.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends FIN behind everything written. The stream can still read.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let side = self.side as usize;
        self.network.with_conn(self.conn, |state, slot| state.host_shuts_down(slot, side));
        Poll::Ready(Ok(()))
    }
}

/// Who is at the other end of an accepted stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerInfo {
    /// The opener's host, or the virtual client's site.
    pub host: HostId,
    pub conn: ConnId,
}

/// Accepts connections on a port of a host.
pub struct Listener {
    network: Network,
    host: HostId,
    port: u16,
    incarnation: u32,
}

impl Listener {
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next connection in the accept queue. `NotConnected` if the host has died since.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, PeerInfo)>> {
        let accepted = self.network.with(|state| {
            let host = &mut state.hosts[self.host.index()];
            let alive = host.incarnation == self.incarnation;
            let Some(listener) = host.listeners.iter_mut().find(|listener| alive && listener.port == self.port)
            else {
                return Poll::Ready(Err(ErrorKind::NotConnected.into()));
            };
            while let Some(conn) = listener.ready.pop_front() {
                if state.conns.contains(conn) {
                    let opener = HostId(u32::from(state.conns.at(conn.slot).hosts[0]));
                    return Poll::Ready(Ok(PeerInfo { host: opener, conn }));
                }
            }
            replace(&mut listener.waker, cx.waker(), &mut state.effects.trash);
            Poll::Pending
        });
        accepted.map_ok(|peer| {
            let stream = Stream { network: self.network.clone(), conn: peer.conn, side: Side::Acceptor };
            (stream, peer)
        })
    }

    pub async fn accept(&self) -> io::Result<(Stream, PeerInfo)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }
}

impl Drop for Listener {
    /// Connections that nobody accepted are reset.
    fn drop(&mut self) {
        self.network.with(|state| {
            let host = &mut state.hosts[self.host.index()];
            if host.incarnation != self.incarnation {
                return;
            }
            let Some(index) = host.listeners.iter().position(|listener| listener.port == self.port) else {
                return;
            };
            let listener = host.listeners.remove(index);
            state.effects.trash.extend(listener.waker);
            for conn in listener.ready {
                state.host_rejects(conn);
            }
        });
    }
}

/// For programs on hosts.
impl Network {
    /// Listens on a port. At most `backlog` connections wait to be accepted; further attempts are refused.
    ///
    /// `AddrInUse`: somebody listens there already. `NetworkDown`: the host is down.
    pub fn listen(&self, host: HostId, port: u16, backlog: usize) -> io::Result<Listener> {
        self.with(|state| {
            let state = &mut state.hosts[host.index()];
            if state.power != Power::Up {
                return Err(ErrorKind::NetworkDown.into());
            }
            if state.listeners.iter().any(|listener| listener.port == port) {
                return Err(ErrorKind::AddrInUse.into());
            }
            state.listeners.push(ListenerState {
                port,
                backlog,
                ready: Default::default(),
                reserved: 0,
                waker: None,
            });
            Ok(Listener { network: self.clone(), host, port, incarnation: state.incarnation })
        })
    }

    /// Connects from a host.
    ///
    /// `ConnectionRefused`: answered with RST. `TimedOut`: not answered in the profile's time. `NetworkDown`: the
    /// host itself is down.
    pub async fn connect(&self, from: HostId, to: HostId, port: u16, profile: ProfileId) -> io::Result<Stream> {
        let dial = self.with(|state| {
            if state.hosts[from.index()].power != Power::Up {
                return Err(io::Error::from(ErrorKind::NetworkDown));
            }
            Ok(state.host_dials(Attempt { from, to, port, profile, token: None }))
        })?;
        let mut dialling = Dialling { network: self.clone(), dial };
        poll_fn(|cx| dialling.poll(cx)).await
    }
}
