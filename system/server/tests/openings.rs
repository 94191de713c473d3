//! A data directory is created once. From then on a database that is missing, empty, cut off or not ours is refused by name and
//! left as it is; only a creation that was interrupted is begun anew.

mod common;

use common::{PATIENCE, Raw, SECRET, TempDir};
use squall_core::rate::UserLimits;
use squall_protocol::{ClientFrame, ClientMsgId, ClientSeq, Codec, ConversationId, Payload, ServerFrame, UserId};
use squall_server::local::{Local, LocalConfig};
use squall_server::storage::FORMAT;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SHARDS: u32 = 2;
const FIRST: &str = "messages-0.redb";

fn config(data: PathBuf) -> LocalConfig {
    LocalConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        gateways: 1,
        shards: SHARDS,
        presences: 1,
        data,
        keys: common::keys(),
        limits: UserLimits::default(),
        cache_bytes: 1 << 20,
    }
}

/// A life of the server, at the end of which nothing of it runs.
fn live<T>(data: &Path, act: impl AsyncFnOnce(&mut Local) -> T) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut local = Local::start(config(data.to_owned())).await.map_err(|error| error.to_string())?;
        Ok(act(&mut local).await)
    })
}

/// What a start is told that does not succeed.
fn refusal(data: &Path) -> String {
    live(data, async |_| ()).expect_err("the start is refused")
}

async fn write_something(local: &mut Local) {
    let mut raw = Raw::online(local.gateways()[0], Codec::Json, 1, 11).await;
    for n in 1..=8u64 {
        let (conversation, client_msg_id) =
            (ConversationId::group(UserId(1), 500 + n), ClientMsgId(u128::from(n)));
        let payload = Payload::Created { direct: false, channel: false, members: vec![UserId(1)] };
        raw.send(ClientFrame::Send { conversation, client_msg_id, client_seq: ClientSeq::FIRST, payload }).await;
        let stored = async { while !matches!(raw.frame().await, ServerFrame::Sent { .. }) {} };
        tokio::time::timeout(PATIENCE, stored).await.expect("a send is answered");
    }
}

/// A directory with conversations on both shards.
fn lived_in() -> TempDir {
    let dir = TempDir::new("openings");
    live(dir.path(), write_something).unwrap();
    dir
}

#[test]
fn a_directory_is_created_once_and_opened_ever_after() {
    let dir = lived_in();
    assert_eq!(live(dir.path(), write_something), Ok(()));
}

#[test]
fn a_file_that_is_no_database_is_refused_by_name_and_left_as_it_is() {
    type Harm = fn(&mut Vec<u8>);
    let harms: [(&str, Harm); 5] = [
        ("its first bytes are zeros", |bytes| bytes[..9].fill(0)),
        ("it is empty", Vec::clear),
        ("it is another program's", |bytes| *bytes = b"SQLite format 3\0".repeat(1_000)),
        ("it is cut off after its first page", |bytes| bytes.truncate(4_096)),
        ("it is cut off in its first bytes", |bytes| bytes.truncate(5)),
    ];
    for (what, harm) in harms {
        let dir = lived_in();
        let file = dir.path().join(FIRST);
        let mut bytes = fs::read(&file).unwrap();
        harm(&mut bytes);
        fs::write(&file, &bytes).unwrap();
        let told = refusal(dir.path());
        assert!(told.contains(file.to_str().unwrap()), "{what}: {told}");
        assert!(told.contains("expected"), "{what}: {told}");
        assert_eq!(fs::read(&file).unwrap(), bytes, "{what}: the evidence is left alone");
    }
}

#[test]
fn a_database_of_another_format_is_refused_by_its_number() {
    const META: redb::TableDefinition<&str, u64> = redb::TableDefinition::new("meta");
    for (format, told) in
        [(Some(FORMAT + 1), format!("newer format {}", FORMAT + 1)), (None, "older format 0".into())]
    {
        let dir = lived_in();
        let file = dir.path().join(FIRST);
        let database = redb::Database::open(&file).unwrap();
        let write = database.begin_write().unwrap();
        match format {
            Some(format) => drop(write.open_table(META).unwrap().insert("format", format).unwrap()),
            None => drop(write.open_table(META).unwrap().remove("format").unwrap()),
        }
        write.commit().unwrap();
        drop(database);
        let refused = refusal(dir.path());
        assert!(refused.contains(file.to_str().unwrap()) && refused.contains(&told), "{refused}");
    }
}

#[test]
fn a_missing_database_is_refused_by_name_and_not_made_anew() {
    let dir = lived_in();
    let file = dir.path().join(FIRST);
    fs::remove_file(&file).unwrap();
    let told = refusal(dir.path());
    assert!(told.contains(file.to_str().unwrap()) && told.contains("expected"), "{told}");
    assert!(!file.exists());
}

#[test]
fn databases_without_their_number_are_refused_unless_they_are_empty() {
    let dir = lived_in();
    fs::remove_file(dir.path().join("shards")).unwrap();
    let told = refusal(dir.path());
    assert!(told.contains("shards") && told.contains(FIRST), "{told}");

    // As a creation leaves it that was interrupted before its last step.
    let dir = TempDir::new("openings");
    live(dir.path(), async |_| ()).unwrap();
    fs::remove_file(dir.path().join("shards")).unwrap();
    fs::remove_file(dir.path().join("messages-1.redb")).unwrap();
    fs::write(dir.path().join("messages-1.redb.new"), [0; 9_000]).unwrap();
    assert_eq!(live(dir.path(), write_something), Ok(()));
    assert_eq!(live(dir.path(), write_something), Ok(()));
}

#[test]
fn chatd_without_a_secret_says_how_to_give_one() {
    let dir = TempDir::new("openings");
    let output = Command::new(env!("CARGO_BIN_EXE_chatd"))
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("give --secret-file FILE or --keys FILE (or --secret TEXT"), "{told}");
}

#[test]
fn chatd_says_what_it_found_and_what_to_do_and_ends_with_2() {
    let dir = lived_in();
    let file = dir.path().join(FIRST);
    fs::remove_file(&file).unwrap();
    let mut chatd = Command::new(env!("CARGO_BIN_EXE_chatd"))
        .args(["--listen", "127.0.0.1:0", "--secret", SECRET, "--shards", &SHARDS.to_string(), "--data"])
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that serves says so, and would go on for ever.
    let mut served = String::new();
    BufReader::new(chatd.stdout.take().unwrap()).read_line(&mut served).unwrap();
    if !served.is_empty() {
        chatd.kill().unwrap();
    }
    let output = chatd.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((served.as_str(), output.status.code()), ("", Some(2)), "{told}");
    assert!(told.contains(file.to_str().unwrap()) && told.contains("backup"), "{told}");
}
