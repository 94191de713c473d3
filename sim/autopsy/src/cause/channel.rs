//! An entry of a channel that did not come to a device: where its way from the shard over the gateway that follows ends.

use super::delivery::Way;
use crate::case::Arrival;
use crate::story::{Connection, at};
use squall_history::{Entity, Event, Hop, Kind, Told};
use squall_protocol::{DeviceId, Seq};

/// What is told at once comes within so long, in µs.
const SOON_US: u64 = 1_500_000;

/// Those who come back together ask within so long, in µs.
const TOGETHER_US: u64 = 1_000_000;

/// How far a gateway has been told, when.
#[derive(Clone, Copy)]
struct Taken {
    t: u64,
    from: Seq,
    to: Seq,
}

/// A device's gateway and what it has of the channel.
struct Follower<'a> {
    way: &'a Way<'a>,
    name: String,
    at: Entity,
    connection: Connection,
}

/// The sentence, if the entry went to nobody one by one and somebody follows the conversation.
pub fn cause(way: &Way<'_>) -> Option<String> {
    let is_of_channel =
        |hop: &Hop| matches!(hop, Hop::Followed { .. } | Hop::TailTold { .. } | Hop::TailTaken { .. });
    way.case.hops().find(|(_, hop)| is_of_channel(hop))?;
    let story = way.case.story;
    // The connection that it had when the entry was there, or the first one after that.
    let connection = story
        .connected(way.device, way.since)
        .or_else(|| story.connections(way.device).into_iter().find(|c| c.from > way.since))?;
    let name = format!("gateway-{}", connection.gateway);
    let index = story.index_of(&name)?;
    let follower = Follower { way, name, at: Entity::Host(index), connection };
    follower.told_without().or_else(|| follower.took().or_else(|| Some(follower.never_took())))
}

/// What a gateway told the device of together, without the entry.
pub fn left_out(way: &Way<'_>) -> Option<String> {
    let story = way.case.story;
    let connection = story.connected(way.device, way.since)?;
    let name = format!("gateway-{}", connection.gateway);
    let index = story.index_of(&name)?;
    Follower { way, name, at: Entity::Host(index), connection }.told_without()
}

/// A gateway's own page that spoke for the entry and left it out.
pub fn page_without(way: &Way<'_>, arrival: &Arrival) -> Option<String> {
    let of = |hop: &Hop, device: DeviceId| matches!(hop, Hop::Handed { device: of, told: Told::Page { from, to, .. }, .. } if *of == device && (*from, *to) == (arrival.from, arrival.to));
    let case = way.case;
    let (handed, _) = case.hops().rev().find(|(event, hop)| event.t <= arrival.t && of(hop, way.device))?;
    let began = format!(
        "{} gave device {} at {} of what it keeps of the channel a page for seq {} to {} without seq {}",
        case.story.name(handed.at),
        way.device,
        at(handed.t),
        arrival.from,
        arrival.to,
        way.seq
    );
    let other = case.hops().rev().find_map(|(event, hop)| match hop {
        Hop::Handed { device, .. }
            if *device != way.device
                && event.at == handed.at
                && of(hop, *device)
                && event.t <= handed.t
                && event.t + TOGETHER_US > handed.t =>
        {
            Some((event.t, *device))
        }
        _ => None,
    });
    let joined = case.stays(way.user).into_iter().any(|stay| stay.joined == way.seq);
    let whom = if joined { format!(", which speaks of user {}", way.user) } else { String::new() };
    Some(match other {
        Some((t, device)) => format!(
            "{began}{whom}: it is the page that it had made for device {device}, which asked for the same at {}, and not all may see the same",
            at(t)
        ),
        None => format!("{began}{whom}"),
    })
}

impl Follower<'_> {
    fn hops(&self) -> impl DoubleEndedIterator<Item = (&Event, &Hop)> {
        let at = self.at;
        self.way.case.hops().filter(move |(event, _)| event.at == at)
    }

    fn shard(&self) -> String {
        self.way.case.shard_name()
    }

    /// The gateway spoke for the entry and left it out.
    fn told_without(&self) -> Option<String> {
        let (seq, device) = (self.way.seq, self.way.device);
        let (t, from, to, held) = self.hops().find_map(|(event, hop)| match hop {
            Hop::Handed { device: of, told: Told::Deliver { from, to, held }, .. }
                if *of == device
                    && (*from..=*to).contains(&seq)
                    && !held.is_empty()
                    && !held.iter().any(|arrived| arrived.seq == seq) =>
            {
                Some((event.t, *from, *to, held))
            }
            _ => None,
        })?;
        let last = held.last().map(|arrived| arrived.seq).unwrap_or_default();
        let which = match held.len() {
            1 => format!("only the last of them, seq {last}"),
            n => format!("{n} of them, up to seq {last}"),
        };
        Some(format!(
            "{} told device {device} at {} of seq {from} to {to} of the channel together, and held {which}: it left out seq {seq}, which it had",
            self.name,
            at(t)
        ))
    }

    fn taken(&self) -> Vec<Taken> {
        self.hops()
            .filter_map(|(event, hop)| match hop {
                Hop::TailTaken { from, to, .. } => Some(Taken { t: event.t, from: *from, to: *to }),
                _ => None,
            })
            .collect()
    }

    /// The gateway had the entry.
    fn took(&self) -> Option<String> {
        let (seq, device) = (self.way.seq, self.way.device);
        let end = self.way.end();
        let took =
            self.taken().into_iter().find(|taken| taken.t <= end && (taken.from..=taken.to).contains(&seq))?;
        if took.t > self.way.since + SOON_US {
            return None;
        }
        let member = self.last(took.t, |hop| matches!(hop, Hop::Member { device: of, .. } if *of == device));
        let unfollowed = self.last(took.t, |hop| matches!(hop, Hop::Unfollowed { .. }));
        if let Some(t) = unfollowed.filter(|t| member.is_none_or(|member| member <= *t)) {
            return Some(self.given_up(t));
        }
        if member.is_none() {
            return Some(self.not_known_yet(Some(took.t)));
        }
        let handed = self.hops().find_map(|(event, hop)| match hop {
            Hop::Handed { device: of, told: Told::Deliver { to, .. }, .. }
                if *of == device && *to >= seq && (took.t..took.t + SOON_US).contains(&event.t) =>
            {
                Some(event.t)
            }
            _ => None,
        });
        let had = format!("{} had it of {} since {}", self.name, self.shard(), at(took.t));
        if let Some(handed) = handed {
            return Some(format!("{had} and handed it to device {device} at {}, where it never came", at(handed)));
        }
        // What the gateway believes that the device has been told.
        let believed = self.hops().rev().find_map(|(event, hop)| match hop {
            Hop::Member { device: of, as_of, .. } if *of == device && *as_of >= seq && event.t <= took.t => {
                Some((event.t, *as_of))
            }
            _ => None,
        });
        Some(match believed {
            Some((t, as_of)) => {
                let beside = self.hops().rev().find_map(|(event, hop)| match hop {
                    Hop::Handed { device: of, told: Told::Sent { seq, .. }, .. }
                        if *of == device && event.t.abs_diff(t) < 2_000 =>
                    {
                        Some(*seq)
                    }
                    _ => None,
                });
                let with = beside.map_or(String::new(), |own| {
                    format!(", with {}'s ack for the device's own seq {own}", self.shard())
                });
                format!(
                    "{had} and told device {device} nothing of it, for it took the device at {} for told of all up to seq {as_of}{with}, though nobody had told it of seq {seq}",
                    at(t)
                )
            }
            None => format!("{had}, and told device {device} nothing of it"),
        })
    }

    /// When the gateway last took a step, up to a time.
    fn last(&self, until: u64, is_it: impl Fn(&Hop) -> bool) -> Option<u64> {
        self.hops().rev().find(|(event, hop)| event.t <= until && is_it(hop)).map(|(event, _)| event.t)
    }

    /// The gateway ended its following at this time, though the device was there.
    fn given_up(&self, t: u64) -> String {
        let (seq, device) = (self.way.seq, self.way.device);
        let gone = self.way.case.story.events.iter().rev().find_map(|event| match &event.kind {
            Kind::Hop(Hop::Closed { device: of, .. })
                if event.at == self.at && *of != device && event.t <= t && event.t + 50_000 > t =>
            {
                Some(*of)
            }
            _ => None,
        });
        let why = gone.map_or(String::new(), |of| format!(" as device {of} had gone"));
        format!(
            "{} had told {} at {}{why} that nobody there follows the channel, though there was device {device}, connected since {}; so the device was told nothing of seq {seq}, stored at {}",
            self.name,
            self.shard(),
            at(t),
            at(self.connection.from),
            at(self.way.since)
        )
    }

    /// The entry was left to those who follow before the gateway knew that the device is to be told. `took`: when the gateway had it.
    fn not_known_yet(&self, took: Option<u64>) -> String {
        let (seq, device, since) = (self.way.seq, self.way.device, self.way.since);
        let first =
            |is_it: &dyn Fn(&Hop) -> bool| self.hops().find(|(_, hop)| is_it(hop)).map(|(event, _)| event.t);
        let followed = first(&|hop| matches!(hop, Hop::Followed { .. }));
        let member = first(&|hop| matches!(hop, Hop::Member { device: of, .. } if *of == device));
        let follows = match (followed, took) {
            (Some(followed), Some(_)) => format!("followed it for others since {}", at(followed)),
            (Some(followed), None) => format!("asked for it at {} only", at(followed)),
            (None, _) => "never asked for it".to_owned(),
        };
        let heard = match member {
            Some(member) => format!("heard at {} only", at(member)),
            None => "never heard".to_owned(),
        };
        format!(
            "{} stored seq {seq} at {since} and told its readers of it as a channel's are told, by the gateways that follow, and not one by one; {} {follows} and {heard} that device {device}, connected there since {}, is to be told of the channel",
            self.shard(),
            self.name,
            at(self.connection.from),
            since = at(since)
        )
    }

    /// The gateway did not have the entry, or not in time.
    fn never_took(&self) -> String {
        let (story, seq) = (self.way.case.story, self.way.seq);
        let (since, end) = (self.way.since, self.way.end());
        let stored = format!("{} stored seq {seq} of the channel at {}", self.shard(), at(since));
        let followed = self.last(since, |hop| matches!(hop, Hop::Followed { .. }));
        let unfollowed = self.last(since + SOON_US, |hop| matches!(hop, Hop::Unfollowed { .. }));
        if let Some(t) = unfollowed.filter(|t| followed.is_none_or(|followed| followed <= *t)) {
            return self.given_up(t);
        }
        let Some(followed) = followed else { return self.not_known_yet(None) };
        // A link that has begun anew since it asked, over which it did not ask again.
        let anew =
            story.hops().rev().filter(|(event, _)| event.at == self.at).find_map(|(event, hop)| match hop {
                Hop::LinkUp { to } if event.t <= end && event.t > followed && is_of(to, &self.shard()) => {
                    Some(event.t)
                }
                _ => None,
            });
        if let Some(anew) = anew {
            let stop = self.way.case.shard.and_then(|shard| story.stopped_between(shard, followed, anew));
            let why = stop.map_or(String::new(), |stop| format!(", after {} {}", self.shard(), stop.verb()));
            return format!(
                "{} asked {} at {} for all that comes in the channel; their link began anew at {}{why}, and it has not asked again since, so it was told nothing of seq {seq}, stored at {}",
                self.name,
                self.shard(),
                at(followed),
                at(anew),
                at(since)
            );
        }
        let last = self.taken().into_iter().rev().find(|taken| taken.to < seq && taken.t <= end);
        let told = self.way.case.hops().find(|(event, hop)| {
            event.t >= since && matches!(hop, Hop::TailTold { from, to, .. } if (*from..=*to).contains(&seq))
        });
        match (last, told) {
            (Some(last), None) => format!(
                "{stored}, while seq {} to {} was on its way to {}, which took that in at {}; after that it never told it of seq {seq}, nor anybody else",
                last.from,
                last.to,
                self.name,
                at(last.t)
            ),
            (Some(last), Some((event, _))) => format!(
                "{stored}, told others of it at {}, and not {}, which had taken in seq {} to {} at {} and was owed what came meanwhile",
                at(event.t),
                self.name,
                last.from,
                last.to,
                at(last.t)
            ),
            (None, Some((event, _))) => {
                format!("{stored} and told it at {}; {} never took it in", at(event.t), self.name)
            }
            (None, None) => {
                format!("{stored} and told {}, which follows since {}, nothing of it", self.name, at(followed))
            }
        }
    }
}

/// Whether an address is this host's.
fn is_of(address: &str, host: &str) -> bool {
    address.split(':').next() == Some(host)
}
