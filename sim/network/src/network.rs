//! The handle that everybody holds: hosts, time, faults, and what there is to observe.
//!
//! **Invariant:** the lock is held for one operation, and never while a waker is woken or dropped.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::conn::Conn;
use crate::fault::{Fault, FaultKind, Hits};
use crate::hosts::CloseStyle;
use crate::ids::{ConnId, FaultId, HostId, Micros, ProfileId, Side};
use crate::profile::Profile;
use crate::queue::QueuePool;
use crate::state::{Effects, Host, NetworkState};
use crate::stats::{ConnInfo, Stats, TraceFn};

/// The simulated network. Clones are handles to the same network.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<NetworkState>>,
}

impl Network {
    /// A network whose every draw follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(NetworkState::new(seed))) }
    }

    /// Runs `operation` under the lock, then wakes and drops wakers without it.
    pub(crate) fn with<R>(&self, operation: impl FnOnce(&mut NetworkState) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = operation(&mut state);
        if state.effects.wake.is_empty() && state.effects.trash.is_empty() {
            return result;
        }
        let Effects { wake, trash } = std::mem::take(&mut state.effects);
        drop(state);
        drop(trash);
        wake.into_iter().for_each(Waker::wake);
        result
    }

    /// Runs `operation` on a connection, if the id still names one.
    pub(crate) fn with_conn<R>(
        &self,
        id: ConnId,
        operation: impl FnOnce(&mut NetworkState, u32) -> R,
    ) -> Option<R> {
        self.with(|state| state.conns.contains(id).then(|| operation(state, id.slot)))
    }

    // Time.

    /// Sets the time at which hosts write until the next call. Time never goes back.
    pub fn set_now(&self, now: Micros) {
        self.with(|state| state.now = state.now.max(now));
    }

    pub fn now(&self) -> Micros {
        self.with(|state| state.now)
    }

    /// Delivers everything due up to `now`, in order of due time, then of scheduling.
    pub fn advance(&self, now: Micros) {
        self.with(|state| state.advance(now));
    }

    /// When `advance` next has something to do. It may turn out to be moot.
    pub fn next_due(&self) -> Option<Micros> {
        self.with(|state| state.events.next_due())
    }

    /// Whether something waits for the virtual clients.
    pub fn has_fleet_events(&self) -> bool {
        self.with(|state| !state.fleet_events.is_empty())
    }

    // Hosts and profiles.

    /// Adds a host, or a site for virtual clients. At most 65,536.
    pub fn add_host(&self, name: impl Into<String>) -> HostId {
        self.with(|state| {
            let id = u16::try_from(state.hosts.len()).expect("at most 65,536 hosts");
            state.hosts.push(Host::new(name.into()));
            let hosts = state.hosts.len();
            state.links.set_hosts(hosts);
            HostId(u32::from(id))
        })
    }

    pub fn host_name(&self, host: HostId) -> String {
        self.with(|state| state.hosts[host.index()].name.clone())
    }

    /// Registers a profile for connections to refer to.
    pub fn add_profile(&self, profile: Profile) -> ProfileId {
        self.with(|state| {
            let id = u16::try_from(state.profiles.len()).expect("at most 65,536 profiles");
            state.profiles.push(profile);
            ProfileId(id)
        })
    }

    /// The host's process dies. Its connections are closed by its kernel, new attempts are refused.
    pub fn crash(&self, host: HostId, style: CloseStyle) {
        self.with(|state| state.crash(host.index(), style));
    }

    /// A new process runs after a crash.
    pub fn start(&self, host: HostId) {
        self.with(|state| state.power_on(host.index()));
    }

    /// The host falls silent. What it had sent still arrives; nothing reaches it.
    pub fn power_off(&self, host: HostId) {
        self.with(|state| state.power_off(host.index()));
    }

    /// The host has booted again: it answers its old connections with RST, and may listen.
    pub fn power_on(&self, host: HostId) {
        self.with(|state| state.power_on(host.index()));
    }

    /// The host's process stops running; its kernel goes on receiving until the windows are full.
    pub fn pause(&self, host: HostId) {
        self.with(|state| state.pause(host.index()));
    }

    pub fn resume(&self, host: HostId) {
        self.with(|state| state.resume_host(host.index()));
    }

    // Wakers of hosts whose runtime runs only at times.

    /// Takes the wakers of this host's tasks that have something to do, or registers a pump to be woken when there
    /// are some. From the first call on, the host's tasks are woken through its pump only.
    pub fn poll_woken(&self, host: HostId, cx: &mut Context<'_>) -> Poll<Vec<Waker>> {
        let waker = cx.waker().clone();
        self.with(|state| {
            let host = &mut state.hosts[host.index()];
            host.pumped = true;
            if host.woken.is_empty() {
                let old = host.pump.replace(waker);
                state.effects.trash.extend(old);
                return Poll::Pending;
            }
            state.effects.trash.push(waker);
            Poll::Ready(std::mem::take(&mut host.woken))
        })
    }

    // Faults.

    /// Adds a fault to the active set.
    pub fn add_fault(&self, fault: Fault) -> FaultId {
        self.with(|state| {
            state.assert_between_turns();
            let freezes = fault.kind == FaultKind::Freeze;
            let id = state.links.add(fault, state.now);
            if freezes {
                state.freeze_covered();
            }
            id
        })
    }

    /// Ends a fault. What waited for it goes on, unless another fault still stands in its way. False if it was not
    /// active.
    pub fn remove_fault(&self, id: FaultId) -> bool {
        self.with(|state| {
            state.assert_between_turns();
            let was_slow = state.links.is_slow(id);
            let removed = state.links.remove(id);
            if removed {
                if was_slow {
                    state.repace();
                }
                state.retry_stalled();
            }
            removed
        })
    }

    /// What every active fault says of itself, in order of addition.
    pub fn active_faults(&self) -> Vec<String> {
        self.with(|state| state.links.active().map(|fault| format!("{fault:?}")).collect())
    }

    /// What a fault has hit so far; kept after its removal.
    pub fn fault_hits(&self, id: FaultId) -> Hits {
        self.with(|state| state.links.hits(id))
    }

    /// The hosts at the ends of what the fault has hit, in their order.
    pub fn hosts_hit(&self, id: FaultId) -> Vec<HostId> {
        self.with(|state| state.links.hosts_hit(id))
    }

    /// Both ends are reset at once; everything in flight is lost. False if there is no such connection.
    pub fn cut(&self, conn: ConnId) -> bool {
        self.with_conn(conn, |state, slot| state.cut(slot, None)).is_some()
    }

    /// Everything in flight is lost and the connection silent now; each end is reset after `delay`.
    pub fn cut_with_delay(&self, conn: ConnId, delay: Micros) -> bool {
        self.with_conn(conn, |state, slot| state.cut(slot, Some(delay))).is_some()
    }

    /// Half-open: no FIN and no RST, ever. An end finds out by its patience, when it has data in flight.
    pub fn freeze(&self, conn: ConnId) -> bool {
        self.with_conn(conn, |state, slot| state.freeze(slot)).is_some()
    }

    /// Both sides are closed as by a middlebox: each end sees EOF after what was queued.
    pub fn close_both(&self, conn: ConnId) -> bool {
        self.with_conn(conn, |state, slot| state.close_both(slot)).is_some()
    }

    /// From now on the connection has this profile, as when a device leaves Wi-Fi for 3G. False if it has it already, or is
    /// gone.
    pub fn set_profile(&self, conn: ConnId, profile: ProfileId) -> bool {
        self.with_conn(conn, |state, slot| state.set_profile(slot, profile)).unwrap_or(false)
    }

    // Observation.

    /// The host's connections, both as opener and as acceptor, in order of slot.
    pub fn connections_of(&self, host: HostId) -> Vec<ConnId> {
        self.with(|state| state.connections_of(host.index()))
    }

    /// The connection that was last opened with this token, if it still exists.
    pub fn connection_for_token(&self, token: u64) -> Option<ConnId> {
        self.with(|state| state.tokens.get(token))
    }

    pub fn conn_info(&self, conn: ConnId) -> Option<ConnInfo> {
        self.with_conn(conn, |state, slot| info(conn, state.conns.at(slot)))
    }

    /// Each host's digest of the segments that it sent or received since the last call, in order of host.
    pub fn take_digests(&self) -> Vec<(HostId, u64)> {
        self.with(|state| {
            let hosts = state.hosts.iter_mut().enumerate();
            hosts.map(|(index, host)| (HostId(index as u32), std::mem::take(&mut host.digest))).collect()
        })
    }

    /// Shows every delivered segment to `trace`, which must not call the network.
    pub fn set_trace(&self, trace: Option<TraceFn>) {
        let old = self.with(|state| std::mem::replace(&mut state.trace, trace));
        drop(old);
    }

    pub fn stats(&self) -> Stats {
        self.with(|state| state.stats)
    }

    /// Bytes that the network's own structures take. Walks the connections if any has something in flight.
    pub fn memory_bytes(&self) -> usize {
        self.with(|state| {
            let mut walk = 0;
            if state.pool.in_use() > 0 {
                let queues = state.conns.iter().flat_map(|(_, conn)| conn.queues.iter().flatten());
                walk = queues.map(|queue| QueuePool::used_bytes(queue)).sum();
            }
            let hosts: usize = state
                .hosts
                .iter()
                .map(|host| {
                    size_of::<Host>()
                        + host.conns.capacity() * 4
                        + host.woken.capacity() * size_of::<Waker>()
                        + host.calls.memory_bytes()
                })
                .sum();
            size_of::<NetworkState>()
                + walk
                + state.tokens.memory_bytes()
                + hosts
                + state.conns.memory_bytes()
                + state.events.memory_bytes()
                + state.pool.free_bytes()
                + state.links.memory_bytes()
                + state.stalled.capacity() * size_of::<(ConnId, u8)>()
                + state.fleet_events.capacity() * size_of::<crate::FleetEvent>()
                + state.slowed.capacity() * size_of::<(u64, Micros)>()
        })
    }
}

fn info(id: ConnId, conn: &Conn) -> ConnInfo {
    let unacknowledged = |side: usize| conn.queues[side].as_ref().map_or(0, |queue| queue.unacknowledged());
    ConnInfo {
        conn: id,
        token: conn.fleet.then_some(conn.token),
        opener: HostId(u32::from(conn.hosts[0])),
        acceptor: HostId(u32::from(conn.hosts[1])),
        port: conn.port,
        profile: ProfileId(conn.profile),
        phase: conn.phase,
        ends: conn.ends.map(|end| end.state),
        frozen: conn.frozen,
        unread: [conn.readable(Side::Opener as usize), conn.readable(Side::Acceptor as usize)],
        unacknowledged: [unacknowledged(0), unacknowledged(1)],
    }
}
