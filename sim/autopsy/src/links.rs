//! What caused what: a step leaves keys behind, and a later one that has such a key follows from it.
//!
//! From lane to lane a frame, a request or a commit is what goes on; within a lane, what a host or a device does next with the same message.

use crate::case::Case;
use squall_history::{Asked, Entity, Event, Hop, Kind, Told};
use squall_protocol::DeviceId;

/// What a step leaves behind for another one that follows from it.
pub fn leaves(event: &Event) -> Vec<String> {
    match (&event.kind, event.at) {
        (Kind::Send { client_msg_id, .. } | Kind::Resend { client_msg_id, .. }, _) => {
            vec![format!("up {client_msg_id}")]
        }
        (Kind::Ack { up_to, .. }, Entity::Device(device)) => vec![format!("up {device} ack {up_to}")],
        (Kind::Sync { since, .. }, Entity::Device(device)) => vec![format!("up {device} sync {since}")],
        (Kind::Read { up_to, .. }, Entity::Device(device)) => vec![format!("up {device} read {up_to}")],
        (Kind::Typing { .. }, Entity::Device(device)) => vec![format!("up {device} typing")],
        (Kind::Hop(hop), at) => match hop {
            Hop::Received { device, asked, .. } => vec![format!("{at:?} {}", asked_key(*device, *asked))],
            Hop::Answered { device, told, .. } => vec![format!("down {device} {}", told_key(told))],
            Hop::Handed { device, told, .. } => vec![format!("to {device} {}", told_key(told))],
            Hop::Committing { seq, .. } => vec![format!("disk {seq}")],
            Hop::Synced { seq, .. } => vec![format!("synced {seq}")],
            Hop::Planned { seq, registry, .. } => vec![format!("asked {seq} {registry}")],
            Hop::Forwarded { seq, gateway, .. } => vec![format!("bus {gateway} {seq}")],
            Hop::Redelivered { head, gateway, .. } => vec![format!("bus {gateway} {head}")],
            Hop::Carried { to, gateway, .. } => vec![format!("topic gateway-{gateway} {to}")],
            Hop::HeadsTold { device, .. } => vec![format!("heads {device}")],
            Hop::Registering { device, registry, .. } => vec![format!("register {device} {registry}")],
            Hop::Noticed { told, .. } => vec![format!("notice {}", told_key(told))],
            Hop::TailTold { to, .. } => vec![format!("tail {to}")],
            Hop::PresenceTold { user, state, .. } => vec![format!("presence {user} {state}")],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn asked_key(device: DeviceId, asked: Asked) -> String {
    match asked {
        Asked::Send { client_msg_id, .. } => format!("up {client_msg_id}"),
        Asked::Ack { up_to } => format!("up {device} ack {up_to}"),
        Asked::Read { up_to } => format!("up {device} read {up_to}"),
        Asked::Sync { since } => format!("up {device} sync {since}"),
        Asked::Typing => format!("up {device} typing"),
    }
}

fn told_key(told: &Told) -> String {
    match told {
        Told::Sent { client_msg_id, .. } => format!("sent {client_msg_id}"),
        Told::Refused { client_msg_id, reason, .. } => format!("refused {client_msg_id} {reason}"),
        Told::Deliver { to, .. } => format!("deliver {to}"),
        Told::Page { to, .. } => format!("page {to}"),
        Told::Error { code } => format!("error {code}"),
        Told::Typing { user } => format!("typing {user}"),
        Told::Receipts { users, .. } => format!("receipts {}", users.first().map_or(0, |told| told.user.0)),
    }
}

/// What a step follows from, in another lane: the first of these that was left.
pub fn follows(case: &Case<'_>, event: &Event) -> Vec<String> {
    match (&event.kind, event.at) {
        (Kind::Sent { client_msg_id, .. }, Entity::Device(device)) => {
            vec![format!("to {device} sent {client_msg_id}")]
        }
        (Kind::Refused { client_msg_id, reason, .. }, Entity::Device(device)) => {
            vec![format!("to {device} refused {client_msg_id} {reason}")]
        }
        (Kind::Deliver { to, via, .. }, Entity::Device(device)) => {
            let word = if *via == squall_history::Via::Page { "page" } else { "deliver" };
            vec![format!("to {device} {word} {to}")]
        }
        (Kind::TypingShown { user, .. }, Entity::Device(device)) => vec![format!("to {device} typing {user}")],
        (Kind::Receipts { users, .. }, Entity::Device(device)) => {
            vec![format!("to {device} receipts {}", users.first().map_or(0, |told| told.user.0))]
        }
        (Kind::Presence { user, state, .. }, _) => vec![format!("presence {user} {state}")],
        (Kind::Append { seq, .. }, _) => vec![format!("synced {seq}")],
        (Kind::Hop(hop), at) => match hop {
            Hop::Received { device, asked, .. } => {
                let key = asked_key(*device, *asked);
                let is_shard = matches!(at, Entity::Host(host) if case.story.has_role(host, "messages-"));
                let gateways = 0..case.story.hosts.len() as u16;
                let passed = gateways.filter(|host| is_shard && case.story.has_role(*host, "gateway-"));
                passed
                    .map(|host| format!("{:?} {key}", Entity::Host(host)))
                    .chain([key.clone()].into_iter().filter(|_| !is_shard))
                    .collect()
            }
            Hop::Handed { device, told, .. } => {
                let name = case.story.name(at);
                let by_bus =
                    if let Told::Deliver { to, .. } = told { Some(format!("topic {name} {to}")) } else { None };
                let key = told_key(told);
                by_bus.into_iter().chain([format!("down {device} {key}"), format!("notice {key}")]).collect()
            }
            Hop::Astray { told: Told::Deliver { to, .. }, .. } => {
                vec![format!("topic {} {to}", case.story.name(at))]
            }
            Hop::Synced { seq, .. } => vec![format!("disk {seq}")],
            Hop::TailTaken { to, .. } => vec![format!("tail {to}")],
            Hop::LookedUp { seq, registry, .. } => vec![format!("asked {seq} {registry}")],
            Hop::Carried { to, gateway, .. } => vec![format!("bus {gateway} {to}")],
            Hop::Registered { device, .. } => {
                (0..8).map(|registry| format!("register {device} {registry}")).collect()
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// What a step leaves behind for the next one of the same host or device.
pub fn goes_on(event: &Event) -> Vec<String> {
    match &event.kind {
        Kind::Append { seq, .. } => vec![format!("stored {seq}")],
        Kind::Deliver { held, .. } => held.iter().map(|arrived| format!("has {}", arrived.seq)).collect(),
        Kind::Display { seq, .. } => vec![format!("shown {seq}")],
        Kind::Hop(hop) => match hop {
            Hop::Received { asked: Asked::Send { client_msg_id, .. }, .. } => vec![format!("got {client_msg_id}")],
            Hop::Received { device, asked: Asked::Sync { .. }, .. } => vec![format!("asked by {device}")],
            Hop::Staged { seq, .. } => vec![format!("placed {seq}")],
            Hop::Recognised { client_msg_id, .. } => vec![format!("known {client_msg_id}")],
            Hop::LookedUp { seq, .. } => vec![format!("where {seq}")],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// What a step follows from in the same host or device.
pub fn continues(event: &Event) -> Vec<String> {
    match &event.kind {
        Kind::Display { seq, .. } | Kind::Discard { seq, .. } => vec![format!("has {seq}")],
        Kind::Ack { up_to, .. } => vec![format!("shown {up_to}")],
        Kind::Hop(hop) => match hop {
            Hop::Staged { client_msg_id, .. } | Hop::Recognised { client_msg_id, .. } => {
                vec![format!("got {client_msg_id}")]
            }
            Hop::Committing { seq, .. } => vec![format!("placed {seq}")],
            Hop::Answered { told: Told::Sent { client_msg_id, seq, .. }, .. } => {
                vec![format!("stored {seq}"), format!("known {client_msg_id}")]
            }
            Hop::Answered { told: Told::Refused { client_msg_id, .. }, .. } => {
                vec![format!("got {client_msg_id}")]
            }
            Hop::Answered { device, told: Told::Page { .. }, .. } => vec![format!("asked by {device}")],
            Hop::Planned { seq, .. } => vec![format!("stored {seq}")],
            Hop::Forwarded { seq, .. } => vec![format!("where {seq}")],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
