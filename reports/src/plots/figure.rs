//! A plot in a page.

use super::draw::{COLOURS, Size, svg};
use super::{Plot, XAxis};
use crate::date::rfc3339;
use crate::html::markup::escape;
use std::fmt::Write;

/// The look of figures; colours by day and by night.
pub const STYLE: &str = "\
:root { --fault: #c62828; --plot-0: #2f6fd0; --plot-1: #d9730d; --plot-2: #b3261e; --plot-3: #1a8a5a; --plot-4: #7a4fc9; --plot-5: #0e8a9c; --plot-6: #a05a2c; --plot-7: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --fault: #ff8a80; --plot-0: #79a9f5; --plot-1: #f2a65a; --plot-2: #ff8078; --plot-3: #58c494; --plot-4: #b79cf2; --plot-5: #5cc7d6; --plot-6: #d6a07a; --plot-7: #a3acb9; } }
figure { margin: 1.5rem 0 0; break-inside: avoid; } figcaption { font-weight: 600; } figcaption span { color: var(--soft); font-weight: 400; }
figure svg { display: block; width: 100%; height: auto; } figure .narrow { display: none; }
@media (max-width: 45rem) { figure .wide { display: none; } figure .narrow { display: block; } }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .2rem 0; padding: 0; }
.legend i { display: inline-block; width: 1.1rem; height: .35rem; border-radius: .2rem; margin-right: .4rem; vertical-align: middle; }
details { margin: .2rem 0; } summary { color: var(--soft); cursor: pointer; }
@media print { details { display: none; } figure .wide { display: block; } figure .narrow { display: none; } }
";

const WIDE: Size = Size { width: 960, height: 300 };
const NARROW: Size = Size { width: 358, height: 280 };
/// Rows of a table; a longer series is told in steps.
const MOST_ROWS: usize = 60;

/// The figure of a plot.
pub fn render(out: &mut String, plot: &Plot) {
    let (id, title, unit) = (escape(&plot.id), escape(&plot.title), plot.unit.name());
    let _ = writeln!(
        out,
        "<figure id=\"{id}\">\n<figcaption>{title} <span>{unit}{}</span></figcaption>",
        match plot.y {
            super::YAxis::Linear => "",
            super::YAxis::Logarithmic => ", logarithmic",
        }
    );
    // What a single line is follows from the title, but for percentiles, which are of what the legend says.
    if plot.lines.len() > 1 || matches!(plot.x, XAxis::Nines(_)) {
        legend(out, plot);
    }
    for (class, size) in [("wide", WIDE), ("narrow", NARROW)] {
        let words = escape(&plot.words);
        let picture = svg(plot, size);
        let _ = writeln!(
            out,
            "<div class=\"{class}\" role=\"img\" aria-label=\"{words}\">\n{}</div>",
            picture.trim_start()
        );
    }
    table(out, plot);
    out.push_str("</figure>\n");
}

fn legend(out: &mut String, plot: &Plot) {
    out.push_str("<ul class=\"legend\">");
    for (index, line) in plot.lines.iter().enumerate() {
        let _ = write!(
            out,
            "<li><i style=\"background: var(--plot-{})\"></i>{}</li>",
            index % COLOURS,
            escape(&line.name)
        );
    }
    out.push_str("</ul>\n");
}

/// The numbers of the plot, folded away.
fn table(out: &mut String, plot: &Plot) {
    let longest = plot.lines.iter().map(|line| line.points.len()).max().unwrap_or(0);
    let every = longest.div_ceil(MOST_ROWS).max(1);
    let steps = if every > 1 { format!(", every {every} points") } else { String::new() };
    let _ = write!(
        out,
        "<details><summary>Table{steps}</summary><div class=\"scroll\"><table>\n<tr><th>{}</th>",
        x_name(plot)
    );
    for line in &plot.lines {
        let _ = write!(out, "<th class=\"n\">{}</th>", escape(&line.name));
    }
    out.push_str("</tr>\n");
    let Some(longest) = plot.lines.iter().max_by_key(|line| line.points.len()) else {
        out.push_str("</table></div></details>\n");
        return;
    };
    for row in (0..longest.points.len()).step_by(every) {
        let x = longest.points[row].0;
        let _ = write!(out, "<tr><td>{}</td>", x_text(plot, x));
        for line in &plot.lines {
            let text = line.points.get(row).map_or(String::new(), |(_, y)| plot.unit.text(*y));
            let _ = write!(out, "<td class=\"n\">{text}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div></details>\n");
}

fn x_name(plot: &Plot) -> &'static str {
    match plot.x {
        XAxis::Seconds(_) => "until, s of the run",
        XAxis::Nines(_) => "percentile",
        XAxis::Dates(..) => "date",
        XAxis::Count(_, of) => of,
    }
}

fn x_text(plot: &Plot, x: f64) -> String {
    match plot.x {
        XAxis::Seconds(_) => super::trimmed(x),
        XAxis::Nines(_) => format!("{:.3}", 100.0 * (1.0 - 10f64.powf(-x))),
        XAxis::Dates(..) => rfc3339(x as i64, 0)[..16].replace('T', " "),
        XAxis::Count(..) => super::trimmed(x),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Line, Shape, Unit, YAxis};
    use super::*;
    use crate::testing::Markup;

    #[test]
    fn a_figure_is_well_formed_and_says_what_its_lines_are() {
        let line = |name: &str| Line {
            name: name.into(),
            shape: Shape::Line,
            points: (0..200).map(|n| (f64::from(n), f64::from(n))).collect(),
        };
        let plot = Plot {
            id: "latency".into(),
            title: "Send <to> ack".into(),
            x: XAxis::Seconds(200.0),
            y: YAxis::Linear,
            unit: Unit::Milliseconds,
            lines: vec![line("p50"), line("max")],
            windows: Vec::new(),
            words: "It \"rises\".".into(),
        };
        let mut out = String::new();
        render(&mut out, &plot);
        Markup::read(&out);
        assert!(out.contains("Send &lt;to&gt; ack") && out.contains("aria-label=\"It &quot;rises&quot;.\""));
        assert_eq!(out.matches("<svg").count(), 2);
        assert_eq!(out.matches("<tr><td>").count(), 50, "every fourth of two hundred points");
    }
}
