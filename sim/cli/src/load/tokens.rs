//! Tokens for the devices of a run: made here with a key of the server, or asked of a command.

use squall_core::Time;
use squall_generators::population::Population;
use squall_generators::tokens::Issued;
use squall_generators::{Backend, RunId, SharedTokens, Tokens};
use squall_protocol::token::{Issuer, KeySet, Token};
use squall_protocol::{DeviceId, UserId};
use squall_real::FIRST_FRESH;
use squall_scenarios::Scenario;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Made as the app's backend would, with a key that the server has.
#[expect(clippy::disallowed_methods, reason = "a living server has the machine's clock, or one like it")]
pub fn from_key(issuer: Issuer, scenario: &Scenario) -> SharedTokens {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Arc::new(Backend::new(issuer, now.as_secs(), scenario.tokens.lifetime.as_duration()))
}

/// The server's secret, which is given or stands in a file.
pub fn secret(secret: Option<&str>, file: Option<&Path>) -> Result<Issuer, String> {
    let secret = match (secret, file) {
        (Some(secret), _) => secret.to_owned(),
        (None, Some(file)) => std::fs::read_to_string(file).map_err(|error| {
            format!("cannot read the secret from {}: {error}; name the file that the server has", file.display())
        })?,
        (None, None) => String::new(),
    };
    match secret.trim() {
        "" => Err("the secret is empty: give the one that the server has".into()),
        secret => Ok(Issuer::of_secret(secret)),
    }
}

/// The first key with which tokens can be made, of a file that is the server's `--keys`.
pub fn key(file: &Path) -> Result<Issuer, String> {
    let wrong = |error: String| format!("cannot take a key from {}: {error}", file.display());
    let json = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    KeySet::of_jwk_set(&json).and_then(|keys| keys.issuer(None)).map_err(|error| wrong(error.to_string()))
}

/// Tokens that a command has made, by device.
struct Made(BTreeMap<DeviceId, String>);

impl Tokens for Made {
    /// There is one for the whole run. Whoever made it knows when it expires.
    fn issue(&self, _user: UserId, device: DeviceId, _now: Time) -> Issued {
        let token = Token::from(self.0.get(&device).cloned().unwrap_or_default());
        Issued { token, expires_s: i64::MAX, not_before_s: None }
    }
}

/// Asks a command, once, for the tokens of all devices of a run and of the fresh ones that read at its end: it is given a line `user device` for
/// each, and writes one line with its token.
pub fn from_command(command: &str, scenario: &Scenario, seed: u64, run: RunId) -> Result<SharedTokens, String> {
    let people = Population::new(&scenario.population, seed).of_run(run);
    let fresh = people.clone().with_devices_from(u64::from(FIRST_FRESH) + 1);
    let own = (0..people.devices()).map(|device| (people.user_of_device(device), people.device(device)));
    let all: Vec<(UserId, DeviceId)> =
        own.chain((0..people.users()).map(|user| (people.user(user), fresh.device(user)))).collect();
    let asked: String = all.iter().map(|(user, device)| format!("{user} {device}\n")).collect();
    let wrong = |what: String| format!("--token-command {command:?}: {what}");
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| wrong(format!("cannot be started: {error}")))?;
    let mut stdin = child.stdin.take();
    let writer = std::thread::spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(asked.as_bytes())));
    let said = child.wait_with_output().map_err(|error| wrong(format!("cannot be read: {error}")))?;
    // Whoever does not read its input shows it by what it writes.
    let _ = writer.join();
    if !said.status.success() {
        return Err(wrong(format!("ended with {}", said.status)));
    }
    let text = String::from_utf8(said.stdout).map_err(|_| wrong("wrote what is no text".into()))?;
    let tokens: Vec<&str> = text.lines().map(str::trim).collect();
    if tokens.len() != all.len() {
        return Err(wrong(format!(
            "wrote {} lines for {} devices; one token a line is expected, in order",
            tokens.len(),
            all.len()
        )));
    }
    let made = all.iter().zip(tokens).map(|((_, device), token)| (*device, token.to_owned()));
    Ok(Arc::new(Made(made.collect())))
}
