//! A message that stands in a log or on a screen twice.

use super::shown;
use crate::case::Case;
use crate::story::at;
use squall_history::{Hop, Kind};
use squall_protocol::ClientMsgId;

pub fn cause(case: &Case<'_>) -> Option<String> {
    let message = case.subject.message?;
    stored(case, message).or_else(|| displayed(case, message))
}

/// The log has it at two places.
pub fn stored(case: &Case<'_>, message: ClientMsgId) -> Option<String> {
    let places = case.places(message);
    let (first, second) = places.iter().zip(places.iter().skip(1)).find(|(a, b)| a.seq != b.seq)?;
    let (once, again) = (first.staged.or(first.committed)?, second.staged.or(second.committed)?);
    let shard = case.shard_name();
    let resend = case.resends(message).into_iter().rev().find(|(t, _)| *t <= again);
    let resent = match resend {
        Some((t, cause)) => format!("the resend of {}, {},", at(t), case.resend_because(message, t, cause)),
        None => format!("the copy that came at {}", at(again)),
    };
    let stop = case.shard.and_then(|index| case.story.stopped_between(index, once, again));
    let what = match case.what(message) {
        Some(what) if what.is_change() && stop.is_some() => {
            ": the number of a change of membership was not kept with its sender"
        }
        _ => "",
    };
    let memory = match stop {
        Some(stop) => {
            let restarted = stop.restarted.unwrap_or(stop.t);
            format!("after {shard}, which {}, had restarted at {}{what}", stop.verb(), at(restarted))
        }
        None => format!("by {shard}, which had stored it at {} and had been running since", at(once)),
    };
    Some(format!("stored twice, at seq {} and {}: {resent} was not recognised {memory}", first.seq, second.seq))
}

/// The device shows it again.
fn displayed(case: &Case<'_>, message: ClientMsgId) -> Option<String> {
    let device = case.subject.device?;
    let shown_at: Vec<u64> = case
        .of_device(device)
        .filter(|event| matches!(&event.kind, Kind::Display { client_msg_id, .. } if *client_msg_id == message))
        .map(|event| event.t)
        .collect();
    let [once, again, ..] = shown_at.as_slice() else { return shown::cause(case) };
    if let Some(user) = case.story.user_of(device)
        && case.stays(user).is_empty()
    {
        return shown::cause(case);
    }
    let seq = case.places(message).first().map(|placed| placed.seq)?;
    let reminded = case.hops().rev().find_map(|(event, hop)| match hop {
        Hop::Redelivered { device: of, .. } if *of == device && (*once..=*again).contains(&event.t) => {
            Some(format!("told again by the shard at {}, which had no ack", at(event.t)))
        }
        _ => None,
    });
    let connection = case.story.connections(device).into_iter().rev().find(|c| c.from > *once && c.from <= *again);
    let arrival = case.arrivals(device, seq).into_iter().rev().find(|arrival| arrival.t <= *again);
    let asked = arrival.filter(|arrival| arrival.by_page).and_then(|page| {
        case.of_device(device).rev().find_map(|event| match &event.kind {
            Kind::Sync { since, .. } if event.t <= page.t && *since < page.from => Some((event.t, *since)),
            _ => None,
        })
    });
    let acked = case.acked(message).filter(|_| case.sender(message) == Some(device)).map(|(t, _)| t);
    let why = match (asked, reminded, connection) {
        (Some((asked, _)), ..) if acked.is_some_and(|acked| asked <= acked && acked <= *once) => {
            format!("in a page that it had asked for at {}, before its ack came", at(asked))
        }
        (Some((asked, _)), ..) if asked <= *once => {
            format!("in a page that it had asked for at {}, before it showed it", at(asked))
        }
        (_, Some(reminded), _) => reminded,
        (_, None, Some(connection)) => {
            format!("after the device had reconnected at {} and its ack was lost", at(connection.from))
        }
        (Some((asked, since)), None, None) => {
            format!("in a page that the device asked for at {} after seq {since}", at(asked))
        }
        (None, None, None) => "a second copy of its delivery".to_owned(),
    };
    Some(format!(
        "seq {seq} came to device {device} a second time at {} ({why}), and the device, which had shown it at {}, showed it again",
        at(*again),
        at(*once)
    ))
}
