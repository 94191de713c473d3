//! A database as a stranger reads it: with the tables, rows and hashes of `src/storage/README.md` and none of the server's code for them.

mod common;

use common::{PATIENCE, Raw, TempDir};
use prost::Message;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use squall_core::rate::UserLimits;
use squall_protocol::wire::log;
use squall_protocol::wire::log::{ConversationRow, FenceRow, MemberRow, SenderRow, StoredEntry, payload};
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Rank, Refusal, ServerFrame, UserId,
    Users, protobuf,
};
use squall_server::local::{Local, LocalConfig};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const CONVERSATIONS: TableDefinition<(u128, u8, u64, u64), &[u8]> = TableDefinition::new("conversations");
const INDEX: TableDefinition<(u128, u64), &[u8]> = TableDefinition::new("index");
const SENT: TableDefinition<(u128, u64, u64, u64), &[u8]> = TableDefinition::new("sent");
const MEMBERS: TableDefinition<(u64, u128), &[u8]> = TableDefinition::new("members");
const CURSORS: TableDefinition<(u128, u64), &[u8]> = TableDefinition::new("cursors");
const FENCES: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("fences");
const MARKS: TableDefinition<&str, &[u8]> = TableDefinition::new("marks");

const GROUP: ConversationId = ConversationId::group(UserId(1), 501);
const NOT_OURS: ConversationId = ConversationId::group(UserId(2), 502);
const TEXTS: u64 = 150;

/// The value of a row whose checksum holds.
fn value(table: &str, columns: &[&[u8]], row: &[u8]) -> Vec<u8> {
    let (value, checksum) = row.split_at(row.len() - 8);
    let seed = xxh3_64(&[table.as_bytes(), &columns.concat()].concat());
    assert_eq!(xxh3_64_with_seed(value, seed).to_le_bytes(), checksum, "{table} {columns:?}");
    value.to_vec()
}

fn numbers(value: &[u8]) -> Vec<u64> {
    assert_eq!(value.len() % 8, 0);
    value.chunks(8).map(|number| u64::from_le_bytes(number.try_into().unwrap())).collect()
}

/// A life of the server in which a group is made, left, joined and written to.
fn lived_in() -> TempDir {
    let dir = TempDir::new("format");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let local = Local::start(LocalConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            gateways: 1,
            shards: 1,
            presences: 1,
            data: dir.path().to_owned(),
            keys: common::keys(),
            limits: UserLimits::default(),
            cache_bytes: 1 << 20,
        });
        let local = local.await.unwrap();
        let mut raw = Raw::online(local.gateways()[0], Codec::Json, 1, 11).await;
        let several = |of: fn(Users) -> Payload, users: std::ops::RangeInclusive<u64>| {
            of(users.map(UserId).collect::<Vec<_>>().into())
        };
        let text = |n: u64| Payload::Text(format!("message {n}"));
        let payloads = [Payload::Created { direct: false, channel: false, members: vec![UserId(1), UserId(2)] }]
            .into_iter()
            .chain((0..TEXTS).map(text))
            .chain([Payload::left(UserId(2)), Payload::joined(UserId(2)), Payload::joined(UserId(3))])
            .chain([several(Payload::Joined, 4..=9), several(Payload::Left, 3..=6)])
            .chain([
                Payload::Role { user: UserId(2), rank: Rank::Admin },
                Payload::Role { user: UserId(8), rank: Rank::Admin },
                Payload::Role { user: UserId(8), rank: Rank::Owner },
                Payload::left(UserId(2)),
                Payload::Named("a group".into()),
                text(0),
            ]);
        for (n, payload) in (1..).zip(payloads) {
            let (conversation, client_msg_id, client_seq) = (GROUP, ClientMsgId(n), ClientSeq(n as u64));
            raw.send(ClientFrame::Send { conversation, client_msg_id, client_seq, payload }).await;
            let stored = async { while !matches!(raw.frame().await, ServerFrame::Sent { .. }) {} };
            tokio::time::timeout(PATIENCE, stored).await.expect("a send is answered");
        }
        let refused = ClientFrame::Send {
            conversation: NOT_OURS,
            client_msg_id: ClientMsgId(7_000),
            client_seq: ClientSeq(1),
            payload: text(0),
        };
        raw.send(refused).await;
        raw.until(|frame| matches!(frame, ServerFrame::Refused { .. }).then_some(())).await;
        raw.send(ClientFrame::Ack { conversation: GROUP, up_to_seq: squall_protocol::Seq(7) }).await;
        raw.send(ClientFrame::Read { conversation: GROUP, up_to_seq: squall_protocol::Seq(5) }).await;
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    });
    dir
}

#[test]
fn a_stranger_reads_every_table_and_finds_that_they_agree() {
    let dir = lived_in();
    let database = Database::open(dir.path().join("messages-0.redb")).unwrap();
    let read = database.begin_read().unwrap();
    assert_eq!(read.open_table(META).unwrap().get("format").unwrap().unwrap().value(), 5);

    // The log: dense, chained, and from it the members and what each device has sent.
    let (mut chain, mut seqs, mut positions) = (0, Vec::new(), Vec::new());
    let mut rows: BTreeMap<(u64, u64), MemberRow> = BTreeMap::new();
    let (mut places, mut name) = (Vec::new(), String::new());
    for (position, row) in (0..).zip(read.open_table(ENTRIES).unwrap().iter().unwrap()) {
        let (key, row) = row.unwrap();
        assert_eq!(key.value(), position);
        let value = value("entries", &[&position.to_be_bytes()], row.value());
        let (entry, link) = value.split_at(value.len() - 8);
        chain = xxh3_64_with_seed(entry, chain);
        assert_eq!(chain.to_le_bytes(), link, "the chain at {position}");
        let entry = StoredEntry::decode(entry).unwrap().entry.unwrap();
        seqs.push(entry.seq);
        positions.push(position);
        assert_eq!((entry.device, entry.client_seq), (11, places.len() as u64 + 1));
        places.push(entry.seq);
        let visible = |from| MemberRow { visible_from: from, ..MemberRow::default() };
        let sender = entry.sender;
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        match entry.payload.unwrap().payload.unwrap() {
            payload::Payload::Created(created) => {
                rows.extend(created.members.iter().map(|user| ((*user, 1), visible(1))));
                rows.get_mut(&(sender, 1)).unwrap().rank = log::Rank::Owner as i32;
            }
            payload::Payload::Joined(user) => (joined, left) = (vec![user], vec![]),
            payload::Payload::Left(user) => (joined, left) = (vec![], vec![user]),
            payload::Payload::JoinedSeveral(several) => (joined, left) = (several.users, vec![]),
            payload::Payload::LeftSeveral(several) => (joined, left) = (vec![], several.users),
            payload::Payload::Role(role) => {
                let mut rank = |user, rank| {
                    let open = rows.iter_mut().find(|((u, _), row)| *u == user && row.until == 0);
                    open.unwrap().1.rank = rank;
                };
                rank(role.user, role.rank);
                if role.rank == log::Rank::Owner as i32 {
                    rank(sender, log::Rank::Admin as i32);
                }
            }
            payload::Payload::Named(new) => name = new,
            payload::Payload::Setting(_) | payload::Payload::Blocked(_) | payload::Payload::ForGood(_) => {
                panic!("nothing of that was sent")
            }
            payload::Payload::Text(_) => {}
        }
        let from = entry.seq.saturating_sub(20).max(1);
        rows.extend(joined.into_iter().map(|user| ((user, entry.seq), visible(from))));
        for user in left {
            let open = rows.iter_mut().find(|((u, _), row)| *u == user && row.until == 0);
            open.unwrap().1.until = entry.seq;
        }
    }
    let head = TEXTS + 12;
    assert_eq!(seqs, (1..=head).collect::<Vec<_>>());

    // The rows of the conversation.
    let id = GROUP.0.to_be_bytes();
    let conversations = read.open_table(CONVERSATIONS).unwrap();
    let mut found: BTreeMap<(u64, u64), MemberRow> = BTreeMap::new();
    let (mut row, mut sender) = (None, None);
    for stored in conversations.iter().unwrap() {
        let (key, stored) = stored.unwrap();
        let (conversation, kind, of, number) = key.value();
        assert_eq!(conversation, { GROUP.0 });
        let columns: [&[u8]; 4] = [&id, &[kind], &of.to_be_bytes(), &number.to_be_bytes()];
        let value = value("conversations", &columns, stored.value());
        match kind {
            0 => row = Some(ConversationRow::decode(&*value).unwrap()),
            1 => sender = Some((of, number, SenderRow::decode(&*value).unwrap())),
            2 => drop(found.insert((of, number), MemberRow::decode(&*value).unwrap())),
            kind => panic!("kind {kind}"),
        }
    }
    assert_eq!(found, rows);
    let row = row.unwrap();
    let tail = positions[2 * 64..].to_vec();
    let expected = ConversationRow {
        head,
        direct: false,
        tail,
        chain,
        present: 4,
        stretches: 10,
        channel_since: 0,
        settings: 0,
        blocked: 0,
        name,
    };
    assert_eq!(row, expected);
    let (user, device, sender) = sender.unwrap();
    assert_eq!((user, device, sender.next_client_seq), (1, 11, head + 1));

    // Full chunks.
    for (table, stored) in read.open_table(INDEX).unwrap().iter().unwrap().map(Result::unwrap).enumerate() {
        let (key, stored) = stored;
        let chunk = table as u64;
        assert_eq!(key.value(), (GROUP.0, chunk));
        let chunk_positions = numbers(&value("index", &[&id, &chunk.to_be_bytes()], stored.value()));
        assert_eq!(chunk_positions, positions[table * 64..][..64]);
    }
    let mut sent = Vec::new();
    for stored in read.open_table(SENT).unwrap().iter().unwrap() {
        let (key, stored) = stored.unwrap();
        let (_, user, device, chunk) = key.value();
        assert_eq!((user, device, chunk), (1, 11, sent.len() as u64 / 32));
        let columns: [&[u8]; 4] = [&id, &user.to_be_bytes(), &device.to_be_bytes(), &chunk.to_be_bytes()];
        sent.extend(numbers(&value("sent", &columns, stored.value())));
    }
    assert!((32..64).contains(&sender.places.len()));
    sent.extend(sender.places);
    assert_eq!(sent, places);

    let users: BTreeSet<u64> = rows.keys().map(|(user, _)| *user).collect();
    let mut members = BTreeSet::new();
    for stored in read.open_table(MEMBERS).unwrap().iter().unwrap() {
        let (key, stored) = stored.unwrap();
        assert!(value("members", &[&key.value().0.to_be_bytes(), &id], stored.value()).is_empty());
        members.insert(key.value().0);
    }
    assert_eq!(members, users);
    let cursor = read.open_table(CURSORS).unwrap().get((GROUP.0, 1)).unwrap().unwrap();
    let columns: [&[u8]; 2] = [&id, &1u64.to_be_bytes()];
    // Delivered, and read.
    assert_eq!(numbers(&value("cursors", &columns, cursor.value())), [7, 5]);
    let fences = read.open_table(FENCES).unwrap();
    let fence = fences.get((1, 11)).unwrap().unwrap();
    let fence = value("fences", &[&1u64.to_be_bytes(), &11u64.to_be_bytes()], fence.value());
    let fence = FenceRow::decode(&*fence).unwrap();
    let told = ServerFrame::Refused {
        conversation: NOT_OURS,
        client_msg_id: ClientMsgId(7_000),
        reason: Refusal::NotAMember,
    };
    assert_eq!((fence.floor, &fence.refused), (1, &vec![protobuf::encode_server(&told)]));
    let mark = read.open_table(MARKS).unwrap().get("dispatched").unwrap().unwrap();
    assert!(numbers(&value("marks", &[b"dispatched"], mark.value()))[0] <= head);
}
