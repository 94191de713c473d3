//! The scenario files of a folder.

use std::io;
use std::path::{Path, PathBuf};

/// The scenario files of a folder, in the order of their names: every `*.toml` but a `Cargo.toml`, which may be there as well.
/// Folders in it are not searched: large scenarios live in one, to stay out of sweeps.
///
/// # Errors
/// When the folder cannot be read.
pub fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_toml = path.extension().is_some_and(|extension| extension == "toml");
        if is_toml && path.is_file() && path.file_name().is_some_and(|name| name != "Cargo.toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
