//! Ordinary life of a connection: order, tearing, windows, closing, and the wakers of asynchronous ends.

mod common;

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use common::*;
use squall_network::FleetEventKind::*;
use squall_network::*;

#[test]
fn bytes_arrive_in_order_after_the_latency() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(7);
    world.net.write(conn, b"hello ").unwrap();
    world.net.write(conn, b"world").unwrap();
    world.pass(10 * MS - 1);
    assert!(read(&mut stream).is_pending());
    world.pass(1);
    assert_eq!(read_all(&mut stream), b"hello world");

    assert!(write(&mut stream, b"answer").is_ready());
    world.pass(10 * MS);
    assert_eq!(world.kinds(), [Readable]);
    assert_eq!(world.client_reads(conn), b"answer");
}

#[test]
fn a_large_write_comes_in_several_reads() {
    let mut world = world(1, Profile { bandwidth_bytes_per_s: Some(1_000_000), ..plain() });
    let (conn, mut stream) = world.pair(7);
    let bytes: Vec<u8> = (0..40_000).map(|i| i as u8).collect();
    assert_eq!(world.net.write(conn, &bytes).unwrap(), bytes.len());
    let mut reads = Vec::new();
    for _ in 0..60 {
        world.pass(MS);
        if let Poll::Ready(Ok(part)) = read(&mut stream) {
            reads.push(part);
        }
    }
    assert!(reads.len() > 3, "{} reads", reads.len());
    assert_eq!(reads.concat(), bytes);
}

#[test]
fn a_frame_can_be_torn_across_reads() {
    let mut world = world(1, Profile { tear: 1.0, ..plain() });
    let (conn, mut stream) = world.pair(7);
    world.net.write(conn, b"0123456789").unwrap();
    let mut reads = Vec::new();
    for _ in 0..200 {
        world.pass(100);
        if let Poll::Ready(Ok(part)) = read(&mut stream) {
            reads.push(part);
        }
    }
    assert_eq!(reads.len(), 2);
    assert_eq!(reads.concat(), b"0123456789");
}

#[test]
fn a_slow_reader_pushes_back_and_is_served_later() {
    let mut world = world(1, Profile { recv_window: 1_000, send_buffer: 2_000, ..plain() });
    let (conn, mut stream) = world.pair(7);
    let mut sent = 0;
    loop {
        match world.net.write(conn, &[b'x'; 300]) {
            Ok(count) => sent += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    assert_eq!(sent, 2_000, "the send buffer's size, in flight or not");
    world.pass(S);
    while let Ok(count) = world.net.write(conn, &[b'x'; 300]) {
        sent += count;
    }
    assert_eq!(sent, 3_000, "a window's worth was delivered");
    world.pass(60 * S);
    assert_eq!(world.kinds(), [Writable], "a closed window is no reason to give up");

    let mut got = read_all(&mut stream).len();
    assert_eq!(got, 1_000);
    world.pass(15 * MS);
    assert_eq!(read_all(&mut stream).len(), 0, "the window's opening takes a latency, and the bytes another");
    for _ in 0..10 {
        world.pass(20 * MS);
        got += read_all(&mut stream).len();
    }
    assert_eq!(got, sent);
    assert!(world.kinds().contains(&Writable));
}

#[test]
fn an_asynchronous_writer_waits_for_room() {
    let mut world = world(1, Profile { recv_window: 1_000, send_buffer: 1_000, ..plain() });
    let (conn, mut stream) = world.pair(7);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    assert!(matches!(write_with(&mut stream, &waker, &[1; 5_000]), Poll::Ready(Ok(1_000))));
    assert!(write_with(&mut stream, &waker, &[1; 5_000]).is_pending());
    world.pass(S);
    assert_eq!(bell.rings(), 1, "delivered, so the send buffer has room");
    assert!(matches!(write_with(&mut stream, &waker, &[1; 5_000]), Poll::Ready(Ok(1_000))));
    assert!(write_with(&mut stream, &waker, &[1; 5_000]).is_pending());
    world.pass(S);
    assert_eq!(bell.rings(), 1, "the window is closed");
    assert_eq!(world.client_reads(conn).len(), 1_000);
    world.pass(S);
    assert_eq!(bell.rings(), 2);
}

#[test]
fn closing_delivers_what_was_queued_and_then_eof() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(7);
    assert!(write(&mut stream, b"bye").is_ready());
    drop(stream);
    world.pass(10 * MS);
    assert_eq!(world.kinds(), [Readable, Eof]);
    let mut bytes = Vec::new();
    assert_eq!(world.net.read(conn, &mut bytes).unwrap(), ReadOutcome::Eof(3));
    world.net.close(conn).unwrap();
    assert_eq!(world.net.stats().open, 0);

    let (conn, mut stream) = world.pair(8);
    world.net.write(conn, b"bye").unwrap();
    world.net.close(conn).unwrap();
    world.pass(10 * MS);
    assert_eq!(read_all(&mut stream), b"bye");
    assert!(is_eof(&mut stream));
    assert!(is_eof(&mut stream));
    drop(stream);
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn a_half_closed_connection_still_carries_the_other_direction() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(7);
    shutdown(&mut stream);
    world.pass(10 * MS);
    assert_eq!(world.kinds(), [Eof]);
    world.net.write(conn, b"late").unwrap();
    world.pass(10 * MS);
    assert_eq!(read_all(&mut stream), b"late");
    assert!(matches!(write(&mut stream, b"x"), Poll::Ready(Err(error)) if error.kind() == ErrorKind::BrokenPipe));
}

#[test]
fn writing_to_a_closed_end_is_answered_with_a_reset() {
    let mut world = world(1, plain());
    let (conn, stream) = world.pair(7);
    drop(stream);
    world.pass(10 * MS);
    assert_eq!(world.kinds(), [Eof]);
    world.net.write(conn, b"anyone?").unwrap();
    world.pass(20 * MS);
    assert_eq!(world.kinds(), [Reset]);
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn an_abort_resets_the_peer_after_what_had_left() {
    let mut world = world(1, plain());
    let (conn, mut stream) = world.pair(7);
    world.net.write(conn, b"last words").unwrap();
    world.net.reset(conn).unwrap();
    world.pass(10 * MS);
    assert_eq!(read_all(&mut stream), b"last words");
    assert_eq!(read_error(&mut stream), Some(ErrorKind::ConnectionReset));
    drop(stream);
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn loss_delays_but_loses_nothing() {
    let mut world = world(3, Profile { loss: 0.3, ..plain() });
    let (conn, mut stream) = world.pair(7);
    let mut got = Vec::new();
    for i in 0..200u8 {
        world.net.write(conn, &[i; 10]).unwrap();
        world.pass(5 * MS);
        got.extend(read_all(&mut stream));
    }
    world.pass(60 * S);
    got.extend(read_all(&mut stream));
    let sent: Vec<u8> = (0..200u8).flat_map(|i| [i; 10]).collect();
    assert_eq!(got, sent);
}

#[test]
fn hosts_connect_and_are_refused_and_time_out() {
    let mut world = world(1, plain());
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut cx = Context::from_waker(&waker);
    let net = world.net.clone();

    let mut connecting = pin!(net.connect(world.site, world.server, PORT, world.profile));
    assert!(connecting.as_mut().poll(&mut cx).is_pending());
    world.pass(20 * MS);
    assert_eq!(bell.rings(), 1);
    let Poll::Ready(Ok(mut client)) = connecting.as_mut().poll(&mut cx) else { panic!("connected") };
    assert!(write(&mut client, b"ping").is_ready());
    world.pass(10 * MS);
    let (mut server, peer) = world.accept().unwrap();
    assert_eq!(peer.host, world.site);
    assert_eq!(read_all(&mut server), b"ping");

    let mut refused = pin!(net.connect(world.site, world.server, 9, world.profile));
    assert!(refused.as_mut().poll(&mut cx).is_pending());
    world.pass(20 * MS);
    let Poll::Ready(Err(error)) = refused.as_mut().poll(&mut cx) else { panic!("refused") };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

    net.power_off(world.server);
    let mut silent = pin!(net.connect(world.site, world.server, PORT, world.profile));
    assert!(silent.as_mut().poll(&mut cx).is_pending());
    world.pass(5 * S - 1);
    assert!(silent.as_mut().poll(&mut cx).is_pending());
    world.pass(1);
    let Poll::Ready(Err(error)) = silent.as_mut().poll(&mut cx) else { panic!("timed out") };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn a_dropped_attempt_leaves_nothing_behind() {
    let mut world = world(1, plain());
    assert!(poll_once(world.net.connect(world.site, world.server, PORT, world.profile)).is_pending());
    world.pass(5 * S);
    assert!(world.accept().is_none());
    assert_eq!(world.net.stats().open, 0);
}

#[test]
fn a_pump_is_woken_once_for_many_streams() {
    let mut world = world(1, plain());
    let pump = Arc::new(Bell::default());
    let pump_waker = Waker::from(pump.clone());
    let mut cx = Context::from_waker(&pump_waker);
    let task = Arc::new(Bell::default());
    let task_waker = Waker::from(task.clone());
    let mut ends: Vec<_> = (0..10).map(|token| world.pair(token)).collect();
    assert!(world.net.poll_woken(world.server, &mut cx).is_pending());
    for (conn, stream) in &mut ends {
        assert!(read_with(stream, &task_waker, 10).is_pending());
        world.net.write(*conn, b"x").unwrap();
    }
    world.pass(10 * MS);
    assert_eq!((pump.rings(), task.rings()), (1, 0));
    let Poll::Ready(woken) = world.net.poll_woken(world.server, &mut cx) else { panic!("there is work") };
    assert_eq!(woken.len(), 10);
    woken.into_iter().for_each(Waker::wake);
    assert_eq!(task.rings(), 10);
    assert!(world.net.poll_woken(world.server, &mut cx).is_pending());
}

#[tokio::test]
async fn tokio_programs_cannot_tell_the_difference() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut world = world(1, plain());
    let listener = world.listener.take().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        stream.write_all(text.to_uppercase().as_bytes()).await?;
        stream.shutdown().await
    });
    let (net, site, host, profile) = (world.net.clone(), world.site, world.server, world.profile);
    let client = tokio::spawn(async move {
        let mut stream = net.connect(site, host, PORT, profile).await?;
        stream.write_all(b"squall").await?;
        stream.shutdown().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    });
    for _ in 0..200 {
        tokio::task::yield_now().await;
        world.pass(MS);
    }
    server.await.unwrap().unwrap();
    assert_eq!(client.await.unwrap().unwrap(), "SQUALL");
    assert_eq!(world.net.stats().open, 0);
}
