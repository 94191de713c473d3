//! What the kinds of faults must satisfy, each by itself.

use super::findings::Findings;
use crate::model::{Backbone, DEFAULT_WINDOW, Fault, FaultKind, Point, Profile, Scenario, Strikes, Topology};
use crate::span::Span;
use crate::target::{Target, Targets};
use squall_protocol::{HostName, Role};

/// So many people are left beside insiders.
const LEAST_OTHERS: u32 = 2;

/// A change that is shorter changes nothing that people, devices or hosts could see: their clocks and timers count milliseconds.
const LEAST_CHANGE: Span = Span::from_millis(1);

/// A link that carries more a second is no slow one: a frame passes it within a millisecond or so.
const MOST_OF_A_SLOW_LINK: u64 = 10_000_000;

/// Longer than any load that makes sense for a drain.
const LONGEST_WINDOW: Span = Span::from_secs(3_600);

/// What a process needs beyond the window: its last answers, the peers that do not close, a shard's disk.
const TIME_TO_END: Span = Span::from_secs(6);

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
        FaultKind::RollingRestart { graceful, window, .. } => {
            of.laid_out_before_the_run();
            match (graceful, window) {
                (true, window) => of.leaves_time_to_end(*window, fault.lasts),
                (false, Some(_)) => of.add(
                    "window",
                    &[],
                    "window is over how long gateways close their connections, and these processes die at once",
                    "write graceful = true beside it, or leave it out",
                ),
                (false, None) => {}
            }
        }
        FaultKind::Stop { window, .. } => of.leaves_time_to_end(*window, fault.lasts),
        FaultKind::Swizzle { .. } => of.laid_out_before_the_run(),
        FaultKind::Flap { down, up, .. } => {
            of.laid_out_before_the_run();
            let least = scenario.tick.0.max(LEAST_CHANGE);
            for (key, span) in [("down", down), ("up", up)] {
                let place = format!("{place}.{key}");
                of.findings.span(&place, *span, least..=Span::from_secs(86_400));
            }
        }
        FaultKind::Latency { add, jitter, .. } => {
            if of.reaches_a_link() && *add + *jitter < LEAST_CHANGE {
                let message = format!(
                    "add is \"{add}\" and jitter is \"{jitter}\", but together they must be at least \"{LEAST_CHANGE}\": less changes nothing"
                );
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
            } else if *bytes_per_s > MOST_OF_A_SLOW_LINK {
                let message = format!(
                    "bytes_per_s is {bytes_per_s}, but must be at most {MOST_OF_A_SLOW_LINK}: more slows nothing down"
                );
                of.add("bytes_per_s", &[], message, "write e.g. bytes_per_s = 20_000");
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
                let (wrong, drifts) = ((*ahead - *behind).max(*behind - *ahead), drift_ppm.abs());
                let drifted = drifts * scenario.phases.load.as_secs_f64();
                if wrong.is_zero() && drifts == 0.0 {
                    let message = "this clock is neither ahead nor behind and does not drift";
                    of.add("ahead", &["faults"], message, "write e.g. ahead = \"2s\"");
                } else if wrong < LEAST_CHANGE && drifted < LEAST_CHANGE.as_micros() as f64 {
                    let message = format!(
                        "this clock is never wrong by \"{LEAST_CHANGE}\", the least that anybody can read from it"
                    );
                    of.add("ahead", &["faults", "phases"], message, "write e.g. ahead = \"2s\"");
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
            let least = scenario.tick.0.max(LEAST_CHANGE);
            of.at_least("by", *by, least, "write e.g. by = \"2s\"");
        }
        FaultKind::SlowDisk { add, .. } => of.at_least("add", *add, LEAST_CHANGE, "write e.g. add = \"200ms\""),
        FaultKind::ProfileChange { to, .. } => {
            let elsewhere = |(profile, share): (&Profile, &f64)| profile != to && *share > 0.0;
            if !scenario.network.last_mile.iter().any(elsewhere) {
                let message = "every device of this scenario is on that last-mile profile already";
                of.add("to", &["network"], message, "name another one, or give devices others in last_mile");
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
        | FaultKind::StalledDisk { .. }
        | FaultKind::DropSentAcks { .. }
        | FaultKind::DropDeviceAcks { .. }
        | FaultKind::DuplicateAcks { .. }
        | FaultKind::DuplicateSends { .. }
        | FaultKind::ResendEverything { .. }
        | FaultKind::Reinstall { .. }
        | FaultKind::SlowReader { .. }
        | FaultKind::CarrierGone { carrier: None }
        | FaultKind::Disconnect { .. }
        | FaultKind::HalfOpen { .. } => {}
    }
}

impl Particulars<'_> {
    fn add(&mut self, key: &str, depends: &'static [&'static str], message: impl Into<String>, help: &str) {
        self.findings.add(&format!("{}.{key}", self.place), depends, message.into(), help);
    }

    /// A length of time below the least that changes anything.
    fn at_least(&mut self, key: &str, found: Span, least: Span, help: &str) {
        if found < least {
            let message = format!("{key} is \"{found}\", but must be at least \"{least}\": less changes nothing");
            self.add(key, &["tick"], message, help);
        }
    }

    /// A process that is asked to end has the time for it.
    fn leaves_time_to_end(&mut self, window: Option<Span>, lasts: Option<Span>) {
        let hosts =
            self.kind.targets().into_iter().flat_map(|(_, targets)| targets.hosts(&self.scenario.topology));
        let has_gateways = hosts.into_iter().any(|host| host.role == Role::Gateway);
        if let (Some(_), false) = (window, has_gateways) {
            let message = "window is over how long gateways close their connections, and the target has none";
            return self.add("window", &["topology"], message, "leave it out");
        }
        let window = window.unwrap_or(if has_gateways { DEFAULT_WINDOW } else { Span::ZERO });
        self.findings.span(&format!("{}.window", self.place), window, Span::ZERO..=LONGEST_WINDOW);
        let least = window + TIME_TO_END;
        if let Some(lasts) = lasts.filter(|lasts| *lasts < least) {
            let message = format!(
                "for is \"{lasts}\", but a process that is asked to end over \"{window}\" is given at least \"{least}\" until it is started again"
            );
            let help = format!("write for = \"{least}\" or more, or a shorter window");
            self.add("for", &[], message, &help);
        }
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
