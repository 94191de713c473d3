//! What waits for a link: pushed one by one, taken in batches by whichever stream is the link at the moment.
//!
//! **Invariants:** first in, first out; bounded in items and in bytes, each user to a share of both, each batch in bytes; notices that are stale are not taken; only the newest
//! stream takes. An item is weighed once, as it comes. Guarded by the tests of `queue_tests.rs`, and in every simulated run by
//! `sim/checks/src/bounded.rs`.

use super::fill::Fill;
use futures_util::Stream;
use rustc_hash::FxHashMap;
use squall_core::plant::{Plant, planted};
use squall_protocol::UserId;
use squall_protocol::limits::{
    MAX_BATCH, MAX_BATCH_BYTES, MAX_LINK_QUEUE, MAX_LINK_QUEUE_BYTES, MAX_LINK_SHARE, MAX_LINK_SHARE_BYTES,
    MAX_NOTICE_BYTES, MAX_NOTICE_SHARE_BYTES, MAX_NOTICES, MAX_NOTICES_SHARE, NOTICE_STALE_AFTER,
};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// What came of a push.
#[must_use = "what is not queued is gone: its sender has to ask again, or whoever pushed has to keep it"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    Queued,
    /// There is no room for anybody.
    Full,
    /// This user has as much of the queue as one user may.
    ShareFull,
    /// Nobody will ever take it.
    Closed,
}

/// How much there may be at once.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    items: usize,
    bytes: usize,
    /// What one user may have of both.
    share: usize,
    share_bytes: usize,
}

const LINK: Bounds = Bounds {
    items: MAX_LINK_QUEUE,
    bytes: MAX_LINK_QUEUE_BYTES,
    share: MAX_LINK_SHARE,
    share_bytes: MAX_LINK_SHARE_BYTES,
};
const NOTICES: Bounds = Bounds {
    items: MAX_NOTICES,
    bytes: MAX_NOTICE_BYTES,
    share: MAX_NOTICES_SHARE,
    share_bytes: MAX_NOTICE_SHARE_BYTES,
};

struct Item<T> {
    at: Instant,
    owner: Option<UserId>,
    bytes: usize,
    what: T,
}

/// What of a queue is one user's.
#[derive(Default)]
struct Share {
    items: usize,
    bytes: usize,
}

struct Inner<T> {
    bounds: Bounds,
    items: VecDeque<Item<T>>,
    bytes: usize,
    /// A row only while something of the user's waits.
    shares: FxHashMap<UserId, Share>,
    fill: Fill,
    waker: Option<Waker>,
    /// Whoever waits for room.
    room: Option<Waker>,
    /// The stream that may take; older ones end.
    generation: u64,
    /// That stream still exists.
    taken: bool,
    closed: bool,
}

/// A queue towards a link. Clones share it.
pub struct Queue<T> {
    inner: Arc<Mutex<Inner<T>>>,
    /// What has waited longer is asked for again by whoever asked, and makes room for others.
    stale_after: Duration,
    /// What has waited longer is not taken either: nobody wants to know of it any more.
    drops_stale: bool,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { inner: Arc::clone(&self.inner), stale_after: self.stale_after, drops_stale: self.drops_stale }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue::stale_after(Duration::MAX)
    }
}

impl<T> Inner<T> {
    fn take_front(&mut self) -> Option<Item<T>> {
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes;
        if let Some(owner) = item.owner
            && let Some(share) = self.shares.get_mut(&owner)
        {
            share.items -= 1;
            share.bytes -= item.bytes;
            if share.items == 0 {
                self.shares.remove(&owner);
            }
        }
        Some(item)
    }

    fn drop_older_than(&mut self, age: Duration, now: Instant) -> usize {
        let before = self.items.len();
        while self.items.front().is_some_and(|item| now.duration_since(item.at) > age) {
            self.take_front();
        }
        before - self.items.len()
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        self.items.len() < self.bounds.items && self.bytes + bytes <= self.bounds.bytes
    }

    fn has_share_for(&self, owner: UserId, bytes: usize) -> bool {
        let Bounds { share: items, share_bytes, .. } = self.bounds;
        self.shares.get(&owner).is_none_or(|share| share.items < items && share.bytes + bytes <= share_bytes)
    }
}

impl<T> Queue<T> {
    /// A queue that gives up what has waited longer than this before it refuses anything.
    pub fn stale_after(stale_after: Duration) -> Self {
        Queue::bounded(LINK, stale_after, false)
    }

    /// A small one for notices: what has waited for too long is dropped, and counts as refused.
    pub fn of_notices() -> Self {
        Queue::bounded(NOTICES, NOTICE_STALE_AFTER, !planted(Plant::StaleNoticeTold))
    }

    fn bounded(bounds: Bounds, stale_after: Duration, drops_stale: bool) -> Self {
        let inner = Inner {
            bounds,
            items: VecDeque::new(),
            bytes: 0,
            shares: FxHashMap::default(),
            fill: Fill::default(),
            waker: None,
            room: None,
            generation: 0,
            taken: false,
            closed: false,
        };
        Queue { inner: Arc::new(Mutex::new(inner)), stale_after, drops_stale }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream of batches that takes over from any older one. It never ends by itself.
    pub fn batches(&self) -> Batches<T> {
        let mut inner = self.lock();
        inner.generation += 1;
        inner.taken = true;
        let old = inner.waker.take();
        let generation = inner.generation;
        drop(inner);
        if let Some(waker) = old {
            waker.wake();
        }
        Batches { queue: self.clone(), generation }
    }

    /// Whether a stream takes from here at the moment.
    pub fn has_taker(&self) -> bool {
        self.lock().taken
    }

    pub fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Whether fewer than so many items wait.
    pub fn has_fewer_than(&self, items: usize) -> bool {
        self.lock().items.len() < items
    }

    /// How full it is, and has been since this was last asked.
    pub fn take_fill(&self) -> Fill {
        let mut inner = self.lock();
        let (items, bytes) = (inner.items.len(), inner.bytes);
        let next = Fill { most_items: items, most_bytes: bytes, ..Fill::default() };
        Fill { items, bytes, ..std::mem::replace(&mut inner.fill, next) }
    }

    /// Forgets what has waited longer than `age`: whoever asked has asked again since.
    pub fn drop_older_than(&self, age: Duration) {
        self.lock().drop_older_than(age, Instant::now());
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut inner = self.lock();
        while inner.take_front().is_some() {}
    }

    /// Ends the stream after what is queued; further pushes are refused.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        let wakers = [inner.waker.take(), inner.room.take()];
        drop(inner);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Waits until fewer bytes than these are queued. False: nobody takes from here any more.
    pub async fn room(&self, bytes: usize) -> bool {
        poll_fn(|cx| {
            let mut inner = self.lock();
            if inner.closed || !inner.taken {
                return Poll::Ready(false);
            }
            if inner.bytes < bytes {
                return Poll::Ready(true);
            }
            inner.room = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl<T: prost::Message> Queue<T> {
    /// Appends what is nobody's in particular.
    pub fn push(&self, what: T) -> Pushed {
        self.append(None, what)
    }

    /// Appends what a user has caused.
    pub fn push_for(&self, owner: UserId, what: T) -> Pushed {
        self.append(Some(owner), what)
    }

    /// Appends, or forgets it where there is no room: whoever has asked for it asks again by itself.
    pub fn offer(&self, what: T) {
        let _asked_again = self.append(None, what);
    }

    /// The same, for what a user has caused.
    pub fn offer_for(&self, owner: UserId, what: T) {
        let _asked_again = self.append(Some(owner), what);
    }

    fn append(&self, owner: Option<UserId>, what: T) -> Pushed {
        let bytes = what.encoded_len();
        let mut inner = self.lock();
        if inner.closed {
            return Pushed::Closed;
        }
        let at = Instant::now();
        if !inner.has_room_for(bytes) {
            inner.drop_older_than(self.stale_after, at);
        }
        if !inner.has_room_for(bytes) {
            inner.fill.refused += 1;
            return Pushed::Full;
        }
        if let Some(owner) = owner {
            if !inner.has_share_for(owner, bytes) {
                inner.fill.refused += 1;
                return Pushed::ShareFull;
            }
            let share = inner.shares.entry(owner).or_default();
            share.items += 1;
            share.bytes += bytes;
        }
        inner.bytes += bytes;
        inner.items.push_back(Item { at, owner, bytes, what });
        inner.fill.most_items = inner.fill.most_items.max(inner.items.len());
        inner.fill.most_bytes = inner.fill.most_bytes.max(inner.bytes);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Pushed::Queued
    }
}

/// A queue's items as they are taken by one link.
pub struct Batches<T> {
    queue: Queue<T>,
    generation: u64,
}

impl<T> Drop for Batches<T> {
    fn drop(&mut self) {
        let mut inner = self.queue.lock();
        if inner.generation != self.generation {
            return;
        }
        inner.taken = false;
        let room = inner.room.take();
        drop(inner);
        if let Some(waker) = room {
            waker.wake();
        }
    }
}

impl<T> Stream for Batches<T> {
    type Item = Vec<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<T>>> {
        let mut inner = self.queue.lock();
        if inner.generation != self.generation {
            return Poll::Ready(None);
        }
        if self.queue.drops_stale {
            inner.fill.refused += inner.drop_older_than(self.queue.stale_after, Instant::now());
        }
        if inner.items.is_empty() {
            if inner.closed {
                return Poll::Ready(None);
            }
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // At least one: what is larger alone has been refused where it came from.
        let (mut batch, mut bytes) = (Vec::with_capacity(inner.items.len().min(MAX_BATCH)), 0);
        while batch.len() < MAX_BATCH
            && let Some(next) = inner.items.front()
            && (batch.is_empty() || bytes + next.bytes <= MAX_BATCH_BYTES)
        {
            bytes += next.bytes;
            batch.extend(inner.take_front().map(|item| item.what));
        }
        if inner.items.is_empty() && inner.items.capacity() > MAX_BATCH {
            inner.items = VecDeque::new();
            inner.shares = FxHashMap::default();
        }
        let room = inner.room.take();
        drop(inner);
        if let Some(waker) = room {
            waker.wake();
        }
        Poll::Ready(Some(batch))
    }
}
