//! The network between devices and gateways, as the fleet sees it.
//!
//! Whoever owns the network owns time: it calls the fleet with each [`Signal`] and steps its timers. The simulator does so once a
//! tick; an event loop over sockets would do so whenever the kernel has something to tell.

use std::io;

/// Connections of clients to gateways. No call blocks, and none fails by itself: what goes wrong comes as a [`Signal`].
pub trait LastMile {
    /// A connection; a stale one gives errors.
    type Conn: Copy + Eq;
    /// Begins to connect a client to a gateway, by its number. `Connected` or `Lost` follows.
    fn open(&mut self, client: u32, gateway: u32) -> Self::Conn;
    /// What a gateway is asked for when a WebSocket is opened: its host, with a port where it is not the scheme's own, and the path.
    fn resource(&self, _gateway: u32) -> (&str, &str) {
        ("chat.example", "/")
    }
    /// Takes some of the bytes; `WouldBlock` when there is no room, and `Writable` follows when there is.
    fn write(&mut self, conn: Self::Conn, bytes: &[u8]) -> io::Result<usize>;
    /// Appends what has arrived.
    fn read(&mut self, conn: Self::Conn, into: &mut Vec<u8>) -> io::Result<()>;
    /// Closes after what is queued has been sent. No signal of this connection reaches the client any more.
    fn close(&mut self, conn: Self::Conn);
    /// Resets the connection: what is queued is lost. `Lost` follows.
    fn cut(&mut self, conn: Self::Conn);
}

/// What the network tells a client of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Connected,
    /// Bytes have come since the last read. Told once; a client that does not read now is not told again of these bytes.
    Readable,
    Writable,
    /// The connection is over, for this reason.
    Lost(&'static str),
}
