//! The reference beside this crate leaves nothing out: each named point, each kind of event, each hop and each field of a record. Names
//! are read from the sources, for not all of them are values.

use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// What follows this line of a text, up to a line that is its closing bracket.
fn body(text: &str, opening: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| !line.starts_with(opening)).skip(1);
    let body: Vec<String> =
        lines.take_while(|line| line.starts_with(' ') || line.is_empty()).map(str::to_owned).collect();
    assert!(body.len() > 3, "nothing follows {opening:?}");
    body
}

/// Names in backticks in the first column of the tables of a section, up to the next heading.
fn rows(heading: &str) -> BTreeSet<String> {
    let readme = read("README.md");
    let section =
        readme.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with('#'));
    let cells = section.filter_map(|line| line.strip_prefix('|')?.split('|').next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(|name| name.trim_end_matches("[]").to_owned()).collect()
}

/// Variants of an enum, as they are written in files.
fn variants(path: &str, opening: &str) -> BTreeSet<String> {
    let names = body(&read(path), opening).into_iter().filter_map(|line| {
        let name: String = line.strip_prefix("    ")?.chars().take_while(char::is_ascii_alphanumeric).collect();
        name.starts_with(|first: char| first.is_ascii_uppercase()).then_some(name)
    });
    names.map(|name| snake_case(&name)).collect()
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

fn assert_same(heading: &str, mut names: BTreeSet<String>, others: &[&str]) {
    others.iter().for_each(|other| assert!(names.remove(*other), "{other} is none of {names:?}"));
    let rows = rows(heading);
    let missing: Vec<_> = names.difference(&rows).collect();
    assert!(missing.is_empty(), "README.md has no row under {heading:?} for {missing:?}");
}

#[test]
fn every_point_has_a_row_and_no_other_has() {
    let lines = body(&read("../sim/world/src/hosts/points.rs"), "pub const SOMETIMES");
    let names: BTreeSet<String> =
        lines.iter().filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect();
    let rows = rows("## Sometimes");
    let unknown: Vec<_> = rows.difference(&names).collect();
    assert!(unknown.is_empty(), "README.md tells of {unknown:?}, which are no points");
    assert_same("## Sometimes", names, &[]);
}

#[test]
fn every_kind_of_event_and_every_hop_has_a_row() {
    assert_same("### history.jsonl", variants("../sim/history/src/event.rs", "pub enum Kind {"), &["hop"]);
    assert_same("#### Hops", variants("../sim/history/src/hop.rs", "pub enum Hop {"), &[]);
}

#[test]
fn every_field_of_a_record_has_a_row() {
    let fields = body(&read("src/record.rs"), "pub struct RunRecord {").into_iter().filter_map(|line| {
        let (name, _) = line.strip_prefix("    pub ")?.split_once(':')?;
        Some(name.to_owned())
    });
    assert_same("### run.json", fields.collect(), &[]);
}
