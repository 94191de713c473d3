//! Latencies by percentile: how the slowest fared, on an axis that gives every further nine the same room.

use super::{Line, Plot, Shape, Unit, XAxis, YAxis};
use crate::latency::Histogram;

/// Points that halve what is left: enough for a smooth curve.
const STEPS: u32 = 4;
/// Up to 99.999 %.
const MOST_NINES: f64 = 5.0;

/// The curve of a histogram.
pub fn line(name: String, histogram: &Histogram) -> Line {
    // An axis of powers of ten has no place for nothing: a curve begins with the first value above it.
    let points = histogram
        .curve(STEPS)
        .into_iter()
        .filter(|(_, ms)| *ms > 0.0)
        .map(|(share, ms)| (-share.log10(), ms))
        .filter(|(nines, _)| *nines <= MOST_NINES)
        .map(|(nines, ms)| (nines.max(0.0), ms));
    Line { name, shape: Shape::Line, points: points.collect() }
}

/// Such curves in one plot.
pub fn plot(id: &str, title: &str, lines: Vec<Line>, words: String) -> Plot {
    let end = lines.iter().flat_map(|line| line.points.last()).map(|(nines, _)| *nines).fold(1.0, f64::max);
    Plot {
        id: id.to_owned(),
        title: title.to_owned(),
        x: XAxis::Nines(end.min(MOST_NINES)),
        y: YAxis::Logarithmic,
        unit: Unit::Milliseconds,
        lines,
        windows: Vec::new(),
        words,
    }
}
