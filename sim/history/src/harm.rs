//! What a fault may do, and to whom.

use serde::{Deserialize, Serialize};
use squall_protocol::DeviceId;

/// Whom a fault may harm while it lasts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harm {
    /// Hosts by their index; of a link with devices only the other end, for whoever is not connected there is not concerned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<u16>,
    /// So many of them, from the first, are one end of links of which the others are the other end: it concerns whoever depends on
    /// both. `None`: it is on the hosts themselves, or on links with devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<usize>,
    /// Single devices that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceId>,
    /// Whether it is about connections of devices at all, those to a host among them.
    #[serde(default)]
    pub connections: bool,
    /// All that it does is to make everything between them so much slower, in µs. `None`: nothing may come at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_us: Option<u64>,
}

impl Harm {
    pub(crate) fn is_nobodys(&self) -> bool {
        *self == Harm::default()
    }
}
