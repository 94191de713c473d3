//! The audit over the wire: a fresh device of each user, which has never been there, reads everything that its user may see.
//!
//! What fresh devices show is what the server would show to a person who has lost their phone: it is the log, read from outside. They are devices
//! like all others, judged by the same checks, and what they show is taken for what is durable. A user is done when their fresh device and
//! their others have shown the same; before that, neither side may have had the time.

use crate::options::Plan;
use crate::sockets::{Conn, Mile};
use crate::station::FIRST_FRESH;
use squall_core::Time;
use squall_generators::client_faults::SharedClientFaults;
use squall_generators::{Fleet, NoFrameFaults, Signal, Sink, Who};
use squall_scenarios::people::Mix;
use std::time::Duration;

/// How long a fresh device listens at least: what it is told of conversations of which its user's other devices know nothing
/// comes unasked.
const LISTENS: Duration = Duration::from_secs(1);

struct Reader {
    user: u32,
    since: Time,
}

/// The fresh devices of one station.
pub struct Audit {
    fleet: Fleet<Mile, NoFrameFaults>,
    waiting: std::ops::Range<u32>,
    reading: Vec<Reader>,
    most: usize,
    /// When something was last read, and how much there was then.
    progress: (Time, u64),
}

impl Audit {
    pub fn new(plan: &Plan, who: &Who, mile: Mile) -> Self {
        let mut scenario = plan.scenario.clone();
        scenario.population.devices_per_user = Mix::One(1);
        // They are told what the others are told, and do nothing of what is judged: nobody reads, writes or watches there.
        if scenario.receipts.are_kept() {
            scenario.receipts.readers = f64::MIN_POSITIVE;
        }
        scenario.typing.before = 0.0;
        scenario.presence.watches = 0;
        let who = Who { first_device: u64::from(FIRST_FRESH) + 1, ..who.clone() };
        let mut fleet = Fleet::new(Mile { first: FIRST_FRESH, ..mile }, NoFrameFaults, &scenario, who);
        fleet.keep_connected();
        Audit {
            waiting: fleet.clients(),
            reading: Vec::new(),
            most: plan.readers,
            progress: (Time::ZERO, 0),
            fleet,
        }
    }

    /// When one next does something of itself.
    pub fn next_due(&mut self) -> Time {
        self.fleet.next_due()
    }

    pub fn handle_signal(&mut self, client: u32, conn: Conn, signal: Signal, now: Time, sink: &mut impl Sink) {
        self.fleet.handle_signal(client - FIRST_FRESH, conn, signal, now, sink);
    }

    pub fn step(&mut self, now: Time, sink: &mut impl Sink) {
        self.fleet.step(now, sink);
    }

    /// Lets those go who are done and lets others begin; whether all are done.
    pub fn look(&mut self, people: &Fleet<Mile, SharedClientFaults>, now: Time, sink: &mut impl Sink) -> bool {
        let reading = std::mem::take(&mut self.reading);
        for reader in reading {
            match now.since(reader.since) >= LISTENS && self.is_done(reader.user, people) {
                true => self.fleet.leave(reader.user, now, sink),
                false => self.reading.push(reader),
            }
        }
        while self.reading.len() < self.most
            && let Some(user) = self.waiting.next()
        {
            self.fleet.come_back_at(user, now);
            self.reading.push(Reader { user, since: now });
        }
        let totals = self.fleet.totals();
        let read = totals.displayed + totals.connects;
        if read != self.progress.1 {
            self.progress = (now, read);
        }
        self.reading.is_empty() && self.waiting.is_empty()
    }

    /// How long nothing has been read.
    pub fn idle(&self, now: Time) -> Duration {
        now.since(self.progress.0)
    }

    /// Whether the fresh device of a user and all others have shown the same.
    fn is_done(&self, user: u32, people: &Fleet<Mile, SharedClientFaults>) -> bool {
        let Some(fresh) = self.fleet.session(user).filter(|fresh| fresh.is_online() && !fresh.is_busy()) else {
            return false;
        };
        let population = people.population();
        let first = population.first_device(user);
        let mut devices = (first..first + population.devices_of(user)).filter_map(|device| people.session(device));
        devices.all(|device| {
            device.conversations().all(|(conversation, shown)| fresh.shown(conversation) >= shown)
                && fresh.conversations().all(|(conversation, shown)| device.shown(conversation) >= shown)
        })
    }

    /// How many users' logs have not been read to their end.
    pub fn unread(&self) -> u64 {
        (self.reading.len() + self.waiting.len()) as u64
    }
}
