//! What stood where in a conversation's log, as its shard told it and as the audit read it.

use crate::story::Story;
use squall_history::{Entity, Extent, Hop, Kind, What};
use squall_protocol::{ClientMsgId, ConversationId, DeviceId, Seq, UserId, limits};

/// A message at a place, from when it had it.
#[derive(Debug, Clone)]
pub struct Placed {
    pub message: ClientMsgId,
    pub seq: Seq,
    pub author: Option<DeviceId>,
    pub number: Option<u64>,
    pub shard: Option<u16>,
    pub staged: Option<u64>,
    pub committing: Option<u64>,
    pub synced: Option<u64>,
    pub failed: Option<u64>,
    pub committed: Option<u64>,
    /// Recovery has read it back.
    pub found: Vec<u64>,
    pub extent: Option<Extent>,
    /// The audit has read it: its stamp and its extent there.
    pub logged: Option<(u64, Extent)>,
}

/// All that ever had a place, in the order in which it got it.
pub fn placed(story: &Story, conversation: ConversationId) -> Vec<Placed> {
    let mut all: Vec<Placed> = Vec::new();
    let new = |message, seq, shard| Placed {
        message,
        seq,
        author: None,
        number: None,
        shard,
        staged: None,
        committing: None,
        synced: None,
        failed: None,
        committed: None,
        found: Vec::new(),
        extent: None,
        logged: None,
    };
    for event in &story.events {
        if event.kind.conversation() != Some(conversation) {
            continue;
        }
        let (t, shard) = (event.t, if let Entity::Host(host) = event.at { Some(host) } else { None });
        match &event.kind {
            Kind::Append { seq, client_msg_id, .. } => {
                let placed = entry(&mut all, *client_msg_id, *seq, shard, &new);
                placed.committed.get_or_insert(t);
            }
            Kind::Hop(Hop::Staged { device, client_msg_id, client_seq, seq, extent, .. }) => {
                // A place that is given anew begins anew.
                all.push(new(*client_msg_id, *seq, shard));
                let placed = all.last_mut().expect("it was just put there");
                (placed.author, placed.number) = (Some(*device), Some(client_seq.0));
                (placed.staged, placed.extent) = (Some(t), Some(*extent));
            }
            Kind::Hop(Hop::Committing { seq, .. }) => {
                if let Some(placed) = last_at(&mut all, *seq) {
                    placed.committing = Some(t);
                }
            }
            Kind::Hop(Hop::Synced { seq, .. }) => {
                if let Some(placed) = last_at(&mut all, *seq) {
                    placed.synced = Some(t);
                }
            }
            Kind::Hop(Hop::CommitFailed { seq, .. }) => {
                if let Some(placed) = last_at(&mut all, *seq) {
                    placed.failed = Some(t);
                }
            }
            Kind::Hop(Hop::Found { seq, client_msg_id, .. }) => {
                entry(&mut all, *client_msg_id, *seq, shard, &new).found.push(t);
            }
            Kind::Hop(Hop::Logged { device, seq, client_msg_id, stored_at_ms, extent, .. }) => {
                let placed = entry(&mut all, *client_msg_id, *seq, shard, &new);
                placed.author.get_or_insert(*device);
                placed.logged = Some((*stored_at_ms, *extent));
            }
            _ => {}
        }
    }
    all
}

fn last_at(all: &mut [Placed], seq: Seq) -> Option<&mut Placed> {
    all.iter_mut().rev().find(|placed| placed.seq == seq)
}

fn entry<'a>(
    all: &'a mut Vec<Placed>,
    message: ClientMsgId,
    seq: Seq,
    shard: Option<u16>,
    new: &impl Fn(ClientMsgId, Seq, Option<u16>) -> Placed,
) -> &'a mut Placed {
    let known = all.iter().rposition(|placed| (placed.message, placed.seq) == (message, seq));
    let index = known.unwrap_or_else(|| {
        all.push(new(message, seq, shard));
        all.len() - 1
    });
    &mut all[index]
}

/// What a person had of a conversation: from which entry on, from their joining, up to their leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    pub from: Seq,
    pub joined: Seq,
    pub left: Option<Seq>,
}

impl Stay {
    pub fn covers(&self, seq: Seq) -> bool {
        self.from <= seq && self.left.is_none_or(|left| seq <= left)
    }
}

/// The stays of a user, folded from what was sent and where it stands.
pub fn stays(story: &Story, conversation: ConversationId, user: UserId) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    let mut log = placed(story, conversation);
    log.retain(|placed| placed.committed.is_some() || placed.logged.is_some() || !placed.found.is_empty());
    log.sort_by_key(|placed| placed.seq);
    for placed in log {
        let said = story.events.iter().find_map(|event| match &event.kind {
            Kind::Send { conversation: of, client_msg_id, what, members, sender, .. }
                if (*of, *client_msg_id) == (conversation, placed.message) =>
            {
                Some((*what, *sender, members))
            }
            _ => None,
        });
        let Some((what, author, members)) = said else { continue };
        let present = stays.last().is_some_and(|stay| stay.left.is_none());
        match what {
            What::Created | What::CreatedChannel if members.contains(&user) && stays.is_empty() => {
                stays.push(Stay { from: Seq(1), joined: Seq(1), left: None });
            }
            what if !present && what.added(members).any(|who| who == user) => {
                let from = Seq(placed.seq.0.saturating_sub(limits::NEWCOMER_HISTORY).max(1));
                stays.push(Stay { from, joined: placed.seq, left: None });
            }
            what if present && what.taken(author, members).any(|who| who == user) => {
                stays.last_mut().expect("one is open").left = Some(placed.seq);
            }
            _ => {}
        }
    }
    stays
}
