//! Somebody who has done more than they may, or was told to wait who had not.

use super::answer::times;
use super::sending::told_to_wait;
use crate::case::Case;
use crate::story::at;
use squall_history::{Asked, Entity, Event, Hop, Kind, What};
use squall_protocol::{ClientMsgId, DeviceId, UserId};
use std::collections::BTreeMap;

pub fn cause(case: &Case<'_>) -> Option<String> {
    let message = case.subject.message?;
    let user = case.sender(message).and_then(|device| case.story.user_of(device))?;
    let told = case.events().find(|event| {
        matches!(event.kind, Kind::Wait { client_msg_id, .. } if client_msg_id == message)
            && event.t == case.subject.t
    });
    match (told, case.what(message)?) {
        (Some(told), what) => Some(too_early(case, message, user, told, what)),
        (None, What::Text) => Some(too_many_sends(case, user)),
        (None, What::Created | What::Joined(_) | What::Left(_)) => too_many_changes(case, user),
    }
}

/// Changes of membership of a user that were stored here, in order of time.
fn changes(case: &Case<'_>, user: UserId) -> Vec<u64> {
    let changes = case.events().filter_map(|event| match &event.kind {
        Kind::Send { sender, client_msg_id, what: What::Joined(_) | What::Left(_), .. } if *sender == user => {
            case.places(*client_msg_id).into_iter().find_map(|placed| placed.committed)
        }
        _ => None,
    });
    let mut stored: Vec<u64> = changes.collect();
    stored.sort_unstable();
    stored
}

/// What came to a gateway from a user: sends, and everything else.
fn requests<'a>(case: &Case<'a>, user: UserId, until: u64) -> (Vec<&'a Event>, Vec<(&'a Event, Asked)>) {
    let story = case.story;
    let (mut sends, mut others) = (Vec::new(), Vec::new());
    for (event, hop) in story.hops().take_while(|(event, _)| event.t <= until) {
        let Hop::Received { user: of, asked, .. } = hop else { continue };
        let at_gateway = matches!(event.at, Entity::Host(host) if story.has_role(host, "gateway-"));
        match asked {
            _ if *of != user || !at_gateway => {}
            Asked::Send { .. } => sends.push(event),
            Asked::Ack { .. } | Asked::Sync { .. } => others.push((event, *asked)),
        }
    }
    (sends, others)
}

/// They had not done what they were told to wait for.
fn too_early(case: &Case<'_>, message: ClientMsgId, user: UserId, told: &Event, what: What) -> String {
    let wait = told_to_wait(case, message).into_iter().rev().find(|wait| wait.t <= told.t);
    let by = wait.map_or(Entity::World, |wait| wait.by);
    let name = wait.map_or("the server".to_owned(), |wait| case.story.name(wait.by));
    let at_gateway = matches!(by, Entity::Host(host) if case.story.has_role(host, "gateway-"));
    let began = format!("{name} told user {user} to wait at {}", at(wait.map_or(told.t, |wait| wait.t)));
    if !at_gateway && what != What::Text {
        let stored = changes(case, user).into_iter().filter(|t| *t < told.t).count();
        let refused = case.events().filter(|event| {
            event.t < told.t
                && matches!((&event.kind, event.at), (Kind::Refused { .. }, Entity::Device(device))
                    if case.story.user_of(device) == Some(user))
        });
        let why = match refused.count() {
            0 => "what others did was counted for them".to_owned(),
            refused => {
                format!("what others did, or what was refused them ({refused} times), was counted for them")
            }
        };
        return format!(
            "{began}, though {} had stored {stored} of their changes by then: {why}",
            case.shard_name()
        );
    }
    let (sends, others) = requests(case, user, told.t);
    let here: Vec<&Event> = sends.iter().filter(|event| event.at == by).copied().collect();
    let other_gateways = sends.len() - here.len();
    let elsewhere = match other_gateways {
        0 => String::new(),
        n => format!(", and {n} to other gateways"),
    };
    let acks = others.iter().filter(|(event, asked)| event.at == by && matches!(asked, Asked::Ack { .. })).count();
    let pages = others.iter().filter(|(event, _)| event.at == by).count() - acks;
    let why = match (acks + pages, sends.len()) {
        (0, _) => "what others sent was counted for them",
        (asked, sent) if asked >= 3 * sent.max(1) => "what is no send was counted as one",
        _ => "it was not their sends alone that were counted",
    };
    format!(
        "{began}, when they had sent it only {} messages ({}{elsewhere}); they had also acked {acks} times there and asked for {pages} pages: {why}",
        here.len(),
        times(&here)
    )
}

/// More is stored than the gateways were to let through.
fn too_many_sends(case: &Case<'_>, user: UserId) -> String {
    let (sends, _) = requests(case, user, u64::MAX);
    let mut by_gateway: BTreeMap<String, u64> = BTreeMap::new();
    for event in &sends {
        *by_gateway.entry(case.story.name(event.at)).or_default() += 1;
    }
    let most = sends.iter().map(|first| {
        sends
            .iter()
            .filter(|event| event.at == first.at && (first.t..first.t + 1_000_000).contains(&event.t))
            .count()
    });
    let through: Vec<String> = by_gateway.iter().map(|(name, sends)| format!("{sends} to {name}")).collect();
    let waits = case.story.events.iter().filter(|event| {
        matches!((&event.kind, event.at), (Kind::Wait { .. }, Entity::Device(device)) if case.story.user_of(device) == Some(user))
    });
    format!(
        "user {user} sent {} ({}, at most {} within a second at one of them) and was told to wait {} times: not often enough",
        through.join(" and "),
        times(&sends),
        most.max().unwrap_or(0),
        waits.count()
    )
}

/// More changes are stored than a shard was to take.
fn too_many_changes(case: &Case<'_>, user: UserId) -> Option<String> {
    let shard = case.shard_name();
    let mut waits: BTreeMap<UserId, u64> = BTreeMap::new();
    for device in case.events().filter_map(waiting_device) {
        if let Some(user) = case.story.user_of(device) {
            *waits.entry(user).or_default() += 1;
        }
    }
    let own = waits.remove(&user).unwrap_or_default();
    let stored = changes(case, user);
    let (first, last) = (stored.first()?, stored.last()?);
    let others: u64 = waits.values().sum();
    let elsewhere = match own < others {
        true => format!(", while it told others {others} times: what somebody does is counted for somebody else"),
        false => ", and not often enough".to_owned(),
    };
    Some(format!(
        "{shard} stored more changes of user {user} than it may: in this conversation alone {}, stored from {} to {}; it told them to wait {own} times there{elsewhere}",
        stored.len(),
        at(*first),
        at(*last),
    ))
}

fn waiting_device(event: &Event) -> Option<DeviceId> {
    match (&event.kind, event.at) {
        (Kind::Wait { .. }, Entity::Device(device)) => Some(device),
        _ => None,
    }
}
