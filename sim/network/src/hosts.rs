//! What happens to machines and processes, and to single connections at a nemesis's hand.
//!
//! **Invariants:** a host's listeners and pump belong to one incarnation of its process. Whatever an older incarnation
//! still holds is refused or swallowed. Checked by `handles_of_a_dead_incarnation_are_harmless`.

use crate::calls::HostCalls;
use crate::conn::{EndState, Phase};
use crate::events::Event;
use crate::ids::{ConnId, Micros};
use crate::state::{Host, NetworkState, Power};

/// How a dead process's connections end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseStyle {
    /// The kernel sends what is queued and a FIN, as after `exit`.
    Fin,
    /// The kernel aborts, as after a kill with unread data.
    Rst,
}

impl Host {
    pub fn new(name: String) -> Self {
        Self {
            name,
            power: Power::Up,
            paused: false,
            incarnation: 0,
            conns: Vec::new(),
            listeners: Vec::new(),
            digest: 0,
            pumped: false,
            pump: None,
            woken: Vec::new(),
            calls: HostCalls::default(),
        }
    }
}

impl NetworkState {
    fn conns_of(&self, host: usize) -> Vec<(ConnId, usize)> {
        let ends = |slot: &u32| {
            let conn = self.conns.at(*slot);
            let id = ConnId { slot: *slot, generation: conn.generation };
            (0..2).filter(move |&side| conn.hosts[side] as usize == host).map(move |side| (id, side))
        };
        let mut all: Vec<_> = self.hosts[host].conns.iter().flat_map(ends).collect();
        all.sort_unstable_by_key(|&(id, side)| (id.slot, side));
        all.dedup();
        all
    }

    /// The connections of a host in order of slot.
    pub fn connections_of(&self, host: usize) -> Vec<ConnId> {
        let mut ids: Vec<_> = self.conns_of(host).into_iter().map(|(id, _)| id).collect();
        ids.dedup();
        ids
    }

    fn end_process(&mut self, host: usize, power: Power) {
        let state = &mut self.hosts[host];
        state.power = power;
        state.paused = false;
        state.incarnation = state.incarnation.wrapping_add(1);
        state.pumped = false;
        self.effects.trash.extend(state.pump.take());
        self.effects.trash.append(&mut state.woken);
        for listener in std::mem::take(&mut state.listeners) {
            self.effects.trash.extend(listener.waker);
        }
    }

    pub fn crash(&mut self, host: usize, style: CloseStyle) {
        self.assert_between_turns();
        if self.hosts[host].power != Power::Up {
            return;
        }
        // A closing listener resets what nobody has accepted, whatever the style.
        let listeners = &self.hosts[host].listeners;
        let unaccepted: Vec<_> = listeners.iter().flat_map(|listener| listener.ready.iter().copied()).collect();
        self.end_process(host, Power::Crashed);
        for id in unaccepted {
            if self.conns.contains(id) {
                self.abort_end(id.slot, 1);
            }
        }
        for (id, side) in self.conns_of(host) {
            if !self.conns.contains(id) {
                continue;
            }
            let half_open = side == 1 && self.conns.at(id.slot).phase != Phase::Established;
            match style {
                CloseStyle::Fin if !half_open => self.close_end(id.slot, side),
                CloseStyle::Fin | CloseStyle::Rst => self.abort_end(id.slot, side),
            }
        }
    }

    pub fn power_off(&mut self, host: usize) {
        self.assert_between_turns();
        if self.hosts[host].power == Power::Off {
            return;
        }
        self.end_process(host, Power::Off);
        for (id, side) in self.conns_of(host) {
            if self.conns.contains(id) {
                self.silence_end(id.slot, side);
            }
        }
    }

    /// The machine answers again, and its process may listen and connect.
    pub fn power_on(&mut self, host: usize) {
        self.assert_between_turns();
        let was_off = self.hosts[host].power == Power::Off;
        self.hosts[host].power = Power::Up;
        if was_off {
            self.retry_stalled();
        }
    }

    pub fn pause(&mut self, host: usize) {
        self.assert_between_turns();
        self.hosts[host].paused = true;
    }

    /// Wakes every task that waits on the network: what it waits for may have come meanwhile.
    pub fn resume_host(&mut self, host: usize) {
        self.assert_between_turns();
        if !std::mem::take(&mut self.hosts[host].paused) {
            return;
        }
        let mut wakers: Vec<_> =
            self.hosts[host].listeners.iter_mut().filter_map(|listener| listener.waker.take()).collect();
        for (id, side) in self.conns_of(host) {
            let conn = self.conns.at_mut(id.slot);
            if side == 1 {
                wakers.extend(conn.acceptor_read.take());
            }
            if let Some(rare) = &mut conn.rare_wakers {
                wakers.extend(rare.write[side].take());
                if side == 0 {
                    wakers.extend(rare.opener_read.take());
                }
            }
        }
        for waker in wakers {
            self.wake(host, waker);
        }
        self.effects.wake.extend(self.hosts[host].pump.take());
    }

    /// Both ends are reset, now or after a delay in which they are silently dead.
    pub fn cut(&mut self, slot: u32, delay: Option<Micros>) {
        self.assert_between_turns();
        let id = self.conns.id(slot);
        self.drop_in_flight(slot);
        let Some(delay) = delay else {
            for side in 0..2 {
                if self.conns.contains(id) && self.conns.at(slot).ends[side].is_live() {
                    self.stats.resets += 1;
                    self.fail_end(slot, side, EndState::Reset);
                }
            }
            return;
        };
        self.conns.at_mut(slot).frozen = true;
        for side in 0..2 {
            self.events.push(self.now.saturating_add(delay), id, Event::Reset(side));
        }
    }

    /// The connection becomes half-open: nothing gets through, and nobody is told.
    pub fn freeze(&mut self, slot: u32) {
        self.assert_between_turns();
        self.conns.at_mut(slot).frozen = true;
    }

    /// Freezes every connection that an active freeze covers.
    pub fn freeze_covered(&mut self) {
        let covered = |conn: &crate::conn::Conn| {
            (0..2).find(|&sender| !conn.frozen && self.links.path(&conn.route(sender)).freeze)
        };
        let found: Vec<_> =
            self.conns.iter().filter_map(|(slot, conn)| covered(conn).map(|sender| (slot, sender))).collect();
        for (slot, sender) in found {
            self.freeze_by_fault(slot, sender);
        }
    }

    /// A middlebox closes both sides: what is queued arrives, then each end sees EOF.
    pub fn close_both(&mut self, slot: u32) {
        self.assert_between_turns();
        let id = self.conns.id(slot);
        for side in 0..2 {
            if self.conns.contains(id) {
                self.shutdown_end(slot, side);
            }
        }
    }
}
