//! What people see of each other: who writes, who has read what, who is online.

use super::{CONVERSATION, EPOCH_MS, History, PRESENCE_HOST, SHARD_HOST, id};
use crate::PresenceConfig;
use squall_history::{Entity, Event, Kind, What};
use squall_protocol::{ConversationId, Receipt, ReceiptCounts, Seq, UserId};

impl History {
    /// People watch, with 20 s to live and a grace of 10 s; users 1 and 2 have been in the conversation for longer than any lease.
    pub fn watching(&mut self) -> &mut Self {
        let (ttl_us, grace_us) = (20_000_000, 10_000_000);
        self.presence = Some(PresenceConfig { hosts: vec![PRESENCE_HOST], ttl_us, grace_us, is_timely: true });
        let kind = Kind::Send {
            conversation: CONVERSATION,
            sender: UserId(1),
            client_msg_id: id(1),
            body_hash: 1,
            what: What::Created,
            members: vec![UserId(1), UserId(2)],
        };
        self.push(1, kind).acked(1, 1, 1).wait(100_000_000)
    }

    /// A device watches a user in the conversation, or nobody.
    pub fn watch(&mut self, device: u64, users: &[u64]) -> &mut Self {
        let users = users.iter().copied().map(UserId).collect();
        self.push(device, Kind::Watch { conversation: CONVERSATION, users })
    }

    /// A device makes its user look offline, or does so no more.
    pub fn hide(&mut self, device: u64, on: bool) -> &mut Self {
        let user = UserId(self.user(device));
        self.push(device, Kind::Invisible { user, on })
    }

    /// A device shows somebody so; when they were last seen, in seconds of the run.
    pub fn shows(&mut self, device: u64, user: u64, state: &'static str, last_seen_s: u64) -> &mut Self {
        let last_seen_ms = if last_seen_s == 0 { 0 } else { EPOCH_MS + last_seen_s * 1_000 };
        self.push(device, Kind::Presence { user: UserId(user), state, last_seen_ms })
    }

    /// The device says that its person is writing.
    pub fn typing(&mut self, device: u64, conversation: ConversationId) -> &mut Self {
        self.push(device, Kind::Typing { conversation })
    }

    /// The device shows that this user is writing, or does so no more.
    pub fn typing_shown(&mut self, device: u64, conversation: ConversationId, user: u64) -> &mut Self {
        self.push(device, Kind::TypingShown { conversation, user: UserId(user) })
    }

    pub fn typing_over(&mut self, device: u64, conversation: ConversationId, user: u64) -> &mut Self {
        self.push(device, Kind::TypingOver { conversation, user: UserId(user) })
    }

    /// A commit leaves a device's cursor here.
    pub fn cursor_moved(&mut self, device: u64, up_to: u64) -> &mut Self {
        self.cursors_moved(device, up_to, 0)
    }

    /// The same, of what is delivered and what is read.
    pub fn cursors_moved(&mut self, device: u64, up_to: u64, read: u64) -> &mut Self {
        let user = UserId(self.user(device));
        let kind = Kind::Cursor { conversation: CONVERSATION, up_to: Seq(up_to), read: Seq(read), user };
        let t = self.waited + self.events.len() as u64;
        self.events.push(Event { t, at: Entity::Host(SHARD_HOST), kind });
        self
    }

    /// A person reads on a device.
    pub fn read(&mut self, device: u64, up_to: u64) -> &mut Self {
        self.push(device, Kind::Read { conversation: CONVERSATION, up_to: Seq(up_to) })
    }

    /// A device is told how far a user has come.
    pub fn told(&mut self, device: u64, user: u64, delivered: u64, read: u64) -> &mut Self {
        let receipt = Receipt { user: UserId(user), delivered: Seq(delivered), read: Seq(read) };
        self.push(device, Kind::Receipts { conversation: CONVERSATION, users: vec![receipt], counts: None })
    }

    /// A device is told how many have come to an entry.
    pub fn told_counts(&mut self, device: u64, up_to: u64, delivered: u64, read: u64) -> &mut Self {
        let counts = Some(ReceiptCounts { up_to: Seq(up_to), delivered, read });
        self.push(device, Kind::Receipts { conversation: CONVERSATION, users: Vec::new(), counts })
    }

    /// At the end a device counts this much as unread.
    pub fn counts_unread(&mut self, device: u64, read: u64, unread: u64) -> &mut Self {
        self.push(device, Kind::Unread { conversation: CONVERSATION, read: Seq(read), unread })
    }
}
