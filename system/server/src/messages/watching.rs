//! Leases to watch: whether a gateway's device may be told of other members of a conversation.
//!
//! They come over a link of their own and are looked at one by one, each after whoever else waits for the shard's state, so that no send or page
//! stands behind more than one. What the shard cannot answer just now is asked again.
//!
//! **Invariants:** a stranger's question costs one look-up, and no log is loaded for it; whoever is no member now, or is in a conversation
//! that one of the two has blocked, is granted nothing. Guarded by `server/tests/presence.rs` and `sim/checks/src/presence_holds.rs`.

use super::shard::Shard;
use crate::hop::Hop;
use crate::links::Queue;
use crate::storage::StorageError;
use crate::work::Work;
use squall_core::messages::Blocks;
use squall_core::plant::{Plant, planted};
use squall_protocol::wire::messages::{Lease, LeaseRequest, Reply, reply};
use squall_protocol::{ConversationId, UserId, limits, protobuf};

/// Answers a gateway's questions, one after the other.
pub async fn handle(shard: &Shard, requests: Vec<LeaseRequest>, replies: &Queue<Reply>) {
    for request in requests {
        shard.let_others().await;
        shard.observer.worked(Work::Request, 1);
        // What is another shard's, or cannot be read, is not from a gateway of ours.
        let Ok(conversation) = protobuf::conversation_from_wire(request.conversation) else { continue };
        if !shard.share.has(conversation) || request.users.len() > limits::MAX_WATCHED_AT_ONCE {
            continue;
        }
        let users = request.users.into_iter().map(UserId);
        if let Some(granted) = granted(shard, conversation, UserId(request.watcher), users.collect()) {
            let watcher = UserId(request.watcher);
            shard.observer.hop(&Hop::Leased { conversation, watcher, granted: &granted });
            // What finds no room is asked for again.
            let lease = Lease {
                conversation: request.conversation,
                granted: granted.into_iter().map(|user| user.0).collect(),
                asked_at: request.asked_at,
            };
            replies.offer(Reply {
                connection: request.connection,
                device: 0,
                channels: Vec::new(),
                reply: Some(reply::Reply::Lease(lease)),
            });
        }
    }
}

/// Who of these may be watched. `None`: that cannot be told just now.
fn granted(
    shard: &Shard,
    conversation: ConversationId,
    watcher: UserId,
    users: Vec<UserId>,
) -> Option<Vec<UserId>> {
    let mut state = shard.state();
    let storage = state.storage.clone()?;
    let look = || -> Result<Vec<UserId>, StorageError> {
        if state.is_stranger(storage.as_ref(), conversation, watcher)? {
            return Ok(Vec::new());
        }
        let membership = state.cache.get(conversation, storage.as_ref())?.membership();
        shard.observer.worked(Work::Member, users.len());
        let is_member = |user: &UserId| match planted(Plant::WatchOutlivesMembership) {
            true => membership.knows(*user),
            false => membership.is_member(*user),
        };
        if !is_member(&watcher) || membership.blocked() != Blocks::default() {
            return Ok(Vec::new());
        }
        Ok(users.into_iter().filter(is_member).collect())
    };
    match look() {
        Ok(granted) => Some(granted),
        Err(error) => {
            shard.handle_read_error(&mut state, &error);
            None
        }
    }
}
