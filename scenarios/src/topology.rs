//! Which hosts a scenario has: so many of each role.

use crate::span::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use squall_protocol::{HostName, Role};

/// How many hosts of each role. Hosts are named `<role>-<index>`, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Topology {
    /// WebSocket gateways, `gateway-0` and up.
    pub gateways: u32,
    /// Message shards, `messages-0` and up; each owns its conversations on a disk of its own.
    pub messages: u32,
    /// Connection registries, `registry-0` and up.
    pub registries: u32,
    /// Buses, `bus-0` and up.
    pub buses: u32,
    /// Presence hosts, `presence-0` and up: who is online. Without any, nobody is told.
    pub presences: u32,
    /// How long a message shard's commit takes, before and after its durable point together.
    pub commit_latency: Span,
}

impl Default for Topology {
    fn default() -> Self {
        Topology {
            gateways: 2,
            messages: 2,
            registries: 1,
            buses: 1,
            presences: 0,
            commit_latency: Span::from_millis(4),
        }
    }
}

impl Topology {
    /// The key that says how many hosts of a role there are.
    pub const fn key(role: Role) -> &'static str {
        match role {
            Role::Gateway => "gateways",
            Role::Messages => "messages",
            Role::Registry => "registries",
            Role::Bus => "buses",
            Role::Presence => "presences",
        }
    }

    /// The number of hosts of a role.
    pub const fn count(&self, role: Role) -> u32 {
        match role {
            Role::Gateway => self.gateways,
            Role::Messages => self.messages,
            Role::Registry => self.registries,
            Role::Bus => self.buses,
            Role::Presence => self.presences,
        }
    }

    /// The same number, to be changed.
    pub const fn count_mut(&mut self, role: Role) -> &mut u32 {
        match role {
            Role::Gateway => &mut self.gateways,
            Role::Messages => &mut self.messages,
            Role::Registry => &mut self.registries,
            Role::Bus => &mut self.buses,
            Role::Presence => &mut self.presences,
        }
    }

    /// Every role with the number of its hosts, in the order in which hosts are named.
    pub fn roles(&self) -> impl Iterator<Item = (Role, u32)> {
        Role::ALL.iter().map(|role| (*role, self.count(*role)))
    }

    /// The number of hosts.
    pub fn hosts(&self) -> u32 {
        self.roles().map(|(_, count)| count).fold(0, u32::saturating_add)
    }

    /// Every host of a role, in the order of their numbers.
    pub fn hosts_of(&self, role: Role) -> impl Iterator<Item = HostName> {
        (0..self.count(role)).map(move |index| role.host(index))
    }

    /// Whether there is such a host.
    pub fn has(&self, host: HostName) -> bool {
        host.index < self.count(host.role)
    }

    /// The hosts for a message that lists what exists, e.g. `gateway-0 to gateway-9, messages-0, registry-0, bus-0`.
    pub(crate) fn in_words(&self) -> String {
        let mut words = Vec::new();
        for (role, count) in self.roles() {
            match count {
                0 => {}
                1..=4 => words.extend(self.hosts_of(role).map(|host| host.to_string())),
                _ => words.push(format!("{} to {}", role.host(0), role.host(count - 1))),
            }
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_each_role_has_a_key_of_its_own() {
        let written = serde_json::to_value(Topology::default()).expect("a topology is JSON");
        for role in Role::ALL {
            let mut topology = Topology::default();
            *topology.count_mut(*role) = 7;
            assert_eq!(topology.count(*role), 7);
            let changed = serde_json::to_value(&topology).expect("a topology is JSON");
            let keys: Vec<&String> = changed
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(key, v)| written[key] != **v)
                .map(|(k, _)| k)
                .collect();
            assert_eq!(keys, [Topology::key(*role)]);
        }
    }

    #[test]
    fn many_hosts_of_a_role_are_told_as_a_range() {
        let topology = Topology { gateways: 9, buses: 0, ..Topology::default() };
        assert_eq!(topology.in_words(), "gateway-0 to gateway-8, messages-0, messages-1, registry-0");
        assert!(topology.has(Role::Gateway.host(8)) && !topology.has(Role::Gateway.host(9)));
    }
}
