//! JUnit XML: a suite for each run, a case for each check, and one more for a run that is inconclusive as a whole.
//!
//! A violated check is a `failure`, an inconclusive one an `error`: CI must not take it for green.
//! Format: <https://github.com/testmoapp/junitxml>, the common ground of Jenkins, GitLab and GitHub readers.

use crate::campaign::Never;
use crate::record::{CheckRecord, RunRecord, Verdict};
use std::fmt::Write;

/// The last line of a document.
const END: &str = "</testsuites>\n";

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
    render_all(runs, &[])
}

/// The document for some runs, for those that could not be finished, each a suite with one case in error, and for what all of
/// them together never reached: a suite without cases, for a corner that nobody came to is no failure.
pub fn render_campaign<'a>(
    runs: impl IntoIterator<Item = &'a RunRecord>,
    unfinished: &[Unfinished],
    never: &Never,
) -> String {
    let mut out = render_all(runs, unfinished);
    out.truncate(out.len() - END.len());
    out.push_str("  <testsuite name=\"the sweep\" tests=\"0\" failures=\"0\" errors=\"0\" time=\"0.000\">\n    <properties>\n");
    let lists = [
        ("never reached", &never.points),
        ("limits never reached", &never.limits),
        ("faults never hit", &never.faults),
        ("pairs never met", &never.pairs),
    ];
    for (name, list) in lists {
        let _ = writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", escape(&list.join(", ")));
    }
    out.push_str("    </properties>\n  </testsuite>\n");
    out.push_str(END);
    out
}

/// The document for some runs, and for those that could not be finished.
fn render_all<'a>(runs: impl IntoIterator<Item = &'a RunRecord>, unfinished: &[Unfinished]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    runs.into_iter().for_each(|run| suite(&mut out, run));
    unfinished.iter().for_each(|run| suite_without_record(&mut out, run));
    out.push_str(END);
    out
}

fn suite_without_record(out: &mut String, run: &Unfinished) {
    let (class, name) = (escape(&run.scenario), escape(&format!("{} seed {}", run.scenario, run.seed)));
    let (message, reproduce) = (escape(&run.message), escape(&run.reproduce));
    let _ = writeln!(
        out,
        "  <testsuite name=\"{name}\" tests=\"1\" failures=\"0\" errors=\"1\" time=\"0.000\">\n    \
         <testcase classname=\"{class}\" name=\"finished\">\n      \
         <error type=\"unfinished\" message=\"{message}\">{reproduce}</error>\n    </testcase>\n  </testsuite>"
    );
}

fn suite(out: &mut String, run: &RunRecord) {
    let count = |verdict| run.checks.iter().filter(|check| check.verdict == verdict).count();
    let as_a_whole = usize::from(!run.inconclusive_because.is_empty());
    let name = escape(&format!("{} seed {}", run.scenario, run.seed));
    let _ = writeln!(
        out,
        "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{:.3}\">",
        run.checks.len() + as_a_whole,
        count(Verdict::Violated),
        count(Verdict::Inconclusive) + as_a_whole,
        run.wall_ms as f64 / 1_000.0
    );
    out.push_str("    <properties>\n");
    let digest = crate::summary::digest(run);
    for (key, value) in [("seed", &run.seed.to_string()), ("digest", &digest), ("reproduce", &run.reproduce)] {
        let _ = writeln!(out, "      <property name=\"{key}\" value=\"{}\"/>", escape(value));
    }
    out.push_str("    </properties>\n");
    run.checks.iter().for_each(|check| case(out, run, check));
    if as_a_whole > 0 {
        let because = escape(&run.inconclusive_because.join("; "));
        let _ = writeln!(out, "    <testcase classname=\"{}\" name=\"conclusive\">", escape(&run.scenario));
        let _ = writeln!(out, "      <error type=\"inconclusive\" message=\"{because}\"/>\n    </testcase>");
    }
    out.push_str("  </testsuite>\n");
}

fn case(out: &mut String, run: &RunRecord, check: &CheckRecord) {
    let (class, name) = (escape(&run.scenario), escape(&check.name));
    let _ = write!(out, "    <testcase classname=\"{class}\" name=\"{name}\"");
    let judged = format!("{} judged, {} exposed, {} violations", check.evaluated, check.exposed, check.violations);
    let (element, message) = match check.verdict {
        Verdict::Pass => {
            out.push_str("/>\n");
            return;
        }
        Verdict::Violated => {
            ("failure", check.first.as_ref().map_or(judged.as_str(), |first| first.message.as_str()))
        }
        Verdict::Inconclusive => ("error", judged.as_str()),
    };
    let _ = writeln!(
        out,
        ">\n      <{element} type=\"{}\" message=\"{}\">{}\n{}</{element}>\n    </testcase>",
        check.verdict,
        escape(message),
        escape(&judged),
        escape(&run.reproduce)
    );
}

/// Text for an attribute or an element. Characters that XML 1.0 cannot hold become U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", c as u32);
            }
            c if (c as u32) < 0x20 || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
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
        let xml = render_all([&testing::passed()], &[run]);
        let document = Markup::read(&xml);
        assert_eq!(document.count("testsuite"), 2);
        assert_eq!(document.all("testsuite")[1]["name"], "<dark> seed 7");
        assert_eq!(document.all("error")[0]["message"], "the disk is \"full\"\nand more");
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(escape("a\u{1}b\u{ffff}\n<'&'>"), "a\u{fffd}b\u{fffd}&#10;&lt;&apos;&amp;&apos;&gt;");
        Markup::read(&render([]));
    }
}
