//! Where a commit runs: on a thread of its own in reality, between two waits of simulated time in a simulation.

use super::interface::StorageError;
use crate::net::BoxFuture;
use crate::tasks::reason;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use tokio::sync::oneshot;

/// A commit, ready to run. It blocks until its data is durable.
pub type Commit = Box<dyn FnOnce() -> Result<(), StorageError> + Send>;

/// Runs commits one after another.
pub trait CommitExecutor: Send + Sync {
    fn run(&self, commit: Commit) -> BoxFuture<'static, Result<(), StorageError>>;
}

type Job = (Commit, oneshot::Sender<Result<(), StorageError>>);

/// A thread that commits. A commit that panics has failed, and its thread is replaced.
pub struct WriterThread(Mutex<mpsc::Sender<Job>>);

impl WriterThread {
    /// Starts the thread; it ends when this is dropped.
    pub fn spawn() -> std::io::Result<Self> {
        Ok(WriterThread(Mutex::new(Self::start()?)))
    }

    fn start() -> std::io::Result<mpsc::Sender<Job>> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new().name("commit".into()).spawn(move || {
            for (commit, done) in queue {
                let outcome = catch_unwind(AssertUnwindSafe(commit));
                let panicked = outcome.is_err();
                let outcome =
                    outcome.unwrap_or_else(|panic| Err(StorageError::WriterPanicked(reason(panic.as_ref()))));
                // Nobody waits any more when the shard is shutting down.
                let _ = done.send(outcome);
                if panicked {
                    // What a panic leaves behind on a thread is its own: the next commit gets another one.
                    break;
                }
            }
        })?;
        Ok(jobs)
    }

    fn jobs(&self) -> MutexGuard<'_, mpsc::Sender<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a commit to the thread, or to its successor if that one has ended.
    fn submit(&self, job: Job) -> Result<(), StorageError> {
        let mut jobs = self.jobs();
        let Err(mpsc::SendError(job)) = jobs.send(job) else { return Ok(()) };
        *jobs = Self::start().map_err(|_| StorageError::WriterGone)?;
        jobs.send(job).map_err(|_| StorageError::WriterGone)
    }
}

impl CommitExecutor for WriterThread {
    fn run(&self, commit: Commit) -> BoxFuture<'static, Result<(), StorageError>> {
        let (done, wait) = oneshot::channel();
        let submitted = self.submit((commit, done));
        Box::pin(async move {
            submitted?;
            wait.await.map_err(|_| StorageError::WriterGone)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_commit_that_panics_has_failed_and_the_next_one_runs() {
        let writer = WriterThread::spawn().unwrap();
        for _ in 0..3 {
            let failed = writer.run(Box::new(|| panic!("our own bug"))).await;
            assert!(matches!(failed, Err(StorageError::WriterPanicked(reason)) if reason == "our own bug"));
            // The job behind it may meet the thread as it ends: that is a failed commit as well, and the last one.
            let _ = writer.run(Box::new(|| Ok(()))).await;
            assert!(writer.run(Box::new(|| Ok(()))).await.is_ok());
        }
    }
}
