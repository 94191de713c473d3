//! What happened when, in all runs together: second by second from the beginning of each.
//!
//! Only of runs of one length: what is over in one cannot be added to what goes on in another.

use crate::record::RunRecord;
use crate::series::Series;
use std::collections::BTreeMap;

/// The sums over runs that have the same points; `None` where they do not. Wall time and memory are of one process and left out, and latencies
/// by the point as well: those of the whole runs are merged.
pub fn merged(records: &[&RunRecord]) -> Option<Series> {
    let all: Vec<&Series> = records.iter().map(|run| run.series.as_ref()).collect::<Option<_>>()?;
    let (interval_ms, points) = (all.first()?.interval_ms, all.first()?.points());
    if all.iter().any(|series| (series.interval_ms, series.points()) != (interval_ms, points)) {
        return None;
    }
    let mut merged = Series { interval_ms, ..Series::default() };
    for series in all {
        add(&mut merged.levels, &series.levels, points);
        add(&mut merged.counts, &series.counts, points);
    }
    merged.counts.remove("wall_us");
    Some(merged)
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
    use crate::testing;

    fn run(interval_ms: u64, sends: &[u64]) -> RunRecord {
        let counts = [("sends".to_owned(), sends.to_vec()), ("wall_us".to_owned(), sends.to_vec())];
        let series = Series { interval_ms, counts: counts.into(), ..Series::default() };
        RunRecord { series: Some(series), ..testing::passed() }
    }

    #[test]
    fn runs_of_one_length_are_added_point_by_point_and_others_are_not() {
        let (a, b) = (run(1_000, &[1, 2, 3]), run(1_000, &[10, 20, 30]));
        let both = merged(&[&a, &b]).unwrap();
        assert_eq!(both.counts, [("sends".to_owned(), vec![11, 22, 33])].into());
        assert_eq!(merged(&[&a, &run(2_000, &[1, 2, 3])]), None);
        assert_eq!(merged(&[&a, &run(1_000, &[1, 2])]), None);
        assert_eq!(merged(&[&a, &testing::passed()]), None);
    }
}
