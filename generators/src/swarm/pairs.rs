//! Two faults on purpose: each role's crossed with each other role's, the second while the first lasts or while what it struck
//! recovers. Two faults that are each survived may meet in a place that none of them reaches alone.

use super::draws::Draws;
use super::faults::{LINKED, SHARDS, fault, some_of};
use super::people::Mood;
use super::reach;
use squall_protocol::Role;
use squall_scenarios::{DiskOperation, Fault, FaultKind, Scenario, Span};

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

const SIDES: [Side; 7] = [
    Side::Process(Role::Gateway),
    Side::Process(Role::Messages),
    Side::Process(Role::Registry),
    Side::Process(Role::Bus),
    Side::Disk,
    Side::Link,
    Side::Devices,
];

/// Two faults, or none where they would hide each other.
pub(super) fn draw(draws: &mut Draws, scenario: &Scenario, mood: Mood, first: u64) -> Vec<Fault> {
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
            if draws.chance(0.5) {
                FaultKind::Partition { between: one.into(), and: other.into() }
            } else {
                FaultKind::Hold { between: one.into(), and: other.into() }
            }
        }
        Side::Devices if mood == Mood::Quiet => FaultKind::Pause { target: some_of(draws, Role::Gateway) },
        Side::Devices => {
            let share = draws.share(75, 100);
            if draws.chance(0.7) { FaultKind::Disconnect { share } } else { FaultKind::HalfOpen { share } }
        }
    }
}
