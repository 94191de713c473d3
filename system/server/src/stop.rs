//! How a role is asked to end in good order.
//!
//! A gateway drains (`gateway/drain.rs`), a shard finishes its commits (`messages/mod.rs`), registry and bus have nothing to keep and end
//! at once. What ends a role at any time is dropping its future; what was acked is on disk then, too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    /// How long a gateway takes for its closes, once the role is asked to end.
    window: Mutex<Option<Duration>>,
    told: Notify,
}

/// A handle by which a role is asked to end. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Shared>);

impl Stop {
    fn window(&self) -> MutexGuard<'_, Option<Duration>> {
        self.0.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the role to end. A gateway spreads the closes of its connections over `window`. Only the first call counts.
    pub fn request(&self, window: Duration) {
        self.window().get_or_insert(window);
        self.0.told.notify_waiters();
    }

    /// Waits until the role is asked to end; the window of a gateway's closes.
    pub async fn requested(&self) -> Duration {
        loop {
            let mut told = std::pin::pin!(self.0.told.notified());
            // From here on no request is missed.
            told.as_mut().enable();
            let window = *self.window();
            match window {
                Some(window) => return window,
                None => told.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_request_counts_whenever_somebody_waits() {
        let stop = Stop::default();
        let waiting = tokio::spawn({
            let stop = stop.clone();
            async move { stop.requested().await }
        });
        tokio::task::yield_now().await;
        stop.request(Duration::from_secs(3));
        stop.request(Duration::from_secs(9));
        assert_eq!(waiting.await.expect("no panic"), Duration::from_secs(3));
        assert_eq!(stop.requested().await, Duration::from_secs(3));
    }
}
