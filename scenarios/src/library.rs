//! The scenario files of a folder.

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the scenario files of a folder are not known.
#[derive(Debug, Error)]
pub enum FolderError {
    #[error("{}: cannot list the folder: {source}; name its files, or a folder that can be read", folder.display())]
    Unlisted { folder: PathBuf, source: io::Error },
    #[error("{}: this link leads nowhere; mend it or delete it", link.display())]
    BrokenLink { link: PathBuf },
    #[error("{}: cannot be looked at: {source}; make it readable or move it out of the folder", entry.display())]
    Unreadable { entry: PathBuf, source: io::Error },
}

/// The scenario files of a folder, in the order of their names: every `*.toml`, however its case, but a `Cargo.toml`, which may be
/// there as well. Folders in it are not searched: large scenarios live in one, to stay out of sweeps.
///
/// # Errors
/// When the folder or one of those files cannot be looked at: one that is left out would not be missed.
pub fn files_in(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let unlisted = |source| FolderError::Unlisted { folder: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unlisted)? {
        let path = entry.map_err(unlisted)?.path();
        let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
        if !is_toml || path.file_name().is_some_and(|name| name == "Cargo.toml") {
            continue;
        }
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => files.push(path),
            // To nothing, or in a circle.
            Err(source) if source.kind() != io::ErrorKind::PermissionDenied && path.is_symlink() => {
                return Err(FolderError::BrokenLink { link: path });
            }
            Err(source) => return Err(FolderError::Unreadable { entry: path, source }),
        }
    }
    files.sort();
    Ok(files)
}
