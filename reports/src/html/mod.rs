//! `report.html`: one page of its own, without anything from elsewhere, readable without a script, by day and by night, on a telephone and
//! on paper.
//!
//! | file | is |
//! |---|---|
//! | `mod` | the page and its order |
//! | `style` | how it looks, and the one script, which copies a line |
//! | `verdict` | what a run came to, in a sentence and in full |
//! | `tables` | everything that was counted |
//! | `why` | which fault was necessary, as `squall explain --why` found it |
//! | `markup` | pieces of markup, everything escaped |
//!
//! **Invariants:** every value of the record is escaped, and the page's own policy forbids whatever it does not bring itself: a
//! scenario's name cannot become markup, a script or a request. Guarded by the tests below.

pub(crate) mod markup;
pub(crate) mod style;
mod tables;
mod verdict;
mod why;

use crate::plots;
use crate::record::RunRecord;
use crate::story;
use markup::{escape, section};
use std::fmt::Write;
pub use why::{WhyCurve, WhyPage, render_why};

/// The page of a run. `scenario` is the file that was run, if it is at hand.
pub fn render(run: &RunRecord, scenario: Option<&str>) -> String {
    let title = format!("{}: {} {}", run.verdict.name(), escape(&run.scenario), run.which());
    let mut out = style::head(&title);
    verdict::render(&mut out, run);
    reproduce(&mut out, run);
    tables::checks(&mut out, run);
    tables::faults(&mut out, run);
    tables::service_levels(&mut out, run);
    let plots = plots::plots(run);
    if !plots.is_empty() {
        section(&mut out, "What happened when");
        if !run.faults.is_empty() {
            out.push_str("<p class=\"under\">Shaded: faults in force, by their names.</p>\n");
        }
        plots.iter().for_each(|plot| plots::render(&mut out, plot));
    }
    if !run.merged.is_empty() && run.series.is_none() {
        section(&mut out, "What happened when");
        out.push_str("<p>These runs are not of one length, or some have kept nothing of it: what happened when cannot be added up.</p>\n");
    }
    tables::latencies(&mut out, run);
    tables::gateways(&mut out, run);
    tables::work(&mut out, run);
    tables::counts(&mut out, run);
    tables::sometimes(&mut out, run);
    tables::phases(&mut out, run);
    tables::ledger(&mut out, run);
    if let Some(text) = scenario {
        section(&mut out, "The scenario");
        let _ = writeln!(out, "<pre>{}</pre>", escape(text));
    }
    out.push_str(style::FOOT);
    out
}

/// A page of one story of a run: its title, the run, the sentence that names the cause if there is one, and the picture.
pub fn render_story(run: &RunRecord, title: &str, cause: Option<&str>, diagram: &story::Diagram) -> String {
    let mut out = style::head(&escape(title));
    let _ = writeln!(out, "<h1>{}</h1>\n<p>{}</p>", escape(title), escape(&run.scenario));
    verdict::made(&mut out, run);
    reproduce(&mut out, run);
    if let Some(cause) = cause {
        let _ = writeln!(out, "<p class=\"sentence\">{}</p>", escape(cause));
    }
    story::render(&mut out, diagram, title);
    out.push_str(style::FOOT);
    out
}

/// The line that repeats the run.
fn reproduce(out: &mut String, run: &RunRecord) {
    let line = escape(&run.reproduce);
    let _ = writeln!(
        out,
        "<p class=\"reproduce\"><code id=\"reproduce\">{line}</code> <button type=\"button\" data-copy=\"reproduce\" hidden=\"hidden\">Copy</button></p>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Verdict;
    use crate::testing::{self, Markup};

    /// The page as XML: void elements closed, the one named entity replaced, the style left out.
    fn read(page: &str) -> Markup {
        let (before, rest) = page.split_once("<style>").unwrap();
        let page = format!("{before}{}", rest.split_once("</style>").unwrap().1);
        let (before, rest) = page.split_once("<script>").unwrap();
        let page = format!("{before}{}", rest.split_once("</script>").unwrap().1);
        let page = page.replace("&times;", "x").replace("charset=\"utf-8\">", "charset=\"utf-8\"/>");
        let page = page.replace("='\">", "='\"/>");
        Markup::read(&page.replace("initial-scale=1\">", "initial-scale=1\"/>"))
    }

    #[test]
    fn the_page_says_what_the_record_says() {
        let page = render(&testing::violated(), None);
        let document = read(&page);
        assert_eq!(document.count("table"), 10);
        for part in [
            "<span class=\"badge violated\">violated</span> scenarios/&lt;dark &amp; &quot;stormy&quot;&gt;.toml",
            "which has not displayed it.",
            "message <code>00000000-0000-0005-0000-00000000005a</code>",
            "<td>no-loss</td><td class=\"verdict violated\">violated</td><td class=\"n\">1,234,567</td>",
            "<td>connections closed 1,204, hosts 1</td><td>gateway-1</td>",
            "<div class=\"bar\" style=\"left:16.67%;width:4.17%\"></div>",
            "<td>gateway-1</td><td class=\"n\">39</td><td class=\"n\">39</td>",
            "<td>send to ack</td><td class=\"n\">12,000</td><td class=\"n\">0.412</td>",
            "<td class=\"n\">p99</td><td class=\"verdict pass\">pass</td><td class=\"n\">41.2</td><td class=\"n\">500</td>",
            "<td>fleet</td><td class=\"n\">8.58 MiB</td>",
            "<code id=\"reproduce\">squall run &#39;scenarios/&lt;dark",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_runs() {
        let mut run = testing::violated();
        run.scenario = "<script>alert(1)</script>".into();
        run.checks[1].first.as_mut().unwrap().message = "</p><img src=x onerror=alert(1)>".into();
        run.latency_ms.insert("<b>".into(), Default::default());
        run.memory.ledger.insert("\"><i>".into(), 1);
        run.faults[0].affected.insert("<u>".into(), 1);
        let page = render(&run, None);
        for forbidden in
            ["<script>alert", "<img", "<b>", "<i>", "<u>", "<link", "http:", "https:", "url(", "@import"]
        {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        read(&page);
        assert!(page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn a_run_with_nothing_in_it_still_has_its_page() {
        let mut run = testing::passed();
        run.checks.clear();
        run.faults.clear();
        run.sometimes.clear();
        run.latency_ms.clear();
        run.memory = Default::default();
        run.verdict = Verdict::Inconclusive;
        run.inconclusive_because = vec!["nothing was acked".into()];
        let page = render(&run, None);
        read(&page);
        assert!(page.contains("<li>nothing was acked</li>") && page.contains("None."), "{page}");
    }
}
