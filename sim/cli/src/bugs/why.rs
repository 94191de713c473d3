//! `squall bugs --why`: whether `squall explain --why` names the one fault that the shrunk file of each bug has.

use super::shrinking::{children, first_failing, keep};
use super::{Args, print};
use crate::child::{self, Children};
use crate::exit::Exit;
use crate::explain::why::{Answer, Replayed, STEADY, Stop, Why, seek, sentence};
use crate::output;
use crate::progress::Meter;
use crate::shrink::search::{Failing, Limits, shrink};
use squall_reports::text_table::TextTable;
use squall_world::plants::Bug;
use std::io;

pub fn main(args: &Args, bugs: &[&'static Bug]) -> Exit {
    let children = match children(args) {
        Ok(children) => children,
        Err(exit) => return exit,
    };
    let mut table = TextTable::new(2, &["bug", "property", "faults: shrunk", "replays", "s", "named"]);
    let (mut with_one, mut named, mut tried) = (0, 0, 0);
    for bug in bugs {
        if children.stopped() {
            break;
        }
        let (smallest, property) = match smallest(args, bug, &children) {
            Ok(Some(found)) => found,
            Ok(None) => {
                table.row(vec![bug.name.into(), "not found".into()]);
                continue;
            }
            Err(error) => {
                output::complaint!("{}: {error}", bug.name);
                return Exit::BadInput;
            }
        };
        tried += 1;
        let faults = smallest.faults();
        let mut row = vec![bug.name.into(), property.clone(), faults.to_string()];
        if faults == 1 {
            let why = ask(args, bug, &children, smallest, property);
            if let Some(Stop::Failed(reason)) = &why.stop {
                output::complaint!("{}: {reason}", bug.name);
                return Exit::BadInput;
            }
            // There is no other fault: either this one is named, or none.
            let is_named = matches!(why.findings.answer, Answer::Necessary { .. });
            with_one += 1;
            named += usize::from(is_named);
            let answer = if is_named { "yes" } else { "no" };
            row.extend([why.replays.to_string(), why.wall.as_secs().to_string(), answer.to_owned()]);
            output::line!("{}: [{} seed {}] {}", bug.name, bug.scenario, why.subject.seed, sentence(&why));
        }
        table.row(row);
    }
    output::line!("");
    print(&table);
    output::line!(
        "\n{named} of {with_one} whose shrunk file has one fault are named; {tried} of {} shrunk",
        bugs.len()
    );
    if named < with_one || tried < bugs.len() { Exit::Violated } else { Exit::Pass }
}

/// Shrinks the first run that finds the bug to one that other draws of the network show as well.
fn smallest(args: &Args, bug: &'static Bug, children: &Children) -> io::Result<Option<(Failing, String)>> {
    let Some((failing, property)) = first_failing(args, bug, children, STEADY)? else { return Ok(None) };
    let limits = Limits { wall: args.limit.as_duration(), jobs: child::jobs(args.jobs, u64::MAX), steady: STEADY };
    let smallest = shrink(children, failing, Some(bug.name), &property, limits, &mut Meter::new(true))?.smallest;
    keep(args, bug, &smallest)?;
    Ok(Some((smallest, property)))
}

/// Asks why, without curves.
fn ask(args: &Args, bug: &'static Bug, children: &Children, smallest: Failing, property: String) -> Why {
    let (scenario, seed) = (smallest.scenario, smallest.seed);
    let subject = Replayed { scenario, seed, plant: Some(bug.name.to_owned()), property };
    let limit = args.limit.as_duration();
    seek(children, subject, limit, (child::jobs(args.jobs, u64::MAX), 0), &mut Meter::new(true))
}
