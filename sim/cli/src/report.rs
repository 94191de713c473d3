//! `squall report`: the page of a run, made again from its record.

use crate::exit::Exit;
use crate::output;
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// What `squall report` takes.
#[derive(ClapArgs)]
pub struct Args {
    /// Folders that `squall run --out` has written.
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

pub fn main(args: Args) -> Exit {
    let mut exit = Exit::Pass;
    for dir in args.dirs {
        match squall_reports::render_again(&dir) {
            Ok(path) => output::line!("{}", path.display()),
            Err(error) => {
                eprintln!("{error}");
                exit = Exit::BadInput;
            }
        }
    }
    exit
}
