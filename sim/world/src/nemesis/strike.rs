//! One occurrence of a fault: what it does, when, to whom, and what it has hit.

use super::Stage;
use squall_generators::rng::Stream;
use squall_generators::{Latency, Sink};
use squall_history::Harm;
use squall_scenarios::{Fault, FaultKind};
use std::collections::{BTreeMap, BTreeSet};

/// One occurrence of a fault of the scenario.
pub(super) struct Strike {
    pub name: String,
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
    /// Whom it may harm, for the checks, once it has begun.
    pub harm: Harm,
    /// Everybody whom its fault names, if this is the first strike of an occurrence and they are known before the run.
    pub must_strike: Vec<String>,
    /// Those of its targets that it has hit.
    pub struck: BTreeSet<String>,
    /// What it has hit, by what it was.
    pub hits: BTreeMap<String, u64>,
    /// How long after its end everybody was back who was missing then, µs, and how many devices each gateway had at that moment.
    pub all_back: Option<(u64, Vec<u64>)>,
}

impl Strike {
    pub fn new(fault: &Fault, kind: FaultKind, begins: u64, ends: u64, stream: Stream) -> Self {
        Strike {
            name: fault.name.clone(),
            kind,
            begins,
            ends,
            length: ends - begins,
            stream,
            targets: Vec::new(),
            harm: Harm::default(),
            must_strike: Vec::new(),
            struck: BTreeSet::new(),
            hits: BTreeMap::new(),
            all_back: None,
        }
    }

    /// It has hit this target of its own, as `targets` names it.
    pub fn strikes(&mut self, target: impl ToString) {
        self.struck.insert(target.to_string());
    }

    /// Everybody who was missing at its end is back, or nobody will be any more.
    pub fn is_settled(&mut self, stage: &mut Stage<'_>) {
        let after = stage.now - self.ends;
        let gateways = stage.fleet.gateways().iter().map(|gateway| gateway.connected).collect();
        self.all_back = Some((after, gateways));
        stage.observatory.latency(Latency::AllBack(after));
    }

    /// Counts what it has hit.
    pub fn count(&mut self, what: &str, by: u64) {
        *self.hits.entry(what.to_owned()).or_default() += by;
    }
}
