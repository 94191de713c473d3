//! Reading what the user named: scenario files, folders of them, ranges of seeds.

use crate::exit::Exit;
use crate::output;
use squall_scenarios::{Scenario, Span};
use squall_world::plants::{BUGS, Bug, find};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Problems of one file that are shown: whoever has more has probably named another sort of file.
const PROBLEMS_SHOWN: usize = 20;

/// Loads a scenario, or prints what is wrong with it.
pub fn load(file: &Path) -> Result<Scenario, Exit> {
    if file.is_dir() {
        let name = quoted(file);
        output::complaint!("{}: is a folder; `squall sweep {name}` runs all of it", file.display());
        return Err(Exit::BadInput);
    }
    let found = std::fs::metadata(file).map_err(|error| error.kind());
    if file.is_symlink() && !matches!(found, Ok(_) | Err(ErrorKind::PermissionDenied)) {
        output::complaint!("{}: this link leads nowhere; mend it, or name another file", file.display());
        return Err(Exit::BadInput);
    }
    if matches!(found, Err(ErrorKind::NotFound)) {
        output::complaint!("{}: there is no such file; {}", file.display(), instead_of(file));
        return Err(Exit::BadInput);
    }
    squall_scenarios::load(file).map_err(|problems| {
        for problem in problems.iter().take(PROBLEMS_SHOWN) {
            output::complaint!("{problem}");
        }
        if let Some(more) = problems.len().checked_sub(PROBLEMS_SHOWN).filter(|more| *more > 0) {
            output::complaint!("{}: and {more} more; is this a scenario file?", file.display());
        }
        Exit::BadInput
    })
}

/// What somebody who named a file that does not exist can do.
fn instead_of(file: &Path) -> String {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let siblings = squall_scenarios::files_in(folder).unwrap_or_default();
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let names: Vec<String> = siblings.iter().map(|path| name(path)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match squall_scenarios::nearest(&name(file), &names) {
        Some(near) => format!("did you mean {}?", file.with_file_name(near).display()),
        None => "give the path of a scenario file, e.g. scenarios/smoke.toml".to_owned(),
    }
}

/// The bug of that name, or says which was probably meant.
pub fn bug(name: &str) -> Result<&'static Bug, Exit> {
    find(name).ok_or_else(|| {
        let names: Vec<&str> = BUGS.iter().map(|bug| bug.name).collect();
        let meant = squall_scenarios::nearest(name, &names).map(|near| format!("; did you mean {near}?"));
        let count = names.len();
        output::complaint!(
            "no bug is named {name:?}{}\n`squall bugs` lists all {count}",
            meant.unwrap_or_default()
        );
        Exit::BadInput
    })
}

/// The scenario files that files and folders mean, in order; prints what cannot be read.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Exit> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = squall_scenarios::files_in(path).map_err(|error| {
                output::complaint!("{error}");
                Exit::BadInput
            })?;
            if found.is_empty() {
                output::complaint!(
                    "{}: no scenario files (*.toml) here; name a file or another folder",
                    path.display()
                );
                return Err(Exit::BadInput);
            }
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// The path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// A seed of the command line.
pub fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no seed; write a whole number from 0 to {}, e.g. 7", u64::MAX))
}

/// The number of a conversation or device.
pub fn id(text: &str) -> Result<u128, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is no number of a conversation or device; histories and violations name them")
    })
}

/// The most processes at a time: more than any machine has cores for, and few enough to be started.
const MOST_JOBS: usize = 1_024;

/// How many processes.
pub fn jobs(text: &str) -> Result<usize, String> {
    let jobs = text.parse().ok().filter(|jobs| (1..=MOST_JOBS).contains(jobs));
    jobs.ok_or_else(|| {
        format!("{text:?} is no number of processes; write 1 or more, at most {MOST_JOBS}, or leave it out")
    })
}

/// Wall time in which something is to be done.
pub fn wall_time(text: &str) -> Result<Span, String> {
    let time: Span = text.parse().map_err(|error| format!("{error}"))?;
    match time.is_zero() {
        true => Err("in no time nothing can be done; write e.g. 10m".to_owned()),
        false => Ok(time),
    }
}

/// Seeds, written `A..B` (B is not one of them) or as one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(pub Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is neither a range of seeds nor a seed; write e.g. 0..20 (without 20), or 7");
        let number = |part: &str| part.parse::<u64>().map_err(|_| wrong());
        let range = match text.split_once("..") {
            Some((from, to)) => number(from)?..number(to)?,
            None => {
                let seed = number(text)?;
                let next = seed.checked_add(1);
                seed..next.ok_or_else(|| format!("{text} is too large; the largest is {}", u64::MAX - 1))?
            }
        };
        if range.start > range.end {
            Err(format!("the range ends before it begins; did you mean {}..{}?", range.end, range.start))
        } else if range.is_empty() {
            Err(format!("the range holds no seed, for its end is not in it; write {} for that one", range.start))
        } else {
            Ok(Seeds(range))
        }
    }
}

/// One of the equal parts of a sweep, written `I/N`, from 1: for spreading it over machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    of: u64,
}

/// Part I has the runs I-1, I-1+N and so on of those of the whole sweep, which are counted from 0: every run is in one part.
impl Shard {
    /// All runs.
    pub const WHOLE: Shard = Shard { index: 1, of: 1 };

    /// Its number, from 0, and of how many.
    pub fn number_of(self) -> (u64, u64) {
        (self.index - 1, self.of)
    }

    /// Which run of the whole sweep the n-th of this part is, both from 0.
    pub fn place_of(self, n: u64) -> u128 {
        u128::from(self.index - 1) + u128::from(n) * u128::from(self.of)
    }

    /// How many of the first `runs` runs of the whole sweep are in this part.
    pub fn before(self, runs: u128) -> u128 {
        runs.saturating_sub(u128::from(self.index - 1)).div_ceil(u128::from(self.of))
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((_, 0)) => Err("a sweep has at least one part; write e.g. 1/4, the first of four".to_owned()),
            Some((0, of)) => Err(format!("parts are numbered from 1; write 1/{of} for the first")),
            Some((index, of)) if index > of => {
                Err(format!("there is no part {index} of {of}; the last is {of}/{of}"))
            }
            Some((index, of)) => Ok(Shard { index, of }),
            None => Err(format!("{text:?} is no part of a sweep; write e.g. 1/4, the first of four")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_or_a_number() {
        assert_eq!("3..5".parse(), Ok(Seeds(3..5)));
        assert_eq!("7".parse(), Ok(Seeds(7..8)));
        for wrong in ["", "a", "5..3", "4..4", "1..x", "18446744073709551615"] {
            assert!(wrong.parse::<Seeds>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_parts_of_a_sweep_have_every_run_once() {
        let parts: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|text| text.parse().unwrap()).into();
        let mut runs: Vec<u128> =
            parts.iter().flat_map(|part| (0..part.before(10) as u64).map(|n| part.place_of(n))).collect();
        runs.sort();
        assert_eq!(runs, (0..10).collect::<Vec<u128>>());
        assert_eq!("1/1".parse(), Ok(Shard::WHOLE));
        for wrong in ["", "1", "0/3", "4/3", "1/0", "a/b", "-1/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
