//! What a step of a host costs, against turmoil's, in one process.

use std::future::Future;
use std::hint::black_box;
use std::task::Poll;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use squall_runtime::interpose::{HostContext, SimulatedClock};
use squall_runtime::{Blocking, HostRuntime, Marker, Marks, Settings, Stepping};
use tokio::sync::Notify;
use tokio::time::sleep;

const TICK_US: u64 = 1_000;
/// A host is never inspected at the times that are measured.
const NEVER_US: u64 = u64::MAX;

async fn idle() {
    sleep(Duration::from_secs(1 << 30)).await;
}

async fn with_a_timer() {
    loop {
        sleep(Duration::from_millis(1)).await;
    }
}

fn host<F: Future<Output = ()> + 'static>(
    stepping: Stepping,
    inspect_every_us: u64,
    software: impl Fn() -> F + 'static,
) -> (HostRuntime, SimulatedClock, Marker) {
    let clock = SimulatedClock::default();
    let marker = Marks::default().marker(0);
    let settings = Settings { seed: 1, blocking: Blocking::Refused, stepping, inspect_every_us };
    let context = HostContext::new(1, clock.clone(), 0);
    let mut host = HostRuntime::new(context, settings, marker.clone(), Box::new(|_| Poll::Pending));
    host.start(software);
    host.step();
    (host, clock, marker)
}

fn ours(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    let mut now = 0;
    let (mut host_idle, clock, marker) = host(Stepping::WhenDue, NEVER_US, idle);
    group.bench_function("not due", |b| {
        b.iter(|| {
            now += TICK_US;
            clock.set_us(now);
            black_box(host_idle.step())
        });
    });
    group.bench_function("marked, with nothing", |b| {
        b.iter(|| {
            now += TICK_US;
            clock.set_us(now);
            marker.mark();
            black_box(host_idle.step())
        });
    });
    let mut now = 0;
    let (mut host_inspected, clock, _) = host(Stepping::Inspected, TICK_US, idle);
    group.bench_function("inspected", |b| {
        b.iter(|| {
            now += TICK_US;
            clock.set_us(now);
            black_box(host_inspected.step())
        });
    });
    let mut now = 0;
    let (mut host_timer, clock, _) = host(Stepping::WhenDue, NEVER_US, with_a_timer);
    group.bench_function("a timer", |b| {
        b.iter(|| {
            now += TICK_US;
            clock.set_us(now);
            black_box(host_timer.step())
        });
    });
    let mut now = 0;
    let (mut host_made_up, clock, marker) = host(Stepping::WhenDue, TICK_US, idle);
    group.bench_function("marked, and 100 inspections made up", |b| {
        b.iter(|| {
            now += 101 * TICK_US;
            clock.set_us(now);
            marker.mark();
            black_box(host_made_up.step())
        });
    });
    let notify: &'static Notify = Box::leak(Box::new(Notify::new()));
    let mut now = 0;
    let (mut host_woken, clock, _) = host(Stepping::WhenDue, NEVER_US, move || async move {
        loop {
            notify.notified().await;
        }
    });
    group.bench_function("a wake", |b| {
        b.iter(|| {
            now += TICK_US;
            clock.set_us(now);
            notify.notify_one();
            black_box(host_woken.step())
        });
    });
    group.finish();
}

fn turmoils(criterion: &mut Criterion) {
    let sim = |timer: bool| {
        let mut builder = turmoil::Builder::new();
        builder.tick_duration(Duration::from_micros(TICK_US)).simulation_duration(Duration::from_secs(1 << 40));
        let mut sim = builder.build();
        sim.host("host", move || async move {
            if timer {
                with_a_timer().await
            } else {
                idle().await
            }
            Ok(())
        });
        sim
    };
    let mut group = criterion.benchmark_group("turmoil");
    for (name, timer) in [("idle", false), ("a timer", true)] {
        let mut sim = sim(timer);
        group.bench_function(name, |b| b.iter(|| sim.step().expect("the host runs for ever")));
    }
    group.finish();
}

const HOSTS: u64 = 6;
/// Each host hears of something so often.
const HEARS_EVERY_TICKS: u64 = 20;
const SECOND_TICKS: u64 = 1_000;

/// Hears and keeps alive.
async fn service(heard: &'static Notify) {
    let mut alive = tokio::time::interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            biased;
            () = heard.notified() => {}
            _ = alive.tick() => {}
        }
    }
}

fn hears(host: u64, tick: u64) -> bool {
    (tick + host).is_multiple_of(HEARS_EVERY_TICKS)
}

/// A simulated second of six hosts that hear of 300 things.
fn seconds(criterion: &mut Criterion) {
    let heard: Vec<&'static Notify> = (0..HOSTS).map(|_| &*Box::leak(Box::new(Notify::new()))).collect();
    let mut group = criterion.benchmark_group("a second of six hosts");
    for (name, every_tick) in [("from event to event", false), ("every tick", true)] {
        let every_us = 61 * TICK_US;
        let mut hosts: Vec<_> = heard
            .iter()
            .map(|heard| {
                let heard: &'static Notify = heard;
                host(Stepping::WhenDue, every_us, move || service(heard))
            })
            .collect();
        let mut tick = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..SECOND_TICKS {
                    tick += 1;
                    for (index, (host, clock, _)) in hosts.iter_mut().enumerate() {
                        let hears = hears(index as u64, tick);
                        if hears {
                            heard[index].notify_one();
                        }
                        if every_tick || hears || host.due().is_by(tick * TICK_US) {
                            clock.set_us(tick * TICK_US);
                            host.step();
                        }
                    }
                }
            });
        });
    }
    let mut sims: Vec<_> = heard
        .iter()
        .map(|heard| {
            let heard: &'static Notify = heard;
            let mut builder = turmoil::Builder::new();
            builder
                .tick_duration(Duration::from_micros(TICK_US))
                .simulation_duration(Duration::from_secs(1 << 40));
            let mut sim = builder.build();
            sim.host("host", move || async move {
                service(heard).await;
                Ok(())
            });
            sim
        })
        .collect();
    let mut tick = 0;
    group.bench_function("turmoil", |b| {
        b.iter(|| {
            for _ in 0..SECOND_TICKS {
                tick += 1;
                for (index, sim) in sims.iter_mut().enumerate() {
                    if hears(index as u64, tick) {
                        heard[index].notify_one();
                    }
                    sim.step().expect("the host runs for ever");
                }
            }
        });
    });
    group.finish();
}

criterion_group!(benches, ours, turmoils, seconds);
criterion_main!(benches);
