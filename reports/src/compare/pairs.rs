//! Which run is compared with which: those of one scenario and seed. Where each side has one scenario only, the seed alone decides.

use crate::folder::{Found, differs};
use crate::record::RunRecord;
use std::collections::{BTreeMap, BTreeSet};

/// Runs on one side.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// As the user named it.
    pub name: String,
    pub runs: Vec<Found>,
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    #[error(
        "no run of {a} has the scenario and seed of a run of {b}: {a} has {has_a}, and {b} has {has_b}; make both with the same seeds"
    )]
    NoPairs { a: String, has_a: String, b: String, has_b: String },
    #[error(
        "every run of {name} was interrupted, and what they measured is not comparable; make them again to their end"
    )]
    AllInterrupted { name: String },
}

type Key = (String, u64);

/// Runs side by side.
pub struct Pairs<'s> {
    /// One for each scenario and seed: a run that is made again is the same run, and no second witness.
    pub different: Vec<(&'s Found, &'s Found)>,
    /// With those that were made again, in the order of their start: for what depends on the machine.
    pub all: Vec<(&'s Found, &'s Found)>,
    pub notes: Vec<String>,
}

/// Pairs the runs of two sides.
///
/// # Errors
/// Nothing is on both.
pub fn pair<'s>(a: &'s Side, b: &'s Side) -> Result<Pairs<'s>, PairError> {
    let mut notes = Vec::new();
    let (whole_a, whole_b) = (whole(a, &mut notes)?, whole(b, &mut notes)?);
    let scenarios = |runs: &[&Found]| runs.iter().map(|run| run.record.scenario.clone()).collect::<BTreeSet<_>>();
    let (of_a, of_b) = (scenarios(&whole_a), scenarios(&whole_b));
    let seed_alone = of_a.len() == 1 && of_b.len() == 1 && of_a != of_b;
    if let (true, Some(a), Some(b)) = (seed_alone, of_a.first(), of_b.first()) {
        notes.push(format!("A runs {a} and B runs {b}: what is compared is two scenarios"));
    }
    let by_key = |runs: &[&'s Found]| {
        let mut by_key: BTreeMap<Key, Vec<&'s Found>> = BTreeMap::new();
        for run in runs {
            let scenario = if seed_alone { String::new() } else { run.record.scenario.clone() };
            by_key.entry((scenario, run.record.seed)).or_default().push(run);
        }
        by_key.values_mut().for_each(|runs| runs.sort_by_key(|run| started(&run.record)));
        by_key
    };
    let (keyed_a, keyed_b) = (by_key(&whole_a), by_key(&whole_b));
    let (mut different, mut all) = (Vec::new(), Vec::new());
    for (key, runs) in &keyed_a {
        let partners = keyed_b.get(key).map_or(&[][..], Vec::as_slice);
        let both: Vec<_> = runs.iter().copied().zip(partners.iter().copied()).collect();
        different.extend(both.first().copied());
        all.extend(both);
    }
    if different.is_empty() {
        let (has_a, has_b) = (seeds(&whole_a), seeds(&whole_b));
        return Err(PairError::NoPairs { a: a.name.clone(), has_a, b: b.name.clone(), has_b });
    }
    for (side, runs, other) in [("A", &keyed_a, &keyed_b), ("B", &keyed_b, &keyed_a)] {
        let alone: Vec<String> = runs
            .iter()
            .filter(|(key, _)| !other.contains_key(*key))
            .map(|((_, seed), runs)| format!("{} seed {seed}", runs[0].record.scenario))
            .collect();
        if !alone.is_empty() {
            let (are, few) =
                (if alone.len() == 1 { "run is" } else { "runs are" }, alone[..alone.len().min(3)].join(", "));
            let more = if alone.len() > 3 { ", \u{2026}" } else { "" };
            notes.push(format!("{} {are} in {side} only and not compared: {few}{more}", alone.len()));
        }
    }
    if different.iter().any(|(a, b)| differs(a, b)) {
        notes.push(
            "the scenario files of A and B differ: what is compared is build and scenario together".to_owned(),
        );
    }
    if different.iter().any(|(a, b)| a.record.planted != b.record.planted) {
        notes.push("a bug is planted on one side only".to_owned());
    }
    Ok(Pairs { different, all, notes })
}

/// The runs that were made to their end.
fn whole<'s>(side: &'s Side, notes: &mut Vec<String>) -> Result<Vec<&'s Found>, PairError> {
    let (whole, interrupted): (Vec<_>, Vec<_>) = side.runs.iter().partition(|run| !run.record.interrupted);
    if whole.is_empty() {
        return Err(PairError::AllInterrupted { name: side.name.clone() });
    }
    if !interrupted.is_empty() {
        let runs = super::counted(interrupted.len(), "run");
        notes.push(format!("{runs} of {} stopped before the end and left out", side.name));
    }
    Ok(whole)
}

fn started(run: &RunRecord) -> String {
    run.about.as_ref().map_or_else(String::new, |about| about.started.clone())
}

/// A few of the scenarios and seeds that there are.
fn seeds(runs: &[&Found]) -> String {
    let named: Vec<String> =
        runs.iter().take(3).map(|run| format!("{} seed {}", run.record.scenario, run.record.seed)).collect();
    let more = if runs.len() > named.len() { " and others" } else { "" };
    named.join(", ") + more
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::testing;
    use std::path::PathBuf;

    pub fn side(name: &str, runs: impl IntoIterator<Item = RunRecord>) -> Side {
        let found = |record| Found { dir: PathBuf::from(name), record, scenario: None };
        Side { name: name.to_owned(), runs: runs.into_iter().map(found).collect() }
    }

    fn run(scenario: &str, seed: u64) -> RunRecord {
        RunRecord { scenario: scenario.into(), seed, ..testing::passed() }
    }

    #[test]
    fn runs_of_one_scenario_and_seed_are_partners() {
        let a = side("a", [run("calm", 1), run("calm", 2), run("storm", 1), run("calm", 9)]);
        let b = side("b", [run("storm", 1), run("calm", 1), run("calm", 2), run("calm", 2)]);
        let pairs = pair(&a, &b).unwrap();
        let seeds: Vec<_> = pairs.different.iter().map(|(a, b)| (a.record.seed, b.record.seed)).collect();
        assert_eq!(seeds, [(1, 1), (2, 2), (1, 1)]);
        assert_eq!(pairs.all.len(), 3, "a run that was made again on one side only has no partner");
        assert_eq!(pairs.notes, ["1 run is in A only and not compared: calm seed 9"]);
    }

    #[test]
    fn one_scenario_can_be_compared_with_another() {
        let (a, b) = (side("a", [run("fast", 1)]), side("b", [run("slow", 1)]));
        let pairs = pair(&a, &b).unwrap();
        assert_eq!(pairs.different.len(), 1);
        assert!(pairs.notes[0].contains("A runs fast and B runs slow"), "{:?}", pairs.notes);
    }

    #[test]
    fn nothing_in_common_and_nothing_whole_are_refused() {
        let refused = |a: &Side, b: &Side| pair(a, b).err().map(|error| error.to_string()).unwrap();
        let (a, b) = (side("a", [run("calm", 1)]), side("b", [run("calm", 2)]));
        assert!(refused(&a, &b).contains("a has calm seed 1, and b has calm seed 2"));
        let stopped = side("b", [RunRecord { interrupted: true, ..run("calm", 1) }]);
        assert!(refused(&a, &stopped).contains("every run of b was interrupted"));
    }
}
