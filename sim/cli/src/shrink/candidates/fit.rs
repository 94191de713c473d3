//! Makes a scenario whole again after a number in it has shrunk.

use squall_scenarios::people::{Conversations, Lengths, Life, Popularity};
use squall_scenarios::{Arrival, Fault, FaultKind, Population, Scenario, Span, Target, Topology, Workload};

/// Adapts what depends on counts and lengths, drops what begins after the end, and forgets what means nothing any more.
pub fn fit(scenario: &mut Scenario) {
    people(scenario);
    workload(scenario);
    let load = scenario.phases.load;
    let tick = scenario.tick.0;
    scenario.faults.retain(|fault| fault.at + tick <= load);
    let others = scenario.population.users.saturating_sub(2);
    for fault in &mut scenario.faults {
        if let FaultKind::Insiders { count, guessing } = &mut fault.kind {
            *count = (*count).min(others).max(1);
            *guessing = (*guessing).min(*count);
        }
    }
    for fault in &mut scenario.faults {
        let room = load - fault.at;
        fault.within = fault.within.map(|within| within.min(room)).filter(|within| !within.is_zero());
    }
    for fault in &mut scenario.faults {
        if let Some(changed) = retargeted(fault, |target| Some(nearest_host(&scenario.topology, target))) {
            *fault = changed;
        }
    }
}

fn people(scenario: &mut Scenario) {
    let load_ends = scenario.phases.ramp + scenario.phases.load;
    let (population, default) = (&mut scenario.population, Population::default());
    let users = population.users;
    for giant in &mut population.giants {
        giant.members = giant.members.min(users).max(2);
    }
    if population.groups > 0 {
        population.group_size_max = population.group_size_max.min(users).max(2);
        population.group_size_min = population.group_size_min.min(population.group_size_max);
    } else {
        population.group_size_min = default.group_size_min;
        population.group_size_max = default.group_size_max;
        population.group_size_exponent = default.group_size_exponent;
    }
    let away = population.away_share > 0.0;
    population.away_until = if away { population.away_until.min(load_ends) } else { default.away_until };
    if !population.direct_lifecycle.contains_key(&Life::Revisited) {
        population.revisit_after = default.revisit_after;
    }
}

fn workload(scenario: &mut Scenario) {
    let load = scenario.phases.load;
    let (population, workload, default) = (&scenario.population, &mut scenario.workload, Workload::default());
    let has_groups = population.groups > 0 || !population.giants.is_empty();
    if !has_groups {
        workload.membership_interval = Span::ZERO;
        workload.group_popularity = Popularity::Uniform;
    }
    if !has_groups || population.direct_conversations_per_user == Conversations::One(0) {
        workload.direct_share = default.direct_share;
    }
    if workload.arrival != Arrival::Bursts {
        (workload.burst_size, workload.burst_gap) = (default.burst_size, default.burst_gap);
    }
    if workload.day_curve.is_empty() {
        workload.day_length = default.day_length;
    }
    if workload.session_length == Lengths::One(Span::ZERO) {
        workload.away_length = default.away_length;
    }
    workload.flash_crowds.retain(|crowd| crowd.at < load);
    for crowd in &mut workload.flash_crowds {
        crowd.to = crowd.to.take().filter(|to| population.giants.iter().any(|giant| giant.name == *to));
    }
}

/// The fault with each target replaced, and left out where there is nothing in its place; `None` where nothing changes.
pub fn retargeted(fault: &Fault, replace: impl Fn(Target) -> Option<Target>) -> Option<Fault> {
    let mut changed = fault.clone();
    for targets in changed.kind.targets_mut() {
        let mut replaced: Vec<Target> = Vec::new();
        for target in targets.iter().filter_map(&replace) {
            if !replaced.contains(&target) {
                replaced.push(target);
            }
        }
        *targets = replaced.into();
    }
    (changed != *fault).then_some(changed)
}

/// The host that takes the place of one that is gone: another of its role. A target that exists, or is no host, stays.
fn nearest_host(topology: &Topology, target: Target) -> Target {
    match target {
        Target::Host(host) if !topology.has(host) => {
            let another = host.index.checked_rem(topology.count(host.role));
            another.map_or(target, |index| Target::Host(host.role.host(index)))
        }
        _ => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_scenarios::parse;
    use std::path::Path;

    #[test]
    fn a_host_that_is_gone_is_replaced_by_another_of_its_role() {
        let source = "[topology]\ngateways = 4\n[[faults]]\nkind = \"partition\"\n\
                      between = [\"gateway-3\", \"gateway-1\"]\nand = [\"clients\", \"bus-0\"]\nat = \"1s\"";
        let mut scenario = parse(source, Path::new("x.toml")).unwrap();
        scenario.topology.gateways = 2;
        fit(&mut scenario);
        let sides = scenario.faults[0].kind.targets();
        assert_eq!([sides[0].1.to_string(), sides[1].1.to_string()], ["gateway-1", "clients, bus-0"]);
    }

    #[test]
    fn what_begins_after_the_load_is_dropped() {
        let source = "[[faults]]\nkind = \"disconnect\"\nshare = 0.5\nat = \"9s\"\n\
                      [[workload.flash_crowds]]\nat = \"5s\"\nfor = \"1s\"\ntimes = 2\n";
        let mut scenario = parse(source, Path::new("x.toml")).unwrap();
        scenario.phases.load = Span::from_secs(5);
        fit(&mut scenario);
        assert!(scenario.faults.is_empty() && scenario.workload.flash_crowds.is_empty());
    }
}
