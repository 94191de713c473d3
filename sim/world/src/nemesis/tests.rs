//! The end of one fault never undoes another: for every pair of kinds, what is in force once the first has ended is what
//! the second alone would have put in force. And a fault strikes all that it names, or its record says whom it missed.

use crate::run::{RunOptions, World, run};
use squall_generators::rng::key;
use squall_runtime::interpose::{WorldContext, enter_world};
use squall_scenarios::{FaultKind, KindName, Scenario, parse};
use std::collections::BTreeMap;
use std::path::Path;

/// Every kind of fault, some in two forms, as a file says it, on the same hosts and links.
const FAULTS: &[(&str, &str)] = &[
    ("crash", "target = [\"messages-0\", \"gateway-0\"]"),
    ("crash", "target = [\"messages-0\"]\npoint = \"committed\""),
    ("rolling-restart", "target = [\"messages-0\"]"),
    ("power-loss", "target = [\"messages-0\", \"gateway-0\"]"),
    ("power-loss", "target = [\"messages-0\"]\npoint = \"acked\""),
    ("power-loss", "target = [\"messages-0\"]\npoint = \"mid-commit\""),
    ("partition", "between = [\"gateway-0\"]\nand = [\"messages-0\"]"),
    ("partition-one-way", "from = [\"gateway-0\"]\nto = [\"messages-0\"]"),
    ("swizzle", "between = [\"gateway-*\"]\nand = [\"messages-0\"]"),
    ("flap", "between = [\"gateway-0\"]\nand = [\"messages-0\"]\ndown = \"1h\"\nup = \"1h\""),
    ("hold", "between = [\"gateway-0\"]\nand = [\"messages-0\"]"),
    ("latency", "between = [\"gateway-0\"]\nand = [\"messages-0\"]\nadd = \"1s\""),
    ("slow-link", "between = [\"gateway-0\"]\nand = [\"messages-0\"]\nbytes_per_s = 100"),
    ("loss", "between = [\"gateway-0\"]\nand = [\"messages-0\"]\nshare = 0.5"),
    ("refuse", "from = [\"clients\"]\nto = [\"gateway-0\"]"),
    ("pause", "target = [\"messages-0\", \"gateway-0\"]"),
    ("clock", "target = [\"messages-0\", \"gateway-0\"]\nahead = \"5s\"\ndrift_ppm = 100"),
    ("disk-errors", "target = [\"messages-0\"]\noperation = \"sync\"\nshare = 0.5"),
    ("disk-full", "target = [\"messages-0\"]"),
    ("slow-disk", "target = [\"messages-0\"]\nadd = \"1s\""),
    ("stalled-disk", "target = [\"messages-0\"]"),
    ("drop-sent-acks", "share = 0.5"),
    ("drop-device-acks", "share = 0.5"),
    ("duplicate-acks", "share = 0.5"),
    ("delay-acks", "share = 0.5\nby = \"1s\""),
    ("duplicate-sends", "share = 0.5"),
    ("resend-everything", "share = 0.5"),
    ("reinstall", "share = 0.5"),
    ("liars", "count = 3"),
    ("insiders", "count = 3"),
    ("slow-reader", "share = 0.5"),
    ("profile-change", "share = 0.5\nto = \"3g\""),
    ("carrier-gone", "carrier = \"wifi\""),
    ("disconnect", "share = 0.5"),
    ("half-open", "share = 0.5"),
];

/// The kind that is in no pair: it asks those to end who run as it begins, so what it holds follows from what came before. The scenarios
/// with graceful restarts show what it does.
const ASKS_WHO_RUNS: &str = "stop";

/// The load begins here, µs.
const LOAD: u64 = 1_000_000;

/// Whether a kind is over at once and leaves nothing in force.
fn is_instant(kind: &str) -> bool {
    KindName::ALL.iter().any(|name| name.name() == kind && name.is_instant())
}

fn said((kind, rest): (&str, &str), at: u64) -> String {
    let lasts = if is_instant(kind) { "" } else { "for = \"4s\"\n" };
    format!("[[faults]]\nkind = \"{kind}\"\nat = \"{at}s\"\n{lasts}{rest}\n")
}

/// What is in force 5.5 s into the load of a scenario with these faults.
fn in_force(faults: &str) -> Vec<String> {
    let text = format!("[population]\nusers = 8\n[phases]\nramp = \"1s\"\nload = \"20s\"\n{faults}");
    let scenario: Scenario = parse(&text, Path::new("pair.toml")).unwrap_or_else(|p| panic!("{}\n{text}", p[0]));
    let context = WorldContext::new(key(0, "world"));
    let _guard = enter_world(&context);
    let mut world = World::build(&scenario, RunOptions::default()).expect("the world builds");
    for tick in 0..=55 {
        world.now = LOAD + tick * 100_000;
        world.let_nemesis_act();
    }
    let mut all = world.network.active_faults();
    all.extend(world.armed.in_force());
    all.extend(world.client_faults.lock().in_force());
    all.push(format!("liars {}", world.liars.active()));
    all.push(format!("insiders {}", world.insiders.active()));
    for (machine, group) in world.machines.iter().zip(&world.groups) {
        all.push(format!("{} up {}", machine.name, machine.power == crate::hosts::machine::Power::Up));
        all.push(format!("{} paused {}", machine.name, machine.paused > 0));
        all.push(format!("{} skew {}", machine.name, group.clock_skew()));
        let cuts = machine.probe.disk.iter().map(|disk| disk.armed_cuts()).sum::<usize>();
        all.push(format!("{} power cuts in the disk {cuts}", machine.name));
        let hits = machine.probe.disk.iter().flat_map(|disk| disk.fault_hits());
        all.extend(hits.filter(|hits| hits.active).map(|hits| format!("{} {:?}", machine.name, hits.fault)));
    }
    all.sort();
    all
}

#[test]
fn the_end_of_a_fault_undoes_no_other_for_every_pair_of_kinds() {
    let kinds: BTreeMap<&str, ()> = FAULTS.iter().map(|(kind, _)| (*kind, ())).collect();
    let is_here = |name: &&&str| kinds.contains_key(**name) || **name == ASKS_WHO_RUNS;
    assert_eq!(FaultKind::NAMES.iter().find(|name| !is_here(name)), None, "a kind is missing here");
    let nothing = in_force("");
    for second in FAULTS {
        // The second is written first, so that what it draws before the run is the same with and without the other.
        let alone = in_force(&said(*second, 3));
        assert!(is_instant(second.0) || alone != nothing, "{second:?} has no effect to be undone");
        for first in FAULTS {
            let both = in_force(&format!("{}{}", said(*second, 3), said(*first, 1)));
            assert_eq!(both, alone, "after {first:?} has ended, {second:?} is not what it was");
        }
    }
}

/// What a run with these faults says of each: whom it missed, and why the run is inconclusive because of it.
fn missed(faults: &str) -> Vec<(Vec<String>, Option<String>)> {
    let text = format!(
        "[topology]\ngateways = 4\nmessages = 3\n[population]\nusers = 12\n[phases]\nramp = \"1s\"\nload = \"12s\"\n\
         liveness_bound = \"5s\"\n{faults}"
    );
    let scenario: Scenario = parse(&text, Path::new("missed.toml")).unwrap_or_else(|p| panic!("{}\n{text}", p[0]));
    let record = std::thread::spawn(move || run(&scenario, RunOptions::default()).expect("a run that ends"));
    let record = record.join().expect("a run does not panic");
    let because = |name: &str| {
        let prefix = format!("fault {name} ");
        record.inconclusive_because.iter().find(|because| because.starts_with(&prefix)).cloned()
    };
    record.faults.iter().map(|fault| (fault.missed.clone(), because(&fault.name))).collect()
}

#[test]
fn a_fault_that_does_not_strike_all_that_it_names_says_whom_it_missed() {
    let restart = |at: &str| {
        format!(
            "[[faults]]\nkind = \"rolling-restart\"\ntarget = [\"gateway-*\"]\nat = \"{at}\"\nfor = \"2s\"\ngap = \"500ms\"\n"
        )
    };
    assert_eq!(missed(&restart("1s")), [(vec![], None)]);
    let late = "fault rolling-restart-1 missed gateway-2, gateway-3: the load was over before their turn; give it more time, or \
                begin earlier";
    assert_eq!(missed(&restart("8s")), [(vec!["gateway-2".into(), "gateway-3".into()], Some(late.into()))]);
    let crash = |target: &str, rest: &str| format!("[[faults]]\nkind = \"crash\"\ntarget = {target}\n{rest}\n");
    // Already down, and not longer because of the second.
    let twice = crash("[\"gateway-0\"]", "at = \"2s\"\nfor = \"8s\"")
        + &crash("[\"gateway-0\", \"gateway-1\"]", "at = \"4s\"\nfor = \"2s\"");
    let one = "fault crash-2 missed gateway-0";
    assert_eq!(missed(&twice), [(vec![], None), (vec!["gateway-0".into()], Some(one.into()))]);
    // Nobody asks a shard without a restart to recover.
    let point = crash("[\"messages-0\"]", "at = \"3s\"\nfor = \"1s\"")
        + &crash("[\"messages-*\"]", "point = \"recovering\"\nat = \"2s\"\nfor = \"5s\"");
    let (missed_by_point, because) = missed(&point).remove(1);
    assert_eq!(missed_by_point, ["messages-1", "messages-2"]);
    assert!(because.is_some_and(|because| because.ends_with("its point was not passed there while it waited")));
    // Drawn ones count when they are drawn; a link's sides each for itself.
    let clock =
        "[[faults]]\nkind = \"clock\"\ntarget = [\"gateway-*\"]\nahead = \"2s\"\nat = \"1s\"\nfor = \"5s\"\n";
    assert_eq!(missed(clock), [(vec![], None)]);
    // Both strike every ack, and each has its way.
    let acks = |kind: &str, rest: &str| {
        format!("[[faults]]\nkind = \"{kind}\"\nshare = 1.0\nat = \"1s\"\nfor = \"5s\"\n{rest}")
    };
    let both = acks("duplicate-acks", "") + &acks("delay-acks", "by = \"1s\"\n");
    assert_eq!(missed(&both), [(vec![], None), (vec![], None)]);
    let drawn = "[[faults]]\nkind = \"pause\"\ntarget = [\"one of gateway-*\"]\nat = \"2s\"\nfor = \"1s\"\n";
    assert_eq!(missed(drawn), [(vec![], None)]);
    let idle = "[[faults]]\nkind = \"partition\"\nbetween = [\"gateway-*\", \"registry-0\"]\nand = [\"bus-0\"]\nat = \"2s\"\nfor = \"9s\"\n";
    assert_eq!(missed(idle)[0].0, ["between registry-0"]);
}

#[test]
fn insiders_make_every_attack_and_harm_nobody_but_themselves() {
    let text = "[population]\nusers = 12\ngroups = 2\ngroup_size_max = 6\n[workload]\nsend_interval = \"2s\"\n\
                [phases]\nramp = \"1s\"\nload = \"40s\"\nliveness_bound = \"45s\"\n\
                [[faults]]\nkind = \"insiders\"\ncount = 2\nguessing = 1\nat = \"1s\"\n";
    let scenario: Scenario =
        parse(text, Path::new("insiders.toml")).unwrap_or_else(|p| panic!("{}\n{text}", p[0]));
    let record = std::thread::spawn(move || run(&scenario, RunOptions::default()).expect("a run that ends"));
    let record = record.join().expect("a run does not panic");
    assert_eq!(record.faults[0].never, [""; 0]);
    assert!(record.faults[0].affected["floods"] > 5, "{:?}", record.faults[0].affected);
    assert_eq!(record.verdict, squall_reports::Verdict::Pass, "{:?}", record.checks);
}
