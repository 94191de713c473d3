//! JUnit XML: a suite for each run, a case for each check, and one more for a run that is inconclusive as a whole.
//!
//! A violated check is a `failure`, an inconclusive one an `error`: CI must not take it for green. Written by quick-junit, and held to the schema
//! of Jenkins' xunit plugin by `schema`, in the tests.

#[cfg(test)]
mod schema;

use crate::campaign::Never;
use crate::record::{CheckRecord, RunRecord, Verdict};
use crate::sweep::Unlisted;
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// A run that left no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    pub scenario: String,
    pub seed: u64,
    /// The command that runs it again.
    pub reproduce: String,
    /// What it said.
    pub message: String,
}

/// The document for some runs.
pub fn render<'a>(runs: impl IntoIterator<Item = &'a RunRecord>) -> String {
    text(&report(runs, &[]))
}

/// The document for some runs, for those that could not be finished, each a suite with one case in error, and for what all of
/// them together never reached: a suite without cases, for a corner that nobody came to is no failure.
pub fn render_campaign<'a>(
    runs: impl IntoIterator<Item = &'a RunRecord>,
    unfinished: &[Unfinished],
    never: &Never,
    unlisted: Unlisted,
) -> String {
    let mut report = report(runs, unfinished);
    let mut suite = TestSuite::new("the sweep");
    suite.set_time(Duration::ZERO);
    for (name, list) in [
        ("never reached", &never.points),
        ("limits never reached", &never.limits),
        ("faults never hit", &never.faults),
        ("pairs never met", &never.pairs),
    ] {
        suite.add_property(Property::new(name, list.join(", ")));
    }
    if let Some(words) = unlisted.in_words() {
        suite.add_property(Property::new("not listed", words));
    }
    report.add_test_suite(suite);
    text(&report)
}

fn report<'a>(runs: impl IntoIterator<Item = &'a RunRecord>, unfinished: &[Unfinished]) -> Report {
    let mut report = Report::new("squall");
    let mut wall = Duration::ZERO;
    for run in runs {
        wall += Duration::from_millis(run.wall_ms);
        report.add_test_suite(suite(run));
    }
    report.set_time(wall);
    report.add_test_suites(unfinished.iter().map(without_record));
    report
}

fn text(report: &Report) -> String {
    let xml = report.to_string().expect("memory takes all that is written");
    // The two characters that XML cannot hold and that quick-junit lets pass.
    let xml = xml.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
    // Suites have this count and may; of the whole document Jenkins' schema knows no such attribute.
    let (root, rest) = xml.split_once("<testsuites ").expect("every document has its root");
    let (attributes, rest) = rest.split_once('>').expect("the root is closed");
    format!("{root}<testsuites {}>{rest}", attributes.replace(" skipped=\"0\"", ""))
}

fn without_record(run: &Unfinished) -> TestSuite {
    let mut suite = TestSuite::new(format!("{} seed {}", run.scenario, run.seed));
    suite.set_time(Duration::ZERO);
    suite.add_property(Property::new("reproduce", run.reproduce.as_str()));
    suite.add_test_case(case(
        &run.scenario,
        "finished",
        failed(NonSuccessKind::Error, "unfinished", &run.message, &run.reproduce),
    ));
    suite
}

fn suite(run: &RunRecord) -> TestSuite {
    let mut suite = TestSuite::new(format!("{} {}", run.scenario, run.which()));
    suite.set_time(Duration::from_millis(run.wall_ms));
    if let Some(about) = &run.about {
        suite.extra.insert("timestamp".into(), about.started.as_str().into());
    }
    let (seed, digest) = (run.seed.to_string(), crate::summary::digest(run));
    for (key, value) in [("seed", &seed), ("digest", &digest), ("reproduce", &run.reproduce)] {
        suite.add_property(Property::new(key, value.as_str()));
    }
    suite.add_test_cases(run.checks.iter().map(|check| case(&run.scenario, &check.name, status(run, check))));
    if !run.inconclusive_because.is_empty() {
        let because = run.inconclusive_because.join("; ");
        let status = failed(NonSuccessKind::Error, "inconclusive", &because, &run.reproduce);
        suite.add_test_case(case(&run.scenario, "conclusive", status));
    }
    suite
}

fn case(scenario: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(scenario);
    case
}

fn failed(kind: NonSuccessKind, what: &str, message: &str, text: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(what).set_message(message).set_description(text);
    status
}

fn status(run: &RunRecord, check: &CheckRecord) -> TestCaseStatus {
    let judged = format!("{} judged, {} exposed, {} violations", check.evaluated, check.exposed, check.violations);
    let text = format!("{judged}\n{}", run.reproduce);
    match check.verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Violated => {
            let message = check.first.as_ref().map_or(judged.as_str(), |first| first.message.as_str());
            failed(NonSuccessKind::Failure, check.verdict.name(), message, &text)
        }
        Verdict::Inconclusive => failed(NonSuccessKind::Error, check.verdict.name(), &judged, &text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Markup};

    #[test]
    fn a_run_is_a_suite_and_a_check_a_case() {
        let xml = render([&testing::violated(), &testing::passed()]);
        let document = Markup::read(&xml);
        assert_eq!(document.count("testsuite"), 2);
        assert_eq!(document.count("testcase"), 6);
        let suite = &document.all("testsuite")[0];
        assert_eq!(suite["name"], "scenarios/<dark & \"stormy\">.toml seed 42");
        assert_eq!((&suite["tests"][..], &suite["failures"][..], &suite["errors"][..]), ("3", "1", "1"));
        assert_eq!(suite["time"], "0.250");
        let failure = &document.all("failure")[0];
        assert!(failure["message"].contains("device 2 of user 2, which has not displayed it"), "{failure:?}");
        assert_eq!(document.all("error")[0]["message"], "0 judged, 0 exposed, 0 violations");
        assert_eq!(document.all("property")[2]["value"], testing::violated().reproduce);
    }

    #[test]
    fn an_inconclusive_run_is_never_green() {
        let mut run = testing::passed();
        run.inconclusive_because = vec!["the fault cut-1 hit nothing".into(), "nothing was acked".into()];
        let xml = render([&run]);
        let document = Markup::read(&xml);
        assert_eq!(document.count("testcase"), 4);
        assert_eq!(document.all("error")[0]["message"], "the fault cut-1 hit nothing; nothing was acked");
        assert_eq!(document.all("testsuite")[0]["errors"], "1");
    }

    #[test]
    fn a_run_without_a_record_is_in_error() {
        let run = Unfinished {
            scenario: "<dark>".into(),
            seed: 7,
            reproduce: "squall run x.toml --seed 7".into(),
            message: "the disk is \"full\"\nand more".into(),
        };
        let xml = render_campaign([&testing::passed()], &[run], &Never::default(), Unlisted::default());
        let document = Markup::read(&xml);
        assert_eq!(document.count("testsuite"), 3);
        assert_eq!(document.all("testsuite")[1]["name"], "<dark> seed 7");
        assert_eq!(document.all("error")[0]["message"], "the disk is \"full\"\nand more");
    }

    #[test]
    fn what_xml_cannot_hold_is_left_out_and_the_rest_stays() {
        let mut run = testing::violated();
        run.checks[1].first.as_mut().unwrap().message = "a\u{1}b\u{ffff}\n<'&'>".into();
        let document = Markup::read(&render([&run]));
        assert_eq!(document.all("failure")[0]["message"], "ab\u{fffd}\n<'&'>");
        Markup::read(&render([]));
    }

    #[test]
    fn every_document_is_one_that_jenkins_takes() {
        let mut inconclusive = testing::passed();
        inconclusive.inconclusive_because = vec!["nothing was acked".into()];
        let unfinished = Unfinished {
            scenario: "dark".into(),
            seed: 7,
            reproduce: "squall run x.toml --seed 7".into(),
            message: "the disk is full".into(),
        };
        let never = Never { points: vec!["recovered".into()], ..Never::default() };
        let all = [testing::violated(), testing::passed(), inconclusive];
        let unlisted = Unlisted { passed: 3, ..Unlisted::default() };
        let xml = render_campaign(&all, &[unfinished], &never, unlisted);
        assert!(xml.contains("Counted and not listed: 3 that passed."), "{xml}");
        schema::assert_holds(&xml);
        schema::assert_holds(&render(&all));
        schema::assert_holds(&render([]));
    }
}
