//! What a sweep has found so far, and what it says of it.

use super::plan::Run;
use crate::child::Outcome;
use crate::exit::Exit;
use crate::time_left::in_words;
use serde_json::{Value, json};
use squall_reports::campaign::{Campaign, Known, Never};
use squall_reports::junit::{self, Unfinished};
use squall_reports::number::grouped;
use squall_reports::sweep::{Kept, MOST_OTHERS, MOST_PASSED, Unlisted};
use squall_reports::{RunRecord, Verdict};
use squall_scenarios::FaultKind;
use squall_world::{SIDES, limits_with_points};
use std::collections::BTreeMap;
use std::time::Duration;

/// The counts of a sweep.
pub struct Tally {
    /// Runs that were asked for; where time decides, those that were begun.
    asked: u64,
    is_open: bool,
    interrupted: bool,
    passed: u64,
    violated: u64,
    inconclusive: u64,
    failed: u64,
    took: Duration,
    campaign: Campaign,
    /// Records of runs that passed, without what JUnit does not show; empty where no JUnit is asked for.
    records: Kept<RunRecord>,
    /// The same of the others.
    others: Kept<RunRecord>,
    unfinished: Kept<Unfinished>,
    unlisted: Unlisted,
    keeps_records: bool,
}

impl Tally {
    /// For so many runs, or for as many as there is time for.
    pub fn new(asked: Option<u64>, keeps_records: bool) -> Self {
        Tally {
            asked: asked.unwrap_or(0),
            is_open: asked.is_none(),
            interrupted: false,
            passed: 0,
            violated: 0,
            inconclusive: 0,
            failed: 0,
            took: Duration::ZERO,
            campaign: Campaign::default(),
            records: Kept::new(MOST_PASSED),
            others: Kept::new(MOST_OTHERS),
            unfinished: Kept::new(MOST_OTHERS),
            unlisted: Unlisted::default(),
            keeps_records,
        }
    }

    /// A run begins.
    pub fn begun(&mut self) {
        self.asked += u64::from(self.is_open);
    }

    /// Counts a run that has ended, or says why it never began; what is to be said of it where it did not pass.
    pub fn add(&mut self, run: &Run, outcome: Result<Outcome, String>) -> Option<String> {
        let reproduce = run.source.command("run", run.seed);
        let (status, text, record) = match outcome {
            Ok(outcome) => (outcome.status, outcome.text, outcome.record),
            Err(why) => (None, why, None),
        };
        // Without a record a role, the harness or its disk failed, which no share of inconclusive runs excuses.
        let verdict = record.as_ref().map(|record| record.verdict).filter(|verdict| Exit::is(*verdict, status));
        let (count, next) = match verdict {
            Some(Verdict::Pass) => (&mut self.passed, None),
            Some(Verdict::Violated) => (&mut self.violated, Some(run.source.command("shrink", run.seed))),
            Some(Verdict::Inconclusive) => (&mut self.inconclusive, None),
            None => (&mut self.failed, None),
        };
        *count += 1;
        let lines = (verdict != Some(Verdict::Pass)).then(|| {
            let shrink = next.map_or_else(String::new, |next| format!("\n  shrink:    {next}"));
            format!("{text}\n  reproduce: {reproduce}{shrink}")
        });
        match record {
            Some(record) => self.keep(run.number, record),
            None => {
                let (scenario, seed) = (run.source.name(), run.seed);
                let unfinished = Unfinished { scenario, seed, reproduce, message: text };
                let left_out = self.unfinished.add(run.number, unfinished);
                self.unlisted.unfinished += u64::from(left_out.is_some());
            }
        }
        lines
    }

    fn keep(&mut self, number: u64, mut record: RunRecord) {
        self.campaign.add(&record);
        if self.keeps_records {
            // A night has many runs: what JUnit does not show is not kept.
            record.sometimes = Vec::new();
            record.faults = Vec::new();
            record.phases = Vec::new();
            record.latency_ms = BTreeMap::new();
            record.latency_hdr = BTreeMap::new();
            record.series = None;
            record.memory.ledger = BTreeMap::new();
            let list = if record.verdict == Verdict::Pass { &mut self.records } else { &mut self.others };
            match list.add(number, record).map(|left_out| left_out.verdict) {
                None => {}
                Some(Verdict::Pass) => self.unlisted.passed += 1,
                Some(Verdict::Violated) => self.unlisted.violated += 1,
                Some(Verdict::Inconclusive) => self.unlisted.inconclusive += 1,
            }
        }
    }

    /// The sweep is over after so long, of itself or because it was stopped.
    pub fn ended(&mut self, wall: Duration, stopped: bool) {
        self.took = wall;
        self.interrupted = stopped && (self.is_open || self.done() < self.asked);
    }

    pub fn asked(&self) -> u64 {
        self.asked
    }

    pub fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// What none of the runs has reached.
    pub fn never(&self) -> Never {
        let limits: Vec<_> = limits_with_points().collect();
        self.campaign.never(&known(&limits))
    }

    pub fn done(&self) -> u64 {
        self.passed + self.violated + self.inconclusive + self.failed
    }

    pub fn share_done(&self) -> f64 {
        self.done() as f64 / self.asked.max(1) as f64
    }

    /// The counts so far and what time is left, in one line of at most 66 columns.
    pub fn progress(&self, left: Option<Duration>) -> String {
        let count = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
        let of = if self.is_open { String::new() } else { format!(" of {}", self.asked) };
        format!(
            "{}{of} runs{}{}{}{}",
            self.done(),
            count(self.violated, "violated"),
            count(self.inconclusive, "unclear"),
            count(self.failed, "failed"),
            in_words(left)
        )
    }

    /// The same for a program.
    pub fn as_json(&self, event: &str, wall: Duration, left: Option<Duration>) -> Value {
        json!({
            "event": event,
            "done": self.done(),
            "asked": (!self.is_open).then_some(self.asked),
            "passed": self.passed,
            "violated": self.violated,
            "inconclusive": self.inconclusive,
            "unfinished": self.failed,
            "interrupted": self.interrupted,
            "wall_s": wall.as_secs_f64(),
            "left_s": left.map(|left| left.as_secs_f64()),
        })
    }

    /// The end of a sweep for people: what the runs reached together, and the counts.
    pub fn render(&self) -> String {
        let limits: Vec<_> = limits_with_points().collect();
        let reached = if self.campaign.runs() > 1 {
            format!("\n{}\n", self.campaign.render(&known(&limits)))
        } else {
            String::new()
        };
        let nothing = match self.done() {
            0 if self.is_open => "nothing was judged: no run ended in the time that --for gives; give more\n",
            0 => "nothing was judged: no run has ended\n",
            _ => "",
        };
        format!(
            "{reached}{}{} of {} runs: {} passed, {} violated, {} inconclusive, {} did not finish; {}\n{nothing}",
            if self.interrupted { "interrupted: " } else { "" },
            self.done(),
            self.asked,
            self.passed,
            self.violated,
            self.inconclusive,
            self.failed,
            speed(self.done(), self.took)
        )
    }

    /// JUnit XML of all runs that have ended.
    pub fn junit(&self) -> String {
        let mut unfinished: Vec<Unfinished> = self.unfinished.iter().map(|(_, run)| run.clone()).collect();
        if self.interrupted || self.done() < self.asked || self.done() == 0 {
            // Or an interrupted sweep, or one of nothing, would look green.
            let what = if self.done() == 0 { "nothing was judged" } else { "interrupted" };
            unfinished.push(Unfinished {
                scenario: "the sweep".into(),
                seed: 0,
                reproduce: String::new(),
                message: format!("{what}: {} of {} runs", self.done(), self.asked),
            });
        }
        let mut records: Vec<_> = self.records.iter().chain(self.others.iter()).collect();
        records.sort_by_key(|(number, _)| *number);
        let records = records.into_iter().map(|(_, record)| record);
        junit::render_campaign(records, &unfinished, &self.never(), self.unlisted)
    }

    /// The worst of the runs. Some inconclusive ones may be let pass, where every run has ended.
    pub fn exit(&self, inconclusive_percent: f64) -> Exit {
        // Where nothing was judged nothing is proven.
        let complete = !self.interrupted && self.done() == self.asked && self.done() > 0;
        let few = 100.0 * self.inconclusive as f64 <= inconclusive_percent * self.done() as f64;
        match (self.violated, self.failed) {
            (0, 0) if complete && few => Exit::Pass,
            (0, 0) => Exit::Inconclusive,
            // A violation is what a sweep is for: nothing hides it.
            (0, _) => Exit::Unfinished,
            _ => Exit::Violated,
        }
    }
}

/// All that runs could reach.
fn known<'a>(limits: &'a [(&'a str, &'a str)]) -> Known<'a> {
    Known { kinds: FaultKind::NAMES, limits, sides: SIDES }
}

/// So many runs in this time, as seeds an hour.
fn speed(runs: u64, wall: Duration) -> String {
    let hour = runs as f64 * 3_600.0 / wall.as_secs_f64().max(0.001);
    format!("{} seeds an hour", grouped(hour.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    fn tally(runs: &[Option<i32>], total: u64) -> Tally {
        let mut tally = Tally::new(Some(total), true);
        for (number, status) in (0..).zip(runs) {
            let run = Run { number, source: Source::Swarm, seed: 7, folder: "swarm-7".into() };
            let outcome = Outcome { status: *status, text: "what it said".into(), record: None };
            tally.add(&run, Ok(outcome));
        }
        tally
    }

    #[test]
    fn the_worst_run_decides_and_a_share_of_inconclusive_ones_may_pass() {
        let counted = |passed, violated, inconclusive, failed, total| Tally {
            passed,
            violated,
            inconclusive,
            failed,
            ..Tally::new(Some(total), false)
        };
        assert_eq!(counted(10, 0, 0, 0, 10).exit(0.0), Exit::Pass);
        assert_eq!(counted(99, 0, 1, 0, 100).exit(0.0), Exit::Inconclusive);
        assert_eq!(counted(99, 0, 1, 0, 100).exit(1.0), Exit::Pass);
        assert_eq!(counted(98, 0, 2, 0, 100).exit(1.0), Exit::Inconclusive);
        assert_eq!(counted(98, 1, 1, 0, 100).exit(100.0), Exit::Violated);
        assert_eq!(counted(97, 1, 1, 1, 100).exit(100.0), Exit::Violated, "nothing hides a violation");
        assert_eq!(counted(98, 0, 1, 1, 100).exit(100.0), Exit::Unfinished);
        assert_eq!(
            counted(9, 0, 0, 0, 10).exit(100.0),
            Exit::Inconclusive,
            "an interrupted sweep proves too little"
        );
    }

    #[test]
    fn a_run_without_a_record_never_passes() {
        assert_eq!(tally(&[Some(0)], 1).exit(0.0), Exit::Unfinished);
        assert_eq!(tally(&[Some(1)], 1).exit(0.0), Exit::Unfinished);
        assert_eq!(tally(&[Some(3)], 1).exit(100.0), Exit::Unfinished, "a role that ended is no inconclusive run");
        assert_eq!(tally(&[None], 1).exit(0.0), Exit::Unfinished);
        assert!(tally(&[Some(3)], 1).junit().contains("what it said"));
    }

    #[test]
    fn an_interrupted_sweep_does_not_look_green_in_junit() {
        assert!(tally(&[Some(3)], 4).junit().contains("interrupted: 1 of 4 runs"));
        assert!(!tally(&[Some(3)], 1).junit().contains("interrupted"));
    }

    #[test]
    fn a_sweep_in_which_nothing_was_judged_proves_nothing() {
        for asked in [None, Some(0), Some(4)] {
            let mut tally = Tally::new(asked, true);
            tally.ended(Duration::from_secs(1), false);
            assert_eq!(tally.exit(100.0), Exit::Inconclusive);
            assert!(tally.render().contains("nothing was judged: no run "), "{}", tally.render());
            assert!(tally.junit().contains("type=\"unfinished\""), "{}", tally.junit());
        }
    }

    #[test]
    fn where_time_decides_all_that_began_were_asked_for() {
        let counted = |stopped| {
            let mut tally = Tally { passed: 3, ..Tally::new(None, false) };
            (0..3).for_each(|_| tally.begun());
            tally.ended(Duration::from_secs(60), stopped);
            tally.exit(0.0)
        };
        assert_eq!((counted(false), counted(true)), (Exit::Pass, Exit::Inconclusive));
        let line =
            Tally { passed: 3, violated: 12, inconclusive: 100, failed: 7, ..Tally::new(Some(50_000), false) };
        let line = line.progress(Some(Duration::from_secs(9_000)));
        assert_eq!(line, "122 of 50000 runs, 12 violated, 100 unclear, 7 failed, 2.5 h left");
        assert!(line.len() <= 66, "{}", line.len());
    }
}
