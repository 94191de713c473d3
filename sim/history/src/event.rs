//! One event of a run.

use crate::content::{What, body_hash};
use crate::harm::Harm;
use crate::hop::Hop;
use crate::words::{Word, word};
use serde::{Deserialize, Serialize};
use squall_protocol::{
    ClientMsgId, ClientSeq, ConversationId, DeviceId, Receipt, ReceiptCounts, Seq, UserId, ids::mix,
};

/// Something that happened at simulated time `t`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Microseconds since the start of the run.
    pub t: u64,
    /// Where.
    pub at: Entity,
    pub kind: Kind,
}

/// Where an event happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entity {
    /// A host, by its index in the run's list of hosts.
    Host(u16),
    Device(DeviceId),
    /// The nemesis and the phases.
    World,
}

/// How an entry came to be shown on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Pushed.
    Deliver,
    /// In the page of a sync.
    Page,
    /// The device's own message, shown at the place that its ack named.
    Ack,
}

/// An entry on the wire to a device, without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    pub seq: Seq,
    pub client_msg_id: ClientMsgId,
    /// The device that wrote it, and its number there.
    pub author: DeviceId,
    pub client_seq: ClientSeq,
    pub stored_at_ms: u64,
}

/// What happened. Events of a device unless said otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// The gateway answered `hello` (the device is connected). `connect_count` is the device's own count.
    Connect {
        user: UserId,
        gateway: u16,
        connect_count: u64,
        /// When the token that it has shown expires, by a clock that is right, in seconds of the run.
        #[serde(default = "ever")]
        expires_s: i64,
    },
    /// The device has lost or left its connection.
    Disconnect {
        #[serde(deserialize_with = "word")]
        reason: Word,
    },
    /// A person sends: the first time that this message exists.
    Send {
        conversation: ConversationId,
        sender: UserId,
        client_msg_id: ClientMsgId,
        #[serde(with = "hex")]
        body_hash: u64,
        what: What,
        /// Of a creation: the first members; of `joined_several` and `left_several`: who comes and goes. With `joined` and `left`, all that
        /// is needed to fold the membership.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        members: Vec<UserId>,
    },
    /// The same message is on the wire again, because the device is `connected` anew, its answer is `overdue`, the shard wanted
    /// another number or to be asked later (`refused`), or a fault says everything twice (`fault`).
    Resend {
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        #[serde(deserialize_with = "word")]
        cause: Word,
    },
    /// The device has the ack: the server says that the message is stored at `seq`.
    Sent { conversation: ConversationId, client_msg_id: ClientMsgId, seq: Seq, stored_at_ms: u64 },
    /// The server refused the message for good; the device gives it up.
    Refused {
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        #[serde(deserialize_with = "word")]
        reason: Word,
    },
    /// A host's word (for exposure and for a message's path only): the entry is durable there. An entry that a power cut
    /// left on the disk without a word has its event when recovery finds it.
    Append {
        conversation: ConversationId,
        seq: Seq,
        sender: UserId,
        client_msg_id: ClientMsgId,
        #[serde(with = "hex")]
        body_hash: u64,
    },
    /// A host's word: the entry has been handed to the bus for these devices.
    Publish { conversation: ConversationId, seq: Seq, devices: Vec<DeviceId> },
    /// Of a host, and read back from its disk rather than its word: where the cursors of this user stand after a commit that was to move them:
    /// everything up to `up_to` has been delivered, and up to `read` read.
    Cursor { conversation: ConversationId, up_to: Seq, read: Seq, user: UserId },
    /// A delivery or page has arrived that speaks for `from..=to`.
    Deliver {
        conversation: ConversationId,
        from: Seq,
        to: Seq,
        entries: u32,
        via: Via,
        /// The entries themselves.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        held: Vec<Arrived>,
    },
    /// The server told the device that its user has done too much at once, and to wait for so long.
    Wait { conversation: ConversationId, client_msg_id: ClientMsgId, retry_after_ms: u64 },
    /// The person sees this entry.
    Display {
        user: UserId,
        conversation: ConversationId,
        seq: Seq,
        sender: UserId,
        client_msg_id: ClientMsgId,
        #[serde(with = "hex")]
        body_hash: u64,
        what: What,
        via: Via,
    },
    /// The device moves over `from..=to` without showing anything: the server said that it may not see them.
    Skip { conversation: ConversationId, from: Seq, to: Seq },
    /// An entry arrived again that the device had shown.
    Discard { conversation: ConversationId, seq: Seq, client_msg_id: ClientMsgId },
    /// The device asks for what comes after `since`.
    Sync { conversation: ConversationId, since: Seq },
    /// The device tells the server that it has shown everything up to here.
    Ack { conversation: ConversationId, up_to: Seq },
    /// The device says that its person is writing.
    Typing { conversation: ConversationId },
    /// The device was told that this user is writing, and shows it from now on, or for longer.
    TypingShown { conversation: ConversationId, user: UserId },
    /// It shows it no more.
    TypingOver { conversation: ConversationId, user: UserId },
    /// The device tells the server that its person has read everything up to here.
    Read { conversation: ConversationId, up_to: Seq },
    /// The device was told, and knows from now on, how far these users have come, or how many of a large group have.
    Receipts {
        conversation: ConversationId,
        users: Vec<Receipt>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counts: Option<ReceiptCounts>,
    },
    /// At the end, of a device that keeps receipts: how many of others' texts it counts as unread, and up to where its person has read.
    Unread { conversation: ConversationId, read: Seq, unread: u64 },
    /// A host's process died.
    Crash,
    /// A host went dark; `unsynced_blocks` of its disk are gone.
    PowerLoss { unsynced_blocks: u64 },
    /// A host's process runs again.
    Restart,
    /// The nemesis began or ended a fault, on these hosts; for a link, each with its side.
    Fault {
        name: String,
        active: bool,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        targets: Vec<String>,
        /// The same for a check.
        #[serde(default, skip_serializing_if = "Harm::is_nobodys")]
        harm: Harm,
    },
    /// A phase began: `ramp`, `load`, `heal`, `quiet`, `audit`.
    Phase {
        #[serde(deserialize_with = "word")]
        name: Word,
    },
    /// From now on the device is one with which this member attacks. What it sends and sees is told like any other's; what befalls
    /// it is its own doing, and nothing is owed to it. With a `number`, it names itself so to the server, which is the number of
    /// another person's device.
    Insider {
        user: UserId,
        #[serde(skip_serializing_if = "Option::is_none")]
        number: Option<DeviceId>,
    },
    /// Something takes longer than 400 ms on the path between the device and its gateway, either way, and arrives at `until` (µs of
    /// the run): it is lost and sent again, or waits for the end of a drop or for bandwidth.
    Slowed { until: u64 },
    /// The device begins a new life: its app was installed anew, or restored from a backup. It remembers nothing of what it has shown or
    /// sent, and is a device of its own from now on, which names itself to the server by the number that it had before.
    Reinstalled { user: UserId, number: DeviceId },
    /// The person puts a device away that is not connected at this moment.
    Away,
    /// The gateway took a newer token, which expires then, in seconds of the run.
    Refreshed { expires_s: i64 },
    /// A gateway refused the device's token, or closed its connection because that had expired. Of the token in question, when it
    /// The device goes on no more, for gateways have refused its tokens, one after the other: only its person starts it again.
    GivenUp,
    /// expires, in seconds of the run.
    TokenRefused { gateway: u16, expires_s: i64 },
    /// Of a device of nobody's: a gateway has answered somebody whose token has this flaw, as if it were good. Times are in
    /// seconds of the run, but for when it was asked, which is in µs.
    TokenTaken {
        gateway: u16,
        #[serde(deserialize_with = "word")]
        flaw: Word,
        expires_s: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before_s: Option<i64>,
        asked: u64,
    },
    /// Of a host: from now on its clock is so far ahead of one that is right, in µs. What it drifts is told again.
    Clock { ahead_us: i64 },
    /// A host's process was asked to end in good order, a gateway over `window` µs.
    Stopping { window: u64 },
    /// A host's process has ended by itself, as it was asked to.
    Exit,
    /// The device asks, on its connection, to be told whether these members of a conversation are online, in place of whom it has asked about
    /// there before; nobody: it watches there no more. With the connection all that ends.
    Watch {
        conversation: ConversationId,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        users: Vec<UserId>,
    },
    /// From now on the device wants to make its user look offline, on every connection, or does so no more.
    Invisible { user: UserId, on: bool },
    /// The person sees that somebody is `online` or `offline`, or that this is `unknown`; of who is offline, when they were last seen, by a
    /// host's wall clock in ms since the epoch, or 0.
    Presence {
        user: UserId,
        #[serde(deserialize_with = "word")]
        state: Word,
        last_seen_ms: u64,
    },
    /// A step on the way of what somebody follows. It lies outside the digest.
    #[serde(untagged, skip_deserializing)]
    Hop(Hop),
}

/// A token that expires after every run.
pub const EVER: i64 = i64::MAX;

fn ever() -> i64 {
    EVER
}

/// Sixteen hexadecimal digits: a JSON number cannot hold 64 bits everywhere.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:016x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

#[derive(Deserialize)]
struct ReadLine {
    t: u64,
    host: Option<String>,
    device: Option<DeviceId>,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Serialize)]
struct Line<'a> {
    t: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<DeviceId>,
    #[serde(flatten)]
    kind: &'a Kind,
}

impl Kind {
    /// The conversation that this is about, if it is about one.
    pub fn conversation(&self) -> Option<ConversationId> {
        match self {
            Kind::Send { conversation, .. }
            | Kind::Resend { conversation, .. }
            | Kind::Sent { conversation, .. }
            | Kind::Refused { conversation, .. }
            | Kind::Wait { conversation, .. }
            | Kind::Append { conversation, .. }
            | Kind::Publish { conversation, .. }
            | Kind::Cursor { conversation, .. }
            | Kind::Deliver { conversation, .. }
            | Kind::Display { conversation, .. }
            | Kind::Skip { conversation, .. }
            | Kind::Discard { conversation, .. }
            | Kind::Sync { conversation, .. }
            | Kind::Typing { conversation }
            | Kind::TypingShown { conversation, .. }
            | Kind::TypingOver { conversation, .. }
            | Kind::Ack { conversation, .. }
            | Kind::Read { conversation, .. }
            | Kind::Receipts { conversation, .. }
            | Kind::Unread { conversation, .. }
            | Kind::Watch { conversation, .. } => Some(*conversation),
            Kind::Hop(hop) => hop.conversation(),
            Kind::Connect { .. }
            | Kind::Disconnect { .. }
            | Kind::Crash
            | Kind::PowerLoss { .. }
            | Kind::Restart
            | Kind::Fault { .. }
            | Kind::Phase { .. }
            | Kind::Insider { .. }
            | Kind::Slowed { .. }
            | Kind::Reinstalled { .. }
            | Kind::Away
            | Kind::Refreshed { .. }
            | Kind::TokenRefused { .. }
            | Kind::GivenUp
            | Kind::TokenTaken { .. }
            | Kind::Clock { .. }
            | Kind::Stopping { .. }
            | Kind::Exit
            | Kind::Invisible { .. }
            | Kind::Presence { .. } => None,
        }
    }
}

impl Event {
    /// The event as one line of `history.jsonl`, without the newline. `hosts` names the hosts by index.
    pub fn to_json(&self, hosts: &[String]) -> String {
        let (host, device) = match self.at {
            Entity::Host(index) => (Some(hosts.get(usize::from(index)).map_or("?", |h| h.as_str())), None),
            Entity::Device(device) => (None, Some(device)),
            Entity::World => (None, None),
        };
        serde_json::to_string(&Line { t: self.t, host, device, kind: &self.kind })
            .expect("events have string keys and no fallible serializers")
    }

    /// Reads a line that [`Event::to_json`] has written; a hop is none of those that can be read.
    ///
    /// # Errors
    /// The line is no event, or is of a host that is not among `hosts`.
    pub fn from_json(line: &str, hosts: &[String]) -> Result<Event, serde_json::Error> {
        use serde::de::Error;
        let ReadLine { t, host, device, kind } = serde_json::from_str(line)?;
        let place = |name: String| {
            let place = hosts.iter().position(|host| *host == name);
            place.ok_or_else(|| serde_json::Error::custom(format!("there is no host {name}")))
        };
        let at = match (host.map(place).transpose()?, device) {
            (Some(host), _) => Entity::Host(host as u16),
            (None, Some(device)) => Entity::Device(device),
            (None, None) => Entity::World,
        };
        Ok(Event { t, at, kind })
    }

    /// A digest of the event, for the run's rolling digest.
    ///
    /// # Panics
    /// Of a hop, which is none of the run's events.
    pub fn digest(&self) -> u64 {
        let at = match self.at {
            Entity::Host(index) => u64::from(index),
            Entity::Device(device) => mix(device.0),
            Entity::World => u64::MAX,
        };
        let mut d = mix(self.t ^ mix(at));
        let mut add = |v: u64| d = mix(d ^ v);
        match &self.kind {
            Kind::Connect { user, gateway, connect_count, .. } => {
                [1, user.0, u64::from(*gateway), *connect_count].into_iter().for_each(add)
            }
            Kind::Disconnect { reason } => [2, body_hash(reason.as_bytes())].into_iter().for_each(add),
            Kind::Send { conversation, client_msg_id, body_hash, .. } => {
                [3, conversation.spread(), client_msg_id.0 as u64, *body_hash].into_iter().for_each(add)
            }
            Kind::Resend { conversation, client_msg_id, .. } => {
                [4, conversation.spread(), client_msg_id.0 as u64].into_iter().for_each(add)
            }
            Kind::Sent { conversation, client_msg_id, seq, .. } => {
                [5, conversation.spread(), client_msg_id.0 as u64, seq.0].into_iter().for_each(add)
            }
            Kind::Refused { conversation, client_msg_id, .. } => {
                [6, conversation.spread(), client_msg_id.0 as u64].into_iter().for_each(add)
            }
            Kind::Wait { conversation, client_msg_id, retry_after_ms } => {
                [22, conversation.spread(), client_msg_id.0 as u64, *retry_after_ms].into_iter().for_each(add)
            }
            Kind::Append { conversation, seq, client_msg_id, .. } => {
                [7, conversation.spread(), seq.0, client_msg_id.0 as u64].into_iter().for_each(add)
            }
            Kind::Publish { conversation, seq, devices } => {
                let to = devices.iter().fold(0, |hash, device| mix(hash ^ device.0));
                [19, conversation.spread(), seq.0, to].into_iter().for_each(add)
            }
            Kind::Cursor { conversation, up_to, read, user } => {
                [20, conversation.spread(), up_to.0, read.0, user.0].into_iter().for_each(add)
            }
            Kind::Deliver { conversation, from, to, .. } => {
                [8, conversation.spread(), from.0, to.0].into_iter().for_each(add)
            }
            Kind::Display { conversation, seq, client_msg_id, body_hash, .. } => {
                [9, conversation.spread(), seq.0, client_msg_id.0 as u64, *body_hash].into_iter().for_each(add)
            }
            Kind::Skip { conversation, from, to } => {
                [10, conversation.spread(), from.0, to.0].into_iter().for_each(add)
            }
            Kind::Discard { conversation, seq, .. } => {
                [11, conversation.spread(), seq.0].into_iter().for_each(add)
            }
            Kind::Sync { conversation, since } => [12, conversation.spread(), since.0].into_iter().for_each(add),
            Kind::Ack { conversation, up_to } => [13, conversation.spread(), up_to.0].into_iter().for_each(add),
            Kind::Read { conversation, up_to } => [40, conversation.spread(), up_to.0].into_iter().for_each(add),
            Kind::Receipts { conversation, users, counts } => {
                [41, conversation.spread()].into_iter().for_each(&mut add);
                users.iter().flat_map(|told| [told.user.0, told.delivered.0, told.read.0]).for_each(&mut add);
                counts.iter().flat_map(|counts| [counts.up_to.0, counts.delivered, counts.read]).for_each(add);
            }
            Kind::Unread { conversation, read, unread } => {
                [42, conversation.spread(), read.0, *unread].into_iter().for_each(add)
            }
            Kind::Crash => add(14),
            Kind::PowerLoss { unsynced_blocks } => [15, *unsynced_blocks].into_iter().for_each(add),
            Kind::Restart => add(16),
            Kind::Fault { name, active, .. } => {
                [17, body_hash(name.as_bytes()), u64::from(*active)].into_iter().for_each(add)
            }
            Kind::Phase { name } => [18, body_hash(name.as_bytes())].into_iter().for_each(add),
            Kind::Insider { user, number } => {
                [21, user.0, number.map_or(0, |number| number.0)].into_iter().for_each(add)
            }
            Kind::Reinstalled { user, number } => [24, user.0, number.0].into_iter().for_each(add),
            Kind::Slowed { until } => [23, *until].into_iter().for_each(add),
            Kind::Away => add(27),
            Kind::Stopping { window } => [25, *window].into_iter().for_each(add),
            Kind::Exit => add(26),
            Kind::Refreshed { expires_s } => [28, *expires_s as u64].into_iter().for_each(add),
            Kind::GivenUp => add(43),
            Kind::TokenRefused { gateway, expires_s } => {
                [29, u64::from(*gateway), *expires_s as u64].into_iter().for_each(add)
            }
            Kind::TokenTaken { flaw, asked, .. } => {
                [30, body_hash(flaw.as_bytes()), *asked].into_iter().for_each(add)
            }
            Kind::Typing { conversation } => [32, conversation.spread()].into_iter().for_each(add),
            Kind::TypingShown { conversation, user } => {
                [33, conversation.spread(), user.0].into_iter().for_each(add)
            }
            Kind::TypingOver { conversation, user } => {
                [34, conversation.spread(), user.0].into_iter().for_each(add)
            }
            Kind::Clock { ahead_us } => [31, *ahead_us as u64].into_iter().for_each(add),
            Kind::Watch { conversation, users } => {
                let whom = users.iter().fold(0, |hash, user| mix(hash ^ user.0));
                [44, conversation.spread(), whom].into_iter().for_each(add)
            }
            Kind::Invisible { user, on } => [45, user.0, u64::from(*on)].into_iter().for_each(add),
            Kind::Presence { user, state, last_seen_ms } => {
                [46, user.0, body_hash(state.as_bytes()), *last_seen_ms].into_iter().for_each(add)
            }
            Kind::Hop(_) => unreachable!("a hop is in no digest"),
        }
        d
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_documented_fields() {
        let event = Event {
            t: 1_500,
            at: Entity::Device(DeviceId(9)),
            kind: Kind::Sent {
                conversation: ConversationId(3),
                client_msg_id: ClientMsgId(1),
                seq: Seq(4),
                stored_at_ms: 5,
            },
        };
        assert_eq!(
            event.to_json(&[]),
            r#"{"t":1500,"device":"9","kind":"sent","conversation":"3","client_msg_id":"00000000-0000-0000-0000-000000000001","seq":4,"stored_at_ms":5}"#
        );
        let crash = Event { t: 0, at: Entity::Host(0), kind: Kind::Crash };
        assert_eq!(crash.to_json(&["gateway-0".into()]), r#"{"t":0,"host":"gateway-0","kind":"crash"}"#);
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let (conversation, client_msg_id) = (ConversationId(3), ClientMsgId(9 << 70));
        let held = vec![Arrived {
            seq: Seq(4),
            client_msg_id,
            author: DeviceId(7),
            client_seq: ClientSeq(1),
            stored_at_ms: 99,
        }];
        let harm = Harm { devices: vec![DeviceId(8)], connections: true, ..Harm::default() };
        let kinds = [
            Kind::Connect { user: UserId(1), gateway: 1, connect_count: 3, expires_s: 60 },
            Kind::Refreshed { expires_s: 90 },
            Kind::TokenRefused { gateway: 1, expires_s: -3 },
            Kind::GivenUp,
            Kind::TokenTaken { gateway: 1, flaw: "forged", expires_s: 5, not_before_s: Some(4), asked: 7 },
            Kind::Clock { ahead_us: -5 },
            Kind::Typing { conversation },
            Kind::TypingShown { conversation, user: UserId(2) },
            Kind::TypingOver { conversation, user: UserId(2) },
            Kind::Disconnect { reason: "reset" },
            Kind::Send {
                conversation,
                sender: UserId(1),
                client_msg_id,
                body_hash: u64::MAX,
                what: What::Created,
                members: vec![UserId(1), UserId(2)],
            },
            Kind::Resend { conversation, client_msg_id, cause: "overdue" },
            Kind::Refused { conversation, client_msg_id, reason: "not_a_member" },
            Kind::Deliver { conversation, from: Seq(4), to: Seq(4), entries: 1, via: Via::Page, held },
            Kind::Display {
                user: UserId(2),
                conversation,
                seq: Seq(4),
                sender: UserId(1),
                client_msg_id,
                body_hash: 5,
                what: What::Joined(UserId(6)),
                via: Via::Deliver,
            },
            Kind::Fault { name: "x".into(), active: true, targets: Vec::new(), harm },
            Kind::Phase { name: "load" },
            Kind::Read { conversation, up_to: Seq(4) },
            Kind::Receipts {
                conversation,
                users: vec![Receipt { user: UserId(2), delivered: Seq(4), read: Seq(3) }],
                counts: Some(ReceiptCounts { up_to: Seq(5), delivered: 9, read: 2 }),
            },
            Kind::Unread { conversation, read: Seq(3), unread: 1 },
            Kind::Insider { user: UserId(1), number: Some(DeviceId(4)) },
        ];
        for kind in kinds {
            let at = if matches!(kind, Kind::Phase { .. }) { Entity::World } else { Entity::Device(DeviceId(2)) };
            let event = Event { t: 77, at, kind };
            assert_eq!(Event::from_json(&event.to_json(&[]), &[]).unwrap(), event);
        }
        let crash = Event { t: 0, at: Entity::Host(1), kind: Kind::Crash };
        let hosts = ["a".to_owned(), "b".to_owned()];
        assert_eq!(Event::from_json(&crash.to_json(&hosts), &hosts).unwrap(), crash);
        assert!(Event::from_json(&crash.to_json(&hosts), &hosts[..1]).is_err());
        assert!(Event::from_json("{}", &[]).is_err());
    }

    #[test]
    fn the_digest_tells_events_apart() {
        let ack = |up_to| Event {
            t: 1,
            at: Entity::Device(DeviceId(1)),
            kind: Kind::Ack { conversation: ConversationId(1), up_to: Seq(up_to) },
        };
        assert_eq!(ack(1).digest(), ack(1).digest());
        assert_ne!(ack(1).digest(), ack(2).digest());
    }
}
