//! A comparison for a terminal, in eighty columns.

use super::{Answer, Comparison, change_text, counted, p_text};
use crate::summary::clean;
use crate::text_table::{TextTable, wrapped, wrapped_list};
use std::fmt::Write;

/// Pairs that came to something else and are named; `--markdown` and `--html` name all.
const MOST_TURNED: usize = 10;

impl Comparison {
    /// For a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let head = match self.answer() {
            Answer::Worse => "WORSE",
            Answer::NotWorse => "NOT WORSE",
            Answer::TooLittle => "INCONCLUSIVE",
        };
        let _ = writeln!(out, "{head}  {} in A and B", counted(self.pairs, "pair"));
        out.push('\n');
        for (letter, side) in [("A", &self.a), ("B", &self.b)] {
            let [passed, violated, inconclusive] = side.verdicts;
            wrapped(&mut out, &format!("{letter}  {}: {}", clean(&side.name), side.words));
            let _ = writeln!(out, "     {passed} pass, {violated} violated, {inconclusive} inconclusive");
        }
        out.push('\n');
        let mut table = TextTable::new(1, &["measure", "A", "B", "change", "p", ""]);
        for measure in &self.measures {
            table.row(vec![
                clean(&measure.name),
                measure.unit.text(measure.a),
                measure.unit.text(measure.b),
                change_text(measure.change),
                p_text(measure.p),
                if measure.broken.is_empty() { measure.word.text().to_owned() } else { "over bound".to_owned() },
            ]);
        }
        table.write(&mut out, |_, _, cell| cell);
        out.push('\n');
        self.turned_text(&mut out);
        wrapped_list(&mut out, "points only A reached", &self.lost_points);
        wrapped_list(&mut out, "points only B reached", &self.new_points);
        for note in &self.notes {
            wrapped(&mut out, &clean(note));
        }
        let regressions = self.regressions();
        if !regressions.is_empty() {
            out.push_str("\nworse:\n");
            regressions.iter().for_each(|line| wrapped(&mut out, &clean(line)));
        }
        if !out.ends_with("\n\n") {
            out.push('\n');
        }
        let _ = writeln!(out, "{}", self.sentence());
        out
    }

    fn turned_text(&self, out: &mut String) {
        for turned in self.turned.iter().take(MOST_TURNED) {
            let (scenario, seed) = (clean(&turned.scenario), turned.seed);
            wrapped(out, &format!("{scenario} seed {seed}: {} in A, {} in B", turned.a, turned.b));
            wrapped(out, &format!("  reproduce: {}", clean(&turned.reproduce)));
        }
        if let Some(more @ 1..) = self.turned.len().checked_sub(MOST_TURNED) {
            let _ = writeln!(out, "  and {more} more pairs that came to something else");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pairs::tests::side;
    use super::super::{Bounds, compare};
    use crate::record::{RunRecord, Verdict};
    use crate::testing;

    #[test]
    fn a_comparison_fits_eighty_columns_and_names_what_got_worse() {
        let runs = |factor: f64| -> Vec<RunRecord> {
            let run = |seed| {
                let mut run = RunRecord { seed, ..testing::passed() };
                let acks = run.latency_ms.remove("send_to_ack").unwrap();
                let p50 = factor * (20.0 + seed as f64);
                run.latency_ms.insert("reconnect_by_choice".into(), crate::Percentiles { p50, ..acks });
                run
            };
            (0..20).map(run).collect()
        };
        let mut b = runs(1_000.0);
        b[3].verdict = Verdict::Inconclusive;
        b[3].sometimes.clear();
        let text = compare(&side("runs of the last release", runs(1.0)), &side("b", b), &Bounds::default(), &[]);
        let text = text.unwrap().text();
        for part in [
            "WORSE  20 pairs",
            "20 pass, 0 violated, 0 inconclusive",
            "19 pass, 0 violated, 1 inconclusive",
            "reconnect by choice p50",
            "<0.001       worse",
            "scenarios/smoke.toml seed 3: pass in A, inconclusive in B",
            "reproduce: squall run",
            "speed and memory are shown and not judged",
            "B is worse than A in 1 thing, of 20 pairs of runs.",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
    }
}
