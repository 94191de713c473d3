//! What was stored and ought to have been refused: of whoever was no member, or against a conversation's name.

use crate::case::Case;
use crate::story::at;
use squall_history::{Kind, What};
use squall_protocol::{ClientMsgId, Holders, Name, UserId};

/// In words, what somebody did.
pub fn deed(what: What) -> String {
    match what {
        What::Text => "a text".to_owned(),
        What::Created | What::CreatedChannel => "a creation".to_owned(),
        What::Joined(user) => format!("that they add user {user}"),
        What::Left(user) => format!("that they take away user {user}"),
        What::JoinedSeveral => "that they add several users".to_owned(),
        What::LeftSeveral => "that they take away several users".to_owned(),
        What::Role { user, rank } => format!("that user {user} is of rank {}", word(rank)),
        What::Setting { right, who } => format!("that the right to {} is {}", word(right), holders(who)),
        What::Named => "a name for the group".to_owned(),
        What::Blocked(true) => "that they block the conversation".to_owned(),
        What::Blocked(false) => "that they block the conversation no more".to_owned(),
        What::ForGood(true) => "that they leave for good".to_owned(),
        What::ForGood(false) => "that they may be added again".to_owned(),
    }
}

fn word(of: impl std::fmt::Debug) -> String {
    format!("{of:?}").to_lowercase()
}

fn holders(who: Holders) -> &'static str {
    match who {
        Holders::Owner => "the owner's",
        Holders::Admins => "the admins'",
        Holders::Members => "everybody's",
    }
}

/// An entry of somebody who might not make it.
pub fn cause(case: &Case<'_>) -> Option<String> {
    of(case, case.subject.message?)
}

/// The same of any message.
pub fn of(case: &Case<'_>, message: ClientMsgId) -> Option<String> {
    let placed =
        case.places(message).into_iter().rfind(|placed| placed.committed.is_some() || placed.logged.is_some())?;
    let user = case.sender(message).and_then(|device| case.story.user_of(device))?;
    let (shard, seq) = (case.shard_name(), placed.seq);
    let stored = placed.committed.or(placed.staged).map_or(String::new(), |t| format!(" at {}", at(t)));
    let what = case.what(message)?;
    if what.is_creation() {
        let members = named(case, message)?;
        return against_the_name(case, user, &members)
            .map(|wrong| format!("{shard} stored{stored} a creation of user {user} that {wrong}: nobody compared whom it names with the conversation's name"));
    }
    let stays = case.stays(user);
    // A leaver's own leaving is the last entry of their stay.
    let was_member = stays.iter().any(|stay| stay.joined < seq && stay.left.is_none_or(|left| seq <= left));
    if was_member {
        return super::rights::stored(case, message);
    }
    let before = stays.iter().rev().find(|stay| stay.left.is_some_and(|left| left < seq));
    Some(match before.and_then(|stay| Some((stay.joined, stay.left?))) {
        Some((joined, left)) => format!(
            "{shard} stored{stored}, as seq {seq}, {} of user {user}, who had been a member from seq {joined} on and had left at seq {left}: it was asked whether they ever were one, not whether they are",
            deed(what)
        ),
        None => format!(
            "{shard} stored{stored}, as seq {seq}, {} of user {user}, who had never been a member: nobody asked whether they are",
            deed(what)
        ),
    })
}

fn named(case: &Case<'_>, message: ClientMsgId) -> Option<Vec<UserId>> {
    case.sent(message).and_then(|event| match &event.kind {
        Kind::Send { members, .. } => Some(members.clone()),
        _ => None,
    })
}

fn list(users: &[UserId]) -> String {
    users.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn against_the_name(case: &Case<'_>, user: UserId, members: &[UserId]) -> Option<String> {
    match case.subject.conversation.name()? {
        Name::Direct { low, high } if *members != [low, high] && *members != [high, low] => Some(format!(
            "names {} in the conversation of {low} and {high}",
            if members.len() > 5 { format!("{} people", members.len()) } else { list(members) }
        )),
        Name::Group { creator, .. } if creator != user => {
            Some(format!("takes the name of a group that only user {creator} may create"))
        }
        Name::Group { .. } if !members.contains(&user) => Some("does not name its creator".to_owned()),
        Name::Direct { .. } | Name::Group { .. } => None,
    }
}
