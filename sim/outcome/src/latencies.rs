//! The latencies of a run: whole, and over time.

use squall_reports::series::{Sample, Series, SeriesBuilder};
use squall_reports::{Histogram, Percentiles};
use squall_scenarios::Measure;
use std::collections::BTreeMap;

/// Every measure with its name in records, in the order of [`place`].
pub const MEASURES: [(Measure, &str); 5] = [
    (Measure::SendToAck, "send_to_ack"),
    (Measure::SendToDeliver, "send_to_deliver"),
    (Measure::Reconnect, "reconnect"),
    (Measure::ReconnectByChoice, "reconnect_by_choice"),
    (Measure::AllBack, "all_back"),
];

const fn place(measure: Measure) -> usize {
    match measure {
        Measure::SendToAck => 0,
        Measure::SendToDeliver => 1,
        Measure::Reconnect => 2,
        Measure::ReconnectByChoice => 3,
        Measure::AllBack => 4,
    }
}

/// What has been measured.
pub struct Latencies {
    whole: [Histogram; MEASURES.len()],
    series: SeriesBuilder,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    pub fn new() -> Self {
        Latencies {
            whole: std::array::from_fn(|_| Histogram::new()),
            series: SeriesBuilder::new(&MEASURES.map(|(_, name)| name)),
        }
    }

    pub fn record(&mut self, measure: Measure, us: u64) {
        self.whole[place(measure)].record_us(us);
        self.series.record_us(place(measure), us);
    }

    pub fn of(&self, measure: Measure) -> &Histogram {
        &self.whole[place(measure)]
    }

    /// By the name of each measure.
    pub fn percentiles(&self) -> BTreeMap<String, Percentiles> {
        MEASURES.iter().map(|(measure, name)| ((*name).to_owned(), self.of(*measure).percentiles())).collect()
    }

    /// The histograms of what was measured at all, encoded, by the name of the measure.
    pub fn histograms(&self) -> BTreeMap<String, String> {
        let measured = MEASURES.iter().filter(|(measure, _)| self.of(*measure).count() > 0);
        measured.map(|(measure, name)| ((*name).to_owned(), self.of(*measure).to_base64())).collect()
    }

    /// A second of the run is over.
    pub fn end_second(&mut self, sample: Sample) {
        self.series.end_second(sample);
    }

    /// The series of the run, which is over.
    pub fn take_series(&mut self) -> Series {
        std::mem::replace(&mut self.series, SeriesBuilder::new(&[])).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_stands_at_its_place() {
        assert!(MEASURES.iter().enumerate().all(|(index, (measure, _))| place(*measure) == index));
    }
}
