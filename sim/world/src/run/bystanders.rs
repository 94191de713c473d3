//! Who is harmed by another's trouble: the latency of those whom no fault has touched, beside a run without faults.
//!
//! What is counted is messages, each by the last of its deliveries: to be late is one mishap, however many people a group has. By
//! deliveries a few large groups would decide what the percentile is.
//!
//! A message counts where nobody on its way has been touched: neither of the two people, neither of their gateways, not the shard of
//! the conversation, not the registry of the receiver, not the bus of the receiver's gateway. Whoever was touched once counts as touched from
//! then on: what a fault leaves behind is still its doing. Messages that were sent before the first fault do not count.
//!
//! An insider touches themselves and whoever is shown what they wrote while they attack: those who share a conversation with them, by
//! their own will or because they were put into it. That traffic is those people's own, and how much of it there may be is for the
//! scenario's `[limits]` to say. Nobody else is to notice anything, nor are those at whom an insider has only aimed.
//!
//! A crowd that gathers in a giant is such traffic, too: it touches the giant's members, from when it begins. Who is in the same shard, on the same
//! gateway or at the same disk is to notice nothing of it.
//!
//! A storm of typing is nobody's excuse: with it everybody's messages count.
//!
//! The other run has the same people, the same seed, no faults, no such crowds and no storm, and counts the same people's messages from the same instant.
//!
//! **Invariant:** without prices of work nothing is judged: a host whose CPU is free is never busy with somebody else's trouble.

use crate::nemesis::Stage;
use rustc_hash::{FxHashMap, FxHashSet};
use squall_generators::Delivered;
use squall_generators::population::Population;
use squall_history::{Entity, Event, Kind};
use squall_protocol::ids::rendezvous;
use squall_protocol::{ClientMsgId, DeviceId, HostName, Role, UserId};
use squall_reports::number::told_apart;
use squall_reports::record::{CheckRecord, FirstViolation, overall_verdict};
use squall_reports::{Histogram, RunRecord, Verdict};
use squall_scenarios::{BystandersLevel, FaultKind, Scenario, Topology};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the check.
const NAME: &str = "nobody-harmed";
/// Fewer messages than these in either run say nothing of a percentile.
const FEWEST: u64 = 200;

/// Whom the faults of a run have touched, and since when, in µs of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    hosts: BTreeMap<HostName, u64>,
    users: BTreeMap<UserId, u64>,
    everybody: Option<u64>,
    /// When the first fault began, µs of the run.
    since_us: Option<u64>,
}

impl Touched {
    fn begins(&mut self, now_us: u64) {
        self.since_us = Some(self.since_us.map_or(now_us, |since| since.min(now_us)));
    }

    /// A fault of this kind begins. Its targets are hosts by now; what it does to single devices is told one by one.
    pub fn handle_fault(&mut self, kind: &FaultKind, topology: &Topology, now_us: u64) {
        self.begins(now_us);
        for (_, targets) in kind.targets() {
            for host in targets.hosts(topology) {
                self.hosts.entry(host).or_insert(now_us);
            }
        }
        if may_strike_anybody(kind) {
            self.everybody.get_or_insert(now_us);
        }
    }

    /// A fault is about this person's device.
    pub fn handle_user(&mut self, user: UserId, now_us: u64) {
        self.users.entry(user).or_insert(now_us);
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
        // Both runs count up to the same moment for everybody, though one of them knows already whom faults will touch.
        let arrived = delivered.sent_at_us + delivered.took_us;
        let later = |since: Option<&u64>| since.is_none_or(|since| *since > arrived);
        later(self.everybody.as_ref())
            && way.iter().all(|host| later(self.hosts.get(host)))
            && [delivered.sender, delivered.receiver].iter().all(|user| later(self.users.get(user)))
    }
}

/// Whether there is anything that might harm somebody else.
pub fn has_trouble(scenario: &Scenario) -> bool {
    !scenario.faults.is_empty()
        || scenario.typing.is_storm()
        || scenario.workload.flash_crowds.iter().any(|crowd| crowd.to.is_some())
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
        | FaultKind::Reinstall { .. }
        | FaultKind::SlowReader { .. }
        | FaultKind::ProfileChange { .. }
        | FaultKind::Disconnect { .. }
        | FaultKind::HalfOpen { .. }
        // They are nobody's devices.
        | FaultKind::Liars { .. }
        // Told by what they send and who is shown it.
        | FaultKind::Insiders { .. }
        | FaultKind::Crash { .. }
        | FaultKind::RollingRestart { .. }
        | FaultKind::Stop { .. }
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
    /// Devices with which insiders attack, and what they have sent.
    attacking: BTreeSet<DeviceId>,
    attacks: FxHashSet<ClientMsgId>,
    /// The longest delivery of each message that counts, in µs.
    send_to_deliver: FxHashMap<ClientMsgId, u64>,
}

impl Bystanders {
    /// Of a run that is about to begin; or, of the run without faults, with those whom the other one has touched.
    pub fn new(scenario: &Scenario, touched: Option<Touched>) -> Self {
        Bystanders {
            topology: scenario.topology.clone(),
            touched: touched.unwrap_or_default(),
            attacking: BTreeSet::new(),
            attacks: FxHashSet::default(),
            send_to_deliver: FxHashMap::default(),
        }
    }

    /// Crowds touch those in whose conversation they gather, and storms of typing nobody.
    pub fn touch_crowds(&mut self, scenario: &Scenario, population: &Population) {
        // A storm of typing touches nobody: all messages count.
        if scenario.typing.is_storm() {
            self.touched.begins(scenario.phases.ramp.as_micros());
        }
        for crowd in &scenario.workload.flash_crowds {
            let giants = &scenario.population.giants;
            let Some(giant) = giants.iter().position(|giant| crowd.to.as_ref() == Some(&giant.name)) else {
                continue;
            };
            let begins = (scenario.phases.ramp + crowd.at).as_micros();
            self.touched.begins(begins);
            for member in population.group_members(giant as u32) {
                self.touched.handle_user(population.user(member), begins);
            }
        }
    }

    pub fn handle_fault(&mut self, kind: &FaultKind, now_us: u64) {
        self.touched.handle_fault(kind, &self.topology, now_us);
    }

    /// Whom insiders touch is told by what devices do and show.
    pub fn handle_event(&mut self, event: &Event) {
        let Entity::Device(device) = event.at else { return };
        match event.kind {
            Kind::Insider { user, .. } => {
                self.attacking.insert(device);
                self.touched.handle_user(user, event.t);
            }
            Kind::Send { client_msg_id, .. } if self.attacking.contains(&device) => {
                self.attacks.insert(client_msg_id);
            }
            Kind::Display { user, client_msg_id, .. } if self.attacks.contains(&client_msg_id) => {
                self.touched.handle_user(user, event.t);
            }
            _ => {}
        }
    }

    pub fn handle_delivered(&mut self, delivered: &Delivered) {
        let counts = self.touched.since_us.is_some_and(|since| delivered.sent_at_us >= since);
        if counts && self.touched.spares(delivered, &self.topology) {
            let longest = self.send_to_deliver.entry(delivered.message).or_default();
            *longest = delivered.took_us.max(*longest);
        }
    }

    fn latencies(&self) -> Histogram {
        let mut latencies = Histogram::new();
        self.send_to_deliver.values().for_each(|took_us| latencies.record_us(*took_us));
        latencies
    }
}

impl Stage<'_> {
    /// A fault is about these clients.
    pub fn touch_clients(&mut self, clients: impl IntoIterator<Item = u32>) {
        let Some(bystanders) = &mut self.observatory.bystanders else { return };
        let population = self.fleet.population();
        let touched = &mut bystanders.touched;
        clients.into_iter().for_each(|client| touched.handle_user(population.user_of_device(client), self.now));
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
    let latencies = [with, without].map(Bystanders::latencies);
    let [found, usual] = latencies.each_ref().map(|latencies| latencies.percentile_us(level.percentile));
    let count = with.send_to_deliver.len().min(without.send_to_deliver.len()) as u64;
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
    let (found, bound) = told_apart(ms(found), ms(at_most));
    let message = format!(
        "p{} of send-to-deliver of people whom no fault has touched is {found} ms, over {bound} ms, {} times the {:.1} ms without the faults",
        level.percentile,
        level.factor,
        ms(usual)
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
            user: None,
            level: None,
            message,
        }),
    });
    record.latency_ms.insert("bystanders".into(), latencies[0].percentiles());
    record.latency_ms.insert("bystanders_without_faults".into(), latencies[1].percentiles());
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
            took_us: 5,
            sent_at_us: 10,
            conversation: squall_protocol::ConversationId::direct(UserId(1), UserId(2)),
            sender: UserId(1),
            receiver: UserId(2),
            gateways,
            message: squall_protocol::ClientMsgId(1),
            is_from_elsewhere: false,
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
        let user = |since| Touched { users: [(UserId(2), since)].into(), ..touched.clone() };
        assert!(!spared(&user(15)));
        assert!(spared(&user(16)), "it had arrived before anybody was touched");
        touched.handle_fault(&FaultKind::DelayAcks { share: 0.1, by: Default::default() }, &topology, 7);
        assert!(!spared(&touched), "anybody's ack may be late");
    }

    #[test]
    fn a_message_counts_once_by_the_last_of_its_deliveries() {
        let scenario =
            parse("[population]\nusers = 2\n", Path::new("x.toml")).unwrap_or_else(|p| panic!("{}", p[0]));
        let touched = Touched { since_us: Some(1), ..Touched::default() };
        let mut bystanders = Bystanders::new(&scenario, Some(touched));
        for (message, took_us) in [(1, 5_000), (2, 7_000), (1, 9_000), (1, 6_000)] {
            let message = squall_protocol::ClientMsgId(message);
            bystanders.handle_delivered(&Delivered { message, took_us, ..delivered([0, 0]) });
        }
        let latencies = bystanders.latencies();
        assert_eq!(latencies.count(), 2);
        assert!(latencies.percentile_us(1.0) >= 6_900 && latencies.percentile_us(99.0) >= 8_900);
    }

    #[test]
    fn an_insider_touches_themselves_and_whoever_is_shown_what_they_wrote() {
        let scenario =
            parse("[population]\nusers = 2\n", Path::new("x.toml")).unwrap_or_else(|p| panic!("{}", p[0]));
        let mut bystanders = Bystanders::new(&scenario, None);
        let (attacking, honest) = (DeviceId(100), DeviceId(2));
        let mut told = |t, device, kind| bystanders.handle_event(&Event { t, at: Entity::Device(device), kind });
        let conversation = squall_protocol::ConversationId::direct(UserId(1), UserId(2));
        let (body_hash, what) = (0, squall_history::What::Text);
        let send = |n| Kind::Send {
            conversation,
            sender: UserId(1),
            client_msg_id: ClientMsgId(n),
            body_hash,
            what,
            members: Vec::new(),
        };
        let display = |user, n| Kind::Display {
            user: UserId(user),
            conversation,
            seq: squall_protocol::Seq(1),
            sender: UserId(1),
            client_msg_id: ClientMsgId(n),
            body_hash,
            what,
            via: squall_history::Via::Deliver,
        };
        told(1, attacking, Kind::Insider { user: UserId(1), number: None });
        told(2, DeviceId(1), send(5));
        told(3, attacking, send(6));
        told(4, honest, display(2, 5));
        told(5, DeviceId(3), display(3, 6));
        assert_eq!(bystanders.touched.users, [(UserId(1), 1), (UserId(3), 5)].into());
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
