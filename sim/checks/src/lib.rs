//! Judges a run from outside the system under test: streaming checks, one property a file.
//!
//! **Invariant:** a check sees the history, the audit of the disks and the protocol's identifiers, never the code that it
//! judges: an oracle that shares code with what it judges shares its bugs. A check that judged nothing is inconclusive,
//! never green.
//!
//! A run feeds [`Checks::observe`] with every event in order of time. After it, the audit feeds what it read: first all
//! entries of all logs, then cursors, then devices.

mod acked_is_durable;
mod bounded;
mod current_routes;
mod cursor_behind_acks;
mod cursor_follows_acks;
mod cursor_never_back;
mod dense_sequence;
#[cfg(test)]
mod differential;
mod drains_gently;
mod every_send_answered;
mod facts;
mod in_time;
mod limits_hold;
mod members_only;
mod no_duplicates;
mod no_loss;
mod no_vain_syncs;
mod nothing_unsent;
mod presence_holds;
mod properties;
mod property;
mod receipts_hold;
mod report;
mod rules;
mod same_order;
mod same_stamps;
mod sender_order;
pub mod tables;
mod tables_agree;
#[cfg(test)]
mod testing;
mod tokens_hold;
mod typing_holds;
mod wire_privacy;

pub use bounded::AuditLevel;
pub use facts::{AuditEntry, PresenceConfig};
pub use report::{CheckReport, KEPT_VIOLATIONS, Verdict, Violation};

use facts::{Fact, Facts};
use property::Property;
use report::Tally;
use squall_history::Event;
use squall_protocol::{ConversationId, Cursors, DeviceId, UserId};
use std::ops::Range;

/// What the checks need to know of a run before it starts.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The host of each messages shard, by its index in the run's list of hosts. The owner of conversation `c` is
    /// `shards[rendezvous(c.spread(), shards.len())]`.
    pub shards: Vec<u16>,
    /// The host of each gateway, by its number.
    pub gateways: Vec<u16>,
    /// The host of each registry: where the devices of user `u` are is known to `registries[rendezvous(u, registries.len())]`.
    pub registries: Vec<u16>,
    /// The host of each bus: `buses[rendezvous(g, buses.len())]` carries what is for gateway `g`.
    pub buses: Vec<u16>,
    /// How long a device may take to find out that its connection is dead, in µs: a heartbeat and the wait for its answer.
    pub noticed_us: u64,
    /// What the last mile may add to a delivery of itself, in µs: the longest outage of its path that a connection outlives.
    pub last_mile_us: u64,
    /// What an entry may take whose way nothing has harmed for long, in µs, where anything can be said of it.
    pub undisturbed_us: Option<u64>,
    /// People say that they write, and what they say has to come to whoever nothing keeps it from, in µs, where anything can be said of it.
    pub typing_us: Option<u64>,
    /// What one user may do.
    pub limits: Limits,
    /// Members beyond which a group is a channel; 0: none ever is.
    pub channel_above: u32,
    /// Members of the largest group of which receipts name each.
    pub named_up_to: u32,
    /// Groups are so small that receipts name each member.
    pub all_are_named: bool,
    /// Nobody reads the disks: what they hold of receipts is known from what devices are told of it.
    pub without_disks: bool,
    /// When the app's backend issues no tokens, in µs of the run.
    pub no_tokens_us: Option<Range<u64>>,
    /// What every host's clock shows when the run starts, in ms since the Unix epoch; 0 when a fault may have one show something else.
    pub epoch_ms: u64,
    /// Where anybody watches; else nothing is kept for it.
    pub presence: Option<PresenceConfig>,
}

/// So many a second in the long run, and so many at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    pub per_second: u32,
    pub at_once: u32,
}

/// What one user may do; without an allowance of sends nothing is judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sends, at each gateway.
    pub sends: Allowance,
    /// Conversations created, people put into conversations, and joins and leaves, at each shard.
    pub growth: [Allowance; 3],
}

/// A device at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditDevice {
    pub device: DeviceId,
    pub user: UserId,
    /// Connected through the quiet phase, so that everything that its user may see is owed to it.
    pub reachable: bool,
}

/// All checks over one run.
pub struct Checks {
    facts: Facts,
    tallies: Vec<Tally>,
}

impl Checks {
    pub fn new(config: Config) -> Self {
        Checks {
            facts: Facts::new(&config),
            tallies: properties::TABLE.iter().map(|_| Tally::default()).collect(),
        }
    }

    /// Takes an event. Every event of the run comes here, in order of time.
    pub fn observe(&mut self, event: &Event) {
        if let Some(fact) = self.facts.observe(event) {
            self.judge(fact);
        }
    }

    /// Takes an entry that was read from a shard's disk. Entries of a conversation come together, in the order of the
    /// disk, whatever that is.
    pub fn audit_entry(&mut self, entry: &AuditEntry<'_>) {
        let fact = self.facts.audit_entry(entry);
        self.judge(fact);
    }

    /// Takes all that a shard's disk holds of a conversation.
    pub fn audit_tables(&mut self, tables: &tables::Tables) {
        let (restarted, now) = (self.facts.has_restarted(tables.conversation), self.facts.now);
        tables_agree::judge(tables, restarted, now, self.tally_of(tables_agree::NAME));
    }

    /// Takes a row that is not as it was written, or that belongs to nothing: a sentence.
    pub fn audit_damage(&mut self, sentence: String) {
        let now = self.facts.now;
        tables_agree::damaged(now, sentence, self.tally_of(tables_agree::NAME));
    }

    /// Takes a comparison of a shard's memory with its disk: how many conversations, and which of them differ, in what.
    pub fn audit_memory<'a>(
        &mut self,
        host: &str,
        compared: u64,
        differ: impl IntoIterator<Item = (ConversationId, &'a str)>,
    ) {
        let now = self.facts.now;
        let tally = self.tally_of(tables_agree::NAME);
        tables_agree::compared(compared, tally);
        for (conversation, what) in differ {
            tables_agree::memory_differs(now, host, conversation, what, tally);
        }
    }

    /// Takes the durable cursors of a user that was read from a shard's disk.
    pub fn audit_cursor(&mut self, user: UserId, conversation: ConversationId, cursors: Cursors) {
        let fact = self.facts.audit_cursor(user, conversation, cursors);
        self.judge(fact);
    }

    /// Takes a device. Every device of the run comes here once, after all entries and cursors.
    pub fn audit_device(&mut self, device: &AuditDevice) {
        let fact = self.facts.audit_device(device.device, device.user, device.reachable);
        self.judge(fact);
    }

    /// Takes how full something of a host was and is.
    pub fn audit_level(&mut self, level: AuditLevel) {
        self.facts.levels.push(level);
    }

    /// Entries that are owed now to devices which are not connected: of each conversation in which such a device has shown something, what
    /// others have seen since.
    pub fn owed_to_absent(&self) -> u64 {
        self.facts.owed_to_absent()
    }

    /// Counts what a check was exposed to without an event of its own: lies that were told, each of which it had to miss.
    ///
    /// # Panics
    /// When the name is none of [`names`].
    pub fn expose(&mut self, name: &str, items: u64) {
        self.tally_of(name).exposed += items;
    }

    fn tally_of(&mut self, name: &str) -> &mut Tally {
        let index = properties::TABLE.iter().position(|property| property.name == name);
        &mut self.tallies[index.unwrap_or_else(|| panic!("no check is named {name:?}"))]
    }

    /// Makes these checks inconclusive unless they are exposed to something: a scenario's faults say which they must expose.
    ///
    /// # Panics
    /// When a name is none of [`names`].
    pub fn require_exposure(&mut self, names: &[&str]) {
        for name in names {
            self.tally_of(name).exposure_required = true;
        }
    }

    /// Judges what only the end can tell, and reports, in the order of [`names`].
    pub fn finish(mut self) -> Vec<CheckReport> {
        self.facts.settle();
        let reports = properties::TABLE.iter().zip(&mut self.tallies);
        reports
            .map(|(property, tally)| {
                (property.conclude)(&self.facts, tally);
                report(property, std::mem::take(tally))
            })
            .collect()
    }

    fn judge(&mut self, fact: Fact) {
        for (property, tally) in properties::TABLE.iter().zip(&mut self.tallies) {
            (property.judge)(&fact, &self.facts, tally);
        }
    }
}

/// The names of all checks, in the order of their reports.
pub fn names() -> impl Iterator<Item = &'static str> {
    properties::TABLE.iter().map(|property| property.name)
}

/// What a check guarantees, in one sentence.
pub fn guarantee(name: &str) -> Option<&'static str> {
    properties::TABLE.iter().find(|property| property.name == name).map(|property| property.guarantee)
}

fn report(property: &Property, tally: Tally) -> CheckReport {
    CheckReport {
        name: property.name,
        verdict: tally.verdict(),
        evaluated: tally.evaluated,
        evaluation: property.evaluation,
        exposed: tally.exposed,
        exposure: property.exposure,
        violations: tally.violations,
        first: tally.kept.first().cloned(),
        kept: tally.kept,
    }
}
