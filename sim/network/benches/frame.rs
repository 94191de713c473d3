//! What a small frame costs in the simulated network, from write to read, with many connections beside it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use squall_network::{ConnId, FleetEventKind, HostId, Network, Profile};
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const CLIENTS: u64 = 100_000;
const PORT: u16 = 443;
const FRAMES: usize = 2_000;
const TICK_US: u64 = 10_000;

struct Storm {
    network: Network,
    conns: Vec<ConnId>,
    streams: Vec<squall_network::Stream>,
    next: usize,
}

impl Storm {
    fn new() -> Self {
        let network = Network::new(1);
        let (site, server): (HostId, HostId) = (network.add_host("clients"), network.add_host("gateway-0"));
        let profile = network.add_profile(Profile { mean_time_between_drops: None, ..Profile::lte() });
        let listener = network.listen(server, PORT, 1 << 20).expect("the port is free");
        let conns = (0..CLIENTS).map(|token| network.open(site, server, PORT, profile, token)).collect();
        network.advance(20_000_000);
        let mut cx = Context::from_waker(Waker::noop());
        let mut streams = Vec::new();
        while let Poll::Ready(Ok((stream, _))) = listener.poll_accept(&mut cx) {
            streams.push(stream);
        }
        network.drain_events(&mut Vec::new());
        // A listener that is dropped would refuse nobody here: all have been accepted.
        std::mem::forget(listener);
        Storm { network, conns, streams, next: 0 }
    }

    /// A tick: devices write, everything due arrives, devices read, servers read and answer.
    fn tick(&mut self) -> usize {
        let (frame, mut into, mut events, mut frames) = ([7u8; 100], Vec::new(), Vec::new(), 0);
        for _ in 0..FRAMES {
            self.next = (self.next + 7_919) % self.conns.len();
            frames += usize::from(self.network.write(self.conns[self.next], &frame).is_ok());
        }
        self.network.advance(self.network.now() + TICK_US);
        self.network.drain_events(&mut events);
        for event in events.iter().filter(|event| event.kind == FleetEventKind::Readable) {
            into.clear();
            let _ = self.network.read(event.conn, &mut into);
            frames += into.len() / frame.len();
        }
        let (mut cx, mut space) = (Context::from_waker(Waker::noop()), [0u8; 512]);
        for back in 0..FRAMES {
            let index = (self.next + self.conns.len() * 8_000 - (back + 7 * FRAMES) * 7_919 % self.conns.len())
                % self.streams.len();
            let mut buffer = ReadBuf::new(&mut space);
            let polled = Pin::new(&mut self.streams[index]).poll_read(&mut cx, &mut buffer);
            if polled.is_ready() && !buffer.filled().is_empty() {
                let _ = Pin::new(&mut self.streams[index]).poll_write(&mut cx, &frame);
            }
        }
        frames
    }
}

fn frames(c: &mut Criterion) {
    let mut storm = Storm::new();
    for _ in 0..50 {
        storm.tick();
    }
    let mut group = c.benchmark_group("network");
    // Each frame up is answered by one down.
    group.throughput(Throughput::Elements(2 * FRAMES as u64));
    group.bench_function("a small frame among 100,000 connections", |b| b.iter(|| black_box(storm.tick())));
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
