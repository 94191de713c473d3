//! How full is what must be bounded: queues, debts and tables of the roles, told at each housekeeping.

use squall_protocol::limits;

/// Something that fills and empties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Entries that a shard has staged or is committing, their bytes, and those whose senders wait.
    Staged,
    StagedBytes,
    Waiting,
    /// Devices that owe a shard an ack, by conversation.
    Debts,
    /// Cursors that have moved since a shard's last commit and are to be written soon.
    Cursors,
    /// Conversations in a shard's memory.
    Conversations,
    /// The fullest queue of a shard to a registry, to a bus, and of answers to a gateway; in items and bytes, like all queues.
    ToRegistry,
    ToRegistryBytes,
    ToBus,
    ToBusBytes,
    Replies,
    ReplyBytes,
    /// What the devices of a gateway wait to be read for them by a shard, where most wait.
    Reads,
    /// The fullest queue of a gateway to a shard, and to a registry.
    Requests,
    RequestBytes,
    Registrations,
    RegistrationBytes,
    /// The fullest queue of a registry to a gateway.
    Registered,
    RegisteredBytes,
    /// The fullest topic of a bus.
    Topic,
    TopicBytes,
    /// A role's tasks: those that keep links open, those of gateways' sessions and those that read for these, opening handshakes, and
    /// those that live as long as the role.
    Links,
    Sessions,
    Readers,
    Handshakes,
    Chores,
    /// A gateway's connections that have shown no token.
    Greeting,
    /// Channels that a gateway follows, devices that it tells of them, and bytes of entries that it keeps; entries and bytes of the one
    /// of which it keeps most.
    Followed,
    Followers,
    TailsBytes,
    Tail,
    TailBytes,
    /// The fullest queue of a role for notices, wherever they go; in items and bytes. For a gateway also what waits for devices.
    Notices,
    NoticeBytes,
    DeviceNotices,
    DeviceNoticeBytes,
    /// The fullest queue of a gateway to a presence host, and of leases to a shard.
    ToPresence,
    ToPresenceBytes,
    Leases,
    LeaseBytes,
    /// The fullest queue of a presence host to a gateway.
    Presences,
    PresenceBytes,
    /// Watches of a gateway's devices, and users whom they watch.
    Watches,
    Watched,
    /// Users who have a device, by a presence host; those whose last time it remembers; and users of whom a gateway wants to hear.
    Present,
    LastSeen,
    Subscribed,
}

impl Level {
    pub const ALL: [Level; 47] = [
        Level::Staged,
        Level::StagedBytes,
        Level::Waiting,
        Level::Debts,
        Level::Cursors,
        Level::Conversations,
        Level::ToRegistry,
        Level::ToRegistryBytes,
        Level::ToBus,
        Level::ToBusBytes,
        Level::Replies,
        Level::ReplyBytes,
        Level::Reads,
        Level::Requests,
        Level::RequestBytes,
        Level::Registrations,
        Level::RegistrationBytes,
        Level::Registered,
        Level::RegisteredBytes,
        Level::Topic,
        Level::TopicBytes,
        Level::Links,
        Level::Sessions,
        Level::Readers,
        Level::Handshakes,
        Level::Chores,
        Level::Greeting,
        Level::Followed,
        Level::Followers,
        Level::TailsBytes,
        Level::Tail,
        Level::TailBytes,
        Level::Notices,
        Level::NoticeBytes,
        Level::DeviceNotices,
        Level::DeviceNoticeBytes,
        Level::ToPresence,
        Level::ToPresenceBytes,
        Level::Leases,
        Level::LeaseBytes,
        Level::Presences,
        Level::PresenceBytes,
        Level::Watches,
        Level::Watched,
        Level::Present,
        Level::LastSeen,
        Level::Subscribed,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Level::Staged => "entries to be committed",
            Level::StagedBytes => "bytes of entries to be committed",
            Level::Waiting => "entries whose senders wait",
            Level::Debts => "open debts",
            Level::Cursors => "cursors to be written",
            Level::Conversations => "conversations in memory",
            Level::ToRegistry => "look-ups in a queue to a registry",
            Level::ToRegistryBytes => "bytes of look-ups in a queue to a registry",
            Level::ToBus => "deliveries in a queue to a bus",
            Level::ToBusBytes => "bytes of deliveries in a queue to a bus",
            Level::Replies => "answers in a queue to a gateway",
            Level::ReplyBytes => "bytes of answers in a queue to a gateway",
            Level::Reads => "pages and heads to be read for a gateway",
            Level::Requests => "requests in a queue to a shard",
            Level::RequestBytes => "bytes of requests in a queue to a shard",
            Level::Registrations => "registrations in a queue to a registry",
            Level::RegistrationBytes => "bytes of registrations in a queue to a registry",
            Level::Registered => "confirmations in a queue to a gateway",
            Level::RegisteredBytes => "bytes of confirmations in a queue to a gateway",
            Level::Topic => "deliveries in a topic",
            Level::TopicBytes => "bytes of deliveries in a topic",
            Level::Links => "tasks of links",
            Level::Sessions => "tasks of gateways' sessions",
            Level::Readers => "tasks that read for a gateway",
            Level::Handshakes => "tasks of opening handshakes",
            Level::Chores => "tasks of its own",
            Level::Greeting => "connections without a token",
            Level::Followed => "channels followed",
            Level::Followers => "devices that follow channels",
            Level::Notices => "notices in a queue",
            Level::NoticeBytes => "bytes of notices in a queue",
            Level::DeviceNotices => "notices that wait for devices",
            Level::DeviceNoticeBytes => "bytes of notices that wait for devices",
            Level::ToPresence => "devices and questions in a queue to a presence host",
            Level::ToPresenceBytes => "bytes of devices and questions in a queue to a presence host",
            Level::Leases => "leases in a queue to a shard",
            Level::LeaseBytes => "bytes of leases in a queue to a shard",
            Level::Presences => "changes in a queue of a presence host to a gateway",
            Level::PresenceBytes => "bytes of changes in a queue of a presence host to a gateway",
            Level::Watches => "watches",
            Level::Watched => "users watched",
            Level::Present => "users who are here",
            Level::LastSeen => "users remembered who are away",
            Level::Subscribed => "users of whom gateways want to hear",
            Level::TailsBytes => "bytes of channels' last entries",
            Level::Tail => "last entries of a channel",
            Level::TailBytes => "bytes of a channel's last entries",
        }
    }

    /// The most that there may be, where that has a name.
    pub const fn limit(self) -> Option<usize> {
        match self {
            Level::Staged | Level::Waiting => Some(limits::MAX_STAGED),
            Level::StagedBytes => Some(limits::MAX_STAGED_BYTES),
            Level::Conversations => Some(limits::MAX_CACHED_CONVERSATIONS),
            Level::Reads => Some(limits::MAX_READS_WAITING),
            Level::ToRegistry
            | Level::ToBus
            | Level::Replies
            | Level::Requests
            | Level::Registrations
            | Level::Registered
            | Level::ToPresence
            | Level::Leases
            | Level::Presences
            | Level::Topic => Some(limits::MAX_LINK_QUEUE),
            Level::ToRegistryBytes
            | Level::ToBusBytes
            | Level::ReplyBytes
            | Level::RequestBytes
            | Level::RegistrationBytes
            | Level::RegisteredBytes
            | Level::ToPresenceBytes
            | Level::LeaseBytes
            | Level::PresenceBytes
            | Level::TopicBytes => Some(limits::MAX_LINK_QUEUE_BYTES),
            Level::Greeting => Some(limits::MAX_GREETINGS),
            Level::Notices => Some(limits::MAX_NOTICES),
            Level::NoticeBytes => Some(limits::MAX_NOTICE_BYTES),
            Level::DeviceNoticeBytes => Some(limits::MAX_DEVICES_NOTICE_BYTES),
            Level::Watched => Some(limits::MAX_WATCHED_USERS),
            Level::LastSeen => Some(limits::MAX_LAST_SEEN),
            // As many as there are devices, each with so many of its own.
            Level::Watches | Level::Present | Level::Subscribed => None,
            Level::TailsBytes => Some(limits::MAX_TAILS_BYTES),
            Level::Tail => Some(limits::MAX_TAIL_ENTRIES),
            Level::TailBytes => Some(limits::MAX_TAIL_BYTES),
            // As many as devices are in conversations.
            Level::Debts | Level::Cursors | Level::Followed | Level::Followers | Level::DeviceNotices => None,
            // As many as there are roles to have links with; of handshakes as many as whoever holds them says.
            Level::Links | Level::Sessions | Level::Readers | Level::Handshakes | Level::Chores => None,
        }
    }

    /// Whether it empties again when nothing is said any more; a cache does not, nor does who is here and is watched.
    pub const fn returns(self) -> bool {
        !matches!(
            self,
            Level::Conversations
                | Level::Followed
                | Level::Followers
                | Level::TailsBytes
                | Level::Tail
                | Level::TailBytes
                | Level::Watches
                | Level::Watched
                | Level::Present
                | Level::LastSeen
                | Level::Subscribed
        )
    }

    /// Whether there may be some at any moment, and none stays.
    pub const fn passes(self) -> bool {
        matches!(
            self,
            Level::Handshakes
                | Level::Greeting
                | Level::ToPresence
                | Level::ToPresenceBytes
                | Level::Leases
                | Level::LeaseBytes
                | Level::Notices
                | Level::NoticeBytes
        )
    }
}
