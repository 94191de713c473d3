//! What was told, or kept, of how far somebody has come, and is not so: by whom it was said, when it came, and what the disk had of it.

use super::typing::gone;
use crate::case::Case;
use crate::story::{at, lasted};
use squall_history::{Asked, Entity, Hop, Kind, Told};
use squall_protocol::limits::RECEIPTS_NAMED_UP_TO;
use squall_protocol::{DeviceId, Receipt, Seq, UserId};

pub fn cause(case: &Case<'_>) -> Option<String> {
    let user = case.subject.user?;
    let about = About { case, user };
    match case.subject.device {
        Some(device) => about
            .to_a_stranger(device)
            .or_else(|| about.many_named(device))
            .or_else(|| case.story.devices_of_user(user).into_iter().find_map(|own| about.not_counted(own)))
            .or_else(|| about.older(device))
            .or_else(|| about.before_its_commit(device))
            .or_else(|| about.on_disk()),
        None => about.on_disk(),
    }
}

/// Whose receipts.
struct About<'a> {
    case: &'a Case<'a>,
    user: UserId,
}

/// What a disk held of a user after a commit.
#[derive(Clone, Copy)]
struct Kept {
    t: u64,
    delivered: Seq,
    read: Seq,
}

/// What a device said of itself.
#[derive(Clone, Copy)]
struct Said {
    t: u64,
    device: DeviceId,
    up_to: Seq,
    read: bool,
}

impl About<'_> {
    fn shard(&self) -> String {
        self.case.shard_name()
    }

    fn kept(&self) -> Vec<Kept> {
        let of_user = self.case.events().filter_map(|event| match &event.kind {
            Kind::Cursor { user, up_to, read, .. } if *user == self.user => {
                Some(Kept { t: event.t, delivered: *up_to, read: *read })
            }
            _ => None,
        });
        of_user.collect()
    }

    fn said(&self) -> Vec<Said> {
        let is_theirs = |device: &DeviceId| self.case.story.user_of(*device) == Some(self.user);
        let of_devices = self.case.events().filter_map(|event| match (&event.kind, event.at) {
            (Kind::Ack { up_to, .. }, Entity::Device(device)) => {
                Some(Said { t: event.t, device, up_to: *up_to, read: false })
            }
            (Kind::Read { up_to, .. }, Entity::Device(device)) => {
                Some(Said { t: event.t, device, up_to: *up_to, read: true })
            }
            _ => None,
        });
        of_devices.filter(|said| is_theirs(&said.device)).collect()
    }

    /// When what a device said came to the shard.
    fn came(&self, said: &Said) -> Option<u64> {
        self.case.hops().find_map(|(event, hop)| match hop {
            Hop::Received { device, asked, .. }
                if *device == said.device
                    && event.t >= said.t
                    && matches!(event.at, Entity::Host(host) if self.case.story.has_role(host, "messages-"))
                    && match asked {
                        Asked::Ack { up_to } => !said.read && *up_to == said.up_to,
                        Asked::Read { up_to } => said.read && *up_to == said.up_to,
                        _ => false,
                    } =>
            {
                Some(event.t)
            }
            _ => None,
        })
    }

    /// The shard's notices that go to this reader, up to a time.
    fn noticed(&self, reader: UserId, until: u64) -> Option<(u64, &[Receipt], usize)> {
        self.case.hops().rev().find_map(|(event, hop)| match hop {
            Hop::Noticed { told: Told::Receipts { users, .. }, to, .. }
                if event.t <= until && to.contains(&reader) =>
            {
                Some((event.t, users.as_slice(), to.len()))
            }
            _ => None,
        })
    }

    fn to_a_stranger(&self, device: DeviceId) -> Option<String> {
        let reader = self.case.story.user_of(device)?;
        let (t, users, to) = self.noticed(reader, self.case.subject.t)?;
        let (left, since) = gone(self.case, reader, t)?;
        let whose = users.first().map_or("of how many have come how far".to_owned(), |told| {
            format!("of how far user {} has come", told.user)
        });
        Some(format!(
            "{} named user {reader} at {} among the {to} whom it told {whose}, though they had left at seq {left}, stored at {}: it went by who ever was a member",
            self.shard(),
            at(t),
            at(since)
        ))
    }

    fn many_named(&self, device: DeviceId) -> Option<String> {
        let (t, named) = self.case.of_device(device).rev().find_map(|event| match &event.kind {
            Kind::Receipts { users, .. } if event.t <= self.case.subject.t => Some((event.t, users.len())),
            _ => None,
        })?;
        if named as u32 <= RECEIPTS_NAMED_UP_TO {
            return None;
        }
        let reader = self.case.story.user_of(device)?;
        let told = self.case.hops().rev().find_map(|(event, hop)| match hop {
            Hop::Answered { device: of, told: Told::Receipts { users, .. }, .. }
                if *of == device && event.t <= t && users.len() >= named =>
            {
                Some(event.t)
            }
            _ => None,
        });
        let told = told.or(self.noticed(reader, t).map(|(t, ..)| t));
        let when = told.map_or(String::new(), |t| format!(" at {}", at(t)));
        let members = crate::standing::Standing::before(self.case, Seq(u64::MAX)).members.len();
        Some(format!(
            "{} told device {device}{when} by name how far {named} members have come, of a group of {members}: in one of more than {RECEIPTS_NAMED_UP_TO} they are counted, and nobody but the device's own user is named",
            self.shard()
        ))
    }

    /// The device has been told what its user has read elsewhere, and counts on.
    fn not_counted(&self, device: DeviceId) -> Option<String> {
        let (read, unread) = self.case.of_device(device).rev().find_map(|event| match &event.kind {
            Kind::Unread { read, unread, .. } => Some((*read, *unread)),
            _ => None,
        })?;
        let (t, told) = self.case.of_device(device).rev().find_map(|event| match &event.kind {
            Kind::Receipts { users, .. } => {
                let own = users.iter().find(|told| told.user == self.user)?;
                (own.read > read).then_some((event.t, own.read))
            }
            _ => None,
        })?;
        let elsewhere =
            self.said().into_iter().find(|said| said.read && said.up_to >= told && said.device != device);
        let elsewhere = elsewhere
            .map_or(String::new(), |said| format!(", as device {} had said at {}", said.device, at(said.t)));
        Some(format!(
            "device {device} was told at {} that its user has read up to seq {told}{elsewhere}, and counts {unread} unread in the end, all after seq {read}: what is read elsewhere it does not take for read",
            at(t)
        ))
    }

    /// The device took something older for newer.
    fn older(&self, device: DeviceId) -> Option<String> {
        let told: Vec<(u64, Receipt)> = self
            .case
            .of_device(device)
            .filter(|event| event.t <= self.case.subject.t)
            .filter_map(|event| match &event.kind {
                Kind::Receipts { users, .. } => {
                    users.iter().find(|told| told.user == self.user).map(|told| (event.t, *told))
                }
                _ => None,
            })
            .collect();
        let back = (1..told.len()).rev().find_map(|index| {
            let (t, last) = told[index];
            let further = |(_, of): &&(u64, Receipt)| of.delivered > last.delivered || of.read > last.read;
            told[..index].iter().rev().find(further).map(|better| (t, last, *better))
        });
        let (t, last, (known, better)) = back?;
        let made = self.case.hops().rev().find_map(|(event, hop)| match hop {
            Hop::Answered { device: of, told: Told::Receipts { users, .. }, .. }
                if *of == device && event.t <= t && users.contains(&last) =>
            {
                Some((event.t, "with its answer"))
            }
            Hop::Noticed { told: Told::Receipts { users, .. }, .. } if event.t <= t && users.contains(&last) => {
                Some((event.t, "as a notice"))
            }
            _ => None,
        });
        let made = made.map_or(String::new(), |(made, how)| {
            format!(", which {} had read from its disk at {} and told {how}", self.shard(), at(made))
        });
        Some(format!(
            "device {device} knew since {} that user {} had come to seq {} and read up to {}, and took at {} seq {} and {} in place of that{made}: it goes by what comes last, not by what is further",
            at(known),
            self.user,
            better.delivered,
            better.read,
            at(t),
            last.delivered,
            last.read
        ))
    }

    /// It was told before it was on disk.
    fn before_its_commit(&self, device: DeviceId) -> Option<String> {
        let reader = self.case.story.user_of(device)?;
        let (t, users, _) = self.noticed(reader, self.case.subject.t)?;
        let told = users.iter().find(|told| told.user == self.user)?;
        let kept = self.kept();
        let further = |kept: &&Kept| kept.delivered >= told.delivered && kept.read >= told.read;
        let before = kept.iter().rev().find(|kept| kept.t <= t);
        if before.is_some_and(|kept| further(&kept)) {
            return None;
        }
        let later = kept.iter().find(|kept| kept.t > t && further(kept));
        let then = match later {
            Some(later) => format!("the commit that wrote that was done at {}", at(later.t)),
            None => "no commit has written that".to_owned(),
        };
        let stood = before.map_or("nothing of them".to_owned(), |kept| {
            format!("seq {} as delivered and {} as read", kept.delivered, kept.read)
        });
        Some(format!(
            "{} told at {} from its memory that user {} has come to seq {} and read up to {}, when its disk had {stood}: {then}",
            self.shard(),
            at(t),
            self.user,
            told.delivered,
            told.read
        ))
    }

    /// What stands on the disk is not what was said.
    fn on_disk(&self) -> Option<String> {
        self.read_ahead().or_else(|| self.not_written()).or_else(|| self.moved_unasked())
    }

    fn read_ahead(&self) -> Option<String> {
        let kept = self.kept().into_iter().find(|kept| kept.read > kept.delivered)?;
        let said = self.said();
        let read = said.iter().rev().find(|said| said.read && said.t <= kept.t && said.up_to >= kept.read);
        let by = read.map_or(String::new(), |read| {
            let came = self.came(read).map_or(String::new(), |came| format!(", which came at {},", at(came)));
            format!(
                ": device {} said so at {}{came} and that moved what is read and not what is delivered",
                read.device,
                at(read.t)
            )
        });
        let ack = read.and_then(|read| {
            said.iter().rev().find(|said| {
                !said.read && said.device == read.device && said.up_to > kept.delivered && said.t <= read.t
            })
        });
        let lost =
            ack.filter(|ack| self.came(ack).is_none_or(|came| came > kept.t)).map_or(String::new(), |ack| {
                let gone = self
                    .case
                    .story
                    .connections(ack.device)
                    .into_iter()
                    .find(|c| c.until.is_some_and(|until| until >= ack.t));
                let gone = gone.filter(|gone| gone.until.is_some_and(|until| until < kept.t)).map_or(
                    String::new(),
                    |gone| {
                        format!(
                            " with the connection that ended at {} ({})",
                            at(gone.until.unwrap_or_default()),
                            gone.reason
                        )
                    },
                );
                format!("; its ack up to seq {} of {} was lost{gone}", ack.up_to, at(ack.t))
            });
        Some(format!(
            "{} wrote with its commit of {} that user {} has read up to seq {}, of which only seq {} had been delivered{by}{lost}",
            self.shard(),
            at(kept.t),
            self.user,
            kept.read,
            kept.delivered
        ))
    }

    /// It was said, and came, and the disk does not have it.
    fn not_written(&self) -> Option<String> {
        let kept = self.kept();
        let last = kept.last().copied();
        let said = self.said();
        let has = |said: &Said| {
            last.is_some_and(|last| said.up_to <= if said.read { last.read } else { last.delivered })
        };
        let lacking = said.iter().rev().find(|said| !has(said))?;
        let what = if lacking.read { "has been read" } else { "has been shown" };
        let began =
            format!("device {} said at {} that seq {} {what}", lacking.device, at(lacking.t), lacking.up_to);
        let Some(came) = self.came(lacking) else {
            return Some(format!("{began}, which never came to {}", self.shard()));
        };
        let stop = self.case.shard.and_then(|shard| self.case.story.stopped_after(shard, came));
        let after = kept.iter().find(|kept| kept.t > came);
        Some(match (after, stop) {
            (Some(after), stop) if stop.is_none_or(|stop| stop.t > after.t) => {
                let nothing = if lacking.read && after.delivered >= lacking.up_to {
                    ", when nothing more had been delivered: a read by itself was not written"
                } else {
                    ""
                };
                format!(
                    "{began}, which came to {} at {}; its commit of {}, {} later, which was to write that, left the disk at seq {} as delivered and {} as read{nothing}",
                    self.shard(),
                    at(came),
                    at(after.t),
                    lasted(after.t - came),
                    after.delivered,
                    after.read
                )
            }
            (_, Some(stop)) => format!(
                "{began}, which came to {} at {}, {}, and was not told it again: what it had not written by then was forgotten",
                self.shard(),
                at(came),
                stop.verb()
            ),
            (_, None) => {
                format!("{began}, which came to {} at {}, and no commit has written it", self.shard(), at(came))
            }
        })
    }

    /// The disk says more than any device has.
    fn moved_unasked(&self) -> Option<String> {
        let said = self.said();
        let kept = self.kept().into_iter().find(|kept| {
            let most = said.iter().filter(|said| said.t <= kept.t).map(|said| said.up_to).max();
            kept.delivered > most.unwrap_or(Seq::ZERO)
        })?;
        let most = said.iter().filter(|said| said.t <= kept.t).map(|said| said.up_to).max().unwrap_or(Seq::ZERO);
        let published = published(self.case, self.user, kept.delivered, kept.t);
        let after = published.map_or(String::new(), |(t, device)| {
            format!(" after it had published that for device {device} at {}: what was handed to the bus was taken for delivered", at(t))
        });
        Some(format!(
            "{} moved the cursor of user {} to seq {} with its commit of {}{after}; their devices had said up to seq {most} only",
            self.shard(),
            self.user,
            kept.delivered,
            at(kept.t)
        ))
    }
}

/// When an entry was last published for a device of a user, up to a time.
pub fn published(case: &Case<'_>, user: UserId, seq: Seq, until: u64) -> Option<(u64, DeviceId)> {
    case.hops().rev().find_map(|(event, hop)| match hop {
        Hop::Forwarded { seq: of, to, .. } if *of == seq && event.t <= until => {
            to.iter().find(|place| place.user == user).map(|place| (event.t, place.device))
        }
        _ => None,
    })
}
