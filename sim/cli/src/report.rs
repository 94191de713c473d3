//! `squall report`: the page of a run or a sweep, made again from its record.

use crate::exit::Exit;
use crate::output;
use clap::Args as ClapArgs;
use squall_reports::lock::FolderLock;
use squall_reports::sweep::{SWEEP_FILE, files};
use std::path::PathBuf;

/// What `squall report` takes.
#[derive(ClapArgs)]
pub struct Args {
    /// Folders that `squall run --out` or `squall sweep --out` has written.
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

pub fn main(args: Args) -> Exit {
    let mut exit = Exit::Pass;
    for dir in args.dirs {
        let lock = FolderLock::if_there(&dir);
        if let Err(error) = &lock {
            output::complaint!("{error}");
            exit = Exit::BadInput;
            continue;
        }
        let made = match dir.join(SWEEP_FILE).exists() {
            true => files::render_again(&dir),
            false => squall_reports::render_again(&dir),
        };
        match made {
            Ok(path) => output::line!("{}", path.display()),
            Err(error) => {
                output::complaint!("{error}");
                exit = Exit::BadInput;
            }
        }
    }
    exit
}
