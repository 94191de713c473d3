//! The seam to durable storage.
//!
//! `interface` is what a shard asks for, `redb` what is behind it, with `codec` for its rows; `executor` is where commits run.

mod codec;
mod executor;
mod interface;
mod redb;

pub use self::redb::{FORMAT, RedbStorage};
pub use executor::{Commit, CommitExecutor, WriterThread};
pub use interface::{Batch, NewEntry, OpenStorage, Recovered, Storage, StorageError};
