//! The messages role: a shard of all conversations, with a disk of its own.
//!
//! A gateway has a `session`, in which `requests` answers, with `pages` for what is read; `commit` makes what is `staged` durable and
//! acks, `dispatch` plans and publishes, `followers` are told of channels, `notices` go to whoever there is room for, with them the `receipts` of `cursors` that have moved, and `watching` says who may watch whom. They share a `shard`: its `state`, with a `cache` of logs and the `fences` of refusals, and its `dispatcher`, the look-ups in progress. The
//! order is the invariant: commit, then ack, then publish.

mod backoff;
mod cache;
mod commit;
mod counts;
mod cursors;
mod dispatch;
mod dispatcher;
mod fences;
mod followers;
mod inspect;
mod notices;
mod pages;
pub mod readers;
mod receipts;
mod requests;
mod session;
mod shard;
mod staged;
mod state;
#[cfg(test)]
mod tests;
mod watching;

use crate::clock::Clock;
use crate::inspect::Inspect;
use crate::links::services::messages::messages_server::{Messages, MessagesServer};
use crate::links::{Dialler, Replies, guarded, incoming, serve_grpc};
use crate::net::Listener;
use crate::observer::Observer;
use crate::stop::Stop;
use crate::storage::OpenStorage;
use crate::tasks::{Task, Tasks};
use dispatcher::Dispatcher;
use futures_util::StreamExt;
use shard::Shard;
pub use shard::Share;
use squall_core::plant::{Plant, planted};
use squall_core::rate::UserLimits;
use squall_protocol::limits;
use squall_protocol::wire::messages as wire;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// What a messages shard is given.
pub struct Parts {
    pub share: Share,
    pub listener: Box<dyn Listener>,
    pub dialler: Dialler,
    /// Addresses of the registries and the buses.
    pub registries: Vec<String>,
    pub buses: Vec<String>,
    pub open_storage: OpenStorage,
    pub limits: UserLimits,
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    pub tasks: Tasks,
    pub stop: Stop,
    pub inspect: Inspect,
}

#[tonic::async_trait]
impl Messages for Arc<Shard> {
    type SessionStream = Replies<wire::Replies>;
    type WatchingStream = Replies<wire::Replies>;

    async fn session(
        &self,
        request: Request<Streaming<wire::Requests>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut requests = request.into_inner();
        let session = self.sessions.open();
        let batches = session.replies.batches();
        let (shard, reads) = (Arc::clone(self), Arc::clone(&session));
        self.tasks.spawn(Task::Reads, async move { reads.read(&shard).await });
        let shard = Arc::clone(self);
        self.tasks.spawn(Task::Session, async move {
            while let Ok(Some(batch)) = requests.message().await {
                if shard.sessions.are_closing() {
                    continue;
                }
                for request in batch.requests {
                    session.handle(&shard, request);
                }
            }
            shard.followers.close(&session);
            shard.sessions.close(&session);
        });
        Ok(Response::new(Box::pin(batches.map(|replies| Ok(wire::Replies { replies })))))
    }

    async fn watching(
        &self,
        request: Request<Streaming<wire::LeaseRequests>>,
    ) -> Result<Response<Self::WatchingStream>, Status> {
        let mut requests = request.into_inner();
        let session = self.sessions.open();
        let batches = session.replies.batches();
        let shard = Arc::clone(self);
        self.tasks.spawn(Task::Session, async move {
            while let Ok(Some(batch)) = requests.message().await {
                watching::handle(&shard, batch.requests, &session.replies).await;
            }
            shard.sessions.close(&session);
        });
        Ok(Response::new(Box::pin(batches.map(|replies| Ok(wire::Replies { replies })))))
    }
}

/// Runs a shard until it has ended as it was asked to, or its listener fails.
pub async fn run(parts: Parts) -> Result<(), tonic::transport::Error> {
    let dispatcher = Dispatcher::new(parts.registries.len(), parts.buses.len());
    let shard = Arc::new(Shard::new(
        parts.share,
        parts.open_storage,
        parts.limits,
        dispatcher,
        parts.clock,
        parts.observer,
        parts.tasks,
    ));
    let looked_at = Arc::downgrade(&shard);
    parts
        .inspect
        .answer_with(move || looked_at.upgrade().map(|shard| inspect::inspect(&shard)).unwrap_or_default());
    shard.tasks.spawn(Task::Chore("commits"), commit::run(Arc::clone(&shard)));
    dispatch::start(&shard, &parts.dialler, parts.registries, parts.buses);
    let observer = Arc::clone(&shard.observer);
    let service =
        MessagesServer::new(Arc::clone(&shard)).max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    let serving =
        incoming(serve_grpc().add_service(guarded(service, &parts.dialler.secret, &observer)), parts.listener);
    tokio::select! {
        biased;
        () = finish(&shard, &parts.stop) => Ok(()),
        ended = serving => ended,
    }
}

/// Once the shard is asked to end: takes nothing more, makes durable what it has taken, and lets the answers leave. What it has not
/// taken waits with the gateways, or is sent again by its device, and what it has not published yet is planned again at the next start.
async fn finish(shard: &Shard, stop: &Stop) {
    stop.requested().await;
    shard.sessions.close_all();
    if planted(Plant::ShardEndsBeforeItsCommit) {
        return answer_without_commit(shard).await;
    }
    let deadline = shard.clock.now() + limits::SHARD_ENDS_WITHIN;
    while shard.clock.now() < deadline && !(shard.state().is_settled() && shard.sessions.have_answered()) {
        shard.work.notify_one();
        tokio::time::sleep(limits::STOP_LOOKS_EVERY).await;
    }
    // What links have taken from the queues is on its way.
    tokio::time::sleep(limits::STOP_LOOKS_EVERY).await;
}

/// The bug `shard-ends-before-its-commit`.
async fn answer_without_commit(shard: &Shard) {
    {
        let mut state = shard.state();
        for new in state.staged.cut() {
            let (conversation, entry) = (new.conversation, new.entry);
            for waiter in state.waiters.remove(&(conversation, entry.seq)).unwrap_or_default() {
                waiter.answer(shard.observer.as_ref(), conversation, entry.seq, entry.stored_at_ms, None);
            }
        }
    }
    tokio::time::sleep(limits::STOP_LOOKS_EVERY).await;
}
