//! People who read what their devices show them, each text a while after it was shown.
//!
//! **Invariant:** whether and when somebody reads follows from the seed, the device and how much it has shown, and from nothing else.

use super::{Fleet, FrameFaults, LastMile, Sink, Timer};
use crate::rng::{Stream, key, unit};
use squall_core::Time;
use squall_history::{Entity, Event, Kind};
use squall_protocol::ids::mix;
use squall_protocol::{ConversationId, Seq};
use squall_scenarios::receipts::Receipts;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What is to be read, device by device. Nothing where nobody reads.
pub(super) struct Reading {
    receipts: Receipts,
    readers_key: u64,
    when_key: u64,
    /// What a device has shown and its person has not read, in the order in which it was shown.
    shown: BTreeMap<u32, VecDeque<(ConversationId, Seq)>>,
    /// How much each reader has been shown.
    count: BTreeMap<u32, u32>,
}

impl Reading {
    pub fn new(receipts: &Receipts, seed: u64) -> Self {
        Reading {
            receipts: receipts.clone(),
            readers_key: key(seed, "readers"),
            when_key: key(seed, "reading"),
            shown: BTreeMap::new(),
            count: BTreeMap::new(),
        }
    }

    /// Whether devices keep receipts.
    pub fn is_on(&self) -> bool {
        self.receipts.are_kept()
    }

    /// A device shows a text: so long after it is read, if its person reads.
    fn handle_shown(&mut self, client: u32, conversation: ConversationId, seq: Seq) -> Option<Duration> {
        let reads = unit(mix(self.readers_key ^ u64::from(client))) < self.receipts.readers;
        if !self.is_on() || !reads {
            return None;
        }
        let count = self.count.entry(client).or_default();
        *count = count.wrapping_add(1);
        let mut when = Stream::from_key(mix(self.when_key ^ u64::from(client)) ^ u64::from(*count));
        self.shown.entry(client).or_default().push_back((conversation, seq));
        Some(Duration::from_micros(when.below(self.receipts.within.as_micros().max(1))))
    }

    fn take(&mut self, client: u32) -> Option<(ConversationId, Seq)> {
        let shown = self.shown.get_mut(&client)?;
        let first = shown.pop_front();
        if shown.is_empty() {
            self.shown.remove(&client);
        }
        first
    }
}

impl<L: LastMile, F: FrameFaults> Fleet<L, F> {
    /// A device has shown somebody else's text.
    pub(super) fn is_to_be_read(&mut self, client: u32, conversation: ConversationId, seq: Seq, now: Time) {
        if let Some(after) = self.reading.handle_shown(client, conversation, seq) {
            self.queue.push(now + after, Timer::Read(client));
        }
    }

    pub(super) fn read_next(&mut self, client: u32, now: Time, sink: &mut impl Sink) {
        if let Some((conversation, seq)) = self.reading.take(client) {
            self.act(client, now, sink, |session, out| session.read(conversation, seq, now, out));
        }
    }

    /// Tells what each device that keeps receipts counts as unread, at the end.
    pub fn tell_unread(&self, now: Time, sink: &mut impl Sink) {
        for index in self.clients.numbers().filter(|_| self.reading.is_on()) {
            let Some(client) = self.clients.get(index) else { continue };
            let Some(book) = client.session.receipts() else { continue };
            for conversation in book.conversations() {
                let (read, unread) = (book.read_up_to(conversation), book.unread(conversation) as u64);
                let kind = Kind::Unread { conversation, read, unread };
                sink.event(Event { t: now.0, at: Entity::Device(client.device()), kind });
            }
        }
    }
}
