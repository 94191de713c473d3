//! A gateway's session with one registry: all that it holds, then what comes and goes, and the lease.
//!
//! A session begins with everything that the gateway holds, so a registry that restarts, or a link that was cut, is whole
//! again without anybody's memory of what was said before. It goes in bounded parts, and what has no answer is told again
//! (`core::gateway::Registrations`). Guarded by `sim/checks/src/no_loss.rs`.

use super::outgoing::Outgoing;
use super::state::Gateway;
use super::table::ConnectionId;
use super::uplinks::session_request;
use crate::links::services::registry::registry_client::RegistryClient;
use crate::links::{Dialler, LinkError, dial, keep_open};
use crate::observer::Point;
use crate::tasks::Task;
use futures_util::StreamExt;
use squall_core::plant::{Plant, planted};
use squall_protocol::close::CloseReason;
use squall_protocol::wire::registry as wire;
use squall_protocol::wire::registry::session_request::Request as SessionKind;
use squall_protocol::{DeviceId, ServerFrame, limits};
use std::sync::Arc;

/// Opens a link to each registry.
pub fn start(gateway: &Arc<Gateway>, dialler: &Dialler, registries: &[String]) {
    for (index, address) in (0..).zip(registries.iter().cloned()) {
        let (gateway, dialler) = (Arc::clone(gateway), dialler.clone());
        let (observer, tasks) = (Arc::clone(&gateway.observer), gateway.tasks.clone());
        tasks.spawn(
            Task::Link,
            keep_open(address.clone(), observer, move || {
                run(Arc::clone(&gateway), dialler.clone(), address.clone(), index)
            }),
        );
    }
}

async fn run(gateway: Arc<Gateway>, dialler: Dialler, address: String, index: u32) -> Result<(), LinkError> {
    let mut client = RegistryClient::new(dial(&dialler, &address).await?)
        .max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    let queue = &gateway.uplinks.registries[index as usize];
    {
        // Under the lock, so that no connection comes or goes between the snapshot and what follows it.
        let table = gateway.table();
        let earlier = gateway.uplinks.count_session(index);
        queue.clear();
        queue.offer(session_request(SessionKind::Open(wire::Open { gateway: gateway.index })));
        let mut connections = 0;
        let own = table.open().filter(|(_, peer)| gateway.uplinks.registry_of(peer.user) == index);
        let own = own.filter(|_| earlier == 0 || !planted(Plant::RegistrationNotRebuilt)).map(|(id, _)| id.0);
        gateway.uplinks.registrations(index).handle_opened(own.inspect(|_| connections += 1));
        gateway.observer.passed(&Point::SnapshotBegun { connections });
    }
    let _open = Open { gateway: &gateway, registry: index };
    gateway.send_registrations(index);
    let requests = queue.batches().map(|requests| wire::SessionRequests { requests });
    let mut replies = client.session(requests).await?.into_inner();
    gateway.observer.passed(&Point::LinkUp { to: &address });
    let mut renewal = tokio::time::interval(limits::LEASE_RENEWAL);
    let mut retry = tokio::time::interval(limits::REGISTRATION_RETRY_AFTER);
    loop {
        tokio::select! {
            biased;
            batch = replies.message() => match batch? {
                Some(batch) => {
                    for r in &batch.registered {
                        let again = gateway.uplinks.registrations(index).handle_confirmed(r.connection);
                        registered(&gateway, r, again);
                    }
                    gateway.send_registrations(index);
                }
                None => return Ok(()),
            },
            _ = retry.tick() => gateway.send_registrations(index),
            _ = renewal.tick() => {
                // One that finds no room has a successor before the lease runs out.
                queue.offer(session_request(SessionKind::Renew(wire::Renew {})));
            }
        }
    }
}

/// A session that is open: when it ends, nothing more is kept for it.
struct Open<'a> {
    gateway: &'a Gateway,
    registry: u32,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.gateway.uplinks.registrations(self.registry).handle_closed();
    }
}

/// The entry is visible from now on: what was planned before it is in the heads, what comes after is delivered. Whether it was news
/// is not known of one that was told `again`: the first answer may have said so.
fn registered(gateway: &Gateway, r: &wire::Registered, again: bool) {
    let (id, device) = (ConnectionId(r.connection), DeviceId(r.device));
    let mut table = gateway.table();
    let Some(row) = table.get_device(id, device) else { return };
    let Some(peer) = row.peer else { return };
    if r.superseded {
        let stale = ServerFrame::Stale { connect_count: r.connect_count, superseded: true };
        row.push(&mut Outgoing::new(stale));
        return row.close(CloseReason::Superseded);
    }
    let session = gateway.uplinks.sessions(gateway.uplinks.registry_of(peer.user));
    let before = std::mem::replace(&mut row.registered_in, session);
    let first = before == 0;
    // Without a confirmation in the session before this one, the entry may have been created in that one and the reply that
    // says so lost.
    if !r.created && !again && !first && before + 1 >= session {
        return;
    }
    drop(table);
    if !first && planted(Plant::NoSyncAfterRegistration) {
        return;
    }
    if !first {
        gateway.observer.passed(&Point::ResyncAfterRegistration { device });
    }
    gateway.ask_heads(id, peer);
}
