//! A story as a space-time diagram: lanes from left to right, time from top to bottom, an arrow for what caused what.
//!
//! A row a step and a fixed width a lane: labels stand beside the lanes and never over one another, whatever they say. The picture scrolls
//! where the page is narrow, and its text is as large as the page's.

use super::{Diagram, LaneKind, Step, Tone, clock};
use crate::html::markup::escape;
use std::fmt::Write;

/// In pixels.
const ROW: usize = 22;
const TIME: usize = 84;
const LANE: usize = 34;
/// A character of a label, at the most.
const CHARACTER: f64 = 7.4;
/// Labels that are longer are cut; the table beside the picture has all of them.
const LONGEST_LABEL: usize = 96;

/// Where each step's row is, and where waits are folded.
struct Rows {
    steps: Vec<usize>,
    /// Where the first one is, in pixels.
    top: usize,
    /// The row of a wait or of what was left out, and what it says.
    folds: Vec<(usize, String)>,
    count: usize,
}

fn rows(diagram: &Diagram) -> Rows {
    let mut rows = Rows { top: top(diagram), steps: Vec::new(), folds: Vec::new(), count: 0 };
    for index in 0..diagram.steps.len() {
        if let Some(wait) = diagram.folded_before(index) {
            rows.folds.push((rows.count, format!("{:.1} s in which nothing of it happens", wait as f64 / 1e6)));
            rows.count += 1;
        }
        rows.steps.push(rows.count);
        rows.count += 1;
        if let Some(count) = diagram.left_out_after(index) {
            rows.folds.push((rows.count, format!("{count} steps are left out")));
            rows.count += 1;
        }
    }
    rows
}

impl Rows {
    /// The middle of a row.
    fn y(&self, row: usize) -> usize {
        self.top + ROW / 2 + row * ROW
    }
}

fn label(step: &Step) -> String {
    let mut text: String = step.text.chars().take(LONGEST_LABEL).collect();
    if text.len() < step.text.len() {
        text.push('…');
    }
    text
}

fn x(lane: usize) -> usize {
    TIME + LANE / 2 + lane * LANE
}

/// Where the rows begin: below the names of the lanes, which are written upwards.
fn top(diagram: &Diagram) -> usize {
    let longest = diagram.lanes.iter().map(|lane| lane.name.chars().count()).max().unwrap_or(0);
    (longest as f64 * CHARACTER) as usize + 16
}

fn colour(kind: LaneKind) -> usize {
    match kind {
        LaneKind::Sender => 0,
        LaneKind::Gateway => 1,
        LaneKind::Shard => 2,
        LaneKind::Disk => 3,
        LaneKind::Registry | LaneKind::Presence => 4,
        LaneKind::Bus => 5,
        LaneKind::Receiver => 6,
    }
}

/// The picture, with its text alternative and its steps as a table behind a fold.
pub fn render(out: &mut String, diagram: &Diagram, title: &str) {
    let rows = rows(diagram);
    let labels_at = x(diagram.lanes.len().saturating_sub(1)) + LANE / 2 + 8;
    let longest = diagram.steps.iter().map(|step| label(step).chars().count()).max().unwrap_or(0);
    let width = labels_at + (longest as f64 * CHARACTER) as usize + 12;
    let height = rows.top + rows.count * ROW + 12;
    let lanes: Vec<&str> = diagram.lanes.iter().map(|lane| lane.name.as_str()).collect();
    let alternative = format!(
        "{title}: {} steps between {}; the table below says the same",
        diagram.steps.len(),
        lanes.join(", ")
    );
    let _ = writeln!(
        out,
        "<figure class=\"story\"><div class=\"scroll\"><svg style=\"width:{width}px;height:{height}px\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
        escape(&alternative)
    );
    draw_lanes(out, diagram, rows.top, height);
    for (row, text) in &rows.folds {
        let _ = writeln!(
            out,
            "<rect x=\"{TIME}\" y=\"{}\" width=\"{}\" height=\"{ROW}\" fill=\"var(--sunk)\"/><text x=\"{labels_at}\" y=\"{}\" fill=\"var(--soft)\" font-style=\"italic\">{}</text>",
            rows.y(*row) - ROW / 2,
            labels_at - TIME - 8,
            rows.y(*row) + 4,
            escape(text)
        );
    }
    for (index, step) in diagram.steps.iter().enumerate() {
        draw_step(out, diagram, &rows, index, step, labels_at);
    }
    out.push_str("</svg></div>\n");
    table(out, diagram);
    out.push_str("</figure>\n");
}

fn draw_lanes(out: &mut String, diagram: &Diagram, top: usize, height: usize) {
    for (number, lane) in diagram.lanes.iter().enumerate() {
        let (x, colour) = (x(number), colour(lane.kind));
        let _ = writeln!(
            out,
            "<path d=\"M{x} {} V{}\" stroke=\"var(--plot-{colour})\" stroke-width=\"2\" stroke-opacity=\".55\" fill=\"none\"/><text transform=\"translate({} {}) rotate(-90)\" fill=\"var(--ink)\">{}</text>",
            top - 4,
            height - 8,
            x + 4,
            top - 10,
            escape(&lane.name)
        );
    }
}

fn draw_step(out: &mut String, diagram: &Diagram, rows: &Rows, index: usize, step: &Step, labels_at: usize) {
    let (at_x, at_y) = (x(step.lane), rows.y(rows.steps[index]));
    let ink = match step.tone {
        Tone::Plain => format!("var(--plot-{})", colour(diagram.lanes[step.lane].kind)),
        Tone::Fault | Tone::Wrong => "var(--violated)".to_owned(),
    };
    if let Some(from) = step.from.filter(|from| diagram.steps[*from].lane != step.lane) {
        let (from_x, from_y) = (x(diagram.steps[from].lane), rows.y(rows.steps[from]));
        arrow(out, (from_x as f64, from_y as f64), (at_x as f64, at_y as f64));
    }
    let mark = match step.tone {
        Tone::Plain => format!("<circle cx=\"{at_x}\" cy=\"{at_y}\" r=\"4.5\" fill=\"{ink}\"/>"),
        Tone::Fault => format!(
            "<path d=\"M{} {} l9 9 m0 -9 l-9 9\" stroke=\"{ink}\" stroke-width=\"2.5\" fill=\"none\"/>",
            at_x as f64 - 4.5,
            at_y as f64 - 4.5
        ),
        Tone::Wrong => format!("<path d=\"M{at_x} {} l6 6 l-6 6 l-6 -6 z\" fill=\"{ink}\"/>", at_y - 6),
    };
    let text = match step.tone {
        Tone::Plain => "var(--ink)",
        Tone::Fault | Tone::Wrong => "var(--violated)",
    };
    let _ = writeln!(
        out,
        "{mark}<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"var(--soft)\">{}</text><text x=\"{labels_at}\" y=\"{}\" fill=\"{text}\">{}</text>",
        TIME - 8,
        at_y + 4,
        clock(step.t),
        at_y + 4,
        escape(&label(step))
    );
}

/// A line with its head, which ends just before the mark.
fn arrow(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy).max(1.0);
    let (ux, uy) = (dx / length, dy / length);
    let (tip_x, tip_y) = (to.0 - ux * 6.0, to.1 - uy * 6.0);
    let (back_x, back_y) = (tip_x - ux * 7.0, tip_y - uy * 7.0);
    let (side_x, side_y) = (-uy * 3.5, ux * 3.5);
    let _ = writeln!(
        out,
        "<path d=\"M{:.1} {:.1} L{back_x:.1} {back_y:.1}\" stroke=\"var(--soft)\" stroke-width=\"1.2\" fill=\"none\"/><path d=\"M{tip_x:.1} {tip_y:.1} L{:.1} {:.1} L{:.1} {:.1} z\" fill=\"var(--soft)\"/>",
        from.0,
        from.1,
        back_x + side_x,
        back_y + side_y,
        back_x - side_x,
        back_y - side_y
    );
}

fn table(out: &mut String, diagram: &Diagram) {
    out.push_str("<details><summary>The steps as a table</summary><div class=\"scroll\"><table>\n<tr><th class=\"n\">s</th><th>where</th><th>what</th></tr>\n");
    for step in &diagram.steps {
        let tone = if step.tone == Tone::Plain { "" } else { " class=\"violated\"" };
        let _ = writeln!(
            out,
            "<tr><td class=\"n\">{}</td><td>{}</td><td{tone}>{}</td></tr>",
            clock(step.t),
            escape(&diagram.lanes[step.lane].name),
            escape(&step.text)
        );
    }
    out.push_str("</table></div></details>\n");
}

/// How stories look.
pub const STYLE: &str = "\
figure.story { margin: .6rem 0 1.2rem; } figure.story svg text { font: 13px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
";

#[cfg(test)]
mod tests {
    use super::super::{Diagram, Lane, LaneKind, Step, Tone};
    use super::*;
    use crate::testing::Markup;

    #[test]
    fn a_picture_is_well_formed_has_a_row_a_step_and_brings_no_colour_of_its_own() {
        let lane = |name: &str, kind| Lane { name: name.into(), kind };
        let step = |t, lane, from, text: &str, tone| Step { t, lane, from, text: text.into(), tone };
        let diagram = Diagram {
            lanes: vec![lane("device <1>", LaneKind::Sender), lane("gateway-0", LaneKind::Gateway)],
            steps: vec![
                step(1_000_000, 0, None, "sends \"it\" & more", Tone::Plain),
                step(1_002_500, 1, Some(0), &"very long ".repeat(40), Tone::Plain),
                step(9_000_000, 1, None, "crashes", Tone::Fault),
                step(9_000_001, 0, Some(2), "is broken", Tone::Wrong),
            ],
            left_out: Some((2, 7)),
        };
        let mut page = String::new();
        render(&mut page, &diagram, "The way of \"it\"");
        let document = Markup::read(&page);
        assert_eq!((document.count("circle"), document.count("tr"), document.count("svg")), (2, 5, 1));
        assert!(page.contains("7 steps are left out") && page.contains("8.0 s in which nothing of it happens"));
        assert!(page.contains("device &lt;1&gt;") && !page.contains('#') && !page.contains("http:"), "{page}");
        let mut again = String::new();
        render(&mut again, &diagram, "The way of \"it\"");
        assert_eq!(page, again);
    }
}
