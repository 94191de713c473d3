//! The same programs under turmoil, which steps a paused runtime at every tick, as a second opinion.
//!
//! Compared is what each task does and at which time of its own clock. Not compared is the order of different tasks in the same
//! millisecond: turmoil's root is a `LocalSet` that polls its tasks in turns of its own, and its own sleep stands among the host's.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use common::{Line, Log, Mailbox, Op, Shared, ops, play};
use proptest::prelude::*;
use squall_runtime::interpose::{HostContext, SimulatedClock};
use squall_runtime::{Blocking, Due, HostRuntime, Marks, Settings, Stepping};
use tokio::sync::Notify;

const END_MS: u64 = 500;

fn ours(program: &[Op]) -> Vec<Line> {
    let (clock, log) = (SimulatedClock::default(), Log::default());
    let context = HostContext::new(5, clock.clone(), 0);
    let settings =
        Settings { seed: 9, blocking: Blocking::Refused, stepping: Stepping::WhenDue, inspect_every_us: 16_000 };
    let mut host = HostRuntime::new(context, settings, Marks::default().marker(0), Box::new(|_| Poll::Pending));
    host.start({
        let (program, log) = (program.to_vec(), Arc::clone(&log));
        move || {
            play(
                Shared::new(&log, &Mailbox::default(), &Arc::new(Notify::new())),
                "root".to_owned(),
                program.clone(),
            )
        }
    });
    while let Due::At(at) = host.due()
        && at <= END_MS * 1_000
    {
        clock.set_us(at);
        host.step();
    }
    std::mem::take(&mut *log.lock().unwrap())
}

fn turmoils(program: &[Op]) -> Vec<Line> {
    let log = Log::default();
    let mut builder = turmoil::Builder::new();
    builder.tick_duration(Duration::from_millis(1)).rng_seed(9).simulation_duration(Duration::from_secs(1 << 20));
    let mut sim = builder.build();
    sim.host("host", {
        let (program, log) = (program.to_vec(), Arc::clone(&log));
        move || {
            let shared = Shared::new(&log, &Mailbox::default(), &Arc::new(Notify::new()));
            let program = program.clone();
            async move {
                play(shared, "root".to_owned(), program).await;
                std::future::pending::<()>().await;
                Ok(())
            }
        }
    });
    for _ in 0..END_MS {
        sim.step().unwrap();
    }
    std::mem::take(&mut *log.lock().unwrap())
}

/// What each task did at which time of tokio's clock, until shortly before the end.
fn by_task(lines: &[Line]) -> BTreeMap<&str, Vec<(u64, &str)>> {
    let mut tasks: BTreeMap<&str, Vec<(u64, &str)>> = BTreeMap::new();
    for (_, _, at, line) in lines.iter().filter(|line| line.2 < (END_MS - 10) * 1_000) {
        let (task, what) = line.split_once(' ').unwrap();
        tasks.entry(task).or_default().push((*at, what));
    }
    tasks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(300), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_task_does_the_same_at_the_same_time_as_under_turmoil(program in ops(false)) {
        let (ours, turmoils) = (ours(&program), turmoils(&program));
        prop_assert_eq!(by_task(&ours), by_task(&turmoils));
    }
}
