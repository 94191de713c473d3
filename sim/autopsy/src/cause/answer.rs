//! A send without an answer: the step at which its way, or that of its answer, ends.

use crate::case::Case;
use crate::log::Placed;
use crate::story::at;
use squall_history::{Entity, Event, Hop, Kind, Told};
use squall_protocol::{ClientMsgId, DeviceId, UserId};
use std::collections::BTreeSet;

/// A message and the device that waits for its answer.
struct Way<'a> {
    case: &'a Case<'a>,
    message: ClientMsgId,
    device: DeviceId,
}

pub fn cause(case: &Case<'_>, message: ClientMsgId, device: DeviceId) -> Option<String> {
    let way = Way { case, message, device };
    let at_gateway = case.received(message, "gateway-");
    let at_shard = case.received(message, "messages-");
    let answers = case.answers(message);
    let own = case.places(message);
    if at_gateway.is_empty() && at_shard.is_empty() {
        return way.never_out();
    }
    if let Some(gone) = way.handed_and_gone() {
        return Some(gone);
    }
    if let Some((event, told)) = answers.last() {
        return Some(way.answered(event, told, &answers));
    }
    if let Some(placed) = own.first() {
        return Some(way.staged(placed));
    }
    match at_shard.last() {
        Some(last) => Some(way.unheard(&at_shard, last)),
        None => Some(way.stuck_at_gateway(&at_gateway)),
    }
}

/// "once, at 3.000 s", "4 times, from 3.000 s to 9.000 s".
pub fn times(events: &[&Event]) -> String {
    match events {
        [] => "never".to_owned(),
        [only] => format!("once, at {}", at(only.t)),
        [first, .., last] => format!("{} times, from {} to {}", events.len(), at(first.t), at(last.t)),
    }
}

impl Way<'_> {
    fn user(&self) -> Option<UserId> {
        self.case.story.user_of(self.device)
    }

    /// No gateway has ever had it.
    fn never_out(&self) -> Option<String> {
        let sent = self.case.sent(self.message)?.t;
        let until = self.case.story.end();
        let connection = self.case.story.connections(self.device).into_iter().rev().find(|c| c.from < until)?;
        let others = self.case.hops().any(|(event, hop)| {
            matches!(hop, Hop::Received { device, .. } if *device == self.device)
                && event.t > sent.max(connection.from)
        });
        let resends = self.case.resends(self.message).len();
        let said = match resends {
            0 => "and has not been put on the wire again".to_owned(),
            _ => format!("and was sent again {resends} times"),
        };
        let others = if others { ", which had other requests of the device" } else { "" };
        Some(format!(
            "sent at {} {said}; device {} has been connected to gateway-{} since {}, and it never came to any gateway{others}",
            at(sent),
            self.device,
            connection.gateway,
            at(connection.from)
        ))
    }

    /// A gateway has queued the answer for the device, which never had it.
    fn handed_and_gone(&self) -> Option<String> {
        let about = |told: &Told| {
            matches!(told, Told::Sent { client_msg_id, .. } | Told::Refused { client_msg_id, .. }
                if *client_msg_id == self.message)
        };
        let (event, told) = self
            .case
            .handed(self.device)
            .into_iter()
            .rev()
            .find(|(event, told)| about(told) && !is_temporary(told) && self.is_newest(event.t))?;
        let lost = self
            .case
            .story
            .connections(self.device)
            .into_iter()
            .find(|c| c.from <= event.t && c.until.is_some_and(|until| until >= event.t));
        let name = self.case.story.name(event.at);
        let what = in_words(told);
        match lost {
            Some(gone) => {
                let until = gone.until.unwrap_or_default();
                let again = self.case.resends(self.message).into_iter().any(|(t, _)| t >= until);
                let then = match again {
                    true => "it was sent again since, and had no other answer",
                    false => "the device has not sent it again",
                };
                Some(format!(
                    "{what} was handed on by {name} at {} and lost with the connection that ended at {} ({}); {then}",
                    at(event.t),
                    at(until),
                    gone.reason
                ))
            }
            None => Some(format!(
                "{what} was handed on by {name} at {}, over the connection that the device has kept, and the device does not take it for an answer",
                at(event.t)
            )),
        }
    }

    /// Nothing of it came to a gateway since.
    fn is_newest(&self, t: u64) -> bool {
        self.case.received(self.message, "gateway-").last().is_none_or(|last| last.t <= t)
    }

    /// The shard made up an answer, and no gateway had it.
    fn answered(&self, event: &Event, told: &Told, all: &[(&Event, &Told)]) -> String {
        let shard = self.case.story.name(event.at);
        if is_temporary(told) {
            let first = all.first().map_or(event.t, |(first, _)| first.t);
            return format!(
                "{shard} answered it {} times, from {} to {}, each time with {}{}",
                all.len(),
                at(first),
                at(event.t),
                in_words(told),
                self.trouble(event.at, event.t)
            );
        }
        let astray = self.case.hops().find_map(|(later, hop)| match hop {
            Hop::Astray { device, told: of, .. } if *device == self.device && of == told && later.t >= event.t => {
                Some(later)
            }
            _ => None,
        });
        if let Some(astray) = astray {
            return format!(
                "{shard} answered it at {} with {}, which found the device's connection gone on {} at {}; nothing was answered since",
                at(event.t),
                in_words(told),
                self.case.story.name(astray.at),
                at(astray.t)
            );
        }
        let begin = format!("{shard} made up {} at {}", in_words(told), at(event.t));
        if let Told::Refused { .. } = told {
            return format!("{begin} and never sent it: {}", self.fence_since(event.t));
        }
        format!("{begin}, and it came to no gateway{}", self.trouble(event.at, event.t))
    }

    /// A refusal leaves once its fence is on disk.
    fn fence_since(&self, t: u64) -> String {
        let fenced = self.case.story.hops().find_map(|(event, hop)| match hop {
            Hop::Fenced { device, .. } if *device == self.device && event.t >= t => Some(event.t),
            _ => None,
        });
        let other = self.case.story.hops().find_map(|(event, hop)| match hop {
            Hop::Committing { .. } if event.t > t && Some(event.at) == self.case.shard.map(Entity::Host) => {
                Some(event.t)
            }
            _ => None,
        });
        match (fenced, other) {
            (Some(fenced), _) => format!(
                "the commit that keeps it final was begun at {} and was not done{}",
                at(fenced),
                self.trouble(self.case.shard.map_or(Entity::World, Entity::Host), fenced)
            ),
            (None, Some(other)) => format!(
                "a refusal waits until a commit has made it final, and none has held the fence of device {}, not even that of {}",
                self.device,
                at(other)
            ),
            (None, None) => format!(
                "a refusal waits until a commit has made it final, and none was begun for the fence of device {} in the {} s until the end",
                self.device,
                (self.case.story.end() - t) / 1_000_000
            ),
        }
    }

    /// It has its place in memory.
    fn staged(&self, placed: &Placed) -> String {
        let name = placed.shard.map_or(self.case.shard_name(), |shard| self.case.story.host(shard));
        let begin = format!(
            "{name} gave it seq {} at {}",
            placed.seq,
            at(placed.staged.or(placed.committed).unwrap_or_default())
        );
        let host = placed.shard.or(self.case.shard).map_or(Entity::World, Entity::Host);
        if let Some(committed) = placed.committed {
            return format!("{begin} and had it on disk at {}, and told nobody who had sent it", at(committed));
        }
        match (placed.failed, placed.committing) {
            (Some(failed), _) => format!(
                "{begin}; its commit failed at {}, and what was sent since was not stored either{}",
                at(failed),
                self.trouble(host, failed)
            ),
            (None, Some(begun)) => {
                format!("{begin}; its commit, begun at {}, was never done{}", at(begun), self.trouble(host, begun))
            }
            (None, None) => format!(
                "{begin}, and no commit has taken it{}",
                self.trouble(host, placed.staged.unwrap_or_default())
            ),
        }
    }

    /// The shard has had it and says nothing.
    fn unheard(&self, copies: &[&Event], last: &Event) -> String {
        let shard = self.case.story.name(last.at);
        let restart = match last.at {
            Entity::Host(host) => self.case.story.stopped_between(host, 0, last.t),
            Entity::Device(_) | Entity::World => None,
        };
        let restarted = restart.map_or(String::new(), |stop| {
            format!(", which {} and was back at {},", stop.verb(), at(stop.restarted.unwrap_or(stop.t)))
        });
        let member = self.user().map_or(String::new(), |user| {
            let since = |seq| self.case.entry(seq).and_then(|placed| placed.committed.or(placed.staged));
            let stays = self.case.stays(user);
            let known = stays.iter().rev().find(|stay| since(stay.joined).is_some_and(|t| t <= last.t));
            match known.map(|stay| stay.left.filter(|left| since(*left).is_some_and(|t| t <= last.t))) {
                None => format!(", a refusal of user {user}, who was no member, included"),
                Some(Some(left)) => format!(", a refusal of user {user}, who had left at seq {left}, included"),
                Some(None) => String::new(),
            }
        });
        format!(
            "it came to {shard}{restarted} {}, which neither gave it a place nor answered anything{member}{}",
            times(copies),
            self.trouble(last.at, last.t)
        )
    }

    /// A gateway has had it, and no shard.
    fn stuck_at_gateway(&self, copies: &[&Event]) -> String {
        let last = copies.last().expect("the caller has one");
        let gateway = self.case.story.name(last.at);
        let shard = self.case.shard_name();
        let first = copies.first().map_or(last.t, |first| first.t);
        // Whether the gateway reached the shard at all meanwhile.
        let there: BTreeSet<DeviceId> = self.case.story.devices_of(last.at).collect();
        let passed = self.case.story.hops().filter(|(event, hop)| {
            event.t >= first
                && Some(event.at) == self.case.shard.map(Entity::Host)
                && matches!(hop, Hop::Received { device, .. } | Hop::HeadsAsked { device, .. } if there.contains(device))
        });
        let passed = passed.count();
        let others = match passed {
            0 => format!(", nor did anything else of {gateway} since"),
            _ => format!(", though {passed} other requests of devices of {gateway} did since"),
        };
        format!(
            "it came to {gateway} {}, and never to {shard}{others}{}",
            times(copies),
            self.case.shard.map_or(String::new(), |shard| self.trouble(Entity::Host(shard), last.t))
        )
    }

    /// What a host suffered, as a clause.
    fn trouble(&self, host: Entity, t: u64) -> String {
        let Entity::Host(host) = host else { return String::new() };
        let fault = self.case.story.while_faults(host, t);
        if !fault.is_empty() {
            return fault;
        }
        let failed = self.case.story.events.iter().rev().find_map(|event| match &event.kind {
            Kind::Hop(Hop::DiskFailed) if event.at == Entity::Host(host) && event.t <= t => Some(event.t),
            _ => None,
        });
        let stop = self.case.story.stopped_between(host, t, u64::MAX);
        match (stop, failed) {
            (Some(stop), _) => format!("; {} {}", self.case.story.host(host), stop.verb()),
            (None, Some(failed)) => {
                format!("; its disk had last refused a commit at {}", at(failed))
            }
            (None, None) => String::new(),
        }
    }
}

fn is_temporary(told: &Told) -> bool {
    matches!(told, Told::Refused { reason: "busy" | "too_often" | "expected_client_seq", .. })
}

fn in_words(told: &Told) -> String {
    match told {
        Told::Sent { seq, .. } => format!("its ack (seq {seq})"),
        Told::Refused { reason, .. } => format!("its refusal ({reason})"),
        Told::Deliver { .. }
        | Told::Page { .. }
        | Told::Error { .. }
        | Told::Typing { .. }
        | Told::Receipts { .. } => "something else".to_owned(),
    }
}
