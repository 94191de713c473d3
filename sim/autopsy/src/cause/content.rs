//! Something that is shown or stored and that nobody sent like that, or who sent it had no part in the conversation.

use crate::case::Case;
use crate::story::at;
use squall_history::{Asked, Entity, Hop, Kind, What};
use squall_protocol::ids::Name;
use squall_protocol::{ClientMsgId, DeviceId};

pub fn cause(case: &Case<'_>) -> Option<String> {
    let seq = case.subject.seq;
    let message = case.subject.message.or_else(|| case.entry(seq?).map(|placed| placed.message))?;
    match case.sent(message) {
        None => renamed(case, message).or_else(|| by_a_stranger(case, message)),
        Some(_) => changed(case, message),
    }
}

/// A message under another id than the one under which it was sent first.
fn renamed(case: &Case<'_>, message: ClientMsgId) -> Option<String> {
    let resent = |event: &&squall_history::Event| matches!(&event.kind, Kind::Resend { client_msg_id, .. } if *client_msg_id == message);
    let Entity::Device(device) = case.events().find(resent)?.at else { return None };
    // The first copy under an id that was never sent, and the last message that was sent before it and had no ack.
    let (t, cause) = case.of_device(device).find_map(|event| match &event.kind {
        Kind::Resend { client_msg_id, cause, .. } if case.sent(*client_msg_id).is_none() => {
            Some((event.t, *cause))
        }
        _ => None,
    })?;
    let (first, original) = case.of_device(device).rev().find_map(|event| match &event.kind {
        Kind::Send { client_msg_id, .. }
            if event.t <= t && case.acked(*client_msg_id).is_none_or(|(acked, _)| acked > t) =>
        {
            Some((event.t, *client_msg_id))
        }
        _ => None,
    })?;
    Some(format!(
        "{} was sent at {}, and its resend at {}, {}, bore another id, so that no shard could know it again",
        case.short(original),
        at(first),
        at(t),
        case.resend_because(original, t, cause)
    ))
}

/// A message of somebody who has no part in the conversation.
fn by_a_stranger(case: &Case<'_>, message: ClientMsgId) -> Option<String> {
    let (t, user, device) = case.hops().find_map(|(event, hop)| match hop {
        Hop::Received { user, device, asked: Asked::Send { client_msg_id, .. }, .. }
            if *client_msg_id == message && event.at == case.shard.map_or(event.at, Entity::Host) =>
        {
            Some((event.t, *user, *device))
        }
        _ => None,
    })?;
    let what = match case.what(message) {
        Some(What::Created) => "a creation",
        Some(What::Joined(who)) if who == user => "an addition of themselves",
        Some(What::Joined(_) | What::JoinedSeveral) => "an addition",
        Some(What::Left(_) | What::LeftSeveral) => "a removal",
        Some(What::CreatedChannel) => "a creation",
        Some(What::Text) | None => "a message",
        Some(_) => "a change of who may do what",
    };
    let place = case.places(message).first().map(|placed| placed.seq)?;
    let whose = match case.subject.conversation.name() {
        Some(Name::Direct { low, high }) if user != low && user != high => {
            format!("who is neither of the two users, {low} and {high}, whom the conversation's id names")
        }
        Some(Name::Group { creator, .. }) if case.stays(user).is_empty() && creator != user => {
            format!("whom nobody had made a member of this group of user {creator}")
        }
        _ => "which nobody of ours had sent".to_owned(),
    };
    Some(format!(
        "{} took {what} at {} from device {device} of user {user}, {whose}, and gave it seq {place}",
        case.shard_name(),
        at(t)
    ))
}

/// A content that is not what was sent.
fn changed(case: &Case<'_>, message: ClientMsgId) -> Option<String> {
    let placed = case.places(message).into_iter().find(|placed| placed.staged.is_some())?;
    let (staged, extent) = (placed.staged?, placed.extent?);
    let shard = case.shard_name();
    let read = case.places(message).into_iter().find_map(|placed| placed.logged.map(|(_, extent)| extent));
    let came = format!("it came to {shard} at {} with {} bytes", at(staged), extent.bytes);
    if let Some(read) = read.filter(|read| *read != extent) {
        let nul = match extent.first_nul {
            Some(nul) if nul == read.bytes => ": it was cut at its first NUL",
            _ if read.bytes < extent.bytes => ": its end was cut off",
            _ => "",
        };
        return Some(format!("{came}, and stands on its disk at seq {} with {}{nul}", placed.seq, read.bytes));
    }
    let sent = match &case.sent(message)?.kind {
        Kind::Send { body_hash, .. } => *body_hash,
        _ => return None,
    };
    let shown = case.events().find(|event| {
        matches!(&event.kind, Kind::Display { client_msg_id, body_hash, .. } if *client_msg_id == message && *body_hash != sent)
    })?;
    Some(format!(
        "{came}, stands so on its disk, and was shown otherwise at {} by {}",
        at(shown.t),
        case.story.name(shown.at)
    ))
}

/// The number that a device gave a message.
pub fn number(case: &Case<'_>, message: ClientMsgId) -> Option<(DeviceId, u64)> {
    case.hops().find_map(|(_, hop)| match hop {
        Hop::Received { device, asked: Asked::Send { client_msg_id, client_seq }, .. }
            if *client_msg_id == message =>
        {
            Some((*device, client_seq.0))
        }
        _ => None,
    })
}
