//! The chat server: all roles in one process, with databases on the real disk.

use clap::{Args, Parser, Subcommand};
use squall_core::gateway::Keys;
use squall_core::presence::PresenceTimes;
use squall_core::rate::{Rate, UserLimits};
use squall_protocol::token::{Claims, KeySet, Token};
use squall_protocol::{DeviceId, UserId, limits};
use squall_server::descriptors;
use squall_server::local::{Local, LocalConfig, LocalError};
use squall_server::storage::{DirectoryError, Found, StorageError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The chat server, all roles in one process. Ctrl-C or SIGTERM ends it in good order, the second time at once.
#[derive(Parser)]
#[command(name = "chatd", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Prints a token for one device of one user.
    Token {
        /// Below 2^63.
        #[arg(long, value_parser = clap::value_parser!(u64).range(..UserId::LIMIT))]
        user: u64,
        /// Unique among the devices of all users.
        #[arg(long)]
        device: u64,
        /// For how long it counts, in seconds.
        #[arg(long, default_value_t = 30 * 24 * 3_600, value_name = "SECONDS")]
        lifetime: u64,
        /// Makes it with the key of this id. Else with the first that can: a secret, or a private key (`d`).
        #[arg(long, value_name = "ID", requires = "keys")]
        kid: Option<String>,
        #[command(flatten)]
        keys: KeyOptions,
    },
}

#[derive(Args)]
struct Serve {
    /// Where devices connect: the first gateway's address.
    #[arg(long, default_value = "127.0.0.1:7400", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Directory of the databases; created if absent.
    #[arg(long, value_name = "DIR", required = true)]
    data: Option<PathBuf>,
    /// Gateways, on consecutive ports.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    gateways: u16,
    /// Shards, each with a database; fixed by the first start on a data directory.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=limits::MAX_SHARDS as i64), value_name = "N")]
    shards: u32,
    /// Hosts that know who is online; without any nobody is told.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=16), value_name = "N")]
    presences: u32,
    /// A connection on which nothing was heard for so many seconds makes nobody online.
    #[arg(long, default_value_t = limits::PRESENCE_TTL.as_secs(), value_parser = clap::value_parser!(u64).range(limits::PRESENCE_TTL_MIN.as_secs()..=limits::PRESENCE_TTL.as_secs()), value_name = "SECONDS")]
    presence_ttl: u64,
    /// Frames of one user, by weight, that each gateway reads: so many a second, so many at once; at least four for each send.
    #[arg(long, default_value_t = UserLimits::default().frames, value_name = "N/N")]
    limit_frames: Rate,
    /// Sends of one user at each gateway.
    #[arg(long, default_value_t = UserLimits::default().sends, value_name = "N/N")]
    limit_sends: Rate,
    /// Conversations that one user creates at each shard.
    #[arg(long, default_value_t = UserLimits::default().creations, value_name = "N/N")]
    limit_creations: Rate,
    /// People whom one user puts into conversations at each shard.
    #[arg(long, default_value_t = UserLimits::default().additions, value_name = "N/N")]
    limit_additions: Rate,
    /// Joins and leaves, of whomever, that one user sends to each shard.
    #[arg(long, default_value_t = UserLimits::default().changes, value_name = "N/N")]
    limit_changes: Rate,
    /// Members beyond which a group is a channel: its entries go to the gateways that hold its members, once each. It is a group again when
    /// half as many are left.
    #[arg(long, default_value_t = limits::CHANNEL_ABOVE, value_name = "N")]
    channel_above: u32,
    /// Members of the largest group whose devices are told who has been shown and has read what; in a larger one, how many.
    #[arg(long, default_value_t = limits::RECEIPTS_NAMED_UP_TO, value_name = "N")]
    receipts_named_up_to: u32,
    /// Nobody is told how far others have come: what is read is kept all the same, and shown to the reader's own devices when they connect.
    #[arg(long)]
    no_receipts: bool,
    /// When it is to end, it closes its connections one after the other over so many seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=3600), value_name = "SECONDS")]
    drain: u64,
    #[command(flatten)]
    keys: KeyOptions,
}

/// Under which tokens are made and checked.
#[derive(Args)]
struct KeyOptions {
    /// A secret for HS256, to be seen by everybody who can list processes: for trying things out.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["secret_file", "keys"])]
    secret: Option<String>,
    /// A file with a secret for HS256; space around it is no part of it.
    #[arg(long, value_name = "FILE", conflicts_with = "keys")]
    secret_file: Option<PathBuf>,
    /// A file with several keys, each with an id (`kid`): a JWK Set of secrets for HS256 and Ed25519 public keys for EdDSA. As the file of a secret,
    /// it is read again on SIGHUP.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

impl KeyOptions {
    fn read(&self) -> Result<KeySet, String> {
        const MAKE_ONE: &str = "make one: head -c 32 /dev/urandom | base64";
        let (secret, origin) = match (&self.secret, &self.secret_file, &self.keys) {
            (_, _, Some(file)) => {
                let said = |error: String| format!("cannot take the keys from {}: {error}", file.display());
                let json = std::fs::read_to_string(file).map_err(|error| said(error.to_string()))?;
                return KeySet::of_jwk_set(&json).map_err(|error| {
                    said(format!(
                        "{error}\nsystem/README.md shows such a file; a secret alone goes into --secret-file"
                    ))
                });
            }
            (Some(secret), _, _) => (secret.to_owned(), "--secret".to_owned()),
            (_, Some(file), _) => {
                let secret = std::fs::read_to_string(file).map_err(|error| {
                    format!("cannot read the secret from {}: {error}\n{MAKE_ONE} > {0}", file.display())
                })?;
                (secret.trim().to_owned(), file.display().to_string())
            }
            (None, None, None) => {
                return Err(format!(
                    "there is no key of tokens: give --secret-file FILE or --keys FILE (or --secret TEXT, to try things out)\n{MAKE_ONE} > secret"
                ));
            }
        };
        if secret.is_empty() {
            return Err(format!("{origin} holds an empty secret\n{MAKE_ONE}"));
        }
        Ok(KeySet::of_secret(secret))
    }

    /// Reads the keys anew, as whoever sends SIGHUP asks for. What cannot be read changes nothing.
    fn read_again(&self, keys: &Keys) {
        match self.read() {
            Ok(read) => {
                let names =
                    read.names().map(|(id, algorithm)| format!("{} ({algorithm})", id.unwrap_or("without an id")));
                let names: Vec<String> = names.collect();
                keys.replace(read);
                let _ = writeln!(io::stdout(), "keys of tokens from now on: {}", names.join(", "));
            }
            Err(error) => eprintln!("error: the keys of tokens stay as they were: {error}"),
        }
    }
}

/// What the person can do about it.
fn next_step(error: &LocalError) -> &'static str {
    match error {
        LocalError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            "end the process that has the port, or choose another one with --listen"
        }
        LocalError::Listen { .. } => "choose an address of this machine with --listen",
        LocalError::Ports { .. } => "choose a lower port with --listen, or fewer --gateways",
        LocalError::Secret(_) => "let this user read /dev/urandom",
        LocalError::Directory(error) => next_step_on_disk(error),
        LocalError::Role(_) | LocalError::Ended(_) | LocalError::Panicked(_) => {
            "start it again: what was acked is on disk; the output above may say more"
        }
    }
}

/// What the person can do about a data directory. A file that is refused may hold all that was ever acked: nothing here empties it.
fn next_step_on_disk(error: &DirectoryError) -> &'static str {
    match error {
        DirectoryError::Io { .. } => "choose a directory that this user may write with --data",
        DirectoryError::Taken { .. } => "end the other chatd, or choose another --data directory",
        DirectoryError::Shards { .. } => "start it with that number, or on another --data directory",
        DirectoryError::NotANumber { .. } | DirectoryError::Unnumbered { .. } => {
            "restore the file `shards` from a backup, or write into it the number that the directory was begun with"
        }
        DirectoryError::Database { source: StorageError::Unusable(Found::Older(_) | Found::Newer(_)), .. } => {
            "start the chatd that wrote it; or, to begin without its messages, start with --shards on an empty --data directory"
        }
        DirectoryError::Database { source: StorageError::Unusable(_), .. } => {
            "restore the file from a backup; or, to begin without its messages, start with --shards on an empty --data directory"
        }
        DirectoryError::Database { .. } => {
            "if another chatd runs on this directory, end it; otherwise look at the disk and its permissions"
        }
    }
}

async fn run(serve: Serve, data: PathBuf) -> Result<ExitCode, String> {
    let report = |error: LocalError| format!("{error}\n{}", next_step(&error));
    descriptors::raise();
    // Listened for before anything is said to be ready, so that an early signal is not lost.
    let mut signals = Signals::listen().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let keys = Keys::from(serve.keys.read()?);
    let mut local = Local::start(LocalConfig {
        listen: serve.listen,
        gateways: serve.gateways,
        shards: serve.shards,
        presences: serve.presences,
        data,
        keys: keys.clone(),
        limits: UserLimits {
            frames: serve.limit_frames,
            sends: serve.limit_sends,
            creations: serve.limit_creations,
            additions: serve.limit_additions,
            changes: serve.limit_changes,
            channel_above: serve.channel_above,
            tells_receipts: !serve.no_receipts,
            receipts_named_up_to: serve.receipts_named_up_to,
            presence: PresenceTimes { ttl: Duration::from_secs(serve.presence_ttl), ..PresenceTimes::default() },
        },
        cache_bytes: limits::STORAGE_CACHE_BYTES,
    })
    .await
    .map_err(report)?;
    for address in local.gateways() {
        println!("listening on ws://{address}");
    }
    if let Some(descriptors) = descriptors::allowed() {
        let nobodys = 2 * descriptors::greetings(serve.gateways);
        let told = format!(
            "{descriptors} files and sockets at most; {nobodys} of them for those without a token, at each gateway"
        );
        // Whoever has read where it listens may read no more.
        let _ = writeln!(io::stdout(), "{told}");
    }
    let failed = |error| {
        eprintln!("error: {}", report(error));
        Ok(ExitCode::FAILURE)
    };
    loop {
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                Signal::End => break,
                Signal::ReadKeys => serve.keys.read_again(&keys),
            },
            error = local.ended() => return failed(error),
        }
    }
    let _ = writeln!(
        io::stdout(),
        "ending: connections are closed over {} s, what was taken is made durable; once more ends at once",
        serve.drain
    );
    tokio::select! {
        biased;
        () = signals.end() => Ok(ExitCode::SUCCESS),
        ended = local.stop(Duration::from_secs(serve.drain)) => ended.map_or_else(failed, |()| Ok(ExitCode::SUCCESS)),
    }
}

/// What somebody outside the process asks it for.
enum Signal {
    /// Ctrl-C, and what a service manager sends.
    End,
    /// SIGHUP.
    ReadKeys,
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Signal::End,
            _ = self.terminate.recv() => Signal::End,
            _ = self.hang_up.recv() => Signal::ReadKeys,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) -> Signal {
        let _ = tokio::signal::ctrl_c().await;
        Signal::End
    }
}

impl Signals {
    async fn end(&mut self) {
        while !matches!(self.next().await, Signal::End) {}
    }
}

/// A token that counts from now on.
#[expect(clippy::disallowed_methods, reason = "whoever issues tokens has a clock of their own")]
fn issue(user: u64, device: u64, lifetime_s: u64, kid: Option<&str>, keys: &KeyOptions) -> Result<Token, String> {
    let issuer = keys.read()?.issuer(kid).map_err(|error| error.to_string())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(issuer.issue(&Claims {
        user: UserId(user),
        device: DeviceId(device),
        expires_s: now.as_secs().saturating_add(lifetime_s),
        not_before_s: None,
    }))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let data = cli.serve.data.clone();
    let done = match (cli.command, data) {
        (Some(Command::Token { user, device, lifetime, kid, keys }), _) => {
            issue(user, device, lifetime, kid.as_deref(), &keys).map(|token| {
                println!("{}", token.as_str());
                ExitCode::SUCCESS
            })
        }
        (None, Some(data)) => match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(run(cli.serve, data)),
            Err(error) => Err(format!("cannot start: {error}")),
        },
        (None, None) => unreachable!("clap asks for --data"),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}
