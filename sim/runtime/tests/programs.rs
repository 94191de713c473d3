//! Random programs do the same whether their host is stepped at every instant or when it is due.

mod common;

use std::sync::Arc;

use common::{Line, Log, Mailbox, Op, Shared, ops, play};
use proptest::prelude::*;
use squall_runtime::interpose::{HostContext, SimulatedClock, prime_thread};
use squall_runtime::{Blocking, Due, HostRuntime, Marks, Settings, Stepping};
use tokio::sync::Notify;

/// What happens to a host from outside.
#[derive(Clone, Copy, Debug)]
enum Event {
    Letter,
    /// A task is woken by its own waker, not through the pump.
    Direct,
    Crash,
    Restart,
    Pause,
    Resume {
        in_order: bool,
    },
    Skew(i64),
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        8 => Just(Event::Letter),
        3 => Just(Event::Direct),
        1 => Just(Event::Crash),
        2 => Just(Event::Restart),
        1 => Just(Event::Pause),
        2 => any::<bool>().prop_map(|in_order| Event::Resume { in_order }),
        1 => (-5_000i64..5_000).prop_map(Event::Skew),
    ];
    let events = prop::collection::vec((0u64..200_000, event), 0..16);
    events.prop_map(|mut events| {
        events.sort_by_key(|(at, _)| *at);
        events
    })
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum World {
    /// From event to event.
    WhenDue,
    /// Every tick, trusting the host.
    EveryTick,
    /// Every tick, inspecting it.
    Inspected,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    tick_us: u64,
    inspect_every_us: u64,
    /// Timers within a tick fire in it at their own times.
    in_order: bool,
}

/// Runs a program for a while. What it did, the randomness that is left, and how many steps it took.
fn run(world: World, times: Times, program: &[Op], events: &[(u64, Event)]) -> (Vec<Line>, u64, u64) {
    let Times { tick_us, inspect_every_us, in_order } = times;
    prime_thread();
    let (clock, marks, mailbox, log) =
        (SimulatedClock::default(), Marks::default(), Mailbox::default(), Log::default());
    let direct = Arc::new(Notify::new());
    let context = HostContext::new(5, clock.clone(), 1_700_000_000_000_000);
    let stepping = if world == World::Inspected { Stepping::Inspected } else { Stepping::WhenDue };
    let settings = Settings { seed: 9, blocking: Blocking::Refused, stepping, inspect_every_us };
    let pump = mailbox.clone();
    let outside = Box::new(move |cx: &mut std::task::Context<'_>| pump.poll_woken(cx));
    let mut host = HostRuntime::new(context.clone(), settings, marks.marker(3), outside);
    host.start({
        let (program, mailbox, log, direct) =
            (program.to_vec(), mailbox.clone(), Arc::clone(&log), Arc::clone(&direct));
        move || play(Shared::new(&log, &mailbox, &direct), "root".to_owned(), program.clone())
    });
    let on_grid = |us: u64| us.next_multiple_of(tick_us);
    let end = on_grid(400_000);
    let (mut now, mut up, mut paused, mut resumed, mut steps) = (0, true, false, None, 0);
    let mut events = events.iter().map(|(at, event)| (on_grid(*at), *event)).peekable();
    let mut marked = Vec::new();
    while now <= end {
        clock.set_us(now);
        while let Some((_, event)) = events.next_if(|(at, _)| *at == now) {
            match event {
                Event::Letter => mailbox.send(),
                Event::Direct => direct.notify_waiters(),
                Event::Crash | Event::Restart if paused => {}
                Event::Crash => {
                    up = false;
                    host.crash();
                    mailbox.forget();
                }
                Event::Restart => {
                    mailbox.forget();
                    up = true;
                    host.restart();
                }
                Event::Pause => paused = true,
                Event::Resume { in_order } => {
                    if std::mem::take(&mut paused) {
                        resumed = Some(in_order);
                    }
                }
                Event::Skew(us) => context.set_skew_us(us),
            }
        }
        marks.take(&mut marked);
        assert!(marked.is_empty() || marked == [3]);
        if !paused && up && (world != World::WhenDue || host.wants_to_run()) {
            steps += 1;
            let due = if resumed.take().unwrap_or(in_order) { host.catch_up() } else { host.step() };
            assert!(!due.is_by(now), "a host that has stepped is due later");
        }
        resumed = None;
        assert!(up || host.due() == Due::Never);
        now = match world {
            World::WhenDue => {
                let due = match host.due() {
                    Due::At(at) if !paused => on_grid(at).max(now + tick_us),
                    _ => end + tick_us,
                };
                events.peek().map_or(due, |(at, _)| due.min(*at))
            }
            World::EveryTick | World::Inspected => now + tick_us,
        };
    }
    clock.set_us(end);
    drop(host);
    let mut lines = std::mem::take(&mut *log.lock().unwrap());
    sort_falls(&mut lines);
    (lines, context.entropy_digest(), steps)
}

/// A crash drops tasks in an order that tokio takes from a counter of the whole process.
fn sort_falls(lines: &mut [Line]) {
    let is_fall = |line: &Line| line.3.ends_with(" dropped");
    for falls in lines.chunk_by_mut(|a, b| a.0 == b.0 && is_fall(a) && is_fall(b)) {
        falls.sort();
    }
}

fn times() -> impl Strategy<Value = Times> {
    let tick =
        prop_oneof![4 => Just(1_000u64), 1 => Just(100), 1 => Just(5_000), 1 => Just(100_000), 1 => Just(700)];
    let every = prop_oneof![Just(1u64), Just(3), Just(16)];
    (tick, every, any::<bool>()).prop_map(|(tick_us, every, in_order)| Times {
        tick_us,
        inspect_every_us: tick_us * every,
        in_order,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1_500), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_host_stepped_when_it_is_due_does_what_it_does_when_stepped_every_tick(
        program in ops(true), events in events(), times in times(),
    ) {
        let due = run(World::WhenDue, times, &program, &events);
        let every = run(World::EveryTick, times, &program, &events);
        prop_assert_eq!((&due.0, due.1), (&every.0, every.1));
        prop_assert!(due.2 <= every.2);
        let inspected = run(World::Inspected, times, &program, &events);
        prop_assert_eq!((&due.0, due.1), (&inspected.0, inspected.1));
    }
}
