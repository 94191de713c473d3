//! What a small frame costs. Run with
//! `cargo test --release -p squall-network --test speed -- --ignored --nocapture`.

#![expect(clippy::disallowed_methods, reason = "a measurement of wall time")]

mod common;

use std::time::Instant;

use common::*;
use squall_network::*;

#[test]
#[ignore = "a measurement, for a release build"]
fn nanoseconds_per_small_frame() {
    let clients: u64 = std::env::var("CLIENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let mut world = world(1, Profile { mean_time_between_drops: None, ..Profile::lte() });
    world.listener = None;
    world.listener = Some(world.net.listen(world.server, PORT, 1 << 20).unwrap());
    let begin = Instant::now();
    let mut conns = Vec::new();
    let mut streams = Vec::new();
    for token in 0..clients {
        conns.push(world.open(token));
        if token % 1_000 == 0 {
            world.pass(10 * MS);
        }
    }
    world.pass(20 * S);
    streams.extend(std::iter::from_fn(|| world.accept()).map(|(stream, peer)| (peer.conn.slot(), stream)));
    println!("connect: {:.2} µs each", begin.elapsed().as_secs_f64() * 1e6 / clients as f64);
    let memory = world.net.memory_bytes() as f64 / clients as f64;
    println!("memory after the storm: {memory:.0} bytes a connection");
    streams.sort_by_key(|(slot, _)| *slot);
    world.events.clear();

    let frame = [7u8; 100];
    let mut into = Vec::new();
    let (mut up, mut down) = (0u64, 0u64);
    let mut space = [0u8; 512];
    let mut next = 0usize;
    let mut spent = [0u128; 4];
    let begin = Instant::now();
    // 200,000 frames up a second of simulated time, each answered; ticks of 10 ms.
    for _ in 0..300 {
        let mut lap = Instant::now();
        let mut stop = |part: usize| {
            spent[part] += lap.elapsed().as_nanos();
            lap = Instant::now();
        };
        for _ in 0..2_000 {
            next = (next + 7_919) % conns.len();
            let _ = world.net.write(conns[next], &frame);
            up += 1;
        }
        stop(0);
        world.pass(10 * MS);
        stop(1);
        for event in std::mem::take(&mut world.events) {
            if event.kind == FleetEventKind::Readable {
                into.clear();
                let _ = world.net.read(event.conn, &mut into);
                down += into.len() as u64 / 100;
            }
        }
        stop(2);
        // The server's tasks: answer what came in about 50 ms ago.
        for back in 0..2_000usize {
            let index = (next + conns.len() * 8_000 - (back + 14_000) * 7_919 % conns.len()) % conns.len();
            let stream = &mut streams[index].1;
            let mut buf = tokio::io::ReadBuf::new(&mut space);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let polled = tokio::io::AsyncRead::poll_read(std::pin::Pin::new(stream), &mut cx, &mut buf);
            if polled.is_ready() && !buf.filled().is_empty() {
                let _ = write(stream, &frame);
            }
        }
        stop(3);
    }
    let frames = up + down;
    let [write, advance, read, server] = [(spent[0], up), (spent[1], frames), (spent[2], down), (spent[3], up)]
        .map(|(nanoseconds, count)| nanoseconds / u128::from(count.max(1)));
    println!(
        "ns each: client's write {write}, delivery {advance}, client's read {read}, server's poll and answer {server}"
    );
    println!("digests {:x?}", world.net.take_digests());
    println!("{up} up, {down} down: {:.0} ns a frame", begin.elapsed().as_secs_f64() * 1e9 / frames as f64);
}
