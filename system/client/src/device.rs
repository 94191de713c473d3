//! The driver: a task that owns the device's machine and carries out what it says.
//!
//! **Invariant:** every output of the machine is carried out in order, and nothing else decides when to connect, to
//! send again, to sync or to show a newer token. Guarded on real sockets by `system/server/tests/{sigkill,tokens}`.

use crate::dial::Dial;
use crate::link::{self, Link, LinkError};
use crate::tokens::Tokens;
use squall_core::Time;
use squall_core::client::{ClientSession, Output, Shown};
use squall_protocol::close::CloseReason;
use squall_protocol::token::Token;
use squall_protocol::{
    ClientFrame, ClientMsgId, Codec, ConversationId, DeviceId, Payload, Receipts, Refusal, Seen, Seq, UserId,
    limits,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Who the device is, and how it speaks.
#[derive(Debug, Clone)]
pub struct Config {
    pub user: UserId,
    pub device: DeviceId,
    pub codec: Codec,
    /// Connects of this device in earlier lives. It should not shrink; seconds since the Unix epoch do not, and where a clock was
    /// set back the server tells how far the device had counted.
    pub connects_before: u64,
}

/// What the device has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Online,
    /// The connection is lost or could not be opened; the device tries again by itself. `code` is the close code when
    /// the gateway gave one.
    Offline {
        code: Option<u16>,
        reason: String,
    },
    /// The app's backend has no token for it at the moment; the device asks again by itself.
    NoToken {
        reason: String,
    },
    /// One gateway after the other has refused its tokens, new ones too. It stops, and goes on after `Device::resume`.
    TokenRefused,
    /// Another connection with this device's token has taken its place twice within a minute: it is open a second time. This one
    /// stops, and goes on after `Device::resume`.
    Stopped,
    /// The person now sees this entry: each once, in the log's order.
    Shown(Shown),
    /// A message of this device is on the server's disk.
    Stored {
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        seq: Seq,
    },
    /// A message of this device is not stored and never will be.
    Refused {
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        reason: Refusal,
    },
    /// A message went out again.
    Resent {
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
    },
    /// The user has done too much at once: the message goes out again after this.
    ToldToWait {
        conversation: ConversationId,
        client_msg_id: ClientMsgId,
        retry_after_ms: u64,
    },
    /// This user is writing there, or still is.
    Typing {
        conversation: ConversationId,
        user: UserId,
    },
    /// They are not any more.
    TypingOver {
        conversation: ConversationId,
        user: UserId,
    },
    /// Somebody who is watched is online, or is not, or nobody can tell; when they were last seen, in ms since the epoch, or 0.
    Presence {
        user: UserId,
        state: Seen,
        last_seen_ms: u64,
    },
    /// An entry came that had been shown before.
    Discarded {
        conversation: ConversationId,
        seq: Seq,
    },
    /// These users have come so far, or so many of a large group have.
    Receipts(Receipts),
}

/// The device's events, in order.
pub type Events = mpsc::Receiver<Event>;

/// The device's task has ended.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the device has been stopped")]
pub struct Gone;

/// How the device stands at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub online: bool,
    /// Sends without an answer.
    pub unanswered: usize,
    /// Something waits for an answer, or entries are known to be lacking.
    pub busy: bool,
}

enum Command {
    Send { conversation: ConversationId, id: ClientMsgId, payload: Payload },
    Typing { conversation: ConversationId },
    SendDirect { to: UserId, create_id: ClientMsgId, id: ClientMsgId, text: String },
    Read { conversation: ConversationId, up_to: Seq },
    Unread { conversation: ConversationId, answer: oneshot::Sender<usize> },
    Watch(ConversationId, Vec<UserId>),
    Unwatch(ConversationId),
    SetInvisible(bool),
    Status(oneshot::Sender<Status>),
    Resume,
    Stop(oneshot::Sender<()>),
}

/// A running device. Clones speak to the same one; it stops when all are gone, or nobody reads its events.
///
/// The device's memory (what it has shown, its connect count, the numbers of its sends) is not kept on disk. A new
/// process that takes up a device which has sent before shows everything again; its sends go on from where the shards
/// stand, provided that `Config::connects_before` has grown.
#[derive(Clone)]
pub struct Device {
    commands: mpsc::Sender<Command>,
}

impl Device {
    /// Starts the device; it connects at once. `tokens` issues its tokens, all of them for this user and device. Call inside a tokio runtime.
    pub fn start(config: Config, tokens: Arc<dyn Tokens>, dial: Arc<dyn Dial>) -> (Device, Events) {
        let (commands, queue) = mpsc::channel(limits::MAX_DEVICE_COMMANDS);
        let (events, seen) = mpsc::channel(limits::MAX_DEVICE_EVENTS);
        let driver = Driver {
            session: {
                let mut session = ClientSession::new(config.user, config.device);
                session.set_connect_count(config.connects_before);
                session.keep_receipts();
                session
            },
            config,
            tokens,
            token: None,
            fetching: None,
            dial,
            started: Instant::now(),
            link: LinkState::Down,
            outputs: Vec::new(),
            frames: Vec::new(),
            events,
        };
        tokio::spawn(driver.run(queue));
        (Device { commands }, seen)
    }

    async fn tell(&self, command: Command) -> Result<(), Gone> {
        self.commands.send(command).await.map_err(|_| Gone)
    }

    /// Sends. The message is kept until `Stored` or `Refused` answers it, whatever becomes of connections. `id` must
    /// be unique among this device's messages.
    pub async fn send(&self, conversation: ConversationId, id: ClientMsgId, payload: Payload) -> Result<(), Gone> {
        self.tell(Command::Send { conversation, id, payload }).await
    }

    /// The person is writing there. Nobody is told for certain; say it again every `TYPING_AGAIN_AFTER` as long as they do.
    pub async fn typing(&self, conversation: ConversationId) -> Result<(), Gone> {
        self.tell(Command::Typing { conversation }).await
    }

    /// Sends to one person; the conversation is created, with `create_id`, if this device does not know of it. When the
    /// other person was first, the creation alone is refused as a conflict, which is of no consequence. Whom no token can
    /// name (`UserId::is_valid`) nobody can write to.
    ///
    /// # Panics
    /// If `to` is no valid user.
    pub async fn send_direct(
        &self,
        to: UserId,
        create_id: ClientMsgId,
        id: ClientMsgId,
        text: String,
    ) -> Result<(), Gone> {
        assert!(to.is_valid(), "no user has the number {to}");
        self.tell(Command::SendDirect { to, create_id, id, text }).await
    }

    /// The person has read everything up to here, as far as it is shown. It is said until the server knows.
    pub async fn read(&self, conversation: ConversationId, up_to: Seq) -> Result<(), Gone> {
        self.tell(Command::Read { conversation, up_to }).await
    }

    /// How many of others' texts the person has not read on any device; up to `MAX_UNREAD_COUNTED`. As `status`, it needs the events to be
    /// read.
    pub async fn unread(&self, conversation: ConversationId) -> Result<usize, Gone> {
        let (answer, wait) = oneshot::channel();
        self.tell(Command::Unread { conversation, answer }).await?;
        wait.await.map_err(|_| Gone)
    }

    /// Tells of these members of a conversation from now on, by `Event::Presence`, in place of whom it told of there before; on every
    /// connection, as long as both are members.
    pub async fn watch(&self, conversation: ConversationId, users: Vec<UserId>) -> Result<(), Gone> {
        self.tell(Command::Watch(conversation, users)).await
    }

    /// Tells of nobody in this conversation any more.
    pub async fn unwatch(&self, conversation: ConversationId) -> Result<(), Gone> {
        self.tell(Command::Unwatch(conversation)).await
    }

    /// Makes its user look offline to everybody, for as long as it is on.
    pub async fn set_invisible(&self, on: bool) -> Result<(), Gone> {
        self.tell(Command::SetInvisible(on)).await
    }

    /// Call from another task than the one that reads the events: a device whose events are not taken answers nothing.
    pub async fn status(&self) -> Result<Status, Gone> {
        let (answer, wait) = oneshot::channel();
        self.tell(Command::Status(answer)).await?;
        wait.await.map_err(|_| Gone)
    }

    /// Connects again after `Event::Stopped` or `Event::TokenRefused`.
    pub async fn resume(&self) -> Result<(), Gone> {
        self.tell(Command::Resume).await
    }

    /// Says good-bye and ends. What has no answer yet is given up. As `status`, it needs the events to be read.
    pub async fn stop(&self) {
        let (done, wait) = oneshot::channel();
        if self.tell(Command::Stop(done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

type Fetching = Pin<Box<dyn Future<Output = std::io::Result<Token>> + Send>>;
type Opening = Pin<Box<dyn Future<Output = Result<Link, LinkError>> + Send>>;

/// Where the connection stands.
enum LinkState {
    Down,
    /// It is opened when the token is there.
    AwaitingToken,
    Opening(Opening),
    Up(Box<Link>),
}

/// What woke the driver.
enum Woken {
    Command(Option<Command>),
    Link(Result<squall_protocol::ServerFrame, LinkError>),
    Opened(Result<Box<Link>, LinkError>),
    Fetched(std::io::Result<Token>),
    Timeout,
}

struct Driver {
    session: ClientSession,
    config: Config,
    tokens: Arc<dyn Tokens>,
    /// The newest one, unless it was refused.
    token: Option<Token>,
    fetching: Option<Fetching>,
    dial: Arc<dyn Dial>,
    started: Instant,
    link: LinkState,
    outputs: Vec<Output>,
    frames: Vec<ClientFrame>,
    events: mpsc::Sender<Event>,
}

impl Driver {
    fn now(&self) -> Time {
        Time(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.session.come_back(self.now(), &mut self.outputs);
        while self.carry_out().await.is_ok() {
            let woken = self.wait(&mut commands).await;
            let now = self.now();
            match woken {
                Woken::Command(None) => return self.say_goodbye().await,
                Woken::Command(Some(Command::Stop(done))) => {
                    self.say_goodbye().await;
                    let _ = done.send(());
                    return;
                }
                Woken::Command(Some(command)) => self.handle_command(command, now),
                Woken::Opened(Ok(link)) => {
                    self.link = LinkState::Up(link);
                    let token = self.token.clone().expect("nothing is opened without one");
                    self.session.handle_connected(token, now, &mut self.outputs);
                }
                Woken::Opened(Err(error)) | Woken::Link(Err(error)) => self.lose(&error).await,
                Woken::Link(Ok(frame)) => self.session.handle_frame(frame, now, &mut self.outputs),
                Woken::Fetched(fetched) => self.handle_fetched(fetched, now).await,
                Woken::Timeout => self.session.handle_timeout(now, &mut self.outputs),
            }
        }
    }

    async fn wait(&mut self, commands: &mut mpsc::Receiver<Command>) -> Woken {
        let due = match self.session.poll_timeout() {
            Time::NEVER => None,
            time => Some(self.started + std::time::Duration::from_micros(time.0)),
        };
        let timeout = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let fetched = async {
            match &mut self.fetching {
                Some(fetching) => fetching.await,
                None => std::future::pending().await,
            }
        };
        let link = async {
            match &mut self.link {
                LinkState::Down | LinkState::AwaitingToken => std::future::pending().await,
                LinkState::Opening(opening) => Woken::Opened(opening.await.map(Box::new)),
                LinkState::Up(link) => Woken::Link(link.read().await),
            }
        };
        tokio::select! {
            biased;
            command = commands.recv() => Woken::Command(command),
            () = timeout => Woken::Timeout,
            fetched = fetched => Woken::Fetched(fetched),
            woken = link => woken,
        }
    }

    fn handle_command(&mut self, command: Command, now: Time) {
        let out = &mut self.outputs;
        match command {
            Command::Send { conversation, id, payload } => self.session.send(conversation, id, payload, now, out),
            Command::Typing { conversation } => self.session.typing(conversation, out),
            Command::SendDirect { to, create_id, id, text } => {
                let user = self.config.user;
                let conversation = ConversationId::direct(user, to);
                if !self.session.knows(conversation) {
                    let created = Payload::Created { direct: true, channel: false, members: vec![user, to] };
                    self.session.send(conversation, create_id, created, now, out);
                }
                self.session.send(conversation, id, Payload::Text(text), now, out);
            }
            Command::Read { conversation, up_to } => self.session.read(conversation, up_to, now, out),
            Command::Unread { conversation, answer } => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(self.session.receipts().map_or(0, |book| book.unread(conversation)));
            }
            Command::Watch(conversation, users) => self.session.watch(conversation, users, out),
            Command::Unwatch(conversation) => self.session.unwatch(conversation, out),
            Command::SetInvisible(on) => self.session.set_invisible(on, out),
            Command::Status(answer) => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(Status {
                    online: self.session.is_online(),
                    unanswered: self.session.unanswered(),
                    busy: self.session.is_busy(),
                });
            }
            Command::Resume => self.session.come_back(now, out),
            Command::Stop(_) => unreachable!("`run` takes it"),
        }
    }

    /// Carries out what the machine has said. An error: nobody reads the events.
    async fn carry_out(&mut self) -> Result<(), Gone> {
        for output in std::mem::take(&mut self.outputs) {
            let event = match output {
                Output::Connect => {
                    if self.token.is_none() {
                        self.fetch();
                    }
                    if self.fetching.is_some() {
                        self.link = LinkState::AwaitingToken;
                    } else {
                        self.open();
                    }
                    continue;
                }
                Output::FetchToken => {
                    self.fetch();
                    continue;
                }
                Output::TokenRefused => Event::TokenRefused,
                Output::Disconnect(reason) => {
                    self.link = LinkState::Down;
                    self.frames.clear();
                    Event::Offline { code: None, reason: reason.to_owned() }
                }
                Output::Transmit(frame) => {
                    self.frames.push(frame);
                    continue;
                }
                Output::Online => Event::Online,
                Output::Stopped => Event::Stopped,
                Output::ToldToWait { conversation, client_msg_id, retry_after_ms } => {
                    Event::ToldToWait { conversation, client_msg_id, retry_after_ms }
                }
                Output::Resent { conversation, client_msg_id, .. } => {
                    Event::Resent { conversation, client_msg_id }
                }
                Output::Stored { conversation, client_msg_id, seq, .. } => {
                    Event::Stored { conversation, client_msg_id, seq }
                }
                Output::Refused { conversation, client_msg_id, reason } => {
                    Event::Refused { conversation, client_msg_id, reason }
                }
                Output::Shown(shown) => Event::Shown(shown),
                Output::Presence { user, state, last_seen_ms } => Event::Presence { user, state, last_seen_ms },
                Output::Discarded { conversation, seq, .. } => Event::Discarded { conversation, seq },
                Output::Typing { conversation, user } => Event::Typing { conversation, user },
                Output::TypingOver { conversation, user } => Event::TypingOver { conversation, user },
                Output::Receipts(receipts) => Event::Receipts(receipts),
                Output::Arrived { .. } | Output::Skipped { .. } => continue,
            };
            self.tell(event).await?;
        }
        if !self.frames.is_empty()
            && let LinkState::Up(link) = &mut self.link
            && let Err(error) = link.write(&mut self.frames).await
        {
            self.lose(&error).await;
        }
        Ok(())
    }

    fn open(&mut self) {
        let (dial, attempt) = (Arc::clone(&self.dial), self.session.connect_count());
        self.link = LinkState::Opening(Box::pin(link::open(dial, attempt, self.config.codec)));
    }

    fn fetch(&mut self) {
        self.fetching.get_or_insert_with(|| self.tokens.fetch());
    }

    async fn handle_fetched(&mut self, fetched: std::io::Result<Token>, now: Time) {
        self.fetching = None;
        let failed = match fetched {
            Ok(token) => {
                self.token = Some(token.clone());
                self.session.handle_token(token, now, &mut self.outputs);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if let LinkState::AwaitingToken = self.link {
            match self.token {
                Some(_) => self.open(),
                None => {
                    self.link = LinkState::Down;
                    self.session.handle_disconnected(now);
                }
            }
        }
        if let Some(reason) = failed {
            // When nobody reads, the next `carry_out` ends the device.
            let _ = self.tell(Event::NoToken { reason }).await;
        }
    }

    async fn tell(&mut self, event: Event) -> Result<(), Gone> {
        self.events.send(event).await.map_err(|_| Gone)
    }

    async fn lose(&mut self, error: &LinkError) {
        self.link = LinkState::Down;
        self.frames.clear();
        let code = match error {
            LinkError::Closed { code, .. } => Some(*code),
            LinkError::Dial(_)
            | LinkError::Handshake(_)
            | LinkError::Lost(_)
            | LinkError::Ended
            | LinkError::Stuck
            | LinkError::Unreadable(_)
            | LinkError::OtherCodec => None,
        };
        match code {
            Some(code) => self.session.handle_closed(code, self.now(), &mut self.outputs),
            None => self.session.handle_disconnected(self.now()),
        }
        if code.is_some_and(|code| {
            [CloseReason::BadToken, CloseReason::TokenExpired].map(CloseReason::code).contains(&code)
        }) {
            self.token = None;
        }
        // When nobody reads, the next `carry_out` ends the device.
        let _ = self.tell(Event::Offline { code, reason: error.to_string() }).await;
    }

    async fn say_goodbye(&mut self) {
        if let LinkState::Up(link) = std::mem::replace(&mut self.link, LinkState::Down) {
            link.close().await;
        }
    }
}
