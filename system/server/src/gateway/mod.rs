//! The gateway role: devices' WebSockets on one side, shards, registries and the bus on the other.
//!
//! `handshake` and `websocket` are its two halves on the wire, `connection` is one device's task, `table` holds all
//! connections, `channels` what they follow, `presence` whom they watch, `deadlines` looks at what is due for them, `drain` empties it when the gateway is to end. `uplinks` queues what goes to shards and registries; `shard_link`,
//! `registry_link`, `presence_link` and `downlink` (the bus) are the links. `state` is what all of these share; this file starts them. A
//! gateway has nothing durable: when it dies, its devices come back elsewhere and sync.

mod channels;
mod connection;
mod deadlines;
mod downlink;
mod drain;
mod handshake;
mod handshakes;
mod outgoing;
mod presence;
mod presence_link;
mod registry_link;
mod shard_link;
mod state;
mod table;
mod uplinks;
mod websocket;

use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::descriptors::are_exhausted;
use crate::links::Dialler;
use crate::net::Listener;
use crate::observer::{Observer, Point};
use crate::stop::Stop;
use crate::tasks::{Task, Tasks};
use crate::work::Work;
use handshakes::Handshakes;
use presence::Presences;
use squall_core::gateway::Keys;
use squall_core::rate::UserLimits;
use squall_protocol::{Role, limits};
use state::{Bounds, Gateway};
use std::io;
use std::sync::Arc;
use uplinks::Uplinks;

/// What a gateway is given.
pub struct Parts {
    pub index: u32,
    pub listener: Box<dyn Listener>,
    pub dialler: Dialler,
    pub cluster: Cluster,
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    pub keys: Keys,
    pub limits: UserLimits,
    /// Connections in their opening handshake, and as many again that have shown no token.
    pub greetings: usize,
    pub tasks: Tasks,
    pub stop: Stop,
}

/// Runs a gateway until it has drained as it was asked to, or its listener fails.
pub async fn run(mut parts: Parts) -> io::Result<()> {
    let uplinks = Uplinks::new(parts.cluster[Role::Messages].len(), parts.cluster[Role::Registry].len());
    let (hosts, shards) = (parts.cluster[Role::Presence].len(), parts.cluster[Role::Messages].len());
    let presences = Presences::new(hosts, shards, parts.limits.presence);
    let gateway = Arc::new(Gateway::new(
        parts.index,
        parts.clock,
        parts.observer,
        parts.keys,
        (uplinks, presences),
        parts.tasks,
        Bounds { users: parts.limits, greetings: parts.greetings },
    ));
    shard_link::start(&gateway, &parts.dialler, &parts.cluster[Role::Messages]);
    registry_link::start(&gateway, &parts.dialler, &parts.cluster[Role::Registry]);
    downlink::start(&gateway, &parts.dialler, &parts.cluster[Role::Bus]);
    let (hosts, shards) = (&parts.cluster[Role::Presence], &parts.cluster[Role::Messages]);
    presence_link::start(&gateway, &parts.dialler, hosts, shards);
    gateway.tasks.spawn(Task::Chore("deadlines"), deadlines::run(Arc::clone(&gateway)));
    gateway.tasks.spawn(Task::Chore("channels"), channels::run(Arc::clone(&gateway)));
    if gateway.presences.are_kept() {
        gateway.tasks.spawn(Task::Chore("presence"), presence::run(Arc::clone(&gateway)));
    }
    let handshakes = Handshakes::new(parts.greetings);
    let mut told = None;
    loop {
        let accepted = tokio::select! {
            biased;
            window = parts.stop.requested() => {
                // Whoever calls now is refused by the kernel, and goes elsewhere at once.
                drop(parts.listener);
                drain::run(&gateway, &handshakes, window).await;
                return Ok(());
            }
            accepted = parts.listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            // Somebody who has shown no token makes room, if there is one, for somebody who may have one.
            Err(error) if are_exhausted(&error) => {
                if !handshakes.end_oldest() {
                    gateway.table().end_oldest_greeting();
                }
                let now = gateway.clock.now();
                if told.is_none_or(|told| now.since(told) >= limits::DESCRIPTORS_TOLD_EVERY) {
                    told = Some(now);
                    gateway.observer.passed(&Point::DescriptorsExhausted);
                }
                tokio::time::sleep(limits::LINK_BACKOFF_MIN).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let gateway = Arc::clone(&gateway);
        let accepted = gateway.clock.now();
        let tasks = gateway.tasks.clone();
        let handshake = handshakes.begin();
        tasks.spawn(Task::Handshake, async move {
            // The handshake's own state goes away with this task; what stays is the connection's.
            let greeted = tokio::select! {
                biased;
                greeted = tokio::time::timeout(limits::HELLO_LIMIT, handshake::accept(stream)) => greeted,
                () = handshake.ended() => return,
            };
            drop(handshake);
            gateway.observer.worked(Work::Handshake, 1);
            if let Ok(Ok(upgraded)) = greeted {
                connection::spawn(gateway, upgraded, accepted);
            }
        });
    }
}
