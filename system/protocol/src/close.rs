//! Why a gateway closes a connection: WebSocket close codes (RFC 6455, section 7.4; 4000 and up are the application's own).

/// A close code and what a person reads beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseReason {
    /// The device said good-bye.
    Normal,
    /// A frame of another codec than the subprotocol's.
    UnsupportedData,
    /// A WebSocket message above `MAX_CLIENT_FRAME_BYTES`.
    TooLarge,
    /// A frame that the codec cannot read.
    Malformed,
    /// A frame before `hello`, or a second `hello`.
    HelloExpected,
    /// The token is not one of ours.
    BadToken,
    /// No `hello` in time.
    HelloTimeout,
    /// Silence for `SILENCE_LIMIT`.
    Silence,
    /// More than `MAX_OUTBOX_BYTES` waited for this device.
    TooSlow,
    /// Deliveries stayed unacked after all tries.
    Unacked,
    /// The device's place in the registry is another connection's.
    Superseded,
}

impl CloseReason {
    /// The code on the wire.
    pub const fn code(self) -> u16 {
        match self {
            CloseReason::Normal => 1000,
            CloseReason::UnsupportedData => 1003,
            CloseReason::TooLarge => 1009,
            CloseReason::Malformed => 4000,
            CloseReason::HelloExpected => 4001,
            CloseReason::BadToken => 4002,
            CloseReason::HelloTimeout => 4003,
            CloseReason::Silence => 4004,
            CloseReason::TooSlow => 4005,
            CloseReason::Unacked => 4006,
            CloseReason::Superseded => 4007,
        }
    }

    /// The words beside the code.
    pub const fn text(self) -> &'static str {
        match self {
            CloseReason::Normal => "bye",
            CloseReason::UnsupportedData => "frame is not of the subprotocol's kind",
            CloseReason::TooLarge => "frame too large",
            CloseReason::Malformed => "malformed frame",
            CloseReason::HelloExpected => "hello expected, once and first",
            CloseReason::BadToken => "token refused",
            CloseReason::HelloTimeout => "no hello in time",
            CloseReason::Silence => "silent for too long",
            CloseReason::TooSlow => "reads too slowly",
            CloseReason::Unacked => "deliveries stayed unacked",
            CloseReason::Superseded => "connected elsewhere",
        }
    }
}
