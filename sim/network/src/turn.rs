//! A turn, in which hosts may act beside each other, on threads of their own.
//!
//! Outside of a turn what a host does takes effect at once. In a turn a host's call is answered from the state at its
//! beginning and from the host's own calls, and is noted; at the end all that was noted takes effect, in the order of hosts and
//! then of calls. That is what would have happened if the hosts had acted one after the other, for nothing that one
//! of them does reaches another before the next [`advance`](crate::Network::advance). Virtual clients may act in a turn too: what
//! they do takes effect at once, as if they had acted before the hosts.
//!
//! **Invariant:** which host acts first in a turn, or on which thread, changes nothing that anybody can see. Checked by
//! `tests/turns.rs`, with hosts that act in any order.

use std::io;
use std::sync::Arc;

use crate::calls::{Call, Dial, DialState, HostCalls};
use crate::conn::Attempt;
use crate::deliver::BATCH;
use crate::ids::{ConnId, Side};
use crate::network::Network;
use crate::state::NetworkState;

impl NetworkState {
    /// # Panics
    /// In a turn: only hosts and virtual clients act then.
    pub fn assert_between_turns(&self) {
        assert!(!self.in_turn, "nothing but hosts and virtual clients acts in a turn");
    }

    fn note(&mut self, conn: ConnId, side: usize, call: Call) -> &mut HostCalls {
        let host = self.conns.at(conn.slot).hosts[side] as usize;
        let calls = &mut self.hosts[host].calls;
        calls.calls.push(call);
        calls
    }

    /// A host's program writes, as in [`NetworkState::write`].
    pub fn host_writes(&mut self, slot: u32, side: usize, bytes: &[u8]) -> io::Result<usize> {
        if !self.in_turn {
            return self.write(slot, side, bytes);
        }
        let taken = self.fits(slot, side, bytes.len())?;
        if taken > 0 {
            let conn = self.conns.id(slot);
            self.conns.at_mut(slot).written_in_turn[side] += taken as u32;
            let call = Call::Write { conn, side: side as u8, len: taken as u32 };
            self.note(conn, side, call).written.extend_from_slice(&bytes[..taken]);
        }
        Ok(taken)
    }

    /// A host's program reads, as in [`NetworkState::read`].
    pub fn host_reads(
        &mut self,
        slot: u32,
        side: usize,
        limit: usize,
        take: impl FnOnce(&[u8]),
    ) -> io::Result<Option<usize>> {
        if !self.in_turn {
            return self.read(slot, side, limit, take);
        }
        let count = self.look(slot, side, limit, take)?;
        if let Some(count) = count.filter(|count| *count > 0) {
            let conn = self.conns.id(slot);
            if let Some(queue) = &mut self.conns.at_mut(slot).queues[1 - side] {
                queue.take_in_turn(count);
            }
            self.note(conn, side, Call::Consume { conn, side: side as u8, count: count as u32 });
        }
        Ok(count)
    }

    /// A host's program says that it writes no more.
    pub fn host_shuts_down(&mut self, slot: u32, side: usize) {
        let conn = self.conns.at_mut(slot);
        if !conn.ends[side].owned {
            return;
        }
        if !self.in_turn {
            return self.shutdown_end(slot, side);
        }
        conn.shut_in_turn[side] = true;
        let conn = self.conns.id(slot);
        self.note(conn, side, Call::Shutdown { conn, side: side as u8 });
    }

    /// A host's program lets go of its end.
    pub fn host_closes(&mut self, slot: u32, side: usize) {
        if !self.conns.at(slot).ends[side].owned {
            return;
        }
        if !self.in_turn {
            return self.close_end(slot, side);
        }
        let conn = self.conns.id(slot);
        self.note(conn, side, Call::Close { conn, side: side as u8 });
    }

    /// A listener goes away and nobody accepts this connection any more.
    pub fn host_rejects(&mut self, conn: ConnId) {
        let acceptor = Side::Acceptor as usize;
        if !self.conns.contains(conn) {
            return;
        }
        if self.in_turn {
            self.note(conn, acceptor, Call::Reject(conn));
        } else {
            self.abort_end(conn.slot, acceptor);
        }
    }

    /// A host's program begins to connect.
    pub fn host_dials(&mut self, attempt: Attempt) -> Arc<Dial> {
        let host = attempt.from.index();
        let state = if self.in_turn { DialState::Noted(None) } else { DialState::Begun(self.open(&attempt)) };
        let dial = Arc::new(Dial::new(host, state));
        if self.in_turn {
            self.hosts[host].calls.calls.push(Call::Connect(Box::new(attempt), Arc::clone(&dial)));
        }
        dial
    }

    /// A host's program gives up connecting, if it still does.
    pub fn host_hangs_up(&mut self, dial: &Arc<Dial>) {
        if matches!(*dial.lock(), DialState::Over) {
            return;
        }
        if self.in_turn {
            self.hosts[dial.host].calls.calls.push(Call::HangUp(Arc::clone(dial)));
        } else {
            self.hang_up(dial);
        }
    }

    fn hang_up(&mut self, dial: &Dial) {
        let before = std::mem::replace(&mut *dial.lock(), DialState::Over);
        let opener = Side::Opener as usize;
        if let DialState::Begun(conn) = before
            && self.conns.contains(conn)
            && self.conns.at(conn.slot).ends[opener].owned
        {
            self.close_end(conn.slot, opener);
        }
    }

    fn end_turn(&mut self) {
        self.in_turn = false;
        for host in 0..self.hosts.len() {
            let HostCalls { mut calls, mut written } = std::mem::take(&mut self.hosts[host].calls);
            let mut from = 0;
            let mut rest = calls.drain(..);
            while !rest.as_slice().is_empty() {
                self.prefetch_calls(&rest.as_slice()[..rest.len().min(BATCH)]);
                for call in rest.by_ref().take(BATCH) {
                    if let Call::Write { len, .. } = call {
                        self.carry_out(call, &written[from..from + len as usize]);
                        from += len as usize;
                    } else {
                        self.carry_out(call, &[]);
                    }
                }
            }
            drop(rest);
            written.clear();
            self.hosts[host].calls = HostCalls { calls, written };
        }
    }

    /// Prefetches what a batch is about to use, as [`NetworkState::prefetch`] does.
    fn prefetch_calls(&self, batch: &[Call]) {
        let mut queues = [false; BATCH];
        for (queue, call) in queues.iter_mut().zip(batch) {
            let (conn, sender) = match call {
                Call::Write { conn, side, .. } => (conn, usize::from(*side)),
                Call::Consume { conn, side, .. } => (conn, 1 - usize::from(*side)),
                _ => continue,
            };
            *queue = self.conns.at(conn.slot).queues[sender].is_some();
        }
        std::hint::black_box(queues);
        for (queue, call) in queues.iter_mut().zip(batch) {
            if let Call::Consume { conn, side, .. } = call {
                let queue_of = &self.conns.at(conn.slot).queues[1 - usize::from(*side)];
                *queue = queue_of.as_ref().is_some_and(|queue| queue.prefetch());
            }
        }
        std::hint::black_box(queues);
    }

    fn carry_out(&mut self, call: Call, bytes: &[u8]) {
        match call {
            Call::Write { conn, side, len } if self.conns.contains(conn) => {
                let state = self.conns.at_mut(conn.slot);
                state.written_in_turn[usize::from(side)] -= len;
                assert!(state.ends[usize::from(side)].is_live(), "nobody else ends an end in a turn");
                assert!(self.send_room(conn.slot, side.into()) >= bytes.len(), "all of it was found to fit");
                self.put(conn.slot, side.into(), bytes);
            }
            Call::Consume { conn, side, count } if self.conns.contains(conn) => {
                if let Some(queue) = &mut self.conns.at_mut(conn.slot).queues[1 - usize::from(side)] {
                    queue.put_down(count as usize);
                }
                self.consume(conn.slot, side.into(), count as usize);
            }
            Call::Shutdown { conn, side } if self.conns.contains(conn) => {
                self.conns.at_mut(conn.slot).shut_in_turn[usize::from(side)] = false;
                self.shutdown_end(conn.slot, side.into());
            }
            Call::Close { conn, side } if self.conns.contains(conn) => self.close_end(conn.slot, side.into()),
            Call::Reject(conn) if self.conns.contains(conn) => self.abort_end(conn.slot, Side::Acceptor as usize),
            Call::Connect(attempt, dial) => {
                let conn = self.open(&attempt);
                let before = std::mem::replace(&mut *dial.lock(), DialState::Begun(conn));
                if let DialState::Noted(Some(waker)) = before {
                    self.register_reader(conn.slot, Side::Opener as usize, &waker);
                    self.effects.trash.push(waker);
                }
            }
            Call::HangUp(dial) => self.hang_up(&dial),
            // The connection has ended meanwhile.
            Call::Write { .. } | Call::Consume { .. } | Call::Shutdown { .. } => {}
            Call::Close { .. } | Call::Reject(_) => {}
        }
    }
}

/// For whoever runs hosts on several threads.
impl Network {
    /// Until [`end_turn`](Self::end_turn) hosts may act in any order, on any threads. Virtual clients may, too, on one thread,
    /// as if before them; nothing else does: no fault begins or strikes, and no time passes.
    pub fn begin_turn(&self) {
        self.with(|state| {
            state.assert_between_turns();
            state.in_turn = true;
        });
    }

    /// What hosts have done since the turn began takes effect, in the order of hosts.
    pub fn end_turn(&self) {
        self.with(NetworkState::end_turn);
    }
}
