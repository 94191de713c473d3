//! The roles of the cluster, and the names of its hosts.
//!
//! This is the one list of roles. Whoever counts, addresses, names or draws hosts derives it from [`Role::ALL`] or matches on
//! [`Role`] without a catch-all arm, so that a new role is a compile error wherever it is forgotten.

use std::fmt;
use std::ops::{Index, IndexMut};
use std::str::FromStr;

macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident = $name:literal),* $(,)?) => {
        /// What a process does in the cluster.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Role {
            $($(#[$doc])* $role),*
        }

        impl Role {
            /// Every role, in the order in which hosts are listed and stepped.
            pub const ALL: &[Role] = &[$(Role::$role),*];

            /// The role, as hosts are named by it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Role::$role => $name),*
                }
            }
        }
    };
}

roles! {
    /// Holds the devices' connections.
    Gateway = "gateway",
    /// A shard of the conversations: their logs, on a disk of its own.
    Messages = "messages",
    /// Knows which device is connected where.
    Registry = "registry",
    /// Carries deliveries to gateways, a topic each.
    Bus = "bus",
    /// Knows who is online, and when they last were.
    Presence = "presence",
}

impl Role {
    /// Whether its hosts keep something on a disk.
    pub const fn has_disk(self) -> bool {
        match self {
            Role::Messages => true,
            Role::Gateway | Role::Registry | Role::Bus | Role::Presence => false,
        }
    }

    /// The host with this index among those of its role.
    pub const fn host(self, index: u32) -> HostName {
        HostName { role: self, index }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no role, or no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a host or role")]
pub struct NotAName;

impl FromStr for Role {
    type Err = NotAName;

    fn from_str(name: &str) -> Result<Role, NotAName> {
        Role::ALL.iter().copied().find(|role| role.name() == name).ok_or(NotAName)
    }
}

/// One process of the cluster: its role, and its index among those of that role. Prints and parses as `gateway-0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName {
    pub role: Role,
    pub index: u32,
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.role, self.index)
    }
}

impl FromStr for HostName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<HostName, NotAName> {
        let (role, index) = text.rsplit_once('-').ok_or(NotAName)?;
        let host = role.parse::<Role>()?.host(index.parse().map_err(|_| NotAName)?);
        // One name a host: no `+1`, no `01`.
        if host.to_string() == text { Ok(host) } else { Err(NotAName) }
    }
}

/// One value for each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerRole<T>([T; Role::ALL.len()]);

impl<T> PerRole<T> {
    pub fn from_fn(mut value: impl FnMut(Role) -> T) -> Self {
        PerRole(std::array::from_fn(|place| value(Role::ALL[place])))
    }

    /// Each role with its value, in the order of [`Role::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Role, &T)> {
        Role::ALL.iter().copied().zip(&self.0)
    }
}

impl<T> Index<Role> for PerRole<T> {
    type Output = T;

    fn index(&self, role: Role) -> &T {
        &self.0[role as usize]
    }
}

impl<T> IndexMut<Role> for PerRole<T> {
    fn index_mut(&mut self, role: Role) -> &mut T {
        &mut self.0[role as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_reads_its_own_name() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(*role));
            for index in [0, 7, u32::MAX] {
                assert_eq!(role.host(index).to_string().parse(), Ok(role.host(index)));
            }
        }
    }

    #[test]
    fn what_is_not_exactly_a_name_is_none() {
        for text in
            ["gateway", "gateway-", "gateway-01", "gateway-+1", "gateway--1", "client-0", "bus-0 ", "-0", ""]
        {
            assert_eq!(text.parse::<HostName>(), Err(NotAName), "{text:?}");
        }
        assert_eq!("gateways".parse::<Role>(), Err(NotAName));
    }

    #[test]
    fn a_value_for_each_role_is_found_by_its_role() {
        let names = PerRole::from_fn(Role::name);
        assert!(Role::ALL.iter().all(|role| names[*role] == role.name()));
        assert!(names.iter().map(|(role, _)| role).eq(Role::ALL.iter().copied()));
    }
}
