//! The Protobuf codec: `frames` to and from what prost makes of `client.proto` and `log.proto`.
//!
//! Proto3 fields are all optional on the wire; what a frame cannot do without is asked for here, so that a
//! half-empty frame is malformed rather than a message to conversation 0.

use crate::frames::{ClientFrame, Entry, ErrorCode, FrameError, Head, LogSpan, Payload, Refusal, ServerFrame};
use crate::ids::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Seq, UserId};
use crate::wire::{client, log};
use prost::Message;

pub fn encode_client(frame: &ClientFrame) -> Vec<u8> {
    use client::client_frame::Frame;
    let frame = match frame {
        ClientFrame::Hello { token, connect_count } => {
            Frame::Hello(client::Hello { token: token.clone(), connect_count: *connect_count })
        }
        ClientFrame::Send { conversation, client_msg_id, client_seq, payload } => {
            Frame::Send(send_to_wire(*conversation, *client_msg_id, *client_seq, payload))
        }
        ClientFrame::Ack { conversation, up_to_seq } => {
            Frame::Ack(client::Ack { conversation: conversation.0, up_to_seq: up_to_seq.0 })
        }
        ClientFrame::Sync { conversation, since_seq } => {
            Frame::Sync(client::Sync { conversation: conversation.0, since_seq: since_seq.0 })
        }
        ClientFrame::Ping => Frame::Ping(client::Ping {}),
    };
    client::ClientFrame { frame: Some(frame) }.encode_to_vec()
}

pub fn decode_client(bytes: &[u8]) -> Result<ClientFrame, FrameError> {
    use client::client_frame::Frame;
    Ok(match client::ClientFrame::decode(bytes)?.frame.ok_or(FrameError::Missing("frame"))? {
        Frame::Hello(hello) => ClientFrame::Hello { token: hello.token, connect_count: hello.connect_count },
        Frame::Send(send) => {
            let (conversation, client_msg_id, client_seq, payload) = send_from_wire(send)?;
            ClientFrame::Send { conversation, client_msg_id, client_seq, payload }
        }
        Frame::Ack(ack) => {
            ClientFrame::Ack { conversation: ConversationId(ack.conversation), up_to_seq: Seq(ack.up_to_seq) }
        }
        Frame::Sync(sync) => {
            ClientFrame::Sync { conversation: ConversationId(sync.conversation), since_seq: Seq(sync.since_seq) }
        }
        Frame::Ping(client::Ping {}) => ClientFrame::Ping,
    })
}

/// A send as it travels, between device and gateway and between gateway and shard.
pub fn send_to_wire(
    conversation: ConversationId,
    client_msg_id: ClientMsgId,
    client_seq: ClientSeq,
    payload: &Payload,
) -> client::Send {
    client::Send {
        conversation: conversation.0,
        client_msg_id: id_to_wire(client_msg_id),
        client_seq: client_seq.0,
        payload: Some(payload_to_wire(payload)),
    }
}

/// The parts of a send, or what it lacks.
pub fn send_from_wire(
    send: client::Send,
) -> Result<(ConversationId, ClientMsgId, ClientSeq, Payload), FrameError> {
    Ok((
        ConversationId(send.conversation),
        id_from_wire(&send.client_msg_id)?,
        ClientSeq(send.client_seq),
        payload_from_wire(send.payload)?,
    ))
}

pub fn encode_server(frame: &ServerFrame) -> Vec<u8> {
    use client::server_frame::Frame;
    let frame = match frame {
        ServerFrame::Welcome { user, device } => {
            Frame::Welcome(client::Welcome { user: user.0, device: device.0 })
        }
        ServerFrame::Sent { conversation, client_msg_id, server_seq } => {
            Frame::Sent(sent_to_wire(*conversation, *client_msg_id, *server_seq))
        }
        ServerFrame::Refused { conversation, client_msg_id, reason } => {
            Frame::Refused(refused_to_wire(*conversation, *client_msg_id, *reason))
        }
        ServerFrame::Deliver(span) => Frame::Deliver(span_to_wire(span)),
        ServerFrame::Page { span, head } => {
            Frame::Page(client::Page { span: Some(span_to_wire(span)), head: head.0 })
        }
        ServerFrame::Heads { heads } => {
            Frame::Heads(client::Heads { heads: heads.iter().map(head_to_wire).collect() })
        }
        ServerFrame::Pong => Frame::Pong(client::Pong {}),
        ServerFrame::Error { code, conversation } => Frame::Error(error_to_wire(*code, *conversation)),
    };
    client::ServerFrame { frame: Some(frame) }.encode_to_vec()
}

pub fn decode_server(bytes: &[u8]) -> Result<ServerFrame, FrameError> {
    use client::server_frame::Frame;
    Ok(match client::ServerFrame::decode(bytes)?.frame.ok_or(FrameError::Missing("frame"))? {
        Frame::Welcome(welcome) => {
            ServerFrame::Welcome { user: UserId(welcome.user), device: DeviceId(welcome.device) }
        }
        Frame::Sent(sent) => sent_from_wire(&sent)?,
        Frame::Refused(refused) => refused_from_wire(&refused)?,
        Frame::Deliver(span) => ServerFrame::Deliver(span_from_wire(span)?),
        Frame::Page(page) => page_from_wire(page)?,
        Frame::Heads(heads) => ServerFrame::Heads { heads: heads.heads.iter().map(head_from_wire).collect() },
        Frame::Pong(client::Pong {}) => ServerFrame::Pong,
        Frame::Error(error) => error_from_wire(&error)?,
    })
}

pub fn sent_to_wire(conversation: ConversationId, client_msg_id: ClientMsgId, server_seq: Seq) -> client::Sent {
    client::Sent {
        conversation: conversation.0,
        client_msg_id: id_to_wire(client_msg_id),
        server_seq: server_seq.0,
    }
}

pub fn sent_from_wire(sent: &client::Sent) -> Result<ServerFrame, FrameError> {
    Ok(ServerFrame::Sent {
        conversation: ConversationId(sent.conversation),
        client_msg_id: id_from_wire(&sent.client_msg_id)?,
        server_seq: Seq(sent.server_seq),
    })
}

pub fn refused_to_wire(
    conversation: ConversationId,
    client_msg_id: ClientMsgId,
    reason: Refusal,
) -> client::Refused {
    use client::Refusal as Wire;
    let (wire, expected) = match reason {
        Refusal::ExpectedClientSeq(expected) => (Wire::ExpectedClientSeq, expected.0),
        Refusal::UnknownConversation => (Wire::UnknownConversation, 0),
        Refusal::NotAMember => (Wire::NotAMember, 0),
        Refusal::BodyTooLarge => (Wire::BodyTooLarge, 0),
        Refusal::GroupTooLarge => (Wire::GroupTooLarge, 0),
        Refusal::Conflict => (Wire::Conflict, 0),
        Refusal::Busy => (Wire::Busy, 0),
    };
    client::Refused {
        conversation: conversation.0,
        client_msg_id: id_to_wire(client_msg_id),
        reason: wire.into(),
        expected_client_seq: expected,
    }
}

pub fn refused_from_wire(refused: &client::Refused) -> Result<ServerFrame, FrameError> {
    use client::Refusal as Wire;
    let reason = match refused.reason() {
        Wire::ExpectedClientSeq => Refusal::ExpectedClientSeq(ClientSeq(refused.expected_client_seq)),
        Wire::UnknownConversation => Refusal::UnknownConversation,
        Wire::NotAMember => Refusal::NotAMember,
        Wire::BodyTooLarge => Refusal::BodyTooLarge,
        Wire::GroupTooLarge => Refusal::GroupTooLarge,
        Wire::Conflict => Refusal::Conflict,
        Wire::Busy => Refusal::Busy,
        Wire::Unspecified => return Err(FrameError::Missing("reason")),
    };
    Ok(ServerFrame::Refused {
        conversation: ConversationId(refused.conversation),
        client_msg_id: id_from_wire(&refused.client_msg_id)?,
        reason,
    })
}

pub fn page_from_wire(page: client::Page) -> Result<ServerFrame, FrameError> {
    let span = span_from_wire(page.span.ok_or(FrameError::Missing("span"))?)?;
    Ok(ServerFrame::Page { span, head: Seq(page.head) })
}

pub fn error_to_wire(code: ErrorCode, conversation: ConversationId) -> client::Error {
    let code = match code {
        ErrorCode::UnknownConversation => client::ErrorCode::SyncUnknownConversation,
        ErrorCode::NotAMember => client::ErrorCode::SyncNotAMember,
    };
    client::Error { code: code.into(), conversation: conversation.0 }
}

pub fn error_from_wire(error: &client::Error) -> Result<ServerFrame, FrameError> {
    let code = match error.code() {
        client::ErrorCode::SyncUnknownConversation => ErrorCode::UnknownConversation,
        client::ErrorCode::SyncNotAMember => ErrorCode::NotAMember,
        client::ErrorCode::ErrorUnspecified => return Err(FrameError::Missing("code")),
    };
    Ok(ServerFrame::Error { code, conversation: ConversationId(error.conversation) })
}

pub fn head_to_wire(head: &Head) -> client::Head {
    client::Head { conversation: head.conversation.0, head: head.head.0 }
}

pub fn head_from_wire(head: &client::Head) -> Head {
    Head { conversation: ConversationId(head.conversation), head: Seq(head.head) }
}

pub fn span_to_wire(span: &LogSpan) -> log::Span {
    log::Span {
        conversation: span.conversation.0,
        from: span.from.0,
        to: span.to.0,
        entries: span.entries.iter().map(entry_to_wire).collect(),
    }
}

pub fn span_from_wire(span: log::Span) -> Result<LogSpan, FrameError> {
    Ok(LogSpan {
        conversation: ConversationId(span.conversation),
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
        client_msg_id: id_to_wire(entry.client_msg_id),
        client_seq: entry.client_seq.0,
        stored_at_ms: entry.stored_at_ms,
        payload: Some(payload_to_wire(&entry.payload)),
    }
}

pub fn entry_from_wire(entry: log::Entry) -> Result<Entry, FrameError> {
    Ok(Entry {
        seq: Seq(entry.seq),
        sender: UserId(entry.sender),
        device: DeviceId(entry.device),
        client_msg_id: id_from_wire(&entry.client_msg_id)?,
        client_seq: ClientSeq(entry.client_seq),
        stored_at_ms: entry.stored_at_ms,
        payload: payload_from_wire(entry.payload)?,
    })
}

fn payload_to_wire(payload: &Payload) -> log::Payload {
    use log::payload::Payload as Wire;
    let payload = match payload {
        Payload::Text(text) => Wire::Text(text.clone()),
        Payload::Created { direct, members } => {
            Wire::Created(log::Created { direct: *direct, members: members.iter().map(|m| m.0).collect() })
        }
        Payload::Joined(user) => Wire::Joined(user.0),
        Payload::Left(user) => Wire::Left(user.0),
    };
    log::Payload { payload: Some(payload) }
}

fn payload_from_wire(payload: Option<log::Payload>) -> Result<Payload, FrameError> {
    use log::payload::Payload as Wire;
    Ok(match payload.and_then(|p| p.payload).ok_or(FrameError::Missing("payload"))? {
        Wire::Text(text) => Payload::Text(text),
        Wire::Created(created) => {
            Payload::Created { direct: created.direct, members: created.members.into_iter().map(UserId).collect() }
        }
        Wire::Joined(user) => Payload::Joined(UserId(user)),
        Wire::Left(user) => Payload::Left(UserId(user)),
    })
}

/// A UUID as its sixteen bytes.
pub fn id_to_wire(id: ClientMsgId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

/// A UUID from its sixteen bytes.
pub fn id_from_wire(bytes: &[u8]) -> Result<ClientMsgId, FrameError> {
    bytes
        .try_into()
        .map(|bytes| ClientMsgId(u128::from_be_bytes(bytes)))
        .map_err(|_| FrameError::Missing("client_msg_id of 16 bytes"))
}
