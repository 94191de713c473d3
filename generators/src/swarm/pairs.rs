//! Two faults on purpose: each role's crossed with each other role's, the second while the first lasts or while what it struck
//! recovers. Two faults that are each survived may meet in a place that none of them reaches alone. And some that chance brings together
//! too rarely: what they reach together takes one of a certain strength, in the midst of another.

use super::draws::Draws;
use super::faults::{LINKED, SHARDS, fault, some_of};
use super::people::Mood;
use super::reach;
use squall_protocol::Role;
use squall_scenarios::{DiskOperation, Fault, FaultKind, Scenario, Span, Target};

/// How long after the end of the first fault the second may begin: recovery, back-off, the first syncs.
const RECOVERY: u64 = 5_000;
/// Draws of a pair that hides one of its own faults before none is made.
const TRIES: usize = 12;

/// Something that befalls a role, or the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Process(Role),
    Disk,
    Link,
    Devices,
}

/// The chance that what is drawn on purpose is one of these.
const TOGETHER_CHANCE: f64 = 0.4;
/// The chance that it is one that needs what these people do.
const MOODS_OWN_CHANCE: f64 = 0.7;

const SIDES: [Side; 7] = [
    Side::Process(Role::Gateway),
    Side::Process(Role::Messages),
    Side::Process(Role::Registry),
    Side::Process(Role::Bus),
    Side::Disk,
    Side::Link,
    Side::Devices,
];

/// Faults of which one matters in the other's midst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Together {
    /// Shards lose their memory while they wait for registries: answers to what they asked before come after it.
    FailedCommitsAsLookUpsAreSlow,
    /// Devices come back while their gateways hear late from registries and from shards: what was asked before comes after it.
    RegistrationsAndHeadsAreSlow,
    /// Syncs fail until none is tried any more, and what was not written is gone soon after.
    FailedSyncsThenPowerLoss,
    /// The same with the process alone: its writes stay where they are, and pass for synced.
    FailedSyncsThenCrashThenPowerLoss,
    /// A crowd talks on while its shard's disk takes nothing: one commit has more of one conversation than any page of its index.
    CrowdBeforeAStalledDisk,
    /// A shard hears from no registry as a crowd talks on, and dies before it does: it has more to plan anew than one piece holds, and
    /// nobody says anything more.
    LookUpsStandStillThenCrash,
    /// The bus is cut in the midst of a burst, and its shard dies while it waits for acks.
    BusAwayThenCrash,
    /// The registry forgets while its gateways hear late from it and from shards, and is lost again as they have just told it anew:
    /// heads are asked for in the midst of others.
    RegistryForgetsTwice,
}

const TOGETHER: [Together; 4] = [
    Together::FailedCommitsAsLookUpsAreSlow,
    Together::RegistrationsAndHeadsAreSlow,
    Together::FailedSyncsThenPowerLoss,
    Together::FailedSyncsThenCrashThenPowerLoss,
];

/// What needs what people of this mood do.
fn own_of(mood: Mood) -> &'static [Together] {
    match mood {
        Mood::Crowd => &[Together::CrowdBeforeAStalledDisk, Together::LookUpsStandStillThenCrash],
        Mood::ManyConversations => &[Together::RegistryForgetsTwice],
        Mood::Sparse | Mood::LargeGroups => &[Together::BusAwayThenCrash],
        Mood::Busy | Mood::Quiet => &[],
    }
}

/// Two faults, or a few, or none where they would hide each other.
pub(super) fn draw(draws: &mut Draws, scenario: &Scenario, mood: Mood, first: u64) -> Vec<Fault> {
    // What is told by what people say needs somebody who says something.
    let own = own_of(mood);
    let which = if mood == Mood::Quiet {
        None
    } else if !own.is_empty() && draws.chance(MOODS_OWN_CHANCE) {
        Some(draws.pick(own))
    } else {
        draws.chance(TOGETHER_CHANCE).then(|| draws.pick(&TOGETHER))
    };
    if let Some(which) = which {
        for _ in 0..TRIES {
            let faults = together(draws, scenario, which, first);
            if reach::all_reached(&faults, scenario) {
                return faults;
            }
        }
    }
    let load = scenario.phases.load.as_millis();
    for _ in 0..TRIES {
        let at = draws.ms(first, load - 9_000);
        let lasts = draws.ms(1_500, 5_000);
        let later = draws.ms(200, lasts.as_millis() + RECOVERY);
        let sides = [draws.pick(&SIDES), draws.pick(&SIDES)];
        let pair = [(sides[0], at, lasts), (sides[1], at + later, draws.ms(1_500, 5_000))];
        let pair: Vec<Fault> = pair
            .into_iter()
            .map(|(side, at, lasts)| {
                let kind = befalls(draws, side, mood);
                fault(at, (!kind.is_instant()).then_some(lasts), kind)
            })
            .collect();
        let ends = at + later + Span::from_secs(1);
        if ends.as_millis() < load && reach::all_reached(&pair, scenario) {
            return pair;
        }
    }
    Vec::new()
}

fn together(draws: &mut Draws, scenario: &Scenario, which: Together, first: u64) -> Vec<Fault> {
    let load = scenario.phases.load.as_millis();
    let at = draws.ms(first, load - 14_000);
    let long = draws.ms(6_000, 9_000);
    let syncs_fail =
        |share| FaultKind::DiskErrors { target: SHARDS.into(), operation: DiskOperation::Sync, share };
    let slow = |draws: &mut Draws, (one, other): (Target, Target), from, to| FaultKind::Latency {
        between: one.into(),
        and: other.into(),
        add: draws.ms(from, to),
        jitter: draws.ms(0, 400),
    };
    match which {
        Together::FailedCommitsAsLookUpsAreSlow => {
            let later = draws.ms(200, 1_500);
            let slow = slow(draws, (SHARDS, Target::All(Role::Registry)), 200, 1_200);
            vec![
                fault(at, Some(long), slow),
                fault(at + later, Some(long - Span::from_secs(1)), syncs_fail(draws.share(8, 35))),
            ]
        }
        Together::RegistrationsAndHeadsAreSlow => {
            let gateways = Target::All(Role::Gateway);
            let registries = slow(draws, (gateways, Target::All(Role::Registry)), 700, 1_400);
            let shards = slow(draws, (gateways, SHARDS), 200, 1_400);
            let comes = at + draws.ms(500, 2_500);
            vec![
                fault(at, Some(long), registries),
                fault(at, Some(long), shards),
                fault(comes, None, FaultKind::Disconnect { share: draws.share(75, 100) }),
            ]
        }
        Together::FailedSyncsThenPowerLoss => {
            let gone = at + long - draws.ms(0, 800);
            let power = FaultKind::PowerLoss { target: SHARDS.into(), point: None };
            vec![
                fault(at, Some(long), syncs_fail(draws.share(40, 85))),
                fault(gone, Some(draws.ms(500, 2_000)), power),
            ]
        }
        Together::FailedSyncsThenCrashThenPowerLoss => {
            let dies = at + long - draws.ms(300, 1_500);
            let crash = FaultKind::Crash { target: SHARDS.into(), point: None };
            let power = FaultKind::PowerLoss { target: SHARDS.into(), point: None };
            vec![
                fault(at, Some(long), syncs_fail(draws.share(40, 85))),
                fault(dies, Some(Span::from_millis(500)), crash),
                fault(dies + draws.ms(1_200, 4_000), Some(draws.ms(500, 2_000)), power),
            ]
        }
        Together::CrowdBeforeAStalledDisk => {
            let lasts = draws.ms(5_000, 9_000);
            vec![fault(at, Some(lasts), FaultKind::StalledDisk { target: SHARDS.into() })]
        }
        Together::LookUpsStandStillThenCrash => {
            let dies = Span::from_millis(load) - draws.ms(500, 2_000);
            let from = dies - draws.ms(5_000, 9_000);
            let cut = FaultKind::Hold { between: SHARDS.into(), and: Target::All(Role::Registry).into() };
            let crash = FaultKind::Crash { target: SHARDS.into(), point: None };
            vec![fault(from, None, cut), fault(dies, None, crash)]
        }
        Together::BusAwayThenCrash => {
            let cut = FaultKind::Partition { between: SHARDS.into(), and: Target::All(Role::Bus).into() };
            let crash = FaultKind::Crash { target: SHARDS.into(), point: None };
            let at = draws.ms(first, load - 10_000);
            let dies = at + draws.ms(1_000, 5_000);
            vec![fault(at, Some(draws.ms(3_600, 5_000)), cut), fault(dies, Some(draws.ms(500, 2_000)), crash)]
        }
        Together::RegistryForgetsTwice => {
            let (gateways, registries) = (Target::All(Role::Gateway), Target::All(Role::Registry));
            let slow_registries = slow(draws, (gateways, registries), 200, 1_200);
            let slow_shards = slow(draws, (gateways, SHARDS), 200, 1_400);
            let (dies, down) = (at + draws.ms(500, 1_500), draws.ms(500, 1_000));
            let cut = dies + down + draws.ms(100, 1_000);
            let crash = FaultKind::Crash { target: registries.into(), point: None };
            let partition = FaultKind::Partition { between: gateways.into(), and: registries.into() };
            vec![
                fault(at, Some(long), slow_registries),
                fault(at, Some(long), slow_shards),
                fault(dies, Some(down), crash),
                fault(cut, Some(draws.ms(3_600, 5_000)), partition),
            ]
        }
    }
}

fn befalls(draws: &mut Draws, side: Side, mood: Mood) -> FaultKind {
    match side {
        // What a restart of these must expose is said in traffic.
        Side::Process(role @ (Role::Gateway | Role::Messages)) if mood == Mood::Quiet => {
            FaultKind::Pause { target: some_of(draws, role) }
        }
        Side::Process(role) => {
            let target = some_of(draws, role);
            match draws.of(0..3u32) {
                0 => FaultKind::Pause { target },
                1 if role != Role::Registry => FaultKind::PowerLoss { target, point: None },
                _ => FaultKind::Crash { target, point: None },
            }
        }
        Side::Disk if mood == Mood::Quiet => FaultKind::Pause { target: SHARDS.into() },
        Side::Disk => match draws.of(0..3u32) {
            0 => FaultKind::StalledDisk { target: SHARDS.into() },
            1 => FaultKind::SlowDisk { target: SHARDS.into(), add: draws.ms(200, 1_500) },
            _ => FaultKind::DiskErrors {
                target: SHARDS.into(),
                operation: DiskOperation::Sync,
                share: draws.share(50, 100),
            },
        },
        Side::Link => {
            let (one, other) = draws.pick(&LINKED);
            match draws.of(0..5u32) {
                0 | 1 => FaultKind::Partition { between: one.into(), and: other.into() },
                2 | 3 => FaultKind::Hold { between: one.into(), and: other.into() },
                _ => FaultKind::Latency {
                    between: one.into(),
                    and: other.into(),
                    add: draws.ms(200, 1_400),
                    jitter: draws.ms(0, 400),
                },
            }
        }
        Side::Devices if mood == Mood::Quiet => FaultKind::Pause { target: some_of(draws, Role::Gateway) },
        Side::Devices => {
            let share = draws.share(75, 100);
            match draws.of(0..10u32) {
                0..=5 => FaultKind::Disconnect { share },
                6 | 7 => FaultKind::Reinstall { share },
                _ => FaultKind::HalfOpen { share },
            }
        }
    }
}
