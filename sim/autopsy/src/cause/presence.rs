//! Somebody who is shown online, offline or last seen at another time than they were: what gateways told the presence host of their devices,
//! and what that told whom.

use super::typing::gone;
use crate::case::Case;
use crate::story::{at, lasted};
use squall_history::{Entity, Event, Hop, Kind};
use squall_protocol::limits::PRESENCE_TOLD_EVERY;
use squall_protocol::{ConversationId, DeviceId, UserId};

/// What changes within so long of a violation is not yet what it is about, in µs.
const MOMENT_US: u64 = 100_000;

/// What a host heard of a device.
#[derive(Clone, Copy)]
struct Heard {
    t: u64,
    device: DeviceId,
    gateway: u32,
    said: Said,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Here {
        count: u64,
        hides: bool,
    },
    /// Its connection is gone, over which something came so long ago, in µs.
    Gone {
        seen_ago: u64,
    },
}

/// What a host told a gateway.
#[derive(Clone, Copy)]
struct Telling {
    t: u64,
    gateway: u32,
    state: &'static str,
    /// When they were last seen.
    seen: Option<u64>,
}

struct Watched<'a> {
    case: &'a Case<'a>,
    device: DeviceId,
    user: UserId,
    /// The device's gateway.
    gateway: u32,
    host: u16,
    /// When it was seen.
    t: u64,
    heard: Vec<Heard>,
    told: Vec<Telling>,
}

pub fn cause(case: &Case<'_>) -> Option<String> {
    let (device, user, t) = (case.subject.device?, case.subject.user?, case.subject.t);
    let host = case.story.presence_of(user)?;
    let gateway =
        u32::from(case.story.connected(device, t).or(case.story.connections(device).last().copied())?.gateway);
    let mut watched = Watched { case, device, user, gateway, host, t, heard: Vec::new(), told: Vec::new() };
    for (event, hop) in case.story.hops().filter(|(event, _)| event.t <= t) {
        watched.take(event, hop);
    }
    watched.no_member().or_else(|| watched.shown())
}

impl Watched<'_> {
    fn take(&mut self, event: &Event, hop: &Hop) {
        let mut heard = |device, gateway, said| self.heard.push(Heard { t: event.t, device, gateway, said });
        match hop {
            Hop::Present { user, device, gateway, connect_count, hides } if *user == self.user => {
                heard(*device, *gateway, Said::Here { count: *connect_count, hides: *hides });
            }
            Hop::Absent { user, device, gateway, seen_ago_ms } if *user == self.user => {
                heard(*device, *gateway, Said::Gone { seen_ago: seen_ago_ms * 1_000 });
            }
            Hop::PresenceTold { user, gateway, state, seen_ago_ms } if *user == self.user => {
                let seen = seen_ago_ms.map(|ago| event.t.saturating_sub(ago * 1_000));
                self.told.push(Telling { t: event.t, gateway: *gateway, state, seen });
            }
            _ => {}
        }
    }

    fn host(&self) -> String {
        self.case.story.host(self.host)
    }

    /// When the host last began, up to a time.
    fn began(&self, t: u64) -> Option<u64> {
        self.case.story.stops(self.host).into_iter().filter_map(|stop| stop.restarted).rfind(|r| *r <= t)
    }

    /// What the device shows, since when, and when they were last seen by that.
    fn shows(&self) -> Option<(&'static str, u64)> {
        // With a connection all that it was told ends.
        let from = self.case.story.connected(self.device, self.t).map_or(0, |connection| connection.from);
        self.case.story.events.iter().rev().find_map(|event| match &event.kind {
            Kind::Presence { user, state, .. }
                if *user == self.user
                    && event.at == Entity::Device(self.device)
                    && (from..=self.t).contains(&event.t) =>
            {
                Some((*state, event.t))
            }
            _ => None,
        })
    }

    /// The watched user's connections: the device, from when, on which gateway, to when.
    fn connections(&self) -> Vec<(DeviceId, crate::story::Connection)> {
        let devices = self.case.story.devices_of_user(self.user);
        devices
            .into_iter()
            .flat_map(|device| self.case.story.connections(device).into_iter().map(move |c| (device, c)))
            .collect()
    }

    fn last_told(&self, until: u64) -> Option<Telling> {
        self.told.iter().rev().find(|told| told.gateway == self.gateway && told.t <= until).copied()
    }

    /// The watcher is in no conversation with them any more.
    fn no_member(&self) -> Option<String> {
        let watches = self.case.story.events.iter().rev().filter_map(|event| match &event.kind {
            Kind::Watch { conversation, users }
                if event.at == Entity::Device(self.device) && event.t <= self.t && users.contains(&self.user) =>
            {
                Some(*conversation)
            }
            _ => None,
        });
        let conversations: Vec<ConversationId> = watches.collect();
        let watcher = self.case.story.user_of(self.device)?;
        for conversation in conversations {
            let subject = crate::case::Subject { conversation, ..self.case.subject.clone() };
            let inner = Case::new(self.case.story, &subject);
            let mut leases = self.case.story.hops().filter_map(|(event, hop)| match hop {
                Hop::Leased { conversation: of, watcher: by, granted }
                    if *of == conversation
                        && *by == watcher
                        && granted.contains(&self.user)
                        && event.t <= self.t =>
                {
                    Some(event.t)
                }
                _ => None,
            });
            let Some(renewed) = leases.next_back() else { continue };
            for who in [self.user, watcher] {
                if let Some((left, since)) = gone(&inner, who, renewed) {
                    return Some(format!(
                        "{} renewed at {} the leave of user {watcher} to watch user {}, though user {who} had left their conversation at seq {left}, stored at {}: it asked whether they ever were a member",
                        inner.shard_name(),
                        at(renewed),
                        self.user,
                        at(since)
                    ));
                }
            }
        }
        None
    }

    fn shown(&self) -> Option<String> {
        let (state, since) = self.shows().unwrap_or(("unknown", 0));
        // What changes at this very moment is not what was to be shown by now.
        let moment = self.t.saturating_sub(MOMENT_US);
        let mut here = self.connections();
        here.retain(|(_, c)| c.from <= moment && c.until.is_none_or(|until| until > moment));
        let hides = self.case.story.events.iter().rev().find_map(|event| match &event.kind {
            Kind::Invisible { user, on } if *user == self.user && event.t <= self.t => Some(on.then_some(event.t)),
            _ => None,
        });
        let hides = hides.flatten();
        let is_seen = !here.is_empty() && hides.is_none();
        match state {
            "offline" if is_seen => {
                let told = self.last_told(since)?;
                self.forgot(&told)
                    .or_else(|| self.took_the_newer(&told))
                    .or_else(|| self.never_told_on(&here))
                    .or_else(|| Some(self.told_so(&told)))
            }
            "online" if hides.is_some() => self.uncovered(hides?).or_else(|| self.never_told_away()),
            "online" => self.never_told_away(),
            "offline" => self.seen_at_another_time(since).or_else(|| self.never_told_on(&here)),
            _ => self.not_subscribed(moment).or_else(|| match is_seen {
                true => self.never_told_on(&here),
                false => self.never_told_away(),
            }),
        }
    }

    fn told_so(&self, told: &Telling) -> String {
        format!(
            "{} told gateway-{} at {} that user {} is {}",
            self.host(),
            told.gateway,
            at(told.t),
            self.user,
            told.state
        )
    }

    /// The host had just begun and had not heard of them.
    fn forgot(&self, told: &Telling) -> Option<String> {
        let began = self.began(told.t)?;
        let heard = self.heard.iter().find(|heard| heard.t >= began && heard.t <= told.t);
        if heard.is_some() {
            return None;
        }
        let (device, c) = self
            .connections()
            .into_iter()
            .find(|(_, c)| c.from <= told.t && c.until.is_none_or(|u| u > told.t))?;
        let later = self.heard.iter().find(|heard| heard.t > told.t && heard.device == device);
        let later = later.map_or("and has not heard of them since".to_owned(), |heard| {
            format!("and heard of them at {}", at(heard.t))
        });
        Some(format!(
            "{}, {} after it had started, while device {device} was connected to gateway-{} since {}: it had forgotten everybody, did not know yet whom its gateways hold, {later}",
            self.told_so(told),
            lasted(told.t - began),
            c.gateway,
            at(c.from)
        ))
    }

    /// An old connection's end was taken for the newer one's.
    fn took_the_newer(&self, told: &Telling) -> Option<String> {
        let gone =
            self.heard.iter().rev().find(|heard| heard.t <= told.t && matches!(heard.said, Said::Gone { .. }))?;
        let newer = self.heard.iter().rev().find(|heard| {
            heard.t <= gone.t
                && heard.device == gone.device
                && heard.gateway != gone.gateway
                && matches!(heard.said, Said::Here { .. })
        })?;
        let Said::Here { count, .. } = newer.said else { return None };
        let c = self.case.story.connections(newer.device).into_iter().find(|c| c.count == count)?;
        if c.until.is_some_and(|until| until < gone.t) {
            return None;
        }
        Some(format!(
            "{} heard of gateway-{} at {} that its connection of device {} is gone, and took away the newer one (count {count}), which gateway-{} had told it of at {} and which was still there; so {}",
            self.host(),
            gone.gateway,
            at(gone.t),
            gone.device,
            newer.gateway,
            at(newer.t),
            self.told_so(told)
        ))
    }

    /// Somebody who hides is told of as one who does not.
    fn uncovered(&self, hides: u64) -> Option<String> {
        let heard = self
            .heard
            .iter()
            .find(|heard| heard.t > hides && matches!(heard.said, Said::Here { hides: false, .. }))?;
        let began = self.began(heard.t);
        let link = self.case.story.hops().rev().find_map(|(event, hop)| match hop {
            Hop::LinkUp { to }
                if event.t <= heard.t
                    && event.t > hides
                    && self.case.story.name(event.at) == format!("gateway-{}", heard.gateway)
                    && to.split(':').next() == Some(self.host().as_str()) =>
            {
                Some(event.t)
            }
            _ => None,
        });
        let anew = match (link, began) {
            (Some(link), _) => format!(" with all that it holds, as their link had begun anew at {},", at(link)),
            (None, Some(began)) if began > hides => {
                format!(" with all that it holds, after {} had started anew at {},", self.host(), at(began))
            }
            _ => String::new(),
        };
        Some(format!(
            "gateway-{} told {} at {}{anew} that device {} is there and does not hide, which user {} does since {}",
            heard.gateway,
            self.host(),
            at(heard.t),
            heard.device,
            self.user,
            at(hides)
        ))
    }

    /// The user is not there, or hides, and is shown online.
    fn never_told_away(&self) -> Option<String> {
        let connections = self.connections();
        let (device, last) = connections
            .into_iter()
            .filter(|(_, c)| c.from <= self.t)
            .max_by_key(|(_, c)| c.until.unwrap_or(u64::MAX))?;
        let gone = self.heard.iter().rev().find(|heard| {
            heard.device == device && matches!(heard.said, Said::Gone { .. }) && heard.t >= last.from
        });
        if let Some(gone) = gone {
            let told = self
                .told
                .iter()
                .find(|told| told.gateway == self.gateway && told.t >= gone.t && told.state != "online");
            return match told {
                Some(told) => Some(format!("{}; the device was not shown so", self.told_so(told))),
                None => self.swallowed(gone).or_else(|| self.not_subscribed(gone.t)),
            };
        }
        let ended = match last.until {
            Some(until) => format!("had lost its connection by {} ({})", at(until), last.reason),
            None => "was silent".to_owned(),
        };
        let away = self.case.story.events.iter().rev().find_map(|event| match event.kind {
            Kind::Away if event.at == Entity::Device(device) && event.t <= self.t => Some(event.t),
            _ => None,
        });
        let away = away
            .filter(|away| last.until.is_none_or(|until| *away >= until))
            .map_or(String::new(), |away| format!(" and was put away at {}", at(away)));
        let closed = self.case.story.hops().find_map(|(event, hop)| match hop {
            Hop::Closed { device: of, reason }
                if *of == device && event.t >= last.until.unwrap_or(last.from) && event.t <= self.t =>
            {
                Some((event.t, *reason))
            }
            _ => None,
        });
        let closed = closed.map_or(", whose connection it has kept".to_owned(), |(t, reason)| {
            format!(", whose connection it gave up at {} ({reason})", at(t))
        });
        let fault =
            self.case.story.index_of(&format!("gateway-{}", last.gateway)).map_or(String::new(), |gateway| {
                self.case.story.while_faults(gateway, last.until.unwrap_or(last.from))
            });
        Some(format!(
            "gateway-{} never told {} that device {device} is gone, which {ended}{away}{fault}, and of which it had heard nothing since{closed}: to {} user {} is there",
            last.gateway,
            self.host(),
            self.host(),
            self.user
        ))
    }

    /// A change within a second of the last notice was not told later either.
    fn swallowed(&self, change: &Heard) -> Option<String> {
        let before = self.last_told(self.t)?;
        let within = change.t.checked_sub(before.t)?;
        // Who has gone is offline after a grace only: that is when it would be told.
        let said = match change.said {
            Said::Here { hides: false, .. } => "is there".to_owned(),
            Said::Here { hides: true, .. } => "hides".to_owned(),
            Said::Gone { .. } => "is gone".to_owned(),
        };
        let began = format!(
            "{}; it heard at {}, {} later, that device {} {said}, and told gateway-{} nothing of that, then or in the {} since",
            self.told_so(&before),
            at(change.t),
            lasted(within),
            change.device,
            self.gateway,
            lasted(self.t - change.t)
        );
        (within < PRESENCE_TOLD_EVERY.as_micros() as u64)
            .then(|| format!("{began}: what changes within a second of the last notice was left out for good"))
            .or_else(|| {
                let closer = self.changed_after(&before)?;
                Some(format!("{began}: what had changed {closer} after the last notice was left out for good"))
            })
    }

    /// How long after a notice the next change of any kind was that the notice did not yet tell of.
    fn changed_after(&self, told: &Telling) -> Option<String> {
        let next = self.heard.iter().find(|heard| heard.t > told.t)?;
        let after = next.t - told.t;
        (after < PRESENCE_TOLD_EVERY.as_micros() as u64).then(|| lasted(after))
    }

    /// The user is there, and is not shown so.
    fn never_told_on(&self, here: &[(DeviceId, crate::story::Connection)]) -> Option<String> {
        let heard = self.heard.iter().rev().find(|heard| {
            here.iter().any(|(device, c)| {
                heard.device == *device && matches!(heard.said, Said::Here { count, .. } if count == c.count)
            })
        });
        let Some(heard) = heard else {
            let (device, c) = here.first()?;
            return Some(format!(
                "gateway-{} has not told {} of device {device}, which is connected there since {}",
                c.gateway,
                self.host(),
                at(c.from)
            ));
        };
        self.not_subscribed(heard.t).or_else(|| self.swallowed(heard)).or_else(|| {
            let told = self.last_told(self.t)?;
            Some(format!("{} heard at {} that device {} is there; the last that it told gateway-{}, at {}, is that they are {}", self.host(), at(heard.t), heard.device, self.gateway, at(told.t), told.state))
        })
    }

    /// The watcher's gateway has not asked for the user since its link or the host began anew.
    fn not_subscribed(&self, change: u64) -> Option<String> {
        let asked: Vec<u64> = self
            .case
            .story
            .hops()
            .filter_map(|(event, hop)| match hop {
                Hop::Subscribed { user, gateway }
                    if *user == self.user && *gateway == self.gateway && event.t <= self.t =>
                {
                    Some(event.t)
                }
                _ => None,
            })
            .collect();
        let name = format!("gateway-{}", self.gateway);
        let link = self.case.story.hops().rev().find_map(|(event, hop)| match hop {
            Hop::LinkUp { to }
                if event.t <= self.t
                    && self.case.story.name(event.at) == name
                    && to.split(':').next() == Some(self.host().as_str()) =>
            {
                Some(event.t)
            }
            _ => None,
        });
        let began = self.began(self.t);
        let anew = link.max(began)?;
        let last = asked.last().copied();
        if last.is_some_and(|last| last + 1_000 >= anew) {
            return None;
        }
        let stop = self.case.story.stopped_between(self.host, 0, anew);
        let why = stop.map_or(String::new(), |stop| format!(", after {} {}", self.host(), stop.verb()));
        let before = last.map_or("never asked".to_owned(), |last| format!("asked last at {}", at(last)));
        Some(format!(
            "{name} {before} {} to be told of user {}; their link began anew at {}{why}, and it has not asked again since, so it was told nothing of how things stand by {}",
            self.host(),
            self.user,
            at(anew),
            at(change)
        ))
    }

    /// Offline, and last seen at another time than they were.
    fn seen_at_another_time(&self, since: u64) -> Option<String> {
        let told = self.last_told(since)?;
        let seen = told.seen?;
        let goings: Vec<(&Heard, u64)> = self
            .heard
            .iter()
            .filter(|heard| heard.t <= told.t)
            .filter_map(|heard| match heard.said {
                Said::Gone { seen_ago } => Some((heard, heard.t.saturating_sub(seen_ago))),
                Said::Here { .. } => None,
            })
            .collect();
        let (last, last_seen) = goings.last().copied()?;
        let near = |t: u64| t.abs_diff(seen) < 100_000;
        if near(last_seen) {
            return None;
        }
        let of = goings.iter().rev().find(|(_, seen)| near(*seen)).map_or(String::new(), |(heard, _)| {
            format!(
                ", when device {} had gone, as gateway-{} had told it at {}",
                heard.device,
                heard.gateway,
                at(heard.t)
            )
        });
        Some(format!(
            "{} and was last seen at {}{of}; that gateway-{} had told it at {} of device {}, which was last there at {}, did not move that",
            self.told_so(&told),
            at(seen),
            last.gateway,
            at(last.t),
            last.device,
            at(last_seen)
        ))
    }
}
