//! The presence role: the table of `core::presence` behind gRPC.
//!
//! Nothing here is durable, and nothing durable waits for it: a host that has restarted knows nobody until the gateways have told it all that they
//! hold, and says "unknown" meanwhile.

use crate::clock::Clock;
use crate::hop::{Hop, OfDevice};
use crate::level::Level;
use crate::links::services::presence::presence_server::{Presence as Service, PresenceServer};
use crate::links::{Pushed, Queue, Replies, guarded, incoming, serve_grpc, tell_fill};
use crate::net::Listener;
use crate::observer::{Observer, Point};
use crate::tasks::{Task, Tasks};
use crate::work::Work;
use futures_util::StreamExt;
use squall_core::presence::{Here, Now, PresenceSession, PresenceTable, PresenceTimes};
use squall_protocol::cluster_secret::ClusterSecret;
use squall_protocol::wire::presence as wire;
use squall_protocol::wire::presence::reply::Reply as ReplyKind;
use squall_protocol::wire::presence::request::Request as Kind;
use squall_protocol::{DeviceId, UserId, limits, protobuf};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tonic::{Request, Response, Status, Streaming};

/// What gateways call.
struct PresenceService {
    table: Mutex<PresenceTable>,
    /// Where answers to each gateway go: to its newest session.
    replies: Mutex<BTreeMap<u32, Queue<wire::Reply>>>,
    /// Somebody is to be told.
    news: Notify,
    clock: Clock,
    observer: Arc<dyn Observer>,
    tasks: Tasks,
}

fn reply(kind: ReplyKind) -> wire::Reply {
    wire::Reply { reply: Some(kind) }
}

impl PresenceService {
    fn table(&self) -> MutexGuard<'_, PresenceTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replies(&self) -> MutexGuard<'_, BTreeMap<u32, Queue<wire::Reply>>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        Now { time: self.clock.now(), wall_ms: self.clock.wall_ms() }
    }

    /// Carries out one request of a gateway. False: the session is over.
    fn handle(&self, session: &mut Option<PresenceSession>, kind: Kind, replies: &Queue<wire::Reply>) -> bool {
        let now = self.now();
        let mut table = self.table();
        match (kind, *session) {
            (Kind::Open(open), None) => {
                *session = Some(table.handle_open(open.gateway, now));
                self.replies().insert(open.gateway, replies.clone());
            }
            // A second `open`, or anything before the first: not a gateway of ours.
            (Kind::Open(_), Some(_)) | (_, None) => return false,
            (Kind::Here(here), Some(id)) => {
                self.observer.worked(Work::Registration, 1);
                let (connection, invisible) = (here.connection, here.invisible);
                let here = Here {
                    user: UserId(here.user),
                    device: DeviceId(here.device),
                    connection,
                    connect_count: here.connect_count,
                    invisible,
                };
                let (user, device, connect_count) = (here.user, here.device, here.connect_count);
                let said = OfDevice::Here { connect_count, invisible };
                self.observer.hop(&Hop::Present { user, device, gateway: id.gateway, said });
                table.handle_here(id, here, now);
                // A full queue means a gateway that does not read: its session ends, and the next one begins with all that it holds.
                return replies.push(reply(ReplyKind::Noted(wire::Noted { connection, invisible })))
                    == Pushed::Queued;
            }
            (Kind::Gone(gone), Some(id)) => {
                let (user, device) = (UserId(gone.user), DeviceId(gone.device));
                let seen_ago = Duration::from_millis(gone.seen_ago_ms);
                let said = OfDevice::Gone { seen_ago };
                self.observer.hop(&Hop::Present { user, device, gateway: id.gateway, said });
                table.handle_gone(id, (user, device), gone.connection, seen_ago, now);
            }
            (Kind::SnapshotEnd(_), Some(id)) => {
                let entries = table.handle_snapshot_end(id, now);
                drop(table);
                self.cleared(entries);
            }
            (Kind::Renew(_), Some(id)) => return table.handle_renew(id, now),
            (Kind::Subscribe(subscribe), Some(id)) => {
                self.observer.worked(Work::Lookup, 1);
                let user = UserId(subscribe.user);
                self.observer.hop(&Hop::Subscribed { user, gateway: id.gateway });
                table.handle_subscribe(id, user, subscribe.last_seen_ms);
            }
            (Kind::Unsubscribe(user), Some(id)) => table.handle_unsubscribe(id, UserId(user)),
        }
        true
    }

    fn cleared(&self, entries: usize) {
        if entries > 0 {
            self.observer.passed(&Point::DevicesVanished { devices: entries });
        }
    }

    /// Tells each gateway of some of those who are due for it. A queue in which much waits is left alone: what it would be told is told later, as
    /// things then stand.
    fn tell_some(&self) {
        let Now { time: now, wall_ms } = self.now();
        let mut table = self.table();
        for gateway in table.due() {
            let Some(replies) = self.replies().get(&gateway).cloned() else { continue };
            if !replies.has_fewer_than(limits::PRESENCE_A_TURN) {
                continue;
            }
            for (user, presence) in table.poll_notices(gateway, limits::PRESENCE_A_TURN, now) {
                let seen_ago_ms =
                    (presence.last_seen_ms > 0).then(|| wall_ms.saturating_sub(presence.last_seen_ms));
                self.observer.hop(&Hop::PresenceTold { user, gateway, presence, seen_ago_ms });
                let (state, last_seen_ms) = (protobuf::seen_to_wire(presence.state), presence.last_seen_ms);
                let notice = wire::Notice { user: user.0, state, last_seen_ms };
                if replies.push(reply(ReplyKind::Notice(notice))) != Pushed::Queued {
                    replies.close();
                }
            }
        }
        let changes = table.take_sampled();
        drop(table);
        if changes > 0 {
            self.observer.passed(&Point::PresenceSampled { changes });
        }
    }

    /// Tells gateways what there is to tell, for as long as the host lives.
    async fn tell(&self) {
        loop {
            self.news.notified().await;
            loop {
                self.tell_some();
                if self.table().due().is_empty() {
                    break;
                }
                tokio::time::sleep(limits::PRESENCE_TURN).await;
            }
        }
    }

    fn look(&self) {
        let vanished = self.table().handle_timeout(self.now());
        self.cleared(vanished);
        if !self.table().due().is_empty() {
            self.news.notify_one();
        }
        let fills: Vec<_> = self.replies().values().map(Queue::take_fill).collect();
        let observer = self.observer.as_ref();
        tell_fill(observer, Level::Presences, Level::PresenceBytes, fills);
        let [present, away, subscribed] = self.table().levels();
        observer.stands(Level::Present, present, present);
        observer.stands(Level::LastSeen, away, away);
        observer.stands(Level::Subscribed, subscribed, subscribed);
        self.tasks.tell_levels(observer);
    }
}

#[tonic::async_trait]
impl Service for Arc<PresenceService> {
    type SessionStream = Replies<wire::Replies>;

    async fn session(
        &self,
        request: Request<Streaming<wire::Requests>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut requests = request.into_inner();
        let replies = Queue::default();
        let batches = replies.batches();
        let service = Arc::clone(self);
        self.tasks.spawn(Task::Session, async move {
            let mut session = None;
            'session: while let Ok(Some(batch)) = requests.message().await {
                for kind in batch.requests.into_iter().filter_map(|r| r.request) {
                    if !service.handle(&mut session, kind, &replies) {
                        break 'session;
                    }
                }
                service.news.notify_one();
            }
            replies.close();
        });
        Ok(Response::new(Box::pin(batches.map(|replies| Ok(wire::Replies { replies })))))
    }
}

/// Runs a presence host until its listener fails.
pub async fn run(
    listener: Box<dyn Listener>,
    clock: Clock,
    observer: Arc<dyn Observer>,
    tasks: Tasks,
    secret: ClusterSecret,
    times: PresenceTimes,
) -> Result<(), tonic::transport::Error> {
    let service = Arc::new(PresenceService {
        table: Mutex::new(PresenceTable::new(times, clock.now())),
        replies: Mutex::default(),
        news: Notify::new(),
        clock,
        observer: Arc::clone(&observer),
        tasks: tasks.clone(),
    });
    let telling = Arc::clone(&service);
    tasks.spawn(Task::Chore("notices"), async move { telling.tell().await });
    let leases = Arc::clone(&service);
    tasks.spawn(Task::Chore("leases"), async move {
        loop {
            tokio::time::sleep(limits::HOUSEKEEPING_INTERVAL).await;
            leases.look();
        }
    });
    let server = PresenceServer::new(service).max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    incoming(serve_grpc().add_service(guarded(server, &secret, &observer)), listener).await
}
