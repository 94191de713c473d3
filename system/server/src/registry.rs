//! The registry role: the table of `core::registry` behind gRPC.
//!
//! Nothing here is durable: a restarted registry is empty until the gateways have told it all they hold.

use crate::clock::Clock;
use crate::hop::{Hop, Seen};
use crate::level::Level;
use crate::links::services::registry::registry_server::{Registry, RegistryServer};
use crate::links::{Pushed, Queue, Replies, guarded, incoming, serve_grpc, tell_fill};
use crate::net::Listener;
use crate::observer::{Observer, Point};
use crate::tasks::{Task, Tasks};
use crate::work::Work;
use futures_util::StreamExt;
use squall_core::registry::{Displaced, Registered, Registration, RegistryTable, SessionId};
use squall_protocol::cluster_secret::ClusterSecret;
use squall_protocol::wire::registry as wire;
use squall_protocol::wire::registry::session_request::Request as SessionKind;
use squall_protocol::{DeviceId, UserId, limits};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tonic::{Request, Response, Status, Streaming};

/// What gateways and shards call.
struct RegistryService {
    table: Mutex<RegistryTable>,
    /// Where answers to each gateway go: to its newest session.
    replies: Mutex<BTreeMap<u32, Queue<wire::Registered>>>,
    clock: Clock,
    observer: Arc<dyn Observer>,
    tasks: Tasks,
}

impl RegistryService {
    fn table(&self) -> MutexGuard<'_, RegistryTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replies(&self) -> MutexGuard<'_, BTreeMap<u32, Queue<wire::Registered>>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cleared(&self, entries: usize) {
        if entries > 0 {
            self.observer.passed(&Point::EntriesCleared { entries });
        }
    }

    fn tell_registered(&self, gateway: u32, r: &wire::Registration, outcome: &Registered) {
        let seen = match outcome {
            Registered::Visible { created, .. } => Seen::Visible { created: *created },
            Registered::Superseded { .. } => Seen::Superseded,
            Registered::Ignored => Seen::Ignored,
        };
        let (user, device, connect_count) = (UserId(r.user), DeviceId(r.device), r.connect_count);
        self.observer.hop(&Hop::Registered { user, device, gateway, connect_count, seen });
    }

    /// Carries out one request of a gateway. False: the session is over.
    fn handle(
        &self,
        session: &mut Option<SessionId>,
        kind: SessionKind,
        replies: &Queue<wire::Registered>,
    ) -> bool {
        let now = self.clock.now();
        let mut table = self.table();
        match (kind, *session) {
            (SessionKind::Open(open), None) => {
                *session = Some(table.handle_open(open.gateway, now));
                self.replies().insert(open.gateway, replies.clone());
            }
            (SessionKind::Register(r), Some(id)) => {
                self.observer.worked(Work::Registration, 1);
                let by = |connection, connect_count| wire::Registered {
                    connection,
                    device: r.device,
                    created: false,
                    superseded: true,
                    connect_count,
                };
                // A full queue means a gateway that does not read: its session ends, and the next one begins with all that it holds.
                let outcome = table.handle_register(id, registration(&r));
                self.tell_registered(id.gateway, &r, &outcome);
                match outcome {
                    Registered::Visible { created, displaced } => {
                        if let Some(Displaced { gateway, connection }) = displaced
                            && let Some(theirs) = self.replies().get(&gateway)
                            && theirs.push(by(connection, r.connect_count)) != Pushed::Queued
                        {
                            theirs.close();
                        }
                        let (connection, device) = (r.connection, r.device);
                        let seen = wire::Registered { connection, device, created, ..Default::default() };
                        return replies.push(seen) == Pushed::Queued;
                    }
                    Registered::Superseded { by: count } => {
                        return replies.push(by(r.connection, count)) == Pushed::Queued;
                    }
                    Registered::Ignored => {}
                }
            }
            (SessionKind::Unregister(r), Some(id)) => {
                let (user, device, gateway) = (UserId(r.user), DeviceId(r.device), id.gateway);
                let removed = table.handle_unregister(id, user, device, r.connection);
                self.observer.hop(&Hop::Unregistered { user, device, gateway, removed });
            }
            (SessionKind::SnapshotEnd(_), Some(id)) => {
                let entries = table.handle_snapshot_end(id);
                drop(table);
                self.cleared(entries);
            }
            (SessionKind::Renew(_), Some(id)) => return table.handle_renew(id, now),
            // A second `open`, or anything before the first: not a gateway of ours.
            (SessionKind::Open(_), Some(_)) => return false,
            (
                SessionKind::Register(_)
                | SessionKind::Unregister(_)
                | SessionKind::SnapshotEnd(_)
                | SessionKind::Renew(_),
                None,
            ) => return false,
        }
        true
    }
}

fn registration(r: &wire::Registration) -> Registration {
    Registration {
        user: UserId(r.user),
        device: DeviceId(r.device),
        connection: r.connection,
        connect_count: r.connect_count,
    }
}

#[tonic::async_trait]
impl Registry for Arc<RegistryService> {
    type SessionStream = Replies<wire::SessionReplies>;
    type LookupStream = Replies<wire::LookupReplies>;

    async fn session(
        &self,
        request: Request<Streaming<wire::SessionRequests>>,
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
            }
            replies.close();
        });
        Ok(Response::new(Box::pin(batches.map(|registered| Ok(wire::SessionReplies { registered })))))
    }

    async fn lookup(
        &self,
        request: Request<Streaming<wire::LookupRequests>>,
    ) -> Result<Response<Self::LookupStream>, Status> {
        let service = Arc::clone(self);
        let replies = request.into_inner().flat_map(move |batch| {
            let table = service.table();
            // A reply a request: each is small, all of a batch together may not be.
            let replies: Vec<Result<wire::LookupReplies, Status>> = match batch {
                Err(status) => vec![Err(status)],
                Ok(batch) => batch
                    .requests
                    .into_iter()
                    .inspect(|r| service.observer.worked(Work::Lookup, r.users.len()))
                    .map(|r| wire::LookupReply {
                        request_id: r.request_id,
                        locations: r
                            .users
                            .iter()
                            .flat_map(|user| table.lookup(UserId(*user)))
                            .map(|l| wire::Location {
                                user: l.user.0,
                                device: l.device.0,
                                gateway: l.gateway,
                                connection: l.connection,
                                connect_count: l.connect_count,
                            })
                            .collect(),
                    })
                    .map(|reply| Ok(wire::LookupReplies { replies: vec![reply] }))
                    .collect(),
            };
            futures_util::stream::iter(replies)
        });
        Ok(Response::new(Box::pin(replies)))
    }
}

/// Runs a registry until its listener fails.
pub async fn run(
    listener: Box<dyn Listener>,
    clock: Clock,
    observer: Arc<dyn Observer>,
    tasks: Tasks,
    secret: ClusterSecret,
) -> Result<(), tonic::transport::Error> {
    let service = Arc::new(RegistryService {
        table: Mutex::default(),
        replies: Mutex::default(),
        clock,
        observer: Arc::clone(&observer),
        tasks: tasks.clone(),
    });
    let leases = Arc::clone(&service);
    tasks.spawn(Task::Chore("leases"), async move {
        loop {
            tokio::time::sleep(limits::HOUSEKEEPING_INTERVAL).await;
            let entries = leases.table().handle_timeout(leases.clock.now());
            leases.cleared(entries);
            let fills: Vec<_> = leases.replies().values().map(Queue::take_fill).collect();
            tell_fill(leases.observer.as_ref(), Level::Registered, Level::RegisteredBytes, fills);
            leases.tasks.tell_levels(leases.observer.as_ref());
        }
    });
    let server = RegistryServer::new(service).max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    incoming(serve_grpc().add_service(guarded(server, &secret, &observer)), listener).await
}
