//! Which faults have met: of every two that hit something, whether the second began while the first lasted or in its recovery.
//!
//! What is counted are *sides*: a role's processes, its links, the shards' disks, and the devices.

use super::strike::Strike;
use super::targets::named;
use squall_protocol::Role;
use squall_scenarios::{Scenario, Strikes, Target};
use std::collections::BTreeMap;

/// How long after its end a fault's recovery may be met, in µs: links, leases and back-off.
const RECOVERY_US: u64 = 5_000_000;

/// Everything that faults befall, as reports name it.
pub const SIDES: &[&str] = &[
    "gateway process",
    "messages process",
    "registry process",
    "bus process",
    "presence process",
    "messages disk",
    "gateway link",
    "messages link",
    "registry link",
    "bus link",
    "presence link",
    "devices",
];

fn side(strikes: Strikes, target: Target) -> &'static str {
    let role = match target {
        Target::Host(host) => host.role,
        _ => return "devices",
    };
    match (strikes, role) {
        (Strikes::Hosts, Role::Gateway) => "gateway process",
        (Strikes::Hosts, Role::Messages) => "messages process",
        (Strikes::Hosts, Role::Registry) => "registry process",
        (Strikes::Hosts, Role::Bus) => "bus process",
        (Strikes::Hosts, Role::Presence) => "presence process",
        (Strikes::Disks, _) => "messages disk",
        (Strikes::Links, Role::Gateway) => "gateway link",
        (Strikes::Links, Role::Messages) => "messages link",
        (Strikes::Links, Role::Registry) => "registry link",
        (Strikes::Links, Role::Bus) => "bus link",
        (Strikes::Links, Role::Presence) => "presence link",
        (Strikes::Devices, _) => "devices",
    }
}

/// What a strike has befallen; nothing where it hit nothing.
fn sides(strike: &Strike, scenario: &Scenario) -> Vec<&'static str> {
    if strike.hits.values().all(|hits| *hits == 0) {
        return Vec::new();
    }
    let strikes = strike.kind.strikes();
    let mut sides = match strikes {
        Strikes::Devices => vec!["devices"],
        Strikes::Hosts | Strikes::Disks | Strikes::Links => {
            let named = named(&strike.kind, scenario).into_iter();
            named
                .filter(|(name, _)| strike.struck.contains(name))
                .map(|(_, target)| side(strikes, target))
                .collect()
        }
    };
    sides.sort_unstable();
    sides.dedup();
    sides
}

/// How often each side's fault began while another side's lasted, or recovered.
pub(super) fn met<'a>(
    strikes: impl Iterator<Item = &'a Strike>,
    scenario: &Scenario,
) -> BTreeMap<(String, String), u64> {
    let strikes: Vec<(&Strike, Vec<&'static str>)> =
        strikes.map(|strike| (strike, sides(strike, scenario))).collect();
    let mut met = BTreeMap::new();
    for (first, befallen) in &strikes {
        for (second, befallen_next) in &strikes {
            // The parts of one fault are no two faults.
            let is_later = first.begins <= second.begins && second.begins <= first.ends + RECOVERY_US;
            if first.name == second.name || !is_later {
                continue;
            }
            for one in befallen {
                for other in befallen_next {
                    *met.entry(((*one).to_owned(), (*other).to_owned())).or_default() += 1;
                }
            }
        }
    }
    met
}
