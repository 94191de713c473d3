//! A terminal client: lines in, messages out.

mod lines;
mod ticks;

use clap::Parser;
use lines::{HELP, Line, Place, parse, word};
use squall_client::who::{Who, in_words};
use squall_client::{BoxFuture, Config, Device, Event, Fixed, Gateways, Tokens};
use squall_core::client::Shown;
use squall_protocol::ids::mix;
use squall_protocol::limits::{ANSWER_LIMIT, LINGER};
use squall_protocol::token::{Claims, Token};
use squall_protocol::{ClientMsgId, Codec, ConversationId, DeviceId, Name, Payload, Refusal, Seq, UserId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ticks::Ticks;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::Instant;

/// How long an unanswered message may stay without a notice about it, and the end of input waits for answers: as long as a
/// device waits on a connection.
const PATIENCE: Duration = ANSWER_LIMIT;

/// Chat in a terminal. Each line is a command; /help lists them.
#[derive(Parser)]
#[command(name = "chat", version)]
struct Cli {
    /// A gateway; repeat it for several.
    #[arg(long, required = true, value_name = "ws://HOST:PORT")]
    url: Vec<String>,
    /// From `chatd token --user N --device N`. When it has expired, so has the device.
    #[arg(long, required_unless_present = "token_command")]
    token: Option<String>,
    /// A shell command that prints a token: run at the start, and whenever a newer one is needed.
    #[arg(long, value_name = "COMMAND", conflicts_with = "token")]
    token_command: Option<String>,
    /// Speak Protobuf rather than JSON.
    #[arg(long)]
    protobuf: bool,
}

/// How a conversation stands on the screen: a group as its creator and number, as `/say` takes it, two people's as the other one.
fn title(conversation: ConversationId, user: UserId) -> String {
    match conversation.name() {
        Some(Name::Direct { low, high }) => format!("with {}", if low == user { high } else { low }),
        Some(Name::Group { creator, number }) => format!("{creator}/{number}"),
        None => conversation.to_string(),
    }
}

/// Tokens that a shell command prints.
struct Printed(String);

impl Tokens for Printed {
    fn fetch(&self) -> BoxFuture<io::Result<Token>> {
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-c", &self.0]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
        Box::pin(async move {
            let said = shell.output().await?;
            let printed = String::from_utf8_lossy(&said.stdout).trim().to_owned();
            match said.status.success() && !printed.is_empty() {
                true => Ok(printed.into()),
                false => Err(io::Error::other(format!("--token-command printed no token ({})", said.status))),
            }
        })
    }
}

/// Message ids that no other process of this device has used: the moment of the start, and a count.
struct Ids {
    start: u64,
    count: u64,
}

impl Ids {
    #[expect(clippy::disallowed_methods, reason = "a person's terminal is no simulation")]
    fn new(device: DeviceId) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ids { start: mix(now.as_nanos() as u64 ^ mix(device.0)), count: 0 }
    }

    fn next(&mut self) -> ClientMsgId {
        self.count += 1;
        ClientMsgId(u128::from(self.start) << 64 | u128::from(mix(self.count)))
    }
}

/// The conversation on the screen, and what still waits.
struct Chat {
    device: Device,
    user: UserId,
    ids: Ids,
    /// Messages without an answer, since when, and whether the person has had a notice of it.
    waiting: BTreeMap<ClientMsgId, (Instant, bool)>,
    /// Who is writing, and where: it is on the screen once.
    typing: BTreeSet<(ConversationId, UserId)>,
    who: Who,
    ticks: Ticks,
    /// Own messages that are stored and not on the screen yet, and how far each conversation is.
    stored: BTreeSet<(ConversationId, Seq)>,
    shown_to: BTreeMap<ConversationId, Seq>,
    /// Why it was offline last.
    last_reason: String,
}

impl Chat {
    /// Does what a line asks for. False: the person has had enough.
    async fn handle_line(&mut self, line: &str) -> bool {
        let sent = match parse(line) {
            Err(wrong) => {
                eprintln!("{wrong}");
                return true;
            }
            Ok(Line::Nothing) => Ok(()),
            Ok(Line::Help) => {
                println!("{HELP}");
                Ok(())
            }
            Ok(Line::Quit) => return false,
            Ok(Line::Direct { to, .. }) if to == self.user => {
                eprintln!("/direct: {to} is you");
                return true;
            }
            Ok(Line::Direct { to, text }) => {
                let (create_id, id) = (self.ids.next(), self.track());
                self.device.send_direct(to, create_id, id, text.to_owned()).await
            }
            Ok(Line::Change { conversation, payload }) => {
                let id = self.track();
                self.device.send(conversation, id, payload).await
            }
            Ok(Line::Leave { conversation }) => {
                let id = self.track();
                self.device.send(conversation, id, Payload::left(self.user)).await
            }
            Ok(Line::Block { with, .. }) if with == self.user => {
                eprintln!("{with} is you");
                return true;
            }
            Ok(Line::Block { with, is_so }) => {
                let id = self.track();
                self.device.send(ConversationId::direct(self.user, with), id, Payload::Blocked(is_so)).await
            }
            Ok(Line::TypingTo { with }) => self.device.typing(ConversationId::direct(self.user, with)).await,
            Ok(Line::Typing { conversation }) => self.device.typing(conversation).await,
            Ok(Line::Group { number, channel, others }) => {
                let conversation = ConversationId::group(self.user, number);
                let mut members = vec![self.user];
                others.into_iter().for_each(|user| {
                    if !members.contains(&user) {
                        members.push(user);
                    }
                });
                let id = self.track();
                self.device.send(conversation, id, Payload::Created { direct: false, channel, members }).await
            }
            Ok(
                Line::Read { place: Place::With(user) }
                | Line::Unread { place: Some(Place::With(user)) }
                | Line::Who { place: Place::With(user) },
            ) if user == self.user => {
                eprintln!("{user} is you");
                return true;
            }
            Ok(Line::Read { place }) => self.device.read(place.conversation(self.user), Seq(u64::MAX)).await,
            Ok(Line::Unread { place }) => {
                let (device, user) = (self.device.clone(), self.user);
                let places = match place {
                    Some(place) => vec![place.conversation(user)],
                    None => self.who.conversations().collect(),
                };
                // The device answers while its events are read, which is done here.
                tokio::spawn(count_unread(device, user, places, place.is_none()));
                Ok(())
            }
            Ok(Line::Who { place }) => {
                let conversation = place.conversation(self.user);
                self.device.watch(conversation, self.who.others(conversation, self.user)).await
            }
            Ok(Line::Invisible { on }) => self.device.set_invisible(on).await,
            Ok(Line::Say { conversation, text }) => {
                let id = self.track();
                self.device.send(conversation, id, Payload::Text(text.to_owned())).await
            }
        };
        sent.is_ok()
    }

    fn track(&mut self) -> ClientMsgId {
        let id = self.ids.next();
        self.waiting.insert(id, (Instant::now(), false));
        id
    }

    /// Shows an event. False: there is no point in going on.
    fn show(&mut self, event: Event) -> bool {
        match event {
            Event::Online => {
                self.last_reason.clear();
                eprintln!("* online as user {}", self.user);
            }
            Event::TokenRefused => {
                eprintln!(
                    "error: no gateway takes the token\nask for a new one: chatd token --user N --device N --secret-file FILE"
                );
                return false;
            }
            Event::NoToken { reason } => eprintln!("* no newer token: {reason}; trying again"),
            // What is tried in vain again and again is said once.
            Event::Offline { reason, .. } => {
                if reason != self.last_reason {
                    eprintln!("* offline: {reason}; trying again");
                    self.last_reason = reason;
                }
            }
            Event::Stopped => {
                eprintln!(
                    "error: this device is open in another window, which goes on
                     write there, or take a device of its own for this window: chatd token --user N --device N --secret-file FILE"
                );
                return false;
            }
            Event::Shown(shown) => {
                self.who.note(&shown);
                self.typing.remove(&(shown.conversation, shown.entry.sender));
                self.shown_to.insert(shown.conversation, shown.entry.seq);
                let is_stored = self.stored.remove(&(shown.conversation, shown.entry.seq));
                let sent = is_stored.then(|| "\u{2713} sent".to_owned());
                let ticks = self.ticks.note(&shown, self.user).or(sent);
                let ticks = ticks.map_or(String::new(), |ticks| format!("  {ticks}"));
                println!("{}{ticks}", line_of(&shown, self.user));
            }
            Event::Presence { user, state, last_seen_ms } => {
                eprintln!("* {}", in_words(user, state, last_seen_ms, 1_000 * seconds_since_epoch()));
            }
            Event::Stored { conversation, client_msg_id, seq } => {
                // Its own line says so, unless that is on the screen already.
                let is_shown = self.shown_to.get(&conversation).is_some_and(|to| *to >= seq);
                match (self.waiting.remove(&client_msg_id), is_shown) {
                    (Some(_), true) => println!("[{} #{seq}] \u{2713} sent", title(conversation, self.user)),
                    (Some(_), false) => drop(self.stored.insert((conversation, seq))),
                    (None, _) => {}
                }
            }
            Event::Receipts(receipts) => {
                self.ticks.handle(&receipts, self.user).iter().for_each(|line| println!("{line}"));
            }
            Event::Refused { conversation, client_msg_id, reason } => {
                // The creation inside a direct send is nobody's message: the other side was first.
                if self.waiting.remove(&client_msg_id).is_some() {
                    eprintln!("* not stored in [{}]: {}", title(conversation, self.user), words_for(reason));
                }
            }
            Event::ToldToWait { conversation, retry_after_ms, .. } => eprintln!(
                "* too much at once: what waits for [{}] goes out in {:.1} s",
                title(conversation, self.user),
                retry_after_ms as f64 / 1e3
            ),
            Event::Typing { conversation, user } => {
                if self.typing.insert((conversation, user)) {
                    eprintln!("* [{}] {user} is typing…", title(conversation, self.user));
                }
            }
            Event::TypingOver { conversation, user } => {
                self.typing.remove(&(conversation, user));
            }
            Event::Resent { .. } | Event::Discarded { .. } => {}
        }
        true
    }

    /// Says once of each message that its answer is overdue.
    fn report_overdue(&mut self) {
        for (since, noticed) in self.waiting.values_mut() {
            if !*noticed && since.elapsed() >= PATIENCE {
                *noticed = true;
                eprintln!("* a message is still unanswered and is sent again and again.");
            }
        }
    }
}

/// Says how much a person has not read, of several places only where there is something.
async fn count_unread(device: Device, user: UserId, places: Vec<ConversationId>, of_several: bool) {
    let mut found = false;
    for conversation in places {
        let Ok(unread) = device.unread(conversation).await else { return };
        if unread > 0 || !of_several {
            found = true;
            println!("[{}] {unread} unread", title(conversation, user));
        }
    }
    if !found {
        println!("nothing is unread");
    }
}

fn line_of(shown: &Shown, user: UserId) -> String {
    let Shown { conversation, entry, .. } = shown;
    let text = match &entry.payload {
        Payload::Text(text) => text.clone(),
        Payload::Created { direct: true, .. } => "(conversation begins)".to_owned(),
        Payload::Created { members, .. } => {
            format!("(group begins: {})", list(members))
        }
        Payload::Joined(users) => format!("(adds {})", list(users)),
        Payload::Left(users) => format!("({} out)", list(users)),
        Payload::Role { user, rank } => format!("({user} is {})", word(rank)),
        Payload::Setting { right, who } => format!("(the right to {} is that of: {})", word(right), word(who)),
        Payload::Named(name) => format!("(the group is called '{name}')"),
        Payload::Blocked(true) => "(blocks this conversation)".to_owned(),
        Payload::Blocked(false) => "(blocks this conversation no more)".to_owned(),
        Payload::ForGood(true) => "(leaves for good)".to_owned(),
        Payload::ForGood(false) => "(may be added again)".to_owned(),
    };
    let own = if entry.sender == user { " (you)" } else { "" };
    format!("[{} #{}] {}{own}: {text}", title(*conversation, user), entry.seq, entry.sender)
}

fn list(users: &[UserId]) -> String {
    users.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn words_for(reason: Refusal) -> &'static str {
    match reason {
        Refusal::UnknownConversation => "there is no such conversation; create it with /direct or /group",
        Refusal::NotAMember => "you are not a member",
        Refusal::BodyTooLarge => "the text is too long",
        Refusal::GroupTooLarge => "the group would be too large",
        Refusal::Conflict => "it exists already, or the change makes no sense for it",
        Refusal::NotAllowed => "you have no right to that here, or whom you add has left for good",
        Refusal::Blocked => "one of you has blocked this conversation",
        Refusal::Busy | Refusal::TooOften { .. } | Refusal::ExpectedClientSeq(_) => {
            "the server asks to send it again"
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, String> {
    let tokens: Arc<dyn Tokens> = match (cli.token, cli.token_command) {
        (Some(token), _) => Arc::new(Fixed(token.into())),
        (None, command) => Arc::new(Printed(command.unwrap_or_default())),
    };
    let first = tokens.fetch().await.map_err(|error| error.to_string())?;
    // Only a gateway can tell whether it is genuine.
    let Claims { user, device, .. } = first
        .unproven_claims()
        .ok_or("that is no token of a device: expected a JWT, as `chatd token` prints it")?;
    let gateways = Gateways::new(&cli.url, device.0).map_err(|e| format!("--url: {e}"))?;
    let codec = if cli.protobuf { Codec::Protobuf } else { Codec::Json };
    let (handle, mut events) = Device::start(
        Config { user, device, codec, connects_before: seconds_since_epoch() },
        tokens,
        Arc::new(gateways),
    );
    let mut chat = Chat {
        device: handle,
        user,
        ids: Ids::new(device),
        waiting: BTreeMap::new(),
        typing: BTreeSet::new(),
        who: Who::default(),
        ticks: Ticks::default(),
        stored: BTreeSet::new(),
        shown_to: BTreeMap::new(),
        last_reason: String::new(),
    };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut input_ended: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => if !chat.show(event) { return Ok(ExitCode::from(2)) },
                None => return Err("the device has ended".to_owned()),
            },
            line = lines.next_line(), if input_ended.is_none() => match line {
                Ok(Some(line)) => if !chat.handle_line(&line).await { input_ended = Some(Instant::now()) },
                Ok(None) => input_ended = Some(Instant::now()),
                Err(error) => return Err(format!("cannot read the input: {error}")),
            },
            _ = tick.tick() => chat.report_overdue(),
        }
        match input_ended {
            Some(_) if chat.waiting.is_empty() => break,
            Some(ended) if ended.elapsed() >= PATIENCE => break,
            _ => {}
        }
    }
    let device = chat.device.clone();
    let last_events = async {
        while let Some(event) = events.recv().await {
            chat.show(event);
        }
    };
    // A gateway that takes no good-bye is left without one.
    let _ = tokio::time::timeout(LINGER, async { tokio::join!(device.stop(), last_events) }).await;
    match chat.waiting.len() {
        0 => Ok(ExitCode::SUCCESS),
        left => {
            eprintln!("error: {left} of your messages had no answer; whether they are stored is unknown");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::from(2);
        }
    };
    let code = runtime.block_on(run(cli)).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    });
    // A read of the terminal cannot be cancelled; do not wait for it.
    runtime.shutdown_background();
    code
}

/// A count of connects that grows from one life of this program to the next without being written down.
#[expect(clippy::disallowed_methods, reason = "this program runs on a person's machine, never in a simulation")]
fn seconds_since_epoch() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_stands_on_the_screen_as_commands_take_it() {
        assert_eq!(title(ConversationId::group(UserId(9), 5), UserId(1)), "9/5");
        assert_eq!(title(ConversationId::direct(UserId(1), UserId(7)), UserId(1)), "with 7");
    }
}
