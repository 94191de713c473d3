//! What a scenario says: the typed form of a scenario file.
//!
//! Every field has a default that is documented here, so that the shortest scenario is a `[population]`
//! with a number of users. Nothing here knows how a fault is applied or a population is built.

pub use crate::costs::Costs;
pub use crate::faults::{DEFAULT_WINDOW, DiskOperation, Fault, FaultKind, KindName, Point, Strikes};
pub use crate::limits::Limits;
pub use crate::network::{Backbone, Network, Profile};
pub use crate::presence::Presence;
pub use crate::receipts::Receipts;
pub use crate::tokens::Tokens;
pub use crate::topology::Topology;
pub use crate::typing::Typing;

use crate::people::{Bodies, Conversations, Devices, FlashCrowd, Giant, Lengths, Life, Popularity};
use crate::span::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use squall_protocol::{HostName, Role, limits};
use std::collections::BTreeMap;

/// A whole scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Scenario {
    /// A short name; the file's stem when absent.
    pub name: String,
    /// One or two sentences: what this scenario puts to the test.
    pub description: String,
    /// The seed a run takes when the command line names none.
    pub seed: Option<u64>,
    /// The grain of simulated time. Longer ticks run faster and blur latencies.
    pub tick: Tick,
    pub topology: Topology,
    pub network: Network,
    /// What the server's work costs its hosts; absent, their CPU is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<Costs>,
    pub limits: Limits,
    pub tokens: Tokens,
    pub typing: Typing,
    pub receipts: Receipts,
    pub presence: Presence,
    pub population: Population,
    pub workload: Workload,
    pub phases: Phases,
    pub faults: Vec<Fault>,
    pub checks: Checks,
}

impl Scenario {
    /// Every host, in the order of roles and then of their numbers.
    pub fn hosts(&self) -> Vec<HostName> {
        Role::ALL.iter().flat_map(|role| self.topology.hosts_of(*role)).collect()
    }

    /// Lets all people together send so many messages a second, by and large: their `send_interval` follows.
    pub fn set_rate(&mut self, per_second: f64) {
        let texts = f64::from(self.population.users) * (1.0 + self.workload.mean_follow_ups());
        self.workload.send_interval = Span::from_micros((texts * 1e6 / per_second).round() as u64);
    }

    /// Every host's name: `gateway-0`, …, `messages-0`, …, `registry-0`, …, `bus-0`, ….
    pub fn host_names(&self) -> Vec<String> {
        self.hosts().iter().map(HostName::to_string).collect()
    }
}

/// The grain of simulated time: 1 ms by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Tick(pub Span);

impl Default for Tick {
    fn default() -> Self {
        Tick(Span::from_millis(1))
    }
}

/// Who is there. Users, devices and conversations are derived from the seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Population {
    /// People.
    pub users: u32,
    /// Devices of each user, each with a connection of its own: 1 to 5; or a mixture of `{ share, devices }`.
    pub devices_per_user: Devices,
    /// Direct conversations of each user, with partners drawn from the seed; or a mixture of `{ share, conversations }`.
    pub direct_conversations_per_user: Conversations,
    /// How long direct conversations live: the share of the messages to direct conversations that goes to each kind.
    pub direct_lifecycle: BTreeMap<Life, f64>,
    /// How long people stay with one partner in `revisited` conversations.
    pub revisit_after: Span,
    /// The share of direct conversations in which only one of the two writes.
    pub one_way_share: f64,
    /// The share of conversations that fall silent for good, each at a time of its own in the load: what was written last is the last.
    pub silent_share: f64,
    /// The share of groups that are created as channels, in which only owner and admins write until a setting opens them.
    pub channel_share: f64,
    /// Group conversations.
    pub groups: u32,
    /// The smallest group.
    pub group_size_min: u32,
    /// The largest group; where a file with groups does not say, 100 or everyone, whichever is less.
    pub group_size_max: u32,
    /// Groups with a name and a size of their own, beside `groups`.
    pub giants: Vec<Giant>,
    /// Exponent of the power law that group sizes follow between the two; 0 makes every size equally likely.
    pub group_size_exponent: f64,
    /// Users whose devices are away from the start until `away_until`, as a share of all users.
    pub away_share: f64,
    /// When the devices that are away come back, from the start of the run.
    pub away_until: Span,
}

impl Population {
    /// How many devices all users have together: the clients of the run.
    pub fn devices(&self) -> u32 {
        self.devices_per_user.classes(self.users).iter().map(|(users, devices)| users * devices).sum()
    }

    /// The `group_size_max` of a file that does not say one.
    pub(crate) fn unsaid_group_size_max(&self) -> u32 {
        let most = Population::default().group_size_max;
        if self.groups > 0 { most.min(self.users).max(self.group_size_min) } else { most }
    }
}

impl Default for Population {
    fn default() -> Self {
        Population {
            users: 20,
            devices_per_user: Devices::One(1),
            direct_conversations_per_user: Conversations::One(3),
            direct_lifecycle: BTreeMap::from([(Life::Long, 1.0)]),
            revisit_after: Span::from_secs(60),
            one_way_share: 0.0,
            silent_share: 0.0,
            channel_share: 0.0,
            groups: 0,
            group_size_min: 3,
            group_size_max: 100,
            giants: Vec::new(),
            group_size_exponent: 2.0,
            away_share: 0.0,
            away_until: Span::ZERO,
        }
    }
}

/// What people do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Mean time between two sends of one user. Sends are open-loop: a stalled system does not slow people down.
    pub send_interval: Span,
    /// Sends a second of all people together, in place of `send_interval`, which follows from it; absent once a file has been read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How sends are spaced.
    pub arrival: Arrival,
    /// Mean number of messages in a burst, where they arrive in bursts.
    pub burst_size: f64,
    /// Mean time between two messages of a burst.
    pub burst_gap: Span,
    /// How busy each part of a day is, in equal parts, relative to their mean. Empty: all the same. The day begins with the load.
    pub day_curve: Vec<f64>,
    /// The length of a day.
    pub day_length: Span,
    /// Moments at which everybody writes more.
    pub flash_crowds: Vec<FlashCrowd>,
    /// The share of sends that go to direct conversations; the rest goes to groups, if there are any.
    pub direct_share: f64,
    /// Which groups get how many of the messages to groups, giants first. Where it is not uniform, a message is written by any
    /// member of the group that it goes to.
    pub group_popularity: Popularity,
    /// Which of their direct conversations people write to, in the order of the first to the last partner.
    pub partner_popularity: Popularity,
    /// Length of a message's body in bytes; or a mixture of `{ share, bytes, up_to }`.
    pub body_bytes: Bodies,
    /// What bodies are made of.
    pub text: Text,
    /// A second send follows at once, as when someone types in two bursts, with this chance. It makes sends of one device overlap.
    pub follow_up_share: f64,
    /// How many follow at most, each upon the one before with that chance.
    pub follow_ups: u32,
    /// Mean time between two membership changes of one group; `0s` means never.
    pub membership_interval: Span,
    /// Who changes the members of a group, and how.
    pub membership: Membership,
    /// The most people whom one change of a restless group names.
    pub names_at_once: u32,
    /// The share of a restless group's changes that are of ranks, settings, its name, or a leaving for good.
    pub rights_share: f64,
    /// The share of sends to direct conversations in which somebody blocks the conversation, or does so no more, and writes nothing.
    pub block_share: f64,
    /// Mean time a device stays connected before it disconnects by itself, exponential; `0s` means for ever; or a mixture of
    /// `{ share, mean }` and `{ share, from, to }`.
    pub session_length: Lengths,
    /// How long a device that left stays away, exactly; or a mixture as for `session_length`.
    pub away_length: Lengths,
    /// The encoding of frames.
    pub codec: Codec,
    /// How often a device sends a heartbeat.
    pub heartbeat_interval: Span,
}

impl Workload {
    /// How many sends follow upon one at once, on average.
    pub fn mean_follow_ups(&self) -> f64 {
        (1..=self.follow_ups.min(1_000)).map(|n| self.follow_up_share.powi(n as i32)).sum()
    }
}

impl Default for Workload {
    fn default() -> Self {
        Workload {
            send_interval: Span::from_secs(10),
            rate: None,
            arrival: Arrival::Poisson,
            burst_size: 4.0,
            burst_gap: Span::from_secs(1),
            day_curve: Vec::new(),
            day_length: Span::from_secs(86_400),
            flash_crowds: Vec::new(),
            direct_share: 0.9,
            group_popularity: Popularity::Uniform,
            partner_popularity: Popularity::Uniform,
            body_bytes: Bodies::One(200),
            text: Text::Plain,
            follow_up_share: 0.2,
            follow_ups: 1,
            membership_interval: Span::ZERO,
            membership: Membership::Guest,
            names_at_once: 1,
            rights_share: 0.0,
            block_share: 0.0,
            session_length: Lengths::One(Span::ZERO),
            away_length: Lengths::One(Span::from_secs(5)),
            codec: Codec::Mixed,
            heartbeat_interval: limits::HEARTBEAT_INTERVAL.into(),
        }
    }
}

/// How sends are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Arrival {
    /// Exponential gaps.
    Poisson,
    /// Equal gaps, with a phase drawn from the seed.
    Constant,
    /// Bursts of `burst_size` messages `burst_gap` apart, and long pauses between them.
    Bursts,
}

/// What bodies are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Text {
    /// Latin letters.
    Plain,
    /// Every script and plane of Unicode, and what encodings stumble over: NUL, quotes, combining and right-to-left marks.
    EveryScript,
}

/// Who changes the members of a group, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Membership {
    /// The owner adds one guest and takes them away again, in turn.
    Guest,
    /// Owner, members and guests add, leave, take away, come again and write, in any order, connected or not.
    Restless,
}

/// The encoding of frames between devices and gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    Json,
    Protobuf,
    /// Every other device.
    Mixed,
}

/// The phases of a run: ramp, load (when faults act), heal, quiet, audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Phases {
    /// Devices connect, spread evenly over this time. No sends yet.
    pub ramp: Span,
    /// People send; faults act. Fault times count from the start of this phase.
    pub load: Span,
    /// How long after the heal (the end of the load) everything owed must have arrived. Computed from the limits when absent:
    /// half-open time-out + longest back-off + redelivery.
    pub liveness_bound: Option<Span>,
}

impl Phases {
    /// How long after the heal everything owed must have arrived: what the file says, or what the limits come to.
    pub fn quiet(&self) -> Span {
        self.liveness_bound.unwrap_or_else(|| limits::liveness_bound().into())
    }
}

impl Default for Phases {
    fn default() -> Self {
        Phases { ramp: Span::from_secs(3), load: Span::from_secs(30), liveness_bound: None }
    }
}

/// What is judged and against what. All checks are always on; this holds service levels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// Upper bounds on latency percentiles; a run that exceeds one is violated.
    pub service_levels: Vec<ServiceLevel>,
    /// Whether trouble of some may make others late. The run is made a second time without its faults, for comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bystanders: Option<BystandersLevel>,
}

/// How much longer messages of people whom no fault touches may take than in a run without faults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BystandersLevel {
    /// Of `send-to-deliver`, in a hundred, from 50 to 100.
    #[schemars(range(min = 50.0, max = 100.0))]
    pub percentile: f64,
    /// At most so many times as long.
    pub factor: f64,
}

/// One bound on a latency percentile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceLevel {
    pub measure: Measure,
    /// In a hundred, from 50 to 100: 50, 90, 99, 99.9; 100 is the maximum.
    #[schemars(range(min = 50.0, max = 100.0))]
    pub percentile: f64,
    pub at_most: Span,
}

/// A latency that runs record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// From a device's send to its ack, without the time that its person had put the device away. Whoever gives up before the ack
    /// comes has waited as well.
    SendToAck,
    /// From a device's send to the display by another device whose person was there when it was sent, without the time that either had
    /// put their device away.
    SendToDeliver,
    /// From the moment that a device notices a lost connection to its next welcome. Only losses that its person did not choose.
    Reconnect,
    /// From the moment that a person takes up a device that they had put away to its next welcome.
    ReconnectByChoice,
    /// From the end of a fault to the moment when everybody is connected who should have been and was not.
    AllBack,
}
