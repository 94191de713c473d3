//! The seam to durable storage.
//!
//! `interface` is what a shard asks for, `redb` what is behind it, with `codec` for its rows; `executor` is where commits
//! run, `counted` tells what is read. `directory` is where `chatd` keeps the databases of its shards; `doubt` is what a failed sync leaves behind.

mod codec;
mod counted;
mod directory;
mod doubt;
mod executor;
mod interface;
mod redb;

pub use self::redb::RedbStorage;
pub use counted::Counted;
pub use directory::{Directory, DirectoryError};
pub use doubt::{Doubt, Watched};
pub use executor::{Commit, CommitExecutor, WriterThread};
pub use interface::{Batch, FORMAT, Found, NewEntry, OpenStorage, Recovered, Row, Storage, StorageError};
