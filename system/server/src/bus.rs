//! The bus role: a topic a gateway, at most once, in memory.
//!
//! What it loses (no subscriber, a full queue, its own crash) is found again by redelivery and sync.

use crate::hop::Hop;
use crate::level::Level;
use crate::links::services::bus::bus_server::{Bus, BusServer};
use crate::links::{Beside, Pushed, Queue, Replies, guarded, incoming, serve_grpc, tell_fill};
use crate::net::Listener;
use crate::observer::{Observer, Point};
use crate::tasks::{Task, Tasks};
use crate::work::Work;
use futures_util::StreamExt;
use rustc_hash::FxHashMap;
use squall_core::plant::{Plant, planted};
use squall_protocol::cluster_secret::ClusterSecret;
use squall_protocol::wire::bus as wire;
use squall_protocol::{UserId, limits};
use std::sync::{Arc, Mutex, PoisonError};
use tonic::{Request, Response, Status, Streaming};

/// What waits for a gateway: deliveries, and notices, which give way to them.
struct Topic {
    deliveries: Queue<Vec<u8>>,
    notices: Queue<Vec<u8>>,
}

/// What publishers and subscribers call.
struct BusService {
    topics: Mutex<FxHashMap<u32, Topic>>,
    observer: Arc<dyn Observer>,
}

impl BusService {
    fn publish(&self, publications: Vec<wire::Publication>) {
        self.observer.worked(Work::Publication, publications.len());
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        for publication in publications {
            let topic = topics.get(&publication.gateway).filter(|topic| topic.deliveries.has_taker());
            if publication.notice {
                if let Some(topic) = topic {
                    // What finds no room is counted by its queue.
                    match publication.user {
                        Some(user) => topic.notices.offer_for(UserId(user), publication.payload),
                        None => topic.notices.offer(publication.payload),
                    }
                }
                continue;
            }
            let topic = topic.map(|topic| &topic.deliveries);
            let topic = topic.filter(|topic| !planted(Plant::BusDropsSilently) || topic.is_empty());
            let (gateway, payload) = (publication.gateway, publication.payload);
            self.observer.hop(&Hop::Carried { gateway, payload: &payload, subscribed: topic.is_some() });
            let push = |topic: &Queue<Vec<u8>>| match publication.user {
                Some(user) => topic.push_for(UserId(user), payload),
                None => topic.push(payload),
            };
            if topic.map(push) != Some(Pushed::Queued) {
                self.observer.passed(&Point::TopicDropped { gateway });
                if planted(Plant::BusBatchEndsAtAMiss) {
                    return;
                }
            }
        }
    }

    /// The newest subscriber of a topic is its gateway; an older one is a connection that has not noticed its end.
    fn subscribe(&self, gateway: u32) -> Beside<Vec<u8>> {
        let (deliveries, notices) = (Queue::stale_after(limits::REDELIVER_AFTER), Queue::of_notices());
        let batches = deliveries.batches().beside(notices.batches());
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Topic { deliveries: old, .. }) = topics.insert(gateway, Topic { deliveries, notices }) {
            old.clear();
            old.close();
        }
        batches
    }

    /// How full the topics are.
    fn tell_levels(&self) {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let observer = self.observer.as_ref();
        let deliveries = topics.values().map(|topic| topic.deliveries.take_fill());
        tell_fill(observer, Level::Topic, Level::TopicBytes, deliveries);
        let notices = topics.values().map(|topic| topic.notices.take_fill());
        tell_fill(observer, Level::Notices, Level::NoticeBytes, notices);
    }
}

#[tonic::async_trait]
impl Bus for Arc<BusService> {
    async fn publish(
        &self,
        request: Request<Streaming<wire::Publications>>,
    ) -> Result<Response<wire::Published>, Status> {
        let mut batches = request.into_inner();
        while let Some(batch) = batches.message().await? {
            BusService::publish(self, batch.publications);
        }
        Ok(Response::new(wire::Published {}))
    }

    type SubscribeStream = Replies<wire::Payloads>;

    async fn subscribe(
        &self,
        request: Request<wire::Subscription>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let batches = BusService::subscribe(self, request.into_inner().gateway);
        Ok(Response::new(Box::pin(batches.map(|payloads| Ok(wire::Payloads { payloads })))))
    }
}

/// Runs a bus until its listener fails.
pub async fn run(
    listener: Box<dyn Listener>,
    observer: Arc<dyn Observer>,
    tasks: Tasks,
    secret: ClusterSecret,
) -> Result<(), tonic::transport::Error> {
    let service = Arc::new(BusService { topics: Mutex::default(), observer: Arc::clone(&observer) });
    let (topics, own) = (Arc::clone(&service), tasks.clone());
    tasks.spawn(Task::Chore("levels"), async move {
        loop {
            tokio::time::sleep(limits::HOUSEKEEPING_INTERVAL).await;
            topics.tell_levels();
            own.tell_levels(topics.observer.as_ref());
        }
    });
    let server = BusServer::new(service).max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    incoming(serve_grpc().add_service(guarded(server, &secret, &observer)), listener).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Unobserved;

    fn publication(user: u64) -> wire::Publication {
        wire::Publication { gateway: 0, payload: vec![user as u8], user: Some(user), notice: false }
    }

    #[tokio::test]
    async fn whoever_fills_a_topic_leaves_room_for_what_others_have_caused() {
        let bus = BusService { topics: Mutex::default(), observer: Arc::new(Unobserved) };
        let mut taken = bus.subscribe(0);
        bus.publish((0..2 * limits::MAX_LINK_SHARE).map(|_| publication(1)).collect());
        bus.publish(vec![publication(2)]);
        let mut counts = [0; 3];
        while counts[2] == 0 {
            for payload in taken.next().await.expect("an open topic") {
                counts[usize::from(payload[0])] += 1;
            }
        }
        assert_eq!(counts, [0, limits::MAX_LINK_SHARE, 1]);
    }
}
