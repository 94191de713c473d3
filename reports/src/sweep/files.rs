//! The files of a sweep: `sweep.json`, `junit.xml`, `report.html`, and a folder for each run.

use super::{RUNS_FOLDER, SWEEP_FILE, SWEEP_FILES, SweepRecord};
use crate::record::RunRecord;
use crate::store::{self, JUNIT_FILE, PAGE_FILE, RECORD_FILE, RenderError, WriteError};
use std::path::{Path, PathBuf};

/// Makes the folder if it is not there, and removes what an earlier sweep has left in it. What is not a sweep's stays.
///
/// # Errors
/// The folder cannot be made, or a file cannot be removed.
pub fn clear(dir: &Path) -> Result<(), WriteError> {
    store::make(&dir.join(RUNS_FOLDER))?;
    clear_results(dir)?;
    let runs = std::fs::read_dir(dir.join(RUNS_FOLDER)).into_iter().flatten().flatten();
    for run in runs.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        store::clear(&run.path())?;
        // What is not empty holds something of the user's.
        let _ = std::fs::remove_dir(run.path());
    }
    Ok(())
}

/// Removes what an earlier sweep has come to, where there is anything, and leaves its runs.
///
/// # Errors
/// A file cannot be removed.
pub fn clear_results(dir: &Path) -> Result<(), WriteError> {
    SWEEP_FILES.iter().try_for_each(|name| store::remove(&dir.join(name)))
}

/// Keeps of a run that passed what a comparison needs, without what happened when: a night has thousands of them. Its page can be made again.
///
/// # Errors
/// The record cannot be written.
pub fn keep_little(dir: &Path, run: &RunRecord) -> Result<(), WriteError> {
    store::remove(&dir.join(PAGE_FILE))?;
    store::remove(&dir.join(JUNIT_FILE))?;
    let run = RunRecord { series: None, ..run.clone() };
    let json = serde_json::to_string(&run).expect("a record has string keys and no fallible serializers");
    store::write(&dir.join(RECORD_FILE), &(json + "\n"))
}

/// Writes the files of a sweep that is over.
///
/// # Errors
/// One of them cannot be written.
pub fn write(dir: &Path, sweep: &SweepRecord, junit: &str) -> Result<(), WriteError> {
    let json = serde_json::to_string_pretty(sweep).expect("a record has string keys and no fallible serializers");
    for (name, text) in [(SWEEP_FILE, json + "\n"), (JUNIT_FILE, junit.to_owned()), (PAGE_FILE, sweep.html())] {
        store::write(&dir.join(name), &text)?;
    }
    Ok(())
}

/// Makes `report.html` of a sweep again from the record in this folder; its path.
///
/// # Errors
/// The record cannot be read, or the page cannot be written.
pub fn render_again(dir: &Path) -> Result<PathBuf, RenderError> {
    let sweep: SweepRecord = store::read(dir.join(SWEEP_FILE))?;
    let path = dir.join(PAGE_FILE);
    store::write(&path, &sweep.html())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn an_earlier_sweep_leaves_nothing_and_a_users_files_stay() {
        let dir = testing::scratch("an_earlier_sweep");
        store::write_all(&dir.join("runs/calm-1"), &testing::passed(), "seed = 1\n").unwrap();
        keep_little(&dir.join("runs/calm-1"), &testing::passed()).unwrap();
        assert!(store::load(&dir.join("runs/calm-1")).is_ok() && !dir.join("runs/calm-1/report.html").exists());
        std::fs::create_dir_all(dir.join("runs/mine")).unwrap();
        std::fs::write(dir.join("runs/mine/notes.md"), "mine").unwrap();
        write(&dir, &crate::sweep::tests::sweep(), "<testsuites/>").unwrap();
        let page = std::fs::read_to_string(dir.join("report.html")).unwrap();
        std::fs::remove_file(dir.join("report.html")).unwrap();
        assert_eq!(std::fs::read_to_string(render_again(&dir).unwrap()).unwrap(), page);
        std::fs::write(dir.join(SWEEP_FILE), "{\"format\": 900}").unwrap();
        assert!(render_again(&dir).unwrap_err().to_string().contains("sweep.json: this record has format 900"));
        clear(&dir).unwrap();
        assert!(dir.join("runs/mine/notes.md").exists() && !dir.join("runs/calm-1").exists());
        assert!(!dir.join("sweep.json").exists() && !dir.join("report.html").exists());
    }
}
