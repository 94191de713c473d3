//! One occurrence of a fault: what it does, when, to whom, and what it has hit.

use squall_generators::rng::Stream;
use squall_scenarios::{Fault, FaultKind};
use std::collections::BTreeMap;

/// One occurrence of a fault of the scenario.
pub(super) struct Strike {
    pub name: String,
    /// The kind as the scenario has it.
    pub declared: &'static str,
    /// What this strike does; its targets are hosts once it has begun.
    pub kind: FaultKind,
    /// µs of the run.
    pub begins: u64,
    pub ends: u64,
    /// How long the scenario wants it, µs.
    pub length: u64,
    /// What is drawn for this strike alone.
    pub stream: Stream,
    /// The hosts that it is on, for people.
    pub targets: Vec<String>,
    /// What it has hit, by what it was.
    pub hits: BTreeMap<String, u64>,
}

impl Strike {
    pub fn new(fault: &Fault, kind: FaultKind, begins: u64, ends: u64, stream: Stream) -> Self {
        Strike {
            name: fault.name.clone(),
            declared: fault.kind.name(),
            kind,
            begins,
            ends,
            length: ends - begins,
            stream,
            targets: Vec::new(),
            hits: BTreeMap::new(),
        }
    }

    /// Counts what it has hit.
    pub fn count(&mut self, what: &str, by: u64) {
        *self.hits.entry(what.to_owned()).or_default() += by;
    }
}
