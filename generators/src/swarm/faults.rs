//! Which faults a seed of the swarm has: each kind with the same chance, its parameters and times drawn.

use super::Draws;
use proptest::prelude::*;
use squall_protocol::Role;
use squall_scenarios::{DiskOperation, Fault, FaultKind, Point, Profile, Scenario, Span, Target, Targets};

/// The chance of each kind: three or four in a run.
const CHANCE: f64 = 0.12;
/// The chance that a crowd says everything again: only in one are there messages that the shard no longer knows by heart.
const CROWD_RESENDS: f64 = 0.5;
/// No fault begins in the first seconds: there is nothing to lose yet.
const FIRST: u64 = 3_000;
/// None begins in the last seconds before the heal: what it does to the traffic must be seen.
const LAST: u64 = 12_000;

/// All shards.
const SHARDS: Target = Target::All(Role::Messages);

/// Whoever has connections to each other.
const PAIRS: [(Target, Target); 6] = [
    (Target::All(Role::Gateway), SHARDS),
    (Target::All(Role::Gateway), Target::All(Role::Registry)),
    (Target::All(Role::Gateway), Target::All(Role::Bus)),
    (SHARDS, Target::All(Role::Registry)),
    (SHARDS, Target::All(Role::Bus)),
    (Target::Clients, Target::All(Role::Gateway)),
];

pub(super) fn draw(draws: &mut Draws, scenario: &Scenario) -> Vec<Fault> {
    let mut faults = Vec::new();
    let crowd = is_crowd(scenario);
    let chance = |kind: &str| if crowd && kind == "resend-everything" { CROWD_RESENDS } else { CHANCE };
    let chosen: Vec<&str> = FaultKind::NAMES.iter().copied().filter(|kind| draws.chance(chance(kind))).collect();
    let fallback = [draws.pick(FaultKind::NAMES)];
    for kind in if chosen.is_empty() { &fallback[..] } else { &chosen[..] } {
        add(draws, scenario, kind, &mut faults);
    }
    let numbered = faults.into_iter().zip(1..);
    numbered
        .map(|(fault, n): (Fault, u32)| Fault { name: format!("{}-{n}", fault.kind.name()), ..fault })
        .collect()
}

/// Whether everybody talks in one group.
fn is_crowd(scenario: &Scenario) -> bool {
    scenario.population.group_size_min == scenario.population.users
}

/// All hosts of a role, one of them, or some.
fn some_of(draws: &mut Draws, role: Role) -> Targets {
    let forms = prop_oneof![
        2 => Just(Target::All(role)),
        3 => Just(Target::OneOf(role)),
        1 => Just(Target::ShareOf { percent: 50.0, role }),
    ];
    draws.of(forms).into()
}

fn shard(draws: &mut Draws) -> Targets {
    let forms = prop_oneof![
        2 => Just(Target::OneOf(Role::Messages)),
        1 => Just(Target::BusiestShard),
        1 => Just(SHARDS),
    ];
    draws.of(forms).into()
}

fn sides(draws: &mut Draws) -> (Targets, Targets) {
    let (one, other) = draws.pick(&PAIRS);
    // Some of one side against all of the other: there is a connection between them.
    let some = match one {
        Target::All(role) => some_of(draws, role),
        whole => whole.into(),
    };
    (some, other.into())
}

fn fault(at: Span, lasts: Option<Span>, kind: FaultKind) -> Fault {
    Fault { name: String::new(), at, within: None, lasts, every: None, kind }
}

fn add(draws: &mut Draws, scenario: &Scenario, name: &str, faults: &mut Vec<Fault>) {
    let last = scenario.phases.load.as_millis() - LAST;
    let at = draws.ms(FIRST, last);
    let after = |ms: u64| at + Span::from_millis(ms);
    let short = draws.ms(500, 4_000);
    let long = draws.ms(6_000, 10_000);
    let disconnect = |at: Span| fault(at, None, FaultKind::Disconnect { share: 0.6 });
    let kind = match name {
        "crash" => {
            let role = draws.pick(Role::ALL);
            let point = (role == Role::Messages && draws.chance(0.6)).then(|| process_point(draws));
            let target = match (role, point) {
                (Role::Messages, Some(_)) => SHARDS.into(),
                (Role::Messages, None) => shard(draws),
                _ => some_of(draws, role),
            };
            // It waits for its point as long as it lasts.
            let lasts = if point.is_some() { draws.ms(5_000, 7_000) } else { short };
            faults.push(fault(at, Some(lasts), FaultKind::Crash { target, point }));
            return with_point(point, at, faults);
        }
        "power-loss" => {
            let role =
                draws.of(prop_oneof![4 => Just(Role::Messages), 1 => Just(Role::Gateway), 1 => Just(Role::Bus)]);
            let point = (role == Role::Messages && draws.chance(0.7)).then(|| power_point(draws));
            let target = match (role, point) {
                (Role::Messages, Some(_)) => SHARDS.into(),
                (Role::Messages, None) => shard(draws),
                _ => some_of(draws, role),
            };
            let lasts = if point.is_some() { draws.ms(5_000, 7_000) } else { short };
            faults.push(fault(at, Some(lasts), FaultKind::PowerLoss { target, point }));
            return with_point(point, at, faults);
        }
        "rolling-restart" => {
            let role = draws.pick(&[Role::Gateway, Role::Messages]);
            let kind = FaultKind::RollingRestart { target: Target::All(role).into(), gap: draws.ms(200, 2_000) };
            return faults.push(fault(at, Some(draws.ms(500, 2_500)), kind));
        }
        "partition" => {
            let (between, and) = sides(draws);
            FaultKind::Partition { between, and }
        }
        "partition-one-way" => {
            let (from, to) = sides(draws);
            let (from, to) = if draws.chance(0.5) { (from, to) } else { (to, from) };
            FaultKind::PartitionOneWay { from, to }
        }
        "swizzle" => {
            let (between, and) = sides(draws);
            FaultKind::Swizzle { between, and }
        }
        "flap" => {
            let (between, and) = sides(draws);
            FaultKind::Flap { between, and, down: draws.ms(1_000, 2_500), up: draws.ms(300, 3_000) }
        }
        "hold" => {
            let (between, and) = sides(draws);
            FaultKind::Hold { between, and }
        }
        "latency" => {
            let (between, and) = sides(draws);
            FaultKind::Latency { between, and, add: draws.ms(20, 1_500), jitter: draws.ms(0, 500) }
        }
        "slow-link" => {
            let (between, and) = sides(draws);
            FaultKind::SlowLink { between, and, bytes_per_s: draws.of(5_000..=50_000u64) }
        }
        "loss" => {
            let (between, and) = sides(draws);
            FaultKind::Loss { between, and, share: draws.share(20, 60) }
        }
        "refuse" => {
            faults.push(disconnect(after(1_000)));
            FaultKind::Refuse { from: Target::Clients.into(), to: Target::All(Role::Gateway).into() }
        }
        "pause" => {
            let role = draws.pick(Role::ALL);
            FaultKind::Pause { target: some_of(draws, role) }
        }
        "clock" => {
            let (ahead, behind) = (draws.ms(0, 600_000), draws.ms(0, 600_000));
            FaultKind::Clock { target: SHARDS.into(), ahead, behind, drift_ppm: draws.of(1..=50_000u32).into() }
        }
        "disk-errors" => return disk_errors(draws, at, long, faults),
        "disk-full" => {
            // Only what needs new room fails, and freed pages are used again: it takes a while.
            let kind = FaultKind::DiskFull { target: SHARDS.into() };
            return faults.push(fault(draws.ms(FIRST, 5_000), Some(draws.ms(12_000, 16_000)), kind));
        }
        "slow-disk" => FaultKind::SlowDisk { target: shard(draws), add: draws.ms(50, 900) },
        "stalled-disk" => FaultKind::StalledDisk { target: Target::OneOf(Role::Messages).into() },
        "drop-sent-acks" => FaultKind::DropSentAcks { share: draws.share(25, 60) },
        "drop-device-acks" => FaultKind::DropDeviceAcks { share: draws.share(10, 30) },
        "duplicate-acks" => FaultKind::DuplicateAcks { share: draws.share(15, 60) },
        "delay-acks" => FaultKind::DelayAcks { share: draws.share(15, 60), by: draws.ms(100, 8_000) },
        "duplicate-sends" => FaultKind::DuplicateSends { share: draws.share(30, 100) },
        "resend-everything" => {
            // Late, when there is much to say again.
            let kind = FaultKind::ResendEverything { share: draws.share(60, 100) };
            return faults.push(fault(draws.ms(last - 2_000, last + 8_000), None, kind));
        }
        "liars" => FaultKind::Liars { count: draws.of(4..=12u32) },
        "slow-reader" => FaultKind::SlowReader { share: draws.share(30, 60) },
        "profile-change" => {
            // A crowd's talk does not fit through the slow ones.
            let profiles = [Profile::Wifi, Profile::Lte, Profile::ThreeG, Profile::Flaky];
            let profiles = if is_crowd(scenario) { &profiles[..2] } else { &profiles[..] };
            FaultKind::ProfileChange { share: draws.share(50, 100), to: draws.pick(profiles) }
        }
        "carrier-gone" => FaultKind::CarrierGone { carrier: None },
        "disconnect" => FaultKind::Disconnect { share: draws.share(50, 100) },
        "half-open" => FaultKind::HalfOpen { share: draws.share(40, 80) },
        other => unreachable!("{other} is among FaultKind::NAMES and is not drawn"),
    };
    let lasts = match kind.name() {
        // These need traffic, which other faults may stop for as long as they last.
        "drop-sent-acks" | "drop-device-acks" | "duplicate-acks" | "delay-acks" | "duplicate-sends" | "clock" => {
            draws.ms(11_000, 15_000)
        }
        _ => long,
    };
    let lasts = (!kind.is_instant()).then_some(lasts);
    faults.push(fault(at, lasts, kind));
}

/// Errors of reads are met by whoever opens the disk again, so something fails or restarts meanwhile.
fn disk_errors(draws: &mut Draws, at: Span, long: Span, faults: &mut Vec<Fault>) {
    let target = Targets::from(SHARDS);
    let operation =
        draws.of(prop_oneof![Just(DiskOperation::Read), Just(DiskOperation::Write), Just(DiskOperation::Sync)]);
    if operation == DiskOperation::Read {
        let crash = FaultKind::Crash { target: target.clone(), point: None };
        faults.push(fault(at + Span::from_secs(1), Some(Span::from_secs(1)), crash));
    }
    let share = match operation {
        DiskOperation::Write => draws.share(2, 10),
        _ => draws.share(10, 40),
    };
    faults.push(fault(at, Some(long), FaultKind::DiskErrors { target, operation, share }));
}

fn process_point(draws: &mut Draws) -> Point {
    let points = [Point::Committed, Point::Acked, Point::Published, Point::SyncPage, Point::Recovering];
    draws.pick(&points)
}

fn power_point(draws: &mut Draws) -> Point {
    if draws.chance(0.4) { Point::MidCommit } else { process_point(draws) }
}

/// What it takes that the code passes the point: a sync needs somebody who comes back, a recovery a restart.
fn with_point(point: Option<Point>, at: Span, faults: &mut Vec<Fault>) {
    match point {
        Some(Point::SyncPage) => {
            faults.push(fault(at + Span::from_millis(300), None, FaultKind::Disconnect { share: 0.8 }));
        }
        Some(Point::Recovering) => {
            let crash = FaultKind::Crash { target: SHARDS.into(), point: None };
            faults.push(fault(at + Span::from_millis(300), Some(Span::from_millis(500)), crash));
        }
        _ => {}
    }
}
