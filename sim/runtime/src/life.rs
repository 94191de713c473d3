//! One life of a host's process: its tokio runtime, from its start to its crash.
//!
//! A runtime is entered to run what it has to do, and left when it would sleep. Its scheduler then parks: `on_thread_park` and
//! `on_thread_unpark` bracket exactly that wait, which the interposer answers, and whose time-out is the next timer that is due.
//! The future that each entry blocks on is woken after each park, to see whether anything is left.
//!
//! **Invariants:**
//! - The wait has always a time-out, for a sentinel timer lies behind all others.
//! - Timers fire before what comes from outside: the first thing that happens in an entry is that the timer wheel catches up with
//!   the clock. So the wheel is in the same state for the tasks of an entry, however many idle entries came before.
//! - An entry in which nothing runs leaves nothing behind but a draw from tokio's generator of seeds, and that is counted
//!   ([`Life::enter_idly`]). That is why remote tasks are looked at each time, and not each 31st.
//!
//! Checked by `tests/programs.rs`.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn, ready};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime, RngSeed, RuntimeMetrics, UnhandledPanic};
use tokio::time::{Instant, sleep_until};

use crate::host::{Blocking, Due, Outside};
use crate::interpose::{HostContext, begin_park, end_park};
use crate::marks::Marker;

/// When the sentinel is due, in ms after the runtime's birth: a year, and a whole number of the wheel's coarsest slots, so that it is
/// never due before.
const SENTINEL_MS: u64 = 1 << 35;
/// The grain of tokio's timers.
const GRAIN_US: u64 = 1_000;
/// What the pool's thread draws differs from what the host draws.
const POOL: u64 = 0x9E6D_62D0_6F6A_9A9B;

thread_local! {
    /// Wakes the future that this thread's entry blocks on. Only within an entry, for it keeps the runtime alive.
    static ROOT: RefCell<Option<Waker>> = const { RefCell::new(None) };
    /// Until when the last park would have slept.
    static SLEPT: Cell<Option<u64>> = const { Cell::new(None) };
}

pub(crate) struct Life {
    runtime: LocalRuntime,
    metrics: RuntimeMetrics,
    blocking: Blocking,
    /// The simulated time of its birth, from which tokio counts milliseconds.
    born_us: u64,
}

/// How an entry meets what is outside of the host.
pub(crate) enum Reach<'a> {
    /// What is there is taken in, once timers have fired.
    Open { marker: &'a Marker, waker: &'a Waker, outside: &'a mut Outside },
    /// Nothing is taken in.
    Closed,
}

impl Life {
    /// Begins a life in the scope that has been entered, which must be the host's.
    ///
    /// # Panics
    /// When tokio cannot build a runtime.
    pub fn begin<F>(context: &HostContext, seed: u64, blocking: Blocking, software: impl FnOnce() -> F) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let mut builder = Builder::new_current_thread();
        builder
            .enable_time()
            .rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()))
            .global_queue_interval(1)
            .unhandled_panic(UnhandledPanic::ShutdownRuntime)
            .on_thread_park(begin_park)
            .on_thread_unpark(unparked)
            // Work is done in the order in which it was given, by a thread that waits for more without a time-out: the time-out would
            // be taken from the simulated clock.
            .max_blocking_threads(1)
            .thread_keep_alive(Duration::MAX);
        if blocking == Blocking::Awaited {
            let beside = context.beside(seed ^ POOL);
            // The scope is the thread's for as long as it lives.
            builder.on_thread_start(move || std::mem::forget(beside.enter()));
        }
        let runtime =
            builder.build_local(LocalOptions::default()).expect("a runtime without I/O needs no resources");
        let born = Instant::now();
        runtime.spawn_local(async move { sleep_until(born + Duration::from_millis(SENTINEL_MS)).await });
        let software = {
            let _runtime = runtime.enter();
            software()
        };
        runtime.spawn_local(software);
        Life { metrics: runtime.metrics(), runtime, blocking, born_us: context.now_us() }
    }

    /// Runs everything that is ready or due, and what that makes ready. When a timer is due next.
    ///
    /// # Panics
    /// When a task does, and when the host works on tokio's blocking pool and may not.
    pub fn enter(&self, mut reach: Reach<'_>) -> Due {
        let _entry = Entry;
        let mut wheel_has_caught_up = false;
        let slept = self.runtime.block_on(poll_fn(|cx| {
            if !wheel_has_caught_up {
                ROOT.with_borrow_mut(|root| *root = Some(cx.waker().clone()));
                // With nothing else to do the scheduler parks, and that is where timers fire.
                wheel_has_caught_up = true;
                return Poll::Pending;
            }
            if reach.take_in() {
                return Poll::Pending;
            }
            match SLEPT.take() {
                // Nothing was ready, and the wait is over at once if more became so meanwhile.
                Some(until_us) if !self.blocks() && self.metrics.global_queue_depth() == 0 => {
                    Poll::Ready(until_us)
                }
                _ => Poll::Pending,
            }
        }));
        self.due(slept)
    }

    /// Enters the runtime and does nothing there but draw what an entry draws from its generator of seeds.
    pub fn enter_idly(&self) {
        self.runtime.block_on(ready(()));
    }

    /// Whether a task was woken from outside of the runtime by its own waker.
    pub fn has_remote_task(&self) -> bool {
        self.metrics.global_queue_depth() > 0
    }

    /// How often tasks were polled.
    pub fn polls(&self) -> u64 {
        self.metrics.worker_poll_count(0)
    }

    /// The wheel's next instant. The wait began somewhere within a millisecond of the wheel, and lasts whole ones.
    fn due(&self, slept_until_us: u64) -> Due {
        let after_birth_us = slept_until_us.saturating_sub(self.born_us);
        match after_birth_us / GRAIN_US {
            SENTINEL_MS.. => Due::Never,
            ms => Due::At(self.born_us + ms * GRAIN_US),
        }
    }

    /// Waits until the blocking pool has done what it was given; whether there was anything.
    fn blocks(&self) -> bool {
        if self.metrics.num_blocking_threads() == 0 {
            return false;
        }
        assert!(
            self.blocking == Blocking::Awaited,
            "a host works on tokio's blocking pool, in real time: let it work in its tasks, or await the pool"
        );
        let busy = || {
            let idle = self.metrics.num_blocking_threads() - self.metrics.num_idle_blocking_threads();
            self.metrics.blocking_queue_depth() > 0 || idle > 0
        };
        let was_busy = busy();
        while busy() {
            std::thread::yield_now();
        }
        was_busy
    }
}

impl Reach<'_> {
    /// Wakes whom somebody outside has something for; whether there was a mark.
    fn take_in(&mut self) -> bool {
        let Reach::Open { marker, waker, outside } = self else { return false };
        if !marker.take() {
            return false;
        }
        let mut cx = Context::from_waker(waker);
        while let Poll::Ready(wakers) = outside(&mut cx) {
            wakers.into_iter().for_each(Waker::wake);
        }
        true
    }
}

/// A park is over: the root sees to what is left.
fn unparked() {
    SLEPT.set(end_park());
    ROOT.with_borrow(|root| root.iter().for_each(Waker::wake_by_ref));
}

/// Leaves the thread as an entry found it, though a task panics.
struct Entry;

impl Drop for Entry {
    fn drop(&mut self) {
        end_park();
        SLEPT.set(None);
        let root = ROOT.with_borrow_mut(Option::take);
        drop(root);
    }
}
