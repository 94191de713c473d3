//! What fresh devices have shown is what the log holds: it is put together here while they read.
//!
//! A display says what was shown; what came with it on the wire (whose device wrote it, with which number, when it was stored) was told
//! when it arrived. Mostly one follows the other at once, and what waits here is only what a device holds back behind a gap.
//!
//! **Invariant:** what waits is bounded in bytes, and what found no room makes the run inconclusive.

use rustc_hash::FxHashMap;
use squall_history::{Arrived, Event, Kind, What};
use squall_protocol::{ConversationId, DeviceId, Seq, UserId};
use std::collections::BTreeMap;

/// What has arrived and was not shown may take so much.
const WAITING_BYTES: usize = 64 << 20;
/// And so much each with its place in a table.
const ROW_BYTES: usize = size_of::<(ConversationId, Arrived)>();

/// An entry that a fresh device has shown.
#[derive(Debug, Clone)]
pub struct Read {
    pub sender: UserId,
    pub arrived: Arrived,
    pub body_hash: u64,
    pub what: What,
}

/// The log, as far as fresh devices have shown it.
pub struct ReadBack {
    pub log: BTreeMap<(ConversationId, Seq), Read>,
    waiting: FxHashMap<DeviceId, Vec<(ConversationId, Arrived)>>,
    bytes: usize,
    most_bytes: usize,
    /// Entries that arrived and found no room.
    pub lost: u64,
}

impl Default for ReadBack {
    fn default() -> Self {
        ReadBack {
            log: BTreeMap::new(),
            waiting: FxHashMap::default(),
            bytes: 0,
            most_bytes: WAITING_BYTES,
            lost: 0,
        }
    }
}

impl ReadBack {
    /// A fresh device has seen this.
    pub fn observe(&mut self, device: DeviceId, event: &Event) {
        match &event.kind {
            Kind::Deliver { conversation, held, .. } => {
                for arrived in held {
                    self.arrives(device, *conversation, *arrived);
                }
            }
            Kind::Display { conversation, seq, sender, body_hash, what, client_msg_id, .. } => {
                let taken = self
                    .take(device, |c, a| c == *conversation && a.seq == *seq && a.client_msg_id == *client_msg_id);
                if let Some(arrived) = taken {
                    let read = Read { sender: *sender, arrived, body_hash: *body_hash, what: *what };
                    self.log.entry((*conversation, *seq)).or_insert(read);
                }
            }
            Kind::Discard { conversation, seq, client_msg_id } => {
                self.take(device, |c, a| c == *conversation && a.seq == *seq && a.client_msg_id == *client_msg_id);
            }
            // It has been put away for good: what it held back it shows no more.
            Kind::Disconnect { reason: "away" } => self.forget(device),
            _ => {}
        }
    }

    fn arrives(&mut self, device: DeviceId, conversation: ConversationId, arrived: Arrived) {
        let known = self.log.get(&(conversation, arrived.seq));
        if known.is_some_and(|read| read.arrived.client_msg_id == arrived.client_msg_id) {
            return;
        }
        if self.bytes + ROW_BYTES > self.most_bytes {
            self.lost += 1;
            return;
        }
        self.bytes += ROW_BYTES;
        self.waiting.entry(device).or_default().push((conversation, arrived));
    }

    /// From the first on, for that is mostly it.
    fn take(&mut self, device: DeviceId, is_it: impl Fn(ConversationId, &Arrived) -> bool) -> Option<Arrived> {
        let waiting = self.waiting.get_mut(&device)?;
        let place = waiting.iter().position(|(conversation, arrived)| is_it(*conversation, arrived))?;
        let (_, arrived) = waiting.swap_remove(place);
        if waiting.is_empty() {
            self.waiting.remove(&device);
        }
        self.bytes -= ROW_BYTES;
        Some(arrived)
    }

    fn forget(&mut self, device: DeviceId) {
        let gone = self.waiting.remove(&device).map_or(0, |waiting| waiting.len());
        self.bytes -= gone * ROW_BYTES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_history::{Entity, Via};
    use squall_protocol::{ClientMsgId, ClientSeq};

    const DEVICE: DeviceId = DeviceId(9);

    fn seen(back: &mut ReadBack, kind: Kind) {
        back.observe(DEVICE, &Event { t: 1, at: Entity::Device(DEVICE), kind });
    }

    fn deliver(from: u64, to: u64) -> Kind {
        let held = (from..=to).map(|seq| Arrived {
            seq: Seq(seq),
            client_msg_id: ClientMsgId(u128::from(seq)),
            author: DeviceId(1),
            client_seq: ClientSeq(seq),
            stored_at_ms: seq,
        });
        let entries = (to + 1 - from) as u32;
        let conversation = ConversationId(7);
        Kind::Deliver { conversation, from: Seq(from), to: Seq(to), entries, via: Via::Page, held: held.collect() }
    }

    fn display(seq: u64) -> Kind {
        Kind::Display {
            user: UserId(3),
            conversation: ConversationId(7),
            seq: Seq(seq),
            sender: UserId(1),
            client_msg_id: ClientMsgId(u128::from(seq)),
            body_hash: seq,
            what: What::Text,
            via: Via::Page,
        }
    }

    #[test]
    fn what_is_shown_is_the_log_and_nothing_of_it_waits() {
        let mut back = ReadBack::default();
        seen(&mut back, deliver(1, 3));
        assert_eq!((back.log.len(), back.bytes), (0, 3 * ROW_BYTES));
        (1..=3).for_each(|seq| seen(&mut back, display(seq)));
        assert_eq!((back.log.len(), back.bytes, back.waiting.len()), (3, 0, 0));
        // Somebody else reads the same again.
        seen(&mut back, deliver(1, 3));
        assert_eq!((back.bytes, back.lost), (0, 0));
        // It is told of what it never shows, and is put away.
        seen(&mut back, deliver(5, 6));
        seen(&mut back, Kind::Disconnect { reason: "reset" });
        assert_eq!(back.bytes, 2 * ROW_BYTES);
        seen(&mut back, Kind::Disconnect { reason: "away" });
        assert_eq!((back.bytes, back.waiting.len()), (0, 0));
    }

    #[test]
    fn what_waits_has_a_bound_in_bytes_and_what_finds_no_room_is_counted() {
        let mut back = ReadBack { most_bytes: 10 * ROW_BYTES, ..ReadBack::default() };
        seen(&mut back, deliver(1, 12));
        assert_eq!((back.bytes, back.lost), (10 * ROW_BYTES, 2));
        (1..=12).for_each(|seq| seen(&mut back, display(seq)));
        assert_eq!((back.log.len(), back.bytes), (10, 0));
    }
}
