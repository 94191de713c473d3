//! A gateway's side of one connection: the token first, then frames.
//!
//! **Invariant:** before a good token nothing is taken. After it another one only makes the connection last longer: who is at the other end stays
//! the same. Guarded by the tests below, and on real sockets by `server/tests/{protocol,tokens}.rs`.

use super::keys::Keys;
use crate::plant::{Plant, planted};
use squall_protocol::close::CloseReason;
use squall_protocol::limits::{current_connect_count, highest_connect_count};
use squall_protocol::token::{Token, TokenError};
use squall_protocol::{ClientFrame, ConversationId, DeviceId, UserId};

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
    Admit {
        peer: Peer,
        /// Its token's `exp`, in seconds.
        expires_s: u64,
        /// It makes its user look offline.
        invisible: bool,
    },
    /// The connection lasts as long as a newer token, whose `exp` this is; tell the device.
    Refreshed(u64),
    /// Answer the heartbeat.
    Pong,
    /// The device wants to be told whether these are online.
    Watch(Peer, ConversationId, Vec<UserId>),
    Unwatch(ConversationId),
    /// The device makes its user look offline, or does so no more.
    Invisible(bool),
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
    /// Takes a frame of the peer. `wall_ms` is the gateway's wall clock: tokens expire by it, and it bounds how far a device may have
    /// counted.
    pub fn handle_frame(&mut self, frame: ClientFrame, keys: &Keys, wall_ms: u64) -> Step {
        match (*self, frame) {
            (ServerSession::AwaitingHello, ClientFrame::Hello { token, connect_count, invisible }) => {
                match keys.check(&token, wall_ms) {
                    Ok(_) if connect_count > highest_connect_count(wall_ms) => Step::Correct {
                        connect_count: current_connect_count(wall_ms),
                        reason: CloseReason::CountTooHigh,
                    },
                    Ok(claims) => {
                        let peer = Peer { user: claims.user, device: claims.device, connect_count };
                        *self = ServerSession::Open(peer);
                        Step::Admit { peer, expires_s: claims.expires_s, invisible }
                    }
                    Err(error) => Step::Close(reason_for(error)),
                }
            }
            (ServerSession::Open(peer), ClientFrame::Refresh { token }) => refresh(peer, &token, keys, wall_ms),
            (
                ServerSession::AwaitingHello,
                ClientFrame::Send { .. }
                | ClientFrame::Ack { .. }
                | ClientFrame::Read { .. }
                | ClientFrame::Sync { .. }
                | ClientFrame::Typing { .. }
                | ClientFrame::Ping
                | ClientFrame::Refresh { .. }
                | ClientFrame::Watch { .. }
                | ClientFrame::Unwatch { .. }
                | ClientFrame::Invisible { .. },
            )
            | (ServerSession::Open(_), ClientFrame::Hello { .. }) => Step::Close(CloseReason::HelloExpected),
            (ServerSession::Open(_), ClientFrame::Ping) => Step::Pong,
            (ServerSession::Open(peer), ClientFrame::Watch { conversation, users }) => {
                Step::Watch(peer, conversation, users)
            }
            (ServerSession::Open(_), ClientFrame::Unwatch { conversation }) => Step::Unwatch(conversation),
            (ServerSession::Open(_), ClientFrame::Invisible { on }) => Step::Invisible(on),
            (
                ServerSession::Open(peer),
                frame @ (ClientFrame::Send { .. }
                | ClientFrame::Ack { .. }
                | ClientFrame::Read { .. }
                | ClientFrame::Sync { .. }
                | ClientFrame::Typing { .. }),
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

/// Another token makes the connection last longer, and nobody else of whoever is at its other end.
fn refresh(peer: Peer, token: &Token, keys: &Keys, wall_ms: u64) -> Step {
    match keys.check(token, wall_ms) {
        Ok(claims) if (claims.user, claims.device) == (peer.user, peer.device) => {
            Step::Refreshed(claims.expires_s)
        }
        Ok(claims) if planted(Plant::RefreshByAnothersToken) => Step::Refreshed(claims.expires_s),
        Ok(_) => Step::Close(CloseReason::BadToken),
        Err(error) => Step::Close(reason_for(error)),
    }
}

/// A device is told whether a newer token might do, and no more.
fn reason_for(error: TokenError) -> CloseReason {
    match error {
        TokenError::Expired => CloseReason::TokenExpired,
        TokenError::Malformed
        | TokenError::Critical
        | TokenError::UnknownKey
        | TokenError::WrongAlgorithm
        | TokenError::Forged
        | TokenError::WrongClaims
        | TokenError::NotYet => CloseReason::BadToken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::token::{Claims, Issuer, KeySet};

    const NOW: u64 = 1_800_000_000_000;
    const SOON_S: u64 = NOW / 1_000 + 600;

    fn keys() -> Keys {
        KeySet::of_secret("s").into()
    }

    fn issue(user: u64, device: u64, expires_s: u64) -> Token {
        let claims = Claims { user: UserId(user), device: DeviceId(device), expires_s, not_before_s: None };
        Issuer::of_secret("s").issue(&claims)
    }

    fn hello(token: Token) -> ClientFrame {
        ClientFrame::Hello { token, connect_count: 3, invisible: false }
    }

    #[test]
    fn nothing_passes_before_the_token_and_no_second_hello_after() {
        let keys = keys();
        let good = issue(1, 2, SOON_S);
        let peer = Peer { user: UserId(1), device: DeviceId(2), connect_count: 3 };
        let mut session = ServerSession::default();
        let early = [ClientFrame::Ping, ClientFrame::Refresh { token: good.clone() }];
        for frame in early {
            assert_eq!(session.handle_frame(frame, &keys, NOW), Step::Close(CloseReason::HelloExpected));
        }
        assert_eq!(session.handle_frame(hello("1.2.00".into()), &keys, NOW), Step::Close(CloseReason::BadToken));
        let expired = hello(issue(1, 2, NOW / 1_000 - 60));
        assert_eq!(session.handle_frame(expired, &keys, NOW), Step::Close(CloseReason::TokenExpired));
        assert_eq!(session.peer(), None);
        let admit = Step::Admit { peer, expires_s: SOON_S, invisible: false };
        assert_eq!(session.handle_frame(hello(good.clone()), &keys, NOW), admit);
        assert_eq!(session.handle_frame(ClientFrame::Ping, &keys, NOW), Step::Pong);
        assert_eq!(session.handle_frame(hello(good), &keys, NOW), Step::Close(CloseReason::HelloExpected));
    }

    #[test]
    fn a_newer_token_is_of_the_same_device_and_makes_nobody_else_of_it() {
        let keys = keys();
        let mut session = ServerSession::default();
        session.handle_frame(hello(issue(1, 2, SOON_S)), &keys, NOW);
        let peer = session.peer();
        let mut refresh = |token| session.handle_frame(ClientFrame::Refresh { token }, &keys, NOW);
        assert_eq!(refresh(issue(1, 2, SOON_S + 600)), Step::Refreshed(SOON_S + 600));
        assert_eq!(refresh(issue(1, 2, SOON_S)), Step::Refreshed(SOON_S));
        for wrong in [issue(1, 3, SOON_S), issue(2, 2, SOON_S), "x".into()] {
            assert_eq!(refresh(wrong), Step::Close(CloseReason::BadToken));
        }
        assert_eq!(refresh(issue(1, 2, 0)), Step::Close(CloseReason::TokenExpired));
        assert_eq!(session.peer(), peer);
    }

    #[test]
    fn keys_that_replace_others_count_from_the_next_token_on() {
        let keys = keys();
        let token = issue(1, 2, SOON_S);
        assert!(keys.clone().check(&token, NOW).is_ok());
        keys.replace(KeySet::of_secret("t"));
        assert_eq!(keys.check(&token, NOW), Err(TokenError::Forged));
    }

    #[test]
    fn a_count_that_runs_ahead_of_the_clock_is_set_right() {
        let keys = keys();
        let hello =
            |connect_count| ClientFrame::Hello { token: issue(1, 2, u64::MAX), connect_count, invisible: false };
        let set_right = |connect_count| Step::Correct { connect_count, reason: CloseReason::CountTooHigh };
        let a_year_ahead = NOW / 1_000 + 365 * 24 * 3_600;
        let mut session = ServerSession::default();
        assert_eq!(session.handle_frame(hello(u64::MAX), &keys, NOW), set_right(NOW / 1_000));
        assert_eq!(session.handle_frame(hello(a_year_ahead + 1), &keys, NOW), set_right(NOW / 1_000));
        // A machine that has not been told the time takes what devices have that have.
        assert_eq!(session.handle_frame(hello(u64::MAX), &keys, 0), set_right(1_767_225_600));
        assert_eq!(session.peer(), None);
        assert!(matches!(session.handle_frame(hello(a_year_ahead), &keys, NOW), Step::Admit { .. }));
    }
}
