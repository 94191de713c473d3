//! Frames that a gateway relays: a device's requests to the shard of a conversation, and the shard's replies.
//!
//! **Invariant:** what one end writes, the other reads. Both ends are here, and no frame is left out of either match.
//!
//! On the internal link they are the messages of `client.proto` themselves, under the names of `messages.proto`. Which
//! frames those are is said here for both ends, and nowhere else.

use crate::frames::{ClientFrame, ServerFrame};
use crate::ids::ConversationId;
use crate::protobuf::{
    ProtobufError, client_from_wire, client_to_wire, head_from_wire, server_from_wire, server_to_wire,
};
use crate::wire::client::{client_frame, server_frame};
use crate::wire::messages::{HeadsOf, reply, request};

/// What a gateway asks of a shard.
#[derive(Debug)]
pub enum Request {
    /// What a device has sent.
    Frame(ClientFrame),
    /// The gateway's own question, for a device that has connected.
    Heads(HeadsOf),
}

/// A device's frame as a request, and the conversation whose shard it is for.
///
/// # Panics
/// If the frame is one that a gateway answers by itself (`core::gateway` relays none of those).
pub fn request_to_wire(frame: &ClientFrame) -> (ConversationId, request::Request) {
    let conversation = match frame {
        ClientFrame::Send { conversation, .. }
        | ClientFrame::Ack { conversation, .. }
        | ClientFrame::Read { conversation, .. }
        | ClientFrame::Sync { conversation, .. }
        | ClientFrame::Typing { conversation } => *conversation,
        ClientFrame::Hello { .. }
        | ClientFrame::Ping
        | ClientFrame::Refresh { .. }
        | ClientFrame::Watch { .. }
        | ClientFrame::Unwatch { .. }
        | ClientFrame::Invisible { .. } => {
            unreachable!("a gateway answers these")
        }
    };
    let request = match client_to_wire(frame) {
        client_frame::Frame::Send(send) => request::Request::Send(send),
        client_frame::Frame::Ack(ack) => request::Request::Ack(ack),
        client_frame::Frame::Read(read) => request::Request::Read(read),
        client_frame::Frame::Sync(sync) => request::Request::Sync(sync),
        client_frame::Frame::Typing(typing) => request::Request::Typing(typing),
        client_frame::Frame::Hello(_)
        | client_frame::Frame::Ping(_)
        | client_frame::Frame::Refresh(_)
        | client_frame::Frame::Watch(_)
        | client_frame::Frame::Unwatch(_)
        | client_frame::Frame::Invisible(_) => {
            unreachable!("a gateway answers these")
        }
    };
    (conversation, request)
}

pub fn request_from_wire(request: request::Request) -> Result<Request, ProtobufError> {
    let frame = match request {
        request::Request::Send(send) => client_frame::Frame::Send(send),
        request::Request::Ack(ack) => client_frame::Frame::Ack(ack),
        request::Request::Read(read) => client_frame::Frame::Read(read),
        request::Request::Sync(sync) => client_frame::Frame::Sync(sync),
        request::Request::Typing(typing) => client_frame::Frame::Typing(typing),
        request::Request::Heads(heads) => return Ok(Request::Heads(heads)),
        request::Request::Follow(_)
        | request::Request::Took(_)
        | request::Request::Unfollow(_)
        | request::Request::Gone(_) => {
            return Err(ProtobufError::Missing("a caller: no device asks for this"));
        }
    };
    client_from_wire(frame).map(Request::Frame)
}

/// A shard's answer to a device.
///
/// # Panics
/// If the frame is one that no shard sends: what the gateway says by itself, deliveries and notices (they come by the bus) and heads
/// (they come in parts).
pub fn reply_to_wire(frame: &ServerFrame) -> reply::Reply {
    match server_to_wire(frame) {
        server_frame::Frame::Sent(sent) => reply::Reply::Sent(sent),
        server_frame::Frame::Refused(refused) => reply::Reply::Refused(refused),
        server_frame::Frame::Page(page) => reply::Reply::Page(page),
        server_frame::Frame::Error(error) => reply::Reply::Error(error),
        server_frame::Frame::Stale(stale) => reply::Reply::Stale(stale),
        server_frame::Frame::Receipts(receipts) => reply::Reply::Receipts(receipts),
        server_frame::Frame::Welcome(_)
        | server_frame::Frame::Deliver(_)
        | server_frame::Frame::Heads(_)
        | server_frame::Frame::Presence(_)
        | server_frame::Frame::Pong(_)
        | server_frame::Frame::ComeBack(_)
        | server_frame::Frame::Typing(_)
        | server_frame::Frame::Refreshed(_) => unreachable!("no shard replies with these"),
    }
}

/// The device's frame of a reply; `None` for heads of nothing, and for what is the gateway's own.
pub fn reply_from_wire(reply: reply::Reply) -> Result<Option<ServerFrame>, ProtobufError> {
    let frame = match reply {
        reply::Reply::Sent(sent) => server_frame::Frame::Sent(sent),
        reply::Reply::Refused(refused) => server_frame::Frame::Refused(refused),
        reply::Reply::Page(page) => server_frame::Frame::Page(page),
        reply::Reply::Error(error) => server_frame::Frame::Error(error),
        reply::Reply::Stale(stale) => server_frame::Frame::Stale(stale),
        reply::Reply::Receipts(receipts) => server_frame::Frame::Receipts(receipts),
        reply::Reply::Tail(_) | reply::Reply::Lease(_) => return Ok(None),
        reply::Reply::Heads(part) if part.heads.is_empty() => return Ok(None),
        reply::Reply::Heads(part) => {
            let heads = part.heads.iter().map(head_from_wire).collect::<Result<_, _>>()?;
            return Ok(Some(ServerFrame::Heads { heads }));
        }
    };
    server_from_wire(frame).map(Some)
}
