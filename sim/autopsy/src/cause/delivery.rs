//! An entry that a device was to show, and has not, or not in time: where its way to the device ends.

use super::{channel, pauses, redelivery};
use crate::case::{Arrival, Case};
use crate::story::{Connection, at};
use squall_history::{Entity, Hop, Kind, Place, Told};
use squall_protocol::{DeviceId, Seq, UserId, limits};

/// What is published together comes to a host within so long, in µs.
const SAME_US: u64 = 250_000;

/// What is put into a device's queue behind a delivery before that is written comes within so long, in µs.
const BEHIND_US: u64 = 20_000;

/// An entry and a device that is to show it.
pub struct Way<'a> {
    pub case: &'a Case<'a>,
    pub seq: Seq,
    pub device: DeviceId,
    pub user: UserId,
    /// When the entry was there to be seen.
    pub since: u64,
}

pub fn cause(case: &Case<'_>) -> Option<String> {
    let (seq, device) = (case.subject.seq?, case.subject.device?);
    let user = case.story.user_of(device)?;
    let entry = case.entry(seq)?;
    let since = entry.committed.or(entry.staged).or(entry.found.first().copied())?;
    let way = Way { case, seq, device, user, since };
    let late = || if case.subject.property == "in-time" { pauses::before_publication(&way) } else { None };
    way.skipped().or_else(late).or_else(|| channel::left_out(&way)).or_else(|| way.by_connection())
}

impl Way<'_> {
    pub fn shard(&self) -> String {
        self.case.shard_name()
    }

    /// What arrived and spoke for the entry without holding it.
    fn skipped(&self) -> Option<String> {
        let arrivals = self.case.arrivals(self.device, self.seq);
        if let Some(with) = arrivals.iter().find(|arrival| arrival.has)
            && self.case.subject.property == "no-loss"
        {
            return Some(self.not_shown(with));
        }
        let without = arrivals.iter().find(|arrival| !arrival.has && arrival.from <= arrival.to)?;
        if without.by_page { Some(self.page_without(without)) } else { None }
    }

    /// It came, and the device shows it not.
    fn not_shown(&self, arrival: &Arrival) -> String {
        let way = if arrival.by_page { "in a page" } else { "as a delivery" };
        let came = format!("it came to device {} at {} {way}, which has not shown it", self.device, at(arrival.t));
        let shown =
            self.case.of_device(self.device).filter(|event| event.t <= arrival.t).filter_map(|event| match &event
                .kind
            {
                Kind::Display { seq, .. } => Some(*seq),
                Kind::Skip { to, .. } => Some(*to),
                _ => None,
            });
        let shown = shown.max().unwrap_or(Seq::ZERO);
        if shown >= self.seq {
            return format!("{came}: it had moved on to seq {shown} by then");
        }
        if shown.next() == self.seq {
            return format!("{came}, though it follows on seq {shown}, the last one that it had shown");
        }
        let lacked = shown.next();
        let asked = self.case.of_device(self.device).rev().find_map(|event| match event.kind {
            Kind::Sync { since, .. } if event.t >= arrival.t && since < self.seq => Some(event.t),
            _ => None,
        });
        let asked = match asked {
            Some(t) => format!("asked last at {} for what it lacked", at(t)),
            None => "never asked for what it lacked".to_owned(),
        };
        format!(
            "{came}, for it lacked seq {lacked} before it{}, and {asked}",
            super::shown::lacking(self.case, self.device, lacked, arrival.t)
        )
    }

    /// A page that spoke for the entry and left it out.
    fn page_without(&self, arrival: &Arrival) -> String {
        let page = self.case.hops().rev().find_map(|(event, hop)| match hop {
            Hop::Answered { device, told: Told::Page { from, to, held, head }, .. }
                if *device == self.device
                    && event.t <= arrival.t
                    && (*from, *to) == (arrival.from, arrival.to) =>
            {
                Some((event.t, held.clone(), *head))
            }
            _ => None,
        });
        if let Some(sentence) = page.is_none().then(|| channel::page_without(self, arrival)).flatten() {
            return sentence;
        }
        let (t, held, head) = page.unwrap_or((arrival.t, Vec::new(), arrival.to));
        let begin = format!(
            "the page that {} gave at {} spoke for seq {} to {} and left out seq {}",
            self.shard(),
            at(t),
            arrival.from,
            arrival.to,
            self.seq
        );
        let stays = self.case.stays(self.user);
        if let (Some(stay), Some(last)) =
            (stays.iter().rev().skip(1).find(|stay| stay.covers(self.seq)), stays.last())
            && !last.covers(self.seq)
        {
            let left = stay.left.map_or(String::new(), |left| format!(" to {left}"));
            return format!(
                "{begin}, as if user {} had been no member there: it forgot their earlier stay, from seq {}{left}, when they came again at seq {}",
                self.user, stay.joined, last.joined
            );
        }
        if stays.iter().any(|stay| stay.joined == self.seq) {
            return format!(
                "{begin}, the very entry with which user {} joined: their stay was looked for before it",
                self.user
            );
        }
        let said = self.case.entry(self.seq).and_then(|placed| self.case.what(placed.message));
        if let Some(what) = said.filter(|what| what.moves()) {
            return format!(
                "{begin}, which says {}: it went by stays that do not begin or end with it",
                super::admission::deed(what)
            );
        }
        let last_held = held.last().map(|arrived| arrived.seq);
        if self.seq == arrival.to && arrival.to < head {
            return format!(
                "{begin}, its own last place ({} entries held, of a log up to {head}); the next page begins after it",
                held.len()
            );
        }
        if let Some(last) = last_held.filter(|last| *last < self.seq)
            && held.len() < limits::PAGE_ENTRIES
        {
            return format!(
                "{begin}: it held {} entries, fewer than a page may, ended with seq {last}, and was taken for the last one though the log went on to {head}",
                held.len()
            );
        }
        begin
    }

    /// What ought to have told the device, by when it was connected.
    fn by_connection(&self) -> Option<String> {
        let last = self.case.story.connections(self.device).into_iter().rev().find(|c| c.from <= self.end())?;
        if let Some(sentence) = self.silent(&last) {
            return Some(sentence);
        }
        match last.from > self.since {
            true => self.not_in_heads(&last).or_else(|| self.told_by_heads(&last)).or_else(|| self.fan_out()),
            false => self.fan_out(),
        }
    }

    /// When the entry was shown at last, or the end.
    pub fn end(&self) -> u64 {
        self.case.displayed(self.device, self.seq).unwrap_or_else(|| self.case.story.end())
    }

    /// A connection over which nothing comes and which the device keeps.
    fn silent(&self, connection: &Connection) -> Option<String> {
        let handed = self.case.handed(self.device).into_iter().find(|(event, told)| {
            event.t >= connection.from && matches!(told, Told::Deliver { to, .. } if *to >= self.seq)
        });
        let (event, _) = handed?;
        let heard = self.case.story.events.iter().any(|later| {
            later.at == Entity::Device(self.device)
                && later.t > event.t
                && matches!(later.kind, Kind::Deliver { .. } | Kind::Disconnect { .. } | Kind::Sent { .. })
        });
        if heard || connection.until.is_some() || self.end() < event.t + limits::ANSWER_LIMIT.as_micros() as u64 {
            return None;
        }
        Some(format!(
            "handed by {} at {} to the connection that device {} has had since {}, over which nothing has come any more{}; the device never noticed and keeps it to the end",
            self.case.story.name(event.at),
            at(event.t),
            self.device,
            at(connection.from),
            silent_fault(self.case, connection.from, event.t)
        ))
    }

    /// The heads that the shard told a connection: when, how far this log goes, how many there were, and whether they were the last.
    fn heads_told(&self, connection: &Connection) -> Vec<(u64, Option<Seq>, u64, bool)> {
        // The heads may be told before the device has read its welcome.
        let all = self.case.story.connections(self.device);
        let before =
            all.iter().filter_map(|c| c.until).filter(|until| *until <= connection.from).max().unwrap_or(0);
        self.case
            .story
            .hops()
            .filter_map(|(event, hop)| match hop {
                Hop::HeadsTold { device, conversation, head, count, last }
                    if *device == self.device
                        && event.t >= before
                        && self.case.shard.is_none_or(|shard| event.at == Entity::Host(shard)) =>
                {
                    let named = conversation.is_some_and(|of| of == self.case.subject.conversation);
                    Some((event.t, head.filter(|_| named), *count, *last))
                }
                _ => None,
            })
            .collect()
    }

    /// They told how far the log goes.
    fn told_by_heads(&self, connection: &Connection) -> Option<String> {
        let told = self.heads_told(connection);
        let (t, ..) = told.into_iter().find(|(_, head, ..)| head.is_some_and(|head| head >= self.seq))?;
        pauses::after_heads(self, t)
    }

    /// The device came after the entry was there: it learns of it from the heads.
    fn not_in_heads(&self, connection: &Connection) -> Option<String> {
        let told = self.heads_told(connection);
        if told.iter().any(|(_, head, ..)| head.is_some_and(|head| head >= self.seq)) {
            return None;
        }
        let came =
            format!("device {} came back at {}, after the entry was there", self.device, at(connection.from));
        let Some((t, head, count, last)) = told.last().copied() else {
            return Some(format!("{came}, and {} never told it where its conversations stand", self.shard()));
        };
        let stop = self.case.shard.and_then(|shard| self.case.story.stopped_between(shard, 0, t));
        if let Some(head) = head {
            let until = self.case.stays(self.user).into_iter().rev().find(|stay| stay.covers(self.seq));
            let until = until.map_or(String::new(), |stay| match stay.left {
                Some(left) => format!(", though user {} was a member until seq {left}", self.user),
                None => format!(", though user {} is a member since seq {}", self.user, stay.joined),
            });
            let restarted = stop.map_or(String::new(), |stop| format!("; it {} before", stop.verb()));
            return Some(format!(
                "{came}, and {} told it at {} that the log ends at seq {head}{until}{restarted}",
                self.shard(),
                at(t)
            ));
        }
        let unnamed = format!(
            "{came}; what {} told it at {} of its conversations did not name this one",
            self.shard(),
            at(t)
        );
        if last && count as usize >= limits::HEADS_PER_FRAME {
            return Some(format!(
                "{unnamed}: {count} heads, as many as a part holds, were said to be the last, and those beyond were never told"
            ));
        }
        if let Some(left) = self.case.stays(self.user).last().and_then(|stay| stay.left) {
            let restarted = stop.map_or(String::new(), |stop| {
                format!(", and which {} had not used since it {}", self.shard(), stop.verb())
            });
            return Some(format!("{unnamed}, in which their user was a member until seq {left}{restarted}"));
        }
        if let Some((life, up_to)) = self.acked_in_a_former_life() {
            return Some(format!(
                "{unnamed}, in which its former life, device {life}, had acked up to seq {up_to}, before the device forgot everything"
            ));
        }
        let acked =
            self.case.of_device(self.device).any(|event| event.t < t && matches!(event.kind, Kind::Ack { .. }));
        let why = if acked {
            String::new()
        } else {
            let first = self.case.at_place(Seq(1)).first().and_then(|placed| placed.committed.or(placed.staged));
            let created = first.map_or(String::new(), |first| {
                format!("it was created at {}, while the device was away, and ", at(first))
            });
            format!(": {created}the device has never acked in it, so it has no cursor there")
        };
        Some(format!("{unnamed}{why}"))
    }

    /// How far the device had acked before it began anew.
    fn acked_in_a_former_life(&self) -> Option<(DeviceId, Seq)> {
        self.case.story.earlier_lives(self.device).into_iter().find_map(|life| {
            let acks = self.case.of_device(life).filter_map(|event| match &event.kind {
                Kind::Ack { up_to, .. } => Some(*up_to),
                _ => None,
            });
            Some((life, acks.max()?))
        })
    }

    /// The device was there: the entry is planned, looked up, published.
    fn fan_out(&self) -> Option<String> {
        let planned: Vec<_> = self
            .case
            .hops()
            .filter_map(|(event, hop)| match hop {
                Hop::Planned { seq, users, registry, .. } if *seq == self.seq => Some((event.t, users, *registry)),
                _ => None,
            })
            .collect();
        let forwarded = self.forwarded();
        if let Some((t, place)) = forwarded.last() {
            return Some(self.lost_on_the_way(*t, place));
        }
        let Some((t, _, registry)) = planned.iter().rev().find(|(_, users, _)| users.contains(&self.user)) else {
            return channel::cause(self).or_else(|| self.not_planned(planned.first().map(|(t, ..)| *t)));
        };
        let looked_up = self.case.hops().rev().find_map(|(event, hop)| match hop {
            Hop::LookedUp { seq, registry: of, found, .. } if *seq == self.seq && of == registry => {
                Some((event.t, found))
            }
            _ => None,
        });
        match looked_up {
            None => Some(self.never_answered(*t, *registry)),
            Some((t, found)) => match found.iter().find(|place| place.device == self.device) {
                Some(place) => Some(self.known_and_left_out(t, place, found)),
                None => Some(self.unknown(t, *registry)),
            },
        }
    }

    /// Each time the entry went to the bus for the device.
    pub fn forwarded(&self) -> Vec<(u64, Place)> {
        let own = |to: &[Place]| to.iter().find(|place| place.device == self.device).copied();
        self.case
            .hops()
            .filter_map(|(event, hop)| match hop {
                Hop::Forwarded { seq, to, .. } if *seq == self.seq => Some((event.t, own(to)?)),
                _ => None,
            })
            .collect()
    }

    fn not_planned(&self, t: Option<u64>) -> Option<String> {
        let joined = self.case.stays(self.user).into_iter().find(|stay| stay.joined == self.seq);
        let whose = if joined.is_some() { ", whom this very entry makes a member" } else { "" };
        Some(match t {
            Some(t) => format!("{} planned it at {} without user {}{whose}", self.shard(), at(t), self.user),
            None => format!("{} never planned whom to tell of it{whose}", self.shard()),
        })
    }

    fn lost_on_the_way(&self, t: u64, place: &Place) -> String {
        let connection = self.case.connected(self.device, t);
        if let Some(connection) =
            connection.filter(|c| u32::from(c.gateway) != place.gateway || c.count != place.connect_count)
        {
            return self.wrong_place(t, place, &connection);
        }
        let lost = self.lost_where(t, place.gateway, self.seq);
        format!("published at {} for gateway-{}, {lost}; {}", at(t), place.gateway, redelivery::clause(self, t))
    }

    /// Where a publication of this place ended, or what told the device again of it.
    pub fn lost_where(&self, t: u64, gateway: u32, seq: Seq) -> String {
        let name = format!("gateway-{gateway}");
        let fault_on = |host: &str, t: u64| {
            let index = self.case.story.index_of(host);
            index.map_or(String::new(), |index| self.case.story.while_faults(index, t))
        };
        let carried = self.case.hops().find_map(|(event, hop)| match hop {
            Hop::Carried { to, from, devices, subscribed, .. }
                if event.t >= t && (*from..=*to).contains(&seq) && devices.contains(&self.device) =>
            {
                Some((event, *subscribed))
            }
            _ => None,
        });
        let Some((carried, subscribed)) = carried else {
            let bus =
                self.case.story.bus_of(gateway).map_or("its bus".to_owned(), |bus| self.case.story.host(bus));
            let fault = fault_on(&bus, t);
            let shard = self.case.shard.map_or(String::new(), |shard| self.case.story.while_faults(shard, t));
            let clear = if shard.is_empty() { ", though no fault was on its way then".to_owned() } else { shard };
            let fault = if fault.is_empty() { clear } else { fault };
            return format!("it never came to {bus}{fault}{}", self.for_others(t, seq, gateway));
        };
        let bus = self.case.story.name(carried.at);
        if !subscribed {
            let fault = fault_on(&bus, carried.t);
            let why = if fault.is_empty() { ", without room for it" } else { ", for nobody took it there" };
            return format!("{bus} dropped it at {}{why}{fault}", at(carried.t));
        }
        let came = self.case.hops().find_map(|(event, hop)| match hop {
            Hop::Handed { device, told: Told::Deliver { to, .. }, .. }
                if *device == self.device && *to == seq && (carried.t..carried.t + SAME_US).contains(&event.t) =>
            {
                let pushed = self.pushed_out(event);
                Some(format!("handed to the device by {name} at {}, where it never came{pushed}", at(event.t)))
            }
            Hop::Astray { device, told: Told::Deliver { to, .. }, .. }
                if *device == self.device && *to == seq && event.t >= carried.t =>
            {
                Some(format!("it found the connection gone on {name} at {}", at(event.t)))
            }
            _ => None,
        });
        came.unwrap_or_else(|| {
            let took = format!("{bus} took it at {}", at(carried.t));
            match self.to_others(carried.t, seq, &name) {
                Some(others) => format!("{took}; {name}, which had it, {others}, and did not hand it to this one"),
                None => format!("{took} and it never came to {name}{}", fault_on(&bus, carried.t)),
            }
        })
    }

    /// What nobody is owed and was put into the device's queue right behind a delivery that did not come.
    fn pushed_out(&self, handed: &squall_history::Event) -> String {
        let behind = self.case.hops().find_map(|(event, hop)| match hop {
            Hop::Handed { device, told: told @ (Told::Typing { .. } | Told::Receipts { .. }), .. }
                if *device == self.device
                    && event.at == handed.at
                    && (handed.t..handed.t + BEHIND_US).contains(&event.t) =>
            {
                Some((event.t, told))
            }
            _ => None,
        });
        match behind {
            Some((t, Told::Typing { user })) => format!(
                ": at {} it put into the same queue that user {user} is writing, which came and took its place",
                at(t)
            ),
            Some((t, _)) => {
                format!(": at {} it put a notice of receipts into the same queue, which took its place", at(t))
            }
            None => String::new(),
        }
    }

    /// What a bus did with the same entry for other gateways at that time, as a clause.
    fn for_others(&self, t: u64, seq: Seq, gateway: u32) -> String {
        let other = self.case.hops().find_map(|(event, hop)| match hop {
            Hop::Carried { to, from, gateway: of, subscribed, .. }
                if *of != gateway && (*from..=*to).contains(&seq) && (t..t + SAME_US).contains(&event.t) =>
            {
                Some((event, *of, *subscribed))
            }
            _ => None,
        });
        other.map_or(String::new(), |(event, of, subscribed)| {
            let became = if subscribed { "which took it" } else { "for which nobody took it" };
            format!(
                "; what was published with it for gateway-{of} came to {} at {}, {became}",
                self.case.story.name(event.at),
                at(event.t)
            )
        })
    }

    /// What a gateway did with the same entry for other devices at that time.
    fn to_others(&self, t: u64, seq: Seq, gateway: &str) -> Option<String> {
        let (mut handed, mut gone) = (0, None);
        for (event, hop) in self.case.hops() {
            if !(t..t + SAME_US).contains(&event.t) || self.case.story.name(event.at) != gateway {
                continue;
            }
            match hop {
                Hop::Handed { told: Told::Deliver { to, .. }, .. } if *to == seq => handed += 1,
                Hop::Astray { device, told: Told::Deliver { to, .. }, .. } if *to == seq => {
                    gone = Some((event.t, *device));
                }
                _ => {}
            }
        }
        let gone = gone.map(|(t, device)| format!("found the connection of device {device} gone at {}", at(t)));
        match (handed, gone) {
            (0, None) => None,
            (0, Some(gone)) => Some(gone),
            (n, None) => Some(format!("handed it to {n} others")),
            (n, Some(gone)) => Some(format!("handed it to {n} others and {gone}")),
        }
    }
}

/// The last fault that struck single devices before a time, for what is said of a silent connection.
pub fn silent_fault(case: &Case<'_>, from: u64, until: u64) -> String {
    let fault = case.story.events.iter().rev().find_map(|event| match &event.kind {
        Kind::Fault { name, active: true, harm, .. }
            if harm.connections && from <= event.t && event.t <= until =>
        {
            Some((name, event.t))
        }
        _ => None,
    });
    fault.map_or(String::new(), |(name, t)| format!(" (the fault \"{name}\" struck connections at {})", at(t)))
}
