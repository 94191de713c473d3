//! Where a commit runs: on a thread of its own in reality, between two waits of simulated time in a simulation.

use super::interface::StorageError;
use crate::net::BoxFuture;
use std::sync::mpsc;
use tokio::sync::oneshot;

/// A commit, ready to run. It blocks until its data is durable.
pub type Commit = Box<dyn FnOnce() -> Result<(), StorageError> + Send>;

/// Runs commits one after another.
pub trait CommitExecutor: Send + Sync {
    fn run(&self, commit: Commit) -> BoxFuture<'static, Result<(), StorageError>>;
}

type Job = (Commit, oneshot::Sender<Result<(), StorageError>>);

/// A thread that commits.
pub struct WriterThread(mpsc::Sender<Job>);

impl WriterThread {
    /// Starts the thread; it ends when this is dropped.
    pub fn spawn() -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new().name("commit".into()).spawn(move || {
            for (commit, done) in queue {
                // Nobody waits any more when the shard is shutting down.
                let _ = done.send(commit());
            }
        })?;
        Ok(WriterThread(jobs))
    }
}

impl CommitExecutor for WriterThread {
    fn run(&self, commit: Commit) -> BoxFuture<'static, Result<(), StorageError>> {
        let (done, wait) = oneshot::channel();
        let sent = self.0.send((commit, done));
        Box::pin(async move {
            sent.map_err(|_| StorageError::WriterGone)?;
            wait.await.map_err(|_| StorageError::WriterGone)?
        })
    }
}
