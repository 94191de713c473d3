//! Faults: what happens, to whom, when.
//!
//! `catalogue` has a row for each kind, made into types by `declare`; `kind` says what can be asked of one.

mod catalogue;
mod declare;
mod kind;

pub use catalogue::{DEFAULT_WINDOW, DiskOperation, FaultKind, KindName, Point};
pub use declare::Strikes;

use crate::span::Span;
use crate::topology::Topology;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One entry of `[[faults]]`: what happens, to whom, when.
// serde cannot deny unknown fields beside a flattened one; `parse` does, and the schema says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Fault {
    /// A name for reports; the kind and its number when absent.
    #[serde(default)]
    pub name: String,
    /// When it begins, from the start of the load phase.
    pub at: Span,
    /// Begins at a time drawn from this long after `at`; each repetition draws anew.
    #[serde(default)]
    pub within: Option<Span>,
    /// How long it lasts (for a crash or power loss: until the restart). Faults still active at the end of the load are healed there.
    #[serde(default, rename = "for")]
    pub lasts: Option<Span>,
    /// Repeats after this long, until the load ends.
    #[serde(default)]
    pub every: Option<Span>,
    #[serde(flatten)]
    pub kind: FaultKind,
}

/// Once what a fault strikes and for how long: from `begins`, until `ends`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrence {
    /// From the start of the load phase.
    pub begins: Span,
    /// The heal at the latest; the same as `begins` for a fault that happens at an instant.
    pub ends: Span,
}

impl Fault {
    /// Every time at which it begins and ends within a load phase of length `load`.
    pub fn occurrences(&self, load: Span) -> Vec<Occurrence> {
        let mut all = Vec::new();
        let mut begins = self.at;
        while begins < load {
            let ends = match self.lasts {
                _ if self.kind.is_instant() => begins,
                Some(lasts) => (begins + lasts).min(load),
                None => load,
            };
            all.push(Occurrence { begins, ends });
            match self.every {
                Some(every) if !every.is_zero() => begins += every,
                _ => break,
            }
        }
        all
    }

    /// The checks that this provokes in every scenario with such hosts: one that is not exposed proves that the fault did nothing.
    pub fn must_expose(&self, topology: &Topology) -> &'static [&'static str] {
        self.kind.must_expose(topology)
    }
}

/// Gives each fault without a name its kind and its number among the faults of that kind, from 1.
pub(crate) fn name_faults(faults: &mut [Fault]) {
    for index in 0..faults.len() {
        let Some(kind) = faults.get(index).filter(|fault| fault.name.is_empty()).map(|fault| fault.kind.name())
        else {
            continue;
        };
        let before = faults.iter().take(index).filter(|fault| fault.kind.name() == kind).count();
        let name = (before + 1..)
            .map(|number| format!("{kind}-{number}"))
            .find(|name| faults.iter().all(|fault| fault.name != *name));
        if let (Some(fault), Some(name)) = (faults.get_mut(index), name) {
            fault.name = name;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::Role;

    fn disconnect(name: &str) -> Fault {
        let kind = FaultKind::Disconnect { share: 0.5 };
        Fault { name: name.to_owned(), at: Span::from_secs(2), within: None, lasts: None, every: None, kind }
    }

    fn times(fault: &Fault) -> Vec<(u64, u64)> {
        let seconds = |span: Span| span.as_millis() / 1_000;
        let occurrences = fault.occurrences(Span::from_secs(10));
        occurrences.iter().map(|once| (seconds(once.begins), seconds(once.ends))).collect()
    }

    #[test]
    fn a_fault_repeats_until_the_load_ends() {
        let mut fault = disconnect("");
        assert_eq!(times(&fault), [(2, 2)]);
        fault.every = Some(Span::from_secs(4));
        assert_eq!(times(&fault), [(2, 2), (6, 6)]);
        fault.kind = FaultKind::Crash { target: Role::Bus.host(0).into(), point: None };
        fault.lasts = Some(Span::from_secs(3));
        assert_eq!(times(&fault), [(2, 5), (6, 9)]);
        fault.at = Span::from_secs(9);
        assert_eq!(times(&fault), [(9, 10)]);
    }

    #[test]
    fn a_lasting_fault_without_a_length_ends_at_the_heal() {
        let mut fault = disconnect("");
        fault.kind = FaultKind::DropSentAcks { share: 0.1 };
        assert_eq!(times(&fault), [(2, 10)]);
    }

    #[test]
    fn faults_without_a_name_get_one_that_is_free() {
        let mut faults = vec![disconnect(""), disconnect("disconnect-2"), disconnect(""), disconnect("mine")];
        name_faults(&mut faults);
        let names: Vec<&str> = faults.iter().map(|fault| fault.name.as_str()).collect();
        assert_eq!(names, ["disconnect-1", "disconnect-2", "disconnect-3", "mine"]);
    }
}
