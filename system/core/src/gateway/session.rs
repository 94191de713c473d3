//! A gateway's side of one connection: the token first, then frames.
//!
//! **Invariant:** before a good token nothing is taken, and after it no second one. Guarded by the test below, and on a real
//! socket by `server/tests/protocol.rs`.

use squall_protocol::close::CloseReason;
use squall_protocol::limits::{current_connect_count, highest_connect_count};
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
    /// The device has counted its connects too far: tell it with which count to go on, and close.
    Correct {
        connect_count: u64,
        reason: CloseReason,
    },
}

impl ServerSession {
    /// Takes a frame of the peer. `wall_ms` is the gateway's wall clock, which bounds how far a device may have counted.
    pub fn handle_frame(&mut self, frame: ClientFrame, secret: &TokenSecret, wall_ms: u64) -> Step {
        match (*self, frame) {
            (ServerSession::AwaitingHello, ClientFrame::Hello { token, connect_count }) => {
                match secret.check(&token) {
                    Ok(_) if connect_count > highest_connect_count(wall_ms) => Step::Correct {
                        connect_count: current_connect_count(wall_ms),
                        reason: CloseReason::CountTooHigh,
                    },
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

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn nothing_passes_before_the_token_and_no_second_hello_after() {
        let secret = TokenSecret::new("s");
        let hello = |token: String| ClientFrame::Hello { token, connect_count: 3 };
        let good = secret.issue(UserId(1), DeviceId(2));
        let peer = Peer { user: UserId(1), device: DeviceId(2), connect_count: 3 };

        let mut session = ServerSession::default();
        assert_eq!(session.handle_frame(ClientFrame::Ping, &secret, NOW), Step::Close(CloseReason::HelloExpected));
        assert_eq!(session.handle_frame(hello("1.2.00".into()), &secret, NOW), Step::Close(CloseReason::BadToken));
        assert_eq!(session.peer(), None);
        assert_eq!(session.handle_frame(hello(good.clone()), &secret, NOW), Step::Admit(peer));
        assert_eq!(session.handle_frame(ClientFrame::Ping, &secret, NOW), Step::Pong);
        assert_eq!(session.handle_frame(hello(good), &secret, NOW), Step::Close(CloseReason::HelloExpected));
    }

    #[test]
    fn a_count_that_runs_ahead_of_the_clock_is_set_right() {
        let secret = TokenSecret::new("s");
        let hello =
            |connect_count| ClientFrame::Hello { token: secret.issue(UserId(1), DeviceId(2)), connect_count };
        let set_right = |connect_count| Step::Correct { connect_count, reason: CloseReason::CountTooHigh };
        let a_year_ahead = NOW / 1_000 + 365 * 24 * 3_600;
        let mut session = ServerSession::default();
        assert_eq!(session.handle_frame(hello(u64::MAX), &secret, NOW), set_right(NOW / 1_000));
        assert_eq!(session.handle_frame(hello(a_year_ahead + 1), &secret, NOW), set_right(NOW / 1_000));
        // A machine that has not been told the time takes what devices have that have.
        assert_eq!(session.handle_frame(hello(u64::MAX), &secret, 0), set_right(1_767_225_600));
        assert_eq!(session.peer(), None);
        assert!(matches!(session.handle_frame(hello(a_year_ahead), &secret, NOW), Step::Admit(_)));
    }
}
