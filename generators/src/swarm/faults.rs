//! Which faults a seed of the swarm has: each kind with the same chance, its parameters and times drawn, and pairs on purpose.

use super::draws::Draws;
use super::people::Mood;
use super::{pairs, reach};
use proptest::prelude::*;
use squall_protocol::Role;
use squall_protocol::ids::rendezvous;
use squall_scenarios::{
    DiskOperation, Fault, FaultKind, KindName, Point, Profile, Scenario, Span, Target, Targets, Topology,
};
use std::collections::BTreeSet;

/// The roles that every scenario has; presence hosts are drawn, and struck, with those who watch.
const THERE: [Role; 4] = [Role::Gateway, Role::Messages, Role::Registry, Role::Bus];
/// The chance of each kind: three or four in a run.
const CHANCE: f64 = 0.12;
/// The chance that a run has a pair of faults on purpose, and that of each kind beside it.
const PAIRED: f64 = 0.5;
const CHANCE_BESIDE: f64 = 0.05;
/// The chance that what hits whomever it is about begins in the last seconds before the heal and lasts until then: what is lost now,
/// only the system itself can find again.
const LATE: f64 = 0.25;
/// A fault that hides another, or is hidden by it, is drawn anew so many times before it is left out.
const TRIES: usize = 6;
/// The chance that a crowd says everything again: only in one are there messages that the shard no longer knows by heart.
const CROWD_RESENDS: f64 = 0.5;
/// No fault begins in the first seconds: there is nothing to lose yet.
const FIRST: u64 = 3_000;
/// None that needs traffic begins in the last seconds before the heal.
const LAST: u64 = 12_000;

/// All shards.
pub(super) const SHARDS: Target = Target::All(Role::Messages);

/// Roles that have connections to each other, each host to each.
pub(super) const LINKED: [(Target, Target); 3] = [
    (Target::All(Role::Gateway), SHARDS),
    (Target::All(Role::Gateway), Target::All(Role::Registry)),
    (SHARDS, Target::All(Role::Registry)),
];

/// Roles that are always there; others are struck by what is drawn with them.
const STRUCK: [Role; 4] = [Role::Gateway, Role::Messages, Role::Registry, Role::Bus];

/// Whoever has connections to each other.
const PAIRS: [(Target, Target); 6] = [
    (Target::All(Role::Gateway), SHARDS),
    (Target::All(Role::Gateway), Target::All(Role::Registry)),
    (Target::All(Role::Gateway), Target::All(Role::Bus)),
    (SHARDS, Target::All(Role::Registry)),
    (SHARDS, Target::All(Role::Bus)),
    (Target::Clients, Target::All(Role::Gateway)),
];

/// Kinds that no seed draws, each with the reason.
pub(super) const LEFT_OUT: &[KindName] = &[];

/// Kinds that hit those whom they are about though hardly anything is said.
const WITHOUT_TRAFFIC: [KindName; 9] = [
    KindName::Crash,
    KindName::PowerLoss,
    KindName::Pause,
    KindName::Partition,
    KindName::Swizzle,
    KindName::Hold,
    KindName::Latency,
    KindName::Liars,
    KindName::ProfileChange,
];

pub(super) fn draw(draws: &mut Draws, scenario: &Scenario, mood: Mood) -> Vec<Fault> {
    let paired = draws.chance(PAIRED);
    let mut faults = if paired { pairs::draw(draws, scenario, mood, FIRST) } else { Vec::new() };
    let usual = if faults.is_empty() { CHANCE } else { CHANCE_BESIDE };
    let chance = |kind| match mood {
        Mood::Crowd if kind == KindName::ResendEverything => CROWD_RESENDS,
        Mood::Quiet => 3.0 * usual,
        _ => usual,
    };
    let hits = |kind: KindName| match mood {
        Mood::Busy | Mood::Crowd => true,
        // Pages that are freed hold what little is said.
        Mood::Sparse | Mood::LargeGroups => kind != KindName::DiskFull,
        Mood::Quiet => WITHOUT_TRAFFIC.contains(&kind),
        // There are so few people that a carrier may have none of them.
        Mood::ManyConversations => kind != KindName::CarrierGone,
    };
    let drawn = |kind: &KindName| !LEFT_OUT.contains(kind) && hits(*kind);
    let all: Vec<KindName> = KindName::ALL.iter().copied().filter(drawn).collect();
    let mut chosen: Vec<KindName> = all.iter().copied().filter(|kind| draws.chance(chance(*kind))).collect();
    if chosen.is_empty() && faults.is_empty() {
        chosen.push(draws.pick(&all));
    }
    for kind in chosen {
        for _ in 0..TRIES {
            let mut with = faults.clone();
            add(draws, scenario, mood, kind, &mut with);
            if reach::all_reached(&with, scenario) {
                faults = with;
                break;
            }
        }
    }
    if faults.is_empty() {
        // It finds everybody.
        add(draws, scenario, mood, KindName::Pause, &mut faults);
    }
    let numbered = faults.into_iter().zip(1..);
    numbered
        .map(|(fault, n): (Fault, u32)| Fault { name: format!("{}-{n}", fault.kind.name()), ..fault })
        .collect()
}

/// All hosts of a role, one of them, or some.
pub(super) fn some_of(draws: &mut Draws, role: Role) -> Targets {
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

fn sides(draws: &mut Draws, scenario: &Scenario, mood: Mood) -> (Targets, Targets) {
    // Where little is said, hosts still look after their links. A partition of what carries sends must be noticed by one.
    let (one, other) = if mood == Mood::Quiet { draws.pick(&PAIRS[1..5]) } else { draws.pick(&PAIRS) };
    // Some of one side against all of the other: there is a connection between them.
    let some = match one {
        Target::All(role) => some_of(draws, role),
        whole => whole.into(),
    };
    let Topology { gateways, buses, .. } = scenario.topology;
    match (one, other) {
        // A gateway has to do with the bus of its topic alone, and there may be a bus without a topic.
        (_, Target::All(Role::Bus)) if buses > 1 => {
            let with_topics: BTreeSet<u32> =
                (0..gateways).map(|gateway| rendezvous(gateway.into(), buses)).collect();
            let hosts = with_topics.into_iter().map(|bus| Target::Host(Role::Bus.host(bus)));
            let some = if one == Target::All(Role::Gateway) { one.into() } else { some };
            (some, hosts.collect())
        }
        // One host of many is out of reach of one of many, and everybody else sees both.
        (Target::All(_), Target::All(role)) if mood != Mood::Quiet && draws.chance(0.3) => {
            (some, Target::OneOf(role).into())
        }
        _ => (some, other.into()),
    }
}

pub(super) fn fault(at: Span, lasts: Option<Span>, kind: FaultKind) -> Fault {
    Fault { name: String::new(), at, within: None, lasts, every: None, kind }
}

/// How long a fault lasts.
enum Length {
    Usual,
    /// It hits nothing without traffic, which other faults may stop for as long as they last.
    BeyondOthers,
    /// It hits whomever it is about as soon as it begins, so that it may begin late.
    AtAnyTime,
}

fn usual(kind: FaultKind) -> (FaultKind, Length) {
    (kind, Length::Usual)
}

fn at_any_time(kind: FaultKind) -> (FaultKind, Length) {
    (kind, Length::AtAnyTime)
}

fn in_traffic(kind: FaultKind) -> (FaultKind, Length) {
    (kind, Length::BeyondOthers)
}

fn add(draws: &mut Draws, scenario: &Scenario, mood: Mood, kind: KindName, faults: &mut Vec<Fault>) {
    let last = scenario.phases.load.as_millis() - LAST;
    let at = draws.ms(FIRST, last);
    let short = draws.ms(500, 4_000);
    let long = draws.ms(6_000, 10_000);
    let (kind, length) = match kind {
        KindName::Crash => return crash(draws, scenario, mood, at, short, faults),
        KindName::PowerLoss => return power_loss(draws, scenario, mood, at, short, faults),
        KindName::RollingRestart => {
            let role = draws.pick(&[Role::Gateway, Role::Messages]);
            let (target, gap) = (Target::All(role).into(), draws.ms(200, 2_000));
            let kind = FaultKind::RollingRestart { target, gap, graceful: false, window: None };
            return faults.push(fault(at, Some(draws.ms(500, 2_500)), kind));
        }
        KindName::Stop => {
            let role = draws.pick(&[Role::Gateway, Role::Gateway, Role::Messages, Role::Bus]);
            let window = (role == Role::Gateway).then(|| draws.ms(0, 4_000));
            let lasts = window.unwrap_or_default() + draws.ms(6_000, 9_000);
            return faults.push(fault(
                at,
                Some(lasts),
                FaultKind::Stop { target: Target::OneOf(role).into(), window },
            ));
        }
        KindName::Partition => {
            let (between, and) = sides(draws, scenario, mood);
            if draws.chance(0.3) {
                // Whoever connects meanwhile, and stays, must hear of everything in the end.
                let share = draws.share(50, 100);
                faults.push(fault(at + Span::from_secs(1), None, FaultKind::Disconnect { share }));
                return faults.push(fault(at, Some(long), FaultKind::Partition { between, and }));
            }
            at_any_time(FaultKind::Partition { between, and })
        }
        KindName::PartitionOneWay => {
            let (from, to) = sides(draws, scenario, mood);
            let (from, to) = if draws.chance(0.5) { (from, to) } else { (to, from) };
            at_any_time(FaultKind::PartitionOneWay { from, to })
        }
        KindName::Swizzle => {
            let (between, and) = sides(draws, scenario, mood);
            usual(FaultKind::Swizzle { between, and })
        }
        KindName::Flap => {
            let (between, and) = sides(draws, scenario, mood);
            usual(FaultKind::Flap { between, and, down: draws.ms(1_000, 2_500), up: draws.ms(300, 2_000) })
        }
        KindName::Hold => {
            let (between, and) = sides(draws, scenario, mood);
            at_any_time(FaultKind::Hold { between, and })
        }
        KindName::Latency => {
            let (between, and) = sides(draws, scenario, mood);
            usual(FaultKind::Latency { between, and, add: draws.ms(20, 1_500), jitter: draws.ms(0, 500) })
        }
        KindName::SlowLink => {
            let (between, and) = sides(draws, scenario, mood);
            usual(FaultKind::SlowLink { between, and, bytes_per_s: draws.of(5_000..=50_000u64) })
        }
        KindName::Loss => {
            let (between, and) = sides(draws, scenario, mood);
            usual(FaultKind::Loss { between, and, share: draws.share(20, 60) })
        }
        KindName::Refuse => {
            // Somebody must come anew.
            faults.push(fault(at + Span::from_secs(1), None, FaultKind::Disconnect { share: 0.9 }));
            // Long enough, now and then, for waits to grow to their longest.
            let kind = FaultKind::Refuse { from: Target::Clients.into(), to: Target::All(Role::Gateway).into() };
            let lasts = draws.ms(6_000, 17_000);
            return faults.push(fault(at, Some(lasts), kind));
        }
        KindName::Pause => {
            let role = draws.pick(&THERE);
            at_any_time(FaultKind::Pause { target: some_of(draws, role) })
        }
        KindName::Clock => {
            let (ahead, behind) = (draws.ms(0, 600_000), draws.ms(0, 600_000));
            let drift_ppm = draws.of(1..=50_000u32).into();
            in_traffic(FaultKind::Clock { target: SHARDS.into(), ahead, behind, drift_ppm })
        }
        KindName::DiskErrors => return disk_errors(draws, at, long, faults),
        KindName::DiskFull => {
            // Only what needs new room fails, and freed pages are used again: it takes a while, and a shard that has much to store.
            let kind = FaultKind::DiskFull { target: Target::BusiestShard.into() };
            return faults.push(fault(draws.ms(FIRST, 5_000), Some(draws.ms(16_000, 19_000)), kind));
        }
        KindName::SlowDisk => usual(FaultKind::SlowDisk { target: shard(draws), add: draws.ms(50, 900) }),
        KindName::StalledDisk => usual(FaultKind::StalledDisk { target: Target::OneOf(Role::Messages).into() }),
        KindName::DropSentAcks => in_traffic(FaultKind::DropSentAcks { share: draws.share(25, 60) }),
        KindName::DropDeviceAcks => in_traffic(FaultKind::DropDeviceAcks { share: draws.share(10, 30) }),
        KindName::DuplicateAcks => in_traffic(FaultKind::DuplicateAcks { share: draws.share(15, 60) }),
        KindName::DelayAcks => {
            in_traffic(FaultKind::DelayAcks { share: draws.share(15, 60), by: draws.ms(100, 8_000) })
        }
        KindName::DuplicateSends => in_traffic(FaultKind::DuplicateSends { share: draws.share(30, 100) }),
        KindName::ResendEverything => {
            // Late, when there is much to say again.
            let kind = FaultKind::ResendEverything { share: draws.share(60, 100) };
            return faults.push(fault(draws.ms(last - 2_000, last + 8_000), None, kind));
        }
        KindName::Reinstall => at_any_time(FaultKind::Reinstall { share: draws.share(40, 100) }),
        KindName::Insiders => usual(FaultKind::Insiders { count: draws.of(1..=3u32), guessing: 1 }),
        KindName::Liars => usual(FaultKind::Liars { count: draws.of(4..=12u32) }),
        KindName::SlowReader => usual(FaultKind::SlowReader { share: draws.share(40, 80) }),
        KindName::ProfileChange => {
            // A crowd's talk does not fit through the slow ones, and neither do hundreds of conversations.
            let profiles = [Profile::Wifi, Profile::Lte, Profile::ThreeG, Profile::Flaky];
            let profiles =
                if matches!(mood, Mood::Crowd | Mood::ManyConversations) { &profiles[..2] } else { &profiles[..] };
            usual(FaultKind::ProfileChange { share: draws.share(50, 100), to: draws.pick(profiles) })
        }
        KindName::CarrierGone => usual(FaultKind::CarrierGone { carrier: None }),
        KindName::Disconnect => at_any_time(FaultKind::Disconnect { share: draws.share(75, 100) }),
        KindName::HalfOpen => at_any_time(FaultKind::HalfOpen { share: draws.share(70, 95) }),
    };
    if matches!(length, Length::AtAnyTime) && draws.chance(LATE) {
        return faults.push(fault(late(draws, scenario), None, kind));
    }
    let lasts = match length {
        Length::Usual | Length::AtAnyTime => long,
        Length::BeyondOthers => draws.ms(11_000, 15_000),
    };
    let lasts = (!kind.is_instant()).then_some(lasts);
    faults.push(fault(at, lasts, kind));
}

/// In the last seconds before the heal.
fn late(draws: &mut Draws, scenario: &Scenario) -> Span {
    let load = scenario.phases.load.as_millis();
    draws.ms(load - 6_000, load - 4_000)
}

fn crash(draws: &mut Draws, scenario: &Scenario, mood: Mood, at: Span, short: Span, faults: &mut Vec<Fault>) {
    let role = if mood == Mood::Quiet { draws.pick(&[Role::Registry, Role::Bus]) } else { draws.pick(&STRUCK) };
    let point = (role == Role::Messages && draws.chance(0.6)).then(|| process_point(draws));
    let target = struck(draws, role, point);
    let kind = FaultKind::Crash { target, point };
    if point.is_none() && draws.chance(LATE) {
        return faults.push(fault(late(draws, scenario), None, kind));
    }
    let lasts = until(draws, point, short);
    faults.push(fault(at, Some(lasts), kind));
    with_point(point, at, faults);
}

fn power_loss(draws: &mut Draws, scenario: &Scenario, mood: Mood, at: Span, short: Span, faults: &mut Vec<Fault>) {
    let role = draws.of(prop_oneof![4 => Just(Role::Messages), 1 => Just(Role::Gateway), 1 => Just(Role::Bus)]);
    let role = if mood == Mood::Quiet { Role::Bus } else { role };
    let point = (role == Role::Messages && draws.chance(0.7)).then(|| power_point(draws));
    let target = struck(draws, role, point);
    let kind = FaultKind::PowerLoss { target, point };
    if point.is_none() && draws.chance(LATE) {
        return faults.push(fault(late(draws, scenario), None, kind));
    }
    let lasts = until(draws, point, short);
    faults.push(fault(at, Some(lasts), kind));
    with_point(point, at, faults);
}

/// Every shard waits for a point, for it is not known which passes it.
fn struck(draws: &mut Draws, role: Role, point: Option<Point>) -> Targets {
    match (role, point) {
        (_, Some(_)) => SHARDS.into(),
        (Role::Messages, None) => shard(draws),
        (Role::Gateway | Role::Registry | Role::Bus | Role::Presence, None) => some_of(draws, role),
    }
}

/// How long a host is down; it waits for its point for as long.
fn until(draws: &mut Draws, point: Option<Point>, short: Span) -> Span {
    if point.is_some() { draws.ms(7_000, 10_000) } else { short }
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
        DiskOperation::Write => draws.share(4, 10),
        DiskOperation::Read => draws.share(40, 70),
        DiskOperation::Sync => draws.share(10, 40),
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
        None | Some(Point::MidCommit | Point::Committed | Point::Acked | Point::Published) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_at_an_end_of_some_link() {
        let ends: Vec<Target> = PAIRS.iter().flat_map(|(one, other)| [*one, *other]).collect();
        let missing: Vec<&Role> = THERE.iter().filter(|role| !ends.contains(&Target::All(**role))).collect();
        assert!(missing.is_empty(), "no link of {missing:?} is ever cut");
    }
}
