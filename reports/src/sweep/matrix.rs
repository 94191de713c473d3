//! Scenario × seed: a field for each run, with a letter for whoever cannot tell the colours.

use super::{SweepRecord, SweepRun};
use crate::html::markup::{escape, section};
use crate::record::Verdict;
use std::fmt::Write;

/// How fields look; the page's colours.
pub const STYLE: &str = "\
.of-scenario { display: flex; flex-wrap: wrap; align-items: baseline; gap: .1rem 1rem; margin: .35rem 0; } .of-scenario h3 { flex: 0 1 26rem; margin: 0; } .of-scenario .matrix { flex: 1 1 16rem; margin: 0; }
.matrix { display: flex; flex-wrap: wrap; gap: 2px; margin: .2rem 0 1rem; } .matrix a, .matrix span { font: 700 12px/18px ui-monospace, monospace; width: 18px; height: 18px; text-align: center; border-radius: 3px; color: var(--paper); text-decoration: none; }
.matrix .pass { background: var(--pass); } .matrix .violated { background: var(--violated); } .matrix .inconclusive { background: var(--inconclusive); } .matrix .unfinished { background: var(--ink); }
.matrix .pass { opacity: .55; }
.key .one { white-space: nowrap; margin-right: .8rem; } .key .matrix { display: inline-flex; margin: 0 .3rem 0 0; vertical-align: middle; }
";

pub fn render(out: &mut String, sweep: &SweepRecord) {
    section(out, "Every run");
    out.push_str("<p class=\"under key\">");
    for (class, letter, word) in [
        ("pass", "\u{b7}", "pass"),
        ("violated", "x", "violated"),
        ("inconclusive", "?", "inconclusive"),
        ("unfinished", "!", "did not finish"),
    ] {
        let _ = write!(
            out,
            "<span class=\"one\"><span class=\"matrix\"><span class=\"{class}\">{letter}</span></span>{word}</span> "
        );
    }
    out.push_str("</p>\n");
    let mut scenarios: Vec<(&str, Vec<&SweepRun>)> = Vec::new();
    for run in &sweep.runs {
        match scenarios.iter_mut().find(|(scenario, _)| *scenario == run.scenario) {
            Some((_, runs)) => runs.push(run),
            None => scenarios.push((&run.scenario, vec![run])),
        }
    }
    for (scenario, mut runs) in scenarios {
        runs.sort_by_key(|run| run.seed);
        let (first, last) = (runs[0].seed, runs[runs.len() - 1].seed);
        let passed = runs.iter().filter(|run| run.verdict == Some(Verdict::Pass)).count();
        let seeds = if first == last { format!("seed {first}") } else { format!("seeds {first} to {last}") };
        let _ = writeln!(
            out,
            "<div class=\"of-scenario\"><h3>{} <span class=\"under\">{seeds}, {passed} of {} passed</span></h3>\n<div class=\"matrix\">",
            escape(scenario),
            runs.len()
        );
        runs.iter().for_each(|run| field(out, run));
        out.push_str("</div></div>\n");
    }
}

fn field(out: &mut String, run: &SweepRun) {
    let (class, letter) = match run.verdict {
        Some(Verdict::Pass) => ("pass", "\u{b7}"),
        Some(Verdict::Violated) => ("violated", "x"),
        Some(Verdict::Inconclusive) => ("inconclusive", "?"),
        None => ("unfinished", "!"),
    };
    let first = run.violated.first().map_or(String::new(), |first| format!(": {}", first.check));
    let word = run.verdict.map_or("did not finish", Verdict::name);
    let title = escape(&format!("seed {}: {word}{first}", run.seed));
    let folder = escape(&run.folder);
    let _ = match run.verdict {
        // Of a run that passed only the record is kept, and of one that did not finish nothing.
        Some(Verdict::Pass) => {
            write!(out, "<a class=\"{class}\" href=\"{folder}/run.json\" title=\"{title}\">{letter}</a>")
        }
        Some(_) => {
            write!(out, "<a class=\"{class}\" href=\"{folder}/report.html\" title=\"{title}\">{letter}</a>")
        }
        None => write!(out, "<span class=\"{class}\" title=\"{title}\">{letter}</span>"),
    };
}
