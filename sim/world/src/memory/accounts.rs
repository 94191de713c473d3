//! Where the memory of a run goes, by component: the accounts of `squall-ledger`, and what each held when the process was at
//! its largest.
//!
//! Memory is charged to whoever works when it is allocated: a role to its account while its host steps, the network while
//! one of its operations runs, the checks while they take an event. What a role holds includes its tasks, buffers and
//! libraries.

use squall_ledger::{Guard, balance, enter};
use squall_protocol::Role;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

macro_rules! accounts {
    ($($(#[$doc:meta])* $account:ident = $name:literal),* $(,)?) => {
        /// A component that memory is charged to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Account {
            $($(#[$doc])* $account),*
        }

        /// Every account with its name in the ledger.
        const ALL: &[(Account, &str)] = &[$((Account::$account, $name)),*];
    };
}

accounts! {
    /// The loop, the nemesis, what belongs to no other.
    World = "world",
    Fleet = "fleet",
    Network = "network",
    Gateways = "gateways",
    Messages = "messages",
    Registries = "registries",
    Buses = "buses",
    Presences = "presences",
    Disks = "disks",
    Checks = "checks",
    /// Histograms, the recorder, times of sends that wait for their ack.
    Histograms = "histograms",
    /// What is read from the disks at the end, until the checks have it.
    Audit = "audit",
}

impl Account {
    pub fn of(role: Role) -> Self {
        match role {
            Role::Gateway => Account::Gateways,
            Role::Messages => Account::Messages,
            Role::Registry => Account::Registries,
            Role::Bus => Account::Buses,
            Role::Presence => Account::Presences,
        }
    }

    /// Charges what this thread allocates to this account until the guard is dropped.
    #[inline]
    pub fn enter(self) -> Guard {
        enter(self as usize)
    }
}

/// Watches the process grow and keeps the ledger of its largest moment.
#[derive(Debug, Default)]
pub struct Peak {
    resident: u64,
    ledger: BTreeMap<String, u64>,
    /// Drawn up now and then.
    latest: BTreeMap<String, u64>,
    /// How long all the looks have taken.
    spent: Duration,
}

/// A ledger is drawn up anew once the process has grown by this share since the last one.
const WORTH_A_LOOK: f64 = 1.01;
/// Otherwise as often as it takes no more than this share of the run's time.
const WORTH_OF_TIME: f64 = 0.005;

impl Peak {
    /// Draws up the ledger if the process is larger than ever before and holds more than ever before. It may be larger and
    /// hold less: freed memory goes back to the kernel after a while.
    ///
    /// # Safety
    /// No commit is under way and no host steps on another thread: the accounts are this thread's alone.
    pub unsafe fn look(&mut self, started: Instant) {
        let began = started.elapsed();
        let resident = resident_bytes("VmRSS:");
        let has_grown = resident as f64 > self.resident as f64 * WORTH_A_LOOK;
        if !has_grown && self.spent.as_secs_f64() > began.as_secs_f64() * WORTH_OF_TIME {
            return;
        }
        // SAFETY: as the caller promises.
        let ledger = unsafe { ledger() };
        self.spent += started.elapsed().saturating_sub(began);
        self.latest.clone_from(&ledger);
        if !has_grown {
            return;
        }
        self.resident = resident;
        if ledger.values().sum::<u64>() > self.ledger.values().sum() {
            self.ledger = ledger;
        }
    }

    /// Bytes by component as they were found last; empty before the first look.
    pub fn latest(&self) -> BTreeMap<String, u64> {
        self.latest.clone()
    }

    /// Bytes by component when the process was at its largest.
    pub fn into_ledger(self) -> BTreeMap<String, u64> {
        self.ledger
    }
}

/// What each component holds now, the allocator's free blocks and the program's own pages as components of their own.
///
/// # Safety
/// As for [`Peak::look`].
unsafe fn ledger() -> BTreeMap<String, u64> {
    let mut ledger = BTreeMap::new();
    let mut free = 0;
    for (account, name) in ALL.iter().copied() {
        // SAFETY: as the caller promises.
        let balance = unsafe { balance(account as usize) };
        free += balance.reserved.saturating_sub(balance.used);
        ledger.insert(name.to_owned(), balance.used);
    }
    let program = resident_bytes("RssFile:");
    // Pages that were never touched are reserved and take nothing: there is no more free memory than is resident.
    let held: u64 = ledger.values().sum::<u64>() + program;
    ledger.insert("free blocks".to_owned(), free.min(resident_bytes("VmRSS:").saturating_sub(held)));
    ledger.insert("program".to_owned(), program);
    ledger
}

/// A line of the kernel's account of this process, in bytes; 0 where there is none.
pub fn resident_bytes(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|l| l.strip_prefix(line));
    let kib: Option<u64> = found.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse().ok());
    kib.unwrap_or(0) * 1024
}
