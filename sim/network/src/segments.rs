//! The segments of one direction that are on their way, in order.
//!
//! **Invariant:** the first segment is stored in place, so that the usual single small frame allocates nothing and
//! touches no further cache line; `rest` is empty unless there are more.

use std::collections::VecDeque;

use crate::ids::Micros;

/// What a segment carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentKind {
    /// The opener's last step of the handshake.
    Open,
    Data,
    Fin,
    Rst,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub due: Micros,
    /// When the transmission that arrives left the sender.
    pub departs: Micros,
    pub len: u32,
    pub kind: SegmentKind,
    /// The path was closed when it was sent, so it waits for a retransmission.
    pub obstructed: bool,
}

#[derive(Default)]
pub(crate) struct Segments {
    first: Option<Segment>,
    count: u32,
    rest: VecDeque<Segment>,
}

impl Segments {
    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn front(&self) -> Option<&Segment> {
        self.first.as_ref()
    }

    pub fn back(&self) -> Option<&Segment> {
        if self.count > 1 { self.rest.back() } else { self.first.as_ref() }
    }

    pub fn push_back(&mut self, segment: Segment) {
        if self.count == 0 {
            self.first = Some(segment);
        } else {
            self.rest.push_back(segment);
        }
        self.count += 1;
    }

    pub fn pop_front(&mut self) -> Option<Segment> {
        let popped = self.first.take()?;
        if self.count > 1 {
            self.first = self.rest.pop_front();
        }
        self.count -= 1;
        Some(popped)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.first.iter().chain(&self.rest)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.first.iter_mut().chain(&mut self.rest)
    }

    /// Keeps the first `keep` segments.
    pub fn truncate(&mut self, keep: usize) {
        if keep >= self.len() {
            return;
        }
        self.rest.truncate(keep.saturating_sub(1));
        if keep == 0 {
            self.first = None;
        }
        self.count = keep as u32;
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        self.rest.capacity() * size_of::<Segment>()
    }
}
