//! The opening handshakes under way, so that whoever opens connections and says nothing cannot have any number of them.
//!
//! **Invariant:** at most so many as it is made for; the oldest ends for the newest. Guarded by the test below.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

struct Open {
    most: usize,
    last: u64,
    /// By age.
    all: BTreeMap<u64, Arc<Notify>>,
}

/// The handshakes under way. Clones share them.
#[derive(Clone)]
pub struct Handshakes(Arc<Mutex<Open>>);

/// One of them, until it is dropped.
pub struct Handshake {
    ticket: u64,
    ended: Arc<Notify>,
    all: Handshakes,
}

impl Handshakes {
    /// None yet, and never more than this.
    pub fn new(most: usize) -> Self {
        Handshakes(Arc::new(Mutex::new(Open { most, last: 0, all: BTreeMap::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more begins.
    pub fn begin(&self) -> Handshake {
        let mut open = self.lock();
        open.last += 1;
        let (ticket, ended) = (open.last, Arc::new(Notify::new()));
        open.all.insert(ticket, Arc::clone(&ended));
        if open.all.len() > open.most {
            open.end_oldest();
        }
        Handshake { ticket, ended, all: self.clone() }
    }

    /// The oldest makes room. False: there is none.
    pub fn end_oldest(&self) -> bool {
        self.lock().end_oldest()
    }
}

impl Open {
    fn end_oldest(&mut self) -> bool {
        let oldest = self.all.pop_first();
        oldest.inspect(|(_, ended)| ended.notify_one()).is_some()
    }
}

impl Handshake {
    /// Waits until this one has to make room.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.lock().all.remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_oldest_makes_room_for_the_newest_and_whoever_is_through_is_forgotten() {
        const MOST: usize = 16;
        let all = Handshakes::new(MOST);
        assert!(!all.end_oldest());
        let mut open: Vec<Handshake> = (0..MOST).map(|_| all.begin()).collect();
        assert!(open[0].ended().now_or_never().is_none());
        open.push(all.begin());
        assert!(open[0].ended().now_or_never().is_some());
        assert!(open[1].ended().now_or_never().is_none());
        assert_eq!(all.lock().all.len(), MOST);
        assert!(all.end_oldest());
        assert!(open[1].ended().now_or_never().is_some());
        open.clear();
        assert_eq!(all.lock().all.len(), 0);
    }
}
