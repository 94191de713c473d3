//! Copies of one message that do not agree on when it was stored.

use crate::case::Case;
use crate::story::at;
use squall_history::{Hop, Told};
use squall_protocol::ClientMsgId;

pub fn cause(case: &Case<'_>) -> Option<String> {
    let message = case.subject.message?;
    published_early(case, message)
        .or_else(|| super::twice::stored(case, message))
        .or_else(|| acked_otherwise(case, message))
        .or_else(|| published_otherwise(case, message))
}

fn stored(case: &Case<'_>, message: ClientMsgId) -> Option<u64> {
    case.places(message).iter().find_map(|placed| placed.logged.map(|(stamp, _)| stamp))
}

fn acked_otherwise(case: &Case<'_>, message: ClientMsgId) -> Option<String> {
    let stored = stored(case, message)?;
    let (t, stamp) = case.answers(message).into_iter().find_map(|(event, told)| match told {
        Told::Sent { stored_at_ms, .. } if *stored_at_ms != stored => Some((event.t, *stored_at_ms)),
        _ => None,
    })?;
    let resend = case.resends(message).into_iter().rev().find(|(resent, _)| *resent <= t);
    let (shard, late) = (case.shard_name(), stamp.saturating_sub(stored));
    Some(match resend {
        Some((resent, cause)) => format!(
            "the resend of {}, {}, was answered by {shard} at {} with the time at which it came, {late} ms after the one that stands in the log",
            at(resent),
            case.resend_because(message, resent, cause),
            at(t)
        ),
        None => format!("{shard} acked it at {} with another time than the one in the log, by {late} ms", at(t)),
    })
}

/// It was published from memory, lost, and stored anew.
fn published_early(case: &Case<'_>, message: ClientMsgId) -> Option<String> {
    let places = case.places(message);
    let lost = places.iter().find(|placed| placed.committed.is_none() && placed.logged.is_none())?;
    let (staged, shard) = (lost.staged?, case.shard?);
    let stop = case.story.stopped_after(shard, staged)?;
    let t = case.hops().find_map(|(event, hop)| match hop {
        Hop::Forwarded { seq, .. } if *seq == lost.seq && (staged..=stop.t).contains(&event.t) => Some(event.t),
        _ => None,
    })?;
    let again = places.iter().rev().find(|placed| placed.staged > lost.staged).and_then(|placed| placed.staged);
    Some(format!(
        "published at {} by {} before its commit was done; it {}, and the message with it{}",
        at(t),
        case.shard_name(),
        stop.verb(),
        again.map_or(String::new(), |again| format!("; its resend was stored anew at {}", at(again)))
    ))
}

fn published_otherwise(case: &Case<'_>, message: ClientMsgId) -> Option<String> {
    let stored = stored(case, message)?;
    let placed = case.places(message).into_iter().next()?;
    let (seq, since) = (placed.seq, placed.staged.or(placed.committed).unwrap_or(0));
    let (t, stamp) = case.hops().find_map(|(event, hop)| match hop {
        Hop::Forwarded { seq: of, stored_at_ms, .. }
            if *of == seq && *stored_at_ms != stored && event.t >= since =>
        {
            Some((event.t, *stored_at_ms))
        }
        _ => None,
    })?;
    let shard = case.shard_name();
    let stop = case.shard.and_then(|index| case.story.stopped_between(index, 0, t));
    let after = stop.map_or(String::new(), |stop| {
        format!(
            ", which it read from its disk after it {} and was back at {}",
            stop.verb(),
            at(stop.restarted.unwrap_or(stop.t))
        )
    });
    Some(format!(
        "{shard} published seq {seq}{after} at {} with a new time, {} ms after the one that stands in the log",
        at(t),
        stamp.saturating_sub(stored)
    ))
}
