//! Tokens that devices have shown, what gateways made of them, and how far each gateway's clock was off.
//!
//! When a token expires is its issuer's word, how far a clock is off the world's, and what a gateway answered is seen by whoever it
//! answered. A gateway may go by its own clock; what it did at some moment of a while is wrong only if it is at each of them.
//!
//! Memory: a row for each device whose token expires soon, and a few words for each change of a gateway's clock.

use super::Facts;
use crate::Config;
use rustc_hash::FxHashMap;
use squall_history::Word;
use squall_protocol::{DeviceId, limits};
use std::ops::Range;

const SECOND: u64 = 1_000_000;
/// A token counts for so long beyond its expiry, in µs; and as long before its beginning.
const LEEWAY: i128 = limits::TOKEN_LEEWAY.as_micros() as i128;
/// What a clock that is told of in steps, and a tick, may be off, in µs.
const BLURRED: i128 = SECOND as i128;
/// A gateway may go on for so long with whose token counts no longer, in µs: it looks at them ten times as often.
const SLACK: i128 = 10 * SECOND as i128;
/// A device is welcomed at most so long after it said hello, in µs.
const CONNECTING: u64 = limits::CONNECT_LIMIT.as_micros() as u64;
/// What a device is told of a close may have been said so long before, in µs.
const TOLD_LATE: u64 = 60 * SECOND;
/// Answers to somebody whose token counts no longer, and over which time, in µs, that show that nobody looks: a gateway that has been paused
/// answers one before it looks.
const ANSWERS: u32 = 3;
const OVER: u64 = 2 * SECOND;
/// A device shows one more token before it gives up.
const GIVES_UP_AFTER: u32 = limits::MAX_TOKEN_REFUSALS as u32;
/// Whoever is connected has asked for a newer token by then, if it was to be had for so long, in µs: it asks every 10 s.
const ASKED_WITHIN: u64 = 45 * SECOND;
/// Whoever was turned away is connected again after so long, in µs: an app tries again long before.
const BACK_AFTER: u64 = 30 * SECOND;
/// Tokens that expire later are not looked at: no run is so long.
const SOON_S: i64 = 3 * 3_600;
/// Violations that are kept; more would say nothing new.
const MAX_WRONGS: usize = 1_024;

/// What a gateway has done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The device gave up after so many refusals in a row.
    GaveUp { times: u32 },
    /// It took a token that it had no reason to take.
    Taken { flaw: Word },
    /// It served somebody whose token had long counted no longer.
    Served { expires_s: i64 },
    /// It has closed a connection for its token, though its app could have had a newer one for long.
    NotReplaced { expires_s: i64 },
    /// It turned somebody away whose token counted.
    TurnedAway { expires_s: i64 },
    /// Nobody has taken the device's tokens to the end.
    NotBack,
}

/// Of which device, through which gateway, and when, in µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongOf {
    pub t: u64,
    pub device: DeviceId,
    pub gateway: u16,
    pub wrong: Wrong,
}

/// Answers to a device whose token counted no longer.
#[derive(Debug, Clone, Copy)]
struct Late {
    first: u64,
    answers: u32,
}

#[derive(Debug, Clone, Copy)]
struct Connected {
    gateway: u16,
    since: u64,
    expires_s: i64,
}

/// What is known of all of them.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// The host of each gateway, by its number.
    gateways: Vec<u16>,
    /// When no tokens were to be had, in µs.
    no_tokens: Range<u64>,
    /// Of each host: from when on its clock was how far ahead, in µs.
    clocks: FxHashMap<u16, Vec<(u64, i64)>>,
    connected: FxHashMap<DeviceId, Connected>,
    late: FxHashMap<DeviceId, Late>,
    /// Turned away, and not connected since: last when, by which gateway, and how often.
    turned_away: FxHashMap<DeviceId, (u64, u16, u32)>,
    wrongs: Vec<WrongOf>,
    /// Tokens that were shown and taken.
    pub taken: u64,
    /// Tokens that expired, were refused, or were replaced in time, and those that nobody should take.
    pub at_stake: u64,
}

impl Tokens {
    pub fn new(config: &Config) -> Self {
        let no_tokens = config.no_tokens_us.clone().unwrap_or(0..0);
        Tokens { gateways: config.gateways.clone(), no_tokens, ..Tokens::default() }
    }

    pub fn handle_clock(&mut self, host: u16, ahead_us: i64, now: u64) {
        self.clocks.entry(host).or_default().push((now, ahead_us));
    }

    /// What a gateway's clock showed at least at `from` and at most at `to`, in µs of the run, by how far it was off in between.
    fn clock(&self, gateway: u16, from: u64, to: u64) -> (i128, i128) {
        let host = self.gateways.get(usize::from(gateway));
        let changes = host.and_then(|host| self.clocks.get(host)).map_or(&[][..], Vec::as_slice);
        let before = changes.iter().rev().find(|(t, _)| *t <= from).map_or(0, |(_, ahead)| *ahead);
        let within = changes.iter().filter(|(t, _)| from < *t && *t <= to).map(|(_, ahead)| *ahead);
        let (least, most) =
            within.fold((before, before), |(least, most), ahead| (least.min(ahead), most.max(ahead)));
        (i128::from(from) + i128::from(least), i128::from(to) + i128::from(most))
    }

    /// Whether a token had counted no longer for more than `slack` by the gateway's clock, at each moment from `from` to `to`.
    fn is_over(&self, gateway: u16, expires_s: i64, (from, to): (u64, u64), slack: i128) -> bool {
        self.clock(gateway, from, to).0 > of(expires_s) + LEEWAY + slack
    }

    pub fn handle_connected(&mut self, device: DeviceId, gateway: u16, expires_s: i64, now: u64) {
        self.taken += 1;
        self.turned_away.remove(&device);
        self.late.remove(&device);
        if expires_s > (now / SECOND) as i64 + SOON_S {
            self.connected.remove(&device);
            return;
        }
        self.connected.insert(device, Connected { gateway, since: now, expires_s });
        if self.is_over(gateway, expires_s, (now.saturating_sub(CONNECTING), now), BLURRED) {
            self.note(WrongOf { t: now, device, gateway, wrong: Wrong::Taken { flaw: "expired" } });
        }
    }

    pub fn handle_refreshed(&mut self, device: DeviceId, expires_s: i64) {
        self.taken += 1;
        self.at_stake += 1;
        self.late.remove(&device);
        if let Some(connected) = self.connected.get_mut(&device) {
            connected.expires_s = expires_s;
        }
    }

    pub fn handle_disconnected(&mut self, device: DeviceId) {
        self.connected.remove(&device);
        self.late.remove(&device);
    }

    /// The person has put the device away: nobody waits for it.
    pub fn handle_away(&mut self, device: DeviceId) {
        self.turned_away.remove(&device);
    }

    /// A send has been answered that was sent, at the earliest, at this time.
    pub fn handle_answered(&mut self, device: DeviceId, sent: u64, now: u64) {
        let Some(Connected { gateway, since, expires_s }) = self.connected.get(&device).copied() else { return };
        if sent > since && self.is_over(gateway, expires_s, (sent, now), SLACK) {
            self.serves(device, gateway, expires_s, now);
        }
    }

    fn serves(&mut self, device: DeviceId, gateway: u16, expires_s: i64, now: u64) {
        let late = self.late.entry(device).or_insert(Late { first: now, answers: 0 });
        late.answers += 1;
        if late.answers >= ANSWERS && now - late.first >= OVER {
            self.note(WrongOf { t: now, device, gateway, wrong: Wrong::Served { expires_s } });
            self.late.remove(&device);
        }
    }

    /// A gateway has closed a connection or turned somebody away for their token. `unharmed_since`: no fault has been at work since then.
    pub fn handle_refused(
        &mut self,
        device: DeviceId,
        gateway: u16,
        expires_s: i64,
        (unharmed_since, now): (u64, u64),
    ) {
        self.at_stake += 1;
        if let Some(connected) = self.connected.get(&device) {
            // A device shows a newer one before it expires, if there is one.
            let due = of(expires_s).max(i128::from(connected.since));
            let had = due.max(i128::from(unharmed_since)).max(i128::from(self.no_tokens.end));
            if !self.no_tokens.contains(&now) && i128::from(now) - had > i128::from(ASKED_WITHIN) {
                self.note(WrongOf { t: now, device, gateway, wrong: Wrong::NotReplaced { expires_s } });
            }
        }
        let times = self.turned_away.get(&device).map_or(0, |(_, _, times)| *times);
        self.turned_away.insert(device, (now, gateway, times + 1));
        let (_, latest) = self.clock(gateway, now.saturating_sub(TOLD_LATE), now);
        if latest < of(expires_s) + LEEWAY - BLURRED {
            self.note(WrongOf { t: now, device, gateway, wrong: Wrong::TurnedAway { expires_s } });
        }
    }

    /// A device gives up, until its person starts it again: it may once it has been turned away twice, one time after the other.
    pub fn handle_given_up(&mut self, device: DeviceId, now: u64) {
        let (_, gateway, times) = self.turned_away.get(&device).copied().unwrap_or_default();
        if times < GIVES_UP_AFTER {
            self.note(WrongOf { t: now, device, gateway, wrong: Wrong::GaveUp { times } });
        }
    }

    /// Somebody has been answered with a token that has this flaw, which was asked about at `asked`.
    pub fn handle_taken(
        &mut self,
        device: DeviceId,
        gateway: u16,
        flaw: Word,
        (expires_s, not_before_s): (i64, Option<i64>),
        (asked, now): (u64, u64),
    ) {
        self.at_stake += 1;
        match flaw {
            "outstayed" if self.is_over(gateway, expires_s, (asked, now), SLACK) => {
                return self.serves(device, gateway, expires_s, now);
            }
            "outstayed" => return,
            "expired" | "expiring" if !self.is_over(gateway, expires_s, (asked, now), BLURRED) => return,
            "not valid yet" => {
                let (_, latest) = self.clock(gateway, asked, now);
                let from = not_before_s.map_or(i128::MIN / 2, of);
                if latest >= from - LEEWAY - BLURRED {
                    return;
                }
            }
            _ => {}
        }
        self.note(WrongOf { t: now, device, gateway, wrong: Wrong::Taken { flaw } });
    }

    fn note(&mut self, wrong: WrongOf) {
        if self.wrongs.len() < MAX_WRONGS {
            self.wrongs.push(wrong);
        }
    }

    /// All that was wrong, with those who have been turned away and are not back at the end.
    pub fn wrongs(&self, now: u64) -> impl Iterator<Item = WrongOf> {
        let is_lost = |(_, (t, ..)): &(&DeviceId, &(u64, u16, u32))| now - t >= BACK_AFTER;
        let mut lost: Vec<_> = self.turned_away.iter().filter(is_lost).collect();
        lost.sort_unstable();
        let lost = lost.into_iter();
        let lost = lost.map(|(device, (t, gateway, _))| WrongOf {
            t: *t,
            device: *device,
            gateway: *gateway,
            wrong: Wrong::NotBack,
        });
        self.wrongs.iter().copied().chain(lost)
    }
}

/// In µs of the run.
fn of(seconds: i64) -> i128 {
    i128::from(seconds) * i128::from(SECOND)
}

impl Facts {
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}
