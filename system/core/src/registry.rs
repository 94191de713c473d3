//! The connection registry's table: user → connections.
//!
//! A gateway's entries belong to its session and live as long as its lease. A new session of the same gateway sends
//! all it holds; what is left of older sessions at its end is stale and goes.
//!
//! **Invariants:** a device has at most one entry, the first with its highest connect count; an unregister removes only
//! its own connection; an entry outlives its gateway by at most one lease. Guarded by the tests below; what they are for, by
//! `sim/checks/src/no_loss.rs`.

use crate::plant::{Plant, planted};
use crate::time::Time;
use rustc_hash::FxHashMap;
use squall_protocol::limits::LEASE;
use squall_protocol::{DeviceId, UserId};
use std::collections::BTreeMap;

/// What a gateway says of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    pub user: UserId,
    pub device: DeviceId,
    pub connection: u64,
    pub connect_count: u64,
}

/// Where a look-up finds a connection of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub user: UserId,
    pub device: DeviceId,
    pub gateway: u32,
    pub connection: u64,
    pub connect_count: u64,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    device: DeviceId,
    connection: u64,
    connect_count: u64,
    gateway: u32,
    session: u32,
}

/// One user's rows. Most people have one device, which needs no heap.
#[derive(Debug)]
enum Rows {
    One(Row),
    Many(Vec<Row>),
}

impl Rows {
    fn as_slice(&self) -> &[Row] {
        match self {
            Rows::One(row) => std::slice::from_ref(row),
            Rows::Many(rows) => rows,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Row] {
        match self {
            Rows::One(row) => std::slice::from_mut(row),
            Rows::Many(rows) => rows,
        }
    }

    fn push(&mut self, row: Row) {
        match self {
            Rows::One(first) => *self = Rows::Many(vec![*first, row]),
            Rows::Many(rows) => rows.push(row),
        }
    }

    /// Keeps the rows that pass; false when none is left.
    fn retain(&mut self, mut keep: impl FnMut(&Row) -> bool) -> bool {
        match self {
            Rows::One(row) => keep(row),
            Rows::Many(rows) => {
                rows.retain(keep);
                !rows.is_empty()
            }
        }
    }
}

#[derive(Debug)]
struct GatewaySession {
    session: u32,
    lease_until: Time,
}

/// What becomes of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// The entry is visible; with `created`, the device had none, or that of another connection: what was planned until now
    /// did not come here.
    Visible { created: bool, displaced: Option<Displaced> },
    /// The device's entry is that of another connection, which is newer or was there first, with this count.
    Superseded { by: u64 },
    /// The session is old: nobody waits for an answer.
    Ignored,
}

/// A connection whose entry a newer one of its device has taken. It is told so, if its gateway still has it: somebody may sit
/// behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Displaced {
    pub gateway: u32,
    pub connection: u64,
}

/// The table of one registry.
#[derive(Debug, Default)]
pub struct RegistryTable {
    users: FxHashMap<UserId, Rows>,
    gateways: BTreeMap<u32, GatewaySession>,
    last_session: u32,
}

/// The session of a gateway; a request of an older one is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId {
    pub gateway: u32,
    session: u32,
}

impl RegistryTable {
    /// A gateway opens a session. Entries of its older sessions stay visible until `handle_snapshot_end`.
    pub fn handle_open(&mut self, gateway: u32, now: Time) -> SessionId {
        self.last_session += 1;
        let session = self.last_session;
        self.gateways.insert(gateway, GatewaySession { session, lease_until: now + LEASE });
        SessionId { gateway, session }
    }

    fn is_current(&self, id: SessionId) -> bool {
        self.gateways.get(&id.gateway).is_some_and(|g| g.session == id.session)
    }

    /// Renews the lease. False: the session is not known (any more); the gateway must open a new one.
    pub fn handle_renew(&mut self, id: SessionId, now: Time) -> bool {
        match self.gateways.get_mut(&id.gateway) {
            Some(gateway) if gateway.session == id.session => {
                gateway.lease_until = now + LEASE;
                true
            }
            _ => false,
        }
    }

    /// Registers a connection.
    pub fn handle_register(&mut self, id: SessionId, r: Registration) -> Registered {
        if !self.is_current(id) {
            return Registered::Ignored;
        }
        let row = Row {
            device: r.device,
            connection: r.connection,
            connect_count: r.connect_count,
            gateway: id.gateway,
            session: id.session,
        };
        match self.users.get_mut(&r.user) {
            None => {
                self.users.insert(r.user, Rows::One(row));
                Registered::Visible { created: true, displaced: None }
            }
            Some(rows) => match rows.as_mut_slice().iter_mut().find(|x| x.device == r.device) {
                None => {
                    rows.push(row);
                    Registered::Visible { created: true, displaced: None }
                }
                // The same count from another connection is a `hello` that somebody says again.
                Some(old)
                    if !planted(Plant::LastWriterWinsRegistration)
                        && (old.connect_count > r.connect_count
                            || (old.connect_count == r.connect_count
                                && (old.connection, old.gateway) != (r.connection, id.gateway))) =>
                {
                    Registered::Superseded { by: old.connect_count }
                }
                Some(old) => {
                    // An older connection's entry may have been created a moment ago, when the registry had forgotten both.
                    let moved = (old.gateway, old.connection) != (row.gateway, row.connection);
                    // What an older life of a gateway called its connection may be another one's name by now.
                    let is_known = self.gateways.get(&old.gateway).is_some_and(|g| g.session == old.session);
                    let displaced = Displaced { gateway: old.gateway, connection: old.connection };
                    *old = row;
                    // The bug takes whoever comes last for the newest, and the other one for gone.
                    let told = moved && is_known && !planted(Plant::LastWriterWinsRegistration);
                    Registered::Visible { created: moved, displaced: told.then_some(displaced) }
                }
            },
        }
    }

    /// Removes exactly this connection; false when there was no such entry, or the request is from an older life of the gateway,
    /// whose connection numbers mean nothing any more.
    pub fn handle_unregister(&mut self, id: SessionId, user: UserId, device: DeviceId, connection: u64) -> bool {
        if !self.is_current(id) || planted(Plant::StaleRegistryEntryKept) {
            return false;
        }
        let Some(rows) = self.users.get_mut(&user) else { return false };
        let mut removed = false;
        let left = rows.retain(|row| {
            let own = row.device == device && row.connection == connection && row.gateway == id.gateway;
            removed |= own;
            !own
        });
        if !left {
            self.users.remove(&user);
        }
        removed
    }

    /// The gateway has sent all it holds: what older sessions left is stale. Returns how many entries went.
    pub fn handle_snapshot_end(&mut self, id: SessionId) -> usize {
        if !self.is_current(id) {
            return 0;
        }
        self.remove_rows(|row| row.gateway == id.gateway && row.session != id.session)
    }

    /// Drops the entries of gateways whose lease has run out. Returns how many.
    pub fn handle_timeout(&mut self, now: Time) -> usize {
        let expired: Vec<u32> =
            self.gateways.iter().filter(|(_, g)| g.lease_until <= now).map(|(gateway, _)| *gateway).collect();
        if expired.is_empty() {
            return 0;
        }
        for gateway in &expired {
            self.gateways.remove(gateway);
        }
        self.remove_rows(|row| expired.contains(&row.gateway))
    }

    pub fn poll_timeout(&self) -> Option<Time> {
        self.gateways.values().map(|g| g.lease_until).min()
    }

    fn remove_rows(&mut self, mut stale: impl FnMut(&Row) -> bool) -> usize {
        let mut removed = 0;
        self.users.retain(|_, rows| {
            rows.retain(|row| {
                let goes = stale(row);
                removed += usize::from(goes);
                !goes
            })
        });
        removed
    }

    /// Where the user's devices are.
    pub fn lookup(&self, user: UserId) -> impl Iterator<Item = Location> + '_ {
        self.users.get(&user).into_iter().flat_map(|rows| rows.as_slice()).map(move |row| Location {
            user,
            device: row.device,
            gateway: row.gateway,
            connection: row.connection,
            connect_count: row.connect_count,
        })
    }

    /// Users with at least one connection.
    pub fn users(&self) -> usize {
        self.users.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const U: UserId = UserId(1);
    const CREATED: Registered = Registered::Visible { created: true, displaced: None };
    const KNOWN: Registered = Registered::Visible { created: false, displaced: None };

    const fn displaces(gateway: u32, connection: u64) -> Registered {
        Registered::Visible { created: true, displaced: Some(Displaced { gateway, connection }) }
    }

    fn reg(device: u64, connection: u64, connect_count: u64) -> Registration {
        Registration { user: U, device: DeviceId(device), connection, connect_count }
    }

    fn connections(table: &RegistryTable) -> Vec<(u32, u64)> {
        let mut all: Vec<_> = table.lookup(U).map(|l| (l.gateway, l.connection)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn the_highest_connect_count_of_a_device_wins_whatever_the_order() {
        let mut t = RegistryTable::default();
        let (a, b) = (t.handle_open(0, Time::ZERO), t.handle_open(1, Time::ZERO));
        assert_eq!(t.handle_register(b, reg(1, 50, 2)), CREATED);
        assert_eq!(t.handle_register(a, reg(1, 40, 1)), Registered::Superseded { by: 2 });
        assert_eq!(t.handle_register(a, reg(2, 41, 1)), CREATED);
        assert_eq!(connections(&t), [(0, 41), (1, 50)]);
        assert!(!t.handle_unregister(a, U, DeviceId(1), 40));
        assert!(t.handle_unregister(b, U, DeviceId(1), 50));
        assert_eq!(connections(&t), [(0, 41)]);
    }

    #[test]
    fn a_hello_that_is_said_again_elsewhere_does_not_take_a_device_over() {
        let mut t = RegistryTable::default();
        let (a, b) = (t.handle_open(0, Time::ZERO), t.handle_open(1, Time::ZERO));
        assert_eq!(t.handle_register(a, reg(1, 40, 3)), CREATED);
        assert_eq!(t.handle_register(b, reg(1, 50, 3)), Registered::Superseded { by: 3 });
        assert_eq!(t.handle_register(a, reg(1, 41, 3)), Registered::Superseded { by: 3 });
        assert_eq!(t.handle_register(a, reg(1, 40, 3)), KNOWN, "the same connection, told in a new session");
        assert_eq!(connections(&t), [(0, 40)]);
    }

    #[test]
    fn what_a_new_session_does_not_name_is_stale_at_its_end() {
        let mut t = RegistryTable::default();
        let old = t.handle_open(0, Time::ZERO);
        t.handle_register(old, reg(1, 1, 1));
        t.handle_register(old, reg(2, 2, 1));
        let new = t.handle_open(0, Time(5));
        assert_eq!(t.handle_register(new, reg(2, 2, 1)), KNOWN);
        assert_eq!(connections(&t), [(0, 1), (0, 2)]);
        assert_eq!(t.handle_snapshot_end(new), 1);
        assert_eq!(connections(&t), [(0, 2)]);
        assert_eq!(t.handle_register(old, reg(3, 3, 1)), Registered::Ignored);
    }

    #[test]
    fn a_connection_that_takes_the_entry_of_an_older_one_is_told_so() {
        let mut t = RegistryTable::default();
        let (a, b) = (t.handle_open(0, Time::ZERO), t.handle_open(1, Time::ZERO));
        assert_eq!(t.handle_register(a, reg(1, 40, 1)), CREATED);
        assert_eq!(t.handle_register(b, reg(1, 40, 2)), displaces(0, 40));
        assert_eq!(t.handle_register(b, reg(1, 40, 2)), KNOWN);
        assert_eq!(t.handle_register(b, reg(1, 41, 3)), displaces(1, 40));
        // A new session has not told of connection 41 yet: whatever bears its number now may be another one.
        let b = t.handle_open(1, Time(5));
        assert_eq!(t.handle_register(b, reg(1, 42, 4)), CREATED);
    }

    #[test]
    fn a_gateway_that_does_not_renew_loses_its_entries() {
        let mut t = RegistryTable::default();
        let (a, b) = (t.handle_open(0, Time::ZERO), t.handle_open(1, Time::ZERO));
        t.handle_register(a, reg(1, 1, 1));
        t.handle_register(b, reg(2, 2, 1));
        let lease_end = Time::ZERO + LEASE;
        assert!(t.handle_renew(b, Time(lease_end.0 - 1)));
        assert_eq!(t.poll_timeout(), Some(lease_end));
        assert_eq!(t.handle_timeout(lease_end), 1);
        assert_eq!(connections(&t), [(1, 2)]);
        assert!(!t.handle_renew(a, lease_end));
    }
}
