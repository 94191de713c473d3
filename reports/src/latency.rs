//! Latencies: microseconds in, milliseconds out.
//!
//! **Invariants:** recording never fails and never grows: what is longer than a day counts as a day in the percentiles
//! (the maximum stays exact). What is written of a histogram reads back as the same histogram, so that records of several runs are
//! merged by their histograms and never by their percentiles.

use crate::number::milliseconds;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram as Hdr;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

const LONGEST_US: u64 = 24 * 3_600 * 1_000_000;
/// Percentiles are within 0.1 %.
const SIGNIFICANT_FIGURES: u8 = 3;

/// Percentiles of a latency, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub count: u64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Percentiles {
    /// The percentiles and the maximum for people; of nothing there are none.
    pub fn shown(&self) -> [String; 5] {
        let shown = |ms| if self.count == 0 { "-".to_owned() } else { milliseconds(ms) };
        [self.p50, self.p90, self.p99, self.p999, self.max].map(shown)
    }
}

/// A histogram of latencies.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    counts: Hdr<u64>,
    max_us: u64,
}

/// Why text is no histogram.
#[derive(Debug, thiserror::Error)]
#[error("this is no histogram in the V2 format of HdrHistogram, deflated and in base64: {0}")]
pub struct NoHistogram(String);

impl Default for Histogram {
    fn default() -> Self {
        Histogram::new()
    }
}

impl Histogram {
    pub fn new() -> Self {
        let counts = Hdr::new_with_bounds(1, LONGEST_US, SIGNIFICANT_FIGURES)
            .expect("the bounds are constants that hdrhistogram takes");
        Histogram { counts, max_us: 0 }
    }

    pub fn record_us(&mut self, us: u64) {
        self.counts.saturating_record(us.min(LONGEST_US));
        self.max_us = self.max_us.max(us);
    }

    pub fn merge(&mut self, other: &Histogram) {
        self.counts.add(&other.counts).expect("both histograms have the same bounds");
        self.max_us = self.max_us.max(other.max_us);
    }

    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// One percentile in µs; 0 when nothing was recorded.
    pub fn percentile_us(&self, percentile: f64) -> u64 {
        self.counts.value_at_percentile(percentile).min(self.max_us)
    }

    /// The histogram in the V2 format of HdrHistogram, deflated, in base64 (<https://hdrhistogram.org>): µs, within 0.1 %.
    pub fn to_base64(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.counts, &mut bytes)
            .expect("a histogram of so few buckets fits the format, and memory takes all that is written");
        BASE64.encode(bytes)
    }

    /// Reads what [`to_base64`](Self::to_base64) gives. The maximum is then within 0.1 %, as all else is.
    ///
    /// # Errors
    /// The text is none.
    pub fn from_base64(text: &str) -> Result<Self, NoHistogram> {
        let bytes = BASE64.decode(text).map_err(|error| NoHistogram(error.to_string()))?;
        let read: Hdr<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| NoHistogram(error.to_string()))?;
        let mut histogram = Histogram::new();
        histogram.counts.add(&read).map_err(|error| NoHistogram(error.to_string()))?;
        histogram.max_us = if histogram.counts.is_empty() { 0 } else { histogram.counts.max() };
        Ok(histogram)
    }

    /// So many points of the curve of percentiles: the share of what was recorded that took longer than each, from one half on, in
    /// steps that halve it `steps` times each; the last one is the maximum.
    pub fn curve(&self, steps: u32) -> Vec<(f64, f64)> {
        if self.counts.is_empty() {
            return Vec::new();
        }
        let ms = |us: u64| us.min(self.max_us) as f64 / 1_000.0;
        let mut points = Vec::new();
        let mut shares = (0..).map(|n| 0.5_f64.powf(f64::from(n) / f64::from(steps)));
        // Beyond the last recorded value a percentile says nothing.
        let least = 1.0 / self.counts.len() as f64;
        let first = std::iter::once(1.0).chain(shares.by_ref().skip(1)).take_while(|share| *share > least);
        points.extend(first.map(|share| (share, ms(self.counts.value_at_quantile(1.0 - share)))));
        points.push((least, ms(self.max_us)));
        points
    }

    pub fn percentiles(&self) -> Percentiles {
        let ms = |us: u64| us as f64 / 1_000.0;
        // A bucket answers with its upper end, which may lie above everything that was recorded.
        let at = |quantile| ms(self.counts.value_at_quantile(quantile).min(self.max_us));
        Percentiles {
            count: self.count(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(self.max_us),
        }
    }

    /// What the histogram holds.
    pub fn memory_bytes(&self) -> u64 {
        self.counts.distinct_values() as u64 * size_of::<u64>() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds_and_ordered() {
        let mut histogram = Histogram::new();
        (1..=1_000u64).for_each(|ms| histogram.record_us(ms * 1_000));
        let p = histogram.percentiles();
        assert_eq!((p.count, p.max), (1_000, 1_000.0));
        for (found, expected) in [(p.p50, 500.0), (p.p90, 900.0), (p.p99, 990.0), (p.p999, 999.0)] {
            assert!((found - expected).abs() <= expected / 1_000.0 + 0.001, "{found} is not {expected}");
        }
    }

    #[test]
    fn extremes_saturate() {
        let mut histogram = Histogram::new();
        histogram.record_us(0);
        histogram.record_us(u64::MAX);
        let p = histogram.percentiles();
        assert_eq!((p.count, p.p50), (2, 0.0));
        assert!(p.p999 >= 86_400_000.0 && p.max >= p.p999);
    }

    #[test]
    fn merging_is_as_if_recorded_in_one() {
        let (mut one, mut a, mut b) = (Histogram::new(), Histogram::new(), Histogram::new());
        for us in 0..500 {
            one.record_us(us * us);
            if us % 3 == 0 { &mut a } else { &mut b }.record_us(us * us);
        }
        a.merge(&b);
        assert_eq!(a.percentiles(), one.percentiles());
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut histogram = Histogram::new();
        (0..5_000u64).for_each(|n| histogram.record_us(n * n));
        let text = histogram.to_base64();
        let read = Histogram::from_base64(&text).expect("it has been written");
        assert_eq!(read.counts, histogram.counts);
        assert_eq!(read.count(), 5_000);
        let (found, exact) = (read.percentiles().max, histogram.percentiles().max);
        assert!((found - exact).abs() <= exact / 1_000.0, "{found} is not {exact}");
        assert_eq!(Histogram::from_base64(&Histogram::new().to_base64()).unwrap(), Histogram::new());
        for wrong in ["", "AAAA", "not base64!", &text[..text.len() / 2]] {
            assert!(Histogram::from_base64(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_curve_falls_from_all_to_the_slowest() {
        let mut histogram = Histogram::new();
        (1..=1_000u64).for_each(|ms| histogram.record_us(ms * 1_000));
        let curve = histogram.curve(2);
        assert_eq!(curve.first().map(|(share, _)| *share), Some(1.0));
        assert_eq!(curve.last(), Some(&(0.001, 1_000.0)));
        assert!(curve.windows(2).all(|pair| pair[0].0 > pair[1].0 && pair[0].1 <= pair[1].1), "{curve:?}");
        assert!(Histogram::new().curve(2).is_empty());
    }

    #[test]
    fn an_empty_histogram_is_all_zero() {
        assert_eq!(Histogram::new().percentiles(), Percentiles::default());
    }
}
