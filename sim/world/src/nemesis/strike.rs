//! One occurrence of a fault: what it does, when, to whom, what it holds while it lasts, and what it has hit.

use super::{clients, clocks, disks, links, power, processes};
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
    pub state: State,
    /// What is drawn for this strike alone.
    pub stream: Stream,
    /// The hosts that it is on, for people.
    pub targets: Vec<String>,
    /// What it has hit, by what it was.
    pub hits: BTreeMap<String, u64>,
}

pub(super) enum State {
    Waiting,
    Active(Held),
    Over,
}

/// What a strike holds as long as it lasts, by family.
pub(super) enum Held {
    Processes(processes::Held),
    Power(power::Held),
    Links(links::Held),
    Disks(disks::Held),
    Clocks(clocks::Held),
    /// Faults of frames stand with the faults of clients, under the number of their fault.
    Frames,
    Clients(clients::Held),
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
            state: State::Waiting,
            stream,
            targets: Vec::new(),
            hits: BTreeMap::new(),
        }
    }

    /// What it holds, if it is active.
    pub fn held(&self) -> Option<&Held> {
        match &self.state {
            State::Active(held) => Some(held),
            State::Waiting | State::Over => None,
        }
    }

    /// Counts what it has hit.
    pub fn count(&mut self, what: &str, by: u64) {
        *self.hits.entry(what.to_owned()).or_default() += by;
    }
}
