//! Who is to receive an entry, and through which gateway.
//!
//! **Invariant:** a plan names each connection once and never the device that sent the entry: its ack is its delivery. Guarded
//! by the test below.

use crate::registry::Location;
use squall_protocol::{DeviceId, UserId};
use std::collections::BTreeMap;

/// The targets of one entry by gateway, in order of gateway and connection.
pub fn targets_by_gateway(
    locations: impl IntoIterator<Item = Location>,
    sender: Option<(UserId, DeviceId)>,
) -> BTreeMap<u32, Vec<Location>> {
    let mut plan: BTreeMap<u32, Vec<Location>> = BTreeMap::new();
    for location in locations {
        if Some((location.user, location.device)) != sender {
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

    #[test]
    fn every_other_device_is_named_once_under_its_gateway() {
        let at = |user, device, gateway| Location {
            user: UserId(user),
            device: DeviceId(device),
            gateway,
            connection: device + 100,
            connect_count: 1,
        };
        let sender = Some((UserId(1), DeviceId(11)));
        let plan = targets_by_gateway([at(1, 11, 0), at(1, 12, 1), at(2, 21, 0), at(2, 21, 0)], sender);
        assert_eq!(plan, BTreeMap::from([(0, vec![at(2, 21, 0)]), (1, vec![at(1, 12, 1)])]));
        // Somebody else's device of that number is another device.
        let plan = targets_by_gateway([at(1, 11, 0), at(2, 11, 1)], sender);
        assert_eq!(plan, BTreeMap::from([(1, vec![at(2, 11, 1)])]));
    }
}
