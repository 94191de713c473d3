//! Which hosts somebody outside has woken.
//!
//! The world holds one [`Marks`] and gives each host a [`Marker`] of it. Whoever has something for a host marks it; the world
//! takes the list and steps those hosts.
//!
//! **Invariant:** the list is in the order of hosts, whoever marked them and on whichever thread, so that it does not depend on
//! the machine. Checked by `marks_are_in_the_order_of_hosts_and_told_once`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The hosts that are marked. Clones are handles to the same list.
#[derive(Clone, Debug, Default)]
pub struct Marks(Arc<Mutex<Vec<usize>>>);

impl Marks {
    /// The marker of a host, by its number.
    pub fn marker(&self, host: usize) -> Marker {
        Marker(Arc::new(Mark { host, marked: AtomicBool::new(false), marks: self.clone() }))
    }

    /// Puts the numbers of the hosts that have been marked since the last call in the place of what `hosts` held, in their order.
    /// A host that was stepped meanwhile may be among them; stepping it again does nothing.
    pub fn take(&self, hosts: &mut Vec<usize>) {
        hosts.clear();
        std::mem::swap(hosts, &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        hosts.sort_unstable();
        hosts.dedup();
    }
}

/// Marks one host. Clones are handles to the same mark.
#[derive(Clone, Debug)]
pub struct Marker(Arc<Mark>);

#[derive(Debug)]
struct Mark {
    host: usize,
    marked: AtomicBool,
    marks: Marks,
}

impl Marker {
    /// The host is to be stepped, for somebody has something for it.
    pub fn mark(&self) {
        self.0.mark();
    }

    /// Whether it is marked and has not been stepped since.
    pub fn is_marked(&self) -> bool {
        self.0.marked.load(Ordering::Acquire)
    }

    /// A waker that marks.
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    /// Ends the mark; whether there was one.
    pub(crate) fn take(&self) -> bool {
        // Most of the time there is none, and a look is cheaper than a swap.
        self.is_marked() && self.0.marked.swap(false, Ordering::AcqRel)
    }
}

impl Mark {
    fn mark(&self) {
        if !self.marked.swap(true, Ordering::AcqRel) {
            self.marks.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.host);
        }
    }
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.mark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.mark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_in_the_order_of_hosts_and_told_once() {
        let marks = Marks::default();
        let markers: Vec<Marker> = (0..4).map(|host| marks.marker(host)).collect();
        markers[3].mark();
        markers[1].waker().wake();
        markers[3].waker().wake_by_ref();
        let mut hosts = vec![9];
        marks.take(&mut hosts);
        assert_eq!(hosts, [1, 3]);
        marks.take(&mut hosts);
        assert!(hosts.is_empty());
        assert!(markers[3].is_marked(), "until it is stepped");
        assert!(markers[3].take() && !markers[3].take());
        markers[3].mark();
        marks.take(&mut hosts);
        assert_eq!(hosts, [3]);
    }
}
