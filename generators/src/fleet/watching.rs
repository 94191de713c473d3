//! Whom people look at, and when they want to look offline themselves.
//!
//! A device looks at the members of a few conversations that it knows, and every while at those of another one: of some it is no member any more,
//! and hears nothing. Everything is drawn from a stream of its own.

use super::{Fleet, FrameFaults, LastMile, Sink, Timer};
use crate::rng::{below, key, unit};
use squall_core::Time;
use squall_history::{Entity, Event, Kind};
use squall_protocol::ids::{Name, mix};
use squall_protocol::{ConversationId, UserId};
use squall_scenarios::model::Scenario;
use std::time::Duration;

/// How people watch.
pub(super) struct Watching {
    key: u64,
    watches: u32,
    watched_at_most: usize,
    looks_every: Duration,
    invisible: f64,
}

impl Watching {
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let presence = &scenario.presence;
        Watching {
            key: key(seed, "watching"),
            watches: presence.watches,
            watched_at_most: presence.watched_at_most as usize,
            looks_every: Duration::from_micros(presence.looks_every.as_micros()),
            invisible: presence.invisible,
        }
    }

    fn draw(&self, client: u32, look: u32) -> u64 {
        mix(self.key ^ mix(u64::from(client) << 32 | u64::from(look)))
    }

    /// When a device looks next.
    fn gap(&self, client: u32, look: u32) -> Duration {
        self.looks_every.mul_f64(0.5 + unit(mix(self.draw(client, look) ^ 1)))
    }

    /// Whether a user wants to look offline, at this look of any of their devices.
    fn wants_to_hide(&self, user: u32, look: u32) -> bool {
        let hides_at_times = unit(mix(self.key ^ mix(u64::from(user)) ^ 2)) < self.invisible;
        hides_at_times && mix(self.key ^ mix(u64::from(user) << 32 | u64::from(look / 2))) & 1 == 0
    }
}

impl<L: LastMile, F: FrameFaults> Fleet<L, F> {
    /// Devices begin to look from this time on.
    pub(super) fn start_watching(&mut self, from: Time) {
        if self.watching.watches > 0 {
            for client in self.clients() {
                self.schedule_look(client, 0, from);
            }
        }
    }

    fn schedule_look(&mut self, client: u32, look: u32, after: Time) {
        let at = after + self.watching.gap(client, look);
        if at < self.load_until {
            self.queue.push(at, Timer::Look(client, look));
        }
    }

    /// A person looks at others.
    pub(super) fn look(&mut self, client: u32, look: u32, now: Time, sink: &mut impl Sink) {
        self.schedule_look(client, look + 1, now);
        self.hide_or_not(client, look, now, sink);
        let bits = self.watching.draw(client, look);
        let session = &self.clients[client].session;
        let known: Vec<ConversationId> = session.conversations().map(|(conversation, _)| conversation).collect();
        let watched: Vec<ConversationId> = session.watched().map(|(conversation, _)| conversation).collect();
        let mut free = (self.watching.watches as usize).saturating_sub(watched.len());
        let others: Vec<ConversationId> = known.into_iter().filter(|known| !watched.contains(known)).collect();
        if others.is_empty() {
            return;
        }
        if free == 0 {
            let gone = watched[below(mix(bits ^ 3), watched.len() as u64) as usize];
            self.act(client, now, sink, |session, out| session.unwatch(gone, out));
            free = 1;
        }
        let first = below(bits, others.len() as u64) as usize;
        for index in 0..free.min(others.len()) {
            let conversation = others[(first + index) % others.len()];
            let users = self.members_to_watch(client, conversation, bits);
            if !users.is_empty() {
                self.act(client, now, sink, |session, out| session.watch(conversation, users, out));
            }
        }
    }

    fn hide_or_not(&mut self, client: u32, look: u32, now: Time, sink: &mut impl Sink) {
        let on = self.watching.wants_to_hide(self.population.owner(client), look);
        let session = &self.clients[client].session;
        if session.is_invisible() == on {
            return;
        }
        let at = Entity::Device(self.device(client));
        let user = session.user();
        sink.event(Event { t: now.0, at, kind: Kind::Invisible { user, on } });
        self.act(client, now, sink, |session, out| session.set_invisible(on, out));
    }

    /// Others who are in a conversation as far as its name, or who was in it first, tells.
    fn members_to_watch(&self, client: u32, conversation: ConversationId, bits: u64) -> Vec<UserId> {
        let own = self.clients[client].session.user();
        let users: Vec<UserId> = match conversation.name() {
            Some(Name::Direct { low, high }) => vec![low, high],
            Some(Name::Group { number, .. }) => {
                let group = number.wrapping_sub(1) as u32;
                if group >= self.population.groups() || self.population.group_id(group) != conversation {
                    return Vec::new();
                }
                let guest = self.population.guest(group, below(mix(bits ^ 4), 4) as u32);
                let members = guest.into_iter().chain(self.population.group_members(group));
                members.take(self.watching.watched_at_most).map(|member| self.population.user(member)).collect()
            }
            None => Vec::new(),
        };
        users.into_iter().filter(|user| *user != own).collect()
    }
}
