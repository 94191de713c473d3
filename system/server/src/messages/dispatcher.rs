//! Look-ups in progress, and what goes from a shard to registries and buses.
//!
//! **Invariant:** look-ups in progress are bounded (`MAX_LOOKUPS_OPEN`); entries that find no room are remembered as
//! overflowed and planned from the disk later, so none is forgotten. Guarded by `sim/checks/src/no_loss.rs`.

use crate::links::Queue;
use crate::storage::NewEntry;
use prost::Message;
use squall_core::Time;
use squall_core::registry::Location;
use squall_protocol::frames::{Entry, LogSpan};
use squall_protocol::ids::rendezvous;
use squall_protocol::wire::bus::{Delivery, Publication, Target, ToGateway, to_gateway};
use squall_protocol::wire::registry as wire;
use squall_protocol::{ConversationId, DeviceId, Seq, UserId, limits, protobuf};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A durable entry and those who were members when it was stored.
pub struct Plan {
    pub new: NewEntry,
    pub members: Vec<UserId>,
}

/// What is done once the registries have answered.
pub enum Job {
    Deliver(Vec<Plan>),
    Redeliver { device: DeviceId, conversation: ConversationId, head: Seq },
    Close { device: DeviceId },
}

/// A job, and the registries that it waits for.
pub struct Lookup {
    pub job: Job,
    users: BTreeSet<UserId>,
    waiting_for: BTreeSet<u32>,
    /// What the registries have answered so far.
    pub locations: Vec<Location>,
    asked_at: Time,
}

#[derive(Default)]
struct Lookups {
    open: BTreeMap<u64, Lookup>,
    last_id: u64,
    /// Entries were turned away for want of room: plan them from the disk.
    overflowed: bool,
}

/// Look-ups in progress, and the queues to registries and buses.
pub struct Dispatcher {
    lookups: Mutex<Lookups>,
    pub registries: Vec<Queue<wire::LookupRequest>>,
    pub buses: Vec<Queue<Publication>>,
}

impl Dispatcher {
    pub fn new(registries: usize, buses: usize) -> Self {
        Dispatcher {
            lookups: Mutex::default(),
            registries: (0..registries).map(|_| Queue::default()).collect(),
            buses: (0..buses).map(|_| Queue::default()).collect(),
        }
    }

    fn lookups(&self) -> MutexGuard<'_, Lookups> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all look-ups: the shard starts from its disk.
    pub fn forget(&self) {
        let mut lookups = self.lookups();
        lookups.open.clear();
        lookups.overflowed = false;
    }

    /// Plans the fan-out of durable entries.
    pub fn plan(&self, plans: Vec<Plan>, now: Time) {
        let mut part = Vec::new();
        let mut users = BTreeSet::new();
        for plan in plans {
            users.extend(plan.members.iter().copied());
            part.push(plan);
            if part.len() == limits::MAX_BATCH || users.len() >= limits::MAX_LOOKUP_USERS {
                self.look_up(Job::Deliver(std::mem::take(&mut part)), std::mem::take(&mut users), now);
            }
        }
        if !part.is_empty() {
            self.look_up(Job::Deliver(part), users, now);
        }
    }

    /// Does the job once the registries have said where these users are; too many of them are turned away.
    pub fn look_up(&self, job: Job, users: BTreeSet<UserId>, now: Time) {
        let mut lookups = self.lookups();
        if lookups.open.len() >= limits::MAX_LOOKUPS_OPEN {
            lookups.overflowed |= matches!(job, Job::Deliver(_));
            return;
        }
        lookups.last_id += 1;
        let id = lookups.last_id;
        let waiting_for = users.iter().map(|user| self.registry_of(*user)).collect();
        let lookup = Lookup { job, users, waiting_for, locations: Vec::new(), asked_at: now };
        self.ask(id, &lookup);
        lookups.open.insert(id, lookup);
    }

    fn registry_of(&self, user: UserId) -> u32 {
        rendezvous(user.0, self.registries.len() as u32)
    }

    /// Asks the registries that have not answered yet.
    fn ask(&self, id: u64, lookup: &Lookup) {
        for registry in &lookup.waiting_for {
            let users = lookup.users.iter().filter(|u| self.registry_of(**u) == *registry).map(|u| u.0).collect();
            self.registries[*registry as usize].push(wire::LookupRequest { request_id: id, users });
        }
    }

    /// Takes an answer; the look-up when it was the last one outstanding.
    pub fn handle_reply(&self, registry: u32, reply: wire::LookupReply) -> Option<Lookup> {
        let mut lookups = self.lookups();
        let lookup = lookups.open.get_mut(&reply.request_id)?;
        if !lookup.waiting_for.remove(&registry) {
            return None;
        }
        lookup.locations.extend(reply.locations.iter().map(|l| Location {
            user: UserId(l.user),
            device: DeviceId(l.device),
            gateway: l.gateway,
            connection: l.connection,
        }));
        if lookup.waiting_for.is_empty() { lookups.open.remove(&reply.request_id) } else { None }
    }

    /// Asks again what has had no answer in time. Returns how many look-ups that were.
    pub fn retry(&self, now: Time) -> usize {
        let mut lookups = self.lookups();
        let mut retried = 0;
        for (id, lookup) in &mut lookups.open {
            if now.since(lookup.asked_at) >= limits::LOOKUP_RETRY_AFTER {
                lookup.asked_at = now;
                self.ask(*id, lookup);
                retried += 1;
            }
        }
        retried
    }

    /// Entries have been left behind: plan them from the disk when there is room.
    pub fn set_overflowed(&self) {
        self.lookups().overflowed = true;
    }

    /// True once after entries were turned away and there is room again.
    pub fn has_room_again(&self) -> bool {
        let mut lookups = self.lookups();
        lookups.open.is_empty() && std::mem::take(&mut lookups.overflowed)
    }

    /// Hands a message to the bus that carries this gateway's topic.
    pub fn publish(&self, gateway: u32, message: to_gateway::Message) {
        let payload = ToGateway { message: Some(message) }.encode_to_vec();
        let bus = rendezvous(u64::from(gateway), self.buses.len() as u32);
        // A full queue is a bus that is away: at most once, the debt remains.
        self.buses[bus as usize].push(Publication { gateway, payload });
    }

    /// Publishes one entry for these connections of a gateway.
    pub fn deliver(&self, gateway: u32, conversation: ConversationId, entry: Entry, targets: &[Location]) {
        let span = LogSpan { conversation, from: entry.seq, to: entry.seq, entries: vec![entry] };
        let targets = targets.iter().map(target).collect();
        let delivery = Delivery { span: Some(protobuf::span_to_wire(&span)), targets };
        self.publish(gateway, to_gateway::Message::Delivery(delivery));
    }

    /// Tells a connection that the log goes as far as `head`: a span that begins behind it and holds nothing. A device that has shown
    /// all that acks once more, any other one finds a gap and pages.
    pub fn remind(&self, location: &Location, conversation: ConversationId, head: Seq) {
        let span = LogSpan { conversation, from: head.next(), to: head, entries: Vec::new() };
        let delivery = Delivery { span: Some(protobuf::span_to_wire(&span)), targets: vec![target(location)] };
        self.publish(location.gateway, to_gateway::Message::Delivery(delivery));
    }
}

/// A connection, as deliveries name it.
pub fn target(location: &Location) -> Target {
    Target { connection: location.connection, device: location.device.0, user: location.user.0 }
}
