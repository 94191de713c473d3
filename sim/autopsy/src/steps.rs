//! What each event says in a story: in which lane, in which words, or that it is about something else.

use crate::asides;
use crate::case::{Case, has};
use crate::diagram::Focus;
use squall_history::{Asked, Entity, Event, Hop, Kind, Told, Via};
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, Seq};
use squall_reports::story::{LaneKind, Tone};

/// A step in words.
pub struct What {
    pub lane: String,
    pub kind: LaneKind,
    pub text: String,
    pub tone: Tone,
    pub part: Part,
}

/// What part a step has in a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It is about the message.
    Message,
    /// It is about a device's connection.
    Connection,
    /// It befell a host, and is told only if the host has another part in the story.
    Host,
}

fn step(lane: String, kind: LaneKind, text: String) -> Option<What> {
    Some(What { lane, kind, text, tone: Tone::Plain, part: Part::Message })
}

fn role(case: &Case<'_>, host: u16) -> LaneKind {
    let roles = [
        ("gateway-", LaneKind::Gateway),
        ("messages-", LaneKind::Shard),
        ("registry-", LaneKind::Registry),
        ("presence-", LaneKind::Presence),
    ];
    roles.into_iter().find(|(role, _)| case.story.has_role(host, role)).map_or(LaneKind::Bus, |(_, kind)| kind)
}

/// The step of an event, if it belongs to the story.
pub fn describe(case: &Case<'_>, focus: &Focus, event: &Event) -> Option<What> {
    let what = match event.at {
        Entity::Device(device) if focus.is_device(device) => of_device(case, focus, device, &event.kind),
        Entity::Device(_) => None,
        Entity::Host(host) => of_host(case, focus, host, &event.kind),
        Entity::World => of_world(case, &event.kind),
    }?;
    // Places are of a conversation, and a device's story is of several.
    match event.kind.conversation().filter(|_| focus.is_of_a_device() && what.part == Part::Message) {
        Some(conversation) => Some(What { text: format!("{} ({})", what.text, shortly(conversation)), ..what }),
        None => Some(what),
    }
}

/// A conversation by the first digits of its number, as messages have theirs.
fn shortly(conversation: ConversationId) -> String {
    let number = conversation.to_string();
    match number.get(..8).filter(|_| number.len() > 12) {
        Some(first) => format!("conversation {first}\u{2026}"),
        None => format!("conversation {number}"),
    }
}

/// "1 entry", "2 entries".
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// "seq 8", "seq 8 to 9".
fn places(from: Seq, to: Seq) -> String {
    if from == to { format!("seq {from}") } else { format!("seq {from} to {to}") }
}

/// Whether this is of the story's conversation, or of any where the story is a device's.
fn is_ours(case: &Case<'_>, focus: &Focus, kind: &Kind) -> bool {
    kind.conversation().is_some_and(|of| focus.is_of_a_device() || of == case.subject.conversation)
}

/// A name for one of several messages that the story is about.
fn named(case: &Case<'_>, focus: &Focus, message: ClientMsgId) -> String {
    let is_main = case.subject.message == Some(message) || (focus.messages.len() == 1 && !focus.whole);
    if is_main { "it".to_owned() } else { case.short(message) }
}

fn of_device(case: &Case<'_>, focus: &Focus, device: DeviceId, kind: &Kind) -> Option<What> {
    let lane_kind = if focus.senders.contains(&device) { LaneKind::Sender } else { LaneKind::Receiver };
    let say = |text: String| step(format!("device {device}"), lane_kind, text);
    let ours = is_ours(case, focus, kind);
    match kind {
        Kind::Connect { gateway, connect_count, .. } => {
            say(format!("is connected to gateway-{gateway} (count {connect_count})"))
                .map(|what| What { part: Part::Connection, ..what })
        }
        Kind::Disconnect { reason } => say(format!("loses its connection: {reason}")).map(|what| What {
            tone: Tone::Fault,
            part: Part::Connection,
            ..what
        }),
        Kind::Presence { .. } | Kind::Invisible { .. } | Kind::Away | Kind::Watch { .. } => {
            asides::of_device(focus, device, kind, &say)
        }
        _ if !ours => None,
        Kind::Send { client_msg_id, .. } if focus.about(*client_msg_id) => {
            say(format!("sends {}", named(case, focus, *client_msg_id)))
        }
        Kind::Resend { client_msg_id, cause, .. } if focus.about(*client_msg_id) => {
            say(format!("sends {} again ({cause})", named(case, focus, *client_msg_id)))
        }
        Kind::Sent { client_msg_id, seq, .. } if focus.about(*client_msg_id) => {
            say(format!("has the ack of {}: seq {seq}", named(case, focus, *client_msg_id)))
        }
        Kind::Refused { client_msg_id, reason, .. } if focus.about(*client_msg_id) => {
            say(format!("is told that {} is refused: {reason}", named(case, focus, *client_msg_id)))
        }
        Kind::Deliver { from, to, via, held, .. }
            if focus.within(*from, *to) || focus.any(|seq| has(held, seq)) =>
        {
            let what = if *via == Via::Page { "page" } else { "delivery" };
            let held = counted(held.len(), "entry", "entries");
            say(format!("gets a {what} for {} with {held}", places(*from, *to)))
        }
        Kind::Display { seq, .. } if focus.at(*seq) => say(format!("shows seq {seq}")),
        Kind::Skip { from, to, .. } if focus.within(*from, *to) => {
            say(format!("passes over {}", places(*from, *to)))
        }
        Kind::Discard { seq, .. } if focus.at(*seq) => say(format!("has seq {seq} already")),
        Kind::Sync { since, .. } if focus.any(|seq| *since < seq) => {
            say(format!("asks for what comes after seq {since}"))
        }
        Kind::Ack { up_to, .. } if focus.at(*up_to) => say(format!("acks up to seq {up_to}")),
        Kind::Read { up_to, .. } if focus.at(*up_to) || focus.user.is_some() => {
            say(format!("says that seq {up_to} is read"))
        }
        kind => asides::of_device(focus, device, kind, &say),
    }
}

fn of_host(case: &Case<'_>, focus: &Focus, host: u16, kind: &Kind) -> Option<What> {
    let name = case.story.host(host);
    let lane_kind = role(case, host);
    let say = |text: String| step(name.clone(), lane_kind, text);
    let background = |text: String| say(text).map(|what| What { tone: Tone::Fault, part: Part::Host, ..what });
    let on_disk = |text: String| step(format!("{name}'s disk"), LaneKind::Disk, text);
    match kind {
        Kind::Crash => return background("crashes".to_owned()),
        Kind::Stopping { .. } => return background("is asked to end".to_owned()),
        Kind::Exit => return background("ends, as it was asked to".to_owned()),
        Kind::PowerLoss { unsynced_blocks } => {
            return background(match *unsynced_blocks {
                0 => "loses power; nothing written was unsynced".to_owned(),
                1 => "loses power, and 1 block that was not synced".to_owned(),
                blocks => format!("loses power, and {blocks} blocks that were not synced"),
            });
        }
        Kind::Restart => {
            return background("runs again".to_owned()).map(|what| What { tone: Tone::Plain, ..what });
        }
        Kind::Hop(Hop::MoreThanEver { what, items }) => {
            let level = case.subject.level.as_ref().filter(|level| level.host == name && level.what == *what)?;
            return say(format!("has {items} {}, more than ever before", level.what));
        }
        Kind::Hop(Hop::DiskFailed) => return background("its disk refuses a commit".to_owned()),
        Kind::Hop(Hop::Recovered { entries, dispatched })
            if *entries > 0 || case.story.stopped_between(host, 0, u64::MAX).is_some() =>
        {
            let again = entries.saturating_sub(*dispatched);
            return background(format!(
                "has read its disk: {}, {again} of them to be planned again",
                if *entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") }
            ))
            .map(|what| What { tone: Tone::Plain, ..what });
        }
        Kind::Hop(hop) => {
            let of_another_shard = lane_kind == LaneKind::Shard && case.shard != Some(host) && !focus.whole;
            if let Some(what) = of_connection(focus, hop, &say).filter(|_| !of_another_shard) {
                return Some(What { part: Part::Connection, ..what });
            }
            if hop.watched().iter().any(|user| focus.is_user(*user)) || matches!(hop, Hop::SentAway { .. }) {
                return asides::of_host(focus, hop, &say);
            }
        }
        _ => {}
    }
    if !is_ours(case, focus, kind) {
        return None;
    }
    match kind {
        Kind::Append { seq, client_msg_id, .. } if focus.about(*client_msg_id) => {
            say(format!("knows that {} is committed: seq {seq}", named(case, focus, *client_msg_id)))
        }
        Kind::Cursor { user, up_to, .. } if focus.at(*up_to) && case.is_about_user(*user) => {
            on_disk(format!("the cursor of user {user} stands at seq {up_to}"))
        }
        Kind::Hop(hop) => of_hop(case, focus, hop, &say, &on_disk),
        _ => None,
    }
}

/// What is of a device and no conversation.
fn of_connection(focus: &Focus, hop: &Hop, say: &impl Fn(String) -> Option<What>) -> Option<What> {
    let device = hop.device().filter(|device| focus.is_device(*device))?;
    match hop {
        Hop::HeadsAsked { .. } => say(format!("is asked for the conversations of device {device}")),
        Hop::HeadsTold { head, count, last, .. } => {
            let named = match head {
                Some(head) => format!(", this one up to seq {head}"),
                // A device's story is of no conversation.
                None if focus.is_of_a_device() => String::new(),
                None => ", not this one".to_owned(),
            };
            let more = if *last { "" } else { ", more to come" };
            let count = if *count == 1 { "1 conversation".to_owned() } else { format!("{count} conversations") };
            say(format!("tells device {device} {count}{named}{more}"))
        }
        Hop::HeadsHanded { head, .. } => {
            say(format!("hands on to device {device} how far the log goes: seq {head}"))
        }
        Hop::Registering { connect_count, .. } => {
            say(format!("tells the registry of device {device} (count {connect_count})"))
        }
        Hop::Registered { gateway, connect_count, outcome, .. } => {
            say(format!("device {device} on gateway-{gateway} (count {connect_count}): {outcome}"))
        }
        Hop::Unregistered { gateway, removed, .. } => {
            let kept = if *removed { "" } else { ", which it does not have, or keeps" };
            say(format!("forgets device {device} on gateway-{gateway}{kept}"))
        }
        Hop::CalledBack { .. } => say(format!("tells device {device} to come back")),
        Hop::Closed { reason, .. } => say(format!("ends the connection of device {device}: {reason}")),
        Hop::Fenced { .. } => say(format!("writes the fence of device {device}")),
        _ => None,
    }
}

fn of_hop(
    case: &Case<'_>,
    focus: &Focus,
    hop: &Hop,
    say: &impl Fn(String) -> Option<What>,
    on_disk: &impl Fn(String) -> Option<What>,
) -> Option<What> {
    let about = |message: &ClientMsgId| focus.about(*message);
    let it = |message: &ClientMsgId| named(case, focus, *message);
    match hop {
        Hop::Received { asked: Asked::Send { client_msg_id, client_seq }, .. } if about(client_msg_id) => {
            say(format!("gets {} as number {}", it(client_msg_id), client_seq.0))
        }
        Hop::Received { device, asked: Asked::Ack { up_to }, .. }
            if focus.is_device(*device) && focus.at(*up_to) =>
        {
            say(format!("gets the ack of device {device} up to seq {up_to}"))
        }
        Hop::Received { device, asked: Asked::Sync { since }, .. }
            if focus.is_device(*device) && focus.any(|seq| *since < seq) =>
        {
            say(format!("is asked by device {device} for what comes after seq {since}"))
        }
        Hop::Answered { device, told, .. } => told_words(focus, *device, told, "answers").and_then(say),
        Hop::Handed { device, told, .. } => told_words(focus, *device, told, "hands on").and_then(say),
        Hop::Astray { device, told, .. } => told_words(focus, *device, told, "finds the connection gone for")
            .and_then(say)
            .map(|what| What { tone: Tone::Fault, ..what }),
        Hop::Staged { client_msg_id, seq, .. } if about(client_msg_id) => {
            say(format!("gives {} seq {seq}, in memory", it(client_msg_id)))
        }
        Hop::Recognised { client_msg_id, seq, .. } if about(client_msg_id) || focus.at(*seq) => {
            say(format!("takes {} for a copy of what has seq {seq}", it(client_msg_id)))
        }
        Hop::Committing { seq, .. } if focus.at(*seq) => say(format!("gives seq {seq} to its disk")),
        Hop::Synced { seq, .. } if focus.at(*seq) => on_disk(format!("has synced seq {seq}")),
        Hop::CommitFailed { seq, .. } if focus.at(*seq) => {
            on_disk(format!("refuses the commit of seq {seq}")).map(|what| What { tone: Tone::Fault, ..what })
        }
        Hop::Found { client_msg_id, seq, .. } if about(client_msg_id) => {
            say(format!("finds {} on its disk: seq {seq}", it(client_msg_id)))
        }
        Hop::Planned { seq, registry, users, .. } if focus.at(*seq) => {
            let where_are = match users.len() {
                1 => "where the one reader of".to_owned(),
                readers => format!("where the {readers} readers of"),
            };
            let are = if users.len() == 1 { "is" } else { "are" };
            say(format!("asks registry-{registry} {where_are} seq {seq} {are}"))
        }
        Hop::PlannedAgain { seq, registry, .. } if focus.at(*seq) => {
            say(format!("asks registry-{registry} again"))
        }
        Hop::LookedUp { seq, found, .. } if focus.at(*seq) => {
            let known = focus.receiver.map(|device| {
                let there = found.iter().find(|place| place.device == device);
                there.map_or(format!(", device {device} not among them"), |place| {
                    format!(", device {device} on gateway-{}", place.gateway)
                })
            });
            let devices = counted(found.len(), "device", "devices");
            say(format!("is told of {devices}{}", known.unwrap_or_default()))
        }
        Hop::Forwarded { seq, gateway, to, .. }
            if focus.at(*seq) && concerns(focus, to.iter().map(|place| place.device)) =>
        {
            let devices = counted(to.len(), "device", "devices");
            say(format!("publishes seq {seq} for {devices} of gateway-{gateway}"))
        }
        Hop::Redelivered { device, head, .. } if focus.is_device(*device) => {
            say(format!("tells device {device} again that the log goes to seq {head}, for no ack has come"))
        }
        Hop::Vanished { device, .. } if focus.is_device(*device) => {
            say(format!("no registry knows device {device}, which owes no ack then"))
        }
        Hop::Carried { from, to, gateway, devices, subscribed, .. }
            if (focus.within(*from, *to) || from > to) && concerns(focus, devices.iter().copied()) =>
        {
            let what = if from > to { format!("the reminder of seq {to}") } else { format!("seq {to}") };
            match subscribed {
                true => say(format!("has {what} for gateway-{gateway}")),
                false => say(format!("drops {what}, which nobody takes for gateway-{gateway}"))
                    .map(|what| What { tone: Tone::Fault, ..what }),
            }
        }
        Hop::Logged { client_msg_id, seq, .. } if about(client_msg_id) || focus.at(*seq) => {
            on_disk(format!("holds {} at seq {seq} in the end", it(client_msg_id)))
        }
        hop => asides::of_host(focus, hop, say),
    }
}

/// Whether some of these are the story's devices, or the story has no receiver.
fn concerns(focus: &Focus, mut devices: impl Iterator<Item = DeviceId>) -> bool {
    focus.receiver.is_none_or(|receiver| devices.any(|device| device == receiver))
}

fn told_words(focus: &Focus, device: DeviceId, told: &Told, verb: &str) -> Option<String> {
    match told {
        Told::Sent { client_msg_id, seq, .. } if focus.about(*client_msg_id) => {
            Some(format!("{verb} the ack: seq {seq}"))
        }
        Told::Refused { client_msg_id, reason, value } if focus.about(*client_msg_id) => {
            let value = value.map_or(String::new(), |value| format!(" {value}"));
            Some(format!("{verb} the refusal: {reason}{value}"))
        }
        Told::Deliver { from, to, held } if focus.is_device(device) && (focus.within(*from, *to) || from > to) => {
            match held.is_empty() {
                true => Some(format!("{verb} the reminder that the log goes to seq {to}")),
                false => Some(format!("{verb} the delivery of seq {to} for device {device}")),
            }
        }
        Told::Page { from, to, held, head }
            if focus.is_device(device) && (focus.within(*from, *to) || focus.any(|seq| has(held, seq))) =>
        {
            Some(format!(
                "{verb} a page for {} with {}; the log goes to {head}",
                places(*from, *to),
                counted(held.len(), "entry", "entries")
            ))
        }
        _ => None,
    }
}

/// Faults, in the lanes of the hosts that they strike.
fn of_world(case: &Case<'_>, kind: &Kind) -> Option<What> {
    let Kind::Fault { name, active, harm, .. } = kind else { return None };
    let hosts = &harm.hosts;
    let shard = case.shard.filter(|shard| hosts.contains(shard));
    let host = shard.or(hosts.first().copied())?;
    let others = if hosts.len() > 1 { format!(" on {} hosts", hosts.len()) } else { String::new() };
    let text = if *active {
        format!("the fault \"{name}\" begins{others}")
    } else {
        format!("the fault \"{name}\" is over{others}")
    };
    step(case.story.host(host), role(case, host), text).map(|what| What {
        tone: if *active { Tone::Fault } else { Tone::Plain },
        part: Part::Host,
        ..what
    })
}
