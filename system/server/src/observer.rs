//! What the code tells of its way: metrics and traces in production, named points in a simulation.
//!
//! `system/` does not know who listens. A listener may end the process exactly here, so every point is passed
//! *before* the effect that follows it.

use crate::hop::Hop;
use crate::level::Level;
use crate::work::Work;
use squall_core::registry::Location;
use squall_protocol::close::CloseReason;
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, Entry, Seq, UserId};

/// A place in the code that has been reached.
#[derive(Debug, Clone, Copy)]
pub enum Point<'a> {
    /// The entry is on disk; nobody has been told.
    Committed { conversation: ConversationId, entry: &'a Entry },
    /// A commit failed: whether its entries are on disk is unknown.
    CommitFailed { reason: &'a str },
    /// The disk cannot be opened or read; it is tried again.
    RecoveryFailed { reason: &'a str },
    /// A read failed for another reason than its row; the database is opened anew, and memory is kept.
    ReadFailed { reason: &'a str },
    /// A disk that was well has failed. Told once, however often it fails until `StorageUp`.
    StorageDown { reason: &'a str },
    /// It has committed again.
    StorageUp,
    /// A row cannot be read: what depends on it is refused, all else goes on. Told once a row.
    RowDamaged { reason: &'a str },
    /// The sender's ack is on its way; nothing is published yet.
    Acked { conversation: ConversationId, device: DeviceId, client_msg_id: ClientMsgId, seq: Seq },
    /// A resend met the message that was stored before.
    DuplicateMet { conversation: ConversationId, device: DeviceId, client_msg_id: ClientMsgId },
    /// A send whose number is far in the past was looked up in the log.
    OldSendLookedUp { conversation: ConversationId, device: DeviceId },
    /// A send came from a connection that is not its device's newest; the device is told.
    StaleSend { device: DeviceId },
    /// A user sends, creates or adds more than they may, and is told to wait.
    TooOften { user: UserId },
    /// A user has sent more frames than they may, and nothing of this connection of theirs is read for a while.
    HeldBack { user: UserId },
    /// A send came ahead of its turn.
    ClientSeqGap { conversation: ConversationId, device: DeviceId },
    /// A gateway sent a shard what is about a conversation of another shard; nothing of it was done. So often by now.
    Misrouted { conversation: ConversationId, device: DeviceId, times: u64 },
    /// The entry has been handed to the bus for these connections.
    Published { conversation: ConversationId, seq: Seq, targets: &'a [Location] },
    /// A device was told how far its log goes because no ack had come.
    Redelivered { conversation: ConversationId, device: DeviceId },
    /// A device that never acked is told to come back.
    UnackedClosed { device: DeviceId },
    /// A look-up had no answer in time and is asked again.
    LookupRetried,
    /// A page has been read, not yet sent.
    SyncPage { conversation: ConversationId, device: DeviceId, entries: usize, more: bool },
    /// A shard reads its disk.
    Recovering,
    /// It finds this entry, which may owe somebody something.
    Found { conversation: ConversationId, entry: &'a Entry },
    /// It has; this many entries are planned anew.
    Recovered { replanned: usize },
    /// A delivery came for a connection that is not here: its registry entry is cleared.
    StaleEntryMet { device: DeviceId },
    /// A gateway begins to tell a registry its connections.
    SnapshotBegun { connections: usize },
    /// The registry has confirmed all of them.
    SnapshotTold,
    /// Entries of older sessions or run-out leases have been cleared.
    EntriesCleared { entries: usize },
    /// A device that was connected all the time is told to sync because its registry entry was created anew.
    ResyncAfterRegistration { device: DeviceId },
    /// A device is told where its conversations stand though the registry has not answered for so long.
    HeadsWithoutRegistry { device: DeviceId },
    /// A shard has not said in time where a device's conversations stand, and is asked again.
    HeadsAskedAgain { device: DeviceId },
    /// The bus had no subscriber or no room for a payload.
    TopicDropped { gateway: u32 },
    /// So many items have found no room in a queue since a role's housekeeping last looked: their senders have to ask again.
    QueueFull { what: Level, refused: usize },
    /// A user waits for more pages and heads than a share of a shard's turns: one is not read, and asked for again.
    ReadRefused { user: UserId },
    /// A connection could not be taken for want of descriptors; told once in a while as long as it lasts.
    DescriptorsExhausted,
    /// A call that did not prove to be of the cluster was refused.
    StrangerRefused,
    /// A device that is behind was told how far a log goes, in place of an entry.
    RemindedInstead { device: DeviceId },
    /// A shard tells members' devices, so many of them, that this user is writing.
    TypingTold { conversation: ConversationId, user: UserId, devices: usize },
    /// What this user says of their writing is not told, because of this.
    TypingDropped { user: UserId, why: Unfit },
    /// So many notices for this device were dropped: there was no room, or they had waited too long.
    NoticesDropped { device: DeviceId, notices: usize },
    /// A registry has not told in time where the members are to whom so many notices go, and they are dropped.
    NoticesUnanswered { notices: usize },
    /// How far members of a conversation have come has been handed to the bus for so many devices.
    Noticed { conversation: ConversationId, devices: usize },
    /// A shard tells a gateway that follows a channel of its entries up to here; `again`: once more, for want of an acknowledgement.
    ChannelTold { conversation: ConversationId, seq: Seq, again: bool },
    /// A gateway begins to follow a channel.
    ChannelFollowed { conversation: ConversationId },
    /// A gateway is told that what it follows is no channel any more.
    ChannelOver { conversation: ConversationId },
    /// A device of a channel's member was given its page by its gateway.
    PageFromTail { device: DeviceId },
    /// It asked for more than its gateway keeps: the shard is asked.
    PageNotInTail { device: DeviceId },
    /// It waits until its gateway has the channel's last entries.
    PageWaited { device: DeviceId },
    /// A device wants to watch more than it may, or more conversations.
    WatchRefused { device: DeviceId },
    /// A shard lets a device watch nobody in a conversation: it is told nothing more.
    WatchEnded { conversation: ConversationId },
    /// A shard has not renewed in time what lets devices watch so many users: they are told nothing until it does.
    WatchLapsed { users: usize },
    /// A gateway has had no link to a presence host for so long that what it knows from there counts no longer.
    PresenceUnknown,
    /// A device is behind, and is told later who is online.
    PresenceHeldBack { device: DeviceId },
    /// So many changes were told to gateways together with a later one of the same user.
    PresenceSampled { changes: usize },
    /// So many devices have gone with their gateway, or while it had no link to a presence host.
    DevicesVanished { devices: usize },
    /// A gateway closed a connection.
    Closed { device: Option<DeviceId>, reason: CloseReason },
    /// A connection went away by itself.
    Lost { device: DeviceId },
    /// An internal link is up.
    LinkUp { to: &'a str },
    /// An internal link broke or could not be opened.
    LinkDown { to: &'a str },
}

/// Why nobody is told that somebody is writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// They were told to be a short while ago.
    TooSoon,
    /// The shard does not have the conversation in memory, and reads no disk for this.
    NotInMemory,
    /// They may not write there.
    NotAllowed,
    /// The group is too large for it.
    TooLarge,
    /// There is no room among what waits.
    NoRoom,
}

/// Who listens. Called in the middle of the message path: be quick, do not block.
pub trait Observer: Send + Sync {
    fn passed(&self, point: &Point<'_>);

    /// So much work of a kind has been done. Called for every frame and row: most listeners do nothing here.
    fn worked(&self, work: Work, amount: usize) {
        let _ = (work, amount);
    }

    /// A message, or what concerns one, has taken a step. Called for every step of every message: most listeners do nothing here.
    fn hop(&self, hop: &Hop<'_>) {
        let _ = hop;
    }

    /// So much there is of something, as a role's housekeeping finds it, and at most so much there has been since it last looked.
    fn stands(&self, level: Level, now: usize, most: usize) {
        let _ = (level, now, most);
    }
}

/// Nobody listens.
pub struct Unobserved;

impl Observer for Unobserved {
    fn passed(&self, _: &Point<'_>) {}
}
