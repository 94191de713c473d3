//! Pieces of markup, everything escaped.

use std::fmt::Write;

/// The heading of a part of the page.
pub fn section(out: &mut String, title: &str) {
    let _ = writeln!(out, "<h2>{}</h2>", escape(title));
}

/// A bar from one share of its track to another.
pub fn bar(from: f64, until: f64) -> String {
    let (from, until) = (100.0 * from.clamp(0.0, 1.0), 100.0 * until.clamp(0.0, 1.0));
    format!(
        "<td><div class=\"track\"><div class=\"bar\" style=\"left:{from:.2}%;width:{:.2}%\"></div></div></td>",
        (until - from).max(0.0)
    )
}

/// A table with its heading. A column whose name begins with `#` holds numbers. Without rows, a word says so.
pub fn table(out: &mut String, title: &str, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    section(out, title);
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        out.push_str("<p class=\"under\">None.</p>\n");
        return;
    }
    out.push_str("<div class=\"scroll\"><table>\n<tr>");
    for name in header {
        match name.strip_prefix('#') {
            Some(name) => write!(out, "<th class=\"n\">{}</th>", escape(name)),
            None => write!(out, "<th>{}</th>", escape(name)),
        }
        .expect("a string takes every write");
    }
    out.push_str("</tr>\n");
    for row in rows {
        let _ = writeln!(out, "<tr>{}</tr>", row.concat());
    }
    out.push_str("</table></div>\n");
}

pub fn cell(text: &str) -> String {
    format!("<td>{}</td>", escape(text))
}

/// A cell with a name that is not broken into lines.
pub fn name_cell(name: &str) -> String {
    names_cell(std::slice::from_ref(&name))
}

/// A cell with names, each of which stays on a line.
pub fn names_cell(names: &[impl AsRef<str>]) -> String {
    let names: Vec<String> =
        names.iter().map(|name| format!("<span class=\"name\">{}</span>", escape(name.as_ref()))).collect();
    format!("<td>{}</td>", names.join(", "))
}

pub fn number(text: String) -> String {
    format!("<td class=\"n\">{}</td>", escape(&text))
}

pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // HTML knows no other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
