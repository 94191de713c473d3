//! How full is what must be bounded: queues, debts and tables of the roles, told at each housekeeping.

use squall_protocol::limits;

/// Something that fills and empties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Entries that a shard has yet to commit, and those whose senders wait.
    Staged,
    Waiting,
    /// Devices that owe a shard an ack, by conversation.
    Debts,
    /// Cursors that have moved since a shard's last commit.
    Cursors,
    /// Conversations in a shard's memory.
    Conversations,
    /// The fullest queue of a shard to a registry, and to a bus.
    ToRegistry,
    ToBus,
    /// The fullest queue of a gateway to a shard, and to a registry.
    Requests,
    Registrations,
}

impl Level {
    pub const ALL: [Level; 9] = [
        Level::Staged,
        Level::Waiting,
        Level::Debts,
        Level::Cursors,
        Level::Conversations,
        Level::ToRegistry,
        Level::ToBus,
        Level::Requests,
        Level::Registrations,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Level::Staged => "entries to be committed",
            Level::Waiting => "entries whose senders wait",
            Level::Debts => "open debts",
            Level::Cursors => "cursors to be written",
            Level::Conversations => "conversations in memory",
            Level::ToRegistry => "look-ups in a queue to a registry",
            Level::ToBus => "deliveries in a queue to a bus",
            Level::Requests => "requests in a queue to a shard",
            Level::Registrations => "registrations in a queue to a registry",
        }
    }

    /// The most that there may be, where that has a name.
    pub const fn limit(self) -> Option<usize> {
        match self {
            Level::Staged | Level::Waiting => Some(limits::MAX_STAGED),
            Level::Conversations => Some(limits::MAX_CACHED_CONVERSATIONS),
            Level::ToRegistry | Level::ToBus | Level::Requests | Level::Registrations => {
                Some(limits::MAX_LINK_QUEUE)
            }
            // As many as devices are in conversations.
            Level::Debts | Level::Cursors => None,
        }
    }

    /// Whether it empties again when nothing is said any more; a cache does not.
    pub const fn returns(self) -> bool {
        !matches!(self, Level::Conversations)
    }
}
