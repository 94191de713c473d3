//! What is remembered of each message, device, conversation, and of each device in each conversation.
//!
//! Rows are small and hold no heap of their own but a conversation's reference log. Sequence numbers are kept in 32 bits;
//! one beyond that is taken for 2³² − 1, which no log reaches.

use super::backlog::Links;
use super::intervals::Range;
use super::log::Log;
use super::table::Row;
use squall_history::What;
use squall_protocol::ids::mix;
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, Seq, UserId};

/// No such row.
pub(crate) const NONE: u32 = u32::MAX;

pub(crate) fn small(seq: Seq) -> u32 {
    u32::try_from(seq.0).unwrap_or(u32::MAX)
}

/// What is known of a message. One bit each, so that a message takes 52 bytes.
pub(crate) mod known {
    pub const SENT: u32 = 1;
    pub const ACKED: u32 = 1 << 1;
    pub const REFUSED: u32 = 1 << 2;
    pub const RESENT: u32 = 1 << 3;
    /// Displayed on a device.
    pub const SHOWN: u32 = 1 << 4;
    /// Displayed at least twice, on one device or on two.
    pub const SHOWN_TWICE: u32 = 1 << 5;
    /// The audit found it in a log.
    pub const LOGGED: u32 = 1 << 6;
    /// The audit found it at the place that its ack named, with its content.
    pub const LOGGED_AS_ACKED: u32 = 1 << 7;
    /// Somebody had seen an entry of the conversation before this was sent.
    pub const SENT_TO_KNOWN: u32 = 1 << 8;
    /// It creates its conversation, or changes who is a member.
    pub const CREATION: u32 = 1 << 9;
    pub const CHANGE: u32 = 1 << 10;
    pub const ANSWERED: u32 = ACKED | REFUSED;
}

/// A message, from the first time that anybody named it.
pub(crate) struct Message {
    id: [u32; 4],
    /// The device that sent it, in the conversation; `NONE` when nobody has.
    pub pair: u32,
    /// Its number among the sends of its device in its conversation, from 1.
    pub order: u32,
    /// The place that its ack named, else the first place where it was seen; 0 for none.
    pub seq: u32,
    /// A fingerprint of conversation, sender, body and kind.
    pub content: u32,
    pub known: u32,
    /// When somebody was first seen to have it, or its ack; 0 for never.
    pub seen_ms: u32,
    /// When its person sent it.
    pub sent_ms: u32,
    /// The number at its author's device and the lower half of when it was stored, as the first copy has them; 0 before it.
    pub client_seq: u32,
    pub stored_ms: u32,
}

impl Message {
    pub fn new(id: ClientMsgId) -> Self {
        let v = id.0;
        let id = [(v >> 96) as u32, (v >> 64) as u32, (v >> 32) as u32, v as u32];
        Message {
            id,
            pair: NONE,
            order: 0,
            seq: 0,
            content: 0,
            known: 0,
            seen_ms: 0,
            sent_ms: 0,
            client_seq: 0,
            stored_ms: 0,
        }
    }

    pub fn id(&self) -> ClientMsgId {
        ClientMsgId(self.id.iter().fold(0, |v, part| v << 32 | u128::from(*part)))
    }

    pub fn is(&self, what: u32) -> bool {
        self.known & what != 0
    }
}

impl Row for Message {
    type Key = ClientMsgId;
    fn key(&self) -> ClientMsgId {
        self.id()
    }
    fn hash(key: ClientMsgId) -> u64 {
        mix((key.0 >> 64) as u64 ^ mix(key.0 as u64))
    }
}

/// The fingerprint of a message's content.
pub(crate) fn content(conversation: ConversationId, sender: UserId, body_hash: u64, what: What) -> u32 {
    let what = match what {
        What::Text => 0,
        What::Created => 1,
        What::Joined(user) => mix(user.0) ^ 2,
        What::Left(user) => mix(user.0) ^ 3,
        What::JoinedSeveral => 4,
        What::LeftSeveral => 5,
        What::CreatedChannel => 6,
        What::Role { user, rank } => mix(user.0) ^ (7 + rank as u64),
        What::Setting { right, who } => 16 + 4 * right as u64 + who as u64,
        What::Named => 10,
        What::Blocked(is_so) => 11 + u64::from(is_so),
        What::ForGood(is_so) => 13 + u64::from(is_so),
    };
    let all = [conversation.spread(), sender.0, body_hash, what].into_iter().fold(0, |d, v| mix(d ^ v));
    (all >> 32) as u32
}

/// `Device::gone_since` of a device that is connected.
pub(crate) const CONNECTED: u64 = u64::MAX;

/// What is the case with a device. One bit each.
pub(crate) mod mark {
    /// It said good-bye rather than noticing a loss.
    pub const LEFT: u8 = 1;
    /// Connected through the quiet phase, so everything is owed to it.
    pub const REACHABLE: u8 = 1 << 1;
    /// A member attacks with it: what it does to itself is its own.
    pub const INSIDER: u8 = 1 << 2;
    /// Its user is known.
    pub(super) const HAS_USER: u8 = 1 << 3;
}

/// A device. There are millions: 56 bytes.
pub(crate) struct Device {
    pub id: DeviceId,
    user: UserId,
    /// Sends and resends.
    pub transmissions: u32,
    /// When the device lost or left its connection; `CONNECTED` while it has one, or has never had one.
    pub gone_since: u64,
    /// When its latest connection began.
    pub connected_ms: u32,
    /// When the latest page came, and how many have come with no pause between.
    pub page_ms: u32,
    /// Until when something takes long on the path between it and its gateway.
    pub slow_until_ms: u32,
    /// When a page, a delivery or an ack last came to it.
    pub heard_ms: u32,
    pub pages: u16,
    /// The gateway of its latest connection, by its number.
    pub gateway: u16,
    /// How often it has connected, as far as that can be counted.
    connects: u16,
    marks: u8,
    /// The latest of its conversations.
    pub first_pair: u32,
}

const _: () = assert!(size_of::<Device>() == 56);

impl Device {
    pub fn new(id: DeviceId) -> Self {
        Device {
            id,
            user: UserId(0),
            transmissions: 0,
            gone_since: CONNECTED,
            connected_ms: 0,
            page_ms: 0,
            slow_until_ms: 0,
            heard_ms: 0,
            pages: 0,
            gateway: 0,
            connects: 0,
            marks: 0,
            first_pair: NONE,
        }
    }

    pub fn user(&self) -> Option<UserId> {
        self.is(mark::HAS_USER).then_some(self.user)
    }

    pub fn set_user(&mut self, user: UserId) {
        self.user = user;
        self.set(mark::HAS_USER, true);
    }

    pub fn is(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    pub fn set(&mut self, mark: u8, is: bool) {
        self.marks = if is { self.marks | mark } else { self.marks & !mark };
    }

    pub fn count_connect(&mut self) {
        self.connects = self.connects.saturating_add(1);
    }

    pub fn has_reconnected(&self) -> bool {
        self.connects > 1
    }
}

impl Row for Device {
    type Key = DeviceId;
    fn key(&self) -> DeviceId {
        self.id
    }
    fn hash(key: DeviceId) -> u64 {
        mix(key.0)
    }
}

/// A conversation.
pub(crate) struct Conversation {
    pub id: ConversationId,
    /// The message at each place from 1, set by the first witness.
    pub log: Log,
    /// The last place that the audit found filled.
    pub head: u32,
    /// The first device that sent here, and whether a second one did.
    pub sender: u32,
    pub several_senders: bool,
    /// Somebody joined or left after the creation, says the audit.
    pub members_changed: bool,
    /// The audit found its creation, so that membership is known.
    pub created: bool,
    /// The shard that owns it, by its place in the configuration.
    pub shard: u16,
    /// How often the shard had restarted when the first and the latest entry were first seen.
    pub first_epoch: u16,
    pub last_epoch: u16,
    /// The latest of its devices, and how many are away and owed what it gets.
    pub first_pair: u32,
    pub absent: u32,
}

impl Row for Conversation {
    type Key = ConversationId;
    fn key(&self) -> ConversationId {
        self.id
    }
    fn hash(key: ConversationId) -> u64 {
        key.spread()
    }
}

/// A device in a conversation: a cache line, for most events touch one.
#[repr(align(64))]
pub(crate) struct Pair {
    device_id: DeviceId,
    pub device: u32,
    pub conversation: u32,
    /// The last entry that it displayed or skipped; 0 before the first.
    pub position: u32,
    /// The range that it displays now, without a gap; earlier ones are kept beside the table. `to` 0 before the first.
    pub run: Range,
    /// Of the first device of a user: the highest place of which any device of theirs told the server that it has shown it.
    pub acked_up_to: u32,
    /// The same: where the user's cursor of what is delivered stood on disk when a commit last moved it.
    pub cursor: u32,
    pub sends: u32,
    pub unanswered: u32,
    /// The latest of its sends that was acked, and where.
    pub acked_order: u32,
    pub acked_seq: u32,
    /// The latest of its sends that the audit has found in the log.
    pub logged_order: u32,
    pub links: Links,
}

const _: () = assert!(size_of::<Pair>() == 64);

impl Pair {
    pub fn new(device_id: DeviceId, device: u32, conversation: u32) -> Self {
        Pair {
            device_id,
            device,
            conversation,
            position: 0,
            run: Range { from: 0, to: 0 },
            acked_up_to: 0,
            cursor: 0,
            sends: 0,
            unanswered: 0,
            acked_order: 0,
            acked_seq: 0,
            logged_order: 0,
            links: Links::default(),
        }
    }
}

impl Row for Pair {
    /// The conversation by its row: its id would take as much as four of the numbers above.
    type Key = (DeviceId, u32);
    fn key(&self) -> Self::Key {
        (self.device_id, self.conversation)
    }
    fn hash((device, conversation): Self::Key) -> u64 {
        mix(mix(device.0) ^ u64::from(conversation))
    }
}

/// A user, and the first of their devices that was seen.
pub(crate) struct Person {
    pub user: UserId,
    pub device: u32,
}

impl Row for Person {
    type Key = UserId;
    fn key(&self) -> UserId {
        self.user
    }
    fn hash(key: UserId) -> u64 {
        mix(key.0)
    }
}
