//! A gateway's side of one connection: the token first, then frames.
//!
//! **Invariant:** before a good token nothing is taken, and after it no second one. Guarded by the test below, and on a real
//! socket by `server/tests/protocol.rs`.

use squall_protocol::close::CloseReason;
use squall_protocol::token::TokenSecret;
use squall_protocol::{ClientFrame, DeviceId, UserId};

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub user: UserId,
    pub device: DeviceId,
    pub connect_count: u64,
}

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerSession {
    #[default]
    AwaitingHello,
    Open(Peer),
}

/// What the gateway does about a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Welcome the device and register it.
    Admit(Peer),
    /// Answer the heartbeat.
    Pong,
    /// Hand the frame to the shard that owns its conversation.
    Forward(Peer, ClientFrame),
    Close(CloseReason),
}

impl ServerSession {
    pub fn handle_frame(&mut self, frame: ClientFrame, secret: &TokenSecret) -> Step {
        match (*self, frame) {
            (ServerSession::AwaitingHello, ClientFrame::Hello { token, connect_count }) => {
                match secret.check(&token) {
                    Ok((user, device)) => {
                        let peer = Peer { user, device, connect_count };
                        *self = ServerSession::Open(peer);
                        Step::Admit(peer)
                    }
                    Err(_) => Step::Close(CloseReason::BadToken),
                }
            }
            (
                ServerSession::AwaitingHello,
                ClientFrame::Send { .. } | ClientFrame::Ack { .. } | ClientFrame::Sync { .. } | ClientFrame::Ping,
            )
            | (ServerSession::Open(_), ClientFrame::Hello { .. }) => Step::Close(CloseReason::HelloExpected),
            (ServerSession::Open(_), ClientFrame::Ping) => Step::Pong,
            (
                ServerSession::Open(peer),
                frame @ (ClientFrame::Send { .. } | ClientFrame::Ack { .. } | ClientFrame::Sync { .. }),
            ) => Step::Forward(peer, frame),
        }
    }

    pub fn peer(&self) -> Option<Peer> {
        match self {
            ServerSession::AwaitingHello => None,
            ServerSession::Open(peer) => Some(*peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_before_the_token_and_no_second_hello_after() {
        let secret = TokenSecret::new("s");
        let hello = |token: String| ClientFrame::Hello { token, connect_count: 3 };
        let good = secret.issue(UserId(1), DeviceId(2));
        let peer = Peer { user: UserId(1), device: DeviceId(2), connect_count: 3 };

        let mut session = ServerSession::default();
        assert_eq!(session.handle_frame(ClientFrame::Ping, &secret), Step::Close(CloseReason::HelloExpected));
        assert_eq!(session.handle_frame(hello("1.2.00".into()), &secret), Step::Close(CloseReason::BadToken));
        assert_eq!(session.peer(), None);
        assert_eq!(session.handle_frame(hello(good.clone()), &secret), Step::Admit(peer));
        assert_eq!(session.handle_frame(ClientFrame::Ping, &secret), Step::Pong);
        assert_eq!(session.handle_frame(hello(good), &secret), Step::Close(CloseReason::HelloExpected));
    }
}
