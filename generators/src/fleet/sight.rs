//! What a client sees, in the words of the history.

use squall_core::client::Via as ShownVia;
use squall_history::{Via, What, body_hash};
use squall_protocol::Payload;
use squall_protocol::ids::mix;

/// How an entry came, for the history.
pub(super) fn via_of(via: ShownVia) -> Via {
    match via {
        ShownVia::Deliver => Via::Deliver,
        ShownVia::Page => Via::Page,
        ShownVia::Ack => Via::Ack,
    }
}

/// What an entry says, for the history.
pub fn what(payload: &Payload) -> What {
    match payload {
        Payload::Text(_) => What::Text,
        Payload::Created { .. } => What::Created,
        Payload::Joined(user) => What::Joined(*user),
        Payload::Left(user) => What::Left(*user),
    }
}

/// The fingerprint of an entry's content.
pub fn payload_hash(payload: &Payload) -> u64 {
    match payload {
        Payload::Text(text) => body_hash(text.as_bytes()),
        Payload::Created { direct, members } => {
            members.iter().fold(mix(u64::from(*direct)), |hash, member| mix(hash ^ member.0))
        }
        Payload::Joined(user) => mix(user.0 ^ 1),
        Payload::Left(user) => mix(user.0 ^ 2),
    }
}

/// A refusal, for the history.
pub(super) fn refusal_name(reason: squall_protocol::Refusal) -> &'static str {
    use squall_protocol::Refusal;
    match reason {
        Refusal::ExpectedClientSeq(_) => "expected_client_seq",
        Refusal::UnknownConversation => "unknown_conversation",
        Refusal::NotAMember => "not_a_member",
        Refusal::BodyTooLarge => "body_too_large",
        Refusal::GroupTooLarge => "group_too_large",
        Refusal::Conflict => "conflict",
        Refusal::Busy => "busy",
    }
}
