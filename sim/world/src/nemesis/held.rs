//! What a strike holds while it lasts, by family.

use super::strike::Strike;
use super::{clients, clocks, disks, links, power, processes};

pub(super) enum State {
    Waiting,
    Active(Held),
    Over,
}

/// What a strike holds as long as it lasts, by family.
pub(super) enum Held {
    Processes(processes::Held),
    Power(power::Held),
    Links(links::Held),
    Disks(disks::Held),
    Clocks(clocks::Held),
    /// Faults of frames stand with the faults of clients, under the number of their fault.
    Frames,
    Clients(clients::Held),
}

/// The families of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Processes,
    Power,
    Links,
    Disks,
    Clocks,
    Frames,
    Clients,
}

impl Held {
    pub fn family(&self) -> Family {
        match self {
            Held::Processes(_) => Family::Processes,
            Held::Power(_) => Family::Power,
            Held::Links(_) => Family::Links,
            Held::Disks(_) => Family::Disks,
            Held::Clocks(_) => Family::Clocks,
            Held::Frames => Family::Frames,
            Held::Clients(_) => Family::Clients,
        }
    }
}

/// A strike and how far it is.
pub(super) struct Planned {
    pub strike: Strike,
    pub state: State,
}

impl Planned {
    /// The strike with what it holds, if it is active.
    pub fn active(&self) -> Option<(&Strike, &Held)> {
        match &self.state {
            State::Active(held) => Some((&self.strike, held)),
            State::Waiting | State::Over => None,
        }
    }
}
