//! What carries the bytes: the links of devices and hosts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The network between devices and gateways, and between the hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// What carries the traffic between hosts: Squall's own network, or turmoil's TCP as a second opinion.
    pub backbone: Backbone,
    /// The profile of a link between two hosts.
    pub data_centre: Profile,
    /// The share of devices on each last-mile profile, e.g. `{ wifi = 0.7, lte = 0.3 }`; shares are relative.
    pub last_mile: BTreeMap<Profile, f64>,
}

impl Default for Network {
    fn default() -> Self {
        Network {
            backbone: Backbone::default(),
            data_centre: Profile::Rack,
            last_mile: BTreeMap::from([(Profile::Wifi, 1.0)]),
        }
    }
}

/// What carries the traffic between hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Backbone {
    /// Squall's own simulated network.
    #[default]
    Simulated,
    /// turmoil's TCP. Faults on links between hosts are then turmoil's partitions and holds.
    Turmoil,
}

/// A connection's character: latency, jitter, loss, bandwidth, patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    Rack,
    CrossRegion,
    Wifi,
    Lte,
    #[serde(rename = "3g")]
    ThreeG,
    Flaky,
}

impl Profile {
    /// What it is called among the profiles of a network.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Rack => "rack",
            Profile::CrossRegion => "cross-region",
            Profile::Wifi => "wifi",
            Profile::Lte => "4g",
            Profile::ThreeG => "3g",
            Profile::Flaky => "flaky",
        }
    }
}
