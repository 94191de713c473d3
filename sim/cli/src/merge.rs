//! `squall merge`: one record of many.

use crate::exit::Exit;
use crate::output;
use crate::overwrite::{self, Written};
use squall_real::shards::{self, Shard};
use squall_reports::RunRecord;
use squall_reports::folder::Found;
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
    let merged = merge::merge(&runs)?;
    let record =
        if runs.iter().any(|run| shards::is_shard(&run.record)) { together(&runs, merged)? } else { merged };
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

/// Shards of a run against a server are no runs of their own: their events are judged together.
fn together(runs: &[Found], merged: RunRecord) -> Result<RunRecord, Box<dyn Error>> {
    let shards: Vec<Shard> =
        runs.iter().map(|run| Shard { dir: run.dir.clone(), record: run.record.clone() }).collect();
    let path = shards.first().map(|shard| shards::scenario_of(&shard.dir)).unwrap_or_default();
    let scenario = squall_scenarios::load(&path).map_err(|problems| {
        problems.first().map_or_else(|| format!("{}: no scenario", path.display()), ToString::to_string)
    })?;
    Ok(shards::judge_together(&shards, &scenario, merged)?)
}
