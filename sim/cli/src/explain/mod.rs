//! `squall explain`: what happened to a message, and the sentence that names the cause.
//!
//! What a record tells is found again by running the same seed once more, with the hops of one conversation followed. A bug that was planted
//! is planted again; the explanation sees the history and nothing of the bug. `why` asks something else: which fault was necessary.

mod replay;
mod subject;
pub mod why;

use crate::exit::Exit;
use crate::input;
use crate::output;
use crate::overwrite::{self, Written};
use replay::{ReplayError, replay};
use squall_autopsy::{Case, Story, Subject, cause, diagram, trace};
use squall_history::{Entity, Filter};
use squall_protocol::{ClientMsgId, ConversationId, DeviceId};
use squall_reports::folder;
use squall_reports::record::AutopsyRecord;
use squall_reports::store;
use squall_reports::story::Diagram;
use squall_reports::sweep::SWEEP_FILE;
use squall_reports::trace::Trace;
use squall_reports::{RunRecord, Verdict};
use squall_scenarios::{Scenario, Span};
use squall_world::plants::Bug;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// A folder that `squall run --out` has written. Its first violation is explained, unless something else is asked for.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Tell the way of this message, by its id.
    #[arg(long, value_name = "ID", value_parser = subject::parse_message, group = "what")]
    message: Option<ClientMsgId>,
    /// Tell what happened to this device.
    #[arg(long, value_name = "N", group = "what")]
    device: Option<u64>,
    /// Tell what happened in this conversation.
    #[arg(long, value_name = "N", group = "what")]
    conversation: Option<u128>,
    /// Also write a page with the picture.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write it as a trace for https://ui.perfetto.dev: a track for each host and device, with arrows for what caused what.
    #[arg(long, value_name = "FILE")]
    perfetto: Option<PathBuf>,
    /// Tell which fault the first violation needed: the run is replayed with and without each, under other draws of the network.
    #[arg(long, group = "what", conflicts_with = "perfetto")]
    why: bool,
    /// Wall time that --why may take.
    #[arg(long, value_name = "TIME", default_value = "3m", requires = "why")]
    limit: Span,
    /// Show no progress of --why.
    #[arg(long, requires = "why")]
    quiet: bool,
}

/// Violations of a run that its report explains.
const EXPLAINED: usize = 3;
/// A run that took no longer is run again at once for its report.
const SHORT_MS: u64 = 10_000;
/// Steps of a story in a report, and on a terminal.
const STEPS_IN_A_REPORT: usize = 90;
const STEPS_IN_TEXT: usize = 400;

pub fn main(args: Args) -> Exit {
    let told = refuse_to_overwrite(&args).and_then(|()| if args.why { why::main(&args) } else { explain(&args) });
    match told {
        Ok(()) => Exit::Pass,
        Err(exit) => exit,
    }
}

fn refuse_to_overwrite(args: &Args) -> Result<(), Exit> {
    overwrite::refuse(
        &squall_reports::folder::files([args.dir.as_path()]),
        &[Written::file("--html", args.html.as_deref()), Written::file("--perfetto", args.perfetto.as_deref())],
    )
}

/// What is told of: a sentence and a story.
struct Told {
    title: String,
    /// What the story is of, where its words do not say it in full.
    of: Option<String>,
    cause: Option<String>,
    diagram: Diagram,
    trace: Trace,
}

fn explain(args: &Args) -> Result<(), Exit> {
    let record = load(&args.dir)?;
    if record.interrupted {
        return Err(bad(&format!(
            "{}: this run was stopped before its end, and no other run comes to the same digest; make it again with --out: {}",
            args.dir.display(),
            record.reproduce
        )));
    }
    let scenario = input::load(&args.dir.join(store::SCENARIO_FILE))?;
    let plant = record.planted.as_deref().map(input::bug).transpose()?;
    let subject = asked(args, &record)?;
    let filter = match &subject {
        Asked::Violation(subject) => subject::filter(std::slice::from_ref(&**subject)).expect("there is one"),
        Asked::Message(message) => Filter::of_message(*message),
        Asked::Device(device) => Filter::of_device(*device),
        Asked::Conversation(conversation) => Filter::of_conversation(*conversation),
    };
    if record.wall_ms > 2_000 {
        output::complaint!("running it again, which took {:.0} s", record.wall_ms as f64 / 1e3);
    }
    let story = replay(&scenario, &record, plant, filter)
        .map_err(|error| bad(&format!("{}: {error}", args.dir.display())))?;
    let told = tell(&subject, &story).map_err(|problem| bad(&format!("{}: {problem}", args.dir.display())))?;
    let mut text = format!("{}\n", told.title);
    if let Some(of) = &told.of {
        text.push_str(&format!("{of}\n"));
    }
    if let Some(cause) = &told.cause {
        text.push_str(&format!("\n{cause}\n"));
    }
    text.push('\n');
    squall_reports::story::write(&mut text, &told.diagram);
    output::text(&text);
    if let Some(path) = &args.html {
        let page = squall_reports::html::render_story(&record, &told.title, told.cause.as_deref(), &told.diagram);
        write(path, page.as_bytes(), "--html")?;
    }
    if let Some(path) = &args.perfetto {
        write(path, &told.trace.bytes(), "--perfetto")?;
    }
    Ok(())
}

/// The record of the run in this folder.
fn load(dir: &Path) -> Result<RunRecord, Exit> {
    squall_reports::load(dir).map_err(|error| match of_a_sweep(dir) {
        Some(run) => {
            bad(&format!("{}: this is a sweep: name one of its runs, e.g. {}", dir.display(), run.display()))
        }
        None => bad(&error),
    })
}

/// The folder of one of a sweep's runs, a violated one before others, where this folder is a sweep's.
fn of_a_sweep(dir: &Path) -> Option<PathBuf> {
    let runs = dir.join(SWEEP_FILE).exists().then(|| folder::records(dir).ok())??;
    let rank = |run: &&folder::Found| run.record.verdict != Verdict::Violated;
    runs.iter().min_by_key(rank).map(|run| run.dir.clone())
}

fn bad(problem: &dyn std::fmt::Display) -> Exit {
    output::complaint!("{problem}");
    Exit::BadInput
}

enum Asked {
    Violation(Box<Subject>),
    Message(ClientMsgId),
    Device(DeviceId),
    Conversation(ConversationId),
}

/// What the user asks for: what is named, or the first violation.
fn asked(args: &Args, record: &RunRecord) -> Result<Asked, Exit> {
    if let Some(message) = args.message {
        let violated = subject::violations(record).into_iter().find(|subject| subject.message == Some(message));
        return Ok(violated.map_or(Asked::Message(message), |subject| Asked::Violation(Box::new(subject))));
    }
    match (args.device, args.conversation) {
        (Some(device), _) => return Ok(Asked::Device(DeviceId(device))),
        (None, Some(conversation)) => return Ok(Asked::Conversation(ConversationId(conversation))),
        (None, None) => {}
    }
    subject::violations(record).into_iter().next().map(|subject| Asked::Violation(Box::new(subject))).ok_or_else(|| {
        bad(&format!(
            "{}: nothing was violated in this run that has to do with a message or a host's levels; name one with --message, or a device or conversation with --device or --conversation",
            args.dir.display()
        ))
    })
}

/// The sentence and the story of what is asked for.
fn tell(asked: &Asked, story: &Story) -> Result<Told, String> {
    let nothing = |conversation, message, device| Subject {
        property: String::new(),
        t: 0,
        conversation,
        seq: None,
        message,
        device,
        user: None,
        level: None,
    };
    let (title, subject) = match asked {
        Asked::Violation(subject) => {
            let cause = Some(cause(story, subject));
            let title = format!("{} was violated at {}", subject.property, squall_autopsy::at(subject.t));
            let case = Case::new(story, subject);
            let (diagram, trace) = (diagram(&case, STEPS_IN_TEXT), trace(&case, cause.as_deref()));
            return Ok(Told { title, of: it(&case), cause, diagram, trace });
        }
        Asked::Message(message) => {
            let conversation = story
                .conversation_of(*message)
                .ok_or_else(|| format!("no device sent a message {message} in this run"))?;
            (format!("message {message}"), nothing(conversation, Some(*message), None))
        }
        Asked::Device(device) => {
            if story.user_of(*device).is_none() {
                return Err(format!("no device {device} had part in this run"));
            }
            (format!("device {device}"), nothing(ConversationId(0), None, Some(*device)))
        }
        Asked::Conversation(conversation) => {
            if !story.events.iter().any(|event| event.kind.conversation() == Some(*conversation)) {
                return Err(format!("nothing was said in a conversation {conversation} in this run"));
            }
            (format!("conversation {conversation}"), nothing(*conversation, None, None))
        }
    };
    let case = Case::new(story, &subject);
    let of = match asked {
        Asked::Device(device) => Some(conversations(story, *device)),
        _ => it(&case),
    };
    Ok(Told { title, of, cause: None, diagram: diagram(&case, STEPS_IN_TEXT), trace: trace(&case, None) })
}

/// What "it" is in a story.
fn it(case: &Case<'_>) -> Option<String> {
    let message = case.subject.message?;
    let sender = case.sender(message).map_or_else(String::new, |device| format!(" of device {device}"));
    Some(format!("it: message {message}{sender}, conversation {}", case.subject.conversation))
}

/// Conversations of a device that are named in full.
const MOST_NAMED: usize = 20;

/// The conversations in which a device had part: its story names them by their first digits.
fn conversations(story: &Story, device: DeviceId) -> String {
    let of_device = story.events.iter().filter(|event| event.at == Entity::Device(device));
    let all: BTreeSet<ConversationId> = of_device.filter_map(|event| event.kind.conversation()).collect();
    let named: Vec<String> = all.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    let more = match all.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("its conversations: {}{more}", if named.is_empty() { "none".to_owned() } else { named.join(", ") })
}

fn write(path: &Path, bytes: &[u8], option: &str) -> Result<(), Exit> {
    store::write(path, bytes).map_err(|error| bad(&format!("{error}; name another file with {option}")))
}

/// Whether a run is short enough to be run again for its report.
pub fn is_short(record: &RunRecord) -> bool {
    record.wall_ms <= SHORT_MS && !record.interrupted
}

/// Explains the first violations of a run.
pub fn autopsies(
    scenario: &Scenario,
    record: &RunRecord,
    plant: Option<&'static Bug>,
) -> Result<Vec<AutopsyRecord>, ReplayError> {
    let mut subjects = subject::violations(record);
    subjects.truncate(EXPLAINED);
    let Some(filter) = subject::filter(&subjects) else { return Ok(Vec::new()) };
    let story = replay(scenario, record, plant, filter)?;
    let explain = |subject: &Subject| AutopsyRecord {
        check: subject.property.clone(),
        cause: cause(&story, subject),
        diagram: diagram(&Case::new(&story, subject), STEPS_IN_A_REPORT),
    };
    Ok(subjects.iter().map(explain).collect())
}
