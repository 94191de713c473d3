//! What happened when: a point for every so many simulated seconds, never more than about a thousand of them.
//!
//! A run does not know how long it will be. When there are too many points, every two become one and points are twice as
//! far apart from then on.
//!
//! **Invariants:** a count belongs to one point and is in no other, so that a column adds up to the total of the run; a level is the one at
//! the end of its point. Points are merged by their histograms, never by their percentiles. Guarded by the tests below.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram as Hdr;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A series has at most so many points, and at least half as many once it has been that long.
pub const MOST_POINTS: usize = 960;
/// Percentiles of one point are within 1 %.
const SIGNIFICANT_FIGURES: u8 = 2;
const LONGEST_US: u64 = 24 * 3_600 * 1_000_000;

/// What happened when. All columns have a value for every point.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Simulated time between two points, in ms. The first point ends at this time.
    pub interval_ms: u64,
    /// How things stood at the end of each point, by what was counted: `connected`, `backlog`, ….
    pub levels: BTreeMap<String, Vec<u64>>,
    /// How often something happened within each point: `connects`, `sends`, `acks`, ….
    pub counts: BTreeMap<String, Vec<u64>>,
    /// Latencies within each point, by what was measured.
    pub latency_ms: BTreeMap<String, LatencySeries>,
    /// Bytes that each component held at the end of each point.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub memory_bytes: BTreeMap<String, Vec<u64>>,
}

/// A latency over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySeries {
    /// 0 where nothing was measured; then the others are 0, too.
    pub count: Vec<u64>,
    pub p50: Vec<f64>,
    pub p99: Vec<f64>,
    pub max: Vec<f64>,
    /// The histogram of each point in the V2 format of HdrHistogram, in base64: µs, within 1 %; empty where nothing was measured.
    pub hdr: Vec<String>,
}

impl LatencySeries {
    /// All of these together, point by point, by their histograms; `None` where one cannot be read, or has not so many points.
    pub fn merged(all: &[&LatencySeries], points: usize) -> Option<LatencySeries> {
        let mut together = vec![interval(); points];
        for series in all {
            if series.hdr.len() != points {
                return None;
            }
            for (into, text) in together.iter_mut().zip(&series.hdr).filter(|(_, text)| !text.is_empty()) {
                into.add(decode(&BASE64.decode(text).ok()?)?).ok()?;
            }
        }
        let encoded: Vec<Vec<u8>> = together.iter().map(encode).collect();
        Some(over_time(&encoded))
    }
}

impl Series {
    pub fn points(&self) -> usize {
        let columns = self.levels.values().chain(self.counts.values()).map(Vec::len);
        columns.max().unwrap_or(0)
    }

    /// The end of a point, in seconds of the run.
    pub fn end_s(&self, point: usize) -> f64 {
        (point as u64 + 1) as f64 * self.interval_ms as f64 / 1_000.0
    }
}

/// How things stand at the end of a simulated second.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// By name.
    pub levels: Vec<(&'static str, u64)>,
    /// How often something has happened since the beginning of the run.
    pub totals: Vec<(&'static str, u64)>,
    /// What components hold; empty where nobody has looked.
    pub memory_bytes: BTreeMap<String, u64>,
}

type Interval = Hdr<u64>;

/// The latencies of one measure: of the point that is under way, and of those before it.
struct Measured {
    name: &'static str,
    now: Interval,
    /// V2, not deflated; empty for nothing.
    points: Vec<Vec<u8>>,
}

/// Makes a series while a run goes on.
pub struct SeriesBuilder {
    interval_s: u64,
    /// Seconds of the point that is under way.
    seconds: u64,
    levels: BTreeMap<&'static str, Vec<u64>>,
    counts: BTreeMap<&'static str, Vec<u64>>,
    memory: BTreeMap<String, Vec<u64>>,
    before: BTreeMap<&'static str, u64>,
    measured: Vec<Measured>,
    last: Sample,
    points: usize,
    most: usize,
}

impl SeriesBuilder {
    /// For these measures, which are told by their place in the list.
    pub fn new(measures: &[&'static str]) -> Self {
        SeriesBuilder::with_most(measures, MOST_POINTS)
    }

    fn with_most(measures: &[&'static str], most: usize) -> Self {
        let measured = |name: &&'static str| Measured { name, now: interval(), points: Vec::new() };
        SeriesBuilder {
            interval_s: 1,
            seconds: 0,
            levels: BTreeMap::new(),
            counts: BTreeMap::new(),
            memory: BTreeMap::new(),
            before: BTreeMap::new(),
            measured: measures.iter().map(measured).collect(),
            last: Sample::default(),
            points: 0,
            most,
        }
    }

    /// Something took so long.
    pub fn record_us(&mut self, measure: usize, us: u64) {
        self.measured[measure].now.saturating_record(us.min(LONGEST_US));
    }

    /// A simulated second is over.
    pub fn end_second(&mut self, sample: Sample) {
        if self.points == self.most {
            self.coarsen();
        }
        self.seconds += 1;
        self.last = sample;
        if self.seconds == self.interval_s {
            self.end_point();
        }
    }

    fn end_point(&mut self) {
        self.seconds = 0;
        self.points += 1;
        let sample = std::mem::take(&mut self.last);
        for (name, level) in &sample.levels {
            column(&mut self.levels, name, self.points).push(*level);
        }
        for (name, total) in &sample.totals {
            let before = self.before.insert(name, *total).unwrap_or(0);
            column(&mut self.counts, name, self.points).push(total.saturating_sub(before));
        }
        for (name, bytes) in &sample.memory_bytes {
            column(&mut self.memory, name, self.points).push(*bytes);
        }
        // A component that nobody has looked at this time holds what it held.
        for values in self.memory.values_mut() {
            let held = values.last().copied().unwrap_or(0);
            values.resize(self.points, held);
        }
        for measured in &mut self.measured {
            measured.points.push(encode(&measured.now));
            if !measured.now.is_empty() {
                measured.now.reset();
            }
        }
    }

    /// Makes one point of every two.
    fn coarsen(&mut self) {
        self.interval_s *= 2;
        self.points /= 2;
        for level in self.levels.values_mut().chain(self.memory.values_mut()) {
            *level = level.chunks_exact(2).map(|pair| pair[1]).collect();
        }
        for counts in self.counts.values_mut() {
            *counts = counts.chunks_exact(2).map(|pair| pair[0] + pair[1]).collect();
        }
        for measured in &mut self.measured {
            let merged = |pair: &[Vec<u8>]| match (pair[0].is_empty(), pair[1].is_empty()) {
                (true, _) => pair[1].clone(),
                (_, true) => pair[0].clone(),
                (false, false) => {
                    let mut both = decode(&pair[0]).expect("it was encoded here");
                    both.add(decode(&pair[1]).expect("it was encoded here")).expect("both have the same bounds");
                    encode(&both)
                }
            };
            measured.points = measured.points.chunks_exact(2).map(merged).collect();
        }
    }

    /// The series so far; a point that is under way ends here.
    pub fn finish(mut self) -> Series {
        if self.seconds > 0 {
            self.end_point();
        }
        let named = |columns: BTreeMap<&'static str, Vec<u64>>| {
            columns.into_iter().map(|(name, values)| (name.to_owned(), values)).collect()
        };
        let latencies = self.measured.iter().filter(|measured| measured.points.iter().any(|p| !p.is_empty()));
        Series {
            interval_ms: self.interval_s * 1_000,
            levels: named(self.levels),
            counts: named(self.counts),
            latency_ms: latencies
                .map(|measured| (measured.name.to_owned(), over_time(&measured.points)))
                .collect(),
            memory_bytes: self.memory,
        }
    }
}

/// A column that has a value for every point before this one: 0 where it did not exist yet.
fn column<'c, K: Ord + Clone>(
    columns: &'c mut BTreeMap<K, Vec<u64>>,
    name: &K,
    points: usize,
) -> &'c mut Vec<u64> {
    let values = columns.entry(name.clone()).or_default();
    values.resize(points - 1, 0);
    values
}

fn interval() -> Interval {
    Hdr::new_with_bounds(1, LONGEST_US, SIGNIFICANT_FIGURES)
        .expect("the bounds are constants that hdrhistogram takes")
}

fn encode(interval: &Interval) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !interval.is_empty() {
        V2Serializer::new()
            .serialize(interval, &mut bytes)
            .expect("a histogram of so few buckets fits the format, and memory takes all that is written");
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Interval> {
    let mut all = interval();
    all.add(read(bytes)?).ok()?;
    Some(all)
}

/// A histogram as it was written, whatever its bounds.
fn read(bytes: &[u8]) -> Option<Interval> {
    Deserializer::new().deserialize(&mut &bytes[..]).ok()
}

fn over_time(points: &[Vec<u8>]) -> LatencySeries {
    let mut series = LatencySeries::default();
    for bytes in points {
        let interval = if bytes.is_empty() { None } else { read(bytes) };
        // To the hundredth of a millisecond: more is not known.
        let ms = |us: u64| (us as f64 / 10.0).round() / 100.0;
        let at = |quantile: f64| interval.as_ref().map_or(0.0, |i| ms(i.value_at_quantile(quantile).min(i.max())));
        series.count.push(interval.as_ref().map_or(0, Interval::len));
        series.p50.push(at(0.5));
        series.p99.push(at(0.99));
        series.max.push(at(1.0));
        series.hdr.push(BASE64.encode(bytes));
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u64) -> Sample {
        let memory_bytes =
            if second.is_multiple_of(4) { [("fleet".to_owned(), 100 * second)].into() } else { BTreeMap::new() };
        Sample { levels: vec![("connected", second)], totals: vec![("sends", second * second)], memory_bytes }
    }

    fn of_seconds(seconds: u64, most: usize) -> Series {
        let mut builder = SeriesBuilder::with_most(&["send_to_ack", "reconnect"], most);
        for second in 1..=seconds {
            (0..second).for_each(|_| builder.record_us(0, second * 1_000));
            builder.end_second(sample(second));
        }
        builder.finish()
    }

    #[test]
    fn a_short_run_has_a_point_a_second() {
        let series = of_seconds(5, 8);
        assert_eq!((series.interval_ms, series.points()), (1_000, 5));
        assert_eq!(series.levels["connected"], [1, 2, 3, 4, 5]);
        assert_eq!(series.counts["sends"], [1, 3, 5, 7, 9]);
        assert_eq!(series.memory_bytes["fleet"], [0, 0, 0, 400, 400]);
        let acks = &series.latency_ms["send_to_ack"];
        assert_eq!(acks.count, [1, 2, 3, 4, 5]);
        assert!((acks.p99[4] - 5.0).abs() < 0.06, "{:?}", acks.p99);
        assert!(!series.latency_ms.contains_key("reconnect"), "nothing was measured");
        assert_eq!(series.end_s(4), 5.0);
    }

    #[test]
    fn a_long_run_has_coarser_points_that_add_up_to_the_same() {
        let (fine, coarse) = (of_seconds(30, 1_000), of_seconds(30, 8));
        assert!(coarse.points() <= 8 && coarse.interval_ms == 4_000, "{}", coarse.points());
        let total = |series: &Series| series.counts["sends"].iter().sum::<u64>();
        assert_eq!((total(&fine), total(&coarse)), (900, 900));
        assert_eq!(coarse.levels["connected"], [4, 8, 12, 16, 20, 24, 28, 30]);
        let [fine, coarse] = [&fine.latency_ms["send_to_ack"], &coarse.latency_ms["send_to_ack"]];
        assert_eq!(fine.count.iter().sum::<u64>(), coarse.count.iter().sum::<u64>());
        // Seconds 25 to 28: the slowest is the 28th, and the median lies in the 27th.
        assert!((coarse.max[6] - 28.0).abs() < 0.3 && (coarse.p50[6] - 27.0).abs() < 0.3, "{coarse:?}");
    }

    #[test]
    fn latencies_of_several_runs_are_those_of_one_that_measured_all_of_it() {
        let (short, long, both) = (of_seconds(3, 8), of_seconds(5, 8), {
            let mut builder = SeriesBuilder::with_most(&["send_to_ack"], 8);
            for second in 1..=5u64 {
                let twice = if second <= 3 { 2 } else { 1 };
                (0..second * twice).for_each(|_| builder.record_us(0, second * 1_000));
                builder.end_second(sample(second));
            }
            builder.finish()
        });
        let of = |series: &Series| series.latency_ms["send_to_ack"].clone();
        let mut padded = of(&short);
        assert_eq!(LatencySeries::merged(&[&padded, &of(&long)], 5), None, "they have not as many points");
        padded.hdr.resize(5, String::new());
        assert_eq!(LatencySeries::merged(&[&padded, &of(&long)], 5), Some(of(&both)));
        padded.hdr[1] = "no histogram".into();
        assert_eq!(LatencySeries::merged(&[&padded, &of(&long)], 5), None);
    }

    #[test]
    fn what_begins_late_was_nothing_before() {
        let mut builder = SeriesBuilder::with_most(&[], 8);
        builder.end_second(Sample::default());
        builder.end_second(Sample { levels: vec![("backlog", 7)], ..Sample::default() });
        assert_eq!(builder.finish().levels["backlog"], [0, 7]);
    }

    #[test]
    fn nothing_at_all_is_a_series_without_points() {
        assert_eq!(SeriesBuilder::new(&["send_to_ack"]).finish().points(), 0);
    }
}
