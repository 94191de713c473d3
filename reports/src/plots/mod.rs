//! Plots: lines over time or over percentiles, drawn by plotters as SVG that stands in a page.
//!
//! | file | is |
//! |---|---|
//! | `mod` | what a plot says: axes, lines, windows of faults |
//! | `draw` | its picture |
//! | `windows` | where the names of faults stand, so that none covers another |
//! | `figure` | the picture in a page: title, legend, words for who cannot see it, table |
//! | `of_run` | the plots of a run |
//! | `percentiles` | latencies by percentile, on an axis of nines |
//!
//! **Invariants:** the same record gives the same bytes. Colours are the page's CSS variables, so a plot is readable by day and by night.
//! A picture is drawn twice, for wide and for narrow pages, so that its text has the same size on both.

mod draw;
mod figure;
mod of_run;
pub(crate) mod percentiles;
mod windows;

pub use figure::{STYLE, render};
pub use of_run::plots;

/// What a line is drawn as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Line,
    /// Filled down to the line that follows, or to the axis.
    Area,
    /// On top of those before it.
    Stacked,
    /// A line with a dot at each point: points are few, and each is something by itself.
    Dotted,
}

/// One line of a plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub name: String,
    pub shape: Shape,
    /// In the order of x.
    pub points: Vec<(f64, f64)>,
}

/// What x counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum XAxis {
    /// Seconds of the run, from 0 to this.
    Seconds(f64),
    /// The share of what was measured that took longer, as nines: 1 is one in ten, 2 one in a hundred; from 0 to this.
    Nines(f64),
    /// Seconds since 1970, from and to.
    Dates(f64, f64),
    /// So many of something, from 0 to this.
    Count(f64, &'static str),
}

/// How y is spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YAxis {
    /// From 0.
    Linear,
    Logarithmic,
}

/// What y counts, for its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Things a second.
    PerSecond,
    /// Milliseconds.
    Milliseconds,
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Simulated time over real time.
    Times,
    /// A share.
    Percent,
}

/// The time in which a fault was in force, in seconds of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    pub name: String,
    pub from: f64,
    pub until: f64,
}

/// A plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// Of the page's parts the only one with this name; letters and hyphens.
    pub id: String,
    pub title: String,
    pub x: XAxis,
    pub y: YAxis,
    pub unit: Unit,
    pub lines: Vec<Line>,
    pub windows: Vec<Window>,
    /// What the plot says, for who cannot see it.
    pub words: String,
}

impl Unit {
    /// For the head of the axis.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Count => "number",
            Unit::PerSecond => "a second",
            Unit::Milliseconds => "time",
            Unit::Bytes => "bytes",
            Unit::BytesPerSecond => "bytes a second",
            Unit::Times => "times real time",
            Unit::Percent => "of a hundred",
        }
    }

    /// A value, short.
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::Count | Unit::PerSecond => short(value, 1_000.0, &["", " k", " M", " G"]),
            Unit::Milliseconds if value >= 1_000.0 => format!("{} s", trimmed(value / 1_000.0)),
            Unit::Milliseconds => format!("{} ms", trimmed(value)),
            Unit::Bytes | Unit::BytesPerSecond => short(value, 1_024.0, &[" B", " KiB", " MiB", " GiB", " TiB"]),
            Unit::Times => format!("{} \u{d7}", trimmed(value)),
            Unit::Percent => format!("{} %", trimmed(value)),
        }
    }
}

fn short(value: f64, step: f64, units: &[&str]) -> String {
    let (mut value, mut unit) = (value, 0);
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    format!("{}{}", trimmed(value), units[unit])
}

/// Three digits, without zeros at the end.
fn trimmed(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short_and_have_their_unit() {
        let table = [
            (Unit::Count, 0.0, "0"),
            (Unit::Count, 1_234.0, "1.23 k"),
            (Unit::PerSecond, 20_000.0, "20 k"),
            (Unit::Milliseconds, 0.25, "0.25 ms"),
            (Unit::Milliseconds, 100.0, "100 ms"),
            (Unit::Milliseconds, 2_500.0, "2.5 s"),
            (Unit::Bytes, 3.0 * 1_048_576.0, "3 MiB"),
            (Unit::Times, 12.34, "12.3 \u{d7}"),
        ];
        for (unit, value, text) in table {
            assert_eq!(unit.text(value), text);
        }
    }
}
