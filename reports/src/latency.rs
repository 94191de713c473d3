//! Latencies: microseconds in, milliseconds out.
//!
//! **Invariant:** recording never fails and never grows: what is longer than a day counts as a day in the percentiles
//! (the maximum stays exact).

use hdrhistogram::Histogram as Hdr;
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

/// A histogram of latencies.
#[derive(Clone)]
pub struct Histogram {
    counts: Hdr<u64>,
    max_us: u64,
}

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
    fn an_empty_histogram_is_all_zero() {
        assert_eq!(Histogram::new().percentiles(), Percentiles::default());
    }
}
