//! The dispatcher: who is to have an entry, where they are, and off it goes over the bus.
//!
//! It works after the ack and nothing waits for it. A look-up without an answer is asked again; entries that find no
//! room are planned from the disk once there is some. What the bus loses, the debts bring back.

use super::shard::Shard;
use crate::links::services::bus::bus_client::BusClient;
use crate::links::services::registry::registry_client::RegistryClient;
use crate::links::{LinkError, Queue, dial, keep_open};
use crate::net::Connector;
use crate::observer::Point;
use crate::storage::NewEntry;
use futures_util::StreamExt;
use prost::Message;
use rustc_hash::FxHashMap;
use squall_core::Time;
use squall_core::debt::Due;
use squall_core::fanout::{Location, by_gateway};
use squall_core::plant::{Plant, planted};
use squall_protocol::frames::{Entry, LogSpan};
use squall_protocol::ids::rendezvous;
use squall_protocol::wire::bus::{Delivery, Publication, Target, ToGateway, to_gateway};
use squall_protocol::wire::registry as wire;
use squall_protocol::{ConversationId, DeviceId, Seq, UserId, limits, protobuf};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A durable entry and those who were members when it was stored.
pub struct Plan {
    pub new: NewEntry,
    pub members: Vec<UserId>,
}

/// What is done once the registry has answered.
enum Job {
    Deliver(Vec<Plan>),
    Redeliver { device: DeviceId, conversation: ConversationId, seqs: Vec<Seq> },
    Close { device: DeviceId },
}

/// A job and the registries that it waits for.
struct Open {
    job: Job,
    users: BTreeSet<UserId>,
    waiting_for: BTreeSet<u32>,
    locations: Vec<Location>,
    asked_at: Time,
}

#[derive(Default)]
struct Jobs {
    open: BTreeMap<u64, Open>,
    last_id: u64,
    /// Entries were turned away for want of room: plan them from the disk.
    overflowed: bool,
}

/// Jobs in progress, and the queues to registries and buses.
pub struct Dispatcher {
    jobs: Mutex<Jobs>,
    registries: Vec<Queue<wire::LookupRequest>>,
    buses: Vec<Queue<Publication>>,
}

impl Dispatcher {
    pub fn new(registries: usize, buses: usize) -> Self {
        Dispatcher {
            jobs: Mutex::default(),
            registries: (0..registries).map(|_| Queue::default()).collect(),
            buses: (0..buses).map(|_| Queue::default()).collect(),
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all jobs: the shard starts from its disk.
    pub fn forget(&self) {
        let mut jobs = self.jobs();
        jobs.open.clear();
        jobs.overflowed = false;
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

    fn look_up(&self, job: Job, users: BTreeSet<UserId>, now: Time) {
        let mut jobs = self.jobs();
        if jobs.open.len() >= limits::MAX_LOOKUPS_OPEN {
            jobs.overflowed |= matches!(job, Job::Deliver(_));
            return;
        }
        jobs.last_id += 1;
        let id = jobs.last_id;
        let waiting_for = users.iter().map(|user| self.registry_of(*user)).collect();
        let open = Open { job, users, waiting_for, locations: Vec::new(), asked_at: now };
        self.ask(id, &open);
        jobs.open.insert(id, open);
    }

    fn registry_of(&self, user: UserId) -> u32 {
        rendezvous(user.0, self.registries.len() as u32)
    }

    /// Asks the registries that have not answered yet.
    fn ask(&self, id: u64, open: &Open) {
        for registry in &open.waiting_for {
            let users = open.users.iter().filter(|u| self.registry_of(**u) == *registry).map(|u| u.0).collect();
            self.registries[*registry as usize].push(wire::LookupRequest { request_id: id, users });
        }
    }

    /// Takes an answer; the job when it was the last one outstanding.
    fn handle_reply(&self, registry: u32, reply: wire::LookupReply) -> Option<Open> {
        let mut jobs = self.jobs();
        let open = jobs.open.get_mut(&reply.request_id)?;
        if !open.waiting_for.remove(&registry) {
            return None;
        }
        open.locations.extend(reply.locations.iter().map(|l| Location {
            user: UserId(l.user),
            device: DeviceId(l.device),
            gateway: l.gateway,
            connection: l.connection,
        }));
        if open.waiting_for.is_empty() { jobs.open.remove(&reply.request_id) } else { None }
    }

    /// Asks again what has had no answer in time. Returns how many jobs that were.
    fn retry(&self, now: Time) -> usize {
        let mut jobs = self.jobs();
        let mut retried = 0;
        for (id, open) in &mut jobs.open {
            if now.since(open.asked_at) >= limits::LOOKUP_RETRY_AFTER {
                open.asked_at = now;
                self.ask(*id, open);
                retried += 1;
            }
        }
        retried
    }

    /// Entries have been left behind: plan them from the disk when there is room.
    fn set_overflowed(&self) {
        self.jobs().overflowed = true;
    }

    /// True once after entries were turned away and there is room again.
    fn has_room_again(&self) -> bool {
        let mut jobs = self.jobs();
        jobs.open.is_empty() && std::mem::take(&mut jobs.overflowed)
    }

    fn publish(&self, gateway: u32, message: to_gateway::Message) {
        let payload = ToGateway { message: Some(message) }.encode_to_vec();
        let bus = rendezvous(u64::from(gateway), self.buses.len() as u32);
        // A full queue is a bus that is away: at most once, the debt remains.
        self.buses[bus as usize].push(Publication { gateway, payload });
    }

    fn deliver(&self, gateway: u32, conversation: ConversationId, entry: Entry, targets: &[Location]) {
        let span = LogSpan { conversation, from: entry.seq, to: entry.seq, entries: vec![entry] };
        let targets = targets.iter().map(target).collect();
        let delivery = Delivery { span: Some(protobuf::span_to_wire(&span)), targets };
        self.publish(gateway, to_gateway::Message::Delivery(delivery));
    }
}

fn target(location: &Location) -> Target {
    Target { connection: location.connection, device: location.device.0, user: location.user.0 }
}

impl Shard {
    /// Everybody's place is known: carry the job out.
    fn complete(&self, open: Open) {
        match open.job {
            Job::Deliver(plans) => self.deliver(plans, &open.locations),
            Job::Redeliver { device, conversation, seqs } => {
                match open.locations.iter().find(|l| l.device == device) {
                    Some(location) => self.redeliver(*location, conversation, &seqs),
                    None => self.state().debts.handle_vanished(device, conversation),
                }
            }
            Job::Close { device } => {
                if let Some(location) = open.locations.iter().find(|l| l.device == device) {
                    self.observer.passed(&Point::UnackedClosed { device });
                    self.dispatcher.publish(location.gateway, to_gateway::Message::Close(target(location)));
                }
            }
        }
    }

    fn deliver(&self, plans: Vec<Plan>, locations: &[Location]) {
        let mut by_user: FxHashMap<UserId, Vec<Location>> = FxHashMap::default();
        for location in locations {
            let places = by_user.entry(location.user).or_default();
            if places.is_empty() || !planted(Plant::FanOutForgetsSecondDevice) {
                places.push(*location);
            }
        }
        let now = self.clock.now();
        for Plan { new, members } in plans {
            let (conversation, seq) = (new.conversation, new.entry.seq);
            let places = members.iter().filter_map(|user| by_user.get(user)).flatten().copied();
            let plan = by_gateway(places, Some(new.entry.device));
            let targets: Vec<Location> = plan.values().flatten().copied().collect();
            self.state().debts.handle_planned(
                new.position,
                conversation,
                seq,
                targets.iter().filter(|_| !planted(Plant::BusDropsSilently)).map(|l| (l.user, l.device)),
                now,
            );
            for (gateway, targets) in &plan {
                self.dispatcher.deliver(*gateway, conversation, new.entry.clone(), targets);
            }
            self.observer.passed(&Point::Published { conversation, seq, targets: &targets });
        }
    }

    fn redeliver(&self, location: Location, conversation: ConversationId, seqs: &[Seq]) {
        let (Some(first), Some(last)) = (seqs.first(), seqs.last()) else { return };
        let Some(storage) = self.state().storage.clone() else { return };
        let span = (last.0 - first.0 + 1) as usize;
        let Ok(entries) = storage.entries(conversation, *first, *last, span, limits::PAGE_BYTES) else { return };
        let owed = entries.into_iter().filter(|e| seqs.contains(&e.seq));
        for entry in owed.take(limits::REDELIVERY_ENTRIES) {
            self.dispatcher.deliver(location.gateway, conversation, entry, &[location]);
        }
        self.observer.passed(&Point::Redelivered { conversation, device: location.device });
    }

    /// Entries that were turned away are planned from the disk.
    fn replan(&self) {
        let mut state = self.state();
        let Some(storage) = state.storage.clone() else { return };
        let Some(from) = state.debts.first_unplanned() else { return };
        let Ok(entries) = storage.entries_from(from, limits::MAX_LOOKUPS_OPEN) else {
            return self.dispatcher.set_overflowed();
        };
        if entries.len() == limits::MAX_LOOKUPS_OPEN {
            self.dispatcher.set_overflowed();
        }
        let mut plans = Vec::new();
        for new in entries.into_iter().filter(|new| state.debts.is_unplanned(new.position)).collect::<Vec<_>>() {
            let Ok(log) = state.cache.get(new.conversation, storage.as_ref()) else {
                return self.dispatcher.set_overflowed();
            };
            plans.push(Plan { members: log.membership().members_at(new.entry.seq).collect(), new });
        }
        drop(state);
        self.dispatcher.plan(plans, self.clock.now());
    }
}

/// Opens the links and keeps the clock of retries and debts.
pub fn start(shard: &Arc<Shard>, connector: &Arc<dyn Connector>, registries: Vec<String>, buses: Vec<String>) {
    for (index, address) in registries.into_iter().enumerate() {
        let (shard, connector) = (Arc::clone(shard), Arc::clone(connector));
        let observer = Arc::clone(&shard.observer);
        tokio::spawn(keep_open(address.clone(), observer, move || {
            registry_link(Arc::clone(&shard), Arc::clone(&connector), address.clone(), index as u32)
        }));
    }
    for (index, address) in buses.into_iter().enumerate() {
        let (shard, connector) = (Arc::clone(shard), Arc::clone(connector));
        let observer = Arc::clone(&shard.observer);
        tokio::spawn(keep_open(address.clone(), observer, move || {
            bus_link(Arc::clone(&shard), Arc::clone(&connector), address.clone(), index)
        }));
    }
    tokio::spawn(housekeeping(Arc::clone(shard)));
}

async fn registry_link(
    shard: Arc<Shard>,
    connector: Arc<dyn Connector>,
    address: String,
    registry: u32,
) -> Result<(), LinkError> {
    let mut client = RegistryClient::new(dial(connector, &address).await?)
        .max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    let queue = &shard.dispatcher.registries[registry as usize];
    // What was asked on the old link is asked again by `retry`; here it would only be asked twice.
    queue.drop_older_than(limits::LOOKUP_RETRY_AFTER);
    let requests = queue.batches().map(|requests| wire::LookupRequests { requests });
    let mut replies = client.lookup(requests).await?.into_inner();
    shard.observer.passed(&Point::LinkUp { to: &address });
    while let Some(batch) = replies.message().await? {
        for reply in batch.replies {
            if let Some(open) = shard.dispatcher.handle_reply(registry, reply) {
                shard.complete(open);
            }
        }
    }
    Ok(())
}

async fn bus_link(
    shard: Arc<Shard>,
    connector: Arc<dyn Connector>,
    address: String,
    bus: usize,
) -> Result<(), LinkError> {
    let mut client = BusClient::new(dial(connector, &address).await?);
    let queue = &shard.dispatcher.buses[bus];
    queue.drop_older_than(limits::REDELIVER_AFTER);
    let publications =
        queue.batches().map(|publications| squall_protocol::wire::bus::Publications { publications });
    shard.observer.passed(&Point::LinkUp { to: &address });
    client.publish(publications).await?;
    Ok(())
}

/// Retries look-ups, collects debts, and plans what found no room.
async fn housekeeping(shard: Arc<Shard>) {
    loop {
        tokio::time::sleep(limits::HOUSEKEEPING_INTERVAL).await;
        let now = shard.clock.now();
        for _ in 0..shard.dispatcher.retry(now) {
            shard.observer.passed(&Point::LookupRetried);
        }
        if shard.dispatcher.has_room_again() {
            shard.replan();
        }
        let due = shard.state().debts.handle_timeout(now);
        for due in due {
            let (user, job) = match due {
                Due::Redeliver { user, device, conversation, seqs } => {
                    (user, Job::Redeliver { device, conversation, seqs })
                }
                Due::Close { user, device } => (user, Job::Close { device }),
            };
            shard.dispatcher.look_up(job, BTreeSet::from([user]), now);
        }
    }
}
