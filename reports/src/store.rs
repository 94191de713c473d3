//! Writes a run's files into a folder, and reads its record back.

use crate::record::{FORMAT, RunRecord};
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
    #[error("{}: cannot read it: {source}; name a folder that `squall run --out` has written", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: this is not the record of a run: {source}; make the run again with --out, or name another folder", path.display())]
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

/// Writes `run.json`, `scenario.toml`, `junit.xml` and `report.html` into `dir`, which is made if it is not there. `scenario` is the file
/// that was run, with its seed.
pub fn write_all(dir: &Path, run: &RunRecord, scenario: &str) -> Result<(), WriteError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError { path, source }
    };
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let mut json =
        serde_json::to_string_pretty(run).expect("a record has string keys and no fallible serializers");
    json.push('\n');
    let page = html::render(run, Some(scenario));
    for (name, text) in [
        (RECORD_FILE, json),
        (SCENARIO_FILE, scenario.to_owned()),
        ("junit.xml", junit::render([run])),
        (PAGE_FILE, page),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

/// Reads the record of a run from its folder.
///
/// # Errors
/// There is none, it is cut off, it is something else, or a newer version wrote it.
pub fn load(dir: &Path) -> Result<RunRecord, LoadError> {
    let path = dir.join(RECORD_FILE);
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
    match std::fs::write(&path, html::render(&run, scenario.as_deref())) {
        Ok(()) => Ok(path),
        Err(source) => Err(WriteError { path, source }.into()),
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
    }
}
