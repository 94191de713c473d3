//! Rows as bytes: the messages of `log.proto`.
//!
//! **Invariant:** what is read back is what was written. Guarded by `server/tests/storage.rs`.

use super::interface::{NewEntry, StorageError};
use prost::Message;
use squall_core::messages::{Conversation, Membership, Position, Sender, Stretch};
use squall_protocol::wire::log;
use squall_protocol::{ClientMsgId, ClientSeq, ConversationId, DeviceId, Seq, UserId, protobuf};
use std::collections::VecDeque;

pub fn encode_entry(new: &NewEntry) -> Vec<u8> {
    let conversation = protobuf::conversation_to_wire(new.conversation);
    log::StoredEntry { conversation, entry: Some(protobuf::entry_to_wire(&new.entry)) }.encode_to_vec()
}

pub fn decode_entry(position: Position, bytes: &[u8]) -> Result<NewEntry, StorageError> {
    let corrupt = || StorageError::Corrupt { table: "entries", row: position.to_string() };
    let stored = log::StoredEntry::decode(bytes).map_err(|_| corrupt())?;
    let entry = protobuf::entry_from_wire(stored.entry.ok_or_else(corrupt)?).map_err(|_| corrupt())?;
    let conversation = protobuf::conversation_from_wire(stored.conversation).map_err(|_| corrupt())?;
    Ok(NewEntry { position, conversation, entry })
}

pub fn encode_conversation(conversation: &Conversation, tail: Vec<Position>) -> Vec<u8> {
    let membership = conversation.membership();
    log::ConversationRow {
        head: conversation.head().0,
        direct: membership.direct,
        members: membership
            .stretches
            .iter()
            .map(|s| log::Membership {
                user: s.user.0,
                visible_from: s.from.0,
                until: s.until.map_or(0, |until| until.0),
            })
            .collect(),
        senders: conversation
            .senders()
            .iter()
            .map(|s| log::SenderRow {
                device: s.device.0,
                next_client_seq: s.next_client_seq.0,
                connect_count: s.connect_count,
                recent: s.recent.iter().map(|(_, seq)| seq.0).collect(),
            })
            .collect(),
        tail,
    }
    .encode_to_vec()
}

pub fn decode_row(id: ConversationId, bytes: &[u8]) -> Result<log::ConversationRow, StorageError> {
    log::ConversationRow::decode(bytes)
        .map_err(|_| StorageError::Corrupt { table: "conversations", row: id.to_string() })
}

/// The conversation of a row. `id_at` finds the `client_msg_id` of an entry in the log.
pub fn decode_conversation(
    id: ConversationId,
    row: log::ConversationRow,
    mut id_at: impl FnMut(Seq) -> Result<ClientMsgId, StorageError>,
) -> Result<Conversation, StorageError> {
    let stretches = row
        .members
        .iter()
        .map(|m| Stretch {
            user: UserId(m.user),
            from: Seq(m.visible_from),
            until: (m.until != 0).then_some(Seq(m.until)),
        })
        .collect();
    let mut senders = Vec::with_capacity(row.senders.len());
    for sender in &row.senders {
        let recent: Result<VecDeque<_>, StorageError> =
            sender.recent.iter().map(|seq| Ok((id_at(Seq(*seq))?, Seq(*seq)))).collect();
        senders.push(Sender {
            device: DeviceId(sender.device),
            next_client_seq: ClientSeq(sender.next_client_seq),
            connect_count: sender.connect_count,
            recent: recent?,
        });
    }
    Ok(Conversation::load(id, Seq(row.head), Membership { direct: row.direct, stretches }, senders))
}
