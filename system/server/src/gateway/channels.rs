//! The channels that a gateway follows: what shards tell of them, and how its devices hear of it.
//!
//! What is decided is `core::gateway::Channels`'s. What is said to devices is paced, so that thousands who are told of one entry do not stand in
//! anybody's way: a turn tells a few hundred, and then others have theirs.
//!
//! **Invariant:** a new link to a shard begins with all that is followed there, and how far it is known; so nothing that either end has lost is
//! lost to a device. Guarded by `sim/checks/src/{no_loss,in_time}.rs`.

use super::outgoing::Outgoing;
use super::state::Gateway;
use super::table::{ConnectionId, Table};
use crate::hop::Hop;
use crate::observer::Point;
use crate::work::Work;
use squall_core::gateway::{Heard, Member, Peer, Said, Sync, Telling};
use squall_core::plant::{Plant, planted};
use squall_protocol::frames::LogSpan;
use squall_protocol::wire::messages::{Follower, Tail};
use squall_protocol::{ClientFrame, ConversationId, Seq, ServerFrame, limits, protobuf};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Tells devices what there is to tell, for as long as the gateway lives.
pub async fn run(gateway: Arc<Gateway>) {
    loop {
        gateway.news.notified().await;
        loop {
            let told = gateway.channels().poll_tell(limits::TOLD_A_TURN);
            for telling in told {
                tell(&gateway, telling);
            }
            if !gateway.channels().has_news() {
                break;
            }
            tokio::time::sleep(limits::TOLD_PAUSE).await;
        }
    }
}

/// Queues what these devices are to be told. One that is behind is only told how far the log goes, and asks when it gets there.
fn tell(gateway: &Gateway, telling: Telling) {
    let Telling { span, connections } = telling;
    gateway.observer.worked(Work::Member, connections.len());
    let reminder =
        LogSpan { conversation: span.conversation, from: span.to.next(), to: span.to, entries: Vec::new() };
    let mut reminder = Outgoing::new(ServerFrame::Deliver(reminder));
    let mut frame = Outgoing::new(ServerFrame::Deliver(span));
    let mut table = gateway.table();
    for id in connections {
        let Some(row) = table.get_mut(ConnectionId(id)) else { continue };
        let Some(device) = row.peer.map(|peer| peer.device) else { continue };
        let is_behind = row.outbox_bytes() > limits::OUTBOX_BYTES_FOR_DELIVERIES;
        if is_behind {
            gateway.observer.passed(&Point::RemindedInstead { device });
        }
        let frame = if is_behind { &mut reminder } else { &mut frame };
        gateway.observer.hop(&Hop::Handed { device, frame: frame.frame() });
        row.push(frame);
    }
}

/// A shard says that a user is a member of channels, with what is `said` to the device: their connection is told of what comes. Returns whether
/// it is to be asked again where its conversations stand.
pub fn handle_members(gateway: &Gateway, id: ConnectionId, peer: Peer, channels: &[Follower], said: Said) -> bool {
    let mut undecided = false;
    for follower in channels {
        let Ok(conversation) = protobuf::conversation_from_wire(follower.conversation) else { continue };
        let (from, as_of) = (Seq(follower.from), Seq(follower.as_of));
        gateway.observer.hop(&Hop::Member { device: peer.device, conversation, from, as_of });
        let member = Member { user: peer.user, from, as_of, said };
        undecided |= handle_member(gateway, id, conversation, member) == Heard::Undecided;
    }
    undecided
}

fn follow(gateway: &Gateway, conversation: ConversationId, have: Option<Seq>) {
    gateway.observer.hop(&Hop::Followed { conversation, have });
    gateway.uplinks.follow(conversation, have);
}

fn unfollow(gateway: &Gateway, conversation: ConversationId) {
    gateway.observer.hop(&Hop::Unfollowed { conversation });
    gateway.uplinks.unfollow(conversation);
}

/// A connection's user is a member of a channel.
pub fn handle_member(gateway: &Gateway, id: ConnectionId, conversation: ConversationId, member: Member) -> Heard {
    let mut channels = gateway.channels();
    let heard = channels.handle_member(id.0, conversation, member, gateway.clock.now());
    gateway.note_follows(&channels);
    if channels.has_news() {
        gateway.news.notify_one();
    }
    drop(channels);
    if heard == Heard::Follow {
        gateway.observer.passed(&Point::ChannelFollowed { conversation });
        follow(gateway, conversation, None);
    }
    heard
}

/// A connection is gone: shards whose channels were followed for it are told, and which of these nobody here follows any more.
pub fn handle_gone(gateway: &Gateway, id: ConnectionId, peer: Peer) {
    let Some(mut channels) = gateway.channels_if_any() else { return };
    let shards: BTreeSet<usize> = channels.of(id.0).map(|followed| gateway.uplinks.shard_of(followed)).collect();
    let unfollowed = channels.handle_gone(id.0);
    gateway.note_follows(&channels);
    drop(channels);
    shards.into_iter().for_each(|shard| gateway.uplinks.gone(shard, id, peer));
    unfollowed.into_iter().for_each(|conversation| unfollow(gateway, conversation));
}

/// A shard tells more of a channel. Returns connections that are to be asked again where their conversations stand.
pub fn handle_tail(gateway: &Gateway, table: &mut Table, tail: Tail) -> Vec<ConnectionId> {
    let Some(Ok(span)) = tail.span.map(protobuf::span_from_wire) else { return Vec::new() };
    gateway.observer.worked(Work::Publication, 1);
    let (conversation, from) = (span.conversation, span.from);
    let mut channels = gateway.channels();
    let taken = channels.handle_tail(span, Seq(tail.channel_since), tail.over);
    gateway.note_follows(&channels);
    if channels.has_news() {
        gateway.news.notify_one();
    }
    let known = channels.known(conversation);
    drop(channels);
    match taken.up_to {
        _ if taken.unfollow => unfollow(gateway, conversation),
        _ if tail.over => gateway.observer.passed(&Point::ChannelOver { conversation }),
        Some(up_to) => {
            gateway.observer.hop(&Hop::TailTaken { conversation, from, to: up_to });
            gateway.uplinks.took(conversation, up_to);
        }
        None => follow(gateway, conversation, known),
    }
    let mut pages = Pages::default();
    for (id, since) in taken.waited {
        let Some(peer) = table.get_mut(ConnectionId(id)).and_then(|row| row.peer) else { continue };
        let sync = ClientFrame::Sync { conversation, since_seq: since };
        match gateway.channels().handle_sync(id, conversation, since) {
            Sync::Page { span, head } => {
                let page = pages.page(span, head);
                push_page(gateway, table, ConnectionId(id), peer, page);
            }
            // Whatever finds no room is asked for again.
            Sync::Ask { .. } | Sync::Waits => drop(gateway.uplinks.forward(ConnectionId(id), peer, &sync)),
        }
    }
    taken.undecided.into_iter().map(ConnectionId).collect()
}

/// The page that was made last: of those who come back together most ask for the same one.
#[derive(Default)]
struct Pages(Option<Outgoing>);

/// Whether two spans of one log hold the same entries: not all members are shown the same.
fn are_the_same(a: &LogSpan, b: &LogSpan) -> bool {
    let places = |span: &LogSpan| span.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    (a.from, a.to) == (b.from, b.to) && (planted(Plant::PageOfTheOneBefore) || places(a) == places(b))
}

impl Pages {
    fn page(&mut self, span: LogSpan, head: Seq) -> &mut Outgoing {
        let is_it = |page: &ServerFrame| matches!(page, ServerFrame::Page { span: last, head: of } if *of == head && are_the_same(last, &span));
        let last = self.0.take().filter(|last| is_it(last.frame()));
        self.0.insert(last.unwrap_or_else(|| Outgoing::new(ServerFrame::Page { span, head })))
    }
}

fn push_page(gateway: &Gateway, table: &mut Table, id: ConnectionId, peer: Peer, page: &mut Outgoing) {
    let (device, user) = (peer.device, peer.user);
    gateway.observer.passed(&Point::PageFromTail { device });
    gateway.observer.hop(&Hop::Handed { device, frame: page.frame() });
    if let ServerFrame::Page { span, .. } = page.frame() {
        let _later = gateway.draw_frame(user, super::shard_link::page_weight(span));
    }
    if let Some(row) = table.get_mut(id) {
        row.push(page);
    }
}

/// Answers a device's sync from what is here of a channel, or has it wait for that. False: the shard is to be asked.
pub fn answers(gateway: &Gateway, id: ConnectionId, peer: Peer, conversation: ConversationId, since: Seq) -> bool {
    let Some(mut channels) = gateway.channels_if_any() else { return false };
    let sync = channels.handle_sync(id.0, conversation, since);
    drop(channels);
    let device = peer.device;
    match sync {
        Sync::Page { span, head } => {
            let mut page = Outgoing::new(ServerFrame::Page { span, head });
            push_page(gateway, &mut gateway.table(), id, peer, &mut page);
            true
        }
        Sync::Waits => {
            gateway.observer.passed(&Point::PageWaited { device });
            true
        }
        Sync::Ask { missed } => {
            if missed {
                gateway.observer.passed(&Point::PageNotInTail { device });
            }
            false
        }
    }
}

/// A new link to a shard begins: it is to know what is followed there.
pub fn follow_all(gateway: &Gateway, shard: usize) {
    let followed = gateway.channels().followed(gateway.clock.now());
    let own = followed.into_iter().filter(|(conversation, _)| gateway.uplinks.shard_of(*conversation) == shard);
    for (conversation, have) in own.filter(|_| !planted(Plant::FollowedOnFirstLinkOnly)) {
        follow(gateway, conversation, have);
    }
}

/// Asks again to follow what has had no answer in time.
pub fn follow_again(gateway: &Gateway) {
    let Some(mut channels) = gateway.channels_if_any() else { return };
    let unanswered = channels.unanswered(gateway.clock.now());
    drop(channels);
    for (conversation, have) in unanswered.into_iter().filter(|_| !planted(Plant::FollowedOnFirstLinkOnly)) {
        follow(gateway, conversation, have);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::{ClientMsgId, ClientSeq, DeviceId, Entry, Payload, UserId};

    fn text(seq: u64) -> Entry {
        Entry {
            seq: Seq(seq),
            sender: UserId(1),
            device: DeviceId(1),
            client_msg_id: ClientMsgId(u128::from(seq)),
            client_seq: ClientSeq(seq),
            stored_at_ms: 0,
            payload: Payload::Text("x".into()),
        }
    }

    #[test]
    fn a_page_is_made_once_for_all_who_are_shown_the_same() {
        let conversation = ConversationId::group(UserId(1), 1);
        let span = |seqs: &[u64]| {
            let entries = seqs.iter().copied().map(text).collect();
            LogSpan { conversation, from: Seq(1), to: Seq(4), entries }
        };
        let mut pages = Pages::default();
        // The second entry is shown to the creator only.
        for shown in [[1, 2, 4].as_slice(), &[1, 4], &[1, 4], &[1, 2, 4]] {
            let page = pages.page(span(shown), Seq(4)).frame().clone();
            assert_eq!(page, ServerFrame::Page { span: span(shown), head: Seq(4) });
        }
    }
}
