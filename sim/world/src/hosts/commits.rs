//! Runs commits on a second core, and yet each at one instant of simulated time: the end of a tick.
//!
//! A host proposes a commit while it steps. When it has stepped, the commit begins, and the simulation goes on with other hosts.
//! Whoever would look at the database or the disk before it is done waits for it, and the host learns the outcome in a
//! later tick. So a run is the same whichever thread is faster, as if the commit had taken no time at all.
//!
//! **Invariants:** a disk has at most one commit proposed or under way; nothing but that commit touches the disk or its
//! database meanwhile ([`Disk::settle`], [`SettledStorage`]); while a power cut is armed a disk commits on its host's
//! thread, for the cut acts on the world. Guarded by `squall verify-determinism`, which stops one of two processes,
//! and by the tests below.

use crate::disk::{Disk, Running};
use crate::memory::accounts::Account;
use squall_core::messages::{self, Conversation, Position, Standing};
use squall_protocol::{ClientSeq, ConversationId, Cursors, DeviceId, Entry, Seq, UserId, Who};
use squall_runtime::interpose::{
    HostContext, SimulatedClock, WorldContext, enter_host, enter_world, prime_thread,
};
use squall_server::net::BoxFuture;
use squall_server::storage::{Batch, Commit, Recovered, Row, Storage, StorageError};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

type Outcome = std::thread::Result<Result<(), StorageError>>;

/// A commit under way.
#[derive(Clone)]
pub struct Pending(Arc<Shared>);

struct Shared {
    outcome: Mutex<Progress>,
    done: Condvar,
}

enum Progress {
    Running,
    Done(Outcome),
    /// Somebody has taken the outcome.
    Taken,
}

impl Pending {
    fn new() -> Self {
        Pending(Arc::new(Shared { outcome: Mutex::new(Progress::Running), done: Condvar::new() }))
    }

    fn finish(&self, outcome: Outcome) {
        *self.0.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Progress::Done(outcome);
        self.0.done.notify_all();
    }

    fn wait(&self) -> MutexGuard<'_, Progress> {
        let outcome = self.0.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let running = |progress: &mut Progress| matches!(progress, Progress::Running);
        self.0.done.wait_while(outcome, running).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the commit is over.
    ///
    /// # Panics
    /// As the commit did, unless that has been told.
    pub fn settle(&self) {
        let mut outcome = self.wait();
        if matches!(*outcome, Progress::Done(Err(_)))
            && let Progress::Done(Err(panic)) = std::mem::replace(&mut *outcome, Progress::Taken)
        {
            drop(outcome);
            resume_unwind(panic);
        }
    }

    /// Waits for the commit and takes what came of it.
    ///
    /// # Panics
    /// As the commit did; and when the outcome has been taken before.
    pub fn take(&self) -> Result<(), StorageError> {
        let taken = std::mem::replace(&mut *self.wait(), Progress::Taken);
        match taken {
            Progress::Done(Ok(result)) => result,
            Progress::Done(Err(panic)) => resume_unwind(panic),
            Progress::Running | Progress::Taken => unreachable!("a commit has one outcome, for one"),
        }
    }
}

/// A commit that is to run, and in whose scope. One that is dropped before it has run has failed.
pub struct Job {
    commit: Option<Commit>,
    context: HostContext,
    pending: Pending,
}

impl Job {
    /// Runs the commit here.
    pub fn run(mut self) {
        let commit = self.commit.take().expect("a commit runs once");
        let outcome = {
            let _scopes = (enter_host(&self.context), Account::Messages.enter());
            // What the commit holds is dropped here too, before anybody is told.
            catch_unwind(AssertUnwindSafe(commit))
        };
        self.pending.finish(outcome);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.commit.take().is_some() {
            self.pending.finish(Ok(Err(StorageError::WriterGone)));
        }
    }
}

/// The thread that commits, for all disks of a run; in a small run there is none.
pub struct Committer {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Runs of fewer clients commit on the simulation's own thread: their commits take less time than a thread to wake up.
const WORTH_A_THREAD: u32 = 5_000;

impl Committer {
    /// For a run of so many clients. Where commits run changes nothing of it.
    pub fn for_clients(clients: u32) -> Self {
        match clients < WORTH_A_THREAD {
            true => Committer { jobs: Mutex::new(None), thread: Mutex::new(None) },
            false => Committer::start(),
        }
    }

    /// Whether there is a thread.
    pub fn is_beside(&self) -> bool {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// # Panics
    /// When the system gives no thread.
    pub fn start() -> Self {
        let (jobs, queue) = channel::<Job>();
        let thread = std::thread::Builder::new().name("commits".into()).spawn(move || {
            {
                let context = WorldContext::new(0);
                let _guard = enter_world(&context);
                prime_thread();
            }
            for job in queue {
                job.run();
            }
        });
        Committer {
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread.expect("a thread can be started"))),
        }
    }

    /// Has a commit run on the thread.
    pub fn submit(&self, job: Job) -> Pending {
        let pending = job.pending.clone();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        assert!(sent, "the thread takes jobs for as long as the committer lives");
        pending
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It has caught every panic of a commit. The last who lets go of the committer may be that thread itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// One disk's commits: clock and randomness of their own, so that nothing depends on what the host does meanwhile.
pub struct Commits {
    committer: Arc<Committer>,
    disk: Disk,
    clock: SimulatedClock,
    context: HostContext,
}

impl Commits {
    pub fn new(committer: Arc<Committer>, disk: Disk, seed: u64, epoch_us: u64) -> Self {
        let clock = SimulatedClock::default();
        let context = HostContext::new(seed, clock.clone(), epoch_us);
        Commits { committer, disk, clock, context }
    }

    /// Proposes a commit, which begins when the host has stepped.
    pub fn propose(&self, commit: Commit, now_us: u64) -> Pending {
        self.clock.set_us(now_us);
        let pending = Pending::new();
        let job = Job { commit: Some(commit), context: self.context.clone(), pending: pending.clone() };
        let committer = Arc::clone(&self.committer);
        self.disk.propose(Box::new(move |cut_is_armed| {
            if cut_is_armed || !committer.is_beside() {
                job.run();
                return None;
            }
            let pending = committer.submit(job);
            Some(Box::new(move || pending.settle()) as Running)
        }));
        pending
    }
}

/// Somebody who is told where cursors stand on disk after a commit that moved them.
pub type CursorListener = Arc<dyn Fn(UserId, ConversationId, Cursors) + Send + Sync>;

/// Cursors that commits were to move of which nobody has heard: they may be durable all the same.
pub type Unheard = Arc<Mutex<Vec<(UserId, ConversationId)>>>;

/// A database that is looked at only between commits. What a commit did to cursors is read back from it and told, so that
/// it can be judged without the shard's word.
pub struct SettledStorage<S> {
    inner: S,
    disk: Disk,
    on_cursor: CursorListener,
    unheard: Unheard,
}

impl<S: Storage> SettledStorage<S> {
    pub fn new(inner: S, disk: Disk, on_cursor: CursorListener, unheard: Unheard) -> Self {
        SettledStorage { inner, disk, on_cursor, unheard }
    }

    /// Tells where these cursors stand. A disk that cannot be read just now says nothing; the next commit will.
    fn tell(&self, moved: Vec<(UserId, ConversationId)>) {
        let stand =
            if moved.is_empty() { Vec::new() } else { self.inner().cursors_of(&moved).unwrap_or_default() };
        moved.into_iter().zip(stand).for_each(|((user, c), stand)| (self.on_cursor)(user, c, stand));
    }

    fn unheard(&self) -> MutexGuard<'_, Vec<(UserId, ConversationId)>> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inner(&self) -> &S {
        self.disk.settle();
        &self.inner
    }
}

impl<S> Drop for SettledStorage<S> {
    fn drop(&mut self) {
        self.disk.settle();
    }
}

impl<S: Storage> Storage for SettledStorage<S> {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StorageError>> {
        let moved: Vec<_> = batch.cursors.iter().map(|(user, conversation, _)| (*user, *conversation)).collect();
        self.unheard().extend(&moved);
        let committed = self.inner().append(batch);
        Box::pin(async move {
            committed.await?;
            self.unheard().clear();
            self.tell(moved);
            Ok(())
        })
    }

    fn recovered(&self) -> Result<Recovered, StorageError> {
        // A commit that has failed, or whose process has died, may have moved them.
        let unheard = std::mem::take(&mut *self.unheard());
        self.tell(unheard);
        self.inner().recovered()
    }

    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StorageError> {
        self.inner().conversation(id)
    }

    fn sender(&self, id: ConversationId, who: Who) -> Result<Option<messages::Sender>, StorageError> {
        self.inner().sender(id, who)
    }

    fn numbered(&self, id: ConversationId, who: Who, number: ClientSeq) -> Result<Option<Entry>, StorageError> {
        self.inner().numbered(id, who, number)
    }

    fn fence(&self, user: UserId, device: DeviceId) -> Result<Option<messages::Fence>, StorageError> {
        self.inner().fence(user, device)
    }

    fn fenced(&self) -> Result<Vec<(UserId, DeviceId)>, StorageError> {
        self.inner().fenced()
    }

    fn standing(&self, id: ConversationId, user: UserId) -> Result<Option<Standing>, StorageError> {
        self.inner().standing(id, user)
    }

    fn entries(
        &self,
        id: ConversationId,
        from: Seq,
        to: Seq,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        self.inner().entries(id, from, to, max_entries, max_bytes)
    }

    fn rows_from(&self, position: Position, max: usize) -> Result<Vec<Row>, StorageError> {
        self.inner().rows_from(position, max)
    }

    fn knows(&self, id: ConversationId, user: UserId) -> Result<bool, StorageError> {
        self.inner().knows(id, user)
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        max: usize,
    ) -> Result<Vec<ConversationId>, StorageError> {
        self.inner().conversations_of(user, after, max)
    }

    fn cursors_of(&self, pairs: &[(UserId, ConversationId)]) -> Result<Vec<Cursors>, StorageError> {
        self.inner().cursors_of(pairs)
    }

    fn cursors_in(&self, id: ConversationId) -> Result<Vec<(UserId, Cursors)>, StorageError> {
        self.inner().cursors_in(id)
    }

    fn cursors(&self) -> Result<Vec<(UserId, ConversationId, Cursors)>, StorageError> {
        self.inner().cursors()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{CutPoint, DiskConfig, DiskFault};
    use redb::StorageBackend;
    use std::time::Duration;

    fn commits() -> (Commits, Disk) {
        let disk = Disk::new(1, DiskConfig::default());
        (Commits::new(Arc::new(Committer::start()), disk.clone(), 2, 0), disk)
    }

    /// Writes a block and syncs it, after a while of real time.
    fn slow_write(disk: &Disk) -> Commit {
        let backend = disk.open();
        Box::new(move || {
            #[expect(clippy::disallowed_methods, reason = "the point is that real time passes")]
            std::thread::sleep(Duration::from_millis(50));
            backend.write(0, &[7; 4096]).and_then(|()| backend.sync_data()).map_err(|_| StorageError::WriterGone)
        })
    }

    #[test]
    fn whoever_looks_at_the_disk_meanwhile_sees_the_commit_done() {
        let (commits, disk) = commits();
        let pending = commits.propose(slow_write(&disk), 5);
        assert_eq!(disk.stats().syncs, 0, "it has not begun");
        disk.begin_proposed();
        assert_eq!(disk.stats().syncs, 1);
        assert!(pending.take().is_ok());
    }

    #[test]
    fn a_power_loss_comes_before_a_proposed_commit_and_after_one_that_has_begun() {
        let (commits, disk) = commits();
        let pending = commits.propose(slow_write(&disk), 5);
        disk.begin_proposed();
        assert_eq!(disk.power_loss(), 0);
        assert!(pending.take().is_ok());
        assert_eq!(disk.stats().allocated_bytes, 4096);

        let (commits, disk) = self::commits();
        commits.propose(slow_write(&disk), 5);
        disk.power_loss();
        disk.begin_proposed();
        assert_eq!((disk.stats().syncs, disk.stats().allocated_bytes), (0, 0));
    }

    #[test]
    fn an_armed_cut_strikes_on_the_thread_of_the_host() {
        let (commits, disk) = commits();
        let here = std::thread::current().id();
        let struck = Arc::new(Mutex::new(None));
        disk.set_on_power_cut({
            let struck = Arc::clone(&struck);
            move || *struck.lock().unwrap() = Some(std::thread::current().id())
        });
        disk.cut_power_at(CutPoint::Sync(1));
        let pending = commits.propose(slow_write(&disk), 5);
        disk.begin_proposed();
        assert!(pending.take().is_err());
        assert_eq!(*struck.lock().unwrap(), Some(here));
    }

    #[test]
    fn a_failed_sync_is_told_to_whoever_waits() {
        let (commits, disk) = commits();
        disk.add_fault(DiskFault::SyncError { share: 1.0 }, 1);
        let pending = commits.propose(slow_write(&disk), 5);
        disk.begin_proposed();
        assert!(pending.take().is_err());
    }

    #[test]
    fn a_commit_that_panics_does_so_where_its_outcome_is_taken() {
        let (commits, disk) = commits();
        let pending = commits.propose(Box::new(|| panic!("our own bug")), 5);
        disk.begin_proposed();
        let caught = catch_unwind(AssertUnwindSafe(|| pending.take()));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"our own bug"));
    }
}
