//! A machine: one host of the system with its power, its faults and its disk.

use super::bill::Busy;
use super::group::Group;
use super::probe::Probe;
use squall_network::CloseStyle;
use squall_protocol::HostName;
use squall_runtime::Due;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Whether a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    Up,
    Crashed,
    Dark,
}

/// A machine of the run.
pub struct Machine {
    pub name: String,
    pub host: HostName,
    pub probe: Arc<Probe>,
    pub power: Power,
    /// Faults that hold it down.
    pub held_down: u32,
    /// Faults that have paused it.
    pub paused: u32,
    /// What its work costs it, where work has a price.
    pub busy: Busy,
    /// How far its clock is off, in µs, as it was last told.
    pub skew_told: i64,
}

impl Machine {
    pub fn new(name: String, host: HostName, probe: Arc<Probe>) -> Self {
        Machine {
            name,
            host,
            probe,
            power: Power::Up,
            held_down: 0,
            paused: 0,
            busy: Busy::default(),
            skew_told: 0,
        }
    }

    /// Nothing of its process runs until as many `resume`s.
    pub fn pause(&mut self) {
        self.paused += 1;
        self.probe.network.pause(self.probe.host);
    }

    pub fn resume(&mut self) {
        self.paused -= 1;
        if self.paused == 0 {
            self.probe.network.resume(self.probe.host);
        }
    }

    /// When its host next has something to do, as far as it knows, and may: never while it is paused, and not while it is busy.
    pub fn due(&self, group: &Group) -> Due {
        if self.paused > 0 { Due::Never } else { group.due().max(Due::At(self.busy.until_us())) }
    }

    /// Whether its process may run now.
    pub fn may_step(&self, now_us: u64) -> bool {
        self.paused == 0 && self.busy.until_us() <= now_us
    }

    /// It has stepped: what it did takes time from now on.
    pub fn pay(&mut self, now_us: u64) {
        if let Some(bill) = &self.probe.bill {
            self.busy.add(now_us, bill.take_us());
        }
    }

    /// Its process is dead, and with it what it was busy with.
    fn stop_work(&mut self) {
        if let Some(bill) = &self.probe.bill {
            bill.forgive();
            self.busy.stop(self.probe.now.load(Ordering::Relaxed));
        }
    }

    /// The process dies; its kernel says good-bye for it.
    pub fn crash(&mut self, group: &mut Group, style: CloseStyle) {
        if self.power != Power::Up {
            return;
        }
        self.power = Power::Crashed;
        self.probe.alive.store(false, Ordering::Relaxed);
        self.probe.network.crash(self.probe.host, style);
        if let Some(disk) = &self.probe.disk {
            disk.process_died();
        }
        self.stop_work();
        group.crash(self.host);
    }

    /// A machine whose process is dead loses its power too: what its kernel still held goes. False: it had none any more.
    pub fn lose_power_while_down(&mut self) -> bool {
        let had_power = self.power == Power::Crashed;
        if had_power {
            self.power = Power::Dark;
            self.probe.network.power_off(self.probe.host);
            if let Some(disk) = &self.probe.disk {
                disk.power_loss();
            }
        }
        had_power
    }

    /// The probe has seen to disk and network: end the host's tasks.
    pub fn is_down(&mut self, group: &mut Group, lost_power: bool) {
        self.power = if lost_power { Power::Dark } else { Power::Crashed };
        self.stop_work();
        group.crash(self.host);
    }

    /// The run is over: what the process still does as it is dropped reaches nothing.
    pub fn retire(&self) {
        self.probe.alive.store(false, Ordering::Relaxed);
        if let Some(disk) = &self.probe.disk {
            disk.process_died();
        }
    }

    pub fn restart(&mut self, group: &mut Group) {
        match self.power {
            Power::Up => return,
            Power::Crashed => self.probe.network.start(self.probe.host),
            Power::Dark => self.probe.network.power_on(self.probe.host),
        }
        if let Some(disk) = &self.probe.disk {
            disk.process_started();
        }
        self.power = Power::Up;
        self.probe.alive.store(true, Ordering::Relaxed);
        group.restart(self.host);
    }
}
