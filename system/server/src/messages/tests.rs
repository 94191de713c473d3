//! What a frame costs a shard before anybody has asked who sent it, counted in reads of its disk.

use super::dispatcher::Dispatcher;
use super::fences::Fences;
use super::inspect::inspect;
use super::requests;
use super::shard::{Shard, Share};
use crate::clock::Clock;
use crate::inspect::{Differs, Inspected};
use crate::links::Queue;
use crate::net::BoxFuture;
use crate::observer::Unobserved;
use crate::storage::{Batch, NewEntry, Recovered, RedbStorage, Row, Storage, StorageError, WriterThread};
use crate::tasks::Tasks;
use futures_util::StreamExt;
use squall_core::messages::{Conversation, Fence, LogDelta, Position, SendOutcome, SendRequest, Sender, Standing};
use squall_core::rate::UserLimits;
use squall_protocol::ids::rendezvous;
use squall_protocol::wire::messages::reply::Reply as Kind;
use squall_protocol::wire::messages::{Caller, Reply, Request};
use squall_protocol::{
    ClientFrame, ClientMsgId, ClientSeq, ConversationId, Cursors, DeviceId, Entry, Payload, Refusal, Seq,
    ServerFrame, UserId, Who, limits, relay,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const OWNER: UserId = UserId(1);
const STRANGER: UserId = UserId(3);
/// Far beyond what a shard remembers by heart.
const ENTRIES: u64 = 10 * limits::DEDUP_WINDOW as u64;

/// A disk that counts how many rows of logs have been read from it.
struct Counting {
    inner: RedbStorage,
    read: AtomicUsize,
}

impl Counting {
    fn count(&self, rows: usize) {
        self.read.fetch_add(rows, Ordering::Relaxed);
    }
}

impl Storage for Counting {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StorageError>> {
        self.inner.append(batch)
    }
    fn recovered(&self) -> Result<Recovered, StorageError> {
        self.inner.recovered()
    }
    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StorageError> {
        let found = self.inner.conversation(id)?;
        self.count(found.iter().map(|log| 1 + log.membership().stretches().len()).sum());
        Ok(found)
    }
    fn sender(&self, id: ConversationId, who: Who) -> Result<Option<Sender>, StorageError> {
        let found = self.inner.sender(id, who)?;
        self.count(found.iter().map(|sender| 1 + sender.recent.len()).sum());
        Ok(found)
    }
    fn numbered(&self, id: ConversationId, who: Who, number: ClientSeq) -> Result<Option<Entry>, StorageError> {
        self.count(1);
        self.inner.numbered(id, who, number)
    }
    fn fence(&self, user: UserId, device: DeviceId) -> Result<Option<Fence>, StorageError> {
        self.inner.fence(user, device)
    }
    fn fenced(&self) -> Result<Vec<(UserId, DeviceId)>, StorageError> {
        self.inner.fenced()
    }
    fn standing(&self, id: ConversationId, user: UserId) -> Result<Option<Standing>, StorageError> {
        self.count(1);
        self.inner.standing(id, user)
    }
    fn entries(
        &self,
        id: ConversationId,
        from: Seq,
        to: Seq,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let entries = self.inner.entries(id, from, to, max_entries, max_bytes)?;
        self.count(entries.len());
        Ok(entries)
    }
    fn rows_from(&self, position: Position, max: usize) -> Result<Vec<Row>, StorageError> {
        self.inner.rows_from(position, max)
    }
    fn knows(&self, id: ConversationId, user: UserId) -> Result<bool, StorageError> {
        self.inner.knows(id, user)
    }
    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        max: usize,
    ) -> Result<Vec<ConversationId>, StorageError> {
        self.inner.conversations_of(user, after, max)
    }
    fn cursors_of(&self, pairs: &[(UserId, ConversationId)]) -> Result<Vec<Cursors>, StorageError> {
        self.inner.cursors_of(pairs)
    }

    fn cursors_in(&self, id: ConversationId) -> Result<Vec<(UserId, Cursors)>, StorageError> {
        self.inner.cursors_in(id)
    }
    fn cursors(&self) -> Result<Vec<(UserId, ConversationId, Cursors)>, StorageError> {
        self.inner.cursors()
    }
}

/// A disk with one long conversation on it.
async fn disk(conversation: ConversationId) -> Arc<Counting> {
    let executor = Arc::new(WriterThread::spawn().unwrap());
    let memory = redb::backends::InMemoryBackend::new();
    let inner = RedbStorage::create_backend(memory, 1024 * 1024, executor).unwrap();
    let mut log = Conversation::new(conversation);
    let mut batch = Batch::default();
    for n in 1..=ENTRIES {
        let payload = match n {
            1 => Payload::Created { direct: false, channel: false, members: vec![OWNER, UserId(2)] },
            _ => Payload::Text("x".into()),
        };
        let request = SendRequest {
            sender: OWNER,
            device: DeviceId(10),
            connect_count: 1,
            client_msg_id: ClientMsgId(u128::from(n)),
            client_seq: ClientSeq(n),
            payload,
            stored_at_ms: 1_000 + n,
        };
        let SendOutcome::Staged(entry) = log.handle_send(request) else { panic!("entry {n} is in order") };
        batch.entries.push(NewEntry { position: n - 1, conversation, entry });
    }
    let mut delta = LogDelta::of(&log);
    batch.entries.iter().for_each(|new| delta.note(&log, &new.entry));
    batch.logs.push(delta);
    inner.append(batch).await.unwrap();
    Arc::new(Counting { inner, read: AtomicUsize::new(0) })
}

fn shard_on(disk: &Arc<Counting>) -> Shard {
    shard_of(Share { index: 0, shards: 1 }, disk)
}

fn shard_of(share: Share, disk: &Arc<Counting>) -> Shard {
    let disk: Arc<dyn Storage> = Arc::clone(disk) as _;
    let open = Arc::new(move || Ok(Arc::clone(&disk)));
    let shard = Shard::new(
        share,
        open,
        UserLimits::default(),
        Dispatcher::new(1, 1),
        Clock::new(|| 0),
        Arc::new(Unobserved),
        Tasks::default(),
    );
    shard.recover().unwrap();
    shard
}

fn request(user: UserId, frame: &ClientFrame) -> Request {
    let caller = Caller { connection: 1, user: user.0, device: user.0 * 10, connect_count: 1 };
    Request { caller: Some(caller), request: Some(relay::request_to_wire(frame).1) }
}

fn text(conversation: ConversationId, client_seq: u64) -> ClientFrame {
    ClientFrame::Send {
        conversation,
        client_msg_id: ClientMsgId(u128::MAX - u128::from(client_seq)),
        client_seq: ClientSeq(client_seq),
        payload: Payload::Text("x".into()),
    }
}

#[tokio::test]
async fn whatever_number_a_stranger_sends_no_log_is_read_for_it() {
    let conversation = ConversationId::group(OWNER, 77);
    let disk = disk(conversation).await;
    for number in [0, 1, 2, u64::MAX] {
        let shard = shard_on(&disk);
        let replies: Queue<Reply> = Queue::default();
        disk.read.store(0, Ordering::Relaxed);
        requests::handle(&shard, request(STRANGER, &text(conversation, number)), &replies);
        assert_eq!(disk.read.load(Ordering::Relaxed), 0, "rows read for number {number}");
        assert!(!shard.state().fences.cut().is_empty(), "the stranger will have an answer");
    }
}

#[tokio::test]
async fn what_memory_says_otherwise_than_the_disk_is_found() {
    let (on_disk, in_memory) = (ConversationId::group(OWNER, 77), ConversationId::group(OWNER, 78));
    let disk = disk(on_disk).await;
    let shard = shard_on(&disk);
    let who = (OWNER, DeviceId(10));
    shard.state().cache.get_for(on_disk, who, disk.as_ref()).unwrap();
    shard.state().cache.get(in_memory, disk.as_ref()).unwrap();
    assert_eq!(inspect(&shard), Inspected { compared: 2, differ: Vec::new() });
    let send = |conversation, client_seq, payload| {
        let request = SendRequest {
            sender: OWNER,
            device: who.1,
            connect_count: 1,
            client_msg_id: ClientMsgId(u128::MAX),
            client_seq,
            payload,
            stored_at_ms: 0,
        };
        let mut state = shard.state();
        let log = state.cache.get_for(conversation, who, disk.as_ref()).unwrap();
        let SendOutcome::Staged(entry) = log.handle_send(request) else { panic!("it is in order") };
        log.handle_durable(entry.seq);
    };
    // Nothing of this was ever written.
    send(in_memory, ClientSeq::FIRST, Payload::Created { direct: false, channel: false, members: vec![OWNER] });
    let its_head = |conversation| Differs { conversation, what: "its head" };
    assert_eq!(inspect(&shard).differ, [its_head(in_memory)]);
    send(on_disk, ClientSeq(ENTRIES + 1), Payload::Text("x".into()));
    let mut differ = inspect(&shard).differ;
    differ.sort_by_key(|differs| differs.conversation);
    assert_eq!(differ, [its_head(on_disk), its_head(in_memory)]);
}

#[tokio::test]
async fn an_old_resend_of_a_member_is_found_by_its_number_in_one_look_up() {
    let conversation = ConversationId::group(OWNER, 77);
    let disk = disk(conversation).await;
    let shard = Arc::new(shard_on(&disk));
    let replies: Queue<Reply> = Queue::default();
    let mut batches = replies.batches();
    shard.state().cache.get_for(conversation, (OWNER, DeviceId(10)), disk.as_ref()).unwrap();
    disk.read.store(0, Ordering::Relaxed);
    let resend = |number: u64, id: u64| ClientFrame::Send {
        conversation,
        client_msg_id: ClientMsgId(u128::from(id)),
        client_seq: ClientSeq(number),
        payload: Payload::Text("x".into()),
    };
    // Number 0 is nobody's; 5 is the fifth entry's, and again under another id.
    for (number, id) in [(0, 5), (5, 5), (5, 999)] {
        requests::handle(&shard, request(OWNER, &resend(number, id)), &replies);
    }
    assert_eq!(disk.read.load(Ordering::Relaxed), 2, "one look-up for each old number");
    let batch = batches.next().await.expect("the queue is open");
    let answers: Vec<ServerFrame> =
        batch.into_iter().map(|reply| relay::reply_from_wire(reply.reply.unwrap()).unwrap().unwrap()).collect();
    let expected = Refusal::ExpectedClientSeq(ClientSeq(ENTRIES + 1));
    let refused = |id| ServerFrame::Refused { conversation, client_msg_id: ClientMsgId(id), reason: expected };
    let sent =
        ServerFrame::Sent { conversation, client_msg_id: ClientMsgId(5), server_seq: Seq(5), stored_at_ms: 1_005 };
    assert_eq!(answers, [refused(5), sent, refused(999)]);
}

#[tokio::test]
async fn a_stranger_costs_a_cold_conversation_no_read_of_its_log_whatever_they_ask() {
    let conversation = ConversationId::group(OWNER, 77);
    let disk = disk(conversation).await;
    let frames = [
        text(conversation, 1),
        ClientFrame::Sync { conversation, since_seq: Seq::ZERO },
        ClientFrame::Ack { conversation, up_to_seq: Seq(1) },
    ];
    for frame in frames {
        let shard = shard_on(&disk);
        shard.state().cache = Default::default();
        disk.read.store(0, Ordering::Relaxed);
        requests::handle(&shard, request(STRANGER, &frame), &Queue::default());
        assert_eq!(disk.read.load(Ordering::Relaxed), 0, "{frame:?}");
        assert!(shard.state().cache.peek(conversation).is_none(), "{frame:?}");
    }
}

#[tokio::test]
async fn what_is_about_another_shard_s_conversation_is_counted_and_leaves_no_trace() {
    let conversation = ConversationId::group(OWNER, 77);
    let disk = disk(conversation).await;
    let owner = rendezvous(conversation.spread(), 2);
    let shard = shard_of(Share { index: 1 - owner, shards: 2 }, &disk);
    shard.state().cache = Default::default();
    let replies: Queue<Reply> = Queue::default();
    let mut batches = replies.batches();
    disk.read.store(0, Ordering::Relaxed);
    let send = text(conversation, ENTRIES + 1);
    let ack = ClientFrame::Ack { conversation, up_to_seq: Seq(1) };
    let sync = ClientFrame::Sync { conversation, since_seq: Seq::ZERO };
    for frame in [&ack, &sync, &send] {
        requests::handle(&shard, request(OWNER, frame), &replies);
    }
    // The send is to be said again; an ack has no answer, and whoever asked for a page asks again.
    let told = answers(&mut batches).await;
    assert!(matches!(told[..], [ServerFrame::Refused { reason: Refusal::Busy, .. }]), "{told:?}");
    assert_eq!((shard.count_misrouted(), disk.read.load(Ordering::Relaxed)), (4, 0));
    let state = shard.state();
    assert!(state.cursors.is_empty() && state.cache.peek(conversation).is_none() && state.staged.len() == 0);
}

/// The frames that have been answered so far.
async fn answers(batches: &mut (impl futures_util::Stream<Item = Vec<Reply>> + Unpin)) -> Vec<ServerFrame> {
    let batch = batches.next().await.expect("the queue is open");
    batch.into_iter().map(|reply| relay::reply_from_wire(reply.reply.unwrap()).unwrap().unwrap()).collect()
}

#[tokio::test]
async fn a_refusal_is_told_when_its_fence_is_durable_and_whatever_comes_of_the_message_later_is_stale() {
    let conversation = ConversationId::group(OWNER, 77);
    let disk = disk(conversation).await;
    let shard = Arc::new(shard_on(&disk));
    let replies: Queue<Reply> = Queue::default();
    let mut batches = replies.batches();
    let copy = |connect_count| {
        let mut request = request(STRANGER, &text(conversation, 1));
        request.caller.as_mut().unwrap().connect_count = connect_count;
        request
    };
    requests::handle(&shard, copy(2), &replies);
    assert!(replies.is_empty(), "nothing is told before it is durable");
    let who = (STRANGER, DeviceId(30));
    assert_eq!(disk.fence(who.0, who.1).unwrap(), None);
    let commits = tokio::spawn(super::commit::run(Arc::clone(&shard)));
    let told = answers(&mut batches).await;
    assert!(matches!(told[..], [ServerFrame::Refused { reason: Refusal::NotAMember, .. }]), "{told:?}");
    assert_eq!(disk.fence(who.0, who.1).unwrap().map(|fence| fence.floor()), Some(2));

    // The old copy's connection is stale, the same copy again is told the same, at once.
    let stale = [ServerFrame::Stale { connect_count: 1, superseded: false }];
    requests::handle(&shard, copy(1), &replies);
    assert_eq!(answers(&mut batches).await, stale);
    requests::handle(&shard, copy(2), &replies);
    assert_eq!(answers(&mut batches).await, told);
    // A shard that starts on this disk knows no less.
    let restarted = shard_on(&disk);
    requests::handle(&restarted, copy(1), &replies);
    assert_eq!(answers(&mut batches).await, stale);
    requests::handle(&restarted, copy(2), &replies);
    assert_eq!(answers(&mut batches).await, told);
    commits.abort();
}

#[tokio::test]
async fn a_refusal_that_is_said_again_while_its_fence_is_being_written_waits_as_well() {
    let disk = disk(ConversationId::group(OWNER, 77)).await;
    let (who, message) = ((STRANGER, DeviceId(30)), (ConversationId::group(OWNER, 77), ClientMsgId(7)));
    let replies: Queue<Reply> = Queue::default();
    let told = || replies.take_fill().items;
    let mut fences = Fences::default();
    let deferred = || (replies.clone(), Reply::default());
    assert!(fences.refuse(who, 2, (message, Refusal::NotAMember), deferred(), disk.as_ref()).unwrap());
    assert_eq!(fences.cut().len(), 1);
    assert!(fences.repeat(who, deferred()));
    assert_eq!(told(), 0, "it is not durable yet");
    fences.handle_durable();
    assert_eq!((told(), fences.cut().len()), (1, 1));
    fences.handle_durable();
    assert_eq!((told(), fences.are_durable()), (2, true));
    assert!(fences.repeat(who, deferred()));
    assert_eq!(told(), 3, "it is durable");
    // No more wait for it than may.
    let other = (STRANGER, DeviceId(31));
    assert!(fences.refuse(other, 2, (message, Refusal::NotAMember), deferred(), disk.as_ref()).unwrap());
    let taken = (1..=limits::MAX_STAGED).take_while(|_| fences.repeat(other, deferred())).count();
    assert_eq!(taken, limits::MAX_STAGED - 1);
}

#[tokio::test]
async fn whoever_asks_for_a_thousand_pages_waits_behind_himself() {
    let conversation = ConversationId::group(OWNER, 77);
    let disk = disk(conversation).await;
    let shard = Arc::new(shard_on(&disk));
    let session = shard.sessions.open();
    let mut batches = session.replies.batches();
    let ask = |user, since| request(user, &ClientFrame::Sync { conversation, since_seq: Seq(since) });
    for since in 0..1_000 {
        session.handle(&shard, ask(OWNER, since % ENTRIES));
    }
    session.handle(&shard, ask(UserId(2), 0));
    // A send is answered at once, or with the commit that it is in, whoever reads.
    let again = ClientFrame::Send {
        conversation,
        client_msg_id: ClientMsgId(5),
        client_seq: ClientSeq(5),
        payload: Payload::Text("x".into()),
    };
    session.handle(&shard, request(OWNER, &again));
    let reading = {
        let (shard, session) = (Arc::clone(&shard), Arc::clone(&session));
        tokio::spawn(async move { session.read(&shard).await })
    };
    let mut devices = Vec::new();
    while devices.len() < 1 + limits::MAX_READS_WAITING_SHARE + 1 {
        let batch = batches.next().await.expect("the queue is open");
        devices.extend(batch.into_iter().map(|reply| (reply.device, matches!(reply.reply, Some(Kind::Page(_))))));
    }
    assert_eq!(devices[..3], [(10, false), (10, true), (20, true)]);
    assert_eq!(
        devices.len(),
        1 + limits::MAX_READS_WAITING_SHARE + 1,
        "the share of one user, and the other's page"
    );
    shard.sessions.close(&session);
    reading.await.unwrap();
}
