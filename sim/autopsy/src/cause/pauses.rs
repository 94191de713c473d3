//! An entry that came at last, and late: between which two steps its way stood still.

use super::delivery::Way;
use crate::story::at;
use squall_history::{Asked, Entity, Hop, Kind, Told};

/// A pause that explains nothing else: longer than any step of a healthy way takes, and less than any patience of the system.
const LONG_US: u64 = 4_000_000;

/// Where it stood still before it was first handed to the bus for the device; what came after that is told by what was told again.
pub fn before_publication(way: &Way<'_>) -> Option<String> {
    let end = way.end();
    let mut steps: Vec<(u64, String, Option<u16>)> =
        vec![(way.since, "it was on disk".to_owned(), way.case.shard)];
    let mut add = |t: u64, what: String, host: Option<u16>| {
        if t >= way.since && t <= end {
            steps.push((t, what, host));
        }
    };
    let planned = way.case.hops().find_map(|(event, hop)| match hop {
        Hop::Planned { seq, users, registry, .. }
            if *seq == way.seq && users.contains(&way.user) && event.t >= way.since =>
        {
            Some((event.t, *registry))
        }
        _ => None,
    });
    if let Some((t, registry)) = planned {
        add(
            t,
            format!("registry-{registry} was first asked for its readers"),
            way.case.story.registry_of(way.user),
        );
    }
    let looked_up = way.case.hops().find_map(|(event, hop)| match hop {
        Hop::LookedUp { seq, found, registry, .. }
            if *seq == way.seq && found.iter().any(|place| place.device == way.device) =>
        {
            Some((event.t, *registry))
        }
        _ => None,
    });
    if let Some((t, registry)) = looked_up {
        add(t, format!("registry-{registry} said where device {} is", way.device), way.case.shard);
    }
    let (published, _) = way.forwarded().first().copied()?;
    add(published, "it was first handed to the bus for the device".to_owned(), None);
    steps.sort_by_key(|(t, ..)| *t);
    let (from, to) = steps.iter().zip(steps.iter().skip(1)).max_by_key(|(from, to)| to.0 - from.0)?;
    let pause = to.0 - from.0;
    // A device that was not there could not be found.
    let away = way.case.connected(way.device, from.0).is_none();
    if pause < LONG_US || pause * 2 < end.saturating_sub(way.since) || away {
        return None;
    }
    let fault = from.2.map_or(String::new(), |host| way.case.story.while_faults(host, from.0));
    let stop = way.case.shard.and_then(|shard| way.case.story.stopped_between(shard, from.0, to.0));
    let stopped = stop.map_or(String::new(), |stop| format!(", while {} {}", way.case.shard_name(), stop.verb()));
    Some(format!(
        "its way stood still for {} s: {} at {}, and only at {} {}{fault}{stopped}",
        pause / 1_000_000,
        from.1,
        at(from.0),
        at(to.0),
        to.1
    ))
}

/// The device was told where the log ends, and what became of its asking.
pub fn after_heads(way: &Way<'_>, told: u64) -> Option<String> {
    let (case, end) = (way.case, way.end());
    let asked: Vec<u64> = case
        .of_device(way.device)
        .filter(|event| {
            (told..=end).contains(&event.t) && matches!(event.kind, Kind::Sync { since, .. } if since < way.seq)
        })
        .map(|event| event.t)
        .collect();
    let began = format!("{} told device {} at {} how far the log goes", case.shard_name(), way.device, at(told));
    let Some((first, last)) = asked.first().zip(asked.last()) else {
        return Some(format!("{began}{}", unasked(way, told)));
    };
    let asked = match asked.len() {
        1 => format!("{began}; it asked for the rest at {}", at(*first)),
        n => format!("{began}; it asked for the rest {n} times, from {} to {}", at(*first), at(*last)),
    };
    let came = |role: &str| {
        case.hops().rev().find_map(|(event, hop)| match hop {
            Hop::Received { device, asked: Asked::Sync { since }, .. }
                if *device == way.device
                    && *since < way.seq
                    && event.t >= told
                    && event.t <= end
                    && matches!(event.at, Entity::Host(host) if case.story.has_role(host, role)) =>
            {
                Some(event)
            }
            _ => None,
        })
    };
    let Some(at_shard) = came("messages-") else {
        let at_gateway = came("gateway-");
        let fault = case.shard.map_or(String::new(), |shard| case.story.while_faults(shard, *last));
        return Some(match at_gateway {
            Some(event) => format!(
                "{asked}, which came to {} at {} and never to {}{fault}",
                case.story.name(event.at),
                at(event.t),
                case.shard_name()
            ),
            None => format!("{asked}, which never came to a gateway"),
        });
    };
    let answered = case.hops().rev().find_map(|(event, hop)| match hop {
        Hop::Answered { device, told: told @ (Told::Page { .. } | Told::Error { .. }), .. }
            if *device == way.device && event.t >= *first && event.t <= end =>
        {
            Some((event.t, told))
        }
        _ => None,
    });
    let shard = case.shard_name();
    Some(match answered {
        None => format!("{asked}, which came to {shard} at {}, and it answered nothing", at(at_shard.t)),
        Some((t, Told::Error { code })) => {
            let stay = case.stays(way.user).into_iter().rev().find(|stay| stay.covers(way.seq));
            let may = stay.map_or(String::new(), |stay| match stay.left {
                Some(left) => format!(
                    ", though user {}, who left at seq {left}, may see what is there up to their leaving",
                    way.user
                ),
                None => format!(", though user {} is a member since seq {}", way.user, stay.joined),
            });
            format!("{asked}, and {shard} refused to answer at {} ({code}){may}", at(t))
        }
        Some((t, Told::Page { from, to, held, head })) => {
            let handed = case
                .handed(way.device)
                .into_iter()
                .rev()
                .find(|(event, told)| event.t >= t && matches!(told, Told::Page { .. }));
            let way_of_page = match handed {
                Some((event, _)) => match case
                    .story
                    .connections(way.device)
                    .into_iter()
                    .find(|c| c.until.is_some_and(|until| until >= event.t))
                {
                    Some(gone) => format!(
                        "handed on by {} at {}, it was lost with the connection that ended at {} ({})",
                        case.story.name(event.at),
                        at(event.t),
                        at(gone.until.unwrap_or_default()),
                        gone.reason
                    ),
                    None => format!(
                        "handed on by {} at {}, it did not end what the device lacks",
                        case.story.name(event.at),
                        at(event.t)
                    ),
                },
                None => "it never came to the device's gateway".to_owned(),
            };
            format!(
                "{asked}; the last answer of {shard}, at {}, was a page of seq {from} to {to} with {} entries, of a log up to {head}: {way_of_page}",
                at(t),
                held.len()
            )
        }
        Some(_) => return None,
    })
}

/// The device has asked for nothing of what the heads named: whether it had them, and what it knew.
fn unasked(way: &Way<'_>, told: u64) -> String {
    let case = way.case;
    let handed = case.hops().find_map(|(event, hop)| match hop {
        Hop::HeadsHanded { device, head, .. } if *device == way.device && *head >= way.seq && event.t >= told => {
            Some(event)
        }
        _ => None,
    });
    let connection = case.story.connections(way.device).into_iter().rev().find(|c| c.from <= way.end());
    let Some(handed) = handed else {
        let gateway = connection.map_or("its gateway".to_owned(), |c| format!("gateway-{}", c.gateway));
        let fault =
            case.story.index_of(&gateway).map_or(String::new(), |index| case.story.while_faults(index, told));
        return format!(", and {gateway} never handed that on to the device{fault}");
    };
    let lost =
        case.story.connections(way.device).into_iter().find(|c| c.until.is_some_and(|until| until >= handed.t));
    let name = case.story.name(handed.at);
    let known = case.of_device(way.device).any(|event| {
        event.t < handed.t && matches!(event.kind, Kind::Display { .. } | Kind::Send { .. } | Kind::Deliver { .. })
    });
    let unknown = if known { "" } else { ", in which it had shown nothing before" };
    match lost {
        Some(gone) => format!(
            "; {name} handed that on at {}, and it was lost with the connection that ended at {} ({})",
            at(handed.t),
            at(gone.until.unwrap_or_default()),
            gone.reason
        ),
        None => format!(
            "; {name} handed that on to the device at {}, and the device has not asked for anything of this conversation{unknown}",
            at(handed.t)
        ),
    }
}
