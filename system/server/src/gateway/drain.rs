//! A gateway that is to end empties itself: its devices are told when to come back, and closed one after the other over a window.
//!
//! **Invariants:** what a device asked before it was told is answered, unless its shard takes longer than `ANSWERS_LEAVE`; whoever is
//! told is closed; connections are told in even steps over the window, so that other gateways take them up as evenly. Guarded by
//! `server/tests/drain.rs`; in simulated runs by `sim/checks/src/drains_gently.rs`.

use super::handshakes::Handshakes;
use super::outgoing::Outgoing;
use super::state::Gateway;
use super::table::ConnectionId;
use crate::hop::Hop;
use squall_core::plant::{Plant, planted};
use squall_protocol::close::CloseReason;
use squall_protocol::ids::mix;
use squall_protocol::{ServerFrame, limits};
use std::time::Duration;

/// Empties the gateway, in `window` and a little more. Its registrations last as long as it does: leases are renewed meanwhile.
pub async fn run(gateway: &Gateway, handshakes: &Handshakes, window: Duration) {
    while handshakes.end_oldest() {}
    let begun = gateway.clock.now();
    let leaving: Vec<ConnectionId> = gateway.table().all().collect();
    if planted(Plant::DrainUnregistersFirst) {
        leaving.iter().for_each(|id| unregister(gateway, *id));
    }
    let (mut told, mut closed) = (0, 0);
    while told < leaving.len() || closed < leaving.len() {
        let elapsed = gateway.clock.now().since(begun);
        let due = |elapsed: Duration| due_by(elapsed, window, leaving.len());
        let tell = if planted(Plant::DrainAllAtOnce) { leaving.len() } else { due(elapsed) };
        leaving[told..tell].iter().for_each(|id| tell_to_come_back(gateway, *id));
        let close = elapsed.checked_sub(limits::ANSWERS_LEAVE).map_or(0, due);
        leaving[closed..close].iter().for_each(|id| close_for_restart(gateway, *id));
        (told, closed) = (tell, close);
        tokio::time::sleep(limits::STOP_LOOKS_EVERY).await;
    }
    // Those whose handshake was done as the drain began, and whoever does not answer a close.
    let last = gateway.clock.now() + limits::LINGER + limits::HOUSEKEEPING_INTERVAL;
    while gateway.clock.now() < last {
        let late: Vec<ConnectionId> = gateway.table().all().collect();
        if late.is_empty() {
            break;
        }
        late.into_iter().for_each(|id| close_for_restart(gateway, id));
        tokio::time::sleep(limits::STOP_LOOKS_EVERY).await;
    }
    // What the registries are to forget is on its way.
    tokio::time::sleep(limits::STOP_LOOKS_EVERY).await;
}

/// How many of so many connections are due after this time: the first at once, the others in even steps.
fn due_by(elapsed: Duration, window: Duration, connections: usize) -> usize {
    if elapsed >= window {
        return connections;
    }
    let steps = elapsed.as_micros() * connections as u128 / window.as_micros();
    connections.min(steps as usize + 1)
}

/// Who has shown no token has asked nothing, and is only closed.
fn tell_to_come_back(gateway: &Gateway, id: ConnectionId) {
    if let Some(row) = gateway.table().get_mut(id)
        && let Some(peer) = row.peer
    {
        let within = limits::COME_BACK_WITHIN.as_millis() as u64;
        let after_ms = mix(peer.device.0 ^ mix(peer.connect_count)) % (within + 1);
        gateway.observer.hop(&Hop::SentAway { device: peer.device });
        row.push(&mut Outgoing::new(ServerFrame::ComeBack { after_ms }));
    }
}

/// Only the bug `drain-unregisters-first` does so before the connection is gone.
fn unregister(gateway: &Gateway, id: ConnectionId) {
    let peer = gateway.table().get_mut(id).and_then(|row| row.peer);
    if let Some(peer) = peer {
        gateway.unregister(id, peer);
    }
}

fn close_for_restart(gateway: &Gateway, id: ConnectionId) {
    if let Some(row) = gateway.table().get_mut(id) {
        row.close(CloseReason::Restart);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_due_in_even_steps() {
        let due = |ms, n| due_by(Duration::from_millis(ms), Duration::from_secs(10), n);
        assert_eq!([due(0, 1_000), due(9, 1_000), due(10, 1_000), due(5_000, 1_000)], [1, 1, 2, 501]);
        assert_eq!((due(9_990, 1_000), due(20_000, 1_000), due(500, 0), due(0, 1)), (1_000, 1_000, 0, 1));
        assert_eq!([due(0, 2), due(4_999, 2), due(5_000, 2)], [1, 1, 2]);
        assert_eq!(due_by(Duration::ZERO, Duration::ZERO, 7), 7);
    }
}
