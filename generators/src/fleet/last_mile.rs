//! What the fleet is given and what it gives: the network under it, who takes what it sees, its counts.

use squall_history::Event;
use squall_protocol::ClientMsgId;
use std::io;
use std::time::Duration;

/// The network as the fleet sees it.
pub trait LastMile {
    /// A connection; a stale one gives errors.
    type Conn: Copy + Eq;
    /// Begins to connect a client to a gateway.
    fn open(&mut self, client: u32, gateway: u32) -> Self::Conn;
    /// Takes some of the bytes; `WouldBlock` when the buffer is full.
    fn write(&mut self, conn: Self::Conn, bytes: &[u8]) -> io::Result<usize>;
    /// Appends what has arrived.
    fn read(&mut self, conn: Self::Conn, into: &mut Vec<u8>) -> io::Result<()>;
    /// Closes after what is queued has been sent.
    fn close(&mut self, conn: Self::Conn);
    /// Whether a fault cuts the connection now, before this client's ack of a delivery leaves it.
    fn strikes_ack(&mut self, client: u32, conn: Self::Conn) -> bool;
    /// What a fault does to a frame of this sort that this client is about to send or has received.
    fn meddle(&mut self, _client: u32, _frame: Meddled) -> Meddle {
        Meddle::Pass
    }
    /// Whether the client reads at the moment. It is told to read on when it does again.
    fn reads(&mut self, _client: u32) -> bool {
        true
    }
}

/// The frames that faults meddle with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddled {
    /// A device's send.
    Send,
    /// The gateway's word that a send is stored.
    SentAck,
    /// A device's word that a delivery is shown.
    DeviceAck,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddle {
    Pass,
    /// It comes a second time.
    Twice,
    /// It comes this much later.
    Late(Duration),
}

/// What the network tells a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Connected,
    Readable,
    Writable,
    /// The connection is over, for this reason.
    Lost(&'static str),
}

/// Counts over the whole run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetTotals {
    pub online: u64,
    pub online_peak: u64,
    pub connects: u64,
    pub reconnects: u64,
    pub sent: u64,
    pub acked: u64,
    pub refused: u64,
    pub resent: u64,
    pub delivered: u64,
    pub displayed: u64,
    pub discarded: u64,
    pub synced: u64,
    pub frames: u64,
    /// Spans that came ahead of what they follow and were held back.
    pub gaps_met: u64,
    /// Entries that had been held back and were shown when what was missing came.
    pub gaps_filled: u64,
}

/// A latency that the fleet has measured, in µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    SendToDeliver(u64),
    Reconnect(u64),
}

/// Who takes what the fleet sees.
pub trait Sink {
    fn event(&mut self, event: Event);
    fn latency(&mut self, latency: Latency);
    /// The person has written this on a device that they had put away: how long its ack takes says nothing of the system.
    fn written_while_away(&mut self, message: ClientMsgId);
}
