//! Which hosts a scenario has, and which of them a target means.

use crate::model::{Scenario, Topology};
use squall_protocol::{HostName, Role};

/// The target that means all devices instead of a host.
pub const CLIENTS: &str = "clients";
/// The target that means the shard that owns the conversation with most entries so far.
pub const BUSIEST_SHARD: &str = "busiest-shard";

/// How many of the hosts that a target names are meant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    All,
    /// One of them, drawn.
    One,
    /// This share of them, drawn, and at least one.
    Share(f64),
    /// The shard with the busiest conversation.
    Busiest,
}

/// Takes a target apart: how many are meant, and of which hosts.
pub fn choice(target: &str) -> (Choice, &str) {
    if target == BUSIEST_SHARD {
        return (Choice::Busiest, "messages-*");
    }
    if let Some(of) = target.strip_prefix("one of ") {
        return (Choice::One, of.trim());
    }
    let share =
        target.split_once("% of ").and_then(|(percent, of)| Some((percent.trim().parse::<f64>().ok()?, of)));
    match share {
        Some((percent, of)) if percent > 0.0 && percent <= 100.0 => (Choice::Share(percent / 100.0), of.trim()),
        _ => (Choice::All, target),
    }
}

impl Topology {
    /// The number of hosts of a role.
    pub fn count(&self, role: Role) -> u32 {
        match role {
            Role::Gateway => self.gateways,
            Role::Messages => self.messages,
            Role::Registry => self.registries,
            Role::Bus => self.buses,
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
}

impl Scenario {
    /// Every host, in the order of roles and then of their numbers.
    pub fn hosts(&self) -> Vec<HostName> {
        self.topology.roles().flat_map(|(role, count)| (0..count).map(move |index| role.host(index))).collect()
    }

    /// Every host's name: `gateway-0`, …, `messages-0`, …, `registry-0`, …, `bus-0`, ….
    pub fn host_names(&self) -> Vec<String> {
        self.hosts().iter().map(HostName::to_string).collect()
    }

    /// The hosts that one target can mean, in the order of `host_names`: a host's own name, all of a role for `gateway-*`,
    /// all of which some are drawn, and `clients` for itself. Empty when the scenario has no such host.
    pub fn expand_target(&self, target: &str) -> Vec<String> {
        let (choice, target) = choice(target);
        if target == CLIENTS && choice == Choice::All {
            return vec![CLIENTS.to_owned()];
        }
        let found = self.topology.roles().find_map(|(role, count)| {
            let index = target.strip_prefix(role.name())?.strip_prefix('-')?;
            Some((role, count, index))
        });
        match found {
            Some((role, count, "*")) => (0..count).map(|index| format!("{role}-{index}")).collect(),
            Some((_, count, index)) => {
                let exists = index.parse().is_ok_and(|number: u32| number < count && number.to_string() == index);
                if exists { vec![target.to_owned()] } else { Vec::new() }
            }
            None => Vec::new(),
        }
    }

    /// The hosts that a list of targets means, each once, in the order of `host_names` and `clients` at the end.
    /// Targets that mean nothing are left out; a parsed scenario has none.
    pub fn expand_targets(&self, targets: &[String]) -> Vec<String> {
        let meant: Vec<String> = targets.iter().flat_map(|target| self.expand_target(target)).collect();
        let mut names = self.host_names();
        names.push(CLIENTS.to_owned());
        names.retain(|name| meant.contains(name));
        names
    }

    /// The hosts for a message that lists what exists, e.g. `gateway-0..2, messages-0, registry-0, bus-0`.
    pub(crate) fn hosts_in_words(&self) -> String {
        let mut words = Vec::new();
        for (role, count) in self.topology.roles() {
            match count {
                0 => {}
                1..=4 => words.extend((0..count).map(|index| format!("{role}-{index}"))),
                _ => words.push(format!("{role}-0 to {role}-{}", count - 1)),
            }
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(targets: &[&str]) -> Vec<String> {
        let scenario = Scenario::default();
        scenario.expand_targets(&targets.iter().map(|target| (*target).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn hosts_are_named_by_role_and_index() {
        let names = ["gateway-0", "gateway-1", "messages-0", "messages-1", "registry-0", "bus-0"];
        assert_eq!(Scenario::default().host_names(), names);
    }

    #[test]
    fn targets_expand_to_hosts_each_once_and_in_order() {
        assert_eq!(expand(&["messages-1", "gateway-*", "gateway-1"]), ["gateway-0", "gateway-1", "messages-1"]);
        assert_eq!(expand(&["clients", "bus-*"]), ["bus-0", "clients"]);
    }

    #[test]
    fn a_target_that_is_drawn_can_mean_each_of_them() {
        assert_eq!(expand(&["one of gateway-*"]), ["gateway-0", "gateway-1"]);
        assert_eq!(expand(&["30% of messages-*"]), ["messages-0", "messages-1"]);
        assert_eq!(expand(&["busiest-shard"]), ["messages-0", "messages-1"]);
        assert_eq!(choice("30% of messages-*"), (Choice::Share(0.3), "messages-*"));
    }

    #[test]
    fn a_target_that_does_not_exist_means_nothing() {
        for target in [
            "gateway-2",
            "0% of gateway-*",
            "101% of gateway-*",
            "one of clients",
            "30% of nothing",
            "one of",
            "gateway-01",
            "gateway-",
            "gateway",
            "gateway-+1",
            "*",
            "",
            "client",
            "bus-0 ",
        ] {
            assert!(expand(&[target]).is_empty(), "{target}");
        }
    }
}
