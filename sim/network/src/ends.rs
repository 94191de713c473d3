//! How an end of a connection ends: closed, aborted, failed, or without power.
//!
//! **Invariants:** what had left an end before it ended still arrives (prefix, then cut); what had not is gone. Only a
//! graceful close goes on sending what was queued.

use crate::conn::{EndState, Phase};
use crate::fleet::FleetEventKind;
use crate::queue::Stall;
use crate::segments::{Segment, SegmentKind};
use crate::state::NetworkState;

impl NetworkState {
    /// FIN behind everything that is queued. The end can still read.
    pub fn shutdown_end(&mut self, slot: u32, side: usize) {
        let end = &mut self.conns.at_mut(slot).ends[side];
        if end.closed || !end.is_live() {
            return;
        }
        end.closed = true;
        self.queue(slot, side).fin_pending = true;
        self.transmit(slot, side);
    }

    /// The owner lets go: FIN behind everything that is queued, and an RST for whatever still comes in.
    pub fn close_end(&mut self, slot: u32, side: usize) {
        self.disown(slot, side);
        let conn = self.conns.at_mut(slot);
        let peer = conn.ends[1 - side];
        let end = &mut conn.ends[side];
        if end.is_live() && peer.is_live() && !end.closed {
            self.shutdown_end(slot, side);
        } else if end.is_live() && (!peer.is_live() || peer.eof) {
            end.state = EndState::Gone;
        }
        self.settle(slot);
    }

    /// The end is gone at once, and an RST says so.
    pub fn abort_end(&mut self, slot: u32, side: usize) {
        self.disown(slot, side);
        if self.conns.at(slot).ends[side].is_live() {
            self.drop_unsent(slot, side);
            if self.conns.at(slot).ends[1 - side].is_live() {
                self.send_reset(slot, side);
            }
            self.conns.at_mut(slot).ends[side].state = EndState::Gone;
        }
        self.settle(slot);
    }

    /// The end's machine has lost power: what had left it arrives, and nothing more.
    pub fn silence_end(&mut self, slot: u32, side: usize) {
        self.disown(slot, side);
        self.drop_unsent(slot, side);
        self.conns.at_mut(slot).ends[side].state = EndState::Gone;
        self.settle(slot);
    }

    /// The connection has failed as far as this end knows. Its owner can read what was delivered, and then the error.
    pub fn fail_end(&mut self, slot: u32, side: usize, state: EndState) {
        let conn = self.conns.at_mut(slot);
        conn.ends[side].state = state;
        if let Some(queue) = &mut conn.queues[side]
            && queue.stall != Stall::Held
        {
            queue.drop_undelivered();
        }
        let kind = match state {
            EndState::TimedOut => FleetEventKind::TimedOut,
            EndState::Refused => FleetEventKind::Refused,
            EndState::ConnectTimedOut => FleetEventKind::ConnectTimedOut,
            EndState::Reset | EndState::Live | EndState::Gone => FleetEventKind::Reset,
        };
        self.shrink(slot, side);
        self.notify_all(slot, side, kind);
        self.settle(slot);
    }

    /// Queues an RST from `side` behind what has left it. False if the way is closed, and the RST lost.
    pub fn send_reset(&mut self, slot: u32, side: usize) -> bool {
        let path = self.path(slot, side);
        if path.is_blocked() || self.conns.at(slot).frozen || self.conns.at(slot).phase == Phase::Connecting {
            return false;
        }
        self.drop_unsent(slot, side);
        let queue = self.queue(slot, side);
        if queue.segments.back().is_none_or(|segment| segment.kind != SegmentKind::Rst) {
            self.transmit_with(slot, side, Some(SegmentKind::Rst));
        }
        true
    }

    fn disown(&mut self, slot: u32, side: usize) {
        self.trash_wakers(slot, side);
        let conn = self.conns.at_mut(slot);
        conn.ends[side].owned = false;
        if let Some(queue) = &mut conn.queues[1 - side] {
            let unread = queue.readable();
            queue.consume(unread);
        }
        self.shrink(slot, 1 - side);
    }

    /// Forgets what has not left the end: unsent bytes, and segments that wait for bandwidth or retransmission.
    fn drop_unsent(&mut self, slot: u32, side: usize) {
        let now = self.now;
        let Some(queue) = &mut self.conns.at_mut(slot).queues[side] else { return };
        match queue.stall {
            Stall::Lost | Stall::Silent => queue.drop_undelivered(),
            Stall::Held => queue.truncate(queue.segments.len()),
            Stall::Flowing => {
                let left = |segment: &&Segment| segment.departs <= now && !segment.obstructed;
                queue.truncate(queue.segments.iter().take_while(left).count());
            }
        }
        self.shrink(slot, side);
    }

    /// Everything in flight, both ways, is lost from this instant.
    pub fn drop_in_flight(&mut self, slot: u32) {
        for side in 0..2 {
            if let Some(queue) = &mut self.conns.at_mut(slot).queues[side] {
                queue.drop_undelivered();
            }
            self.shrink(slot, side);
        }
    }
}
