//! What members may do by rank, setting and block: what was stored against that, and what was refused in spite of it.

use super::admission::deed;
use super::refusal::{made, since};
use crate::case::Case;
use crate::log::Placed;
use crate::standing::{Deed, Standing, deeds, rank_word};
use crate::story::at;
use squall_history::{Entity, What};
use squall_protocol::{ClientMsgId, Rank, Seq, UserId};

/// An entry of a member who had no right to it.
pub fn stored(case: &Case<'_>, message: ClientMsgId) -> Option<String> {
    let all = deeds(case, |placed| placed.committed.is_some() || placed.logged.is_some());
    let said = all.iter().find(|deed| deed.message == message)?;
    against(case, said)
}

/// Why an entry ought not to stand in the log, with what its shard had been through.
fn against(case: &Case<'_>, said: &Deed) -> Option<String> {
    let objection = Standing::before(case, said.seq).objection(said)?;
    let stored = case.entry(said.seq).and_then(|placed| placed.committed.or(placed.staged));
    let t = stored.map_or(String::new(), |t| format!(" at {}", at(t)));
    Some(format!(
        "{} stored{t}, as seq {}, {} of user {}, though {}{}",
        case.shard_name(),
        said.seq,
        deed(said.what),
        said.author,
        objection.words,
        forgotten_since(case, objection.since, stored)
    ))
}

/// Whether the shard has been down since it stored what counts, and what the commit of that held.
fn forgotten_since(case: &Case<'_>, seq: Seq, until: Option<u64>) -> String {
    let (Some(shard), Some(until)) = (case.shard, until) else { return String::new() };
    let Some(placed) = case.entry(seq) else { return String::new() };
    let Some(known) = placed.committed.or(placed.staged) else { return String::new() };
    let Some(stop) = case.story.stopped_between(shard, known, until) else { return String::new() };
    let back = stop.restarted.map_or(String::new(), |back| format!(" and was back at {}", at(back)));
    format!(
        "; it had stored seq {seq} at {}{}, {}{back}, and went by what held before",
        at(known),
        alone(case, placed),
        stop.verb()
    )
}

/// That nobody came or went with the commit of an entry.
fn alone(case: &Case<'_>, placed: &Placed) -> &'static str {
    let moves = |other: &&Placed| {
        other.committing == placed.committing && case.what(other.message).is_some_and(What::moves)
    };
    match placed.committing.is_some() && !case.log.iter().any(|other| moves(&other)) {
        true => " with a commit in which nobody came or went",
        false => "",
    }
}

/// Something was refused that its author had the right to, for the shard took the conversation for another one than its log says.
pub fn refused(case: &Case<'_>, message: ClientMsgId, author: UserId, reason: &str) -> Option<String> {
    let (t, by) = made(case, message)?;
    let what = case.what(message)?;
    let known = |placed: &Placed| since(case, placed.seq).is_some_and(|since| since <= t);
    let before = deeds(case, known);
    let mut standing = Standing::of(case);
    before.iter().for_each(|deed| standing.take(deed));
    let began = format!("{} refused at {} {} of user {author} ({reason})", case.story.name(by), at(t), deed(what));
    let contradiction = contradiction(&standing, author, what, reason);
    if let Some((words, seq)) = contradiction {
        let restarted = forgotten_since(case, seq, Some(t));
        return Some(format!("{began}, {words}{restarted}"));
    }
    // What it had let pass before explains how it took the conversation since.
    let wrong = before.iter().rev().find_map(|deed| against(case, deed))?;
    let host = matches!(by, Entity::Host(_));
    host.then(|| format!("{began} after this: {wrong}"))
}

/// Somebody of rank who left and came again, as a plain member.
fn came_again(standing: &Standing) -> String {
    let again = standing.gone.iter().rev().find_map(|(user, gone)| {
        let member = standing.members.get(user).filter(|member| member.joined > gone.left)?;
        (gone.rank > member.rank).then_some((user, gone, member))
    });
    again.map_or(String::new(), |(user, gone, member)| {
        format!(
            "; it took somebody else for that: user {user}, who had been {} before they left at seq {}, came again at seq {} and is {}",
            rank_word(gone.rank),
            gone.left,
            member.joined,
            standing.member_words(member)
        )
    })
}

fn contradiction(standing: &Standing, author: UserId, what: What, reason: &str) -> Option<(String, Seq)> {
    let own = standing.members.get(&author);
    match (reason, what) {
        ("conflict", What::Role { user, rank }) => {
            let member = standing.members.get(&user)?;
            let before = standing.gone.get(&user).map_or(String::new(), |gone| match gone.rank {
                Rank::Member => String::new(),
                rank => format!(", who had been {} before they left at seq {}", rank_word(rank), gone.left),
            });
            Some((
                format!(
                    "as if user {user} were {} already, who is {}{before}",
                    rank_word(rank),
                    standing.member_words(member)
                ),
                member.since,
            ))
        }
        ("conflict", What::Blocked(false)) => {
            let since = standing.blockers.get(&author)?;
            Some((format!("as if they did not block the conversation, which they do since seq {since}"), *since))
        }
        ("conflict", What::Blocked(true)) => {
            let since = standing.unblocked.get(&author).filter(|_| !standing.blockers.contains_key(&author))?;
            Some((
                format!("as if they blocked the conversation still, which they do no more since seq {since}"),
                *since,
            ))
        }
        ("conflict", What::ForGood(false)) => {
            let dragged = standing.dragged.get(&author)?;
            Some((
                format!(
                    "as if they had not left for good, which they did at seq {}: it had let user {} add them at seq {}, who may not",
                    dragged.left, dragged.by, dragged.at
                ),
                dragged.left,
            ))
        }
        ("blocked", What::Text) if standing.blockers.is_empty() => {
            let (user, since) = standing.unblocked.iter().max_by_key(|(_, since)| **since)?;
            Some((format!("though user {user} blocks the conversation no more since seq {since}"), *since))
        }
        ("not_allowed", what) => {
            let own = own?;
            let other = match what {
                What::Left(user) | What::Role { user, .. } if user != author => Some(user),
                _ => None,
            };
            let own_words = format!("though user {author} is {}", standing.member_words(own));
            let theirs = other.and_then(|user| Some((user, standing.members.get(&user)?)));
            let Some((user, theirs)) =
                theirs.filter(|(_, theirs)| own.rank != Rank::Owner || theirs.since > own.since)
            else {
                return Some((format!("{own_words}{}", came_again(standing)), own.since));
            };
            let before = standing.gone.get(&user).map_or(String::new(), |gone| match gone.rank {
                Rank::Member => String::new(),
                rank => format!(" (they had been {} before they left at seq {})", rank_word(rank), gone.left),
            });
            Some((
                format!(
                    "{own_words}, and user {user} is {}{before} and stands not above them",
                    standing.member_words(theirs)
                ),
                theirs.since,
            ))
        }
        _ => None,
    }
}
