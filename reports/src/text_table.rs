//! Columns of plain text: the first ones to the left, numbers to the right.

use std::fmt::Write;

/// Columns of a terminal that a list may fill.
const LIST_WIDTH: usize = 80;

/// "  what: one, two, …" in as many lines as it takes; nothing where there are no items.
pub(crate) fn wrapped_list(out: &mut String, what: &str, items: &[impl AsRef<str>]) {
    if items.is_empty() {
        return;
    }
    let mut line = format!("  {what}:");
    for (index, item) in items.iter().enumerate() {
        let comma = if index + 1 < items.len() { "," } else { "" };
        let item = format!(" {}{comma}", item.as_ref());
        if line.chars().count() + item.chars().count() > LIST_WIDTH {
            let _ = writeln!(out, "{line}");
            line = "   ".to_owned();
        }
        line.push_str(&item);
    }
    let _ = writeln!(out, "{line}");
}

/// A paragraph, indented by two and its further lines by four. A word that is longer than a line is not broken.
pub(crate) fn wrapped(out: &mut String, text: &str) {
    let mut line = String::from(" ");
    for word in text.split_whitespace() {
        if line.trim() != "" && line.chars().count() + 1 + word.chars().count() > LIST_WIDTH {
            let _ = writeln!(out, "{line}");
            line = "   ".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

/// A table that is laid out when all its rows are there.
pub struct TextTable {
    /// Columns from this one on are aligned to the right.
    right_from: usize,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    pub fn new(right_from: usize, header: &[&str]) -> Self {
        TextTable { right_from, rows: vec![header.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines of the table, indented by two. `paint` may colour a cell that is laid out, given its row and column.
    pub fn write(&self, out: &mut String, paint: impl Fn(usize, usize, String) -> String) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let last_left = column + 1 == row.len() && column < self.right_from;
                let cell = match column < self.right_from {
                    true if last_left => cell.clone(),
                    true => format!("{cell:<width$}"),
                    false => format!("{cell:>width$}"),
                };
                let _ = write!(line, "  {}", paint(number, column, cell));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}
