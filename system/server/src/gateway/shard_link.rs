//! A gateway's link to one shard: requests go out as they are queued, replies go to the connections that asked.
//!
//! **Invariant:** a reply reaches only the connection *and* device that asked; a late one for a connection that is gone
//! reaches nobody.

use super::channels;
use super::outgoing::Outgoing;
use super::state::Gateway;
use super::table::ConnectionId;
use crate::hop::Hop;
use crate::links::services::messages::messages_client::MessagesClient;
use crate::links::{Dialler, LinkError, dial, keep_open};
use crate::observer::Point;
use crate::tasks::Task;
use futures_util::StreamExt;
use squall_core::gateway::Said;
use squall_core::plant::{Plant, planted};
use squall_protocol::frames::LogSpan;
use squall_protocol::wire::messages::{Requests, reply};
use squall_protocol::{DeviceId, ServerFrame, limits, protobuf, relay};
use std::sync::Arc;

/// Opens a link to each shard.
pub fn start(gateway: &Arc<Gateway>, dialler: &Dialler, shards: &[String]) {
    for (index, address) in shards.iter().cloned().enumerate() {
        let (gateway, dialler) = (Arc::clone(gateway), dialler.clone());
        let (observer, tasks) = (Arc::clone(&gateway.observer), gateway.tasks.clone());
        tasks.spawn(
            Task::Link,
            keep_open(address.clone(), observer, move || {
                run(Arc::clone(&gateway), dialler.clone(), address.clone(), index)
            }),
        );
    }
}

/// Asks again where everything stands that concerns this connection.
pub fn ask_heads(gateway: &Gateway, id: ConnectionId) {
    let peer = gateway.table().get_mut(id).and_then(|row| row.peer);
    if let Some(peer) = peer {
        gateway.ask_heads(id, peer);
    }
}

/// What a page weighs beside the frame that asked for it.
pub fn page_weight(span: &LogSpan) -> u32 {
    let read = span.to.0.saturating_sub(span.from.0).saturating_add(1).min(limits::PAGE_ENTRIES as u64) as usize;
    let bytes: usize = span.entries.iter().map(|entry| entry.payload.size()).sum();
    (read / limits::FRAME_WEIGHT_ENTRIES).max(bytes / limits::FRAME_WEIGHT_BYTES) as u32
}

async fn run(gateway: Arc<Gateway>, dialler: Dialler, address: String, index: usize) -> Result<(), LinkError> {
    let mut client = MessagesClient::new(dial(&dialler, &address).await?)
        .max_decoding_message_size(limits::MAX_INTERNAL_MESSAGE_BYTES);
    let queue = &gateway.uplinks.shards[index];
    queue.drop_older_than(limits::RESEND_AFTER);
    let batches = queue.batches().beside(gateway.uplinks.notices[index].batches());
    let requests = batches.map(|requests| Requests { requests });
    let mut replies = client.session(requests).await?.into_inner();
    gateway.observer.passed(&Point::LinkUp { to: &address });
    channels::follow_all(&gateway, index);
    while let Some(batch) = replies.message().await? {
        let mut table = gateway.table();
        let mut undecided = Vec::new();
        for mut reply in batch.replies {
            let mut more = None;
            if let Some(reply::Reply::Tail(tail)) = reply.reply {
                undecided.extend(channels::handle_tail(&gateway, &mut table, tail));
                continue;
            }
            let (id, device) = (ConnectionId(reply.connection), DeviceId(reply.device));
            let Some(row) = table.get_device(id, device) else { continue };
            let Some(peer) = row.peer else { continue };
            if let Some(reply::Reply::Heads(part)) = &reply.reply {
                let place = |id: &Option<_>| id.and_then(|id| protobuf::conversation_from_wire(Some(id)).ok());
                let (after, next) = (place(&part.after), place(&part.next));
                if !table.handle_heads_part(id, index as u32, part.request_id, after, next) {
                    continue;
                }
                more = next.map(|after| (peer, part.request_id, after));
            }
            let is_ack = matches!(reply.reply, Some(reply::Reply::Sent(_))) && !planted(Plant::AckTakenForHeads);
            let said = if is_ack { Said::Entry } else { Said::Head };
            if !reply.channels.is_empty() && channels::handle_members(&gateway, id, peer, &reply.channels, said) {
                undecided.push(id);
            }
            let Some(row) = table.get_device(id, device) else { continue };
            // A frame that a shard of ours cannot have sent: nothing a device could do with it.
            if let Some(Ok(Some(frame))) = reply.reply.take().map(relay::reply_from_wire) {
                gateway.observer.hop(&Hop::Handed { device, frame: &frame });
                // A page costs its reading, whatever of it this user may see. How long to pause for it, the next frame is told.
                if let ServerFrame::Page { span, .. } = &frame {
                    let _later = gateway.draw_frame(peer.user, page_weight(span));
                }
                row.push(&mut Outgoing::new(frame));
            }
            // A device that reads slowly is told the next part later: `Deadline::Heads` asks for it.
            if let Some((peer, round, after)) = more
                && row.has_room_for_heads()
            {
                gateway.uplinks.ask_heads_after(index, id, peer, round, Some(after));
            }
        }
        drop(table);
        for id in undecided {
            ask_heads(&gateway, id);
        }
    }
    Ok(())
}
