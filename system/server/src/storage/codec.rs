//! Rows as bytes: the messages of `log.proto`, sealed (`seal.rs`).
//!
//! **Invariant:** what is read back is what was written. Guarded by `server/tests/storage.rs`.

use super::interface::{NewEntry, StorageError};
use super::seal::{Key, chained, seal, unseal};
use prost::Message;
use squall_core::messages::{Fence, Position, Stretch};
use squall_protocol::wire::log;
use squall_protocol::{ConversationId, Cursors, DeviceId, Seq, ServerFrame, UserId, protobuf};

/// An entry as its row has it.
#[derive(Debug)]
pub struct ReadEntry {
    pub new: NewEntry,
    /// The bytes of the row, without chain value and checksum, for who follows the chain.
    length: usize,
    pub chain: u64,
}

/// The row of an entry and its chain value. `before` is that of the entry before it.
pub fn encode_entry(new: &NewEntry, before: u64) -> (Vec<u8>, u64) {
    let conversation = protobuf::conversation_to_wire(new.conversation);
    let stored = log::StoredEntry { conversation, entry: Some(protobuf::entry_to_wire(&new.entry)) };
    let mut value = Vec::with_capacity(stored.encoded_len() + 2 * size_of::<u64>());
    stored.encode(&mut value).expect("there is room for all of it");
    let chain = chained(before, &value);
    value.extend_from_slice(&chain.to_le_bytes());
    (seal(Key::Entry(new.position), value), chain)
}

pub fn decode_entry(position: Position, row: &[u8]) -> Result<ReadEntry, StorageError> {
    let key = Key::Entry(position);
    let corrupt = || key.corrupt();
    let (value, chain) = unseal(key, row)?.split_last_chunk().ok_or_else(corrupt)?;
    let stored = log::StoredEntry::decode(value).map_err(|_| corrupt())?;
    let entry = protobuf::entry_from_wire(stored.entry.ok_or_else(corrupt)?).map_err(|_| corrupt())?;
    let conversation = protobuf::conversation_from_wire(stored.conversation).map_err(|_| corrupt())?;
    let new = NewEntry { position, conversation, entry };
    Ok(ReadEntry { new, length: value.len(), chain: u64::from_le_bytes(*chain) })
}

impl ReadEntry {
    /// Whether this entry, read from `row`, follows on the one with this chain value.
    pub fn follows(&self, before: u64, row: &[u8]) -> bool {
        chained(before, &row[..self.length]) == self.chain
    }
}

pub fn encode(key: Key, row: &impl Message) -> Vec<u8> {
    let mut value = Vec::with_capacity(row.encoded_len() + size_of::<u64>());
    row.encode(&mut value).expect("there is room for all of it");
    seal(key, value)
}

pub fn decode<M: Message + Default>(key: Key, row: &[u8]) -> Result<M, StorageError> {
    M::decode(unseal(key, row)?).map_err(|_| key.corrupt())
}

pub fn encode_stretch(conversation: ConversationId, stretch: &Stretch) -> Vec<u8> {
    let row = log::MemberRow {
        visible_from: stretch.from.0,
        until: stretch.until().map_or(0, |until| until.0),
        rank: protobuf::rank_to_wire(stretch.rank()).into(),
        for_good: stretch.is_for_good(),
    };
    encode(Key::Member(conversation, stretch.user, stretch.joined), &row)
}

pub fn decode_stretch(
    conversation: ConversationId,
    user: UserId,
    joined: Seq,
    row: &[u8],
) -> Result<Stretch, StorageError> {
    let key = Key::Member(conversation, user, joined);
    let row: log::MemberRow = decode(key, row)?;
    let until = (row.until != 0).then_some(Seq(row.until));
    let rank = protobuf::rank_from_wire(row.rank).map_err(|_| key.corrupt())?;
    let stretch = Stretch::new(user, joined, Seq(row.visible_from), until).ranked(rank);
    Ok(if row.for_good { stretch.left_for_good() } else { stretch })
}

pub fn encode_fence(user: UserId, device: DeviceId, fence: &Fence) -> Vec<u8> {
    let refused = fence.refused().iter().map(|((conversation, client_msg_id), reason)| {
        let (conversation, client_msg_id, reason) = (*conversation, *client_msg_id, *reason);
        protobuf::encode_server(&ServerFrame::Refused { conversation, client_msg_id, reason })
    });
    encode(Key::Fence(user, device), &log::FenceRow { floor: fence.floor(), refused: refused.collect() })
}

pub fn decode_fence(user: UserId, device: DeviceId, row: &[u8]) -> Result<Fence, StorageError> {
    let key = Key::Fence(user, device);
    let row: log::FenceRow = decode(key, row)?;
    let refused = row.refused.iter().map(|bytes| match protobuf::decode_server(bytes) {
        Ok(ServerFrame::Refused { conversation, client_msg_id, reason }) => {
            Ok(((conversation, client_msg_id), reason))
        }
        Ok(_) | Err(_) => Err(key.corrupt()),
    });
    Ok(Fence::load(row.floor, refused.collect::<Result<_, _>>()?))
}

/// Numbers, eight bytes each, little endian.
pub fn encode_numbers(key: Key, numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    seal(key, numbers.into_iter().flat_map(u64::to_le_bytes).collect())
}

/// So many numbers as they lie in the row.
pub fn decode_numbers(key: Key, row: &[u8], count: usize) -> Result<&[[u8; 8]], StorageError> {
    match unseal(key, row)?.as_chunks() {
        (numbers, []) if numbers.len() == count => Ok(numbers),
        _ => Err(key.corrupt()),
    }
}

pub fn encode_cursors(conversation: ConversationId, user: UserId, cursors: Cursors) -> Vec<u8> {
    encode_numbers(Key::Cursor(conversation, user), [cursors.delivered.0, cursors.read.0])
}

pub fn decode_cursors(conversation: ConversationId, user: UserId, row: &[u8]) -> Result<Cursors, StorageError> {
    let numbers = decode_numbers(Key::Cursor(conversation, user), row, 2)?;
    let [delivered, read] = [numbers[0], numbers[1]].map(|number| Seq(u64::from_le_bytes(number)));
    Ok(Cursors { delivered, read })
}
