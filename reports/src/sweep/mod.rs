//! What a sweep leaves behind: a record of all its runs (`sweep.json`) and a page.
//!
//! | file | is |
//! |---|---|
//! | `mod` | the record |
//! | `page` | the page and its order |
//! | `kept` | which runs are listed |
//! | `failures` | what was violated, by property and cause |
//! | `matrix` | scenario × seed |
//! | `files` | what lies where in its folder |
//!
//! **Invariants:** a run without a record never looks like one that passed: its verdict is absent, and the page counts it among what failed.
//! What is kept of a sweep has a bound, however many runs it makes: what is not listed is counted, and the page says so.

mod failures;
pub mod files;
mod kept;
mod matrix;
mod page;

pub use kept::{Kept, MOST_OTHERS, MOST_PASSED, Unlisted};

use crate::campaign::Never;
use crate::record::{FORMAT, RunRecord, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Further runs, which a long sweep only counts.
    #[serde(default, skip_serializing_if = "Unlisted::is_none")]
    pub unlisted: Unlisted,
    pub never: Never,
}

/// The files of a sweep, beside those of its runs.
pub const SWEEP_FILES: [&str; 3] = [SWEEP_FILE, crate::store::JUNIT_FILE, crate::store::PAGE_FILE];

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
    /// The autopsy's sentence: what caused the first violation. Absent where the run was too long to be explained at once.
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
    started: String,
    passed: Kept<SweepRun>,
    /// Those that did not pass, and those that reached what none before them had.
    others: Kept<SweepRun>,
    unlisted: Unlisted,
    /// By whom each corner was reached first.
    corners: BTreeMap<String, u64>,
}

impl SweepBuilder {
    pub fn new(started: String) -> Self {
        SweepBuilder {
            started,
            passed: Kept::new(MOST_PASSED),
            others: Kept::new(MOST_OTHERS),
            unlisted: Unlisted::default(),
            corners: BTreeMap::new(),
        }
    }

    /// Adds a run that has ended, in any order.
    pub fn add(&mut self, mut run: SweepRun, record: Option<&RunRecord>) {
        let mut is_worth_a_line = run.verdict != Some(Verdict::Pass);
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
            let first = run.violated.first().map(|violated| violated.check.as_str());
            let explained = record.autopsies.iter().find(|autopsy| Some(autopsy.check.as_str()) == first);
            run.cause = explained.map(|autopsy| autopsy.cause.clone());
            run.because.extend(record.inconclusive_because.iter().cloned());
            run.wall_ms = record.wall_ms;
            is_worth_a_line |= self.reach(run.number, record);
        }
        let list = if is_worth_a_line { &mut self.others } else { &mut self.passed };
        if let Some(left_out) = list.add(run.number, run) {
            *match left_out.verdict {
                Some(Verdict::Pass) => &mut self.unlisted.passed,
                Some(Verdict::Violated) => &mut self.unlisted.violated,
                Some(Verdict::Inconclusive) => &mut self.unlisted.inconclusive,
                None => &mut self.unlisted.unfinished,
            } += 1;
        }
    }

    /// Notes the corners that a run reached; whether no run before it has reached one of them, as far as they have ended.
    fn reach(&mut self, number: u64, record: &RunRecord) -> bool {
        let points = record.sometimes.iter().filter(|point| point.hits > 0).map(|point| point.name.clone());
        let pairs = record.pairs.iter().filter(|pair| pair.hits > 0);
        let pairs = pairs.map(|pair| format!("{} + {}", pair.first, pair.second));
        let mut is_new = false;
        for corner in points.chain(pairs) {
            let first = self.corners.entry(corner).or_insert(u64::MAX);
            is_new |= number < *first;
            *first = number.min(*first);
        }
        is_new
    }

    /// The record of all of them.
    pub fn finish(self, asked: u64, wall_ms: u64, interrupted: bool, never: Never) -> SweepRecord {
        let mut new: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (corner, first) in self.corners {
            new.entry(first).or_default().push(corner);
        }
        let mut runs: Vec<SweepRun> = self.passed.into_values().chain(self.others.into_values()).collect();
        runs.sort_by_key(|run| run.number);
        for run in &mut runs {
            run.new_corners = new.remove(&run.number).unwrap_or_default();
        }
        let (started, unlisted) = (self.started, self.unlisted);
        SweepRecord { format: FORMAT, started, wall_ms, asked, interrupted, runs, unlisted, never }
    }
}

impl SweepRecord {
    /// How many runs passed, were violated, were inconclusive, did not finish.
    pub fn counts(&self) -> [u64; 4] {
        let count = |verdict| self.runs.iter().filter(|run| run.verdict == verdict).count() as u64;
        let listed = [Some(Verdict::Pass), Some(Verdict::Violated), Some(Verdict::Inconclusive), None].map(count);
        let unlisted = self.unlisted.all();
        std::array::from_fn(|index| listed[index] + unlisted[index])
    }

    /// How many runs have ended.
    pub fn ended(&self) -> u64 {
        self.counts().iter().sum()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::{AutopsyRecord, SometimesRecord};
    use crate::story::Diagram;
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
    fn the_cause_is_that_of_the_first_violation_whatever_else_was_explained() {
        let explained = |check: &str| AutopsyRecord {
            check: check.into(),
            cause: format!("why {check} was broken"),
            diagram: Diagram::default(),
        };
        let mut record = testing::violated();
        let mut other = record.checks.iter().find(|check| check.name == "no-loss").unwrap().clone();
        other.name = "no-duplicates".into();
        other.first.as_mut().unwrap().t = 40_000_000;
        record.checks.insert(0, other);
        let cause_with = |autopsies: Vec<AutopsyRecord>| {
            let record = RunRecord { autopsies, ..record.clone() };
            let mut builder = SweepBuilder::new(String::new());
            builder.add(run(0, "storm", Some(&record)), Some(&record));
            builder.finish(1, 0, false, Never::default()).runs.remove(0).cause
        };
        let both = vec![explained("no-duplicates"), explained("no-loss")];
        assert_eq!(cause_with(both).as_deref(), Some("why no-loss was broken"));
        assert_eq!(cause_with(vec![explained("no-duplicates")]), None);
        assert_eq!(cause_with(Vec::new()), None);
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

    #[test]
    fn of_a_long_sweep_the_first_runs_are_listed_with_all_that_is_new_and_the_others_counted() {
        let mut builder = SweepBuilder::new("2026-01-01T00:00:00.000Z".into());
        let (mut passed, mut late) = (testing::passed(), testing::passed());
        passed.sometimes = vec![SometimesRecord { name: "committed".into(), hits: 3 }];
        late.sometimes = vec![SometimesRecord { name: "recovered".into(), hits: 1 }];
        let last = MOST_PASSED as u64 + 20;
        for number in 0..last {
            builder.add(run(number, "calm", Some(&passed)), Some(&passed));
        }
        let broken = testing::violated();
        builder.add(run(last, "calm", Some(&late)), Some(&late));
        builder.add(run(last + 1, "calm", Some(&broken)), Some(&broken));
        let sweep = builder.finish(last + 2, 1, false, Never::default());
        // The first of all is listed for what it reached.
        assert_eq!(sweep.unlisted, Unlisted { passed: 19, ..Unlisted::default() });
        assert_eq!((sweep.counts(), sweep.ended()), ([last + 1, 1, 0, 0], last + 2));
        let [.., late, broken] = &sweep.runs[..] else { panic!("{sweep:?}") };
        assert_eq!((late.new_corners.as_slice(), broken.violated.len()), (&["recovered".to_owned()][..], 1));
        let page = sweep.html();
        assert!(page.contains("Counted and not listed: 19 that passed."), "{page}");
        assert!(page.contains(&format!("Of 5,022 runs {} passed; 1 broke a promise.", "5,021")), "{page}");
    }
}
