//! The story of a message as a diagram: which steps belong to it, in which lanes, and which caused which.

use crate::case::Case;
use crate::links::{follows, leaves};
use crate::steps::{Part, What, describe};
use crate::story::Story;
use squall_history::{Event, Hop, Kind};
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, Seq, UserId};
use squall_reports::story::{Diagram, Lane, LaneKind, Step, Tone};
use std::collections::{BTreeMap, BTreeSet};

/// Devices that are shown because they sent one of the messages that a place had.
const MAX_SENDERS: usize = 3;

/// What a diagram is about.
pub struct Focus {
    /// The message, and others that had or have its place.
    pub messages: BTreeSet<ClientMsgId>,
    /// Its places.
    pub places: BTreeSet<Seq>,
    /// Who sent them.
    pub senders: Vec<DeviceId>,
    pub receiver: Option<DeviceId>,
    /// Of whom the receiver was told something that nobody is owed: their devices are the senders.
    pub user: Option<UserId>,
    /// Every message: the story is a device's or a conversation's.
    pub whole: bool,
}

impl Focus {
    /// What a violation is about.
    pub fn of(case: &Case<'_>) -> Focus {
        let subject = case.subject;
        if subject.level.is_some() {
            let (messages, places) = (BTreeSet::new(), BTreeSet::new());
            return Focus { messages, places, senders: Vec::new(), receiver: None, user: None, whole: false };
        }
        if let Some(user) = subject.user {
            let devices = case.story.devices_of_user(user).into_iter().filter(|of| subject.device != Some(*of));
            return Focus {
                messages: subject.message.into_iter().collect(),
                places: subject.seq.into_iter().collect(),
                senders: devices.take(MAX_SENDERS).collect(),
                receiver: subject.device,
                user: Some(user),
                whole: false,
            };
        }
        if subject.conversation == ConversationId(0) && subject.device.is_none() {
            // It is about many connections: some of those that were ended.
            let sent_away = case.story.hops().filter_map(|(event, hop)| match hop {
                Hop::SentAway { device } if event.t <= subject.t => Some(*device),
                _ => None,
            });
            let (messages, places) = (BTreeSet::new(), BTreeSet::new());
            let senders = sent_away.take(MAX_SENDERS).collect();
            return Focus { messages, places, senders, receiver: None, user: None, whole: false };
        }
        if subject.message.is_none() && subject.seq.is_none() {
            let (messages, places) = (BTreeSet::new(), BTreeSet::new());
            let receiver = subject.device;
            return Focus { messages, places, senders: Vec::new(), receiver, user: None, whole: true };
        }
        let mut messages: BTreeSet<ClientMsgId> = subject.message.into_iter().collect();
        let mut places: BTreeSet<Seq> = subject.seq.into_iter().collect();
        if let Some(message) = subject.message {
            places.extend(case.places(message).iter().map(|placed| placed.seq));
        }
        for seq in &places {
            messages.extend(case.at_place(*seq).iter().map(|placed| placed.message));
        }
        let senders: BTreeSet<DeviceId> = messages.iter().filter_map(|message| case.sender(*message)).collect();
        let senders: Vec<DeviceId> = senders.into_iter().take(MAX_SENDERS).collect();
        let receiver = subject.device.filter(|device| !senders.contains(device));
        Focus { messages, places, senders, receiver, user: None, whole: false }
    }

    /// The story is a device's, in whichever conversations.
    pub fn is_of_a_device(&self) -> bool {
        self.whole && self.receiver.is_some()
    }

    pub fn is_device(&self, device: DeviceId) -> bool {
        self.senders.contains(&device) || self.receiver == Some(device) || (self.whole && self.receiver.is_none())
    }

    /// Whether the story is about what was told of this user.
    pub fn is_user(&self, user: UserId) -> bool {
        self.user == Some(user)
    }

    pub fn about(&self, message: ClientMsgId) -> bool {
        self.whole || self.messages.contains(&message)
    }

    pub fn at(&self, seq: Seq) -> bool {
        self.whole || self.places.contains(&seq)
    }

    pub fn within(&self, from: Seq, to: Seq) -> bool {
        self.whole || self.places.range(from..).next().is_some_and(|seq| *seq <= to)
    }

    /// Whether this is so of one of its places.
    pub fn any(&self, is_so: impl Fn(Seq) -> bool) -> bool {
        self.whole || self.places.iter().any(|seq| is_so(*seq))
    }
}

/// Lanes in their order.
#[derive(Default)]
struct Lanes {
    lanes: Vec<Lane>,
}

impl Lanes {
    fn find(&self, name: &str) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.name == name)
    }
}

/// The diagram of what a case is about, with so many steps at the most: the first half of them and the last.
pub fn diagram(case: &Case<'_>, most: usize) -> Diagram {
    let focus = Focus::of(case);
    let steps = told(case, &focus);
    let mut lanes: Vec<Lane> = Vec::new();
    for (_, what) in &steps {
        if !lanes.iter().any(|lane| lane.name == what.lane) {
            lanes.push(Lane { name: what.lane.clone(), kind: what.kind });
        }
    }
    lanes.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let lanes = Lanes { lanes };
    let mut diagram = Diagram { lanes: Vec::new(), steps: Vec::new(), left_out: None };
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for (event, what) in steps {
        let Some(lane) = lanes.find(&what.lane) else { continue };
        let from = follows(case, event).into_iter().filter_map(|key| left.get(&key).copied()).max();
        let from = from.filter(|from| diagram.steps[*from].lane != lane);
        let number = diagram.steps.len();
        left.extend(leaves(event).into_iter().map(|key| (key, number)));
        diagram.steps.push(Step { t: event.t, lane, from, text: what.text, tone: what.tone });
    }
    diagram.lanes = lanes.lanes;
    mark_violation(case, &focus, &mut diagram);
    bound(diagram, most)
}

/// The steps of a case, in their order.
pub fn told<'a>(case: &Case<'a>, focus: &Focus) -> Vec<(&'a Event, What)> {
    let story: &'a Story = case.story;
    let steps = story.events.iter().filter_map(|event| Some((event, describe(case, focus, event)?)));
    relevant(case, focus, steps.collect())
}

/// How long before the message and after the violation what befalls hosts and connections still says something, in µs.
const AROUND_US: u64 = 2_000_000;

/// How long before a violation what was told of somebody still says something, in µs: a lease lasts no longer.
const TOLD_US: u64 = 60_000_000;

/// Leaves out what befell hosts that have no part in the story, and connections long before the message and after the violation.
fn relevant<'a>(case: &Case<'_>, focus: &Focus, steps: Vec<(&'a Event, What)>) -> Vec<(&'a Event, What)> {
    let touched: BTreeSet<String> =
        steps.iter().filter(|(_, what)| what.part != Part::Host).map(|(_, what)| what.lane.clone()).collect();
    let first = steps.iter().find(|(_, what)| what.part == Part::Message).map_or(0, |(event, _)| event.t);
    // What nobody is owed is told again and again: what was told last is what counts.
    let first = if focus.user.is_some() { first.max(case.subject.t.saturating_sub(TOLD_US)) } else { first };
    let from = if focus.whole { 0 } else { first.saturating_sub(AROUND_US) };
    let until = if focus.whole || case.subject.t == 0 { u64::MAX } else { case.subject.t + AROUND_US };
    // The connections that the devices had when it began.
    let devices = focus.senders.iter().copied().chain(focus.receiver);
    let had = devices.filter_map(|device| case.story.connected(device, first).map(|connection| connection.from));
    let had: Vec<u64> = had.collect();
    let is_told = |event: &Event, what: &What| match what.part {
        Part::Message => event.t <= until && (focus.user.is_none() || event.t >= first),
        Part::Connection => {
            (from..=until).contains(&event.t)
                || (matches!(event.kind, Kind::Connect { .. }) && had.contains(&event.t))
        }
        Part::Host => {
            // Whatever befell any host may be why another one grew.
            (touched.contains(&what.lane) || case.subject.level.is_some()) && (from..=until).contains(&event.t)
        }
    };
    steps.into_iter().filter(|(event, what)| is_told(event, what)).collect()
}

/// The moment at which the check saw it.
fn mark_violation(case: &Case<'_>, focus: &Focus, diagram: &mut Diagram) {
    let device = focus
        .receiver
        .or(case.subject.device)
        .or(focus.senders.first().copied())
        .map(|device| format!("device {device}"))
        .or_else(|| case.subject.level.as_ref().map(|level| level.host.clone()));
    let lane = device.and_then(|name| diagram.lanes.iter().position(|lane| lane.name == name));
    let lane = lane.or_else(|| diagram.lanes.iter().position(|lane| lane.kind == LaneKind::Shard)).unwrap_or(0);
    if diagram.lanes.is_empty() || case.subject.property.is_empty() {
        return;
    }
    let place = diagram.steps.partition_point(|step| step.t <= case.subject.t);
    for step in &mut diagram.steps {
        step.from = step.from.map(|from| if from >= place { from + 1 } else { from });
    }
    let text = format!("{} is broken", case.subject.property);
    diagram.steps.insert(place, Step { t: case.subject.t, lane, from: None, text, tone: Tone::Wrong });
}

/// Leaves out the middle of a long story.
fn bound(mut diagram: Diagram, most: usize) -> Diagram {
    let Some(surplus) = diagram.steps.len().checked_sub(most).filter(|surplus| *surplus > 0) else {
        return diagram;
    };
    let (begin, end) = (most / 2, most / 2 + surplus);
    diagram.steps.drain(begin..end);
    for step in &mut diagram.steps {
        step.from = match step.from {
            Some(from) if from >= end => Some(from - surplus),
            Some(from) if from >= begin => None,
            other => other,
        };
    }
    diagram.left_out = Some((begin, surplus));
    diagram
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Subject, cause};
    use squall_history::{Asked, Entity, Extent, Told, What as Content};
    use squall_protocol::ClientSeq;

    const CONVERSATION: ConversationId = ConversationId::group(UserId(1), 1);
    const MESSAGE: ClientMsgId = ClientMsgId(7);
    const DEVICE: DeviceId = DeviceId(4);

    fn received(client_seq: u64) -> Kind {
        let asked = Asked::Send { client_msg_id: MESSAGE, client_seq: ClientSeq(client_seq) };
        Kind::Hop(Hop::Received { user: UserId(1), device: DEVICE, conversation: CONVERSATION, asked })
    }

    /// A message that is stored twice, for its shard restarted before the resend.
    fn stored_twice() -> Story {
        let staged = |seq| {
            Kind::Hop(Hop::Staged {
                device: DEVICE,
                conversation: CONVERSATION,
                client_msg_id: MESSAGE,
                client_seq: ClientSeq(1),
                seq: Seq(seq),
                extent: Extent { bytes: 3, first_nul: None },
            })
        };
        let sent = Kind::Send {
            conversation: CONVERSATION,
            sender: UserId(1),
            client_msg_id: MESSAGE,
            body_hash: 0,
            what: Content::Text,
            members: Vec::new(),
        };
        let told = Told::Sent { client_msg_id: MESSAGE, seq: Seq(1), stored_at_ms: 0 };
        let events = [
            (
                10,
                Entity::Device(DEVICE),
                Kind::Connect { user: UserId(1), gateway: 0, connect_count: 1, expires_s: squall_history::EVER },
            ),
            (1_000_000, Entity::Device(DEVICE), sent),
            (1_010_000, Entity::Host(0), received(1)),
            (1_011_000, Entity::Host(1), received(1)),
            (1_011_000, Entity::Host(1), staged(1)),
            (
                1_020_000,
                Entity::Host(1),
                Kind::Hop(Hop::Answered { device: DEVICE, conversation: CONVERSATION, told }),
            ),
            (1_021_000, Entity::Host(1), Kind::Crash),
            (2_000_000, Entity::Host(1), Kind::Restart),
            (
                4_000_000,
                Entity::Device(DEVICE),
                Kind::Resend { conversation: CONVERSATION, client_msg_id: MESSAGE, cause: "overdue" },
            ),
            (4_010_000, Entity::Host(0), received(1)),
            (4_011_000, Entity::Host(1), received(1)),
            (4_011_000, Entity::Host(1), staged(2)),
        ];
        let hosts = ["gateway-0", "messages-0"].map(str::to_owned).to_vec();
        Story::new(events.into_iter().map(|(t, at, kind)| Event { t, at, kind }).collect(), hosts)
    }

    fn subject() -> Subject {
        Subject {
            property: "no-duplicates".into(),
            t: 5_000_000,
            conversation: CONVERSATION,
            seq: Some(Seq(2)),
            message: Some(MESSAGE),
            device: Some(DEVICE),
            user: None,
            level: None,
        }
    }

    #[test]
    fn the_sentence_names_the_restart_and_what_caused_the_resend() {
        assert_eq!(
            cause(&stored_twice(), &subject()),
            "stored twice, at seq 1 and 2: the resend of 4.000 s, caused by the ack of 1.020 s that had not come in time, \
             was not recognised after messages-0, which crashed at 1.021 s, had restarted at 2.000 s"
        );
    }

    #[test]
    fn steps_stand_in_order_and_follow_from_earlier_ones_of_other_lanes() {
        let (story, subject) = (stored_twice(), subject());
        for most in [400, 6] {
            let diagram = diagram(&Case::new(&story, &subject), most);
            assert!(diagram.steps.is_sorted_by_key(|step| step.t));
            for (index, step) in diagram.steps.iter().enumerate() {
                let from = step.from.map(|from| (from, diagram.steps[from].lane));
                assert!(from.is_none_or(|(from, lane)| from < index && lane != step.lane), "{step:?}");
            }
            assert_eq!(diagram.left_out.is_some(), most == 6);
        }
        let diagram = diagram(&Case::new(&story, &subject), 400);
        let lanes: Vec<&str> = diagram.lanes.iter().map(|lane| lane.name.as_str()).collect();
        assert_eq!(lanes, ["device 4", "gateway-0", "messages-0"]);
        let arrows = diagram.steps.iter().filter(|step| step.from.is_some()).count();
        assert_eq!(arrows, 4, "{:?}", diagram.steps);
        assert_eq!(diagram.steps.last().map(|step| step.tone), Some(Tone::Wrong));
    }

    #[test]
    fn an_empty_story_has_a_sentence_and_no_picture() {
        let (story, subject) = (Story::default(), subject());
        assert_eq!(cause(&story, &subject), "the history tells nothing of it");
        assert_eq!(diagram(&Case::new(&story, &subject), 400), Diagram::default());
    }
}
