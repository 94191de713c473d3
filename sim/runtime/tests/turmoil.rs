//! The same programs under turmoil, which steps a paused runtime at every tick, as a second opinion.
//!
//! All tasks are the runtime's, under turmoil too. Its host's software itself is polled by a `LocalSet`, in turns of its own: a
//! program that begins there meets the others at the same times, and now and then in another order within one of them.

mod common;

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
                tokio::spawn(play(shared, "root".to_owned(), program)).await?;
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

/// What was done at which time of tokio's clock, until shortly before the end.
fn until_the_end(lines: Vec<Line>) -> Vec<(u64, String)> {
    let lines = lines.into_iter().map(|(_, _, at, line)| (at, line));
    lines.filter(|(at, _)| *at < (END_MS - 10) * 1_000).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(300), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_program_does_the_same_at_the_same_times_and_in_the_same_order_as_under_turmoil(program in ops(false)) {
        let (ours, turmoils) = (ours(&program), turmoils(&program));
        prop_assert_eq!(until_the_end(ours), until_the_end(turmoils));
    }
}
