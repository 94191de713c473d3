//! `squall compare`: what changed between two sides, each a run, a sweep or a folder of runs.

use crate::exit::Exit;
use crate::output;
use crate::overwrite::{self, Written};
use squall_reports::compare::{Answer, Bounds, Side, compare};
use squall_reports::{folder, store};
use std::error::Error;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// A run, a sweep or a folder of runs: how it was.
    a: PathBuf,
    /// The same with the same seeds: how it is.
    b: PathBuf,
    /// What may get how much worse, whatever chance has to do with it: a TOML file of [[bounds]].
    #[arg(long, value_name = "FILE")]
    bounds: Option<PathBuf>,
    /// Compare only this measure, by its name in the table. Can be given several times; the fewer, the fewer pairs are needed.
    #[arg(long, value_name = "MEASURE")]
    only: Vec<String>,
    /// Write the comparison as Markdown, for a pull request.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the comparison as a page, with both sides of each latency in one plot.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub fn main(args: Args) -> Exit {
    let mut input = folder::files([args.a.as_path(), &args.b]);
    input.extend(args.bounds.clone());
    let written =
        [Written::file("--markdown", args.markdown.as_deref()), Written::file("--html", args.html.as_deref())];
    if let Err(exit) = overwrite::refuse(&input, &written) {
        return exit;
    }
    // A page of an earlier comparison must not be taken for that of one that failed.
    for file in [&args.markdown, &args.html].into_iter().flatten() {
        if let Err(error) = store::remove(file) {
            output::complaint!("{error}");
            return Exit::BadInput;
        }
    }
    let comparison = match read(&args) {
        Ok(comparison) => comparison,
        Err(error) => {
            output::complaint!("{error}");
            return Exit::BadInput;
        }
    };
    output::text(&comparison.text());
    let markdown = args.markdown.as_ref().map(|file| (file, comparison.markdown()));
    let html = args.html.as_ref().map(|file| (file, comparison.html()));
    for (file, text) in markdown.into_iter().chain(html) {
        if let Err(error) = store::write(file, &text) {
            output::complaint!("{error}");
            return Exit::BadInput;
        }
    }
    match comparison.answer() {
        Answer::Worse => Exit::Violated,
        Answer::NotWorse => Exit::Pass,
        Answer::TooLittle => Exit::Inconclusive,
    }
}

fn read(args: &Args) -> Result<squall_reports::compare::Comparison, Box<dyn Error>> {
    let bounds = args.bounds.as_deref().map(Bounds::read).transpose()?.unwrap_or_default();
    let side = |path: &Path| -> Result<Side, folder::FolderError> {
        let mut runs = folder::records(path)?;
        // What happened when is not compared, and is most of a record.
        runs.iter_mut().for_each(|run| run.record.series = None);
        Ok(Side { name: path.display().to_string(), runs })
    };
    Ok(compare(&side(&args.a)?, &side(&args.b)?, &bounds, &args.only)?)
}
