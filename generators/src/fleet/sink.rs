//! Who takes what the fleet sees: events, latencies, and what is known only to the fleet.

use squall_history::Event;
use squall_protocol::{ClientMsgId, ConversationId, UserId};

/// Takes what the fleet does and sees, as it happens.
pub trait Sink {
    fn event(&mut self, event: Event);
    fn latency(&mut self, latency: Latency);
    /// This has no answer yet, and its person is back who had put the device away for so many µs: that time is not the system's.
    fn was_away(&mut self, message: ClientMsgId, us: u64);
    /// Its person meant to send this so many µs before it was sent: whoever acts for them was late. It comes before the send.
    fn was_meant(&mut self, _message: ClientMsgId, _us_before: u64) {}
    /// How long this takes says nothing of the service.
    fn is_no_sample(&mut self, message: ClientMsgId);
}

/// A latency that the fleet has measured, in µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// From a person's send to the display by another device whose person was there when it was sent, without the time that either
    /// had put their device away.
    SendToDeliver(Delivered),
    /// From the moment that a device noticed that it had lost its connection, to its next welcome, as long as its person was there.
    Reconnect(u64),
    /// From the moment that a person took up a device that they had put away, to its next welcome, as long as they were there.
    ReconnectByChoice(u64),
    /// From the end of a fault to the moment when everybody who was missing then was connected.
    AllBack(u64),
}

/// A message that has been delivered to somebody who was there, and the way it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// From the send to the display, in µs.
    pub took_us: u64,
    pub sent_at_us: u64,
    pub conversation: ConversationId,
    pub sender: UserId,
    pub receiver: UserId,
    /// The gateways of the sender's and of the receiver's device, where they are now.
    pub gateways: [u16; 2],
    pub message: ClientMsgId,
    /// Its author's device is in another part of the population: how long that was away is not taken off here.
    pub is_from_elsewhere: bool,
}
