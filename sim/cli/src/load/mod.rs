//! `squall load`: a scenario on real sockets.

mod stair;
mod tokens;

use crate::about::about;
use crate::exit::Exit;
use crate::input::{self, Shard};
use crate::output;
use crate::overwrite::{self, Written};
use crate::progress::{Display, Form};
use crate::run::one_line;
use crate::source::Source;
use crate::stop;
use squall_generators::{Forecast, Part, Population, RunId, SharedTokens};
use squall_real::{LoadError, LoadOptions, Target, TlsSetup, descriptors, unsupported};
use squall_reports::lock::FolderLock;
use squall_reports::{RunRecord, store};
use squall_scenarios::Scenario;
use stair::{Of, Stair};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest run against a server that is not on this machine, where nothing else is said.
const LONGEST_ELSEWHERE: Duration = Duration::from_secs(15 * 60);
/// The most sends a second against such a server, where nothing else is said.
const FASTEST_ELSEWHERE: u64 = 1_000;
/// The longest run at all, where nothing else is said.
const LONGEST: Duration = Duration::from_secs(60 * 60);

#[derive(clap::Args)]
pub struct Args {
    /// The scenario file.
    file: PathBuf,
    /// Where the gateways are: ws://host:port, or wss:// for TLS; several with commas between.
    #[arg(long, value_name = "URL", required = true, value_delimiter = ',')]
    url: Vec<String>,
    /// The seed that decides what people do; the file's own, or 0, when absent.
    #[arg(long, value_parser = input::seed, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// A file with the secret under which the server checks tokens.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["secret", "keys", "token_command"], conflicts_with_all = ["keys", "token_command"])]
    secret_file: Option<PathBuf>,
    /// The secret itself, to be seen by everybody who can list processes: for trying things out.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["secret_file", "keys", "token_command"])]
    secret: Option<String>,
    /// The file with the keys under which the server checks tokens, a JWK Set; one of them is a secret, or has its private key.
    #[arg(long, value_name = "FILE", conflicts_with = "token_command")]
    keys: Option<PathBuf>,
    /// A command that reads lines of `user device` and writes a token for each: for servers whose tokens come from elsewhere.
    #[arg(long, value_name = "COMMAND")]
    token_command: Option<String>,
    /// Names the run's people, devices and messages, in hexadecimal; drawn when absent. Two runs of one id are the same people.
    #[arg(long, value_name = "ID", value_parser = run_id)]
    run_id: Option<RunId>,
    /// Do not hold back what devices write and read as long as the profile of their network says.
    #[arg(long)]
    no_profile: bool,
    /// Leave out faults that cannot be done from here, such as crashes of hosts, and say so in the record.
    #[arg(long)]
    skip_unsupported: bool,
    /// Trust the authorities in this file (PEM), instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Threads that drive connections.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Processes of the server on this machine, whose CPU time and memory are told beside the rest; several with commas between.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    server_pid: Vec<u32>,
    /// All people together send so many messages a second, whatever the file says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Raise the load from FROM to TO in so many steps until the server does not keep up, and say what it held: FROM..TO/STEPS.
    #[arg(long, value_name = "FROM..TO/STEPS", conflicts_with_all = ["rate", "run_id", "history"])]
    stair: Option<Stair>,
    /// What a stair raises: sends a second, or people.
    #[arg(long, value_enum, default_value_t, requires = "stair")]
    stair_of: Of,
    /// This generator has one of N parts of the people, I from 1; all of them share a --run-id and a --start-at, and squall merge judges them. Needs --out.
    #[arg(long, value_name = "I/N", requires_all = ["out", "run_id", "start_at"], conflicts_with = "stair")]
    shard: Option<Shard>,
    /// Begin at this time, in seconds since 1970 (date +%s), so that several generators begin together.
    #[arg(long, value_name = "SECONDS")]
    start_at: Option<f64>,
    /// A run in which a hundredth of all sends left later than this for their time is inconclusive, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 25)]
    late_at_most_ms: u64,
    /// You may load this server: needed for every target that is not this machine's loopback.
    #[arg(long)]
    i_own_this_server: bool,
    /// Refuse a run that would take longer, in seconds; an hour, or 15 minutes beyond loopback, when absent.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    at_most_seconds: Option<u64>,
    /// Refuse a run that would send more messages a second; any number, or 1000 beyond loopback, when absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    at_most_rate: Option<u64>,
    /// Write run.json, junit.xml and report.html into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write history.jsonl: every event, one JSON object a line. Needs --out.
    #[arg(long, requires = "out")]
    history: bool,
    /// Print one line instead of the summary and no progress.
    #[arg(long)]
    quiet: bool,
    /// For whom progress is shown on standard error: for a person, or as JSON lines for a program, also with --quiet.
    #[arg(long, value_enum, default_value_t)]
    progress: Form,
}

/// As it is written: hexadecimal, not 0, for that is a simulation's.
fn run_id(text: &str) -> Result<RunId, String> {
    match u64::from_str_radix(text, 16) {
        Ok(0) | Err(_) => Err("a run id is 1 to 16 hexadecimal digits, not all 0".into()),
        Ok(id) => Ok(RunId(id)),
    }
}

pub fn main(args: Args) -> Exit {
    match prepare(args) {
        Ok(ready) => ready.run(),
        Err(exit) => exit,
    }
}

/// All that a run needs, ready to begin.
struct Ready {
    args: Args,
    scenario: Scenario,
    seed: u64,
    targets: Vec<Target>,
    tls: Option<TlsSetup>,
    room: u64,
    left_out: Vec<String>,
    is_local: bool,
    part: Part,
    stop: Arc<AtomicBool>,
    _lock: Option<FolderLock>,
}

fn refuse<T>(complaint: String) -> Result<T, Exit> {
    output::complaint!("{complaint}");
    Err(Exit::BadInput)
}

fn prepare(args: Args) -> Result<Ready, Exit> {
    let source = Source::File(args.file.clone());
    let (mut scenario, seed) = source.load(args.seed)?;
    let targets = args.url.iter().map(|url| Target::parse(url)).collect::<Result<Vec<_>, _>>();
    let targets = targets.or_else(|error| refuse(format!("--url {error}")))?;
    let is_local = targets.iter().all(Target::is_loopback);
    if !is_local && !args.i_own_this_server {
        let other = targets.iter().find(|target| !target.is_loopback()).map(Target::to_string).unwrap_or_default();
        return refuse(format!(
            "{other} is not on this machine's loopback: load only servers that are yours to load, and say so with --i-own-this-server"
        ));
    }
    let cannot = unsupported(&scenario);
    if !cannot.is_empty() && !args.skip_unsupported {
        for fault in &cannot {
            output::complaint!(
                "{}: fault {} ({}) cannot be done from here: {}",
                args.file.display(),
                fault.name,
                fault.kind,
                fault.instead
            );
        }
        return refuse("leave such faults out with --skip-unsupported".into());
    }
    scenario.faults.retain(|fault| cannot.iter().all(|other| other.name != fault.name));
    scenario.topology.gateways = targets.len() as u32;
    if let Some(rate) = args.rate {
        scenario.set_rate(rate as f64);
    }
    let room = descriptors::connections(descriptors::raise());
    let tls = match targets.iter().any(|target| target.is_secure) {
        true => Some(TlsSetup::new(args.ca.as_deref()).or_else(|error| refuse(error.to_string()))?),
        false => None,
    };
    if let Some(tls) = &tls {
        let mut secure = targets.iter().filter(|target| target.is_secure);
        secure.try_for_each(|target| tls.probe(target)).or_else(|error| refuse(error.to_string()))?;
    }
    if let Some(pid) = args.server_pid.iter().find(|pid| squall_real::usage(**pid).is_none()) {
        return refuse(format!(
            "--server-pid {pid}: there is no such process on this machine, or it cannot be looked at"
        ));
    }
    let out = Written::folder("--out", args.out.as_deref(), &store::RUN_FILES);
    overwrite::refuse(std::slice::from_ref(&args.file), &[out])?;
    let lock = args.out.as_deref().map(FolderLock::take).transpose().or_else(|error| refuse(error.to_string()))?;
    if let Some(out) = &args.out {
        store::clear(out).or_else(|error| refuse(format!("{error}; name another folder with --out")))?;
    }
    let part = args.shard.map_or(Ok(Part::WHOLE), |shard| match shard.number_of() {
        (number, of @ 2..=1_000) => Ok(Part { number: number as u32, of: of as u32 }),
        (_, 1) => Ok(Part::WHOLE),
        (_, of) => refuse(format!("--shard: {of} generators are more than 1000")),
    })?;
    is_soon(args.start_at)?;
    let left_out = cannot.into_iter().map(|fault| fault.name).collect();
    let ready = Ready {
        scenario,
        seed,
        targets,
        tls,
        room,
        left_out,
        is_local,
        part,
        stop: stop::flag_or_end(),
        _lock: lock,
        args,
    };
    // The largest step of a stair is looked at before the first begins.
    let largest = match ready.args.stair {
        Some(stair) => stair::scenario(&ready.scenario, ready.args.stair_of, stair.to),
        None => ready.scenario.clone(),
    };
    may_be(&largest, ready.is_local, &ready.args)?;
    let people = Population::new(&largest.population, ready.seed);
    let clients = ready.part.devices(&people).len() as u64;
    if clients > room {
        return refuse(format!(
            "{clients} devices need as many files, and this process may have {room} beside its own: raise the hard limit (ulimit -Hn), or set fewer users in [population]"
        ));
    }
    Ok(ready)
}

/// Whether that is ahead, and not far.
fn is_soon(start_at: Option<f64>) -> Result<(), Exit> {
    let Some(start_at) = start_at else { return Ok(()) };
    #[expect(clippy::disallowed_methods, reason = "several generators begin together by the wall clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    match start_at - now {
        ahead if (0.0..=3_600.0).contains(&ahead) => Ok(()),
        ahead if ahead < 0.0 => refuse(format!(
            "--start-at {start_at} was {:.0} s ago: name a time ahead, e.g. $(($(date +%s) + 20))",
            -ahead
        )),
        _ => refuse(format!(
            "--start-at {start_at} is not within the next hour: name a time ahead, e.g. $(($(date +%s) + 20))"
        )),
    }
}

/// Whether a run is short and slow enough.
fn may_be(scenario: &Scenario, is_local: bool, args: &Args) -> Result<(), Exit> {
    let longest =
        args.at_most_seconds.map_or(if is_local { LONGEST } else { LONGEST_ELSEWHERE }, Duration::from_secs);
    let phases = &scenario.phases;
    let takes = phases.ramp.as_duration() + phases.load.as_duration();
    if takes > longest {
        return refuse(format!(
            "{}: ramp and load take {} s, and more than {} s are not run against this server: shorten [phases], or raise --at-most-seconds",
            args.file.display(),
            takes.as_secs(),
            longest.as_secs()
        ));
    }
    let fastest = args.at_most_rate.or((!is_local).then_some(FASTEST_ELSEWHERE));
    let rate = Forecast::of(scenario).sends / phases.load.as_duration().as_secs_f64().max(0.001);
    match fastest.filter(|fastest| rate > *fastest as f64) {
        Some(fastest) => refuse(format!(
            "{}: people would send about {rate:.0} messages a second, and more than {fastest} are not sent to this server: set a longer send_interval or fewer users, or raise --at-most-rate",
            args.file.display()
        )),
        None => Ok(()),
    }
}

/// An id that no other run has.
fn drawn() -> RunId {
    #[expect(clippy::disallowed_methods, reason = "a run against a living server is told from all others")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let process = u64::from(std::process::id());
    RunId(squall_protocol::ids::mix(now.as_nanos() as u64 ^ process << 48).max(1))
}

fn tokens_of(args: &Args, scenario: &Scenario, seed: u64, run: RunId) -> Result<SharedTokens, Exit> {
    if let Some(command) = &args.token_command {
        return tokens::from_command(command, scenario, seed, run).or_else(refuse);
    }
    let key = match &args.keys {
        Some(file) => tokens::key(file),
        None => tokens::secret(args.secret.as_deref(), args.secret_file.as_deref()),
    };
    key.map(|issuer| tokens::from_key(issuer, scenario)).or_else(refuse)
}

impl Ready {
    fn run(self) -> Exit {
        if let Some(stair) = self.args.stair {
            return self.climb(stair);
        }
        let run = self.args.run_id.unwrap_or_else(drawn);
        let record = match self.load(self.scenario.clone(), run, self.args.out.as_deref()) {
            Ok(record) => record,
            Err(exit) => return exit,
        };
        match self.args.quiet {
            true => output::line!("{}", one_line(&record)),
            false => output::text(&squall_reports::summary::render(&record, std::io::stdout().is_terminal())),
        }
        self.keep(&record, &self.scenario, self.args.out.as_deref())
            .map_or_else(|exit| exit, |()| record.verdict.into())
    }

    /// Finds the largest load that the server holds; each step has a folder of its own.
    fn climb(&self, stair: Stair) -> Exit {
        let of = self.args.stair_of;
        let run = |load: u64| {
            let scenario = stair::scenario(&self.scenario, of, load);
            let out = self.args.out.as_ref().map(|out| out.join(format!("{load:09}")));
            let record = self.load(scenario.clone(), drawn(), out.as_deref())?;
            if let Some(out) = &out {
                store::clear(out).or_else(|error| refuse(error.to_string()))?;
            }
            self.keep(&record, &scenario, out.as_deref())?;
            if record.interrupted { Err(Exit::Inconclusive) } else { Ok(record) }
        };
        let told = |step: &stair::Step| {
            if !self.args.quiet {
                let held = if step.held { "held" } else { "did not hold" };
                output::complaint!(
                    "{} {held}: {:.0} acks/s, p99 {:.1} ms",
                    step.load,
                    step.acks_per_s,
                    step.ack_p99_ms
                );
            }
        };
        let knee = match stair::climb(stair, of, run, told) {
            Ok(knee) => knee,
            Err(exit) => return exit,
        };
        output::text(&stair::render(&knee));
        if let Some(out) = &self.args.out {
            let json = serde_json::to_string_pretty(&knee).expect("a knee has string keys");
            if let Err(error) = std::fs::write(out.join("stair.json"), json + "\n") {
                output::complaint!("{}: {error}", out.join("stair.json").display());
                return Exit::Unfinished;
            }
        }
        match knee.held {
            0 => Exit::Inconclusive,
            _ => Exit::Pass,
        }
    }

    /// One run to its end.
    fn load(&self, scenario: Scenario, run: RunId, out: Option<&Path>) -> Result<RunRecord, Exit> {
        let args = &self.args;
        let clients = self.part.devices(&Population::new(&scenario.population, self.seed)).len();
        let urls: Vec<String> = self.targets.iter().map(Target::to_string).collect();
        if !args.quiet && args.progress != Form::Json {
            output::complaint!(
                "run {:016x}: {clients} devices against {}; this process can hold {} connections",
                run.0,
                urls.join(", "),
                self.room
            );
        }
        let (shows, shown) = std::sync::mpsc::channel::<squall_world::Progress>();
        let options = LoadOptions {
            seed: self.seed,
            run,
            part: self.part,
            targets: self.targets.clone(),
            tokens: tokens_of(args, &scenario, self.seed, run)?,
            tls: self.tls.clone(),
            with_profiles: !args.no_profile,
            threads: args.threads,
            connections: self.room.min(clients as u64 + 2_000),
            late_at_most: Duration::from_millis(args.late_at_most_ms),
            servers: args.server_pid.clone(),
            begins_at_ms: args.start_at.map(|at| at * 1_000.0),
            history: out.filter(|_| args.history || self.part.of > 1).map(|out| out.join(store::HISTORY_FILE)),
            reproduce: self.reproduce(),
            on_progress: Some(Box::new(move |progress| {
                let _ = shows.send(*progress);
            })),
            left_out: self.left_out.clone(),
            stop: Arc::clone(&self.stop),
        };
        let mut display = Display::new(args.quiet || args.progress == Form::Json, args.progress);
        let thread = std::thread::Builder::new().name("load".into());
        let Ok(run) = thread.spawn(move || squall_real::load(&scenario, options)) else {
            return Err(Exit::Unfinished);
        };
        while let Ok(progress) = shown.recv() {
            display.show(&progress);
        }
        display.finish();
        match run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            Ok(record) => Ok(record),
            Err(LoadError::History { path, source, ended: Some(record) }) => {
                output::line!("{}", one_line(&record));
                let lost = LoadError::History { path, source, ended: None };
                output::complaint!("{lost}; nothing of the run was kept");
                if let Some(Err(error)) = out.map(store::clear_results) {
                    output::complaint!("{error}");
                }
                Err(Exit::Unfinished)
            }
            Err(error) => {
                output::complaint!("the run could not be finished and proves nothing: {error}");
                Err(Exit::Unfinished)
            }
        }
    }

    /// The command that does the same again, to other people of the same kind.
    fn reproduce(&self) -> String {
        let args = &self.args;
        let mut said =
            format!("squall load {} --url {} --seed {}", args.file.display(), args.url.join(","), self.seed);
        match (&args.secret_file, &args.token_command) {
            (Some(file), _) => said.push_str(&format!(" --secret-file {}", file.display())),
            (_, Some(_)) => said.push_str(" --token-command ..."),
            _ if args.keys.is_some() => said.push_str(" --keys ..."),
            _ => said.push_str(" --secret ..."),
        }
        for (is_set, flag) in [(args.no_profile, " --no-profile"), (args.skip_unsupported, " --skip-unsupported")]
        {
            said.push_str(if is_set { flag } else { "" });
        }
        if let Some(rate) = args.rate {
            said.push_str(&format!(" --rate {rate}"));
        }
        said
    }

    /// Writes a run's files.
    fn keep(&self, record: &RunRecord, scenario: &Scenario, out: Option<&Path>) -> Result<(), Exit> {
        let Some(out) = out else { return Ok(()) };
        let said = Scenario { seed: Some(self.seed), ..scenario.clone() }.to_short_toml();
        #[expect(clippy::disallowed_methods, reason = "when a run was made is told in its record")]
        let began = SystemTime::now() - Duration::from_millis(record.wall_ms);
        let record = RunRecord { about: Some(about(began)), ..record.clone() };
        squall_reports::write_all(out, &record, &said).map_err(|error| {
            output::complaint!("{error}");
            Exit::Unfinished
        })
    }
}
