//! A gateway's clock: one queue of deadlines for all connections instead of a timer each.

use super::channels;
use super::state::Gateway;
use super::table::{ConnectionId, Deadline};
use crate::level::Level;
use crate::links::{Queue, tell_fill};
use crate::observer::Point;
use squall_core::plant::{Plant, planted};
use squall_protocol::close::CloseReason;
use squall_protocol::limits;
use std::sync::Arc;

/// Looks at what is due, for as long as the gateway lives.
pub async fn run(gateway: Arc<Gateway>) {
    loop {
        tokio::time::sleep(limits::HOUSEKEEPING_INTERVAL).await;
        loop {
            let due = gateway.table().pop_due(gateway.clock.now());
            let Some((id, deadline)) = due else { break };
            handle(&gateway, id, deadline);
        }
        let uplinks = &gateway.uplinks;
        let observer = gateway.observer.as_ref();
        let requests = uplinks.shards.iter().map(Queue::take_fill);
        tell_fill(observer, Level::Requests, Level::RequestBytes, requests);
        let registrations = uplinks.registries.iter().map(Queue::take_fill);
        tell_fill(observer, Level::Registrations, Level::RegistrationBytes, registrations);
        gateway.tasks.tell_levels(observer);
        channels::follow_again(&gateway);
        let [followed, followers, bytes] = gateway.channels().levels();
        observer.stands(Level::Followed, followed, followed);
        observer.stands(Level::Followers, followers, followers);
        observer.stands(Level::TailBytes, bytes, bytes);
        let greeting = gateway.table().greeting();
        observer.stands(Level::Greeting, greeting, greeting);
    }
}

fn handle(gateway: &Gateway, id: ConnectionId, deadline: Deadline) {
    let now = gateway.clock.now();
    let mut table = gateway.table();
    let Some(row) = table.get_mut(id) else { return };
    match (deadline, row.peer) {
        (Deadline::Hello, None) => row.close(CloseReason::HelloTimeout),
        (Deadline::Silence, Some(_)) => {
            let limit = row.last_heard + limits::SILENCE_LIMIT;
            if limit <= now {
                row.close(CloseReason::Silence);
            } else {
                table.schedule(limit, id, Deadline::Silence);
            }
        }
        (Deadline::Registered, Some(peer)) if !row.heads_asked => {
            drop(table);
            gateway.observer.passed(&Point::HeadsWithoutRegistry { device: peer.device });
            gateway.ask_heads(id, peer);
        }
        (Deadline::Heads, Some(peer)) if row.heads_awaited != 0 => {
            if !planted(Plant::HeadsAskedAgainOnce) {
                table.schedule(now + limits::HEADS_RETRY_AFTER, id, Deadline::Heads);
            }
            drop(table);
            gateway.observer.passed(&Point::HeadsAskedAgain { device: peer.device });
            gateway.ask_heads_again(id, peer);
        }
        (Deadline::Linger, _) => row.end(),
        // It has been met, or what was to be met is gone.
        (Deadline::Hello, Some(_))
        | (Deadline::Silence, None)
        | (Deadline::Registered | Deadline::Heads, Some(_) | None) => {}
    }
}
