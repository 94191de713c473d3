//! The second opinion: hosts in a `turmoil::Sim`, which share its TCP and are stepped at every tick. The only file that names turmoil.
//!
//! Devices reach gateways over our network here too, so each host has a task that wakes what the network has for it.

use super::backbone::split;
use super::boot::{Common, EPOCH_US, software};
use super::probe::Probe;
use crate::disk::Disk;
use crate::memory::accounts::Account;
use squall_generators::rng::key;
use squall_protocol::HostName;
use squall_runtime::interpose::{HostContext, enter_host};
use squall_server::net::{BoxFuture, BoxStream, Connector, Listener};
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// All hosts of a run on turmoil's TCP.
pub struct TurmoilHosts {
    sim: turmoil::Sim<'static>,
    context: HostContext,
    disks: Vec<Disk>,
}

/// What turmoil can do to the link between two hosts.
#[derive(Debug, Clone, Copy)]
pub enum LinkFault {
    Partition,
    PartitionOneWay,
    Hold,
}

impl TurmoilHosts {
    pub fn new(common: &Common, context: HostContext) -> Self {
        let mut builder = turmoil::Builder::new();
        builder
            .tick_duration(common.tick)
            .rng_seed(key(common.seed, "all hosts"))
            .epoch(std::time::UNIX_EPOCH + Duration::from_micros(EPOCH_US))
            // Runs end when the scenario does.
            .simulation_duration(Duration::from_secs(u64::from(u32::MAX)))
            .tcp_capacity(65_536)
            .min_message_latency(Duration::from_micros(200))
            .max_message_latency(Duration::from_millis(2));
        // tokio reads the clock when a runtime is built.
        let guard = enter_host(&context);
        let charged = Account::World.enter();
        let sim = builder.build();
        drop((guard, charged));
        TurmoilHosts { sim, context, disks: Vec::new() }
    }

    fn within<T>(&mut self, act: impl FnOnce(&mut turmoil::Sim<'static>) -> T) -> T {
        let _guards = (enter_host(&self.context), Account::World.enter());
        act(&mut self.sim)
    }

    /// Adds a host, running.
    pub fn add(&mut self, host: HostName, probe: &Arc<Probe>, common: &Common) {
        self.disks.extend(probe.disk.clone());
        let (network, site) = (probe.network.clone(), probe.host);
        let software = software(host, probe, common);
        self.within(|sim| {
            sim.host(host.to_string(), move || {
                let (network, role) = (network.clone(), software());
                async move {
                    tokio::spawn(async move {
                        loop {
                            for waker in std::future::poll_fn(|cx| network.poll_woken(site, cx)).await {
                                waker.wake();
                            }
                        }
                    });
                    role.await;
                    Ok(())
                }
            });
        });
    }

    /// Runs all hosts for a tick. What they want to commit begins then.
    pub fn step(&mut self) -> Result<(), String> {
        self.within(|sim| sim.step().map(|_| ()).map_err(|error| error.to_string()))?;
        self.disks.iter().for_each(Disk::begin_proposed);
        Ok(())
    }

    pub fn crash(&mut self, host: HostName) {
        self.within(|sim| sim.crash(host.to_string()));
    }

    pub fn restart(&mut self, host: HostName) {
        self.within(|sim| sim.bounce(host.to_string()));
    }

    /// Sets the links between hosts to these faults, and mends all others.
    pub fn set_links(&self, hosts: &[HostName], faults: impl Iterator<Item = (HostName, HostName, LinkFault)>) {
        for (i, a) in hosts.iter().enumerate() {
            for b in &hosts[i + 1..] {
                self.sim.repair(a.to_string(), b.to_string());
                self.sim.release(a.to_string(), b.to_string());
            }
        }
        for (a, b, fault) in faults {
            let (a, b) = (a.to_string(), b.to_string());
            match fault {
                LinkFault::Partition => self.sim.partition(a, b),
                LinkFault::PartitionOneWay => self.sim.partition_oneway(a, b),
                LinkFault::Hold => self.sim.hold(a, b),
            }
        }
    }

    pub fn end(self) {
        let TurmoilHosts { sim, context, .. } = self;
        let _guards = (enter_host(&context), Account::World.enter());
        drop(sim);
    }
}

/// A listener on turmoil's TCP.
pub async fn listen(port: u16) -> io::Result<Box<dyn Listener>> {
    let listener = turmoil::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    Ok(Box::new(TurmoilListener(listener)))
}

/// A connector on turmoil's TCP.
pub fn connector() -> Arc<dyn Connector> {
    Arc::new(TurmoilConnector)
}

struct TurmoilListener(turmoil::net::TcpListener);

impl Listener for TurmoilListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async move {
            let (stream, _) = self.0.accept().await?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
}

struct TurmoilConnector;

impl Connector for TurmoilConnector {
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<BoxStream>> {
        let address = address.to_owned();
        Box::pin(async move {
            let (name, port) = split(&address)?;
            Ok(Box::new(turmoil::net::TcpStream::connect((name, port)).await?) as BoxStream)
        })
    }
}
