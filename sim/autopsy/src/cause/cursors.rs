//! A cursor that stands where no device of its user has been, or goes back. Users have mostly one.

use crate::case::Case;
use crate::story::at;
use squall_history::{Asked, Entity, Hop, Kind};
use squall_protocol::{DeviceId, Seq};

pub fn cause(case: &Case<'_>) -> Option<String> {
    let (device, seq) = (case.subject.device?, case.subject.seq?);
    match case.subject.property.as_str() {
        "cursor-never-back" => went_back(case, device, seq),
        "cursor-follows-acks" => stayed_behind(case, device, seq),
        _ => acked_ahead(case, device, seq).or_else(|| moved_unasked(case, device)),
    }
}

/// When an ack of the device came to its shard.
fn acks(case: &Case<'_>, device: DeviceId, role: &'static str) -> Vec<(u64, Seq, Entity)> {
    let story = case.story;
    case.hops()
        .filter_map(|(event, hop)| match hop {
            Hop::Received { device: of, asked: Asked::Ack { up_to }, .. }
                if *of == device && matches!(event.at, Entity::Host(host) if story.has_role(host, role)) =>
            {
                Some((event.t, *up_to, event.at))
            }
            _ => None,
        })
        .collect()
}

/// The device itself acked more than it had shown.
fn acked_ahead(case: &Case<'_>, device: DeviceId, seq: Seq) -> Option<String> {
    let (mut shown, mut ahead) = (Seq::ZERO, None);
    for event in case.of_device(device) {
        match &event.kind {
            Kind::Display { seq, .. } => shown = shown.max(*seq),
            Kind::Skip { to, .. } => shown = shown.max(*to),
            Kind::Ack { up_to, .. } if *up_to > shown && ahead.is_none() => ahead = Some((event.t, *up_to, shown)),
            _ => {}
        }
    }
    let (t, up_to, shown) = ahead?;
    let _ = seq;
    let got = case.of_device(device).find_map(|event| match &event.kind {
        Kind::Deliver { held, .. } if event.t <= t && held.iter().any(|arrived| arrived.seq == up_to) => {
            Some(event.t)
        }
        _ => None,
    });
    let got = got.map_or(String::new(), |got| format!(", which had come at {}", at(got)));
    Some(format!(
        "device {device} acked up to seq {up_to}{got}, at {}, though it had shown only up to seq {shown}: it lacked seq {}",
        at(t),
        shown.next()
    ))
}

/// The shard moved the cursor further than any ack.
fn moved_unasked(case: &Case<'_>, device: DeviceId) -> Option<String> {
    let acks = acks(case, device, "messages-");
    let user = case.story.user_of(device)?;
    let (t, up_to, acked) = case.events().find_map(|event| match &event.kind {
        Kind::Cursor { user: of, up_to, .. } if *of == user => {
            let acked =
                acks.iter().filter(|(t, ..)| *t <= event.t).map(|(_, up_to, _)| *up_to).max().unwrap_or(Seq::ZERO);
            (*up_to > acked).then_some((event.t, *up_to, acked))
        }
        _ => None,
    })?;
    let asked = case.story.hops().rev().find_map(|(event, hop)| match hop {
        Hop::HeadsAsked { device: of, .. }
            if *of == device && event.t <= t && case.shard.is_none_or(|shard| event.at == Entity::Host(shard)) =>
        {
            Some(event.t)
        }
        _ => None,
    });
    let published = super::receipts::published(case, user, up_to, t)
        .filter(|(published, _)| asked.is_none_or(|asked| asked < *published));
    if let Some((published, to)) = published {
        return Some(format!(
            "{} moved the cursor of user {user} to seq {up_to} with its commit of {} after it had published that for device {to} at {}: what was handed to the bus was taken for delivered; their devices had acked up to seq {acked} only",
            case.shard_name(),
            at(t),
            at(published)
        ));
    }
    let after = asked.map_or(String::new(), |asked| {
        format!(" after the device had connected and was told its conversations at {}", at(asked))
    });
    Some(format!(
        "{} moved the cursor of device {device} to seq {up_to} with its commit of {}{after}; the device had acked up to seq {acked} only",
        case.shard_name(),
        at(t)
    ))
}

/// An older ack that came later moved the cursor back.
fn went_back(case: &Case<'_>, device: DeviceId, seq: Seq) -> Option<String> {
    let acks = acks(case, device, "messages-");
    let (t, up_to, _) = acks.iter().rev().find(|(t, up_to, _)| *up_to == seq && *t <= case.subject.t).copied()?;
    let later = acks.iter().rev().find(|(earlier, higher, _)| *earlier <= t && *higher > seq)?;
    let sent = case.of_device(device).find_map(|event| match &event.kind {
        Kind::Ack { up_to: of, .. } if *of == seq => Some(event.t),
        _ => None,
    });
    let way = acks_by_gateway(case, device, seq, t);
    let sent = sent.map_or(String::new(), |sent| format!(", which the device had sent at {}{way}", at(sent)));
    Some(format!(
        "the ack up to seq {up_to}{sent}, came to {} at {}, later than the one up to seq {} of {}, and moved the cursor back",
        case.shard_name(),
        at(t),
        later.1,
        at(later.0)
    ))
}

/// An ack moved no cursor: where its way ends.
fn stayed_behind(case: &Case<'_>, device: DeviceId, seq: Seq) -> Option<String> {
    let sent = case.of_device(device).rev().find_map(|event| match &event.kind {
        Kind::Ack { up_to, .. } if *up_to == seq && event.t <= case.subject.t => Some(event.t),
        _ => None,
    })?;
    let came = |role| acks(case, device, role).into_iter().find(|(t, up_to, _)| *up_to == seq && *t >= sent);
    let began = format!("the ack up to seq {seq}, which device {device} sent at {},", at(sent));
    let Some((passed, _, gateway)) = came("gateway-") else {
        return Some(format!("{began} never came to a gateway"));
    };
    let (gateway, shard) = (case.story.name(gateway), case.shard_name());
    Some(match came("messages-") {
        None => format!("{began} was passed on by {gateway} at {} and never came to {shard}", at(passed)),
        Some((t, _, host)) if case.story.name(host) != shard => format!(
            "{began} was passed on by {gateway} to {} (at {}), which does not have the conversation: {shard} has it, and never heard of the ack",
            case.story.name(host),
            at(t)
        ),
        Some((t, ..)) if has_left(case, device, seq, t) => {
            let shown = super::shown::cause(case)?;
            format!(
                "{shown}; the ack up to seq {seq} of {}, which came to {shard} at {}, moves no cursor, for that goes no further than its user may see",
                at(sent),
                at(t)
            )
        }
        Some((t, ..)) => {
            format!("{began} came to {shard} at {}, which has not moved the cursor so far since", at(t))
        }
    })
}

/// Whether the device's user had left before this place, at a time.
fn has_left(case: &Case<'_>, device: DeviceId, seq: Seq, t: u64) -> bool {
    let left = case.story.user_of(device).and_then(|user| super::typing::gone(case, user, t));
    left.is_some_and(|(left, _)| left < seq)
}

fn acks_by_gateway(case: &Case<'_>, device: DeviceId, seq: Seq, until: u64) -> String {
    let by = acks(case, device, "gateway-").into_iter().rev().find(|(t, up_to, _)| *up_to == seq && *t <= until);
    by.map_or(String::new(), |(t, _, host)| format!(" and {} had passed on at {}", case.story.name(host), at(t)))
}
