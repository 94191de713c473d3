//! `squall bugs --explain`: the sentence that an autopsy comes to for each bug, which it knows nothing of.

use super::{Args, Caught, caught, file_of};
use crate::child::Children;
use crate::exit::Exit;
use crate::output;
use crate::shrink::search::plant_arguments;
use crate::source::Source;
use crate::stop;
use squall_world::plants::Bug;
use std::io;

pub fn main(args: &Args, bugs: &[&'static Bug]) -> Exit {
    let mut children = match Children::new(stop::flag()) {
        Ok(children) => children,
        Err(error) => {
            output::complaint!("cannot start runs in processes of their own: {error}");
            return Exit::BadInput;
        }
    };
    children.explain();
    let mut unexplained = 0;
    for bug in bugs {
        if children.stopped() {
            return Exit::Unfinished;
        }
        match one(args, bug, &children) {
            Ok(Some(sentence)) => output::line!("{}: {sentence}", bug.name),
            Ok(None) => {
                unexplained += 1;
                output::line!("{}: not found, so not explained", bug.name);
            }
            Err(error) => {
                output::complaint!("{}: {error}", bug.name);
                return Exit::BadInput;
            }
        }
    }
    if unexplained > 0 { Exit::Violated } else { Exit::Pass }
}

/// What the autopsy says of the first violation in the first run that finds the bug.
fn one(args: &Args, bug: &'static Bug, children: &Children) -> io::Result<Option<String>> {
    let source = Source::File(file_of(&args.scenarios, bug.scenario));
    for seed in 0..args.seeds {
        let Some(outcome) = children.run(&source, seed, &plant_arguments(Some(bug.name)), &|| false)? else {
            return Ok(None);
        };
        let Some(record) = outcome.record else { continue };
        let Caught::By(..) = caught(bug, &record) else { continue };
        let Some(first) = record.autopsies.first() else { continue };
        return Ok(Some(format!("[{} seed {seed}, {}] {}", bug.scenario, first.check, first.cause)));
    }
    Ok(None)
}
