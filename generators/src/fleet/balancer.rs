//! Which gateway a client's next connection goes to, as a balancer in front of the gateways chooses, and how many each has.
//!
//! A user's devices have a home: the first of all gateways in the user's rendezvous order. A device that its person takes up goes
//! home. After a connection that failed or was lost the balancer sends it to one of the others, drawn for each client and
//! attempt: it has seen that gateway fail as well, and spreads what it takes from it. Where a connection holds it stays, so a gateway
//! that comes back fills up again as people put their devices away and take them up, and not in one rush.

use crate::rng::below;
use squall_protocol::UserId;
use squall_protocol::ids::{mix, rendezvous};

/// Devices that are connected to a gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GatewayTotals {
    pub connected: u64,
    pub connected_peak: u64,
}

/// The balancer in front of all gateways.
pub(super) struct Balancer {
    key: u64,
    gateways: Vec<GatewayTotals>,
}

impl Balancer {
    pub fn new(key: u64, gateways: u32) -> Self {
        Balancer { key, gateways: vec![GatewayTotals::default(); gateways as usize] }
    }

    /// Where a connection goes. `failed` is the gateway that the client has just lost; `attempt` counts all of its attempts.
    pub fn choose(&self, user: UserId, client: u32, attempt: u64, failed: Option<u16>) -> u16 {
        let gateways = self.gateways.len() as u64;
        match failed {
            Some(failed) if gateways > 1 => {
                let draw = mix(self.key ^ mix(mix(u64::from(client)) ^ attempt));
                let other = below(draw, gateways - 1) as u16;
                other + u16::from(other >= failed)
            }
            _ => rendezvous(user.0, gateways as u32) as u16,
        }
    }

    pub fn connected(&mut self, gateway: u16) {
        let totals = &mut self.gateways[usize::from(gateway)];
        totals.connected += 1;
        totals.connected_peak = totals.connected_peak.max(totals.connected);
    }

    pub fn disconnected(&mut self, gateway: u16) {
        self.gateways[usize::from(gateway)].connected -= 1;
    }

    pub fn totals(&self) -> &[GatewayTotals] {
        &self.gateways
    }
}
