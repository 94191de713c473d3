//! Faults overlap on one link or one set of connections, and the end of one leaves the other as it was.

mod common;

use common::*;
use squall_network::FleetEventKind::*;
use squall_network::*;

/// Whether a fresh connection attempt and a byte sent up an established connection get through within `patience`.
fn shows(kind: FaultKind, world: &mut World, conn: ConnId, stream: &mut Stream) -> bool {
    let sent = world.net.now();
    world.net.write(conn, b"x").unwrap();
    match kind {
        FaultKind::Block | FaultKind::Hold => {
            world.pass(4 * S);
            read_all(stream).is_empty()
        }
        FaultKind::Latency { add, .. } => {
            while read_all(stream).is_empty() && world.net.now() < sent + 10 * S {
                world.pass(MS);
            }
            world.net.now() - sent >= add
        }
        FaultKind::Slow { .. } | FaultKind::Loss { .. } | FaultKind::Refuse | FaultKind::Freeze => {
            let attempt = world.open(99);
            world.pass(4 * S);
            read_all(stream);
            let kinds = world.kinds();
            let _ = world.net.reset(attempt);
            while world.accept().is_some() {}
            match kind {
                FaultKind::Refuse => kinds.contains(&Refused),
                FaultKind::Freeze => world.net.conn_info(conn).is_some_and(|info| info.frozen),
                FaultKind::Slow { .. } => {
                    world.net.write(conn, &[0; 1_000]).unwrap();
                    world.pass(500 * MS);
                    let first = read_all(stream).len();
                    world.pass(4 * S);
                    read_all(stream);
                    first == 0
                }
                _ => {
                    let (mut late, begin) = (0, world.net.stats().segments);
                    for _ in 0..20 {
                        world.net.write(conn, b"y").unwrap();
                        world.pass(150 * MS);
                        late += usize::from(read_all(stream).is_empty());
                    }
                    world.pass(4 * S);
                    read_all(stream);
                    late > 2 && world.net.stats().segments > begin
                }
            }
        }
    }
}

#[test]
fn every_pair_of_faults_ends_independently() {
    let kinds = [
        FaultKind::Block,
        FaultKind::Hold,
        FaultKind::Latency { add: 100 * MS, jitter: 0 },
        FaultKind::Slow { bytes_per_s: 1_000 },
        FaultKind::Loss { p: 0.7 },
        FaultKind::Refuse,
        FaultKind::Freeze,
    ];
    for first in kinds {
        for second in kinds {
            for remove_first in [true, false] {
                for picked in [false, true] {
                    let mut world = world(5, Profile { patience: 100 * S, ..plain() });
                    let (conn, mut stream) = world.pair(1);
                    let fault = |kind| match picked {
                        false => Fault::between([world.site], [world.server], kind),
                        true => Fault::connections(|_, _| true, kind),
                    };
                    let a = world.net.add_fault(fault(first));
                    let b = world.net.add_fault(fault(second));
                    let (gone, left, kind) = if remove_first { (a, b, second) } else { (b, a, first) };
                    assert!(world.net.remove_fault(gone));
                    world.pass(S);
                    let label = format!("{first:?} and {second:?}, {kind:?} left, picked: {picked}");
                    if first == FaultKind::Freeze || second == FaultKind::Freeze {
                        assert!(world.net.conn_info(conn).unwrap().frozen, "{label}: a freeze is for ever");
                        continue;
                    }
                    assert!(shows(kind, &mut world, conn, &mut stream), "{label}: has no effect");
                    assert!(world.net.remove_fault(left));
                    world.pass(10 * S);
                    read_all(&mut stream);
                    world.events.clear();
                    assert!(!shows(kind, &mut world, conn, &mut stream), "{label}: is still felt");
                }
            }
        }
    }
}
