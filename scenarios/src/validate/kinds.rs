//! What the kinds of faults must satisfy, each by itself.

use super::findings::Findings;
use crate::model::{Backbone, Fault, FaultKind, Point, Scenario, Strikes, Topology};
use crate::span::Span;
use crate::target::{Target, Targets};
use squall_protocol::{HostName, Role};

/// So many people are left beside insiders.
const LEAST_OTHERS: u32 = 2;

/// A fault of which something is said: where it stands and what it is in.
struct Particulars<'a> {
    scenario: &'a Scenario,
    kind: &'a FaultKind,
    /// `faults[2]`.
    place: &'a str,
    findings: &'a mut Findings,
}

pub(super) fn particulars(scenario: &Scenario, fault: &Fault, place: &str, findings: &mut Findings) {
    let mut of = Particulars { scenario, kind: &fault.kind, place, findings };
    of.share();
    of.disks();
    match &fault.kind {
        FaultKind::Crash { point: Some(Point::MidCommit), .. } => of.add(
            "point",
            &[],
            "a process that dies leaves its writes to the system, so there is no middle",
            "use the kind \"power-loss\" or another point",
        ),
        FaultKind::Crash { target, point: Some(_) } | FaultKind::PowerLoss { target, point: Some(_) } => {
            of.point_of(target);
        }
        FaultKind::RollingRestart { .. } | FaultKind::Swizzle { .. } => of.laid_out_before_the_run(),
        FaultKind::Flap { down, up, .. } => {
            of.laid_out_before_the_run();
            for (key, span) in [("down", down), ("up", up)] {
                let place = format!("{place}.{key}");
                of.findings.span(&place, *span, Span::from_millis(1)..=Span::from_secs(86_400));
            }
        }
        FaultKind::Latency { add, jitter, .. } => {
            if of.reaches_a_link() && add.is_zero() && jitter.is_zero() {
                let message = "add and jitter are both \"0s\", so this fault would change nothing";
                of.add("add", &["faults"], message, "write e.g. add = \"200ms\"");
            }
        }
        FaultKind::SlowLink { bytes_per_s, .. } => {
            if of.reaches_a_link() && *bytes_per_s == 0 {
                of.add(
                    "bytes_per_s",
                    &[],
                    "bytes_per_s is 0, which is a partition",
                    "write e.g. bytes_per_s = 20_000",
                );
            }
        }
        FaultKind::Loss { .. } | FaultKind::Refuse { .. } => {
            of.reaches_a_link();
        }
        FaultKind::Pause { .. } => {
            of.has_a_clock_of_its_own("none can be paused");
        }
        FaultKind::Clock { target, ahead, behind, drift_ppm } => {
            if of.has_a_clock_of_its_own("none can be wrong") {
                of.findings.number(&format!("{place}.drift_ppm"), *drift_ppm, -100_000.0..=100_000.0);
                if ahead == behind && *drift_ppm == 0.0 {
                    let message = "this clock is neither ahead nor behind and does not drift";
                    of.add("ahead", &["faults"], message, "write e.g. ahead = \"2s\"");
                }
            }
            let hosts = target.hosts(&scenario.topology).into_iter();
            if let Some(host) = hosts.clone().find(|host| matches!(host.role, Role::Registry | Role::Bus)) {
                let message = format!(
                    "nothing that a {} does depends on its wall clock, but the target includes {host}",
                    host.role
                );
                of.add("target", &["topology"], message, "target e.g. \"messages-*\" or \"gateway-*\"");
            }
        }
        FaultKind::DelayAcks { by, .. } => {
            if by.is_zero() {
                let message = "by is \"0s\", so this fault would change nothing";
                of.add("by", &[], message, "write e.g. by = \"2s\"");
            }
        }
        FaultKind::Liars { count } => of.findings.count(&format!("{place}.count"), *count, 1..=1_000),
        FaultKind::Insiders { count, guessing } => {
            of.findings.count(&format!("{place}.count"), *count, 1..=100);
            of.findings.count(&format!("{place}.guessing"), *guessing, 0..=(*count).min(100));
            of.leaves_others(*count);
        }
        FaultKind::CarrierGone { carrier: Some(carrier) } => {
            if scenario.network.last_mile.get(carrier).is_none_or(|share| *share <= 0.0) {
                let message = "no device of this scenario is on that last-mile profile";
                let help = "name one of those in last_mile, or leave carrier out to draw one";
                of.add("carrier", &["network"], message, help);
            }
        }
        // Whatever their keys can say is sound.
        FaultKind::Crash { point: None, .. }
        | FaultKind::PowerLoss { point: None, .. }
        | FaultKind::Partition { .. }
        | FaultKind::PartitionOneWay { .. }
        | FaultKind::Hold { .. }
        | FaultKind::DiskErrors { .. }
        | FaultKind::DiskFull { .. }
        | FaultKind::SlowDisk { .. }
        | FaultKind::StalledDisk { .. }
        | FaultKind::DropSentAcks { .. }
        | FaultKind::DropDeviceAcks { .. }
        | FaultKind::DuplicateAcks { .. }
        | FaultKind::DuplicateSends { .. }
        | FaultKind::ResendEverything { .. }
        | FaultKind::SlowReader { .. }
        | FaultKind::ProfileChange { .. }
        | FaultKind::CarrierGone { carrier: None }
        | FaultKind::Disconnect { .. }
        | FaultKind::HalfOpen { .. } => {}
    }
}

impl Particulars<'_> {
    fn add(&mut self, key: &str, depends: &'static [&'static str], message: impl Into<String>, help: &str) {
        self.findings.add(&format!("{}.{key}", self.place), depends, message.into(), help);
    }

    fn share(&mut self) {
        if let Some(share) = self.kind.share().filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            let message = format!("share is {share}, but must be above 0 and at most 1");
            self.add("share", &[], message, "write e.g. share = 0.2");
        }
    }

    fn disks(&mut self) {
        let topology = &self.scenario.topology;
        let lists = self.kind.targets();
        if self.kind.strikes() == Strikes::Disks
            && let Some(host) = lists.iter().find_map(|(_, targets)| without_disk(targets, topology))
        {
            let message = format!("only messages hosts have a disk, but the target includes {host}");
            self.add("target", &["topology"], message, "target e.g. \"messages-*\"");
        }
    }

    fn point_of(&mut self, target: &Targets) {
        if let Some(host) = without_disk(target, &self.scenario.topology) {
            let message = format!("only messages hosts pass this point, but the target includes {host}");
            self.add("point", &["topology"], message, "leave it out, or target e.g. \"messages-*\"");
        }
    }

    fn laid_out_before_the_run(&mut self) {
        if self.kind.targets().iter().any(|(_, targets)| targets.contains(Target::BusiestShard)) {
            let kind = self.kind.name();
            let message = format!("a {kind} is planned before the run, when no shard is the busiest yet");
            self.add("kind", &[], message, "name the shards, or \"messages-*\"");
        }
    }

    /// Insiders need others to harm: somebody to write to, and two who have a conversation without them.
    fn leaves_others(&mut self, own: u32) {
        let (users, faults) = (self.scenario.population.users, &self.scenario.faults);
        let count = |fault: &Fault| if let FaultKind::Insiders { count, .. } = fault.kind { count } else { 0 };
        let all = faults.iter().map(count).fold(0, u32::saturating_add);
        let most = users.saturating_sub(LEAST_OTHERS);
        if all > most {
            let message = format!(
                "{all} of {users} users are insiders, but at least {LEAST_OTHERS} must be left whom they could harm"
            );
            let fewer = most.saturating_sub(all - own);
            let more = all.saturating_add(LEAST_OTHERS);
            let help = match fewer {
                0 => format!("set users in [population] to {more} or more"),
                fewer => format!("write count = {fewer}, or less, or set users in [population] to {more} or more"),
            };
            self.add("count", &["population", "faults"], message, &help);
        }
    }

    /// Whether it acts on a link that carries it out; on turmoil's only those of the devices do.
    fn reaches_a_link(&mut self) -> bool {
        let of_clients = self.kind.targets().iter().any(|(_, targets)| targets.clients());
        let reaches = of_clients || self.scenario.network.backbone == Backbone::Simulated;
        if !reaches {
            let message = format!("a {} between hosts has no effect on backbone = \"turmoil\"", self.kind.name());
            self.add("kind", &["network"], message, "leave the fault or the backbone out");
        }
        reaches
    }

    fn has_a_clock_of_its_own(&mut self, so: &str) -> bool {
        let own = self.scenario.network.backbone == Backbone::Simulated;
        if !own {
            let message = format!("all hosts share one clock on backbone = \"turmoil\", so {so}");
            self.add("kind", &["network"], message, "leave the fault or the backbone out");
        }
        own
    }
}

/// The first host that has no disk and passes no named point: it is no shard.
fn without_disk(targets: &Targets, topology: &Topology) -> Option<HostName> {
    targets.hosts(topology).into_iter().find(|host| !host.role.has_disk())
}
