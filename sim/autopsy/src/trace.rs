//! The story of a case on time axes: the steps of its diagram, all of them, with what lasted between two of them.
//!
//! A host or a device has a row for its steps, one for its process or its connection, and a host's disk one of its own. What lasts stands in
//! the row of the steps between which it does; faults stand above all.

use crate::case::Case;
use crate::diagram::{Focus, told};
use crate::links::{continues, follows, goes_on, leaves};
use crate::steps::{Part, What};
use squall_history::{Asked, Entity, Event, Hop, Kind, Told};
use squall_reports::story::{LaneKind, Tone};
use squall_reports::trace::{Mark, Span, Trace, Track};
use std::collections::BTreeMap;

/// What begins with a step.
struct Opening {
    /// What ends it has the same.
    key: String,
    track: Track,
    text: String,
    tone: Tone,
}

/// The trace of what a case is about. `cause` stands with the violation.
pub fn trace(case: &Case<'_>, cause: Option<&str>) -> Trace {
    let focus = Focus::of(case);
    let steps = told(case, &focus);
    let tracks = tracks(case, &steps);
    let number =
        |track: &Track| tracks.iter().position(|known| known == track).expect("it is of one of the steps");
    let mut trace = Trace { tracks: tracks.clone(), ..Trace::default() };
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    let (mut left, mut left_here) = (BTreeMap::new(), BTreeMap::new());
    let violation = steps.partition_point(|(event, _)| event.t <= case.subject.t);
    for (index, (event, what)) in steps.iter().enumerate() {
        if index == violation {
            mark_violation(case, &focus, cause, &mut trace);
        }
        let mark = trace.marks.len();
        let here = |key: String| format!("{:?} {key}", event.at);
        let from = follows(case, event).into_iter().filter_map(|key| left.get(&key)).max();
        let from_here = continues(event).into_iter().filter_map(|key| left_here.get(&here(key))).max();
        trace.flows.extend(from.into_iter().chain(from_here).map(|&from| (from, mark)));
        left.extend(leaves(event).into_iter().map(|key| (key, mark)));
        left_here.extend(goes_on(event).into_iter().map(|key| (here(key), mark)));
        for span in closes(event, &open) {
            let span = open.remove(&span).expect("it is open");
            trace.spans[span].until = Some(mark);
        }
        for opening in opens(case, event, what) {
            open.entry(opening.key).or_insert_with(|| {
                let (track, text, tone) = (number(&opening.track), opening.text, opening.tone);
                trace.spans.push(Span { from: mark, until: None, track, text, tone });
                trace.spans.len() - 1
            });
        }
        let track = number(&track_of(case, event, what));
        trace.marks.push(Mark { t: event.t, track, text: what.text.clone(), tone: what.tone, note: None });
    }
    if violation == steps.len() {
        mark_violation(case, &focus, cause, &mut trace);
    }
    trace
}

/// The host or device of a step. A fault of the world is told with a host that it strikes.
fn of(case: &Case<'_>, event: &Event, what: &What) -> String {
    match event.at {
        Entity::World => what.lane.clone(),
        Entity::Host(_) | Entity::Device(_) => case.story.name(event.at),
    }
}

fn track_of(case: &Case<'_>, event: &Event, what: &What) -> Track {
    let name = match (what.kind, what.part, event.at) {
        (LaneKind::Disk, ..) => "disk",
        (_, Part::Connection, Entity::Device(_)) => "connection",
        (_, Part::Host, _) => "process",
        _ => "steps",
    };
    Track { of: of(case, event, what), name: name.to_owned() }
}

/// The tracks of all steps and of what lasts: the faults, then hosts and devices as lanes stand in a diagram.
fn tracks(case: &Case<'_>, steps: &[(&Event, What)]) -> Vec<Track> {
    let mut found: BTreeMap<(u8, LaneKind, String), Vec<Track>> = BTreeMap::new();
    for (event, what) in steps {
        let opened = opens(case, event, what).into_iter().map(|opening| opening.track);
        for track in opened.chain([track_of(case, event, what)]) {
            // A shard's disk stands with the shard.
            let kind = if what.kind == LaneKind::Disk { LaneKind::Shard } else { what.kind };
            let place = if track.of == FAULTS { (0, LaneKind::Sender) } else { (1, kind) };
            let of = found.entry((place.0, place.1, track.of.clone())).or_default();
            if !of.contains(&track) {
                of.push(track);
                of.sort_by_key(|track| {
                    ["connection", "process", "steps", "disk"].iter().position(|n| *n == track.name)
                });
            }
        }
    }
    found.into_values().flatten().collect()
}

const FAULTS: &str = "faults";

/// What begins to last with this step.
fn opens(case: &Case<'_>, event: &Event, what: &What) -> Vec<Opening> {
    let own = of(case, event, what);
    let at = format!("{:?}", event.at);
    let opening = |track: &str, key: String, text: String| {
        let track = Track { of: own.clone(), name: track.to_owned() };
        vec![Opening { key: format!("{at} {key}"), track, text, tone: Tone::Plain }]
    };
    let wrong = |mut openings: Vec<Opening>| {
        openings.iter_mut().for_each(|opening| opening.tone = Tone::Fault);
        openings
    };
    match (&event.kind, event.at) {
        (Kind::Connect { gateway, connect_count, .. }, _) => opening(
            "connection",
            "connection".to_owned(),
            format!("connected to gateway-{gateway} (count {connect_count})"),
        ),
        (Kind::Send { client_msg_id, .. } | Kind::Resend { client_msg_id, .. }, _) => {
            opening("steps", format!("send {client_msg_id}"), format!("waits for the ack of {client_msg_id}"))
        }
        (Kind::Crash, _) => wrong(opening("process", "down".to_owned(), "crashed".to_owned())),
        (Kind::PowerLoss { .. }, _) => wrong(opening("process", "down".to_owned(), "without power".to_owned())),
        (Kind::Stopping { .. }, _) => opening("process", "ending".to_owned(), "is to end".to_owned()),
        (Kind::Exit, _) => opening("process", "down".to_owned(), "has ended".to_owned()),
        (Kind::Fault { name, active: true, .. }, _) => {
            let track = Track { of: FAULTS.to_owned(), name: "in force".to_owned() };
            vec![Opening { key: format!("fault {name}"), track, text: name.clone(), tone: Tone::Fault }]
        }
        (Kind::Hop(Hop::Received { asked: Asked::Send { client_msg_id, .. }, .. }), Entity::Host(_)) => {
            opening("steps", format!("send {client_msg_id}"), format!("owes the answer to {client_msg_id}"))
        }
        (Kind::Hop(Hop::Committing { seq, .. }), _) => {
            opening("disk", format!("commit {seq}"), format!("commits seq {seq}"))
        }
        (Kind::Hop(Hop::Planned { seq, registry, .. }), _) => opening(
            "steps",
            format!("ask {seq} {registry}"),
            format!("waits for registry-{registry}, for the readers of seq {seq}"),
        ),
        _ => Vec::new(),
    }
}

/// What ends with this step, of what is open.
fn closes(event: &Event, open: &BTreeMap<String, usize>) -> Vec<String> {
    let at = format!("{:?}", event.at);
    let is_here = |key: &&String| key.strip_prefix(&at).is_some_and(|rest| rest.starts_with(' '));
    let answered = |told: &Told| match told {
        Told::Sent { client_msg_id, .. } | Told::Refused { client_msg_id, .. } => {
            vec![format!("{at} send {client_msg_id}")]
        }
        Told::Deliver { .. }
        | Told::Page { .. }
        | Told::Error { .. }
        | Told::Typing { .. }
        | Told::Receipts { .. } => Vec::new(),
    };
    let ends = match &event.kind {
        Kind::Connect { .. } | Kind::Disconnect { .. } => vec![format!("{at} connection")],
        Kind::Sent { client_msg_id, .. } | Kind::Refused { client_msg_id, .. } => {
            vec![format!("{at} send {client_msg_id}")]
        }
        // Whatever it was about to do is over.
        Kind::Crash | Kind::PowerLoss { .. } | Kind::Exit => open.keys().filter(is_here).cloned().collect(),
        Kind::Restart => vec![format!("{at} down")],
        Kind::Fault { name, active: false, .. } => vec![format!("fault {name}")],
        Kind::Hop(hop) => match hop {
            Hop::Answered { told, .. } | Hop::Handed { told, .. } | Hop::Astray { told, .. } => answered(told),
            Hop::Synced { seq, .. } | Hop::CommitFailed { seq, .. } => vec![format!("{at} commit {seq}")],
            Hop::LookedUp { seq, registry, .. } => vec![format!("{at} ask {seq} {registry}")],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    ends.into_iter().filter(|key| open.contains_key(key)).collect()
}

/// The moment at which the check saw it, with the device that saw it or the shard.
fn mark_violation(case: &Case<'_>, focus: &Focus, cause: Option<&str>, trace: &mut Trace) {
    if trace.tracks.is_empty() || case.subject.property.is_empty() {
        return;
    }
    let device = focus.receiver.or(case.subject.device).or(focus.senders.first().copied());
    let names = device.map(|device| format!("device {device}")).into_iter().chain([case.shard_name()]);
    let tracks = &trace.tracks;
    let track = names.into_iter().find_map(|name| tracks.iter().rposition(|track| track.of == name)).unwrap_or(0);
    trace.marks.push(Mark {
        t: case.subject.t,
        track,
        text: format!("{} is broken", case.subject.property),
        tone: Tone::Wrong,
        note: cause.map(|cause| ("cause", cause.to_owned())),
    });
}
