//! When each fault of a scenario strikes: its occurrences, with drawn times drawn, and compound faults taken apart.

use crate::disk::{CutId, FaultId as DiskFaultId};
use squall_generators::rng::Stream;
use squall_network::{FaultId, HostId};
use squall_protocol::Role;
use squall_scenarios::{Fault, FaultKind, Occurrence, Scenario, Target, Targets};
use std::collections::BTreeMap;

/// Strikes that one flapping link may come to: more is a slip of a unit.
const MAX_FLAPS: usize = 10_000;

/// One occurrence of a fault of the scenario.
pub(super) struct Strike {
    pub name: String,
    /// The kind as the scenario has it.
    pub declared: &'static str,
    /// What this strike does; its targets are hosts once it has begun.
    pub kind: FaultKind,
    /// µs of the run.
    pub begins: u64,
    pub ends: u64,
    /// How long the scenario wants it, µs.
    pub length: u64,
    pub state: State,
    /// The hosts that it is on, for people.
    pub targets: Vec<String>,
    pub links: Vec<FaultId>,
    /// Machines that this strike holds down.
    pub down: Vec<usize>,
    /// Machines that this strike has paused.
    pub paused: Vec<usize>,
    /// Faults of disks, each with its machine.
    pub disks: Vec<(usize, DiskFaultId)>,
    /// Power cuts that wait inside a disk, each with its machine.
    pub cuts: Vec<(usize, CutId)>,
    /// Entries that machines with a wrong clock had stamped before.
    pub stamped: Vec<(u16, u64)>,
    /// The site of the carrier that is gone.
    pub carrier: Option<HostId>,
    /// Lies that had been told before.
    pub lies_before: u64,
    pub affected: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Active,
    Over,
}

impl Strike {
    fn new(fault: &Fault, kind: FaultKind, begins: u64, ends: u64) -> Self {
        Strike {
            name: fault.name.clone(),
            declared: fault.kind.name(),
            kind,
            begins,
            ends,
            length: ends - begins,
            state: State::Waiting,
            targets: Vec::new(),
            links: Vec::new(),
            down: Vec::new(),
            paused: Vec::new(),
            disks: Vec::new(),
            cuts: Vec::new(),
            stamped: Vec::new(),
            carrier: None,
            lies_before: 0,
            affected: BTreeMap::new(),
        }
    }

    /// Whether it strikes when the code passes a point, and not at its time.
    pub fn waits_for_a_point(&self) -> bool {
        matches!(self.kind, FaultKind::PowerLoss { point: Some(_), .. } | FaultKind::Crash { point: Some(_), .. })
    }
}

/// Every strike of a scenario, in the order of its faults. `load` is when the load phase begins, in µs of the run.
pub(super) fn plan(scenario: &Scenario, load: u64, stream: &mut Stream) -> Vec<Strike> {
    let heal = load + scenario.phases.load.as_micros();
    let mut strikes = Vec::new();
    for fault in &scenario.faults {
        for Occurrence { begins, ends } in fault.occurrences(scenario.phases.load) {
            let later = fault.within.map_or(0, |within| stream.below(within.as_micros() + 1));
            let begins = (load + begins.as_micros() + later).min(heal);
            let ends = (load + ends.as_micros() + later).min(heal);
            if begins < heal {
                strikes.extend(take_apart(scenario, fault, begins, ends, heal, stream));
            }
        }
    }
    strikes
}

fn take_apart(
    scenario: &Scenario,
    fault: &Fault,
    begins: u64,
    ends: u64,
    heal: u64,
    stream: &mut Stream,
) -> Vec<Strike> {
    let strike = |kind, begins, ends| Strike::new(fault, kind, begins, ends);
    // What is drawn for a compound fault is drawn once, for all its parts.
    let kind = match &fault.kind {
        kind @ (FaultKind::RollingRestart { .. } | FaultKind::Swizzle { .. } | FaultKind::Flap { .. }) => {
            let mut kind = kind.clone();
            for targets in kind.targets_mut() {
                *targets = draw_hosts(scenario, targets, stream, 0);
            }
            kind
        }
        kind => kind.clone(),
    };
    match &kind {
        FaultKind::Crash { target, point: Some(_) } | FaultKind::PowerLoss { target, point: Some(_) }
            if !target.are_drawn() =>
        {
            // Each host waits for the point by itself, and is down for as long by itself.
            let hosts = target.hosts(&scenario.topology).into_iter();
            hosts
                .map(|host| {
                    let mut own = kind.clone();
                    own.targets_mut().into_iter().for_each(|targets| *targets = host.into());
                    strike(own, begins, ends)
                })
                .collect()
        }
        FaultKind::RollingRestart { target, gap } => {
            let down = ends - begins;
            let step = down + gap.as_micros();
            let hosts = (0..).zip(target.hosts(&scenario.topology));
            let times = hosts.map(|(n, host)| (host, begins + n * step)).take_while(|(_, at)| *at < heal);
            times
                .map(|(host, at)| {
                    strike(FaultKind::Crash { target: host.into(), point: None }, at, (at + down).min(heal))
                })
                .collect()
        }
        FaultKind::Swizzle { between, and } => {
            let (one, other) = (each_of(scenario, between), each_of(scenario, and));
            let links = one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b)));
            let mut links: Vec<(Target, Target)> = links.collect();
            shuffle(&mut links, stream);
            // All are down in the middle: the first half goes to cutting, the second to restoring.
            let step = (ends - begins) / 2 / links.len().max(1) as u64;
            let mut restored: Vec<u64> = (0..links.len() as u64).map(|n| ends - n * step).collect();
            shuffle(&mut restored, stream);
            let cut = (0..).zip(links).zip(restored);
            cut.map(|((n, (a, b)), until)| {
                strike(FaultKind::Partition { between: a.into(), and: b.into() }, begins + n * step, until)
            })
            .collect()
        }
        FaultKind::Flap { between, and, down, up } => {
            let mut strikes = Vec::new();
            let mut at = begins;
            while at < ends && strikes.len() < MAX_FLAPS {
                let until = (at + exponential(stream, down.as_micros())).min(ends);
                let kind = FaultKind::Partition { between: between.clone(), and: and.clone() };
                strikes.push(strike(kind, at, until));
                at = until + exponential(stream, up.as_micros());
            }
            strikes
        }
        kind => vec![strike(kind.clone(), begins, ends)],
    }
}

/// Every host that targets mean, and the devices at the end.
fn each_of(scenario: &Scenario, targets: &Targets) -> Vec<Target> {
    let hosts = targets.hosts(&scenario.topology).into_iter().map(Target::Host);
    hosts.chain(targets.clients().then_some(Target::Clients)).collect()
}

/// Whom targets mean, with those drawn that are to be drawn. `busiest` is the shard with the busiest conversation.
pub(super) fn draw_hosts(scenario: &Scenario, targets: &Targets, stream: &mut Stream, busiest: u32) -> Targets {
    let mut drawn = Vec::new();
    for target in targets.iter() {
        let mut meant = target.hosts(&scenario.topology);
        match target {
            Target::Clients => drawn.push(target),
            Target::Host(_) | Target::All(_) => {}
            Target::OneOf(_) => meant = vec![meant[stream.below(meant.len() as u64) as usize]],
            Target::ShareOf { percent, .. } => {
                shuffle(&mut meant, stream);
                meant.truncate(((meant.len() as f64 * (percent / 100.0)).ceil() as usize).max(1));
            }
            Target::BusiestShard => meant = vec![Role::Messages.host(busiest)],
        }
        drawn.extend(meant.into_iter().map(Target::Host));
    }
    drawn.into()
}

/// An exponential time of this mean, at least a millisecond and at most four times the mean.
fn exponential(stream: &mut Stream, mean_us: u64) -> u64 {
    let draw = -libm::log(1.0 - stream.unit()) * mean_us as f64;
    (draw as u64).clamp(1_000, 4 * mean_us.max(1_000))
}

/// Fisher and Yates.
pub(super) fn shuffle<T>(items: &mut [T], stream: &mut Stream) {
    for last in (1..items.len()).rev() {
        items.swap(last, stream.below(last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_scenarios::{Scenario, Span, parse};
    use std::path::Path;

    fn strikes(fault: &str) -> (Scenario, Vec<(u64, u64)>) {
        let text = format!("[topology]\ngateways = 3\n[phases]\nload = \"40s\"\n[[faults]]\n{fault}\n");
        let scenario = parse(&text, Path::new("x.toml")).expect("a sound scenario");
        let planned = plan(&scenario, 3_000_000, &mut Stream::new(7, "test"));
        let times = planned.iter().map(|s| (s.begins / 1_000, s.ends / 1_000)).collect();
        (scenario, times)
    }

    #[test]
    fn a_rolling_restart_takes_one_host_after_the_other() {
        let (_, times) = strikes(
            "kind = \"rolling-restart\"\ntarget = [\"gateway-*\"]\nat = \"5s\"\nfor = \"2s\"\ngap = \"1s\"",
        );
        assert_eq!(times, [(8_000, 10_000), (11_000, 13_000), (14_000, 16_000)]);
    }

    #[test]
    fn a_swizzle_cuts_every_link_and_restores_them_in_another_order() {
        let (_, times) = strikes(
            "kind = \"swizzle\"\nbetween = [\"gateway-*\"]\nand = [\"messages-*\"]\nat = \"5s\"\nfor = \"12s\"",
        );
        let begins: Vec<u64> = times.iter().map(|(begins, _)| *begins).collect();
        assert_eq!(begins, [8_000, 9_000, 10_000, 11_000, 12_000, 13_000]);
        let mut ends: Vec<u64> = times.iter().map(|(_, ends)| *ends).collect();
        assert!(!ends.is_sorted_by(|a, b| a > b) && !ends.is_sorted(), "{ends:?}");
        ends.sort_unstable();
        assert_eq!(ends, [15_000, 16_000, 17_000, 18_000, 19_000, 20_000]);
    }

    #[test]
    fn what_is_drawn_for_a_compound_fault_is_one_thing_and_a_point_is_each_hosts_own() {
        let target = |fault: &str| {
            let text = format!("[topology]\ngateways = 3\n[phases]\nload = \"40s\"\n[[faults]]\n{fault}\n");
            let scenario = parse(&text, Path::new("x.toml")).expect("a sound scenario");
            let planned = plan(&scenario, 3_000_000, &mut Stream::new(7, "test"));
            let lists =
                planned.iter().map(|s| s.kind.targets().iter().map(|(_, t)| t.to_string()).collect::<Vec<_>>());
            lists.map(|lists| lists.join(" | ")).collect::<Vec<_>>()
        };
        let flaps = target(
            "kind = \"flap\"\nbetween = [\"one of gateway-*\"]\nand = [\"bus-0\"]\ndown = \"500ms\"\nup = \"1s\"\nat = \"5s\"",
        );
        assert!(
            flaps.len() > 5 && flaps.iter().all(|flap| *flap == flaps[0] && !flap.contains("one of")),
            "{flaps:?}"
        );
        let restarts =
            target("kind = \"rolling-restart\"\ntarget = [\"50% of gateway-*\"]\nat = \"5s\"\nfor = \"2s\"");
        assert_eq!(restarts.len(), 2);
        let points =
            target("kind = \"crash\"\ntarget = [\"messages-*\"]\npoint = \"acked\"\nat = \"5s\"\nfor = \"2s\"");
        assert_eq!(points, ["messages-0", "messages-1"]);
    }

    #[test]
    fn a_flapping_link_is_down_now_and_then_within_its_time() {
        let (_, times) = strikes(
            "kind = \"flap\"\nbetween = [\"gateway-*\"]\nand = [\"bus-0\"]\ndown = \"500ms\"\nup = \"1s\"\nat = \"5s\"\nfor = \"20s\"",
        );
        assert!((5..=30).contains(&times.len()), "{times:?}");
        assert!(times.windows(2).all(|pair| pair[0].1 < pair[1].0), "{times:?}");
        assert!(times.iter().all(|(begins, ends)| *begins >= 8_000 && *ends <= 28_000 && begins < ends));
    }

    #[test]
    fn a_drawn_time_lies_within_its_span_and_differs_each_time() {
        let fault = "kind = \"disconnect\"\nshare = 0.5\nat = \"5s\"\nwithin = \"4s\"\nevery = \"8s\"";
        let (scenario, times) = strikes(fault);
        assert_eq!(scenario.faults[0].within, Some(Span::from_secs(4)));
        let places: Vec<u64> = (0..).zip(&times).map(|(n, (begins, _))| begins - 8_000 - 8_000 * n).collect();
        assert!(places.len() >= 4 && places.iter().all(|place| *place <= 4_000), "{places:?}");
        assert!(places.iter().any(|place| *place != places[0]), "{places:?}");
    }
}
