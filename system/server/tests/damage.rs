//! Rows that cannot be read harm the conversations that they belong to and nobody else.

mod common;

use common::{PATIENCE, Raw, TempDir};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use squall_core::rate::UserLimits;
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Refusal, Seq, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// Tables of a shard, as far as they are harmed here.
const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const CONVERSATIONS: TableDefinition<(u128, u8, u64, u64), &[u8]> = TableDefinition::new("conversations");
const MARKS: TableDefinition<&str, &[u8]> = TableDefinition::new("marks");

const HARMED: ConversationId = ConversationId::group(UserId(1), 501);
const WHOLE: ConversationId = ConversationId::group(UserId(1), 502);
const GARBAGE: &[u8] = &[0xFF; 9];

/// A life of the server, at the end of which nothing of it runs.
fn live(data: &Path, act: impl AsyncFnOnce(&mut Raw)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let local = Local::start(LocalConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            gateways: 1,
            shards: 1,
            presences: 1,
            data: data.to_owned(),
            keys: common::keys(),
            limits: UserLimits::default(),
            cache_bytes: 1 << 20,
        });
        let local = local.await.unwrap();
        act(&mut Raw::online(local.gateways()[0], Codec::Json, 1, 11).await).await;
    });
}

/// Sends a message as number `n` of its conversation, and waits for the answer to it.
async fn send(raw: &mut Raw, conversation: ConversationId, n: u64) -> Result<Seq, Refusal> {
    let client_msg_id = ClientMsgId({ conversation.0 } << 64 | u128::from(n));
    let payload = match n {
        1 => Payload::Created { direct: false, channel: false, members: vec![UserId(1)] },
        _ => Payload::Text("hello".into()),
    };
    raw.send(ClientFrame::Send { conversation, client_msg_id, client_seq: ClientSeq(n), payload }).await;
    let answer = async {
        loop {
            match raw.frame().await {
                ServerFrame::Sent { client_msg_id: id, server_seq, .. } if id == client_msg_id => {
                    break Ok(server_seq);
                }
                ServerFrame::Refused { client_msg_id: id, reason, .. } if id == client_msg_id => {
                    break Err(reason);
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.expect("a send is answered")
}

fn harm(data: &Path, act: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(data.join("messages-0.redb")).unwrap();
    let write = database.begin_write().unwrap();
    act(&write);
    // All of the log is the tail that a start looks at.
    write.open_table(MARKS).unwrap().remove("dispatched").unwrap();
    write.commit().unwrap();
}

fn lived_in() -> TempDir {
    let dir = TempDir::new("damage");
    live(dir.path(), async |raw| {
        for (conversation, n) in [(HARMED, 1), (HARMED, 2), (WHOLE, 1), (WHOLE, 2)] {
            assert_eq!(send(raw, conversation, n).await, Ok(Seq(n)));
        }
    });
    dir
}

/// A row of the table `conversations`.
type Place = (u128, u8, u64, u64);
const HEAD: Place = (HARMED.0, 0, 0, 0);
const SENDER: Place = (HARMED.0, 1, 1, 11);
const MEMBER: Place = (HARMED.0, 2, 1, 1);

fn row(write: &redb::WriteTransaction, place: Place) -> Vec<u8> {
    write.open_table(CONVERSATIONS).unwrap().get(place).unwrap().expect("the row is there").value().to_vec()
}

fn put(write: &redb::WriteTransaction, place: Place, row: &[u8]) {
    write.open_table(CONVERSATIONS).unwrap().insert(place, row).unwrap();
}

/// One conversation is refused for now, at once, and another goes on.
fn the_harmed_is_refused_and_the_whole_goes_on(what: &str, act: impl FnOnce(&redb::WriteTransaction)) {
    let dir = lived_in();
    harm(dir.path(), act);
    live(dir.path(), async |raw| {
        let begun = Instant::now();
        for n in 3..20 {
            assert_eq!(send(raw, HARMED, n).await, Err(Refusal::Busy), "{what}");
            assert_eq!(send(raw, WHOLE, n).await, Ok(Seq(n)), "{what}");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}: nobody waits for the damaged row");
    });
}

#[test]
fn a_conversation_with_a_damaged_row_is_refused_for_now_and_the_others_go_on() {
    type Harm = fn(&redb::WriteTransaction);
    let harms: [(&str, Harm); 7] = [
        ("its row is garbage", |write| put(write, HEAD, GARBAGE)),
        ("one bit of its row has changed", |write| {
            let mut row = row(write, HEAD);
            row[1] ^= 1;
            put(write, HEAD, &row);
        }),
        ("it has another conversation's row", |write| {
            let other = row(write, (WHOLE.0, 0, 0, 0));
            put(write, HEAD, &other);
        }),
        ("a member row is lost", |write| {
            write.open_table(CONVERSATIONS).unwrap().remove(MEMBER).unwrap();
        }),
        ("a member row lies under another user", |write| {
            let moved = row(write, MEMBER);
            write.open_table(CONVERSATIONS).unwrap().remove(MEMBER).unwrap();
            put(write, (HARMED.0, 2, 5, 1), &moved);
        }),
        ("its sender has the row of another conversation's", |write| {
            let other = row(write, (WHOLE.0, 1, 1, 11));
            put(write, SENDER, &other);
        }),
        ("the sender's entry is another conversation's", |write| {
            let mut entries = write.open_table(ENTRIES).unwrap();
            let other = entries.get(2).unwrap().unwrap().value().to_vec();
            entries.insert(1, other.as_slice()).unwrap();
        }),
    ];
    for (what, harm) in harms {
        the_harmed_is_refused_and_the_whole_goes_on(what, harm);
    }
}

/// What is read after a start of a database in which somebody has put old rows back.
fn page_after(act: impl FnOnce(&redb::WriteTransaction)) -> Option<usize> {
    let dir = lived_in();
    harm(dir.path(), act);
    let mut entries = None;
    live(dir.path(), async |raw| {
        raw.send(ClientFrame::Sync { conversation: HARMED, since_seq: Seq::ZERO }).await;
        let page = async {
            loop {
                if let ServerFrame::Page { span, .. } = raw.frame().await {
                    break span.entries.len();
                }
            }
        };
        entries = tokio::time::timeout(Duration::from_secs(1), page).await.ok();
        assert_eq!(send(raw, WHOLE, 3).await, Ok(Seq(3)));
    });
    entries
}

#[test]
fn an_entry_that_does_not_follow_on_the_one_before_it_is_not_read() {
    assert_eq!(page_after(|_| ()), Some(2));
    // Another server's second entry in the same place, sound in itself.
    let other = TempDir::new("damage");
    live(other.path(), async |raw| {
        let first = Payload::Created { direct: false, channel: false, members: vec![UserId(1), UserId(2)] };
        let (client_msg_id, client_seq) = (ClientMsgId({ HARMED.0 } << 64 | 1), ClientSeq(1));
        raw.send(ClientFrame::Send { conversation: HARMED, client_msg_id, client_seq, payload: first }).await;
        assert_eq!(send(raw, HARMED, 2).await, Ok(Seq(2)));
    });
    let database = Database::open(other.path().join("messages-0.redb")).unwrap();
    let entries = database.begin_read().unwrap().open_table(ENTRIES).unwrap();
    let replacement = entries.get(1).unwrap().unwrap().value().to_vec();
    let replaced = page_after(|write| {
        write.open_table(ENTRIES).unwrap().insert(1, replacement.as_slice()).unwrap();
    });
    assert_eq!(replaced, None);
}

#[test]
fn a_damaged_watermark_costs_a_look_at_the_whole_log_and_nothing_else() {
    let dir = lived_in();
    harm(dir.path(), |_| ());
    let database = Database::open(dir.path().join("messages-0.redb")).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(MARKS).unwrap().insert("dispatched", GARBAGE).unwrap();
    write.commit().unwrap();
    drop(database);
    live(dir.path(), async |raw| assert_eq!(send(raw, WHOLE, 3).await, Ok(Seq(3))));
}

#[test]
fn an_entry_that_is_damaged_before_it_was_published_does_not_keep_the_shard_from_starting() {
    let dir = lived_in();
    harm(dir.path(), |write| {
        write.open_table(ENTRIES).unwrap().insert(1, GARBAGE).unwrap();
    });
    live(dir.path(), async |raw| {
        assert_eq!(send(raw, WHOLE, 3).await, Ok(Seq(3)));
    });
}
