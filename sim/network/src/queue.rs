//! One direction's bytes while there are any: written, in flight, delivered and not yet read; and the segments that
//! carry them.
//!
//! **Invariants:** the buffer is always `read | readable | in flight | unsent`, so a reader sees a prefix of what was
//! written. Segments are in order of due time, and their lengths add up to the bytes in flight. An idle direction has
//! no queue at all.

use crate::ids::{Micros, NEVER};
use crate::segments::Segments;

/// Queues kept for reuse; beyond this they go back to the allocator.
const POOLED_QUEUES: usize = 16_384;
/// A pooled queue keeps a buffer of at most this many bytes.
const POOLED_BUFFER_BYTES: usize = 2_048;
/// A read prefix longer than this is moved out of the buffer when it is also the larger part of it.
const COMPACT_BYTES: usize = 16 << 10;

/// Why nothing moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stall {
    /// It does move.
    Flowing,
    /// Segments are lost; retransmission waits for the obstacle to go.
    Lost,
    /// Segments wait inside the network for the release.
    Held,
    /// Nothing will ever get through; the sender's patience decides.
    Silent,
}

/// Fields are in order of use, so that a small frame touches two cache lines of it.
#[repr(C, align(64))]
pub(crate) struct Queue {
    /// Sequence number of the event that delivers the head segment, zero if there is none.
    pub scheduled: u64,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were read already.
    head: u32,
    /// Bytes transmitted and not delivered.
    flight: u32,
    /// Bytes delivered and unread.
    readable: u32,
    /// Bytes delivered whose acknowledgement cannot come back.
    unacked: u32,
    /// Bytes read of which the sender's window does not know yet.
    unadvertised: u32,
    /// Readable bytes that the reader has taken in this turn; they are consumed when it ends.
    taken: u32,
    pub stall: Stall,
    /// In the network's list of stalled directions.
    pub listed: bool,
    pub patience_set: bool,
    pub ack_set: bool,
    /// A FIN follows the last unsent byte.
    pub fin_pending: bool,
    /// When the oldest byte that makes no progress was first sent, [`NEVER`] if all is well.
    pub stuck_since: Micros,
    pub last_due: Micros,
    pub segments: Segments,
    /// When the link has sent everything handed to it, under a bandwidth limit.
    pub busy_until: Micros,
    /// A retransmission is under way, and patience does not run out before it arrives.
    pub grace_until: Micros,
}

impl Queue {
    fn new(buffer: Vec<u8>) -> Self {
        Self {
            scheduled: 0,
            buffer,
            head: 0,
            flight: 0,
            readable: 0,
            unacked: 0,
            unadvertised: 0,
            taken: 0,
            stall: Stall::Flowing,
            listed: false,
            patience_set: false,
            ack_set: false,
            fin_pending: false,
            stuck_since: NEVER,
            last_due: 0,
            segments: Segments::default(),
            busy_until: 0,
            grace_until: 0,
        }
    }

    /// Bytes delivered and unread.
    pub fn readable(&self) -> usize {
        self.readable as usize
    }

    /// Bytes transmitted and not delivered.
    pub fn flight(&self) -> usize {
        self.flight as usize
    }

    /// Whether the sender lacks an acknowledgement or a window update.
    pub fn owes_ack(&self) -> bool {
        self.unacked > 0 || self.unadvertised > 0
    }

    /// `len` unsent bytes are in flight now; the caller adds their segment.
    pub fn depart(&mut self, len: u32) {
        self.flight += len;
    }

    /// The head segment has arrived.
    pub fn arrive(&mut self) {
        if let Some(head) = self.segments.pop_front() {
            self.flight -= head.len;
            self.readable += head.len;
        }
    }

    /// `len` delivered bytes cannot be acknowledged.
    pub fn leave_unacked(&mut self, len: usize) {
        self.unacked += len as u32;
    }

    /// `len` bytes were read and the sender's window does not show it.
    pub fn leave_unadvertised(&mut self, len: usize) {
        self.unadvertised += len as u32;
    }

    /// Everything delivered is acknowledged.
    pub fn acknowledge(&mut self) {
        self.unacked = 0;
    }

    /// The sender knows the whole window.
    pub fn advertise(&mut self) {
        self.unadvertised = 0;
    }

    pub fn unsent(&self) -> usize {
        self.buffer.len() - (self.head + self.readable + self.flight) as usize
    }

    /// Bytes that occupy the sender's buffer.
    pub fn unacknowledged(&self) -> usize {
        self.unsent() + (self.flight + self.unacked) as usize
    }

    /// Bytes that occupy the receiver's window, as the sender sees it.
    pub fn window_used(&self) -> usize {
        (self.flight + self.readable + self.unadvertised) as usize
    }

    /// Prefetches each part that a delivery uses; the value means nothing.
    pub fn prefetch(&self) -> bool {
        self.segments.is_empty() | self.buffer.first().is_some_and(|byte| *byte == 0)
    }

    pub fn append(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The bytes that the next `len` delivered bytes will be.
    pub fn arriving(&self, len: usize) -> &[u8] {
        let start = (self.head + self.readable) as usize;
        &self.buffer[start..start + len]
    }

    /// What was delivered and not yet read, in this turn neither.
    pub fn readable_bytes(&self) -> &[u8] {
        &self.buffer[(self.head + self.taken) as usize..(self.head + self.readable) as usize]
    }

    /// The reader has `count` readable bytes; they stay here until they are [put down](Self::put_down) and consumed.
    pub fn take_in_turn(&mut self, count: usize) {
        self.taken += count as u32;
    }

    /// The turn is over: `count` bytes that were taken in it can be consumed.
    pub fn put_down(&mut self, count: usize) {
        self.taken -= count as u32;
    }

    /// Takes `count` readable bytes out.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.readable(), "a reader takes at most what was delivered");
        self.head += count as u32;
        self.readable -= count as u32;
        let head = self.head as usize;
        if head == self.buffer.len() {
            self.buffer.clear();
            self.head = 0;
        } else if head > COMPACT_BYTES && head > self.buffer.len() / 2 {
            self.buffer.drain(..head);
            self.head = 0;
        }
    }

    /// Forgets every byte and segment that was not delivered. What the reader can still read stays.
    pub fn drop_undelivered(&mut self) {
        self.truncate(0);
        self.busy_until = 0;
        self.last_due = 0;
        self.stuck_since = NEVER;
        self.stall = Stall::Flowing;
        self.unacked = 0;
    }

    /// Keeps the first `keep` segments and forgets the rest together with all unsent bytes.
    pub fn truncate(&mut self, keep: usize) {
        let cut: u32 = self.segments.iter().skip(keep).map(|segment| segment.len).sum();
        self.segments.truncate(keep);
        self.flight -= cut;
        self.buffer.truncate((self.head + self.readable + self.flight) as usize);
        self.fin_pending = false;
        if keep == 0 {
            self.scheduled = 0;
        }
        self.last_due = self.segments.back().map_or(0, |segment| segment.due);
        if self.head as usize == self.buffer.len() {
            self.buffer.clear();
            self.head = 0;
        }
    }

    /// Nothing to keep: the queue can go back to the pool.
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty() && self.segments.is_empty() && !self.owes_ack() && !self.fin_pending
    }

    /// Heap bytes of this queue, itself included.
    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.buffer.capacity() + self.segments.memory_bytes()
    }
}

/// Hands out queues and takes them back.
#[derive(Default)]
pub(crate) struct QueuePool {
    #[expect(clippy::vec_box, reason = "connections hold boxes, and reuse must not allocate them anew")]
    free: Vec<Box<Queue>>,
    free_bytes: usize,
    in_use: usize,
}

impl QueuePool {
    pub fn take(&mut self) -> Box<Queue> {
        self.in_use += 1;
        match self.free.pop() {
            Some(queue) => {
                self.free_bytes -= queue.memory_bytes();
                queue
            }
            None => Box::new(Queue::new(Vec::new())),
        }
    }

    pub fn give_back(&mut self, mut queue: Box<Queue>) {
        self.in_use -= 1;
        if self.free.len() >= POOLED_QUEUES {
            return;
        }
        let mut buffer = std::mem::take(&mut queue.buffer);
        buffer.clear();
        buffer.shrink_to(POOLED_BUFFER_BYTES);
        *queue = Queue::new(buffer);
        self.free_bytes += queue.memory_bytes();
        self.free.push(queue);
    }

    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// Bytes of the free queues and of their list.
    pub fn free_bytes(&self) -> usize {
        self.free_bytes + self.free.capacity() * size_of::<Box<Queue>>()
    }

    /// Bytes of one queue in use.
    pub fn used_bytes(queue: &Queue) -> usize {
        queue.memory_bytes()
    }
}
