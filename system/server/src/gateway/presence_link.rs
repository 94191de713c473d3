//! A gateway's links for who is online: to each presence host, and for leases to each shard.

use super::presence;
use super::state::Gateway;
use super::table::ConnectionId;
use crate::links::services::messages::messages_client::MessagesClient;
use crate::links::services::presence::presence_client::PresenceClient;
use crate::links::{Dialler, LinkError, dial, keep_open};
use crate::observer::Point;
use crate::tasks::Task;
use futures_util::StreamExt;
use squall_core::Time;
use squall_core::presence::Presence;
use squall_protocol::wire::messages::{LeaseRequests, reply};
use squall_protocol::wire::presence as wire;
use squall_protocol::wire::presence::reply::Reply as Kind;
use squall_protocol::{UserId, limits, protobuf};
use std::sync::Arc;

/// Opens the links, if there are presence hosts.
pub fn start(gateway: &Arc<Gateway>, dialler: &Dialler, hosts: &[String], shards: &[String]) {
    for (index, address) in hosts.iter().cloned().enumerate() {
        let (gateway, dialler) = (Arc::clone(gateway), dialler.clone());
        let (observer, tasks) = (Arc::clone(&gateway.observer), gateway.tasks.clone());
        let mut is_first = true;
        tasks.spawn(
            Task::Link,
            keep_open(address.clone(), observer, move || {
                run(Arc::clone(&gateway), dialler.clone(), address.clone(), index, std::mem::take(&mut is_first))
            }),
        );
    }
    let shards = if hosts.is_empty() { &[] } else { shards };
    for (index, address) in shards.iter().cloned().enumerate() {
        let (gateway, dialler) = (Arc::clone(gateway), dialler.clone());
        let (observer, tasks) = (Arc::clone(&gateway.observer), gateway.tasks.clone());
        tasks.spawn(
            Task::Link,
            keep_open(address.clone(), observer, move || {
                run_leases(Arc::clone(&gateway), dialler.clone(), address.clone(), index)
            }),
        );
    }
}

/// A session that is open.
struct Open<'a> {
    gateway: &'a Gateway,
    host: usize,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        presence::end_session(self.gateway, self.host);
    }
}

async fn run(
    gateway: Arc<Gateway>,
    dialler: Dialler,
    address: String,
    index: usize,
    is_first: bool,
) -> Result<(), LinkError> {
    let mut client = PresenceClient::new(dial(&dialler, &address).await?)
        .max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    presence::begin_session(&gateway, index, is_first);
    let _open = Open { gateway: &gateway, host: index };
    presence::tell_devices(&gateway, index);
    presence::tell_users(&gateway, index);
    let requests = gateway.presences.hosts[index].queue.batches().map(|requests| wire::Requests { requests });
    let mut replies = client.session(requests).await?.into_inner();
    gateway.observer.passed(&Point::LinkUp { to: &address });
    let mut renewal = tokio::time::interval(gateway.presences.times.renewal());
    let mut retry = tokio::time::interval(limits::REGISTRATION_RETRY_AFTER);
    loop {
        tokio::select! {
            biased;
            () = gateway.presences.hosts[index].reset.notified() => return Ok(()),
            batch = replies.message() => match batch? {
                Some(batch) => {
                    batch.replies.into_iter().filter_map(|reply| reply.reply).for_each(|reply| {
                        handle(&gateway, index, reply);
                    });
                    presence::tell_devices(&gateway, index);
                    presence::tell_users(&gateway, index);
                }
                None => return Ok(()),
            },
            _ = retry.tick() => {
                presence::tell_devices(&gateway, index);
                presence::tell_users(&gateway, index);
            }
            _ = renewal.tick() => presence::renew(&gateway, index),
        }
    }
}

fn handle(gateway: &Gateway, host: usize, reply: Kind) {
    match reply {
        Kind::Noted(noted) => presence::handle_noted(gateway, host, noted.connection, noted.invisible),
        Kind::Notice(notice) => {
            // What cannot be read is not from a host of ours.
            if let Ok(state) = protobuf::seen_from_wire(notice.state) {
                let presence = Presence { state, last_seen_ms: notice.last_seen_ms };
                presence::handle_notice(gateway, host, UserId(notice.user), presence);
            }
        }
    }
}

async fn run_leases(
    gateway: Arc<Gateway>,
    dialler: Dialler,
    address: String,
    index: usize,
) -> Result<(), LinkError> {
    let mut client = MessagesClient::new(dial(&dialler, &address).await?)
        .max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    let queue = &gateway.presences.leases[index];
    queue.drop_older_than(limits::WATCH_RETRY_AFTER);
    let requests = queue.batches().map(|requests| LeaseRequests { requests });
    let mut replies = client.watching(requests).await?.into_inner();
    gateway.observer.passed(&Point::LinkUp { to: &address });
    while let Some(batch) = replies.message().await? {
        for reply in batch.replies {
            let Some(reply::Reply::Lease(lease)) = reply.reply else { continue };
            let Ok(conversation) = protobuf::conversation_from_wire(lease.conversation) else { continue };
            let granted: Vec<UserId> = lease.granted.into_iter().map(UserId).collect();
            let id = ConnectionId(reply.connection);
            presence::handle_lease(&gateway, id, conversation, Time(lease.asked_at), &granted);
        }
    }
    Ok(())
}
