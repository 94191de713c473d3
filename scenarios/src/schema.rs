//! The JSON Schema of a scenario file, for editors and for other programs.

use crate::model::Scenario;

/// The schema, pretty-printed, with the documentation of every key.
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(Scenario);
    serde_json::to_string_pretty(&schema).expect("a JSON value prints")
}
