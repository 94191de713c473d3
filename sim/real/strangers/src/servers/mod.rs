//! What every server is asked: to connect two people, to take messages from one and give them to the other.
//!
//! **Invariant:** the driver knows no server. What differs between them (how a message is acknowledged, when the receiver says that it has it) is
//! in the three files beside this one.

pub mod ejabberd;
pub mod nats;
pub mod squall;

use anyhow::{Context, Result, ensure};
use std::future::Future;

/// Length of every body.
pub const BODY_BYTES: usize = 200;

/// A message's body: its number among those of its pair, filled up with what needs no escaping anywhere.
pub fn body(number: u64) -> String {
    format!("{number:010}{}", "x".repeat(BODY_BYTES - 10))
}

/// The number of a body.
pub fn number(body: &[u8]) -> Result<u64> {
    ensure!(body.len() == BODY_BYTES, "a body of {} bytes arrived, {BODY_BYTES} were sent", body.len());
    std::str::from_utf8(&body[..10])?.parse().context("a body that was not sent here")
}

/// A running server.
pub trait Server: Send + Sync + 'static {
    type Sending: Sending;
    type Receiving: Receiving;

    /// Once, before anybody connects.
    fn prepare(&self) -> impl Future<Output = Result<()>> + Send;

    /// Connects the receiver of this pair; messages that come from now on are given to it.
    fn receiver(&self, pair: u64) -> impl Future<Output = Result<Self::Receiving>> + Send;

    /// Connects the sender of this pair, whose receiver is there.
    fn sender(&self, pair: u64) -> impl Future<Output = Result<Self::Sending>> + Send;

    /// The numbers of all messages of this pair that this end can still fetch, in the log's order.
    fn stored(&self, pair: u64, end: End) -> impl Future<Output = Result<Vec<u64>>> + Send;
}

/// Who looks at what is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Sender,
    Receiver,
}

/// The end that sends, on a connection of its own. Messages are numbered 1, 2, 3, … in the order of `send`.
pub trait Sending: Send + 'static {
    /// Hands a message over; it may be on its way only after `flush`.
    fn send(&mut self, body: String) -> impl Future<Output = Result<()>> + Send;

    fn flush(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Waits for news, then says up to which message, inclusive, the server has acknowledged. Cancel-safe.
    fn acked(&mut self) -> impl Future<Output = Result<u64>> + Send;
}

/// The end that receives, on a connection of its own.
pub trait Receiving: Send + 'static {
    /// The number of the next message. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Result<u64>> + Send;

    /// Tells the server that everything which `next` gave has been received, as far as the server wants to know.
    fn acknowledge(&mut self) -> impl Future<Output = Result<()>> + Send;
}
