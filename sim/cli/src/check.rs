//! `squall check`: says whether scenario files are right, and everything that is wrong with them.

use crate::input;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Scenario files, or folders of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub fn main(args: Args) -> u8 {
    let files = match input::expand(&args.files) {
        Ok(files) => files,
        Err(code) => return code,
    };
    let mut worst = 0;
    for file in files {
        match input::load(&file) {
            Ok(scenario) => println!(
                "{}: ok; hosts {}, devices {}, faults {}",
                file.display(),
                scenario.topology.hosts(),
                scenario.population.users * scenario.population.devices_per_user,
                scenario.faults.len()
            ),
            Err(code) => worst = code,
        }
    }
    worst
}
