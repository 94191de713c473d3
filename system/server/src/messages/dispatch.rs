//! The dispatch task: who is to have an entry, where they are, and off it goes over the bus.
//!
//! It works after the ack and nothing waits for it. A look-up without an answer is asked again; entries that find no
//! room are planned from the disk once there is some. What the bus loses, the debts bring back.

use super::dispatcher::{Job, Lookup, Plan, target};
use super::shard::Shard;
use crate::links::services::bus::bus_client::BusClient;
use crate::links::services::registry::registry_client::RegistryClient;
use crate::links::{LinkError, dial, keep_open};
use crate::net::Connector;
use crate::observer::Point;
use crate::work::Work;
use futures_util::StreamExt;
use rustc_hash::FxHashMap;
use squall_core::messages::{Overdue, targets_by_gateway};
use squall_core::plant::{Plant, planted};
use squall_core::registry::Location;
use squall_protocol::wire::bus::to_gateway;
use squall_protocol::wire::registry as wire;
use squall_protocol::{UserId, limits};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Everybody's place is known: carry the job out.
fn complete(shard: &Shard, lookup: Lookup) {
    match lookup.job {
        Job::Deliver(plans) => deliver(shard, plans, &lookup.locations),
        Job::Redeliver { device, conversation, head } => {
            match lookup.locations.iter().find(|l| l.device == device) {
                Some(location) => {
                    shard.dispatcher.remind(location, conversation, head);
                    shard.observer.passed(&Point::Redelivered { conversation, device });
                }
                None => shard.state().debts.handle_vanished(device, conversation),
            }
        }
        Job::Close { device } => {
            if let Some(location) = lookup.locations.iter().find(|l| l.device == device) {
                shard.observer.passed(&Point::UnackedClosed { device });
                shard.dispatcher.publish(location.gateway, to_gateway::Message::Close(target(location)));
            }
        }
    }
}

fn deliver(shard: &Shard, plans: Vec<Plan>, locations: &[Location]) {
    let mut by_user: FxHashMap<UserId, Vec<Location>> = FxHashMap::default();
    for location in locations {
        let places = by_user.entry(location.user).or_default();
        if places.is_empty() || !planted(Plant::FanOutForgetsSecondDevice) {
            places.push(*location);
        }
    }
    let now = shard.clock.now();
    for Plan { new, members } in plans {
        shard.observer.worked(Work::Member, members.len());
        let (conversation, seq) = (new.conversation, new.entry.seq);
        let places = members.iter().filter_map(|user| by_user.get(user)).flatten().copied();
        let plan = targets_by_gateway(places, Some(new.entry.device));
        let targets: Vec<Location> = plan.values().flatten().copied().collect();
        shard.state().debts.handle_planned(
            new.position,
            conversation,
            seq,
            targets.iter().filter(|_| !planted(Plant::BusDropsSilently)).map(|l| (l.user, l.device)),
            now,
        );
        shard.observer.worked(Work::Publication, plan.len());
        for (gateway, targets) in &plan {
            shard.dispatcher.deliver(*gateway, conversation, new.entry.clone(), targets);
        }
        shard.observer.passed(&Point::Published { conversation, seq, targets: &targets });
    }
}

/// Entries that were turned away are planned from the disk.
fn replan(shard: &Shard) {
    let mut state = shard.state();
    let Some(storage) = state.storage.clone() else { return };
    let Some(from) = state.debts.first_unplanned() else { return };
    let rows = match storage.rows_from(from, limits::MAX_LOOKUPS_OPEN) {
        Ok(rows) => rows,
        Err(error) => {
            shard.dispatcher.set_overflowed();
            return shard.handle_read_error(&mut state, &error);
        }
    };
    if rows.len() == limits::MAX_LOOKUPS_OPEN {
        shard.dispatcher.set_overflowed();
    }
    let mut plans = Vec::new();
    let unplanned: Vec<_> = rows.into_iter().filter(|(position, _)| state.debts.is_unplanned(*position)).collect();
    for (position, row) in unplanned {
        let planned = row.and_then(|new| {
            let log = state.cache.get(new.conversation, storage.as_ref())?;
            Ok(Plan { members: log.membership().members_at(new.entry.seq).collect(), new })
        });
        match planned {
            Ok(plan) => plans.push(plan),
            Err(error) => {
                shard.handle_read_error(&mut state, &error);
                if !error.is_one_row() {
                    return shard.dispatcher.set_overflowed();
                }
                // Nobody can be told of it: it is not waited for.
                state.debts.handle_unreadable(position);
            }
        }
    }
    drop(state);
    shard.dispatcher.plan(plans, shard.clock.now());
}

/// Opens the links and keeps the clock of retries and debts.
pub fn start(shard: &Arc<Shard>, connector: &Arc<dyn Connector>, registries: Vec<String>, buses: Vec<String>) {
    for (index, address) in registries.into_iter().enumerate() {
        let (shard, connector) = (Arc::clone(shard), Arc::clone(connector));
        let (observer, tasks) = (Arc::clone(&shard.observer), shard.tasks.clone());
        tasks.spawn(
            "link",
            keep_open(address.clone(), observer, move || {
                registry_link(Arc::clone(&shard), Arc::clone(&connector), address.clone(), index as u32)
            }),
        );
    }
    for (index, address) in buses.into_iter().enumerate() {
        let (shard, connector) = (Arc::clone(shard), Arc::clone(connector));
        let (observer, tasks) = (Arc::clone(&shard.observer), shard.tasks.clone());
        tasks.spawn(
            "link",
            keep_open(address.clone(), observer, move || {
                bus_link(Arc::clone(&shard), Arc::clone(&connector), address.clone(), index)
            }),
        );
    }
    shard.tasks.spawn("housekeeping", housekeeping(Arc::clone(shard)));
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
            if let Some(lookup) = shard.dispatcher.handle_reply(registry, reply) {
                complete(&shard, lookup);
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
            replan(&shard);
        }
        let overdue = shard.state().debts.handle_timeout(now);
        for debt in overdue {
            let (user, job) = match debt {
                Overdue::Redeliver { user, device, conversation, head } => {
                    (user, Job::Redeliver { device, conversation, head })
                }
                Overdue::Close { user, device } => (user, Job::Close { device }),
            };
            shard.dispatcher.look_up(job, BTreeSet::from([user]), now);
        }
    }
}
