//! Words that people write: which one they meant, and how a message quotes them.

use std::borrow::Cow;

/// The known word that somebody probably meant.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase().replace('_', "-");
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&word, &name.replace('_', "-")), *name))
        .filter(|(distance, name)| *distance <= (name.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// A text that a terminal can be given: what is a command to it is shown as one would write it; lines and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_command = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(is_command) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|c| if is_command(c) { c.escape_default().to_string() } else { c.to_string() });
    Cow::Owned(shown.collect())
}

/// A text in quotes, cut to a length that a message can carry.
pub(crate) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_given_no_commands() {
        assert_eq!(printable("two\nlines,\ta tab, é"), "two\nlines,\ta tab, é");
        assert_eq!(printable("\u{1b}[2Jgone\u{7}\u{9b}1m\0"), "\\u{1b}[2Jgone\\u{7}\\u{9b}1m\\u{0}");
    }
}
