//! The catalogue of faults: everything that a scenario can do to the system, as a file says it.
//!
//! `faults` says what follows from it, `validate` what it must satisfy; nothing here knows how a fault is applied.

use crate::network::Profile;
use crate::span::Span;
use crate::target::Targets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One entry of `[[faults]]`: what happens, to whom, when.
// serde cannot deny unknown fields beside a flattened one; `parse` does, and the schema says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Fault {
    /// A name for reports; the kind and its number when absent.
    #[serde(default)]
    pub name: String,
    /// When it begins, from the start of the load phase.
    pub at: Span,
    /// Begins at a time drawn from this long after `at`; each repetition draws anew.
    #[serde(default)]
    pub within: Option<Span>,
    /// How long it lasts (for a crash or power loss: until the restart). Faults still active at the end of the load are healed there.
    #[serde(default, rename = "for")]
    pub lasts: Option<Span>,
    /// Repeats after this long, until the load ends.
    #[serde(default)]
    pub every: Option<Span>,
    #[serde(flatten)]
    pub kind: FaultKind,
}

/// What a fault does.
///
/// Hosts are named (`gateway-0`), given by role (`gateway-*`), drawn from a role when the fault begins (`one of gateway-*`,
/// `30% of gateway-*`), or found by what they do (`busiest-shard`: the owner of the conversation with most entries so far).
/// `clients` are the devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FaultKind {
    /// The process dies; its kernel closes its connections; unsynced writes stay in the system's cache.
    Crash {
        target: Targets,
        /// Die exactly when the code passes this point for the first time after `at`, instead of at `at`.
        #[serde(default)]
        point: Option<Point>,
    },
    /// The processes die one after the other, each until it is started again after `for`.
    RollingRestart {
        target: Targets,
        /// Between the start of one and the end of the next.
        #[serde(default)]
        gap: Span,
    },
    /// The host goes dark: unsynced writes are gone, peers find out by silence.
    PowerLoss {
        target: Targets,
        /// Cut exactly when the code passes this point for the first time after `at`, instead of at `at`.
        #[serde(default)]
        point: Option<Point>,
    },
    /// No traffic between the two sides, in either direction.
    Partition { between: Targets, and: Targets },
    /// No traffic from one side to the other; the way back works.
    PartitionOneWay { from: Targets, to: Targets },
    /// The links between the two sides are cut one by one, in an order drawn from the seed, and restored one by one in another.
    Swizzle { between: Targets, and: Targets },
    /// No traffic between the two sides every now and then, for times that are drawn.
    Flap {
        between: Targets,
        and: Targets,
        /// The mean time without traffic.
        down: Span,
        /// The mean time with traffic between two such times.
        up: Span,
    },
    /// Traffic between the two sides is held back and released at the end, in order.
    Hold { between: Targets, and: Targets },
    /// Traffic between the two sides takes longer.
    Latency {
        between: Targets,
        and: Targets,
        add: Span,
        #[serde(default)]
        jitter: Span,
    },
    /// Each connection between the two sides carries at most this much, in each direction.
    SlowLink { between: Targets, and: Targets, bytes_per_s: u64 },
    /// Transmissions between the two sides are lost more often, and sent again: traffic is late, and nothing is missing.
    Loss {
        between: Targets,
        and: Targets,
        /// The share of transmissions that this loses while the fault lasts.
        share: f64,
    },
    /// New connections from one side to the other are refused; those that exist go on.
    Refuse { from: Targets, to: Targets },
    /// The process stalls and does not know it: nothing of it runs, its connections stay, and its kernel takes what comes until its
    /// buffers are full. Afterwards its timers are all late.
    Pause { target: Targets },
    /// The host's wall clock is wrong. Time-outs do not follow it.
    Clock {
        target: Targets,
        /// So much ahead of the others.
        #[serde(default)]
        ahead: Span,
        /// So much behind.
        #[serde(default)]
        behind: Span,
        /// And so many µs a second faster (slower below 0), as long as the fault lasts.
        #[serde(default)]
        drift_ppm: f64,
    },
    /// Operations of the disk fail.
    DiskErrors {
        target: Targets,
        operation: DiskOperation,
        /// The share of operations that fail while the fault lasts.
        share: f64,
    },
    /// The disk has no room for anything new.
    DiskFull { target: Targets },
    /// Every sync of the disk takes longer.
    SlowDisk { target: Targets, add: Span },
    /// No sync of the disk ends before the fault does.
    StalledDisk { target: Targets },
    /// The connection of a sender is cut between the commit of its message and the ack that would tell it.
    DropSentAcks {
        /// The share of commits that this strikes while the fault lasts.
        share: f64,
    },
    /// The connection of a device is cut when it has shown a message and its ack has not left yet.
    DropDeviceAcks {
        /// The share of device acks that this strikes while the fault lasts.
        share: f64,
    },
    /// What says that a message has arrived arrives twice: acks of sends at devices, acks of deliveries at gateways.
    DuplicateAcks {
        /// The share of acks that this strikes while the fault lasts.
        share: f64,
    },
    /// The same acks come late.
    DelayAcks {
        /// The share of acks that this strikes while the fault lasts.
        share: f64,
        /// By this much.
        by: Span,
    },
    /// Devices put a message on the wire twice.
    DuplicateSends {
        /// The share of sends that this strikes while the fault lasts.
        share: f64,
    },
    /// Devices send every message that they have ever sent once more.
    ResendEverything {
        /// The share of connected devices.
        share: f64,
    },
    /// Clients that are nobody's: strangers who write to, read and join conversations of others, forged tokens, a replayed
    /// `hello`, frames that are garbage.
    Liars {
        /// How many, of every sort in turn.
        count: u32,
    },
    /// Devices stop reading; what is sent to them piles up.
    SlowReader {
        /// The share of devices.
        share: f64,
    },
    /// Devices find themselves on another last-mile profile, with the connections that they have.
    ProfileChange {
        /// The share of devices.
        share: f64,
        to: Profile,
    },
    /// Every device behind one carrier is out of reach at once, and silent.
    CarrierGone {
        /// The carrier: the devices on this last-mile profile; one of the scenario's, drawn, when absent.
        #[serde(default)]
        carrier: Option<Profile>,
    },
    /// Devices lose their connection (reset).
    Disconnect {
        /// The share of connected devices.
        share: f64,
    },
    /// Devices' connections go half-open: no bytes, no FIN, no RST; either side finds out by silence.
    HalfOpen {
        /// The share of connected devices.
        share: f64,
    },
}

/// What a process does with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskOperation {
    Read,
    /// A prefix of what was to be written may be there.
    Write,
    /// Some of what was to become durable may have.
    Sync,
}

/// A named point in the code of the message path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Point {
    /// In the middle of a commit's writes, or of its sync: none, some or all of it may be on disk, and a block may be torn.
    MidCommit,
    /// The entry is on disk; nobody has been told.
    Committed,
    /// The sender's ack has left the shard; nothing is published yet.
    Acked,
    /// The entry has been handed to the bus.
    Published,
    /// A page of a sync has been read, not yet sent.
    SyncPage,
    /// A restarted shard reads its log.
    Recovering,
}
