//! A message that was acked or shown, and whose place holds nothing or something else.

use crate::case::Case;
use crate::log::Placed;
use crate::story::at;
use squall_history::{Entity, Hop, Kind, Told};
use squall_protocol::{ClientMsgId, Seq};

pub fn cause(case: &Case<'_>) -> Option<String> {
    let (loser, seq) = loser(case)?;
    let whose = match case.subject.message {
        Some(message) if message == loser => String::new(),
        _ => format!("{}: ", case.short(loser)),
    };
    answered_with_anothers_place(case, loser, seq)
        .or_else(|| misread(case, seq))
        .or_else(|| lost(case, loser, seq))
        .map(|sentence| format!("{whose}{sentence}"))
}

/// Of the messages that had the place, the one that lost it: it had it first, or thought that it had it.
fn loser(case: &Case<'_>) -> Option<(ClientMsgId, Seq)> {
    let seq = case.subject.seq.or_else(|| case.acked(case.subject.message?).map(|(_, seq)| seq))?;
    if case.subject.property == "acked-is-durable" {
        return Some((case.subject.message?, seq));
    }
    // A message that was told this place and never had it, before one that had it.
    let told = case.hops().find_map(|(_, hop)| match hop {
        Hop::Recognised { client_msg_id, seq: of, .. }
            if *of == seq && !case.places(*client_msg_id).iter().any(|placed| placed.seq == seq) =>
        {
            Some(*client_msg_id)
        }
        _ => None,
    });
    if let Some(message) = told {
        return Some((message, seq));
    }
    let there = case.at_place(seq);
    match there.as_slice() {
        [first, _, ..] => Some((first.message, seq)),
        [only] if case.subject.property != "dense-sequence" => Some((only.message, seq)),
        // Pages that exchange entries exchange two.
        [only] if misread(case, seq).is_some() => Some((only.message, seq)),
        _ => None,
    }
}

fn answered_with_anothers_place(case: &Case<'_>, message: ClientMsgId, seq: Seq) -> Option<String> {
    let (event, _) = case.hops().find(|(_, hop)| {
        matches!(hop, Hop::Recognised { client_msg_id, seq: of, .. } if (*client_msg_id, *of) == (message, seq))
    })?;
    let other = case.at_place(seq).into_iter().find(|placed| placed.message != message)?;
    if case.places(message).iter().any(|placed| placed.seq == seq) {
        return None;
    }
    let (sender, author) = (case.sender(message)?, other.author?);
    let same_user = case.story.user_of(sender) == case.story.user_of(author);
    let whose = if same_user && sender != author { "another device of the same user" } else { "another message" };
    let number =
        other.number.map_or(String::new(), |number| format!("; both are number {number} of their device"));
    Some(format!(
        "{} took it at {} for a copy of {}, {whose}{number}, and acked it with that one's place, seq {seq}, without storing it",
        case.shard_name(),
        at(event.t),
        case.short(other.message),
    ))
}

/// A page or delivery that shows at this place another message than the shard had put there, both of which are on the disk.
pub fn misread(case: &Case<'_>, seq: Seq) -> Option<String> {
    let stands = case.at_place(seq);
    let [stored] = stands.as_slice() else { return None };
    let (t, message, stamp) = case.hops().find_map(|(event, hop)| match hop {
        Hop::Answered { told: Told::Page { held, .. }, .. } => {
            let there = held.iter().find(|arrived| arrived.seq == seq)?;
            (there.client_msg_id != stored.message).then_some((event.t, there.client_msg_id, there.stored_at_ms))
        }
        _ => None,
    })?;
    let own = case.places(message).first().map(|placed| (placed.seq, placed.committed.or(placed.staged)))?;
    let stored_stamp = stored.logged.map(|(stamp, _)| stamp);
    let by_stamps = stored_stamp.is_some_and(|other| (stamp < other) == (own.0 > seq));
    let order = if by_stamps { ", in the order of their time stamps" } else { "" };
    let clock = case.story.events.iter().rev().find_map(|event| match &event.kind {
        Kind::Fault { name, active: true, harm, .. }
            if event.t < t
                && case.shard.is_some_and(|shard| harm.hosts.contains(&shard))
                && name.contains("clock") =>
        {
            Some(format!(", after the fault \"{name}\" had set its clock at {}", at(event.t)))
        }
        _ => None,
    });
    Some(format!(
        "{} stored {} at seq {} and read it back at {} as seq {seq}{order}{}",
        case.shard_name(),
        case.short(message),
        own.0,
        at(t),
        clock.unwrap_or_default()
    ))
}

/// When a message was first published.
fn published(case: &Case<'_>, seq: Seq, from: u64) -> Option<u64> {
    case.hops().find_map(|(event, hop)| match hop {
        Hop::Forwarded { seq: of, .. } if *of == seq && event.t >= from => Some(event.t),
        _ => None,
    })
}

/// How a place was lost.
fn lost(case: &Case<'_>, message: ClientMsgId, seq: Seq) -> Option<String> {
    let placed = case.places(message).into_iter().find(|placed| placed.seq == seq)?;
    let shard = placed.shard.or(case.shard)?;
    let name = case.story.host(shard);
    let staged = placed.staged.unwrap_or_default();
    let successor =
        case.at_place(seq).into_iter().find(|other| other.message != message && other.staged > placed.staged);
    let until = successor.and_then(|other| other.staged).unwrap_or(u64::MAX);
    let acked = case.answers(message).into_iter().find_map(|(event, told)| match told {
        Told::Sent { seq: of, .. } if *of == seq => Some(event.t),
        _ => None,
    });
    let stop = case.story.stops(shard).into_iter().find(|stop| stop.t >= staged && stop.t < until);
    let published = published(case, seq, staged).filter(|t| stop.is_none_or(|stop| *t <= stop.t) && *t < until);
    let committed = placed.committed.filter(|t| *t < until);
    let told = match (acked, published) {
        (Some(acked), Some(published)) if published < acked => {
            format!("published at {} and acked at {}", at(published), at(acked))
        }
        (Some(acked), _) => format!("acked at {}", at(acked)),
        (None, Some(published)) => format!("published at {}", at(published)),
        (None, None) => "given its place".to_owned(),
    };
    let early = acked.into_iter().chain(published).min().unwrap_or(staged);
    let how = stop.map_or_else(|| "has lost it since".to_owned(), |stop| stop.verb());
    let again = successor.map_or(String::new(), |other| {
        format!(
            "; seq {seq} was given again at {} to {}",
            at(other.staged.unwrap_or_default()),
            case.short(other.message)
        )
    });
    if let (Some(failed), Some(read)) = (placed.failed, placed.found.first()) {
        return Some(format!(
            "{told} by {name}, whose commit of it had failed at {}; what was read back at {} was not on the disk, and {name} {how}{again}",
            at(failed),
            at(*read)
        ));
    }
    if committed.is_none_or(|committed| early < committed) && stop.is_some() {
        let begun = match (committed, placed.committing) {
            (Some(committed), _) => format!("before its commit of {} was done", at(committed)),
            (None, Some(committing)) => format!("before its commit, begun at {}, was done", at(committing)),
            (None, None) => "before its commit had begun".to_owned(),
        };
        return Some(format!("{told} by {name} {begun}; it {how}, and the message was gone{again}"));
    }
    let (committed, stop) = (committed?, stop?);
    if placed.synced.is_none() {
        return Some(format!(
            "{told} by {name}, whose commit of {} was not on disk, for the disk had synced nothing of it, when it {how}{again}",
            at(committed)
        ));
    }
    let recovered = case.story.hops().find_map(|(event, hop)| match hop {
        Hop::Recovered { entries, .. } if event.at == Entity::Host(shard) && event.t > stop.t => {
            Some((event.t, *entries))
        }
        _ => None,
    });
    if let Some((t, 0)) = recovered {
        return Some(format!(
            "{told} by {name} and on its disk since {}; after it {how} it came back at {} with an empty database, begun anew{again}",
            at(committed),
            at(t)
        ));
    }
    let failed = case.story.hops().find_map(|(event, hop)| match hop {
        Hop::DiskFailed if event.at == Entity::Host(shard) && event.t < stop.t => Some(event.t),
        _ => None,
    });
    if let (Some(failed), None) = (failed, successor) {
        let read = case.story.hops().find_map(|(event, hop)| match hop {
            Hop::Recovered { .. } if event.at == Entity::Host(shard) && event.t >= failed => Some(event.t),
            _ => None,
        });
        let back = match recovered {
            Some((t, _)) => format!("was back at {} without it", at(t)),
            None => "could not read its disk any more".to_owned(),
        };
        return Some(format!(
            "{told} by {name} and committed at {}; a commit of {name} failed at {}, and it went on{} from what it read back, which the disk did not have: when it {how}, it {back}",
            at(committed),
            at(failed),
            read.map_or(String::new(), |read| format!(" at {}", at(read)))
        ));
    }
    let restart = recovered.map_or(String::new(), |(t, _)| format!(" and was back at {}", at(t)));
    if let Some(successor) = successor {
        return Some(reused(case, placed, successor, &name, &format!("{how}{restart}")));
    }
    Some(format!("{told} by {name} and committed at {}; it {how}{restart}, and the entry is gone", at(committed)))
}

fn reused(case: &Case<'_>, placed: &Placed, successor: &Placed, name: &str, how: &str) -> String {
    let on_disk = placed.logged.is_some()
        || placed.found.iter().any(|t| Some(*t) < successor.staged)
        || placed.synced.is_some();
    format!(
        "{name} {how}, counted from one behind, and gave seq {} at {} to {}, though {} {} there since {}",
        placed.seq,
        at(successor.staged.unwrap_or_default()),
        case.short(successor.message),
        case.short(placed.message),
        if on_disk { "was on its disk" } else { "had been committed" },
        at(placed.committed.or(placed.staged).unwrap_or_default())
    )
}
