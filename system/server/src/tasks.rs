//! The tasks of a role, none of which ends unheard: what panics ends the role, with an error that names it. And none lives on
//! unseen: how many there are of each kind is told like the fill of a queue.
//!
//! **Invariant:** every task that a role spawns is spawned here, or polls under a [`Guard`]. Guarded by
//! `server/tests/supervision.rs` and, in every simulated run, by the run itself: a role that ends makes it fail. A task ends with what it
//! is for; guarded by the check `bounded-and-back`.

use crate::level::Level;
use crate::observer::Observer;
use futures_util::FutureExt;
use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// A task that has panicked, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its task \"{task}\" panicked: {reason}")]
pub struct Panicked {
    pub task: &'static str,
    pub reason: String,
}

/// What a task is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Keeps a link to another role open.
    Link,
    /// Takes what a gateway says, as long as its link lasts.
    Session,
    /// Reads for a gateway, as long as its session lasts.
    Reads,
    /// An opening handshake.
    Handshake,
    /// A connection of a device. There may be a million of them: they are spawned bare, and guarded.
    Connection,
    /// Something that a role does as long as it lives.
    Chore(&'static str),
}

impl Task {
    const KINDS: usize = 6;

    fn kind(self) -> usize {
        match self {
            Task::Link => 0,
            Task::Session => 1,
            Task::Reads => 2,
            Task::Handshake => 3,
            Task::Connection => 4,
            Task::Chore(_) => 5,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Task::Link => "link",
            Task::Session => "session of a gateway",
            Task::Reads => "reads for a gateway",
            Task::Handshake => "handshake",
            Task::Connection => "connection",
            Task::Chore(name) => name,
        }
    }
}

#[derive(Default)]
struct Shared {
    first: Mutex<Option<Panicked>>,
    told: Notify,
    live: [AtomicUsize; Task::KINDS],
}

/// The tasks of a role. Clones share them.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Shared>);

impl Tasks {
    /// Starts a task. Call inside a tokio runtime.
    pub fn spawn(&self, task: Task, work: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.clone();
        self.live_of(task).fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                tasks.tell(Panicked { task: task.name(), reason: reason(panic.as_ref()) });
            }
            tasks.live_of(task).fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Watches over what runs until the guard is dropped, for a future that has no room for more.
    pub fn guard(&self, task: Task) -> Guard<'_> {
        Guard { tasks: self, task }
    }

    /// How many there are of this kind.
    fn live(&self, task: Task) -> usize {
        self.live_of(task).load(Ordering::Relaxed)
    }

    fn live_of(&self, task: Task) -> &AtomicUsize {
        &self.0.live[task.kind()]
    }

    /// Tells how many there are. A connection is a row of its gateway's table, and goes with it.
    pub fn tell_levels(&self, observer: &dyn Observer) {
        let levels = [
            (Level::Links, Task::Link),
            (Level::Sessions, Task::Session),
            (Level::Readers, Task::Reads),
            (Level::Handshakes, Task::Handshake),
            (Level::Chores, Task::Chore("")),
        ];
        for (level, task) in levels {
            let live = self.live(task);
            observer.stands(level, live, live);
        }
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
    task: Task,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tasks.tell(Panicked { task: self.task.name(), reason: "the panic is told above".into() });
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
        tasks.spawn(Task::Chore("quiet"), async {});
        tasks.spawn(Task::Chore("loud"), async { panic!("bug {}", 7) });
        assert_eq!(tasks.panicked().await, Panicked { task: "loud", reason: "bug 7".into() });
    }

    #[tokio::test]
    async fn a_task_counts_until_it_has_ended_or_panicked() {
        let tasks = Tasks::default();
        tasks.spawn(Task::Link, std::future::pending());
        tasks.spawn(Task::Session, async {});
        tasks.spawn(Task::Session, async { panic!("our own bug") });
        assert_eq!((tasks.live(Task::Link), tasks.live(Task::Session)), (1, 2));
        tasks.panicked().await;
        assert_eq!((tasks.live(Task::Link), tasks.live(Task::Session)), (1, 0));
    }

    #[tokio::test]
    async fn a_guard_tells_of_a_panic_and_of_nothing_else() {
        let tasks = Tasks::default();
        drop(tasks.guard(Task::Chore("calm")));
        let guarded = tasks.clone();
        let ended = tokio::spawn(async move {
            let _guard = guarded.guard(Task::Chore("loud"));
            panic!("our own bug");
        });
        assert!(ended.await.is_err());
        assert_eq!(tasks.panicked().await.task, "loud");
    }
}
