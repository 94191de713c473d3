//! What waits for a link: pushed one by one, taken in batches by whichever stream is the link at the moment.
//!
//! **Invariant:** first in, first out; bounded in items, and each batch in bytes; only the newest stream takes.

use futures_util::Stream;
use squall_protocol::limits::{MAX_BATCH, MAX_BATCH_BYTES, MAX_LINK_QUEUE};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

struct Inner<T> {
    items: VecDeque<(Instant, T)>,
    waker: Option<Waker>,
    /// The stream that may take; older ones end.
    generation: u64,
    /// That stream still exists.
    taken: bool,
    closed: bool,
}

/// A queue towards a link. Clones share it.
pub struct Queue<T>(Arc<Mutex<Inner<T>>>);

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue(Arc::clone(&self.0))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let inner = Inner { items: VecDeque::new(), waker: None, generation: 0, taken: false, closed: false };
        Queue(Arc::new(Mutex::new(inner)))
    }
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends. False: the queue is full or closed and the item is dropped; its sender's own retry has to find it.
    pub fn push(&self, item: T) -> bool {
        let waker = {
            let mut inner = self.lock();
            if inner.closed || inner.items.len() >= MAX_LINK_QUEUE {
                return false;
            }
            inner.items.push_back((Instant::now(), item));
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
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

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Forgets what has waited longer than `age`: whoever asked has asked again since.
    pub fn drop_older_than(&self, age: Duration) {
        let mut inner = self.lock();
        let now = Instant::now();
        while inner.items.pop_front_if(|(at, _)| now.duration_since(*at) > age).is_some() {}
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.lock().items.clear();
    }

    /// Ends the stream after what is queued; further pushes are refused.
    pub fn close(&self) {
        let waker = {
            let mut inner = self.lock();
            inner.closed = true;
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
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
        if inner.generation == self.generation {
            inner.taken = false;
        }
    }
}

impl<T: prost::Message> Stream for Batches<T> {
    type Item = Vec<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<T>>> {
        let mut inner = self.queue.lock();
        if inner.generation != self.generation {
            return Poll::Ready(None);
        }
        if inner.items.is_empty() {
            if inner.closed {
                return Poll::Ready(None);
            }
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut bytes = 0;
        let fits = |(_, item): &&(Instant, T)| {
            bytes += item.encoded_len();
            bytes <= MAX_BATCH_BYTES
        };
        // At least one: what is larger alone has been refused where it came from.
        let n = inner.items.iter().take(MAX_BATCH).take_while(fits).count().max(1);
        let batch = inner.items.drain(..n).map(|(_, item)| item).collect();
        if inner.items.is_empty() && inner.items.capacity() > MAX_BATCH {
            inner.items = VecDeque::new();
        }
        Poll::Ready(Some(batch))
    }
}
