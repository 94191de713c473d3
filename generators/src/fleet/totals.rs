//! What the fleet counts.

/// Counts over the whole run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetTotals {
    pub online: u64,
    pub online_peak: u64,
    pub connects: u64,
    pub reconnects: u64,
    pub sent: u64,
    pub acked: u64,
    pub refused: u64,
    pub resent: u64,
    pub delivered: u64,
    pub displayed: u64,
    pub discarded: u64,
    pub synced: u64,
    pub frames: u64,
    /// Frames that said how far a person has read, and times that a device was told how far others have.
    pub reads: u64,
    pub receipts: u64,
    /// Newer tokens that were taken over an open connection.
    pub refreshes: u64,
    /// Connections that a gateway closed for a token.
    pub tokens_refused: u64,
    /// Times that a device said that its person was writing, and that one was told so of somebody else.
    pub typed: u64,
    pub typing_shown: u64,
    /// Times that devices were told how it stands with somebody whom they watch.
    pub presences: u64,
    /// Times that devices asked to be told so, of members of one conversation.
    pub watches: u64,
}
