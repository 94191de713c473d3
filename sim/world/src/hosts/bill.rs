//! What a host's work costs, and how long it is busy with it.
//!
//! **Invariant:** a price is multiplied with a count, and nothing is ever timed: a run with prices repeats to the byte. Guarded by
//! `squall verify-determinism` on a scenario with `[costs]`.

use squall_scenarios::Costs;
use squall_server::work::Work;
use std::sync::atomic::{AtomicU64, Ordering};

const KINDS: usize = Work::ALL.len();

/// The work of one host: what it has done, and what of it simulated time has not paid for yet. Its host adds to it while it steps, the
/// world takes from it between steps.
pub struct Bill {
    prices_ns: [u64; KINDS],
    cores: u64,
    done: [AtomicU64; KINDS],
    unpaid_ns: AtomicU64,
}

impl Bill {
    pub fn new(costs: &Costs) -> Self {
        Bill {
            prices_ns: Work::ALL.map(|work| price_ns(costs, work)),
            cores: u64::from(costs.cores),
            done: [const { AtomicU64::new(0) }; KINDS],
            unpaid_ns: AtomicU64::new(0),
        }
    }

    /// The host has done this.
    pub fn add(&self, work: Work, amount: u64) {
        self.done[work.index()].fetch_add(amount, Ordering::Relaxed);
        let price = self.prices_ns[work.index()].saturating_mul(amount);
        self.unpaid_ns.fetch_add(price, Ordering::Relaxed);
    }

    /// The whole µs for which the host is busy with what it has done since the last time. Less than one is left for the next.
    pub fn take_us(&self) -> u64 {
        let a_microsecond_ns = 1_000 * self.cores;
        let unpaid_ns = self.unpaid_ns.load(Ordering::Relaxed);
        let us = unpaid_ns / a_microsecond_ns;
        self.unpaid_ns.store(unpaid_ns - us * a_microsecond_ns, Ordering::Relaxed);
        us
    }

    /// The process is dead: what it was busy with is nobody's any more.
    pub fn forgive(&self) {
        self.unpaid_ns.store(0, Ordering::Relaxed);
    }

    /// What has been done, by kind.
    pub fn done(&self) -> impl Iterator<Item = (Work, u64)> {
        Work::ALL.iter().map(|work| (*work, self.done[work.index()].load(Ordering::Relaxed)))
    }
}

fn price_ns(costs: &Costs, work: Work) -> u64 {
    match work {
        Work::Handshake => costs.handshake_ns,
        Work::Token => costs.token_ns,
        Work::Frame => costs.frame_ns,
        Work::FrameByte => costs.frame_byte_ns,
        Work::Request => costs.request_ns,
        Work::Row => costs.row_ns,
        Work::RowByte => costs.row_byte_ns,
        Work::Commit => costs.commit_ns,
        Work::Entry => costs.entry_ns,
        Work::EntryByte => costs.entry_byte_ns,
        Work::Member => costs.member_ns,
        Work::Publication => costs.publication_ns,
        Work::Lookup => costs.lookup_ns,
        Work::Registration => costs.registration_ns,
    }
}

/// How long a host is busy, and how long it has been.
#[derive(Debug, Clone, Copy, Default)]
pub struct Busy {
    /// It does nothing more before this.
    until_us: u64,
    /// Of all its time so far.
    total_us: u64,
    /// The most work that has ever waited in front of it.
    longest_us: u64,
}

impl Busy {
    /// It has done something at `now` that takes so long.
    pub fn add(&mut self, now_us: u64, work_us: u64) {
        if work_us == 0 {
            return;
        }
        self.until_us = self.until_us.max(now_us) + work_us;
        self.total_us += work_us;
        self.longest_us = self.longest_us.max(self.until_us - now_us);
    }

    /// Its process is dead: it stops in the middle of it.
    pub fn stop(&mut self, now_us: u64) {
        self.total_us -= self.until_us.saturating_sub(now_us);
        self.until_us = 0;
    }

    pub fn until_us(&self) -> u64 {
        self.until_us
    }

    pub fn total_us(&self) -> u64 {
        self.total_us
    }

    pub fn longest_us(&self) -> u64 {
        self.longest_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bill(cores: u32) -> Bill {
        Bill::new(&Costs { cores, frame_ns: 600, row_ns: 2_000, ..Costs::default() })
    }

    #[test]
    fn work_is_paid_in_whole_microseconds_and_nothing_is_lost() {
        let bill = bill(1);
        bill.add(Work::Frame, 1);
        assert_eq!(bill.take_us(), 0);
        bill.add(Work::Frame, 1);
        bill.add(Work::Row, 3);
        assert_eq!(bill.take_us(), 7, "1.2 and 6 microseconds");
        bill.add(Work::Frame, 2);
        assert_eq!(bill.take_us(), 1, "0.2 was left");
        let done: Vec<u64> = bill.done().map(|(_, amount)| amount).filter(|amount| *amount > 0).collect();
        assert_eq!(done, [4, 3]);
    }

    #[test]
    fn cores_share_the_work() {
        let bill = bill(4);
        bill.add(Work::Row, 8);
        assert_eq!(bill.take_us(), 4);
    }

    #[test]
    fn work_queues_behind_what_is_not_paid_yet() {
        let mut busy = Busy::default();
        busy.add(100, 50);
        busy.add(120, 10);
        assert_eq!((busy.until_us(), busy.total_us(), busy.longest_us()), (160, 60, 50));
        busy.stop(130);
        assert_eq!((busy.until_us(), busy.total_us()), (0, 30));
    }

    #[test]
    fn every_kind_of_work_has_a_price_of_its_name() {
        let costs = Costs::default();
        let names: Vec<String> = Work::ALL.iter().map(|work| format!("{}_ns", work.name())).collect();
        let keys: Vec<&str> = costs.prices().map(|(key, _)| key).collect();
        assert_eq!(names, keys);
        for (work, (_, price)) in Work::ALL.into_iter().zip(costs.prices()) {
            assert_eq!(price_ns(&costs, work), price);
        }
    }
}
