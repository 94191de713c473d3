//! Somebody who is shown as writing and ought not to be: who let it pass, kept it too long or did not end it.

use crate::case::Case;
use crate::story::{at, lasted};
use squall_history::{Asked, Entity, Event, Hop, Kind, Told};
use squall_protocol::limits::{TYPING_INTERVAL, TYPING_SHOWN_FOR};
use squall_protocol::{DeviceId, Seq, UserId};

/// What is late beyond doubt: a notice is dropped when it is a second old, in µs.
const LATE_US: u64 = 1_500_000;
/// What a device may take to look at its clock, in µs.
const SLACK_US: u64 = 500_000;

/// What a device shows of somebody's writing.
struct Shown<'a> {
    case: &'a Case<'a>,
    device: DeviceId,
    reader: UserId,
    author: UserId,
    /// When it was last told so, up to the violation.
    told: u64,
}

pub fn cause(case: &Case<'_>) -> Option<String> {
    let (device, author) = (case.subject.device?, case.subject.user?);
    let reader = case.story.user_of(device)?;
    let told = case.of_device(device).rev().find(|event| event.t <= case.subject.t && is_shown(event, author))?;
    let shown = Shown { case, device, reader, author, told: told.t };
    if reader == author {
        return shown.own();
    }
    shown
        .lasting()
        .or_else(|| shown.beside_its_message())
        .or_else(|| shown.left())
        .or_else(|| shown.stale())
        .or_else(|| shown.too_often())
}

fn is_shown(event: &Event, author: UserId) -> bool {
    matches!(event.kind, Kind::TypingShown { user, .. } if user == author)
}

impl Shown<'_> {
    fn shard(&self) -> String {
        self.case.shard_name()
    }

    /// The shard's notices of this author: when, and to whom.
    fn noticed(&self) -> Vec<(u64, &[UserId])> {
        let of_author = |(event, hop)| match hop {
            &Hop::Noticed { told: Told::Typing { user }, ref to, .. } if user == self.author => {
                let event: &Event = event;
                Some((event.t, to.as_slice()))
            }
            _ => None,
        };
        self.case.hops().filter_map(of_author).collect()
    }

    /// The notice that the device shows.
    fn notice(&self) -> Option<(u64, &[UserId])> {
        self.noticed().into_iter().rev().find(|(t, to)| *t <= self.told && to.contains(&self.reader))
    }

    fn own(&self) -> Option<String> {
        let (t, to) = self.notice()?;
        Some(format!(
            "{} took at {} whom to tell that user {} is writing, and named {} of them, user {} among them: it did not leave out whoever writes, of whose devices device {} is one",
            self.shard(),
            at(t),
            self.author,
            to.len(),
            self.author,
            self.device
        ))
    }

    /// When the device shows them no more.
    fn over(&self, from: u64) -> u64 {
        let over = self.case.of_device(self.device).find(|event| {
            event.t >= from && matches!(event.kind, Kind::TypingOver { user, .. } if user == self.author)
        });
        over.map_or(self.case.story.end(), |event| event.t)
    }

    fn lasting(&self) -> Option<String> {
        let over = self.over(self.told);
        if over.saturating_sub(self.told) <= TYPING_SHOWN_FOR.as_micros() as u64 + SLACK_US {
            return None;
        }
        let of_others = self.case.of_device(self.device).filter(|event| {
            (self.told..over).contains(&event.t)
                && matches!(event.kind, Kind::TypingShown { user, .. } if user != self.author)
        });
        let others: Vec<u64> = of_others.map(|event| event.t).collect();
        let because = match others.as_slice() {
            [] => String::new(),
            [one] => format!(": what it was told of somebody else at {} put that off", at(*one)),
            [first, .., last] => format!(
                ": what it was told of others {} times meanwhile, from {} to {}, put that off each time",
                others.len(),
                at(*first),
                at(*last)
            ),
        };
        Some(format!(
            "device {} was last told at {} that user {} is writing and showed them for {}, to {}, though it is to end that after {}{because}",
            self.device,
            at(self.told),
            self.author,
            lasted(over - self.told),
            at(over),
            lasted(TYPING_SHOWN_FOR.as_micros() as u64)
        ))
    }

    fn beside_its_message(&self) -> Option<String> {
        let mut displayed = self.case.of_device(self.device).filter_map(|event| match &event.kind {
            Kind::Display { sender, seq, .. } if *sender == self.author && event.t <= self.case.subject.t => {
                Some((event.t, *seq))
            }
            _ => None,
        });
        let (t, seq) = displayed.next_back()?;
        let told =
            self.case.of_device(self.device).rev().find(|event| event.t <= t && is_shown(event, self.author))?.t;
        let over = self.over(told);
        (over > t).then(|| {
            format!(
                "device {} was told at {} that user {} is writing, displayed their seq {seq} at {}, and went on showing them as writing, to {}: the message did not end it",
                self.device,
                at(told),
                self.author,
                at(t),
                at(over)
            )
        })
    }

    fn left(&self) -> Option<String> {
        let (t, to) = self.notice()?;
        let (left, since) = gone(self.case, self.reader, t)?;
        Some(format!(
            "{} named user {} at {} among the {} whom it told that user {} is writing, though they had left at seq {left}, stored at {}: it went by who ever was a member",
            self.shard(),
            self.reader,
            at(t),
            to.len(),
            self.author,
            at(since)
        ))
    }

    /// It came long after it was said.
    fn stale(&self) -> Option<String> {
        let case = self.case;
        let of_author = |device: DeviceId| case.story.user_of(device) == Some(self.author);
        let handed = case.handed(self.device).into_iter().rev().find(|(event, told)| {
            event.t <= self.told && matches!(told, Told::Typing { user } if *user == self.author)
        });
        let handed = handed.map(|(event, _)| event)?;
        let (noticed, _) = self.noticed().into_iter().rev().find(|(t, _)| *t <= handed.t)?;
        let heard = |role: &str, until: u64| {
            case.hops().rev().find_map(|(event, hop)| match hop {
                Hop::Received { device, asked: Asked::Typing, .. }
                    if event.t <= until
                        && of_author(*device)
                        && matches!(event.at, Entity::Host(host) if case.story.has_role(host, role)) =>
                {
                    Some((event, *device))
                }
                _ => None,
            })
        };
        let (at_shard, by) = heard("messages-", noticed)?;
        // What waits is passed on in its order: of what came to the gateway, the last that had come when the wait began.
        let at_gateway = self.passed(by, at_shard)?;
        let waits = [
            (
                at_gateway.t,
                at_shard.t,
                format!(
                    "{} had it since {} and passed it on to {}",
                    case.story.name(at_gateway.at),
                    at(at_gateway.t),
                    self.shard()
                ),
            ),
            (at_shard.t, noticed, format!("{} had it since {} and told of it", self.shard(), at(at_shard.t))),
            (
                noticed,
                handed.t,
                format!(
                    "{} told of it at {}, and it came to {}",
                    self.shard(),
                    at(noticed),
                    case.story.name(handed.at)
                ),
            ),
            (
                handed.t,
                self.told,
                format!(
                    "{} had it for the device since {} and wrote it",
                    case.story.name(handed.at),
                    at(handed.t)
                ),
            ),
        ];
        let (from, to, words) = waits.into_iter().max_by_key(|(from, to, _)| to.saturating_sub(*from))?;
        if to.saturating_sub(from) < LATE_US {
            return None;
        }
        let fault = match at_gateway.at {
            Entity::Host(host) => case.story.while_faults(host, from + 1),
            Entity::Device(_) | Entity::World => String::new(),
        };
        Some(format!(
            "{words} only {} later, at {}{fault}: what nobody owes anybody is dropped when it is a second old, and this was not",
            lasted(to - from),
            at(to)
        ))
    }

    /// When what came to the shard from this device had come to its gateway: the `n`th to the one is the `n`th to the other, but for what
    /// was dropped before, so the oldest that has not come yet.
    fn passed(&self, device: DeviceId, at_shard: &Event) -> Option<&Event> {
        let story = self.case.story;
        let of = |role: &'static str| {
            self.case.hops().filter(move |(event, hop)| {
                matches!(hop, Hop::Received { device: by, asked: Asked::Typing, .. } if *by == device)
                    && matches!(event.at, Entity::Host(host) if story.has_role(host, role))
            })
        };
        let before = of("messages-").map(|(event, _)| event.t).rfind(|t| *t < at_shard.t).unwrap_or(0);
        let mut waited = of("gateway-").map(|(event, _)| event).filter(|event| event.t <= at_shard.t);
        waited.find(|event| event.t >= before)
    }

    fn too_often(&self) -> Option<String> {
        let case = self.case;
        let times: Vec<u64> =
            self.noticed().into_iter().map(|(t, _)| t).filter(|t| *t <= case.subject.t).collect();
        let least = TYPING_INTERVAL.as_micros() as u64;
        let by = |t: u64| {
            case.hops().rev().find_map(|(event, hop)| match hop {
                Hop::Received { device, asked: Asked::Typing, .. }
                    if event.t <= t
                        && matches!(event.at, Entity::Host(host) if case.story.has_role(host, "messages-"))
                        && case.story.user_of(*device) == Some(self.author) =>
                {
                    Some(*device)
                }
                _ => None,
            })
        };
        let pairs: Vec<(u64, u64)> =
            times.windows(2).map(|pair| (pair[0], pair[1])).filter(|(one, next)| next - one < least).collect();
        // Two devices of one user show best what is not counted together.
        let by_two = pairs.iter().rev().find(|(one, next)| by(*one) != by(*next));
        let (one, next) = *by_two.or(pairs.last())?;
        let whose = match (by(one), by(next)) {
            (Some(first), Some(other)) if first != other => format!(
                "for device {first} said so and then device {other}, both of user {}: it counts devices, not users",
                self.author
            ),
            _ => "for whoever says so is not held to once a second".to_owned(),
        };
        Some(format!(
            "{} told of user {}'s writing at {} and again at {}, {} later, {whose}; so it went {} times",
            self.shard(),
            self.author,
            at(one),
            at(next),
            lasted(next - one),
            pairs.len()
        ))
    }
}

/// With which entry a user had left before a time and not come back, and when that was stored.
pub fn gone(case: &Case<'_>, user: UserId, t: u64) -> Option<(Seq, u64)> {
    let known = |seq: Seq| case.entry(seq).and_then(|placed| placed.committed.or(placed.staged));
    let stays = case.stays(user);
    let stay = stays.iter().rev().find(|stay| known(stay.joined).is_none_or(|joined| joined <= t))?;
    let left = stay.left?;
    known(left).filter(|since| *since < t).map(|since| (left, since))
}
