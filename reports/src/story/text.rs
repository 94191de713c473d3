//! A story as text: a column a lane, a line a step.

use super::{Diagram, Tone};
use std::fmt::Write;

/// A time on the clock of the run.
pub fn clock(t: u64) -> String {
    format!("{}.{:06}", t / 1_000_000, t % 1_000_000)
}

/// Characters of a lane.
const LANE: usize = 4;

/// Writes the story: the lanes by number, then a line a step.
pub fn write(out: &mut String, diagram: &Diagram) {
    for (number, lane) in diagram.lanes.iter().enumerate() {
        let _ = writeln!(out, "{:>13}{}┌ {}", "", "│   ".repeat(number), lane.name);
    }
    for (index, step) in diagram.steps.iter().enumerate() {
        if let Some(wait) = diagram.folded_before(index) {
            let _ = writeln!(
                out,
                "{:>11}  {} {:.1} s",
                "",
                "┊   ".repeat(diagram.lanes.len()).trim_end(),
                wait as f64 / 1e6
            );
        }
        let origin = step.from.map(|from| diagram.steps[from].lane).filter(|lane| *lane != step.lane);
        let _ = writeln!(
            out,
            "{:>11}  {} {}",
            clock(step.t),
            lanes(diagram.lanes.len(), step.lane, origin, step.tone),
            step.text
        );
        if let Some(count) = diagram.left_out_after(index) {
            let _ = writeln!(
                out,
                "{:>11}  {} {count} steps are left out",
                "",
                "┊   ".repeat(diagram.lanes.len()).trim_end()
            );
        }
    }
}

/// The lanes at a step, with an arrow from where it came.
fn lanes(count: usize, lane: usize, origin: Option<usize>, tone: Tone) -> String {
    let mark = match tone {
        Tone::Plain => '●',
        Tone::Fault => '✖',
        Tone::Wrong => '◆',
    };
    let mut cells: Vec<char> = (0..count * LANE).map(|at| if at % LANE == 0 { '│' } else { ' ' }).collect();
    if let Some(origin) = origin {
        let (from, until) = (origin.min(lane) * LANE, origin.max(lane) * LANE);
        cells[from..=until].fill('─');
        cells[origin * LANE] = if origin < lane { '├' } else { '┤' };
        let head = if origin < lane { lane * LANE - 1 } else { lane * LANE + 1 };
        cells[head] = if origin < lane { '▶' } else { '◀' };
    }
    cells[lane * LANE] = mark;
    cells.truncate(count * LANE - LANE + 1);
    cells.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Diagram, Lane, LaneKind, Step, Tone};
    use super::*;

    #[test]
    fn a_story_is_a_column_a_lane_and_a_line_a_step() {
        let lane = |name: &str, kind| Lane { name: name.into(), kind };
        let step = |t, lane, from, text: &str, tone| Step { t, lane, from, text: text.into(), tone };
        let diagram = Diagram {
            lanes: vec![
                lane("device 1", LaneKind::Sender),
                lane("gateway-0", LaneKind::Gateway),
                lane("messages-0", LaneKind::Shard),
            ],
            steps: vec![
                step(1_000_000, 0, None, "sends it", Tone::Plain),
                step(1_002_500, 1, Some(0), "has it", Tone::Plain),
                step(9_000_000, 2, None, "loses power", Tone::Fault),
                step(9_000_001, 0, Some(2), "hears nothing", Tone::Wrong),
            ],
            left_out: Some((2, 7)),
        };
        let mut text = String::new();
        write(&mut text, &diagram);
        let expected = [
            "             ┌ device 1",
            "             │   ┌ gateway-0",
            "             │   │   ┌ messages-0",
            "   1.000000  ●   │   │ sends it",
            "   1.002500  ├──▶●   │ has it",
            "             ┊   ┊   ┊ 7 steps are left out",
            "             ┊   ┊   ┊ 8.0 s",
            "   9.000000  │   │   ✖ loses power",
            "   9.000001  ◆◀──────┤ hears nothing",
            "",
        ];
        assert_eq!(text, expected.join("\n"));
    }
}
