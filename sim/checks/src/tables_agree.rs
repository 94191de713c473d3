//! **Invariant:** what a disk holds of a conversation is told the same by all of its tables: the log, its index, what is kept of the
//! conversation, its members, its senders and its cursors. What only one of them says is lost at the next restart, or shown to the wrong
//! person after it.

use crate::facts::{Fact, Facts};
use crate::property::{Property, nothing_more};
use crate::report::{Tally, Violation};
use crate::rules::{Deed, Rules, Standing};
use crate::tables::{MemberRow, Tables};
use squall_history::What;
use squall_protocol::{ConversationId, Cursors, DeviceId, Holders, Name, Rank, Right, Seq, UserId, Who};
use std::collections::BTreeMap;

pub(crate) const NAME: &str = "tables-agree";

pub(crate) const PROPERTY: Property = Property {
    name: NAME,
    guarantee: "All tables of a shard's disk tell the same of a conversation, and every row is as it was written.",
    evaluation: "conversations on the disks, and in the memories of shards that run",
    exposure: "conversations whose shard restarted, or whose members changed",
    judge: |_: &Fact, _: &Facts, _: &mut Tally| {},
    conclude: nothing_more,
};

/// Positions in a chunk of the index, and places in a chunk of what a device has sent: the format's own numbers.
const INDEX_CHUNK: usize = 64;
const SENT_CHUNK: usize = 32;

/// Judges what a disk holds of a conversation.
pub(crate) fn judge(tables: &Tables, restarted: bool, t: u64, tally: &mut Tally) {
    tally.evaluated += 1;
    let changed = tables.entries.iter().any(|entry| entry.what.is_change());
    tally.exposed += u64::from(restarted || changed);
    for Disagreement { seq, device, sentence } in disagreements(tables) {
        let conversation = tables.conversation;
        let told = format!("Conversation {conversation} on disk: {sentence}.");
        tally.violate(|| violation(t, Some(conversation), seq, device, told));
    }
}

/// What a shard has in memory when all is settled is not what its disk says: its next restart changes what people see.
pub(crate) fn memory_differs(t: u64, host: &str, conversation: ConversationId, what: &str, tally: &mut Tally) {
    let told =
        format!("Conversation {conversation}: the memory of {host} and its disk say different things of {what}.");
    tally.violate(|| violation(t, Some(conversation), None, None, told));
}

/// So many conversations in memory were compared with the disk.
pub(crate) fn compared(count: u64, tally: &mut Tally) {
    tally.evaluated += count;
}

/// A row that is not as it was written, or belongs to nothing.
pub(crate) fn damaged(t: u64, what: String, tally: &mut Tally) {
    tally.violate(|| violation(t, None, None, None, what));
}

fn violation(
    t: u64,
    conversation: Option<ConversationId>,
    seq: Option<Seq>,
    device: Option<DeviceId>,
    message: String,
) -> Violation {
    Violation { t, check: NAME, conversation, seq, client_msg_id: None, device, user: None, level: None, message }
}

/// What one table says and another does not.
struct Disagreement {
    /// The first entry of which they say different things.
    seq: Option<Seq>,
    /// Whose row it is about.
    device: Option<DeviceId>,
    sentence: String,
}

impl Disagreement {
    fn at(seq: impl Into<Option<Seq>>, sentence: impl Into<String>) -> Self {
        Disagreement { seq: seq.into(), device: None, sentence: sentence.into() }
    }

    fn of(device: DeviceId, seq: impl Into<Option<Seq>>, sentence: String) -> Self {
        Disagreement { device: Some(device), ..Disagreement::at(seq, sentence) }
    }
}

/// Everything that one table says and another does not.
fn disagreements(tables: &Tables) -> Vec<Disagreement> {
    let mut found = Vec::new();
    log(tables, &mut found);
    positions(tables, &mut found);
    members(tables, &mut found);
    senders(tables, &mut found);
    cursors(tables, &mut found);
    found
}

type Found = Vec<Disagreement>;

/// Nobody has read what was not delivered to them, and nothing was delivered that is not there, or to somebody who was never a member.
fn cursors(tables: &Tables, found: &mut Found) {
    let head = tables.entries.last().map_or(Seq::ZERO, |entry| entry.seq);
    for (user, Cursors { delivered, read }) in tables.cursors.iter().copied() {
        if delivered > head {
            let sentence =
                format!("the cursor of user {user} stands at seq {delivered}, and the log ends at {head}");
            found.push(Disagreement::at(delivered, sentence));
        }
        if read > delivered {
            let sentence =
                format!("user {user} has read up to seq {read}, and only seq {delivered} was delivered");
            found.push(Disagreement::at(read, sentence));
        }
        if !tables.members.iter().any(|row| row.user == user) {
            found.push(Disagreement::at(delivered, format!("user {user} has a cursor and was never a member")));
        }
    }
}

/// The log in itself, and the row of the conversation.
fn log(tables: &Tables, found: &mut Found) {
    for entry in tables.entries.iter().filter(|entry| !entry.chain_holds) {
        let sentence = format!("the chain breaks at seq {}: an entry before it was lost or exchanged", entry.seq);
        found.push(Disagreement::at(entry.seq, sentence));
    }
    let last = tables.entries.last();
    match (&tables.head, last) {
        (None, None) => {}
        (None, Some(last)) => found.push(Disagreement::at(last.seq, "it has entries and no row of its own")),
        (Some(row), None) => {
            let sentence = format!("its row says that the log ends at {}, and there is none", row.head);
            found.push(Disagreement::at(row.head, sentence));
        }
        (Some(row), Some(last)) => {
            if row.head != last.seq {
                let sentence =
                    format!("its row says that the log ends at {}, and it ends at {}", row.head, last.seq);
                found.push(Disagreement::at(row.head, sentence));
            } else if row.chain != last.chain {
                found.push(Disagreement::at(row.head, "its row and the last entry have different chain values"));
            }
        }
    }
}

/// The index: where each entry lies.
fn positions(tables: &Tables, found: &mut Found) {
    let lie: Vec<u64> = tables.entries.iter().map(|entry| entry.position).collect();
    let tail = tables.head.as_ref().map_or(&[][..], |row| &row.tail);
    let chunks = tables.index.iter().map(|(chunk, positions)| (*chunk, positions.as_slice()));
    if let Some(wrong) = chunked(chunks, tail, &lie, INDEX_CHUNK, INDEX_CHUNK - 1) {
        // A chunk is written with its last entry.
        let filled = (wrong / INDEX_CHUNK + 1) * INDEX_CHUNK - 1;
        let written = tables.entries.get(filled).or(tables.entries.last()).map(|entry| entry.seq);
        let sentence = format!(
            "the index does not say where the entries from seq {} on lie: of {} entries it has {} full chunks ({}) and {} more",
            tables.entries.get(wrong).map_or(wrong as u64 + 1, |entry| entry.seq.0),
            lie.len(),
            tables.index.len(),
            numbers(tables.index.iter().map(|(chunk, _)| *chunk)),
            tail.len(),
        );
        found.push(Disagreement::at(written, sentence));
    }
}

/// The first numbers of some chunks.
fn numbers(chunks: impl Iterator<Item = u64>) -> String {
    let numbers: Vec<String> = chunks.take(5).map(|number| number.to_string()).collect();
    if numbers.is_empty() { "none".to_owned() } else { format!("number {}", numbers.join(", ")) }
}

/// The place of the first number that full chunks and tail do not give as `all` has it. A tail holds at most `longest` numbers.
fn chunked<'a>(
    chunks: impl Iterator<Item = (u64, &'a [u64])>,
    tail: &[u64],
    all: &[u64],
    chunk_len: usize,
    longest: usize,
) -> Option<usize> {
    let mut told = Vec::with_capacity(all.len());
    for (expected, (number, chunk)) in chunks.enumerate() {
        if number != expected as u64 || chunk.len() != chunk_len {
            return Some(told.len());
        }
        told.extend_from_slice(chunk);
    }
    told.extend_from_slice(tail);
    let differs = told.iter().zip(all).position(|(told, is)| told != is);
    differs
        .or_else(|| (told.len() != all.len()).then(|| told.len().min(all.len())))
        .or((tail.len() > longest).then_some(0))
}

/// Member rows are what the log folds to.
fn members(tables: &Tables, found: &mut Found) {
    let (mut rules, mut folded, mut name_hash) = (Rules::default(), Vec::new(), 0);
    for entry in &tables.entries {
        let (seq, author) = (u32::try_from(entry.seq.0).unwrap_or(u32::MAX), entry.sender);
        let deed = Deed { conversation: tables.conversation, author, what: entry.what, named: &entry.members };
        rules.fold(seq, &deed, |ended| folded.push(row(ended.user, &ended.standing, ended.to, ended.for_good)));
        if entry.what == What::Named {
            name_hash = entry.body_hash;
        }
    }
    folded.extend(rules.people().iter().map(|(user, standing)| row(*user, standing, 0, false)));
    let mut stored = tables.members.clone();
    folded.sort_unstable();
    stored.sort_unstable();
    let first = folded.iter().find(|row| stored.binary_search(row).is_err());
    let more = stored.iter().find(|row| folded.binary_search(row).is_err());
    if let Some(row) = first.or(more) {
        let (user, joined) = (row.user, row.joined);
        let same = |rows: &[MemberRow]| rows.iter().find(|row| (row.user, row.joined) == (user, joined)).copied();
        let sentence = format!(
            "the log and the member rows of user {user}, who joined at seq {joined}, say different things: by the log {}, by the row {}",
            may_see(same(&folded)),
            may_see(same(&stored))
        );
        found.push(Disagreement::at(joined, sentence));
    } else if let Some(head) = &tables.head {
        let present = stored.iter().filter(|row| row.until == Seq::ZERO).count();
        if (head.present as usize, head.stretches as usize) != (present, stored.len()) {
            let sentence = format!(
                "its row counts {} members in {} rows, and there are {present} in {}",
                head.present,
                head.stretches,
                stored.len()
            );
            found.push(Disagreement::at(head.head, sentence));
        }
        let kept = (head.settings, head.blocked, head.name_hash);
        if kept != (settings(&rules), blocked(tables.conversation, &rules), name_hash) {
            let sentence = format!(
                "its row has settings {:#b}, blocks {} and the name {:016x}, and by the log these are {:#b}, {} and {name_hash:016x}",
                head.settings,
                head.blocked,
                head.name_hash,
                settings(&rules),
                blocked(tables.conversation, &rules)
            );
            found.push(Disagreement::at(head.head, sentence));
        }
    }
}

fn row(user: UserId, standing: &Standing, until: u32, for_good: bool) -> MemberRow {
    let seq = |place: u32| Seq(place.into());
    let Standing { from, joined, rank } = *standing;
    MemberRow { user, joined: seq(joined), visible_from: seq(from), until: seq(until), rank, for_good }
}

/// Settings as the format has them.
fn settings(rules: &Rules) -> u32 {
    let order = [Right::Add, Right::Remove, Right::Rename, Right::Promote, Right::Post];
    let number = |right| match rules.rights().get(&right) {
        None => 0,
        Some(Holders::Owner) => 1,
        Some(Holders::Admins) => 2,
        Some(Holders::Members) => 3,
    };
    order.into_iter().rev().fold(0, |bits, right| bits << 2 | number(right))
}

/// Blocks as the format has them.
fn blocked(conversation: ConversationId, rules: &Rules) -> u32 {
    let bit = |user: &UserId| match conversation.name() {
        Some(Name::Direct { low, .. }) => {
            if *user == low {
                1
            } else {
                2
            }
        }
        Some(Name::Group { .. }) | None => 4,
    };
    rules.blockers().iter().map(bit).sum()
}

/// In words, what a member row lets somebody see.
fn may_see(row: Option<MemberRow>) -> String {
    match row {
        None => "they did not".to_owned(),
        Some(MemberRow { visible_from, until, rank, for_good, .. }) => {
            let to = if until == Seq::ZERO { "and on".to_owned() } else { format!("to {until}") };
            let rank = if rank == Rank::Member { String::new() } else { format!(" as {rank:?}") };
            let left = if for_good { ", and left for good" } else { "" };
            format!("they may see seq {visible_from} {to}{rank}{left}")
        }
    }
}

/// Rows of devices are what they have sent.
fn senders(tables: &Tables, found: &mut Found) {
    let mut sent: BTreeMap<Who, Vec<u64>> = BTreeMap::new();
    for entry in &tables.entries {
        let places = sent.entry((entry.sender, entry.device)).or_default();
        places.push(entry.seq.0);
        if entry.client_seq.0 != places.len() as u64 {
            let (device, number) = (entry.device, entry.client_seq.0);
            let due = places.len();
            let sentence = format!(
                "the message of device {device} at seq {} has number {number}, and {due} was due",
                entry.seq
            );
            found.push(Disagreement::of(device, entry.seq, sentence));
        }
    }
    for (who, places) in &sent {
        let (user, device) = who;
        let place = |index: usize| places.get(index.min(places.len() - 1)).map(|place| Seq(*place));
        let Some(row) = tables.senders.iter().find(|row| row.who == *who) else {
            let sentence =
                format!("device {device} of user {user} has sent {} messages and has no row", places.len());
            found.push(Disagreement::of(*device, place(0), sentence));
            continue;
        };
        let chunks = tables
            .sent
            .iter()
            .filter(|(of, ..)| of == who)
            .map(|(_, number, places)| (*number, places.as_slice()));
        let longest = 2 * SENT_CHUNK - 1;
        let wrong = chunked(chunks, &row.places, places, SENT_CHUNK, longest);
        let next = row.next_client_seq.0;
        if next != places.len() as u64 + 1 {
            let sentence = format!(
                "device {device} has sent {} messages, and its row expects number {next} next",
                places.len()
            );
            // The first message that the row does not count; where it counts too many, the last one.
            let first = usize::try_from(next).unwrap_or(usize::MAX).saturating_sub(1);
            found.push(Disagreement::of(*device, place(first), sentence));
        } else if wrong.is_some() || row.places.len() < places.len().min(SENT_CHUNK) {
            // A row that was begun anew knows its last messages only; another one parts from the log somewhere.
            let is_anew = places.ends_with(&row.places) && !tables.sent.iter().any(|(of, ..)| of == who);
            let anew = row.places.first().filter(|_| is_anew).copied().map(Seq);
            let knows = match anew {
                Some(first) => format!("knows its last {} only, from seq {first} on", row.places.len()),
                None => "does not say where its messages stand".to_owned(),
            };
            let sentence =
                format!("the row of device {device}, which has sent {} messages, {knows}", places.len());
            found.push(Disagreement::of(*device, anew.or(place(wrong.unwrap_or(0))), sentence));
        }
    }
    // A device may have a row and no message: it was refused one.
    for row in tables.senders.iter().filter(|row| !sent.contains_key(&row.who) && row.next_client_seq.0 > 1) {
        let (device, next) = (row.who.1, row.next_client_seq.0);
        let sentence = format!("device {device} has sent nothing, and its row expects number {next} next");
        found.push(Disagreement::of(device, None, sentence));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{EntryRow, HeadRow, SenderRow};
    use squall_protocol::ClientSeq;

    const A: UserId = UserId(1);
    const B: UserId = UserId(2);
    const D: DeviceId = DeviceId(11);

    fn entry(seq: u64, what: What) -> EntryRow {
        let members = if what.is_creation() { [A, B].into() } else { Box::default() };
        EntryRow {
            position: 2 * seq,
            seq: Seq(seq),
            sender: A,
            device: D,
            client_seq: ClientSeq(seq),
            what,
            body_hash: 500 + seq,
            members,
            chain: 100 + seq,
            chain_holds: true,
        }
    }

    /// A channel of so many entries, one device, B leaving at 3, coming back at 30 and made an admin at 31; it has a name from 32 on, and
    /// everybody may write from 33 on.
    fn sound(entries: u64) -> Tables {
        let what = |seq| match seq {
            1 => What::CreatedChannel,
            3 => What::Left(B),
            30 => What::Joined(B),
            31 => What::Role { user: B, rank: Rank::Admin },
            32 => What::Named,
            33 => What::Setting { right: Right::Post, who: Holders::Members },
            _ => What::Text,
        };
        let entries: Vec<EntryRow> = (1..=entries).map(|seq| entry(seq, what(seq))).collect();
        let count = entries.len();
        let places: Vec<u64> = entries.iter().map(|entry| entry.seq.0).collect();
        let lie: Vec<u64> = entries.iter().map(|entry| entry.position).collect();
        let full = count / INDEX_CHUNK * INDEX_CHUNK;
        let kept = if count < 2 * SENT_CHUNK { 0 } else { (count - SENT_CHUNK) / SENT_CHUNK * SENT_CHUNK };
        let row = |user, joined, from, until| MemberRow {
            user,
            joined: Seq(joined),
            visible_from: Seq(from),
            until: Seq(until),
            rank: Rank::Member,
            for_good: false,
        };
        let mut members =
            vec![MemberRow { rank: Rank::Owner, ..row(A, 1, 1, 0) }, row(B, 1, 1, if count >= 3 { 3 } else { 0 })];
        if count >= 30 {
            let rank = if count >= 31 { Rank::Admin } else { Rank::Member };
            members.push(MemberRow { rank, ..row(B, 30, 10, 0) });
        }
        let present = members.iter().filter(|row| row.until == Seq::ZERO).count() as u32;
        Tables {
            conversation: ConversationId::group(A, 7),
            head: Some(HeadRow {
                head: Seq(count as u64),
                tail: lie[full..].to_vec(),
                chain: 100 + count as u64,
                present,
                stretches: members.len() as u32,
                settings: if count >= 33 { 0b11_00_10_10_10 } else { 0b10_00_10_10_10 },
                blocked: 0,
                name_hash: if count >= 32 { 532 } else { 0 },
            }),
            members,
            senders: vec![SenderRow {
                who: (A, D),
                next_client_seq: ClientSeq(count as u64 + 1),
                places: places[kept..].to_vec(),
            }],
            index: (0..).zip(lie[..full].chunks(INDEX_CHUNK)).map(|(n, chunk)| (n, chunk.to_vec())).collect(),
            sent: (0..)
                .zip(places[..kept].chunks(SENT_CHUNK))
                .map(|(n, chunk)| ((A, D), n, chunk.to_vec()))
                .collect(),
            cursors: vec![(A, Cursors { delivered: Seq(count as u64), read: Seq(1) })],
            entries,
        }
    }

    fn told(tables: &Tables) -> String {
        disagreements(tables).into_iter().map(|found| found.sentence).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn sound_tables_agree_whatever_their_length() {
        for entries in [1, 2, 3, 29, 31, 32, 33, 63, 64, 65, 95, 96, 128, 300] {
            assert_eq!(told(&sound(entries)), "", "{entries}");
        }
        assert_eq!(told(&Tables::default()), "");
    }

    #[test]
    fn each_table_that_says_something_else_is_named() {
        type Change = fn(&mut Tables);
        let table: [(Change, &str); 15] = [
            (|t| t.entries[4].chain_holds = false, "the chain breaks at seq 5"),
            (|t| t.head.as_mut().unwrap().head = Seq(99), "says that the log ends at 99"),
            (|t| t.head.as_mut().unwrap().chain = 0, "different chain values"),
            (|t| t.head = None, "no row of its own"),
            (|t| t.head.as_mut().unwrap().present = 9, "counts 9 members"),
            (|t| t.index[0].1[3] = 1, "the index does not say"),
            (|t| t.index.truncate(1), "the index does not say"),
            (|t| t.members[2].visible_from = Seq(1), "member rows of user 2, who joined at seq 30"),
            (|t| t.members.truncate(2), "member rows of user 2"),
            (|t| t.senders[0].next_client_seq = ClientSeq(3), "expects number 3 next"),
            (|t| t.senders[0].who.0 = B, "of user 1 has sent 128 messages and has no row"),
            (|t| t.sent[0].2[0] = 77, "sent 128 messages, does not say where its messages stand"),
            (|t| t.cursors[0].1.delivered = Seq(1_000), "stands at seq 1000"),
            (|t| t.cursors[0].1.read = Seq(900), "has read up to seq"),
            (|t| t.cursors[0].0 = UserId(77), "was never a member"),
        ];
        for (change, sentence) in table {
            let mut tables = sound(128);
            change(&mut tables);
            assert!(told(&tables).contains(sentence), "{sentence}: {}", told(&tables));
        }
    }

    #[test]
    fn a_refused_device_may_have_a_row_and_one_that_sent_must() {
        let mut tables = sound(5);
        let row = SenderRow { who: (B, DeviceId(12)), next_client_seq: ClientSeq(1), places: Vec::new() };
        tables.senders.push(row);
        assert_eq!(told(&tables), "");
        tables.senders[1].next_client_seq = ClientSeq(2);
        assert!(
            told(&tables).contains("device 000000000000000c has sent nothing")
                || told(&tables).contains("has sent nothing")
        );
        tables.senders.clear();
        assert!(told(&tables).contains("has no row"));
    }

    #[test]
    fn a_conversation_is_judged_once_and_exposed_where_it_was_in_danger() {
        let mut tally = Tally::default();
        judge(&sound(2), false, 9, &mut tally);
        judge(&sound(40), false, 9, &mut tally);
        judge(&sound(2), true, 9, &mut tally);
        assert_eq!((tally.evaluated, tally.exposed, tally.violations), (3, 2, 0));
        let mut broken = sound(40);
        broken.head = None;
        judge(&broken, false, 9, &mut tally);
        damaged(9, "A row of the table cursors is not as it was written.".into(), &mut tally);
        assert_eq!(tally.violations, 3, "no row, so no index, and a damaged row");
        assert!(tally.kept[0].message.starts_with("Conversation"), "{}", tally.kept[0].message);
    }
}
