//! Histories for tests: a group of users 1 and 2, a device each with the user's number, user 3 a stranger.
//!
//! Messages are named by small numbers. Times are the numbers of the events. `beside` is what people see of each other.

mod beside;

use crate::{
    Allowance, AuditDevice, AuditEntry, AuditLevel, CheckReport, Checks, Config, Limits, PresenceConfig, Verdict,
    Violation,
};
use squall_history::{Arrived, EVER, Entity, Event, Harm, Kind, Via, What};
use squall_protocol::{ClientMsgId, ClientSeq, ConversationId, Cursors, DeviceId, Seq, UserId, limits};
use std::collections::BTreeMap;
use std::ops::Range;

pub(crate) const CONVERSATION: ConversationId = ConversationId::group(UserId(1), 7);
const SHARD_HOST: u16 = 3;
/// The host that knows who is online, and what its clock shows when the run starts.
pub(crate) const PRESENCE_HOST: u16 = 5;
const EPOCH_MS: u64 = 1_000_000;

/// A change of membership that a device sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Joined(u64),
    Left(u64),
    /// Any other change of who may do what.
    Rule(What),
}

#[derive(Clone, Copy)]
struct Sent {
    device: u64,
    what: What,
}

/// An entry as the audit will report it.
#[derive(Debug, Clone)]
struct Stored {
    id: u64,
    seq: u64,
    device: u64,
    altered: bool,
}

/// A run that a test writes down, step by step.
#[derive(Default)]
pub(crate) struct History {
    events: Vec<Event>,
    /// Time that passed beside the events, µs.
    waited: u64,
    sent: BTreeMap<u64, Sent>,
    log: Vec<Stored>,
    /// User, device, and how far.
    /// Users and places.
    cursors: Vec<(u64, u64)>,
    /// The user of each device.
    devices: BTreeMap<u64, u64>,
    away: Vec<u64>,
    levels: Vec<AuditLevel>,
    limits: Limits,
    channel_above: u32,
    without_disks: bool,
    no_tokens_us: Option<Range<u64>>,
    undisturbed_us: Option<u64>,
    noticed_us: u64,
    /// The hosts of gateways.
    gateways: Vec<u16>,
    presence: Option<PresenceConfig>,
}

/// What the checks said of a history.
pub(crate) struct Outcome(pub Vec<CheckReport>);

fn id(message: u64) -> ClientMsgId {
    ClientMsgId(u128::from(message) << 64 | 0x5a)
}

impl History {
    /// Nothing happened.
    pub fn empty() -> Self {
        History::default()
    }

    /// Device 1 created the conversation (message 1) and said something (message 2); both devices saw both.
    pub fn chat() -> Self {
        let mut history = History::default();
        history.device(1, 1).device(2, 2).device(3, 3);
        history.push_send(1, 1, CONVERSATION, What::Created);
        history.acked(1, 1, 1).log(1).display(1, 1, 1).display(2, 1, 1);
        history.send(1, 2).acked(1, 2, 2).log(2).display(1, 2, 2).display(2, 2, 2);
        history
    }

    /// A user may send and do so much at once, and hardly anything afterwards.
    pub fn limited(&mut self, sends: u32, growth: u32) -> &mut Self {
        let of = |at_once| Allowance { per_second: 1, at_once };
        self.limits = Limits { sends: of(sends), growth: [of(growth); 3] };
        self
    }

    /// The app's backend issues no tokens meanwhile, in µs.
    pub fn no_tokens(&mut self, away: Range<u64>) -> &mut Self {
        self.no_tokens_us = Some(away);
        self
    }

    /// What may be said of a way that nothing has harmed is said.
    pub fn undisturbed(&mut self) -> &mut Self {
        self.undisturbed_us = Some(limits::undisturbed_bound().as_micros() as u64);
        self
    }

    /// A group with more members is a channel.
    pub fn without_disks(&mut self) -> &mut Self {
        self.without_disks = true;
        self
    }

    pub fn channel_above(&mut self, members: u32) -> &mut Self {
        self.channel_above = members;
        self
    }

    /// A connection may be dead for so long before its device notices.
    pub fn noticed_within(&mut self, us: u64) -> &mut Self {
        self.noticed_us = us;
        self
    }

    /// A device begins a new life, which the history knows as `anew`, and connects.
    pub fn reinstalled(&mut self, device: u64, anew: u64) -> &mut Self {
        let user = self.user(device);
        let number = DeviceId(device);
        self.away(device).leave(device);
        self.devices.insert(anew, user);
        self.push(anew, Kind::Reinstalled { user: UserId(user), number }).connect(anew)
    }

    /// Something is slow on the device's path for so long, from now on.
    pub fn slowed(&mut self, device: u64, by_us: u64) -> &mut Self {
        let until = self.waited + self.events.len() as u64 + by_us;
        self.push(device, Kind::Slowed { until })
    }

    /// A device is told to wait, hardly at all.
    pub fn told_to_wait(&mut self, device: u64, message: u64) -> &mut Self {
        self.told_to_wait_for(device, message, 5)
    }

    pub fn told_to_wait_for(&mut self, device: u64, message: u64, retry_after_ms: u64) -> &mut Self {
        let (conversation, client_msg_id) = (CONVERSATION, id(message));
        self.push(device, Kind::Wait { conversation, client_msg_id, retry_after_ms })
    }

    /// A device that stays to the end.
    pub fn device(&mut self, device: u64, user: u64) -> &mut Self {
        self.devices.insert(device, user);
        self.connect(device)
    }

    pub fn connect(&mut self, device: u64) -> &mut Self {
        let user = UserId(self.user(device));
        self.push(device, Kind::Connect { user, gateway: 0, connect_count: 1, expires_s: EVER })
    }

    /// A device connects with a token that expires then, in seconds of the run.
    pub fn connect_until(&mut self, device: u64, expires_s: i64) -> &mut Self {
        let user = UserId(self.user(device));
        self.push(device, Kind::Connect { user, gateway: 0, connect_count: 1, expires_s })
    }

    pub fn refreshed(&mut self, device: u64, expires_s: i64) -> &mut Self {
        self.push(device, Kind::Refreshed { expires_s })
    }

    pub fn token_refused(&mut self, device: u64, expires_s: i64) -> &mut Self {
        self.push(device, Kind::TokenRefused { gateway: 0, expires_s })
    }

    /// Somebody is answered whose token has a flaw, so long after they asked.
    pub fn taken(
        &mut self,
        device: u64,
        flaw: &'static str,
        (expires_s, not_before_s): (i64, Option<i64>),
        after_us: u64,
    ) -> &mut Self {
        let asked = (self.waited + self.events.len() as u64).saturating_sub(after_us);
        self.push(device, Kind::TokenTaken { gateway: 0, flaw, expires_s, not_before_s, asked })
    }

    /// A host's clock goes wrong by so much.
    pub fn clock(&mut self, host: u16, ahead_us: i64) -> &mut Self {
        self.push_host(host, Kind::Clock { ahead_us })
    }

    /// The device is not there when the run ends.
    pub fn away(&mut self, device: u64) -> &mut Self {
        self.away.push(device);
        self
    }

    pub fn send(&mut self, device: u64, message: u64) -> &mut Self {
        self.push_send(device, message, CONVERSATION, What::Text)
    }

    pub fn send_elsewhere(&mut self, device: u64, message: u64) -> &mut Self {
        self.push_send(device, message, ConversationId(8), What::Text)
    }

    pub fn change(&mut self, device: u64, message: u64, change: Change) -> &mut Self {
        let what = match change {
            Change::Joined(user) => What::Joined(UserId(user)),
            Change::Left(user) => What::Left(UserId(user)),
            Change::Rule(what) => what,
        };
        self.push_send(device, message, CONVERSATION, what)
    }

    pub fn create(&mut self, device: u64, message: u64) -> &mut Self {
        self.push_send(device, message, CONVERSATION, What::Created)
    }

    /// A user attacks with this device from now on.
    pub fn insider(&mut self, device: u64, user: u64) -> &mut Self {
        self.push(device, Kind::Insider { user: UserId(user), number: None })
    }

    pub fn resend(&mut self, device: u64, message: u64) -> &mut Self {
        self.push(
            device,
            Kind::Resend { conversation: CONVERSATION, client_msg_id: id(message), cause: "overdue" },
        )
    }

    pub fn acked(&mut self, device: u64, message: u64, seq: u64) -> &mut Self {
        self.push(
            device,
            Kind::Sent {
                conversation: CONVERSATION,
                client_msg_id: id(message),
                seq: Seq(seq),
                stored_at_ms: 1 + message,
            },
        )
    }

    pub fn refused(&mut self, device: u64, message: u64, reason: &'static str) -> &mut Self {
        self.push(device, Kind::Refused { conversation: CONVERSATION, client_msg_id: id(message), reason })
    }

    pub fn display(&mut self, device: u64, message: u64, seq: u64) -> &mut Self {
        self.display_via(device, message, seq, Via::Deliver)
    }

    pub fn display_via(&mut self, device: u64, message: u64, seq: u64, via: Via) -> &mut Self {
        self.push_display(device, message, seq, via, message)
    }

    /// Displays the message with a body that is not its own.
    pub fn display_altered(&mut self, device: u64, message: u64, seq: u64) -> &mut Self {
        self.push_display(device, message, seq, Via::Deliver, !message)
    }

    /// A span reaches a device, with these messages at its first places.
    pub fn arrive(&mut self, device: u64, messages: &[u64], (from, to): (u64, u64)) -> &mut Self {
        let seqs = (from..).zip(messages);
        let held = seqs.map(|(seq, message)| self.arrived(seq, *message, 1 + message)).collect();
        self.push_arrival(device, (from, to), held)
    }

    /// A copy of the message that stands at the place of its number, with another time at which it was stored.
    pub fn arrive_restamped(&mut self, device: u64, message: u64) -> &mut Self {
        let held = vec![self.arrived(message, message, 99 + message)];
        self.push_arrival(device, (message, message), held)
    }

    fn arrived(&self, seq: u64, message: u64, stored_at_ms: u64) -> Arrived {
        let author = DeviceId(self.sent.get(&message).map_or(1, |sent| sent.device));
        Arrived { seq: Seq(seq), client_msg_id: id(message), author, client_seq: ClientSeq(message), stored_at_ms }
    }

    fn push_arrival(&mut self, device: u64, (from, to): (u64, u64), held: Vec<Arrived>) -> &mut Self {
        let entries = held.len() as u32;
        let (conversation, via) = (CONVERSATION, Via::Deliver);
        self.push(device, Kind::Deliver { conversation, from: Seq(from), to: Seq(to), entries, via, held })
    }

    pub fn skip(&mut self, device: u64, from: u64, to: u64) -> &mut Self {
        self.push(device, Kind::Skip { conversation: CONVERSATION, from: Seq(from), to: Seq(to) })
    }

    pub fn discard(&mut self, device: u64, message: u64, seq: u64) -> &mut Self {
        self.push(device, Kind::Discard { conversation: CONVERSATION, seq: Seq(seq), client_msg_id: id(message) })
    }

    pub fn sync(&mut self, device: u64, since: u64) -> &mut Self {
        self.push(device, Kind::Sync { conversation: CONVERSATION, since: Seq(since) })
    }

    pub fn ack(&mut self, device: u64, up_to: u64) -> &mut Self {
        self.push(device, Kind::Ack { conversation: CONVERSATION, up_to: Seq(up_to) })
    }

    /// The shard loses power and restarts.
    pub fn power_loss(&mut self) -> &mut Self {
        for kind in [Kind::PowerLoss { unsynced_blocks: 1 }, Kind::Restart] {
            let t = self.events.len() as u64;
            self.events.push(Event { t, at: Entity::Host(SHARD_HOST), kind });
        }
        self
    }

    /// The audit finds the message next in the log.
    pub fn log(&mut self, message: u64) -> &mut Self {
        self.log_at(message, self.log.len() as u64 + 1)
    }

    pub fn log_at(&mut self, message: u64, seq: u64) -> &mut Self {
        let device = self.sent.get(&message).map_or(1, |sent| sent.device);
        self.log.push(Stored { id: message, seq, device, altered: false });
        self
    }

    pub fn log_altered(&mut self, message: u64) -> &mut Self {
        self.log(message);
        self.log.last_mut().expect("just pushed").altered = true;
        self
    }

    pub fn log_in_the_name_of(&mut self, message: u64, device: u64) -> &mut Self {
        self.log(message);
        self.log.last_mut().expect("just pushed").device = device;
        self
    }

    pub fn cursor(&mut self, device: u64, up_to: u64) -> &mut Self {
        self.cursor_of(self.user(device), up_to)
    }

    /// The cursor of a user, as the audit reads it.
    pub fn cursor_of(&mut self, user: u64, up_to: u64) -> &mut Self {
        self.cursors.push((user, up_to));
        self
    }

    /// A user attacks with a device that goes by the number of another.
    pub fn guess(&mut self, device: u64, user: u64, number: u64) -> &mut Self {
        self.push(device, Kind::Insider { user: UserId(user), number: Some(DeviceId(number)) })
    }

    /// A gateway has so many of what the level counts at the end.
    pub fn stands(&mut self, what: &'static str, end: u64) -> &mut Self {
        let host = "gateway-0".to_owned();
        self.levels.push(AuditLevel { host, what, limit: None, returns: false, before: 0, highest: end, end });
        self
    }

    /// What the checks say of the run with its audit.
    pub fn audit(&self) -> Outcome {
        let mut checks = self.observed();
        for stored in &self.log {
            let sent = self.sent.get(&stored.id).copied().unwrap_or(Sent { device: 1, what: What::Text });
            checks.audit_entry(&AuditEntry {
                conversation: CONVERSATION,
                seq: Seq(stored.seq),
                sender: UserId(self.user(sent.device)),
                device: DeviceId(stored.device),
                client_msg_id: id(stored.id),
                client_seq: ClientSeq(stored.id),
                stored_at_ms: 1 + stored.id,
                body_hash: if stored.altered { !stored.id } else { stored.id },
                what: sent.what,
                members: if sent.what == What::Created { &[UserId(1), UserId(2)] } else { &[] },
            });
        }
        for (user, up_to) in &self.cursors {
            let cursors = Cursors { delivered: Seq(*up_to), read: Seq::ZERO };
            checks.audit_cursor(UserId(*user), CONVERSATION, cursors);
        }
        self.levels.iter().for_each(|level| checks.audit_level(level.clone()));
        for (device, user) in &self.devices {
            let reachable = !self.away.contains(device);
            checks.audit_device(&AuditDevice { device: DeviceId(*device), user: UserId(*user), reachable });
        }
        Outcome(checks.finish())
    }

    /// What the checks say of the run alone.
    pub fn unaudited(&self) -> Outcome {
        Outcome(self.observed().finish())
    }

    /// The audit does not find one of the entries, and those after it have moved up.
    pub fn lose_from_log(&mut self, pick: usize) {
        let lost = pick % self.log.len();
        self.log.remove(lost);
        (1..).zip(&mut self.log).for_each(|(seq, stored)| stored.seq = seq);
    }

    /// Events, for mutation.
    pub fn events(&mut self) -> &mut Vec<Event> {
        &mut self.events
    }

    fn observed(&self) -> Checks {
        let mut checks = Checks::new(Config {
            shards: vec![SHARD_HOST],
            limits: self.limits,
            undisturbed_us: self.undisturbed_us,
            channel_above: self.channel_above,
            no_tokens_us: self.no_tokens_us.clone(),
            noticed_us: self.noticed_us,
            gateways: self.gateways.clone(),
            typing_us: Some(3_000_000),
            named_up_to: 4,
            without_disks: self.without_disks,
            all_are_named: true,
            presence: self.presence.clone(),
            epoch_ms: if self.presence.is_some() { EPOCH_MS } else { 0 },
            ..Config::default()
        });
        self.events.iter().for_each(|event| checks.observe(event));
        checks
    }

    fn user(&self, device: u64) -> u64 {
        self.devices.get(&device).copied().unwrap_or(device)
    }

    fn push(&mut self, device: u64, kind: Kind) -> &mut Self {
        let t = self.waited + self.events.len() as u64;
        self.events.push(Event { t, at: Entity::Device(DeviceId(device)), kind });
        self
    }

    /// Time passes.
    pub fn wait(&mut self, us: u64) -> &mut Self {
        self.waited += us;
        self
    }

    /// The device says good-bye.
    pub fn leave(&mut self, device: u64) -> &mut Self {
        self.push(device, Kind::Disconnect { reason: "away" })
    }

    /// The device loses its connection.
    pub fn lose(&mut self, device: u64, reason: &'static str) -> &mut Self {
        self.push(device, Kind::Disconnect { reason })
    }

    /// A device is put away that is not connected.
    pub fn put_away(&mut self, device: u64) -> &mut Self {
        self.push(device, Kind::Away)
    }

    /// All connect to a gateway on this host.
    pub fn on_gateway(&mut self, host: u16) -> &mut Self {
        self.gateways = vec![host];
        self
    }

    /// A host is asked to end.
    pub fn asked_to_end(&mut self, host: u16, window: u64) -> &mut Self {
        self.fault("stop", true, &[]).push_host(host, Kind::Stopping { window })
    }

    /// A host's process ends by itself.
    pub fn ends(&mut self, host: u16) -> &mut Self {
        self.push_host(host, Kind::Exit)
    }

    /// A host's process is killed.
    pub fn dies(&mut self, host: u16) -> &mut Self {
        self.push_host(host, Kind::Crash)
    }

    fn push_host(&mut self, host: u16, kind: Kind) -> &mut Self {
        let t = self.waited + self.events.len() as u64;
        self.events.push(Event { t, at: Entity::Host(host), kind });
        self
    }

    /// The shard hands an entry to the bus.
    pub fn publish(&mut self, seq: u64, devices: &[u64]) -> &mut Self {
        let devices = devices.iter().map(|device| DeviceId(*device)).collect();
        let kind = Kind::Publish { conversation: CONVERSATION, seq: Seq(seq), devices };
        let t = self.waited + self.events.len() as u64;
        self.events.push(Event { t, at: Entity::Host(SHARD_HOST), kind });
        self
    }

    /// A fault begins or ends that may harm these devices.
    pub fn fault(&mut self, name: &str, active: bool, devices: &[u64]) -> &mut Self {
        let devices = devices.iter().map(|device| DeviceId(*device)).collect();
        self.fault_of(name, active, Harm { devices, connections: true, ..Harm::default() })
    }

    /// A fault begins or ends that does this.
    pub fn fault_of(&mut self, name: &str, active: bool, harm: Harm) -> &mut Self {
        let t = self.waited + self.events.len() as u64;
        self.events.push(Event {
            t,
            at: Entity::World,
            kind: Kind::Fault { name: name.into(), active, targets: Vec::new(), harm },
        });
        self
    }

    fn push_send(&mut self, device: u64, message: u64, conversation: ConversationId, what: What) -> &mut Self {
        let sender = UserId(self.user(device));
        self.sent.insert(message, Sent { device, what });
        let client_msg_id = id(message);
        self.push(
            device,
            Kind::Send { conversation, sender, client_msg_id, body_hash: message, what, members: Vec::new() },
        )
    }

    fn push_display(&mut self, device: u64, message: u64, seq: u64, via: Via, body_hash: u64) -> &mut Self {
        let sent = self.sent.get(&message).copied().unwrap_or(Sent { device: 1, what: What::Text });
        let kind = Kind::Display {
            user: UserId(self.user(device)),
            conversation: CONVERSATION,
            seq: Seq(seq),
            sender: UserId(self.user(sent.device)),
            client_msg_id: id(message),
            body_hash,
            what: sent.what,
            via,
        };
        self.push(device, kind)
    }
}

impl Outcome {
    pub fn report(&self, name: &str) -> CheckReport {
        self.0.iter().find(|report| report.name == name).expect("a check of that name").clone()
    }

    /// The first violation of a check, which must name this message.
    pub fn violated(&self, name: &str, message: u64) -> Violation {
        let report = self.report(name);
        assert_eq!(report.verdict, Verdict::Violated, "{report:?}");
        let first = report.first.expect("a violated check has a first violation");
        assert_eq!(first.client_msg_id, Some(id(message)), "{}", first.message);
        first
    }

    pub fn violated_checks(&self) -> Vec<&'static str> {
        let violated = self.0.iter().filter(|report| report.verdict == Verdict::Violated);
        violated.map(|report| report.name).collect()
    }
}
