//! A device that asks for the same place again and again: what it was told of that its pages do not bring.

use super::{admission, typing::gone};
use crate::case::Case;
use crate::story::at;
use squall_history::{Hop, Kind, Told};
use squall_protocol::Seq;

pub fn cause(case: &Case<'_>) -> Option<String> {
    let (since, device) = (case.subject.seq?, case.subject.device?);
    let user = case.story.user_of(device)?;
    let asked = case.of_device(device).filter(|event| {
        event.t <= case.subject.t && matches!(event.kind, Kind::Sync { since: of, .. } if of == since)
    });
    let asked: Vec<u64> = asked.map(|event| event.t).collect();
    let first = asked.first().copied()?;
    let began = format!("device {device} asked {} times for what follows seq {since}", asked.len());
    // What made it believe that there is more.
    let told = case.handed(device).into_iter().rev().find_map(|(event, told)| match told {
        Told::Sent { seq, client_msg_id, .. } if *seq > since && event.t <= first => {
            Some((event.t, *seq, Some(*client_msg_id)))
        }
        Told::Deliver { to, .. } if *to > since && event.t <= first => Some((event.t, *to, None)),
        _ => None,
    });
    let heads = case.hops().rev().find_map(|(event, hop)| match hop {
        Hop::HeadsHanded { device: of, head, .. } if *of == device && *head > since && event.t <= first => {
            Some((event.t, *head, None))
        }
        _ => None,
    });
    let (t, head, own) = told.into_iter().chain(heads).max_by_key(|(t, ..)| *t)?;
    if let Some(stored) = own.and_then(|message| admission::of(case, message)) {
        return Some(format!(
            "{stored}; {began}, for it was told at {} that its own message stands at seq {head}, up to which it may not see",
            at(t)
        ));
    }
    let left = gone(case, user, t);
    let page = case.hops().rev().find_map(|(event, hop)| match hop {
        Hop::Answered { device: of, told: Told::Page { from, to, head, .. }, .. }
            if *of == device && event.t <= case.subject.t && *from == Seq(since.0 + 1) =>
        {
            Some((*to, *head))
        }
        _ => None,
    });
    let page = page.map_or("had no page".to_owned(), |(to, head)| {
        format!("had pages up to seq {to} of a log that is said to go to seq {head}")
    });
    let why = left.map_or(String::new(), |(left, stored)| {
        format!(", though user {user} had left at seq {left}, stored at {}", at(stored))
    });
    Some(format!(
        "{began}, for {} had told it at {} that the log goes to seq {head}{why}; it {page}",
        case.shard_name(),
        at(t)
    ))
}
