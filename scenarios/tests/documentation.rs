//! The reference beside this crate leaves nothing out: each kind of fault, each key, and what the limits come to.

use serde_json::Value;
use squall_scenarios::{KindName, Phases, json_schema};
use std::collections::BTreeSet;
use std::path::Path;

fn reference() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The first column of every table, as far as it stands in backticks.
fn rows(text: &str) -> BTreeSet<&str> {
    let cells = text.lines().filter_map(|line| line.trim().strip_prefix('|')?.split('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// Every key under `properties`, wherever in the schema.
fn keys<'s>(schema: &'s Value, into: &mut BTreeSet<&'s str>) {
    match schema {
        Value::Object(fields) => {
            let properties = fields.get("properties").and_then(Value::as_object);
            into.extend(properties.into_iter().flatten().map(|(key, _)| key.as_str()));
            fields.values().for_each(|value| keys(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

#[test]
fn every_kind_of_fault_has_a_row() {
    let text = reference();
    let rows = rows(&text);
    let missing: Vec<_> = KindName::ALL.iter().filter(|kind| !rows.contains(kind.name())).collect();
    assert!(missing.is_empty(), "README.md has no row that begins with {missing:?}");
}

#[test]
fn every_key_is_explained() {
    let schema: Value = serde_json::from_str(&json_schema()).expect("the schema is JSON");
    let (mut all, text) = (BTreeSet::new(), reference());
    keys(&schema, &mut all);
    let code = text.split('`').skip(1).step_by(2);
    let words = code.flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-'));
    let named: BTreeSet<&str> = words.collect();
    let missing: Vec<_> = all.difference(&named).collect();
    assert!(missing.is_empty(), "README.md does not name {missing:?} in backticks");
}

#[test]
fn the_length_of_the_quiet_is_what_the_limits_come_to() {
    let (text, quiet) = (reference(), Phases::default().quiet().to_string());
    let row = text.lines().find(|line| line.trim().starts_with("| `liveness_bound`"));
    let row = row.expect("README.md has a row for `liveness_bound`");
    assert!(row.contains(&quiet), "the limits come to {quiet}, but README.md says: {row}");
}
