//! What a host does that sleeps until it is due, one property a test.

mod common;

use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use common::Mailbox;
use squall_runtime::interpose::{HostContext, SimulatedClock};
use squall_runtime::{Blocking, Due, HostRuntime, Marks, Settings, Stepping};
use tokio::sync::Notify;
use tokio::time::sleep;

type Seen = Arc<Mutex<Vec<(u64, String)>>>;

/// A host with a clock and a mailbox of its own, and what it did when.
struct Bench {
    clock: SimulatedClock,
    context: HostContext,
    mailbox: Mailbox,
    host: HostRuntime,
    seen: Seen,
}

#[derive(Clone)]
struct Pen(SimulatedClock, Seen);

impl Pen {
    fn write(&self, what: impl Into<String>) {
        self.1.lock().unwrap().push((self.0.now_us(), what.into()));
    }
}

impl Bench {
    fn new(blocking: Blocking) -> Self {
        let (clock, mailbox) = (SimulatedClock::default(), Mailbox::default());
        let context = HostContext::new(1, clock.clone(), 0);
        let settings = Settings { seed: 1, blocking, stepping: Stepping::WhenDue, inspect_every_us: 61_000 };
        let pump = mailbox.clone();
        let outside = Box::new(move |cx: &mut Context<'_>| pump.poll_woken(cx));
        let host = HostRuntime::new(context.clone(), settings, Marks::default().marker(0), outside);
        Bench { clock, context, mailbox, host, seen: Seen::default() }
    }

    fn start<F: Future<Output = ()> + 'static>(&mut self, software: impl Fn(Pen, Mailbox) -> F + 'static) {
        let (pen, mailbox) = (Pen(self.clock.clone(), Arc::clone(&self.seen)), self.mailbox.clone());
        self.host.start(move || software(pen.clone(), mailbox.clone()));
    }

    fn step_at(&mut self, us: u64) -> Due {
        self.clock.set_us(us);
        self.host.step()
    }

    /// Steps when the host is due, until then.
    fn run_until(&mut self, us: u64) {
        while let Due::At(at) = self.host.due()
            && at <= us
        {
            self.step_at(at.max(self.clock.now_us()));
        }
        self.clock.set_us(us);
    }

    fn seen(&self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn lines<const N: usize>(lines: [(u64, &str); N]) -> Vec<(u64, String)> {
    lines.map(|(at, what)| (at, what.to_owned())).to_vec()
}

#[test]
fn a_timer_at_every_odd_time_fires_at_the_next_millisecond_after_birth() {
    for born_us in [0, 333, 999_999] {
        let mut bench = Bench::new(Blocking::Refused);
        bench.clock.set_us(born_us);
        bench.start(|pen, _| async move {
            for us in (1..140_001).step_by(331) {
                let pen = pen.clone();
                tokio::spawn(async move {
                    sleep(Duration::from_micros(us)).await;
                    pen.write(us.to_string());
                });
            }
            pending::<()>().await;
        });
        bench.run_until(born_us + 200_000);
        let seen = bench.seen();
        assert_eq!(seen.len(), 140_000usize.div_ceil(331));
        for (at, us) in seen {
            assert_eq!(
                at,
                born_us + us.parse::<u64>().unwrap().div_ceil(1_000) * 1_000,
                "{us} µs after {born_us}"
            );
        }
        assert_eq!(bench.host.due(), Due::Never);
    }
}

#[test]
fn a_long_sleep_takes_few_steps_and_ends_on_time() {
    let mut bench = Bench::new(Blocking::Refused);
    bench.start(|pen, _| async move {
        sleep(Duration::from_millis(10_000_001)).await;
        pen.write("awake");
        sleep(Duration::from_secs(3 * 24 * 3_600)).await;
        pen.write("awake again");
    });
    let mut steps = 0;
    while let Due::At(at) = bench.host.due() {
        bench.step_at(at);
        steps += 1;
    }
    assert_eq!(bench.seen(), lines([(10_000_001_000, "awake"), (269_200_001_000, "awake again")]));
    assert!(steps <= 16, "{steps} steps");
}

#[test]
fn timers_fire_before_what_comes_from_outside_at_the_same_time() {
    let mut bench = Bench::new(Blocking::Refused);
    bench.start(|pen, mailbox| async move {
        let reader = pen.clone();
        tokio::task::spawn_local(async move {
            loop {
                let letter = mailbox.receive().await;
                reader.write(format!("letter {letter}"));
            }
        });
        sleep(Duration::from_millis(5)).await;
        pen.write("timer");
    });
    bench.step_at(0);
    bench.clock.set_us(5_000);
    bench.mailbox.send();
    bench.step_at(5_000);
    assert_eq!(bench.seen(), lines([(5_000, "timer"), (5_000, "letter 1")]));
}

#[test]
fn a_host_runs_when_somebody_outside_has_something_and_not_otherwise() {
    let mut bench = Bench::new(Blocking::Refused);
    bench.start(|pen, mailbox| async move {
        loop {
            let letter = mailbox.receive().await;
            pen.write(format!("letter {letter}"));
        }
    });
    assert_eq!(bench.step_at(0), Due::Never);
    bench.clock.set_us(7);
    assert!(!bench.host.wants_to_run());
    bench.mailbox.send();
    assert!(bench.host.wants_to_run());
    assert_eq!(bench.step_at(7), Due::Never);
    assert!(!bench.host.wants_to_run());
    assert_eq!(bench.seen(), lines([(7, "letter 1")]));
}

#[test]
fn a_host_wants_to_run_when_another_thread_has_woken_its_task() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let receiver = Mutex::new(Some(receiver));
    let mut bench = Bench::new(Blocking::Refused);
    bench.start(move |pen, _| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        async move { pen.write(receiver.await.unwrap()) }
    });
    bench.step_at(0);
    assert!(!bench.host.wants_to_run());
    std::thread::spawn(move || sender.send("from beside").unwrap()).join().unwrap();
    assert!(bench.host.wants_to_run());
    bench.step_at(3);
    assert_eq!(bench.seen(), lines([(3, "from beside")]));
}

#[test]
fn tasks_that_are_woken_directly_run_in_an_order_that_idle_steps_do_not_change() {
    let order = |idle: u64| {
        let clock = SimulatedClock::default();
        let settings = Settings {
            seed: 1,
            blocking: Blocking::Refused,
            stepping: Stepping::Inspected,
            inspect_every_us: 1_000,
        };
        let context = HostContext::new(1, clock.clone(), 0);
        let mut host =
            HostRuntime::new(context, settings, Marks::default().marker(0), Box::new(|_| Poll::Pending));
        let (direct, order) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
        host.start({
            let (direct, order) = (Arc::clone(&direct), Arc::clone(&order));
            move || {
                let (direct, order) = (Arc::clone(&direct), Arc::clone(&order));
                async move {
                    for task in 0..40 {
                        let (direct, order) = (Arc::clone(&direct), Arc::clone(&order));
                        tokio::spawn(async move {
                            direct.notified().await;
                            order.lock().unwrap().push(task);
                            let order = Arc::clone(&order);
                            tokio::spawn(async move { order.lock().unwrap().push(100 + task) });
                        });
                    }
                }
            }
        });
        host.step();
        for tick in 1..=idle {
            clock.set_us(tick * 1_000);
            host.step();
        }
        clock.set_us(100_000);
        direct.notify_waiters();
        host.step();
        let order = order.lock().unwrap();
        assert_eq!(order.len(), 80);
        order.clone()
    };
    let first = order(0);
    assert!((1..35).all(|idle| order(idle) == first));
}

#[test]
fn a_crash_drops_every_task_in_the_hosts_scope_and_leaves_nothing() {
    struct Fall(Pen);
    impl Drop for Fall {
        #[expect(clippy::disallowed_methods, reason = "it asks whose clock answers")]
        fn drop(&mut self) {
            let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            self.0.write(format!("dropped at {} µs", wall.as_micros()));
        }
    }
    let witness = Arc::new(());
    let mut bench = Bench::new(Blocking::Refused);
    let held = Arc::clone(&witness);
    bench.start(move |pen, mailbox| {
        let held = Arc::clone(&held);
        async move {
            let fall = Fall(pen.clone());
            let held_too = Arc::clone(&held);
            tokio::task::spawn_local(async move {
                sleep(Duration::from_secs(1)).await;
                drop(held_too);
            });
            mailbox.receive().await;
            drop((fall, held));
        }
    });
    bench.step_at(2_000);
    assert_eq!(Arc::strong_count(&witness), 4);
    bench.clock.set_us(3_000);
    bench.host.crash();
    assert_eq!(Arc::strong_count(&witness), 2, "the software itself is kept for the next start");
    assert_eq!(bench.seen(), lines([(3_000, "dropped at 3000 µs")]));
    bench.mailbox.send();
    assert!(!bench.host.wants_to_run(), "who is woken after his death does not rise");
    assert_eq!(bench.step_at(2_000_000), Due::Never);
    bench.mailbox.forget();
    drop(bench);
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn a_host_that_restarts_counts_its_milliseconds_from_then() {
    let mut bench = Bench::new(Blocking::Refused);
    bench.start(|pen, _| async move {
        sleep(Duration::from_micros(1_500)).await;
        pen.write("awake");
        pending::<()>().await;
    });
    bench.run_until(10_300);
    bench.host.restart();
    bench.run_until(20_000);
    assert_eq!(bench.seen(), lines([(2_000, "awake"), (12_300, "awake")]));
}

fn paused() -> Bench {
    let mut bench = Bench::new(Blocking::Refused);
    bench.start(|pen, mailbox| async move {
        for (name, first) in [("b", 20), ("a", 10)] {
            let pen = pen.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(first)).await;
                pen.write(name);
                sleep(Duration::from_millis(15)).await;
                pen.write(name);
            });
        }
        let letter = mailbox.receive().await;
        pen.write(format!("letter {letter}"));
    });
    bench.step_at(0);
    bench.clock.set_us(22_000);
    bench.mailbox.send();
    bench
}

#[test]
fn a_host_that_steps_after_a_pause_finds_all_of_its_timers_late() {
    let mut bench = paused();
    bench.step_at(30_000);
    bench.run_until(60_000);
    let expected = [(30_000, "a"), (30_000, "b"), (30_000, "letter 1"), (45_000, "a"), (45_000, "b")];
    assert_eq!(bench.seen(), lines(expected));
}

#[test]
fn a_host_that_catches_up_after_a_pause_lives_through_it_in_order() {
    let mut bench = paused();
    bench.clock.set_us(30_000);
    bench.host.catch_up();
    bench.run_until(60_000);
    let expected = [(30_000, "a"), (30_000, "b"), (30_000, "a"), (30_000, "letter 1"), (35_000, "b")];
    assert_eq!(bench.seen(), lines(expected));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "inside a host the interposer answers")]
fn a_wall_clock_that_jumps_moves_no_timer() {
    let mut bench = Bench::new(Blocking::Refused);
    bench.start(|pen, _| async move {
        for _ in 0..3 {
            sleep(Duration::from_millis(10)).await;
            let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            pen.write(wall.as_millis().to_string());
        }
    });
    bench.run_until(15_000);
    bench.context.set_skew_us(3_600_000_000);
    bench.run_until(25_000);
    bench.context.set_skew_us(-15_000);
    bench.run_until(40_000);
    assert_eq!(bench.seen(), lines([(10_000, "10"), (20_000, "3600020"), (30_000, "15")]));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the blocking pool is what is tested")]
fn work_on_the_blocking_pool_is_done_in_the_step_with_the_hosts_clock_and_its_own_randomness() {
    let drawn = || {
        let mut bench = Bench::new(Blocking::Awaited);
        bench.start(|pen, _| async move {
            let mut works = Vec::new();
            for _ in 0..3 {
                works.push(tokio::task::spawn_blocking(|| {
                    std::thread::sleep(Duration::from_millis(5));
                    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
                    format!("{} {}", wall.as_micros(), getrandom04::u64().unwrap())
                }));
                // So that two steps have work.
                sleep(Duration::from_millis(1)).await;
            }
            for work in works {
                pen.write(work.await.unwrap());
            }
        });
        let before = bench.context.entropy_digest();
        bench.run_until(10_000);
        assert_eq!(bench.context.entropy_digest(), before, "the host itself drew nothing");
        bench.seen()
    };
    drop(drawn());
    let (first, again) = (drawn(), drawn());
    assert_eq!(first, again);
    let walls: Vec<&str> = first.iter().map(|(_, line)| line.split(' ').next().unwrap()).collect();
    assert_eq!(walls, ["0", "1000", "2000"], "each was done in the step that gave it");
    assert!(first.iter().all(|(at, _)| *at == 3_000));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the blocking pool is what is tested")]
fn work_on_the_blocking_pool_is_refused_where_it_is_not_awaited() {
    let mut bench = Bench::new(Blocking::Refused);
    bench.start(|_, _| async { tokio::task::spawn_blocking(|| ()).await.unwrap() });
    assert!(catch_unwind(AssertUnwindSafe(|| bench.step_at(0))).is_err());
}

#[test]
fn a_task_that_panics_fails_its_hosts_step_and_no_other() {
    let mut bench = Bench::new(Blocking::Refused);
    bench.start(|_, _| async {
        tokio::spawn(async { panic!("our own bug") });
        pending::<()>().await;
    });
    assert!(catch_unwind(AssertUnwindSafe(|| bench.step_at(0))).is_err());
    let mut other = Bench::new(Blocking::Refused);
    other.start(|pen, _| async move {
        sleep(Duration::from_millis(1)).await;
        pen.write("awake");
    });
    other.run_until(2_000);
    assert_eq!(other.seen(), lines([(1_000, "awake")]));
    drop(bench);
}

/// Ten hosts that step beside each other on one thread, each at its times.
fn ten_hosts(first: u64) -> Vec<(u64, String)> {
    let mut benches: Vec<Bench> = (first..first + 10)
        .map(|host| {
            let mut bench = Bench::new(Blocking::Refused);
            bench.start(move |pen, mailbox| async move {
                for n in 0..200 {
                    let wait = sleep(Duration::from_micros(1 + (n * 7_919 + host * 104_729) % 9_973));
                    let came = tokio::select! {
                        () = wait => "timer".to_owned(),
                        letter = mailbox.receive() => format!("letter {letter}"),
                    };
                    pen.write(format!("{host} {n} {came} {}", getrandom04::u32().unwrap()));
                }
            });
            bench
        })
        .collect();
    for ms in 0..2_000 {
        for (index, bench) in benches.iter_mut().enumerate() {
            bench.clock.set_us(ms * 1_000);
            if ms % (3 + index as u64) == 0 {
                bench.mailbox.send();
            }
            bench.host.step();
        }
    }
    benches.iter().flat_map(Bench::seen).collect()
}

#[test]
fn hosts_on_two_threads_at_once_do_what_they_do_on_one() {
    let alone = [
        std::thread::spawn(|| ten_hosts(0)).join().unwrap(),
        std::thread::spawn(|| ten_hosts(10)).join().unwrap(),
    ];
    for _ in 0..3 {
        let beside = [0, 10].map(|first| std::thread::spawn(move || ten_hosts(first)));
        let beside = beside.map(|thread| thread.join().unwrap());
        assert!(beside == alone);
    }
    assert!(alone[0].len() > 1_000);
}

#[test]
fn tokio_is_built_without_parking_lot_whose_waits_are_not_answered() {
    let lock = include_str!("../../../Cargo.lock");
    let packages: Vec<&str> =
        lock.split("[[package]]").filter(|package| package.contains("\nname = \"tokio\"\n")).collect();
    assert_eq!(packages.len(), 1, "there is one tokio");
    assert!(!packages[0].contains("parking_lot"));
}
