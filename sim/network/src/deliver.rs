//! What happens when something is due: segments arrive, acknowledgements come back, patience runs out.
//!
//! **Invariants:** while an event is handled the clock shows its due time. Bytes reach a reader in the order written
//! and without gaps; after an RST or a time-out nothing more follows.

use crate::conn::EndState;
use crate::events::{DueEvent, Event};
use crate::fleet::FleetEventKind;
use crate::ids::{Micros, NEVER};
use crate::queue::Stall;
use crate::segments::SegmentKind;
use crate::state::NetworkState;
use crate::transmit::{Obstacle, retransmission_at};

/// Events whose memory is fetched together.
pub(crate) const BATCH: usize = 16;

impl NetworkState {
    /// Delivers everything that is due up to `now`.
    pub fn advance(&mut self, now: Micros) {
        self.assert_between_turns();
        self.round = self.round.wrapping_add(1).max(1);
        let mut batch = std::mem::take(&mut self.batch);
        loop {
            batch.extend(std::iter::from_fn(|| self.events.pop_due(now)).take(BATCH));
            if batch.is_empty() {
                break;
            }
            self.prefetch(&batch);
            for due in batch.drain(..) {
                // What the batch itself has caused may come before the rest of it.
                while let Some(earlier) = self.events.pop_before(&due) {
                    self.handle(&earlier);
                }
                self.handle(&due);
            }
        }
        self.batch = batch;
        self.now = self.now.max(now);
    }

    /// Prefetches what a batch is about to use, by reading a little of it. Among millions of connections each is a cache miss, and reads
    /// that do not depend on each other overlap where the handling of one event after the other would wait for each.
    fn prefetch(&self, batch: &[DueEvent]) {
        let mut heads = [0; BATCH];
        for (head, due) in heads.iter_mut().zip(batch) {
            *head = self.conns.at(due.conn.slot).generation;
        }
        std::hint::black_box(heads);
        let mut flags = [false; BATCH];
        for (flag, due) in flags.iter_mut().zip(batch) {
            if let Event::Deliver(sender) = due.event {
                *flag = self.conns.at(due.conn.slot).queues[sender].as_ref().is_some_and(|queue| queue.prefetch());
            }
        }
        std::hint::black_box(flags);
    }

    fn handle(&mut self, due: &DueEvent) {
        self.now = self.now.max(due.at);
        if !self.conns.contains(due.conn) {
            return;
        }
        let slot = due.conn.slot;
        match due.event {
            Event::Deliver(sender) => self.deliver(slot, sender, due.sequence),
            Event::Patience(sender) => self.patience_due(slot, sender),
            Event::Ack(sender) => self.ack_arrives(slot, sender),
            Event::SynSend => self.syn_send(slot),
            Event::SynArrive => self.syn_arrives(slot),
            Event::SynAck => self.syn_ack_arrives(slot),
            Event::Refused => self.refusal_arrives(slot),
            Event::Reset(side) => {
                if self.conns.at(slot).ends[side].is_live() {
                    self.stats.resets += 1;
                    self.fail_end(slot, side, EndState::Reset);
                }
            }
        }
    }

    fn deliver(&mut self, slot: u32, sender: usize, sequence: u64) {
        let receiver = 1 - sender;
        let Some(queue) = &mut self.conns.at_mut(slot).queues[sender] else { return };
        if queue.scheduled != sequence {
            return;
        }
        queue.scheduled = 0;
        let Some(&head) = queue.segments.front() else { return };
        let path = self.path(slot, sender);
        if let Some(obstacle) = self.obstacle(slot, sender, &path, head.departs) {
            return self.obstruct(slot, sender, obstacle);
        }
        if head.obstructed {
            // It was lost when it left; the path has opened since.
            return self.resume(slot, sender, retransmission_at(head.departs, self.now), true);
        }
        let end = self.conns.at(slot).ends[receiver];
        let taken = match head.kind {
            SegmentKind::Data => end.is_live() && end.owned,
            SegmentKind::Open => end.is_live(),
            SegmentKind::Fin | SegmentKind::Rst => true,
        };
        if !taken {
            return self.answer_with_reset(slot, sender);
        }
        let len = head.len as usize;
        self.record_delivery(slot, sender, head.kind, len);
        let now = self.now;
        let conn = self.conns.at_mut(slot);
        conn.active_at = now;
        if let Some(queue) = &mut conn.queues[sender] {
            queue.arrive();
        }
        self.schedule_head(slot, sender);
        let id = self.conns.id(slot);
        match head.kind {
            SegmentKind::Data => {
                self.acknowledge(slot, sender, len);
                self.notify_reader(slot, receiver, FleetEventKind::Readable);
            }
            SegmentKind::Open => {
                self.acknowledge(slot, sender, 0);
                self.open_arrives(slot);
            }
            SegmentKind::Fin => self.fin_arrives(slot, sender),
            SegmentKind::Rst => self.rst_arrives(slot, sender),
        }
        if self.conns.contains(id) {
            self.shrink(slot, sender);
        }
    }

    /// The receiver has taken `len` bytes. An unhindered acknowledgement costs no event: it only matters to a sender
    /// that is blocked, and then it takes its way.
    fn acknowledge(&mut self, slot: u32, sender: usize, len: usize) {
        let conn = self.conns.at(slot);
        let back = conn.route(1 - sender);
        let write_blocked = conn.ends[sender].write_blocked;
        let closed = !self.links.is_clear(&back) && self.links.path(&back).is_closed();
        let now = self.now;
        let Some(queue) = &mut self.conns.at_mut(slot).queues[sender] else { return };
        if closed {
            queue.leave_unacked(len);
            queue.stuck_since = queue.stuck_since.min(now);
            self.list_stalled(slot, sender);
            self.set_patience(slot, sender);
            return;
        }
        queue.acknowledge();
        queue.stuck_since = NEVER;
        if write_blocked {
            self.set_ack(slot, sender, now);
        }
    }

    /// The sender hears of room one latency after `at`.
    pub fn set_ack(&mut self, slot: u32, sender: usize, at: Micros) {
        let id = self.conns.id(slot);
        let Some(queue) = &mut self.conns.at_mut(slot).queues[sender] else { return };
        if !std::mem::replace(&mut queue.ack_set, true) {
            let latency = self.draw_latency(slot, 1 - sender);
            self.events.push(at + latency, id, Event::Ack(sender));
        }
    }

    fn ack_arrives(&mut self, slot: u32, sender: usize) {
        let closed = self.path(slot, 1 - sender).is_closed() || self.conns.at(slot).frozen;
        let conn = self.conns.at_mut(slot);
        let Some(queue) = &mut conn.queues[sender] else {
            return self.notify_writer(slot, sender);
        };
        queue.ack_set = false;
        if closed {
            return self.list_stalled(slot, sender);
        }
        queue.acknowledge();
        queue.advertise();
        if queue.stall == Stall::Flowing {
            queue.stuck_since = NEVER;
        }
        if !conn.ends[sender].is_live() {
            return self.shrink(slot, sender);
        }
        if queue.unsent() > 0 || queue.fin_pending {
            self.transmit(slot, sender);
        }
        if self.send_room(slot, sender) > 0 {
            self.notify_writer(slot, sender);
        }
        self.shrink(slot, sender);
    }

    /// Bytes that the sender's kernel would take now.
    pub fn send_room(&self, slot: u32, sender: usize) -> usize {
        let used = self.conns.at(slot).queues[sender].as_ref().map_or(0, |queue| queue.unacknowledged());
        (self.profile_of(slot).send_buffer as usize).saturating_sub(used)
    }

    fn fin_arrives(&mut self, slot: u32, sender: usize) {
        let receiver = 1 - sender;
        let ends = &mut self.conns.at_mut(slot).ends;
        if !ends[receiver].is_live() {
            // Only a sender that still listens learns that nobody is there.
            if ends[sender].owned {
                self.send_reset(slot, receiver);
            } else {
                ends[sender].state = EndState::Gone;
                self.settle(slot);
            }
            return;
        }
        ends[receiver].eof = true;
        if !ends[sender].owned {
            ends[sender].state = EndState::Gone;
        }
        self.acknowledge(slot, sender, 0);
        self.notify_reader(slot, receiver, FleetEventKind::Eof);
        self.settle(slot);
    }

    fn rst_arrives(&mut self, slot: u32, sender: usize) {
        let receiver = 1 - sender;
        if self.conns.at(slot).ends[receiver].is_live() {
            self.stats.resets += 1;
            self.fail_end(slot, receiver, EndState::Reset);
        } else {
            self.settle(slot);
        }
    }

    /// A segment met an end that is dead or has no owner: its host answers with RST, if the way back is open.
    fn answer_with_reset(&mut self, slot: u32, sender: usize) {
        let receiver = 1 - sender;
        let now = self.now;
        let sender_lives = self.conns.at(slot).ends[sender].is_live();
        if let Some(queue) = &mut self.conns.at_mut(slot).queues[sender] {
            if !sender_lives {
                queue.drop_undelivered();
                self.shrink(slot, sender);
                return self.settle(slot);
            }
            queue.stuck_since = queue.stuck_since.min(now);
        }
        if self.send_reset(slot, receiver) {
            if let Some(queue) = &mut self.conns.at_mut(slot).queues[sender] {
                queue.stall = Stall::Silent;
            }
            let conn = self.conns.at_mut(slot);
            if conn.ends[receiver].is_live() {
                conn.ends[receiver].state = EndState::Gone;
            }
            self.set_patience(slot, sender);
            self.settle(slot);
        } else {
            self.obstruct(slot, sender, Obstacle::Lost);
        }
    }

    fn patience_due(&mut self, slot: u32, sender: usize) {
        let patience = self.profile_of(slot).patience;
        let now = self.now;
        let conn = self.conns.at_mut(slot);
        let lives = conn.ends[sender].is_live();
        let Some(queue) = &mut conn.queues[sender] else { return };
        queue.patience_set = false;
        if queue.stuck_since == NEVER || !lives {
            return;
        }
        if now < queue.stuck_since.saturating_add(patience) || now <= queue.grace_until {
            return self.set_patience(slot, sender);
        }
        self.stats.timeouts += 1;
        self.fail_end(slot, sender, EndState::TimedOut);
    }
}
