//! `squall shrink`: the smallest scenario that still violates the same property, as a file with its seed inside.

mod candidates;
pub mod search;

use crate::child::{self, Children};
use crate::exit::Exit;
use crate::input;
use crate::output;
use crate::overwrite::{self, Written};
use crate::progress::Meter;
use crate::source::Source;
use crate::stop;
use search::{Ended, Failing, Limits, Shrunk, first_violated, plant_arguments, shrink};
use squall_reports::number::grouped;
use squall_scenarios::{Scenario, Span};
use squall_world::Forecast;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// The scenario file.
    file: Option<PathBuf>,
    /// Shrink the scenario that the seed draws, instead of a file.
    #[arg(long)]
    swarm: bool,
    /// The seed that fails; the file's own, or 0, when absent.
    #[arg(long, value_parser = input::seed, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// A planted bug, as for run: every run has it.
    #[arg(long, value_name = "BUG")]
    plant: Option<String>,
    /// Write the smallest scenario into this file; <the scenario's name>-shrunk.toml when absent.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Stop after this much wall time, with the smallest scenario until then.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    limit: Span,
    /// Processes at a time; one for each core when absent.
    #[arg(long, value_parser = input::jobs, allow_negative_numbers = true)]
    jobs: Option<usize>,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
}

pub fn main(args: Args) -> Exit {
    match shrink_and_tell(args) {
        Ok(()) => Exit::Pass,
        Err(exit) => exit,
    }
}

fn shrink_and_tell(args: Args) -> Result<(), Exit> {
    let source = Source::of(args.file, args.swarm)?;
    let (scenario, seed) = source.load(args.seed)?;
    let out = args.out.unwrap_or_else(|| PathBuf::from(format!("{}-shrunk.toml", source.stem(seed))));
    if let Source::File(file) = &source {
        overwrite::refuse(std::slice::from_ref(file), &[Written::file("--out", Some(&out))])?;
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        // Found out now rather than when the time is up.
        output::complaint!(
            "{}: there is no folder {}; make it, or name another file with --out",
            out.display(),
            folder.display()
        );
        return Err(Exit::BadInput);
    }
    let plant = args.plant.as_deref();
    let children = Children::new(stop::flag()).map_err(told("cannot start runs in processes of their own"))?;
    let failing = first_run(&children, &source, scenario, seed, plant)?;
    let Some(property) = first_violated(&failing.record).map(|check| check.name.clone()) else {
        output::complaint!(
            "{} seed {seed} violates nothing ({}), so there is nothing to shrink; `squall sweep` finds seeds that do",
            source.name(),
            failing.record.verdict
        );
        return Err(Exit::Inconclusive);
    };
    let limits = Limits { wall: args.limit.as_duration(), jobs: child::jobs(args.jobs, u64::MAX), steady: 0 };
    let mut meter = Meter::new(args.quiet);
    meter.note(|| {
        format!("{} seed {seed} violates {property}; shrinking for at most {}", source.name(), args.limit)
    });
    let shrunk = shrink(&children, failing.clone(), plant, &property, limits, &mut meter)
        .map_err(told("cannot run smaller scenarios"))?;
    let from = with_plant(source.command("shrink", seed), plant);
    let file = smallest_file(&shrunk.smallest, &property, &from, &out, plant);
    confirm(&file, &out, &property, plant)?;
    std::fs::write(&out, &file).map_err(|error| {
        output::complaint!("{}: cannot write it: {error}; name another file with --out", out.display());
        output::text(&file);
        Exit::BadInput
    })?;
    output::text(&summary(&failing, &shrunk, &property, &out, plant));
    Ok(())
}

/// Says what failed and gives the exit status of it.
fn told(what: &str) -> impl Fn(std::io::Error) -> Exit {
    move |error| {
        output::complaint!("{what}: {error}");
        Exit::BadInput
    }
}

/// Runs the scenario as it is.
pub fn first_run(
    children: &Children,
    source: &Source,
    scenario: Scenario,
    seed: u64,
    plant: Option<&str>,
) -> Result<Failing, Exit> {
    let outcome =
        children.run(source, seed, &plant_arguments(plant), &|| false).map_err(told("cannot run the scenario"))?;
    match outcome {
        Some(outcome) => match outcome.record {
            Some(record) => Ok(Failing { scenario, seed, record }),
            None => {
                output::complaint!(
                    "{}\nthe run of {} seed {seed} could not be finished",
                    outcome.text,
                    source.name()
                );
                Err(Exit::BadInput)
            }
        },
        None => {
            output::complaint!("interrupted before anything was known");
            Err(Exit::Inconclusive)
        }
    }
}

/// The file of the smallest scenario: what it shows and how, then the scenario, with nothing in it that is so anyway.
fn smallest_file(smallest: &Failing, property: &str, from: &str, out: &Path, plant: Option<&str>) -> String {
    let scenario = Scenario {
        // The file's stem is its name.
        name: String::new(),
        description: format!("The smallest scenario that was found to violate {property}."),
        seed: Some(smallest.seed),
        ..smallest.scenario.clone()
    };
    let first = first_violated(&smallest.record).and_then(|check| check.first.as_ref());
    let message = first.map_or_else(String::new, |first| first.message.clone());
    let mut lines = vec![format!("Violates {property}: {message}")];
    lines.extend(plant.map(|plant| format!("Needs the planted bug {plant}.")));
    lines.push(format!("Reproduce: {}", with_plant(format!("squall run {}", input::quoted(out)), plant)));
    lines.push(format!("Made by:   {from}"));
    let header: String = lines.iter().flat_map(|line| line.lines()).map(|line| format!("# {line}\n")).collect();
    header + &scenario.to_short_toml()
}

fn with_plant(command: String, plant: Option<&str>) -> String {
    match plant {
        Some(plant) => format!("{command} --plant {}", input::quoted(Path::new(plant))),
        None => command,
    }
}

/// Runs the file as a user would, with the seed in it.
fn confirm(file: &str, out: &Path, property: &str, plant: Option<&str>) -> Result<(), Exit> {
    // Its own flag: the one before may be set, and the smallest scenario is wanted nevertheless.
    let children = Children::new(stop::flag()).map_err(told("cannot confirm what was found"))?;
    let path = children.folder().join(out.file_name().unwrap_or("shrunk.toml".as_ref()));
    std::fs::write(&path, file).map_err(told("cannot confirm what was found"))?;
    let scenario = input::load(&path)?;
    let seed = scenario.seed.unwrap_or(0);
    let outcome = children
        .run(&Source::File(path), seed, &plant_arguments(plant), &|| false)
        .map_err(told("cannot confirm what was found"))?;
    let Some(outcome) = outcome else {
        output::complaint!("interrupted again: {} is written without a last run of it", out.display());
        return Ok(());
    };
    let found = outcome.record.as_ref().and_then(first_violated).map(|check| check.name.as_str());
    if found == Some(property) {
        return Ok(());
    }
    output::complaint!(
        "the smallest scenario does not violate {property} when it runs again, which should not be: is the build the same, \
         and does `squall verify-determinism` pass?\n{}\n{file}",
        outcome.text
    );
    Err(Exit::BadInput)
}

/// What was there before and after, and where it is now.
fn summary(before: &Failing, shrunk: &Shrunk, property: &str, out: &Path, plant: Option<&str>) -> String {
    let after = &shrunk.smallest;
    let conversations = |failing: &Failing| {
        let seeded = Scenario { seed: Some(failing.seed), ..failing.scenario.clone() };
        grouped(Forecast::of(&seeded).conversations.round() as u64)
    };
    let of = |number: fn(&Failing) -> String| (number(before), number(after));
    let rows = [
        ("hosts", of(|failing| grouped(failing.scenario.topology.hosts().into()))),
        ("clients", of(|failing| grouped(failing.clients().into()))),
        ("conversations", (conversations(before), conversations(after))),
        ("faults", of(|failing| failing.faults().to_string())),
        ("messages sent", of(|failing| grouped(failing.record.messages.sent))),
        ("load", of(|failing| failing.scenario.phases.load.to_string())),
    ];
    let mut text = format!("{property} is violated first\n\n  {:<14} {:>9} {:>9}\n", "", "before", "after");
    for (what, (before, after)) in rows {
        text.push_str(&format!("  {what:<14} {before:>9} {after:>9}\n"));
    }
    let run = with_plant(format!("squall run {}", input::quoted(out)), plant);
    text + &format!("\n{}\nwritten: {}\nreproduce: {run}\n", effort(shrunk), out.display())
}

/// What the search took, and why it ended.
fn effort(shrunk: &Shrunk) -> String {
    let (runs, steps, wall) = (grouped(shrunk.runs), shrunk.steps, shrunk.wall.as_secs());
    let took = match steps {
        0 => format!("{runs} runs in {wall} s"),
        _ => format!("{runs} runs in {wall} s, {steps} times smaller"),
    };
    match (shrunk.ended, steps) {
        (Ended::NothingSmaller, _) => format!("{took}; nothing smaller was found to fail"),
        (Ended::TimeIsUp, 0) => {
            format!("{took}; the time was up before anything smaller was found: give more with --limit")
        }
        (Ended::TimeIsUp, _) => {
            format!("{took}; the time was up, and there may be smaller ones: give more with --limit")
        }
        (Ended::Interrupted, 0) => "interrupted before anything smaller was found".to_owned(),
        (Ended::Interrupted, _) => format!("{took}; interrupted, and there may be smaller ones"),
    }
}
