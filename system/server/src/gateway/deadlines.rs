//! A gateway's clock: one queue of deadlines for all connections instead of a timer each.

use super::state::Gateway;
use super::table::{ConnectionId, Deadline};
use super::{channels, presence};
use crate::level::Level;
use crate::links::{Queue, tell_fill};
use crate::observer::Point;
use squall_core::Time;
use squall_core::plant::{Plant, planted};
use squall_protocol::close::CloseReason;
use squall_protocol::limits;
use std::sync::Arc;

/// Looks at what is due, for as long as the gateway lives.
pub async fn run(gateway: Arc<Gateway>) {
    let mut ahead_ms = ahead_ms(&gateway);
    loop {
        tokio::time::sleep(limits::HOUSEKEEPING_INTERVAL).await;
        let found_ms = self::ahead_ms(&gateway);
        if !planted(Plant::ClockSetUnnoticed)
            && u128::from(found_ms.abs_diff(ahead_ms)) >= limits::CLOCK_STEP.as_millis()
        {
            ahead_ms = found_ms;
            gateway.table().handle_clock_set(gateway.clock.now(), gateway.clock.wall_ms());
        }
        loop {
            let due = gateway.table().pop_due(gateway.clock.now());
            let Some((id, deadline, at)) = due else { break };
            handle(&gateway, id, deadline, at);
        }
        let uplinks = &gateway.uplinks;
        let observer = gateway.observer.as_ref();
        let requests = uplinks.shards.iter().map(Queue::take_fill);
        tell_fill(observer, Level::Requests, Level::RequestBytes, requests);
        let registrations = uplinks.registries.iter().map(Queue::take_fill);
        tell_fill(observer, Level::Registrations, Level::RegistrationBytes, registrations);
        let notices = uplinks.notices.iter().map(Queue::take_fill);
        tell_fill(observer, Level::Notices, Level::NoticeBytes, notices);
        let (notices, bytes) = gateway.table().notices.fill();
        observer.stands(Level::DeviceNotices, notices, notices);
        observer.stands(Level::DeviceNoticeBytes, bytes, bytes);
        let presences = &gateway.presences;
        if presences.are_kept() {
            // Told first: what is asked for again now leaves at once, and is nothing that stays.
            let fills = presences.hosts.iter().map(|host| host.queue.take_fill());
            tell_fill(observer, Level::ToPresence, Level::ToPresenceBytes, fills);
            tell_fill(observer, Level::Leases, Level::LeaseBytes, presences.leases.iter().map(Queue::take_fill));
            presence::handle_timeout(&gateway);
            let [watches, watched] = presences.watches().levels();
            observer.stands(Level::Watches, watches, watches);
            observer.stands(Level::Watched, watched, watched);
        }
        gateway.tasks.tell_levels(observer);
        channels::follow_again(&gateway);
        let levels = gateway.channels().levels();
        let of_channels = [
            (Level::Followed, levels.channels),
            (Level::Followers, levels.followers),
            (Level::TailsBytes, levels.bytes),
            (Level::Tail, levels.most_entries),
            (Level::TailBytes, levels.most_bytes),
        ];
        of_channels.into_iter().for_each(|(level, items)| observer.stands(level, items, items));
        let greeting = gateway.table().greeting();
        observer.stands(Level::Greeting, greeting, greeting);
    }
}

/// By how much the wall clock is ahead of the time since the start: always the same, unless it is set or runs wrong.
fn ahead_ms(gateway: &Gateway) -> u64 {
    gateway.clock.wall_ms().wrapping_sub(gateway.clock.now().0 / 1_000)
}

/// `at`: when it was due.
fn handle(gateway: &Gateway, id: ConnectionId, deadline: Deadline, at: Time) {
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
        (Deadline::Presence, Some(peer)) => {
            let limit = row.last_heard + gateway.presences.times.ttl;
            if limit > now {
                return table.schedule(limit, id, Deadline::Presence);
            }
            row.silent = true;
            let seen_ago = now.since(row.last_heard);
            drop(table);
            if !planted(Plant::SilentStayOnline) {
                presence::handle_gone(gateway, id, peer, seen_ago);
            }
        }
        (Deadline::Linger, _) => row.end(),
        (Deadline::Expiry, _) if planted(Plant::ConnectionsOutliveTokens) => {}
        (Deadline::Expiry, _) => table.handle_expiry_due(id, at, now, gateway.clock.wall_ms()),
        // It has been met, or what was to be met is gone.
        (Deadline::Hello, Some(_))
        | (Deadline::Silence | Deadline::Presence, None)
        | (Deadline::Registered | Deadline::Heads, Some(_) | None) => {}
    }
}
