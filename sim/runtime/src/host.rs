//! A simulated host: when it runs, what wakes it, and how it dies.
//!
//! # When a host runs
//!
//! A step at an instant when no timer is due and nobody outside has woken the host gives back at once. So *which* steps run
//! anything depends on the host and on what reaches it, and on nothing that the caller does: a world that steps at every instant and
//! one that steps when a host is due see the same.
//!
//! # What would show that a host oversleeps
//!
//! A world that steps at every instant proves nothing by that, since its idle steps do nothing. With [`Stepping::Inspected`] those
//! at the multiples of [`Settings::inspect_every_us`] enter the runtime, let its timers catch up with the clock, and fail loudly if
//! anything runs, if anything is found outside, or if the host is due at another time than it said.
//!
//! An entry draws from tokio's generator of seeds, which nobody can put back, and the seed decides what an unbiased `select!` and
//! a `watch` channel do. So a host that is not inspected draws as often, when it next runs: the entries until an instant are those
//! that ran something and the inspections in between, whether or not they took place.
//!
//! **Invariants:** as above, checked by `tests/programs.rs`; a host's tasks run, and are dropped, in its scope; what is left of a
//! crashed host is nothing. Checked by `tests/hosts.rs`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::interpose::HostContext;
use crate::life::{Life, Reach};
use crate::marks::Marker;

/// When a host next has something to do, as far as it knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Due {
    /// At this simulated time, in µs. It may turn out to be moot.
    At(u64),
    /// Not before somebody outside wakes it.
    Never,
}

impl Due {
    /// Whether it is now.
    pub fn is_by(self, now_us: u64) -> bool {
        self <= Due::At(now_us)
    }
}

/// What happens when a host works on tokio's blocking pool, whose threads live in real time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocking {
    /// The step fails.
    Refused,
    /// A step lasts until the work is done. The pool has one thread, with the host's clocks and randomness of its own, so that results
    /// depend on the run alone; where they come among the other things that happen in the step does not.
    Awaited,
}

/// What a step does when the host has nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stepping {
    /// Nothing: the world steps when the host is due.
    WhenDue,
    /// It makes sure of it, at the instants that [`Settings::inspect_every_us`] names: the world steps at every instant.
    Inspected,
}

/// How a host runs. A run and its repetition have all but [`stepping`](Self::stepping) in common.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Decides tokio's own choices.
    pub seed: u64,
    pub blocking: Blocking,
    pub stepping: Stepping,
    /// Hosts may be inspected at the multiples of this simulated time, in µs. Each costs a host that is not inspected a draw.
    pub inspect_every_us: u64,
}

/// Takes the wakers of the host's tasks for which somebody outside has something, or keeps the waker to mark the host when there are
/// some.
pub type Outside = Box<dyn FnMut(&mut Context<'_>) -> Poll<Vec<Waker>>>;

type Software = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>>>;

/// A simulated host. It stays on the thread on which it was made.
pub struct HostRuntime {
    context: HostContext,
    settings: Settings,
    marker: Marker,
    marks: Waker,
    outside: Outside,
    software: Option<Software>,
    /// `None`: its process does not run.
    life: Option<Life>,
    lives: u64,
    due: Due,
    /// When the runtime was last entered, or made up for it.
    entered_us: u64,
}

impl HostRuntime {
    /// A host without software. Its clock is its context's.
    ///
    /// # Panics
    /// When the time between inspections is zero.
    pub fn new(context: HostContext, settings: Settings, marker: Marker, outside: Outside) -> Self {
        assert!(settings.inspect_every_us > 0, "inspections have a time between them");
        let marks = marker.waker();
        let (life, software) = (None, None);
        Self {
            context,
            settings,
            marker,
            marks,
            outside,
            software,
            life,
            lives: 0,
            due: Due::Never,
            entered_us: 0,
        }
    }

    /// Starts the host's software, which runs from the next step on.
    ///
    /// # Panics
    /// When the host has software already.
    pub fn start<F: Future<Output = ()> + 'static>(&mut self, software: impl Fn() -> F + 'static) {
        assert!(self.software.is_none(), "a host has one software");
        self.software = Some(Box::new(move || Box::pin(software())));
        self.restart();
    }

    /// When it next wants to run of itself.
    pub fn due(&self) -> Due {
        self.due
    }

    /// Whether a step would run anything now.
    pub fn wants_to_run(&self) -> bool {
        let is_woken = |life: &Life| self.marker.is_marked() || life.has_remote_task();
        self.due.is_by(self.context.now_us()) || self.life.as_ref().is_some_and(is_woken)
    }

    /// Runs what is ready or due at the time that the context's clock shows, all of it at that time: first what woken tasks
    /// there are, then timers in the order in which they are due, then what comes from outside. When it next wants to run.
    ///
    /// # Panics
    /// When a task does; when the host uses the blocking pool and may not; when an inspection finds something.
    pub fn step(&mut self) -> Due {
        if self.wants_to_run() {
            self.enter(true);
        } else if self.settings.stepping == Stepping::Inspected {
            self.inspect();
        }
        self.due
    }

    /// Steps a host that has not been stepped for a while: timers that were due meanwhile fire at their own times, in order, and
    /// the host's clocks show these; then it steps.
    ///
    /// # Panics
    /// As [`step`](Self::step).
    pub fn catch_up(&mut self) -> Due {
        let now_us = self.context.now_us();
        while let Due::At(at_us) = self.due
            && at_us < now_us
        {
            self.context.set_lag_us(now_us - at_us);
            self.enter_at(at_us, false);
        }
        self.context.set_lag_us(0);
        self.step()
    }

    /// The process dies: all of its tasks are dropped, in its scope.
    pub fn crash(&mut self) {
        let _scope = self.context.enter();
        self.life = None;
        self.due = Due::Never;
    }

    /// The process starts anew, after a crash or as it is; its software runs from the next step on.
    ///
    /// # Panics
    /// When the host has no software.
    pub fn restart(&mut self) {
        self.crash();
        let software = self.software.as_ref().expect("a host that restarts was started");
        let _scope = self.context.enter();
        let seed = mix(self.settings.seed ^ mix(self.lives));
        self.lives += 1;
        self.life = Some(Life::begin(&self.context, seed, self.settings.blocking, software));
        self.entered_us = self.context.now_us();
        self.due = Due::At(self.entered_us);
        // The first step asks outside, so that from then on the host is marked.
        self.marker.mark();
    }

    fn enter(&mut self, reaches_out: bool) {
        self.enter_at(self.context.now_us(), reaches_out);
    }

    fn enter_at(&mut self, at_us: u64, reaches_out: bool) {
        let Some(life) = &self.life else { return };
        let _scope = self.context.enter();
        make_up(life, self.settings.inspect_every_us, self.entered_us, at_us);
        self.entered_us = at_us;
        let reach = match reaches_out {
            true => Reach::Open { marker: &self.marker, waker: &self.marks, outside: &mut self.outside },
            false => Reach::Closed,
        };
        self.due = life.enter(reach);
    }

    /// Enters the runtime of a host that has nothing to do, and makes sure of that.
    fn inspect(&mut self) {
        let now_us = self.context.now_us();
        let Some(life) = &self.life else { return };
        if !now_us.is_multiple_of(self.settings.inspect_every_us) || now_us <= self.entered_us {
            return;
        }
        let _scope = self.context.enter();
        let found = (self.outside)(&mut Context::from_waker(&self.marks));
        assert!(
            found.is_pending(),
            "at {now_us} µs somebody outside has something for a host, which was not marked"
        );
        make_up(life, self.settings.inspect_every_us, self.entered_us, now_us);
        self.entered_us = now_us;
        let polls = life.polls();
        let due = life.enter(Reach::Closed);
        assert!(life.polls() == polls, "at {now_us} µs a host ran, which wanted to at {:?}", self.due);
        assert!(due == self.due, "at {now_us} µs a host wants to run at {due:?}, and wanted to at {:?}", self.due);
    }
}

impl Drop for HostRuntime {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Enters as often as inspections would have between two entries.
fn make_up(life: &Life, every_us: u64, from_us: u64, to_us: u64) {
    for _ in 0..inspections_between(every_us, from_us, to_us) {
        life.enter_idly();
    }
}

/// How many inspections there are after one instant and before another.
fn inspections_between(every_us: u64, from_us: u64, to_us: u64) -> u64 {
    (to_us.saturating_sub(1) / every_us).saturating_sub(from_us / every_us)
}

/// The finaliser of splitmix64.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpose::SimulatedClock;
    use crate::marks::Marks;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    #[test]
    fn inspections_lie_strictly_between_two_instants() {
        let between = |from, to| inspections_between(10, from, to);
        assert_eq!([between(0, 10), between(0, 11), between(10, 20), between(9, 31)], [0, 1, 0, 3]);
        assert_eq!([between(0, 0), between(5, 5), between(10, 10)], [0, 0, 0]);
    }

    fn inspected(outside: Outside) -> (HostRuntime, SimulatedClock) {
        let clock = SimulatedClock::default();
        let settings = Settings {
            seed: 1,
            blocking: Blocking::Refused,
            stepping: Stepping::Inspected,
            inspect_every_us: 1_000,
        };
        let context = HostContext::new(1, clock.clone(), 0);
        let mut host = HostRuntime::new(context, settings, Marks::default().marker(0), outside);
        host.start(|| async {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        (host, clock)
    }

    fn fails_at(host: &mut HostRuntime, clock: &SimulatedClock, ms: u64) -> bool {
        clock.set_us(ms * 1_000);
        catch_unwind(AssertUnwindSafe(|| host.step())).is_err()
    }

    #[test]
    fn an_inspection_finds_a_host_that_oversleeps() {
        let (mut host, clock) = inspected(Box::new(|_| Poll::Pending));
        assert_eq!(host.step(), Due::At(5_000));
        assert!(!fails_at(&mut host, &clock, 4));
        host.due = Due::At(6_001);
        assert!(!fails_at(&mut host, &clock, 4), "it has been inspected at that time");
        assert!(fails_at(&mut host, &clock, 5));
    }

    #[test]
    fn an_inspection_finds_a_host_that_says_another_time_than_before() {
        let (mut host, clock) = inspected(Box::new(|_| Poll::Pending));
        host.step();
        host.due = Due::Never;
        assert!(fails_at(&mut host, &clock, 1));
    }

    #[test]
    fn an_inspection_finds_a_host_that_nobody_has_marked() {
        let mut calls = 0;
        let (mut host, clock) = inspected(Box::new(move |_| {
            calls += 1;
            if calls == 3 { Poll::Ready(Vec::new()) } else { Poll::Pending }
        }));
        host.step();
        assert!(!fails_at(&mut host, &clock, 1));
        assert!(fails_at(&mut host, &clock, 2));
    }
}
