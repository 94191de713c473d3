//! Virtual clients: events, stale ids, the accept queue, and what an idle connection weighs.

mod common;

use std::io::ErrorKind;

use common::*;
use squall_network::FleetEventKind::*;
use squall_network::*;

#[test]
fn stale_ids_are_refused_after_the_slot_is_reused() {
    let mut world = world(1, plain());
    let (old, stream) = world.pair(1);
    drop(stream);
    world.net.close(old).unwrap();
    world.pass(S);
    let (new, mut stream) = world.pair(2);
    assert_eq!(old.slot(), new.slot());
    assert_ne!(old.generation(), new.generation());
    assert_eq!(world.net.write(old, b"x").unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(world.net.read(old, &mut Vec::new()).unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(world.net.close(old).unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(world.net.reset(old).unwrap_err().kind(), ErrorKind::NotConnected);
    assert!(!world.net.cut(old) && !world.net.freeze(old) && world.net.conn_info(old).is_none());
    world.net.write(new, b"fine").unwrap();
    world.pass(S);
    assert_eq!(read_all(&mut stream), b"fine");
}

#[test]
fn connections_are_found_by_host_and_by_token() {
    let mut world = world(1, plain());
    let (a, _s1) = world.pair(10);
    let (b, _s2) = world.pair(20);
    assert_eq!(world.net.connections_of(world.server), [a, b]);
    assert_eq!(world.net.connections_of(world.site), [a, b]);
    assert_eq!(world.net.connection_for_token(20), Some(b));
    world.net.reset(a).unwrap();
    world.pass(S);
    drop(_s1);
    assert_eq!(world.net.connections_of(world.server), [b]);
    assert_eq!(world.net.connection_for_token(10), None);
    let info = world.net.conn_info(b).unwrap();
    assert_eq!((info.token, info.opener, info.acceptor, info.port), (Some(20), world.site, world.server, PORT));
}

#[test]
fn readable_is_told_once_an_advance() {
    let mut world = world(1, plain());
    let (_conn, mut stream) = world.pair(1);
    for _ in 0..5 {
        assert!(write(&mut stream, b"frame").is_ready());
    }
    world.pass(S);
    assert_eq!(world.kinds(), [Readable]);
    assert!(write(&mut stream, b"frame").is_ready());
    world.pass(S);
    assert_eq!(world.kinds(), [Readable]);
}

#[test]
fn a_write_before_the_connection_stands_would_block() {
    let mut world = world(1, plain());
    let conn = world.open(1);
    assert_eq!(world.net.write(conn, b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
    world.pass(S);
    assert_eq!(world.kinds(), [Connected, Writable]);
}

#[test]
fn a_full_accept_queue_refuses() {
    let mut world = world(1, plain());
    world.listener = None;
    let listener = world.net.listen(world.server, PORT, 3).unwrap();
    for token in 0..10 {
        world.open(token);
    }
    world.pass(S);
    let kinds = world.kinds();
    assert_eq!(kinds.iter().filter(|kind| **kind == Connected).count(), 3);
    assert_eq!(kinds.iter().filter(|kind| **kind == Refused).count(), 7);
    let stats = world.net.stats();
    assert_eq!((stats.refused, stats.accept_overflows, stats.open), (7, 7, 3));

    world.listener = Some(listener);
    let kept: Vec<_> = std::iter::from_fn(|| world.accept()).collect();
    assert_eq!(kept.len(), 3);
    world.open(11);
    world.pass(S);
    assert_eq!(world.kinds(), [Connected], "there is room again");
}

#[test]
fn a_dropped_listener_resets_who_waits_and_refuses_who_comes() {
    let mut world = world(1, plain());
    world.open(1);
    world.pass(S);
    world.listener = None;
    world.open(2);
    world.pass(S);
    assert_eq!(world.kinds(), [Connected, Reset, Refused]);
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn a_nat_forgets_an_idle_connection() {
    let mut world = world(1, Profile { nat_idle_timeout: Some(60 * S), patience: 10 * S, ..plain() });
    let (conn, mut stream) = world.pair(1);
    world.pass(50 * S);
    world.net.write(conn, b"in time").unwrap();
    world.pass(S);
    assert_eq!(read_all(&mut stream), b"in time");
    world.pass(61 * S);
    world.net.write(conn, b"too late").unwrap();
    world.pass(11 * S);
    assert_eq!(world.kinds(), [TimedOut]);
    assert!(read(&mut stream).is_pending(), "the other end knows nothing");
    assert!(write(&mut stream, b"hello?").is_ready());
    world.pass(11 * S);
    assert_eq!(read_error(&mut stream), Some(ErrorKind::TimedOut));
    drop(stream);
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn a_drop_stalls_the_connection_or_ends_it() {
    let drops = |drop_duration| Profile { mean_time_between_drops: Some(30 * S), drop_duration, ..plain() };
    for (duration, lives) in [(Some(MS), true), (None, false)] {
        let mut world = world(1, drops(duration));
        let (conn, mut stream) = world.pair(1);
        let (mut sent, mut got) = (Vec::new(), Vec::new());
        for i in 0..600u32 {
            if world.net.write(conn, &i.to_le_bytes()).is_ok() {
                sent.extend(i.to_le_bytes());
            }
            world.pass(S);
            got.extend(read_all(&mut stream));
        }
        assert!(sent.starts_with(&got));
        assert_eq!(sent == got, lives, "sent {}, got {}", sent.len(), got.len());
        assert_eq!(world.kinds().contains(&TimedOut), !lives);
    }
}

#[test]
fn an_idle_connection_is_small_and_costs_no_event() {
    let mut world = world(1, plain());
    world.listener = Some({
        world.listener = None;
        world.net.listen(world.server, PORT, 1 << 20).unwrap()
    });
    let before = world.net.memory_bytes();
    let count = 100_000;
    let mut streams = Vec::new();
    for token in 0..count {
        let conn = world.open(token);
        if token % 1_000 == 999 {
            world.pass(S);
            streams.extend(std::iter::from_fn(|| world.accept()));
            world.events.clear();
        }
        std::hint::black_box(conn);
    }
    assert_eq!(streams.len() as u64, count);
    for (stream, _) in &mut streams {
        assert!(read(stream).is_pending(), "its reader waits");
    }
    assert_eq!(world.net.next_due(), None);
    let each = (world.net.memory_bytes() - before) as f64 / count as f64;
    println!("{each:.1} bytes per idle connection, both ends");
    assert!(each < 250.0, "{each} bytes");
}
