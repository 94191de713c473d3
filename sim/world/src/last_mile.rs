//! The fleet's network: our own, seen from the devices' side.

use crate::accounts::Account;
use crate::backbone::EDGE_PORT;
use crate::board::SharedBoard;
use squall_generators::rng::below;
use squall_generators::{Fleet, FrameFault, FrameFaults, FrameKind, LastMile};
use squall_network::{ConnId, HostId, Network, ProfileId};
use squall_protocol::ids::mix;
use std::io;

/// A share of devices on a last-mile profile; each profile has a site of its own.
pub struct Site {
    pub host: HostId,
    pub profile: ProfileId,
    /// Devices whose draw (in `0..2^32`) is below this are here, unless an earlier site has them.
    pub below: u64,
}

/// Where devices are and what they reach.
pub struct SimulatedLastMile {
    pub network: Network,
    pub gateways: Vec<HostId>,
    pub sites: Vec<Site>,
    pub seed: u64,
    pub board: SharedBoard,
}

impl SimulatedLastMile {
    fn site(&self, client: u32) -> &Site {
        let draw = below(mix(self.seed ^ mix(u64::from(client))), 1 << 32);
        self.sites.iter().find(|site| draw < site.below).unwrap_or(&self.sites[self.sites.len() - 1])
    }
}

impl LastMile for SimulatedLastMile {
    type Conn = ConnId;

    fn open(&mut self, client: u32, gateway: u32) -> ConnId {
        let _account = Account::Network.enter();
        let site = self.site(client);
        let gateway = self.gateways[gateway as usize];
        let moved = self.board.is_roused().then(|| self.board.lock().moved_to(client)).flatten();
        let profile = moved.unwrap_or(site.profile);
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
pub type SimulatedFleet = Fleet<SimulatedLastMile, NemesisFrameFaults>;

/// Faults of single frames and clients, as the nemesis has noted them on the board.
pub struct NemesisFrameFaults {
    pub board: SharedBoard,
}

impl FrameFaults for NemesisFrameFaults {
    fn fault(&mut self, _client: u32, frame: FrameKind) -> FrameFault {
        if frame == FrameKind::Ack {
            let mut board = self.board.lock();
            if !board.device_ack_cuts.is_empty() && board.strikes_device_ack() {
                return FrameFault::Cut;
            }
        }
        if self.board.is_roused() { self.board.lock().meddle(frame) } else { FrameFault::Pass }
    }

    fn reads(&mut self, client: u32) -> bool {
        !self.board.is_roused() || self.board.lock().reads(client)
    }
}
