//! The gateway role: devices' WebSockets on one side, shards, registries and the bus on the other.
//!
//! `handshake` and `websocket` are its two halves on the wire, `connection` is one device's task, `table` holds all connections,
//! `uplinks` are the links to other roles, `downlink` what the bus brings. A gateway has nothing durable: when it dies,
//! its devices come back elsewhere and sync.

mod connection;
mod deadlines;
mod downlink;
mod handshake;
mod outgoing;
mod table;
mod uplinks;
mod websocket;

use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::net::{Connector, Listener};
use crate::observer::Observer;
use squall_protocol::token::TokenSecret;
use squall_protocol::{Role, limits};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::Table;
use uplinks::Uplinks;

/// What a gateway is given.
pub struct Parts {
    pub index: u32,
    pub listener: Box<dyn Listener>,
    pub connector: Arc<dyn Connector>,
    pub cluster: Cluster,
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    pub secret: TokenSecret,
}

/// What all tasks of a gateway share.
pub struct Gateway {
    pub index: u32,
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    pub secret: TokenSecret,
    pub uplinks: Uplinks,
    table: Mutex<Table>,
}

impl Gateway {
    pub fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a gateway until its listener fails.
pub async fn run(mut parts: Parts) -> io::Result<()> {
    let gateway = Arc::new(Gateway {
        index: parts.index,
        clock: parts.clock,
        observer: parts.observer,
        secret: parts.secret,
        uplinks: Uplinks::new(parts.cluster[Role::Messages].len(), parts.cluster[Role::Registry].len()),
        table: Mutex::new(Table::default()),
    });
    uplinks::start(&gateway, &parts.connector, &parts.cluster);
    downlink::start(&gateway, &parts.connector, &parts.cluster);
    tokio::spawn(deadlines::run(Arc::clone(&gateway)));
    loop {
        let stream = parts.listener.accept().await?;
        let gateway = Arc::clone(&gateway);
        let accepted = gateway.clock.now();
        tokio::spawn(async move {
            // The handshake's own state goes away with this task; what stays is the connection's.
            let greeted = tokio::time::timeout(limits::HELLO_LIMIT, handshake::accept(stream)).await;
            if let Ok(Ok(upgraded)) = greeted {
                connection::spawn(gateway, upgraded, accepted);
            }
        });
    }
}
