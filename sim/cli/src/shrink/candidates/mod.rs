//! Smaller scenarios that may still show what a larger one showed.
//!
//! **Invariant:** a candidate can run, differs from what it was made from, and is not larger in clients, hosts, faults, load or
//! sends. Checked by the tests below for the whole library.

mod candidate;
mod faults;
mod fit;
mod hosts;
mod people;
mod phases;

pub use candidate::{Candidate, Failure};
use squall_scenarios::Scenario;

/// One way to make a scenario smaller: candidates, the smallest first.
pub type Edit = fn(&Scenario, &Failure<'_>) -> Vec<Candidate>;

/// Every way, in the order in which they pay: what makes runs short comes first, what only makes files short last.
pub const EDITS: &[Edit] = &[
    faults::fewer,
    people::fewer_users,
    people::fewer_devices,
    phases::shorter_quiet,
    phases::shorter_load,
    people::no_crowds,
    people::no_readers,
    people::fewer_groups,
    people::fewer_conversations,
    people::fewer_sends,
    hosts::nobody_watches,
    hosts::fewer,
    faults::narrower,
    faults::less_often,
    faults::shorter,
    phases::sooner,
    phases::shorter_ramp,
    people::steadier,
    people::plainer_messages,
    hosts::plainer_network,
    phases::fewer_service_levels,
    phases::free_work,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;
    use squall_scenarios::{files_in, load, parse};
    use std::path::Path;

    /// The files of the library, large and small, and what some seeds draw.
    fn scenarios() -> Vec<Scenario> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
        let mut files = files_in(&folder).unwrap();
        files.extend(files_in(&folder.join("large")).unwrap());
        let drawn = (0..60).map(|seed| Source::Swarm.load(Some(seed)).unwrap().0);
        files.iter().map(|file| load(file).unwrap()).chain(drawn).collect()
    }

    fn sends(scenario: &Scenario) -> f64 {
        let interval = scenario.workload.send_interval.as_secs_f64();
        f64::from(scenario.population.users) * scenario.phases.load.as_secs_f64() / interval
    }

    #[test]
    fn a_candidate_can_run_and_is_never_larger() {
        for from in scenarios() {
            for property in ["no-duplicates", "no-loss", "service-levels"] {
                let failure = Failure { property, at: from.phases.ramp + from.phases.load / 2 };
                let candidates: Vec<_> = EDITS.iter().flat_map(|edit| edit(&from, &failure)).collect();
                assert!(candidates.len() > 10, "{}", from.name);
                for Candidate { what, scenario, .. } in candidates {
                    let what = format!("{}: {what}", from.name);
                    assert_ne!(scenario, from, "{what}");
                    assert_eq!(parse(&scenario.to_toml(), Path::new("x.toml")).as_ref(), Ok(&scenario), "{what}");
                    assert!(scenario.population.devices() <= from.population.devices(), "{what}");
                    assert!(scenario.topology.hosts() <= from.topology.hosts(), "{what}");
                    assert!(scenario.faults.len() <= from.faults.len(), "{what}");
                    assert!(scenario.phases.load <= from.phases.load, "{what}");
                    assert!(scenario.phases.ramp <= from.phases.ramp, "{what}");
                    assert!(sends(&scenario) <= sends(&from) * 1.000_001, "{what}");
                    assert!(scenario.phases.quiet() <= from.phases.quiet(), "{what}");
                }
            }
        }
    }

    /// Taking the first candidate again and again comes to an end, and to something small.
    #[test]
    fn a_failure_that_is_always_there_ends_with_next_to_nothing() {
        for mut scenario in scenarios() {
            let mut steps = 0;
            loop {
                let failure = Failure { property: "no-duplicates", at: scenario.phases.ramp };
                let next = EDITS.iter().find_map(|edit| edit(&scenario, &failure).into_iter().next());
                let Some(next) = next else { break };
                scenario = next.scenario;
                steps += 1;
                assert!(steps < 500, "{} does not come to an end: {}", scenario.name, next.what);
            }
            assert_eq!(scenario.population.devices(), 2, "{}", scenario.name);
            assert_eq!(scenario.topology.hosts(), 4, "{}", scenario.name);
            assert!(scenario.faults.is_empty(), "{}", scenario.name);
            assert!(scenario.to_short_toml().lines().count() < 28, "{}", scenario.to_short_toml());
        }
    }
}
