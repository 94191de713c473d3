//! What a registry was asked and said of a device: where its connection is, or that there is none.

use super::delivery::Way;
use crate::story::{Connection, at};
use squall_history::{Entity, Hop, Place};

impl Way<'_> {
    pub fn never_answered(&self, t: u64, registry: u32) -> String {
        let name = format!("registry-{registry}");
        let index = self.case.story.index_of(&name);
        let fault = index.map_or(String::new(), |index| self.case.story.while_faults(index, t));
        let again: Vec<u64> = self
            .case
            .hops()
            .filter_map(|(event, hop)| match hop {
                Hop::PlannedAgain { seq, registry: of, .. } if *seq == self.seq && *of == registry => {
                    Some(event.t)
                }
                _ => None,
            })
            .collect();
        let then = match again.last() {
            Some(last) => {
                format!("asked {} times again, the last time at {}, and then no more", again.len(), at(*last))
            }
            None => "did not ask again".to_owned(),
        };
        format!(
            "{} asked {name} at {} where its readers are{fault}, had no answer, and {then}: what was to be delivered went with the question",
            self.shard(),
            at(t)
        )
    }

    pub fn known_and_left_out(&self, t: u64, place: &Place, found: &[Place]) -> String {
        let author = self.case.subject.message.and_then(|message| self.case.sender(message));
        if let Some(author) = author.filter(|author| self.case.story.earlier_lives(self.device).contains(author)) {
            return format!(
                "the registry told {} at {} that device {} is on gateway-{}, but the entry was not published to it: its former life, device {author}, wrote it, and the device was left out as its author",
                self.shard(),
                at(t),
                self.device,
                place.gateway
            );
        }
        let others: Vec<String> = found
            .iter()
            .filter(|other| other.user == self.user && other.device != self.device)
            .map(|other| format!("device {}", other.device))
            .collect();
        let of = if others.is_empty() {
            String::new()
        } else {
            format!(" of the same user only to {}", others.join(" and "))
        };
        format!(
            "the registry told {} at {} that device {} is on gateway-{}, but the entry was published{of}, and not to this one",
            self.shard(),
            at(t),
            self.device,
            place.gateway
        )
    }

    /// The registry does not know a device that is connected.
    pub fn unknown(&self, t: u64, registry: u32) -> String {
        let name = format!("registry-{registry}");
        let index = self.case.story.index_of(&name);
        let connection = self.case.connected(self.device, t);
        let Some(connection) = connection else {
            return format!(
                "device {} was not connected when {} looked for it at {}",
                self.device,
                self.shard(),
                at(t)
            );
        };
        let there =
            format!("device {}, on gateway-{} since {}", self.device, connection.gateway, at(connection.from));
        if let Some(sentence) = self.taken_out(t, &name, &there).or_else(|| self.left_out(t, &name, &connection)) {
            return sentence;
        }
        let stop = index.and_then(|index| self.case.story.stopped_between(index, 0, t));
        let lost = stop.map_or(String::new(), |stop| match stop.restarted {
            Some(restarted) => format!(", which had forgotten everything as it restarted at {},", at(restarted)),
            None => format!(", which {},", stop.verb()),
        });
        let since = stop.and_then(|stop| stop.restarted).unwrap_or(t);
        let again = self.case.story.hops().find_map(|(event, hop)| match hop {
            Hop::Registered { device, outcome: "created" | "visible", .. }
                if *device == self.device && event.t >= since =>
            {
                Some(event.t)
            }
            _ => None,
        });
        let then = match again {
            Some(again) => {
                let asked = self.case.story.hops().find_map(|(event, hop)| match hop {
                    Hop::HeadsAsked { device, .. } if *device == self.device && event.t >= again => Some(event.t),
                    _ => None,
                });
                match asked {
                    Some(asked) => format!(
                        "it was told of the device again at {} and of its conversations at {}",
                        at(again),
                        at(asked)
                    ),
                    None => format!(
                        "it was told of the device again at {}, and nobody told the device to ask for what it had missed until then",
                        at(again)
                    ),
                }
            }
            None => format!("gateway-{} has not told it of the device since", connection.gateway),
        };
        format!("{} looked for its readers at {}: {name}{lost} did not know {there}; {then}", self.shard(), at(t))
    }

    /// When a registry last heard of this connection, up to a time, unless it has lost all since.
    fn registered(&self, t: u64, name: &str, connection: &Connection) -> Option<u64> {
        let index = self.case.story.index_of(name)?;
        let heard = self.case.story.hops().rev().find_map(|(event, hop)| match hop {
            Hop::Registered { device, connect_count, outcome: "created" | "visible", .. }
                if *device == self.device
                    && *connect_count == connection.count
                    && event.at == Entity::Host(index)
                    && event.t < t =>
            {
                Some(event.t)
            }
            _ => None,
        })?;
        self.case.story.stopped_between(index, heard, t).is_none().then_some(heard)
    }

    /// The registry had the connection, and took it out though it is still there.
    fn taken_out(&self, t: u64, name: &str, there: &str) -> Option<String> {
        let connection = self.case.connected(self.device, t)?;
        let heard = self.registered(t, name, &connection)?;
        let index = self.case.story.index_of(name)?;
        let removed = self.case.story.hops().find_map(|(event, hop)| match hop {
            Hop::Unregistered { user, device, removed: true, gateway }
                if *user == self.user && event.at == Entity::Host(index) && (heard..t).contains(&event.t) =>
            {
                Some((event.t, *device, *gateway))
            }
            _ => None,
        });
        let (gone, device, gateway) = removed?;
        let whose = match device == self.device {
            true => format!("a connection of device {device}"),
            false => format!("device {device}, another one of the same user,"),
        };
        Some(format!(
            "{} looked for its readers at {}: {name} did not know {there}; it had been told of it at {}, and had taken it out at {}, when gateway-{gateway} told it that {whose} was gone",
            self.shard(),
            at(t),
            at(heard),
            at(gone)
        ))
    }

    /// The registry has the connection, and what the shard took of its answer for this entry leaves it out.
    fn left_out(&self, t: u64, name: &str, connection: &Connection) -> Option<String> {
        // What it heard after it was asked may have come too late for its answer.
        let asked = self.case.hops().rev().find_map(|(event, hop)| match hop {
            Hop::Planned { seq, .. } | Hop::PlannedAgain { seq, .. } if *seq == self.seq && event.t <= t => {
                Some(event.t)
            }
            _ => None,
        })?;
        let heard = self.registered(asked, name, connection)?;
        let stays = self.case.stays(self.user);
        let current = stays.iter().rev().find(|stay| stay.covers(self.seq))?;
        let before = stays.iter().rev().find_map(|stay| stay.left.filter(|left| *left < current.joined));
        let before = before.map_or(String::new(), |left| format!(", having left at seq {left}"));
        let leaves = current.left.map_or(String::new(), |left| format!(" and leaves at seq {left}"));
        Some(format!(
            "{} asked {name} for its readers, which has known device {} on gateway-{} since {}, and took the answer of {} without it: user {} was not counted among the readers of seq {}, though they are a member from seq {} on{before}{leaves}",
            self.shard(),
            self.device,
            connection.gateway,
            at(heard),
            at(t),
            self.user,
            self.seq,
            current.joined
        ))
    }

    pub fn wrong_place(&self, t: u64, place: &Place, connection: &Connection) -> String {
        let registered: Vec<(u64, u32, u64)> = self
            .case
            .story
            .hops()
            .filter_map(|(event, hop)| match hop {
                Hop::Registered { device, gateway, connect_count, outcome: "created" | "visible", .. }
                    if *device == self.device && event.t <= t =>
                {
                    Some((event.t, *gateway, *connect_count))
                }
                _ => None,
            })
            .collect();
        // In the order in which the registry heard of them: two may have come in one instant.
        let newer = registered.iter().rposition(|(_, _, count)| *count == connection.count);
        let older = registered.iter().rposition(|(_, _, count)| *count == place.connect_count);
        let began = format!(
            "published at {} to gateway-{}, where device {} was no longer: it has been on gateway-{} since {}",
            at(t),
            place.gateway,
            self.device,
            connection.gateway,
            at(connection.from)
        );
        match (older, newer) {
            (Some(old), Some(new)) if old > new => format!(
                "{began}; the registry heard of the newer connection (count {}) at {}, and then let the older one (count {}) of gateway-{} take its place, at {}",
                registered[new].2,
                at(registered[new].0),
                registered[old].2,
                registered[old].1,
                at(registered[old].0)
            ),
            (_, Some(new)) => format!("{began}, and the registry has known it since {}", at(registered[new].0)),
            (_, None) => format!("{began}, and the registry has not heard of it"),
        }
    }
}
