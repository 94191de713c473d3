//! The Protobuf codec: `frames` to and from what prost makes of `client.proto` and `log.proto`.
//!
//! One table gives both directions, a row a frame; a frame without a row, or a field whose name differs from that in the
//! `.proto` file, does not compile. Proto3 fields are all optional on the wire; what a frame cannot do without is asked for
//! here, so that a half-empty frame is malformed rather than a message to conversation 0.

use crate::frames::{ClientFrame, Entry, ErrorCode, Head, LogSpan, Refusal, Seen, ServerFrame};
use crate::ids::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Seq, UserId};
use crate::payload::{Holders, Payload, Rank, Right, Users};
use crate::receipts::{Receipt, ReceiptCounts, Receipts};
use crate::token::Token;
use crate::wire::client::{client_frame, server_frame};
use crate::wire::{client, log};
use prost::Message;

/// Bytes that are no frame of ours.
#[derive(Debug, thiserror::Error)]
pub enum ProtobufError {
    #[error("not a frame in Protobuf: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("the Protobuf frame lacks {0}")]
    Missing(&'static str),
}

pub fn encode_client(frame: &ClientFrame) -> Vec<u8> {
    client::ClientFrame { frame: Some(client_to_wire(frame)) }.encode_to_vec()
}

pub fn decode_client(bytes: &[u8]) -> Result<ClientFrame, ProtobufError> {
    client_from_wire(client::ClientFrame::decode(bytes)?.frame.ok_or(ProtobufError::Missing("frame"))?)
}

pub fn encode_server(frame: &ServerFrame) -> Vec<u8> {
    client::ServerFrame { frame: Some(server_to_wire(frame)) }.encode_to_vec()
}

pub fn decode_server(bytes: &[u8]) -> Result<ServerFrame, ProtobufError> {
    server_from_wire(client::ServerFrame::decode(bytes)?.frame.ok_or(ProtobufError::Missing("frame"))?)
}

/// The frames of one side: those whose fields are the message's own, then those that need a word more, each way.
macro_rules! frames {
    (
        $frames:ident as $messages:ident: $to_wire:ident, $from_wire:ident;
        $($name:ident { $($field:ident),* })*
        $(; encoded as $($frame:pat => $message:expr),* ; decoded as $($wire:pat => $decoded:expr),*)?
    ) => {
        pub fn $to_wire(frame: &$frames) -> $messages::Frame {
            match frame {
                $($frames::$name { $($field),* } => {
                    $messages::Frame::$name(client::$name { $($field: $field.to_wire()),* })
                })*
                $($($frame => $message,)*)?
            }
        }

        pub fn $from_wire(frame: $messages::Frame) -> Result<$frames, ProtobufError> {
            Ok(match frame {
                $($messages::Frame::$name(client::$name { $($field),* }) => {
                    $frames::$name { $($field: Field::from_wire($field)?),* }
                })*
                $($($wire => $decoded,)*)?
            })
        }
    };
}

frames! {
    ClientFrame as client_frame: client_to_wire, client_from_wire;
    Hello { token, connect_count, invisible }
    Send { conversation, client_msg_id, client_seq, payload }
    Ack { conversation, up_to_seq }
    Sync { conversation, since_seq }
    Ping {}
    Refresh { token }
    Typing { conversation }
    Read { conversation, up_to_seq }
    Watch { conversation, users }
    Unwatch { conversation }
    Invisible { on }
}

frames! {
    ServerFrame as server_frame: server_to_wire, server_from_wire;
    Welcome { user, device, expires_in_ms }
    Sent { conversation, client_msg_id, server_seq, stored_at_ms }
    Page { span, head }
    Heads { heads }
    Pong {}
    Error { code, conversation }
    Stale { connect_count, superseded }
    ComeBack { after_ms }
    Refreshed { expires_in_ms }
    Receipts { receipts }
    Presence { user, state, last_seen_ms };
    encoded as
        ServerFrame::Deliver(span) => server_frame::Frame::Deliver(span_to_wire(span)),
        ServerFrame::Refused { conversation, client_msg_id, reason } => {
            server_frame::Frame::Refused(refused_to_wire(*conversation, *client_msg_id, *reason))
        },
        ServerFrame::Typing { conversation, user } => {
            server_frame::Frame::Typing(client::IsTyping { conversation: conversation.to_wire(), user: user.0 })
        };
    decoded as
        server_frame::Frame::Deliver(span) => ServerFrame::Deliver(span_from_wire(span)?),
        server_frame::Frame::Refused(refused) => refused_from_wire(&refused)?,
        server_frame::Frame::Typing(client::IsTyping { conversation, user }) => {
            ServerFrame::Typing { conversation: Field::from_wire(conversation)?, user: UserId(user) }
        }
}

/// A field of a frame, and what stands for it in a Protobuf message.
trait Field: Sized {
    type Wire;
    fn to_wire(&self) -> Self::Wire;
    fn from_wire(wire: Self::Wire) -> Result<Self, ProtobufError>;
}

/// Fields that are a number on the wire.
macro_rules! number {
    ($($name:ident),*) => {
        $(impl Field for $name {
            type Wire = u64;
            fn to_wire(&self) -> u64 {
                self.0
            }
            fn from_wire(wire: u64) -> Result<Self, ProtobufError> {
                Ok($name(wire))
            }
        })*
    };
}

number!(UserId, DeviceId, Seq, ClientSeq);

/// A conversation's id is its two halves; where it is left out, the frame names none.
impl Field for ConversationId {
    type Wire = Option<log::ConversationId>;

    fn to_wire(&self) -> Option<log::ConversationId> {
        let (high, low) = self.halves();
        Some(log::ConversationId { high, low })
    }

    fn from_wire(id: Option<log::ConversationId>) -> Result<Self, ProtobufError> {
        id.map(|id| ConversationId::of_halves(id.high, id.low)).ok_or(ProtobufError::Missing("conversation"))
    }
}

/// Fields that are the same on the wire.
macro_rules! itself {
    ($($name:ty),*) => {
        $(impl Field for $name {
            type Wire = $name;
            fn to_wire(&self) -> $name {
                self.clone()
            }
            fn from_wire(wire: $name) -> Result<Self, ProtobufError> {
                Ok(wire)
            }
        })*
    };
}

itself!(u64, bool);

impl Field for Token {
    type Wire = String;

    fn to_wire(&self) -> String {
        self.as_str().to_owned()
    }

    fn from_wire(token: String) -> Result<Self, ProtobufError> {
        Ok(token.into())
    }
}

/// A UUID is its sixteen bytes.
impl Field for ClientMsgId {
    type Wire = Vec<u8>;

    fn to_wire(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn from_wire(bytes: Vec<u8>) -> Result<Self, ProtobufError> {
        let bytes = bytes.as_slice().try_into();
        bytes
            .map(|bytes| ClientMsgId(u128::from_be_bytes(bytes)))
            .map_err(|_| ProtobufError::Missing("client_msg_id of 16 bytes"))
    }
}

impl Field for Payload {
    type Wire = Option<log::Payload>;

    fn to_wire(&self) -> Option<log::Payload> {
        use log::payload::Payload as Wire;
        let payload = match self {
            Payload::Text(text) => Wire::Text(text.clone()),
            Payload::Created { direct, channel, members } => Wire::Created(log::Created {
                direct: *direct,
                channel: *channel,
                members: members.iter().map(|m| m.0).collect(),
            }),
            Payload::Role { user, rank } => {
                Wire::Role(log::Role { user: user.0, rank: rank_to_wire(*rank).into() })
            }
            Payload::Setting { right, who } => Wire::Setting(log::Setting {
                right: right_to_wire(*right).into(),
                who: holders_to_wire(*who).into(),
            }),
            Payload::Named(name) => Wire::Named(name.clone()),
            Payload::Blocked(is_so) => Wire::Blocked(*is_so),
            Payload::ForGood(is_so) => Wire::ForGood(*is_so),
            Payload::Joined(users) => match users[..] {
                [user] => Wire::Joined(user.0),
                _ => Wire::JoinedSeveral(users_to_wire(users)),
            },
            Payload::Left(users) => match users[..] {
                [user] => Wire::Left(user.0),
                _ => Wire::LeftSeveral(users_to_wire(users)),
            },
        };
        Some(log::Payload { payload: Some(payload) })
    }

    fn from_wire(payload: Option<log::Payload>) -> Result<Self, ProtobufError> {
        use log::payload::Payload as Wire;
        Ok(match payload.and_then(|p| p.payload).ok_or(ProtobufError::Missing("payload"))? {
            Wire::Text(text) => Payload::Text(text),
            Wire::Created(created) => Payload::Created {
                direct: created.direct,
                channel: created.channel,
                members: created.members.into_iter().map(UserId).collect(),
            },
            Wire::Joined(user) => Payload::joined(UserId(user)),
            Wire::Left(user) => Payload::left(UserId(user)),
            Wire::JoinedSeveral(users) => Payload::Joined(users_from_wire(users)),
            Wire::LeftSeveral(users) => Payload::Left(users_from_wire(users)),
            Wire::Role(role) => Payload::Role { user: UserId(role.user), rank: rank_from_wire(role.rank)? },
            Wire::Setting(setting) => Payload::Setting {
                right: right_from_wire(setting.right())?,
                who: holders_from_wire(setting.who())?,
            },
            Wire::Named(name) => Payload::Named(name),
            Wire::Blocked(is_so) => Payload::Blocked(is_so),
            Wire::ForGood(is_so) => Payload::ForGood(is_so),
        })
    }
}

pub fn rank_to_wire(rank: Rank) -> log::Rank {
    match rank {
        Rank::Member => log::Rank::Member,
        Rank::Admin => log::Rank::Admin,
        Rank::Owner => log::Rank::Owner,
    }
}

pub fn rank_from_wire(rank: i32) -> Result<Rank, ProtobufError> {
    Ok(match log::Rank::try_from(rank).map_err(|_| ProtobufError::Missing("rank"))? {
        log::Rank::Member => Rank::Member,
        log::Rank::Admin => Rank::Admin,
        log::Rank::Owner => Rank::Owner,
    })
}

fn right_to_wire(right: Right) -> log::Right {
    match right {
        Right::Add => log::Right::Add,
        Right::Remove => log::Right::Remove,
        Right::Rename => log::Right::Rename,
        Right::Promote => log::Right::Promote,
        Right::Post => log::Right::Post,
    }
}

fn right_from_wire(right: log::Right) -> Result<Right, ProtobufError> {
    Ok(match right {
        log::Right::Add => Right::Add,
        log::Right::Remove => Right::Remove,
        log::Right::Rename => Right::Rename,
        log::Right::Promote => Right::Promote,
        log::Right::Post => Right::Post,
        log::Right::Unspecified => return Err(ProtobufError::Missing("right")),
    })
}

fn holders_to_wire(who: Holders) -> log::Holders {
    match who {
        Holders::Owner => log::Holders::OnlyOwner,
        Holders::Admins => log::Holders::Admins,
        Holders::Members => log::Holders::Members,
    }
}

fn holders_from_wire(who: log::Holders) -> Result<Holders, ProtobufError> {
    Ok(match who {
        log::Holders::OnlyOwner => Holders::Owner,
        log::Holders::Admins => Holders::Admins,
        log::Holders::Members => Holders::Members,
        log::Holders::Unspecified => return Err(ProtobufError::Missing("who")),
    })
}

fn users_to_wire(users: &[UserId]) -> log::Users {
    log::Users { users: users.iter().map(|user| user.0).collect() }
}

fn users_from_wire(users: log::Users) -> Users {
    users.users.into_iter().map(UserId).collect::<Vec<_>>().into()
}

impl Field for LogSpan {
    type Wire = Option<log::Span>;

    fn to_wire(&self) -> Option<log::Span> {
        Some(span_to_wire(self))
    }

    fn from_wire(span: Option<log::Span>) -> Result<Self, ProtobufError> {
        span_from_wire(span.ok_or(ProtobufError::Missing("span"))?)
    }
}

impl Field for Vec<Head> {
    type Wire = Vec<client::Head>;

    fn to_wire(&self) -> Vec<client::Head> {
        self.iter().map(head_to_wire).collect()
    }

    fn from_wire(heads: Vec<client::Head>) -> Result<Self, ProtobufError> {
        heads.iter().map(head_from_wire).collect()
    }
}

impl Field for Vec<Receipts> {
    type Wire = Vec<client::ConversationReceipts>;

    fn to_wire(&self) -> Vec<client::ConversationReceipts> {
        let of_user =
            |told: &Receipt| client::Receipt { user: told.user.0, delivered: told.delivered.0, read: told.read.0 };
        let counted = |counts: ReceiptCounts| client::ReceiptCounts {
            up_to: counts.up_to.0,
            delivered: counts.delivered,
            read: counts.read,
        };
        let told = |receipts: &Receipts| client::ConversationReceipts {
            conversation: receipts.conversation.to_wire(),
            users: receipts.users.iter().map(of_user).collect(),
            counts: receipts.counts.map(counted),
        };
        self.iter().map(told).collect()
    }

    fn from_wire(receipts: Vec<client::ConversationReceipts>) -> Result<Self, ProtobufError> {
        let of_user = |told: client::Receipt| Receipt {
            user: UserId(told.user),
            delivered: Seq(told.delivered),
            read: Seq(told.read),
        };
        let counted = |counts: client::ReceiptCounts| ReceiptCounts {
            up_to: Seq(counts.up_to),
            delivered: counts.delivered,
            read: counts.read,
        };
        let told = |receipts: client::ConversationReceipts| {
            Ok(Receipts {
                conversation: Field::from_wire(receipts.conversation)?,
                users: receipts.users.into_iter().map(of_user).collect(),
                counts: receipts.counts.map(counted),
            })
        };
        receipts.into_iter().map(told).collect()
    }
}

impl Field for Vec<UserId> {
    type Wire = Vec<u64>;

    fn to_wire(&self) -> Vec<u64> {
        self.iter().map(|user| user.0).collect()
    }

    fn from_wire(users: Vec<u64>) -> Result<Self, ProtobufError> {
        Ok(users.into_iter().map(UserId).collect())
    }
}

impl Field for Seen {
    type Wire = i32;

    fn to_wire(&self) -> i32 {
        seen_to_wire(*self)
    }

    fn from_wire(seen: i32) -> Result<Self, ProtobufError> {
        seen_from_wire(seen)
    }
}

/// What is known of somebody, as the links between roles say it, too.
pub fn seen_to_wire(seen: Seen) -> i32 {
    match seen {
        Seen::Online => client::Seen::Online.into(),
        Seen::Offline => client::Seen::Offline.into(),
        Seen::Unknown => client::Seen::Unknown.into(),
    }
}

/// The same, read.
pub fn seen_from_wire(seen: i32) -> Result<Seen, ProtobufError> {
    match client::Seen::try_from(seen).unwrap_or_default() {
        client::Seen::Online => Ok(Seen::Online),
        client::Seen::Offline => Ok(Seen::Offline),
        client::Seen::Unknown => Ok(Seen::Unknown),
        client::Seen::Unspecified => Err(ProtobufError::Missing("state")),
    }
}

impl Field for ErrorCode {
    type Wire = i32;

    fn to_wire(&self) -> i32 {
        match self {
            ErrorCode::UnknownConversation => client::ErrorCode::SyncUnknownConversation.into(),
            ErrorCode::NotAMember => client::ErrorCode::SyncNotAMember.into(),
        }
    }

    fn from_wire(code: i32) -> Result<Self, ProtobufError> {
        match client::ErrorCode::try_from(code).unwrap_or_default() {
            client::ErrorCode::SyncUnknownConversation => Ok(ErrorCode::UnknownConversation),
            client::ErrorCode::SyncNotAMember => Ok(ErrorCode::NotAMember),
            client::ErrorCode::ErrorUnspecified => Err(ProtobufError::Missing("code")),
        }
    }
}

fn refused_to_wire(conversation: ConversationId, client_msg_id: ClientMsgId, reason: Refusal) -> client::Refused {
    use client::Refusal as Wire;
    let (wire, expected, retry_after_ms) = match reason {
        Refusal::ExpectedClientSeq(expected) => (Wire::ExpectedClientSeq, expected.0, 0),
        Refusal::UnknownConversation => (Wire::UnknownConversation, 0, 0),
        Refusal::NotAMember => (Wire::NotAMember, 0, 0),
        Refusal::BodyTooLarge => (Wire::BodyTooLarge, 0, 0),
        Refusal::GroupTooLarge => (Wire::GroupTooLarge, 0, 0),
        Refusal::Conflict => (Wire::Conflict, 0, 0),
        Refusal::NotAllowed => (Wire::NotAllowed, 0, 0),
        Refusal::Blocked => (Wire::Blocked, 0, 0),
        Refusal::Busy => (Wire::Busy, 0, 0),
        Refusal::TooOften { retry_after_ms } => (Wire::TooOften, 0, retry_after_ms),
    };
    client::Refused {
        conversation: conversation.to_wire(),
        client_msg_id: client_msg_id.to_wire(),
        reason: wire.into(),
        expected_client_seq: expected,
        retry_after_ms,
    }
}

fn refused_from_wire(refused: &client::Refused) -> Result<ServerFrame, ProtobufError> {
    use client::Refusal as Wire;
    let reason = match refused.reason() {
        Wire::ExpectedClientSeq => Refusal::ExpectedClientSeq(ClientSeq(refused.expected_client_seq)),
        Wire::UnknownConversation => Refusal::UnknownConversation,
        Wire::NotAMember => Refusal::NotAMember,
        Wire::BodyTooLarge => Refusal::BodyTooLarge,
        Wire::GroupTooLarge => Refusal::GroupTooLarge,
        Wire::Conflict => Refusal::Conflict,
        Wire::NotAllowed => Refusal::NotAllowed,
        Wire::Blocked => Refusal::Blocked,
        Wire::Busy => Refusal::Busy,
        Wire::TooOften => Refusal::TooOften { retry_after_ms: refused.retry_after_ms },
        Wire::Unspecified => return Err(ProtobufError::Missing("reason")),
    };
    Ok(ServerFrame::Refused {
        conversation: Field::from_wire(refused.conversation)?,
        client_msg_id: Field::from_wire(refused.client_msg_id.clone())?,
        reason,
    })
}

pub fn head_to_wire(head: &Head) -> client::Head {
    client::Head { conversation: head.conversation.to_wire(), head: head.head.0 }
}

pub fn head_from_wire(head: &client::Head) -> Result<Head, ProtobufError> {
    Ok(Head { conversation: Field::from_wire(head.conversation)?, head: Seq(head.head) })
}

pub fn conversation_to_wire(id: ConversationId) -> Option<log::ConversationId> {
    id.to_wire()
}

pub fn conversation_from_wire(id: Option<log::ConversationId>) -> Result<ConversationId, ProtobufError> {
    Field::from_wire(id)
}

pub fn span_to_wire(span: &LogSpan) -> log::Span {
    log::Span {
        conversation: span.conversation.to_wire(),
        from: span.from.0,
        to: span.to.0,
        entries: span.entries.iter().map(entry_to_wire).collect(),
    }
}

pub fn span_from_wire(span: log::Span) -> Result<LogSpan, ProtobufError> {
    Ok(LogSpan {
        conversation: Field::from_wire(span.conversation)?,
        from: Seq(span.from),
        to: Seq(span.to),
        entries: span.entries.into_iter().map(entry_from_wire).collect::<Result<_, _>>()?,
    })
}

pub fn entry_to_wire(entry: &Entry) -> log::Entry {
    log::Entry {
        seq: entry.seq.0,
        sender: entry.sender.0,
        device: entry.device.0,
        client_msg_id: entry.client_msg_id.to_wire(),
        client_seq: entry.client_seq.0,
        stored_at_ms: entry.stored_at_ms,
        payload: entry.payload.to_wire(),
    }
}

pub fn entry_from_wire(entry: log::Entry) -> Result<Entry, ProtobufError> {
    Ok(Entry {
        seq: Seq(entry.seq),
        sender: UserId(entry.sender),
        device: DeviceId(entry.device),
        client_msg_id: Field::from_wire(entry.client_msg_id)?,
        client_seq: ClientSeq(entry.client_seq),
        stored_at_ms: entry.stored_at_ms,
        payload: Field::from_wire(entry.payload)?,
    })
}

pub fn receipts_to_wire(receipts: &[Receipts]) -> client::Receipts {
    client::Receipts { receipts: receipts.to_vec().to_wire() }
}

pub fn receipts_from_wire(receipts: client::Receipts) -> Result<Vec<Receipts>, ProtobufError> {
    Field::from_wire(receipts.receipts)
}
