//! Threads on which hosts step beside each other, each host always on the same one.
//!
//! Hosts meet only in the network, in the mailbox and through their disks' commits. In a [turn](squall_network::Network::begin_turn)
//! the network answers each of them as if it were alone; what they told the mailbox is put in the order of hosts afterwards; and a
//! disk has one host. Nor do they meet the fleet, which acts meanwhile. So a run is the same on one thread and on many. Where a
//! fault is to strike from inside a host or the fleet, and acts on the world at once, first the fleet steps and then the
//! hosts, one after the other, wherever they live.
//!
//! **Invariant:** the number of threads changes nothing of a run. Checked by `squall verify-determinism`, whose second
//! process runs on another number of them than the first, and by `a_run_is_the_same_on_any_number_of_threads`.

use squall_protocol::{HostName, Role};
use squall_runtime::interpose::{WorldContext, enter_world, prime_thread};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Runs of fewer clients step their hosts on one thread: a tick of theirs takes less time than a thread to wake up.
const WORTH_THREADS: u32 = 5_000;
/// More threads than this have too little to do between two ticks.
const MOST_THREADS: usize = 8;

/// On how many threads the hosts of a run of so many clients step, where nobody has asked for a number: one, or as many as there
/// are cores, up to a limit.
pub fn threads_for(clients: u32) -> usize {
    match clients < WORTH_THREADS {
        true => 1,
        false => std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS),
    }
}

type Task<S> = Box<dyn FnOnce(&mut S) + Send>;

/// A thread with hosts of its own, of type `S`: they are made, used and dropped there.
pub struct HostThread<S> {
    tasks: Option<Sender<Task<S>>>,
    thread: Option<JoinHandle<()>>,
    /// Tasks that it was given, and those of which nothing is left, not even their memory.
    given: Cell<u64>,
    over: Arc<AtomicU64>,
}

/// What a task will answer.
pub struct Answer<T>(Receiver<std::thread::Result<T>>);

impl<T> Answer<T> {
    /// # Panics
    /// As the task did.
    pub fn wait(self) -> T {
        match self.0.recv().expect("a host thread answers every task") {
            Ok(done) => done,
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl<S: Default + 'static> HostThread<S> {
    /// # Panics
    /// When the system gives no thread.
    pub fn start(number: usize, seed: u64) -> Rc<Self> {
        let (tasks, queue) = channel::<Task<S>>();
        let over = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&over);
        let thread = std::thread::Builder::new().name(format!("hosts-{number}")).stack_size(16 << 20);
        let thread = thread.spawn(move || {
            let context = WorldContext::new(seed);
            let _guard = enter_world(&context);
            prime_thread();
            let mut hosts = S::default();
            for task in queue {
                task(&mut hosts);
                counter.fetch_add(1, Ordering::Release);
            }
        });
        let thread = Some(thread.expect("a thread can be started"));
        Rc::new(HostThread { tasks: Some(tasks), thread, given: Cell::new(0), over })
    }

    /// Begins a task among the thread's hosts.
    pub fn begin<T: Send + 'static>(&self, act: impl FnOnce(&mut S) -> T + Send + 'static) -> Answer<T> {
        let (sender, answer) = channel();
        let task: Task<S> = Box::new(move |hosts| {
            let done = catch_unwind(AssertUnwindSafe(|| act(hosts)));
            // Nobody waits any more when the run has failed elsewhere.
            let _ = sender.send(done);
        });
        let sent = self.tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok());
        assert!(sent, "a host thread takes tasks for as long as it lives");
        self.given.set(self.given.get() + 1);
        Answer(answer)
    }

    /// Waits until the thread has nothing in hand any more: a task is answered a moment before its memory is given back.
    pub fn settle(&self) {
        while self.over.load(Ordering::Acquire) < self.given.get() {
            std::thread::yield_now();
        }
    }

    /// Does something among the thread's hosts and waits for it.
    ///
    /// # Panics
    /// As the task does.
    pub fn run<T: Send + 'static>(&self, act: impl FnOnce(&mut S) -> T + Send + 'static) -> T {
        self.begin(act).wait()
    }
}

impl<S> Drop for HostThread<S> {
    fn drop(&mut self) {
        self.tasks.take();
        if let Some(thread) = self.thread.take() {
            // It has caught every panic of a task.
            let _ = thread.join();
        }
    }
}

/// What the fleet takes of a tick, and each role's hosts together, as shares of the whole: measured under the reference load.
const FLEET_SHARE: f64 = 0.32;
const SHARDS_SHARE: f64 = 0.35;
const GATEWAYS_SHARE: f64 = 0.26;
const OTHERS_SHARE: f64 = 0.07;

/// Which of the threads each host lives on, so that all have about as much to do; 0 is the run's own, which has the fleet.
pub fn spread(hosts: &[HostName], threads: usize) -> Vec<usize> {
    let together = |host: &HostName| match host.role {
        Role::Gateway => GATEWAYS_SHARE,
        Role::Messages => SHARDS_SHARE,
        Role::Registry | Role::Bus | Role::Presence => OTHERS_SHARE,
    };
    let share = |host: &HostName| {
        let alike = hosts.iter().filter(|other| together(other) == together(host)).count();
        together(host) / alike as f64
    };
    let mut loads = vec![0.0; threads];
    loads[0] = FLEET_SHARE;
    let mut places = vec![0; hosts.len()];
    // The largest first, so that small ones even out what is left.
    let mut order: Vec<usize> = (0..hosts.len()).collect();
    order.sort_by(|a, b| share(&hosts[*b]).total_cmp(&share(&hosts[*a])));
    for index in order {
        let (thread, _) = loads.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).expect("there is a thread");
        loads[thread] += share(&hosts[index]);
        places[index] = thread;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_has_about_as_much_to_do() {
        let gateways = (0..20).map(|index| Role::Gateway.host(index));
        let all: Vec<HostName> = gateways.chain((0..4).map(|index| Role::Messages.host(index))).collect();
        let hosts = |threads, thread| {
            let places = spread(&all, threads);
            let here = |from: usize, to: usize| places[from..to].iter().filter(|place| **place == thread).count();
            (here(0, 20), here(20, 24))
        };
        assert_eq!(hosts(1, 0), (20, 4));
        assert_eq!(hosts(2, 0), (11, 0), "beside the fleet");
        assert_eq!(hosts(2, 1), (9, 4));
        assert_eq!(hosts(4, 0), (0, 0), "the fleet is enough for one of four");
        assert!((1..4).all(|thread| (1..3).contains(&hosts(4, thread).1)));
    }
}
