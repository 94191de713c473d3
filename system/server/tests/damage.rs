//! Rows that cannot be read harm the conversations that they belong to and nobody else.

mod common;

use common::{PATIENCE, Raw, SECRET, TempDir};
use redb::{Database, TableDefinition};
use squall_protocol::token::TokenSecret;
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, Refusal, Seq, ServerFrame, UserId,
};
use squall_server::local::{Local, LocalConfig};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// Tables of a shard, as far as they are harmed here.
const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const CONVERSATIONS: TableDefinition<u128, &[u8]> = TableDefinition::new("conversations");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

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
            data: data.to_owned(),
            secret: TokenSecret::new(SECRET),
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
        1 => Payload::Created { direct: false, members: vec![UserId(1)] },
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
    write.open_table(META).unwrap().insert("dispatched", 0).unwrap();
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

#[test]
fn a_conversation_whose_row_is_damaged_is_refused_for_now_and_the_others_go_on() {
    let dir = lived_in();
    harm(dir.path(), |write| {
        write.open_table(CONVERSATIONS).unwrap().insert(HARMED.0, GARBAGE).unwrap();
    });
    live(dir.path(), async |raw| {
        let begun = Instant::now();
        for n in 3..40 {
            assert_eq!(send(raw, HARMED, n).await, Err(Refusal::Busy));
            assert_eq!(send(raw, WHOLE, n).await, Ok(Seq(n)));
        }
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "nobody waits for the damaged row: {:?}",
            begun.elapsed()
        );
    });
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
