//! What a device was shown or sent and ought not to have been, or not yet.

use crate::case::{Case, has};
use crate::story::at;
use squall_history::{Asked, Hop, Kind, Told};
use squall_protocol::{DeviceId, Seq, UserId, limits};

/// How an entry came to a device.
struct Came {
    t: u64,
    by_page: bool,
    first: Seq,
    /// A gateway gave it, of a channel that it follows, and not the shard.
    gateway: Option<String>,
}

fn came(case: &Case<'_>, device: DeviceId, seq: Seq) -> Option<Came> {
    let of_shard = case.hops().find_map(|(event, hop)| match hop {
        Hop::Answered { device: of, told: Told::Page { held, .. }, .. } if *of == device && has(held, seq) => {
            let first = held.first().map_or(seq, |arrived| arrived.seq);
            Some(Came { t: event.t, by_page: true, first, gateway: None })
        }
        Hop::Forwarded { seq: of, to, .. } if *of == seq && to.iter().any(|place| place.device == device) => {
            Some(Came { t: event.t, by_page: false, first: seq, gateway: None })
        }
        _ => None,
    });
    of_shard.or_else(|| {
        case.hops().find_map(|(event, hop)| match hop {
            Hop::Handed {
                device: of,
                told: told @ (Told::Page { held, .. } | Told::Deliver { held, .. }),
                ..
            } if *of == device && has(held, seq) => {
                let first = held.first().map_or(seq, |arrived| arrived.seq);
                let gateway = Some(case.story.name(event.at));
                Some(Came { t: event.t, by_page: matches!(told, Told::Page { .. }), first, gateway })
            }
            _ => None,
        })
    })
}

/// Shown to somebody who is no member there.
pub fn cause(case: &Case<'_>) -> Option<String> {
    let (seq, device) = (case.subject.seq?, case.subject.device?);
    let user = case.story.user_of(device)?;
    let came = came(case, device, seq)?;
    Some(not_theirs(case, seq, device, user, &came))
}

fn not_theirs(case: &Case<'_>, seq: Seq, device: DeviceId, user: UserId, came: &Came) -> String {
    let shard = case.shard_name();
    let how = match (&came.gateway, came.by_page) {
        (Some(gateway), true) => format!(
            "the page that {gateway} gave device {device} at {} of what it keeps of the channel, without asking {shard}, holds seq {seq}",
            at(came.t)
        ),
        (Some(gateway), false) => {
            format!("{gateway}, which follows the channel, told device {device} at {} of seq {seq}", at(came.t))
        }
        (None, true) => format!("the page that {shard} gave device {device} at {} holds seq {seq}", at(came.t)),
        (None, false) => format!("{shard} published seq {seq} at {} to device {device}", at(came.t)),
    };
    // What was stored later could not be known.
    let known = |seq: Seq| {
        case.entry(seq).and_then(|placed| placed.committed.or(placed.staged)).is_none_or(|t| t <= came.t)
    };
    let mut stays = case.stays(user);
    stays.retain(|stay| known(stay.joined));
    let before = stays.iter().rev().find(|stay| stay.left.is_some_and(|left| left < seq));
    let after = stays.iter().find(|stay| stay.joined > seq);
    let newcomer = |joined: Seq, from: Seq| {
        format!(
            "joined at seq {joined} and may see what is from seq {from} on, the last {} entries before",
            limits::NEWCOMER_HISTORY
        )
    };
    match (before, after) {
        (None, None) if stays.is_empty() => {
            format!("{how}, though user {user} has never been a member: nobody asked whether they are")
        }
        (Some(left), Some(back)) => format!(
            "{how} and begins at seq {}, though that was written while user {user} was gone: they left at seq {}, and when they came back they {}",
            came.first,
            left.left.unwrap_or_default(),
            newcomer(back.joined, back.from)
        ),
        (Some(left), None) => {
            format!("{how}, though user {user} had left at seq {}", left.left.unwrap_or_default())
        }
        (None, Some(first)) => {
            format!(
                "{how} and begins at seq {}, though user {user} {}",
                came.first,
                newcomer(first.joined, first.from)
            )
        }
        (None, None) => format!("{how}, at which user {user} may not look"),
    }
}

/// What reached a device's wire and was not for it, or was left out of what it was told.
pub fn on_the_wire(case: &Case<'_>) -> Option<String> {
    let (seq, device) = (case.subject.seq?, case.subject.device?);
    let asked = case.hops().rev().find_map(|(event, hop)| match hop {
        Hop::Answered { device: of, told: Told::Page { from, to, held, .. }, .. }
            if *of == device && has(held, seq) && seq < *from && event.t <= case.subject.t =>
        {
            Some((event.t, *from, *to, held.first().map_or(seq, |arrived| arrived.seq)))
        }
        _ => None,
    });
    if let Some((t, from, _, first)) = asked {
        let since = Seq(from.0.saturating_sub(1));
        let request = case.hops().rev().find_map(|(event, hop)| match hop {
            Hop::Received { device: of, asked: Asked::Sync { since: of_seq }, .. }
                if *of == device && *of_seq == since && event.t <= t =>
            {
                Some(event.t)
            }
            _ => None,
        });
        let when = request.map_or(String::new(), |request| format!(" at {}", at(request)));
        return Some(format!(
            "asked{when} for what comes after seq {since}, {} gave device {device} at {} a page that begins at seq {first}, before what was asked for, and holds seq {seq}, which its user may not see",
            case.shard_name(),
            at(t)
        ));
    }
    cause(case).or_else(|| super::delivery::cause(case))
}

/// A device that shows a place before the one that comes next.
pub fn ahead(case: &Case<'_>) -> Option<String> {
    let (seq, device) = (case.subject.seq?, case.subject.device?);
    let shown: Vec<(u64, Seq)> = case
        .of_device(device)
        .filter_map(|event| match &event.kind {
            Kind::Display { seq, .. } => Some((event.t, *seq)),
            _ => None,
        })
        .collect();
    let index = shown.iter().position(|(t, of)| *of == seq && *t >= case.subject.t.min(*t))?;
    let (t, _) = shown[index];
    let before = shown[..index].iter().map(|(_, seq)| *seq).max().unwrap_or(Seq::ZERO);
    if before.next() >= seq {
        return None;
    }
    let missing = before.next();
    let asked = case
        .of_device(device)
        .any(|event| matches!(event.kind, Kind::Sync { .. }) && event.t <= t && event.t + 1_000_000 > t);
    let why = lacking(case, device, missing, t);
    Some(format!(
        "device {device} took seq {seq}, which came at {}, for what follows seq {before}, though it lacked seq {missing}{why}{}",
        at(t),
        if asked { "" } else { ", and asked for nothing" }
    ))
}

/// Why a device lacks a place, as a clause.
pub fn lacking(case: &Case<'_>, device: DeviceId, seq: Seq, t: u64) -> String {
    let forwarded = case.hops().rev().find_map(|(event, hop)| match hop {
        Hop::Forwarded { seq: of, to, .. }
            if *of == seq && event.t <= t && to.iter().any(|place| place.device == device) =>
        {
            Some(event.t)
        }
        _ => None,
    });
    if let Some(forwarded) = forwarded {
        return match case
            .story
            .connections(device)
            .into_iter()
            .find(|c| c.until.is_some_and(|until| until >= forwarded && until <= t))
        {
            Some(gone) => format!(
                " (published at {}, and lost with the connection that ended at {}: {})",
                at(forwarded),
                at(gone.until.unwrap_or_default()),
                gone.reason
            ),
            None => format!(" (published at {}, which had not come)", at(forwarded)),
        };
    }
    let committed = case.entry(seq).and_then(|placed| placed.committed.or(placed.staged));
    match committed {
        Some(committed) if case.connected(device, committed).is_none() => {
            format!(" (stored at {}, while the device was away)", at(committed))
        }
        Some(committed) => format!(" (stored at {} and not published to it)", at(committed)),
        None => String::new(),
    }
}
