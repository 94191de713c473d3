//! What users have read, what devices were told of how far others have come, and what the disks say of both.
//!
//! The fold is the check's own: what devices said on their wires, what was read back from disks after commits, and what devices know at
//! the end. What a device should know at the end is judged only where it must have been told: the cursor moved when all had been
//! well for long, or before the device last connected. Where no disk can be read, whatever a device is told of a user stood on a disk by then:
//! the audit's fresh devices are told all of it once more; and since notices may be dropped for what nobody here knows, a device
//! must know only what it was told when it connected.

use super::crowds::late_us;
use super::promptness::ms;
use super::rows::{CONNECTED, mark};
use super::{Config, Facts, NONE};
use rustc_hash::{FxHashMap, FxHashSet};
use squall_protocol::{ConversationId, Cursors, Name, Receipt, ReceiptCounts, Seq, UserId, limits};
use std::collections::BTreeMap;

/// What has been found wrong is kept up to here; more would say nothing new.
const MAX_WRONG: usize = 1_024;
/// After a fault has ended, links are open again and everybody is registered within this, in µs.
const WELL_AGAIN_US: u64 = 25_000_000;
/// What is said on a way that nothing harms is on disk, and told, within this: two flushes and a look-up, in µs.
const TOLD_US: u64 = 5_000_000;
/// A device says again what it has not been told back for so long, in µs.
const SAID_AGAIN_US: u64 = 45_000_000;

/// Something that is not as it must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WrongReceipt {
    pub t: u64,
    pub conversation: u32,
    /// Who was told, if anybody was.
    pub device: u32,
    /// Of whom.
    pub user: UserId,
    pub at: u32,
    pub what: WrongAbout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrongAbout {
    /// Told further than any device of the user had said.
    Unsaid { said: u32 },
    /// Told, or on disk, as read what was not delivered.
    ReadAhead { delivered: u32 },
    /// Told before it was on disk.
    NotDurable { stored: u32 },
    /// What the device knew went back.
    WentBack { before: u32 },
    /// Named in a group of so many.
    TooManyNamed { named: u32 },
    /// More are counted than have said so.
    Miscounted { counted: u64, said: u64 },
    /// Told to somebody who is no member, or has left so long before, in ms.
    ToStranger { since_ms: Option<u64> },
    /// On disk at the end other than said.
    Forgotten { said: u32, read: bool },
    /// A device knows other than the disk says at the end.
    Unheard { stored: u32, read: bool },
    /// A device counts more than others have written beyond what is read.
    Overcounted { counted: u64, written: u64 },
    /// Two devices of one user count differently.
    Unread { one: u64, other: u64 },
}

/// How far a user has come by their own devices' words and by the disk, beside what stands in their row.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Said to be read, and when last anything was said.
    read: u32,
    said_at: u64,
    /// The device on which it was said last, and when anybody was last told of this user.
    said_on: u32,
    told_at: u64,
    /// On disk, and when that last moved.
    stored: Cursors,
    moved_at: u64,
    read_moved_at: u64,
}

/// What a device has been told in one conversation.
#[derive(Debug, Default)]
struct View {
    /// A few: in order of users.
    users: Vec<(UserId, Cursors)>,
    first: u64,
    last: u64,
}

impl View {
    fn of(&self, user: UserId) -> Cursors {
        let found = self.users.binary_search_by_key(&user, |(known, _)| *known);
        found.map_or(Cursors::default(), |place| self.users[place].1)
    }

    /// What is known of a user from now on; what was before.
    fn insert(&mut self, user: UserId, cursors: Cursors) -> Cursors {
        match self.users.binary_search_by_key(&user, |(known, _)| *known) {
            Ok(place) => std::mem::replace(&mut self.users[place].1, cursors),
            Err(place) => {
                self.users.reserve_exact(1);
                self.users.insert(place, (user, cursors));
                Cursors::default()
            }
        }
    }
}

/// What a device counts at the end.
#[derive(Debug, Clone, Copy)]
struct Count {
    device: u32,
    conversation: u32,
    read: u32,
    unread: u64,
}

/// Everything about receipts. Empty unless somebody reads.
pub(crate) struct Receipts {
    /// Each member of each group is named; and of the largest group of which each is.
    all_are_named: bool,
    named_up_to: u32,
    without_disks: bool,
    /// By the user's row.
    progress: FxHashMap<u32, Progress>,
    /// By device and conversation.
    views: FxHashMap<(u32, u32), View>,
    counts: Vec<Count>,
    pub wrong: Vec<WrongReceipt>,
    pub judged: u64,
    pub exposed: u64,
}

impl Receipts {
    pub fn new(config: &Config) -> Self {
        Receipts {
            all_are_named: config.all_are_named,
            named_up_to: config.named_up_to,
            without_disks: config.without_disks,
            progress: FxHashMap::default(),
            views: FxHashMap::default(),
            counts: Vec::new(),
            wrong: Vec::new(),
            judged: 0,
            exposed: 0,
        }
    }

    fn note(&mut self, wrong: WrongReceipt) {
        if self.wrong.len() < MAX_WRONG {
            self.wrong.push(wrong);
        }
    }
}

fn small(seq: Seq) -> u32 {
    u32::try_from(seq.0).unwrap_or(u32::MAX)
}

impl Facts {
    /// A person reads on one of their devices; an ack says as much of what is delivered.
    pub(super) fn said_read(&mut self, pair: u32, up_to: Seq) {
        let row = self.users_row_of(pair);
        let progress = self.receipts.progress.entry(row).or_default();
        progress.read = progress.read.max(small(up_to));
        (progress.said_at, progress.said_on) = (self.now, self.pairs[pair].device);
        // Who has read it has it on one of their devices.
        self.pairs[row].acked_up_to = self.pairs[row].acked_up_to.max(small(up_to));
    }

    /// A commit has left the cursors of a user here.
    pub(super) fn cursors_stand(&mut self, row: u32, cursors: Cursors) {
        self.receipts.judged += 1;
        if cursors.read == Seq::ZERO
            && self.receipts.views.is_empty()
            && !self.receipts.progress.contains_key(&row)
        {
            // Nobody reads here.
            return;
        }
        let (now, conversation, acked) = (self.now, self.pairs[row].conversation, self.pairs[row].acked_up_to);
        let user = self.devices[self.pairs[row].device].user().unwrap_or_default();
        let insider = self.is_insiders(row);
        let progress = self.receipts.progress.entry(row).or_default();
        if cursors.delivered > progress.stored.delivered || cursors.read > progress.stored.read {
            progress.moved_at = now;
        }
        if cursors.read > progress.stored.read {
            progress.read_moved_at = now;
        }
        progress.stored = cursors;
        let said = progress.read;
        let mut wrong = |at: Seq, what| {
            self.receipts.note(WrongReceipt { t: now, conversation, device: NONE, user, at: small(at), what });
        };
        if cursors.read > cursors.delivered {
            wrong(cursors.read, WrongAbout::ReadAhead { delivered: small(cursors.delivered) });
        }
        if insider {
            return;
        }
        if small(cursors.read) > said {
            wrong(cursors.read, WrongAbout::Unsaid { said });
        }
        if small(cursors.delivered) > acked {
            wrong(cursors.delivered, WrongAbout::Unsaid { said: acked });
        }
    }

    /// A device was told how far others, or its own user, have come.
    pub(super) fn receipts_told(&mut self, pair: u32, told: &[Receipt], counts: Option<ReceiptCounts>) {
        let (now, conversation, device) = (self.now, self.pairs[pair].conversation, self.pairs[pair].device);
        let id = self.conversations[conversation].id;
        self.receipts.judged += 1;
        self.receipts.exposed +=
            u64::from(self.devices[device].has_reconnected() || self.shard_restarts(conversation) > 0);
        let mut wrong = Vec::new();
        for receipt in told {
            self.judge_told((device, conversation, id), receipt, &mut wrong);
        }
        if told.len() as u32 > self.receipts.named_up_to {
            let what = WrongAbout::TooManyNamed { named: told.len() as u32 };
            wrong.push(WrongReceipt { t: now, conversation, device, user: told[0].user, at: 0, what });
        }
        let view = self.receipts.views.entry((device, conversation)).or_default();
        if view.last == 0 {
            view.first = now;
        }
        view.last = now;
        if let Some(counts) = counts {
            self.judge_counts((device, conversation), counts, &mut wrong);
        }
        wrong.into_iter().for_each(|wrong| self.receipts.note(wrong));
    }

    fn judge_told(
        &mut self,
        (device, conversation, id): (u32, u32, ConversationId),
        told: &Receipt,
        out: &mut Vec<WrongReceipt>,
    ) {
        let now = self.now;
        let mut wrong = |at: Seq, what| {
            out.push(WrongReceipt { t: now, conversation, device, user: told.user, at: small(at), what });
        };
        let view = self.receipts.views.entry((device, conversation)).or_default();
        let before = view.insert(told.user, told.cursors());
        if told.delivered < before.delivered {
            wrong(told.delivered, WrongAbout::WentBack { before: small(before.delivered) });
        }
        if told.read < before.read {
            wrong(told.read, WrongAbout::WentBack { before: small(before.read) });
        }
        if told.read > told.delivered {
            wrong(told.read, WrongAbout::ReadAhead { delivered: small(told.delivered) });
        }
        let row = self.users_row(told.user, id);
        let insider = row.is_some_and(|row| self.is_insiders(row));
        let acked = row.map_or(0, |row| self.pairs[row].acked_up_to);
        let progress = row.and_then(|row| self.receipts.progress.get(&row)).copied().unwrap_or_default();
        let stored = row.map_or(0, |row| self.pairs[row].cursor);
        if !insider && (small(told.delivered) > acked || small(told.read) > progress.read) {
            let (at, said) = match small(told.delivered) > acked {
                true => (told.delivered, acked),
                false => (told.read, progress.read),
            };
            wrong(at, WrongAbout::Unsaid { said });
        }
        if self.receipts.without_disks {
            self.was_on_disk(row, told.cursors());
        } else if small(told.delivered) > stored || told.read > progress.stored.read {
            let (at, stored) = match small(told.delivered) > stored {
                true => (told.delivered, stored),
                false => (told.read, small(progress.stored.read)),
            };
            wrong(at, WrongAbout::NotDurable { stored });
        }
    }

    /// Somebody was told that a user has come so far: that was on disk.
    fn was_on_disk(&mut self, row: Option<u32>, told: Cursors) {
        let Some(progress) = row.and_then(|row| self.receipts.progress.get_mut(&row)) else { return };
        let further = progress.stored.or_further(told);
        if further != progress.stored {
            progress.moved_at = self.now;
        }
        if further.read > progress.stored.read {
            progress.read_moved_at = self.now;
        }
        (progress.stored, progress.told_at) = (further, self.now);
    }

    /// Of a large group: no more are counted than have said so.
    fn judge_counts(
        &mut self,
        (device, conversation): (u32, u32),
        counts: ReceiptCounts,
        out: &mut Vec<WrongReceipt>,
    ) {
        let (now, up_to) = (self.now, small(counts.up_to));
        let mut said = [0u64; 2];
        let mut pair = self.conversations[conversation].first_pair;
        while pair != NONE {
            if self.users_row_of(pair) == pair {
                let read = self.receipts.progress.get(&pair).map_or(0, |progress| progress.read);
                said[0] += u64::from(self.pairs[pair].acked_up_to >= up_to || self.is_insiders(pair));
                said[1] += u64::from(read >= up_to || self.is_insiders(pair));
            }
            pair = self.pairs[pair].links.of_conversation;
        }
        for (counted, said) in [counts.delivered, counts.read].into_iter().zip(said) {
            if counted > said {
                let what = WrongAbout::Miscounted { counted, said };
                out.push(WrongReceipt { t: now, conversation, device, user: UserId(0), at: up_to, what });
            }
        }
    }

    /// What a device counts as unread at the end.
    pub(super) fn counts_unread(&mut self, pair: u32, read: Seq, unread: u64) {
        let (device, conversation) = (self.pairs[pair].device, self.pairs[pair].conversation);
        self.receipts.counts.push(Count { device, conversation, read: small(read), unread });
    }

    /// Whether what moved then must have come to a device that is there at the end.
    fn must_know(&self, device: u32, moved_at: u64) -> bool {
        let row = &self.devices[device];
        if !row.is(mark::REACHABLE) || row.gone_since != CONNECTED || moved_at + TOLD_US > self.now {
            return false;
        }
        let was_well = !self.receipts.without_disks
            && self.active_faults == 0
            && self.last_fault.is_none_or(|fault| fault + WELL_AGAIN_US < moved_at)
            && row.slow_until_ms < ms(moved_at)
            && u64::from(row.connected_ms) * 1_000 + TOLD_US < moved_at;
        let was_told_since = u64::from(row.connected_ms) * 1_000 > moved_at
            && u64::from(row.connected_ms) * 1_000 + TOLD_US < self.now;
        was_well || was_told_since
    }

    /// Whether a user is a member at the end.
    fn is_member(&self, user: UserId, conversation: u32) -> bool {
        self.membership.of_in(user, conversation).last().is_some_and(|stay| stay.to == u32::MAX)
    }

    fn is_named(&self, conversation: u32) -> bool {
        self.receipts.all_are_named
            || matches!(self.conversations[conversation].id.name(), Some(Name::Direct { .. }))
    }

    /// What only the end can tell. The audit has been, and membership can be asked for.
    pub(crate) fn wrong_receipts(&self) -> (Vec<WrongReceipt>, u64) {
        let mut wrong = Vec::new();
        let mut judged = 0;
        self.told_to_strangers(&mut wrong);
        let keeping: FxHashSet<u32> = self.receipts.counts.iter().map(|count| count.device).collect();
        let mut rows: Vec<(u32, Progress)> = self.receipts.progress.iter().map(|(row, p)| (*row, *p)).collect();
        rows.sort_unstable_by_key(|(row, _)| *row);
        for (row, progress) in rows {
            judged += self.agree(row, &progress, &keeping, &mut wrong);
        }
        judged += self.devices_agree(&mut wrong);
        wrong.sort_by_key(|wrong| wrong.t);
        (wrong, judged)
    }

    /// Whether disk and devices say of one user what they have said themselves.
    fn agree(&self, row: u32, progress: &Progress, keeping: &FxHashSet<u32>, out: &mut Vec<WrongReceipt>) -> u64 {
        let pair = &self.pairs[row];
        let (now, conversation) = (self.now, pair.conversation);
        let Some(user) = self.devices[pair.device].user() else { return 0 };
        if self.is_insiders(row) || !self.is_member(user, conversation) {
            return 0;
        }
        let mut judged = 0;
        let stored = progress.stored;
        let said_on = &self.devices[progress.said_on];
        // Without disks it is known from what somebody was told since; whoever is away may not have got it across.
        let known_at = match self.receipts.without_disks {
            true if said_on.is(mark::REACHABLE) && said_on.gone_since == CONNECTED => progress.told_at,
            true => 0,
            false => now,
        };
        if progress.read > 0 && progress.said_at + SAID_AGAIN_US + late_us(self.pace(conversation)) < known_at {
            judged += 1;
            if small(stored.read) < progress.read {
                let what = WrongAbout::Forgotten { said: progress.read, read: true };
                out.push(WrongReceipt { t: now, conversation, device: NONE, user, at: small(stored.read), what });
            }
        }
        if !self.is_named(conversation) {
            return judged;
        }
        let mut of = self.conversations[conversation].first_pair;
        while of != NONE {
            let Self { pairs, devices, .. } = self;
            let (device, next) = (pairs[of].device, pairs[of].links.of_conversation);
            of = next;
            let Some(own) = devices[device].user().filter(|own| *own != user) else { continue };
            let told = keeping.contains(&device) && self.is_member(own, conversation);
            if !told || !self.must_know(device, progress.moved_at) {
                continue;
            }
            judged += 1;
            let view = self.receipts.views.get(&(device, conversation));
            let known = view.map_or(Cursors::default(), |view| view.of(user));
            let unheard = [(known.delivered, stored.delivered, false), (known.read, stored.read, true)];
            for (known, stored, read) in unheard.into_iter().filter(|(known, stored, _)| known < stored) {
                let what = WrongAbout::Unheard { stored: small(stored), read };
                out.push(WrongReceipt { t: now, conversation, device, user, at: small(known), what });
            }
        }
        judged
    }

    /// Whether the devices of each user count the same.
    fn devices_agree(&self, out: &mut Vec<WrongReceipt>) -> u64 {
        let mut judged = 0;
        let mut first: BTreeMap<(UserId, u32), Count> = BTreeMap::new();
        for count in &self.receipts.counts {
            let Some(user) = self.devices[count.device].user() else { continue };
            let mut wrong = |what| {
                let Count { device, conversation, read: at, .. } = *count;
                out.push(WrongReceipt { t: self.now, conversation, device, user, at, what });
            };
            // Whatever it has been told, of its own sums nothing excuses it.
            if count.unread > 0 && !self.insiders.contains(&user) {
                judged += 1;
                let written = self.written_by_others(count.conversation, user, count.read);
                if count.unread > written {
                    wrong(WrongAbout::Overcounted { counted: count.unread, written });
                }
            }
            let progress = self.persons.find(user).and_then(|person| {
                let first = self.devices[self.persons[person].device].id;
                let row = self.pairs.find((first, count.conversation))?;
                self.receipts.progress.get(&row).copied()
            });
            let progress = progress.unwrap_or_default();
            // What is not on disk yet is told to no other device.
            let is_stored = small(progress.stored.read) >= progress.read;
            let knows = is_stored && self.must_know(count.device, progress.read_moved_at);
            if !knows || self.insiders.contains(&user) || !self.is_member(user, count.conversation) {
                continue;
            }
            let Some(one) = first.insert((user, count.conversation), *count) else { continue };
            judged += 1;
            if (one.read, one.unread) != (count.read, count.unread) {
                wrong(WrongAbout::Unread { one: one.unread, other: count.unread });
            }
        }
        judged
    }

    /// How many entries others have in a log beyond this place, as anybody has seen it.
    fn written_by_others(&self, conversation: u32, user: UserId, read: u32) -> u64 {
        let beyond = self.conversations[conversation].log.places().iter().skip(read as usize);
        let author = |message: u32| Some(self.messages[message].pair).filter(|pair| *pair != NONE);
        let is_others = |message: &&u32| {
            **message != NONE
                && author(**message).is_none_or(|pair| self.devices[self.pairs[pair].device].user() != Some(user))
        };
        beyond.filter(is_others).count() as u64
    }

    /// Whoever is told is a member, or has just been one.
    fn told_to_strangers(&self, out: &mut Vec<WrongReceipt>) {
        let mut views: Vec<(u32, u32, u64)> =
            self.receipts.views.iter().map(|((device, c), view)| (*device, *c, view.last)).collect();
        views.sort_unstable();
        for (device, conversation, last) in views {
            // A device of nobody's has never connected.
            let user = self.devices[device].user().unwrap_or_default();
            let stays = self.membership.of_in(user, conversation);
            let since_ms = match stays.last() {
                Some(stay) if stay.to == u32::MAX => continue,
                Some(stay) => {
                    let left = self.at(conversation, stay.to).map_or(0, |entry| self.messages[entry].seen_ms);
                    let since = (last / 1_000).saturating_sub(left.into());
                    if left == 0 || since <= limits::prompt_bound().as_millis() as u64 {
                        continue;
                    }
                    Some(since)
                }
                None => None,
            };
            let what = WrongAbout::ToStranger { since_ms };
            out.push(WrongReceipt { t: last, conversation, device, user, at: 0, what });
        }
    }
}
