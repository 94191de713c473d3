//! How often somebody may do something: the generic cell rate algorithm, a bucket of tokens in one number a user.
//!
//! The number is the time at which the bucket will be full. What is refused costs nothing, so that whoever is told to wait and does
//! is taken at once.
//!
//! **Invariants:** a full bucket needs no row, so rows that go because they are full change nothing. When all rows are taken by those
//! who have just spent, those who have spent least go: to fill the table gives nobody more than a bucket that was nearly full. Guarded
//! by the tests below.

use crate::plant::{Plant, planted};
use crate::presence::PresenceTimes;
use crate::time::Time;
use rustc_hash::FxHashMap;
use squall_protocol::limits::{self, MAX_LIMITED_USERS};
use squall_protocol::{Payload, UserId};
use std::time::Duration;

/// So many a second in the long run, so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl Rate {
    /// What an empty bucket takes to fill.
    pub fn fills_in(self) -> Duration {
        Duration::from_micros(self.micros(self.burst))
    }

    /// One after the other, and what a whole burst takes to come back.
    fn micros(self, tokens: u32) -> u64 {
        u64::from(tokens) * 1_000_000 / u64::from(self.per_second.max(1))
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.per_second, self.burst)
    }
}

impl std::str::FromStr for Rate {
    type Err = String;

    /// `50/500`: 50 a second, 500 at once.
    fn from_str(text: &str) -> Result<Rate, String> {
        let wrong = || format!("expected A-SECOND/AT-ONCE, such as 50/500, both at least 1; found '{text}'");
        let (per_second, burst) = text.split_once('/').ok_or_else(wrong)?;
        let number = |word: &str| word.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(wrong);
        Ok(Rate { per_second: number(per_second)?, burst: number(burst)? })
    }
}

/// What one user may do, and from where on a group is a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserLimits {
    /// Frames of all sorts, at each gateway, by weight: whoever sends more is read more slowly. Never fewer than a few a send
    /// ([`UserLimits::frame_budget`]).
    pub frames: Rate,
    /// Sends, at each gateway.
    pub sends: Rate,
    /// Conversations created, at each shard.
    pub creations: Rate,
    /// People put into conversations, at each shard: those whom a creation names, and each who is added.
    pub additions: Rate,
    /// Changes of who is a member and may do what, at each shard: joins and leaves leave a row behind for as long as the conversation is there.
    pub changes: Rate,
    /// A group that has more members is a channel from then on, and one no more when there are half as many.
    pub channel_above: u32,
    /// Devices are told how far others have come: a look-up and a notice for each cursor that moves.
    pub tells_receipts: bool,
    /// Of a larger group it is told how many have come how far, and not who.
    pub receipts_named_up_to: u32,
    /// How long somebody counts as online without a sign of it.
    pub presence: PresenceTimes,
}

impl Default for UserLimits {
    fn default() -> Self {
        let rate = |(per_second, burst)| Rate { per_second, burst };
        UserLimits {
            frames: rate(limits::USER_FRAMES),
            sends: rate(limits::USER_SENDS),
            creations: rate(limits::USER_CREATIONS),
            additions: rate(limits::USER_ADDITIONS),
            changes: rate(limits::USER_CHANGES),
            channel_above: limits::CHANNEL_ABOVE,
            tells_receipts: true,
            receipts_named_up_to: limits::RECEIPTS_NAMED_UP_TO,
            presence: PresenceTimes::default(),
        }
    }
}

impl UserLimits {
    /// Frames that one user may send: as many as they are given, and enough for all the sends that they are given.
    pub fn frame_budget(&self) -> Rate {
        let for_sends = |sends: u32| sends.saturating_mul(limits::FRAMES_A_SEND);
        Rate {
            per_second: self.frames.per_second.max(for_sends(self.sends.per_second)),
            burst: self.frames.burst.max(for_sends(self.sends.burst)),
        }
    }
}

/// The buckets of all users for one sort of thing.
#[derive(Debug)]
pub struct Rates {
    rate: Rate,
    /// When each bucket that is not full will be.
    full_at: FxHashMap<UserId, Time>,
    /// With so many rows, those that are full go.
    tidy_at: usize,
}

impl Rates {
    pub fn new(rate: Rate) -> Self {
        Rates { rate, full_at: FxHashMap::default(), tidy_at: MAX_LIMITED_USERS / 64 }
    }

    /// When the bucket is full again once `tokens` are taken now. More than a whole bucket is taken as one.
    fn after(&self, user: UserId, tokens: u32, now: Time) -> Time {
        let tokens = if planted(Plant::LargeCreationNeverFits) { tokens } else { tokens.min(self.rate.burst) };
        let full_at = self.full_at.get(&user).copied().unwrap_or(now).max(now);
        full_at + Duration::from_micros(self.rate.micros(tokens))
    }

    /// Whether `tokens` may be taken; if not, how long to wait.
    pub fn check(&self, user: UserId, tokens: u32, now: Time) -> Result<(), Duration> {
        let beyond = self.after(user, tokens, now).since(now);
        match beyond.checked_sub(Duration::from_micros(self.rate.micros(self.rate.burst))) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    /// Takes `tokens`, whether or not they are there: what is owed is waited for longer.
    pub fn spend(&mut self, user: UserId, tokens: u32, now: Time) {
        let after = self.after(user, tokens, now);
        self.full_at.insert(user, after);
        if self.full_at.len() >= self.tidy_at {
            self.tidy(now);
        }
    }

    /// Takes `tokens` if they are there; if not, says how long to wait.
    pub fn take(&mut self, user: UserId, tokens: u32, now: Time) -> Result<(), Duration> {
        let checked = self.check(user, tokens, now);
        if checked.is_ok() || planted(Plant::RefusedSendsCounted) {
            self.spend(user, tokens, now);
        }
        checked
    }

    /// Takes `tokens`, whether or not they are there, and says how long their taker has to pause. What is owed is a bucket at most, so
    /// that no pause is longer than two buckets take to fill.
    pub fn draw(&mut self, user: UserId, tokens: u32, now: Time) -> Duration {
        let (burst, cost) = (self.rate.micros(self.rate.burst), self.rate.micros(tokens.min(self.rate.burst)));
        let row = self.full_at.entry(user).or_insert(now);
        let full_at = ((*row).max(now) + Duration::from_micros(cost)).min(now + Duration::from_micros(2 * burst));
        *row = full_at;
        if self.full_at.len() >= self.tidy_at {
            self.tidy(now);
        }
        let next = full_at + Duration::from_micros(self.rate.micros(1));
        next.since(now).saturating_sub(Duration::from_micros(burst))
    }

    /// How long whoever draws has to pause before the next one.
    pub fn pause(&self, user: UserId, now: Time) -> Duration {
        self.check(user, 1, now).err().unwrap_or_default()
    }

    fn tidy(&mut self, now: Time) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= MAX_LIMITED_USERS {
            let mut rows: Vec<(Time, UserId)> = self.full_at.iter().map(|(user, at)| (*at, *user)).collect();
            rows.sort_unstable();
            for (_, user) in &rows[..MAX_LIMITED_USERS / 2] {
                self.full_at.remove(user);
            }
        }
        self.tidy_at = (2 * self.full_at.len()).clamp(MAX_LIMITED_USERS / 64, MAX_LIMITED_USERS);
    }

    /// Buckets that are not known to be full.
    pub fn rows(&self) -> usize {
        self.full_at.len()
    }
}

/// What a shard counts of each user: what makes rows for others.
#[derive(Debug)]
pub struct Growth {
    creations: Rates,
    additions: Rates,
    changes: Rates,
}

impl Growth {
    pub fn new(limits: UserLimits) -> Self {
        let UserLimits { creations, additions, changes, .. } = limits;
        Growth { creations: Rates::new(creations), additions: Rates::new(additions), changes: Rates::new(changes) }
    }

    /// Whether the user may send this now; if not, how long to wait. Costs nothing.
    pub fn check(&self, user: UserId, payload: &Payload, now: Time) -> Result<(), Duration> {
        let cost = Cost::of(payload);
        let each =
            [(&self.creations, cost.creations), (&self.additions, cost.additions), (&self.changes, cost.changes)];
        each.into_iter()
            .filter(|(_, tokens)| *tokens > 0)
            .try_for_each(|(rates, tokens)| rates.check(user, tokens, now))
    }

    /// It has become an entry.
    pub fn spend(&mut self, user: UserId, payload: &Payload, now: Time) {
        let user = match payload {
            Payload::Joined(added) if planted(Plant::AdditionsChargedToTheAdded) => added[0],
            _ => user,
        };
        let cost = Cost::of(payload);
        let each = [
            (&mut self.creations, cost.creations),
            (&mut self.additions, cost.additions),
            (&mut self.changes, cost.changes),
        ];
        each.into_iter()
            .filter(|(_, tokens)| *tokens > 0)
            .for_each(|(rates, tokens)| rates.spend(user, tokens, now));
    }
}

/// What an entry takes of each.
#[derive(Debug, Clone, Copy)]
struct Cost {
    creations: u32,
    additions: u32,
    changes: u32,
}

impl Cost {
    fn of(payload: &Payload) -> Cost {
        let cost = |creations, additions, changes| Cost { creations, additions, changes };
        let so_many = |users: &[UserId]| u32::try_from(users.len()).unwrap_or(u32::MAX);
        match payload {
            Payload::Text(_) => cost(0, 0, 0),
            Payload::Left(_)
            | Payload::Role { .. }
            | Payload::Setting { .. }
            | Payload::Named(_)
            | Payload::Blocked(_)
            | Payload::ForGood(_) => cost(0, 0, 1),
            Payload::Joined(users) => cost(0, so_many(users), 1),
            Payload::Created { members, .. } => cost(1, so_many(members), 0),
        }
    }
}

/// A wait in whole milliseconds, never none.
pub fn retry_after_ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 5 };
    const A: UserId = UserId(1);

    const fn ms(ms: u64) -> Time {
        Time(ms * 1_000)
    }

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let mut rates = Rates::new(RATE);
        let mut take = |at| rates.take(A, 1, ms(at)).map_err(|wait| wait.as_millis());
        assert!((0..5).all(|_| take(1_000).is_ok()));
        assert_eq!(take(1_000), Err(100));
        assert_eq!(take(1_040), Err(60));
        // To be refused has cost nothing.
        assert_eq!(take(1_100), Ok(()));
        assert_eq!(take(1_100), Err(100));
        assert!((0..5).all(|_| take(60_000).is_ok()));
        assert_eq!(take(60_000), Err(100));
    }

    #[test]
    fn more_than_a_bucket_holds_is_a_whole_bucket() {
        let mut rates = Rates::new(RATE);
        assert_eq!(rates.take(A, 5_000, ms(0)), Ok(()));
        assert_eq!(rates.take(A, 1, ms(0)), Err(Duration::from_millis(100)));
        assert_eq!(rates.take(A, 5_000, ms(400)), Err(Duration::from_millis(100)));
        assert_eq!(rates.take(A, 5_000, ms(500)), Ok(()));
    }

    #[test]
    fn what_was_staged_all_the_same_is_waited_for_longer() {
        let mut rates = Rates::new(RATE);
        rates.spend(A, 5, ms(0));
        rates.spend(A, 5, ms(0));
        assert_eq!(rates.check(A, 1, ms(0)), Err(Duration::from_millis(600)));
    }

    #[test]
    fn whoever_draws_more_than_there_is_pauses_for_it_and_owes_no_more_than_a_bucket() {
        let mut rates = Rates::new(RATE);
        assert_eq!(rates.draw(A, 4, ms(0)), Duration::ZERO);
        assert_eq!(rates.draw(A, 1, ms(0)), Duration::from_millis(100));
        assert_eq!(rates.draw(A, 3, ms(0)), Duration::from_millis(400));
        assert_eq!(rates.pause(A, ms(399)), Duration::from_millis(1));
        assert_eq!(rates.pause(A, ms(400)), Duration::ZERO);
        for _ in 0..100 {
            rates.draw(A, 5, ms(400));
        }
        assert_eq!(rates.pause(A, ms(400)), Duration::from_millis(600));
    }

    #[test]
    fn whoever_may_send_much_has_the_frames_for_it() {
        let sends = Rate { per_second: 10_000, burst: 20_000 };
        let plenty = UserLimits { sends, ..UserLimits::default() };
        assert_eq!(plenty.frame_budget(), Rate { per_second: 40_000, burst: 80_000 });
        assert_eq!(UserLimits::default().frame_budget(), UserLimits::default().frames);
    }

    #[test]
    fn a_table_that_others_fill_gives_nobody_more() {
        let mut rates = Rates::new(RATE);
        rates.spend(A, 5, ms(0));
        for user in 0..2 * MAX_LIMITED_USERS as u64 {
            rates.spend(UserId(10 + user), 1, ms(0));
        }
        assert!(rates.rows() <= MAX_LIMITED_USERS);
        assert_eq!(rates.check(A, 1, ms(0)), Err(Duration::from_millis(100)));
        rates.spend(UserId(2), 1, ms(10_000));
        rates.tidy(ms(10_000));
        assert_eq!(rates.rows(), 1);
    }

    #[test]
    fn a_creation_counts_as_one_and_as_all_whom_it_names() {
        let limits = UserLimits {
            creations: Rate { per_second: 1, burst: 2 },
            additions: Rate { per_second: 10, burst: 100 },
            ..UserLimits::default()
        };
        let mut growth = Growth::new(limits);
        let created =
            |n| Payload::Created { direct: false, channel: false, members: (0..n).map(UserId).collect() };
        let (large, joined) = (created(90), Payload::joined(A));
        assert_eq!(growth.check(A, &large, ms(0)), Ok(()));
        growth.spend(A, &large, ms(0));
        assert_eq!(growth.check(A, &large, ms(0)), Err(Duration::from_secs(8)));
        assert!((0..10).all(|_| {
            let passes = growth.check(A, &joined, ms(0)).is_ok();
            growth.spend(A, &joined, ms(0));
            passes
        }));
        assert_eq!(growth.check(A, &joined, ms(0)), Err(Duration::from_millis(100)));
        assert_eq!(growth.check(A, &Payload::Text("x".into()), ms(0)), Ok(()));
        assert_eq!(growth.check(UserId(2), &large, ms(0)), Ok(()));
    }

    #[test]
    fn whoever_comes_and_goes_without_end_is_told_to_wait() {
        let mut growth = Growth::new(UserLimits { changes: RATE, ..UserLimits::default() });
        let (left, joined) = (Payload::left(A), Payload::joined(A));
        for change in [&left, &joined, &left, &joined, &left] {
            assert_eq!(growth.check(A, change, ms(0)), Ok(()));
            growth.spend(A, change, ms(0));
        }
        assert_eq!(growth.check(A, &left, ms(0)), Err(Duration::from_millis(100)));
        assert_eq!(growth.check(A, &joined, ms(0)), Err(Duration::from_millis(100)));
        assert_eq!(growth.check(A, &Payload::Text("x".into()), ms(0)), Ok(()));
        assert_eq!(growth.check(A, &left, ms(100)), Ok(()));
    }

    #[test]
    fn a_rate_is_written_as_two_numbers() {
        assert_eq!("10/5".parse(), Ok(RATE));
        for wrong in ["", "10", "0/5", "10/0", "x/5", "10/5/5", "-1/5"] {
            assert!(wrong.parse::<Rate>().unwrap_err().contains("such as 50/500"), "{wrong}");
        }
    }
}
