//! Who is harmed by another's trouble: the latency of those whom no fault has touched, beside a run without faults.
//!
//! A message counts where nobody on its way has been touched: neither of the two people, neither of their gateways, not the shard of
//! the conversation, not the registry of the receiver, not the bus of the receiver's gateway. Whoever was touched once counts as touched for
//! ever: what a fault leaves behind is still its doing. Messages that were sent before the first fault do not count.
//!
//! The other run has the same people, the same seed and no faults, and counts the same people's messages from the same instant.
//!
//! **Invariant:** without prices of work nothing is judged: a host whose CPU is free is never busy with somebody else's trouble.

use crate::nemesis::Stage;
use squall_generators::Delivered;
use squall_protocol::ids::rendezvous;
use squall_protocol::{HostName, Role, UserId};
use squall_reports::record::{CheckRecord, FirstViolation, overall_verdict};
use squall_reports::{Histogram, RunRecord, Verdict};
use squall_scenarios::{BystandersLevel, FaultKind, Scenario, Topology};
use std::collections::BTreeSet;

/// The name of the check.
const NAME: &str = "nobody-harmed";
/// Fewer messages than these in either run say nothing of a percentile.
const FEWEST: u64 = 200;

/// Whom the faults of a run have touched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    hosts: BTreeSet<HostName>,
    users: BTreeSet<UserId>,
    everybody: bool,
    /// When the first fault began, µs of the run.
    since_us: Option<u64>,
}

impl Touched {
    /// A fault of this kind begins. Its targets are hosts by now; what it does to single devices is told one by one.
    pub fn handle_fault(&mut self, kind: &FaultKind, topology: &Topology, now_us: u64) {
        self.since_us.get_or_insert(now_us);
        for (_, targets) in kind.targets() {
            self.hosts.extend(targets.hosts(topology));
        }
        self.everybody |= may_strike_anybody(kind);
    }

    /// A fault is about this person's device.
    pub fn handle_user(&mut self, user: UserId) {
        self.users.insert(user);
    }

    fn spares(&self, delivered: &Delivered, topology: &Topology) -> bool {
        let owner = |role: Role, key: u64| role.host(rendezvous(key, topology.count(role)));
        let [from, to] = delivered.gateways.map(u32::from);
        let way = [
            Role::Gateway.host(from),
            Role::Gateway.host(to),
            owner(Role::Messages, delivered.conversation.spread()),
            owner(Role::Registry, delivered.receiver.0),
            owner(Role::Bus, u64::from(to)),
        ];
        !self.everybody
            && way.iter().all(|host| !self.hosts.contains(host))
            && [delivered.sender, delivered.receiver].iter().all(|user| !self.users.contains(user))
    }
}

/// Whether a fault of this kind may strike whoever is there, so that nobody is a bystander.
fn may_strike_anybody(kind: &FaultKind) -> bool {
    match kind {
        FaultKind::DropSentAcks { .. }
        | FaultKind::DropDeviceAcks { .. }
        | FaultKind::DuplicateAcks { .. }
        | FaultKind::DelayAcks { .. }
        | FaultKind::DuplicateSends { .. }
        | FaultKind::CarrierGone { .. } => true,
        // It tells whom it is about, or strikes hosts, which it names.
        FaultKind::ResendEverything { .. }
        | FaultKind::SlowReader { .. }
        | FaultKind::ProfileChange { .. }
        | FaultKind::Disconnect { .. }
        | FaultKind::HalfOpen { .. }
        // They are nobody's devices.
        | FaultKind::Liars { .. }
        | FaultKind::Insiders { .. }
        | FaultKind::Crash { .. }
        | FaultKind::RollingRestart { .. }
        | FaultKind::PowerLoss { .. }
        | FaultKind::Partition { .. }
        | FaultKind::PartitionOneWay { .. }
        | FaultKind::Swizzle { .. }
        | FaultKind::Flap { .. }
        | FaultKind::Hold { .. }
        | FaultKind::Latency { .. }
        | FaultKind::SlowLink { .. }
        | FaultKind::Loss { .. }
        | FaultKind::Refuse { .. }
        | FaultKind::Pause { .. }
        | FaultKind::DiskErrors { .. }
        | FaultKind::DiskFull { .. }
        | FaultKind::SlowDisk { .. }
        | FaultKind::StalledDisk { .. }
        | FaultKind::Clock { .. } => false,
    }
}

/// The latencies of those who have nothing to do with what goes wrong.
pub struct Bystanders {
    topology: Topology,
    pub touched: Touched,
    send_to_deliver: Histogram,
}

impl Bystanders {
    /// Of a run that is about to begin; or, of the run without faults, with those whom the other one has touched.
    pub fn new(scenario: &Scenario, touched: Option<Touched>) -> Self {
        Bystanders {
            topology: scenario.topology.clone(),
            touched: touched.unwrap_or_default(),
            send_to_deliver: Histogram::new(),
        }
    }

    pub fn handle_fault(&mut self, kind: &FaultKind, now_us: u64) {
        self.touched.handle_fault(kind, &self.topology, now_us);
    }

    pub fn handle_delivered(&mut self, delivered: &Delivered) {
        let counts = self.touched.since_us.is_some_and(|since| delivered.sent_at_us >= since);
        if counts && self.touched.spares(delivered, &self.topology) {
            self.send_to_deliver.record_us(delivered.took_us);
        }
    }
}

impl Stage<'_> {
    /// A fault is about these clients.
    pub fn touch_clients(&mut self, clients: impl IntoIterator<Item = u32>) {
        let Some(bystanders) = &mut self.observatory.bystanders else { return };
        let population = self.fleet.population();
        clients.into_iter().for_each(|client| bystanders.touched.handle_user(population.user_of_device(client)));
    }
}

/// Holds the run with faults against the one without, and adds what comes of it to the record.
pub fn judge(
    record: &mut RunRecord,
    level: &BystandersLevel,
    is_priced: bool,
    with: &Bystanders,
    without: &Bystanders,
) {
    let [found, usual] = [with, without].map(|run| run.send_to_deliver.percentile_us(level.percentile));
    let count = with.send_to_deliver.count().min(without.send_to_deliver.count());
    let at_most = (usual as f64 * level.factor) as u64;
    let ms = |us: u64| us as f64 / 1_000.0;
    let verdict = match (is_priced && count >= FEWEST, found <= at_most) {
        (false, _) => Verdict::Inconclusive,
        (true, true) => Verdict::Pass,
        (true, false) => Verdict::Violated,
    };
    if verdict == Verdict::Inconclusive {
        record.add_reason(match is_priced {
            false => format!("{NAME} judges nothing while the server's CPU is free: add a line [costs]"),
            true => format!(
                "{NAME} needs {FEWEST} messages of people whom no fault has touched, and found {count} of them"
            ),
        });
    }
    let message = format!(
        "p{} of send-to-deliver of people whom no fault has touched is {:.1} ms, and {:.1} ms without the faults: over {} times as long",
        level.percentile,
        ms(found),
        ms(usual),
        level.factor
    );
    let violated = verdict == Verdict::Violated;
    record.checks.push(CheckRecord {
        name: NAME.into(),
        verdict,
        evaluated: count,
        exposed: count,
        violations: u64::from(violated),
        first: violated.then(|| FirstViolation {
            t: record.simulated_ms * 1_000,
            conversation: String::new(),
            seq: None,
            client_msg_id: None,
            device: None,
            message,
        }),
    });
    record.latency_ms.insert("bystanders".into(), with.send_to_deliver.percentiles());
    record.latency_ms.insert("bystanders_without_faults".into(), without.send_to_deliver.percentiles());
    record.verdict = overall_verdict(&record.checks, &record.inconclusive_because);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{RunOptions, run};
    use squall_scenarios::{Targets, parse};
    use std::path::Path;

    fn topology() -> Topology {
        Topology { gateways: 2, messages: 2, registries: 2, ..Topology::default() }
    }

    fn delivered(gateways: [u16; 2]) -> Delivered {
        Delivered {
            took_us: 1,
            sent_at_us: 10,
            conversation: squall_protocol::ConversationId::direct(UserId(1), UserId(2)),
            sender: UserId(1),
            receiver: UserId(2),
            gateways,
        }
    }

    #[test]
    fn whoever_is_on_the_way_of_a_message_takes_it_out() {
        let topology = topology();
        let spared = |touched: &Touched| touched.spares(&delivered([0, 0]), &topology);
        let mut touched = Touched::default();
        assert!(spared(&touched));
        let target: Targets = ["gateway-1"].iter().map(|name| name.parse().unwrap()).collect();
        touched.handle_fault(&FaultKind::Pause { target }, &topology, 5);
        assert!(spared(&touched), "nothing of it went through gateway-1");
        assert!(!touched.spares(&delivered([0, 1]), &topology));
        touched.handle_fault(&FaultKind::Liars { count: 1 }, &topology, 6);
        assert!(spared(&touched), "a stranger touches nobody");
        assert_eq!(touched.since_us, Some(5));
        let other = Touched { users: [UserId(2)].into(), ..touched.clone() };
        assert!(!spared(&other));
        touched.handle_fault(&FaultKind::DelayAcks { share: 0.1, by: Default::default() }, &topology, 7);
        assert!(!spared(&touched), "anybody's ack may be late");
    }

    /// A stranger's flood costs a shard its time only where work has a price; and then others wait for it.
    #[test]
    fn without_prices_nobody_can_be_harmed_and_the_check_says_so() {
        let text = |costs: &str| {
            format!(
                "[population]\nusers = 30\n[workload]\nsend_interval = \"500ms\"\n{costs}\n[phases]\nload = \"20s\"\n\
                 liveness_bound = \"10s\"\n[[faults]]\nkind = \"slow-reader\"\nat = \"2s\"\nfor = \"5s\"\nshare = 0.1\n\
                 [checks.bystanders]\npercentile = 99\nfactor = 3.0\n"
            )
        };
        let verdict = |costs: &str| {
            let text = text(costs);
            let scenario = parse(&text, Path::new("x.toml")).unwrap_or_else(|p| panic!("{}\n{text}", p[0]));
            let run = std::thread::spawn(move || run(&scenario, RunOptions::default()).expect("a run that ends"));
            let record = run.join().expect("a run does not panic");
            let check = record.checks.iter().find(|check| check.name == NAME).expect("it is judged").clone();
            (check.verdict, check.evaluated >= FEWEST, record.inconclusive_because)
        };
        assert_eq!(verdict("").0, Verdict::Inconclusive);
        let (priced, enough, because) = verdict("[costs]");
        assert!(priced == Verdict::Pass && enough, "{priced:?} {because:?}");
    }
}
