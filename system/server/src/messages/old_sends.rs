//! Resends of messages that a shard no longer knows by heart: they are looked up in the log, by their number.
//!
//! No device of ours asks for one: what it may have in flight is within what the shard remembers. Others may, and so the
//! look-ups are the shard's lightest duty.
//!
//! **Invariant:** never under the shard's lock, one look-up at a time, a page at a time with others let in between, and
//! bounded in all and for each device. Guarded by `tests.rs` beside this file.

use super::shard::Shard;
use super::state::Waiter;
use crate::observer::Point;
use crate::storage::{Storage, StorageError};
use squall_protocol::limits::{MAX_OLD_SENDS, MAX_OLD_SENDS_OF_DEVICE, OLD_SEND_PAGES, PAGE_BYTES, PAGE_ENTRIES};
use squall_protocol::wire::messages::Reply;
use squall_protocol::{ClientMsgId, ClientSeq, ConversationId, Seq};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A send whose number is far in the past.
pub struct OldSend {
    pub waiter: Waiter,
    pub conversation: ConversationId,
    pub client_seq: ClientSeq,
    /// The end of the log on disk when it was asked.
    pub durable: Seq,
    /// What is answered if the log does not have it.
    pub otherwise: Reply,
}

/// Those that wait for their look-up.
#[derive(Default)]
pub struct OldSends {
    waiting: Mutex<VecDeque<OldSend>>,
    work: Notify,
}

impl OldSends {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<OldSend>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False: too many wait, in all or of this device.
    pub fn push(&self, old: OldSend) -> bool {
        let mut waiting = self.waiting();
        let device = old.waiter.device;
        let own = waiting.iter().filter(|other| other.waiter.device == device).count();
        if waiting.len() >= MAX_OLD_SENDS || own >= MAX_OLD_SENDS_OF_DEVICE {
            return false;
        }
        waiting.push_back(old);
        self.work.notify_one();
        true
    }

    fn pop(&self) -> Option<OldSend> {
        self.waiting().pop_front()
    }
}

/// Looks up for as long as the shard lives.
pub async fn run(shard: Arc<Shard>) {
    loop {
        match shard.old_sends.pop() {
            Some(old) => answer(&shard, old).await,
            None => shard.old_sends.work.notified().await,
        }
    }
}

async fn answer(shard: &Shard, old: OldSend) {
    // While the disk is recovered nobody is answered; the device asks again.
    let Some(storage) = shard.state().storage.clone() else { return };
    let (conversation, device) = (old.conversation, old.waiter.device);
    shard.observer.passed(&Point::OldSendLookedUp { conversation, device });
    match find(storage.as_ref(), &old).await {
        Ok(Some((id, seq))) if id == old.waiter.client_msg_id => old.waiter.answer(conversation, seq),
        Ok(_) => drop(old.waiter.replies.push(old.otherwise)),
        // The device asks again when it has no answer.
        Err(error) => shard.handle_read_error(&mut shard.state(), &error),
    }
}

/// The message that the device once sent with this number, searched from the end of the log.
async fn find(storage: &dyn Storage, old: &OldSend) -> Result<Option<(ClientMsgId, Seq)>, StorageError> {
    let mut to = old.durable;
    for _ in 0..OLD_SEND_PAGES {
        if to == Seq::ZERO {
            break;
        }
        let from = Seq(to.0.saturating_sub(PAGE_ENTRIES as u64 - 1).max(1));
        let mut next = from;
        // A page of long bodies comes in several pieces.
        while next <= to {
            let entries = storage.entries(old.conversation, next, to, PAGE_ENTRIES, PAGE_BYTES)?;
            let is_it =
                |e: &&squall_protocol::Entry| e.device == old.waiter.device && e.client_seq == old.client_seq;
            if let Some(found) = entries.iter().find(is_it) {
                return Ok(Some((found.client_msg_id, found.seq)));
            }
            let Some(last) = entries.last() else { return Ok(None) };
            next = last.seq.next();
            tokio::task::yield_now().await;
        }
        to = from.prev();
    }
    Ok(None)
}
