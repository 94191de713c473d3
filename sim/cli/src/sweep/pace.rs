//! How long the rest of a sweep takes: what is left of each scenario at the pace of its runs so far.

use crate::source::Source;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Default, Clone, Copy)]
struct OfSource {
    left: u64,
    ended: u64,
    took: Duration,
}

/// Runs that are left and the time that such runs took.
#[derive(Debug, Default)]
pub struct Pace {
    sources: BTreeMap<String, OfSource>,
    jobs: u32,
}

impl Pace {
    /// For so many processes at a time, and so many runs of each of these.
    pub fn new<'s>(jobs: usize, runs: impl Iterator<Item = (&'s Source, u64)>) -> Self {
        let mut sources: BTreeMap<String, OfSource> = BTreeMap::new();
        runs.for_each(|(source, count)| sources.entry(source.name()).or_default().left += count);
        Pace { sources, jobs: jobs.max(1) as u32 }
    }

    /// A run has ended that took so long.
    pub fn ended(&mut self, source: &Source, took: Duration) {
        let of = self.sources.entry(source.name()).or_default();
        of.left = of.left.saturating_sub(1);
        of.ended += 1;
        of.took += took;
    }

    /// What is left, where a run has ended. A scenario of which none has ended is taken for as long as the others.
    pub fn left(&self) -> Option<Duration> {
        let (ended, took) =
            self.sources.values().fold((0, Duration::ZERO), |(n, t), of| (n + of.ended, t + of.took));
        let all = took.checked_div(u32::try_from(ended).ok()?)?;
        let of_one =
            |of: &OfSource| of.took.checked_div(u32::try_from(of.ended).unwrap_or(u32::MAX)).unwrap_or(all);
        let work: f64 = self.sources.values().map(|of| of.left as f64 * of_one(of).as_secs_f64()).sum();
        Some(Duration::from_secs_f64((work / f64::from(self.jobs)).min(1e9)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn long_scenarios_that_come_last_are_counted_as_long() {
        let file = |name: &str| Source::File(PathBuf::from(name));
        let (short, long) = (file("short.toml"), file("long.toml"));
        let mut pace = Pace::new(2, [(&short, 10), (&long, 10)].into_iter());
        assert_eq!(pace.left(), None);
        (0..10).for_each(|_| pace.ended(&short, Duration::from_secs(1)));
        assert_eq!(pace.left(), Some(Duration::from_secs(5)), "nothing is known of the long one yet");
        pace.ended(&long, Duration::from_secs(60));
        assert_eq!(pace.left(), Some(Duration::from_secs(270)));
    }
}
