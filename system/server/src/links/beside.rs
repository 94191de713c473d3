//! Two queues on one link: what waits in the second goes when nothing waits in the first.
//!
//! **Invariant:** what devices are owed never waits for a notice: it is behind one batch of them at most, which is on its way already. Guarded by
//! the test below.

use super::queue::Batches;
use futures_util::Stream;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The batches of both.
pub struct Beside<T> {
    first: Batches<T>,
    second: Batches<T>,
}

impl<T> Batches<T> {
    /// Takes from these as long as there are some, and else from the others. It ends with these.
    pub fn beside(self, second: Batches<T>) -> Beside<T> {
        Beside { first: self, second }
    }
}

impl<T> Stream for Beside<T> {
    type Item = Vec<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<T>>> {
        if let Poll::Ready(taken) = Pin::new(&mut self.first).poll_next(cx) {
            return Poll::Ready(taken);
        }
        match Pin::new(&mut self.second).poll_next(cx) {
            Poll::Ready(Some(taken)) => Poll::Ready(Some(taken)),
            // A newer link takes the notices: this one ends when all else is taken from it, too.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::links::{Pushed, Queue};
    use futures_util::{FutureExt, StreamExt};

    #[tokio::test]
    async fn notices_go_when_nothing_else_waits_and_not_when_they_are_stale() {
        let (owed, notices) = (Queue::default(), Queue::of_notices());
        let mut both = owed.batches().beside(notices.batches());
        for (queue, byte) in [(&notices, 1u8), (&owed, 2), (&notices, 3), (&owed, 4)] {
            assert_eq!(queue.push(vec![byte]), Pushed::Queued);
        }
        assert_eq!(both.next().await, Some(vec![vec![2], vec![4]]));
        assert_eq!(both.next().await, Some(vec![vec![1], vec![3]]));
        assert_eq!(both.next().now_or_never(), None);
        assert_eq!(notices.push(vec![5]), Pushed::Queued);
        tokio::time::sleep(squall_protocol::limits::NOTICE_STALE_AFTER * 2).await;
        assert_eq!(both.next().now_or_never(), None);
        assert_eq!(notices.take_fill().refused, 1);
        owed.close();
        assert_eq!(both.next().await, None);
    }

    #[tokio::test]
    async fn a_user_has_a_share_of_the_notices_and_their_number_is_bounded() {
        use squall_protocol::UserId;
        use squall_protocol::limits::{MAX_NOTICES, MAX_NOTICES_SHARE};
        let notices = Queue::of_notices();
        let pushed = (0..).take_while(|_| notices.push_for(UserId(1), vec![1u8]) == Pushed::Queued).count();
        assert_eq!(pushed, MAX_NOTICES_SHARE);
        while notices.push(vec![1u8]) == Pushed::Queued {}
        assert_eq!(notices.take_fill().items, MAX_NOTICES);
    }
}
