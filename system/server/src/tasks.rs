//! The tasks of a role, none of which ends unheard: what panics ends the role, with an error that names it.
//!
//! **Invariant:** every task that a role spawns is spawned here, or polls under a [`Guard`]. Guarded by
//! `server/tests/supervision.rs` and, in every simulated run, by the run itself: a role that ends makes it fail.

use futures_util::FutureExt;
use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// A task that has panicked, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its task \"{task}\" panicked: {reason}")]
pub struct Panicked {
    pub task: &'static str,
    pub reason: String,
}

#[derive(Default)]
struct Shared {
    first: Mutex<Option<Panicked>>,
    told: Notify,
}

/// The tasks of a role. Clones share them.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Shared>);

impl Tasks {
    /// Starts a task. Call inside a tokio runtime.
    pub fn spawn(&self, task: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.clone();
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                tasks.tell(Panicked { task, reason: reason(panic.as_ref()) });
            }
        });
    }

    /// Watches over what runs until the guard is dropped, for a future that has no room for more.
    pub fn guard(&self, task: &'static str) -> Guard<'_> {
        Guard { tasks: self, task }
    }

    /// Waits until some task has panicked.
    pub async fn panicked(&self) -> Panicked {
        loop {
            let told = self.0.told.notified();
            if let Some(first) = self.0.first.lock().unwrap_or_else(PoisonError::into_inner).clone() {
                return first;
            }
            told.await;
        }
    }

    fn tell(&self, panicked: Panicked) {
        self.0.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panicked);
        self.0.told.notify_one();
    }
}

/// Tells of a panic that unwinds past it.
pub struct Guard<'a> {
    tasks: &'a Tasks,
    task: &'static str,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tasks.tell(Panicked { task: self.task, reason: "the panic is told above".into() });
        }
    }
}

/// What a panic says of itself.
pub fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it does not say why".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_task_that_panics_is_told_with_its_name_and_reason() {
        let tasks = Tasks::default();
        tasks.spawn("quiet", async {});
        tasks.spawn("loud", async { panic!("bug {}", 7) });
        assert_eq!(tasks.panicked().await, Panicked { task: "loud", reason: "bug 7".into() });
    }

    #[tokio::test]
    async fn a_guard_tells_of_a_panic_and_of_nothing_else() {
        let tasks = Tasks::default();
        drop(tasks.guard("calm"));
        let guarded = tasks.clone();
        let ended = tokio::spawn(async move {
            let _guard = guarded.guard("loud");
            panic!("our own bug");
        });
        assert!(ended.await.is_err());
        assert_eq!(tasks.panicked().await.task, "loud");
    }
}
