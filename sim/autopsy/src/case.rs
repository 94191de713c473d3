//! A violation with the story around it, and what every rule asks.

use crate::log::{Placed, Stay, placed, stays};
use crate::story::{Connection, Story, at};
use squall_history::{Arrived, Asked, Entity, Event, Hop, Kind, Told, What};
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, Seq, UserId};
use squall_reports::record::LevelRecord;

/// What was found broken: the first violation of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The check.
    pub property: String,
    /// Simulated µs; the end of the run for what only the audit could tell.
    pub t: u64,
    pub conversation: ConversationId,
    pub seq: Option<Seq>,
    pub message: Option<ClientMsgId>,
    /// The device that saw it, or that sent it.
    pub device: Option<DeviceId>,
    /// Of whom the device was told something.
    pub user: Option<UserId>,
    /// What of a host was too full; it is about no conversation then.
    pub level: Option<LevelRecord>,
}

/// A violation with the story around it.
pub struct Case<'a> {
    pub story: &'a Story,
    pub subject: &'a Subject,
    pub log: Vec<Placed>,
    /// The conversation's shard; the host of what was too full, if it is about that.
    pub shard: Option<u16>,
}

impl<'a> Case<'a> {
    pub fn new(story: &'a Story, subject: &'a Subject) -> Self {
        if let Some(level) = &subject.level {
            return Case { story, subject, log: Vec::new(), shard: story.index_of(&level.host) };
        }
        if subject.conversation == ConversationId(0) {
            return Case { story, subject, log: Vec::new(), shard: None };
        }
        let log = placed(story, subject.conversation);
        let staging = log.iter().find_map(|placed| placed.shard);
        let shard = story.shard_of(subject.conversation).or(staging);
        Case { story, subject, log, shard }
    }

    pub fn shard_name(&self) -> String {
        self.shard.map_or("its shard".to_owned(), |shard| self.story.host(shard))
    }

    /// Events about the conversation.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &'a Event> {
        let of = self.subject.conversation;
        self.story.events.iter().filter(move |event| event.kind.conversation() == Some(of))
    }

    /// Hops about the conversation.
    pub fn hops(&self) -> impl DoubleEndedIterator<Item = (&'a Event, &'a Hop)> {
        self.events().filter_map(|event| match &event.kind {
            Kind::Hop(hop) => Some((event, hop)),
            _ => None,
        })
    }

    /// Events of a device in the conversation.
    pub fn of_device(&self, device: DeviceId) -> impl DoubleEndedIterator<Item = &'a Event> {
        self.events().filter(move |event| event.at == Entity::Device(device))
    }

    /// Every place that this message had.
    pub fn places(&self, message: ClientMsgId) -> Vec<&Placed> {
        self.log.iter().filter(|placed| placed.message == message).collect()
    }

    /// Every message that had this place.
    pub fn at_place(&self, seq: Seq) -> Vec<&Placed> {
        self.log.iter().filter(|placed| placed.seq == seq).collect()
    }

    /// The message that the log has at this place, or had last.
    pub fn entry(&self, seq: Seq) -> Option<&Placed> {
        let there = self.at_place(seq);
        let logged = there.iter().rev().find(|placed| placed.logged.is_some());
        logged.or(there.last()).copied()
    }

    pub fn sent(&self, message: ClientMsgId) -> Option<&'a Event> {
        self.events()
            .find(|event| matches!(&event.kind, Kind::Send { client_msg_id, .. } if *client_msg_id == message))
    }

    pub fn what(&self, message: ClientMsgId) -> Option<What> {
        self.events().find_map(|event| match &event.kind {
            Kind::Send { client_msg_id, what, .. } | Kind::Display { client_msg_id, what, .. }
                if *client_msg_id == message =>
            {
                Some(*what)
            }
            _ => None,
        })
    }

    pub fn sender(&self, message: ClientMsgId) -> Option<DeviceId> {
        self.sent(message)
            .and_then(|event| if let Entity::Device(device) = event.at { Some(device) } else { None })
            .or_else(|| self.places(message).iter().find_map(|placed| placed.author))
    }

    /// Copies of a send that came to a host of this role.
    pub fn received(&self, message: ClientMsgId, role: &'static str) -> Vec<&'a Event> {
        let story = self.story;
        self.hops()
            .filter(|(event, hop)| {
                matches!(event.at, Entity::Host(host) if story.has_role(host, role))
                    && matches!(hop, Hop::Received { asked: Asked::Send { client_msg_id, .. }, .. } if *client_msg_id == message)
            })
            .map(|(event, _)| event)
            .collect()
    }

    /// The shard's answers to a message.
    pub fn answers(&self, message: ClientMsgId) -> Vec<(&'a Event, &'a Told)> {
        let about = move |told: &Told| match told {
            Told::Sent { client_msg_id, .. } | Told::Refused { client_msg_id, .. } => *client_msg_id == message,
            Told::Deliver { .. }
            | Told::Page { .. }
            | Told::Error { .. }
            | Told::Typing { .. }
            | Told::Receipts { .. } => false,
        };
        self.hops()
            .filter_map(|(event, hop)| match hop {
                Hop::Answered { told, .. } if about(told) => Some((event, told)),
                _ => None,
            })
            .collect()
    }

    /// What a gateway queued for a device.
    pub fn handed(&self, device: DeviceId) -> Vec<(&'a Event, &'a Told)> {
        self.hops()
            .filter_map(|(event, hop)| match hop {
                Hop::Handed { device: of, told, .. } if *of == device => Some((event, told)),
                _ => None,
            })
            .collect()
    }

    /// Whether the story's device is this user's.
    pub fn is_about_user(&self, user: UserId) -> bool {
        self.subject.device.is_some_and(|device| self.story.user_of(device) == Some(user))
    }

    /// When the device had the ack of its message.
    pub fn acked(&self, message: ClientMsgId) -> Option<(u64, Seq)> {
        self.events().find_map(|event| match &event.kind {
            Kind::Sent { client_msg_id, seq, .. } if *client_msg_id == message => Some((event.t, *seq)),
            _ => None,
        })
    }

    pub fn resends(&self, message: ClientMsgId) -> Vec<(u64, &'static str)> {
        self.events()
            .filter_map(|event| match &event.kind {
                Kind::Resend { client_msg_id, cause, .. } if *client_msg_id == message => Some((event.t, *cause)),
                _ => None,
            })
            .collect()
    }

    pub fn stays(&self, user: UserId) -> Vec<Stay> {
        stays(self.story, self.subject.conversation, user)
    }

    /// What arrived at a device for this place: when, by a page, and whether the entry was in it.
    pub fn arrivals(&self, device: DeviceId, seq: Seq) -> Vec<Arrival> {
        self.of_device(device)
            .filter_map(|event| match &event.kind {
                Kind::Deliver { from, to, via, held, .. } if (*from <= seq && seq <= *to) || has(held, seq) => {
                    let by_page = *via == squall_history::Via::Page;
                    Some(Arrival {
                        t: event.t,
                        by_page,
                        from: *from,
                        to: *to,
                        held: held.len(),
                        has: has(held, seq),
                    })
                }
                _ => None,
            })
            .collect()
    }

    /// When and how the device first showed this place.
    pub fn displayed(&self, device: DeviceId, seq: Seq) -> Option<u64> {
        self.of_device(device).find_map(|event| match &event.kind {
            Kind::Display { seq: of, .. } if *of == seq => Some(event.t),
            _ => None,
        })
    }

    pub fn connected(&self, device: DeviceId, t: u64) -> Option<Connection> {
        self.story.connected(device, t)
    }

    /// A message in a sentence about another one.
    pub fn short(&self, message: ClientMsgId) -> String {
        let text = message.to_string();
        let name = text.split('-').next().unwrap_or_default().to_owned();
        match self.sender(message) {
            Some(device) => format!("message {name}… of device {device}"),
            None => format!("message {name}…"),
        }
    }

    /// Why a resend was made, as a clause that begins with a comma.
    pub fn resend_because(&self, message: ClientMsgId, resent: u64, cause: &str) -> String {
        let device = self.sender(message);
        let gone = device.and_then(|device| {
            self.story.connections(device).into_iter().rev().find(|c| c.until.is_some_and(|until| until <= resent))
        });
        let answered = self
            .answers(message)
            .into_iter()
            .find(|(event, told)| event.t <= resent && matches!(told, Told::Sent { .. }));
        match (cause, gone) {
            ("connected", Some(gone)) => {
                let until = gone.until.unwrap_or_default();
                match answered {
                    Some((event, _)) => format!(
                        "caused by the ack of {} that was lost with the connection at {} ({})",
                        at(event.t),
                        at(until),
                        gone.reason
                    ),
                    None => format!("caused by the connection that ended at {} ({})", at(until), gone.reason),
                }
            }
            ("overdue", _) => match answered {
                Some((event, _)) => format!("caused by the ack of {} that had not come in time", at(event.t)),
                None => "caused by an answer that was overdue".to_owned(),
            },
            ("refused", _) => "after a refusal for the time being".to_owned(),
            ("fault", _) => "a copy that the network made".to_owned(),
            _ => format!("because it was {cause}"),
        }
    }
}

/// What came to a device.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub t: u64,
    pub by_page: bool,
    pub from: Seq,
    pub to: Seq,
    pub held: usize,
    pub has: bool,
}

pub fn has(held: &[Arrived], seq: Seq) -> bool {
    held.iter().any(|arrived| arrived.seq == seq)
}
