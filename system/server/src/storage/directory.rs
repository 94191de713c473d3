//! The data directory of `chatd`: created once, opened ever after.
//!
//! **Invariants:** the number of shards of a directory never changes, for who owns a conversation follows from it. Opening never
//! creates. The file `shards` is written last, in one step and durably, when every database has its tables on disk: where it
//! stands, a database that is missing or cannot be read was lost, and is refused by name; where it does not, nobody has been
//! served, and what holds no message is begun anew. Guarded by `server/tests/openings.rs`.

use super::doubt::Doubt;
use super::executor::WriterThread;
use super::interface::{OpenStorage, Storage, StorageError};
use super::redb::RedbStorage;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The file that holds the number of shards, and says that all their databases exist.
const SHARDS_FILE: &str = "shards";
/// What a file that is being written has at the end of its name.
const DRAFT: &str = "new";

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("cannot use the data directory {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("another process is starting on the data directory {}", path.display())]
    Taken { path: PathBuf },
    #[error("{} was begun with --shards {found}, not {given}: the number of a data directory never changes", path.display())]
    Shards { path: PathBuf, found: u32, given: u32 },
    #[error("{}: found {found:?}, expected the number of shards that the directory was begun with", path.display())]
    NotANumber { path: PathBuf, found: String },
    #[error("{} holds messages, and beside it there is no file {SHARDS_FILE}, expected to hold the number of shards", database.display())]
    Unnumbered { database: PathBuf },
    #[error("{}: {source}", path.display())]
    Database { path: PathBuf, source: StorageError },
}

/// A data directory in which every shard has its database.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    shards: u32,
    cache_bytes: usize,
}

impl Directory {
    /// The directory, created with its databases unless that has been done. `cache_bytes` bounds redb's cache, for each shard.
    pub fn claim(path: &Path, shards: u32, cache_bytes: usize) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::Io { path: path.to_owned(), source };
        create_durably(path).map_err(failed)?;
        let directory = Directory { path: path.to_owned(), shards, cache_bytes };
        // Of two processes that begin on the same directory one goes on.
        let handle = File::open(path).map_err(failed)?;
        match handle.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::Taken { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let file = path.join(SHARDS_FILE);
        match fs::read_to_string(&file) {
            Ok(text) => directory.compare(&file, text.trim())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                directory.create_databases()?;
                directory.write_number(&handle).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(directory)
    }

    /// Opens a shard's database, so that one that cannot be used is told at once. The shard opens it anew whenever it has to.
    pub fn open(&self, shard: u32) -> Result<OpenStorage, DirectoryError> {
        let path = self.database(shard);
        let failed = |source| DirectoryError::Database { path: path.clone(), source };
        let writer = WriterThread::spawn().map_err(|error| failed(StorageError::Open(error.to_string())))?;
        let (writer, cache_bytes) = (Arc::new(writer), self.cache_bytes);
        let doubt = Doubt::default();
        forget_clean_pages(&path);
        let first = RedbStorage::open_file(&path, &doubt, cache_bytes, writer.clone()).map_err(failed)?;
        let first = Mutex::new(Some(Arc::new(first) as Arc<dyn Storage>));
        Ok(Arc::new(move || {
            if let Some(storage) = first.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Ok(storage);
            }
            Ok(Arc::new(RedbStorage::open_file(&path, &doubt, cache_bytes, writer.clone())?))
        }))
    }

    fn database(&self, shard: u32) -> PathBuf {
        self.path.join(format!("messages-{shard}.redb"))
    }

    fn compare(&self, file: &Path, text: &str) -> Result<(), DirectoryError> {
        match text.parse() {
            Ok(found) if found == self.shards => Ok(()),
            Ok(found) => Err(DirectoryError::Shards { path: self.path.clone(), found, given: self.shards }),
            Err(_) => Err(DirectoryError::NotANumber { path: file.to_owned(), found: text.to_owned() }),
        }
    }

    /// Every shard's database under its name, empty and durable. What an interrupted creation has left is used or begun anew;
    /// a database with messages was no such thing.
    fn create_databases(&self) -> Result<(), DirectoryError> {
        for path in self.databases_there()? {
            let failed = |source| DirectoryError::Database { path: path.clone(), source };
            if !RedbStorage::is_empty_file(&path).map_err(failed)? {
                return Err(DirectoryError::Unnumbered { database: path });
            }
        }
        for path in (0..self.shards).map(|shard| self.database(shard)).filter(|path| !path.exists()) {
            let draft = path.with_added_extension(DRAFT);
            RedbStorage::create_file(&draft)
                .and_then(|()| fs::rename(&draft, &path).map_err(|error| StorageError::Open(error.to_string())))
                .map_err(|source| DirectoryError::Database { path, source })?;
        }
        Ok(())
    }

    fn databases_there(&self) -> Result<Vec<PathBuf>, DirectoryError> {
        let failed = |source| DirectoryError::Io { path: self.path.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("messages-") && name.ends_with(".redb") {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    /// The last step of a creation: the databases' names first, then the number, each durable before what follows it.
    fn write_number(&self, handle: &File) -> io::Result<()> {
        handle.sync_all()?;
        let file = self.path.join(SHARDS_FILE);
        let draft = file.with_added_extension(DRAFT);
        let mut written = File::create(&draft)?;
        writeln!(written, "{}", self.shards)?;
        written.sync_all()?;
        fs::rename(&draft, &file)?;
        handle.sync_all()
    }
}

/// Has what is read next come from the disk. A process before this one may have died after a sync that failed, which leaves pages
/// in memory that pass for clean and are not on the disk. What cannot be dropped stays; a missing file is told when it is opened.
#[cfg(target_os = "linux")]
fn forget_clean_pages(path: &Path) {
    if let Ok(file) = File::open(path) {
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

#[cfg(not(target_os = "linux"))]
fn forget_clean_pages(_: &Path) {}

/// Creates a directory and those above it, each durably in the one that holds it.
fn create_durably(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    fs::create_dir_all(path)?;
    for parent in missing.iter().rev().filter_map(|path| path.parent()) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}
