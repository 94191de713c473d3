//! Writes a run's files into a folder, and reads its record back.

use crate::record::RunRecord;
use crate::{html, junit};
use std::io;
use std::path::{Path, PathBuf};

/// The record's file in a run's folder.
pub const RECORD_FILE: &str = "run.json";

/// Why a run's files could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Why a run's record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not the record of a run", path.display())]
    NotARecord { path: PathBuf, source: serde_json::Error },
}

/// Writes `run.json`, `junit.xml` and `report.html` into `dir`, which is made if it is not there.
pub fn write_all(dir: &Path, run: &RunRecord) -> Result<(), WriteError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError { path, source }
    };
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let mut json =
        serde_json::to_string_pretty(run).expect("a record has string keys and no fallible serializers");
    json.push('\n');
    for (name, text) in
        [(RECORD_FILE, json), ("junit.xml", junit::render([run])), ("report.html", html::render(run))]
    {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

/// Reads the record of a run from its folder.
pub fn load(dir: &Path) -> Result<RunRecord, LoadError> {
    let path = dir.join(RECORD_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|source| LoadError::NotARecord { path, source }),
        Err(source) => Err(LoadError::Read { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Markup};

    #[test]
    fn a_record_survives_its_file() {
        let dir = testing::scratch("a_record_survives_its_file").join("deeper");
        for run in [testing::violated(), testing::passed()] {
            write_all(&dir, &run).unwrap();
            assert_eq!(load(&dir).unwrap(), run);
        }
        Markup::read(&std::fs::read_to_string(dir.join("junit.xml")).unwrap());
        let page = std::fs::read_to_string(dir.join("report.html")).unwrap();
        assert!(page.starts_with("<!doctype html>"));
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_said_with_its_path() {
        let dir = testing::scratch("what_is_wrong_with_a_folder");
        assert!(load(&dir).unwrap_err().to_string().ends_with("run.json"));
        std::fs::write(dir.join(RECORD_FILE), "{}").unwrap();
        assert!(matches!(load(&dir), Err(LoadError::NotARecord { .. })));
        let in_the_way = dir.join(RECORD_FILE);
        let error = write_all(&in_the_way, &testing::passed()).unwrap_err();
        assert_eq!(error.path, in_the_way);
    }
}
