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
        (None, _) => too_many_changes(case, user),
    }
}

/// Changes of membership of a user that were stored here, in order of time.
fn changes(case: &Case<'_>, user: UserId) -> Vec<u64> {
    let changes = case.events().filter_map(|event| match &event.kind {
        Kind::Send { sender, client_msg_id, what, .. } if *sender == user && what.is_change() => {
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
            Asked::Ack { .. } | Asked::Read { .. } | Asked::Sync { .. } | Asked::Typing => {
                others.push((event, *asked))
            }
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
    let began = format!(
        "{shard} stored more changes of user {user} than it may: in this conversation alone {}, stored from {} to {}",
        stored.len(),
        at(*first),
        at(*last),
    );
    let growth = growth(case);
    if let Some(counted) = charged_to_the_added(&growth, user).or_else(|| not_charged(&growth, user)) {
        return Some(format!("{began}; {counted}"));
    }
    let elsewhere = match own < others {
        true => format!(", while it told others {others} times: what somebody does is counted for somebody else"),
        false => ", and not often enough".to_owned(),
    };
    Some(format!("{began}; it told them to wait {own} times there{elsewhere}"))
}

/// What a limit of additions may look back at, in µs.
const RECENT_US: u64 = 10_000_000;
/// Fewer additions than these say nothing of a limit.
const FEW: usize = 3;

/// Somebody whom somebody else added, as a shard stored it.
struct Addition {
    t: u64,
    by: UserId,
    whom: UserId,
}

/// What a shard stored of creations and additions, in whichever conversation, and when it told whom to wait with an addition.
#[derive(Default)]
struct Growth {
    creations: Vec<(u64, UserId)>,
    additions: Vec<Addition>,
    waits: Vec<(u64, UserId)>,
}

fn is_recent(at: u64, t: u64) -> bool {
    (t.saturating_sub(RECENT_US)..=t).contains(&at)
}

impl Growth {
    fn added_by(&self, user: UserId, t: u64) -> usize {
        self.additions.iter().filter(|addition| addition.by == user && is_recent(addition.t, t)).count()
    }

    fn times_added(&self, user: UserId, t: u64) -> usize {
        self.additions.iter().filter(|addition| addition.whom == user && is_recent(addition.t, t)).count()
    }

    /// The most that a user has added within the time that a limit may look back at, and when they had.
    fn most_added_by(&self, user: UserId) -> Option<(usize, u64)> {
        let own = self.additions.iter().filter(|addition| addition.by == user);
        own.map(|addition| (self.added_by(user, addition.t), addition.t)).max_by_key(|(most, _)| *most)
    }
}

fn growth(case: &Case<'_>) -> Growth {
    let (mut sent, mut growth) = (BTreeMap::new(), Growth::default());
    for event in &case.story.events {
        match (&event.kind, event.at) {
            (Kind::Send { sender, client_msg_id, what: What::Joined(whom), .. }, _) if sender != whom => {
                sent.insert(*client_msg_id, (*sender, Some(*whom)));
            }
            (Kind::Send { sender, client_msg_id, what: What::Created | What::CreatedChannel, .. }, _) => {
                sent.insert(*client_msg_id, (*sender, None));
            }
            (Kind::Append { client_msg_id, .. }, Entity::Host(host)) if case.shard == Some(host) => {
                match sent.get(client_msg_id).copied() {
                    Some((by, Some(whom))) => growth.additions.push(Addition { t: event.t, by, whom }),
                    Some((by, None)) => growth.creations.push((event.t, by)),
                    None => {}
                }
            }
            (Kind::Wait { conversation, client_msg_id, .. }, _)
                if case.story.shard_of(*conversation) == case.shard =>
            {
                let added = sent.get(client_msg_id).filter(|(_, whom)| whom.is_some());
                growth.waits.extend(added.map(|(by, _)| (event.t, *by)));
            }
            _ => {}
        }
    }
    growth
}

/// Whoever is told to wait has added fewer than this user, who is not, and has been added more often than they have added.
fn charged_to_the_added(growth: &Growth, user: UserId) -> Option<String> {
    let (most, most_at) = growth.most_added_by(user)?;
    let told =
        growth.waits.iter().map(|(t, who)| (*t, *who, growth.added_by(*who, *t), growth.times_added(*who, *t)));
    let fewer: Vec<_> = told.filter(|(_, who, added, _)| *who != user && *added < most).collect();
    let (t, who, added, been_added) =
        fewer.iter().max_by_key(|(_, _, added, been)| been.saturating_sub(*added))?;
    let all = fewer.iter().all(|(_, _, added, been_added)| been_added > added);
    all.then(|| {
        format!(
            "they had added {most} people within {} s by {}, while it told user {who} to wait at {}, who had added {added} and been added {been_added} times: what is counted is who is added, and not who adds",
            RECENT_US / 1_000_000,
            at(most_at),
            at(*t)
        )
    })
}

/// This user was told to wait after creations, if ever, and never after they had added people one by one.
fn not_charged(growth: &Growth, user: UserId) -> Option<String> {
    let (most, until) = growth.most_added_by(user).filter(|(most, _)| *most >= FEW)?;
    let own = growth.additions.iter().filter(|addition| addition.by == user && is_recent(addition.t, until));
    let from = own.map(|addition| addition.t).min()?;
    let waits: Vec<u64> = growth.waits.iter().filter(|(_, who)| *who == user).map(|(t, _)| *t).collect();
    let by_creation = |t: &u64| {
        let created = growth.creations.iter().any(|(at, by)| *by == user && is_recent(*at, *t));
        created && growth.added_by(user, *t) == 0
    };
    if !waits.iter().all(|t| *t < from && by_creation(t)) {
        return None;
    }
    let told = match waits.last() {
        Some(last) => format!("it told them to wait after creations only (at {} for the last time)", at(*last)),
        None => "it never told them to wait with an addition".to_owned(),
    };
    Some(format!(
        "{told}, and not once for the {most} people whom they added one by one from {} to {}: what is added so is counted for somebody else, or for nobody",
        at(from),
        at(until)
    ))
}

fn waiting_device(event: &Event) -> Option<DeviceId> {
    match (&event.kind, event.at) {
        (Kind::Wait { .. }, Entity::Device(device)) => Some(device),
        _ => None,
    }
}
