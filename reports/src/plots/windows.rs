//! Where the names of faults stand over a plot.

use super::Window;

/// Rows of names over a plot; what finds no room in them is told in the table of faults.
pub const ROWS: usize = 4;
/// The width of a letter at the size of the labels, in pixels, and a little more: no font is at hand to measure with.
const LETTER: f64 = 7.4;
/// Between two names.
const GAP: f64 = 8.0;

/// A name and its place: its row, and where it begins, in pixels from the left of the plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    pub name: String,
    pub row: usize,
    pub left: f64,
}

/// Places the names of windows in rows, each at the beginning of its window or as far to the left as it must to fit into `width` pixels.
/// `x` gives the pixel of a time. The same name is placed once for windows that follow each other within the space that it takes.
pub fn place(windows: &[Window], width: f64, x: impl Fn(f64) -> f64) -> Vec<Placed> {
    let mut ends = [f64::NEG_INFINITY; ROWS];
    let mut placed: Vec<Placed> = Vec::new();
    let mut in_order: Vec<&Window> = windows.iter().collect();
    in_order.sort_by(|a, b| a.from.total_cmp(&b.from));
    for window in in_order {
        let most = (width / LETTER) as usize;
        let name = shortened(&window.name, most);
        let takes = name.chars().count() as f64 * LETTER;
        let left = x(window.from).min(width - takes).max(0.0);
        if placed.iter().any(|other| other.name == name && left < other.left + takes + GAP) {
            continue;
        }
        if let Some(row) = (0..ROWS).find(|row| ends[*row] + GAP <= left) {
            ends[row] = left + takes;
            placed.push(Placed { name, row, left });
        }
    }
    placed
}

fn shortened(name: &str, most: usize) -> String {
    match name.chars().count() > most {
        true => name.chars().take(most.saturating_sub(1)).chain(['\u{2026}']).collect(),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(name: &str, from: f64) -> Window {
        Window { name: name.into(), from, until: from + 1.0 }
    }

    #[test]
    fn no_name_covers_another_or_leaves_the_plot() {
        let windows: Vec<Window> = (0..30).map(|n| window(&format!("crash-{n}"), f64::from(n) * 3.0)).collect();
        let placed = place(&windows, 400.0, |t| t * 4.0);
        assert!(placed.len() > 10);
        let end = |p: &Placed| p.left + p.name.chars().count() as f64 * LETTER;
        for (n, a) in placed.iter().enumerate() {
            assert!(a.left >= 0.0 && end(a) <= 400.5 && a.row < ROWS);
            for b in &placed[n + 1..] {
                assert!(a.row != b.row || end(a) < b.left || end(b) < a.left, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_fault_that_comes_again_at_once_is_named_once_and_a_long_name_is_cut() {
        let again = [window("flap-1", 0.0), window("flap-1", 2.0), window("flap-1", 90.0)];
        assert_eq!(place(&again, 400.0, |t| t * 4.0).len(), 2);
        let long = place(&[window(&"x".repeat(90), 0.0)], 100.0, |t| t);
        assert_eq!(long[0].name.chars().count(), 13);
        assert!(long[0].name.ends_with('\u{2026}'));
    }
}
