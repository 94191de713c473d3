//! A comparison for a pull request: GitHub's Markdown.

use super::{Answer, Comparison, Word, change_text, p_text};
use std::fmt::Write;

impl Comparison {
    /// For a pull request.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        let head = match self.answer() {
            Answer::Worse => "worse",
            Answer::NotWorse => "not worse",
            Answer::TooLittle => "inconclusive",
        };
        let _ = writeln!(out, "### Squall: {head}\n\n{}\n", escape(&self.sentence()));
        for line in self.regressions() {
            let _ = writeln!(out, "- **{}**", escape(&line));
        }
        out.push_str("\n| | runs | pass | violated | inconclusive |\n|---|---|---:|---:|---:|\n");
        for (letter, side) in [("A", &self.a), ("B", &self.b)] {
            let [passed, violated, inconclusive] = side.verdicts;
            let words = format!("{}: {}", side.name, side.words);
            let _ = writeln!(out, "| {letter} | {} | {passed} | {violated} | {inconclusive} |", escape(&words));
        }
        out.push_str("\n| measure | A | B | change | p | |\n|---|---:|---:|---:|---:|---|\n");
        for measure in &self.measures {
            let word = if measure.broken.is_empty() { measure.word.text() } else { "over bound" };
            let word = match measure.word {
                _ if !measure.broken.is_empty() => format!("**{word}**"),
                Word::Worse | Word::Better => format!("**{word}**"),
                Word::Same | Word::Other | Word::NotJudged => word.to_owned(),
            };
            let (a, b) = (measure.unit.text(measure.a), measure.unit.text(measure.b));
            let (change, p) = (change_text(measure.change), p_text(measure.p));
            let _ =
                writeln!(out, "| {} | {a} | {b} | {change} | {} | {word} |", escape(&measure.name), escape(&p));
        }
        let mut details: Vec<String> = self
            .turned
            .iter()
            .map(|turned| {
                format!(
                    "{} seed {}: {} in A, {} in B; `{}`",
                    turned.scenario, turned.seed, turned.a, turned.b, turned.reproduce
                )
            })
            .collect();
        for (what, points) in
            [("Points only A reached", &self.lost_points), ("Points only B reached", &self.new_points)]
        {
            if !points.is_empty() {
                details.push(format!("{what}: {}", points.join(", ")));
            }
        }
        details.extend(self.notes.iter().cloned());
        if !details.is_empty() {
            out.push_str("\n<details><summary>Details</summary>\n\n");
            for line in &details {
                let _ = writeln!(out, "- {}", escape(line));
            }
            out.push_str("\n</details>\n");
        }
        out
    }
}

/// Text that stands in a line or a cell and begins nothing.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '*' | '_' | '[' | ']' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::pairs::tests::side;
    use super::super::{Bounds, compare};
    use super::escape;
    use crate::testing;

    #[test]
    fn a_pull_request_gets_a_table_and_nothing_that_could_be_markup() {
        let mut b = testing::passed();
        b.sometimes[0].hits = 0;
        let comparison = compare(&side("a|<b>", [testing::passed()]), &side("b", [b]), &Bounds::default(), &[]);
        let text = comparison.unwrap().markdown();
        for part in [
            "### Squall: inconclusive\n",
            "| A | a\\|&lt;b&gt;: 1 run, an unknown build | 1 | 0 | 0 |",
            "| send to ack p99 | 41.2 ms | 41.2 ms | 0 % | - | not judged |",
            "- Points only A reached: a resend met the dedup\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert_eq!(escape("a_b\n*"), "a\\_b \\*");
    }
}
