//! redb behind the `Storage` trait, on a real file: what goes in comes out, also after a reopen.

mod common;

use common::TempDir;
use squall_core::messages::{Conversation, LogDelta, SendOutcome, SendRequest};
use squall_protocol::limits::{DEDUP_WINDOW, INDEX_CHUNK};
use squall_protocol::{
    ClientMsgId, ClientSeq, ConversationId, Cursors, DeviceId, Entry, Payload, Seq, UserId, Who,
};
use squall_server::storage::{
    Batch, Doubt, NewEntry, Recovered, RedbStorage, Storage, StorageError, WriterThread,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const CACHE_BYTES: usize = 4 * 1024 * 1024;
const ALICE: UserId = UserId(1);
const BOB: UserId = UserId(2);

/// The database in the directory, created at the first call.
fn open(dir: &TempDir) -> RedbStorage {
    let path = dir.path().join("messages-0.redb");
    if !path.exists() {
        RedbStorage::create_file(&path).unwrap();
    }
    RedbStorage::open_file(&path, &Doubt::default(), CACHE_BYTES, Arc::new(WriterThread::spawn().unwrap()))
        .unwrap()
}

fn group(number: u64) -> ConversationId {
    ConversationId::group(ALICE, number)
}

fn device_of(user: UserId) -> DeviceId {
    DeviceId(user.0 * 10)
}

fn who(user: UserId) -> Who {
    (user, device_of(user))
}

fn id_of(user: UserId, n: u64) -> ClientMsgId {
    ClientMsgId(u128::from(user.0) << 64 | u128::from(n))
}

fn text(n: u64) -> Payload {
    Payload::Text(format!("message {n} of some length"))
}

/// A shard's memory of some conversations, and the entries that it has staged.
struct Writer {
    position: u64,
    staged: Vec<NewEntry>,
    logs: Vec<Conversation>,
    /// All entries so far.
    history: Vec<(ConversationId, Entry)>,
}

impl Writer {
    fn new() -> Writer {
        Writer { position: 0, staged: Vec::new(), logs: Vec::new(), history: Vec::new() }
    }

    fn log(&mut self, id: ConversationId) -> &mut Conversation {
        let index = self.logs.iter().position(|log| log.id() == id).unwrap_or_else(|| {
            self.logs.push(Conversation::new(id));
            self.logs.len() - 1
        });
        &mut self.logs[index]
    }

    fn send(&mut self, conversation: ConversationId, sender: UserId, payload: Payload) {
        let client_seq = self.log(conversation).next_client_seq(who(sender));
        let request = SendRequest {
            sender,
            device: device_of(sender),
            connect_count: 3,
            client_msg_id: id_of(sender, client_seq.0),
            client_seq,
            payload,
            stored_at_ms: 1_000 + self.position,
        };
        let SendOutcome::Staged(entry) = self.log(conversation).handle_send(request) else {
            panic!("the send is in order");
        };
        self.history.push((conversation, entry.clone()));
        self.staged.push(NewEntry { position: self.position, conversation, entry });
        self.position += 1;
    }

    fn create(&mut self, conversation: ConversationId) {
        self.send(
            conversation,
            ALICE,
            Payload::Created { direct: false, channel: false, members: vec![ALICE, BOB] },
        );
    }

    fn batch(&mut self) -> Batch {
        let entries = std::mem::take(&mut self.staged);
        let touched = |log: &&mut Conversation| entries.iter().any(|new| new.conversation == log.id());
        let mut batch = Batch::default();
        for log in self.logs.iter_mut().filter(touched) {
            let mut delta = LogDelta::of(log);
            let own = entries.iter().filter(|new| new.conversation == log.id());
            own.for_each(|new| delta.note(log, &new.entry));
            log.handle_durable(log.head());
            batch.logs.push(delta);
        }
        batch.entries = entries;
        batch
    }

    fn entries_of(&self, id: ConversationId) -> Vec<Entry> {
        self.history.iter().filter(|(conversation, _)| *conversation == id).map(|(_, e)| e.clone()).collect()
    }
}

fn read_all(storage: &RedbStorage, id: ConversationId) -> Vec<Entry> {
    storage.entries(id, Seq(1), Seq(u64::MAX), usize::MAX, usize::MAX).unwrap()
}

/// A snapshot that somebody takes while a commit runs must not outlast it.
#[tokio::test]
async fn whoever_reads_after_a_commit_sees_it_though_others_read_meanwhile() {
    let dir = TempDir::new("storage");
    let storage = Arc::new(open(&dir));
    let (reading, over) = (Arc::clone(&storage), Arc::new(AtomicBool::new(false)));
    let until = Arc::clone(&over);
    let reader = std::thread::spawn(move || {
        while !until.load(Ordering::Relaxed) {
            reading.recovered().unwrap();
        }
    });
    let mut writer = Writer::new();
    writer.create(group(5));
    for n in 0..50 {
        writer.send(group(5), BOB, text(n));
        storage.append(writer.batch()).await.unwrap();
        assert_eq!(storage.recovered().unwrap().next_position, writer.position);
    }
    over.store(true, Ordering::Relaxed);
    reader.join().unwrap();
}

#[tokio::test]
async fn what_is_appended_is_read_back_also_after_a_reopen() {
    let dir = TempDir::new("storage");
    let (a, b) = (group(5), group(6));
    let mut writer = Writer::new();
    let storage = open(&dir);
    assert_eq!(storage.recovered().unwrap(), Recovered { next_position: 0, dispatched: Some(0) });
    assert_eq!(storage.conversation(a).unwrap(), None);
    assert_eq!(read_all(&storage, a), []);

    writer.create(a);
    writer.create(b);
    writer.send(a, BOB, text(1));
    storage.append(writer.batch()).await.unwrap();
    writer.send(a, ALICE, text(2));
    writer.send(b, BOB, text(3));
    storage.append(writer.batch()).await.unwrap();

    let check = |storage: &RedbStorage| {
        assert_eq!(read_all(storage, a), writer.entries_of(a));
        assert_eq!(read_all(storage, b), writer.entries_of(b));
        assert_eq!(storage.recovered().unwrap(), Recovered { next_position: 5, dispatched: Some(0) });
        assert_eq!(storage.conversations_of(ALICE, None, 9).unwrap(), [a, b]);
        assert_eq!(storage.conversations_of(BOB, None, 9).unwrap(), [a, b]);
        assert_eq!(storage.conversations_of(BOB, None, 1).unwrap(), [a]);
        assert_eq!(storage.conversations_of(BOB, Some(a), 9).unwrap(), [b]);
        assert_eq!(storage.conversations_of(UserId(3), None, 9).unwrap(), []);
        let appended: Vec<_> =
            storage.rows_from(1, 3).unwrap().into_iter().map(|(_, entry)| entry.unwrap()).collect();
        assert_eq!(appended.iter().map(|new| new.position).collect::<Vec<_>>(), [1, 2, 3]);
        for new in appended {
            assert_eq!((new.conversation, new.entry), writer.history[new.position as usize]);
        }
    };
    check(&storage);
    drop(storage);
    check(&open(&dir));
}

#[tokio::test]
async fn any_range_of_a_long_log_is_read_across_index_chunks() {
    const ENTRIES: u64 = 500;
    let dir = TempDir::new("storage");
    let (id, other) = (group(5), group(6));
    let mut writer = Writer::new();
    let storage = open(&dir);
    writer.create(id);
    writer.create(other);
    // Batches of all sizes, one larger than two chunks, so that chunks fill up at their ends and in their midst.
    let sizes = [1, 62, 1, 1, 64, 3, 2 * INDEX_CHUNK as u64 + 5, 17];
    let mut sizes = sizes.iter().copied().chain(std::iter::repeat(31));
    let mut sent = 1;
    while sent < ENTRIES {
        let size = sizes.next().unwrap().min(ENTRIES - sent);
        for n in 0..size {
            writer.send(id, if (sent + n) % 3 == 0 { BOB } else { ALICE }, text(sent + n));
            if n % 7 == 0 {
                writer.send(other, BOB, text(n));
            }
        }
        sent += size;
        storage.append(writer.batch()).await.unwrap();
    }
    let all = writer.entries_of(id);
    assert_eq!(all.len() as u64, ENTRIES);
    let check = |storage: &RedbStorage| {
        let read = |from, to, max| storage.entries(id, Seq(from), Seq(to), max, usize::MAX).unwrap();
        for from in (1..=ENTRIES).filter(|n| n % 13 == 1 || n % 64 < 2 || *n > 440) {
            for to in [from, from + 1, from + 62, from + 63, from + 64, from + 200, ENTRIES, ENTRIES + 9] {
                let expected = &all[from as usize - 1..to.min(ENTRIES) as usize];
                assert_eq!(read(from, to, usize::MAX), expected, "{from}..={to}");
            }
            assert_eq!(read(from, ENTRIES, 5), &all[from as usize - 1..(from as usize + 4).min(all.len())]);
        }
        assert_eq!(read(ENTRIES + 1, ENTRIES + 10, 10), []);
        assert_eq!(read_all(storage, other), writer.entries_of(other));
    };
    check(&storage);
    drop(storage);
    check(&open(&dir));
}

#[tokio::test]
async fn a_page_ends_early_once_its_bodies_are_large_enough_and_never_empty() {
    let dir = TempDir::new("storage");
    let id = group(5);
    let mut writer = Writer::new();
    let storage = open(&dir);
    writer.create(id);
    for _ in 0..9 {
        writer.send(id, BOB, Payload::Text("x".repeat(1_000)));
    }
    storage.append(writer.batch()).await.unwrap();
    let page = |from, bytes| storage.entries(id, Seq(from), Seq(10), 10, bytes).unwrap().len();
    assert_eq!(page(2, 2_500), 3);
    assert_eq!(page(2, 1), 1);
    assert_eq!(page(2, 1_000_000), 9);
}

#[tokio::test]
async fn the_dedup_window_and_the_membership_survive_a_reopen() {
    let dir = TempDir::new("storage");
    let id = group(5);
    let mut writer = Writer::new();
    let storage = open(&dir);
    writer.create(id);
    for n in 0..3 * DEDUP_WINDOW as u64 {
        writer.send(id, if n % 4 == 0 { BOB } else { ALICE }, text(n));
        if n % 10 == 0 {
            storage.append(writer.batch()).await.unwrap();
        }
    }
    writer.send(id, ALICE, Payload::joined(UserId(3)));
    writer.send(id, ALICE, Payload::left(BOB));
    storage.append(writer.batch()).await.unwrap();

    let in_memory = writer.log(id).clone();
    let loaded = |storage: &RedbStorage| {
        let mut log = storage.conversation(id).unwrap().expect("the conversation is on disk");
        for user in [ALICE, BOB] {
            log.load_sender(storage.sender(id, who(user)).unwrap().expect("it has sent"));
        }
        log
    };
    assert_eq!(loaded(&storage), in_memory);
    drop(storage);
    let storage = open(&dir);
    let mut reopened = loaded(&storage);
    assert_eq!(reopened, in_memory);
    assert_eq!(storage.sender(id, (ALICE, DeviceId(99))).unwrap(), None);
    assert_eq!(storage.sender(id, (BOB, device_of(ALICE))).unwrap(), None);
    assert_eq!(storage.standing(id, ALICE).unwrap().map(|s| s.head), Some(in_memory.head()));
    assert_eq!(storage.standing(id, UserId(3)).unwrap().map(|s| s.head), Some(in_memory.head()));
    assert_eq!(storage.standing(id, UserId(4)).unwrap(), None);

    // Every message of a device is found by its number, however long ago it was sent.
    for entry in writer.entries_of(id) {
        let found = storage.numbered(id, who(entry.sender), entry.client_seq).unwrap();
        assert_eq!(found, Some(entry));
    }
    let next = in_memory.next_client_seq(who(ALICE));
    for number in [ClientSeq(0), next, ClientSeq(u64::MAX)] {
        assert_eq!(storage.numbered(id, who(ALICE), number).unwrap(), None);
    }

    // A resend meets the message that is on disk; one that left the window is told by its number.
    let resend = |client_seq: u64| SendRequest {
        sender: ALICE,
        device: device_of(ALICE),
        connect_count: 4,
        client_msg_id: id_of(ALICE, client_seq),
        client_seq: ClientSeq(client_seq),
        payload: text(0),
        stored_at_ms: 0,
    };
    let last = reopened.next_client_seq(who(ALICE)).0 - 1;
    assert_eq!(reopened.handle_send(resend(last)), SendOutcome::Duplicate(reopened.head().prev().next()));
    let oldest = last + 1 - DEDUP_WINDOW as u64;
    assert!(matches!(reopened.handle_send(resend(oldest)), SendOutcome::Duplicate(_)));
    assert_eq!(reopened.handle_send(resend(oldest - 1)), SendOutcome::Old);
    assert!(matches!(reopened.handle_send(resend(last + 1)), SendOutcome::Staged(_)));
}

#[tokio::test]
async fn a_batch_that_does_not_follow_on_the_disk_is_refused_whole() {
    let dir = TempDir::new("storage");
    let (a, b) = (group(5), group(6));
    let mut writer = Writer::new();
    let storage = open(&dir);
    writer.create(a);
    storage.append(writer.batch()).await.unwrap();
    writer.create(b);
    writer.send(a, ALICE, text(1));
    drop(writer.batch());
    writer.create(group(7));
    writer.send(a, ALICE, text(2));
    let refused = storage.append(writer.batch()).await;
    assert!(matches!(refused, Err(StorageError::DoesNotFollow { conversation }) if conversation == a));
    assert_eq!(storage.conversation(group(7)).unwrap(), None);
    assert_eq!(storage.recovered().unwrap().next_position, 1);
}

#[tokio::test]
async fn a_large_group_is_loaded_as_it_was_and_members_come_and_go_one_row_at_a_time() {
    let dir = TempDir::new("storage");
    let (id, mut writer, storage) = (group(5), Writer::new(), open(&dir));
    let members: Vec<UserId> = (1..=5_000).map(UserId).collect();
    writer.send(id, ALICE, Payload::Created { direct: false, channel: false, members });
    for user in 2..40 {
        writer.send(id, UserId(user), Payload::left(UserId(user)));
        writer.send(id, ALICE, text(user));
        if user % 2 == 0 {
            writer.send(id, ALICE, Payload::joined(UserId(user)));
        }
        storage.append(writer.batch()).await.unwrap();
    }
    let batch = {
        writer.send(id, ALICE, text(9));
        writer.send(id, ALICE, Payload::left(UserId(77)));
        writer.batch()
    };
    let delta = &batch.logs[0];
    assert_eq!((batch.logs.len(), delta.changed.len(), delta.senders.len()), (1, 1, 1));
    storage.append(batch).await.unwrap();
    drop(storage);
    let loaded = open(&dir).conversation(id).unwrap().unwrap();
    assert_eq!(loaded.membership(), writer.log(id).membership());
    assert_eq!((loaded.membership().present(), loaded.membership().stretches().len()), (4_980, 5_019));
}

#[tokio::test]
async fn a_cursor_never_goes_back() {
    let dir = TempDir::new("storage");
    let storage = open(&dir);
    let (a, b) = (group(5), group(6));
    let at = |delivered, read| Cursors { delivered: Seq(delivered), read: Seq(read) };
    let batch =
        |cursors: &[(UserId, ConversationId, Cursors)]| Batch { cursors: cursors.to_vec(), ..Batch::default() };
    storage.append(batch(&[(ALICE, a, at(7, 0)), (ALICE, b, at(2, 2))])).await.unwrap();
    storage.append(batch(&[(ALICE, a, at(6, 5)), (ALICE, b, at(3, 1)), (BOB, a, at(1, 0))])).await.unwrap();
    let expected = [(ALICE, a, at(7, 5)), (BOB, a, at(1, 0)), (ALICE, b, at(3, 2))];
    assert_eq!(storage.cursors().unwrap(), expected);
    let some = [(ALICE, b), (ALICE, a), (BOB, b)];
    assert_eq!(storage.cursors_of(&some).unwrap(), [at(3, 2), at(7, 5), at(0, 0)]);
    assert_eq!(storage.cursors_in(a).unwrap(), [(ALICE, at(7, 5)), (BOB, at(1, 0))]);
    drop(storage);
    assert_eq!(open(&dir).cursors().unwrap(), expected);
}

#[tokio::test]
async fn recovery_starts_after_the_last_entry_and_at_the_dispatch_watermark() {
    let dir = TempDir::new("storage");
    let id = group(5);
    let mut writer = Writer::new();
    let storage = open(&dir);
    writer.create(id);
    writer.send(id, BOB, text(1));
    storage.append(writer.batch()).await.unwrap();
    storage.append(Batch { dispatched: Some(1), ..Batch::default() }).await.unwrap();
    assert_eq!(storage.recovered().unwrap(), Recovered { next_position: 2, dispatched: Some(1) });
    writer.send(id, BOB, text(2));
    let with_entries = Batch { dispatched: Some(2), ..writer.batch() };
    storage.append(with_entries).await.unwrap();
    drop(storage);
    let storage = open(&dir);
    let recovered = storage.recovered().unwrap();
    assert_eq!(recovered, Recovered { next_position: 3, dispatched: Some(2) });
    let left: Vec<Seq> = storage
        .rows_from(recovered.dispatched.unwrap(), 9)
        .unwrap()
        .into_iter()
        .map(|(_, row)| row.unwrap().entry.seq)
        .collect();
    assert_eq!(left, [Seq(3)]);
}

#[tokio::test]
async fn a_database_that_another_process_has_open_is_an_error_not_a_panic() {
    let dir = TempDir::new("storage");
    let _first = open(&dir);
    let executor = Arc::new(WriterThread::spawn().unwrap());
    let second =
        RedbStorage::open_file(&dir.path().join("messages-0.redb"), &Doubt::default(), CACHE_BYTES, executor);
    assert!(matches!(second.err(), Some(StorageError::Open(_))));
}
