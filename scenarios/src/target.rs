//! Whom a fault strikes: targets, read once, and the hosts that they mean.
//!
//! A text becomes a [`Target`] where a file is read; from then on hosts are [`HostName`]s and nobody reads a text again.
//! The drawing itself is the nemesis's; a target only says from which hosts.

use crate::topology::Topology;
use crate::words::nearest;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use squall_protocol::{HostName, Role};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

const CLIENTS: &str = "clients";
const BUSIEST_SHARD: &str = "busiest-shard";

/// Somebody whom a fault can strike. Prints and parses as files write it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// `clients`: all devices.
    Clients,
    /// `gateway-0`: this host.
    Host(HostName),
    /// `gateway-*`: every host of a role.
    All(Role),
    /// `one of gateway-*`: one host of a role, drawn when the fault begins.
    OneOf(Role),
    /// `30% of gateway-*`: this many hosts of a role in a hundred, at least one, drawn when the fault begins.
    ShareOf { percent: f64, role: Role },
    /// `busiest-shard`: the owner of the conversation with most entries when the fault begins.
    BusiestShard,
}

impl Target {
    /// Every host that this can mean, in the order of their numbers. None for the devices, and for a host that is not there.
    pub fn hosts(self, topology: &Topology) -> Vec<HostName> {
        let all = |role| topology.hosts_of(role).collect();
        match self {
            Target::Clients => Vec::new(),
            Target::Host(host) => Vec::from_iter(topology.has(host).then_some(host)),
            Target::All(role) | Target::OneOf(role) | Target::ShareOf { role, .. } => all(role),
            Target::BusiestShard => all(Role::Messages),
        }
    }

    /// Whether this means somebody in such a topology.
    pub fn exists(self, topology: &Topology) -> bool {
        self == Target::Clients || !self.hosts(topology).is_empty()
    }

    /// Whether only the moment at which a fault begins tells which of its hosts are meant.
    pub fn is_drawn(self) -> bool {
        match self {
            Target::Clients | Target::Host(_) | Target::All(_) => false,
            Target::OneOf(_) | Target::ShareOf { .. } | Target::BusiestShard => true,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Clients => f.pad(CLIENTS),
            Target::Host(host) => host.fmt(f),
            Target::All(role) => write!(f, "{role}-*"),
            Target::OneOf(role) => write!(f, "one of {role}-*"),
            Target::ShareOf { percent, role } => write!(f, "{percent}% of {role}-*"),
            Target::BusiestShard => f.pad(BUSIEST_SHARD),
        }
    }
}

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{}; {}", self.expectation(), self.next_step())]
pub enum TargetError {
    /// It is none of the forms; `meant` is the nearest that is.
    NoTarget { meant: Option<String> },
    /// A share is drawn of which there is no such thing.
    NoShare { role: Role },
    /// Something is drawn of what is not all of a role; `meant` is what was probably to be written.
    DrawnOfNoRole { meant: String },
}

impl TargetError {
    /// What was expected instead.
    pub fn expectation(&self) -> String {
        match self {
            TargetError::NoTarget { .. } => "that names no host, no role and nothing to draw".to_owned(),
            TargetError::NoShare { .. } => "a share of hosts is above 0% and at most 100%".to_owned(),
            TargetError::DrawnOfNoRole { .. } => "hosts are drawn of all hosts of a role".to_owned(),
        }
    }

    /// What to write.
    pub fn next_step(&self) -> String {
        match self {
            TargetError::NoTarget { meant: Some(meant) } => format!("did you mean \"{meant}\"?"),
            TargetError::NoTarget { meant: None } => format!(
                "write a host (\"gateway-0\"), all of a role (\"gateway-*\"; the roles are {}), some of it \
                 (\"one of gateway-*\", \"30% of gateway-*\"), \"busiest-shard\", or \"clients\" for the devices",
                Role::ALL.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
            ),
            TargetError::NoShare { role } => format!("write e.g. \"30% of {role}-*\""),
            TargetError::DrawnOfNoRole { meant } => format!("write e.g. \"{meant}\""),
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        if let Some(of) = text.strip_prefix("one of ") {
            return Ok(Target::OneOf(drawn_of(text, of)?));
        }
        let share =
            text.split_once("% of ").and_then(|(percent, of)| Some((percent.trim().parse::<f64>().ok()?, of)));
        if let Some((percent, of)) = share {
            let role = drawn_of(text, of)?;
            let sound = percent > 0.0 && percent <= 100.0;
            return if sound { Ok(Target::ShareOf { percent, role }) } else { Err(TargetError::NoShare { role }) };
        }
        match undrawn(text) {
            Some(target) => Ok(target),
            None if text == BUSIEST_SHARD => Ok(Target::BusiestShard),
            None => Err(TargetError::NoTarget { meant: meant(text) }),
        }
    }
}

fn undrawn(text: &str) -> Option<Target> {
    if text == CLIENTS {
        return Some(Target::Clients);
    }
    let role = text.strip_suffix("-*").and_then(|role| role.parse().ok());
    role.map(Target::All).or_else(|| text.parse().ok().map(Target::Host))
}

/// The role of which hosts are drawn, as it stands at the end of `text`.
fn drawn_of(text: &str, of: &str) -> Result<Role, TargetError> {
    let drawn = text.strip_suffix(of).unwrap_or_default();
    match undrawn(of.trim()) {
        Some(Target::All(role)) => Ok(role),
        Some(Target::Host(host)) => Err(TargetError::DrawnOfNoRole { meant: format!("{drawn}{}-*", host.role) }),
        Some(_) => Err(TargetError::DrawnOfNoRole { meant: format!("{drawn}{}-*", Role::ALL[0]) }),
        None => Err(TargetError::NoTarget { meant: meant(text) }),
    }
}

/// The target that somebody probably meant: the nearest of all forms that have the numbers of the text.
fn meant(text: &str) -> Option<String> {
    let text = text.trim();
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
    let percent = number(text.split(|c: char| !c.is_ascii_digit()).next());
    let percent = percent.map(|percent| if (1..=100).contains(&percent) { percent } else { 30 });
    let index = number(text.rsplit(|c: char| !c.is_ascii_digit()).next());
    let mut forms = vec![CLIENTS.to_owned(), BUSIEST_SHARD.to_owned()];
    for role in Role::ALL {
        forms.push(Target::All(*role).to_string());
        forms.push(Target::OneOf(*role).to_string());
        forms.extend(percent.map(|percent| Target::ShareOf { percent: percent.into(), role: *role }.to_string()));
        forms.extend(index.map(|index| role.host(index).to_string()));
    }
    nearest(text, &forms.iter().map(String::as_str).collect::<Vec<_>>()).map(str::to_owned)
}

/// A list of targets, as a key of a fault holds it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Targets(Vec<Target>);

impl Targets {
    /// The targets, in the order in which they are written.
    pub fn iter(&self) -> impl Iterator<Item = Target> {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, target: Target) -> bool {
        self.0.contains(&target)
    }

    /// Every host that they can mean, each once, in the order of roles and then of numbers.
    pub fn hosts(&self, topology: &Topology) -> Vec<HostName> {
        let mut hosts: Vec<HostName> = self.iter().flat_map(|target| target.hosts(topology)).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// Whether the devices are meant.
    pub fn clients(&self) -> bool {
        self.contains(Target::Clients)
    }

    /// Whether only the moment at which a fault begins tells which hosts are meant.
    pub fn are_drawn(&self) -> bool {
        self.iter().any(Target::is_drawn)
    }
}

impl FromIterator<Target> for Targets {
    fn from_iter<I: IntoIterator<Item = Target>>(targets: I) -> Targets {
        Targets(targets.into_iter().collect())
    }
}

impl From<Vec<Target>> for Targets {
    fn from(targets: Vec<Target>) -> Targets {
        Targets(targets)
    }
}

impl From<Target> for Targets {
    fn from(target: Target) -> Targets {
        Targets(vec![target])
    }
}

impl From<HostName> for Targets {
    fn from(host: HostName) -> Targets {
        Target::Host(host).into()
    }
}

/// `gateway-0, one of messages-*`.
impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.iter().map(|target| target.to_string()).collect::<Vec<_>>().join(", "))
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Target, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Targets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Targets, D::Error> {
        Vec::deserialize(deserializer).map(Targets)
    }
}

impl JsonSchema for Target {
    fn schema_name() -> Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let roles = Role::ALL.iter().map(|role| role.name()).collect::<Vec<_>>().join("|");
        let drawn = r"one of |[0-9]+(\.[0-9]+)? ?% of ";
        json_schema!({
            "type": "string",
            "description": "A host, all of a role, some of it, the shard with the busiest conversation, or the devices.",
            "pattern": format!(r"^({CLIENTS}|{BUSIEST_SHARD}|({roles})-(0|[1-9][0-9]*)|({drawn})?({roles})-\*)$"),
            "examples": ["gateway-0", "gateway-*", "one of gateway-*", "30% of gateway-*", BUSIEST_SHARD, CLIENTS],
        })
    }
}

impl JsonSchema for Targets {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Targets".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<Target>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: [(&str, Target); 8] = [
        ("clients", Target::Clients),
        ("gateway-0", Target::Host(Role::Gateway.host(0))),
        ("bus-12", Target::Host(Role::Bus.host(12))),
        ("registry-*", Target::All(Role::Registry)),
        ("one of gateway-*", Target::OneOf(Role::Gateway)),
        ("30% of messages-*", Target::ShareOf { percent: 30.0, role: Role::Messages }),
        ("0.5% of bus-*", Target::ShareOf { percent: 0.5, role: Role::Bus }),
        ("busiest-shard", Target::BusiestShard),
    ];

    fn names(targets: &[&str]) -> Vec<String> {
        let targets: Targets = targets.iter().map(|text| text.parse::<Target>().expect("a target")).collect();
        targets.hosts(&Topology::default()).iter().map(HostName::to_string).collect()
    }

    #[test]
    fn a_target_reads_what_it_prints() {
        for (text, target) in FORMS {
            assert_eq!(text.parse(), Ok(target));
            assert_eq!(target.to_string(), text);
            let json = serde_json::to_string(&Targets::from(target)).expect("a list of texts");
            assert_eq!(json, format!("[\"{text}\"]"));
            assert_eq!(serde_json::from_str::<Targets>(&json).ok(), Some(target.into()));
        }
        assert_eq!(" 30 % of messages-*".parse(), "30% of messages-*".parse::<Target>());
    }

    #[test]
    fn targets_mean_hosts_each_once_and_in_order() {
        assert_eq!(names(&["messages-1", "gateway-*", "gateway-1"]), ["gateway-0", "gateway-1", "messages-1"]);
        assert_eq!(names(&["clients", "bus-*"]), ["bus-0"]);
        assert!(names(&["gateway-2"]).is_empty());
    }

    #[test]
    fn a_target_that_is_drawn_can_mean_each_of_them() {
        for (text, hosts) in [
            ("one of gateway-*", ["gateway-0", "gateway-1"]),
            ("30% of messages-*", ["messages-0", "messages-1"]),
            ("busiest-shard", ["messages-0", "messages-1"]),
        ] {
            assert_eq!(names(&[text]), hosts);
            assert!(text.parse::<Target>().is_ok_and(Target::is_drawn));
        }
        assert!(!Targets::from(vec![Target::Clients, Target::All(Role::Bus)]).are_drawn());
    }

    #[test]
    fn what_is_no_target_says_what_was_meant() {
        for (text, expected) in [
            ("gatway-1", "did you mean \"gateway-1\"?"),
            ("gateways", "did you mean \"gateway-*\"?"),
            ("gateway", "did you mean \"gateway-*\"?"),
            ("gateway-01", "did you mean \"gateway-1\"?"),
            ("gateway-+1", "did you mean \"gateway-1\"?"),
            ("bus-0 ", "did you mean \"bus-0\"?"),
            ("Messages_0", "did you mean \"messages-0\"?"),
            ("client", "did you mean \"clients\"?"),
            ("busiest-shards", "did you mean \"busiest-shard\"?"),
            ("one of gatway-*", "did you mean \"one of gateway-*\"?"),
            ("one off gateway-*", "did you mean \"one of gateway-*\"?"),
            ("one gateway-*", "did you mean \"one of gateway-*\"?"),
            ("30% gateway-*", "did you mean \"30% of gateway-*\"?"),
            ("30% of gateways", "did you mean \"30% of gateway-*\"?"),
            ("one of gateway-1", "write e.g. \"one of gateway-*\""),
            ("30% of clients", "write e.g. \"30% of gateway-*\""),
            ("130% of bus-*", "write e.g. \"30% of bus-*\""),
            ("0% of bus-*", "write e.g. \"30% of bus-*\""),
        ] {
            let error = text.parse::<Target>().expect_err(text);
            assert_eq!(error.next_step(), expected, "{text}");
        }
        for text in ["", "*", "one of", "everything", "push-0", "30% of nothing"] {
            let error = text.parse::<Target>().expect_err(text);
            assert!(error.to_string().contains("names no host"), "{text}: {error}");
        }
    }

    #[test]
    fn the_schema_knows_every_role_and_form() {
        let schema = SchemaGenerator::default().into_root_schema_for::<Target>();
        let pattern = schema.as_value()["pattern"].as_str().expect("a target has a pattern");
        assert!(Role::ALL.iter().all(|role| pattern.contains(role.name())), "{pattern}");
    }
}
