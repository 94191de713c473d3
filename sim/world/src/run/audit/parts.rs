//! Everything that a disk holds beside its log, conversation by conversation: four tables that are all in the order of conversations, read
//! side by side, so that no more than one conversation is in memory.

use super::{AuditError, failed, rows};
use prost::Message;
use redb::ReadTransaction;
use squall_checks::Checks;
use squall_checks::tables::{HeadRow, MemberRow, SenderRow, Tables};
use squall_history::payload_hash;
use squall_protocol::{ClientSeq, ConversationId, Cursors, DeviceId, Payload, Seq, UserId, Who};
use std::iter::Peekable;

/// A row.
pub enum Part {
    Head(HeadRow),
    Member(MemberRow),
    Sender(SenderRow),
    Index(u64, Vec<u64>),
    Sent(Who, u64, Vec<u64>),
    Cursor(UserId, Cursors),
    /// It is not as it was written: which row.
    Damaged(String),
}

type Found = Result<(ConversationId, Part), AuditError>;
type Stream = Box<dyn Iterator<Item = Found>>;

/// The tables, each at the conversation that comes next in it.
pub struct Parts(Vec<Peekable<Stream>>);

impl Parts {
    pub fn of(read: &ReadTransaction) -> Result<Parts, AuditError> {
        let streams = [conversations(read)?, index(read)?, sent(read)?, cursors(read)?];
        Ok(Parts(streams.into_iter().map(Iterator::peekable).collect()))
    }

    /// The conversation that comes next.
    pub fn next(&mut self) -> Result<Option<ConversationId>, AuditError> {
        let mut first: Option<ConversationId> = None;
        for stream in &mut self.0 {
            match stream.peek() {
                Some(Ok((id, _))) => first = Some(first.map_or(*id, |first| first.min(*id))),
                // It stands there: taking it gives the error.
                Some(Err(_)) => return stream.next().transpose().map(|_| None),
                None => {}
            }
        }
        Ok(first)
    }

    /// Takes all rows of a conversation.
    pub fn take(&mut self, tables: &mut Tables, checks: &mut Checks) -> Result<(), AuditError> {
        let conversation = tables.conversation;
        for stream in &mut self.0 {
            while let Some(row) = stream.next_if(|row| row.as_ref().map_or(true, |(id, _)| *id == conversation)) {
                match row?.1 {
                    Part::Head(row) => tables.head = Some(row),
                    Part::Member(row) => tables.members.push(row),
                    Part::Sender(row) => tables.senders.push(row),
                    Part::Index(chunk, positions) => tables.index.push((chunk, positions)),
                    Part::Sent(who, chunk, places) => tables.sent.push((who, chunk, places)),
                    Part::Cursor(user, cursors) => tables.cursors.push((user, cursors)),
                    Part::Damaged(what) => checks.audit_damage(format!("{what} is not as it was written.")),
                }
            }
        }
        Ok(())
    }
}

fn conversations(read: &ReadTransaction) -> Result<Stream, AuditError> {
    let rows =
        read.open_table(rows::CONVERSATIONS).map_err(failed)?.range::<(u128, u8, u64, u64)>(..).map_err(failed)?;
    Ok(Box::new(rows.map(|stored| {
        let (key, row) = stored.map_err(failed)?;
        let (id, kind, of, number) = key.value();
        let columns = [&id.to_be_bytes()[..], &[kind], &of.to_be_bytes(), &number.to_be_bytes()].concat();
        let value = rows::value("conversations", &columns, row.value());
        let conversation = ConversationId(id);
        let part = value.and_then(|value| part_of(kind, of, number, value));
        let damaged = || Part::Damaged(format!("A row of conversation {conversation} (kind {kind}, of {of})"));
        Ok((conversation, part.unwrap_or_else(damaged)))
    })))
}

/// A row of the table `conversations`. `None`: it is of no kind that the format knows, or cannot be decoded.
fn part_of(kind: u8, of: u64, number: u64, value: &[u8]) -> Option<Part> {
    match kind {
        rows::HEAD => {
            let rows::Head { head, tail, chain, present, stretches, settings, blocked, name, .. } =
                rows::Head::decode(value).ok()?;
            let name_hash = if name.is_empty() { 0 } else { payload_hash(&Payload::Named(name)) };
            Some(Part::Head(HeadRow {
                head: Seq(head),
                tail,
                chain,
                present,
                stretches,
                settings,
                blocked,
                name_hash,
            }))
        }
        rows::SENDER => {
            let row = rows::Sender::decode(value).ok()?;
            Some(Part::Sender(SenderRow {
                who: (UserId(of), DeviceId(number)),
                next_client_seq: ClientSeq(row.next_client_seq),
                places: row.places,
            }))
        }
        rows::MEMBER => {
            let row = rows::Member::decode(value).ok()?;
            let (visible_from, until) = (Seq(row.visible_from), Seq(row.until));
            let (rank, for_good) = (rows::rank(row.rank)?, row.for_good);
            let user = UserId(of);
            Some(Part::Member(MemberRow { user, joined: Seq(number), visible_from, until, rank, for_good }))
        }
        _ => None,
    }
}

fn index(read: &ReadTransaction) -> Result<Stream, AuditError> {
    let rows = read.open_table(rows::INDEX).map_err(failed)?.range::<(u128, u64)>(..).map_err(failed)?;
    Ok(Box::new(rows.map(|stored| {
        let (key, row) = stored.map_err(failed)?;
        let (id, chunk) = key.value();
        let columns = [&id.to_be_bytes()[..], &chunk.to_be_bytes()].concat();
        let positions = rows::value("index", &columns, row.value()).and_then(rows::numbers);
        let damaged =
            || Part::Damaged(format!("Chunk {chunk} of the index of conversation {}", ConversationId(id)));
        Ok((ConversationId(id), positions.map_or_else(damaged, |positions| Part::Index(chunk, positions))))
    })))
}

fn sent(read: &ReadTransaction) -> Result<Stream, AuditError> {
    let rows = read.open_table(rows::SENT).map_err(failed)?.range::<(u128, u64, u64, u64)>(..).map_err(failed)?;
    Ok(Box::new(rows.map(|stored| {
        let (key, row) = stored.map_err(failed)?;
        let (id, user, device, chunk) = key.value();
        let (conversation, who) = (ConversationId(id), (UserId(user), DeviceId(device)));
        let columns =
            [&id.to_be_bytes()[..], &user.to_be_bytes(), &device.to_be_bytes(), &chunk.to_be_bytes()].concat();
        let places = rows::value("sent", &columns, row.value()).and_then(rows::numbers);
        let damaged = || {
            Part::Damaged(format!(
                "Chunk {chunk} of what device {device} of user {user} has sent to conversation {conversation}"
            ))
        };
        Ok((conversation, places.map_or_else(damaged, |places| Part::Sent(who, chunk, places))))
    })))
}

/// All cursors, in the order of conversations.
pub fn cursors(read: &ReadTransaction) -> Result<Stream, AuditError> {
    let rows = read.open_table(rows::CURSORS).map_err(failed)?.range::<(u128, u64)>(..).map_err(failed)?;
    Ok(Box::new(rows.map(|stored| {
        let (key, row) = stored.map_err(failed)?;
        let (id, user) = key.value();
        let (conversation, user) = (ConversationId(id), UserId(user));
        let columns = [&id.to_be_bytes()[..], &user.0.to_be_bytes()].concat();
        let part = match rows::value("cursors", &columns, row.value()).and_then(rows::numbers).as_deref() {
            Some([delivered, read]) => {
                Part::Cursor(user, Cursors { delivered: Seq(*delivered), read: Seq(*read) })
            }
            Some(_) | None => {
                Part::Damaged(format!("The row of cursors of user {user} in conversation {conversation}"))
            }
        };
        Ok((conversation, part))
    })))
}
