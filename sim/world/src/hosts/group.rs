//! One `turmoil::Sim` and the machines in it, on the thread on which it lives.
//!
//! turmoil's cost grows with the cube of the hosts of one `Sim`, so each machine has one of its own on our network; on
//! turmoil's TCP they share one. A `Sim` cannot leave its thread: a [`Group`] is the handle that the world holds, wherever the
//! hosts are.

use super::boot::{Common, EPOCH_US, start};
use super::interpose::{Guard, HostContext, enter_host};
use super::probe::Probe;
use super::threads::{Answer, HostThread};
use crate::disk::Disk;
use crate::memory::accounts::Account;
use squall_generators::rng::key;
use squall_protocol::HostName;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Hosts that step together, where they live.
pub(crate) struct Hosts {
    sim: turmoil::Sim<'static>,
    context: HostContext,
    account: Account,
    disks: Vec<Disk>,
}

impl Hosts {
    fn new(common: &Common, name: &str, context: HostContext, account: Account) -> Self {
        let mut builder = turmoil::Builder::new();
        builder
            .tick_duration(common.tick)
            .rng_seed(key(common.seed, name))
            .epoch(std::time::UNIX_EPOCH + Duration::from_micros(EPOCH_US))
            // Runs end when the scenario does.
            .simulation_duration(Duration::from_secs(u64::from(u32::MAX)))
            .tcp_capacity(65_536)
            .min_message_latency(Duration::from_micros(200))
            .max_message_latency(Duration::from_millis(2));
        // tokio reads the clock when a runtime is built.
        let guard = enter_host(&context);
        let charged = account.enter();
        let sim = builder.build();
        drop((guard, charged));
        Hosts { sim, context, account, disks: Vec::new() }
    }

    fn enter(&self) -> (Guard, squall_ledger::Guard) {
        (enter_host(&self.context), self.account.enter())
    }

    /// Runs the hosts for so many ticks. What they want to commit begins as soon as they have stepped.
    pub fn step(&mut self, ticks: u64) -> Result<(), String> {
        for _ in 0..ticks {
            let _guards = self.enter();
            self.sim.step().map_err(|error| error.to_string())?;
        }
        self.disks.iter().for_each(Disk::begin_proposed);
        Ok(())
    }

    fn add(&mut self, name: &str, host: HostName, probe: &Arc<Probe>, common: &Common) {
        self.disks.extend(probe.disk.clone());
        let _guards = self.enter();
        start(&mut self.sim, name, host, probe, common);
    }

    fn crash(&mut self, name: &str) {
        let _guards = self.enter();
        self.sim.crash(name);
    }

    fn bounce(&mut self, name: &str) {
        let _guards = self.enter();
        self.sim.bounce(name);
    }

    fn end(self) {
        let Hosts { sim, context, account, .. } = self;
        let _guards = (enter_host(&context), account.enter());
        drop(sim);
    }
}

/// The hosts of one thread, by their number there; `None` once they have ended.
type Hosted = Vec<Option<Hosts>>;

/// A thread on which groups live.
pub type GroupThread = HostThread<Hosted>;

enum Home {
    Here(Box<Hosts>),
    /// On another thread, by their number there.
    Beside(Rc<GroupThread>, usize),
}

/// Hosts that step together.
pub struct Group {
    home: Home,
    context: HostContext,
}

impl Group {
    /// Without hosts, on this thread or on another.
    pub fn new(common: &Common, name: &str, account: Account, thread: Option<&Rc<GroupThread>>) -> Self {
        let context = HostContext::new(key(common.seed, &format!("host {name}")), common.clock.clone(), EPOCH_US);
        let home = match thread {
            None => Home::Here(Box::new(Hosts::new(common, name, context.clone(), account))),
            Some(thread) => {
                let (common, name, context) = (common.clone(), name.to_owned(), context.clone());
                let number = thread.run(move |all| {
                    all.push(Some(Hosts::new(&common, &name, context, account)));
                    all.len() - 1
                });
                Home::Beside(Rc::clone(thread), number)
            }
        };
        Group { home, context }
    }

    /// Does something where the hosts live.
    fn at_home<T: Send + 'static>(&mut self, act: impl FnOnce(&mut Hosts) -> T + Send + 'static) -> T {
        match &mut self.home {
            Home::Here(hosts) => act(hosts),
            Home::Beside(thread, number) => {
                let number = *number;
                thread.run(move |all| act(all[number].as_mut().expect("hosts live until their group ends")))
            }
        }
    }

    /// The thread and the number there of hosts that live on another one.
    fn beside(&self) -> Option<(&Rc<GroupThread>, usize)> {
        match &self.home {
            Home::Here(_) => None,
            Home::Beside(thread, number) => Some((thread, *number)),
        }
    }

    /// Runs the hosts for so many ticks; what they want to commit begins then.
    pub fn step(&mut self, ticks: u64) -> Result<(), String> {
        self.at_home(move |hosts| hosts.step(ticks))
    }

    pub fn crash(&mut self, name: &str) {
        let name = name.to_owned();
        self.at_home(move |hosts| hosts.crash(&name));
    }

    pub fn bounce(&mut self, name: &str) {
        let name = name.to_owned();
        self.at_home(move |hosts| hosts.bounce(&name));
    }

    /// Ends all that runs here.
    pub fn end(self) {
        match self.home {
            Home::Here(hosts) => hosts.end(),
            Home::Beside(thread, number) => thread.run(move |all| {
                if let Some(hosts) = all[number].take() {
                    hosts.end();
                }
            }),
        }
    }

    /// Sets how far its hosts' wall clock is ahead, in µs.
    pub fn set_clock_skew(&self, skew_us: i64) {
        self.context.set_skew_us(skew_us);
    }

    #[cfg(test)]
    pub fn clock_skew(&self) -> i64 {
        self.context.skew_us()
    }

    /// turmoil's own handle, where all hosts share it.
    ///
    /// # Panics
    /// When the hosts live on another thread: those that share a `Sim` never do.
    pub fn sim(&self) -> &turmoil::Sim<'static> {
        match &self.home {
            Home::Here(hosts) => &hosts.sim,
            Home::Beside(..) => unreachable!("hosts that share a Sim live on the run's own thread"),
        }
    }

    /// Adds a machine, running.
    pub fn add(&mut self, name: &str, host: HostName, probe: &Arc<Probe>, common: &Common) {
        let (name, probe, common) = (name.to_owned(), Arc::clone(probe), common.clone());
        self.at_home(move |hosts| hosts.add(&name, host, &probe, &common));
    }
}

/// A tick of the hosts on other threads, under way.
pub struct Tick(Vec<Answer<Result<(), (usize, String)>>>);

/// Begins a tick: the hosts of the other threads step, each for its number of ticks.
pub fn begin_tick(threads: &[Rc<GroupThread>], groups: &[Group], ticks: &[u64]) -> Tick {
    let begun = threads
        .iter()
        .map(|thread| {
            let theirs = groups.iter().zip(ticks).enumerate().filter_map(|(index, (group, ticks))| {
                let (of, number) = group.beside()?;
                Rc::ptr_eq(of, thread).then_some((index, number, *ticks))
            });
            let theirs: Vec<(usize, usize, u64)> = theirs.collect();
            thread.begin(move |all| {
                for (index, number, ticks) in theirs {
                    let hosts = all[number].as_mut().expect("hosts live until their group ends");
                    hosts.step(ticks).map_err(|error| (index, error))?;
                }
                Ok(())
            })
        })
        .collect();
    Tick(begun)
}

impl Tick {
    /// Steps the hosts of this thread and waits for those of the others. The first error in the order of groups.
    ///
    /// # Panics
    /// As a host does.
    pub fn finish(self, groups: &mut [Group], ticks: &[u64]) -> Result<(), String> {
        let mut first: Option<(usize, String)> = None;
        for (index, group) in groups.iter_mut().enumerate().filter(|(_, group)| group.beside().is_none()) {
            if let Err(error) = group.step(ticks[index]) {
                first = Some((index, error));
                break;
            }
        }
        for answer in self.0 {
            if let Err((index, error)) = answer.wait()
                && first.as_ref().is_none_or(|(earlier, _)| index < *earlier)
            {
                first = Some((index, error));
            }
        }
        first.map_or(Ok(()), |(_, error)| Err(error))
    }
}
