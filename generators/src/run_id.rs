//! What tells a run's people, devices and messages from those of every other run against the same server.
//!
//! A server that lives on remembers earlier runs. So a run against one names everybody anew: who people are, how their devices are
//! numbered and what their messages are called depends on its id, and what they do depends on the seed alone.

use crate::rng::key;

/// The id of a run. That of a simulation, whose server has no past, is 0 and changes no name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunId(pub u64);

impl RunId {
    /// What to mix into names of this sort; 0 for a simulation.
    pub(crate) fn salt(self, of: &str) -> u64 {
        if self.0 == 0 { 0 } else { key(self.0, of) }
    }

    /// Added to every number of a device: 31 bits above those that a population needs.
    pub(crate) fn first_device(self) -> u64 {
        self.salt("devices") >> 33 << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Population;
    use crate::workload::Workload;
    use squall_scenarios::Scenario;
    use std::collections::BTreeSet;

    #[test]
    fn runs_share_nobody_and_do_the_same() {
        let scenario = Scenario::default();
        let of = |run| {
            let population = Population::new(&scenario.population, 7).of_run(RunId(run));
            let workload = Workload::new(&scenario, 7).of_run(RunId(run));
            let names = (0..20).flat_map(|n| {
                let message = workload.message_id(n, 3).0;
                [population.user(n).0.into(), population.device(n).0.into(), message]
            });
            let names: BTreeSet<u128> = names.collect();
            assert_eq!(names.len(), 60);
            assert!((0..20).all(|n| population.index_of(population.device(n)) == Some(n)));
            assert_eq!(population.index_of(squall_protocol::DeviceId(20)), (run == 0).then_some(19));
            let writes = (0..50).map(|n| workload.next_send(3, n, 1_000)).collect::<Vec<_>>();
            (names, writes)
        };
        let runs = [0, 1, 2].map(of);
        assert!(runs.iter().all(|(_, writes)| *writes == runs[0].1));
        assert!(runs[0].0.is_disjoint(&runs[1].0) && runs[1].0.is_disjoint(&runs[2].0));
    }
}
