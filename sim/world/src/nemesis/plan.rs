//! When each fault of a scenario strikes: its occurrences, with drawn times drawn, and compound faults taken apart.

use super::strike::Strike;
use super::targets::{draw_hosts, each_of, named};
use squall_generators::rng::{Stream, shuffle};
use squall_scenarios::{Fault, FaultKind, Occurrence, Scenario, Target};

/// Strikes that one flapping link may come to: more is a slip of a unit.
const MAX_FLAPS: usize = 10_000;

/// Every strike of a scenario, in the order of its faults. `load` is when the load phase begins, in µs of the run.
///
/// Each occurrence of a fault, and each part of a compound one, draws from a stream of its own, keyed by the fault's name and
/// the number of the occurrence: a fault that is left out changes nothing that is drawn for another.
pub(super) fn plan(scenario: &Scenario, load: u64, seed: u64) -> Vec<Strike> {
    let heal = load + scenario.phases.load.as_micros();
    let mut strikes = Vec::new();
    for fault in &scenario.faults {
        for (number, Occurrence { begins, ends }) in
            fault.occurrences(scenario.phases.load).into_iter().enumerate()
        {
            let mut stream = Stream::new(seed, &format!("fault {} {number}", fault.name));
            let later = fault.within.map_or(0, |within| stream.below(within.as_micros() + 1));
            let begins = (load + begins.as_micros() + later).min(heal);
            let ends = (load + ends.as_micros() + later).min(heal);
            if begins < heal {
                let kind = drawn_for_all_parts(scenario, fault, &mut stream);
                let parts = take_apart(scenario, &kind, (begins, ends), heal, &mut stream);
                let first = strikes.len();
                strikes.extend((0..).zip(parts).map(|(part, (kind, begins, ends))| {
                    let own = Stream::new(seed, &format!("fault {} {number} part {part}", fault.name));
                    Strike::new(fault, kind, begins, ends, own)
                }));
                if let Some(first) = strikes.get_mut(first)
                    && kind.targets().iter().all(|(_, targets)| !targets.are_drawn())
                {
                    // Also those for whose part no time is left.
                    first.must_strike = named(&kind, scenario).into_iter().map(|(name, _)| name).collect();
                }
            }
        }
    }
    strikes
}

/// What a fault does, with the hosts drawn for a compound one: they are drawn once, for all its parts.
fn drawn_for_all_parts(scenario: &Scenario, fault: &Fault, stream: &mut Stream) -> FaultKind {
    let mut kind = fault.kind.clone();
    if let FaultKind::RollingRestart { .. } | FaultKind::Swizzle { .. } | FaultKind::Flap { .. } = kind {
        for targets in kind.targets_mut() {
            // Nobody is the busiest shard before the run; a scenario that asks is refused.
            *targets = draw_hosts(scenario, targets, stream, 0);
        }
    }
    kind
}

fn take_apart(
    scenario: &Scenario,
    kind: &FaultKind,
    (begins, ends): (u64, u64),
    heal: u64,
    stream: &mut Stream,
) -> Vec<(FaultKind, u64, u64)> {
    let strike = |kind, begins, ends| (kind, begins, ends);
    match kind {
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
        FaultKind::RollingRestart { target, gap, graceful, window } => {
            let down = ends - begins;
            let step = down + gap.as_micros();
            let hosts = (0..).zip(target.hosts(&scenario.topology));
            let times = hosts.map(|(n, host)| (host, begins + n * step)).take_while(|(_, at)| *at < heal);
            times
                .map(|(host, at)| {
                    let kind = match graceful {
                        true => FaultKind::Stop { target: host.into(), window: *window },
                        false => FaultKind::Crash { target: host.into(), point: None },
                    };
                    strike(kind, at, (at + down).min(heal))
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

/// An exponential time of this mean, at least a millisecond and at most four times the mean.
fn exponential(stream: &mut Stream, mean_us: u64) -> u64 {
    let draw = -libm::log(1.0 - stream.unit()) * mean_us as f64;
    (draw as u64).clamp(1_000, 4 * mean_us.max(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_scenarios::{Scenario, Span, parse};
    use std::path::Path;

    fn strikes(fault: &str) -> (Scenario, Vec<(u64, u64)>) {
        let text = format!("[topology]\ngateways = 3\n[phases]\nload = \"40s\"\n[[faults]]\n{fault}\n");
        let scenario = parse(&text, Path::new("x.toml")).expect("a sound scenario");
        let planned = plan(&scenario, 3_000_000, 7);
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
            let planned = plan(&scenario, 3_000_000, 7);
            planned
                .iter()
                .map(|s| s.kind.targets().iter().map(|(_, t)| t.to_string()).collect::<Vec<_>>().join(" | "))
                .collect::<Vec<_>>()
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

    #[test]
    fn a_fault_that_is_left_out_changes_nothing_that_is_drawn_for_another() {
        let first =
            "[[faults]]\nname = \"first\"\nkind = \"disconnect\"\nshare = 0.5\nat = \"1s\"\nwithin = \"9s\"\n";
        let second = "[[faults]]\nname = \"second\"\nkind = \"flap\"\nbetween = [\"one of gateway-*\"]\nand = [\"bus-0\"]\n\
             down = \"1s\"\nup = \"2s\"\nat = \"5s\"\nwithin = \"4s\"\nfor = \"20s\"\n";
        let drawn = |faults: &str| {
            let text = format!("[topology]\ngateways = 8\n[phases]\nload = \"40s\"\n{faults}");
            let scenario = parse(&text, Path::new("x.toml")).expect("a sound scenario");
            let strikes = plan(&scenario, 3_000_000, 7).into_iter().filter(|s| s.name == "second");
            let drawn = strikes.map(|mut s| (s.begins, s.ends, format!("{:?}", s.kind), s.stream.next_u64()));
            drawn.collect::<Vec<_>>()
        };
        assert!(drawn(second).len() > 3);
        assert_eq!(drawn(&format!("{first}{second}")), drawn(second));
    }
}
