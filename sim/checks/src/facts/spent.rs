//! What each user has done of what is limited: counted anew from the logs, and from what devices had sent when they were told to wait.
//!
//! Known limits: a limit of sends holds at each gateway, and the log does not say at which, so over a run a user may have so much at
//! each. Whoever is told to wait is asked only for what they have sent in all, as if no bucket had been filled up again; whoever attacks is
//! asked for nothing, on none of their devices.

use super::Facts;
use super::audit::AuditEntry;
use super::fact::Fact;
use super::rows::mark;
use crate::{Allowance, Config, Limits};
use rustc_hash::FxHashMap;
use squall_history::What;
use squall_protocol::{ClientMsgId, DeviceId, UserId};

/// Devices that were told to wait and are judged; to judge one, all devices are looked through for those of its user.
const MAX_JUDGED: u32 = 256;
/// The fewest whom a creation names.
const TWO_PEOPLE: u32 = 2;
/// Entries of one moment bear stamps that differ by so much, in µs.
const STAMPS_US: u64 = 1_000_000;

/// What the logs say that somebody has done.
#[derive(Debug, Clone, Copy)]
struct Growth {
    shard: u16,
    user: UserId,
    /// Since the hosts' epoch.
    t_ms: u32,
    message: u32,
    additions: u16,
    is_creation: bool,
}

impl Growth {
    /// Creations, additions, changes.
    fn amounts(&self) -> [u32; 3] {
        [u32::from(self.is_creation), u32::from(self.additions), u32::from(!self.is_creation)]
    }
}

/// Somebody who has done more than they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Excess {
    pub user: UserId,
    /// The entry with which it is too much; of sends, none.
    pub message: Option<u32>,
    pub what: &'static str,
    /// How many more than were allowed.
    pub beyond: u64,
}

/// What has been counted.
#[derive(Default)]
pub(crate) struct Spent {
    limits: Limits,
    gateways: Vec<u16>,
    shards: Vec<u16>,
    /// Restarts of each host: its buckets are full again.
    restarts: FxHashMap<u16, u32>,
    /// The most people whom a user has put into a conversation at once, where these are more than two.
    largest: FxHashMap<UserId, u32>,
    judged: u32,
    /// What the hosts' clocks show when the run starts; 0 when a fault may make them show anything.
    epoch_ms: u64,
    /// Entries of each user, of whatever kind.
    sends: FxHashMap<UserId, u32>,
    growth: Vec<Growth>,
    /// So many are in the order of shards, users and time.
    settled: usize,
    pub entries: u64,
}

impl Spent {
    pub fn new(config: &Config) -> Self {
        let Config { limits, gateways, shards, epoch_ms, .. } = config.clone();
        Spent { limits, gateways, shards, epoch_ms, ..Spent::default() }
    }

    fn is_judged(&self) -> bool {
        self.limits.sends.at_once > 0
    }

    pub fn restarts(&mut self, host: u16) {
        *self.restarts.entry(host).or_default() += 1;
    }

    fn restarts_of(&self, hosts: &[u16]) -> u64 {
        hosts.iter().filter_map(|host| self.restarts.get(host)).map(|n| u64::from(*n)).sum()
    }

    /// Takes an entry of a log.
    pub fn entry(&mut self, shard: u16, message: u32, entry: &AuditEntry<'_>) {
        if !self.is_judged() {
            return;
        }
        self.entries += 1;
        *self.sends.entry(entry.sender).or_default() += 1;
        let (is_creation, additions) = match entry.what {
            What::Text => return,
            What::Created | What::CreatedChannel => (true, entry.members.len()),
            what => (false, what.added(entry.members).count()),
        };
        let t_ms = entry.stored_at_ms.saturating_sub(self.epoch_ms).try_into().unwrap_or(u32::MAX);
        let additions = additions.try_into().unwrap_or(u16::MAX);
        self.growth.push(Growth { shard, user: entry.sender, t_ms, message, additions, is_creation });
    }

    /// All entries have come.
    pub fn settle(&mut self) {
        if self.settled != self.growth.len() {
            self.settled = self.growth.len();
            self.growth.sort_unstable_by_key(|growth| (growth.shard, growth.user, growth.t_ms, growth.message));
        }
    }

    /// Whoever has done more than they may by `now`, in µs of the run: each user once for sends, and once at each shard for the first limit
    /// that they have passed there.
    pub fn excesses(&self, now: u64) -> Vec<Excess> {
        let mut found = Vec::new();
        let buckets = self.gateways.len().max(1) as u64;
        let Allowance { per_second, at_once } = self.limits.sends;
        let full = (buckets + self.restarts_of(&self.gateways)) * u64::from(at_once);
        let allowed = full + buckets * u64::from(per_second) * (now / 1_000_000 + 1);
        for (user, sends) in &self.sends {
            if let Some(beyond) = u64::from(*sends).checked_sub(allowed).filter(|beyond| *beyond > 0) {
                found.push(Excess { user: *user, message: None, what: "sends", beyond });
            }
        }
        found.sort_unstable_by_key(|excess| excess.user);
        for of_user in self.growth.chunk_by(|a, b| (a.shard, a.user) == (b.shard, b.user)) {
            found.extend(self.beyond(of_user, now));
        }
        found
    }

    /// Fills and empties the buckets of one user at one shard again.
    fn beyond(&self, entries: &[Growth], now: u64) -> Option<Excess> {
        let host = self.shards.get(usize::from(entries[0].shard))?;
        let buckets = 1 + self.restarts_of(&[*host]);
        // Where clocks are not to be trusted, all of it may have been spread over the whole run.
        let spread = if self.epoch_ms > 0 { 0 } else { now };
        let kinds = ["creations", "additions", "joins and leaves"];
        for (kind, (Allowance { per_second, at_once }, what)) in self.limits.growth.iter().zip(kinds).enumerate() {
            let micros = |tokens: u64| tokens * 1_000_000 / u64::from((*per_second).max(1));
            let room = micros(buckets * u64::from(*at_once)) + spread + STAMPS_US;
            let mut full_at = 0;
            for growth in entries {
                let t = if self.epoch_ms > 0 { u64::from(growth.t_ms) * 1_000 } else { 0 };
                let tokens = growth.amounts()[kind].min(*at_once);
                full_at = t.max(full_at) + micros(u64::from(tokens));
                if full_at - t > room {
                    let beyond = (full_at - t - room) * u64::from(*per_second) / 1_000_000 + 1;
                    let (user, message) = (growth.user, Some(growth.message));
                    return Some(Excess { user, message, what, beyond });
                }
            }
        }
        None
    }

    /// How much somebody must have sent at least before they can be told to wait with this.
    fn least(&self, user: UserId, what: What) -> u32 {
        let Limits { sends, growth: [creations, additions, changes] } = self.limits;
        let additions = additions.at_once / self.largest.get(&user).copied().unwrap_or(TWO_PEOPLE);
        match what {
            What::Text => sends.at_once,
            What::Created | What::CreatedChannel => sends.at_once.min(creations.at_once).min(additions),
            _ => sends.at_once.min(changes.at_once).min(additions),
        }
    }
}

impl Facts {
    /// A device sends something.
    pub(super) fn sends(&mut self, device: DeviceId, what: What, members: usize) {
        let device = self.device(device, None);
        self.devices[device].transmissions += 1;
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        if let Some(user) =
            self.devices[device].user().filter(|_| what != What::LeftSeveral && members > TWO_PEOPLE)
        {
            let largest = self.spent.largest.entry(user).or_default();
            *largest = members.max(*largest);
        }
    }

    pub(super) fn told_to_wait(&mut self, device: DeviceId, id: ClientMsgId) -> Option<Fact> {
        let message = self.messages.find(id)?;
        let device = self.device(device, None);
        let user = self.devices[device].user()?;
        if !self.spent.is_judged() || self.spent.judged >= MAX_JUDGED {
            return None;
        }
        let own = self.devices.rows().filter(|row| row.user() == Some(user));
        // What an insider sends is not all in the history, and is counted with the user's.
        let sent = own.map(|row| (!row.is(mark::INSIDER)).then_some(u64::from(row.transmissions)));
        let sent = sent.sum::<Option<u64>>()?;
        self.spent.judged += 1;
        let too_early = sent < u64::from(self.spent.least(user, self.kind_of(message)));
        Some(Fact::ToldToWait { message, device, too_early })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::{ClientMsgId, ClientSeq, ConversationId, Seq};

    const EPOCH_MS: u64 = 1_000_000;

    fn spent(epoch_ms: u64) -> Spent {
        let of = |per_second, at_once| Allowance { per_second, at_once };
        let limits = Limits { sends: of(10, 20), growth: [of(1, 2), of(1, 6), of(1, 3)] };
        Spent::new(&Config { limits, gateways: vec![8, 9], shards: vec![3], epoch_ms, ..Config::default() })
    }

    fn push(spent: &mut Spent, t_ms: u64, user: u64, what: What, members: &[UserId]) {
        let message = u32::try_from(spent.entries).unwrap();
        let entry = AuditEntry {
            conversation: ConversationId(7),
            seq: Seq(1),
            sender: UserId(user),
            device: DeviceId(1),
            client_msg_id: ClientMsgId(1),
            client_seq: ClientSeq(1),
            stored_at_ms: EPOCH_MS + t_ms,
            body_hash: 0,
            what,
            members,
        };
        spent.entry(0, message, &entry);
    }

    fn found(mut spent: Spent) -> Vec<(u64, Option<u32>, &'static str)> {
        spent.settle();
        spent.excesses(10_000_000).iter().map(|e| (e.user.0, e.message, e.what)).collect()
    }

    #[test]
    fn what_a_bucket_gives_passes_and_one_more_does_not() {
        for (last_ms, excess) in [(4_000, vec![]), (2_500, vec![(1, Some(6), "joins and leaves")])] {
            let mut spent = spent(EPOCH_MS);
            // Three at once, one for the stamps, and then one a second.
            for t_ms in [100, 100, 100, 100, 1_100, 2_100, 3_100] {
                push(&mut spent, t_ms.min(last_ms), 1, What::Left(UserId(9)), &[]);
            }
            push(&mut spent, last_ms + 100, 1, What::Left(UserId(9)), &[]);
            push(&mut spent, last_ms + 100, 2, What::Left(UserId(9)), &[]);
            assert_eq!(found(spent), excess);
        }
    }

    #[test]
    fn whom_a_creation_names_counts_and_a_large_one_takes_all() {
        let mut spent = spent(EPOCH_MS);
        let many = [UserId(1); 50];
        push(&mut spent, 0, 1, What::Created, &many);
        push(&mut spent, 0, 1, What::Joined(UserId(3)), &[]);
        push(&mut spent, 0, 1, What::Joined(UserId(3)), &[]);
        assert_eq!(found(spent), [(1, Some(2), "additions")]);
    }

    #[test]
    fn a_restart_fills_the_buckets_again() {
        let mut spent = spent(EPOCH_MS);
        spent.restarts(3);
        for _ in 0..7 {
            push(&mut spent, 0, 1, What::Left(UserId(9)), &[]);
        }
        assert_eq!(found(spent), []);
    }

    #[test]
    fn sends_are_counted_over_the_run_at_all_gateways() {
        for (more, excess) in [(0, vec![]), (1, vec![(1, None, "sends")])] {
            let mut spent = spent(EPOCH_MS);
            for _ in 0..2 * (20 + 10 * 11) + more {
                push(&mut spent, 0, 1, What::Text, &[]);
            }
            assert_eq!(found(spent), excess);
        }
    }

    #[test]
    fn without_clocks_the_whole_run_is_one_moment() {
        let mut spent = spent(0);
        for _ in 0..3 + 1 + 10 {
            push(&mut spent, 0, 1, What::Left(UserId(9)), &[]);
        }
        assert_eq!(found(spent), []);
    }
}
