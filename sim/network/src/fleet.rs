//! What virtual clients, which have no tasks and no wakers, are told and get back.

use crate::ids::ConnId;

/// Something that a virtual client should know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FleetEvent {
    /// The token that was given to `open`.
    pub token: u64,
    pub conn: ConnId,
    pub kind: FleetEventKind,
}

/// What happened. After `Refused`, `ConnectTimedOut`, `Reset` and `TimedOut` the connection is released as soon as
/// nothing is left to read; after `Eof` it is the client's turn to close.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FleetEventKind {
    Connected,
    Refused,
    ConnectTimedOut,
    /// New bytes came; reported at most once an advance.
    Readable,
    /// There is room again after `write` answered that there was none.
    Writable,
    /// The peer has closed its side; everything before was delivered.
    Eof,
    Reset,
    TimedOut,
}

/// The result of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// This many bytes were appended; zero means that there is nothing now.
    Data(usize),
    /// This many bytes were appended, and the peer's FIN follows them.
    Eof(usize),
}
