//! Writes a scenario as the file that says it.

use crate::model::Scenario;

impl Scenario {
    /// A scenario file, every key written out, so that a later change of a default does not change what it means.
    /// It parses back to an equal scenario when this one has a name, names for its faults and no findings.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every part of a scenario has a form in TOML")
    }
}
