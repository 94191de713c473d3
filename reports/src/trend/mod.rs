//! Figures over stored records: how they went from commit to commit, a line for each machine.
//!
//! **Invariants:** one scenario is never mixed with another, nor one machine with another. Runs of one commit on one machine are one point,
//! whose latencies are those of their merged histograms. Runs with a planted bug and runs that were stopped are no figures of a commit.

mod page;
mod text;

use crate::date;
use crate::folder::Found;
use crate::latency::Histogram;
use crate::number::bytes;
use crate::record::{AboutRecord, RunRecord, Verdict, ratio};
use std::collections::BTreeMap;

/// What is drawn of each commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    AckP50,
    AckP99,
    DeliverP99,
    Speed,
    Memory,
}

impl Figure {
    pub const ALL: [Figure; 5] =
        [Figure::AckP50, Figure::AckP99, Figure::DeliverP99, Figure::Speed, Figure::Memory];
}

/// The runs of one commit on one machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// When the first of them began, in seconds since 1970.
    pub at: i64,
    /// The commit, short, with `*` where something was changed beside it.
    pub commit: String,
    pub runs: usize,
    /// The worst of them.
    pub verdict: Verdict,
    /// In the order of [`Figure::ALL`]; `None` where nothing was measured.
    pub figures: [Option<f64>; 5],
}

/// The points of one machine, in the order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct OfMachine {
    pub machine: String,
    pub points: Vec<Point>,
}

/// The machines on which one scenario was run.
#[derive(Debug, Clone, PartialEq)]
pub struct OfScenario {
    pub scenario: String,
    pub machines: Vec<OfMachine>,
}

/// How things went.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    pub scenarios: Vec<OfScenario>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Why there is no trend.
#[derive(Debug, thiserror::Error)]
#[error(
    "none of {0} says by which commit, where and when it was made, was made to its end and without a planted bug; make runs with `squall run --out`"
)]
pub struct NothingToShow(String);

/// A run, where it was made, and when.
type Made<'r> = (&'r RunRecord, &'r AboutRecord, i64);

/// Reads a trend from records.
///
/// # Errors
/// None of them can be part of one.
pub fn trend(runs: &[Found]) -> Result<Trend, NothingToShow> {
    let mut groups: BTreeMap<(&str, String), BTreeMap<String, Vec<Made<'_>>>> = BTreeMap::new();
    let (mut unknown, mut planted, mut stopped) = (0, 0, 0);
    for run in runs.iter().map(|found| &found.record) {
        let about = run.about.as_ref().and_then(|about| Some((about, date::seconds(&about.started)?)));
        match about {
            None => unknown += 1,
            Some(_) if run.planted.is_some() => planted += 1,
            Some(_) if run.interrupted => stopped += 1,
            Some((about, at)) => {
                let machine = groups.entry((&run.scenario, machine(about))).or_default();
                machine.entry(build(about)).or_default().push((run, about, at));
            }
        }
    }
    let mut scenarios: Vec<OfScenario> = Vec::new();
    for ((scenario, machine), builds) in groups {
        let mut points: Vec<Point> = builds.values().filter_map(|runs| point(runs)).collect();
        points.sort_by(|a, b| (a.at, &a.commit).cmp(&(b.at, &b.commit)));
        let of_machine = OfMachine { machine, points };
        match scenarios.last_mut().filter(|last| last.scenario == scenario) {
            Some(last) => last.machines.push(of_machine),
            None => scenarios.push(OfScenario { scenario: scenario.to_owned(), machines: vec![of_machine] }),
        }
    }
    let reasons = [
        (unknown, "that does not say by which build, where and when it was made"),
        (planted, "with a planted bug"),
        (stopped, "that was stopped before its end"),
    ];
    let notes = reasons.iter().filter(|(count, _)| *count > 0);
    let notes = notes.map(|(count, why)| format!("left out: {} {why}", crate::compare::counted(*count, "record")));
    let differing = crate::folder::two_of_a_name(runs);
    let differing = differing.iter().map(|name| {
        format!(
            "{name} is several files that differ: a step in its figures may be of the file and not of the build"
        )
    });
    let notes = notes.chain(differing);
    match scenarios.is_empty() {
        true => Err(NothingToShow(crate::compare::counted(runs.len(), "record"))),
        false => Ok(Trend { scenarios, notes: notes.collect() }),
    }
}

fn machine(about: &AboutRecord) -> String {
    let machine = &about.machine;
    let processor = machine.processor.as_deref().unwrap_or("unknown processor");
    format!("{processor}, {} cores, {}", machine.cores, bytes(machine.memory_bytes))
}

/// What tells one build from another: its commit, and where something was changed beside it, the program itself.
fn build(about: &AboutRecord) -> String {
    let program = about.build.program.as_deref().filter(|_| !about.build.clean || about.build.commit.is_none());
    [about.build.commit.as_deref(), program].map(Option::unwrap_or_default).join(" ")
}

/// One point of the runs of a build.
fn point(runs: &[Made<'_>]) -> Option<Point> {
    let (_, about, at) = runs.iter().min_by_key(|(.., at)| *at)?;
    let commit = about.build.commit.as_deref().unwrap_or("unknown");
    let changed = if about.build.clean { "" } else { "*" };
    let latency = |name: &str, percentile: f64| {
        let mut all = Histogram::new();
        for (run, ..) in runs {
            if let Some(text) = run.latency_hdr.get(name) {
                all.merge(&Histogram::from_base64(text).ok()?);
            }
        }
        (all.count() > 0).then(|| all.percentile_us(percentile) as f64 / 1_000.0)
    };
    let sum = |of: fn(&RunRecord) -> u64| runs.iter().map(|(run, ..)| of(run)).sum::<u64>();
    let figure = |figure| match figure {
        Figure::AckP50 => latency("send_to_ack", 50.0),
        Figure::AckP99 => latency("send_to_ack", 99.0),
        Figure::DeliverP99 => latency("send_to_deliver", 99.0),
        Figure::Speed => Some(ratio(sum(|run| run.simulated_ms), sum(|run| run.wall_ms))),
        Figure::Memory => runs.iter().map(|(run, ..)| run.memory.peak_rss_bytes as f64).max_by(f64::total_cmp),
    };
    let is = |verdict| runs.iter().any(|(run, ..)| run.verdict == verdict);
    let verdict = match (is(Verdict::Violated), is(Verdict::Inconclusive)) {
        (true, _) => Verdict::Violated,
        (false, true) => Verdict::Inconclusive,
        (false, false) => Verdict::Pass,
    };
    Some(Point {
        at: *at,
        commit: format!("{}{changed}", &commit[..commit.len().min(7)]),
        runs: runs.len(),
        verdict,
        figures: Figure::ALL.map(|of| figure(of).filter(|value| *value > 0.0)),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::{BuildRecord, MachineRecord};
    use crate::testing;
    use std::path::PathBuf;

    pub fn found(commit: &str, started: &str, cores: u64, ms: u64) -> Found {
        let mut record = testing::passed();
        let mut histogram = Histogram::new();
        (1..=100u64).for_each(|n| histogram.record_us(n * ms * 10));
        record.latency_hdr.insert("send_to_ack".into(), histogram.to_base64());
        let build = BuildRecord { version: "1".into(), commit: Some(commit.into()), clean: true, program: None };
        let machine =
            MachineRecord { processor: Some("Fast".into()), cores, memory_bytes: 1 << 34, system: "linux".into() };
        record.about = Some(AboutRecord { build, machine, started: started.into() });
        Found { dir: PathBuf::from(commit), record, scenario: None }
    }

    #[test]
    fn runs_of_a_commit_are_a_point_and_a_machine_is_a_line() {
        let runs = [
            found("bbbbbbbbbb", "2026-02-01T00:00:00Z", 2, 30),
            found("aaaaaaaaaa", "2026-01-01T00:00:01.500Z", 2, 10),
            found("aaaaaaaaaa", "2026-01-01T00:00:00.000Z", 2, 20),
            found("aaaaaaaaaa", "2026-01-01T00:00:00.000Z", 8, 5),
        ];
        let trend = trend(&runs).unwrap();
        let [scenario] = &trend.scenarios[..] else { panic!("{trend:?}") };
        let lines: Vec<_> =
            scenario.machines.iter().map(|machine| (machine.machine.as_str(), machine.points.len())).collect();
        assert_eq!(lines, [("Fast, 2 cores, 16.0 GiB", 2), ("Fast, 8 cores, 16.0 GiB", 1)]);
        let first = &scenario.machines[0].points[0];
        assert_eq!((first.commit.as_str(), first.runs, first.at), ("aaaaaaa", 2, 1_767_225_600));
        // Of two hundred values from both, and not of two medians: 6.67 ms.
        assert!((first.figures[0].unwrap() - 6.67).abs() < 0.2, "{first:?}");
        assert_eq!(first.figures[3], Some(240.0));
    }

    #[test]
    fn what_is_no_figure_of_a_commit_is_left_out_and_told() {
        let good = found("aaaaaaaaaa", "2026-01-01T00:00:00Z", 2, 10);
        let mut planted = good.clone();
        planted.record.planted = Some("no-client-dedup".into());
        let old = Found { record: testing::passed(), ..good.clone() };
        let trend = super::trend(&[good, planted, old.clone()]).unwrap();
        assert_eq!(trend.scenarios[0].machines[0].points[0].runs, 1);
        assert_eq!(trend.notes.len(), 2, "{:?}", trend.notes);
        assert!(super::trend(&[old]).unwrap_err().to_string().contains("none of 1 record says"));
    }
}
