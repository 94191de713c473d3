//! What devices are told of how far others have come, once that is on disk.
//!
//! It goes as a notice (`notices`), for which there is room or not: whoever has missed one is told with the next page or with heads. In a direct conversation or a small group a notice names whose cursors have moved;
//! in a large one it says how many have come to the end of the log; of a channel nobody is told but the user themself, on their devices.
//!
//! **Invariants:** nothing is told that is not durable, so that nothing goes back after a restart; a device is told of a conversation once for each
//! commit of cursors, of which there is one in `CURSOR_FLUSH_INTERVAL`; and only whoever is a member then. Guarded by
//! `sim/checks/src/receipts_hold.rs`.

use super::counts::Crossing;
use super::cursors::{Moved, Pace};
use super::notices::Notice;
use super::shard::Shard;
use super::state::ShardState;
use crate::hop::Hop;
use crate::storage::{Storage, StorageError};
use crate::work::Work;
use squall_core::messages::Conversation;
use squall_core::plant::{Plant, planted};
use squall_protocol::{
    ConversationId, Cursors, Receipt, ReceiptCounts, Receipts, Seq, ServerFrame, UserId, limits,
};
use std::collections::BTreeSet;

/// What these users' devices are to be told.
struct Told {
    /// Who has come further, one of them.
    cause: UserId,
    receipts: Receipts,
    to: Vec<UserId>,
}

/// Where these cursors stand on disk, before a commit moves them; nothing where nobody is told, or it cannot be read.
pub fn stood(shard: &Shard, state: &mut ShardState, storage: &dyn Storage, moved: &[Moved]) -> Vec<Cursors> {
    if !shard.tells_receipts || moved.is_empty() {
        return Vec::new();
    }
    let pairs: Vec<_> = moved.iter().map(|(user, conversation, _)| (*user, *conversation)).collect();
    match storage.cursors_of(&pairs) {
        Ok(stood) => stood,
        Err(error) => {
            shard.handle_read_error(state, &error);
            Vec::new()
        }
    }
}

/// These cursors are on disk, which have `stood` elsewhere before: whoever is to be told of them is looked up.
pub fn plan(shard: &Shard, state: &mut ShardState, moved: &[Moved], stood: &[Cursors]) {
    if !shard.tells_receipts || moved.is_empty() {
        return;
    }
    state.counts.begin();
    let storage = state.storage.clone().filter(|_| stood.len() == moved.len());
    let mut all = Vec::new();
    let mut from = 0;
    for own in moved.chunk_by(|a, b| a.1 == b.1) {
        let stood = stood.get(from..from + own.len()).unwrap_or_default();
        from += own.len();
        // Whoever is not told now is told with pages and heads.
        let Some(storage) = &storage else {
            state.counts.forget(own[0].1);
            continue;
        };
        if let Err(error) = notices_of(state, storage.as_ref(), own, stood, &mut all) {
            shard.handle_read_error(state, &error);
            state.counts.forget_all();
            return;
        }
    }
    let now = shard.clock.now();
    for Told { cause, receipts, to } in all {
        shard.observer.worked(Work::Member, to.len());
        for receipts in frames_of(std::iter::once(receipts)) {
            let frame = ServerFrame::Receipts { receipts };
            shard.observer.hop(&Hop::Noticed { frame: &frame, to: &to });
            for users in to.chunks(limits::MAX_NOTICE_USERS) {
                shard.notices.tell(&shard.dispatcher, Notice { cause, frame: frame.clone() }, users.to_vec(), now);
            }
        }
    }
}

/// The notices of one conversation.
fn notices_of(
    state: &mut ShardState,
    storage: &dyn Storage,
    moved: &[Moved],
    stood: &[Cursors],
    out: &mut Vec<Told>,
) -> Result<(), StorageError> {
    let Some((_, conversation, _)) = moved.first().copied() else { return Ok(()) };
    let named_up_to = state.named_up_to;
    let log = state.cache.get(conversation, storage)?;
    let (pace, end) = (Pace::of(log, named_up_to), log.durable());
    let members = |log: &Conversation| -> Vec<UserId> {
        match planted(Plant::ReceiptAfterLeaving) {
            true => log.membership().stretches().users().collect(),
            false => log.membership().members_after(end).collect(),
        }
    };
    let there = moved.iter().zip(stood).filter(|((user, ..), _)| log.membership().is_member_after(*user, end));
    let there: Vec<(UserId, Crossing)> = there
        .map(|((user, _, cursors), before)| {
            // The bug tells what is about to be written.
            let known = if planted(Plant::ReceiptBeforeCommit) { Cursors::default() } else { *before };
            (*user, Crossing { before: *before, after: known.or_further(*cursors) })
        })
        .collect();
    if pace != Pace::Counted {
        state.counts.forget(conversation);
    }
    let Some((cause, _)) = there.first().copied() else {
        // Nobody who counts.
        return Ok(());
    };
    let receipt = |(user, Crossing { after, .. }): &(UserId, Crossing)| Receipt::of(*user, *after);
    if pace == Pace::Named {
        let receipts = Receipts { conversation, users: there.iter().map(receipt).collect(), counts: None };
        out.push(Told { cause, receipts, to: members(log) });
        return Ok(());
    }
    // Of a large group each is told of themself.
    let reads: BTreeSet<UserId> =
        moved.iter().filter(|(.., cursors)| cursors.read > Seq::ZERO).map(|(user, ..)| *user).collect();
    for own in there.iter().map(receipt).filter(|own| reads.contains(&own.user)) {
        let (cause, to) = (own.user, vec![own.user]);
        out.push(Told { cause, receipts: Receipts { conversation, users: vec![own], counts: None }, to });
    }
    if pace == Pace::Counted {
        let crossings = there.into_iter().map(|(_, crossing)| crossing);
        let counts = state.counts.handle_moved(conversation, end, crossings, || count(log, storage))?;
        if counts.is_some() {
            out.push(Told {
                cause,
                receipts: Receipts { conversation, users: Vec::new(), counts },
                to: members(log),
            });
        }
    }
    Ok(())
}

/// How many members have come to the end of the log, by all rows.
fn count(log: &Conversation, storage: &dyn Storage) -> Result<ReceiptCounts, StorageError> {
    let (up_to, id) = (log.durable(), log.id());
    let rows = storage.cursors_in(id)?;
    let there = rows.iter().filter(|(user, _)| log.membership().is_member_after(*user, up_to));
    let (mut delivered, mut read) = (0, 0);
    for (_, cursors) in there {
        delivered += u64::from(cursors.delivered >= up_to);
        read += u64::from(cursors.read >= up_to);
    }
    Ok(ReceiptCounts { up_to, delivered, read })
}

/// What a device is told when it asks where its conversations stand, or for their entries: all that its user may know of these
/// conversations, in frames of a few hundred members.
pub fn told_to(
    state: &mut ShardState,
    storage: &dyn Storage,
    user: UserId,
    conversations: impl IntoIterator<Item = ConversationId>,
) -> Result<Vec<Vec<Receipts>>, StorageError> {
    let mut all = Vec::new();
    for conversation in conversations {
        all.extend(known_to(state, storage, user, conversation)?);
    }
    Ok(frames_of(all))
}

/// What is to be told, in frames none of which is larger than `MAX_RECEIPTS_FRAME_BYTES`.
fn frames_of(all: impl IntoIterator<Item = Receipts>) -> Vec<Vec<Receipts>> {
    let (mut frames, mut frame, mut room) = (Vec::new(), Vec::new(), limits::RECEIPTS_PER_FRAME);
    for Receipts { conversation, mut users, counts } in all {
        loop {
            // One conversation takes as many bytes as two names.
            if room < 3 {
                frames.push(std::mem::take(&mut frame));
                room = limits::RECEIPTS_PER_FRAME;
            }
            let rest = users.split_off(users.len().min(room - 2));
            room -= 2 + users.len();
            frame.push(Receipts { conversation, users, counts });
            if rest.is_empty() {
                break;
            }
            users = rest;
        }
    }
    frames.extend(Some(frame).filter(|frame| !frame.is_empty()));
    frames
}

fn known_to(
    state: &mut ShardState,
    storage: &dyn Storage,
    user: UserId,
    conversation: ConversationId,
) -> Result<Option<Receipts>, StorageError> {
    let named_up_to = state.named_up_to;
    let log = state.cache.get(conversation, storage)?;
    if !log.membership().is_member_after(user, log.durable()) {
        return Ok(None);
    }
    let pace = Pace::of(log, named_up_to);
    let mut users: Vec<Receipt> = match pace {
        Pace::Named => {
            let mut rows = storage.cursors_in(conversation)?;
            rows.retain(|(of, _)| log.membership().is_member_after(*of, log.durable()));
            rows.into_iter().map(|(of, cursors)| Receipt::of(of, cursors)).collect()
        }
        Pace::Counted | Pace::Channel => {
            let own = storage.cursors_of(&[(user, conversation)])?;
            own.into_iter().map(|cursors| Receipt::of(user, cursors)).collect()
        }
    };
    if users.iter().all(|told| told.user != user) {
        // Nothing is known of them: a device that has shown more says so once more.
        users.push(Receipt::of(user, Cursors::default()));
    }
    let counts = if pace == Pace::Counted { state.counts.of(conversation) } else { None };
    Ok(Some(Receipts { conversation, users, counts }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_protocol::Codec;

    /// As long as can be, in JSON.
    fn receipts(named: u64) -> Receipts {
        let last = Seq(u64::MAX);
        let users = (0..named).map(|n| Receipt { user: UserId((1 << 63) - 1 - n), delivered: last, read: last });
        let counts = ReceiptCounts { up_to: last, delivered: u64::MAX, read: u64::MAX };
        let conversation = ConversationId(u128::MAX);
        Receipts { conversation, users: users.collect(), counts: Some(counts) }
    }

    #[test]
    fn no_frame_is_too_long_and_none_is_left_out() {
        for all in
            [vec![receipts(100)], vec![receipts(0); 300], vec![receipts(1); 90], vec![receipts(250), receipts(7)]]
        {
            let frames = frames_of(all.clone());
            let names = |all: &[Receipts]| all.iter().map(|one| one.users.len()).sum::<usize>();
            assert_eq!(frames.iter().map(|frame| names(frame)).sum::<usize>(), names(&all));
            for receipts in &frames {
                let frame = ServerFrame::Receipts { receipts: receipts.clone() };
                for codec in [Codec::Json, Codec::Protobuf] {
                    assert!(codec.encode_server(&frame).len() <= limits::MAX_RECEIPTS_FRAME_BYTES);
                }
            }
        }
        assert_eq!(frames_of([receipts(u64::from(limits::RECEIPTS_NAMED_UP_TO))]).len(), 1);
        assert_eq!(frames_of([]), Vec::<Vec<Receipts>>::new());
    }
}
