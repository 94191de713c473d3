//! What people see of each other in `chat`, line by line, while the server dies and comes back on its data.

use squall_core::rate::UserLimits;
use squall_protocol::token::{Claims, Issuer, KeySet};
use squall_protocol::{DeviceId, UserId};
use squall_server::local::{Local, LocalConfig};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;

const SECRET: &str = "a secret for tests";
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server in this process, at an address that it has again when it comes back.
struct Server {
    runtime: Runtime,
    _local: Local,
}

impl Server {
    fn start(data: &Path, listen: SocketAddr) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = LocalConfig {
            listen,
            gateways: 1,
            shards: 1,
            presences: 1,
            data: data.to_owned(),
            keys: KeySet::of_secret(SECRET).into(),
            limits: UserLimits::default(),
            cache_bytes: 1 << 20,
        };
        let local = runtime.block_on(Local::start(config)).unwrap();
        Server { runtime, _local: local }
    }

    /// Ends in the midst of whatever it does.
    fn kill(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

/// Somebody's window.
struct Chat {
    child: Child,
    lines: Receiver<String>,
    /// What was on the screen before it said that it was online: the two come by different pipes, in either order.
    early: Vec<String>,
}

impl Chat {
    fn open(server: SocketAddr, user: u64, device: u64) -> Chat {
        let claims = Claims {
            user: UserId(user),
            device: DeviceId(device),
            expires_s: u64::MAX / 2_000,
            not_before_s: None,
        };
        let token = Issuer::of_secret(SECRET).issue(&claims);
        let mut child = Command::new(env!("CARGO_BIN_EXE_chat"))
            .args(["--url", &format!("ws://{server}"), "--token", token.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        listen(child.stdout.take().unwrap(), tell.clone());
        listen(child.stderr.take().unwrap(), tell);
        let mut chat = Chat { child, lines, early: Vec::new() };
        chat.early = chat.waits_for(&format!("online as user {user}"));
        chat
    }

    fn types(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for a line with this in it.
    fn sees(&mut self, wanted: &str) {
        match self.early.iter().position(|line| line.contains(wanted)) {
            Some(place) => drop(self.early.remove(place)),
            None => drop(self.waits_for(wanted)),
        }
    }

    /// Waits for a line with this in it that comes now; those that came before it.
    fn waits_for(&self, wanted: &str) -> Vec<String> {
        let (began, mut seen) = (Instant::now(), Vec::new());
        while let Ok(line) = self.lines.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
            if line.contains(wanted) {
                return seen;
            }
            seen.push(line);
        }
        panic!("'{wanted}' is not on the screen, but:\n{}", seen.join("\n"));
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(from: impl Read + Send + 'static, tell: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
}

/// A directory that goes with its test.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn people_see_ticks_typing_presence_and_what_is_unread_also_after_the_server_has_died() {
    let dir = Dir(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chat-{}", std::process::id())));
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(&dir.0, address);
    let (mut anne, mut bert) = (Chat::open(address, 1, 10), Chat::open(address, 2, 20));

    anne.types("/direct 2 hello");
    anne.sees("[with 2 #2] 1 (you): hello");
    bert.sees("[with 1 #2] 1: hello");
    anne.sees("[with 2 #2] \u{2713}\u{2713} delivered to 2");
    bert.types("/unread");
    bert.sees("[with 1] 1 unread");
    bert.types("/read 1");
    anne.sees("[with 2 #2] \u{2713}\u{2713} read by 2");
    bert.types("/unread");
    bert.sees("nothing is unread");
    bert.types("/typing 1");
    anne.sees("[with 2] 2 is typing");

    // Also on a server that has just started: whoever hides is not there.
    anne.types("/who 2");
    anne.sees("2 is online");
    bert.types("/invisible on");
    anne.sees("2 is offline");
    bert.types("/invisible off");
    anne.sees("2 is online");

    server.kill();
    anne.sees("* offline");
    anne.types("/direct 2 are you there?");
    let _server = Server::start(&dir.0, address);
    anne.sees("[with 2 #3] 1 (you): are you there?");
    bert.sees("[with 1 #3] 1: are you there?");
    bert.types("/unread 1");
    bert.sees("[with 1] 1 unread");
    bert.types("/read 1");
    anne.sees("[with 2 #3] \u{2713}\u{2713} read by 2");

    // What was before stands on another window of hers as it is now.
    let mut another = Chat::open(address, 1, 11);
    another.sees("[with 2 #2] 1 (you): hello  \u{2713}\u{2713} read by 2");
    another.sees("[with 2 #3] 1 (you): are you there?  \u{2713}\u{2713} read by 2");
}
