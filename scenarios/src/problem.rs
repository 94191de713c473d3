//! What is wrong with a scenario file, and where.

use crate::words::printable;
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

/// Characters of a line that are shown, and how many of them stand before what is at fault.
const SHOWN: usize = 120;
const BEFORE: usize = 40;
/// Characters of a message: whoever writes a key of 300 KB need not read it again.
const LONGEST_MESSAGE: usize = 1_000;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display().to_string();
        let (file, message) = (printable(&file), clipped(&self.message));
        write!(f, "{file}:{}:{}: {message}; {}", self.line, self.column, clipped(&self.help))?;
        if self.source_line.trim().is_empty() {
            return Ok(());
        }
        let gutter = self.line.to_string();
        let pad = " ".repeat(gutter.len());
        let (line, column) = self.excerpt();
        // Tabs stay tabs, so that the caret stands under its character whatever a tab's width is.
        let indent: String = line.chars().take(column).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let width = self.width.min(line.chars().count().saturating_sub(column)).max(1);
        write!(f, "\n{gutter} | {line}\n{pad} | {indent}{}", "^".repeat(width))
    }
}

impl Problem {
    /// What is shown of the line, and where in it the culprit stands, from 0. A character stays one, whatever it is.
    fn excerpt(&self) -> (String, usize) {
        let column = self.column.saturating_sub(1);
        let length = self.source_line.chars().count();
        let skipped = if length > SHOWN { column.saturating_sub(BEFORE).min(length - SHOWN) } else { 0 };
        let shown = self.source_line.chars().skip(skipped).take(SHOWN);
        let shown: String = shown.map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        let (front, back) = (skipped > 0, skipped + SHOWN < length);
        let dots = |is_cut: bool| if is_cut { "…" } else { "" };
        (format!("{}{shown}{}", dots(front), dots(back)), column - skipped + usize::from(front))
    }
}

/// A text for a terminal, of a length that somebody reads.
fn clipped(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(LONGEST_MESSAGE) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.into_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str, at: Range<usize>) -> Vec<String> {
        let problem = problem_at(source, Path::new("x.toml"), at, "wrong".into(), "mend it".into());
        problem.to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn of_a_long_line_what_stands_around_the_culprit_is_shown() {
        let long = "x".repeat(300_000);
        let [headline, line, caret] = &shown(&long, 200_000..200_003)[..] else { panic!() };
        assert_eq!(headline, "x.toml:1:200001: wrong; mend it");
        assert_eq!(*line, format!("1 | …{}…", "x".repeat(SHOWN)));
        assert_eq!(*caret, format!("  | {}^^^", " ".repeat(BEFORE + 1)));
        let [_, line, caret] = &shown(&long, 0..300_000)[..] else { panic!() };
        assert_eq!(line.chars().count(), 4 + SHOWN + 1);
        assert!(caret.chars().count() <= line.chars().count(), "{caret}");
        let [_, line, caret] = &shown(&long, 299_999..300_000)[..] else { panic!() };
        assert_eq!((line.chars().count(), caret.chars().count()), (4 + 1 + SHOWN, 4 + 1 + SHOWN));
        let problem = problem_at("k", Path::new("x.toml"), 0..1, long, String::new());
        assert!(problem.to_string().len() < 2_000);
    }

    #[test]
    fn no_command_of_a_file_reaches_the_terminal() {
        let lines = shown("name = \"\u{1b}[2J\"", 7..13);
        assert_eq!(lines[1..], ["1 | name = \"\u{fffd}[2J\"", "  |        ^^^^^^"]);
        let problem = problem_at("", Path::new("a\u{7}.toml"), 0..0, "an \u{1b}[1m".into(), String::new());
        assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
    }
}
