//! What the bus brings: deliveries for this gateway's connections, and connections to be closed.
//!
//! **Invariant:** a delivery reaches only the connection *and* device that it names; if that is gone, the registry is told.

use super::channels;
use super::outgoing::Outgoing;
use super::shard_link::ask_heads;
use super::state::Gateway;
use super::table::ConnectionId;
use crate::hop::Hop;
use crate::links::services::bus::bus_client::BusClient;
use crate::links::{Dialler, LinkError, dial, keep_open};
use crate::observer::Point;
use crate::tasks::Task;
use crate::work::Work;
use prost::Message;
use squall_core::gateway::{About, Heard, Member, Said};
use squall_core::plant::{Plant, planted};
use squall_protocol::close::CloseReason;
use squall_protocol::frames::LogSpan;
use squall_protocol::ids::rendezvous;
use squall_protocol::wire::bus::{self, Subscription, Target, ToGateway, to_gateway};
use squall_protocol::{ConversationId, DeviceId, ServerFrame, UserId, limits, protobuf};
use std::sync::Arc;

/// Subscribes to this gateway's topic, which lives on one of the buses.
pub fn start(gateway: &Arc<Gateway>, dialler: &Dialler, buses: &[String]) {
    let Some(address) = buses.get(rendezvous(u64::from(gateway.index), buses.len() as u32) as usize) else {
        return;
    };
    let (gateway, dialler, address) = (Arc::clone(gateway), dialler.clone(), address.clone());
    let (observer, tasks) = (Arc::clone(&gateway.observer), gateway.tasks.clone());
    tasks.spawn(
        Task::Link,
        keep_open(address.clone(), observer, move || {
            subscribe(Arc::clone(&gateway), dialler.clone(), address.clone())
        }),
    );
}

async fn subscribe(gateway: Arc<Gateway>, dialler: Dialler, address: String) -> Result<(), LinkError> {
    let mut client = BusClient::new(dial(&dialler, &address).await?)
        .max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    let mut batches = client.subscribe(Subscription { gateway: gateway.index }).await?.into_inner();
    gateway.observer.passed(&Point::LinkUp { to: &address });
    while let Some(batch) = batches.message().await? {
        gateway.observer.worked(Work::Publication, batch.payloads.len());
        for payload in batch.payloads {
            // A payload that cannot be read is not from a shard of ours.
            if let Ok(message) = ToGateway::decode(payload.as_slice()) {
                handle(&gateway, message);
            }
        }
    }
    Ok(())
}

fn handle(gateway: &Gateway, message: ToGateway) {
    match message.message {
        Some(to_gateway::Message::Delivery(delivery)) => {
            let Some(Ok(span)) = delivery.span.map(protobuf::span_from_wire) else { return };
            let reminder = LogSpan {
                conversation: span.conversation,
                from: span.to.next(),
                to: span.to,
                entries: Vec::new(),
            };
            let mut reminder = Outgoing::new(ServerFrame::Deliver(reminder));
            let follows = delivery.channel.then(|| (span.conversation, span.to, leavers(&span)));
            let mut frame = Outgoing::new(ServerFrame::Deliver(span));
            for target in &delivery.targets {
                if !deliver(gateway, target, &mut frame, &mut reminder)
                    && planted(Plant::DeliveryEndsAtAGoneDevice)
                {
                    break;
                }
                if let Some((conversation, seq, leavers)) = &follows
                    && !leavers.contains(&UserId(target.user))
                {
                    let user = UserId(target.user);
                    let member = Member { user, from: *seq, as_of: *seq, said: Said::Entry };
                    follow(gateway, target, *conversation, member);
                }
            }
        }
        Some(to_gateway::Message::Close(target)) => {
            let device = DeviceId(target.device);
            if let Some(row) = gateway.table().get_device(ConnectionId(target.connection), device) {
                row.close(CloseReason::Unacked);
            }
        }
        Some(to_gateway::Message::Notice(notice)) => notify(gateway, notice),
        None => {}
    }
}

/// Tells devices what they are told if there is room. Of a connection that is gone nobody is told: what is owed to it does that.
fn notify(gateway: &Gateway, notice: bus::Notice) {
    let frame = notice.frame.and_then(|frame| frame.frame).map(protobuf::server_from_wire);
    // What is no notice is not from a shard of ours.
    let Some(Ok(frame)) = frame else { return };
    let Some(about) = About::of(&frame) else { return };
    let mut frame = Outgoing::new(frame);
    let now = gateway.clock.now();
    let mut table = gateway.table();
    for target in &notice.targets {
        let (id, device) = (ConnectionId(target.connection), DeviceId(target.device));
        let is_its =
            table.get_device(id, device).is_some_and(|row| row.peer.is_some_and(|p| p.user.0 == target.user));
        if !is_its {
            continue;
        }
        if table.notify(id, about, &mut frame, now) {
            gateway.observer.hop(&Hop::Handed { device, frame: frame.frame() });
        } else {
            gateway.observer.passed(&Point::NoticesDropped { device, notices: 1 });
        }
    }
}

/// Who is no member any more after these entries.
fn leavers(span: &LogSpan) -> Vec<UserId> {
    span.entries.iter().flat_map(|entry| entry.takes_away()).copied().collect()
}

/// A member has been told of an entry from which on their conversation is a channel, or with which they have come into one.
fn follow(gateway: &Gateway, target: &Target, conversation: ConversationId, member: Member) {
    let (id, device) = (ConnectionId(target.connection), DeviceId(target.device));
    // Under the lock, so that nobody follows who is gone.
    let mut table = gateway.table();
    let is_here = table.get_device(id, device).is_some();
    let heard = is_here.then(|| {
        let Member { from, as_of, .. } = member;
        gateway.observer.hop(&Hop::Member { device, conversation, from, as_of });
        channels::handle_member(gateway, id, conversation, member)
    });
    drop(table);
    if heard == Some(Heard::Undecided) {
        ask_heads(gateway, id);
    }
}

/// Queues a delivery; false if its connection is gone. A device that is behind is only told how far the log goes, and asks when it gets
/// there.
fn deliver(gateway: &Gateway, target: &Target, frame: &mut Outgoing, reminder: &mut Outgoing) -> bool {
    let device = DeviceId(target.device);
    if let Some(row) = gateway.table().get_device(ConnectionId(target.connection), device) {
        let is_behind = row.outbox_bytes() > limits::OUTBOX_BYTES_FOR_DELIVERIES;
        if is_behind {
            gateway.observer.passed(&Point::RemindedInstead { device });
        }
        let frame = if is_behind { reminder } else { frame };
        gateway.observer.hop(&Hop::Handed { device, frame: frame.frame() });
        row.push(frame);
        return true;
    }
    // The connection is gone and the registry has not heard of it.
    gateway.observer.passed(&Point::StaleEntryMet { device });
    gateway.observer.hop(&Hop::Astray { device, frame: frame.frame() });
    gateway.uplinks.unregister(target.connection, UserId(target.user), device);
    false
}
