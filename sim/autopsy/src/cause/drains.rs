//! A gateway that was asked to end and did not let its devices go one after the other.

use crate::case::Case;
use crate::story::{at, lasted};
use squall_history::{Entity, Event, Hop, Kind};
use squall_protocol::DeviceId;

/// What is told within so long is told at once, in µs.
const AT_ONCE: u64 = 300_000;

pub fn cause(case: &Case<'_>) -> Option<String> {
    let asked = case.story.events.iter().rev().filter(|event| event.t <= case.subject.t);
    let (asked_at, host, window) = asked.clone().find_map(|event| match (&event.kind, event.at) {
        (Kind::Stopping { window }, Entity::Host(host)) if case.story.has_role(host, "gateway-") => {
            Some((event.t, host, *window))
        }
        _ => None,
    })?;
    let name = case.story.host(host);
    if let Some(device) = case.subject.device {
        return late(case, &name, device);
    }
    let sent: Vec<u64> = sent_away(case, host, asked_at).map(|(t, _)| t).collect();
    let began = format!("{name} was asked at {} to end over {}", at(asked_at), lasted(window));
    let (first, last) = (sent.first().copied()?, sent.last().copied()?);
    let at_once = sent.iter().filter(|t| **t < first + AT_ONCE).count();
    let back: Vec<u64> = sent_away(case, host, asked_at)
        .filter_map(|(t, device)| case.story.connections(device).into_iter().find(|c| c.from > t).map(|c| c.from))
        .collect();
    let second = case.subject.t;
    let crowd = back.iter().filter(|t| (second.saturating_sub(1_000_000)..=second).contains(*t)).count();
    let came = format!("; {crowd} of them were connected elsewhere in the second up to {}", at(second));
    Some(match at_once * 2 > sent.len() {
        true => format!(
            "{began}, and told {at_once} of its {} devices at {} to come back, all at once, though it had {} for that{came}",
            sent.len(),
            at(first),
            lasted(window)
        ),
        false => format!(
            "{began}, and told its {} devices to come back from {} to {}{came}",
            sent.len(),
            at(first),
            at(last)
        ),
    })
}

fn sent_away<'a>(case: &'a Case<'_>, host: u16, from: u64) -> impl Iterator<Item = (u64, DeviceId)> + 'a {
    let is_its = move |event: &Event| event.at == Entity::Host(host) && event.t >= from;
    case.story.hops().filter_map(move |(event, hop)| match hop {
        Hop::SentAway { device } if is_its(event) => Some((event.t, *device)),
        _ => None,
    })
}

/// One device that was not back in time, or was closed though nobody had asked.
fn late(case: &Case<'_>, name: &str, device: DeviceId) -> Option<String> {
    let gone = case
        .story
        .connections(device)
        .into_iter()
        .rev()
        .find(|c| c.until.is_some_and(|until| until <= case.subject.t))?;
    let until = gone.until.unwrap_or_default();
    let back = case.story.connections(device).into_iter().find(|c| c.from > until);
    let then = match back {
        Some(back) => format!("it was connected to gateway-{} at {}", back.gateway, at(back.from)),
        None => "it has not connected again".to_owned(),
    };
    Some(format!(
        "{name} ended the connection of device {device} at {} ({}), {} after it had begun; {then}",
        at(until),
        gone.reason,
        lasted(until - gone.from)
    ))
}
