//! Faults on links and connections: what stalls, what ends, what goes on, and that faults do not undo each other.

mod common;

use std::io::ErrorKind;

use common::*;
use squall_network::FleetEventKind::*;
use squall_network::*;

fn partition(world: &World) -> FaultId {
    world.net.add_fault(Fault::between([world.site], [world.server], FaultKind::Block))
}

#[test]
fn a_short_partition_stalls_and_then_goes_on() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(1);
    let fault = partition(&world);
    world.net.write(conn, b"through the wall").unwrap();
    assert!(write(&mut stream, b"and back").is_ready());
    world.pass(10 * S);
    assert!(read(&mut stream).is_pending());
    assert_eq!(world.kinds(), []);
    assert!(world.net.remove_fault(fault));
    world.pass(2 * S + 10 * MS);
    assert_eq!(read_all(&mut stream), b"through the wall");
    assert_eq!(world.client_reads(conn), b"and back");
    let hits = world.net.fault_hits(fault);
    assert_eq!((hits.segments_stalled, hits.bytes_stalled), (2, 24));
    world.pass(60 * S);
    assert!(!world.kinds().contains(&TimedOut));
}

#[test]
fn a_long_partition_ends_each_end_that_has_data_in_flight() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(1);
    let fault = partition(&world);
    world.net.write(conn, b"lost").unwrap();
    world.pass(15 * S - 1);
    assert_eq!(world.kinds(), []);
    world.pass(1);
    assert_eq!(world.kinds(), [TimedOut]);
    assert!(read(&mut stream).is_pending(), "an end with nothing in flight does not know");
    world.net.remove_fault(fault);
    world.pass(5 * S);
    assert!(read(&mut stream).is_pending(), "and is not told");
    assert!(write(&mut stream, b"anyone?").is_ready());
    world.pass(20 * MS);
    assert_eq!(read_error(&mut stream), Some(ErrorKind::ConnectionReset), "but it is when it asks");
    assert_eq!(world.net.stats().timeouts, 1);
    drop(stream);
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn what_had_left_before_a_partition_arrives() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(1);
    world.net.write(conn, b"on its way").unwrap();
    world.pass(1);
    let fault = partition(&world);
    world.net.write(conn, b"too late").unwrap();
    world.pass(S);
    assert_eq!(read_all(&mut stream), b"on its way");
    world.net.remove_fault(fault);
    world.pass(3 * S);
    assert_eq!(read_all(&mut stream), b"too late");
}

#[test]
fn a_partition_of_the_way_back_delivers_once_and_times_the_sender_out() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(1);
    let fault = world.net.add_fault(Fault::one_way([world.server], [world.site], FaultKind::Block));
    world.net.write(conn, b"heard").unwrap();
    world.pass(S);
    assert_eq!(read_all(&mut stream), b"heard");
    world.pass(15 * S);
    assert_eq!(world.kinds(), [TimedOut]);
    assert_eq!(read_all(&mut stream), b"");
    world.net.remove_fault(fault);
    assert!(write(&mut stream, b"answer").is_ready());
    world.pass(S);
    assert_eq!(read_error(&mut stream), Some(ErrorKind::ConnectionReset));

    let (conn, mut stream) = world.pair(2);
    let fault = world.net.add_fault(Fault::one_way([world.server], [world.site], FaultKind::Block));
    world.net.write(conn, b"heard").unwrap();
    world.pass(10 * S);
    world.net.remove_fault(fault);
    world.pass(60 * S);
    assert_eq!(read_all(&mut stream), b"heard");
    assert_eq!(world.kinds(), [], "acknowledged in time after the heal");
}

#[test]
fn the_windows_opening_does_not_cross_a_partition() {
    let mut world = world(1, Profile { recv_window: 100, patience: 1_000 * S, ..plain() });
    let (conn, mut stream) = world.pair(1);
    world.net.write(conn, &[7; 200]).unwrap();
    world.pass(S);
    let fault = world.net.add_fault(Fault::one_way([world.server], [world.site], FaultKind::Block));
    assert_eq!(read_all(&mut stream).len(), 100);
    world.pass(60 * S);
    assert_eq!(read_all(&mut stream).len(), 0);
    world.net.remove_fault(fault);
    world.pass(3 * S);
    assert_eq!(read_all(&mut stream).len(), 100);
}

#[test]
fn a_hold_releases_everything_at_once_and_in_order() {
    let mut world = world(1, plain());
    let (a, mut first) = world.pair(1);
    let (b, mut second) = world.pair(2);
    let hold = || Fault::between([world.site], [world.server], FaultKind::Hold);
    let (one, two) = (world.net.add_fault(hold()), world.net.add_fault(hold()));
    for i in 0..10u8 {
        world.net.write(a, &[i]).unwrap();
        world.net.write(b, &[100 + i]).unwrap();
        world.net.advance(world.net.now() + S);
    }
    world.net.remove_fault(one);
    world.pass(S);
    assert!(read(&mut first).is_pending(), "one hold remains");
    world.net.remove_fault(two);
    world.pass(0);
    assert_eq!(read_all(&mut first), (0..10).collect::<Vec<u8>>());
    assert_eq!(read_all(&mut second), (100..110).collect::<Vec<u8>>());
    assert_eq!(world.net.fault_hits(two).bytes_held, 20);
    world.pass(60 * S);
    assert_eq!(world.kinds(), [], "nobody timed out");
}

#[test]
fn a_held_frame_arrives_although_its_sender_has_given_up() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(1);
    let hold = world.net.add_fault(Fault::between([world.site], [world.server], FaultKind::Hold));
    world.net.write(conn, b"from the past").unwrap();
    world.pass(10 * S);
    world.net.close(conn).unwrap();
    world.pass(60 * S);
    world.net.remove_fault(hold);
    world.pass(S);
    assert_eq!(read_all(&mut stream), b"from the past");
    drop(stream);
    world.pass(S);
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn a_frozen_connection_is_half_open_until_patience_runs_out() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(1);
    world.net.write(conn, b"in flight").unwrap();
    assert!(world.net.freeze(conn));
    world.pass(14 * S);
    assert_eq!(world.kinds(), []);
    world.pass(2 * S);
    assert_eq!(world.kinds(), [TimedOut]);
    world.pass(1_000 * S);
    assert!(read(&mut stream).is_pending(), "no FIN and no RST, ever");
    drop(stream);
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn a_cut_resets_both_ends_and_loses_what_is_in_flight() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(1);
    world.net.write(conn, b"prefix").unwrap();
    world.pass(10 * MS);
    world.net.write(conn, b"lost").unwrap();
    assert!(write(&mut stream, b"lost").is_ready());
    assert!(world.net.cut(conn));
    assert_eq!(read_all(&mut stream), b"prefix");
    assert_eq!(read_error(&mut stream), Some(ErrorKind::ConnectionReset));
    world.pass(0);
    assert_eq!(world.kinds(), [Reset]);

    let (conn, mut stream) = world.pair(2);
    world.net.write(conn, b"lost").unwrap();
    assert!(world.net.cut_with_delay(conn, 3 * S));
    world.pass(3 * S - 1);
    assert!(read(&mut stream).is_pending());
    assert_eq!(world.kinds(), []);
    world.pass(1);
    assert_eq!(read_error(&mut stream), Some(ErrorKind::ConnectionReset));
    assert_eq!(world.kinds(), [Reset]);
}

#[test]
fn closing_both_ends_gives_each_eof_after_its_data() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(1);
    world.net.write(conn, b"up").unwrap();
    assert!(write(&mut stream, b"down").is_ready());
    assert!(world.net.close_both(conn));
    world.pass(10 * MS);
    assert_eq!(read_all(&mut stream), b"up");
    assert!(is_eof(&mut stream));
    assert_eq!(world.client_reads(conn), b"down");
    assert_eq!(world.kinds(), [Readable, Eof]);
    drop(stream);
    world.net.close(conn).unwrap();
    world.pass(S);
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn a_partition_stops_fin_and_loses_rst() {
    for abort in [false, true] {
        let mut world = world(1, plain());
        let (conn, mut stream) = world.pair(1);
        let fault = partition(&world);
        if abort {
            world.net.reset(conn).unwrap();
        } else {
            world.net.close(conn).unwrap();
        }
        world.pass(5 * S);
        assert!(read(&mut stream).is_pending());
        world.net.remove_fault(fault);
        world.pass(5 * S);
        assert_eq!(is_eof(&mut stream), !abort);
    }
}

#[test]
fn attempts_meet_partitions_and_refusals() {
    let mut world = world(1, plain());
    let fault = partition(&world);
    world.open(1);
    world.pass(4 * S);
    assert_eq!(world.kinds(), []);
    world.pass(S);
    assert_eq!(world.kinds(), [ConnectTimedOut]);
    world.open(2);
    world.pass(S / 2);
    world.net.remove_fault(fault);
    world.pass(S);
    assert_eq!(world.kinds(), [Connected], "the SYN is sent again");
    assert!(world.net.fault_hits(fault).connects_stalled >= 3);

    let refuse = world.net.add_fault(Fault::between([world.site], [world.server], FaultKind::Refuse));
    world.open(3);
    world.pass(S);
    assert_eq!(world.kinds(), [Refused]);
    assert_eq!(world.net.fault_hits(refuse).connects_refused, 1);
}

#[test]
fn latency_and_slow_links_delay() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(1);
    let link = ([world.site], [world.server]);
    let late = world.net.add_fault(Fault::between(link.0, link.1, FaultKind::Latency { add: 90 * MS, jitter: 0 }));
    world.net.write(conn, b"late").unwrap();
    world.pass(99 * MS);
    assert!(read(&mut stream).is_pending());
    world.pass(MS);
    assert_eq!(read_all(&mut stream), b"late");
    assert_eq!(world.net.fault_hits(late).segments_delayed, 1);
    world.net.remove_fault(late);

    let slow = world.net.add_fault(Fault::between(link.0, link.1, FaultKind::Slow { bytes_per_s: 10_000 }));
    world.net.write(conn, &[0; 20_000]).unwrap();
    world.pass(S);
    let first = read_all(&mut stream).len();
    assert!((5_000..=10_000).contains(&first), "{first} bytes in the first second");
    world.pass(2 * S);
    assert_eq!(first + read_all(&mut stream).len(), 20_000);
    assert!(world.net.fault_hits(slow).segments_delayed > 1);

    // What waits when the link is fast again does not wait as if it were slow still.
    world.net.write(conn, &[0; 60_000]).unwrap();
    world.pass(S);
    let before = read_all(&mut stream).len();
    world.net.remove_fault(slow);
    world.pass(100 * MS);
    assert!(before <= 10_000);
    assert_eq!(before + read_all(&mut stream).len(), 60_000);
}

#[test]
fn a_fault_can_pick_connections() {
    let mut world = world(1, plain());
    let (even, mut even_stream) = world.pair(2);
    let (odd, mut odd_stream) = world.pair(3);
    let fault = world.net.add_fault(Fault::connections(|_, token| token % 2 == 0, FaultKind::Block));
    world.net.write(even, b"x").unwrap();
    world.net.write(odd, b"x").unwrap();
    world.pass(S);
    assert!(read(&mut even_stream).is_pending());
    assert_eq!(read_all(&mut odd_stream), b"x");
    assert_eq!(world.net.fault_hits(fault).segments_stalled, 1);
    world.net.remove_fault(fault);
    world.pass(3 * S);
    assert_eq!(read_all(&mut even_stream), b"x");

    let freeze = world.net.add_fault(Fault::connections(|_, token| token % 2 == 0, FaultKind::Freeze));
    world.net.remove_fault(freeze);
    assert_eq!(world.net.fault_hits(freeze).connections_cut, 1);
    assert!(world.net.conn_info(even).unwrap().frozen && !world.net.conn_info(odd).unwrap().frozen);
}

#[test]
fn a_fault_that_touched_nothing_shows_zeros() {
    let mut world = world(1, plain());
    let other = world.net.add_host("gateway-1");
    let (conn, mut stream) = world.pair(1);
    let fault = world.net.add_fault(Fault::between([world.site], [other], FaultKind::Block));
    world.net.write(conn, b"x").unwrap();
    world.pass(S);
    assert_eq!(read_all(&mut stream), b"x");
    world.net.remove_fault(fault);
    assert!(!world.net.fault_hits(fault).any());
    assert!(!world.net.remove_fault(fault));
}

/// Among millions of connections an endless tail of drops would always leave one dark for longer than any bound.
#[test]
fn a_drop_of_the_path_lasts_at_most_four_times_its_mean() {
    let profile = Profile {
        mean_time_between_drops: Some(30 * S),
        drop_duration: Some(S),
        patience: 60 * S,
        latency: LatencyModel::constant(10 * MS),
        ..plain()
    };
    let mut world = world(7, profile);
    world.listener = None;
    world.listener = Some(world.net.listen(world.server, PORT, 4_096).unwrap());
    let conns: Vec<ConnId> = (0..3_000).map(|token| world.open(token)).collect();
    world.pass(4 * S);
    let mut streams: Vec<Stream> = std::iter::from_fn(|| world.accept()).map(|(stream, _)| stream).collect();
    assert!(streams.len() > 2_900);
    let mut longest = 0;
    let mut silent = vec![world.net.now(); streams.len()];
    for _ in 0..150 {
        for conn in &conns {
            let _ = world.net.write(*conn, b".");
        }
        world.pass(200 * MS);
        for (stream, silent) in streams.iter_mut().zip(&mut silent) {
            if read(stream).is_ready() {
                longest = longest.max(world.net.now() - *silent);
                *silent = world.net.now();
            }
        }
    }
    // A retransmission leaves at most 2 s after the path is back, and may meet a second, shorter drop: 7.2 s with this seed.
    // Without an end to the tail it is 9.2 s.
    assert!((4 * S..8 * S).contains(&longest), "{longest} us without a byte");
}
