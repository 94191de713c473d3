//! What goes from a shard to registries and buses, and the look-ups of devices that are to be told again.
//!
//! **Invariant:** look-ups in progress are bounded. Those for entries are `core::messages::Planner`'s; those for debts
//! (`MAX_REMINDERS_OPEN`) are not waited for, for each debt comes again by itself. Guarded by `sim/checks/src/no_loss.rs`.

use super::notices::Notice;
use super::readers::Readers;
use crate::links::Queue;
use crate::storage::NewEntry;
use prost::Message;
use squall_core::Time;
use squall_core::messages::{Answered, Overdue};
use squall_core::registry::Location;
use squall_protocol::frames::LogSpan;
use squall_protocol::ids::rendezvous;
use squall_protocol::wire::bus::{Delivery, Publication, Target, ToGateway, to_gateway};
use squall_protocol::wire::registry as wire;
use squall_protocol::wire::{bus, client};
use squall_protocol::{ConversationId, Seq, UserId, limits, protobuf};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A durable entry and those who were members when it was stored.
pub struct Plan {
    pub new: NewEntry,
    pub readers: Readers,
    /// The author's connection, if it has been told that the entry is stored and is still known: not after a restart, nor of what was left
    /// behind.
    pub answered: Option<Answered>,
    /// The conversation is a channel now: those whom this entry is published to are to follow it.
    pub channel: bool,
}

/// Debts that are due, whose devices a registry has been asked for.
struct Reminder {
    overdue: Vec<Overdue>,
    asked_at: Time,
}

#[derive(Default)]
struct Reminders {
    /// By registry and number.
    open: BTreeMap<(u32, u64), Reminder>,
    last_id: u64,
}

/// The numbers of these look-ups are beyond all of the planner's.
const FIRST_REMINDER: u64 = 1 << 63;

/// The queues to registries and buses, and the look-ups for debts.
pub struct Dispatcher {
    reminders: Mutex<Reminders>,
    pub registries: Vec<Queue<wire::LookupRequest>>,
    pub buses: Vec<Queue<Publication>>,
    /// What goes to each bus when nothing else does.
    pub notices: Vec<Queue<Publication>>,
}

impl Dispatcher {
    pub fn new(registries: usize, buses: usize) -> Self {
        Dispatcher {
            reminders: Mutex::default(),
            registries: (0..registries).map(|_| Queue::default()).collect(),
            buses: (0..buses).map(|_| Queue::stale_after(limits::REDELIVER_AFTER)).collect(),
            notices: (0..buses).map(|_| Queue::of_notices()).collect(),
        }
    }

    fn reminders(&self) -> MutexGuard<'_, Reminders> {
        self.reminders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the look-ups for debts: the shard starts from its disk.
    pub fn forget(&self) {
        self.reminders().open.clear();
    }

    pub fn registry_of(&self, user: UserId) -> u32 {
        rendezvous(user.0, self.registries.len() as u32)
    }

    /// Whether there is a link to this registry.
    pub fn has_link(&self, registry: u32) -> bool {
        self.registries[registry as usize].has_taker()
    }

    /// Asks a registry, if there is a link to it. A new link begins with all that has no answer.
    pub fn ask(&self, registry: u32, request_id: u64, users: &[UserId]) {
        let queue = &self.registries[registry as usize];
        if queue.has_taker() {
            queue.offer(wire::LookupRequest { request_id, users: users.iter().map(|user| user.0).collect() });
        }
    }

    /// Asks where the devices of these debts are. Where too many such look-ups are open, or there is no link, the debts wait
    /// for their next turn.
    pub fn look_up_overdue(&self, overdue: Vec<Overdue>, now: Time) {
        let mut by_registry: BTreeMap<u32, Vec<Overdue>> = BTreeMap::new();
        for debt in overdue {
            by_registry.entry(self.registry_of(debt.user())).or_default().push(debt);
        }
        let mut reminders = self.reminders();
        // Its debts have come again since.
        reminders.open.retain(|_, reminder| now.since(reminder.asked_at) < limits::REDELIVER_AFTER);
        for (registry, overdue) in by_registry {
            let open = reminders.open.range((registry, 0)..=(registry, u64::MAX)).count();
            if open >= limits::MAX_REMINDERS_OPEN || !self.registries[registry as usize].has_taker() {
                continue;
            }
            reminders.last_id += 1;
            let id = FIRST_REMINDER + reminders.last_id;
            let users: BTreeSet<UserId> = overdue.iter().map(Overdue::user).collect();
            self.ask(registry, id, &users.into_iter().collect::<Vec<_>>());
            reminders.open.insert((registry, id), Reminder { overdue, asked_at: now });
        }
    }

    /// The debts whose devices this registry was asked for under this number.
    pub fn handle_answer(&self, registry: u32, id: u64) -> Option<Vec<Overdue>> {
        self.reminders().open.remove(&(registry, id)).map(|reminder| reminder.overdue)
    }

    /// Hands a message that this user has caused to the bus that carries this gateway's topic.
    pub fn publish(&self, gateway: u32, cause: Option<UserId>, message: to_gateway::Message) {
        let payload = ToGateway { message: Some(message) }.encode_to_vec();
        let bus = rendezvous(u64::from(gateway), self.buses.len() as u32);
        // A full queue is a bus that is away: at most once, the debt remains.
        let (queue, publication) = (
            &self.buses[bus as usize],
            Publication { gateway, payload, user: cause.map(|user| user.0), notice: false },
        );
        match cause {
            Some(user) => queue.offer_for(user, publication),
            None => queue.offer(publication),
        }
    }

    /// Hands a notice for these connections of a gateway to its bus, behind all else. What finds no room is dropped.
    pub fn notify(&self, gateway: u32, notice: &Notice, targets: &[Location]) {
        let frame = client::ServerFrame { frame: Some(protobuf::server_to_wire(&notice.frame)) };
        let targets = targets.iter().map(target).collect();
        let message = to_gateway::Message::Notice(bus::Notice { frame: Some(frame), targets });
        let payload = ToGateway { message: Some(message) }.encode_to_vec();
        let place = rendezvous(u64::from(gateway), self.buses.len() as u32);
        let publication = Publication { gateway, payload, user: Some(notice.cause.0), notice: true };
        self.notices[place as usize].offer_for(notice.cause, publication);
    }

    /// Publishes one entry for these connections of a gateway.
    pub fn deliver(&self, gateway: u32, plan: &Plan, targets: &[Location]) {
        let NewEntry { conversation, entry, .. } = plan.new.clone();
        let sender = entry.sender;
        let span = LogSpan { conversation, from: entry.seq, to: entry.seq, entries: vec![entry] };
        let targets = targets.iter().map(target).collect();
        let channel = plan.channel;
        let delivery = Delivery { span: Some(protobuf::span_to_wire(&span)), targets, channel };
        self.publish(gateway, Some(sender), to_gateway::Message::Delivery(delivery));
    }

    /// Tells a connection that the log goes as far as `head`: a span that begins behind it and holds nothing. A device that has shown
    /// all that acks once more, any other one finds a gap and pages.
    pub fn remind(&self, location: &Location, conversation: ConversationId, head: Seq) {
        let span = LogSpan { conversation, from: head.next(), to: head, entries: Vec::new() };
        let delivery = Delivery {
            span: Some(protobuf::span_to_wire(&span)),
            targets: vec![target(location)],
            channel: false,
        };
        self.publish(location.gateway, None, to_gateway::Message::Delivery(delivery));
    }
}

/// A connection, as deliveries name it.
pub fn target(location: &Location) -> Target {
    Target { connection: location.connection, device: location.device.0, user: location.user.0 }
}
