//! Small identifiers that callers hold instead of references.
//!
//! **Invariant:** a [`ConnId`] whose connection was released never names a later connection, because the slot's
//! generation has moved on. Checked by `stale_ids_are_refused_after_the_slot_is_reused` in `tests/fleet.rs`.

/// Simulated microseconds since the start of the run.
pub type Micros = u64;

/// A time that never comes.
pub const NEVER: Micros = Micros::MAX;

/// A host, or a site on which virtual clients live. Dense from zero, in order of [`crate::Network::add_host`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub u32);

impl HostId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A registered [`crate::Profile`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProfileId(pub(crate) u16);

/// A fault that was added to the network; its hits can be asked for after its removal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FaultId(pub(crate) u32);

/// A connection: its slot, and the generation that tells it from the slot's earlier users.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl ConnId {
    /// The slot, the number that appears in traces and digests.
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// How many connections used the slot before this one.
    pub fn generation(self) -> u32 {
        self.generation
    }
}

/// An end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// The end that asked for the connection.
    Opener = 0,
    /// The end that accepted it.
    Acceptor = 1,
}

impl Side {
    pub(crate) fn of(index: usize) -> Self {
        if index == 0 { Side::Opener } else { Side::Acceptor }
    }
}
