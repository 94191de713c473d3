//! The page of a sweep: what it came to, what failed first, every run, whether new corners are still being found, what was drawn.

use super::{SweepRecord, failures, matrix};
use crate::compare::counted;
use crate::html::markup::{cell, escape, number, section, table};
use crate::html::style;
use crate::number::{grouped, seconds};
use crate::plots::{self, Line, Plot, Shape, Unit, XAxis, YAxis};
use std::fmt::Write;

/// Seeds whose draws stand in the page unfolded.
const MOST_DRAWN: usize = 12;

impl SweepRecord {
    /// The page.
    pub fn html(&self) -> String {
        let (class, word) = self.word();
        let runs = runs_in_words(self.ended());
        let mut out = style::head(&format!("{word}: a sweep of {runs}"));
        let _ = writeln!(out, "<style>\n{}</style>", matrix::STYLE);
        let _ = writeln!(
            out,
            "<h1><span class=\"badge {class}\">{word}</span> {runs}</h1>\n<p class=\"sentence\">{}</p>",
            escape(&self.sentence())
        );
        let hour = self.ended().saturating_mul(3_600_000) / self.wall_ms.max(1);
        let _ = writeln!(
            out,
            "<p class=\"under\">{}; {runs} in {}, {} an hour</p>",
            escape(&self.started),
            seconds(self.wall_ms),
            grouped(hour)
        );
        if let Some(words) = self.unlisted.in_words() {
            let _ = writeln!(out, "<p class=\"under\">{}</p>", escape(&words));
        }
        failures::render(&mut out, self);
        matrix::render(&mut out, self);
        self.corners(&mut out);
        self.drawn(&mut out);
        self.never_reached(&mut out);
        out.push_str(style::FOOT);
        out
    }

    fn word(&self) -> (&'static str, &'static str) {
        match self.counts() {
            [_, (1..), _, _] => ("violated", "violated"),
            [_, _, _, (1..)] => ("violated", "unfinished"),
            _ if self.interrupted => ("inconclusive", "interrupted"),
            [_, _, (1..), _] | [0, ..] => ("inconclusive", "inconclusive"),
            _ => ("pass", "pass"),
        }
    }

    /// What it came to, for somebody who has a minute.
    pub fn sentence(&self) -> String {
        let [passed, violated, inconclusive, unfinished] = self.counts();
        let mut parts = Vec::new();
        for (count, what) in
            [(violated, "broke a promise"), (unfinished, "did not finish"), (inconclusive, "proved too little")]
        {
            if count > 0 {
                parts.push(format!("{} {what}", grouped(count)));
            }
        }
        let all = runs_in_words(self.ended());
        let stopped = match self.interrupted {
            true => format!(" The sweep was interrupted: {} runs were asked for.", grouped(self.asked)),
            false => String::new(),
        };
        match parts.is_empty() {
            true if passed == 0 => format!("Nothing was judged: no run has ended.{stopped}"),
            true => format!("All of {all} passed.{stopped}"),
            false => format!("Of {all} {} passed; {}.{stopped}", grouped(passed), parts.join(", ")),
        }
    }

    /// Whether new corners are still being found, or further runs of this kind would find nothing.
    fn corners(&self, out: &mut String) {
        let found = || self.runs.iter().filter(|run| !run.new_corners.is_empty());
        let total: usize = found().map(|run| run.new_corners.len()).sum();
        // Runs are listed by their numbers, and not all of a long sweep are.
        let runs = self.runs.last().map_or(0, |run| run.number + 1).max(self.ended());
        if runs < 2 || total == 0 {
            return;
        }
        section(out, "Are new corners still being found?");
        let last = found().next_back().map_or(0, |run| run.number);
        let late: usize = found().filter(|run| run.number >= runs / 2).map(|run| run.new_corners.len()).sum();
        let words = format!(
            "{} (named points of the code, and pairs of faults that met) were reached; {late} of them by the second half of the runs, the last one in \
             run {} of {}.",
            counted(total, "corner"),
            grouped(last + 1),
            grouped(runs)
        );
        let _ = writeln!(out, "<p>{}</p>", escape(&words));
        // A step at each run that found any.
        let (mut sum, mut points) = (0, vec![(0.0, 0.0)]);
        for run in found() {
            points.push((run.number as f64, sum as f64));
            sum += run.new_corners.len();
            points.push(((run.number + 1) as f64, sum as f64));
        }
        points.push((runs as f64, sum as f64));
        let plot = Plot {
            id: "corners".to_owned(),
            title: "Corners reached over the runs".to_owned(),
            x: XAxis::Count(runs as f64, "runs"),
            y: YAxis::Linear,
            unit: Unit::Count,
            lines: vec![Line { name: "corners".to_owned(), shape: Shape::Line, points }],
            windows: Vec::new(),
            words,
        };
        plots::render(out, &plot);
        let newest = found().rev().take(5);
        let rows = newest.map(|run| {
            let new = run.new_corners.join(", ");
            vec![
                number((run.number + 1).to_string()),
                cell(&run.scenario),
                number(run.seed.to_string()),
                cell(&new),
            ]
        });
        table(out, "Found last", &["#run", "scenario", "#seed", "new"], rows);
    }

    fn drawn(&self, out: &mut String) {
        let drawn: Vec<_> = self.runs.iter().filter_map(|run| Some((run, run.drew.as_ref()?))).collect();
        if drawn.is_empty() {
            return;
        }
        let folded = drawn.len() > MOST_DRAWN;
        if folded {
            let _ = writeln!(out, "<details><summary>What each of {} seeds drew</summary>", drawn.len());
        }
        let rows = drawn.iter().map(|(run, drew)| {
            let (class, word) = run.verdict.map_or(("violated", "did not finish"), |v| (v.name(), v.name()));
            vec![number(run.seed.to_string()), format!("<td class=\"verdict {class}\">{word}</td>"), cell(drew)]
        });
        table(out, "What each seed drew", &["#seed", "verdict", "drew"], rows);
        if folded {
            out.push_str("</details>\n");
        }
    }

    fn never_reached(&self, out: &mut String) {
        let never = &self.never;
        for (title, items) in [
            ("Points never reached", &never.points),
            ("Limits never reached", &never.limits),
            ("Faults that never hit", &never.faults),
            ("Pairs of faults that never met", &never.pairs),
        ] {
            if !items.is_empty() {
                let count = items.len();
                let _ = writeln!(
                    out,
                    "<details><summary>{title}: {count}</summary><p>{}</p></details>",
                    escape(&items.join(", "))
                );
            }
        }
    }
}

fn runs_in_words(runs: u64) -> String {
    if runs == 1 { "1 run".to_owned() } else { format!("{} runs", grouped(runs)) }
}

#[cfg(test)]
mod tests {
    use crate::sweep::tests::sweep;

    #[test]
    fn a_page_leads_from_what_failed_to_its_record() {
        let mut sweep = sweep();
        sweep.runs[1].cause = Some("acked before it was on disk".into());
        sweep.runs[1].has_history = true;
        sweep.runs[0].drew = Some("2 gateways & a <crash>".into());
        let page = sweep.html();
        for part in [
            "<span class=\"badge violated\">violated</span> 4 runs",
            "Of 4 runs 2 passed; 1 broke a promise, 1 did not finish.",
            "<span class=\"violated\">no-loss</span>: 1 run</h3>",
            "<strong>acked before it was on disk</strong>",
            "<a href=\"runs/storm-101/report.html\">report</a>",
            "<a href=\"runs/storm-101/history.jsonl\">history</a>",
            "storm seed 102: killed by signal 9 (SIGKILL)",
            "title=\"seed 101: violated: no-loss\">x</a>",
            "1 of 3 passed",
            "<figure id=\"corners\">",
            "2 gateways &amp; a &lt;crash&gt;",
            "Points never reached: 1",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
        assert_eq!(page.matches("title=\"seed ").count(), 4);
    }

    #[test]
    fn an_interrupted_sweep_says_so() {
        let mut sweep = sweep();
        sweep.runs.truncate(1);
        (sweep.interrupted, sweep.asked) = (true, 400);
        assert!(sweep.html().contains("All of 1 run passed. The sweep was interrupted: 400 runs were asked for."));
        assert!(sweep.html().contains("badge inconclusive"));
    }
}
