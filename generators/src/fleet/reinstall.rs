//! A device that forgets: its app is installed anew, or restored from a backup. It has its identity, and nothing of what it has shown
//! or sent; its count of connects is an older one, or none.
//!
//! **Invariant:** each life of a device is a device of its own in the history, for it shows anew what the one before has shown. The
//! system knows all of them by one number.

use super::{Client, Fleet, FrameFaults, LastMile, Sink};
use squall_core::Time;
use squall_core::client::ClientSession;
use squall_history::{Entity, Event, Kind};
use squall_protocol::DeviceId;

/// Where the life stands in the number of a device of the history: above all bits that tell devices apart.
const LIFE: u32 = 48;

fn in_life(number: DeviceId, life: u16) -> DeviceId {
    DeviceId(number.0 ^ u64::from(life) << LIFE)
}

impl<C> Client<C> {
    /// The device as the history names it.
    pub(super) fn device(&self) -> DeviceId {
        in_life(self.session.device(), self.life)
    }
}

impl<L: LastMile, F: FrameFaults> Fleet<L, F> {
    /// A client's device as the history names it, also when the clients themselves have been released.
    pub fn device(&self, client: u32) -> DeviceId {
        in_life(self.population.device(client), self.lives.get(&client).copied().unwrap_or(0))
    }

    /// A client that is online begins a new life at once. Every other one is restored from a backup, and counts on from half of what it
    /// has counted.
    pub fn reinstall(&mut self, client: u32, now: Time, sink: &mut impl Sink) -> bool {
        if !self.is_online(client) {
            return false;
        }
        if let Some(conn) = self.clients[client].conn {
            self.last_mile.close(conn);
        }
        self.forget_connection(client, "reinstalled", now, sink);
        let Client { session, life, timer, failed, .. } = &mut self.clients[client];
        for message in session.unanswered_messages() {
            sink.is_no_sample(message);
            self.waited.remove(&message);
        }
        let (user, number) = (session.user(), session.device());
        let mut anew = ClientSession::new(user, number);
        anew.set_heartbeat_interval(self.heartbeat);
        if self.reading.is_on() {
            anew.keep_receipts();
        }
        anew.set_connect_count(if client.is_multiple_of(2) { 0 } else { session.connect_count() / 2 });
        *session = anew;
        *life += 1;
        self.lives.insert(client, *life);
        (*timer, *failed) = (Time::NEVER, false);
        self.kept.forget_all(client);
        let at = Entity::Device(self.device(client));
        sink.event(Event { t: now.0, at, kind: Kind::Reinstalled { user, number } });
        self.act(client, now, sink, |session, out| session.come_back(now, out));
        true
    }
}
