//! What one event, or one line of the audit, says in the light of everything before it. The properties judge these.
//!
//! Rows are named by their number in the tables of [`super::Facts`].

use super::rows::NONE;
use squall_history::Via;
use squall_protocol::{Seq, UserId};

/// One step of a run, already compared with what was known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fact {
    /// A person sent; `overlapping` when an earlier send of that device in that conversation had no answer yet.
    Send {
        overlapping: bool,
    },
    Acked(Acked),
    /// The server refused a message for good.
    Refused {
        message: u32,
        reason: &'static str,
    },
    /// A device was told to wait. `too_early`: its user had not sent so much that any limit could have been reached.
    ToldToWait {
        message: u32,
        device: u32,
        too_early: bool,
    },
    Shown(Shown),
    /// An entry came again to a device that had it. `taken`: what everybody else has seen at that place instead.
    Discarded {
        message: u32,
        pair: u32,
        seq: Seq,
        taken: Option<u32>,
    },
    /// A device has stopped until its person takes it up again: it was told twice within a minute that another has its place.
    ShutOut {
        device: u32,
    },
    /// A shard crashed or lost power; `acked` messages of it had been acked since the last time.
    ShardStopped {
        acked: u64,
    },
    Logged(Logged),
    Published(Published),
    /// A device acked further than it has displayed or skipped.
    AckedAhead {
        pair: u32,
        up_to: Seq,
    },
    /// The durable cursor of a user as a commit left it, and where it had stood. Named by the user's row.
    CursorMoved {
        pair: u32,
        before: u32,
        up_to: Seq,
    },
    /// The durable cursor of a user, as the audit read it.
    Cursor {
        pair: u32,
        up_to: Seq,
    },
    /// A durable cursor of a user who has no device.
    StrayCursor {
        user: UserId,
        conversation: u32,
        up_to: Seq,
    },
    /// A device at the end of the run.
    Device {
        device: u32,
    },
}

/// A device has the ack of its message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Acked {
    pub message: u32,
    pub pair: u32,
    pub seq: Seq,
    /// The message that was seen at this place before, when it is another.
    pub taken: Option<u32>,
    /// The place that an earlier ack of the same message named, when it is another.
    pub before: Option<u32>,
    /// Another acked send of that device, by its number and place, with which this one is out of order.
    pub against: Option<(u32, u32)>,
}

/// A device displays an entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shown {
    pub message: u32,
    pub pair: u32,
    pub seq: Seq,
    pub via: Via,
    /// The message that was seen at this place before, when it is another.
    pub taken: Option<u32>,
    /// The device has displayed this place before.
    pub again: bool,
    /// Another place at which this device has displayed the same message.
    pub elsewhere: Option<u32>,
    /// The place that the device should have displayed, when it is another.
    pub expected: Option<Seq>,
    pub origin: Origin,
    /// A fault had begun before.
    pub after_fault: bool,
}

/// An entry was handed to the bus for some devices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Published {
    pub targets: u64,
    /// Targets that had no connection at the time.
    pub gone: u64,
}

/// A delivery to a device that seems to have been gone for too long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Suspect {
    pub t: u64,
    pub device: u32,
    pub conversation: u32,
    pub seq: Seq,
    /// How long the device had been gone, in µs.
    pub gone_for: u64,
}

/// An entry of a log, read from a shard's disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Logged {
    pub message: u32,
    pub conversation: u32,
    pub seq: Seq,
    /// The message that was seen at this place in the run, when it is another.
    pub taken: Option<u32>,
    /// The audit has found this message at another place before.
    pub again: bool,
    /// The place that should have come next, when it is another.
    pub expected: Option<Seq>,
    /// A later send of the same device, by its number, that stands before this one.
    pub overtaken_by: Option<u32>,
    pub origin: Origin,
    /// Why its author may not write it there, by the name of the conversation and the log before it.
    pub forbidden: Option<&'static str>,
    /// Entries of this conversation were first seen before and after its shard restarted.
    pub across_restart: bool,
}

/// Whether what is shown or stored is what somebody sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// That device sent it, with that content.
    Sent,
    Unsent,
    /// It was sent to another conversation.
    OtherConversation,
    /// It was sent by another device.
    OtherDevice,
    /// Sender, body or kind are not those of the send.
    OtherContent,
}

/// `Some` unless it is `NONE`.
pub(crate) fn row(number: u32) -> Option<u32> {
    Some(number).filter(|n| *n != NONE)
}
