//! Writes a run's files into a folder, and reads its record back.

use crate::record::{FORMAT, RunRecord};
use crate::{html, junit};
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};

/// The record's file in a run's folder.
pub const RECORD_FILE: &str = "run.json";

/// Why a run's files could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {what}: {source}", path.display())]
pub struct WriteError {
    pub path: PathBuf,
    /// What could not be done with it.
    pub what: &'static str,
    pub source: io::Error,
}

/// Why a run's record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{}: cannot read it: {source}; name a folder that `squall run --out` has written", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: this is not the record of a run: {source}; make it again with --out, or name another folder", path.display())]
    NotARecord { path: PathBuf, source: serde_json::Error },
    #[error(
        "{}: this record has format {found}, and this squall knows up to {FORMAT}: read it with the squall that wrote it, or a newer one",
        path.display()
    )]
    FromANewerVersion { path: PathBuf, found: u64 },
}

/// Why the page of a run could not be made again.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The page in a run's folder.
pub const PAGE_FILE: &str = "report.html";
/// The scenario's file in a run's folder.
pub const SCENARIO_FILE: &str = "scenario.toml";

/// JUnit XML in a run's folder.
pub const JUNIT_FILE: &str = "junit.xml";
/// The events in a run's folder, where they were asked for.
pub const HISTORY_FILE: &str = "history.jsonl";

/// All files of a run's folder.
pub const RUN_FILES: [&str; 5] = [RECORD_FILE, SCENARIO_FILE, JUNIT_FILE, PAGE_FILE, HISTORY_FILE];

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError { path, what, source }
}

/// Makes the folder if it is not there, and removes what an earlier run has left in it: beside the remains of a run that fails it would be
/// taken for what that run came to.
///
/// # Errors
/// The folder cannot be made, or a file cannot be removed.
pub fn clear(dir: &Path) -> Result<(), WriteError> {
    make(dir)?;
    remove(&dir.join(SCENARIO_FILE))?;
    clear_results(dir)
}

/// Removes what an earlier run has come to, where there is anything, and leaves its scenario: what was named may be that file, and wrong.
///
/// # Errors
/// A file cannot be removed.
pub fn clear_results(dir: &Path) -> Result<(), WriteError> {
    [RECORD_FILE, JUNIT_FILE, PAGE_FILE, HISTORY_FILE].iter().try_for_each(|name| remove(&dir.join(name)))
}

/// Makes a folder if it is not there.
///
/// # Errors
/// It cannot be made.
pub fn make(dir: &Path) -> Result<(), WriteError> {
    std::fs::create_dir_all(dir).map_err(failed("make this folder", dir))
}

/// Removes a file that an earlier run has left.
///
/// # Errors
/// It is there and stays.
pub fn remove(path: &Path) -> Result<(), WriteError> {
    // No run has left a folder, a device or a pipe of this name. What is in the way of this one it will say.
    match is_file(path) {
        true => std::fs::remove_file(path).map_err(failed("remove what an earlier run has left here", path)),
        false => Ok(()),
    }
}

/// Nothing but a file is ever removed: a user may have named a device or a pipe.
fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Writes a file. What of it could not be written whole is removed: half a file is taken for one that says what it seems to say.
///
/// # Errors
/// It cannot be written: the disk is full, or may only be read.
pub fn write(path: &Path, bytes: &(impl AsRef<[u8]> + ?Sized)) -> Result<(), WriteError> {
    std::fs::write(path, bytes).map_err(|error| {
        if is_file(path) {
            let _ = std::fs::remove_file(path);
        }
        failed("write it", path)(error)
    })
}

/// Writes `run.json`, `scenario.toml`, `junit.xml` and `report.html` into `dir`, which is made if it is not there. `scenario` is the file
/// that was run, with its seed.
///
/// # Errors
/// One of them cannot be written; then none of them stays.
pub fn write_all(dir: &Path, run: &RunRecord, scenario: &str) -> Result<(), WriteError> {
    write_files(dir, run, Some(scenario))
}

/// The same for a record that was merged: it has no scenario of its own.
///
/// # Errors
/// As of [`write_all`].
pub fn write_merged(dir: &Path, run: &RunRecord) -> Result<(), WriteError> {
    write_files(dir, run, None)
}

fn write_files(dir: &Path, run: &RunRecord, scenario: Option<&str>) -> Result<(), WriteError> {
    make(dir)?;
    let mut json =
        serde_json::to_string_pretty(run).expect("a record has string keys and no fallible serializers");
    json.push('\n');
    let files = [
        (RECORD_FILE, Some(json)),
        (SCENARIO_FILE, scenario.map(str::to_owned)),
        (JUNIT_FILE, Some(junit::render([run]))),
        (PAGE_FILE, Some(html::render(run, scenario))),
    ];
    let written = files.iter().filter_map(|(name, text)| Some((dir.join(name), text.as_ref()?)));
    written.clone().try_for_each(|(path, text)| write(&path, text)).inspect_err(|_| {
        // The record would say that the run is whole.
        written.for_each(|(path, _)| drop(std::fs::remove_file(path)));
    })
}

/// Reads the record of a run from its folder.
///
/// # Errors
/// There is none, it is cut off, it is something else, or a newer version wrote it.
pub fn load(dir: &Path) -> Result<RunRecord, LoadError> {
    read(dir.join(RECORD_FILE))
}

/// Reads a record of any kind.
pub(crate) fn read<T: DeserializeOwned>(path: PathBuf) -> Result<T, LoadError> {
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(LoadError::Read { path, source }),
    };
    // What a newer version writes may not fit the fields of today: its number is asked first.
    let format =
        serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|json| json.get("format")?.as_u64());
    match format {
        Some(found) if found > u64::from(FORMAT) => Err(LoadError::FromANewerVersion { path, found }),
        Some(_) | None => serde_json::from_str(&text).map_err(|source| LoadError::NotARecord { path, source }),
    }
}

/// Makes `report.html` again from the record in this folder; its path.
///
/// # Errors
/// The record cannot be read, or the page cannot be written.
pub fn render_again(dir: &Path) -> Result<PathBuf, RenderError> {
    let run = load(dir)?;
    let scenario = std::fs::read_to_string(dir.join(SCENARIO_FILE)).ok();
    let path = dir.join(PAGE_FILE);
    write(&path, &html::render(&run, scenario.as_deref()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Markup};

    #[test]
    fn a_record_survives_its_file() {
        let dir = testing::scratch("a_record_survives_its_file").join("deeper");
        for run in [testing::violated(), testing::passed()] {
            write_all(&dir, &run, "seed = 1\n").unwrap();
            assert_eq!(load(&dir).unwrap(), run);
        }
        Markup::read(&std::fs::read_to_string(dir.join("junit.xml")).unwrap());
        let page = std::fs::read_to_string(dir.join(PAGE_FILE)).unwrap();
        assert!(page.starts_with("<!doctype html>"));
        std::fs::remove_file(dir.join(PAGE_FILE)).unwrap();
        assert_eq!(std::fs::read_to_string(render_again(&dir).unwrap()).unwrap(), page);
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_said_with_its_path() {
        let dir = testing::scratch("what_is_wrong_with_a_folder");
        let missing = load(&dir).unwrap_err().to_string();
        assert!(missing.contains("run.json: cannot read it: "), "{missing}");
        std::fs::write(dir.join(RECORD_FILE), "{}").unwrap();
        assert!(matches!(load(&dir), Err(LoadError::NotARecord { .. })));
        std::fs::write(dir.join(RECORD_FILE), r#"{"format": 900, "verdict": "sideways"}"#).unwrap();
        let newer = load(&dir).unwrap_err();
        assert!(newer.to_string().contains("has format 900"), "{newer}");
        let in_the_way = dir.join(RECORD_FILE);
        let error = write_all(&in_the_way, &testing::passed(), "").unwrap_err();
        assert_eq!(error.path, in_the_way);
        assert!(error.to_string().contains("run.json: cannot make this folder: "), "{error}");
    }

    #[test]
    fn what_an_earlier_run_left_does_not_stay() {
        let dir = testing::scratch("what_an_earlier_run_left");
        write_all(&dir, &testing::passed(), "seed = 1\n").unwrap();
        std::fs::write(dir.join(HISTORY_FILE), "{}\n").unwrap();
        std::fs::write(dir.join("notes.md"), "mine").unwrap();
        clear(&dir).unwrap();
        let left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["notes.md"]);
        // A folder stands where the page is to be written, as a full disk would: nothing of the run stays.
        std::fs::create_dir_all(dir.join(PAGE_FILE)).unwrap();
        let error = write_all(&dir, &testing::passed(), "seed = 1\n").unwrap_err();
        assert!(error.to_string().contains("report.html: cannot write it: Is a directory"), "{error}");
        assert!(!dir.join(RECORD_FILE).exists() && !dir.join(JUNIT_FILE).exists());
        assert!(clear(&dir).is_ok(), "the folder is not a run's");
        let in_the_way = dir.join("notes.md");
        assert!(clear(&in_the_way).unwrap_err().to_string().contains("notes.md: cannot make this folder"));
    }
}
