//! What a gateway tells of channels, beside a fold of the whole log.

use super::*;
use proptest::prelude::*;
use squall_protocol::limits::PAGE_BYTES;
use squall_protocol::{ClientMsgId, ClientSeq, DeviceId, Entry, Payload};

const C: ConversationId = ConversationId::group(UserId(1), 1);
const NOW: Time = Time(0);

fn entry(seq: u64, payload: Payload) -> Entry {
    Entry {
        seq: Seq(seq),
        sender: UserId(1),
        device: DeviceId(1),
        client_msg_id: ClientMsgId(u128::from(seq)),
        client_seq: ClientSeq(seq),
        stored_at_ms: 0,
        payload,
    }
}

fn text(seq: u64) -> Entry {
    entry(seq, Payload::Text("x".into()))
}

fn span(entries: Vec<Entry>) -> LogSpan {
    let (from, to) = (entries[0].seq, entries[entries.len() - 1].seq);
    LogSpan { conversation: C, from, to, entries }
}

fn member(user: u64, from: u64, as_of: u64) -> Member {
    Member { user: UserId(user), from: Seq(from), as_of: Seq(as_of), said: Said::Head }
}

/// The same, by the answer to a message that is this entry.
fn author(user: u64, from: u64, as_of: u64) -> Member {
    Member { said: Said::Entry, ..member(user, from, as_of) }
}

/// A channel of which a gateway has 11 to 20, and a follower with connection 7 who knows all of it.
fn followed() -> Channels {
    let mut channels = Channels::default();
    assert_eq!(channels.handle_member(7, C, member(7, 1, 20), NOW), Heard::Follow);
    let taken = channels.handle_tail(span((11..=20).map(text).collect()), Seq::ZERO, false);
    assert_eq!(taken, Taken { up_to: Some(Seq(20)), ..Taken::default() });
    assert_eq!(told(&mut channels), []);
    channels
}

fn told(channels: &mut Channels) -> Vec<(u64, u64, u64)> {
    let mut told = Vec::new();
    while channels.has_news() {
        for Telling { span, connections } in channels.poll_tell(2) {
            told.extend(connections.into_iter().map(|id| (id, span.from.0, span.to.0)));
        }
    }
    told
}

#[test]
fn every_follower_is_told_what_it_lacks() {
    let mut channels = followed();
    for id in [8, 9, 10] {
        assert_eq!(channels.handle_member(id, C, member(id, 1, 18), NOW), Heard::Known);
    }
    assert_eq!(told(&mut channels), [(8, 19, 20), (9, 19, 20), (10, 19, 20)]);
    channels.handle_tail(span(vec![text(21), text(22)]), Seq::ZERO, false);
    assert_eq!(told(&mut channels), [7, 8, 9, 10].map(|id| (id, 21, 22)));
    // A tail that comes once more brings nothing; one with a gap before it is not taken.
    assert_eq!(channels.handle_tail(span(vec![text(22)]), Seq::ZERO, false).up_to, Some(Seq(22)));
    assert_eq!(channels.handle_tail(span(vec![text(25)]), Seq::ZERO, false).up_to, None);
    assert_eq!(told(&mut channels), []);
}

#[test]
fn an_author_whose_message_is_stored_is_told_what_stands_before_it() {
    let mut channels = followed();
    // Others have written 21 and 22, and the next tail is on its way.
    assert_eq!(channels.handle_member(7, C, author(7, 1, 23), NOW), Heard::Known);
    channels.handle_tail(span((21..=24).map(text).collect()), Seq::ZERO, false);
    assert_eq!(told(&mut channels), [(7, 21, 24)]);
    // What follows on what the device knows is not told again.
    channels.handle_member(7, C, author(7, 1, 25), NOW);
    channels.handle_tail(span(vec![text(25), text(26)]), Seq::ZERO, false);
    assert_eq!(told(&mut channels), [(7, 26, 26)]);
    // Whoever left and came back before the message is a member at it, whatever was told of the time between.
    channels.handle_member(7, C, author(7, 27, 30), NOW);
    let left = entry(27, Payload::left(UserId(7)));
    channels.handle_tail(
        span(vec![left, entry(28, Payload::joined(UserId(7))), text(29), text(30)]),
        Seq::ZERO,
        false,
    );
    assert_eq!(told(&mut channels), [(7, 27, 30)]);
}

#[test]
fn who_has_left_is_told_no_more_and_asks_the_shard() {
    let mut channels = followed();
    channels.handle_member(8, C, member(8, 1, 20), NOW);
    channels.handle_tail(span(vec![text(21), entry(22, Payload::left(UserId(8))), text(23)]), Seq::ZERO, false);
    assert_eq!(told(&mut channels), [(7, 21, 23)]);
    assert_eq!(channels.handle_sync(8, C, Seq(12)), Sync::Ask { missed: false });
    // What a shard says of a time before that changes nothing, and of a time after it does.
    assert_eq!(channels.handle_member(8, C, member(8, 1, 21), NOW), Heard::Known);
    assert_eq!(channels.handle_sync(8, C, Seq(12)), Sync::Ask { missed: false });
    channels.handle_member(8, C, member(8, 5, 24), NOW);
    channels.handle_tail(span(vec![text(24), text(25)]), Seq::ZERO, false);
    assert_eq!(told(&mut channels), [(7, 24, 25), (8, 25, 25)]);
}

#[test]
fn of_whom_too_little_is_known_the_shard_is_asked() {
    let mut channels = followed();
    assert_eq!(channels.handle_member(8, C, member(8, 1, 9), NOW), Heard::Undecided);
    assert_eq!(channels.handle_member(8, C, member(8, 1, 10), NOW), Heard::Known);
    let mut channels = Channels::default();
    channels.handle_member(7, C, member(7, 1, 20), NOW);
    channels.handle_member(8, C, member(8, 1, 9), NOW);
    let taken = channels.handle_tail(span((11..=20).map(text).collect()), Seq::ZERO, false);
    assert_eq!((taken.undecided, taken.up_to), (vec![8], Some(Seq(20))));
}

#[test]
fn a_page_begins_no_earlier_than_a_member_may_see_and_not_beyond_what_is_kept() {
    let mut channels = followed();
    channels.handle_member(8, C, member(8, 15, 20), NOW);
    let page = |channels: &mut Channels, id, since| match channels.handle_sync(id, C, Seq(since)) {
        Sync::Page { span, head } => Some((span.from.0, span.to.0, span.entries.len(), head.0)),
        Sync::Waits | Sync::Ask { .. } => None,
    };
    assert_eq!(page(&mut channels, 7, 10), Some((11, 20, 10, 20)));
    assert_eq!(channels.handle_sync(7, C, Seq(9)), Sync::Ask { missed: true });
    assert_eq!(page(&mut channels, 8, 14), Some((15, 20, 6, 20)));
    assert_eq!(channels.handle_sync(8, C, Seq(13)), Sync::Ask { missed: false });
    // Whoever has all that is here may have been told of more by the shard.
    assert_eq!(channels.handle_sync(7, C, Seq(20)), Sync::Ask { missed: false });
    assert_eq!(channels.handle_sync(9, C, Seq(12)), Sync::Ask { missed: false });
}

#[test]
fn who_asks_before_the_tail_is_here_waits_for_it() {
    let mut channels = Channels::default();
    channels.handle_member(7, C, member(7, 1, 20), NOW);
    assert_eq!(channels.handle_sync(7, C, Seq(12)), Sync::Waits);
    assert_eq!(channels.unanswered(NOW + FOLLOW_RETRY_AFTER), [(C, None)]);
    let taken = channels.handle_tail(span((11..=20).map(text).collect()), Seq::ZERO, false);
    assert_eq!(taken.waited, [(7, Seq(12))]);
    assert_eq!(channels.unanswered(NOW + 2 * FOLLOW_RETRY_AFTER), []);
    assert_eq!(channels.followed(NOW), [(C, Some(Seq(20)))]);
}

#[test]
fn a_channel_is_followed_until_the_last_has_gone_or_it_is_none_any_more() {
    let mut channels = followed();
    channels.handle_member(8, C, member(8, 1, 20), NOW);
    assert_eq!((channels.handle_gone(7), channels.handle_gone(8)), (vec![], vec![C]));
    assert_eq!((channels.is_empty(), channels.levels()), (true, Levels::default()));
    assert!(channels.handle_tail(span(vec![text(21)]), Seq::ZERO, false).unfollow);
    let mut channels = followed();
    let nothing = LogSpan { conversation: C, from: Seq(24), to: Seq(23), entries: Vec::new() };
    assert_eq!(channels.handle_tail(nothing, Seq::ZERO, true), Taken::default());
    assert_eq!((channels.is_empty(), channels.levels()), (true, Levels::default()));
    // The last follower leaves the channel.
    let mut channels = followed();
    assert!(channels.handle_tail(span(vec![entry(21, Payload::left(UserId(7)))]), Seq::ZERO, false).unfollow);
    assert!(channels.is_empty());
}

#[test]
fn what_is_kept_is_bounded_and_whoever_is_far_behind_is_told_how_far_the_log_goes() {
    let mut channels = followed();
    let large = |seq| entry(seq, Payload::Text("x".repeat(PAGE_BYTES / 4)));
    for seq in 21..=100 {
        channels.handle_tail(span(vec![large(seq)]), Seq::ZERO, false);
        assert!(channels.levels().most_bytes <= MAX_TAIL_BYTES);
    }
    assert_eq!(told(&mut channels), [(7, 101, 100)]);
    for seq in 101..=3_000 {
        channels.handle_tail(span(vec![text(seq)]), Seq::ZERO, false);
    }
    assert!(channels.open[&C].tail.len() <= MAX_TAIL_ENTRIES);
}

#[test]
fn who_comes_and_goes_is_told_to_whom_it_is_about_and_to_the_creator() {
    let mut channels = followed();
    for id in [1, 8, 9] {
        channels.handle_member(id, C, member(id, 1, 20), NOW);
    }
    let joined = entry(21, Payload::Joined(vec![UserId(9), UserId(5)].into()));
    channels.handle_tail(span(vec![joined, text(22)]), SINCE, false);
    let told: Vec<_> = channels.poll_tell(9).into_iter().map(|t| (t.connections, t.span.entries.len())).collect();
    assert_eq!(told, [(vec![1, 9], 2), (vec![7, 8], 1)]);
    // Whom nothing is told for a while is told from where they stand, though what lies between is not kept any more.
    let large = |seq| {
        let users: Vec<UserId> = (seq * 5_000..seq * 5_000 + 4_000).map(UserId).collect();
        entry(seq, Payload::Joined(users.into()))
    };
    for seq in 23..=40 {
        channels.handle_tail(span(vec![large(seq)]), SINCE, false);
        let told = channels.poll_tell(9).into_iter().flat_map(|told| told.connections);
        assert_eq!(told.collect::<Vec<_>>(), [1]);
    }
    channels.handle_tail(span(vec![text(41)]), SINCE, false);
    let told: Vec<_> = channels.poll_tell(9).into_iter().map(|t| (t.connections, t.span.from.0)).collect();
    assert_eq!(told, [(vec![1], 41), (vec![7, 8, 9], 23)]);
}

/// From when on the log of the property is a channel's.
const SINCE: Seq = Seq(12);

/// What a member is shown of a stretch of the log: of a channel, not of others' coming and going, but to the creator.
fn shown(log: &[Entry], user: u64, from: Seq, to: Seq) -> Vec<Entry> {
    let all = &log[from.0 as usize - 1..to.0 as usize];
    let is_shown = |entry: &&Entry| {
        let hides = entry.seq > SINCE && entry.payload.changes_membership();
        !hides || user == 1 || entry.moves().contains(&UserId(user))
    };
    all.iter().filter(is_shown).cloned().collect()
}

proptest! {
    /// Members come and go, and what shards say of them arrives late or not at all: nobody is told what is not theirs, and whoever is
    /// known to be a member is told all of it.
    #[test]
    fn who_is_told_what_is_what_a_fold_of_the_whole_log_says(
        steps in proptest::collection::vec((0u8..6, 0u64..4, 0u64..30), 1..120),
    ) {
        let mut channels = Channels::default();
        // By user: first visible entry of each stay, its join and its end.
        let mut stays: Vec<Vec<(u64, u64, u64)>> = vec![vec![(1, 1, u64::MAX)]; 4];
        let mut log: Vec<Entry> = (1..=30).map(text).collect();
        let may_see = |stays: &[Vec<(u64, u64, u64)>], user: u64, seq: u64| {
            stays[user as usize].iter().any(|(from, _, to)| (*from..=*to).contains(&seq))
        };
        for (what, user, lag) in steps {
            let next = log.len() as u64 + 1;
            let current = stays[user as usize].last().copied().filter(|(_, _, to)| *to == u64::MAX);
            match what {
                0 if current.is_some() => {
                    stays[user as usize].last_mut().unwrap().2 = next;
                    log.push(entry(next, Payload::left(UserId(user))));
                }
                1 if current.is_none() => {
                    stays[user as usize].push((next.saturating_sub(20).max(1), next, u64::MAX));
                    log.push(entry(next, Payload::joined(UserId(user))));
                }
                2 => {
                    // The shard's word of a while ago.
                    let as_of = log.len() as u64 - lag.min(log.len() as u64 - 1);
                    let stay = stays[user as usize].iter().rfind(|(_, joined, to)| *joined <= as_of && as_of < *to);
                    if let Some((from, _, _)) = stay {
                        let said = if lag % 2 == 0 { member } else { author };
                        channels.handle_member(user, C, said(user, *from, as_of), NOW);
                    }
                }
                3 => {
                    for unfollowed in channels.handle_gone(user) {
                        prop_assert_eq!(unfollowed, C);
                    }
                }
                _ => log.push(text(next)),
            }
            if lag % 3 == 0 && !channels.is_empty() {
                let have = channels.known(C).map_or(log.len().saturating_sub(25), |known| known.0 as usize);
                if have < log.len() {
                    channels.handle_tail(span(log[have..].to_vec()), SINCE, false);
                }
            }
            while channels.has_news() {
                for Telling { span, connections } in channels.poll_tell(3) {
                    for id in connections {
                        let theirs = (span.from.0..=span.to.0).all(|seq| may_see(&stays, id, seq));
                        prop_assert!(theirs && may_see(&stays, id, span.to.0), "{id} is told of {}", span.to.0);
                        if !span.entries.is_empty() {
                            prop_assert_eq!(&span.entries, &shown(&log, id, span.from, span.to));
                        }
                    }
                }
            }
            for since in [0, log.len() as u64 / 2, (log.len() as u64).saturating_sub(10)] {
                if let Sync::Page { span, head } = channels.handle_sync(user, C, Seq(since)) {
                    prop_assert!((span.from.0..=span.to.0).all(|seq| may_see(&stays, user, seq)));
                    prop_assert_eq!(&span.entries, &shown(&log, user, span.from, span.to));
                    prop_assert!(may_see(&stays, user, head.0));
                }
            }
        }
    }
}
