//! The way of a message through the hosts, step by step: told only for what a filter wants.
//!
//! **Invariant:** hops lie outside the digest and no check sees one, so a run is the same whether somebody follows it or not. Guarded by
//! `sim/cli/tests/explain.rs`.

use crate::event::Arrived;
use serde::Serialize;
use squall_protocol::{
    ClientMsgId, ClientSeq, ConversationId, DeviceId, Payload, Receipt, ReceiptCounts, Seq, UserId,
};

/// What a device asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    Send {
        client_msg_id: ClientMsgId,
        client_seq: ClientSeq,
    },
    Ack {
        up_to: Seq,
    },
    Read {
        up_to: Seq,
    },
    Sync {
        since: Seq,
    },
    /// To tell others that its person is writing.
    Typing,
}

/// What a device is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Sent {
        client_msg_id: ClientMsgId,
        seq: Seq,
        stored_at_ms: u64,
    },
    Refused {
        client_msg_id: ClientMsgId,
        reason: &'static str,
        /// Of `expected_client_seq`, the number; of `too_often`, the wait in ms.
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<u64>,
    },
    /// A delivery; without entries it says how far the log goes.
    Deliver {
        from: Seq,
        to: Seq,
        held: Vec<Arrived>,
    },
    Page {
        from: Seq,
        to: Seq,
        held: Vec<Arrived>,
        head: Seq,
    },
    /// A sync has no answer.
    Error {
        code: &'static str,
    },
    /// This user is writing.
    Typing {
        user: UserId,
    },
    /// How far these have come, or how many of a large group have.
    Receipts {
        users: Vec<Receipt>,
        #[serde(skip_serializing_if = "Option::is_none")]
        counts: Option<ReceiptCounts>,
    },
}

/// How long a content is, and where its first NUL is, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Extent {
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_nul: Option<u64>,
}

impl Extent {
    pub fn of(payload: &Payload) -> Extent {
        let first_nul = match payload {
            Payload::Text(text) => text.find('\0').map(|at| at as u64),
            _ => None,
        };
        let bytes = match payload {
            Payload::Text(text) => text.len(),
            Payload::Created { members, .. } => size_of_val(members.as_slice()),
            Payload::Joined(users) | Payload::Left(users) => size_of_val(&users[..]),
            Payload::Named(name) => name.len(),
            Payload::Role { .. } => size_of::<UserId>(),
            Payload::Setting { .. } | Payload::Blocked(_) | Payload::ForGood(_) => 1,
        };
        Extent { bytes: bytes as u64, first_nul }
    }
}

/// Where a registry has found a device, or where a shard sends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    pub user: UserId,
    pub device: DeviceId,
    pub gateway: u32,
    pub connect_count: u64,
}

/// A step that a host takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Hop {
    /// A device's request has come to this gateway, or from there to this shard.
    Received {
        user: UserId,
        device: DeviceId,
        conversation: ConversationId,
        asked: Asked,
    },
    /// The shard was asked where this user's conversations stand.
    HeadsAsked {
        user: UserId,
        device: DeviceId,
    },
    /// The shard has made up its answer; or the gateway, which answers a send too many itself.
    Answered {
        device: DeviceId,
        conversation: ConversationId,
        told: Told,
    },
    /// The shard told where the user's conversations stand, in so many of `count`. `head` is that of the followed conversation.
    HeadsTold {
        device: DeviceId,
        #[serde(skip_serializing_if = "Option::is_none")]
        conversation: Option<ConversationId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        head: Option<Seq>,
        count: u64,
        last: bool,
    },
    /// The gateway has queued heads for the device: how far the followed conversation goes.
    HeadsHanded {
        device: DeviceId,
        conversation: ConversationId,
        head: Seq,
    },
    /// The gateway has queued a frame for the device.
    Handed {
        device: DeviceId,
        conversation: ConversationId,
        told: Told,
    },
    /// What came for a device found its connection gone.
    Astray {
        device: DeviceId,
        conversation: ConversationId,
        told: Told,
    },
    /// The message has its place in memory.
    Staged {
        device: DeviceId,
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        client_seq: ClientSeq,
        seq: Seq,
        extent: Extent,
    },
    /// The send was taken for a copy of what has this place.
    Recognised {
        device: DeviceId,
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        seq: Seq,
    },
    /// It goes to the disk.
    Committing {
        conversation: ConversationId,
        seq: Seq,
    },
    /// The disk has synced since it was given the entry.
    Synced {
        conversation: ConversationId,
        seq: Seq,
    },
    /// The disk said no; whether it has the entry is unknown.
    CommitFailed {
        conversation: ConversationId,
        seq: Seq,
    },
    /// The disk has refused a commit of the shard, which drops what it knows and reads what it finds.
    DiskFailed,
    /// There is more of something on this host than ever before.
    MoreThanEver {
        what: &'static str,
        items: u64,
    },
    /// The commit that begins keeps refusals of this device final.
    Fenced {
        user: UserId,
        device: DeviceId,
    },
    /// The shard has read its disk: so many entries, of which those from `dispatched` on are planned anew.
    Recovered {
        entries: u64,
        dispatched: u64,
    },
    /// Recovery has found the entry on the disk.
    Found {
        conversation: ConversationId,
        seq: Seq,
        client_msg_id: ClientMsgId,
    },
    /// A registry is asked where these people are.
    Planned {
        conversation: ConversationId,
        seq: Seq,
        registry: u32,
        users: Vec<UserId>,
    },
    PlannedAgain {
        conversation: ConversationId,
        seq: Seq,
        registry: u32,
    },
    /// It has said where.
    LookedUp {
        conversation: ConversationId,
        seq: Seq,
        registry: u32,
        found: Vec<Place>,
    },
    /// The entry has been handed to the bus for these devices of a gateway.
    Forwarded {
        conversation: ConversationId,
        seq: Seq,
        stored_at_ms: u64,
        gateway: u32,
        to: Vec<Place>,
    },
    /// A device that has not acked is told how far the log goes.
    Redelivered {
        conversation: ConversationId,
        device: DeviceId,
        head: Seq,
        gateway: u32,
    },
    /// A device that never acked is told to come back.
    CalledBack {
        device: DeviceId,
        gateway: u32,
    },
    /// A device that has not acked is known to no registry.
    Vanished {
        conversation: ConversationId,
        device: DeviceId,
    },
    /// The bus has a delivery for a gateway, which takes what is for it, or does not.
    Carried {
        conversation: ConversationId,
        from: Seq,
        to: Seq,
        gateway: u32,
        devices: Vec<DeviceId>,
        subscribed: bool,
    },
    /// The gateway tells a registry of a connection.
    Registering {
        user: UserId,
        device: DeviceId,
        registry: u32,
        connect_count: u64,
    },
    /// The registry has heard of a connection: `visible`, `created`, `superseded`, `ignored`.
    Registered {
        user: UserId,
        device: DeviceId,
        gateway: u32,
        connect_count: u64,
        outcome: &'static str,
    },
    /// It was told that one is gone; `removed`: it had it.
    Unregistered {
        user: UserId,
        device: DeviceId,
        gateway: u32,
        removed: bool,
    },
    /// The gateway has closed the device's connection, or found it gone.
    Closed {
        device: DeviceId,
        reason: &'static str,
    },
    /// A gateway asks the shard for all that comes in a channel, of which it has the log up to `have`.
    Followed {
        conversation: ConversationId,
        #[serde(skip_serializing_if = "Option::is_none")]
        have: Option<Seq>,
    },
    /// It asks for nothing more of it.
    Unfollowed {
        conversation: ConversationId,
    },
    /// The gateway goes by this: the device's user sees the channel from `from` on, and the device is told of all up to `as_of`.
    Member {
        device: DeviceId,
        conversation: ConversationId,
        from: Seq,
        as_of: Seq,
    },
    /// The shard tells a gateway that follows these entries of a channel.
    TailTold {
        conversation: ConversationId,
        from: Seq,
        to: Seq,
    },
    /// A gateway has taken them in.
    TailTaken {
        conversation: ConversationId,
        from: Seq,
        to: Seq,
    },
    /// The shard has something to tell these users' devices, if there is room on the way.
    Noticed {
        conversation: ConversationId,
        told: Told,
        to: Vec<UserId>,
    },
    /// The shard has answered whom this member may watch.
    Leased {
        conversation: ConversationId,
        watcher: UserId,
        granted: Vec<UserId>,
    },
    /// A gateway wants to hear of this user from a presence host.
    Subscribed {
        user: UserId,
        gateway: u32,
    },
    /// A presence host has heard of a device: it is `here`, or `hides`; with its count of connects.
    Present {
        user: UserId,
        device: DeviceId,
        gateway: u32,
        connect_count: u64,
        hides: bool,
    },
    /// A presence host has heard that the connection of a device on this gateway is gone, over which something came so long ago.
    Absent {
        user: UserId,
        device: DeviceId,
        gateway: u32,
        seen_ago_ms: u64,
    },
    /// A presence host tells a gateway how it stands with a user, and how long ago they were last seen.
    PresenceTold {
        user: UserId,
        gateway: u32,
        state: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        seen_ago_ms: Option<u64>,
    },
    /// A gateway that is to end has told the device to connect elsewhere.
    SentAway {
        device: DeviceId,
    },
    /// A host's link to another one is there, or there anew.
    LinkUp {
        to: String,
    },
    /// The audit reads this from the disk, when all is over.
    Logged {
        device: DeviceId,
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        seq: Seq,
        stored_at_ms: u64,
        extent: Extent,
    },
}

impl Hop {
    /// The conversation that this is about, if it is about one.
    pub fn conversation(&self) -> Option<ConversationId> {
        match self {
            Hop::Received { conversation, .. }
            | Hop::Answered { conversation, .. }
            | Hop::Handed { conversation, .. }
            | Hop::HeadsHanded { conversation, .. }
            | Hop::Astray { conversation, .. }
            | Hop::Staged { conversation, .. }
            | Hop::Recognised { conversation, .. }
            | Hop::Committing { conversation, .. }
            | Hop::Synced { conversation, .. }
            | Hop::CommitFailed { conversation, .. }
            | Hop::Found { conversation, .. }
            | Hop::Planned { conversation, .. }
            | Hop::PlannedAgain { conversation, .. }
            | Hop::LookedUp { conversation, .. }
            | Hop::Forwarded { conversation, .. }
            | Hop::Redelivered { conversation, .. }
            | Hop::Vanished { conversation, .. }
            | Hop::Carried { conversation, .. }
            | Hop::Followed { conversation, .. }
            | Hop::Unfollowed { conversation }
            | Hop::Member { conversation, .. }
            | Hop::TailTold { conversation, .. }
            | Hop::TailTaken { conversation, .. }
            | Hop::Noticed { conversation, .. }
            | Hop::Leased { conversation, .. }
            | Hop::Logged { conversation, .. } => Some(*conversation),
            Hop::HeadsTold { conversation, .. } => *conversation,
            Hop::HeadsAsked { .. }
            | Hop::Fenced { .. }
            | Hop::Recovered { .. }
            | Hop::DiskFailed
            | Hop::MoreThanEver { .. }
            | Hop::CalledBack { .. }
            | Hop::Registering { .. }
            | Hop::Registered { .. }
            | Hop::Unregistered { .. }
            | Hop::Subscribed { .. }
            | Hop::Present { .. }
            | Hop::Absent { .. }
            | Hop::PresenceTold { .. }
            | Hop::SentAway { .. }
            | Hop::LinkUp { .. }
            | Hop::Closed { .. } => None,
        }
    }

    /// The user of whom a presence host hears or tells, and others who ask for them: what they have in common when it is about no conversation.
    pub fn watched(&self) -> &[UserId] {
        match self {
            Hop::Subscribed { user, .. }
            | Hop::Present { user, .. }
            | Hop::Absent { user, .. }
            | Hop::PresenceTold { user, .. } => std::slice::from_ref(user),
            Hop::Leased { granted, .. } => granted,
            _ => &[],
        }
    }

    /// Every device that it names.
    pub fn devices_mut(&mut self, mut change: impl FnMut(&mut DeviceId)) {
        match self {
            Hop::Received { device, .. }
            | Hop::HeadsAsked { device, .. }
            | Hop::Answered { device, .. }
            | Hop::HeadsTold { device, .. }
            | Hop::Handed { device, .. }
            | Hop::HeadsHanded { device, .. }
            | Hop::Astray { device, .. }
            | Hop::Staged { device, .. }
            | Hop::Recognised { device, .. }
            | Hop::Fenced { device, .. }
            | Hop::Redelivered { device, .. }
            | Hop::CalledBack { device, .. }
            | Hop::Vanished { device, .. }
            | Hop::Registering { device, .. }
            | Hop::Registered { device, .. }
            | Hop::Unregistered { device, .. }
            | Hop::Member { device, .. }
            | Hop::Present { device, .. }
            | Hop::Absent { device, .. }
            | Hop::SentAway { device }
            | Hop::Closed { device, .. }
            | Hop::Logged { device, .. } => change(device),
            Hop::LookedUp { found: places, .. } | Hop::Forwarded { to: places, .. } => {
                places.iter_mut().for_each(|place| change(&mut place.device));
            }
            Hop::Carried { devices, .. } => devices.iter_mut().for_each(change),
            Hop::Committing { .. }
            | Hop::Synced { .. }
            | Hop::CommitFailed { .. }
            | Hop::Recovered { .. }
            | Hop::DiskFailed
            | Hop::MoreThanEver { .. }
            | Hop::Found { .. }
            | Hop::Planned { .. }
            | Hop::Followed { .. }
            | Hop::Unfollowed { .. }
            | Hop::TailTold { .. }
            | Hop::TailTaken { .. }
            | Hop::Noticed { .. }
            | Hop::Leased { .. }
            | Hop::Subscribed { .. }
            | Hop::PresenceTold { .. }
            | Hop::LinkUp { .. }
            | Hop::PlannedAgain { .. } => {}
        }
    }

    /// The device that this is about, if it is about one.
    pub fn device(&self) -> Option<DeviceId> {
        match self {
            Hop::Received { device, .. }
            | Hop::HeadsAsked { device, .. }
            | Hop::Answered { device, .. }
            | Hop::HeadsTold { device, .. }
            | Hop::Handed { device, .. }
            | Hop::HeadsHanded { device, .. }
            | Hop::Astray { device, .. }
            | Hop::Staged { device, .. }
            | Hop::Recognised { device, .. }
            | Hop::Fenced { device, .. }
            | Hop::Redelivered { device, .. }
            | Hop::CalledBack { device, .. }
            | Hop::Vanished { device, .. }
            | Hop::Registering { device, .. }
            | Hop::Registered { device, .. }
            | Hop::Unregistered { device, .. }
            | Hop::Member { device, .. }
            | Hop::Present { device, .. }
            | Hop::Absent { device, .. }
            | Hop::SentAway { device }
            | Hop::Closed { device, .. }
            | Hop::Logged { device, .. } => Some(*device),
            Hop::Committing { .. }
            | Hop::Synced { .. }
            | Hop::CommitFailed { .. }
            | Hop::Recovered { .. }
            | Hop::DiskFailed
            | Hop::MoreThanEver { .. }
            | Hop::Found { .. }
            | Hop::Planned { .. }
            | Hop::PlannedAgain { .. }
            | Hop::LookedUp { .. }
            | Hop::Forwarded { .. }
            | Hop::Followed { .. }
            | Hop::Unfollowed { .. }
            | Hop::TailTold { .. }
            | Hop::TailTaken { .. }
            | Hop::Noticed { .. }
            | Hop::Leased { .. }
            | Hop::Subscribed { .. }
            | Hop::PresenceTold { .. }
            | Hop::LinkUp { .. }
            | Hop::Carried { .. } => None,
        }
    }
}
