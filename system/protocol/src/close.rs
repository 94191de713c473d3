//! Why a gateway closes a connection: WebSocket close codes (RFC 6455, section 7.4; 4000 and up are the application's own).
//!
//! **Invariant:** one code a reason. Guarded by the test below. Those that a peer can bring about at once are tried on real
//! sockets in `server/tests/protocol.rs`; that all are documented is tested in `tests/codecs.rs`.

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $code:literal, $text:literal;)*) => {
        /// A close code and what a person reads beside it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum CloseReason {
            $($(#[$doc])* $reason),*
        }

        impl CloseReason {
            pub const ALL: &[CloseReason] = &[$(CloseReason::$reason),*];

            /// The code on the wire.
            pub const fn code(self) -> u16 {
                match self {
                    $(CloseReason::$reason => $code),*
                }
            }

            /// The words beside the code.
            pub const fn text(self) -> &'static str {
                match self {
                    $(CloseReason::$reason => $text),*
                }
            }
        }
    };
}

reasons! {
    /// The device said good-bye.
    Normal = 1000, "bye";
    /// A frame of another codec than the subprotocol's.
    UnsupportedData = 1003, "frame is not of the subprotocol's kind";
    /// A WebSocket message above `MAX_CLIENT_FRAME_BYTES`.
    TooLarge = 1009, "frame too large";
    /// The gateway ends, and `come_back` was told before.
    Restart = 1012, "restarting, come back elsewhere";
    /// A frame that the codec cannot read.
    Malformed = 4000, "malformed frame";
    /// A frame before `hello`, or a second `hello`.
    HelloExpected = 4001, "hello expected, once and first";
    /// The token is not one of ours, or of another device than the connection's.
    BadToken = 4002, "token refused";
    /// No `hello` in time.
    HelloTimeout = 4003, "no hello in time";
    /// Silence for `SILENCE_LIMIT`.
    Silence = 4004, "silent for too long";
    /// More than `MAX_OUTBOX_BYTES` waited for this device.
    TooSlow = 4005, "reads too slowly";
    /// Deliveries stayed unacked after all tries.
    Unacked = 4006, "deliveries stayed unacked";
    /// The device's place in the registry is another connection's.
    Superseded = 4007, "connected elsewhere";
    /// A `connect_count` beyond `highest_connect_count()`.
    CountTooHigh = 4008, "connect count ahead of its time";
    /// The token has expired, by the gateway's clock: a newer one is good.
    TokenExpired = 4009, "token expired, fetch a new one";
}

impl CloseReason {
    /// Whether frames that wait for the device are given up: whoever does not read is not waited for.
    pub const fn abandons_backlog(self) -> bool {
        match self {
            CloseReason::TooSlow | CloseReason::Silence => true,
            CloseReason::Normal
            | CloseReason::UnsupportedData
            | CloseReason::TooLarge
            | CloseReason::Restart
            | CloseReason::Malformed
            | CloseReason::HelloExpected
            | CloseReason::BadToken
            | CloseReason::HelloTimeout
            | CloseReason::Unacked
            | CloseReason::Superseded
            | CloseReason::CountTooHigh
            | CloseReason::TokenExpired => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_one_reason() {
        for (n, reason) in CloseReason::ALL.iter().enumerate() {
            assert!(CloseReason::ALL[..n].iter().all(|other| other.code() != reason.code()), "{reason:?}");
        }
    }
}
