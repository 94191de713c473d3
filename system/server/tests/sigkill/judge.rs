//! Judges what devices saw. Shares no code with the system: a log is what the devices say it is, and the reference is
//! what was sent and what was acked.

use std::collections::{BTreeMap, BTreeSet};

/// One message as its sender handed it over.
#[derive(Debug, Clone)]
pub struct Sent {
    pub conversation: u128,
    pub id: u128,
    pub body: String,
    /// It may never have been sent: the creation inside a direct send.
    pub optional: bool,
}

/// One entry as a device showed it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub conversation: u128,
    pub seq: u64,
    pub id: u128,
    pub body: String,
}

/// What one device did and saw, in order.
#[derive(Debug, Clone, Default)]
pub struct DeviceHistory {
    pub user: u64,
    pub sent: Vec<Sent>,
    /// (conversation, id, seq)
    pub stored: Vec<(u128, u128, u64)>,
    pub refused: Vec<(u128, u128, String)>,
    pub shown: Vec<Shown>,
}

/// All devices, and who is in which conversation from its first entry on.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub members: BTreeMap<u128, BTreeSet<u64>>,
    pub devices: BTreeMap<u64, DeviceHistory>,
}

/// What was judged.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judged {
    pub acked: usize,
    pub shown: usize,
    /// Times that a member's device was looked at for an acked message.
    pub deliveries: usize,
    pub conversations: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// An acked message is not at its place on a member's device.
    Lost {
        device: u64,
        conversation: u128,
        seq: u64,
        id: u128,
    },
    /// The sender was told two places.
    AckedTwice {
        device: u64,
        conversation: u128,
        id: u128,
    },
    ShownTwice {
        device: u64,
        conversation: u128,
        id: u128,
    },
    /// A device showed `seq` where `expected` was due.
    NotDense {
        device: u64,
        conversation: u128,
        expected: u64,
        seq: u64,
    },
    /// Two devices show different messages at one place.
    Disagreement {
        conversation: u128,
        seq: u64,
        ids: [u128; 2],
    },
    /// A sender's later message stands before an earlier one.
    SenderOrder {
        device: u64,
        conversation: u128,
        earlier: u128,
        later: u128,
    },
    /// Nobody sent this into this conversation, or not with this body.
    NeverSent {
        device: u64,
        conversation: u128,
        id: u128,
    },
    ShownToStranger {
        device: u64,
        conversation: u128,
    },
    Unanswered {
        device: u64,
        conversation: u128,
        id: u128,
    },
    /// A refusal that nothing provoked.
    Refused {
        device: u64,
        conversation: u128,
        id: u128,
        reason: String,
    },
}

/// Judges a history in which everything has settled.
pub fn judge(history: &History) -> (Judged, Vec<Violation>) {
    let mut found = Vec::new();
    let mut judged = Judged::default();
    let mut sent: BTreeMap<(u128, u128), &str> = BTreeMap::new();
    for message in history.devices.values().flat_map(|d| &d.sent) {
        sent.insert((message.conversation, message.id), &message.body);
    }
    let mut log: BTreeMap<(u128, u64), u128> = BTreeMap::new();
    let mut places: BTreeMap<u64, BTreeMap<(u128, u128), u64>> = BTreeMap::new();
    for (device, seen) in &history.devices {
        judged.shown += seen.shown.len();
        let shown = judge_shown(history, *device, seen, &sent, &mut log, &mut found);
        places.insert(*device, shown);
    }
    judged.conversations = log.keys().map(|(conversation, _)| conversation).collect::<BTreeSet<_>>().len();
    for (device, seen) in &history.devices {
        judge_answers(*device, seen, &mut found);
        judge_sender_order(*device, seen, &log, &mut found);
        let distinct: BTreeSet<_> = seen.stored.iter().collect();
        judged.acked += distinct.len();
        for &&(conversation, id, seq) in &distinct {
            for (reader, theirs) in &history.devices {
                if history.members.get(&conversation).is_some_and(|m| m.contains(&theirs.user)) {
                    judged.deliveries += 1;
                    if places[reader].get(&(conversation, id)) != Some(&seq) {
                        found.push(Violation::Lost { device: *reader, conversation, seq, id });
                    }
                }
            }
        }
    }
    (judged, found)
}

/// One device's screen: its order, and that it agrees with all others. Returns where it shows what.
fn judge_shown(
    history: &History,
    device: u64,
    seen: &DeviceHistory,
    sent: &BTreeMap<(u128, u128), &str>,
    log: &mut BTreeMap<(u128, u64), u128>,
    found: &mut Vec<Violation>,
) -> BTreeMap<(u128, u128), u64> {
    let mut places = BTreeMap::new();
    let mut last: BTreeMap<u128, u64> = BTreeMap::new();
    for Shown { conversation, seq, id, body } in &seen.shown {
        let (conversation, seq, id) = (*conversation, *seq, *id);
        if places.insert((conversation, id), seq).is_some() {
            found.push(Violation::ShownTwice { device, conversation, id });
        }
        let expected = last.get(&conversation).map_or(1, |seq| seq + 1);
        if seq != expected {
            found.push(Violation::NotDense { device, conversation, expected, seq });
        }
        last.insert(conversation, seq);
        let agreed = *log.entry((conversation, seq)).or_insert(id);
        if agreed != id {
            found.push(Violation::Disagreement { conversation, seq, ids: [agreed, id] });
        }
        if sent.get(&(conversation, id)) != Some(&body.as_str()) {
            found.push(Violation::NeverSent { device, conversation, id });
        }
        if !history.members.get(&conversation).is_some_and(|m| m.contains(&seen.user)) {
            found.push(Violation::ShownToStranger { device, conversation });
        }
    }
    places
}

/// Every message has one answer; only a creation that somebody else was quicker with may be refused.
fn judge_answers(device: u64, seen: &DeviceHistory, found: &mut Vec<Violation>) {
    let mut acked: BTreeMap<(u128, u128), u64> = BTreeMap::new();
    for (conversation, id, seq) in &seen.stored {
        if acked.insert((*conversation, *id), *seq).is_some_and(|before| before != *seq) {
            found.push(Violation::AckedTwice { device, conversation: *conversation, id: *id });
        }
    }
    let refused: BTreeMap<(u128, u128), &str> =
        seen.refused.iter().map(|(conversation, id, reason)| ((*conversation, *id), reason.as_str())).collect();
    for Sent { conversation, id, optional, .. } in &seen.sent {
        let (conversation, id) = (*conversation, *id);
        match (acked.get(&(conversation, id)), refused.get(&(conversation, id))) {
            (None, None) if !optional => found.push(Violation::Unanswered { device, conversation, id }),
            (None, Some(reason)) if *optional && *reason == "Conflict" => {}
            (_, Some(reason)) => {
                found.push(Violation::Refused { device, conversation, id, reason: (*reason).to_owned() })
            }
            _ => {}
        }
    }
}

/// A device's messages stand in the log in the order in which it sent them.
fn judge_sender_order(
    device: u64,
    seen: &DeviceHistory,
    log: &BTreeMap<(u128, u64), u128>,
    found: &mut Vec<Violation>,
) {
    let own: BTreeMap<u128, u64> = seen.sent.iter().zip(0..).map(|(sent, n)| (sent.id, n)).collect();
    let mut last: BTreeMap<u128, (u64, u128)> = BTreeMap::new();
    for ((conversation, _), id) in log {
        let Some(n) = own.get(id) else { continue };
        if let Some((before, later)) = last.insert(*conversation, (*n, *id))
            && before >= *n
        {
            found.push(Violation::SenderOrder { device, conversation: *conversation, earlier: *id, later });
        }
    }
}

/// A history in which two people and a second device saw three messages.
fn sound() -> History {
    let bodies = ["created", "one", "two"];
    let shown: Vec<Shown> = (1..)
        .zip(bodies)
        .map(|(seq, body)| Shown { conversation: 5, seq, id: 100 + u128::from(seq), body: body.into() })
        .collect();
    let sent =
        |n: usize, optional| Sent { conversation: 5, id: 100 + n as u128, body: bodies[n - 1].into(), optional };
    let device = |user| DeviceHistory { user, shown: shown.clone(), ..DeviceHistory::default() };
    let mut history = History {
        members: BTreeMap::from([(5, BTreeSet::from([1, 2]))]),
        devices: BTreeMap::from([(10, device(1)), (20, device(2)), (21, device(2))]),
    };
    let first = history.devices.get_mut(&10).unwrap();
    first.sent = vec![sent(1, true), sent(2, false), sent(3, false)];
    first.stored = vec![(5, 101, 1), (5, 102, 2), (5, 103, 3), (5, 103, 3)];
    let second = history.devices.get_mut(&20).unwrap();
    second.sent = vec![Sent { conversation: 5, id: 200, body: "created".into(), optional: true }];
    second.refused = vec![(5, 200, "Conflict".into())];
    history
}

#[test]
fn a_sound_history_passes_and_an_empty_one_judges_nothing() {
    let judged = Judged { acked: 3, shown: 9, deliveries: 9, conversations: 1 };
    assert_eq!(judge(&sound()), (judged, vec![]));
    assert_eq!(judge(&History::default()), (Judged::default(), vec![]));
}

#[test]
fn each_corruption_of_a_history_is_found() {
    type Case = (&'static str, fn(&mut History), fn(&Violation) -> bool);
    let cases: [Case; 12] = [
        (
            "an acked message is missing at the end of a second device",
            |h| h.devices.get_mut(&21).unwrap().shown.truncate(2),
            |v| *v == Violation::Lost { device: 21, conversation: 5, seq: 3, id: 103 },
        ),
        (
            "an acked message is on nobody's screen",
            |h| h.devices.values_mut().for_each(|d| d.shown.truncate(2)),
            |v| *v == Violation::Lost { device: 10, conversation: 5, seq: 3, id: 103 },
        ),
        (
            "a message stands at another place than its ack says",
            |h| h.devices.get_mut(&10).unwrap().stored[2].2 = 4,
            |v| matches!(v, Violation::AckedTwice { id: 103, .. }),
        ),
        (
            "an entry is shown twice at one place",
            |h| {
                let shown = &mut h.devices.get_mut(&20).unwrap().shown;
                shown.push(shown[2].clone());
            },
            |v| *v == Violation::ShownTwice { device: 20, conversation: 5, id: 103 },
        ),
        (
            "a message is in the log twice",
            |h| {
                for device in h.devices.values_mut() {
                    let again = Shown { seq: 4, ..device.shown[1].clone() };
                    device.shown.push(again);
                }
            },
            |v| *v == Violation::ShownTwice { device: 10, conversation: 5, id: 102 },
        ),
        (
            "two entries are shown in the wrong order",
            |h| h.devices.get_mut(&20).unwrap().shown.swap(1, 2),
            |v| *v == Violation::NotDense { device: 20, conversation: 5, expected: 2, seq: 3 },
        ),
        (
            "a device begins after the first entry",
            |h| drop(h.devices.get_mut(&20).unwrap().shown.remove(0)),
            |v| *v == Violation::NotDense { device: 20, conversation: 5, expected: 1, seq: 2 },
        ),
        (
            "two devices show different messages at one place",
            |h| h.devices.get_mut(&20).unwrap().shown[2].id = 102,
            |v| *v == Violation::Disagreement { conversation: 5, seq: 3, ids: [103, 102] },
        ),
        (
            "the log has a sender's messages in the wrong order",
            |h| {
                for device in h.devices.values_mut() {
                    let (a, b) = (device.shown[1].clone(), device.shown[2].clone());
                    device.shown[1] = Shown { seq: 2, ..b };
                    device.shown[2] = Shown { seq: 3, ..a };
                }
            },
            |v| *v == Violation::SenderOrder { device: 10, conversation: 5, earlier: 102, later: 103 },
        ),
        (
            "a body has changed on its way",
            |h| h.devices.get_mut(&20).unwrap().shown[1].body = "won".into(),
            |v| *v == Violation::NeverSent { device: 20, conversation: 5, id: 102 },
        ),
        (
            "a message has no answer",
            |h| h.devices.get_mut(&10).unwrap().stored.truncate(2),
            |v| *v == Violation::Unanswered { device: 10, conversation: 5, id: 103 },
        ),
        (
            "a text was refused",
            |h| {
                let first = h.devices.get_mut(&10).unwrap();
                first.stored.truncate(2);
                first.refused.push((5, 103, "UnknownConversation".into()));
            },
            |v| matches!(v, Violation::Refused { device: 10, id: 103, .. }),
        ),
    ];
    for (what, corrupt, expected) in cases {
        let mut history = sound();
        corrupt(&mut history);
        let (_, found) = judge(&history);
        assert!(found.iter().any(expected), "{what}: {found:?}");
    }
    let mut history = sound();
    history.members.get_mut(&5).unwrap().remove(&2);
    assert!(judge(&history).1.contains(&Violation::ShownToStranger { device: 20, conversation: 5 }));
}
