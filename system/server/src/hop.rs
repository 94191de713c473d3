//! The way of a message through the system, step by step, for whoever follows one.
//!
//! A [`Point`](crate::observer::Point) is a corner that a host passes, for metrics and faults. A hop is finer: it names the request, the
//! entry or the device that takes a step. Whoever does not follow anything pays a call that returns at once, so a hop borrows what is
//! at hand and nothing is made for it.
//!
//! **Invariant:** a hop is told where its step is taken and changes nothing: a run with and one without a follower are the
//! same. Guarded by `sim/cli/tests/explain.rs`.

use crate::messages::readers::Readers;
use crate::storage::Batch;
use squall_core::presence::Presence;
use squall_core::registry::Location;
use squall_protocol::frames::Head;
use squall_protocol::{ClientFrame, ClientMsgId, ConversationId, DeviceId, Entry, Seq, ServerFrame, UserId};
use std::time::Duration;

/// What became of a registration in its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Deliveries go there from now on; with `created` they did not before.
    Visible { created: bool },
    /// Another connection of the device has its place.
    Superseded,
    /// The session is old.
    Ignored,
}

/// What a presence host hears of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfDevice {
    Here {
        connect_count: u64,
        invisible: bool,
    },
    /// Its connection is gone, over which something came so long ago.
    Gone {
        seen_ago: Duration,
    },
}

/// A step.
#[derive(Debug, Clone, Copy)]
pub enum Hop<'a> {
    /// A device's request has come to its gateway, or from there to a shard.
    Asked { user: UserId, device: DeviceId, frame: &'a ClientFrame },
    /// A shard is asked where a user's conversations stand.
    HeadsAsked { user: UserId, device: DeviceId },
    /// A shard has made up its answer. A refusal for good leaves when its fence is durable.
    Answered { device: DeviceId, frame: &'a ServerFrame },
    /// A shard tells where a user's conversations stand; `last`: there are no more.
    HeadsTold { device: DeviceId, heads: &'a [Head], last: bool },
    /// A gateway has queued a frame for a device.
    Handed { device: DeviceId, frame: &'a ServerFrame },
    /// What came for a device has found its connection gone.
    Astray { device: DeviceId, frame: &'a ServerFrame },
    /// A shard has given a message its place, in memory.
    Staged { conversation: ConversationId, entry: &'a Entry },
    /// A shard takes a send for a copy of what has this place.
    Recognised { conversation: ConversationId, device: DeviceId, client_msg_id: ClientMsgId, seq: Seq },
    /// A batch goes to the disk.
    Committing { batch: &'a Batch },
    /// The disk said no: what of the batch it has is unknown.
    CommitFailed { batch: &'a Batch },
    /// A shard has read what its disk holds: so many entries, of which those from `dispatched` on are planned anew.
    Recovered { entries: u64, dispatched: u64 },
    /// A registry is asked where these people are, for this entry.
    Planned { conversation: ConversationId, seq: Seq, registry: u32, readers: &'a Readers },
    /// The same question once more.
    PlannedAgain { conversation: ConversationId, seq: Seq, registry: u32 },
    /// The registry has said where, of all people that this look-up asked for.
    LookedUp { conversation: ConversationId, seq: Seq, registry: u32, readers: &'a Readers, found: &'a [Location] },
    /// An entry has been handed to the bus for these connections of a gateway.
    Published { conversation: ConversationId, entry: &'a Entry, gateway: u32, targets: &'a [Location] },
    /// A device that has not acked is told how far the log goes.
    Reminded { conversation: ConversationId, device: DeviceId, head: Seq, gateway: u32 },
    /// A device that never acks is told to come back.
    CalledBack { device: DeviceId, gateway: u32 },
    /// A device that has not acked is known to no registry: it will ask by itself.
    Vanished { conversation: ConversationId, device: DeviceId },
    /// A payload for a gateway has come to a bus, where somebody takes what is for that gateway, or nobody does.
    Carried { gateway: u32, payload: &'a [u8], subscribed: bool },
    /// A gateway tells a registry of a connection.
    Registering { user: UserId, device: DeviceId, registry: u32, connect_count: u64 },
    /// A registry has heard of a connection.
    Registered { user: UserId, device: DeviceId, gateway: u32, connect_count: u64, seen: Seen },
    /// A registry has been told that a connection is gone; `removed`: it had it.
    Unregistered { user: UserId, device: DeviceId, gateway: u32, removed: bool },
    /// A gateway asks a shard for all that comes in a channel, of which it has the log up to `have`.
    Followed { conversation: ConversationId, have: Option<Seq> },
    /// A gateway asks for nothing more of a channel.
    Unfollowed { conversation: ConversationId },
    /// A gateway goes by this: the device's user is a member of a channel and sees it from `from` on, and the device is told of all up to `as_of`.
    Member { device: DeviceId, conversation: ConversationId, from: Seq, as_of: Seq },
    /// A shard tells a gateway these entries of a channel.
    TailTold { conversation: ConversationId, from: Seq, to: Seq },
    /// A gateway has taken in what a shard told it of a channel.
    TailTaken { conversation: ConversationId, from: Seq, to: Seq },
    /// A shard has something to tell these users' devices, if there is room.
    Noticed { frame: &'a ServerFrame, to: &'a [UserId] },
    /// A shard has answered whom this member of a conversation may watch.
    Leased { conversation: ConversationId, watcher: UserId, granted: &'a [UserId] },
    /// A gateway wants to hear of a user from this presence host.
    Subscribed { user: UserId, gateway: u32 },
    /// A presence host has heard of a device from a gateway.
    Present { user: UserId, device: DeviceId, gateway: u32, said: OfDevice },
    /// A presence host tells a gateway how it stands with a user, who was last seen so long ago by the host's clock.
    PresenceTold { user: UserId, gateway: u32, presence: Presence, seen_ago_ms: Option<u64> },
    /// A gateway that is to end tells a device to connect elsewhere.
    SentAway { device: DeviceId },
}
