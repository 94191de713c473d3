//! A send that was never answered, or whose refusal was not the truth.

use super::content::number;
use super::delivery::silent_fault;
use super::{answer, refusal};
use crate::case::Case;
use crate::story::at;
use squall_history::{Entity, Hop, Kind, Told, What};
use squall_protocol::{ClientMsgId, DeviceId};

pub fn cause(case: &Case<'_>) -> Option<String> {
    let message = case.subject.message?;
    let device = case.sender(message)?;
    let refused = case.events().find_map(|event| match &event.kind {
        Kind::Refused { client_msg_id, reason, .. } if *client_msg_id == message => Some((event.t, *reason)),
        _ => None,
    });
    if let Some((_, reason)) = refused {
        return stored_all_the_same(case, message, device, reason)
            .or_else(|| emptied(case))
            .or_else(|| refusal::cause(case, message, device, reason));
    }
    waiting(case, message, device)
        .or_else(|| silent(case, message, device))
        .or_else(|| emptied(case))
        .or_else(|| wrong_number(case, message, device))
        .or_else(|| forgotten(case, message, device))
        .or_else(|| not_sent_again(case, message, device))
        .or_else(|| answer::cause(case, message, device))
}

fn stored_all_the_same(case: &Case<'_>, message: ClientMsgId, device: DeviceId, reason: &str) -> Option<String> {
    let placed = case.places(message).into_iter().next()?;
    let (t, shard) = refusal::made(case, message)?;
    let staged = placed.staged?;
    let shard = case.story.name(shard);
    if staged < t {
        let stop = case.shard.and_then(|index| case.story.stopped_between(index, staged, t));
        let resend = case.resends(message).into_iter().rev().find(|(resent, _)| *resent <= t);
        let resent = resend.map_or("a copy".to_owned(), |(resent, cause)| {
            format!("the resend of {}, {},", at(resent), case.resend_because(message, resent, cause))
        });
        let after = stop.map_or(String::new(), |stop| {
            let what = match case.what(message) {
                Some(what) if what.is_change() => {
                    ", and the number of a change of membership was not kept with its sender"
                }
                _ => "",
            };
            format!(" after it {} and was back at {}{what}", stop.verb(), at(stop.restarted.unwrap_or(stop.t)))
        });
        return Some(format!(
            "stored at {}, at seq {}: {resent} was not recognised by {shard}{after}; it was refused at {} ({reason}) like a new message",
            at(staged),
            placed.seq,
            at(t)
        ));
    }
    let copy = case.received(message, "messages-").into_iter().rev().find(|event| event.t <= staged)?;
    let passed =
        case.received(message, "gateway-").into_iter().filter(|event| event.t < t).min_by_key(|event| event.t);
    let way = passed
        .map_or(String::new(), |event| format!(" (with {} since {})", case.story.name(event.at), at(event.t)));
    let fence = case.story.hops().find_map(|(event, hop)| match hop {
        Hop::Fenced { device: of, .. } if *of == device && event.t >= t && event.t <= staged => Some(event.t),
        _ => None,
    });
    let joined = case.events().rev().find_map(|event| match &event.kind {
        Kind::Append { client_msg_id, .. }
            if event.t >= t
                && event.t <= staged
                && matches!(case.what(*client_msg_id), Some(What::Joined(_) | What::JoinedSeveral)) =>
        {
            Some(event.t)
        }
        _ => None,
    });
    let kept = match (fence, joined) {
        (Some(fence), _) => {
            format!("though the fence that keeps the refusal final went to the disk at {}", at(fence))
        }
        (None, Some(joined)) => format!(
            "for no commit held the fence that keeps the refusal final: the one that was done at {} held a join and not the fence",
            at(joined)
        ),
        (None, None) => "for no commit held the fence that keeps the refusal final".to_owned(),
    };
    Some(format!(
        "{shard} refused it at {} ({reason}), and stored an older copy{way}, which came at {}, as seq {}, {kept}",
        at(t),
        at(copy.t),
        placed.seq
    ))
}

/// The shard came back with nothing.
fn emptied(case: &Case<'_>) -> Option<String> {
    let shard = case.shard?;
    let first = case.log.iter().filter_map(|placed| placed.committed).min()?;
    let t = case.story.hops().find_map(|(event, hop)| match hop {
        Hop::Recovered { entries: 0, .. } if event.at == Entity::Host(shard) && event.t >= first => Some(event.t),
        _ => None,
    })?;
    let stop = case.story.stopped_between(shard, 0, t)?;
    Some(format!(
        "{} {} and came back at {} with an empty database, begun anew, though it had stored the conversation at {}: of all that it had answered for before, nothing is left",
        case.shard_name(),
        stop.verb(),
        at(t),
        at(first)
    ))
}

/// A refusal that asked for patience.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    pub t: u64,
    pub ms: u64,
    pub by: Entity,
}

pub fn told_to_wait(case: &Case<'_>, message: ClientMsgId) -> Vec<Wait> {
    let answers = case.answers(message).into_iter();
    answers
        .filter_map(|(event, told)| match told {
            Told::Refused { reason: "too_often", value, .. } => {
                Some(Wait { t: event.t, ms: value.unwrap_or(0), by: event.at })
            }
            _ => None,
        })
        .collect()
}

fn waiting(case: &Case<'_>, message: ClientMsgId, device: DeviceId) -> Option<String> {
    let waits = told_to_wait(case, message);
    let (first, last) = (waits.first()?, waits.last()?);
    let end = case.story.end();
    let answered_else = case.answers(message).into_iter().any(|(event, _)| event.t > last.t);
    if answered_else {
        return None;
    }
    let again = waits.len() > 2 || end < last.t + last.ms * 1_000 + 1_000_000;
    let by = case.story.name(last.by);
    if again {
        let members = case.sent(message).map_or(0, |event| match &event.kind {
            Kind::Send { members, .. } => members.len(),
            _ => 0,
        });
        let whose = if members > 0 { format!("a creation that names {members} people, ") } else { String::new() };
        let longest = waits.iter().map(|wait| wait.ms).max().unwrap_or(0);
        let by_gateway = matches!(last.by, Entity::Host(host) if case.story.has_role(host, "gateway-"));
        let (whose, ever) = match (by_gateway, members) {
            (false, 1..) => (whose, "what it costs is more than there will ever be room for"),
            (true, _) => (String::new(), "what was refused was counted, too"),
            (false, _) => (String::new(), "there was never room for it"),
        };
        return Some(format!(
            "{whose}told to wait {} times by {by}, first at {} (for {} ms), last at {} (for {} ms; at most {longest} ms), though it came again only after each wait: {ever}",
            waits.len(),
            at(first.t),
            first.ms,
            at(last.t),
            last.ms
        ));
    }
    let next = case.hops().find_map(|(event, hop)| match hop {
        Hop::Received { device: of, asked: squall_history::Asked::Send { client_msg_id, .. }, .. }
            if *of == device && *client_msg_id != message && event.t > last.t + last.ms * 1_000 =>
        {
            Some((event.t, *client_msg_id))
        }
        _ => None,
    });
    Some(match next {
        Some((t, other)) => format!(
            "told by {by} at {} to wait for {} ms, device {device} gave it up and went on with {} at {}",
            at(last.t),
            last.ms,
            case.short(other),
            at(t)
        ),
        None => format!(
            "told by {by} at {} to wait for {} ms, device {device} has not sent it again in the {} s until the end, nor anything else there",
            at(last.t),
            last.ms,
            (end - last.t) / 1_000_000
        ),
    })
}

/// What a device has given up since it was told to wait: its oldest message that had no answer and is never sent again.
pub fn given_up(case: &Case<'_>, device: DeviceId, until: u64) -> Option<(Wait, ClientMsgId)> {
    let sends = case.of_device(device).filter_map(|event| match &event.kind {
        Kind::Send { client_msg_id, .. } if event.t <= until => Some(*client_msg_id),
        _ => None,
    });
    let sends: Vec<ClientMsgId> = sends.collect();
    let first = sends.iter().flat_map(|message| told_to_wait(case, *message)).min_by_key(|wait| wait.t)?;
    let unanswered = sends.into_iter().find(|message| {
        let answered = case.of_device(device).any(|event| match &event.kind {
            Kind::Sent { client_msg_id, .. } | Kind::Refused { client_msg_id, .. } => client_msg_id == message,
            _ => false,
        });
        let last = case.received(*message, "gateway-").into_iter().map(|event| event.t).max();
        !answered && last.is_some_and(|last| last <= first.t)
    })?;
    Some((first, unanswered))
}

/// The device forgot it when it was told to wait with another one.
fn forgotten(case: &Case<'_>, message: ClientMsgId, device: DeviceId) -> Option<String> {
    let (wait, first) = given_up(case, device, case.story.end())?;
    if first != message || case.resends(message).into_iter().any(|(t, _)| t > wait.t) {
        return None;
    }
    let handed = case.handed(device).into_iter().find(|(event, told)| {
        event.t >= wait.t && matches!(told, Told::Sent { client_msg_id, .. } if *client_msg_id == message)
    });
    let ignored = handed.map_or("has not sent it again".to_owned(), |(event, _)| {
        format!("did not take its ack, which {} handed on at {}", case.story.name(event.at), at(event.t))
    });
    Some(format!(
        "sent at {}; told by {} at {} to wait for {} ms with another one, device {device} gave this one up and {ignored}",
        at(case.sent(message)?.t),
        case.story.name(wait.by),
        at(wait.t),
        wait.ms
    ))
}

/// It went out over a connection on which nothing passes any more.
fn silent(case: &Case<'_>, message: ClientMsgId, device: DeviceId) -> Option<String> {
    let connection = case.story.connections(device).into_iter().last()?;
    let sent = case.sent(message)?.t;
    let after = sent.max(connection.from);
    if connection.until.is_some() {
        return None;
    }
    let heard = case.story.events.iter().any(|event| {
        event.at == Entity::Device(device)
            && event.t > after
            && matches!(event.kind, Kind::Deliver { .. } | Kind::Sent { .. } | Kind::Refused { .. })
    });
    let came = case.received(message, "gateway-").into_iter().any(|event| event.t >= after);
    if heard || came {
        return None;
    }
    Some(format!(
        "sent at {} over the connection that device {device} has had since {}, on which nothing has passed any more{}; the device never noticed and keeps it to the end",
        at(after),
        at(connection.from),
        silent_fault(case, connection.from, case.story.end())
    ))
}

/// The shard wants another number than the device has.
fn wrong_number(case: &Case<'_>, message: ClientMsgId, device: DeviceId) -> Option<String> {
    let (t, by, wanted) = case.answers(message).into_iter().rev().find_map(|(event, told)| match told {
        Told::Refused { reason: "expected_client_seq", value, .. } => {
            Some((event.t, event.at, value.unwrap_or(0)))
        }
        _ => None,
    })?;
    let has = case.log.iter().rev().find(|placed| {
        placed.author == Some(device)
            && placed.number.is_some_and(|number| number >= wanted)
            && placed.committed.is_some()
    });
    let shard = case.story.name(by);
    let stop = case.shard.and_then(|index| case.story.stopped_between(index, 0, t));
    let restarted = stop.map_or(String::new(), |stop| {
        format!(", which {} and was back at {},", stop.verb(), at(stop.restarted.unwrap_or(stop.t)))
    });
    Some(match has {
        Some(has) => format!(
            "{shard}{restarted} wanted number {wanted} of device {device} at {}, though it had stored its number {}{} at {}, at seq {}",
            at(t),
            has.number.unwrap_or_default(),
            match case.what(has.message) {
                Some(what) if what.is_change() => " (a change of membership, whose number it did not keep)",
                _ => "",
            },
            at(has.committed.unwrap_or_default()),
            has.seq
        ),
        None => {
            let wanted_at = format!("{shard}{restarted} wanted number {wanted} of device {device} at {}", at(t));
            match earlier(case, message, device, wanted) {
                Some(sentence) => format!("{wanted_at}, which was {sentence}"),
                None => format!("{wanted_at}, which the device no longer has"),
            }
        }
    })
}

/// The message that had the wanted number, and what became of it.
fn earlier(case: &Case<'_>, message: ClientMsgId, device: DeviceId, wanted: u64) -> Option<String> {
    let sends = case.of_device(device).filter_map(|event| match &event.kind {
        Kind::Send { client_msg_id, .. } => Some(*client_msg_id),
        _ => None,
    });
    let had = |id: &ClientMsgId| *id != message && number(case, *id).is_some_and(|(_, number)| number == wanted);
    let first = sends.take_while(|id| *id != message).filter(had).last()?;
    let became = match case.acked(first) {
        Some((t, seq)) => format!("the device has its ack since {}, for seq {seq}", at(t)),
        None => answer::cause(case, first, device)?,
    };
    Some(format!("that of {}: {became}", case.short(first)))
}

/// The device did not send it again.
fn not_sent_again(case: &Case<'_>, message: ClientMsgId, device: DeviceId) -> Option<String> {
    let sent = case.sent(message)?.t;
    let copies = case.received(message, "gateway-");
    let last = copies.iter().map(|event| event.t).max();
    let back = case.story.connections(device).into_iter().find(|c| c.from > last.unwrap_or(sent))?;
    if case.resends(message).into_iter().any(|(t, _)| t >= back.from) {
        return None;
    }
    let answered = case.answers(message).into_iter().find(|(_, told)| matches!(told, Told::Sent { .. }));
    let gone =
        case.story.connections(device).into_iter().rev().find(|c| c.until.is_some_and(|until| until <= back.from));
    let lost = match (answered, gone) {
        (Some((event, _)), Some(gone)) => format!(
            "its ack of {} was lost with the connection that ended at {} ({})",
            at(event.t),
            at(gone.until.unwrap_or_default()),
            gone.reason
        ),
        (None, Some(gone)) => {
            format!("its connection ended at {} ({})", at(gone.until.unwrap_or_default()), gone.reason)
        }
        (_, None) => "it had no answer".to_owned(),
    };
    Some(format!(
        "sent at {}, {lost}; device {device} was back at {} and did not send it again",
        at(sent),
        at(back.from)
    ))
}
