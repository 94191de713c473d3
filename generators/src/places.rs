//! On which last mile each device is: shares of them, drawn from the seed.

use crate::rng::{below, key};
use squall_protocol::ids::mix;
use squall_scenarios::Profile;
use squall_scenarios::model::Network;

/// The last miles of a scenario, with who is on which.
#[derive(Debug, Clone)]
pub struct Places {
    key: u64,
    /// Devices whose draw (in `0..2^32`) is below this are on it, unless an earlier one has them.
    borders: Vec<(Profile, u64)>,
}

impl Places {
    pub fn new(network: &Network, seed: u64) -> Self {
        let total: f64 = network.last_mile.values().sum();
        let mut share = 0.0;
        let border = |(profile, weight): (&Profile, &f64)| {
            share += weight / total;
            (*profile, (share * (1u64 << 32) as f64) as u64)
        };
        Places { key: key(seed, "sites"), borders: network.last_mile.iter().map(border).collect() }
    }

    /// The profile of each place, in order.
    pub fn profiles(&self) -> impl Iterator<Item = Profile> + '_ {
        self.borders.iter().map(|(profile, _)| *profile)
    }

    /// The place of a device.
    pub fn of(&self, device: u32) -> usize {
        let draw = below(mix(self.key ^ mix(u64::from(device))), 1 << 32);
        self.borders.iter().position(|(_, below)| draw < *below).unwrap_or(self.borders.len() - 1)
    }
}
