//! The fleet's network: our own, seen from the devices' side.

use crate::hosts::backbone::EDGE_PORT;
use crate::memory::accounts::Account;
use squall_generators::client_faults::SharedClientFaults;
use squall_generators::places::Places;
use squall_generators::{Fleet, LastMile};
use squall_network::{ConnId, HostId, Network, ProfileId};
use squall_scenarios::Profile;
use std::collections::BTreeMap;
use std::io;

/// The devices on a last-mile profile; each profile has a site of its own.
pub struct Site {
    pub host: HostId,
    pub profile: ProfileId,
}

/// Where devices are and what they reach.
pub struct SimulatedLastMile {
    pub network: Network,
    pub gateways: Vec<HostId>,
    pub sites: Vec<Site>,
    /// Who is at which site.
    pub places: Places,
    /// Those that faults put devices on.
    pub profiles: BTreeMap<Profile, ProfileId>,
    pub faults: SharedClientFaults,
}

impl SimulatedLastMile {
    pub fn site(&self, client: u32) -> &Site {
        &self.sites[self.places.of(client)]
    }
}

impl LastMile for SimulatedLastMile {
    type Conn = ConnId;

    fn open(&mut self, client: u32, gateway: u32) -> ConnId {
        let _account = Account::Network.enter();
        let site = self.site(client);
        let gateway = self.gateways[gateway as usize];
        let moved = self.faults.ever().then(|| self.faults.lock().profile_of(client)).flatten();
        let profile = moved.map_or(site.profile, |to| self.profiles[&to]);
        self.network.open(site.host, gateway, EDGE_PORT, profile, u64::from(client))
    }

    fn write(&mut self, conn: ConnId, bytes: &[u8]) -> io::Result<usize> {
        let _account = Account::Network.enter();
        self.network.write(conn, bytes)
    }

    fn read(&mut self, conn: ConnId, into: &mut Vec<u8>) -> io::Result<()> {
        self.network.read(conn, into).map(|_| ())
    }

    fn close(&mut self, conn: ConnId) {
        let _account = Account::Network.enter();
        // A connection that the network has already ended needs no closing.
        let _ = self.network.close(conn);
    }

    fn cut(&mut self, conn: ConnId) {
        self.network.cut(conn);
    }
}

/// The fleet on the simulated network, its frames faulted by the nemesis.
pub type SimulatedFleet = Fleet<SimulatedLastMile, SharedClientFaults>;
