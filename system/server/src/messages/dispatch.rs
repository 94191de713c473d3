//! The dispatch task: who is to have an entry, where they are, and off it goes over the bus.
//!
//! It works after the ack and nothing waits for it. Each registry has a lane (`core::messages::Planner`): what it answers is published
//! at once, whatever the others do. A look-up without an answer is asked again; what a lane has not taken up, because the shard
//! has just started or for want of room, is read from the disk in pieces. What the bus loses, the debts bring back.

use super::cursors::Pace;
use super::dispatcher::{Plan, target};
use super::followers;
use super::notices;
use super::readers::SharedReaders;
use super::shard::Shard;
use super::state::ShardState;
use crate::hop::Hop;
use crate::level::Level;
use crate::links::services::bus::bus_client::BusClient;
use crate::links::services::registry::registry_client::RegistryClient;
use crate::links::{Dialler, LinkError, Queue, dial, keep_open, tell_fill};
use crate::observer::Point;
use crate::tasks::Task;
use crate::work::Work;
use futures_util::StreamExt;
use rustc_hash::FxHashMap;
use squall_core::messages::{Debtor, Overdue, Part, Position, targets_by_gateway};
use squall_core::plant::{Plant, planted};
use squall_core::registry::Location;
use squall_protocol::wire::bus::to_gateway;
use squall_protocol::wire::registry as wire;
use squall_protocol::{Cursors, DeviceId, Seq, UserId, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Plans the fan-out of entries that a commit has just made durable.
pub fn plan(shard: &Shard, state: &mut ShardState, plans: Vec<Plan>) {
    let Some(end) = plans.last().map(|plan| plan.new.position + 1) else { return };
    let plans: Vec<Arc<Plan>> = plans.into_iter().map(Arc::new).collect();
    for registry in 0..shard.dispatcher.registries.len() as u32 {
        // A lane that is behind comes to them when it reads them from the disk.
        if state.planner.cursor(registry) == plans[0].new.position {
            take_up(shard, state, registry, &plans, end);
        }
    }
}

/// The bug `deliver-before-persist` looks for an entry's readers before it is written. No lane moves on.
pub fn plan_unwritten(shard: &Shard, state: &mut ShardState, plan: Plan) {
    let plan = Arc::new(plan);
    for registry in 0..shard.dispatcher.registries.len() as u32 {
        let users = plan.readers.of(registry as usize).collect();
        let part = Part { first: Position::MAX, end: 0, plans: vec![Arc::clone(&plan)], bytes: 0, users };
        tell_planned(shard, registry, &part);
        if let Some(id) = state.planner.take_up(registry, part, shard.clock.now()) {
            shard.dispatcher.ask(registry, id, state.planner.users(registry, id));
        }
    }
}

/// Takes entries up in a lane while it has room. With the last of `plans` it has got to `end`.
fn take_up(shard: &Shard, state: &mut ShardState, registry: u32, plans: &[Arc<Plan>], end: Position) {
    let now = shard.clock.now();
    let mut rest = plans;
    while state.planner.has_room(registry) {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        let mut users = BTreeSet::new();
        // The list of the entry before: a group's entries have mostly the same.
        let mut listed: *const [UserId] = &[];
        let mut count = 0;
        for plan in rest {
            if plan.readers.len(registry as usize) > 0 {
                let (list, changed) = plan.readers.asked(registry as usize);
                if !std::ptr::eq(list, listed) {
                    listed = list;
                    users.extend(list.iter().copied());
                    bytes += size_of_val(list);
                }
                users.extend(changed);
                bytes += plan.new.entry.payload.size();
                taken.push(Arc::clone(plan));
            }
            count += 1;
            if taken.len() == limits::MAX_BATCH
                || users.len() >= limits::MAX_LOOKUP_USERS
                || bytes >= limits::MAX_BATCH_BYTES
            {
                break;
            }
        }
        let first = rest.first().map_or(end, |plan| plan.new.position);
        rest = &rest[count..];
        let end = rest.first().map_or(end, |plan| plan.new.position);
        let users: Vec<UserId> = users.into_iter().collect();
        let part = Part { first, end, plans: taken, bytes, users };
        tell_planned(shard, registry, &part);
        if let Some(id) = state.planner.take_up(registry, part, now) {
            shard.dispatcher.ask(registry, id, state.planner.users(registry, id));
        }
        if rest.is_empty() {
            break;
        }
    }
}

fn tell_planned(shard: &Shard, registry: u32, part: &Part<Arc<Plan>>) {
    for plan in &part.plans {
        let (conversation, seq) = (plan.new.conversation, plan.new.entry.seq);
        shard.observer.hop(&Hop::Planned { conversation, seq, registry, readers: &plan.readers });
    }
}

fn tell_planned_again(shard: &Shard, state: &ShardState, registry: u32, id: u64) {
    for plan in state.planner.plans(registry, id) {
        let (conversation, seq) = (plan.new.conversation, plan.new.entry.seq);
        shard.observer.hop(&Hop::PlannedAgain { conversation, seq, registry });
    }
}

/// Reads what lanes have not taken up, a piece at a time, as long as there is room.
pub fn catch_up(shard: &Shard) {
    let mut readers = SharedReaders::default();
    for _ in 0..limits::PLAN_READS {
        let mut state = shard.state();
        let behind = state.planner.behind();
        let Some((_, from)) = behind.iter().min_by_key(|(_, from)| *from).copied() else { return };
        let Some(storage) = state.storage.clone() else { return };
        let rows = match storage.rows_from(from, limits::PLAN_READ_ENTRIES) {
            Ok(rows) => rows,
            Err(error) => return shard.handle_read_error(&mut state, &error),
        };
        // What is on the disk beyond that is being committed, and is planned when that is known to be durable.
        let known = state.planner.next_position();
        let end = match rows.last() {
            Some((position, _)) if rows.len() == limits::PLAN_READ_ENTRIES => known.min(position + 1),
            _ => known,
        };
        let mut plans = Vec::with_capacity(rows.len());
        for (_, row) in rows.into_iter().filter(|(position, _)| *position < end) {
            let planned = row.and_then(|mut new| {
                if planted(Plant::RecoveredTailRestamped) {
                    new.entry.stored_at_ms = shard.clock.wall_ms();
                }
                let log = state.cache.get(new.conversation, storage.as_ref())?;
                let readers = readers.of(log, &new.entry, shard.dispatcher.registries.len());
                let channel = log.regime().is_channel(log.durable());
                Ok(Plan { new, readers, answered: None, channel })
            });
            match planned {
                Ok(plan) => plans.push(Arc::new(plan)),
                Err(error) => {
                    shard.handle_read_error(&mut state, &error);
                    // Of a row that cannot be read nobody can be told: it is passed over.
                    if !error.is_one_row() {
                        return;
                    }
                }
            }
        }
        shard.observer.worked(Work::Member, readers.take_listed());
        for (registry, cursor) in behind {
            let own = plans.partition_point(|plan| plan.new.position < cursor);
            if cursor < end {
                take_up(shard, &mut state, registry, &plans[own..], end);
            }
        }
    }
}

/// A registry has answered: carries out what waited for it.
fn handle_answer(shard: &Shard, registry: u32, reply: wire::LookupReply) {
    let locations: Vec<Location> = reply.locations.iter().map(location).collect();
    if notices::handle_answer(shard, registry, reply.request_id, &locations) {
        return;
    }
    for FanOut { plan, by_gateway } in fan_out(shard, registry, reply.request_id, &locations) {
        let (conversation, entry) = (plan.new.conversation, &plan.new.entry);
        shard.observer.worked(Work::Publication, by_gateway.len());
        for (gateway, targets) in &by_gateway {
            shard.observer.hop(&Hop::Published { conversation, entry, gateway: *gateway, targets });
            shard.dispatcher.deliver(*gateway, &plan, targets);
        }
        let targets: Vec<Location> = by_gateway.into_values().flatten().collect();
        shard.observer.passed(&Point::Published { conversation, seq: entry.seq, targets: &targets });
    }
    if let Some(overdue) = shard.dispatcher.handle_answer(registry, reply.request_id) {
        let by_device: FxHashMap<_, &Location> = locations.iter().map(|l| ((l.user, l.device), l)).collect();
        for debt in overdue {
            remind(shard, &by_device, debt);
        }
    }
}

fn location(l: &wire::Location) -> Location {
    Location {
        user: UserId(l.user),
        device: DeviceId(l.device),
        gateway: l.gateway,
        connection: l.connection,
        connect_count: l.connect_count,
    }
}

/// An entry, and whom of its members a registry knows.
struct FanOut {
    plan: Arc<Plan>,
    by_gateway: BTreeMap<u32, Vec<Location>>,
}

/// Ends a look-up: who receives what waited for it. Their debts are entered under the same lock, so that no watermark is taken in
/// between.
fn fan_out(shard: &Shard, registry: u32, id: u64, locations: &[Location]) -> Vec<FanOut> {
    let mut by_user: FxHashMap<UserId, Vec<Location>> = FxHashMap::default();
    for location in locations {
        let places = by_user.entry(location.user).or_default();
        if places.is_empty() || !planted(Plant::FanOutForgetsSecondDevice) {
            places.push(*location);
        }
    }
    let now = shard.clock.now();
    let mut state = shard.state();
    let plans = state.planner.handle_answer(registry, id).unwrap_or_default();
    let mut fan_outs = Vec::with_capacity(plans.len());
    for plan in plans {
        let (new, readers) = (&plan.new, &plan.readers);
        // Of the few who are connected, or of the few who are asked for: what there is less of is looked through.
        let by_place = by_user.len() < readers.len(registry as usize);
        let looked_at = if by_place { by_user.len() } else { readers.len(registry as usize) };
        shard.observer.worked(Work::Member, looked_at);
        let (conversation, seq) = (new.conversation, new.entry.seq);
        shard.observer.hop(&Hop::LookedUp { conversation, seq, registry, readers, found: locations });
        let places: Vec<Location> = match by_place {
            // In whatever order: the targets are sorted.
            true => by_user
                .iter()
                .filter(|(user, _)| readers.contains(registry as usize, **user))
                .flat_map(|(_, places)| places)
                .copied()
                .collect(),
            false => {
                let members = readers.of(registry as usize);
                members.filter_map(|user| by_user.get(&user)).flatten().copied().collect()
            }
        };
        let by_gateway = targets_by_gateway(places, plan.answered);
        let targets = by_gateway.values().flatten().filter(|_| !planted(Plant::BusDropsSilently));
        let debtors = targets.map(|l| Debtor { user: l.user, device: l.device, connect_count: l.connect_count });
        state.debts.handle_published(new.position, new.conversation, new.entry.seq, debtors, now);
        if planted(Plant::DeliveredWhenPublished) {
            let delivered = Cursors { delivered: seq, read: Seq::ZERO };
            for target in by_gateway.values().flatten() {
                state.cursors.note(target.user, conversation, Pace::Named, delivered, now);
            }
        }
        fan_outs.push(FanOut { plan, by_gateway });
    }
    fan_outs
}

/// Tells a device again, or that it is to come back; one that is gone owes nothing.
fn remind(shard: &Shard, by_device: &FxHashMap<(UserId, DeviceId), &Location>, debt: Overdue) {
    match debt {
        Overdue::Redeliver { user, device, conversation, head } => match by_device.get(&(user, device)) {
            Some(location) => {
                shard.observer.hop(&Hop::Reminded { conversation, device, head, gateway: location.gateway });
                shard.dispatcher.remind(location, conversation, head);
                shard.observer.passed(&Point::Redelivered { conversation, device });
            }
            None => {
                shard.observer.hop(&Hop::Vanished { conversation, device });
                shard.state().debts.handle_vanished((user, device), conversation, head);
            }
        },
        Overdue::Close { user, device } => {
            if let Some(location) = by_device.get(&(user, device)) {
                shard.observer.passed(&Point::UnackedClosed { device });
                shard.observer.hop(&Hop::CalledBack { device, gateway: location.gateway });
                shard.dispatcher.publish(location.gateway, None, to_gateway::Message::Close(target(location)));
            }
        }
    }
}

/// Opens the links and keeps the clock of retries and debts.
pub fn start(shard: &Arc<Shard>, dialler: &Dialler, registries: Vec<String>, buses: Vec<String>) {
    for (index, address) in registries.into_iter().enumerate() {
        let (shard, dialler) = (Arc::clone(shard), dialler.clone());
        let (observer, tasks) = (Arc::clone(&shard.observer), shard.tasks.clone());
        tasks.spawn(
            Task::Link,
            keep_open(address.clone(), observer, move || {
                registry_link(Arc::clone(&shard), dialler.clone(), address.clone(), index as u32)
            }),
        );
    }
    for (index, address) in buses.into_iter().enumerate() {
        let (shard, dialler) = (Arc::clone(shard), dialler.clone());
        let (observer, tasks) = (Arc::clone(&shard.observer), shard.tasks.clone());
        tasks.spawn(
            Task::Link,
            keep_open(address.clone(), observer, move || {
                bus_link(Arc::clone(&shard), dialler.clone(), address.clone(), index)
            }),
        );
    }
    shard.tasks.spawn(Task::Chore("housekeeping"), housekeeping(Arc::clone(shard)));
    shard.tasks.spawn(Task::Chore("notices"), notices::run(Arc::clone(shard)));
}

async fn registry_link(
    shard: Arc<Shard>,
    dialler: Dialler,
    address: String,
    registry: u32,
) -> Result<(), LinkError> {
    let mut client = RegistryClient::new(dial(&dialler, &address).await?)
        .max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    let queue = &shard.dispatcher.registries[registry as usize];
    queue.clear();
    let batches = queue.batches();
    {
        let mut state = shard.state();
        for id in state.planner.unanswered(registry, shard.clock.now()) {
            tell_planned_again(&shard, &state, registry, id);
            shard.dispatcher.ask(registry, id, state.planner.users(registry, id));
        }
    }
    let requests = batches.map(|requests| wire::LookupRequests { requests });
    let mut replies = client.lookup(requests).await?.into_inner();
    shard.observer.passed(&Point::LinkUp { to: &address });
    while let Some(batch) = replies.message().await? {
        for reply in batch.replies {
            handle_answer(&shard, registry, reply);
        }
        catch_up(&shard);
    }
    Ok(())
}

async fn bus_link(shard: Arc<Shard>, dialler: Dialler, address: String, bus: usize) -> Result<(), LinkError> {
    let mut client = BusClient::new(dial(&dialler, &address).await?);
    let queue = &shard.dispatcher.buses[bus];
    queue.drop_older_than(limits::REDELIVER_AFTER);
    let batches = queue.batches().beside(shard.dispatcher.notices[bus].batches());
    let publications = batches.map(|publications| squall_protocol::wire::bus::Publications { publications });
    shard.observer.passed(&Point::LinkUp { to: &address });
    client.publish(publications).await?;
    Ok(())
}

/// Retries look-ups, plans what was left behind, and collects debts.
async fn housekeeping(shard: Arc<Shard>) {
    loop {
        tokio::time::sleep(limits::HOUSEKEEPING_INTERVAL).await;
        let now = shard.clock.now();
        retry(&shard);
        catch_up(&shard);
        let overdue = shard.state().debts.handle_timeout(now, limits::MAX_REMINDERS);
        shard.dispatcher.look_up_overdue(overdue, now);
        followers::look_again(&shard);
        notices::look_again(&shard);
        tell_levels(&shard);
    }
}

/// How full everything is.
fn tell_levels(shard: &Shard) {
    let dispatcher = &shard.dispatcher;
    let observer = shard.observer.as_ref();
    let to_registries = dispatcher.registries.iter().map(Queue::take_fill);
    tell_fill(observer, Level::ToRegistry, Level::ToRegistryBytes, to_registries);
    let to_buses = dispatcher.buses.iter().map(Queue::take_fill);
    tell_fill(observer, Level::ToBus, Level::ToBusBytes, to_buses);
    let notices = dispatcher.notices.iter().map(Queue::take_fill).chain([shard.notices.take_fill()]);
    tell_fill(observer, Level::Notices, Level::NoticeBytes, notices);
    shard.sessions.tell_levels(observer);
    shard.tasks.tell_levels(observer);
    let followed = shard.followers.len();
    observer.stands(Level::Followed, followed, followed);
    let state = shard.state();
    let levels = [
        (Level::Staged, state.staged.held()),
        (Level::StagedBytes, state.staged.bytes()),
        (Level::Waiting, state.waiters.len()),
        (Level::Debts, state.debts.open()),
        (Level::Cursors, state.cursors.due_soon(shard.clock.now())),
        (Level::Conversations, state.cache.len()),
    ];
    drop(state);
    levels.into_iter().for_each(|(level, items)| observer.stands(level, items, items));
}

/// Asks again what has had no answer in time.
fn retry(shard: &Shard) {
    let mut state = shard.state();
    for registry in 0..shard.dispatcher.registries.len() as u32 {
        if !shard.dispatcher.registries[registry as usize].has_taker() {
            continue;
        }
        for id in state.planner.overdue(registry, shard.clock.now()) {
            tell_planned_again(shard, &state, registry, id);
            shard.dispatcher.ask(registry, id, state.planner.users(registry, id));
            shard.observer.passed(&Point::LookupRetried);
        }
    }
}
