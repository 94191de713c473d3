//! A scenario's bounds on latencies, held against what was measured.

use crate::latencies::{Latencies, MEASURES};
use squall_reports::Verdict;
use squall_reports::number::told_apart;
use squall_reports::record::{CheckRecord, FirstViolation, ServiceLevelRecord};
use squall_scenarios::ServiceLevel;

/// Each bound with what was found.
pub fn service_levels(levels: &[ServiceLevel], latencies: &Latencies) -> Vec<ServiceLevelRecord> {
    let record = |ServiceLevel { measure, percentile, at_most }: &ServiceLevel| {
        let histogram = latencies.of(*measure);
        let (_, name) = MEASURES[MEASURES.iter().position(|(known, _)| known == measure).expect("all are there")];
        let found = histogram.percentile_us(*percentile);
        let verdict = match (found <= at_most.as_micros(), histogram.count()) {
            (true, 0) => Verdict::Inconclusive,
            (true, _) => Verdict::Pass,
            (false, _) => Verdict::Violated,
        };
        ServiceLevelRecord {
            measure: name.to_owned(),
            percentile: *percentile,
            found_ms: found as f64 / 1_000.0,
            at_most_ms: at_most.as_micros() as f64 / 1_000.0,
            count: histogram.count(),
            verdict,
        }
    };
    levels.iter().map(record).collect()
}

/// All bounds on latencies as one more check, at `t` µs, the end of the run.
pub fn service_level_check(levels: &[ServiceLevelRecord], t: u64) -> CheckRecord {
    let evaluated = levels.iter().map(|level| level.count).sum();
    let violated: Vec<_> = levels.iter().filter(|level| level.verdict == Verdict::Violated).collect();
    let first = violated.first().map(|level| FirstViolation {
        t,
        conversation: String::new(),
        seq: None,
        client_msg_id: None,
        device: None,
        user: None,
        level: None,
        message: {
            let (found, at_most) = told_apart(level.found_ms, level.at_most_ms);
            let measure = level.measure.replace('_', "-");
            format!("{measure} p{} is {found} ms, over the scenario's {at_most} ms", level.percentile)
        },
    });
    let verdict = match violated.len() {
        // A level of which nothing was measured is not met, it is unknown.
        0 if levels.iter().any(|level| level.verdict == Verdict::Inconclusive) => Verdict::Inconclusive,
        0 => Verdict::Pass,
        _ => Verdict::Violated,
    };
    let violations = violated.len() as u64;
    CheckRecord { name: "service-levels".into(), verdict, evaluated, exposed: evaluated, violations, first }
}
