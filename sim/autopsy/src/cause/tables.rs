//! Tables of a disk that say different things of an entry: the commit that wrote it, and what was special about it.

use crate::case::Case;
use crate::log::Placed;
use crate::story::at;
use squall_history::{Asked, Entity, Hop, What};
use squall_protocol::limits::INDEX_CHUNK;
use squall_protocol::{DeviceId, Seq};

pub fn cause(case: &Case<'_>) -> Option<String> {
    let seq = case.subject.seq?;
    let placed = case.entry(seq);
    match case.subject.device {
        Some(device) if placed.is_none_or(|placed| placed.author != Some(device)) => cursor(case, device, seq),
        Some(device) => Some(row_of_device(case, device, placed?)),
        None => Some(row_of_conversation(case, placed?)),
    }
}

/// A device's row does not have this message of it.
fn row_of_device(case: &Case<'_>, device: DeviceId, placed: &Placed) -> String {
    let number = placed.number.map_or(String::new(), |number| format!("number {number} of device {device}"));
    format!(
        "the row of device {device} parts from the log at seq {} ({number}), {}",
        placed.seq,
        written(case, placed)
    )
}

/// What is kept of the conversation, or of its members, is not what this entry says.
fn row_of_conversation(case: &Case<'_>, placed: &Placed) -> String {
    let said = match case.what(placed.message) {
        Some(What::Joined(user)) => {
            let left =
                case.stays(user).into_iter().rev().find_map(|stay| stay.left.filter(|left| *left < placed.seq));
            let again = match left {
                Some(left) => format!("came again, who had left at seq {left}"),
                None => "came".to_owned(),
            };
            let later =
                case.stays(user).into_iter().find(|stay| stay.joined == placed.seq).and_then(|stay| stay.left);
            let later = later.map_or(String::new(), |left| format!(" and left at seq {left}"));
            format!(", with which user {user} {again}{later}")
        }
        Some(What::Left(user)) => format!(", with which user {user} left"),
        Some(What::JoinedSeveral) => ", with which several joined".to_owned(),
        Some(What::LeftSeveral) => ", with which several left".to_owned(),
        Some(What::Created | What::CreatedChannel) => ", the creation".to_owned(),
        _ if placed.seq.0.is_multiple_of(INDEX_CHUNK as u64) => {
            ", with which a row of the index is full".to_owned()
        }
        Some(What::Text) | None => String::new(),
        Some(what) => format!(", with which {}", super::admission::deed(what)),
    };
    format!("the rows part from the log at seq {}{said}, {}", placed.seq, written(case, placed))
}

/// Entries of the same commit that are named.
const MATES: usize = 4;

/// How the entry came to the disk: its commit, what else was in it, and what its shard had been through.
fn written(case: &Case<'_>, placed: &Placed) -> String {
    let name = placed.shard.map_or(case.shard_name(), |shard| case.story.host(shard));
    let Some(t) = placed.committing.or(placed.committed) else {
        return match placed.found.first() {
            Some(found) => format!("which {name} found on its disk at {} and had told nobody of", at(*found)),
            None => format!("which {name} never told anybody of"),
        };
    };
    let mates: Vec<String> = case
        .log
        .iter()
        .filter(|other| {
            other.committing == placed.committing && other.committing.is_some() && other.seq != placed.seq
        })
        .map(|other| beside(case, placed, other))
        .collect();
    let with = match mates.as_slice() {
        [] => ", alone of this conversation".to_owned(),
        some if some.len() > MATES => {
            format!(", together with {} and {} others", some[..MATES].join(", "), some.len() - MATES)
        }
        some => format!(", together with {}", some.join(", ")),
    };
    let failed = case.log.iter().rev().find_map(|other| other.failed.filter(|failed| *failed < t));
    let after = match failed {
        Some(failed) => format!(", after one of this conversation had failed at {}", at(failed)),
        None => String::new(),
    };
    let stops = placed.shard.or(case.shard).map(|shard| {
        let before = case.story.stopped_between(shard, 0, t);
        let since = case.story.stopped_after(shard, t);
        (before, since)
    });
    let lived = match stops {
        Some((_, Some(since))) => format!("; {name} {} since", since.verb()),
        Some((Some(before), None)) => {
            format!(
                "; {name} {} before, and was back at {}",
                before.verb(),
                at(before.restarted.unwrap_or(before.t))
            )
        }
        _ => format!("; {name} has been running all the time"),
    };
    format!("which {name} wrote with its commit of {}{with}{after}{lived}", at(t))
}

/// Another entry of the same commit.
fn beside(case: &Case<'_>, placed: &Placed, other: &Placed) -> String {
    let user = |placed: &Placed| placed.author.and_then(|device| case.story.user_of(device));
    let whose = match (placed.author, other.author) {
        (Some(own), Some(device)) if own == device => "the same device".to_owned(),
        (_, Some(device)) if user(placed).is_some() && user(placed) == user(other) => {
            format!("device {device}, another one of the same user")
        }
        (_, Some(device)) => format!("device {device}"),
        (_, None) => "another device".to_owned(),
    };
    let what = match case.what(other.message) {
        Some(What::Joined(_) | What::JoinedSeveral) => " (a join)",
        Some(What::Left(_) | What::LeftSeveral) => " (a leave)",
        Some(What::Created | What::CreatedChannel) => " (the creation)",
        Some(What::Text) | None => "",
        Some(_) => " (a change of who may do what)",
    };
    format!("seq {} of {whose}{what}", other.seq)
}

/// A cursor beyond the log.
fn cursor(case: &Case<'_>, device: DeviceId, up_to: Seq) -> Option<String> {
    let (t, by) = case.hops().find_map(|(event, hop)| match hop {
        Hop::Received { device: of, asked: Asked::Ack { up_to: acked }, .. }
            if *of == device && *acked == up_to =>
        {
            Some((event.t, event.at))
        }
        _ => None,
    })?;
    let last = case.log.iter().filter(|placed| placed.committed.is_some_and(|committed| committed <= t));
    let last = last.map(|placed| placed.seq).max().unwrap_or(Seq::ZERO);
    let shard = case.shard.map_or(by, Entity::Host);
    Some(format!(
        "{} took an ack up to seq {up_to} of device {device}, which had come at {}, though its log went to seq {last} then: it was not held against the log",
        case.story.name(shard),
        at(t)
    ))
}
