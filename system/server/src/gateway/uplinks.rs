//! A gateway's links to shards and registries.
//!
//! A registry's session begins with everything that the gateway holds, so a registry that restarts, or a link that
//! was cut, is whole again without anybody's memory of what was said before.

use super::Gateway;
use super::outgoing::Outgoing;
use super::table::{ConnectionId, Deadline};
use crate::cluster::Cluster;
use crate::links::services::messages::messages_client::MessagesClient;
use crate::links::services::registry::registry_client::RegistryClient;
use crate::links::{LinkError, Queue, dial, keep_open};
use crate::net::Connector;
use crate::observer::Point;
use futures_util::StreamExt;
use squall_core::plant::{Plant, planted};
use squall_core::session::Peer;
use squall_protocol::close::CloseReason;
use squall_protocol::frames::FrameError;
use squall_protocol::ids::rendezvous;
use squall_protocol::wire::messages::request::Request as Kind;
use squall_protocol::wire::messages::{Caller, HeadsOf, Reply, Request, Requests, reply};
use squall_protocol::wire::registry as wire;
use squall_protocol::wire::registry::session_request::Request as SessionKind;
use squall_protocol::{ClientFrame, DeviceId, Role, ServerFrame, UserId, limits, protobuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The queues to other roles.
pub struct Uplinks {
    shards: Vec<Queue<Request>>,
    registries: Vec<Queue<wire::SessionRequest>>,
    /// Sessions opened with each registry so far.
    sessions: Vec<AtomicU32>,
}

fn caller(id: ConnectionId, peer: Peer) -> Caller {
    Caller { connection: id.0, user: peer.user.0, device: peer.device.0, connect_count: peer.connect_count }
}

fn registration(connection: u64, peer: Peer) -> wire::Registration {
    wire::Registration { user: peer.user.0, device: peer.device.0, connection, connect_count: peer.connect_count }
}

fn session_request(kind: SessionKind) -> wire::SessionRequest {
    wire::SessionRequest { request: Some(kind) }
}

impl Uplinks {
    pub fn new(shards: usize, registries: usize) -> Self {
        assert!(shards <= 64, "heads_awaited has a bit for each shard");
        Uplinks {
            shards: (0..shards).map(|_| Queue::default()).collect(),
            registries: (0..registries).map(|_| Queue::default()).collect(),
            sessions: (0..registries).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    fn registry_of(&self, user: UserId) -> &Queue<wire::SessionRequest> {
        &self.registries[rendezvous(user.0, self.registries.len() as u32) as usize]
    }

    /// Hands a device's frame to the shard that owns its conversation. A full queue drops it; the device asks again.
    pub fn forward(&self, id: ConnectionId, peer: Peer, frame: ClientFrame) {
        let (conversation, kind) = match frame {
            ClientFrame::Send { conversation, client_msg_id, client_seq, payload } => {
                let send = protobuf::send_to_wire(conversation, client_msg_id, client_seq, &payload);
                (conversation, Kind::Send(send))
            }
            ClientFrame::Ack { conversation, up_to_seq } => {
                let ack =
                    squall_protocol::wire::client::Ack { conversation: conversation.0, up_to_seq: up_to_seq.0 };
                (conversation, Kind::Ack(ack))
            }
            ClientFrame::Sync { conversation, since_seq } => {
                let sync =
                    squall_protocol::wire::client::Sync { conversation: conversation.0, since_seq: since_seq.0 };
                (conversation, Kind::Sync(sync))
            }
            ClientFrame::Hello { .. } | ClientFrame::Ping => return,
        };
        let shard = rendezvous(conversation.0, self.shards.len() as u32);
        self.shards[shard as usize].push(Request { caller: Some(caller(id, peer)), request: Some(kind) });
    }

    pub fn register(&self, id: ConnectionId, peer: Peer) {
        self.registry_of(peer.user).push(session_request(SessionKind::Register(registration(id.0, peer))));
    }

    pub fn unregister(&self, connection: u64, user: UserId, device: DeviceId) {
        let registration = wire::Registration { user: user.0, device: device.0, connection, connect_count: 0 };
        self.registry_of(user).push(session_request(SessionKind::Unregister(registration)));
    }

    /// Asks every shard where the user's conversations stand.
    pub fn ask_heads(&self, gateway: &Gateway, id: ConnectionId, peer: Peer) {
        let all = if self.shards.len() == 64 { u64::MAX } else { (1 << self.shards.len()) - 1 };
        let mut table = gateway.table();
        let Some(connection) = table.get_mut(id) else { return };
        let was_waiting = std::mem::replace(&mut connection.heads_awaited, all) != 0;
        connection.heads_asked = true;
        connection.heads_round += 1;
        let round = connection.heads_round;
        if !was_waiting {
            table.schedule(gateway.clock.now() + limits::HEADS_RETRY_AFTER, id, Deadline::Heads);
        }
        drop(table);
        self.ask_heads_of(id, peer, all, round);
    }

    /// Asks these shards (a bit each), in this round.
    pub fn ask_heads_of(&self, id: ConnectionId, peer: Peer, shards: u64, round: u32) {
        for (_, queue) in self.shards.iter().enumerate().filter(|(index, _)| shards >> index & 1 == 1) {
            let heads = HeadsOf { request_id: u64::from(round) };
            queue.push(Request { caller: Some(caller(id, peer)), request: Some(Kind::Heads(heads)) });
        }
    }
}

/// Opens the links.
pub fn start(gateway: &Arc<Gateway>, connector: &Arc<dyn Connector>, cluster: &Cluster) {
    for (index, address) in cluster[Role::Messages].iter().cloned().enumerate() {
        let (gateway, connector) = (Arc::clone(gateway), Arc::clone(connector));
        let observer = Arc::clone(&gateway.observer);
        tokio::spawn(keep_open(address.clone(), observer, move || {
            shard_link(Arc::clone(&gateway), Arc::clone(&connector), address.clone(), index)
        }));
    }
    for (index, address) in cluster[Role::Registry].iter().cloned().enumerate() {
        let (gateway, connector) = (Arc::clone(gateway), Arc::clone(connector));
        let observer = Arc::clone(&gateway.observer);
        tokio::spawn(keep_open(address.clone(), observer, move || {
            registry_link(Arc::clone(&gateway), Arc::clone(&connector), address.clone(), index as u32)
        }));
    }
}

async fn shard_link(
    gateway: Arc<Gateway>,
    connector: Arc<dyn Connector>,
    address: String,
    index: usize,
) -> Result<(), LinkError> {
    let mut client = MessagesClient::new(dial(connector, &address).await?)
        .max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    let queue = &gateway.uplinks.shards[index];
    queue.drop_older_than(limits::RESEND_AFTER);
    let requests = queue.batches().map(|requests| Requests { requests });
    let mut replies = client.session(requests).await?.into_inner();
    gateway.observer.passed(&Point::LinkUp { to: &address });
    while let Some(batch) = replies.message().await? {
        let mut table = gateway.table();
        for reply in batch.replies {
            let (id, device) = (ConnectionId(reply.connection), DeviceId(reply.device));
            let Some(connection) = table.get_device(id, device) else { continue };
            if let Some(reply::Reply::Heads(part)) = &reply.reply
                && part.last
                && part.request_id == u64::from(connection.heads_round)
            {
                connection.heads_awaited &= !(1 << index);
            }
            // A frame that a shard of ours cannot have sent: nothing a device could do with it.
            if let Ok(Some(frame)) = frame_of(reply) {
                connection.push(&mut Outgoing::new(frame));
            }
        }
    }
    Ok(())
}

/// The device's frame of a shard's reply; none for heads of nothing.
fn frame_of(reply: Reply) -> Result<Option<ServerFrame>, FrameError> {
    Ok(Some(match reply.reply.ok_or(FrameError::Missing("reply"))? {
        reply::Reply::Sent(sent) => protobuf::sent_from_wire(&sent)?,
        reply::Reply::Refused(refused) => protobuf::refused_from_wire(&refused)?,
        reply::Reply::Page(page) => protobuf::page_from_wire(page)?,
        reply::Reply::Error(error) => protobuf::error_from_wire(&error)?,
        reply::Reply::Heads(part) if part.heads.is_empty() => return Ok(None),
        reply::Reply::Heads(part) => {
            ServerFrame::Heads { heads: part.heads.iter().map(protobuf::head_from_wire).collect() }
        }
    }))
}

async fn registry_link(
    gateway: Arc<Gateway>,
    connector: Arc<dyn Connector>,
    address: String,
    index: u32,
) -> Result<(), LinkError> {
    let mut client = RegistryClient::new(dial(connector, &address).await?)
        .max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    let queue = &gateway.uplinks.registries[index as usize];
    let registries = gateway.uplinks.registries.len() as u32;
    {
        // Under the lock, so that no connection comes or goes between the snapshot and what follows it.
        let table = gateway.table();
        let earlier = gateway.uplinks.sessions[index as usize].fetch_add(1, Ordering::Relaxed);
        queue.clear();
        queue.push(session_request(SessionKind::Open(wire::Open { gateway: gateway.index })));
        let mut connections = 0;
        for (id, peer) in table.open().filter(|(_, peer)| rendezvous(peer.user.0, registries) == index) {
            if earlier > 0 && planted(Plant::RegistrationNotRebuilt) {
                continue;
            }
            queue.push(session_request(SessionKind::Register(registration(id.0, peer))));
            connections += 1;
        }
        queue.push(session_request(SessionKind::SnapshotEnd(wire::SnapshotEnd {})));
        gateway.observer.passed(&Point::SnapshotSent { connections });
    }
    let requests = queue.batches().map(|requests| wire::SessionRequests { requests });
    let mut replies = client.session(requests).await?.into_inner();
    gateway.observer.passed(&Point::LinkUp { to: &address });
    let mut renewal = tokio::time::interval(limits::LEASE_RENEWAL);
    loop {
        tokio::select! {
            biased;
            batch = replies.message() => match batch? {
                Some(batch) => batch.registered.iter().for_each(|r| registered(&gateway, r)),
                None => return Ok(()),
            },
            _ = renewal.tick() => {
                queue.push(session_request(SessionKind::Renew(wire::Renew {})));
            }
        }
    }
}

/// The entry is visible from now on: what was planned before it is in the heads, what comes after is delivered.
fn registered(gateway: &Gateway, r: &wire::Registered) {
    let (id, device) = (ConnectionId(r.connection), DeviceId(r.device));
    let mut table = gateway.table();
    let Some(connection) = table.get_device(id, device) else { return };
    let Some(peer) = connection.peer else { return };
    if r.superseded {
        return connection.close(CloseReason::Superseded);
    }
    let registry = rendezvous(peer.user.0, gateway.uplinks.registries.len() as u32) as usize;
    let session = gateway.uplinks.sessions[registry].load(Ordering::Relaxed);
    let before = std::mem::replace(&mut connection.registered_in, session);
    let first = before == 0;
    // Without a confirmation in the session before this one, the entry may have been created in that one and the word of
    // it lost.
    if !r.created && !first && before + 1 >= session {
        return;
    }
    drop(table);
    if !first && planted(Plant::NoSyncAfterRegistration) {
        return;
    }
    if !first {
        gateway.observer.passed(&Point::ResyncAfterRegistration { device });
    }
    gateway.uplinks.ask_heads(gateway, id, peer);
}
