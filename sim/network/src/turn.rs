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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::deliver::BATCH;
use crate::handshake::Attempt;
use crate::ids::{ConnId, Side};
use crate::network::Network;
use crate::state::State;

/// What a host has asked for in a turn, until it takes effect.
#[derive(Default)]
pub(crate) struct Notes {
    asked: Vec<Asked>,
    /// The bytes of its writes, one after the other.
    said: Vec<u8>,
}

impl Notes {
    pub fn memory_bytes(&self) -> usize {
        self.asked.capacity() * size_of::<Asked>() + self.said.capacity()
    }
}

enum Asked {
    Write { conn: ConnId, side: u8, len: u32 },
    Consume { conn: ConnId, side: u8, count: u32 },
    Shutdown { conn: ConnId, side: u8 },
    Close { conn: ConnId, side: u8 },
    Reject(ConnId),
    Connect(Box<Attempt>, Arc<Dial>),
    HangUp(Arc<Dial>),
}

/// Where an attempt to connect finds its connection.
pub(crate) struct Dial {
    /// Who connects.
    host: usize,
    dialled: Mutex<Dialled>,
}

pub(crate) enum Dialled {
    /// It begins when the turn ends, and this is who waits for it.
    Asked(Option<Waker>),
    Begun(ConnId),
    /// Somebody else has the connection, or nobody.
    Over,
}

impl Dial {
    pub fn lock(&self) -> MutexGuard<'_, Dialled> {
        self.dialled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// # Panics
    /// In a turn: only hosts and virtual clients act then.
    pub fn assert_between_turns(&self) {
        assert!(!self.in_turn, "nothing but hosts and virtual clients acts in a turn");
    }

    fn note(&mut self, conn: ConnId, side: usize, asked: Asked) -> &mut Notes {
        let host = self.conns.at(conn.slot).hosts[side] as usize;
        let notes = &mut self.hosts[host].notes;
        notes.asked.push(asked);
        notes
    }

    /// A host's program writes, as in [`State::write`].
    pub fn host_writes(&mut self, slot: u32, side: usize, bytes: &[u8]) -> io::Result<usize> {
        if !self.in_turn {
            return self.write(slot, side, bytes);
        }
        let taken = self.fits(slot, side, bytes.len())?;
        if taken > 0 {
            let conn = self.conns.id(slot);
            self.conns.at_mut(slot).said[side] += taken as u32;
            let note = Asked::Write { conn, side: side as u8, len: taken as u32 };
            self.note(conn, side, note).said.extend_from_slice(&bytes[..taken]);
        }
        Ok(taken)
    }

    /// A host's program reads, as in [`State::read`].
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
            self.note(conn, side, Asked::Consume { conn, side: side as u8, count: count as u32 });
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
        conn.said_all[side] = true;
        let conn = self.conns.id(slot);
        self.note(conn, side, Asked::Shutdown { conn, side: side as u8 });
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
        self.note(conn, side, Asked::Close { conn, side: side as u8 });
    }

    /// A listener goes away and nobody accepts this connection any more.
    pub fn host_rejects(&mut self, conn: ConnId) {
        let acceptor = Side::Acceptor as usize;
        if !self.conns.contains(conn) {
            return;
        }
        if self.in_turn {
            self.note(conn, acceptor, Asked::Reject(conn));
        } else {
            self.abort_end(conn.slot, acceptor);
        }
    }

    /// A host's program begins to connect.
    pub fn host_dials(&mut self, attempt: Attempt) -> Arc<Dial> {
        let host = attempt.from.index();
        let dialled = if self.in_turn { Dialled::Asked(None) } else { Dialled::Begun(self.open(&attempt)) };
        let dial = Arc::new(Dial { host, dialled: Mutex::new(dialled) });
        if self.in_turn {
            self.hosts[host].notes.asked.push(Asked::Connect(Box::new(attempt), Arc::clone(&dial)));
        }
        dial
    }

    /// A host's program gives up connecting, if it still does.
    pub fn host_hangs_up(&mut self, dial: &Arc<Dial>) {
        if matches!(*dial.lock(), Dialled::Over) {
            return;
        }
        if self.in_turn {
            self.hosts[dial.host].notes.asked.push(Asked::HangUp(Arc::clone(dial)));
        } else {
            self.hang_up(dial);
        }
    }

    fn hang_up(&mut self, dial: &Dial) {
        let dialled = std::mem::replace(&mut *dial.lock(), Dialled::Over);
        let opener = Side::Opener as usize;
        if let Dialled::Begun(conn) = dialled
            && self.conns.contains(conn)
            && self.conns.at(conn.slot).ends[opener].owned
        {
            self.close_end(conn.slot, opener);
        }
    }

    fn end_turn(&mut self) {
        self.in_turn = false;
        for host in 0..self.hosts.len() {
            let Notes { mut asked, mut said } = std::mem::take(&mut self.hosts[host].notes);
            let mut from = 0;
            let mut rest = asked.drain(..);
            while !rest.as_slice().is_empty() {
                self.touch_all(&rest.as_slice()[..rest.len().min(BATCH)]);
                for asked in rest.by_ref().take(BATCH) {
                    if let Asked::Write { len, .. } = asked {
                        self.carry_out(asked, &said[from..from + len as usize]);
                        from += len as usize;
                    } else {
                        self.carry_out(asked, &[]);
                    }
                }
            }
            drop(rest);
            said.clear();
            self.hosts[host].notes = Notes { asked, said };
        }
    }

    /// Reads a little of what a batch is about to use, as [`State::touch`] does.
    fn touch_all(&self, batch: &[Asked]) {
        let mut queues = [false; BATCH];
        for (queue, asked) in queues.iter_mut().zip(batch) {
            let (conn, sender) = match asked {
                Asked::Write { conn, side, .. } => (conn, usize::from(*side)),
                Asked::Consume { conn, side, .. } => (conn, 1 - usize::from(*side)),
                _ => continue,
            };
            *queue = self.conns.at(conn.slot).queues[sender].is_some();
        }
        std::hint::black_box(queues);
        for (queue, asked) in queues.iter_mut().zip(batch) {
            if let Asked::Consume { conn, side, .. } = asked {
                let queue_of = &self.conns.at(conn.slot).queues[1 - usize::from(*side)];
                *queue = queue_of.as_ref().is_some_and(|queue| queue.warm_up());
            }
        }
        std::hint::black_box(queues);
    }

    fn carry_out(&mut self, asked: Asked, bytes: &[u8]) {
        match asked {
            Asked::Write { conn, side, len } if self.conns.contains(conn) => {
                let state = self.conns.at_mut(conn.slot);
                state.said[usize::from(side)] -= len;
                assert!(state.ends[usize::from(side)].is_live(), "nobody else ends an end in a turn");
                assert!(self.send_room(conn.slot, side.into()) >= bytes.len(), "all of it was found to fit");
                self.put(conn.slot, side.into(), bytes);
            }
            Asked::Consume { conn, side, count } if self.conns.contains(conn) => {
                if let Some(queue) = &mut self.conns.at_mut(conn.slot).queues[1 - usize::from(side)] {
                    queue.put_down(count as usize);
                }
                self.consume(conn.slot, side.into(), count as usize);
            }
            Asked::Shutdown { conn, side } if self.conns.contains(conn) => {
                self.conns.at_mut(conn.slot).said_all[usize::from(side)] = false;
                self.shutdown_end(conn.slot, side.into());
            }
            Asked::Close { conn, side } if self.conns.contains(conn) => self.close_end(conn.slot, side.into()),
            Asked::Reject(conn) if self.conns.contains(conn) => self.abort_end(conn.slot, Side::Acceptor as usize),
            Asked::Connect(attempt, dial) => {
                let conn = self.open(&attempt);
                let asked = std::mem::replace(&mut *dial.lock(), Dialled::Begun(conn));
                if let Dialled::Asked(Some(waker)) = asked {
                    self.register_reader(conn.slot, Side::Opener as usize, &waker);
                    self.effects.trash.push(waker);
                }
            }
            Asked::HangUp(dial) => self.hang_up(&dial),
            // The connection has ended meanwhile.
            Asked::Write { .. } | Asked::Consume { .. } | Asked::Shutdown { .. } => {}
            Asked::Close { .. } | Asked::Reject(_) => {}
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
        self.with(State::end_turn);
    }
}
