//! What is run: a scenario file, or the scenario that a seed draws.

use crate::exit::Exit;
use crate::input;
use crate::output;
use squall_generators::swarm;
use squall_scenarios::Scenario;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where a scenario comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    /// Drawn from the seed.
    Swarm,
}

impl Source {
    /// What the user named: a file, or `--swarm`.
    pub fn of(file: Option<PathBuf>, swarm: bool) -> Result<Source, Exit> {
        match (file, swarm) {
            (Some(file), false) => Ok(Source::File(file)),
            (None, true) => Ok(Source::Swarm),
            (Some(file), true) => Err(both(&[file])),
            (None, false) => Err(neither()),
        }
    }

    /// The files that were named, folders expanded and each of them read once, or `--swarm`.
    pub fn all_of(files: &[PathBuf], swarm: bool) -> Result<Vec<Source>, Exit> {
        match (files, swarm) {
            ([], true) => Ok(vec![Source::Swarm]),
            ([], false) => Err(neither()),
            (files, true) => Err(both(files)),
            (files, false) => {
                let files = input::expand(files)?;
                files.iter().try_for_each(|file| input::load(file).map(drop))?;
                Ok(files.into_iter().map(Source::File).collect())
            }
        }
    }

    /// The scenario, and the seed that a run of it takes where the command line names `seed`.
    pub fn load(&self, seed: Option<u64>) -> Result<(Scenario, u64), Exit> {
        match self {
            Source::File(file) => {
                let scenario = input::load(file)?;
                let seed = seed.or(scenario.seed).unwrap_or(0);
                Ok((scenario, seed))
            }
            Source::Swarm => {
                let seed = seed.unwrap_or(0);
                // By way of a file, so that the file that is kept of it is the same scenario, names of faults and all.
                let file = swarm::draw(seed).to_toml();
                let scenario = squall_scenarios::parse(&file, Path::new("swarm.toml"));
                let scenario = scenario.unwrap_or_else(|problems| {
                    panic!("seed {seed} draws a scenario that cannot run: {problems:?}")
                });
                Ok((scenario, seed))
            }
        }
    }

    /// The arguments that name it to a command.
    pub fn arguments(&self, seed: u64) -> [OsString; 3] {
        let what = match self {
            Source::File(file) => file.as_os_str().to_owned(),
            Source::Swarm => "--swarm".into(),
        };
        [what, "--seed".into(), seed.to_string().into()]
    }

    /// The command that does this with it, as a shell takes it.
    pub fn command(&self, verb: &str, seed: u64) -> String {
        let what = match self {
            Source::File(file) => input::quoted(file),
            Source::Swarm => "--swarm".to_owned(),
        };
        format!("squall {verb} {what} --seed {seed}")
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        match self {
            Source::File(file) => file.display().to_string(),
            Source::Swarm => "swarm".to_owned(),
        }
    }

    /// A word for files that are made from it.
    pub fn stem(&self, seed: u64) -> String {
        match self {
            Source::File(file) => {
                file.file_stem().unwrap_or(Path::new("scenario").as_os_str()).to_string_lossy().into_owned()
            }
            Source::Swarm => format!("swarm-{seed}"),
        }
    }
}

fn both(files: &[PathBuf]) -> Exit {
    let first = files.first().map_or_else(String::new, |file| file.display().to_string());
    output::complaint!(
        "--swarm draws its scenarios from the seeds and reads no file: leave out {first}, or leave out --swarm"
    );
    Exit::BadInput
}

fn neither() -> Exit {
    output::complaint!(
        "nothing to run: name a scenario file, e.g. scenarios/smoke.toml, or let the seed draw one with --swarm"
    );
    Exit::BadInput
}
