//! How connections begin: SYN, SYN-ACK, and the opener's answer, with retries, refusals and the accept queue.
//!
//! **Invariants:** an attempt ends as connected, refused or timed out, never otherwise. An accept queue never holds
//! more than its backlog: places are reserved when the SYN arrives. Checked by `a_full_accept_queue_refuses`.

use crate::conn::{Attempt, End, EndState, Phase};
use crate::events::Event;
use crate::fault::FaultKind;
use crate::fleet::FleetEventKind;
use crate::ids::{ConnId, Micros, NEVER, ProfileId};
use crate::segments::SegmentKind;
use crate::state::{NetworkState, Power};

/// First retransmission of a SYN (RFC 6298); it doubles.
const SYN_RTO: Micros = 1_000_000;
/// Losses of one SYN in a row that are drawn.
const MAX_SYN_LOSSES: u32 = 6;

impl NetworkState {
    pub fn open(&mut self, attempt: &Attempt) -> ConnId {
        let id = self.conns.insert();
        let now = self.now;
        let hosts = [attempt.from.0 as u16, attempt.to.0 as u16];
        for (side, host) in hosts.into_iter().enumerate() {
            let list = &mut self.hosts[host as usize].conns;
            self.conns.at_mut(id.slot).positions[side] = list.len() as u32;
            list.push(id.slot);
        }
        let conn = self.conns.at_mut(id.slot);
        conn.hosts = hosts;
        conn.port = attempt.port;
        conn.profile = attempt.profile.0;
        conn.fleet = attempt.token.is_some();
        conn.token = attempt.token.unwrap_or_default();
        conn.active_at = now;
        conn.ends = [End::OPEN, End::GONE];
        if let Some(token) = attempt.token {
            self.tokens.insert(token, id);
        }
        self.stats.attempts += 1;
        self.stats.open += 1;
        self.stats.open_peak = self.stats.open_peak.max(self.stats.open);
        self.syn_send(id.slot);
        id
    }

    /// Sends the SYN, or gives up if the time is over.
    pub fn syn_send(&mut self, slot: u32) {
        let conn = self.conns.at_mut(slot);
        if conn.phase != Phase::Connecting || !conn.ends[0].is_live() {
            return;
        }
        let began = conn.active_at;
        conn.syn_attempts = conn.syn_attempts.saturating_add(1);
        if self.now >= began.saturating_add(self.profile_of(slot).connect_timeout) {
            self.stats.connect_timeouts += 1;
            return self.fail_end(slot, 0, EndState::ConnectTimedOut);
        }
        if self.control_stopped(slot, 0) {
            return self.retry_syn(slot);
        }
        let id = self.conns.id(slot);
        let at = self.now + self.syn_loss_delay(slot, 0) + self.draw_latency(slot, 0);
        self.events.push(at, id, Event::SynArrive);
    }

    fn retry_syn(&mut self, slot: u32) {
        let conn = self.conns.at(slot);
        let deadline = conn.active_at.saturating_add(self.profile_of(slot).connect_timeout);
        let wait = SYN_RTO << u32::from(conn.syn_attempts.saturating_sub(1)).min(5);
        let at = (self.now + wait).min(deadline).max(self.now + 1);
        self.events.push(at, self.conns.id(slot), Event::SynSend);
    }

    fn syn_loss_delay(&mut self, slot: u32, sender: usize) -> Micros {
        let p = 1.0 - (1.0 - self.profile_of(slot).loss) * (1.0 - self.path(slot, sender).loss);
        (0..MAX_SYN_LOSSES).take_while(|_| self.wire.chance(p)).map(|k| SYN_RTO << k).sum()
    }

    /// Whether a SYN or its answer is lost now. A hold counts as loss: the retry comes after the release.
    fn control_stopped(&mut self, slot: u32, sender: usize) -> bool {
        let stopped = self.path(slot, sender).is_closed() || self.conns.at(slot).frozen;
        if stopped {
            let route = self.conns.at(slot).route(sender);
            self.links.count(&route, |kind, hits| {
                hits.connects_stalled += u64::from(matches!(kind, FaultKind::Block | FaultKind::Hold));
            });
        }
        stopped
    }

    pub fn syn_arrives(&mut self, slot: u32) {
        let conn = self.conns.at(slot);
        if conn.phase != Phase::Connecting || !conn.ends[0].is_live() {
            return;
        }
        let (host, port, known) = (conn.hosts[1] as usize, conn.port, conn.ends[1].is_live());
        if self.hosts[host].power == Power::Off {
            return self.retry_syn(slot);
        }
        let refused_by_fault = self.path(slot, 0).refuse;
        let has_room = self
            .listener_mut(host, port)
            .is_some_and(|listener| known || listener.ready.len() + listener.reserved < listener.backlog);
        let id = self.conns.id(slot);
        if self.control_stopped(slot, 1) {
            return self.retry_syn(slot);
        }
        let at = self.now + self.syn_loss_delay(slot, 1) + self.draw_latency(slot, 1);
        if refused_by_fault || !has_room {
            if refused_by_fault {
                let route = self.conns.at(slot).route(0);
                self.links
                    .count(&route, |kind, hits| hits.connects_refused += u64::from(kind == FaultKind::Refuse));
            } else if self.listener_mut(host, port).is_some() {
                self.stats.accept_overflows += 1;
            }
            self.events.push(at, id, Event::Refused);
            return;
        }
        if !known {
            if let Some(listener) = self.listener_mut(host, port) {
                listener.reserved += 1;
            }
            let conn = self.conns.at_mut(slot);
            conn.reserved = true;
            conn.ends[1] = End::OPEN;
        }
        self.events.push(at, id, Event::SynAck);
    }

    pub fn refusal_arrives(&mut self, slot: u32) {
        let conn = self.conns.at(slot);
        if conn.phase == Phase::Connecting && conn.ends[0].is_live() {
            self.stats.refused += 1;
            self.fail_end(slot, 0, EndState::Refused);
        }
    }

    pub fn syn_ack_arrives(&mut self, slot: u32) {
        let conn = self.conns.at(slot);
        if conn.phase != Phase::Connecting || !conn.ends[0].is_live() {
            return;
        }
        let drops_at = self.draw_drop(slot);
        let now = self.now;
        let conn = self.conns.at_mut(slot);
        conn.phase = Phase::Opening;
        conn.drops_at = drops_at;
        conn.active_at = now;
        self.stats.connected += 1;
        self.transmit_with(slot, 0, Some(SegmentKind::Open));
        self.notify_reader(slot, 0, FleetEventKind::Connected);
    }

    /// When the path drops next.
    fn draw_drop(&mut self, slot: u32) -> Micros {
        let interval = self.profile_of(slot).mean_time_between_drops;
        interval.map_or(NEVER, |mean| self.now + self.drops.exponential(mean).max(1))
    }

    /// What is on its way goes on as it left; what leaves from now on follows the new profile.
    pub fn set_profile(&mut self, slot: u32, profile: ProfileId) -> bool {
        self.assert_between_turns();
        if self.conns.at(slot).profile == profile.0 {
            return false;
        }
        self.conns.at_mut(slot).profile = profile.0;
        if self.conns.at(slot).phase != Phase::Connecting {
            let drops_at = self.draw_drop(slot);
            self.conns.at_mut(slot).drops_at = drops_at;
        }
        true
    }

    /// The opener's answer has come: the connection can be accepted.
    pub fn open_arrives(&mut self, slot: u32) {
        let id = self.conns.id(slot);
        let conn = self.conns.at_mut(slot);
        conn.phase = Phase::Established;
        let (host, port) = (conn.hosts[1] as usize, conn.port);
        self.unreserve(slot);
        let paused = self.hosts[host].paused;
        let Some(listener) = self.listener_mut(host, port) else {
            return self.abort_end(slot, 1);
        };
        listener.ready.push_back(id);
        let waker = if paused { None } else { listener.waker.take() };
        if let Some(waker) = waker {
            self.wake(host, waker);
        }
    }
}
