//! Finds records: a folder is a run's, or holds those of many runs, a sweep's among them.
//!
//! **Invariant:** what was named is read whole or refused. A record that cannot be read is an error, never a run less.

use crate::record::RunRecord;
use crate::store::{LoadError, RECORD_FILE, SCENARIO_FILE, load};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// Folders in folders that are looked through.
const DEEPEST: usize = 6;

/// A record and where it lies.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub dir: PathBuf,
    pub record: RunRecord,
    /// The scenario's file beside it.
    pub scenario: Option<String>,
}

/// Whether two runs had different files, their seeds aside.
pub fn differs(a: &Found, b: &Found) -> bool {
    let plain = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with("seed = ")).map(str::to_owned).collect()
    };
    matches!((&a.scenario, &b.scenario), (Some(a), Some(b)) if plain(a) != plain(b))
}

/// Scenarios of whose name there are files that differ.
pub fn two_of_a_name(runs: &[Found]) -> BTreeSet<&str> {
    let mut first: BTreeMap<&str, &Found> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for run in runs.iter().filter(|run| run.scenario.is_some()) {
        let name = run.record.scenario.as_str();
        if differs(first.entry(name).or_insert(run), run) {
            names.insert(name);
        }
    }
    names
}

/// Why the records of a folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{}: cannot read this folder: {source}; name one that `squall run --out` or `squall sweep --out` has written", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{}: neither this folder nor one in it holds the record of a run ({RECORD_FILE}); name one that `squall run --out` or `squall sweep --out` has written",
        path.display()
    )]
    NoRecords { path: PathBuf },
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// The records in a folder, or in the folders in it, in the order of their names. The folders of a run are not looked through.
///
/// # Errors
/// There is none, or one of them cannot be read.
pub fn records(path: &Path) -> Result<Vec<Found>, FolderError> {
    let mut found = Vec::new();
    collect(path, 0, &mut found)?;
    match found.is_empty() {
        true => Err(FolderError::NoRecords { path: path.to_owned() }),
        false => Ok(found),
    }
}

/// The files that reading these folders would read, whatever is wrong with some of them.
pub fn files<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Vec<PathBuf> {
    fn list(path: &Path, depth: usize, files: &mut Vec<PathBuf>) {
        files.extend(
            [RECORD_FILE, SCENARIO_FILE].map(|name| path.join(name)).into_iter().filter(|file| file.exists()),
        );
        if depth < DEEPEST {
            let folders = std::fs::read_dir(path).into_iter().flatten().flatten();
            let folders = folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            folders.for_each(|folder| list(&folder.path(), depth + 1, files));
        }
    }
    let mut files = Vec::new();
    paths.into_iter().for_each(|path| list(path, 0, &mut files));
    files
}

fn collect(path: &Path, depth: usize, found: &mut Vec<Found>) -> Result<(), FolderError> {
    let failed = |source| FolderError::Read { path: path.to_owned(), source };
    let mut folders = Vec::new();
    let mut has_record = false;
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        has_record |= entry.file_name() == RECORD_FILE;
        if entry.file_type().map_err(failed)?.is_dir() {
            folders.push(entry.path());
        }
    }
    if has_record {
        let record = load(path)?;
        let scenario = std::fs::read_to_string(path.join(SCENARIO_FILE)).ok();
        found.push(Found { dir: path.to_owned(), record, scenario });
        return Ok(());
    }
    folders.sort();
    if depth < DEEPEST {
        folders.iter().try_for_each(|folder| collect(folder, depth + 1, found))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_folder_of_runs_is_read_in_order_and_whole() {
        let dir = testing::scratch("a_folder_of_runs");
        for (place, seed) in [("runs/b", 2), ("runs/a", 1), ("c", 3)] {
            let run = RunRecord { seed, ..testing::passed() };
            crate::write_all(&dir.join(place), &run, "seed = 1\n").unwrap();
        }
        std::fs::create_dir_all(dir.join("empty")).unwrap();
        let seeds: Vec<u64> = records(&dir).unwrap().iter().map(|found| found.record.seed).collect();
        assert_eq!(seeds, [3, 1, 2]);
        assert_eq!(records(&dir.join("c")).unwrap()[0].scenario.as_deref(), Some("seed = 1\n"));
        std::fs::write(dir.join("runs/a").join(RECORD_FILE), "{\"format\": 1, \"verd").unwrap();
        let error = records(&dir).unwrap_err().to_string();
        assert!(error.contains("runs/a/run.json: this is not the record of a run: EOF"), "{error}");
    }

    #[test]
    fn a_folder_without_records_says_so() {
        let dir = testing::scratch("a_folder_without_records");
        let none = records(&dir).unwrap_err();
        assert!(matches!(none, FolderError::NoRecords { .. }) && none.to_string().contains("squall run --out"));
        let missing = records(&dir.join("missing")).unwrap_err();
        assert!(missing.to_string().contains("missing: cannot read this folder: No such file"), "{missing}");
    }
}
