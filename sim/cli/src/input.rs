//! Reading what the user named: scenario files, folders of them, ranges of seeds.

use squall_scenarios::Scenario;
use squall_world::plants::{BUGS, Bug, find};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Exit status for bad input.
pub const BAD_INPUT: u8 = 2;

/// Loads a scenario, or prints every problem.
pub fn load(file: &Path) -> Result<Scenario, u8> {
    if file.is_dir() {
        let name = quoted(file);
        eprintln!("{}: is a folder; `squall sweep {name}` runs all of it", file.display());
        return Err(BAD_INPUT);
    }
    squall_scenarios::load(file).map_err(|problems| {
        for problem in &problems {
            eprintln!("{problem}");
        }
        BAD_INPUT
    })
}

/// The bug of that name, or says which was probably meant.
pub fn bug(name: &str) -> Result<&'static Bug, u8> {
    find(name).ok_or_else(|| {
        let names: Vec<&str> = BUGS.iter().map(|bug| bug.name).collect();
        let meant = squall_scenarios::nearest(name, &names).map(|near| format!("; did you mean {near}?"));
        eprintln!("no bug is named {name:?}{}\nsquall bugs lists them", meant.unwrap_or_default());
        BAD_INPUT
    })
}

/// The scenario files that files and folders mean, in order; prints what cannot be read.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, u8> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = squall_scenarios::files_in(path).map_err(|error| {
                eprintln!("{}: cannot list the folder: {error}", path.display());
                BAD_INPUT
            })?;
            if found.is_empty() {
                eprintln!("{}: no scenario files (*.toml) here; name a file or another folder", path.display());
                return Err(BAD_INPUT);
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

/// Seeds, written `A..B` (B is not one of them) or as one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(pub Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            part.parse::<u64>()
                .map_err(|_| format!("{part:?} is no seed; write a range like 0..20, or one number"))
        };
        let range = match text.split_once("..") {
            Some((from, to)) => number(from)?..number(to)?,
            None => {
                let seed = number(text)?;
                seed..seed.checked_add(1).ok_or("the seed is too large")?
            }
        };
        if range.is_empty() {
            Err(format!("{text} holds no seed; the end must be above the start"))
        } else {
            Ok(Seeds(range))
        }
    }
}

/// One of the equal parts of a sweep, written `I/N`, from 1: for spreading it over machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    of: usize,
}

impl Shard {
    /// Whether the run with this number, from 0, is in this part. Every run is in one.
    pub fn has(self, run: usize) -> bool {
        run % self.of == self.index - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Shard { index, of }),
            _ => Err(format!("{text:?} is no part of a whole; write e.g. 1/4, the first of four")),
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
        assert!((0..10).all(|run| parts.iter().filter(|part| part.has(run)).count() == 1));
        assert!("1/1".parse::<Shard>().unwrap().has(7));
        for wrong in ["", "1", "0/3", "4/3", "1/0", "a/b", "-1/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
