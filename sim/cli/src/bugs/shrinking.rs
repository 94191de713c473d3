//! `squall bugs --shrink`: how close shrinking comes to the least that can show each bug.

use super::{Args, Caught, caught, file_of, print};
use crate::child::{self, Children};
use crate::exit::Exit;
use crate::output;
use crate::progress::Meter;
use crate::shrink::search::{Case, Failing, Limits, first_violated, plant_arguments, shrink};
use crate::source::Source;
use crate::stop;
use squall_reports::text_table::TextTable;
use squall_world::plants::Bug;
use std::io;
use std::sync::atomic::AtomicU64;

/// How much larger than the least a shrunk scenario may be.
const MORE_CLIENTS: u32 = 3;
const MORE_FAULTS: usize = 1;
/// The smallest population that a scenario can have.
const LEAST_CLIENTS: u32 = 2;

pub fn main(args: &Args, bugs: &[&'static Bug]) -> Exit {
    let children = match children(args) {
        Ok(children) => children,
        Err(exit) => return exit,
    };
    let mut table = TextTable::new(
        2,
        &[
            "bug",
            "property",
            "clients: from",
            "least",
            "shrunk",
            "faults: from",
            "least",
            "shrunk",
            "runs",
            "s",
            "small",
        ],
    );
    let mut small = 0;
    for bug in bugs {
        if children.stopped() {
            break;
        }
        match one(args, bug, &children) {
            Ok(Some((row, is_small))) => {
                small += usize::from(is_small);
                table.row(row);
            }
            Ok(None) => table.row(vec![bug.name.into(), "not found".into()]),
            Err(error) => {
                output::complaint!("{}: {error}", bug.name);
                return Exit::BadInput;
            }
        }
    }
    print(&table);
    output::line!(
        "\n{small} of {} with at most {MORE_CLIENTS} clients and {MORE_FAULTS} fault more than the least; no scenario has fewer than {LEAST_CLIENTS} clients",
        bugs.len()
    );
    if small < bugs.len() { Exit::Violated } else { Exit::Pass }
}

/// What makes the runs, when the folder for what is kept of them is there.
pub fn children(args: &Args) -> Result<Children, Exit> {
    let made = args.out.as_ref().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| Children::new(stop::flag())).map_err(|error| {
        output::complaint!("cannot start runs, or write what they come to: {error}");
        Exit::BadInput
    })
}

/// Keeps the smallest scenario that was found to show a bug, where a folder was named for it.
pub fn keep(args: &Args, bug: &Bug, smallest: &Failing) -> io::Result<()> {
    let Some(out) = &args.out else { return Ok(()) };
    let mut scenario = smallest.scenario.clone();
    scenario.name = String::new();
    scenario.description = format!("The smallest scenario that was found to show {}: {}", bug.name, bug.how);
    scenario.seed = Some(smallest.seed);
    std::fs::write(out.join(format!("{}.toml", bug.name)), scenario.to_short_toml())
}

/// Shrinks the first run that finds the bug; its row, and whether it is small enough.
fn one(args: &Args, bug: &'static Bug, children: &Children) -> io::Result<Option<(Vec<String>, bool)>> {
    let Some((failing, property)) = first_failing(args, bug, children, 0)? else { return Ok(None) };
    let limits = Limits { wall: args.limit.as_duration(), jobs: child::jobs(args.jobs, u64::MAX), steady: 0 };
    let mut meter = Meter::new(true);
    let (clients, faults) = (failing.clients(), failing.faults());
    let shrunk = shrink(children, failing, Some(bug.name), &property, limits, &mut meter)?;
    let smallest = &shrunk.smallest;
    keep(args, bug, smallest)?;
    let least = bug.devices.max(LEAST_CLIENTS);
    let is_small =
        smallest.clients() <= least + MORE_CLIENTS && smallest.faults() <= bug.faults as usize + MORE_FAULTS;
    let row = [
        bug.name.to_owned(),
        property,
        clients.to_string(),
        least.to_string(),
        smallest.clients().to_string(),
        faults.to_string(),
        bug.faults.to_string(),
        smallest.faults().to_string(),
        shrunk.runs.to_string(),
        shrunk.wall.as_secs().to_string(),
        if is_small { "yes" } else { "no" }.to_owned(),
    ];
    Ok(Some((row.into(), is_small)))
}

/// Seeds that catch a bug, but not under other salts, that are passed over.
const UNSTEADY_SEEDS: usize = 5;

/// The first seed of the bug's scenario with which the right check catches it, and that check. It does so under so many other salts of
/// the network as well, if such a seed is among the first that catch it.
pub fn first_failing(
    args: &Args,
    bug: &'static Bug,
    children: &Children,
    steady: u64,
) -> io::Result<Option<(Failing, String)>> {
    let mut unsteady = Vec::new();
    let source = Source::File(file_of(&args.scenarios, bug.scenario));
    for seed in 0..args.seeds {
        let Ok((scenario, seed)) = source.load(Some(seed)) else { return Ok(None) };
        let Some(outcome) = children.run(&source, seed, &plant_arguments(Some(bug.name)), &|| false)? else {
            return Ok(None);
        };
        let Some(record) = outcome.record else { continue };
        let first = first_violated(&record).map(|check| check.name.clone());
        let first = first.filter(|name| bug.caught_by.contains(&name.as_str()));
        if let (Caught::By(..), Some(property)) = (caught(bug, &record), first) {
            let case = Case { children, source: &source, seed, plant: Some(bug.name), property: &property };
            let is_steady = case.is_steady(steady, &AtomicU64::new(0), &|| false)?;
            let found = (Failing { scenario, seed, record }, property);
            if is_steady {
                return Ok(Some(found));
            }
            unsteady.push(found);
            if unsteady.len() == UNSTEADY_SEEDS {
                break;
            }
        }
    }
    Ok(unsteady.into_iter().next())
}
