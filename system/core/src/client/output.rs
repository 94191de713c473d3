//! What a device's machine says: what its shell is to do, and what its person has seen.

use squall_protocol::{ClientFrame, ClientMsgId, ConversationId, Entry, Receipts, Refusal, Seen, Seq, UserId};

/// How an entry came to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Deliver,
    Page,
    /// The device's own message, at the place that its ack named.
    Ack,
}

/// An entry that the person now sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub conversation: ConversationId,
    pub entry: Entry,
    pub via: Via,
}

/// Why a message is on the wire again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResendCause {
    /// The device has a new connection: what had no answer on the old one goes out on this one.
    Connected,
    /// No answer has come in time.
    Overdue,
    /// It was refused for now: another number was wanted, or less at once.
    Refused,
}

/// What the device does or has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a connection, to another gateway than the last if there is one, and say `handle_connected`.
    Connect,
    /// Drop the connection, without a further `handle_disconnected`.
    Disconnect(&'static str),
    Transmit(ClientFrame),
    /// Get a newer token from the app's backend, show it with the next hello, and say `handle_token` when it is there.
    FetchToken,
    /// One gateway after the other refuses this device's tokens, new ones too: it stops, until its person takes it up again.
    TokenRefused,
    /// The gateway has welcomed the device.
    Online,
    /// The device is open elsewhere, too, and the two have thrown each other out: this one stops, until its person takes it up
    /// again.
    Stopped,
    Resent {
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        cause: ResendCause,
    },
    Stored {
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        seq: Seq,
        stored_at_ms: u64,
    },
    Refused {
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        reason: Refusal,
    },
    /// The user has done too much at once: the message waits, with all others of its conversation.
    ToldToWait {
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        retry_after_ms: u64,
    },
    Arrived {
        conversation: ConversationId,
        from: Seq,
        to: Seq,
        entries: u32,
        via: Via,
    },
    Shown(Shown),
    /// This user is writing there: shown from now on, or for longer.
    Typing {
        conversation: ConversationId,
        user: UserId,
    },
    /// They are not shown as writing any more.
    TypingOver {
        conversation: ConversationId,
        user: UserId,
    },
    Skipped {
        conversation: ConversationId,
        from: Seq,
        to: Seq,
    },
    /// Whether somebody on the screen is online; if not, when they last were, in ms since the epoch, or 0.
    Presence {
        user: UserId,
        state: Seen,
        last_seen_ms: u64,
    },
    Discarded {
        conversation: ConversationId,
        seq: Seq,
        client_msg_id: ClientMsgId,
    },
    /// These users have come so far; of a large group so many have.
    Receipts(Receipts),
}
