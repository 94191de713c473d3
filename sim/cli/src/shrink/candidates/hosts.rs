//! Fewer hosts, and a plainer network between them.

use super::candidate::{Candidate, Failure, below, candidate};
use super::fit::retargeted;
use squall_scenarios::{Backbone, Network, Presence, Profile, Scenario, Target, Topology};

/// One host of a role, or fewer of them. Faults at hosts that are gone strike another one, or are dropped with them.
pub fn fewer(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (role, count) in from.topology.roles() {
        for number in below(count, 1) {
            let what = format!("{} {number}", Topology::key(role));
            let moved = candidate(from, what.clone(), |scenario| *scenario.topology.count_mut(role) = number);
            let dropped = candidate(from, format!("{what}, without the faults of the others"), |scenario| {
                *scenario.topology.count_mut(role) = number;
                drop_missing_targets(scenario);
            });
            let same = matches!((&moved, &dropped), (Some(a), Some(b)) if a.scenario == b.scenario);
            candidates.extend(moved);
            candidates.extend(dropped.filter(|_| !same));
        }
    }
    candidates
}

/// Nobody watches, or everybody watches less, and whoever is away is so by default.
pub fn nobody_watches(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let without = candidate(from, "nobody watches", |scenario| {
        scenario.presence = Presence::default();
        scenario.topology.presences = 0;
        drop_missing_targets(scenario);
    });
    let fewer = below(from.presence.watches, 1).into_iter().filter_map(|watches| {
        candidate(from, format!("watches {watches}"), |scenario| scenario.presence.watches = watches)
    });
    let seen = candidate(from, "nobody hides", |scenario| scenario.presence.invisible = 0.0);
    without.into_iter().chain(fewer).chain(seen).collect()
}

/// Leaves out targets that do not exist, and faults that have none left on a side.
fn drop_missing_targets(scenario: &mut Scenario) {
    let exists = |target: Target| target.exists(&scenario.topology).then_some(target);
    for fault in &mut scenario.faults {
        if let Some(narrow) = retargeted(fault, exists) {
            *fault = narrow;
        }
    }
    scenario.faults.retain(|fault| fault.kind.targets().iter().all(|(_, targets)| !targets.is_empty()));
}

/// One kind of last mile, and everything between hosts as it is by default.
pub fn plainer_network(from: &Scenario, _: &Failure<'_>) -> Vec<Candidate> {
    let present = from.network.last_mile.keys().copied().filter(|profile| *profile != Profile::Wifi);
    let profiles = [Profile::Wifi].into_iter().chain(present);
    let one = profiles.filter_map(|profile| {
        candidate(from, format!("last mile {profile:?}"), |scenario| {
            scenario.network.last_mile = [(profile, 1.0)].into();
        })
    });
    let default = [
        candidate(from, "hosts in one rack", |scenario| {
            scenario.network.data_centre = Network::default().data_centre;
        }),
        candidate(from, "backbone simulated", |scenario| scenario.network.backbone = Backbone::Simulated),
        candidate(from, "commit_latency as by default", |scenario| {
            scenario.topology.commit_latency = Topology::default().commit_latency;
        }),
    ];
    one.chain(default.into_iter().flatten()).collect()
}
