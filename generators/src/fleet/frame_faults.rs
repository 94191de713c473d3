//! What can be wrong with single frames on their way between a client's session and its wire, and with a client's reading.
//!
//! Whoever injects faults answers these questions; `frames.rs` carries the answers out, over whatever network.

use squall_protocol::{ClientFrame, ServerFrame};
use std::time::Duration;

/// Decides what happens to frames. It is asked once for each frame that a client is about to send or has received.
pub trait FrameFaults {
    /// What becomes of a frame of this kind, of this client.
    fn fault(&mut self, client: u32, frame: FrameKind) -> FrameFault;
    /// Whether the client reads what has arrived; if not, whoever answered so calls `Fleet::read_on` when it does again.
    fn reads(&mut self, client: u32) -> bool;
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFault {
    Pass,
    /// It comes a second time.
    Twice,
    /// It comes this much later, if its connection is still there.
    Late(Duration),
    /// It comes this much later, and then twice.
    LateTwice(Duration),
    /// Its connection is reset, and the frame is lost with it.
    Cut,
}

/// Nothing is ever wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFrameFaults;

impl FrameFaults for NoFrameFaults {
    fn fault(&mut self, _client: u32, _frame: FrameKind) -> FrameFault {
        FrameFault::Pass
    }

    fn reads(&mut self, _client: u32) -> bool {
        true
    }
}

/// Every frame of the protocol, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    Hello,
    Send,
    Ack,
    Read,
    Sync,
    Ping,
    Refresh,
    Typing,
    Watch,
    Unwatch,
    Invisible,
    Welcome,
    Sent,
    Refused,
    Deliver,
    Page,
    Heads,
    Pong,
    Error,
    Stale,
    ComeBack,
    Refreshed,
    IsTyping,
    Receipts,
    Presence,
}

impl FrameKind {
    pub fn of_client(frame: &ClientFrame) -> FrameKind {
        match frame {
            ClientFrame::Hello { .. } => FrameKind::Hello,
            ClientFrame::Send { .. } => FrameKind::Send,
            ClientFrame::Ack { .. } => FrameKind::Ack,
            ClientFrame::Read { .. } => FrameKind::Read,
            ClientFrame::Sync { .. } => FrameKind::Sync,
            ClientFrame::Ping => FrameKind::Ping,
            ClientFrame::Refresh { .. } => FrameKind::Refresh,
            ClientFrame::Typing { .. } => FrameKind::Typing,
            ClientFrame::Watch { .. } => FrameKind::Watch,
            ClientFrame::Unwatch { .. } => FrameKind::Unwatch,
            ClientFrame::Invisible { .. } => FrameKind::Invisible,
        }
    }

    pub fn of_server(frame: &ServerFrame) -> FrameKind {
        match frame {
            ServerFrame::Welcome { .. } => FrameKind::Welcome,
            ServerFrame::Sent { .. } => FrameKind::Sent,
            ServerFrame::Refused { .. } => FrameKind::Refused,
            ServerFrame::Deliver(_) => FrameKind::Deliver,
            ServerFrame::Page { .. } => FrameKind::Page,
            ServerFrame::Heads { .. } => FrameKind::Heads,
            ServerFrame::Pong => FrameKind::Pong,
            ServerFrame::Error { .. } => FrameKind::Error,
            ServerFrame::Stale { .. } => FrameKind::Stale,
            ServerFrame::ComeBack { .. } => FrameKind::ComeBack,
            ServerFrame::Refreshed { .. } => FrameKind::Refreshed,
            ServerFrame::Typing { .. } => FrameKind::IsTyping,
            ServerFrame::Receipts { .. } => FrameKind::Receipts,
            ServerFrame::Presence { .. } => FrameKind::Presence,
        }
    }
}
