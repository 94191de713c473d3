//! Who said that they were writing, and what devices were told of it and showed.
//!
//! What people do is the word of their own devices, and so is what these show. Nothing is owed to anybody but not to be told wrong: so each time that
//! somebody is shown is held against what that somebody said, when, and who was a member then; and what a device shows must end. Where nothing
//! harms the way, and neither end, most of what is said to one other person has to come, or nothing of all this would be judged.
//!
//! Memory: a row for each that is shown at the moment, one for each user and conversation in which somebody has said so, and one for each time that
//! somebody was shown in a group, of times that follow closely one.

use super::Facts;
use super::rows::{CONNECTED, mark};
use crate::Config;
use rustc_hash::{FxHashMap, FxHashSet};
use squall_history::What;
use squall_protocol::ids::{Name, rendezvous};
use squall_protocol::{ConversationId, DeviceId, Seq, UserId, limits};
use std::collections::VecDeque;

const SECOND: u64 = 1_000_000;
const INTERVAL: u64 = limits::TYPING_INTERVAL.as_micros() as u64;
/// Somebody is shown for so long after they were last told to be writing, in µs, and at most so much longer, for a device's timer is exact; on
/// real sockets, where it is as exact as its machine is idle.
const SHOWN_FOR: u64 = limits::TYPING_SHOWN_FOR.as_micros() as u64;
const TIMER_SLACK: u64 = SECOND;
const BUSY_TIMER_SLACK: u64 = 10 * SECOND;
/// What is shown was said at most so long before, in µs.
const AGE: u64 = limits::typing_age_bound().as_micros() as u64;
/// What was said once a second may come closer together by so much, in µs.
const BUNCHED: u64 = 3 * SECOND;
/// Whoever has left is told nothing any more, and nothing is told of them, after so long, in µs.
const LEASE: u64 = limits::prompt_bound().as_micros() as u64;
/// Times that somebody is shown that follow more closely are kept as one, in µs.
const CLOSELY: u64 = SECOND;
/// Both ends have been connected for so long, in µs, when it is expected that what one says comes to the other: their registrations are known.
const SETTLED: u64 = 10 * SECOND;
/// Whoever has said nothing of it for so long, in µs, is let through.
const ALONE: u64 = 2 * INTERVAL;
/// Fewer that had to come prove nothing; of more, so many of a hundred must.
const ENOUGH: u64 = 20;
const MOST_PERCENT: u64 = 90;
/// Violations and times that are kept; more would say nothing new.
const MAX_WRONGS: usize = 1_024;
const MAX_SHOWN_IN_GROUPS: usize = 1 << 20;

/// How what a device shows is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ghost {
    /// Of its own user.
    Own,
    /// Nobody said so.
    Unsaid,
    /// It was said so long ago, in µs.
    Stale(u64),
    /// More often than once a second.
    TooOften,
    /// For so long after it was last told, in µs.
    Lasting(u64),
    /// Though the message was there.
    AfterItsMessage,
    /// For so long only after it was last told, in µs, though no message came.
    CutShort(u64),
    /// To somebody who is no member, or of somebody who is none.
    Stranger(UserId),
    /// One of the two had blocked their conversation.
    Blocked,
}

/// Of whom, where, on which device and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongTyping {
    pub t: u64,
    pub device: DeviceId,
    pub conversation: ConversationId,
    pub author: UserId,
    pub ghost: Ghost,
}

/// When somebody last said so, and on which device.
#[derive(Debug, Clone, Copy)]
struct Said {
    at: u64,
    device: u32,
}

/// Somebody who is shown on a device.
#[derive(Debug, Clone, Copy)]
struct Shown {
    told: u64,
    /// When the next time may come at the earliest, if all came once a second.
    next: u64,
    /// Their message was displayed then.
    written: Option<u64>,
}

/// What was said to one other person and is to come to all of their devices.
#[derive(Debug, Clone)]
struct Awaited {
    said: Said,
    came: Vec<u32>,
}

/// Who of two has blocked their conversation, as entries were first seen.
#[derive(Debug, Clone, Copy, Default)]
struct Blocks {
    by: [(Seq, bool); 2],
    /// Since when somebody has; 0 while nobody is known to, or they may have taken it back.
    since: u64,
}

type Whose = (ConversationId, UserId);

/// What is known of all this.
#[derive(Debug, Default)]
pub(crate) struct Typing {
    /// What is said has to come within this, in µs, where anything is expected.
    expected_within: Option<u64>,
    timer_slack: u64,
    /// By user, where anything is expected.
    devices: FxHashMap<UserId, Vec<u32>>,
    said: FxHashMap<Whose, Said>,
    shown: FxHashMap<(DeviceId, Whose), Shown>,
    awaited: FxHashMap<Whose, Awaited>,
    /// In order of time.
    deadlines: VecDeque<(u64, Whose)>,
    /// Of groups: who had a part in what was shown, from when to when, in µs; on which device, and of whom.
    parts: Vec<Part>,
    latest: FxHashMap<Whose, usize>,
    blocks: FxHashMap<ConversationId, Blocks>,
    ever_blocked: FxHashSet<ConversationId>,
    wrongs: Vec<WrongTyping>,
    /// Devices that are put away at this moment, and which that is.
    away: (u64, Vec<DeviceId>),
    /// Connections of devices, and times that one showed somebody.
    pub connections: u64,
    pub times: u64,
    /// What had to come, and what of it came.
    pub expected: u64,
    pub came: u64,
}

/// Somebody's part in what was shown in a group.
#[derive(Debug, Clone, Copy)]
struct Part {
    conversation: ConversationId,
    user: UserId,
    from: u64,
    to: u64,
    device: DeviceId,
    author: UserId,
}

/// The two of a conversation, if it is two people's.
fn two_of(conversation: ConversationId) -> Option<[UserId; 2]> {
    match conversation.name() {
        Some(Name::Direct { low, high }) => Some([low, high]),
        _ => None,
    }
}

impl Typing {
    pub fn new(config: &Config) -> Self {
        let timer_slack = if config.typing_us.is_some() { TIMER_SLACK } else { BUSY_TIMER_SLACK };
        Typing { expected_within: config.typing_us, timer_slack, ..Typing::default() }
    }

    fn note(&mut self, t: u64, device: DeviceId, (conversation, author): Whose, ghost: Ghost) {
        if self.wrongs.len() < MAX_WRONGS {
            self.wrongs.push(WrongTyping { t, device, conversation, author, ghost });
        }
    }

    pub fn handle_connected(&mut self, user: UserId, device: u32) {
        self.connections += 1;
        if self.expected_within.is_some() {
            let own = self.devices.entry(user).or_default();
            if !own.contains(&device) {
                own.push(device);
            }
        }
    }

    /// A person sends: a block that is taken back may be so at once.
    pub fn handle_sent(&mut self, conversation: ConversationId, what: What) {
        match what {
            What::Blocked(true) => {
                self.ever_blocked.insert(conversation);
            }
            What::Blocked(false) => {
                self.blocks.entry(conversation).and_modify(|blocks| blocks.since = 0);
            }
            _ => {}
        }
    }

    /// Somebody is displayed to have blocked, or not any more.
    fn handle_block(&mut self, (conversation, author): Whose, seq: Seq, is_so: bool, now: u64) {
        let Some(two) = two_of(conversation) else { return };
        let blocks = self.blocks.entry(conversation).or_default();
        let own = &mut blocks.by[usize::from(author != two[0])];
        if seq <= own.0 {
            return;
        }
        *own = (seq, is_so);
        let is_blocked = blocks.by.iter().any(|(_, is_so)| *is_so);
        blocks.since = match is_blocked {
            true if blocks.since == 0 => now,
            true => blocks.since,
            false => 0,
        };
    }

    /// An entry is displayed: who wrote it is not writing it any more.
    pub fn handle_displayed(&mut self, device: DeviceId, whose: Whose, (seq, what): (Seq, What), now: u64) {
        if let What::Blocked(is_so) = what {
            self.handle_block(whose, seq, is_so, now);
        }
        self.forgive_what_is_cut_short(device, whose, now);
        if let Some(shown) = self.shown.get_mut(&(device, whose)) {
            shown.written.get_or_insert(now);
        }
    }

    pub fn handle_over(&mut self, device: DeviceId, whose: Whose, now: u64) {
        if let Some(shown) = self.shown.remove(&(device, whose)) {
            self.judge_end(device, whose, shown, now);
        }
    }

    /// Nobody is shown on a device that begins anew.
    pub fn handle_anew(&mut self, device: DeviceId) {
        self.shown.retain(|(on, _), _| *on != device);
    }

    fn judge_end(&mut self, device: DeviceId, whose: Whose, shown: Shown, now: u64) {
        let lasted = now - shown.told;
        if lasted > SHOWN_FOR + self.timer_slack {
            self.note(now, device, whose, Ghost::Lasting(lasted));
        } else if shown.written.is_some_and(|written| now > written + self.timer_slack) {
            self.note(now, device, whose, Ghost::AfterItsMessage);
        } else if shown.written.is_none()
            && lasted + self.timer_slack < SHOWN_FOR
            && !(self.away.0 == now && self.away.1.contains(&device))
        {
            self.note(now, device, whose, Ghost::CutShort(lasted));
        }
    }

    /// What has just ended on a device has ended with a message that is displayed at this very moment.
    fn forgive_what_is_cut_short(&mut self, device: DeviceId, whose: Whose, now: u64) {
        let is_explained = |wrong: &WrongTyping| {
            matches!(wrong.ghost, Ghost::CutShort(_))
                && (wrong.t, wrong.device, wrong.conversation, wrong.author) == (now, device, whose.0, whose.1)
        };
        if self.wrongs.last().is_some_and(|last| last.t == now) {
            self.wrongs.retain(|wrong| !is_explained(wrong));
        }
    }

    /// A device is put away: it shows nobody any more.
    pub fn handle_away(&mut self, device: DeviceId, now: u64) {
        if self.away.0 != now {
            self.away = (now, Vec::new());
        }
        self.away.1.push(device);
    }

    fn keep_part(&mut self, part: Part) {
        let key = (part.conversation, part.user);
        if let Some(place) = self.latest.get(&key).copied()
            && part.from <= self.parts[place].to + CLOSELY
        {
            self.parts[place].to = part.to;
        } else if self.parts.len() < MAX_SHOWN_IN_GROUPS {
            self.latest.insert(key, self.parts.len());
            self.parts.push(part);
        }
    }
}

impl Facts {
    /// A device says that its person is writing.
    pub(super) fn says_typing(&mut self, device: DeviceId, conversation: ConversationId) {
        let device = self.device(device, None);
        let Some(user) = self.devices[device].user() else { return };
        let (whose, now) = ((conversation, user), self.now);
        let said = Said { at: now, device };
        let before = self.typing.said.insert(whose, said);
        let is_alone = before.is_none_or(|before| now - before.at >= ALONE);
        if !is_alone || self.typing.awaited.contains_key(&whose) || two_of(conversation).is_none() {
            return;
        }
        let Some(within) = self.typing.expected_within.filter(|_| self.is_in_memory(device, conversation)) else {
            return;
        };
        self.typing.awaited.insert(whose, Awaited { said, came: Vec::new() });
        self.typing.deadlines.push_back((now + within, whose));
    }

    /// Whether the conversation's shard has it in memory, for an entry of it has been seen since it last started, on this device, too.
    fn is_in_memory(&self, device: u32, id: ConversationId) -> bool {
        let Some(conversation) = self.conversations.find(id) else { return false };
        let pair = self.pairs.find((self.devices[device].id, conversation));
        let is_known = pair.is_some_and(|pair| self.pairs[pair].position > 0);
        is_known && self.conversations[conversation].last_epoch == self.shard_restarts(conversation)
    }

    /// A device shows that somebody is writing.
    pub(super) fn shows_typing(&mut self, id: DeviceId, conversation: ConversationId, author: UserId) {
        let (device, now, whose) = (self.device(id, None), self.now, (conversation, author));
        self.typing.times += 1;
        let reader = self.devices[device].user();
        if reader == Some(author) {
            self.typing.note(now, id, whose, Ghost::Own);
        }
        match two_of(conversation) {
            Some(two) => {
                let strangers =
                    [reader.unwrap_or_default(), author].into_iter().filter(|user| !two.contains(user));
                for stranger in strangers.collect::<Vec<_>>() {
                    self.typing.note(now, id, whose, Ghost::Stranger(stranger));
                }
                let blocked = self.typing.blocks.get(&conversation).map_or(0, |blocks| blocks.since);
                if blocked > 0 && now > blocked + LEASE {
                    self.typing.note(now, id, whose, Ghost::Blocked);
                }
            }
            None => {
                for user in [reader.unwrap_or_default(), author] {
                    let part = Part { conversation, user, from: now, to: now, device: id, author };
                    self.typing.keep_part(part);
                }
            }
        }
        match self.typing.said.get(&whose).copied() {
            None => self.typing.note(now, id, whose, Ghost::Unsaid),
            Some(said) if now - said.at > AGE && self.are_unharmed(device, said, conversation, now) => {
                self.typing.note(now, id, whose, Ghost::Stale(now - said.at));
            }
            Some(_) => {}
        }
        if let Some(awaited) = self.typing.awaited.get_mut(&whose) {
            awaited.came.push(device);
        }
        self.judge_pace(device, id, whose);
    }

    /// Takes that somebody is shown, or for longer, and judges how often and for how long.
    fn judge_pace(&mut self, device: u32, id: DeviceId, whose: Whose) {
        let now = self.now;
        let before = self.typing.shown.get(&(id, whose)).copied();
        let mut next = now + INTERVAL;
        if let Some(before) = before {
            next = before.next.max(now) + INTERVAL;
            if now - before.told > SHOWN_FOR + self.typing.timer_slack {
                self.typing.note(now, id, whose, Ghost::Lasting(now - before.told));
            }
        }
        if next > now + INTERVAL + BUNCHED {
            let said = self.typing.said.get(&whose).copied();
            let is_calm = |said: Said| {
                let since = Said { at: now.saturating_sub(2 * AGE), ..said };
                self.are_unharmed(device, since, whose.0, now)
            };
            if said.is_none_or(is_calm) {
                self.typing.note(now, id, whose, Ghost::TooOften);
            }
            next = now + INTERVAL;
        }
        self.typing.shown.insert((id, whose), Shown { told: now, next, written: None });
    }

    /// Whether no fault that may keep bytes back in a process or on a device's path has touched the way of what was said since. What is
    /// stopped on a link between hosts is none: whatever waits for a link is dropped in time.
    fn are_unharmed(&self, device: u32, said: Said, conversation: ConversationId, now: u64) -> bool {
        let is_slow = |device: u32| {
            let until = u64::from(self.devices[device].slow_until_ms) * 1_000;
            until > 0 && until >= said.at
        };
        let ends = [device, said.device];
        if ends.into_iter().any(is_slow) {
            return false;
        }
        let way = self.way_between(ends, conversation);
        !self.promptness.holds_back(&way, &ends, (said.at, now))
    }

    /// The hosts between two devices in a conversation.
    fn way_between(&self, [device, author]: [u32; 2], id: ConversationId) -> [Option<u16>; 5] {
        let shard = self.shards.get(rendezvous(id.spread(), self.shards.len().max(1) as u32) as usize);
        let (gateway, authors) = (self.devices[device].gateway, self.devices[author].gateway);
        let user = self.devices[device].user().unwrap_or_default();
        self.promptness.way(gateway, authors, shard.map(|shard| shard.host), user)
    }

    /// Looks at what should have come by now.
    pub(super) fn look_for_typing(&mut self) {
        while let Some((due, whose)) = self.typing.deadlines.front().copied()
            && due <= self.now
        {
            self.typing.deadlines.pop_front();
            if let Some(awaited) = self.typing.awaited.remove(&whose) {
                self.judge_awaited(whose, &awaited);
            }
        }
    }

    fn judge_awaited(&mut self, (conversation, author): Whose, awaited: &Awaited) {
        let mate = two_of(conversation).and_then(|two| two.into_iter().find(|user| *user != author));
        let Some(mate) = mate.filter(|_| !self.typing.ever_blocked.contains(&conversation)) else { return };
        let Said { at, device: author } = awaited.said;
        let is_settled = |device: u32| {
            let row = &self.devices[device];
            !row.is(mark::INSIDER)
                && row.gone_since == CONNECTED
                && u64::from(row.connected_ms) * 1_000 + SETTLED <= at
        };
        if !is_settled(author) {
            return;
        }
        let (mut expected, mut came) = (0, 0);
        for device in self.typing.devices.get(&mate).into_iter().flatten().copied() {
            let from = Said { at: at.saturating_sub(LEASE), device: author };
            let way = self.way_between([device, author], conversation);
            let is_calm = is_settled(device)
                && self.are_unharmed(device, from, conversation, self.now)
                && !self.promptness.is_touched(&way, (from.at, self.now));
            if is_calm {
                expected += 1;
                came += u64::from(awaited.came.contains(&device));
            }
        }
        self.typing.expected += expected;
        self.typing.came += came;
    }

    /// Whether so much of what had to come did not that it is no accident.
    pub fn typing_is_lost(&self) -> bool {
        let Typing { expected, came, .. } = self.typing;
        expected >= ENOUGH && came * 100 < expected * MOST_PERCENT
    }

    pub fn typing(&self) -> &Typing {
        &self.typing
    }

    /// All that was shown wrong, once the audit has said who was a member when; in order of time.
    pub fn wrong_typing(&self) -> Vec<WrongTyping> {
        let mut wrongs = self.typing.wrongs.clone();
        wrongs.extend(self.typing.parts.iter().filter(|part| self.is_none_of_theirs(part)).map(|part| {
            WrongTyping {
                t: part.to,
                device: part.device,
                conversation: part.conversation,
                author: part.author,
                ghost: Ghost::Stranger(part.user),
            }
        }));
        let lasting = |(key, shown): (&(DeviceId, Whose), &Shown)| {
            let (device, (conversation, author)) = *key;
            let (t, lasted) = (self.now, self.now - shown.told);
            let ghost = Ghost::Lasting(lasted);
            (lasted > SHOWN_FOR + self.typing.timer_slack).then_some(WrongTyping {
                t,
                device,
                conversation,
                author,
                ghost,
            })
        };
        wrongs.extend(self.typing.shown.iter().filter_map(lasting));
        wrongs.sort_unstable_by_key(|wrong| (wrong.t, wrong.device, wrong.author));
        wrongs
    }

    /// Whether somebody had a part in what was shown in a group at a time when they were no member of it, nor had been a short while ago.
    fn is_none_of_theirs(&self, part: &Part) -> bool {
        let Some(conversation) = self.conversations.find(part.conversation) else { return true };
        let stays = self.membership.of_in(part.user, conversation);
        let seen = |place: u32| self.at(conversation, place).map(|message| &self.messages[message]);
        // From when to when each stay may have lasted.
        let mut covered: Vec<(u64, u64)> = stays
            .iter()
            .map(|stay| {
                let began =
                    seen(stay.joined).map_or(0, |message| u64::from(message.sent_ms.saturating_sub(1)) * 1_000);
                let ended = if stay.to == u32::MAX { None } else { seen(stay.to).map(|message| message.seen_ms) };
                let ended = ended.filter(|ms| *ms > 0);
                (began, ended.map_or(u64::MAX, |ms| u64::from(ms) * 1_000 + LEASE))
            })
            .collect();
        covered.sort_unstable();
        let mut until = None;
        for (began, ended) in covered {
            match until {
                None if began <= part.from && part.from <= ended => until = Some(ended),
                Some(before) if began <= before => until = Some(ended.max(before)),
                _ => {}
            }
        }
        until.is_none_or(|until| until < part.to)
    }
}
