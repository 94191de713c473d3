//! What is read of a shard's database, as one transaction sees it.
//!
//! **Invariant:** a row is read only as what it was written as: its checksum holds, an entry is the one that its place was
//! looked up for, and it follows on the one before it. Guarded by `server/tests/damage.rs`.

use super::codec::{
    ReadEntry, decode, decode_cursors, decode_entry, decode_fence, decode_numbers, decode_stretch,
};
use super::interface::{Recovered, Row, StorageError};
use super::redb::failed;
use super::seal::{Key, unseal};
use super::tables::{
    CONVERSATIONS, CURSORS, ConversationKey, DISPATCHED, ENTRIES, FENCES, INDEX, MARKS, MEMBERS, SENT, head_key,
    member_keys, sender_key,
};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition};
use squall_core::messages::{
    Blocks, Conversation, Fence, Membership, Position, Regime, Sender, Settings, Standing, Stretches,
};
use squall_core::plant::{Plant, planted};
use squall_protocol::limits::{DEDUP_WINDOW, INDEX_CHUNK, SENT_CHUNK};
use squall_protocol::wire::log::{ConversationRow, SenderRow};
use squall_protocol::{ClientSeq, ConversationId, Cursors, DeviceId, Entry, Seq, UserId, Who};
use std::collections::VecDeque;
use std::ops::Bound;
use std::ops::RangeInclusive;
use std::sync::OnceLock;

/// A table of rows, once somebody has asked for it: to open one takes as long as to find a row in it.
type Opened<K> = OnceLock<ReadOnlyTable<K, &'static [u8]>>;

pub struct Reader {
    transaction: ReadTransaction,
    entries: Opened<Position>,
    conversations: Opened<ConversationKey>,
    index: Opened<(u128, u64)>,
    sent: Opened<(u128, u64, u64, u64)>,
    members: Opened<(u64, u128)>,
    cursors: Opened<(u128, u64)>,
    fences: Opened<(u64, u64)>,
    marks: Opened<&'static str>,
}

/// The first number of those that a row still has, when there are `total` in all.
fn first_of_tail(total: u64, tail: &[u64]) -> u64 {
    (total + 1).saturating_sub(tail.len() as u64)
}

fn membership(
    id: ConversationId,
    row: &ConversationRow,
    stretches: Stretches,
) -> Result<Membership, StorageError> {
    let corrupt = || Key::Conversation(id).corrupt();
    let settings = Settings::of_bits(row.settings).ok_or_else(corrupt)?;
    let blocked = Blocks::of_bits(row.blocked).ok_or_else(corrupt)?;
    let blocked = if planted(Plant::BlockForgottenOnRestart) { Blocks::default() } else { blocked };
    Ok(Membership::load(row.direct, settings, blocked, stretches))
}

impl Reader {
    pub fn new(transaction: ReadTransaction) -> Self {
        Reader {
            transaction,
            entries: OnceLock::new(),
            conversations: OnceLock::new(),
            index: OnceLock::new(),
            sent: OnceLock::new(),
            members: OnceLock::new(),
            cursors: OnceLock::new(),
            fences: OnceLock::new(),
            marks: OnceLock::new(),
        }
    }

    fn open<'a, K: redb::Key + 'static>(
        &self,
        opened: &'a Opened<K>,
        definition: TableDefinition<K, &'static [u8]>,
    ) -> Result<&'a ReadOnlyTable<K, &'static [u8]>, StorageError> {
        if let Some(table) = opened.get() {
            return Ok(table);
        }
        let table = self.transaction.open_table(definition).map_err(failed)?;
        Ok(opened.get_or_init(|| table))
    }

    fn conversations(&self) -> Result<&ReadOnlyTable<ConversationKey, &'static [u8]>, StorageError> {
        self.open(&self.conversations, CONVERSATIONS)
    }

    pub fn recovered(&self) -> Result<Recovered, StorageError> {
        let entries = self.open(&self.entries, ENTRIES)?;
        let next_position = entries.last().map_err(failed)?.map_or(0, |(position, _)| position.value() + 1);
        let key = Key::Mark(DISPATCHED);
        let dispatched = match self.open(&self.marks, MARKS)?.get(DISPATCHED).map_err(failed)? {
            Some(row) => decode_numbers(key, row.value(), 1).ok().map(|number| u64::from_le_bytes(number[0])),
            None => Some(0),
        };
        Ok(Recovered { next_position, dispatched })
    }

    fn conversation_row(&self, id: ConversationId) -> Result<Option<ConversationRow>, StorageError> {
        let row = self.conversations()?.get(head_key(id)).map_err(failed)?;
        row.map(|row| decode(Key::Conversation(id), row.value())).transpose()
    }

    fn stretches(
        &self,
        id: ConversationId,
        keys: RangeInclusive<ConversationKey>,
    ) -> Result<Stretches, StorageError> {
        let rows = self.conversations()?.range(keys).map_err(failed)?;
        rows.map(|row| {
            let (key, row) = row.map_err(failed)?;
            let (_, _, user, joined) = key.value();
            decode_stretch(id, UserId(user), Seq(joined), row.value())
        })
        .collect()
    }

    pub fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StorageError> {
        let Some(row) = self.conversation_row(id)? else { return Ok(None) };
        let stretches = self.stretches(id, member_keys(id, None))?;
        let membership = membership(id, &row, stretches)?;
        if (membership.stretches().len(), membership.present()) != (row.stretches as usize, row.present) {
            return Err(Key::Conversation(id).corrupt());
        }
        let regime = Regime(Seq(row.channel_since));
        Ok(Some(Conversation::load(id, Seq(row.head), membership).with_regime(regime)))
    }

    pub fn standing(&self, id: ConversationId, user: UserId) -> Result<Option<Standing>, StorageError> {
        let Some(row) = self.conversation_row(id)? else { return Ok(None) };
        let own = membership(id, &row, self.stretches(id, member_keys(id, Some(user)))?)?;
        if planted(Plant::ColdHeadsForMembersOnly) && !own.is_member(user) {
            return Ok(None);
        }
        Ok(own.standing(user, Seq(row.head), Regime(Seq(row.channel_since))))
    }

    pub fn fence(&self, user: UserId, device: DeviceId) -> Result<Option<Fence>, StorageError> {
        let row = self.open(&self.fences, FENCES)?.get((user.0, device.0)).map_err(failed)?;
        row.map(|row| decode_fence(user, device, row.value())).transpose()
    }

    /// Told by their keys alone: one that cannot be read is in nobody's way but its own device's.
    pub fn fenced(&self) -> Result<Vec<(UserId, DeviceId)>, StorageError> {
        let table = self.open(&self.fences, FENCES)?;
        let rows = table.iter().map_err(failed)?;
        rows.map(|row| {
            let (user, device) = row.map_err(failed)?.0.value();
            Ok((UserId(user), DeviceId(device)))
        })
        .collect()
    }

    pub fn sender(&self, id: ConversationId, who: Who) -> Result<Option<Sender>, StorageError> {
        let Some(row) = self.sender_row(id, who)? else { return Ok(None) };
        let conversation = self.conversation_row(id)?.ok_or_else(|| Key::Conversation(id).corrupt())?;
        let known = row.places.len().saturating_sub(DEDUP_WINDOW);
        let recent: Result<VecDeque<_>, StorageError> = row.places[known..]
            .iter()
            .map(|place| Ok((self.entry(id, &conversation, Seq(*place))?.client_msg_id, Seq(*place))))
            .collect();
        Ok(Some(Sender {
            who,
            next_client_seq: ClientSeq(row.next_client_seq),
            connect_count: row.connect_count,
            recent: recent?,
        }))
    }

    fn sender_row(&self, id: ConversationId, who: Who) -> Result<Option<SenderRow>, StorageError> {
        let row = self.conversations()?.get(sender_key(id, who)).map_err(failed)?;
        row.map(|row| decode(Key::Sender(id, who), row.value())).transpose()
    }

    /// The message that the device has once sent with this number.
    pub fn numbered(
        &self,
        id: ConversationId,
        who: Who,
        number: ClientSeq,
    ) -> Result<Option<Entry>, StorageError> {
        let Some(row) = self.sender_row(id, who)? else { return Ok(None) };
        if number < ClientSeq::FIRST || number.0 >= row.next_client_seq {
            return Ok(None);
        }
        let first = first_of_tail(row.next_client_seq - 1, &row.places);
        let place = match number.0.checked_sub(first) {
            Some(index) => row.places[index as usize],
            None => {
                let chunk = (number.0 - 1) / SENT_CHUNK as u64;
                let key = Key::Sent(id, who, chunk);
                let row = self.open(&self.sent, SENT)?.get((id.0, who.0.0, who.1.0, chunk)).map_err(failed)?;
                let row = row.ok_or_else(|| key.corrupt())?;
                let places = decode_numbers(key, row.value(), SENT_CHUNK)?;
                u64::from_le_bytes(places[((number.0 - 1) % SENT_CHUNK as u64) as usize])
            }
        };
        let conversation = self.conversation_row(id)?.ok_or_else(|| Key::Conversation(id).corrupt())?;
        let entry = self.entry(id, &conversation, Seq(place))?;
        if ((entry.sender, entry.device), entry.client_seq) != (who, number) {
            return Err(Key::Sender(id, who).corrupt());
        }
        Ok(Some(entry))
    }

    /// The positions of entries `from..=to`, as far as there are any.
    fn positions(
        &self,
        id: ConversationId,
        row: &ConversationRow,
        from: Seq,
        to: Seq,
    ) -> Result<Vec<Position>, StorageError> {
        let tail_start = first_of_tail(row.head, &row.tail);
        let mut index = None;
        let mut positions = Vec::new();
        let mut seq = from.0;
        while seq <= to.0.min(row.head) {
            if seq >= tail_start {
                positions.push(row.tail[(seq - tail_start) as usize]);
                seq += 1;
                continue;
            }
            let index = match &index {
                Some(index) => index,
                None => index.insert(self.open(&self.index, INDEX)?),
            };
            let chunk = (seq - 1) / INDEX_CHUNK as u64;
            let key = Key::Index(id, chunk);
            let bytes = index.get((id.0, chunk)).map_err(failed)?.ok_or_else(|| key.corrupt())?;
            let first = ((seq - 1) % INDEX_CHUNK as u64) as usize;
            let numbers = &decode_numbers(key, bytes.value(), INDEX_CHUNK)?[first..];
            let wanted = usize::try_from(to.0 - seq).unwrap_or(usize::MAX).saturating_add(1).min(numbers.len());
            positions.extend(numbers[..wanted].iter().map(|number| u64::from_le_bytes(*number)));
            seq += wanted as u64;
        }
        Ok(positions)
    }

    fn entry(&self, id: ConversationId, row: &ConversationRow, seq: Seq) -> Result<Entry, StorageError> {
        let positions = self.positions(id, row, seq, seq)?;
        let position = *positions.first().ok_or_else(|| Key::Conversation(id).corrupt())?;
        let bytes = self.open(&self.entries, ENTRIES)?.get(position).map_err(failed)?;
        let bytes = bytes.ok_or_else(|| Key::Entry(position).corrupt())?;
        Ok(expected(id, seq, decode_entry(position, bytes.value())?)?.new.entry)
    }

    pub fn entries(
        &self,
        id: ConversationId,
        from: Seq,
        to: Seq,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let Some(conversation) = self.conversation_row(id)? else { return Ok(Vec::new()) };
        let to = Seq(to.0.min(from.0.saturating_add(max_entries as u64).saturating_sub(1)));
        let positions = self.positions(id, &conversation, from, to)?;
        let table = self.open(&self.entries, ENTRIES)?;
        let (mut entries, mut bytes) = (Vec::with_capacity(positions.len()), 0);
        let mut before = (from == Seq(1)).then_some(0);
        let mut seq = from;
        for position in positions {
            let corrupt = || Key::Entry(position).corrupt();
            let row = table.get(position).map_err(failed)?.ok_or_else(corrupt)?;
            let read = expected(id, seq, decode_entry(position, row.value())?)?;
            let is_chained = before.is_none_or(|before| read.follows(before, row.value()))
                && (seq.0 != conversation.head || read.chain == conversation.chain);
            if !is_chained && !planted(Plant::SequenceReusedAfterCrash) {
                return Err(corrupt());
            }
            before = Some(read.chain);
            bytes += read.new.entry.payload.size();
            entries.push(read.new.entry);
            seq = seq.next();
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(entries)
    }

    pub fn rows_from(&self, position: Position, max: usize) -> Result<Vec<Row>, StorageError> {
        let mut rows = Vec::new();
        for row in self.open(&self.entries, ENTRIES)?.range(position..).map_err(failed)?.take(max) {
            let (position, bytes) = row.map_err(failed)?;
            let position = position.value();
            rows.push((position, decode_entry(position, bytes.value()).map(|read| read.new)));
        }
        Ok(rows)
    }

    pub fn knows(&self, id: ConversationId, user: UserId) -> Result<bool, StorageError> {
        let row = self.open(&self.members, MEMBERS)?.get((user.0, id.0)).map_err(failed)?;
        row.map(|row| unseal(Key::UserConversation(user, id), row.value()).map(drop))
            .transpose()
            .map(|row| row.is_some())
    }

    /// Told by their keys alone: whoever asks for one of them reads rows of it that say so again.
    pub fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        max: usize,
    ) -> Result<Vec<ConversationId>, StorageError> {
        let table = self.open(&self.members, MEMBERS)?;
        let from = after.map_or(Bound::Included((user.0, 0)), |after| Bound::Excluded((user.0, after.0)));
        let rows = table.range((from, Bound::Included((user.0, u128::MAX)))).map_err(failed)?.take(max);
        rows.map(|row| row.map(|(key, _)| ConversationId(key.value().1)).map_err(failed)).collect()
    }

    pub fn cursors_of(&self, pairs: &[(UserId, ConversationId)]) -> Result<Vec<Cursors>, StorageError> {
        let table = self.open(&self.cursors, CURSORS)?;
        let stored = |(user, conversation): &(UserId, ConversationId)| {
            let row = table.get((conversation.0, user.0)).map_err(failed)?;
            row.map_or(Ok(Cursors::default()), |row| decode_cursors(*conversation, *user, row.value()))
        };
        pairs.iter().map(stored).collect()
    }

    pub fn cursors_in(&self, id: ConversationId) -> Result<Vec<(UserId, Cursors)>, StorageError> {
        let table = self.open(&self.cursors, CURSORS)?;
        let rows = table.range((id.0, 0)..=(id.0, u64::MAX)).map_err(failed)?;
        rows.map(|row| {
            let (key, row) = row.map_err(failed)?;
            let user = UserId(key.value().1);
            Ok((user, decode_cursors(id, user, row.value())?))
        })
        .collect()
    }

    pub fn cursors(&self) -> Result<Vec<(UserId, ConversationId, Cursors)>, StorageError> {
        let table = self.open(&self.cursors, CURSORS)?;
        let rows = table.iter().map_err(failed)?;
        rows.map(|row| {
            let (key, row) = row.map_err(failed)?;
            let (id, user) = key.value();
            let (conversation, user) = (ConversationId(id), UserId(user));
            Ok((user, conversation, decode_cursors(conversation, user, row.value())?))
        })
        .collect()
    }
}

/// An entry that is the one that was looked for.
fn expected(id: ConversationId, seq: Seq, read: ReadEntry) -> Result<ReadEntry, StorageError> {
    let is_it = (read.new.conversation, read.new.entry.seq) == (id, seq);
    if is_it || planted(Plant::SequenceReusedAfterCrash) {
        Ok(read)
    } else {
        Err(Key::Entry(read.new.position).corrupt())
    }
}
