//! One record of many: of a sweep's runs, of shards on several machines, of generators that drove one system together.
//!
//! **Invariants:** latencies are merged by their histograms and never by their percentiles; a record that has none of what it measured is
//! refused. Counts are sums, the verdict is the worst, and nothing is counted twice: a folder that is named twice is refused. Peaks are the
//! highest of any one run, for no two of them need have been at the same time.

mod series;

pub use series::Apart;

use crate::folder::{Found, two_of_a_name};
use crate::latency::Histogram;
use crate::record::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A run that a merged record is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergedRun {
    pub scenario: String,
    pub seed: u64,
    pub verdict: Verdict,
    pub digest: String,
    pub reproduce: String,
}

/// Why records could not become one.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("there is nothing to merge; name folders that `squall run --out` or `squall sweep --out` has written")]
    Nothing,
    #[error("{}: this record is here twice, perhaps in a merged one; name each once, or it counts twice", path.display())]
    Twice { path: PathBuf },
    #[error(
        "{}: the record has percentiles of {measure} and not the histogram that they are of, and percentiles cannot be merged; make the run again with this squall",
        path.display()
    )]
    NoHistogram { path: PathBuf, measure: String },
}

/// Makes one record of these.
///
/// # Errors
/// There are none, one stands here twice, or one has no histogram of what it measured.
pub fn merge(runs: &[Found]) -> Result<RunRecord, MergeError> {
    let mut seen = BTreeSet::new();
    for run in runs {
        // A path that does not lead anywhere any more is only itself.
        let path = std::fs::canonicalize(&run.dir).unwrap_or_else(|_| run.dir.clone());
        if !seen.insert(path) {
            return Err(MergeError::Twice { path: run.dir.clone() });
        }
    }
    if let Some(path) = counted_twice(runs) {
        return Err(MergeError::Twice { path });
    }
    let records: Vec<&RunRecord> = runs.iter().map(|run| &run.record).collect();
    let Some(worst) = records.iter().copied().min_by_key(|run| severity(verdict_of(run))) else {
        return Err(MergeError::Nothing);
    };
    let (latency_ms, latency_hdr) = latencies(runs)?;
    let checks = checks(&records);
    let simulated_ms = sum(&records, |run| run.simulated_ms);
    let wall_ms = sum(&records, |run| run.wall_ms);
    let largest = records.iter().copied().max_by_key(|run| run.memory.peak_rss_bytes).unwrap_or(worst);
    let merged: Vec<MergedRun> = records.iter().flat_map(|run| of_which(run)).collect();
    Ok(RunRecord {
        // Whose message it was is told by the record of its own run.
        autopsies: Vec::new(),
        verdict: worse(verdict_of(worst), overall_verdict(&checks, &[])),
        inconclusive_because: reasons(&records),
        scenario: scenarios(&records),
        seed: worst.seed,
        salt: worst.salt,
        planted: common(records.iter().map(|run| run.planted.clone())).flatten(),
        interrupted: records.iter().any(|run| run.interrupted),
        digest: format!("none: {} runs", merged.len()),
        simulated_ms,
        wall_ms,
        speed: ratio(simulated_ms, wall_ms),
        phases: phases(&records),
        reproduce: worst.reproduce.clone(),
        clients: clients(&records),
        messages: messages(&records),
        service_levels: service_levels(&records, &latency_hdr),
        checks,
        faults: faults(&records),
        hosts: hosts(&records),
        work: work(&records),
        sometimes: sometimes(&records),
        pairs: pairs(&records),
        latency_ms,
        latency_hdr,
        series: series::merged(&records).ok(),
        memory: largest.memory.clone(),
        format: FORMAT,
        about: about(&records),
        merged,
        load: None,
        not_judged: common(records.iter().map(|run| run.not_judged.clone())).unwrap_or_default(),
    })
}

/// What there is to know of these records beside what they come to together.
pub fn notes(runs: &[Found]) -> Vec<String> {
    two_of_a_name(runs)
        .into_iter()
        .map(|name| format!("{name} is several files that differ: they count as one scenario"))
        .collect()
}

/// Why what happened when cannot be told of all of these together, where it cannot.
pub fn apart(runs: &[Found]) -> Option<Apart> {
    let records: Vec<&RunRecord> = runs.iter().map(|run| &run.record).collect();
    series::merged(&records).err()
}

/// The record that holds a run which is in another one as well, where one of the two was merged: what was merged must not be merged again
/// with what it was made of.
fn counted_twice(runs: &[Found]) -> Option<PathBuf> {
    let mut known: BTreeMap<(String, u64, String), bool> = BTreeMap::new();
    for run in runs {
        let is_merged = !run.record.merged.is_empty();
        for of in of_which(&run.record) {
            let before = known.insert((of.scenario, of.seed, of.digest), is_merged);
            if before.is_some_and(|was_merged| was_merged || is_merged) {
                return Some(run.dir.clone());
            }
        }
    }
    None
}

fn severity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Violated => 0,
        Verdict::Inconclusive => 1,
        Verdict::Pass => 2,
    }
}

fn worse(a: Verdict, b: Verdict) -> Verdict {
    if severity(b) < severity(a) { b } else { a }
}

/// What a record came to: what it says, or worse, if its checks or reasons say worse.
fn verdict_of(run: &RunRecord) -> Verdict {
    worse(run.verdict, overall_verdict(&run.checks, &run.inconclusive_because))
}

fn sum(records: &[&RunRecord], of: impl Fn(&RunRecord) -> u64) -> u64 {
    records.iter().map(|run| of(run)).sum()
}

/// What all of them agree on.
fn common<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// The runs of a record, which may be merged itself.
fn of_which(run: &RunRecord) -> Vec<MergedRun> {
    match run.merged.is_empty() {
        false => run.merged.clone(),
        true => vec![MergedRun {
            scenario: run.scenario.clone(),
            seed: run.seed,
            verdict: verdict_of(run),
            digest: run.digest.clone(),
            reproduce: run.reproduce.clone(),
        }],
    }
}

fn scenarios(records: &[&RunRecord]) -> String {
    let names: BTreeSet<&str> = records.iter().map(|run| run.scenario.as_str()).collect();
    match names.len() {
        1 => names.into_iter().collect(),
        n => format!("{n} scenarios"),
    }
}

/// With the run that each is of.
fn named(run: &RunRecord, text: &str) -> String {
    match run.merged.is_empty() {
        true => format!("{} seed {}: {text}", run.scenario, run.seed),
        false => text.to_owned(),
    }
}

fn reasons(records: &[&RunRecord]) -> Vec<String> {
    let reasons = records.iter().flat_map(|run| run.inconclusive_because.iter().map(|text| named(run, text)));
    reasons.collect()
}

fn checks(records: &[&RunRecord]) -> Vec<CheckRecord> {
    let mut merged: Vec<CheckRecord> = Vec::new();
    for run in records {
        for check in &run.checks {
            let first = check
                .first
                .as_ref()
                .map(|first| FirstViolation { message: named(run, &first.message), ..first.clone() });
            let Some(known) = merged.iter_mut().find(|known| known.name == check.name) else {
                merged.push(CheckRecord { first, ..check.clone() });
                continue;
            };
            known.evaluated += check.evaluated;
            known.exposed += check.exposed;
            known.violations += check.violations;
            known.verdict = worse(known.verdict, check.verdict);
            known.first = [known.first.take(), first].into_iter().flatten().min_by_key(|first| first.t);
        }
    }
    merged
}

type Latencies = (BTreeMap<String, crate::Percentiles>, BTreeMap<String, String>);

fn latencies(runs: &[Found]) -> Result<Latencies, MergeError> {
    let mut histograms: BTreeMap<String, Histogram> = BTreeMap::new();
    for run in runs {
        for (measure, percentiles) in &run.record.latency_ms {
            let merged = histograms.entry(measure.clone()).or_default();
            let read = run.record.latency_hdr.get(measure).and_then(|text| Histogram::from_base64(text).ok());
            match read {
                Some(histogram) => merged.merge(&histogram),
                None if percentiles.count == 0 => {}
                None => {
                    return Err(MergeError::NoHistogram {
                        path: run.dir.clone(),
                        measure: measure.replace('_', " "),
                    });
                }
            }
        }
    }
    let percentiles = histograms.iter().map(|(name, histogram)| (name.clone(), histogram.percentiles()));
    let whole = histograms.iter().filter(|(_, histogram)| histogram.count() > 0);
    Ok((percentiles.collect(), whole.map(|(name, histogram)| (name.clone(), histogram.to_base64())).collect()))
}

/// What was found is read from all runs together; the verdict is the worst that one of them came to.
fn service_levels(records: &[&RunRecord], hdr: &BTreeMap<String, String>) -> Vec<ServiceLevelRecord> {
    let mut merged: Vec<ServiceLevelRecord> = Vec::new();
    for level in records.iter().flat_map(|run| &run.service_levels) {
        let same = |known: &&mut ServiceLevelRecord| {
            (&known.measure, known.percentile, known.at_most_ms)
                == (&level.measure, level.percentile, level.at_most_ms)
        };
        match merged.iter_mut().find(same) {
            None => merged.push(level.clone()),
            Some(known) => {
                known.count += level.count;
                known.verdict = worse(known.verdict, level.verdict);
            }
        }
    }
    for level in &mut merged {
        let histogram = hdr.get(&level.measure).and_then(|text| Histogram::from_base64(text).ok());
        if let Some(histogram) = histogram {
            level.found_ms = histogram.percentile_us(level.percentile) as f64 / 1_000.0;
        }
    }
    merged
}

fn phases(records: &[&RunRecord]) -> Vec<PhaseRecord> {
    let mut merged: Vec<PhaseRecord> = Vec::new();
    for phase in records.iter().flat_map(|run| &run.phases) {
        match merged.iter_mut().find(|known| known.name == phase.name) {
            None => merged.push(phase.clone()),
            Some(known) => {
                known.simulated_ms += phase.simulated_ms;
                known.wall_ms += phase.wall_ms;
                known.frames += phase.frames;
            }
        }
    }
    merged
}

fn clients(records: &[&RunRecord]) -> ClientCounts {
    ClientCounts {
        virtual_clients: sum(records, |run| run.clients.virtual_clients),
        connected_peak: records.iter().map(|run| run.clients.connected_peak).max().unwrap_or(0),
        connects: sum(records, |run| run.clients.connects),
        reconnects: sum(records, |run| run.clients.reconnects),
    }
}

fn messages(records: &[&RunRecord]) -> MessageCounts {
    let mut all = MessageCounts::default();
    for m in records.iter().map(|run| run.messages) {
        all.sent += m.sent;
        all.acked += m.acked;
        all.refused += m.refused;
        all.unknown += m.unknown;
        all.resent += m.resent;
        all.delivered += m.delivered;
        all.displayed += m.displayed;
        all.duplicates_discarded += m.duplicates_discarded;
        all.synced += m.synced;
        all.typing_said += m.typing_said;
        all.typing_shown += m.typing_shown;
        all.reads += m.reads;
        all.receipts += m.receipts;
        all.watches += m.watches;
        all.presence_told += m.presence_told;
    }
    all
}

/// Faults of one name and kind are one, from the first beginning to the last end.
fn faults(records: &[&RunRecord]) -> Vec<FaultRecord> {
    let mut merged: Vec<FaultRecord> = Vec::new();
    let join = |into: &mut Vec<String>, from: &[String]| {
        into.extend(from.iter().cloned());
        into.sort();
        into.dedup();
    };
    for fault in records.iter().flat_map(|run| &run.faults) {
        let known = merged.iter_mut().find(|known| known.name == fault.name && known.kind == fault.kind);
        let Some(known) = known else {
            merged.push(fault.clone());
            continue;
        };
        known.at_ms = known.at_ms.min(fault.at_ms);
        known.until_ms = known.until_ms.max(fault.until_ms);
        join(&mut known.targets, &fault.targets);
        join(&mut known.missed, &fault.missed);
        join(&mut known.never, &fault.never);
        for (what, count) in &fault.affected {
            *known.affected.entry(what.clone()).or_default() += count;
        }
        known.all_back_ms = known.all_back_ms.max(fault.all_back_ms);
        // How many were connected to each gateway afterwards is of one run.
        known.connected_after.clear();
    }
    merged
}

fn hosts(records: &[&RunRecord]) -> BTreeMap<String, HostRecord> {
    let mut merged: BTreeMap<String, HostRecord> = BTreeMap::new();
    for (name, host) in records.iter().flat_map(|run| &run.hosts) {
        let known = merged.entry(name.clone()).or_default();
        known.connected_peak = known.connected_peak.max(host.connected_peak);
    }
    merged
}

fn work(records: &[&RunRecord]) -> BTreeMap<String, WorkRecord> {
    let mut merged: BTreeMap<String, WorkRecord> = BTreeMap::new();
    for (name, work) in records.iter().flat_map(|run| &run.work) {
        let known = merged.entry(name.clone()).or_default();
        known.busy_ms += work.busy_ms;
        known.longest_ms = known.longest_ms.max(work.longest_ms);
        for (what, amount) in &work.done {
            *known.done.entry(what.clone()).or_default() += amount;
        }
    }
    merged
}

fn sometimes(records: &[&RunRecord]) -> Vec<SometimesRecord> {
    let mut merged: Vec<SometimesRecord> = Vec::new();
    for point in records.iter().flat_map(|run| &run.sometimes) {
        match merged.iter_mut().find(|known| known.name == point.name) {
            None => merged.push(point.clone()),
            Some(known) => known.hits += point.hits,
        }
    }
    merged
}

fn pairs(records: &[&RunRecord]) -> Vec<PairRecord> {
    let mut merged: Vec<PairRecord> = Vec::new();
    for pair in records.iter().flat_map(|run| &run.pairs) {
        match merged.iter_mut().find(|known| known.first == pair.first && known.second == pair.second) {
            None => merged.push(pair.clone()),
            Some(known) => known.hits += pair.hits,
        }
    }
    merged
}

/// Of one build on one machine, from the first start; else nothing true could be said in one line.
fn about(records: &[&RunRecord]) -> Option<AboutRecord> {
    let abouts: Vec<&AboutRecord> = records.iter().map(|run| run.about.as_ref()).collect::<Option<_>>()?;
    common(abouts.iter().map(|about| (&about.build, &about.machine)))?;
    abouts.into_iter().min_by_key(|about| &about.started).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn found(name: &str, record: RunRecord) -> Found {
        Found { dir: PathBuf::from(name), record, scenario: None }
    }

    /// A run whose acks took from `from` to `to` ms.
    fn run(seed: u64, from: u64, to: u64) -> RunRecord {
        let mut run = RunRecord { seed, ..testing::passed() };
        let mut histogram = Histogram::new();
        (from..=to).for_each(|ms| histogram.record_us(ms * 1_000));
        run.latency_ms.insert("send_to_ack".into(), histogram.percentiles());
        run.latency_hdr.insert("send_to_ack".into(), histogram.to_base64());
        run
    }

    #[test]
    fn a_record_that_says_pass_beside_a_violated_check_is_violated() {
        let mut wrong = run(1, 1, 900);
        wrong.checks[0].verdict = Verdict::Violated;
        let merged = merge(&[found("a", wrong), found("b", run(2, 1, 900))]).unwrap();
        assert_eq!((merged.verdict, merged.seed), (Verdict::Violated, 1));
        assert_eq!(
            merged.merged.iter().map(|run| run.verdict).collect::<Vec<_>>(),
            [Verdict::Violated, Verdict::Pass]
        );
    }

    #[test]
    fn histograms_are_merged_and_counts_are_summed() {
        let merged = merge(&[found("a", run(1, 1, 900)), found("b", run(2, 901, 1_000))]).unwrap();
        let acks = merged.latency_ms["send_to_ack"];
        // The mean of the two medians, 450 and 950, would be 700.
        assert!((acks.p50 - 500.0).abs() < 1.0 && acks.count == 1_000, "{acks:?}");
        assert_eq!(Histogram::from_base64(&merged.latency_hdr["send_to_ack"]).unwrap().count(), 1_000);
        assert_eq!((merged.messages.sent, merged.clients.virtual_clients), (24_000, 80));
        assert_eq!(merged.clients.connected_peak, 39, "no two runs need have been at the same time");
        assert_eq!((merged.checks[0].evaluated, merged.checks.len()), (2 * 1_234_567, 3));
        assert_eq!(merged.faults[0].affected["connections_closed"], 2_408);
        assert_eq!((merged.simulated_ms, merged.length_ms()), (120_000, 60_000), "a fault at 10 s is at a sixth");
        assert_eq!((merged.verdict, merged.merged.len()), (Verdict::Pass, 2));
        assert_eq!(merged.service_levels[0].count, 24_000);
        assert!((merged.service_levels[0].found_ms - 990.0).abs() < 1.0, "{:?}", merged.service_levels);
    }

    #[test]
    fn the_worst_decides_and_what_is_merged_can_be_merged_again() {
        let mut broken = RunRecord { latency_ms: BTreeMap::new(), ..testing::violated() };
        broken.seed = 9;
        let early = found("a", broken);
        let pair = merge(&[found("b", run(1, 1, 10)), early]).unwrap();
        assert_eq!((pair.verdict, pair.seed), (Verdict::Violated, 9));
        assert_eq!(pair.scenario, "2 scenarios");
        let first = pair.checks[1].first.as_ref().unwrap();
        assert!(first.message.contains(".toml seed 9: Message"), "{}", first.message);
        assert!(merge(&[found("c", pair.clone()), found("b", run(1, 1, 10))]).is_err(), "it would count twice");
        let again = merge(&[found("c", pair), found("d", run(3, 1, 10))]).unwrap();
        assert_eq!(again.merged.iter().map(|run| run.seed).collect::<Vec<_>>(), [1, 9, 3]);
        assert_eq!(again.checks[1].first.as_ref().unwrap().message.matches("seed 9").count(), 1);
    }

    #[test]
    fn two_files_of_one_name_are_told() {
        let with = |seed, text: &str| Found { scenario: Some(text.to_owned()), ..found("a", run(seed, 1, 2)) };
        assert!(notes(&[with(1, "seed = 1\nusers = 2"), with(2, "seed = 2\nusers = 2")]).is_empty());
        let told = notes(&[with(1, "users = 2"), with(2, "users = 3"), with(3, "users = 4")]);
        assert_eq!(told, ["scenarios/smoke.toml is several files that differ: they count as one scenario"]);
    }

    #[test]
    fn what_cannot_be_merged_is_refused() {
        let told = |runs: &[Found]| merge(runs).unwrap_err().to_string();
        assert!(told(&[]).contains("nothing to merge"));
        assert!(
            told(&[found("a", run(1, 1, 2)), found("a", run(1, 1, 2))]).contains("a: this record is here twice")
        );
        let old = told(&[found("old", testing::passed())]);
        assert!(old.contains("old: the record has percentiles of send to ack and not the histogram"), "{old}");
    }
}
