//! Threads on which hosts step beside each other, each host always on the same one.
//!
//! Hosts meet only in the network, on the board and through their disks' commits. In a [turn](squall_network::Network::begin_turn)
//! the network answers each of them as if it were alone; what they told the board is put in the order of hosts afterwards; and a
//! disk has one host. So a run is the same on one thread and on many. Where a fault is to strike from inside a host, which
//! acts on the world at once, hosts step one after the other, wherever they live.
//!
//! **Invariant:** the number of threads changes nothing of a run. Checked by `squall verify-determinism`, whose second
//! process runs on another number of them than the first, and by `tests/threads.rs`.

use crate::group::{Group, Hosts};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Runs of fewer clients step their hosts on one thread: a tick of theirs takes less time than a thread to wake up.
const WORTH_THREADS: u32 = 5_000;
/// More threads than this have too little to do between two ticks.
const MOST_THREADS: usize = 8;

/// On how many threads the hosts of a run of so many clients step, where nobody has asked for a number.
pub fn threads_for(clients: u32) -> usize {
    match clients < WORTH_THREADS {
        true => 1,
        false => std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS),
    }
}

type All = Vec<Option<Hosts>>;
type Deed = Box<dyn FnOnce(&mut All) + Send>;

/// A thread with hosts of its own.
pub struct Lane {
    deeds: Option<Sender<Deed>>,
    thread: Option<JoinHandle<()>>,
}

/// Something that a lane does, until it is waited for.
struct Doing<T>(Receiver<std::thread::Result<T>>);

impl<T> Doing<T> {
    /// # Panics
    /// As the deed did.
    fn wait(self) -> T {
        match self.0.recv().expect("a lane answers every deed") {
            Ok(done) => done,
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl Lane {
    /// # Panics
    /// When the system gives no thread.
    pub fn start(number: usize) -> Rc<Self> {
        let (deeds, queue) = channel::<Deed>();
        let thread = std::thread::Builder::new().name(format!("hosts-{number}")).stack_size(16 << 20);
        let thread = thread.spawn(move || {
            let mut all = All::new();
            for deed in queue {
                deed(&mut all);
            }
        });
        Rc::new(Lane { deeds: Some(deeds), thread: Some(thread.expect("a thread can be started")) })
    }

    fn begin<T: Send + 'static>(&self, act: impl FnOnce(&mut All) -> T + Send + 'static) -> Doing<T> {
        let (answer, doing) = channel();
        let deed: Deed = Box::new(move |all| {
            let done = catch_unwind(AssertUnwindSafe(|| act(all)));
            // Nobody waits any more when the run has failed elsewhere.
            let _ = answer.send(done);
        });
        let sent = self.deeds.as_ref().is_some_and(|deeds| deeds.send(deed).is_ok());
        assert!(sent, "a lane takes deeds for as long as it lives");
        Doing(doing)
    }

    /// Does something among the lane's hosts and waits for it.
    ///
    /// # Panics
    /// As the deed does.
    pub(crate) fn run<T: Send + 'static>(&self, act: impl FnOnce(&mut All) -> T + Send + 'static) -> T {
        self.begin(act).wait()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.deeds.take();
        if let Some(thread) = self.thread.take() {
            // It has caught every panic of a deed.
            let _ = thread.join();
        }
    }
}

/// Steps every group for its number of ticks, those of the lanes beside those of this thread. The first error in the order of
/// groups.
///
/// # Panics
/// As a host does.
pub fn step_all(lanes: &[Rc<Lane>], groups: &mut [Group], ticks: &[u64]) -> Result<(), String> {
    let begun: Vec<_> = lanes
        .iter()
        .map(|lane| {
            let theirs = groups.iter().zip(ticks).enumerate().filter_map(|(index, (group, ticks))| {
                let (of, number) = group.beside()?;
                Rc::ptr_eq(of, lane).then_some((index, number, *ticks))
            });
            let theirs: Vec<(usize, usize, u64)> = theirs.collect();
            lane.begin(move |all| {
                for (index, number, ticks) in theirs {
                    let hosts = all[number].as_mut().expect("hosts live until their group ends");
                    hosts.step(ticks).map_err(|error| (index, error))?;
                }
                Ok(())
            })
        })
        .collect();
    let mut first: Option<(usize, String)> = None;
    for (index, group) in groups.iter_mut().enumerate().filter(|(_, group)| group.beside().is_none()) {
        if let Err(error) = group.step(ticks[index]) {
            first = Some((index, error));
            break;
        }
    }
    for doing in begun {
        if let Err((index, error)) = doing.wait()
            && first.as_ref().is_none_or(|(earlier, _)| index < *earlier)
        {
            first = Some((index, error));
        }
    }
    first.map_or(Ok(()), |(_, error)| Err(error))
}
