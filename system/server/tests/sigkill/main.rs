//! `chatd` is killed in the midst of load, again and again, and nothing that it acked is lost, shown twice or out of
//! order.
//!
//! 200 devices on real WebSockets write to each other and into groups. After the last kill everything settles; then the
//! server is killed once more, and a fresh device of every user reads all from the disk. `judge` has the last word.

#[path = "../common/mod.rs"]
mod common;
mod judge;

use common::{SECRET, TempDir, token};
use judge::{DeviceHistory, History, Sent, Shown, judge};
use squall_client::{Config, Device, Event, Events, Fixed, Gateways};
use squall_protocol::ids::mix;
use squall_protocol::{ClientMsgId, Codec, ConversationId, DeviceId, Payload, UserId};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

const USERS: u64 = 170;
/// The first ones have a second device.
const USERS_WITH_TWO_DEVICES: u64 = 30;
const GATEWAYS: u16 = 2;
const SHARDS: u16 = 3;
/// A device writes this often, give or take a half.
const SEND_INTERVAL: Duration = Duration::from_millis(500);
/// How long the server lives after everybody is back, before each kill. Zero: killed while they come back.
const LIVES: [Duration; 5] = [
    Duration::from_secs(3),
    Duration::from_secs(2),
    Duration::ZERO,
    Duration::from_secs(2),
    Duration::from_secs(2),
];
/// After load and kills, all is to be well within this.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// The server process.
struct Chatd {
    child: Child,
}

impl Chatd {
    /// Starts it and waits until it listens. What it complains about goes to `stderr.log`.
    fn start(dir: &Path, port: u16) -> Chatd {
        let log = std::fs::File::options().create(true).append(true).open(dir.join("stderr.log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_chatd"))
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--gateways", &GATEWAYS.to_string(), "--shards", &SHARDS.to_string()])
            .args(["--secret", SECRET])
            .arg("--data")
            .arg(dir.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("chatd can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        for _ in 0..GATEWAYS {
            let line = lines.next().and_then(Result::ok).unwrap_or_default();
            if !line.starts_with("listening on ws://127.0.0.1:") {
                let _ = child.kill();
                let said = std::fs::read_to_string(dir.join("stderr.log")).unwrap_or_default();
                panic!("chatd does not listen: {line}{said}");
            }
        }
        Chatd { child }
    }

    /// SIGKILL: no destructor runs, nothing is flushed.
    fn kill(mut self) {
        self.child.kill().expect("the server is there to be killed");
        let status = self.child.wait().expect("its parent learns how it ended");
        assert_eq!(status.code(), None, "it had ended by itself before: {status}");
    }
}

impl Drop for Chatd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Consecutive free ports below those that the kernel gives to outgoing connections, which would otherwise take the
/// server's port while it is down.
fn free_ports() -> u16 {
    let first = 10_000 + (std::process::id() % 9_000) as u16 * 2;
    (first..32_000)
        .chain(10_000..first)
        .step_by(usize::from(GATEWAYS))
        .find(|port| (0..GATEWAYS).all(|n| TcpListener::bind(("127.0.0.1", port + n)).is_ok()))
        .expect("two free ports")
}

/// What all devices share.
#[derive(Default)]
struct World {
    load: AtomicBool,
    /// Everybody writes at once.
    burst: Notify,
    sent: AtomicUsize,
    unanswered: AtomicI64,
    connects: AtomicUsize,
    resent: AtomicUsize,
    discarded: AtomicUsize,
}

/// One device: what drives it, and what it has done and seen.
struct Client {
    device: Device,
    history: Arc<Mutex<DeviceHistory>>,
    task: tokio::task::JoinHandle<()>,
}

/// Two kinds of groups of ten, so that everybody is in two of them. The first member creates each.
fn groups() -> BTreeMap<ConversationId, Vec<UserId>> {
    let tens = USERS / 10;
    let mut groups: BTreeMap<u64, Vec<UserId>> = BTreeMap::new();
    for user in 1..=USERS {
        groups.entry((user - 1) / 10).or_default().push(UserId(user));
        groups.entry(100 + user % tens).or_default().push(UserId(user));
    }
    let named = |(number, members): (u64, Vec<UserId>)| (ConversationId::group(members[0], number), members);
    groups.into_iter().map(named).collect()
}

/// Three people whom a user writes to; they write back to some.
fn friends_of(user: u64) -> [UserId; 3] {
    [1, 7, USERS - 1].map(|step| UserId((user - 1 + step) % USERS + 1))
}

fn body_of(payload: &Payload) -> String {
    match payload {
        Payload::Text(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// The test's side of a device: it writes while there is load, and notes down what happens.
struct Author {
    user: u64,
    id: u64,
    device: Device,
    history: Arc<Mutex<DeviceHistory>>,
    world: Arc<World>,
    count: u64,
    /// Groups that the device has seen begin.
    groups: Vec<ConversationId>,
}

impl Author {
    /// The lowest bit says that nothing needs to answer.
    fn next_id(&mut self, optional: bool) -> ClientMsgId {
        self.count += 1;
        ClientMsgId(u128::from(self.id) << 64 | u128::from(self.count << 1 | u64::from(optional)))
    }

    fn note_sent(&self, conversation: ConversationId, id: ClientMsgId, body: String) {
        let optional = id.0 & 1 == 1;
        let sent = Sent { conversation: conversation.0, id: id.0, body, optional };
        self.history.lock().unwrap().sent.push(sent);
        if !optional {
            self.world.sent.fetch_add(1, Relaxed);
            self.world.unanswered.fetch_add(1, Relaxed);
        }
    }

    async fn run(mut self, mut events: Events) {
        self.create_groups().await;
        let mut next_send = Instant::now() + self.pause();
        loop {
            let event = tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => Some(event),
                    None => return,
                },
                () = tokio::time::sleep_until(next_send) => None,
                () = self.world.burst.notified() => None,
            };
            match event {
                Some(event) => self.note(event),
                None => {
                    next_send = Instant::now() + self.pause();
                    if self.world.load.load(Relaxed) {
                        self.write().await;
                    }
                }
            }
        }
    }

    fn draw(&self, salt: u64) -> u64 {
        mix(mix(self.id ^ salt << 32) ^ self.count)
    }

    fn pause(&self) -> Duration {
        SEND_INTERVAL / 2 + SEND_INTERVAL * (self.draw(1) % 1_000) as u32 / 1_000
    }

    /// The first member's first device creates each group.
    async fn create_groups(&mut self) {
        for (conversation, members) in groups() {
            if members[0].0 * 10 + 1 == self.id {
                let (id, created) =
                    (self.next_id(false), Payload::Created { direct: false, channel: false, members });
                self.note_sent(conversation, id, body_of(&created));
                self.device.send(conversation, id, created).await.unwrap();
            }
        }
    }

    async fn write(&mut self) {
        let in_group = self.draw(2) % 10 < 3 && !self.groups.is_empty();
        if in_group {
            let conversation = self.groups[self.draw(3) as usize % self.groups.len()];
            let id = self.next_id(false);
            let text = format!("to all {id}");
            self.note_sent(conversation, id, text.clone());
            self.device.send(conversation, id, Payload::Text(text)).await.unwrap();
        } else {
            let to = friends_of(self.user)[self.draw(3) as usize % 3];
            let conversation = ConversationId::direct(UserId(self.user), to);
            let (create_id, id) = (self.next_id(true), self.next_id(false));
            let created = Payload::Created { direct: true, channel: false, members: vec![UserId(self.user), to] };
            let text = format!("to you {id}");
            self.note_sent(conversation, create_id, body_of(&created));
            self.note_sent(conversation, id, text.clone());
            self.device.send_direct(to, create_id, id, text).await.unwrap();
        }
    }

    fn note(&mut self, event: Event) {
        let (world, mut history) = (&self.world, self.history.lock().unwrap());
        let answered = |id: ClientMsgId| {
            if id.0 & 1 == 0 {
                world.unanswered.fetch_sub(1, Relaxed);
            }
            id.0
        };
        match event {
            Event::Online => drop(world.connects.fetch_add(1, Relaxed)),
            Event::Offline { .. } | Event::ToldToWait { .. } => {}
            Event::Stopped => panic!("nobody has a device of this test open twice"),
            Event::NoToken { .. } | Event::TokenRefused => panic!("the tokens of this test outlive it"),
            Event::Stored { conversation, client_msg_id, seq } => {
                history.stored.push((conversation.0, answered(client_msg_id), seq.0));
            }
            Event::Refused { conversation, client_msg_id, reason } => {
                history.refused.push((conversation.0, answered(client_msg_id), format!("{reason:?}")));
            }
            Event::Shown(shown) => {
                if matches!(shown.entry.payload, Payload::Created { direct: false, .. }) {
                    self.groups.push(shown.conversation);
                }
                history.shown.push(Shown {
                    conversation: shown.conversation.0,
                    seq: shown.entry.seq.0,
                    id: shown.entry.client_msg_id.0,
                    body: body_of(&shown.entry.payload),
                });
            }
            Event::Resent { .. } => drop(world.resent.fetch_add(1, Relaxed)),
            Event::Discarded { .. } => drop(world.discarded.fetch_add(1, Relaxed)),
            Event::Typing { .. } | Event::TypingOver { .. } | Event::Presence { .. } => {}
            Event::Receipts(_) => {}
        }
    }
}

/// Starts device `index` (1, 2, …) of a user.
fn start(world: &Arc<World>, port: u16, user: u64, index: u64) -> Client {
    let id = user * 10 + index;
    let urls: Vec<String> = (0..GATEWAYS).map(|n| format!("ws://127.0.0.1:{}", port + n)).collect();
    let gateways = Gateways::new(&urls, mix(id)).unwrap();
    let codec = Codec::ALL[(id % 2) as usize];
    let config = Config { user: UserId(user), device: DeviceId(id), codec, connects_before: 0 };
    let (device, events) = Device::start(config, Arc::new(Fixed(token(user, id))), Arc::new(gateways));
    let history = Arc::new(Mutex::new(DeviceHistory { user, ..DeviceHistory::default() }));
    let author = Author {
        user,
        id,
        device: device.clone(),
        history: Arc::clone(&history),
        world: Arc::clone(world),
        count: 0,
        groups: Vec::new(),
    };
    Client { device, history, task: tokio::spawn(author.run(events)) }
}

/// Polls until `done`, or says what is missing after `SETTLE_LIMIT`.
async fn wait_for(mut done: impl AsyncFnMut() -> Result<(), String>) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match done().await {
            Err(missing) if begun.elapsed() > SETTLE_LIMIT => return Err(missing),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Ok(()) => return Ok(()),
        }
    }
}

/// How many devices are not online.
async fn offline(clients: &BTreeMap<u64, Client>) -> usize {
    let mut offline = 0;
    for client in clients.values() {
        offline += usize::from(!client.device.status().await.unwrap().online);
    }
    offline
}

async fn wait_until_online(clients: &BTreeMap<u64, Client>, but: usize) {
    let back = wait_for(async || match offline(clients).await {
        n if n <= but => Ok(()),
        n => Err(format!("{n} devices are offline")),
    });
    back.await.expect("devices come back");
}

/// Every device is idle, and has as many entries of each of its conversations as anybody knows of.
async fn wait_until_settled(clients: &BTreeMap<u64, Client>) -> Result<(), String> {
    wait_for(async || {
        for (id, client) in clients {
            let status = client.device.status().await.unwrap();
            if !status.online || status.busy || status.unanswered > 0 {
                return Err(format!("device {id} is {status:?}"));
            }
        }
        let history = collect(clients);
        let mut heads: BTreeMap<u128, u64> = BTreeMap::new();
        for device in history.devices.values() {
            let shown = device.shown.iter().map(|s| (s.conversation, s.seq));
            for (conversation, seq) in shown.chain(device.stored.iter().map(|(c, _, seq)| (*c, *seq))) {
                let head = heads.entry(conversation).or_default();
                *head = seq.max(*head);
            }
        }
        for (id, device) in &history.devices {
            let mut shown: BTreeMap<u128, u64> = BTreeMap::new();
            device.shown.iter().for_each(|s| *shown.entry(s.conversation).or_default() += 1);
            for (conversation, members) in &history.members {
                let (head, shown) = (heads.get(conversation).unwrap_or(&0), shown.get(conversation).unwrap_or(&0));
                if members.contains(&device.user) && shown < head {
                    return Err(format!("device {id} shows {shown} of {head} entries of {conversation}"));
                }
            }
        }
        Ok(())
    })
    .await
}

fn collect(clients: &BTreeMap<u64, Client>) -> History {
    let mut members: BTreeMap<u128, BTreeSet<u64>> = BTreeMap::new();
    for (conversation, users) in groups() {
        members.insert(conversation.0, users.iter().map(|u| u.0).collect());
    }
    for user in 1..=USERS {
        for friend in friends_of(user) {
            members.insert(ConversationId::direct(UserId(user), friend).0, BTreeSet::from([user, friend.0]));
        }
    }
    let devices = clients.iter().map(|(id, client)| (*id, client.history.lock().unwrap().clone())).collect();
    History { members, devices }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acked_is_lost_or_shown_twice_when_the_server_is_killed_under_load() {
    let begun = Instant::now();
    let dir = TempDir::new("sigkill");
    let port = free_ports();
    let world = Arc::new(World::default());
    let mut server = Chatd::start(dir.path(), port);
    let mut clients: BTreeMap<u64, Client> = BTreeMap::new();
    for user in 1..=USERS {
        for index in 1..=if user <= USERS_WITH_TWO_DEVICES { 2 } else { 1 } {
            clients.insert(user * 10 + index, start(&world, port, user, index));
        }
    }
    assert_eq!(clients.len(), 200);
    world.load.store(true, Relaxed);

    let mut kills_with_unanswered = 0;
    for (round, life) in LIVES.into_iter().enumerate() {
        if life > Duration::ZERO {
            wait_until_online(&clients, clients.len() / 10).await;
        } else {
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        tokio::time::sleep(life).await;
        world.burst.notify_waiters();
        tokio::time::sleep(Duration::from_millis(4 * round as u64)).await;
        let unanswered = world.unanswered.load(Relaxed);
        server.kill();
        kills_with_unanswered += usize::from(unanswered > 0);
        eprintln!("{:?}: kill {round} with {unanswered} sends unanswered", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(100 * round as u64)).await;
        server = Chatd::start(dir.path(), port);
    }
    wait_until_online(&clients, clients.len() / 10).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.load.store(false, Relaxed);
    eprintln!("{:?}: the load ends after {} sends", begun.elapsed(), world.sent.load(Relaxed));
    // Whatever is missing then, the judge names it.
    let settled = wait_until_settled(&clients).await;
    eprintln!("{:?}: settled: {settled:?}", begun.elapsed());

    // Power is not cut here, but memory is: what the fresh devices see comes from the disk.
    server.kill();
    let server = Chatd::start(dir.path(), port);
    for user in 1..=USERS {
        clients.insert(user * 10 + 9, start(&world, port, user, 9));
    }
    let audited = wait_until_settled(&clients).await;
    // What would be shown twice, would be so in a moment.
    tokio::time::sleep(Duration::from_secs(1)).await;
    eprintln!("{:?}: audited: {audited:?}", begun.elapsed());
    for client in clients.values() {
        client.device.stop().await;
    }
    let history = collect(&clients);
    for client in clients.into_values() {
        client.task.await.expect("no author panics");
    }
    drop(server);

    let (judged, violations) = judge(&history);
    let [sent, resent, discarded, connects] =
        [&world.sent, &world.resent, &world.discarded, &world.connects].map(|n| n.load(Relaxed));
    eprintln!(
        "{judged:?}; {sent} sent, {resent} resent, {discarded} seen again and discarded, {connects} connects"
    );
    assert!(
        violations.is_empty(),
        "{} violations: {:#?}",
        violations.len(),
        &violations[..violations.len().min(20)]
    );
    assert_eq!((settled, audited), (Ok(()), Ok(())), "something never came to rest");
    let complaints = std::fs::read_to_string(dir.path().join("stderr.log")).unwrap();
    assert_eq!(complaints, "", "the server has complained");
    // The test has tested something.
    assert_eq!(world.unanswered.load(Relaxed), 0);
    // How many kills fall between a send and its ack is the machine's luck: on a fast one, few.
    assert!(kills_with_unanswered >= 2, "{kills_with_unanswered} kills met unanswered sends");
    assert!(judged.acked > 500 && judged.conversations > 300, "{judged:?}");
    assert!(resent > 0, "nothing was sent again");
    assert!(connects > 200 * LIVES.len(), "{connects} connects");
}
