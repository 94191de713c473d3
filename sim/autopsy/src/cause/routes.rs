//! Deliveries to a device that has long been gone.

use crate::case::Case;
use crate::story::at;
use squall_history::{Entity, Hop};

pub fn cause(case: &Case<'_>) -> Option<String> {
    let (device, t) = (case.subject.device?, case.subject.t);
    let gone =
        case.story.connections(device).into_iter().rev().find(|c| c.until.is_some_and(|until| until <= t))?;
    let left = gone.until?;
    let told = case.story.hops().find_map(|(event, hop)| match hop {
        Hop::Unregistered { device: of, removed, .. } if *of == device && event.t >= left && event.t <= t => {
            Some((event, *removed))
        }
        _ => None,
    });
    let closed = case.story.hops().find_map(|(event, hop)| match hop {
        Hop::Closed { device: of, .. } if *of == device && event.t >= left && event.t <= t => Some(event),
        _ => None,
    });
    let begin = format!("device {device} left gateway-{} at {} ({})", gone.gateway, at(left), gone.reason);
    let then = match (told, closed) {
        (Some((event, false)), _) => {
            format!("{} was told so at {} and kept its entry all the same", case.story.name(event.at), at(event.t))
        }
        (Some((event, true)), _) => format!(
            "{} took its entry out at {}, and yet it was found again",
            case.story.name(event.at),
            at(event.t)
        ),
        (None, Some(event)) => {
            format!("{} saw it go at {} and no registry heard of it", case.story.name(event.at), at(event.t))
        }
        (None, None) => "its gateway never noticed".to_owned(),
    };
    let published = case.hops().rev().find_map(|(event, hop)| match hop {
        Hop::Forwarded { seq, to, .. } if to.iter().any(|place| place.device == device) && event.t <= t => {
            Some((event, *seq))
        }
        _ => None,
    });
    let published = published.map_or(String::new(), |(event, seq)| {
        let Entity::Host(_) = event.at else { return String::new() };
        format!(", so that seq {seq} was published to it at {}", at(event.t))
    });
    Some(format!("{begin}; {then}{published}"))
}
