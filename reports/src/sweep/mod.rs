//! What a sweep leaves behind: a record of all its runs (`sweep.json`) and a page.
//!
//! | file | is |
//! |---|---|
//! | `mod` | the record |
//! | `page` | the page and its order |
//! | `failures` | what was violated, by property and cause |
//! | `matrix` | scenario × seed |
//! | `files` | what lies where in its folder |
//!
//! **Invariant:** a run without a record never looks like one that passed: its verdict is absent, and the page counts it among what failed.

mod failures;
pub mod files;
mod matrix;
mod page;

use crate::campaign::Never;
use crate::record::{FORMAT, RunRecord, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The record's file in a sweep's folder.
pub const SWEEP_FILE: &str = "sweep.json";
/// The folder of the runs in a sweep's.
pub const RUNS_FOLDER: &str = "runs";

/// A sweep when it is over. Others rely on these names: they only ever grow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepRecord {
    /// The format of this record; it grows when something is taken away or means something else.
    pub format: u32,
    /// RFC 3339, UTC.
    pub started: String,
    pub wall_ms: u64,
    /// Runs that were asked for; more than there are where it was interrupted.
    pub asked: u64,
    pub interrupted: bool,
    /// In the order of their numbers, whatever the order in which they ended.
    pub runs: Vec<SweepRun>,
    pub never: Never,
}

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepRun {
    /// Its place among the runs of the whole sweep.
    pub number: u64,
    pub scenario: String,
    pub seed: u64,
    /// Absent where the run left no record.
    pub verdict: Option<Verdict>,
    /// What was violated, the first by simulated time first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violated: Vec<Violated>,
    /// Why it proves too little, or why there is no record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
    /// The autopsy's sentence: what caused the first violation. Absent where nobody has asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What the seed drew, where the scenario is drawn from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drew: Option<String>,
    pub wall_ms: u64,
    pub reproduce: String,
    /// Its folder, from that of the sweep.
    pub folder: String,
    /// Whether its events were kept there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_history: bool,
    /// Points and pairs of faults that no run before it had reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_corners: Vec<String>,
}

/// A check that was violated in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violated {
    pub check: String,
    /// Simulated microseconds since the start of the run.
    pub t: u64,
    pub violations: u64,
    pub message: String,
}

/// Makes the record of a sweep, run by run.
pub struct SweepBuilder {
    record: SweepRecord,
    corners: Vec<(u64, Vec<String>)>,
}

impl SweepBuilder {
    pub fn new(started: String) -> Self {
        let record = SweepRecord {
            format: FORMAT,
            started,
            wall_ms: 0,
            asked: 0,
            interrupted: false,
            runs: Vec::new(),
            never: Never::default(),
        };
        SweepBuilder { record, corners: Vec::new() }
    }

    /// Adds a run that has ended, in any order.
    pub fn add(&mut self, mut run: SweepRun, record: Option<&RunRecord>) {
        if let Some(record) = record {
            let violated = record.checks.iter().filter(|check| check.verdict == Verdict::Violated);
            run.violated = violated
                .map(|check| Violated {
                    check: check.name.clone(),
                    t: check.first.as_ref().map_or(0, |first| first.t),
                    violations: check.violations,
                    message: check.first.as_ref().map_or_else(String::new, |first| first.message.clone()),
                })
                .collect();
            run.violated.sort_by_key(|violated| violated.t);
            run.because.extend(record.inconclusive_because.iter().cloned());
            run.wall_ms = record.wall_ms;
            let points = record.sometimes.iter().filter(|point| point.hits > 0).map(|point| point.name.clone());
            let pairs = record.pairs.iter().filter(|pair| pair.hits > 0);
            let pairs = pairs.map(|pair| format!("{} + {}", pair.first, pair.second));
            self.corners.push((run.number, points.chain(pairs).collect()));
        }
        self.record.runs.push(run);
    }

    /// The record of all of them.
    pub fn finish(mut self, asked: u64, wall_ms: u64, interrupted: bool, never: Never) -> SweepRecord {
        self.record.runs.sort_by_key(|run| run.number);
        self.corners.sort();
        let mut known: BTreeSet<String> = BTreeSet::new();
        for (number, corners) in self.corners {
            let new: Vec<String> = corners.into_iter().filter(|corner| known.insert(corner.clone())).collect();
            if let Some(run) = self.record.runs.iter_mut().find(|run| run.number == number) {
                run.new_corners = new;
            }
        }
        SweepRecord { asked, wall_ms, interrupted, never, ..self.record }
    }
}

impl SweepRecord {
    /// How many runs passed, were violated, were inconclusive, did not finish.
    pub fn counts(&self) -> [usize; 4] {
        let count = |verdict| self.runs.iter().filter(|run| run.verdict == verdict).count();
        [Some(Verdict::Pass), Some(Verdict::Violated), Some(Verdict::Inconclusive), None].map(count)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::SometimesRecord;
    use crate::testing;

    pub fn run(number: u64, scenario: &str, record: Option<&RunRecord>) -> SweepRun {
        SweepRun {
            number,
            scenario: scenario.into(),
            seed: 100 + number,
            verdict: record.map(|record| record.verdict),
            violated: Vec::new(),
            because: Vec::new(),
            cause: None,
            drew: None,
            wall_ms: 0,
            reproduce: format!("squall run {scenario}.toml --seed {}", 100 + number),
            folder: format!("runs/{scenario}-{}", 100 + number),
            has_history: false,
            new_corners: Vec::new(),
        }
    }

    /// Three runs of one scenario and one of another: passed, violated, without a record, passed.
    pub fn sweep() -> SweepRecord {
        let mut builder = SweepBuilder::new("2026-01-01T00:00:00.000Z".into());
        let point = |name: &str| SometimesRecord { name: name.into(), hits: 3 };
        let (mut first, mut last) = (testing::passed(), testing::passed());
        first.sometimes = vec![point("committed"), point("recovered")];
        last.sometimes = vec![point("committed"), point("gap_met")];
        let broken = testing::violated();
        builder.add(run(3, "calm", Some(&last)), Some(&last));
        let mut lost = run(2, "storm", None);
        lost.because = vec!["killed by signal 9 (SIGKILL)".into()];
        builder.add(lost, None);
        builder.add(run(1, "storm", Some(&broken)), Some(&broken));
        builder.add(run(0, "storm", Some(&first)), Some(&first));
        builder.finish(4, 12_000, false, Never { points: vec!["topic_dropped".into()], ..Never::default() })
    }

    #[test]
    fn runs_stand_in_their_order_and_each_corner_is_found_once() {
        let sweep = sweep();
        let numbers: Vec<u64> = sweep.runs.iter().map(|run| run.number).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(sweep.counts(), [2, 1, 0, 1]);
        assert_eq!(sweep.runs[0].new_corners, ["committed", "recovered"]);
        assert_eq!(sweep.runs[3].new_corners, ["gap_met"], "committed was known");
        assert_eq!(
            (sweep.runs[1].violated[0].check.as_str(), sweep.runs[1].violated[0].t),
            ("no-loss", 31_004_005)
        );
        let json = serde_json::to_string(&sweep).unwrap();
        assert_eq!(serde_json::from_str::<SweepRecord>(&json).unwrap(), sweep);
    }
}
