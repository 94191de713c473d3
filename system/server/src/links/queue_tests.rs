//! A queue refuses what it has no room for, a user what is beyond a share, and nobody pays for what is stale.

use super::queue::{Pushed, Queue};
use futures_util::{FutureExt, StreamExt};
use squall_protocol::UserId;
use squall_protocol::limits::{
    MAX_BATCH, MAX_BATCH_BYTES, MAX_LINK_QUEUE, MAX_LINK_QUEUE_BYTES, MAX_LINK_SHARE, MAX_LINK_SHARE_BYTES,
};
use std::time::Duration;

const FLOODER: UserId = UserId(1);
const HONEST: UserId = UserId(2);

/// A payload that weighs about this much on the wire.
fn payload(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

#[tokio::test]
async fn one_user_fills_a_share_in_bytes_or_in_items_and_leaves_room_for_others() {
    for (bytes, at_most) in [(64 * 1024, MAX_LINK_SHARE_BYTES / (64 * 1024)), (8, MAX_LINK_SHARE)] {
        let queue = Queue::default();
        let pushed: Vec<Pushed> = (0..=at_most).map(|_| queue.push_for(FLOODER, payload(bytes))).collect();
        let queued = pushed.iter().filter(|pushed| **pushed == Pushed::Queued).count();
        assert!(queued <= at_most && queued + 1 >= at_most, "{queued} of {at_most}");
        assert_eq!(pushed.last(), Some(&Pushed::ShareFull));
        assert_eq!(queue.push_for(HONEST, payload(bytes)), Pushed::Queued);
        assert_eq!(queue.push(payload(bytes)), Pushed::Queued);
        assert_eq!(queue.take_fill().refused, pushed.len() - queued);
        // What is taken gives its share back.
        let batch = queue.batches().next().await.expect("the queue is open");
        assert!(!batch.is_empty());
        assert_eq!(queue.push_for(FLOODER, payload(bytes)), Pushed::Queued);
    }
}

#[tokio::test]
async fn a_full_queue_refuses_by_bytes_and_by_items_and_says_how_full_it_was() {
    let queue = Queue::default();
    let large = payload(1024 * 1024);
    while queue.push(large.clone()) == Pushed::Queued {}
    let fill = queue.take_fill();
    assert!(fill.bytes <= MAX_LINK_QUEUE_BYTES && fill.bytes > MAX_LINK_QUEUE_BYTES - 2 * 1024 * 1024);
    assert_eq!((fill.most_bytes, fill.refused), (fill.bytes, 1));
    let queue = Queue::default();
    while queue.push(payload(1)) == Pushed::Queued {}
    assert_eq!(queue.take_fill().items, MAX_LINK_QUEUE);
    queue.clear();
    let fill = queue.take_fill();
    assert_eq!((fill.items, fill.bytes, fill.most_items), (0, 0, MAX_LINK_QUEUE));
    assert_eq!(queue.push(payload(1)), Pushed::Queued);
}

#[tokio::test]
async fn what_is_stale_makes_room_before_anything_is_refused() {
    let queue = Queue::stale_after(Duration::from_millis(20));
    let large = payload(MAX_LINK_QUEUE_BYTES / 3);
    (0..2).for_each(|_| assert_eq!(queue.push(large.clone()), Pushed::Queued));
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(queue.push(large), Pushed::Queued);
    assert_eq!(queue.take_fill().items, 1, "the two that were stale are gone");
}

#[tokio::test]
async fn a_batch_is_bounded_and_in_order_and_what_is_larger_alone_goes_alone() {
    let queue = Queue::default();
    for bytes in [MAX_BATCH_BYTES / 2, MAX_BATCH_BYTES / 3, MAX_BATCH_BYTES / 3, 2 * MAX_BATCH_BYTES] {
        assert_eq!(queue.push(payload(bytes)), Pushed::Queued);
    }
    (0..MAX_BATCH + 1).for_each(|_| assert_eq!(queue.push(payload(1)), Pushed::Queued));
    queue.close();
    assert_eq!(queue.push(payload(1)), Pushed::Closed);
    let sizes: Vec<usize> = queue.batches().map(|batch: Vec<Vec<u8>>| batch.len()).collect().await;
    assert_eq!(sizes, [2, 1, 1, MAX_BATCH, 1]);
}

#[tokio::test]
async fn whoever_waits_for_room_is_woken_by_what_is_taken_and_told_when_nobody_takes() {
    let queue = Queue::default();
    let mut batches = queue.batches();
    assert_eq!(queue.push(payload(2_000)), Pushed::Queued);
    assert_eq!(queue.room(1_000).now_or_never(), None);
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.room(1_000).await }
    });
    tokio::task::yield_now().await;
    batches.next().await;
    assert!(waiting.await.unwrap());
    assert_eq!(queue.push(payload(2_000)), Pushed::Queued);
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.room(1_000).await }
    });
    tokio::task::yield_now().await;
    drop(batches);
    assert!(!waiting.await.unwrap(), "nobody takes from it any more");
}
