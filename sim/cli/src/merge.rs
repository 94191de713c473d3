//! `squall merge`: one record of many.

use crate::exit::Exit;
use crate::output;
use crate::overwrite::{self, Written};
use squall_reports::lock::FolderLock;
use squall_reports::{folder, merge, store, summary};
use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Runs, sweeps or folders of runs.
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Write run.json, junit.xml and report.html of all together into this folder.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn main(args: Args) -> Exit {
    let read = folder::files(args.dirs.iter().map(PathBuf::as_path));
    if let Err(exit) = overwrite::refuse(&read, &[Written::folder("--out", Some(&args.out), &store::RUN_FILES)]) {
        return exit;
    }
    match make(&args) {
        Ok(exit) => exit,
        Err(error) => {
            output::complaint!("{error}");
            Exit::BadInput
        }
    }
}

fn make(args: &Args) -> Result<Exit, Box<dyn Error>> {
    let lock = FolderLock::if_there(&args.out)?;
    // A record of an earlier merge must not be taken for that of one that failed.
    store::clear_results(&args.out)?;
    // Found before anything is written, so that what an earlier merge left in one of these folders is no part of this one by accident.
    let mut runs = Vec::new();
    for dir in &args.dirs {
        runs.extend(folder::records(dir)?);
    }
    let record = merge::merge(&runs)?;
    let _lock = lock.map_or_else(|| FolderLock::take(&args.out), Ok)?;
    store::clear(&args.out)?;
    output::text(&summary::render(&record, std::io::stdout().is_terminal()));
    merge::notes(&runs).iter().for_each(|note| output::complaint!("{note}"));
    if let Some(why) = merge::apart(&runs) {
        output::complaint!("what happened when is not in the merged record: {why}");
    }
    store::write_merged(&args.out, &record)?;
    Ok(record.verdict.into())
}
