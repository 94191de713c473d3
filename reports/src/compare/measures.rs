//! What is compared of two runs: each measure with its unit, which way is better, and whether the machine has a say in it.

use crate::number::{bytes, milliseconds};
use crate::record::{RunRecord, ratio};
use std::collections::BTreeSet;

/// Which way a measure gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Lower,
    Higher,
    /// Neither: it says what the runs were like.
    Neither,
}

/// What a measure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    /// Things a simulated second.
    PerSecond,
    /// Things.
    Count,
    /// Simulated over real time.
    Times,
    Bytes,
}

impl Unit {
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::Milliseconds => format!("{} ms", milliseconds(value)),
            Unit::PerSecond => format!("{}/s", milliseconds(value)),
            Unit::Count => milliseconds(value),
            Unit::Times => format!("{} x", milliseconds(value)),
            Unit::Bytes => bytes(value.max(0.0).round() as u64),
        }
    }
}

/// Gives the value of a run; `None` where it has measured nothing.
type Of = Box<dyn Fn(&RunRecord) -> Option<f64>>;

/// Something that is compared.
pub struct Measure {
    /// As it is printed, and named in a file of bounds.
    pub name: String,
    pub unit: Unit,
    pub better: Better,
    /// It depends on the machine and on what else it did meanwhile; all others follow from scenario, seed and build.
    pub of_machine: bool,
    pub of: Of,
}

fn measure(name: &str, unit: Unit, better: Better, of: impl Fn(&RunRecord) -> Option<f64> + 'static) -> Measure {
    Measure { name: name.to_owned(), unit, better, of_machine: false, of: Box::new(of) }
}

/// All measures of these runs, in the order of the table.
pub fn all<'r>(runs: impl Iterator<Item = &'r RunRecord>) -> Vec<Measure> {
    let latencies: BTreeSet<&String> =
        runs.flat_map(|run| run.latency_ms.iter().filter(|(_, p)| p.count > 0).map(|(name, _)| name)).collect();
    let mut measures: Vec<Measure> = latencies.into_iter().flat_map(|name| latency(name)).collect();
    measures.extend(throughput());
    measures.extend(coverage());
    measures.extend(machine());
    measures
}

fn latency(name: &str) -> [Measure; 3] {
    ["p50", "p99", "max"].map(|which| {
        let key = name.to_owned();
        let of = move |run: &RunRecord| {
            let p = run.latency_ms.get(&key).filter(|p| p.count > 0)?;
            Some(match which {
                "p50" => p.p50,
                "p99" => p.p99,
                _ => p.max,
            })
        };
        measure(&format!("{} {which}", name.replace('_', " ")), Unit::Milliseconds, Better::Lower, of)
    })
}

fn throughput() -> [Measure; 4] {
    let a_second = |of: fn(&RunRecord) -> u64| {
        move |run: &RunRecord| (run.simulated_ms > 0).then(|| 1_000.0 * ratio(of(run), run.simulated_ms))
    };
    let frames = |run: &RunRecord| -> Option<f64> {
        let frames = run.phases.iter().map(|phase| phase.frames).sum();
        (run.messages.displayed > 0).then(|| ratio(frames, run.messages.displayed))
    };
    let resent = |run: &RunRecord| (run.messages.sent > 0).then(|| ratio(run.messages.resent, run.messages.sent));
    [
        measure("acked", Unit::PerSecond, Better::Higher, a_second(|run| run.messages.acked)),
        measure("shown", Unit::PerSecond, Better::Higher, a_second(|run| run.messages.displayed)),
        measure("frames for one shown", Unit::Count, Better::Lower, frames),
        measure("copies for one sent", Unit::Count, Better::Lower, resent),
    ]
}

fn coverage() -> [Measure; 2] {
    let points = |run: &RunRecord| Some(run.sometimes.iter().filter(|point| point.hits > 0).count() as f64);
    let pairs = |run: &RunRecord| Some(run.pairs.iter().filter(|pair| pair.hits > 0).count() as f64);
    [
        measure("points reached", Unit::Count, Better::Neither, points),
        measure("pairs of faults met", Unit::Count, Better::Neither, pairs),
    ]
}

fn machine() -> [Measure; 2] {
    let speed = |run: &RunRecord| Some(run.speed).filter(|speed| *speed > 0.0);
    let memory = |run: &RunRecord| Some(run.memory.peak_rss_bytes as f64).filter(|bytes| *bytes > 0.0);
    [
        Measure { of_machine: true, ..measure("speed", Unit::Times, Better::Higher, speed) },
        Measure { of_machine: true, ..measure("peak memory", Unit::Bytes, Better::Lower, memory) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn what_was_never_measured_is_not_compared() {
        let run = testing::passed();
        let measures = all(std::iter::once(&run));
        let names: Vec<&str> = measures.iter().map(|measure| measure.name.as_str()).collect();
        assert!(
            names.starts_with(&["send to ack p50", "send to ack p99", "send to ack max", "acked"]),
            "{names:?}"
        );
        let value = |name: &str| (measures.iter().find(|measure| measure.name == name).unwrap().of)(&run);
        assert_eq!(value("send to ack p99"), Some(41.2));
        assert_eq!(value("shown"), Some(400.0));
        assert_eq!(value("points reached"), Some(1.0));
        assert_eq!(value("speed"), Some(240.0));
    }
}
