//! The page of `squall explain --why`: the answer, what each set of faults came to, and a curve for each fault that was needed.

use super::markup::{bar, cell, escape, number, section, table};
use super::style;
use crate::plots::{self, Line, Plot, Shape, Unit, XAxis, YAxis};
use std::fmt::Write;

/// What the page says.
#[derive(Debug, Clone)]
pub struct WhyPage {
    pub title: String,
    pub sentence: String,
    /// What else there is to know: what was shrunk before, what was not tried.
    pub notes: Vec<String>,
    /// Sets of faults, with how many replays were violated, of how many.
    pub sets: Vec<(String, u32, u32)>,
    pub curves: Vec<WhyCurve>,
}

/// How often it was violated, by when a fault struck.
#[derive(Debug, Clone)]
pub struct WhyCurve {
    pub title: String,
    /// Seconds from when the load began, and a share in percent.
    pub points: Vec<(f64, f64)>,
    /// When the load ended.
    pub until: f64,
    pub words: String,
}

pub fn render_why(page: &WhyPage) -> String {
    let mut out = style::head(&escape(&page.title));
    let _ = writeln!(out, "<h1>{}</h1>", escape(&page.title));
    let _ = writeln!(out, "<p class=\"sentence\">{}</p>", escape(&page.sentence));
    for note in &page.notes {
        let _ = writeln!(out, "<p class=\"under\">{}</p>", escape(note));
    }
    let rows = page.sets.iter().map(|(what, violated, of)| {
        let share = f64::from(*violated) / f64::from((*of).max(1));
        vec![cell(what), number(violated.to_string()), number(of.to_string()), bar(0.0, share)]
    });
    table(&mut out, "Replays", &["faults", "#violated", "#of", "share"], rows);
    if !page.curves.is_empty() {
        section(&mut out, "When the run turned");
    }
    for (number, curve) in page.curves.iter().enumerate() {
        let line = Line { name: "violated".into(), shape: Shape::Dotted, points: curve.points.clone() };
        let plot = Plot {
            id: format!("turn-{number}"),
            title: curve.title.clone(),
            x: XAxis::Count(curve.until, "at, s of the load"),
            y: YAxis::Linear,
            unit: Unit::Percent,
            lines: vec![line],
            windows: Vec::new(),
            words: curve.words.clone(),
        };
        let _ = writeln!(out, "<p class=\"under\">{}</p>", escape(&curve.words));
        plots::render(&mut out, &plot);
    }
    out.push_str(style::FOOT);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_was_found_and_escapes_names() {
        let curve = WhyCurve {
            title: "When \"<cut>\" strikes".into(),
            points: vec![(0.0, 100.0), (4.0, 100.0), (8.0, 0.0)],
            until: 16.0,
            words: "The run turned between 4s and 8s.".into(),
        };
        let page = render_why(&WhyPage {
            title: "no-loss was violated at 43 s".into(),
            sentence: "\"<cut>\" was necessary.".into(),
            notes: vec!["Not tried: nothing.".into()],
            sets: vec![("as it ran".into(), 10, 10), ("without \"<cut>\"".into(), 0, 10)],
            curves: vec![curve],
        });
        assert!(!page.contains("<cut>") && page.contains("&lt;cut&gt;"), "a name has become markup");
        for part in [
            "<td>as it ran</td><td class=\"n\">10</td><td class=\"n\">10</td>",
            "left:0.00%;width:100.00%",
            "The run turned between 4s and 8s.",
            "<td>4</td><td class=\"n\">100 %</td>",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }
}
