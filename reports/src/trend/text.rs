//! A trend for a terminal, in eighty columns.

use super::{Point, Trend};
use crate::date::rfc3339;
use crate::number::{bytes, grouped, milliseconds};
use crate::summary::clean;
use crate::text_table::{TextTable, wrapped};
use std::fmt::Write;

impl Trend {
    /// For a terminal: a table for each scenario and machine.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for scenario in &self.scenarios {
            for machine in &scenario.machines {
                let _ = writeln!(out, "{}", clean(&scenario.scenario));
                wrapped(&mut out, &clean(&machine.machine));
                out.push('\n');
                let header = ["date", "commit", "verdict", "runs", "ack p50", "ack p99", "speed", "memory"];
                let mut table = TextTable::new(3, &header);
                machine.points.iter().for_each(|point| table.row(row(point)));
                table.write(&mut out, |_, _, cell| cell);
                out.push('\n');
            }
        }
        self.notes.iter().for_each(|note| wrapped(&mut out, note));
        out
    }
}

fn row(point: &Point) -> Vec<String> {
    let [p50, p99, _, speed, memory] = point.figures;
    let shown = |value: Option<f64>, text: &dyn Fn(f64) -> String| value.map_or_else(|| "-".to_owned(), text);
    let latency = |ms: f64| match ms {
        ms if ms < 10_000.0 => format!("{} ms", milliseconds(ms)),
        ms => format!("{} s", milliseconds(ms / 1_000.0)),
    };
    vec![
        rfc3339(point.at, 0).chars().take(10).collect(),
        clean(&point.commit),
        point.verdict.name().to_owned(),
        grouped(point.runs as u64),
        shown(p50, &latency),
        shown(p99, &latency),
        shown(speed, &|value| format!("{} x", milliseconds(value))),
        shown(memory, &|value| bytes(value as u64)),
    ]
}

#[cfg(test)]
mod tests {
    use crate::trend::tests::found;
    use crate::trend::trend;

    #[test]
    fn a_trend_fits_eighty_columns() {
        let mut runs = vec![
            found("aaaaaaaaaa", "2026-01-01T00:00:00Z", 2, 10),
            found("bbbbbbbbbb", "2026-02-01T00:00:00Z", 2, 100_000),
        ];
        runs[1].record.verdict = crate::Verdict::Inconclusive;
        let text = trend(&runs).unwrap().text();
        assert!(text.contains("  2026-01-01  aaaaaaa  pass             1  5.00 ms"), "{text}");
        assert!(text.contains("  2026-02-01  bbbbbbb  inconclusive     1   50.0 s   99.0 s"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
