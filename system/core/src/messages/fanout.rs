//! Who is to receive an entry, and through which gateway.
//!
//! **Invariant:** a plan names each connection once, and never the one that is told that its entry is stored: that is its delivery. It is a
//! connection that is left out and not its device, for a device may have been installed anew since, remember nothing of what it sent, and
//! have asked for the log's end before the entry was durable. Guarded by the test below and `sim/checks/src/no_loss.rs`.

use crate::plant::{Plant, planted};
use crate::registry::Location;
use squall_protocol::Who;
use std::collections::BTreeMap;

/// The connection over which the author of an entry is told that it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    pub who: Who,
    pub connection: u64,
}

impl Answered {
    fn is_at(&self, location: &Location) -> bool {
        let anywhere = planted(Plant::AuthorLeftOutAnywhere);
        (location.user, location.device) == self.who && (anywhere || location.connection == self.connection)
    }
}

/// The targets of one entry by gateway, in order of gateway and connection. Without knowing who has been answered, as after a restart,
/// nobody is left out: to a device that has shown the entry it is one copy more, which it discards.
pub fn targets_by_gateway(
    locations: impl IntoIterator<Item = Location>,
    answered: Option<Answered>,
) -> BTreeMap<u32, Vec<Location>> {
    let mut plan: BTreeMap<u32, Vec<Location>> = BTreeMap::new();
    for location in locations {
        if !answered.is_some_and(|answered| answered.is_at(&location)) {
            plan.entry(location.gateway).or_default().push(location);
        }
    }
    for targets in plan.values_mut() {
        targets.sort_unstable_by_key(|t| (t.connection, t.device));
        targets.dedup();
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::{DeviceId, UserId};

    fn at(user: u64, device: u64, gateway: u32) -> Location {
        Location {
            user: UserId(user),
            device: DeviceId(device),
            gateway,
            connection: device + 100,
            connect_count: 1,
        }
    }

    fn answered(user: u64, device: u64, connection: u64) -> Option<Answered> {
        Some(Answered { who: (UserId(user), DeviceId(device)), connection })
    }

    #[test]
    fn every_other_device_is_named_once_under_its_gateway() {
        let sender = answered(1, 11, 111);
        let plan = targets_by_gateway([at(1, 11, 0), at(1, 12, 1), at(2, 21, 0), at(2, 21, 0)], sender);
        assert_eq!(plan, BTreeMap::from([(0, vec![at(2, 21, 0)]), (1, vec![at(1, 12, 1)])]));
        // Somebody else's device of that number is another device.
        let plan = targets_by_gateway([at(1, 11, 0), at(2, 11, 1)], sender);
        assert_eq!(plan, BTreeMap::from([(1, vec![at(2, 11, 1)])]));
    }

    #[test]
    fn another_connection_of_the_author_s_device_is_named() {
        let anew = Location { connection: 7, ..at(1, 11, 1) };
        let plan = targets_by_gateway([anew], answered(1, 11, 111));
        assert_eq!(plan, BTreeMap::from([(1, vec![anew])]));
    }

    #[test]
    fn where_nobody_is_known_to_be_answered_the_author_s_device_is_named() {
        assert_eq!(targets_by_gateway([at(1, 11, 0)], None), BTreeMap::from([(0, vec![at(1, 11, 0)])]));
    }
}
