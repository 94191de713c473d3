//! The frames between a device and a gateway, and the log entries that they carry. What an entry says is in `payload.rs`.
//!
//! The names of variants and fields are the protocol's: JSON takes them from here (serde), `client.proto` has the same, and
//! the table in `protobuf.rs` does not compile unless both agree. Nothing here knows how a frame is encoded. That every
//! frame survives both codecs is tested in `tests/codecs.rs`.

use crate::ids::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Seq, UserId};
use crate::payload::Payload;
use crate::receipts::Receipts;
use crate::token::Token;
use serde::{Deserialize, Serialize};

/// What a device sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ClientFrame {
    /// The first frame, once. `connect_count` grows with every attempt of this device. `invisible`: from the first moment on, this
    /// device makes its user look offline.
    Hello {
        token: Token,
        connect_count: u64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        invisible: bool,
    },
    /// Append to a conversation. Resent unchanged until `sent` or a definite refusal comes.
    Send { conversation: ConversationId, client_msg_id: ClientMsgId, client_seq: ClientSeq, payload: Payload },
    /// Everything up to here has been shown on this device.
    Ack { conversation: ConversationId, up_to_seq: Seq },
    /// The person has read everything up to here, on this device.
    Read { conversation: ConversationId, up_to_seq: Seq },
    /// Asks for what comes after `since_seq`.
    Sync { conversation: ConversationId, since_seq: Seq },
    /// The heartbeat.
    Ping,
    /// A newer token of the same device: the connection lasts as long as that one.
    Refresh { token: Token },
    /// The person is writing into this conversation. It has no answer, and is nothing that anybody relies on.
    Typing { conversation: ConversationId },
    /// Tell me whether these other members of a conversation are online, from now on. It takes the place of an earlier one for the same
    /// conversation.
    Watch { conversation: ConversationId, users: Vec<UserId> },
    /// No more of that.
    Unwatch { conversation: ConversationId },
    /// As long as this is on, this device makes its user look offline to everybody.
    Invisible { on: bool },
}

/// What a gateway sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The answer to `hello`.
    Welcome {
        user: UserId,
        device: DeviceId,
        /// How long the token still counts, by the gateway's clock and without its leeway.
        expires_in_ms: u64,
    },
    /// The message is on disk, at this place.
    Sent {
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        server_seq: Seq,
        /// As in the entry: the author shows the same stamp as everybody.
        stored_at_ms: u64,
    },
    /// The message is not stored. Unless the reason is temporary, no copy of it ever will be.
    Refused {
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        reason: Refusal,
    },
    /// New entries.
    Deliver(LogSpan),
    /// The answer to `sync`: entries after `since_seq`, and the last one that this member may see.
    Page {
        span: LogSpan,
        head: Seq,
    },
    /// Where each of the user's conversations stands; the device syncs what is ahead of it.
    Heads {
        heads: Vec<Head>,
    },
    Pong,
    /// A `sync` that cannot be answered.
    Error {
        code: ErrorCode,
        conversation: ConversationId,
    },
    /// This connection's `connect_count` does not make it the device's newest: the device connects again and counts on from
    /// this one. `superseded`: another connection has its place among the user's, and this one is closed.
    Stale {
        connect_count: u64,
        superseded: bool,
    },
    /// The gateway ends: it still answers what it was asked and closes next. The device sends nothing more here, and connects
    /// elsewhere so long after it is closed.
    ComeBack {
        after_ms: u64,
    },
    /// The answer to `refresh`: the new token still counts for so long.
    Refreshed {
        expires_in_ms: u64,
    },
    /// This user is writing there: shown for [`TYPING_SHOWN_FOR`](crate::limits::TYPING_SHOWN_FOR), or until their message is.
    Typing {
        conversation: ConversationId,
        user: UserId,
    },
    /// How far members have come in conversations. Best effort: whoever misses one is told with the next page or heads.
    Receipts {
        receipts: Vec<Receipts>,
    },
    /// Whether somebody whom the device watches is online; if not, when they last were. `last_seen_ms` is the wall clock of a host,
    /// milliseconds since the Unix epoch, and 0 where that is not known or does not matter.
    Presence {
        user: UserId,
        state: Seen,
        last_seen_ms: u64,
    },
}

/// What is known of whether somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    Online,
    Offline,
    /// Nobody can tell just now, or it is no business of this device any more.
    Unknown,
}

impl Seen {
    pub const ALL: [Seen; 3] = [Seen::Online, Seen::Offline, Seen::Unknown];
}

/// Why a send is refused. Each but the temporary ones is definite: no copy of the message is ever stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The shard takes this number next; send again from there.
    ExpectedClientSeq(ClientSeq),
    UnknownConversation,
    NotAMember,
    BodyTooLarge,
    GroupTooLarge,
    /// The conversation exists already, or the change makes no sense for it.
    Conflict,
    /// The sender is a member, and their rank gives them no right to this; or who is to be added has left for good.
    NotAllowed,
    /// One of the two has blocked their conversation.
    Blocked,
    /// The shard has too much staged; send again later.
    Busy,
    /// The user does too much of this; send nothing into this conversation before the time is over, then again.
    TooOften {
        retry_after_ms: u64,
    },
}

impl Refusal {
    /// Whether the device sends the message again later rather than giving it up.
    pub const fn is_temporary(self) -> bool {
        match self {
            Refusal::ExpectedClientSeq(_) | Refusal::Busy | Refusal::TooOften { .. } => true,
            Refusal::UnknownConversation
            | Refusal::NotAMember
            | Refusal::BodyTooLarge
            | Refusal::GroupTooLarge
            | Refusal::Conflict
            | Refusal::NotAllowed
            | Refusal::Blocked => false,
        }
    }
}

/// Why a sync is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    UnknownConversation,
    NotAMember,
}

/// Where a conversation stands for one member: the last entry that they may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub conversation: ConversationId,
    pub head: Seq,
}

/// A range of a log: every entry in `from..=to` that the reader may see is in `entries`, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpan {
    pub conversation: ConversationId,
    pub from: Seq,
    pub to: Seq,
    pub entries: Vec<Entry>,
}

/// One entry of a conversation's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub seq: Seq,
    pub sender: UserId,
    pub device: DeviceId,
    pub client_msg_id: ClientMsgId,
    pub client_seq: ClientSeq,
    /// Wall clock of the shard, milliseconds since the Unix epoch; for people, never for order.
    pub stored_at_ms: u64,
    pub payload: Payload,
}

impl Entry {
    /// Who is no member any more after this entry.
    pub fn takes_away(&self) -> &[UserId] {
        match &self.payload {
            Payload::Left(users) => users,
            Payload::ForGood(true) => std::slice::from_ref(&self.sender),
            _ => &[],
        }
    }

    /// Whom it makes members or no members, or who has no part in the conversation but for it.
    pub fn moves(&self) -> &[UserId] {
        match &self.payload {
            Payload::Joined(users) => users,
            Payload::ForGood(false) => std::slice::from_ref(&self.sender),
            _ => self.takes_away(),
        }
    }
}
