//! A comparison as a page: what it comes to, the table, and both sides of each latency in one plot.

use super::{Answer, Compared, Comparison, Curves, SideWords, Word, change_text, p_text};
use crate::html::markup::{cell, escape, number, section, table};
use crate::html::style;
use crate::plots::{self, Plot, percentiles};
use std::fmt::Write;

impl Comparison {
    /// The page.
    pub fn html(&self) -> String {
        let (word, class) = match self.answer() {
            Answer::Worse => ("worse", "violated"),
            Answer::NotWorse => ("not worse", "pass"),
            Answer::TooLittle => ("inconclusive", "inconclusive"),
        };
        let title = format!("{} and {}", escape(&self.a.name), escape(&self.b.name));
        let mut out = style::head(&format!("{word}: {title}"));
        let _ = writeln!(out, "<h1><span class=\"badge {class}\">{word}</span> {title}</h1>");
        let _ = writeln!(out, "<p class=\"sentence\">{}</p>", escape(&self.sentence()));
        self.sides(&mut out);
        list(&mut out, "Worse", &self.regressions());
        table(
            &mut out,
            "What was measured, the median of the runs",
            &["measure", "word", "#A", "#B", "#change", "#p"],
            self.measures.iter().map(row),
        );
        out.push_str(
            "<p class=\"under\">Change: how much more B is than A, the median of the pairs of runs. p: how likely so one-sided a difference is by chance (Wilcoxon's signed-rank test on the runs' values, \
             corrected after Holm for all that were asked).</p>\n",
        );
        if !self.curves.is_empty() {
            section(&mut out, "Latencies of both sides");
            self.curves.iter().for_each(|curves| plots::render(&mut out, &self.plot(curves)));
        }
        self.verdicts(&mut out);
        list(&mut out, "Points only A reached", &self.lost_points);
        list(&mut out, "Points only B reached", &self.new_points);
        list(&mut out, "What to know", &self.notes);
        out.push_str(style::FOOT);
        out
    }

    fn sides(&self, out: &mut String) {
        for (letter, side) in [("A", &self.a), ("B", &self.b)] {
            let [passed, violated, inconclusive] = side.verdicts;
            let _ = writeln!(
                out,
                "<p class=\"under\"><strong>{letter}</strong> {}: {}; {passed} pass, {violated} violated, {inconclusive} inconclusive</p>",
                escape(&side.name),
                escape(&side.words)
            );
        }
    }

    fn plot(&self, curves: &Curves) -> Plot {
        let name = curves.name.replace('_', " ");
        let told = |side: &str, p: crate::Percentiles| {
            format!("{side}: median {:.1} ms, 99th percentile {:.1} ms", p.p50, p.p99)
        };
        let words = format!(
            "{name} by percentile. {}; {}.",
            told("A", curves.a.percentiles()),
            told("B", curves.b.percentiles())
        );
        let side = |letter: &str, side: &SideWords| format!("{letter}: {}", side.name);
        let lines = vec![
            percentiles::line(side("A", &self.a), &curves.a),
            percentiles::line(side("B", &self.b), &curves.b),
        ];
        percentiles::plot(&format!("percentiles-{}", curves.name.replace('_', "-")), &name, lines, words)
    }

    fn verdicts(&self, out: &mut String) {
        if self.turned.is_empty() {
            return;
        }
        let rows = self.turned.iter().map(|turned| {
            let verdict = |verdict: crate::Verdict| {
                format!("<td class=\"verdict {}\">{}</td>", verdict.name(), verdict.name())
            };
            vec![
                cell(&turned.scenario),
                number(turned.seed.to_string()),
                verdict(turned.a),
                verdict(turned.b),
                cell(&turned.newly_violated.join(", ")),
                format!("<td><code>{}</code></td>", escape(&turned.reproduce)),
            ]
        });
        let header = ["scenario", "#seed", "A", "B", "violated only in B", "reproduce"];
        table(out, "Runs that came to something else", &header, rows);
    }
}

fn list(out: &mut String, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    section(out, title);
    out.push_str("<ul>\n");
    for item in items {
        let _ = writeln!(out, "<li>{}</li>", escape(item));
    }
    out.push_str("</ul>\n");
}

fn row(measure: &Compared) -> Vec<String> {
    let (class, word) = match measure.word {
        _ if !measure.broken.is_empty() => ("verdict violated", "over bound"),
        Word::Worse => ("verdict violated", "worse"),
        Word::Better => ("verdict pass", "better"),
        Word::Same | Word::Other | Word::NotJudged => ("", measure.word.text()),
    };
    vec![
        cell(&measure.name),
        format!("<td class=\"{class}\">{word}</td>"),
        number(measure.unit.text(measure.a)),
        number(measure.unit.text(measure.b)),
        number(change_text(measure.change)),
        number(p_text(measure.p)),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::pairs::tests::side;
    use super::super::{Bounds, compare};
    use crate::latency::Histogram;
    use crate::testing;

    #[test]
    fn both_curves_stand_in_one_plot_and_nothing_is_markup_by_accident() {
        let run = |factor: u64| {
            let mut run = testing::passed();
            let mut histogram = Histogram::new();
            (1..=1_000u64).for_each(|ms| histogram.record_us(factor * ms * 1_000));
            run.latency_hdr.insert("send_to_ack".into(), histogram.to_base64());
            run.scenario = "<storm>".into();
            run
        };
        let comparison = compare(&side("<a>", [run(1)]), &side("b", [run(2)]), &Bounds::default(), &[]).unwrap();
        let page = comparison.html();
        assert_eq!(page.matches("<figure").count(), 1, "{page}");
        assert!(page.contains("<figure id=\"percentiles-send-to-ack\">"));
        assert!(page.contains("A: median 500.2 ms, 99th percentile 990.2 ms; B: median 1000.4 ms"), "{page}");
        assert!(page.contains("&lt;a&gt; and b") && !page.contains("<a>"));
    }
}
