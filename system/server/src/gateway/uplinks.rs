//! What goes from a gateway to shards and registries: a queue each, for whichever link takes from it.

use super::table::ConnectionId;
use crate::links::{Pushed, Queue};
use squall_core::gateway::{Peer, Registrations};
use squall_core::plant::{Plant, planted};
use squall_protocol::ids::rendezvous;
use squall_protocol::wire::messages::request::Request as Kind;
use squall_protocol::wire::messages::{Caller, Follow, Gone, HeadsOf, Request, Took};
use squall_protocol::wire::registry as wire;
use squall_protocol::wire::registry::session_request::Request as SessionKind;
use squall_protocol::{ClientFrame, ConversationId, DeviceId, Seq, UserId, limits, protobuf, relay};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The queues to other roles.
pub struct Uplinks {
    pub shards: Vec<Queue<Request>>,
    /// What goes to each shard when nothing else does.
    pub notices: Vec<Queue<Request>>,
    pub registries: Vec<Queue<wire::SessionRequest>>,
    /// What each registry is still to be told. Locked after the table, if both are.
    registrations: Vec<Mutex<Registrations>>,
    /// Sessions opened with each registry so far.
    sessions: Vec<AtomicU32>,
}

fn caller(id: ConnectionId, peer: Peer) -> Caller {
    Caller { connection: id.0, user: peer.user.0, device: peer.device.0, connect_count: peer.connect_count }
}

pub fn registration(connection: u64, peer: Peer) -> wire::Registration {
    wire::Registration { user: peer.user.0, device: peer.device.0, connection, connect_count: peer.connect_count }
}

pub fn session_request(kind: SessionKind) -> wire::SessionRequest {
    wire::SessionRequest { request: Some(kind) }
}

impl Uplinks {
    pub fn new(shards: usize, registries: usize) -> Self {
        assert!(shards <= limits::MAX_SHARDS, "heads_awaited has a bit for each shard");
        Uplinks {
            shards: (0..shards).map(|_| Queue::stale_after(limits::RESEND_AFTER)).collect(),
            notices: (0..shards).map(|_| Queue::of_notices()).collect(),
            registries: (0..registries).map(|_| Queue::default()).collect(),
            registrations: (0..registries).map(|_| Mutex::default()).collect(),
            sessions: (0..registries).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// The index of the registry that has this user's connections.
    pub fn registry_of(&self, user: UserId) -> u32 {
        rendezvous(user.0, self.registries.len() as u32)
    }

    fn registry(&self, user: UserId) -> &Queue<wire::SessionRequest> {
        &self.registries[self.registry_of(user) as usize]
    }

    /// How many sessions have been opened with this registry.
    pub fn sessions(&self, registry: u32) -> u32 {
        self.sessions[registry as usize].load(Ordering::Relaxed)
    }

    /// One more session is opened with this registry. Returns how many there were before.
    pub fn count_session(&self, registry: u32) -> u32 {
        self.sessions[registry as usize].fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a device's frame to the shard that owns its conversation.
    pub fn forward(&self, id: ConnectionId, peer: Peer, frame: &ClientFrame) -> Pushed {
        let (conversation, request) = relay::request_to_wire(frame);
        let by_user = planted(Plant::AcksRoutedByUser) && matches!(frame, ClientFrame::Ack { .. });
        let key = if by_user { peer.user.0 } else { conversation.spread() };
        let shard = rendezvous(key, self.shards.len() as u32);
        let request = Request { caller: Some(caller(id, peer)), request: Some(request) };
        self.shards[shard as usize].push_for(peer.user, request)
    }

    /// Tells a conversation's shard that somebody is writing, behind all else. What finds no room is dropped.
    pub fn forward_typing(&self, id: ConnectionId, peer: Peer, frame: &ClientFrame) -> Pushed {
        let (conversation, request) = relay::request_to_wire(frame);
        let request = Request { caller: Some(caller(id, peer)), request: Some(request) };
        self.notices[self.shard_of(conversation)].push_for(peer.user, request)
    }

    /// The shard that has this conversation.
    pub fn shard_of(&self, conversation: ConversationId) -> usize {
        rendezvous(conversation.spread(), self.shards.len() as u32) as usize
    }

    fn tell_shard(&self, conversation: ConversationId, kind: Kind) {
        // What finds no room is said again: by the gateway for want of an answer, or by the shard for want of an acknowledgement.
        self.shards[self.shard_of(conversation)].offer(Request { caller: None, request: Some(kind) });
    }

    /// Asks to be told of every entry of a channel, after those that are here.
    pub fn follow(&self, conversation: ConversationId, have: Option<Seq>) {
        let follow =
            Follow { conversation: protobuf::conversation_to_wire(conversation), have: have.map(|have| have.0) };
        self.tell_shard(conversation, Kind::Follow(follow));
    }

    /// What has been told of a channel has been taken in up to here.
    pub fn took(&self, conversation: ConversationId, up_to: Seq) {
        let took = Took { conversation: protobuf::conversation_to_wire(conversation), up_to: up_to.0 };
        self.tell_shard(conversation, Kind::Took(took));
    }

    /// Nobody here follows the channel any more.
    pub fn unfollow(&self, conversation: ConversationId) {
        if let Some(conversation_id) = protobuf::conversation_to_wire(conversation) {
            self.tell_shard(conversation, Kind::Unfollow(conversation_id));
        }
    }

    /// A connection for which channels of this shard were followed is gone. What finds no room is written in its own time.
    pub fn gone(&self, shard: usize, id: ConnectionId, peer: Peer) {
        let request = Request { caller: Some(caller(id, peer)), request: Some(Kind::Gone(Gone {})) };
        self.shards[shard].offer_for(peer.user, request);
    }

    /// What this registry is still to be told.
    pub fn registrations(&self, registry: u32) -> MutexGuard<'_, Registrations> {
        self.registrations[registry as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn unregister(&self, connection: u64, user: UserId, device: DeviceId) {
        let registration = wire::Registration { user: user.0, device: device.0, connection, connect_count: 0 };
        // What finds no room is met as a stale entry by the next delivery, or ends with the session.
        self.registry(user).offer_for(user, session_request(SessionKind::Unregister(registration)));
    }

    /// Every shard, a bit each.
    pub fn all_shards(&self) -> u64 {
        if self.shards.len() == u64::BITS as usize { u64::MAX } else { (1 << self.shards.len()) - 1 }
    }

    /// Asks a shard for the part of the heads after this conversation, in this round.
    pub fn ask_heads_after(
        &self,
        shard: usize,
        id: ConnectionId,
        peer: Peer,
        round: u64,
        after: Option<ConversationId>,
    ) {
        let heads = HeadsOf { request_id: round, after: after.and_then(protobuf::conversation_to_wire) };
        // What finds no room is asked for again by `Deadline::Heads`.
        self.shards[shard]
            .offer_for(peer.user, Request { caller: Some(caller(id, peer)), request: Some(Kind::Heads(heads)) });
    }
}
