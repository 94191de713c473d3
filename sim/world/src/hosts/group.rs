//! The hosts of a run, wherever they live: each sleeps until it is due, on this thread or on another; on turmoil's TCP they share
//! a `Sim` and are stepped together.
//!
//! A host's runtime cannot leave its thread: a [`Group`] is the handle that the world holds. When a host is due, and whether
//! somebody has woken it, is known here, so that a tick in which it has nothing to do costs no word to its thread.

use super::boot::{Common, EPOCH_US, software};
use super::probe::Probe;
use super::threads::{Answer, HostThread};
use super::turmoil::{LinkFault, TurmoilHosts};
use crate::disk::Disk;
use crate::memory::accounts::Account;
use squall_generators::rng::key;
use squall_protocol::HostName;
use squall_runtime::interpose::HostContext;
use squall_runtime::{Blocking, Due, HostRuntime, Marker, Marks, Settings, Stepping};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

/// Every so many ticks a host may be inspected: see [`squall_runtime::Settings`]. A prime, so that it meets no rhythm of a host.
const TICKS_BETWEEN_INSPECTIONS: u64 = 61;

/// A host on the thread on which it lives.
pub struct Host {
    runtime: HostRuntime,
    account: Account,
    disk: Option<Disk>,
}

impl Host {
    fn new(common: &Common, host: HostName, probe: &Arc<Probe>, context: HostContext, marker: Marker) -> Self {
        let account = Account::of(host.role);
        let _account = account.enter();
        let settings = Settings {
            seed: key(common.seed, &format!("tokio {host}")),
            blocking: Blocking::Refused,
            stepping: if common.every_tick { Stepping::Inspected } else { Stepping::WhenDue },
            inspect_every_us: TICKS_BETWEEN_INSPECTIONS * common.tick.as_micros() as u64,
        };
        let (network, site) = (probe.network.clone(), probe.host);
        let outside = Box::new(move |cx: &mut std::task::Context<'_>| network.poll_woken(site, cx));
        let mut runtime = HostRuntime::new(context, settings, marker, outside);
        runtime.start(software(host, probe, common));
        Host { runtime, account, disk: probe.disk.clone() }
    }

    /// Runs what is due by now, timers of the past at their own times and in order: those within a tick, and after a pause those that
    /// were missed. What it wants to commit begins as soon as it has stepped. When it is due next, or why it failed.
    fn step(&mut self) -> Result<Due, String> {
        let stepped = {
            let _account = self.account.enter();
            let runtime = &mut self.runtime;
            catch_unwind(AssertUnwindSafe(|| runtime.catch_up()))
        };
        self.disk.iter().for_each(Disk::begin_proposed);
        stepped.map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("a task of it panicked: {}", text.unwrap_or_default())
        })
    }

    fn crash(&mut self) {
        let _account = self.account.enter();
        self.runtime.crash();
    }

    fn restart(&mut self) {
        let _account = self.account.enter();
        self.runtime.restart();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.crash();
    }
}

/// The hosts of one thread, by their number there; `None` once they have ended.
type Hosted = Vec<Option<Host>>;

/// A thread on which hosts live.
pub type GroupThread = HostThread<Hosted>;

enum Home {
    Here(Box<Host>),
    /// On another thread, by its number there.
    Beside(Rc<GroupThread>, usize),
    /// All hosts of the run, which share a `Sim`.
    Turmoil(Box<TurmoilHosts>),
}

/// One host; or all, where they share a `Sim`.
pub struct Group {
    home: Home,
    context: HostContext,
    /// Whether somebody has woken the host since it last stepped.
    marker: Marker,
    /// When it is due of itself.
    due: Due,
}

impl Group {
    /// A host, running, on this thread or on another.
    pub fn of_host(
        common: &Common,
        marks: &Marks,
        host: HostName,
        probe: &Arc<Probe>,
        thread: Option<&Rc<GroupThread>>,
    ) -> Self {
        let context = HostContext::new(key(common.seed, &format!("host {host}")), common.clock.clone(), EPOCH_US);
        let marker = marks.marker(usize::from(probe.index));
        let home = match thread {
            None => Home::Here(Box::new(Host::new(common, host, probe, context.clone(), marker.clone()))),
            Some(thread) => {
                let (common, probe) = (common.clone(), Arc::clone(probe));
                let (context, marker) = (context.clone(), marker.clone());
                let number = thread.run(move |all| {
                    all.push(Some(Host::new(&common, host, &probe, context, marker)));
                    all.len() - 1
                });
                Home::Beside(Rc::clone(thread), number)
            }
        };
        Group { home, context, marker, due: Due::At(0) }
    }

    /// All hosts of a run on turmoil's TCP; they are added one by one.
    pub fn on_turmoil(common: &Common, marks: &Marks) -> Self {
        let context = HostContext::new(key(common.seed, "host all hosts"), common.clock.clone(), EPOCH_US);
        let home = Home::Turmoil(Box::new(TurmoilHosts::new(common, context.clone())));
        Group { home, context, marker: marks.marker(0), due: Due::At(0) }
    }

    /// turmoil's hosts, where they share a `Sim`.
    pub fn turmoil(&mut self) -> Option<&mut TurmoilHosts> {
        match &mut self.home {
            Home::Turmoil(hosts) => Some(hosts),
            Home::Here(_) | Home::Beside(..) => None,
        }
    }

    /// Sets turmoil's links to these faults, where hosts share a `Sim`.
    pub fn set_turmoil_links(
        &self,
        hosts: &[HostName],
        faults: impl Iterator<Item = (HostName, HostName, LinkFault)>,
    ) {
        if let Home::Turmoil(shared) = &self.home {
            shared.set_links(hosts, faults);
        }
    }

    /// When it next wants to step: at once if somebody has woken it.
    pub fn due(&self) -> Due {
        if self.marker.is_marked() { Due::At(0) } else { self.due }
    }

    /// Does something where the host lives.
    fn at_home<T: Send + 'static>(&mut self, act: impl FnOnce(&mut Host) -> T + Send + 'static) -> Option<T> {
        match &mut self.home {
            Home::Here(host) => Some(act(host)),
            Home::Beside(thread, number) => {
                let number = *number;
                Some(thread.run(move |all| act(all[number].as_mut().expect("hosts live until they end"))))
            }
            Home::Turmoil(_) => None,
        }
    }

    /// Steps the host where it lives.
    pub fn step(&mut self) -> Result<(), String> {
        if let Home::Turmoil(hosts) = &mut self.home {
            return hosts.step();
        }
        if let Some(stepped) = self.at_home(Host::step) {
            self.due = stepped?;
        }
        Ok(())
    }

    /// Somebody outside has told it something: it steps at the next tick.
    pub fn wake(&mut self) {
        self.due = Due::At(0);
    }

    /// The host's process dies: its tasks end.
    pub fn crash(&mut self, host: HostName) {
        if let Some(hosts) = self.turmoil() {
            return hosts.crash(host);
        }
        self.at_home(Host::crash);
        self.due = Due::Never;
    }

    /// The host's process starts anew.
    pub fn restart(&mut self, host: HostName) {
        if let Some(hosts) = self.turmoil() {
            return hosts.restart(host);
        }
        self.at_home(Host::restart);
        self.due = Due::At(0);
    }

    /// Ends all that runs here.
    pub fn end(self) {
        match self.home {
            Home::Here(host) => drop(host),
            Home::Beside(thread, number) => thread.run(move |all| drop(all[number].take())),
            Home::Turmoil(hosts) => hosts.end(),
        }
    }

    /// Sets how far its wall clock is ahead, in µs.
    pub fn set_clock_skew(&self, skew_us: i64) {
        self.context.set_skew_us(skew_us);
    }

    #[cfg(test)]
    pub fn clock_skew(&self) -> i64 {
        self.context.skew_us()
    }
}

/// A tick of the hosts on other threads, under way.
pub struct Tick(Vec<Answer<Vec<Stepped>>>);

/// The place of a group, and when its host is due next or why it failed.
type Stepped = (usize, Result<Due, String>);

/// Begins a tick: of the hosts on other threads those step that are to.
pub fn begin_tick(threads: &[Rc<GroupThread>], groups: &[Group], step: &[bool]) -> Tick {
    let on_thread = |thread: &Rc<GroupThread>| {
        let theirs = groups.iter().zip(step).enumerate().filter_map(|(index, (group, step))| match &group.home {
            Home::Beside(of, number) if *step && Rc::ptr_eq(of, thread) => Some((index, *number)),
            Home::Beside(..) | Home::Here(_) | Home::Turmoil(_) => None,
        });
        theirs.collect::<Vec<(usize, usize)>>()
    };
    let with_work =
        threads.iter().map(|thread| (thread, on_thread(thread))).filter(|(_, hosts)| !hosts.is_empty());
    let begun = with_work.map(|(thread, hosts)| {
        thread.begin(move |all| {
            let step = |(index, number): (usize, usize)| {
                let host = all[number].as_mut().expect("hosts live until they end");
                (index, host.step())
            };
            hosts.into_iter().map(step).collect::<Vec<_>>()
        })
    });
    Tick(begun.collect())
}

impl Tick {
    /// Steps the hosts of this thread and waits for those of the others. The first error in the order of groups.
    ///
    /// # Panics
    /// As the world's own code does there.
    pub fn finish(self, groups: &mut [Group], step: &[bool]) -> Result<(), String> {
        let mut first: Option<(usize, String)> = None;
        for (index, group) in groups.iter_mut().enumerate() {
            if let (Home::Here(_), true) = (&group.home, step[index])
                && let Err(error) = group.step()
            {
                first = Some((index, error));
                break;
            }
        }
        for (index, stepped) in self.0.into_iter().flat_map(Answer::wait) {
            match stepped {
                Ok(due) => groups[index].due = due,
                Err(error) if first.as_ref().is_none_or(|(earlier, _)| index < *earlier) => {
                    first = Some((index, error));
                }
                Err(_) => {}
            }
        }
        first.map_or(Ok(()), |(_, error)| Err(error))
    }
}
