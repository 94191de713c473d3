//! `squall trend`: figures over stored records.

use crate::exit::Exit;
use crate::output;
use crate::overwrite::{self, Written};
use squall_reports::{folder, store, trend};
use std::error::Error;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Runs, sweeps or folders of runs, of any number of commits.
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Write a page with a plot for each figure, a line for each machine.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub fn main(args: Args) -> Exit {
    let read = folder::files(args.dirs.iter().map(PathBuf::as_path));
    if let Err(exit) = overwrite::refuse(&read, &[Written::file("--html", args.html.as_deref())]) {
        return exit;
    }
    match show(&args) {
        Ok(()) => Exit::Pass,
        Err(error) => {
            output::complaint!("{error}");
            Exit::BadInput
        }
    }
}

fn show(args: &Args) -> Result<(), Box<dyn Error>> {
    // A page of an earlier trend must not be taken for this one's, if it fails.
    args.html.as_deref().map(store::remove).transpose()?;
    let mut runs = Vec::new();
    for dir in &args.dirs {
        let mut found = folder::records(dir)?;
        // A year has many runs, and what happened when is most of a record.
        found.iter_mut().for_each(|run| run.record.series = None);
        runs.extend(found);
    }
    let trend = trend::trend(&runs)?;
    output::text(&trend.text());
    if let Some(file) = &args.html {
        store::write(file, &trend.html())?;
    }
    Ok(())
}
