//! The plots of a run: how latencies are spread and how they went, who was connected, what was written, what was owed, what it took.

use super::percentiles;
use super::{Line, Plot, Shape, Unit, Window, XAxis, YAxis};
use crate::latency::Histogram;
use crate::record::RunRecord;
use crate::series::Series;

/// What was measured in fewer points than these is told in the table of latencies and makes no curve.
const FEWEST_POINTS: usize = 5;
/// Of fewer samples a curve of percentiles would say little.
const FEWEST_SAMPLES: u64 = 20;
/// Components of the plot of memory; the smallest ones are together.
const COMPONENTS: usize = 7;

/// The plots of a run, in the order of the page; those of which the record has nothing are left out.
pub fn plots(run: &RunRecord) -> Vec<Plot> {
    let mut plots: Vec<Plot> = percentiles(run).into_iter().collect();
    if let Some(series) = run.series.as_ref().filter(|series| series.points() > 0) {
        plots.extend(latencies(run, series));
        plots.extend(connections(run, series));
        plots.extend(messages(run, series));
        plots.extend(typing(run, series));
        plots.extend(backlog(run, series));
        plots.extend(receipts(run, series));
        plots.extend(presence(run, series));
        plots.extend(commits(run, series));
        plots.extend(traffic(run, series));
        plots.extend(memory(run, series));
        plots.extend(speed(run, series));
    }
    plots
}

fn percentiles(run: &RunRecord) -> Option<Plot> {
    let lines: Vec<Line> = run
        .latency_hdr
        .iter()
        .filter_map(|(name, text)| Some((name, Histogram::from_base64(text).ok()?)))
        .filter(|(_, histogram)| histogram.count() >= FEWEST_SAMPLES)
        .map(|(name, histogram)| percentiles::line(worded(name), &histogram))
        .collect();
    let told = run
        .latency_ms
        .iter()
        .filter(|(_, p)| p.count > 0)
        .map(|(name, p)| format!("{}: median {}, 99th percentile {}", worded(name), ms(p.p50), ms(p.p99)));
    let words = format!("Latencies by percentile. {}.", told.collect::<Vec<_>>().join("; "));
    (!lines.is_empty()).then(|| percentiles::plot("percentiles", "Latency by percentile", lines, words))
}

fn ms(value: f64) -> String {
    Unit::Milliseconds.text(value)
}

/// The times in which faults were in force.
fn windows(run: &RunRecord) -> Vec<Window> {
    let windows = run.faults.iter().filter(|fault| run.has_begun(fault)).map(|fault| Window {
        name: fault.name.clone(),
        from: fault.at_ms as f64 / 1_000.0,
        until: fault.until_ms as f64 / 1_000.0,
    });
    windows.collect()
}

/// A plot over the time of the run.
fn over_time(run: &RunRecord, id: &str, title: &str, unit: Unit, lines: Vec<Line>, words: String) -> Option<Plot> {
    let end = run.length_ms() as f64 / 1_000.0;
    (!lines.is_empty()).then(|| Plot {
        id: id.into(),
        title: title.into(),
        x: XAxis::Seconds(end),
        y: YAxis::Linear,
        unit,
        lines,
        windows: windows(run),
        words,
    })
}

fn worded(name: &str) -> String {
    name.replace('_', " ")
}

/// A line over the points of a series.
fn line(series: &Series, name: &str, shape: Shape, values: impl Iterator<Item = f64>) -> Line {
    let points = values.enumerate().map(|(point, value)| (series.end_s(point), value)).collect();
    Line { name: worded(name), shape, points }
}

fn level(series: &Series, name: &str, shown: &str) -> Option<Line> {
    let values = series.levels.get(name)?;
    Some(line(series, shown, Shape::Line, values.iter().map(|value| *value as f64)))
}

/// How often something happened a second.
fn rate(series: &Series, name: &str, shown: &str) -> Option<Line> {
    let (values, seconds) = (series.counts.get(name)?, series.interval_ms as f64 / 1_000.0);
    Some(line(series, shown, Shape::Line, values.iter().map(|value| *value as f64 / seconds)))
}

/// Bands of latency: median, 99th percentile, maximum.
fn latencies(run: &RunRecord, series: &Series) -> Vec<Plot> {
    let one = |(name, latency): (&String, &crate::series::LatencySeries)| {
        // What was not measured in a point is not drawn as nothing.
        let band = |shown: &str, values: &[f64]| {
            let measured = values.iter().zip(&latency.count).enumerate().filter(|(_, (_, count))| **count > 0);
            let points = measured.map(|(point, (value, _))| (series.end_s(point), value.max(0.01)));
            Line { name: shown.into(), shape: Shape::Line, points: points.collect() }
        };
        let lines = vec![band("p50", &latency.p50), band("p99", &latency.p99), band("max", &latency.max)];
        let worst = latency.max.iter().copied().fold(0.0, f64::max);
        let words = format!(
            "{} over the run in bands of median, 99th percentile and maximum; at worst {}.",
            worded(name),
            ms(worst)
        );
        let title = format!("Latency over time: {}", worded(name));
        let id = format!("latency-{}", name.replace('_', "-"));
        over_time(run, &id, &title, Unit::Milliseconds, lines, words)
            .map(|plot| Plot { y: YAxis::Logarithmic, ..plot })
    };
    let is_worth_it = |latency: &crate::series::LatencySeries| {
        latency.count.iter().filter(|count| **count > 0).count() >= FEWEST_POINTS
    };
    // How long it took until all were back is told once a fault, in the table of faults.
    let series = series.latency_ms.iter().filter(|(name, _)| *name != "all_back");
    series.filter(|(_, latency)| is_worth_it(latency)).filter_map(one).collect()
}

fn most(line: &Line) -> f64 {
    line.points.iter().map(|(_, y)| *y).fold(0.0, f64::max)
}

fn told(lines: &[Line], unit: Unit) -> String {
    let most = lines.iter().map(|line| format!("{} at most {}", line.name, unit.text(most(line))));
    most.collect::<Vec<_>>().join("; ")
}

fn connections(run: &RunRecord, series: &Series) -> Vec<Plot> {
    let there: Vec<Line> = level(series, "connected", "connected").into_iter().collect();
    let came: Vec<Line> = [("connects", "connects"), ("reconnects", "reconnects")]
        .iter()
        .filter_map(|(n, s)| rate(series, n, s))
        .collect();
    let words = format!("Connected devices over the run: {}.", told(&there, Unit::Count));
    let second = format!("Connects over the run, a second: {}.", told(&came, Unit::PerSecond));
    over_time(run, "connected", "Connected devices", Unit::Count, there, words)
        .into_iter()
        .chain(over_time(run, "connects", "Connects and reconnects", Unit::PerSecond, came, second))
        .collect()
}

fn messages(run: &RunRecord, series: &Series) -> Option<Plot> {
    let names = [
        ("sends", "sent"),
        ("acks", "acked"),
        ("displays", "displayed"),
        ("resends", "resent"),
        ("refusals", "refused"),
    ];
    let lines: Vec<Line> = names.iter().filter_map(|(name, shown)| rate(series, name, shown)).collect();
    let words = format!("Messages over the run, a second: {}.", told(&lines, Unit::PerSecond));
    over_time(run, "messages", "Messages in, acked and out", Unit::PerSecond, lines, words)
}

/// Nothing where nobody said so.
fn typing(run: &RunRecord, series: &Series) -> Option<Plot> {
    if run.messages.typing_said == 0 {
        return None;
    }
    let names = [("typing_said", "said"), ("typing_told", "told")];
    let lines: Vec<Line> = names.iter().filter_map(|(name, shown)| rate(series, name, shown)).collect();
    let words = format!("Typing over the run, a second: {}.", told(&lines, Unit::PerSecond));
    over_time(run, "typing", "Typing said and told", Unit::PerSecond, lines, words)
}

/// Nothing where nobody reads.
fn receipts(run: &RunRecord, series: &Series) -> Option<Plot> {
    let names = [("reads", "reads"), ("receipts_told", "told")];
    let lines: Vec<Line> = names.iter().filter_map(|(name, shown)| rate(series, name, shown)).collect();
    let words = format!("Reads and receipts over the run, a second: {}.", told(&lines, Unit::PerSecond));
    over_time(run, "receipts", "What is read, and told to others", Unit::PerSecond, lines, words)
}

/// Where nobody watches there is nothing to draw.
fn presence(run: &RunRecord, series: &Series) -> Option<Plot> {
    let names = [("presence_changes_told", "told"), ("watches", "watches begun")];
    let lines: Vec<Line> = names.iter().filter_map(|(name, shown)| rate(series, name, shown)).collect();
    let words = format!("Who is online, a second: {}.", told(&lines, Unit::PerSecond));
    over_time(run, "presence", "Who is online, told to whoever watches", Unit::PerSecond, lines, words)
}

fn backlog(run: &RunRecord, series: &Series) -> Option<Plot> {
    let lines: Vec<Line> = level(series, "backlog", "owed").into_iter().collect();
    let words = format!("Entries owed to devices that are not connected: {}.", told(&lines, Unit::Count));
    over_time(run, "backlog", "Backlog owed to absent devices", Unit::Count, lines, words)
}

/// How often disks were synced and for how many entries, and what was written: with the syncs this is the size of a commit.
fn commits(run: &RunRecord, series: &Series) -> Vec<Plot> {
    let names = [("entries_committed", "entries"), ("disk_syncs", "syncs")];
    let lines: Vec<Line> = names.iter().filter_map(|(name, shown)| rate(series, name, shown)).collect();
    let words =
        format!("Entries committed and syncs of the shards' disks, a second: {}.", told(&lines, Unit::PerSecond));
    let written: Vec<Line> = rate(series, "disk_bytes", "written").into_iter().collect();
    let size = format!("Written to the shards' disks, a second: {}.", told(&written, Unit::BytesPerSecond));
    over_time(run, "commits", "Commits", Unit::PerSecond, lines, words)
        .into_iter()
        .chain(over_time(run, "disks", "Written to disks", Unit::BytesPerSecond, written, size))
        .collect()
}

fn traffic(run: &RunRecord, series: &Series) -> Option<Plot> {
    let lines: Vec<Line> = rate(series, "wire_bytes", "between hosts and devices").into_iter().collect();
    let words = format!("Bytes on the network over the run, a second: {}.", told(&lines, Unit::BytesPerSecond));
    over_time(run, "traffic", "Traffic", Unit::BytesPerSecond, lines, words)
}

fn memory(run: &RunRecord, series: &Series) -> Option<Plot> {
    let most = |bytes: &[u64]| bytes.iter().copied().max().unwrap_or(0);
    let mut largest: Vec<(&String, &Vec<u64>)> = series.memory_bytes.iter().collect();
    largest.sort_by_key(|(name, bytes)| (std::cmp::Reverse(most(bytes)), *name));
    let rest = largest.split_off(largest.len().min(COMPONENTS));
    let shown =
        |name: &str, bytes: &[u64]| line(series, name, Shape::Stacked, bytes.iter().map(|bytes| *bytes as f64));
    let mut lines: Vec<Line> = largest.iter().map(|(name, bytes)| shown(name, bytes)).collect();
    if !rest.is_empty() {
        let together: Vec<u64> = (0..series.points())
            .map(|point| rest.iter().filter_map(|(_, bytes)| bytes.get(point)).sum())
            .collect();
        lines.push(shown("other", &together));
    }
    let words = format!("Memory of the simulator by component, stacked: {}.", told(&lines, Unit::Bytes));
    over_time(run, "memory", "Memory by component", Unit::Bytes, lines, words)
}

fn speed(run: &RunRecord, series: &Series) -> Option<Plot> {
    let wall = series.counts.get("wall_us")?;
    let simulated_us = series.interval_ms as f64 * 1_000.0;
    let values = wall.iter().map(|wall| if *wall == 0 { 0.0 } else { simulated_us / *wall as f64 });
    let lines = vec![line(series, "speed", Shape::Line, values)];
    let words = format!("Simulated time over real time: {}.", told(&lines, Unit::Times));
    over_time(run, "speed", "Speed of the simulation", Unit::Times, lines, words)
}
