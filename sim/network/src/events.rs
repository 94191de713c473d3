//! What is due and when: a binary heap ordered by time, then by the order of scheduling.
//!
//! **Invariants:** events leave in (due, sequence) order; an idle connection has no entry. Entries are not removed
//! when they become moot: whoever takes one compares generation and sequence with the connection's state.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ids::{ConnId, Micros};

/// What happens to a connection; the index is the sending side of a direction, or the side that is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// The head segment of a direction arrives.
    Deliver(usize),
    /// A direction may have been stuck for longer than its patience.
    Patience(usize),
    /// The sender of a direction learns of room in the window or in its buffer.
    Ack(usize),
    /// The opener sends its SYN, again.
    SynSend,
    /// The SYN arrives.
    SynArrive,
    /// The SYN-ACK arrives.
    SynAck,
    /// The RST that answers a SYN arrives.
    Refused,
    /// An end learns of a cut.
    Reset(usize),
}

impl Event {
    fn encode(self) -> u64 {
        match self {
            Event::Deliver(side) => side as u64,
            Event::Patience(side) => 2 + side as u64,
            Event::Ack(side) => 4 + side as u64,
            Event::Reset(side) => 6 + side as u64,
            Event::SynSend => 8,
            Event::SynArrive => 9,
            Event::SynAck => 10,
            Event::Refused => 11,
        }
    }

    fn decode(code: u64) -> Self {
        let side = (code & 1) as usize;
        match code {
            0 | 1 => Event::Deliver(side),
            2 | 3 => Event::Patience(side),
            4 | 5 => Event::Ack(side),
            6 | 7 => Event::Reset(side),
            8 => Event::SynSend,
            9 => Event::SynArrive,
            10 => Event::SynAck,
            _ => Event::Refused,
        }
    }
}

/// Field order is the order of delivery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    due: Micros,
    /// The sequence number, shifted, and the encoded event.
    order: u64,
    slot: u32,
    generation: u32,
}

/// A due event as it leaves the queue.
pub(crate) struct DueEvent {
    pub at: Micros,
    pub sequence: u64,
    pub conn: ConnId,
    pub event: Event,
}

#[derive(Default)]
pub(crate) struct Events {
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

impl Events {
    /// Schedules an event and returns its sequence number, which is never zero.
    pub fn push(&mut self, due: Micros, conn: ConnId, event: Event) -> u64 {
        self.sequence += 1;
        let order = self.sequence << 4 | event.encode();
        self.heap.push(Reverse(Entry { due, order, slot: conn.slot, generation: conn.generation }));
        self.sequence
    }

    pub fn pop_due(&mut self, now: Micros) -> Option<DueEvent> {
        self.pop_if(|entry| entry.due <= now)
    }

    /// Takes the next event if it comes before `other`.
    pub fn pop_before(&mut self, other: &DueEvent) -> Option<DueEvent> {
        self.pop_if(|entry| (entry.due, entry.order >> 4) < (other.at, other.sequence))
    }

    fn pop_if(&mut self, condition: impl FnOnce(&Entry) -> bool) -> Option<DueEvent> {
        if !condition(&self.heap.peek()?.0) {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        Some(DueEvent {
            at: entry.due,
            sequence: entry.order >> 4,
            conn: ConnId { slot: entry.slot, generation: entry.generation },
            event: Event::decode(entry.order & 15),
        })
    }

    pub fn next_due(&self) -> Option<Micros> {
        self.heap.peek().map(|entry| entry.0.due)
    }

    pub fn memory_bytes(&self) -> usize {
        self.heap.capacity() * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_leave_by_time_then_by_insertion() {
        let mut events = Events::default();
        let conn = |slot| ConnId { slot, generation: 0 };
        events.push(5, conn(1), Event::Ack(1));
        events.push(3, conn(2), Event::Deliver(0));
        events.push(3, conn(1), Event::Refused);
        events.push(9, conn(3), Event::SynSend);
        let taken: Vec<_> =
            std::iter::from_fn(|| events.pop_due(8)).map(|due| (due.at, due.conn.slot, due.event)).collect();
        assert_eq!(taken, [(3, 2, Event::Deliver(0)), (3, 1, Event::Refused), (5, 1, Event::Ack(1))]);
        assert_eq!(events.next_due(), Some(9));
    }

    #[test]
    fn codes_survive_the_round_trip() {
        for code in 0..12 {
            assert_eq!(Event::decode(code).encode(), code);
        }
    }
}
