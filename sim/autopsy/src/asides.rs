//! What a story tells of what nobody is owed: who writes, who has read what, who is online; and of how gateways follow channels.

use crate::diagram::Focus;
use crate::steps::{Part, What};
use squall_history::{Asked, Hop, Kind, Told};
use squall_protocol::{DeviceId, Receipt, UserId};
use squall_reports::story::Tone;

/// Says a step of the lane at hand.
type Say<'a> = dyn Fn(String) -> Option<What> + 'a;

/// What a device does or is told, of its story's conversation or of none.
pub fn of_device(focus: &Focus, device: DeviceId, kind: &Kind, say: &Say<'_>) -> Option<What> {
    match kind {
        Kind::Typing { .. } if focus.user.is_some() && focus.is_device(device) => {
            say("says that its person is writing".to_owned())
        }
        Kind::TypingShown { user, .. } if focus.is_user(*user) => {
            say(format!("shows that user {user} is writing"))
        }
        Kind::TypingOver { user, .. } if focus.is_user(*user) => {
            say(format!("shows user {user} as writing no more"))
        }
        Kind::Receipts { users, counts, .. } => match (receipt(focus, users), counts) {
            (Some(told), _) => say(format!("is told that {}", come(told))),
            (None, Some(counts)) if focus.at(counts.up_to) && users.is_empty() => say(format!(
                "is told that seq {} is shown to {} and read by {}",
                counts.up_to, counts.delivered, counts.read
            )),
            _ => None,
        },
        Kind::Unread { read, unread, .. } if focus.user.is_some() => {
            say(format!("counts {unread} unread after seq {read} in the end"))
        }
        Kind::Presence { user, state, .. } if focus.is_user(*user) => say(format!("shows user {user} {state}")),
        Kind::Watch { users, .. } if focus.user.is_some_and(|user| users.contains(&user)) => {
            say("asks to be told of them".to_owned())
        }
        Kind::Invisible { on, .. } => {
            say(if *on { "hides from now on".to_owned() } else { "hides no more".to_owned() })
        }
        Kind::Away => say("is put away".to_owned()).map(|what| What { part: Part::Connection, ..what }),
        _ => None,
    }
}

/// Of these, the story's user, or whoever has come to the story's message.
fn receipt<'r>(focus: &Focus, users: &'r [Receipt]) -> Option<&'r Receipt> {
    match focus.user {
        Some(user) => users.iter().find(|told| told.user == user),
        None => users.iter().find(|told| focus.at(told.delivered) || focus.at(told.read)),
    }
}

fn come(told: &Receipt) -> String {
    format!("user {} has come to seq {} and read up to {}", told.user, told.delivered, told.read)
}

/// What a host does that is of no entry, or of a channel's.
pub fn of_host(focus: &Focus, hop: &Hop, say: &Say<'_>) -> Option<What> {
    let users = |to: &[UserId]| format!("{} user{}", to.len(), if to.len() == 1 { "" } else { "s" });
    match hop {
        Hop::Received { device, asked: Asked::Typing, .. } if focus.user.is_some() && focus.is_device(*device) => {
            say(format!("hears that whoever has device {device} is writing"))
        }
        Hop::Received { device, asked: Asked::Read { up_to }, .. }
            if focus.is_device(*device) && (focus.at(*up_to) || focus.user.is_some()) =>
        {
            say(format!("hears of device {device} that seq {up_to} is read"))
        }
        Hop::Noticed { told: Told::Typing { user }, to, .. } if focus.is_user(*user) => {
            say(format!("has {} told that user {user} is writing", users(to)))
        }
        Hop::Noticed { told: Told::Receipts { users: told, counts }, to, .. } => {
            match (receipt(focus, told), counts) {
                (Some(told), _) => say(format!("has {} told that {}", users(to), come(told))),
                (None, Some(counts)) if focus.at(counts.up_to) && told.is_empty() => {
                    say(format!("has {} told how many have come to seq {}", users(to), counts.up_to))
                }
                _ => None,
            }
        }
        Hop::Handed { device, told, .. } if focus.is_device(*device) => {
            notice(focus, told).and_then(|words| say(format!("has for device {device} that {words}")))
        }
        Hop::Answered { device, told: told @ Told::Receipts { .. }, .. } if focus.is_device(*device) => {
            notice(focus, told).and_then(|words| say(format!("answers device {device} that {words}")))
        }
        Hop::Leased { watcher, granted, .. } if focus.user.is_some_and(|user| granted.contains(&user)) => {
            say(format!("lets user {watcher} watch them"))
        }
        Hop::Subscribed { gateway, .. } => say(format!("is asked by gateway-{gateway} to tell of them")),
        Hop::Present { device, gateway, connect_count, hides, .. } => {
            let hides = if *hides { ", and hides" } else { "" };
            say(format!("hears that device {device} is on gateway-{gateway} (count {connect_count}){hides}"))
        }
        Hop::Absent { device, gateway, seen_ago_ms, .. } => say(format!(
            "hears of gateway-{gateway} that device {device} is gone, heard last {seen_ago_ms} ms ago"
        )),
        Hop::PresenceTold { user, gateway, state, .. } => {
            say(format!("tells gateway-{gateway} that user {user} is {state}"))
        }
        Hop::SentAway { device } if focus.is_device(*device) => {
            say(format!("tells device {device} to connect elsewhere"))
                .map(|what| What { part: Part::Connection, ..what })
        }
        Hop::Followed { have, .. } if focus.user.is_none() => {
            let have = have.map_or(String::new(), |have| format!(" after seq {have}"));
            say(format!("asks for all that comes in the channel{have}"))
        }
        Hop::Unfollowed { .. } if focus.user.is_none() => {
            say("asks for nothing more of the channel".to_owned()).map(|what| What { tone: Tone::Fault, ..what })
        }
        Hop::Member { device, as_of, .. } if focus.is_device(*device) => {
            say(format!("takes device {device} for told of the channel up to seq {as_of}"))
        }
        Hop::TailTold { from, to, .. } if focus.within(*from, *to) => {
            say(format!("tells those who follow seq {from} to {to}"))
        }
        Hop::TailTaken { from, to, .. } if focus.within(*from, *to) => {
            say(format!("takes in seq {from} to {to} of the channel"))
        }
        _ => None,
    }
}

fn notice(focus: &Focus, told: &Told) -> Option<String> {
    match told {
        Told::Typing { user } if focus.is_user(*user) => Some(format!("user {user} is writing")),
        Told::Receipts { users, .. } => receipt(focus, users).map(come),
        _ => None,
    }
}
