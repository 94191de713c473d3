//! Crashes, power, pauses: what a machine's end means for its connections and for handles that outlive it.

mod common;

use std::io::ErrorKind;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use common::*;
use squall_network::FleetEventKind::*;
use squall_network::*;

#[test]
fn a_crash_with_fin_sends_what_was_queued() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(1);
    assert!(write(&mut stream, b"queued").is_ready());
    world.net.crash(world.server, CloseStyle::Fin);
    world.pass(10 * MS);
    assert_eq!(world.kinds(), [Readable, Eof]);
    assert_eq!(world.client_reads(conn), b"queued");
    world.open(2);
    world.pass(S);
    assert_eq!(world.kinds(), [Refused]);
}

#[test]
fn a_crash_with_rst_resets_the_peers() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(1);
    assert!(write(&mut stream, b"had left").is_ready());
    world.net.crash(world.server, CloseStyle::Rst);
    world.pass(10 * MS);
    assert_eq!(world.kinds(), [Readable, Reset]);
    assert_eq!(world.client_reads(conn), b"had left");
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn handles_of_a_dead_incarnation_are_harmless() {
    for power_cut in [false, true] {
        let mut world = world(1, plain());
        let (_, mut stale) = world.pair(1);
        let stale_listener = world.listener.take().unwrap();
        if power_cut {
            world.net.power_off(world.server);
            world.net.power_on(world.server);
        } else {
            world.net.crash(world.server, CloseStyle::Rst);
            world.net.start(world.server);
        }
        world.pass(S);
        world.events.clear();
        world.listener = Some(world.net.listen(world.server, PORT, 16).unwrap());
        let (conn, mut stream) = world.pair(2);
        let segments = world.net.stats().segments;

        assert!(matches!(write(&mut stale, b"ghost"), Poll::Ready(Err(e)) if e.kind() == ErrorKind::BrokenPipe));
        assert_eq!(read_error(&mut stale), Some(ErrorKind::NotConnected));
        shutdown(&mut stale);
        drop(stale);
        let polled = stale_listener.poll_accept(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(_))));
        drop(stale_listener);
        world.pass(S);
        assert_eq!(world.net.stats().segments, segments, "a dead incarnation sends nothing");
        assert_eq!(world.kinds(), []);
        world.net.write(conn, b"alive").unwrap();
        world.pass(S);
        assert_eq!(read_all(&mut stream), b"alive");
        world.open(3);
        world.pass(S);
        assert_eq!(world.kinds(), [Connected], "the new listener still listens");
    }
}

#[test]
fn power_loss_is_silent_and_a_restart_answers_with_resets() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(1);
    let (idle, _idle_stream) = world.pair(2);
    assert!(write(&mut stream, b"acked before the end").is_ready());
    world.net.power_off(world.server);
    assert!(write(&mut stream, b"a dead host says nothing").is_ready());
    drop(stream);
    world.pass(S);
    assert_eq!(world.kinds(), [Readable]);
    assert_eq!(world.client_reads(conn), b"acked before the end");
    world.net.write(conn, b"into the void").unwrap();
    world.pass(5 * S);
    assert_eq!(world.kinds(), []);
    world.net.power_on(world.server);
    world.pass(3 * S);
    assert_eq!(world.kinds(), [Reset], "the retransmission meets the new kernel");
    world.net.write(idle, b"hello").unwrap();
    world.pass(20 * MS);
    assert_eq!(world.kinds(), [Reset]);
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn a_host_that_stays_without_power_is_found_out_by_patience() {
    let mut world = world(1, plain());
    let (conn, _stream) = world.pair(1);
    world.net.power_off(world.server);
    world.net.write(conn, b"x").unwrap();
    world.pass(15 * S + 10 * MS);
    assert_eq!(world.kinds(), [TimedOut]);
    world.open(2);
    world.pass(5 * S);
    assert_eq!(world.kinds(), [ConnectTimedOut]);
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn what_waits_for_bandwidth_is_lost_with_the_power() {
    let mut world = world(1, Profile { bandwidth_bytes_per_s: Some(10_000), ..plain() });
    let (conn, mut stream) = world.pair(1);
    assert!(write(&mut stream, &[1; 20_000]).is_ready());
    world.pass(S);
    world.net.power_off(world.server);
    world.pass(10 * S);
    let got = world.client_reads(conn).len();
    assert!((5_000..=10_500).contains(&got), "{got} bytes had left");
}

#[test]
fn a_paused_host_keeps_its_connections_and_wakes_up_to_everything() {
    let mut world = world(1, Profile { recv_window: 100, ..plain() });
    let (conn, mut stream) = world.pair(1);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    assert!(read_with(&mut stream, &waker, 1_000).is_pending());
    world.net.pause(world.server);
    world.net.write(conn, &[1; 500]).unwrap();
    world.open(2);
    world.pass(600 * S);
    assert_eq!(bell.rings(), 0);
    assert_eq!(world.kinds(), [Connected], "the kernel still answers, and a full window is no silence");
    assert_eq!(world.net.conn_info(conn).unwrap().unread, [0, 100]);
    world.net.resume(world.server);
    assert_eq!(bell.rings(), 1);
    let mut got = 0;
    for _ in 0..10 {
        got += read_all(&mut stream).len();
        world.pass(20 * MS);
    }
    assert_eq!(got, 500);
    assert!(world.accept().is_some());
}

#[test]
fn a_crash_during_the_handshake_leaves_nothing_behind() {
    for at in [5, 15, 25] {
        for style in [CloseStyle::Fin, CloseStyle::Rst] {
            let mut world = world(1, plain());
            world.open(1);
            world.pass(at * MS);
            world.net.crash(world.server, style);
            world.pass(S);
            let told = world.kinds();
            assert!(told == [Refused] || told == [Connected, Reset], "{at} ms, {style:?}: {told:?}");
            assert_eq!(world.net.stats().open, 0);
        }
    }
}
