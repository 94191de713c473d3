//! What happened when, in all runs together: second by second from the beginning of each.
//!
//! Only of runs of one length: what is over in one cannot be added to what goes on in another. Levels and counts are sums, latencies are merged
//! by the histograms of their points.

use crate::record::RunRecord;
use crate::series::{LatencySeries, Series};
use std::collections::{BTreeMap, BTreeSet};

/// Why several runs have no series together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Apart {
    #[error("{run} has kept nothing of what happened when, as a sweep does of runs that pass")]
    NothingKept { run: String },
    #[error(
        "{run} has {points} points of {interval_ms} ms, {first} has {first_points} of {first_interval_ms} ms: only runs of one length can be added up"
    )]
    OfAnotherLength {
        run: String,
        points: usize,
        interval_ms: u64,
        first: String,
        first_points: usize,
        first_interval_ms: u64,
    },
    #[error("the latencies of {run} over time cannot be read")]
    Unreadable { run: String },
}

fn named(run: &RunRecord) -> String {
    match run.merged.is_empty() {
        true => format!("{} seed {}", run.scenario, run.seed),
        false => format!("{}, {} runs", run.scenario, run.merged.len()),
    }
}

/// The sums over runs that have the same points. Wall time and memory are of one process and left out.
///
/// # Errors
/// They have not the same points.
pub fn merged(records: &[&RunRecord]) -> Result<Series, Apart> {
    let mut merged = Series::default();
    let mut first: Option<(&RunRecord, &Series)> = None;
    let mut latencies: BTreeMap<&str, Vec<&LatencySeries>> = BTreeMap::new();
    for run in records {
        let series = run.series.as_ref().filter(|series| series.points() > 0);
        let series = series.ok_or_else(|| Apart::NothingKept { run: named(run) })?;
        let (leader, lead) = *first.get_or_insert((run, series));
        let (points, interval_ms) = (series.points(), series.interval_ms);
        if (points, interval_ms) != (lead.points(), lead.interval_ms) {
            return Err(Apart::OfAnotherLength {
                run: named(run),
                points,
                interval_ms,
                first: named(leader),
                first_points: lead.points(),
                first_interval_ms: lead.interval_ms,
            });
        }
        merged.interval_ms = interval_ms;
        add(&mut merged.levels, &series.levels, points);
        add(&mut merged.counts, &series.counts, points);
        for (name, latency) in &series.latency_ms {
            if LatencySeries::merged(&[latency], points).is_none() {
                return Err(Apart::Unreadable { run: named(run) });
            }
            latencies.entry(name).or_default().push(latency);
        }
    }
    merged.counts.remove("wall_us");
    let points = merged.points();
    let together =
        latencies.into_iter().filter_map(|(name, all)| Some((name, LatencySeries::merged(&all, points)?)));
    merged.latency_ms = together.map(|(name, series)| (name.to_owned(), series)).collect();
    // What only some have measured all along is told of none: the sum would be that of fewer runs.
    let has_all = |name: &String| {
        records
            .iter()
            .filter_map(|run| run.series.as_ref())
            .all(|series| series.levels.contains_key(name) || series.counts.contains_key(name))
    };
    let partial: BTreeSet<String> =
        merged.levels.keys().chain(merged.counts.keys()).filter(|name| !has_all(name)).cloned().collect();
    merged.levels.retain(|name, _| !partial.contains(name));
    merged.counts.retain(|name, _| !partial.contains(name));
    Ok(merged)
}

fn add(into: &mut BTreeMap<String, Vec<u64>>, from: &BTreeMap<String, Vec<u64>>, points: usize) {
    for (name, values) in from {
        let sums = into.entry(name.clone()).or_insert_with(|| vec![0; points]);
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Sample, SeriesBuilder};
    use crate::testing;

    fn run(interval_ms: u64, sends: &[u64]) -> RunRecord {
        let counts = [("sends".to_owned(), sends.to_vec()), ("wall_us".to_owned(), sends.to_vec())];
        let series = Series { interval_ms, counts: counts.into(), ..Series::default() };
        RunRecord { series: Some(series), ..testing::passed() }
    }

    fn latency(us: &[&[u64]]) -> LatencySeries {
        let mut builder = SeriesBuilder::new(&["send_to_ack"]);
        for point in us {
            point.iter().for_each(|us| builder.record_us(0, *us));
            builder.end_second(Sample::default());
        }
        builder.finish().latency_ms.remove("send_to_ack").unwrap()
    }

    #[test]
    fn runs_of_one_length_are_added_point_by_point_and_of_others_it_is_said() {
        let (mut a, b) = (run(1_000, &[1, 2, 3]), run(1_000, &[10, 20, 30]));
        let both = merged(&[&a, &b]).unwrap();
        assert_eq!(both.counts, [("sends".to_owned(), vec![11, 22, 33])].into());
        let other = merged(&[&a, &run(2_000, &[1, 2, 3])]).unwrap_err();
        assert!(
            other.to_string().contains("3 points of 2000 ms") && other.to_string().contains("of 1000 ms"),
            "{other}"
        );
        assert!(matches!(merged(&[&a, &run(1_000, &[1, 2])]), Err(Apart::OfAnotherLength { .. })));
        let none = merged(&[&a, &testing::passed()]).unwrap_err();
        assert!(none.to_string().contains("has kept nothing of what happened when"), "{none}");
        a.series.as_mut().unwrap().levels.insert("backlog".into(), vec![7, 7, 7]);
        assert!(merged(&[&a, &b]).unwrap().levels.is_empty(), "the sum would be of one run");
    }

    #[test]
    fn latencies_are_merged_by_the_histograms_of_their_points() {
        let with = |us: &[&[u64]]| {
            let mut run = run(1_000, &[1, 2]);
            run.series.as_mut().unwrap().latency_ms.insert("send_to_ack".into(), latency(us));
            run
        };
        let (a, b) = (with(&[&[1_000], &[9_000]]), with(&[&[3_000, 3_000], &[]]));
        let both = merged(&[&a, &b, &run(1_000, &[1, 2])]).unwrap();
        assert_eq!(both.latency_ms["send_to_ack"], latency(&[&[1_000, 3_000, 3_000], &[9_000]]));
        let mut broken = b.clone();
        broken.series.as_mut().unwrap().latency_ms.get_mut("send_to_ack").unwrap().hdr[0] = "x".into();
        assert!(matches!(merged(&[&a, &broken]), Err(Apart::Unreadable { .. })));
    }
}
