//! The swarm: a scenario for every seed, with a random subset of all faults and options switched on.
//!
//! A campaign in which each run has a few things of many finds what a run with everything hides: faults mask each other, and
//! options leave no room for others (swarm testing: Groce et al., ISSTA 2012). Everything is drawn with proptest strategies.
//!
//! **Invariant:** what is drawn is a sound scenario whose faults can hit something; it depends on the seed and the build only.

mod draws;
mod faults;
mod pairs;
mod people;
mod reach;

use draws::Draws;
use people::Mood;
use squall_protocol::Role;
use squall_scenarios::{FaultKind, Profile, Scenario, Span, Target, Tokens, Topology};

/// The quiet at the end where every connection is known to be dead or alive soon after the heal.
const QUIET: Span = Span::from_secs(55);

/// The scenario of a seed.
pub fn draw(seed: u64) -> Scenario {
    let mut draws = Draws::new(seed);
    let mut scenario = Scenario {
        name: format!("swarm-{seed}"),
        description: "Drawn by the standard swarm.".to_owned(),
        seed: Some(seed),
        ..Scenario::default()
    };
    let mood = people::draw(&mut draws, &mut scenario);
    people::draw_rights(&mut Draws::rights(seed), &mut scenario);
    scenario.faults = faults::draw(&mut draws, &scenario, mood);
    // A connection that nobody knows to be dead is noticed by silence, which takes the default bound.
    let unnoticed = scenario
        .faults
        .iter()
        .any(|fault| matches!(fault.kind, FaultKind::HalfOpen { .. } | FaultKind::SlowReader { .. }));
    scenario.phases.liveness_bound = (!unnoticed).then_some(QUIET);
    tokens(&mut draws, &mut scenario);
    typing(&mut Draws::typing(seed), &mut scenario);
    receipts(&mut Draws::receipts(seed), &mut scenario);
    presence(&mut Draws::presence(seed), &mut scenario);
    elsewhere(&mut Draws::elsewhere(seed), &mut scenario, mood);
    scenario
}

/// People who say that they write, some of them on all their devices and some far too often.
fn typing(draws: &mut Draws, scenario: &mut Scenario) {
    if !draws.chance(0.4) {
        return;
    }
    let typing = &mut scenario.typing;
    typing.before = draws.share(20, 100);
    typing.lasts = draws.ms(1_000, 12_000);
    typing.every = draws.pick(&[Span::from_millis(200), Span::from_secs(1), Span::from_secs(3)]);
    typing.given_up = draws.pick(&[0.0, 0.3]);
    typing.everywhere = draws.pick(&[0.0, 0.5, 1.0]);
}

/// People who say what they have read, in a third of all seeds.
fn receipts(draws: &mut Draws, scenario: &mut Scenario) {
    if draws.chance(0.35) {
        scenario.receipts.readers = if draws.chance(0.5) { 0.5 } else { 1.0 };
        scenario.receipts.within = draws.ms(500, 10_000);
        if draws.chance(0.3) {
            // In the midst of the groups that there are: some are told by name, and others how many.
            scenario.limits.receipts_named_up_to = draws.of(2..=scenario.population.users / 2 + 2);
        }
    }
}

/// People who watch each other, and a presence host in trouble: from a stream of its own, so that nothing else is drawn anew for it.
fn presence(draws: &mut Draws, scenario: &mut Scenario) {
    if !draws.chance(0.4) {
        return;
    }
    scenario.topology.presences = draws.of(1..=3u32);
    scenario.presence.watches = draws.of(1..=5u32);
    scenario.presence.invisible = draws.pick(&[0.0, 0.1, 0.4]);
    scenario.presence.grace = draws.ms(2_000, 10_000);
    if draws.chance(0.7) {
        scenario.workload.heartbeat_interval = Span::from_secs(5);
        scenario.presence.ttl = draws.ms(16_000, 25_000);
    }
    if draws.chance(0.6) {
        let (at, lasts) = (draws.ms(5_000, 14_000), draws.ms(1_000, 6_000));
        let hosts = Target::All(Role::Presence);
        let kind = match draws.of(0..4u32) {
            0 => FaultKind::Pause { target: hosts.into() },
            1 => FaultKind::Partition { between: Target::All(Role::Gateway).into(), and: hosts.into() },
            _ => FaultKind::Crash { target: hosts.into(), point: None },
        };
        scenario.faults.push(faults::fault(at, Some(lasts), kind));
    }
}

/// What makes room for races and for what is large, from a stream of its own, so that the rest is drawn as it was.
fn elsewhere(draws: &mut Draws, scenario: &mut Scenario, mood: Mood) {
    if draws.chance(0.25) {
        // Gateways and shards in two regions: between asking and the answer there is time for something to happen.
        scenario.network.data_centre = Profile::CrossRegion;
    }
    if mood == Mood::Crowd && draws.chance(0.5) {
        // A channel whose last entries do not all fit into a page.
        scenario.limits.channel_above = draws.of(2..=scenario.population.users - 1);
    }
    if scenario.tokens != Tokens::default() && draws.chance(0.4) {
        (scenario.tokens.away_from, scenario.tokens.away_for) = (draws.ms(3_000, 12_000), draws.ms(8_000, 25_000));
    }
}

/// Tokens that expire while the storm goes on, last of all so that nothing else is drawn anew for it; and then, at times, a gateway whose
/// clock is so far ahead that it takes nobody's.
fn tokens(draws: &mut Draws, scenario: &mut Scenario) {
    if !draws.chance(0.35) {
        return;
    }
    scenario.tokens.lifetime = Span::from_secs(draws.of(8..=40u64));
    if draws.chance(0.4) {
        let (at, lasts) = (draws.ms(6_000, 14_000), draws.ms(4_000, 12_000));
        let target = Target::OneOf(Role::Gateway).into();
        let (ahead, behind) = (draws.ms(60_000, 200_000), Span::ZERO);
        let kind = FaultKind::Clock { target, ahead, behind, drift_ppm: 0.0 };
        scenario.faults.push(faults::fault(at, Some(lasts), kind));
    }
}

/// What was drawn, in a line.
pub fn in_words(scenario: &Scenario) -> String {
    let population = &scenario.population;
    let hosts = scenario.topology.roles().map(|(role, count)| format!("{} {count}", Topology::key(role)));
    let faults: Vec<&str> = scenario.faults.iter().map(|fault| fault.kind.name()).collect();
    format!(
        "{}; users {}, devices {}, groups {}; load {}; {}",
        hosts.collect::<Vec<_>>().join(", "),
        population.users,
        population.devices(),
        population.groups,
        scenario.phases.load,
        faults.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::Role;
    use squall_scenarios::{KindName, parse};
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_seed_draws_a_sound_scenario_and_all_kinds_of_faults_come_up() {
        let mut kinds = BTreeSet::new();
        for seed in 0..600 {
            let scenario = draw(seed);
            let parsed = parse(&scenario.to_toml(), Path::new("swarm.toml"));
            let parsed = parsed.unwrap_or_else(|problems| panic!("seed {seed}: {}", problems[0]));
            assert!(!parsed.faults.is_empty(), "seed {seed} has no faults");
            assert_eq!(parsed.population, scenario.population, "seed {seed}");
            kinds.extend(scenario.faults.iter().map(|fault| fault.kind.kind_name()));
        }
        let expected = KindName::ALL.iter().copied().filter(|kind| !faults::LEFT_OUT.contains(kind));
        assert_eq!(kinds, expected.collect(), "drawn, and to be drawn");
    }

    #[test]
    fn every_role_is_struck_and_is_there_more_than_once() {
        let (mut struck, mut several) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..600 {
            let scenario = draw(seed);
            let topology = &scenario.topology;
            for fault in &scenario.faults {
                struck.extend(
                    fault.kind.targets().iter().flat_map(|(_, t)| t.hosts(topology)).map(|host| host.role),
                );
            }
            several.extend(topology.roles().filter(|(_, count)| *count > 1).map(|(role, _)| role));
        }
        let all = BTreeSet::from_iter(Role::ALL.iter().copied());
        assert_eq!(struck, all, "roles that a fault strikes");
        assert_eq!(several, all, "roles with several hosts");
    }

    #[test]
    fn a_seed_draws_the_same_twice_and_others_draw_something_else() {
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7).faults, draw(8).faults);
    }
}
