//! What can be reached: a fault is drawn only where nothing else keeps it from hitting all that it names.
//!
//! A host that is dark is not paused, a disk that stalls fails no sync, and nobody loses a connection whom another fault has
//! already thrown out. So each fault says what it silences while it lasts, and what it needs to be heard, and for how long.
//! Who is drawn is not known before the run: a fault that strikes one host of a role is taken to silence all of its role.

use squall_protocol::Role;
use squall_scenarios::{Fault, FaultKind, Point, Scenario, Target, Targets};

/// What one fault silences and another needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// The processes of a role.
    Host(Role),
    /// The shards' disks take what is written.
    Disk,
    /// Devices send and are answered.
    Traffic,
    /// Devices are connected.
    Online,
}

/// A stretch of the load, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    from: u64,
    until: u64,
}

/// Links are looked after this often at the least, and opened again within as much.
const LINK: u64 = 3_500;
/// In so much time people say something to each shard, and are answered.
const SAID: u64 = 4_500;
/// Fewer devices than this may all be without a connection at once.
const FEW: u32 = 12;
/// So long after what kept them from it devices are connected again.
const BACK: u64 = 8_000;

/// Whether every one of these faults can hit all that it names.
pub(super) fn all_reached(faults: &[Fault], scenario: &Scenario) -> bool {
    (0..faults.len()).all(|index| {
        let others =
            || faults.iter().enumerate().filter(move |(other, _)| *other != index).map(|(_, fault)| fault);
        let needs = needs(&faults[index], scenario);
        needs.into_iter().all(|(grounds, within, length)| {
            let silenced = others().flat_map(|other| silences(other, scenario));
            let silenced = silenced.filter(|(ground, _)| grounds.contains(ground)).map(|(_, stretch)| stretch);
            longest_free(within, silenced.collect()) >= length
        })
    })
}

/// The longest part of a stretch that none of the others covers.
fn longest_free(within: Stretch, mut silenced: Vec<Stretch>) -> u64 {
    silenced.sort_by_key(|stretch| stretch.from);
    let (mut longest, mut free_from) = (0, within.from);
    for Stretch { from, until } in silenced {
        longest = longest.max(from.min(within.until).saturating_sub(free_from));
        free_from = free_from.max(until);
    }
    longest.max(within.until.saturating_sub(free_from))
}

/// From its beginning to its end.
fn lasts(fault: &Fault, scenario: &Scenario) -> Stretch {
    let load = scenario.phases.load.as_millis();
    let from = fault.at.as_millis();
    let length = fault.lasts.map_or(load, |lasts| lasts.as_millis());
    // Who waits for a point is dark for as long again, and each host of a rolling restart has its turn.
    let until = match &fault.kind {
        kind if kind.is_instant() => from + 1,
        FaultKind::Crash { point: Some(_), .. } | FaultKind::PowerLoss { point: Some(_), .. } => from + 2 * length,
        FaultKind::RollingRestart { target, gap, .. } => {
            from + (length + gap.as_millis()) * target.hosts(&scenario.topology).len() as u64
        }
        _ => from + length,
    };
    Stretch { from, until: until.min(load) }
}

fn roles(targets: &Targets, scenario: &Scenario) -> Vec<Role> {
    let mut roles: Vec<Role> = targets.hosts(&scenario.topology).iter().map(|host| host.role).collect();
    roles.dedup();
    roles
}

/// Whether nobody of this role is left.
fn are_all(targets: &Targets, role: Role, scenario: &Scenario) -> bool {
    scenario.topology.count(role) == 1 || targets.contains(Target::All(role))
}

fn silences(fault: &Fault, scenario: &Scenario) -> Vec<(Ground, Stretch)> {
    let stretch = lasts(fault, scenario);
    let and_back = Stretch { until: stretch.until + BACK, ..stretch };
    let mut all = Vec::new();
    match &fault.kind {
        FaultKind::Crash { target, .. }
        | FaultKind::PowerLoss { target, .. }
        | FaultKind::RollingRestart { target, .. }
        | FaultKind::Stop { target, .. }
        | FaultKind::Pause { target } => {
            for role in roles(target, scenario) {
                all.push((Ground::Host(role), stretch));
                match role {
                    Role::Gateway => {
                        all.push((Ground::Online, and_back));
                        if are_all(target, role, scenario) {
                            all.push((Ground::Traffic, stretch));
                        }
                    }
                    Role::Messages => all.extend([(Ground::Disk, stretch), (Ground::Traffic, stretch)]),
                    Role::Registry | Role::Bus | Role::Presence => {}
                }
            }
        }
        FaultKind::StalledDisk { .. } | FaultKind::DiskFull { .. } => {
            all.extend([(Ground::Disk, stretch), (Ground::Traffic, stretch)]);
        }
        FaultKind::Partition { between, and }
        | FaultKind::Swizzle { between, and }
        | FaultKind::Hold { between, and } => {
            cut(between, and, scenario, stretch, &mut all);
        }
        FaultKind::Flap { between, and, .. } => cut(between, and, scenario, stretch, &mut all),
        FaultKind::PartitionOneWay { from, to } => cut(from, to, scenario, stretch, &mut all),
        FaultKind::Refuse { .. } => {
            // Who is thrown out as it begins still was there.
            all.push((Ground::Online, Stretch { from: stretch.from + 1_500, ..and_back }));
        }
        FaultKind::HalfOpen { .. } | FaultKind::Disconnect { .. } | FaultKind::Reinstall { .. } => {
            all.push((Ground::Online, Stretch { from: stretch.until, ..and_back }));
        }
        // Of a few devices, one after the other is cut off, and hardly one is there.
        FaultKind::DropSentAcks { .. } | FaultKind::DropDeviceAcks { .. } => {
            if scenario.population.devices() < FEW {
                all.push((Ground::Online, and_back));
            }
        }
        FaultKind::CarrierGone { .. } | FaultKind::SlowReader { .. } => all.push((Ground::Online, and_back)),
        FaultKind::Clock { .. }
        | FaultKind::DiskErrors { .. }
        | FaultKind::SlowDisk { .. }
        | FaultKind::Latency { .. }
        | FaultKind::SlowLink { .. }
        | FaultKind::Loss { .. }
        | FaultKind::DuplicateAcks { .. }
        | FaultKind::DelayAcks { .. }
        | FaultKind::DuplicateSends { .. }
        | FaultKind::ResendEverything { .. }
        | FaultKind::Liars { .. }
        | FaultKind::Insiders { .. }
        | FaultKind::ProfileChange { .. } => {}
    }
    all
}

/// What a cut between two sides silences.
fn cut(one: &Targets, other: &Targets, scenario: &Scenario, stretch: Stretch, all: &mut Vec<(Ground, Stretch)>) {
    if one.clients() || other.clients() {
        all.push((Ground::Online, Stretch { until: stretch.until + BACK, ..stretch }));
        all.push((Ground::Traffic, stretch));
    }
    let struck = [roles(one, scenario), roles(other, scenario)].concat();
    if struck.contains(&Role::Gateway) && struck.contains(&Role::Messages) {
        all.extend([(Ground::Traffic, stretch), (Ground::Disk, stretch)]);
    }
}

/// What a fault needs: for so long at a stretch, within these times, none of these grounds may be silenced by others.
fn needs(fault: &Fault, scenario: &Scenario) -> Vec<(Vec<Ground>, Stretch, u64)> {
    let stretch = lasts(fault, scenario);
    let begins = Stretch { from: stretch.from, until: stretch.from + 1 };
    let hosts = |targets: &Targets| roles(targets, scenario).into_iter().map(Ground::Host).collect::<Vec<_>>();
    let written = || vec![Ground::Host(Role::Messages), Ground::Disk, Ground::Traffic];
    match &fault.kind {
        FaultKind::Crash { point: Some(point), .. } | FaultKind::PowerLoss { point: Some(point), .. } => {
            let waits = Stretch { until: stretch.from + (stretch.until - stretch.from) / 2, ..stretch };
            match point {
                Point::Recovering => vec![(vec![Ground::Disk], waits, LINK)],
                Point::SyncPage => vec![(written(), waits, SAID), (vec![Ground::Online], begins, 1)],
                Point::MidCommit | Point::Committed | Point::Acked | Point::Published => {
                    vec![(written(), waits, SAID)]
                }
            }
        }
        // Those who are down already are not struck. The checks that judge a restart need something said before and after.
        FaultKind::Crash { target, .. } | FaultKind::PowerLoss { target, .. } | FaultKind::Pause { target } => {
            vec![(hosts(target), begins, 1)]
        }
        FaultKind::RollingRestart { target, .. } | FaultKind::Stop { target, .. } => {
            vec![(hosts(target), stretch, stretch.until - stretch.from)]
        }
        FaultKind::Partition { between, and }
        | FaultKind::Swizzle { between, and }
        | FaultKind::Hold { between, and }
        | FaultKind::Latency { between, and, .. }
        | FaultKind::SlowLink { between, and, .. } => vec![(link(between, and, &hosts), stretch, LINK)],
        FaultKind::Flap { between, and, .. } | FaultKind::Loss { between, and, .. } => {
            vec![(link(between, and, &hosts), stretch, LINK + SAID)]
        }
        FaultKind::PartitionOneWay { from, to } => vec![(link(from, to, &hosts), stretch, LINK)],
        FaultKind::Refuse { .. } => vec![(vec![Ground::Host(Role::Gateway)], stretch, LINK)],
        // What is new must find no room: that takes longer than a sync.
        FaultKind::DiskFull { .. } => vec![(written(), stretch, 3 * SAID)],
        FaultKind::Clock { .. } | FaultKind::SlowDisk { .. } | FaultKind::StalledDisk { .. } => {
            vec![(written(), stretch, SAID)]
        }
        // A read that fails needs a restart, which another fault brings on purpose.
        FaultKind::DiskErrors { operation: squall_scenarios::DiskOperation::Read, .. } => {
            vec![(vec![Ground::Traffic, Ground::Online], Stretch { from: stretch.from + 5_000, ..stretch }, 1)]
        }
        FaultKind::DiskErrors { .. } => vec![(written(), stretch, SAID)],
        FaultKind::DropSentAcks { .. }
        | FaultKind::DropDeviceAcks { .. }
        | FaultKind::DuplicateAcks { .. }
        | FaultKind::DelayAcks { .. }
        | FaultKind::DuplicateSends { .. }
        | FaultKind::SlowReader { .. } => vec![(vec![Ground::Traffic, Ground::Online], stretch, SAID)],
        FaultKind::Liars { .. } | FaultKind::Insiders { .. } => {
            vec![(vec![Ground::Host(Role::Gateway), Ground::Online], stretch, LINK)]
        }
        FaultKind::CarrierGone { .. } => vec![(vec![Ground::Online], stretch, LINK)],
        FaultKind::ProfileChange { .. }
        | FaultKind::ResendEverything { .. }
        | FaultKind::Reinstall { .. }
        | FaultKind::Disconnect { .. }
        | FaultKind::HalfOpen { .. } => vec![(vec![Ground::Online], begins, 1)],
    }
}

/// Both ends are there, and whoever is to be heard through it.
fn link(one: &Targets, other: &Targets, hosts: &impl Fn(&Targets) -> Vec<Ground>) -> Vec<Ground> {
    let mut grounds = [hosts(one), hosts(other)].concat();
    if one.clients() || other.clients() {
        grounds.push(Ground::Online);
    }
    grounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_scenarios::parse;
    use std::path::Path;

    fn reached(faults: &str) -> bool {
        let text = format!("[topology]\nmessages = 1\n[phases]\nload = \"30s\"\n{faults}");
        let scenario = parse(&text, Path::new("x.toml")).unwrap_or_else(|problems| panic!("{}", problems[0]));
        all_reached(&scenario.faults, &scenario)
    }

    fn fault(kind: &str, at: u32, lasts: u32, keys: &str) -> String {
        format!("[[faults]]\nkind = \"{kind}\"\nat = \"{at}s\"\nfor = \"{lasts}s\"\n{keys}\n")
    }

    #[test]
    fn the_longest_free_part_of_a_stretch_is_found() {
        let stretch = |from, until| Stretch { from, until };
        let within = stretch(10, 30);
        assert_eq!(longest_free(within, vec![]), 20);
        assert_eq!(longest_free(within, vec![stretch(25, 40), stretch(0, 12)]), 13);
        assert_eq!(longest_free(within, vec![stretch(12, 20), stretch(13, 15)]), 10);
        assert_eq!(longest_free(within, vec![stretch(0, 40)]), 0);
    }

    #[test]
    fn who_is_dark_is_not_reached_and_who_is_not_is() {
        let dark = fault("power-loss", 5, 10, "target = [\"messages-0\"]");
        let slow = |at| fault("slow-disk", at, 7, "target = [\"messages-0\"]\nadd = \"100ms\"");
        assert!(!reached(&format!("{dark}{}", slow(6))));
        assert!(reached(&format!("{dark}{}", slow(13))), "5 s are left after it");
        let paused = |role| fault("pause", 6, 3, &format!("target = [\"{role}-0\"]"));
        assert!(!reached(&format!("{dark}{}", paused("messages"))));
        assert!(reached(&format!("{dark}{}", paused("registry"))));
        let stalled = fault("stalled-disk", 5, 8, "target = [\"messages-0\"]");
        assert!(!reached(&format!("{stalled}{}", slow(6))) && reached(&stalled));
    }

    #[test]
    fn nobody_is_thrown_out_twice() {
        let gone = fault("crash", 5, 3, "target = [\"gateway-*\"]");
        let reset = |at| format!("[[faults]]\nkind = \"disconnect\"\nshare = 0.5\nat = \"{at}s\"\n");
        assert!(!reached(&format!("{gone}{}", reset(6))) && !reached(&format!("{gone}{}", reset(12))));
        assert!(reached(&format!("{gone}{}", reset(17))) && reached(&format!("{gone}{}", reset(4))));
    }
}
