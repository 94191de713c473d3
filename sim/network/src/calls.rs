//! What a host has called for in a turn, kept until the turn ends; `turn` says why, and carries it out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::conn::Attempt;
use crate::ids::ConnId;

/// What a host has called for in a turn, until it takes effect.
#[derive(Default)]
pub(crate) struct HostCalls {
    pub calls: Vec<Call>,
    /// The bytes of its writes, one after the other.
    pub written: Vec<u8>,
}

impl HostCalls {
    pub fn memory_bytes(&self) -> usize {
        self.calls.capacity() * size_of::<Call>() + self.written.capacity()
    }
}

/// One call that changes something.
pub(crate) enum Call {
    Write { conn: ConnId, side: u8, len: u32 },
    Consume { conn: ConnId, side: u8, count: u32 },
    Shutdown { conn: ConnId, side: u8 },
    Close { conn: ConnId, side: u8 },
    Reject(ConnId),
    Connect(Box<Attempt>, Arc<Dial>),
    HangUp(Arc<Dial>),
}

/// Where an attempt to connect finds its connection.
pub(crate) struct Dial {
    /// Who connects.
    pub host: usize,
    state: Mutex<DialState>,
}

pub(crate) enum DialState {
    /// It begins when the turn ends, and this is who waits for it.
    Noted(Option<Waker>),
    Begun(ConnId),
    /// Somebody else has the connection, or nobody.
    Over,
}

impl Dial {
    pub fn new(host: usize, state: DialState) -> Self {
        Dial { host, state: Mutex::new(state) }
    }

    pub fn lock(&self) -> MutexGuard<'_, DialState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
