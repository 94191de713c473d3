//! The catalogue of faults: a row for everything that a scenario can do to the system.
//!
//! A row is all that is said of a kind; `declare` makes of it what files, validation, schema and reports need. Nothing here knows
//! how a fault is applied.

use super::declare::Strikes::{Devices, Disks, Hosts, Links};
use super::declare::{Exposes, Row, instant, kinds_of_faults, lasting};
use crate::network::Profile;
use crate::reader::Table;
use crate::span::Span;
use crate::target::Targets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use squall_protocol::Role;
use std::any::Any;

/// Whatever it strikes.
const WHATEVER: &[Role] = &[];

/// A latency, a short hold: it need not break anything.
const NOTHING: Exposes = &[];
const A_RESTART: Exposes = &[
    (&[Role::Messages], &["acked-is-durable", "dense-sequence"]),
    (&[Role::Gateway], &["no-loss"]),
    (&[Role::Presence], &["presence-holds"]),
];
const AN_END: Exposes = &[(&[Role::Messages], &["dense-sequence"]), (&[Role::Gateway], &["drains-gently"])];
const A_CUT: Exposes = &[(&[Role::Gateway, Role::Messages], &["every-send-answered"])];
const A_REPETITION: Exposes = &[(WHATEVER, &["no-duplicates"])];
const AN_ABSENCE: Exposes = &[(WHATEVER, &["no-loss"])];

/// Over how long a gateway that is asked to end closes its connections, when a file does not say.
pub const DEFAULT_WINDOW: Span = Span::from_secs(5);

kinds_of_faults! {
    /// What a fault does.
    ///
    /// Hosts are named (`gateway-0`), given by role (`gateway-*`), drawn from a role when the fault begins (`one of gateway-*`,
    /// `30% of gateway-*`), or found by what they do (`busiest-shard`: the owner of the conversation with most entries so far).
    /// `clients` are the devices.
    FaultKind;

    /// The process dies; its kernel closes its connections; unsynced writes stay in the system's cache.
    Crash "crash" {
        target: Targets = r#"["gateway-0"]"#,
        /// Die exactly when the code passes this point for the first time after `at`, instead of at `at`.
        point: Option<Point> => default,
    } is lasting(Hosts, A_RESTART);

    /// The processes die one after the other, each until it is started again after `for`.
    RollingRestart "rolling-restart" {
        target: Targets = r#"["gateway-0"]"#,
        /// Between the start of one and the end of the next.
        gap: Span => default,
        /// Each is asked to end, as by `stop`, instead of dying.
        graceful: bool => default,
        /// With `graceful`: over how long a gateway closes its connections; 5 s when absent.
        window: Option<Span> => default,
    } is lasting(Hosts, A_RESTART);

    /// The process is asked to end in good order, as by SIGTERM. One that has not ended by the end of the fault is killed; then it is
    /// started again.
    Stop "stop" {
        target: Targets = r#"["gateway-0"]"#,
        /// Over how long a gateway closes its connections; 5 s when absent.
        window: Option<Span> => default,
    } is lasting(Hosts, AN_END);

    /// The host goes dark: unsynced writes are gone, peers find out by silence.
    PowerLoss "power-loss" {
        target: Targets = r#"["gateway-0"]"#,
        /// Cut exactly when the code passes this point for the first time after `at`, instead of at `at`.
        point: Option<Point> => default,
    } is lasting(Hosts, A_RESTART);

    /// No traffic between the two sides, in either direction.
    Partition "partition" {
        between: Targets = r#"["gateway-*"]"#,
        and: Targets = r#"["messages-0"]"#,
    } is lasting(Links, A_CUT);

    /// No traffic from one side to the other; the way back works.
    PartitionOneWay "partition-one-way" {
        from: Targets = r#"["gateway-*"]"#,
        to: Targets = r#"["messages-0"]"#,
    } is lasting(Links, A_CUT);

    /// The links between the two sides are cut one by one, in an order drawn from the seed, and restored one by one in another.
    Swizzle "swizzle" {
        between: Targets = r#"["gateway-*"]"#,
        and: Targets = r#"["messages-0"]"#,
    } is lasting(Links, NOTHING);

    /// No traffic between the two sides every now and then, for times that are drawn.
    Flap "flap" {
        between: Targets = r#"["gateway-*"]"#,
        and: Targets = r#"["messages-0"]"#,
        /// The mean time without traffic.
        down: Span = r#""500ms""#,
        /// The mean time with traffic between two such times.
        up: Span = r#""2s""#,
    } is lasting(Links, NOTHING);

    /// Traffic between the two sides is held back and released at the end, in order.
    Hold "hold" {
        between: Targets = r#"["gateway-*"]"#,
        and: Targets = r#"["messages-0"]"#,
    } is lasting(Links, NOTHING);

    /// Traffic between the two sides takes longer.
    Latency "latency" {
        between: Targets = r#"["gateway-*"]"#,
        and: Targets = r#"["messages-0"]"#,
        add: Span = r#""200ms""#,
        jitter: Span => default,
    } is lasting(Links, NOTHING);

    /// Each connection between the two sides carries at most this much, in each direction.
    SlowLink "slow-link" {
        between: Targets = r#"["gateway-*"]"#,
        and: Targets = r#"["messages-0"]"#,
        bytes_per_s: u64 = "20_000",
    } is lasting(Links, NOTHING);

    /// Transmissions between the two sides are lost more often, and sent again: traffic is late, and nothing is missing.
    Loss "loss" {
        between: Targets = r#"["gateway-*"]"#,
        and: Targets = r#"["messages-0"]"#,
        /// The share of transmissions that this loses while the fault lasts.
        share: f64 = "0.1",
    } is lasting(Links, NOTHING);

    /// New connections from one side to the other are refused; those that exist go on.
    Refuse "refuse" {
        from: Targets = r#"["clients"]"#,
        to: Targets = r#"["gateway-0"]"#,
    } is lasting(Links, NOTHING);

    /// The process stalls and does not know it: nothing of it runs, its connections stay, and its kernel takes what comes until its
    /// buffers are full. Afterwards its timers are all late.
    Pause "pause" {
        target: Targets = r#"["gateway-0"]"#,
    } is lasting(Hosts, NOTHING);

    /// The host's wall clock is wrong. Time-outs do not follow it.
    Clock "clock" {
        target: Targets = r#"["gateway-0"]"#,
        /// So much ahead of the others.
        ahead: Span => default,
        /// So much behind.
        behind: Span => default,
        /// And so many µs a second faster (slower below 0), as long as the fault lasts.
        drift_ppm: f64 => default,
    } is lasting(Hosts, NOTHING);

    /// Operations of the disk fail.
    DiskErrors "disk-errors" {
        target: Targets = r#"["messages-0"]"#,
        operation: DiskOperation = r#""sync""#,
        /// The share of operations that fail while the fault lasts.
        share: f64 = "0.1",
    } is lasting(Disks, NOTHING);

    /// The disk has no room for anything new.
    DiskFull "disk-full" {
        target: Targets = r#"["messages-0"]"#,
    } is lasting(Disks, NOTHING);

    /// Every sync of the disk takes longer.
    SlowDisk "slow-disk" {
        target: Targets = r#"["messages-0"]"#,
        add: Span = r#""200ms""#,
    } is lasting(Disks, NOTHING);

    /// No sync of the disk ends before the fault does.
    StalledDisk "stalled-disk" {
        target: Targets = r#"["messages-0"]"#,
    } is lasting(Disks, NOTHING);

    /// The connection of a sender is cut between the commit of its message and the ack that would tell it.
    DropSentAcks "drop-sent-acks" {
        /// The share of commits that this strikes while the fault lasts.
        share: f64 = "0.1",
    } is lasting(Devices, &[(WHATEVER, &["no-duplicates", "every-send-answered"])]);

    /// The connection of a device is cut when it has shown a message and its ack has not left yet.
    DropDeviceAcks "drop-device-acks" {
        /// The share of device acks that this strikes while the fault lasts.
        share: f64 = "0.1",
    } is lasting(Devices, A_REPETITION);

    /// What says that a message has arrived arrives twice: acks of sends at devices, acks of deliveries at gateways.
    DuplicateAcks "duplicate-acks" {
        /// The share of acks that this strikes while the fault lasts.
        share: f64 = "0.1",
    } is lasting(Devices, NOTHING);

    /// The same acks come late.
    DelayAcks "delay-acks" {
        /// The share of acks that this strikes while the fault lasts.
        share: f64 = "0.1",
        /// By this much.
        by: Span = r#""2s""#,
    } is lasting(Devices, NOTHING);

    /// Devices put a message on the wire twice.
    DuplicateSends "duplicate-sends" {
        /// The share of sends that this strikes while the fault lasts.
        share: f64 = "0.1",
    } is lasting(Devices, A_REPETITION);

    /// Devices send every message that they have ever sent once more.
    ResendEverything "resend-everything" {
        /// The share of connected devices.
        share: f64 = "0.1",
    } is instant(Devices, A_REPETITION);

    /// Devices forget what they have shown and sent, and how often they have connected: their app is installed anew, or restored
    /// from a backup.
    Reinstall "reinstall" {
        /// The share of connected devices.
        share: f64 = "0.1",
    } is instant(Devices, NOTHING);

    /// Clients that are nobody's: strangers who write to, read and join conversations of others, forged tokens, a replayed
    /// `hello`, frames that are garbage.
    Liars "liars" {
        /// How many, of every sort in turn.
        count: u32 = "4",
    } is lasting(Devices, &[(WHATEVER, &["members-only", "nothing-unsent", "tokens-hold"])]);

    /// Members who attack, with good tokens and devices of their own: they create at names of others, drag people into groups and take
    /// them away, flood, send wrong numbers, connect with wrong counts, ask without end, ack what they like, and read slowly.
    Insiders "insiders" {
        /// How many; who they are is drawn from the seed.
        count: u32 = "2",
        /// How many of them also connect with device numbers of other people.
        guessing: u32 => default,
    } is lasting(Devices, &[(WHATEVER, &["members-only", "nothing-unsent"])]);

    /// Devices stop reading; what is sent to them piles up.
    SlowReader "slow-reader" {
        /// The share of devices.
        share: f64 = "0.1",
    } is lasting(Devices, NOTHING).that_heals_late();

    /// Devices find themselves on another last-mile profile, with the connections that they have.
    ProfileChange "profile-change" {
        /// The share of devices.
        share: f64 = "0.1",
        to: Profile = r#""3g""#,
    } is lasting(Devices, NOTHING).that_heals_late();

    /// Every device behind one carrier is out of reach at once, and silent.
    CarrierGone "carrier-gone" {
        /// The carrier: the devices on this last-mile profile; one of the scenario's, drawn, when absent.
        carrier: Option<Profile> => default,
    } is lasting(Devices, NOTHING).that_heals_late();

    /// Devices lose their connection (reset).
    Disconnect "disconnect" {
        /// The share of connected devices.
        share: f64 = "0.1",
    } is instant(Devices, AN_ABSENCE);

    /// Devices' connections go half-open: no bytes, no FIN, no RST; either side finds out by silence.
    HalfOpen "half-open" {
        /// The share of connected devices.
        share: f64 = "0.1",
    } is instant(Devices, AN_ABSENCE).that_heals_late();
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
