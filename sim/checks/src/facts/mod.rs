//! What happened so far, kept once for all properties and small enough for millions of devices.
//!
//! **Invariant:** the reference comes from outside the system under test: what devices sent, were acked and displayed, and
//! what the audit read from the disks. `Append` events, a server's word, change nothing here.
//!
//! Memory: about 65 bytes a message (52 the row, 4 its place in the log, the rest index), about 75 a device in a
//! conversation, about 80 a conversation. The simulated disks hold every message anyway, several times larger; in return
//! a violation is named at once, by message, not by a sum that no longer adds up.

mod acks;
mod answers;
mod arrivals;
mod audit;
mod backlog;
mod crowds;
mod drains;
mod fact;
mod guesses;
pub(crate) mod intervals;
mod log;
mod membership;
mod naming;
mod observe;
mod presences;
mod promptness;
mod receipts;
mod refusals;
mod rows;
mod spent;
mod syncs;
mod table;
mod tokens;
mod typing;

pub(crate) use acks::Behind;
pub(crate) use answers::Tardy;
pub(crate) use arrivals::Astray;
pub use audit::AuditEntry;
pub(crate) use drains::{BACK_WITHIN, Drain, Overdue};
pub(crate) use fact::{Fact, Logged, Origin, Shown, Suspect, row};
pub use presences::PresenceConfig;
pub(crate) use presences::{Misled, MisledOne};
pub(crate) use promptness::Late;
pub(crate) use receipts::{WrongAbout, WrongReceipt};
pub(crate) use rows::{NONE, known, mark};
use spent::Spent;
pub(crate) use syncs::Vain;
pub(crate) use tokens::{Wrong, WrongOf};
pub(crate) use typing::{Ghost, WrongTyping};

use crate::{AuditLevel, Config};
use acks::Acks;
use answers::Answers;
use arrivals::Arrivals;
use backlog::Owed;
use crowds::Crowds;
use drains::Drains;
use guesses::Guesses;
use intervals::Range;
use log::Log;
use membership::Membership;
use presences::Presences;
use promptness::Promptness;
use receipts::Receipts;
use refusals::LoggedChange;
use rows::{Conversation, Device, Message, Pair, Person};
use rustc_hash::{FxHashMap, FxHashSet};
use squall_history::What;
use squall_protocol::ids::rendezvous;
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, UserId, limits};
use syncs::Syncs;
use table::Table;
use tokens::Tokens;
use typing::Typing;

/// How far beyond the end of a reference log a place may lie before it is kept beside it.
const DENSE_REACH: usize = 4_096;

/// Cursors are flushed within this time after an ack, in µs, with one flush that has just begun.
const FLUSHED_US: u64 = 2 * limits::CURSOR_FLUSH_INTERVAL.as_micros() as u64;

/// A shard as the checks see it.
struct Shard {
    host: u16,
    restarts: u16,
    /// Messages acked since it last stopped.
    acked: u64,
}

/// A message that was refused for good.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefusedSend {
    pub t: u64,
    pub message: u32,
    pub reason: &'static str,
    /// How many messages had been named by then.
    pub named: u32,
}

/// A change of who is a member: what it is, and whom it names where its kind does not.
#[derive(Debug, Clone)]
struct Change {
    what: What,
    named: Box<[UserId]>,
}

/// Everything that the properties may ask about a run.
pub(crate) struct Facts {
    pub messages: Table<Message>,
    pub devices: Table<Device>,
    pub conversations: Table<Conversation>,
    pub pairs: Table<Pair>,
    persons: Table<Person>,
    /// What devices were told of others, and what users have read.
    pub receipts: Receipts,
    pub refusals: Vec<RefusedSend>,
    /// Who is meant by a change of membership, by its message.
    changes: FxHashMap<u32, Change>,
    /// What the logs say of who may do what, where somebody was refused something for it.
    contested: FxHashMap<u32, Vec<LoggedChange>>,
    /// Devices that go by the number of another.
    guesses: Guesses,
    /// Who attacks: what befalls their own devices is their own doing.
    insiders: FxHashSet<UserId>,
    /// Of a device that has begun anew, its life before.
    lives: FxHashMap<u32, u32>,
    /// The time of the latest event.
    pub now: u64,
    /// Whether the audit has said anything; without it nothing is known of the logs.
    pub audited: bool,
    membership: Membership,
    shards: Vec<Shard>,
    faulted: bool,
    active_faults: u32,
    /// When a fault last began or ended.
    last_fault: Option<u64>,
    /// Deliveries to devices that seemed gone and did not turn out to be connecting.
    pub suspects: Vec<Suspect>,
    /// Who was connected when, what harmed whom, and what came late.
    pub promptness: Promptness,
    /// How many are in groups.
    crowds: Crowds,
    /// Acks, until the cursors follow.
    pub acks: Acks,
    /// Answers to sends, until they come.
    pub answers: Answers,
    /// What devices ask for, until they are shown more.
    pub syncs: Syncs,
    /// What the shards' clocks show when the run starts; 0 when a fault may make them show anything.
    epoch_ms: u64,
    /// Gateways that were asked to end.
    drains: Drains,
    tokens: Tokens,
    typing: Typing,
    presences: Presences,
    /// How full hosts' queues, debts and tables were.
    pub levels: Vec<AuditLevel>,
    /// What has reached devices beside what they displayed.
    pub arrivals: Arrivals,
    /// Places that no log reaches unless something is badly wrong: 0, and far beyond the end.
    far: FxHashMap<(u32, u32), u32>,
    /// Of a pair, the runs of displayed entries before the current one, and what was skipped.
    earlier_runs: FxHashMap<u32, Vec<Range>>,
    skips: FxHashMap<u32, Vec<Range>>,
    /// What each user has done of what is limited.
    pub spent: Spent,
    /// Entries owed to devices that are away, and from where on, of each pair that is counted or left.
    owed: u64,
    owed_from: FxHashMap<u32, Owed>,
}

impl Facts {
    pub fn new(config: &Config) -> Self {
        let shards = &config.shards;
        Facts {
            messages: Table::new(),
            devices: Table::new(),
            conversations: Table::new(),
            pairs: Table::new(),
            persons: Table::new(),
            receipts: Receipts::new(config),
            refusals: Vec::new(),
            changes: FxHashMap::default(),
            contested: FxHashMap::default(),
            guesses: Guesses::default(),
            insiders: FxHashSet::default(),
            lives: FxHashMap::default(),
            now: 0,
            audited: false,
            membership: Membership::new(config.channel_above),
            shards: shards.iter().map(|host| Shard { host: *host, restarts: 0, acked: 0 }).collect(),
            faulted: false,
            active_faults: 0,
            last_fault: None,
            suspects: Vec::new(),
            promptness: Promptness::new(config),
            acks: Acks::new(config.undisturbed_us.map(|us| us + FLUSHED_US), config.noticed_us),
            crowds: Crowds::new(config),
            drains: Drains::new(config),
            tokens: Tokens::new(config),
            typing: Typing::new(config),
            presences: Presences::new(config),
            answers: Answers::new(config.undisturbed_us),
            syncs: Syncs::new(config.undisturbed_us.is_some()),
            epoch_ms: config.epoch_ms,
            levels: Vec::new(),
            arrivals: Arrivals::default(),
            far: FxHashMap::default(),
            earlier_runs: FxHashMap::default(),
            skips: FxHashMap::default(),
            spent: Spent::new(config),
            owed: 0,
            owed_from: FxHashMap::default(),
        }
    }

    /// Whether a member attacks with the device of a pair: what it does to itself is its own.
    pub fn is_insider(&self, pair: u32) -> bool {
        pair != NONE && self.devices[self.pairs[pair].device].is(mark::INSIDER)
    }

    pub fn presences(&self) -> &Presences {
        &self.presences
    }

    /// The message that stands at this place, as far as anybody has seen.
    pub fn at(&self, conversation: u32, seq: u32) -> Option<u32> {
        let near = self.conversations[conversation].log.get((seq as usize).wrapping_sub(1)).and_then(row);
        if near.is_none() && !self.far.is_empty() {
            return self.far.get(&(conversation, seq)).copied();
        }
        near
    }

    /// Every place at which somebody has seen a message, with it: by conversation and place, far ones last.
    pub fn witnessed(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        let mut far: Vec<_> =
            self.far.iter().map(|((conversation, seq), message)| (*conversation, *seq, *message)).collect();
        far.sort_unstable();
        let near = (0u32..).zip(self.conversations.rows()).flat_map(|(conversation, row)| {
            (1u32..).zip(row.log.places()).map(move |(seq, message)| (conversation, seq, *message))
        });
        near.filter(|(_, _, message)| *message != NONE).chain(far)
    }

    /// The ranges that a device has displayed in a conversation.
    pub fn displayed(&self, pair: u32) -> Vec<Range> {
        let mut all = self.earlier_runs.get(&pair).cloned().unwrap_or_default();
        if self.pairs[pair].run.to > 0 {
            intervals::add(&mut all, self.pairs[pair].run);
        }
        all
    }

    /// The ranges that a device moved over without displaying anything.
    pub fn skipped(&self, pair: u32) -> &[Range] {
        self.skips.get(&pair).map_or(&[], |ranges| ranges.as_slice())
    }

    /// How often the shard of this conversation had restarted by now.
    pub fn shard_restarts(&self, conversation: u32) -> u16 {
        self.shards.get(usize::from(self.conversations[conversation].shard)).map_or(0, |shard| shard.restarts)
    }

    /// Whether the shard that owns this conversation has restarted.
    pub fn has_restarted(&self, id: ConversationId) -> bool {
        let owner = rendezvous(id.spread(), self.shards.len() as u32);
        self.shards.get(owner as usize).is_some_and(|shard| shard.restarts > 0)
    }

    fn message(&mut self, id: ClientMsgId) -> u32 {
        self.messages.find_or_insert(id, || Message::new(id))
    }

    fn device(&mut self, id: DeviceId, user: Option<UserId>) -> u32 {
        let device = self.devices.find_or_insert(id, || Device::new(id));
        if let Some(user) = user
            && self.devices[device].user().is_none()
        {
            self.devices[device].set_user(user);
            self.persons.find_or_insert(user, || Person { user, device });
        }
        device
    }

    /// The row under which stands what all devices of a user have said in a conversation: that of the first of them that was seen. `None`: the
    /// user has no device.
    fn users_row(&mut self, user: UserId, conversation: ConversationId) -> Option<u32> {
        let person = self.persons.find(user)?;
        let id = self.devices[self.persons[person].device].id;
        Some(self.pair(id, conversation, None))
    }

    /// The same for one of the devices.
    fn users_row_of(&mut self, pair: u32) -> u32 {
        let Pair { device, conversation, .. } = self.pairs[pair];
        let Some(person) = self.devices[device].user().and_then(|user| self.persons.find(user)) else {
            return pair;
        };
        let first = self.persons[person].device;
        if first == device {
            return pair;
        }
        let (id, conversation) = (self.devices[first].id, self.conversations[conversation].id);
        self.pair(id, conversation, None)
    }

    /// Whether the user of a device attacks: what they say of what they have seen is their own doing.
    pub fn is_insiders(&self, pair: u32) -> bool {
        let user = self.devices[self.pairs[pair].device].user();
        user.is_some_and(|user| self.insiders.contains(&user)) || self.is_insider(pair)
    }

    fn conversation(&mut self, id: ConversationId) -> u32 {
        let shards = self.shards.len() as u32;
        self.conversations.find_or_insert(id, || Conversation {
            id,
            log: Log::default(),
            head: 0,
            sender: NONE,
            several_senders: false,
            members_changed: false,
            created: false,
            shard: rendezvous(id.spread(), shards) as u16,
            first_epoch: 0,
            last_epoch: 0,
            first_pair: NONE,
            absent: 0,
        })
    }

    /// The row of a device in a conversation. `user` where the event tells.
    fn pair(&mut self, device: DeviceId, conversation: ConversationId, user: Option<UserId>) -> u32 {
        let conversation = self.conversation(conversation);
        if let Some(pair) = self.pairs.find((device, conversation)) {
            return pair;
        }
        let device_row = self.device(device, user);
        let pair =
            self.pairs.find_or_insert((device, conversation), || Pair::new(device, device_row, conversation));
        self.link(pair);
        pair
    }

    /// The lives of a device before this one, the latest first.
    fn earlier_lives(&self, device: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(self.lives.get(&device), |life| self.lives.get(life)).copied()
    }

    /// Compares a witness of `(conversation, seq)` with those before it: the message, and the one that stood there
    /// before when it is another. The first witness sets the reference.
    fn witness(&mut self, conversation: u32, seq: u32, id: ClientMsgId) -> (u32, Option<u32>) {
        match self.at(conversation, seq) {
            Some(first) if self.messages[first].id() == id => (first, None),
            Some(first) => (self.message(id), Some(first)),
            None => {
                let message = self.message(id);
                self.set(conversation, seq, message);
                (message, None)
            }
        }
    }

    fn set(&mut self, conversation: u32, seq: u32, message: u32) {
        if self.messages[message].seen_ms == 0 {
            self.messages[message].seen_ms = promptness::ms(self.now);
        }
        let epoch = self.shard_restarts(conversation);
        let row = &mut self.conversations[conversation];
        if row.log.is_empty() {
            row.first_epoch = epoch;
        }
        row.last_epoch = epoch;
        let place = (seq as usize).wrapping_sub(1);
        if place >= row.log.len() + DENSE_REACH {
            self.far.insert((conversation, seq), message);
            return;
        }
        let length = row.log.len();
        row.log.set(place, message);
        self.owe(conversation, (place + 1).saturating_sub(length));
        if self.messages[message].is(known::CHANGE)
            && let Some(Change { what, named }) = self.changes.get(&message).cloned()
        {
            let author = self.devices[self.pairs[self.messages[message].pair].device].user();
            what.taken(author.unwrap_or_default(), &named)
                .for_each(|user| self.membership_changed(conversation, user, true));
            what.added(&named).for_each(|user| self.membership_changed(conversation, user, false));
        }
    }
}
