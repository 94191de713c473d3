//! A trend as a page: a plot for each scenario and figure, a line for each machine, and the table.

use super::{Figure, OfScenario, Trend};
use crate::compare::Unit as Text;
use crate::date::rfc3339;
use crate::html::markup::{cell, escape, number, table};
use crate::html::style;
use crate::plots::{self, Line, Plot, Shape, Unit, XAxis, YAxis};
use std::fmt::Write;

impl Figure {
    fn title(self) -> &'static str {
        match self {
            Figure::AckP50 => "Send to ack, median",
            Figure::AckP99 => "Send to ack, 99th percentile",
            Figure::DeliverP99 => "Send to deliver, 99th percentile",
            Figure::Speed => "Speed of the simulation",
            Figure::Memory => "Peak memory",
        }
    }

    fn unit(self) -> Unit {
        match self {
            Figure::AckP50 | Figure::AckP99 | Figure::DeliverP99 => Unit::Milliseconds,
            Figure::Speed => Unit::Times,
            Figure::Memory => Unit::Bytes,
        }
    }
}

impl Trend {
    /// The page.
    pub fn html(&self) -> String {
        let mut out = style::head("squall: trend");
        let points =
            self.scenarios.iter().flat_map(|scenario| &scenario.machines).map(|machine| machine.points.len());
        let _ = writeln!(out, "<h1>Trend</h1>");
        let _ = writeln!(
            out,
            "<p class=\"sentence\">{}, from commit to commit: each point is the runs of one commit on one machine.</p>",
            crate::compare::counted(points.sum(), "point")
        );
        for note in &self.notes {
            let _ = writeln!(out, "<p class=\"under\">{}</p>", escape(note));
        }
        for (index, scenario) in self.scenarios.iter().enumerate() {
            rows(&mut out, scenario);
            for (column, figure) in Figure::ALL.into_iter().enumerate() {
                if let Some(plot) = plot(scenario, index, column, figure) {
                    plots::render(&mut out, &plot);
                }
            }
        }
        out.push_str(style::FOOT);
        out
    }
}

fn rows(out: &mut String, scenario: &OfScenario) {
    let points =
        scenario.machines.iter().flat_map(|machine| machine.points.iter().map(move |point| (machine, point)));
    let rows = points.map(|(machine, point)| {
        let verdict = point.verdict.name();
        let text =
            |column: usize, unit: Text| number(point.figures[column].map_or("-".to_owned(), |v| unit.text(v)));
        vec![
            cell(&rfc3339(point.at, 0)[..10]),
            cell(&point.commit),
            format!("<td class=\"verdict {verdict}\">{verdict}</td>"),
            number(point.runs.to_string()),
            text(0, Text::Milliseconds),
            text(1, Text::Milliseconds),
            text(2, Text::Milliseconds),
            text(3, Text::Times),
            text(4, Text::Bytes),
            cell(&machine.machine),
        ]
    });
    let header = [
        "date",
        "commit",
        "verdict",
        "#runs",
        "#ack p50",
        "#ack p99",
        "#deliver p99",
        "#speed",
        "#memory",
        "machine",
    ];
    table(out, &scenario.scenario, &header, rows);
}

fn plot(scenario: &OfScenario, index: usize, column: usize, figure: Figure) -> Option<Plot> {
    let lines: Vec<Line> = scenario
        .machines
        .iter()
        .map(|machine| Line {
            name: machine.machine.clone(),
            shape: Shape::Dotted,
            points: machine
                .points
                .iter()
                .filter_map(|point| Some((point.at as f64, point.figures[column]?)))
                .collect(),
        })
        .filter(|line| !line.points.is_empty())
        .collect();
    let at = || lines.iter().flat_map(|line| line.points.iter().map(|(at, _)| *at));
    let (from, to) = (at().fold(f64::INFINITY, f64::min), at().fold(f64::NEG_INFINITY, f64::max));
    let told = lines.iter().filter_map(|line| {
        let (first, last) = (line.points.first()?.1, line.points.last()?.1);
        Some(format!("{}: from {} to {}", line.name, figure.unit().text(first), figure.unit().text(last)))
    });
    let words = format!("{}, {}. {}.", scenario.scenario, figure.title(), told.collect::<Vec<_>>().join("; "));
    (!lines.is_empty()).then(|| Plot {
        id: format!("trend-{index}-{column}"),
        title: figure.title().to_owned(),
        x: XAxis::Dates(from, to),
        y: YAxis::Linear,
        unit: figure.unit(),
        lines,
        windows: Vec::new(),
        words,
    })
}

#[cfg(test)]
mod tests {
    use crate::trend::tests::found;
    use crate::trend::trend;

    #[test]
    fn a_page_has_a_plot_for_each_figure_that_was_measured() {
        let runs = [
            found("aaaaaaaaaa", "2026-01-01T00:00:00Z", 2, 10),
            found("bbbbbbbbbb", "2026-02-01T00:00:00Z", 2, 20),
            found("bbbbbbbbbb", "2026-02-01T00:00:00Z", 8, 20),
        ];
        let page = trend(&runs).unwrap().html();
        assert_eq!(page.matches("<figure").count(), 4, "nothing was delivered");
        assert!(page.contains("01-15") || page.contains("01-11"), "{page}");
        assert!(page.contains("<li><i style=\"background: var(--plot-1)\"></i>Fast, 8 cores, 16.0 GiB</li>"));
    }
}
