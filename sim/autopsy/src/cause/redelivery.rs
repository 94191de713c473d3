//! What a shard did about a delivery that was not acked.

use super::delivery::Way;
use crate::story::at;
use squall_history::{Asked, Entity, Hop, Kind};
use squall_protocol::{ConversationId, DeviceId, Seq, limits};
use std::collections::BTreeMap;

/// What came after the publication at `t`, as the second half of a sentence.
pub fn clause(way: &Way<'_>, t: u64) -> String {
    let (case, shard) = (way.case, way.case.shard_name());
    let end = way.end();
    let tries: Vec<u64> = case
        .hops()
        .filter_map(|(event, hop)| match hop {
            Hop::Redelivered { device, head, .. }
                if *device == way.device && *head >= way.seq && (t..end).contains(&event.t) =>
            {
                Some(event.t)
            }
            _ => None,
        })
        .collect();
    let called = case.story.hops().find_map(|(event, hop)| match hop {
        Hop::CalledBack { device, .. } if *device == way.device && event.t >= t && event.t < end => Some(event.t),
        _ => None,
    });
    let stop = case.shard.and_then(|index| case.story.stopped_after(index, t)).filter(|stop| stop.t < end);
    let planned_again = stop.is_some_and(|stop| {
        case.hops()
            .any(|(event, hop)| matches!(hop, Hop::Planned { seq, .. } if *seq == way.seq && event.t > stop.t))
    });
    if let Some(stop) = stop.filter(|stop| !planned_again && tries.last().is_none_or(|last| *last < stop.t)) {
        let restarted = stop.restarted.map_or(String::new(), |t| format!(", was back at {}", at(t)));
        return format!(
            "{shard} {}{restarted} and did not plan it again, though the device had not acked it",
            stop.verb()
        );
    }
    if tries.is_empty() {
        return never(way, t);
    }
    let told = format!("{shard} told the device again {}", listed(&tries));
    let all: Vec<u64> = std::iter::once(t).chain(tries.iter().copied()).chain([end]).collect();
    let longest = all.windows(2).map(|pair| (pair[1] - pair[0], pair[0], pair[1])).max().unwrap_or_default();
    let patience = 2 * limits::REDELIVER_AFTER.as_micros() as u64 + 1_000_000;
    let lost = lost_tries(way, &tries);
    match (called, longest) {
        (Some(called), _) => format!("{told}, and called it back at {}{lost}; after that it gave up", at(called)),
        (None, (gap, from, until)) if gap > patience && until != end => format!(
            "{told}{lost}, and between {} and {}, for {} s, it did nothing",
            at(from),
            at(until),
            gap / 1_000_000
        ),
        (None, (gap, from, _)) if gap > patience => {
            format!("{told}{lost}, and after {} it did nothing for {} s", at(from), gap / 1_000_000)
        }
        _ => format!("{told}{lost}"),
    }
}

/// Few times one by one, many by their first and last.
fn listed(times: &[u64]) -> String {
    match times {
        [first, .., last] if times.len() > 5 => {
            format!("{} times, from {} to {}", times.len(), at(*first), at(*last))
        }
        [all @ .., last] if !all.is_empty() => {
            let all: Vec<String> = all.iter().map(|t| at(*t)).collect();
            format!("at {} and {}", all.join(", "), at(*last))
        }
        [only] => format!("at {}", at(*only)),
        _ => String::new(),
    }
}

/// Whether the tries were lost as well, and where the last one ended.
fn lost_tries(way: &Way<'_>, tries: &[u64]) -> String {
    let handed = way.case.handed(way.device);
    let came =
        tries.iter().filter(|t| handed.iter().any(|(event, _)| event.t >= **t && event.t < **t + 500_000)).count();
    let last = way.case.hops().rev().find_map(|(event, hop)| match hop {
        Hop::Redelivered { device, gateway, head, .. } if *device == way.device && tries.contains(&event.t) => {
            Some((event.t, *gateway, *head))
        }
        _ => None,
    });
    let ended = match last {
        Some((t, gateway, head)) if came == 0 && tries.len() > 1 => {
            format!(" (the last one: {})", way.lost_where(t, gateway, head))
        }
        _ => String::new(),
    };
    match (came, tries.len()) {
        (0, 1) => ", which was lost, too".to_owned(),
        (0, _) => format!(", which were all lost, too{ended}"),
        _ => String::new(),
    }
}

/// Nothing was ever told again.
fn never(way: &Way<'_>, t: u64) -> String {
    let (case, shard) = (way.case, way.case.shard_name());
    let patience = limits::REDELIVER_AFTER.as_micros() as u64 + 1_000_000;
    if let Some(shown) = case.displayed(way.device, way.seq).filter(|shown| *shown < t + patience) {
        return format!("the device showed it at {}, before {shard} had told it again", at(shown));
    }
    let reconnected = case.story.hops().rev().find_map(|(event, hop)| match hop {
        Hop::HeadsAsked { device, .. }
            if *device == way.device
                && event.t < t
                && case.shard.is_none_or(|shard| event.at == Entity::Host(shard)) =>
        {
            Some(event.t)
        }
        _ => None,
    });
    // An earlier delivery that had no ack when the device came back: its debt was open.
    let open = reconnected.filter(|reconnected| {
        let owed = case.hops().rev().find_map(|(event, hop)| match hop {
            Hop::Forwarded { seq, to, .. } if event.t < *reconnected && to.iter().any(|p| p.device == way.device) => Some((event.t, *seq)),
            _ => None,
        });
        owed.is_some_and(|(sent, seq)| {
            let acked = case.hops().any(|(event, hop)| {
                matches!(hop, Hop::Received { device, asked: Asked::Ack { up_to }, .. }
                    if *device == way.device && *up_to >= seq && event.at == Entity::Host(case.shard.unwrap_or_default())
                        && event.t >= sent && event.t < *reconnected)
            });
            !acked
        })
    });
    let shard_index = case.shard.map(Entity::Host);
    let others: Vec<u64> = case
        .story
        .hops()
        .filter(|(event, hop)| matches!(hop, Hop::Redelivered { .. }) && Some(event.at) == shard_index)
        .map(|(event, _)| event.t)
        .collect();
    if let Some(forgotten) = forgotten(way, t) {
        return format!("{shard}, which had no ack for it, never told the device again{forgotten}");
    }
    if others.is_empty() {
        return format!(
            "{shard}, which had no ack for it, never told the device again, nor anybody else anything"
        );
    }
    if let Some(reconnected) = open.filter(|_| case.story.connections(way.device).len() > 1) {
        return format!(
            "{shard} has told the device nothing again since it reconnected at {}, when an earlier entry was still unacked",
            at(reconnected)
        );
    }
    let later = others.iter().filter(|told| **told > t).count();
    format!("{shard}, which had no ack for it, never told the device again, though it told others {later} times")
}

/// A debt that is as old as this has been seen when a shard last looked how many it has, in µs.
const SEEN_US: u64 = 2_000_000;
/// For how long after a publication it is looked for, in s.
const LOOKED_FOR_S: u64 = 10;

/// More was owed to the shard, at some time after the publication at `t`, than it ever knew of.
fn forgotten(way: &Way<'_>, t: u64) -> Option<String> {
    let shard = Entity::Host(way.case.shard?);
    let (known_at, known) = way.case.story.hops().rev().find_map(|(event, hop)| match hop {
        Hop::MoreThanEver { what: "open debts", items } if event.at == shard => Some((event.t, *items)),
        _ => None,
    })?;
    let looks = (0..=LOOKED_FOR_S).map(|s| t + s * 1_000_000).filter(|look| *look <= way.end());
    let (owed_at, owed) = looks.map(|look| (look, owed(way, shard, look))).max_by_key(|(_, owed)| *owed)?;
    (owed > known).then(|| {
        format!(
            ": at {} it was owed {owed} acks, each by a device for a conversation, and it knew of {known} debts at the most (at {}), so that others were forgotten",
            at(owed_at),
            at(known_at)
        )
    })
}

/// How many devices owe a shard an ack for some conversation at this time, each for a while and on one connection.
fn owed(way: &Way<'_>, shard: Entity, until: u64) -> u64 {
    let mut open: BTreeMap<(DeviceId, ConversationId), (u64, Seq)> = BTreeMap::new();
    for event in way.case.story.events.iter().take_while(|event| event.t <= until) {
        match (&event.kind, event.at) {
            (Kind::Publish { conversation, seq, devices }, at) if at == shard => {
                for device in devices {
                    open.entry((*device, *conversation)).or_insert((event.t, *seq)).1 = *seq;
                }
            }
            (Kind::Ack { conversation, up_to }, Entity::Device(device)) => {
                let key = (device, *conversation);
                if open.get(&key).is_some_and(|(_, last)| up_to >= last) {
                    open.remove(&key);
                }
            }
            // It learns from heads what it lacks.
            (Kind::Connect { .. } | Kind::Disconnect { .. }, Entity::Device(device)) => {
                open.retain(|(of, _), _| *of != device);
            }
            _ => {}
        }
    }
    open.values().filter(|(since, _)| since + SEEN_US <= until).count() as u64
}
