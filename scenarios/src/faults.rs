//! What can be said of a fault without applying it: its kind, its targets, its times.

use crate::catalogue::{Fault, FaultKind};
use crate::span::Span;
use crate::target::Targets;

/// Once what a fault strikes and for how long: from `begins`, until `ends`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrence {
    /// From the start of the load phase.
    pub begins: Span,
    /// The heal at the latest; the same as `begins` for a fault that happens at an instant.
    pub ends: Span,
}

/// The lists of targets of a kind, each with its key: by reference or to be changed, as the kind is given.
macro_rules! lists_of_targets {
    ($kind:expr) => {
        match $kind {
            FaultKind::Crash { target, .. }
            | FaultKind::RollingRestart { target, .. }
            | FaultKind::PowerLoss { target, .. }
            | FaultKind::Pause { target }
            | FaultKind::Clock { target, .. }
            | FaultKind::DiskErrors { target, .. }
            | FaultKind::DiskFull { target }
            | FaultKind::SlowDisk { target, .. }
            | FaultKind::StalledDisk { target } => vec![("target", target)],
            FaultKind::Partition { between, and }
            | FaultKind::Swizzle { between, and }
            | FaultKind::Flap { between, and, .. }
            | FaultKind::Hold { between, and }
            | FaultKind::Latency { between, and, .. }
            | FaultKind::SlowLink { between, and, .. }
            | FaultKind::Loss { between, and, .. } => vec![("between", between), ("and", and)],
            FaultKind::PartitionOneWay { from, to } | FaultKind::Refuse { from, to } => {
                vec![("from", from), ("to", to)]
            }
            FaultKind::DropSentAcks { .. }
            | FaultKind::DropDeviceAcks { .. }
            | FaultKind::DuplicateAcks { .. }
            | FaultKind::DelayAcks { .. }
            | FaultKind::DuplicateSends { .. }
            | FaultKind::ResendEverything { .. }
            | FaultKind::Liars { .. }
            | FaultKind::SlowReader { .. }
            | FaultKind::ProfileChange { .. }
            | FaultKind::CarrierGone { .. }
            | FaultKind::Disconnect { .. }
            | FaultKind::HalfOpen { .. } => Vec::new(),
        }
    };
}

impl FaultKind {
    /// Every kind, as files name it.
    pub const NAMES: &[&str] = &[
        "crash",
        "rolling-restart",
        "power-loss",
        "partition",
        "partition-one-way",
        "swizzle",
        "flap",
        "hold",
        "latency",
        "slow-link",
        "loss",
        "refuse",
        "pause",
        "clock",
        "disk-errors",
        "disk-full",
        "slow-disk",
        "stalled-disk",
        "drop-sent-acks",
        "drop-device-acks",
        "duplicate-acks",
        "delay-acks",
        "duplicate-sends",
        "resend-everything",
        "liars",
        "slow-reader",
        "profile-change",
        "carrier-gone",
        "disconnect",
        "half-open",
    ];

    /// The kind, as files name it.
    pub fn name(&self) -> &'static str {
        match self {
            FaultKind::Crash { .. } => "crash",
            FaultKind::RollingRestart { .. } => "rolling-restart",
            FaultKind::PowerLoss { .. } => "power-loss",
            FaultKind::Partition { .. } => "partition",
            FaultKind::PartitionOneWay { .. } => "partition-one-way",
            FaultKind::Swizzle { .. } => "swizzle",
            FaultKind::Flap { .. } => "flap",
            FaultKind::Hold { .. } => "hold",
            FaultKind::Latency { .. } => "latency",
            FaultKind::SlowLink { .. } => "slow-link",
            FaultKind::Loss { .. } => "loss",
            FaultKind::Refuse { .. } => "refuse",
            FaultKind::Pause { .. } => "pause",
            FaultKind::Clock { .. } => "clock",
            FaultKind::DiskErrors { .. } => "disk-errors",
            FaultKind::DiskFull { .. } => "disk-full",
            FaultKind::SlowDisk { .. } => "slow-disk",
            FaultKind::StalledDisk { .. } => "stalled-disk",
            FaultKind::DropSentAcks { .. } => "drop-sent-acks",
            FaultKind::DropDeviceAcks { .. } => "drop-device-acks",
            FaultKind::DuplicateAcks { .. } => "duplicate-acks",
            FaultKind::DelayAcks { .. } => "delay-acks",
            FaultKind::DuplicateSends { .. } => "duplicate-sends",
            FaultKind::ResendEverything { .. } => "resend-everything",
            FaultKind::Liars { .. } => "liars",
            FaultKind::SlowReader { .. } => "slow-reader",
            FaultKind::ProfileChange { .. } => "profile-change",
            FaultKind::CarrierGone { .. } => "carrier-gone",
            FaultKind::Disconnect { .. } => "disconnect",
            FaultKind::HalfOpen { .. } => "half-open",
        }
    }

    /// Its lists of targets, each with the key that holds it.
    pub fn targets(&self) -> Vec<(&'static str, &Targets)> {
        lists_of_targets!(self)
    }

    /// The same lists, to be rewritten: targets that are drawn become hosts when the fault begins.
    pub fn targets_mut(&mut self) -> Vec<&mut Targets> {
        lists_of_targets!(self).into_iter().map(|(_, list)| list).collect()
    }

    /// Its share, when it strikes a share of something.
    pub fn share(&self) -> Option<f64> {
        match self {
            FaultKind::Loss { share, .. }
            | FaultKind::DiskErrors { share, .. }
            | FaultKind::DropSentAcks { share }
            | FaultKind::DropDeviceAcks { share }
            | FaultKind::DuplicateAcks { share }
            | FaultKind::DelayAcks { share, .. }
            | FaultKind::DuplicateSends { share }
            | FaultKind::ResendEverything { share }
            | FaultKind::SlowReader { share }
            | FaultKind::ProfileChange { share, .. }
            | FaultKind::Disconnect { share }
            | FaultKind::HalfOpen { share } => Some(*share),
            _ => None,
        }
    }

    /// Whether its target are hosts, and devices cannot have it.
    pub fn is_of_hosts(&self) -> bool {
        self.targets().iter().any(|(key, _)| *key == "target")
    }

    /// Whether it is something that only a host with a disk can have.
    pub fn is_of_disks(&self) -> bool {
        matches!(
            self,
            FaultKind::DiskErrors { .. }
                | FaultKind::DiskFull { .. }
                | FaultKind::SlowDisk { .. }
                | FaultKind::StalledDisk { .. }
        )
    }

    /// Whether it happens at one instant, so that a `for` would mean nothing.
    pub fn is_instant(&self) -> bool {
        matches!(
            self,
            FaultKind::Disconnect { .. } | FaultKind::HalfOpen { .. } | FaultKind::ResendEverything { .. }
        )
    }
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
