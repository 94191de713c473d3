//! What is wrong with a scenario file, and where.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong with a scenario file. Its `Display` is the whole message for a person:
/// place, what was found and expected, the next step, and the source line with a caret under the culprit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What was found and, where that does not say it, what was expected.
    pub message: String,
    /// The next step.
    pub help: String,
    /// The line of the file, without its end; empty when the file could not be read.
    pub source_line: String,
    /// How many characters of the line are at fault; at least 1.
    pub width: usize,
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}; {}", self.file.display(), self.line, self.column, self.message, self.help)?;
        if self.source_line.trim().is_empty() {
            return Ok(());
        }
        let gutter = self.line.to_string();
        let pad = " ".repeat(gutter.len());
        // Tabs stay tabs, so that the caret stands under its character whatever a tab's width is.
        let indent: String = self
            .source_line
            .chars()
            .take(self.column.saturating_sub(1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        write!(f, "\n{gutter} | {}\n{pad} | {indent}{}", self.source_line, "^".repeat(self.width))
    }
}

/// Turns a place in a source, in bytes, into a problem there.
pub(crate) fn problem_at(source: &str, file: &Path, at: Range<usize>, message: String, help: String) -> Problem {
    let start = floor_char_boundary(source, at.start);
    let line_start = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = source[start..].find('\n').map_or(source.len(), |newline| start + newline);
    let end = floor_char_boundary(source, at.end).clamp(start, line_end);
    Problem {
        file: file.to_owned(),
        line: source[..start].matches('\n').count() + 1,
        column: source[line_start..start].chars().count() + 1,
        message,
        help,
        source_line: source[line_start..line_end].trim_end_matches('\r').to_owned(),
        width: source[start..end].trim_end().chars().count().max(1),
    }
}

fn floor_char_boundary(source: &str, index: usize) -> usize {
    let mut index = index.min(source.len());
    while !source.is_char_boundary(index) {
        index -= 1;
    }
    index
}
