//! A send that was refused for good and ought not to have been.

use crate::case::Case;
use crate::log::Stay;
use crate::story::at;
use squall_history::{Entity, Told, What};
use squall_protocol::{ClientMsgId, DeviceId, Seq, UserId};

/// The shard's refusal for good: when it was made up, and by whom.
pub fn made(case: &Case<'_>, message: ClientMsgId) -> Option<(u64, Entity)> {
    case.answers(message).into_iter().find_map(|(event, told)| match told {
        Told::Refused { reason, .. } if !matches!(*reason, "busy" | "too_often" | "expected_client_seq") => {
            Some((event.t, event.at))
        }
        _ => None,
    })
}

/// When an entry could be known.
pub fn since(case: &Case<'_>, seq: Seq) -> Option<u64> {
    case.entry(seq).and_then(|placed| placed.committed.or(placed.staged).or(placed.found.first().copied()))
}

/// The stay of a user that had begun and not ended at a time, as the log tells it.
fn stay_at(case: &Case<'_>, user: UserId, t: u64) -> Option<Stay> {
    let known = |seq| since(case, seq).is_some_and(|since| since <= t);
    let stays = case.stays(user).into_iter().rev();
    stays.filter(|stay| known(stay.joined)).find(|stay| stay.left.is_none_or(|left| !known(left)))
}

pub fn cause(case: &Case<'_>, message: ClientMsgId, device: DeviceId, reason: &str) -> Option<String> {
    let (t, by) = made(case, message)?;
    let user = case.story.user_of(device)?;
    let began = format!("{} refused it at {} ({reason})", case.story.name(by), at(t));
    let restarted = match by {
        Entity::Host(host) => case.story.stopped_between(host, 0, t).map_or(String::new(), |stop| {
            format!(", after it {} and was back at {}", stop.verb(), at(stop.restarted.unwrap_or(stop.t)))
        }),
        Entity::Device(_) | Entity::World => String::new(),
    };
    let created = since(case, Seq(1)).filter(|created| *created <= t);
    let own = stay_at(case, user, t);
    let contradiction = match (reason, case.what(message)) {
        ("not_a_member", _) => {
            let current = own?;
            let earlier = case
                .stays(user)
                .into_iter()
                .rev()
                .find_map(|stay| stay.left.filter(|left| *left < current.joined));
            let before = earlier.map_or(String::new(), |left| format!(", who had left at seq {left},"));
            return Some(format!(
                "{} refused it at {} as of no member{restarted}, though user {user}{before} is a member since seq {}, stored at {}",
                case.story.name(by),
                at(t),
                current.joined,
                at(since(case, current.joined)?)
            ));
        }
        ("unknown_conversation", _) => format!("though the conversation was there since {}", at(created?)),
        ("conflict", Some(What::Created)) if created.is_none() => {
            "though nobody had created the conversation by then".to_owned()
        }
        ("conflict", Some(What::Joined(whom))) => match stay_at(case, whom, t) {
            None => format!("as if user {whom} had been a member already, {}", not_there(case, whom, t)),
            Some(_) => return None,
        },
        ("conflict", Some(What::Left(whom))) => match stay_at(case, whom, t) {
            Some(stay) => format!(
                "as if user {whom} had been no member, who has been one since seq {}, stored at {}",
                stay.joined,
                at(since(case, stay.joined)?)
            ),
            None => return None,
        },
        _ => match super::rights::refused(case, message, user, reason) {
            Some(sentence) => return Some(sentence),
            None => "and nothing that was sent or stored explains that".to_owned(),
        },
    };
    Some(format!("{began}{restarted}, {contradiction}"))
}

/// That somebody is no member, and why.
fn not_there(case: &Case<'_>, user: UserId, t: u64) -> String {
    let left = case
        .stays(user)
        .into_iter()
        .rev()
        .find_map(|stay| stay.left.filter(|left| since(case, *left).is_some_and(|left| left <= t)));
    match left {
        Some(left) => format!("who had left at seq {left}"),
        None => "who had never been one".to_owned(),
    }
}
