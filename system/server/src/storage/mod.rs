//! The seam to durable storage.
//!
//! `interface` is what a shard asks for, `redb` what is behind it: `tables`, `reader` and the `snapshot` that it reads, `write`, with `codec` for rows and `seal` for
//! their checksums (all of it for strangers: `README.md`); `executor` is where commits run, `counted` tells what is read.
//! `directory` is where `chatd` keeps the databases of its shards; `doubt` is what a failed sync leaves behind.

mod codec;
mod counted;
mod directory;
mod doubt;
mod executor;
mod interface;
mod reader;
mod redb;
mod seal;
mod snapshot;
mod tables;
mod write;

pub use self::redb::RedbStorage;
pub use counted::Counted;
pub use directory::{Directory, DirectoryError};
pub use doubt::{Doubt, Watched};
pub use executor::{Commit, CommitExecutor, WriterThread};
pub use interface::{Batch, FORMAT, Found, NewEntry, OpenStorage, Recovered, Row, Storage, StorageError};
