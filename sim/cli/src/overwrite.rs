//! What a command reads is never what it writes: asked before anything is cleared, let alone run.
//!
//! Files are told apart by what they are on disk, so that links and other spellings of a path are seen through.

use crate::exit::Exit;
use crate::output::complaint;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files that a command writes, or clears, because of an option.
pub struct Written<'a> {
    /// `--out`.
    pub option: &'a str,
    pub files: Vec<PathBuf>,
}

impl<'a> Written<'a> {
    /// The file that an option names, if it is given.
    pub fn file(option: &'a str, file: Option<&Path>) -> Self {
        Written { option, files: file.into_iter().map(Path::to_owned).collect() }
    }

    /// Files of these names in the folder that an option names, if it is given.
    pub fn folder(option: &'a str, folder: Option<&Path>, names: &[&str]) -> Self {
        let files = folder.into_iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
        Written { option, files: files.collect() }
    }
}

/// Refuses a command that would write over a file that it reads, and says which.
///
/// # Errors
/// With the status of bad input, when it would.
pub fn refuse(read: &[PathBuf], written: &[Written<'_>]) -> Result<(), Exit> {
    for Written { option, files } in written {
        for file in files {
            if let Some(input) = read.iter().find(|input| is_same(input, file)) {
                let (file, input) = (file.display(), input.display());
                complaint!(
                    "{file}: {option} would write over {input}, which this command reads; name another place"
                );
                return Err(Exit::BadInput);
            }
        }
    }
    Ok(())
}

/// Whether both are there and are one file.
pub fn is_same(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    identity(a).is_some_and(|a| identity(b) == Some(a))
}
