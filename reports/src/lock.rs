//! One writer at a time in a folder: two runs into one would clear away and write over each other's files, and both look whole.
//!
//! The folder itself is locked, and holds nothing for it. The kernel lets go of it when the process ends, in whatever way.

use crate::store::{self, WriteError};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// A folder into which nobody else writes as long as this lives. On a file system without locks it holds nothing.
#[derive(Debug)]
pub struct FolderLock {
    _folder: File,
}

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{}: another squall writes into this folder; wait until it is over, or name another folder", path.display())]
    Taken { path: PathBuf },
    #[error("{0}; name another folder")]
    NoFolder(#[from] WriteError),
}

impl FolderLock {
    /// Makes the folder if it is not there, and locks it.
    ///
    /// # Errors
    /// Somebody else has it, or it cannot be made.
    pub fn take(dir: &Path) -> Result<FolderLock, LockError> {
        store::make(dir)?;
        let opened = File::open(dir);
        let folder =
            opened.map_err(|source| WriteError { path: dir.to_owned(), what: "open this folder", source })?;
        match folder.try_lock() {
            Err(TryLockError::WouldBlock) => Err(LockError::Taken { path: dir.to_owned() }),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(FolderLock { _folder: folder }),
        }
    }

    /// The same of a folder that is there already; nothing where there is none.
    ///
    /// # Errors
    /// Somebody else has it, or it cannot be opened.
    pub fn if_there(dir: &Path) -> Result<Option<FolderLock>, LockError> {
        dir.is_dir().then(|| FolderLock::take(dir)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_folder_has_one_writer_at_a_time_and_nothing_is_left_in_it() {
        let dir = testing::scratch("a_folder_has_one_writer");
        let other = dir.join("not/there");
        assert!(FolderLock::if_there(&other).unwrap().is_none() && !other.exists());
        let held = FolderLock::take(&other).unwrap();
        let refused = FolderLock::take(&other).unwrap_err().to_string();
        assert!(
            refused.contains("there: another squall writes into this folder; wait until it is over"),
            "{refused}"
        );
        assert!(FolderLock::if_there(&other).is_err());
        drop(held);
        assert!(FolderLock::if_there(&other).unwrap().is_some());
        assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0);
        std::fs::write(dir.join("file"), "").unwrap();
        let error = FolderLock::take(&dir.join("file")).unwrap_err().to_string();
        assert!(error.contains("file: cannot make this folder: "), "{error}");
    }
}
