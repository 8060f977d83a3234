use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{LocalWorker, LocalWorkerBuilder, QueueWorker, QueueWorkerBuilder, Recurring, Stopped, Worker, every};
use crate::runner::{Gate, Others, Report};
use crate::source::Source;
use crate::store::{BoxFuture, Inspect};
use crate::{InvalidJob, Job, JobHandle, JobId, Kind, PerformError, Queue, Router, Schedule};

/// Performs jobs in memory as long as there is room, and gives its surplus to a store, where any instance with free slots
/// takes it. Cheap to clone.
///
/// What is accepted here is in memory, and gone with the process; what is accepted as surplus is on the store, and is not.
/// Each is accepted in one place, and a refusal of the store is the caller's answer. Jobs that memory cannot promise
/// anything for always go to the store: those with a unique key, and those for later.
///
/// [`run_until`](Self::run_until) takes surplus, of this and of other instances, into the slots that are free here.
///
/// ```
/// use work_core::{Args, Job, OverflowWorker, Router, Status, Worker, store::MemoryStore};
///
/// async fn resize(Args(image): Args<String>) {
///     println!("{image}");
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let router = Router::new().route("resize", resize);
/// let worker = OverflowWorker::builder(MemoryStore::new(), router).concurrency(2).build()?;
/// let mut handles = Vec::new();
/// for n in 0..5 {
///     handles.push(worker.perform(Job::new("resize", format!("{n}.png"))).await?);
/// }
/// let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
/// for handle in handles {
///     assert_eq!(handle.outcome().await?.status(), Status::SUCCESS);
/// }
/// let counts = worker.overflow_counts();
/// assert_eq!(counts.here + counts.spilled, 5);
/// # running.abort();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OverflowWorker {
    shared: Arc<Shared>,
}

struct Shared {
    local: LocalWorker,
    queue: QueueWorker,
    name: Queue,
    gate: Gate,
    /// Jobs that went to the store, or may have: a second one of that id goes there too.
    sent: Mutex<Sent>,
    here: AtomicU64,
    spilled: AtomicU64,
    refused: AtomicU64,
}

#[derive(Default)]
struct Sent {
    ids: HashSet<JobId>,
    order: VecDeque<JobId>,
}

/// Jobs of the store that are remembered here.
const REMEMBERED: usize = 100_000;

/// Where the jobs of an [`OverflowWorker`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OverflowCounts {
    /// Accepted in memory.
    pub here: u64,
    /// Accepted by the store.
    pub spilled: u64,
    /// Accepted by nobody, since there was no room here and the store refused them or could not be reached.
    pub refused: u64,
}

/// Settings of an [`OverflowWorker`].
#[derive(Debug, Clone)]
pub struct OverflowWorkerBuilder {
    local: LocalWorkerBuilder,
    queue: QueueWorkerBuilder,
    name: Queue,
    concurrency: usize,
    capacity: Option<usize>,
}

impl OverflowWorkerBuilder {
    /// How many jobs run at once, its own and surplus together: 1 to 1,000,000, by default 100.
    #[must_use]
    pub const fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs;
        self
    }

    /// How many jobs may run and wait in memory; what is more is surplus. At least, and by default, the concurrency.
    #[must_use]
    pub const fn capacity(mut self, jobs: usize) -> Self {
        self.capacity = Some(jobs);
        self
    }

    /// The queue of the surplus; by default `overflow`. Instances that have the same one help each other.
    #[must_use]
    pub fn queue(mut self, name: impl Into<Queue>) -> Self {
        self.name = name.into();
        self
    }

    /// How long a lease of surplus lasts without being extended: how soon others take over when an instance dies. By default
    /// 30 s.
    #[must_use]
    pub fn lease_for(mut self, time: Duration) -> Self {
        self.queue = self.queue.lease_for(time);
        self
    }

    /// How long surplus may go on to run after the shutdown began; by default 25 s.
    #[must_use]
    pub fn grace(mut self, time: Duration) -> Self {
        self.queue = self.queue.grace(time);
        self
    }

    /// Makes the worker.
    ///
    /// # Errors
    ///
    /// [`InvalidJob`] names a setting that is out of its range.
    pub fn build(self) -> Result<OverflowWorker, InvalidJob> {
        let capacity = self.capacity.unwrap_or(self.concurrency);
        if capacity < self.concurrency {
            return Err(InvalidJob::out_of_range("capacity", capacity, "at least the concurrency"));
        }
        let local = self.local.concurrency(self.concurrency).capacity(capacity).build()?;
        let gate = Gate::new(Slots { local: local.clone(), all: self.concurrency });
        let queue = self.queue.queues([self.name.clone()]).concurrency(self.concurrency).gate(gate.clone()).build()?;
        let (here, spilled, refused) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let (name, sent) = (self.name, Mutex::default());
        Ok(OverflowWorker { shared: Arc::new(Shared { local, queue, name, gate, sent, here, spilled, refused }) })
    }
}

/// What the jobs in memory leave free.
struct Slots {
    local: LocalWorker,
    all: usize,
}

impl Others for Slots {
    fn free(&self, held: usize) -> usize {
        self.all.saturating_sub(self.local.len() + held)
    }

    fn freed(&self, held: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match self.all.checked_sub(held + 1) {
                Some(most) => self.local.at_most(most).await,
                None => std::future::pending().await,
            }
        })
    }
}

impl OverflowWorker {
    /// A worker whose surplus goes to this store. All instances on it should have the same handlers.
    pub fn builder(store: impl Inspect, router: Router) -> OverflowWorkerBuilder {
        let (local, queue) = (LocalWorker::builder(router.clone()), QueueWorker::builder(store, router));
        OverflowWorkerBuilder { local, queue, name: Queue::from_static("overflow"), concurrency: 100, capacity: None }
    }

    /// Takes surplus into free slots until `shutdown` resolves or the worker is [stopped](Worker::stop). Without it, the jobs
    /// in memory run all the same, and surplus waits for another instance.
    ///
    /// # Errors
    ///
    /// As [`QueueWorker::run_until`].
    ///
    /// # Cancel safety
    ///
    /// As [`QueueWorker::run_until`].
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<Report, InvalidJob> {
        self.shared.queue.clone().run_until(shutdown).await
    }

    /// Where jobs went.
    #[must_use]
    pub fn overflow_counts(&self) -> OverflowCounts {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let shared = &self.shared;
        OverflowCounts { here: count(&shared.here), spilled: count(&shared.spilled), refused: count(&shared.refused) }
    }

    /// The jobs in memory.
    #[must_use]
    pub fn local(&self) -> &LocalWorker {
        &self.shared.local
    }

    /// The surplus.
    #[must_use]
    pub fn queue(&self) -> &QueueWorker {
        &self.shared.queue
    }

    async fn spill(&self, job: Job) -> Result<JobHandle, PerformError> {
        let shared = &self.shared;
        let id = job.id();
        shared.sent().note(id);
        let answer = shared.queue.perform(job.queue(shared.name.clone())).await;
        match &answer {
            Ok(_) => _ = shared.spilled.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                shared.refused.fetch_add(1, Ordering::Relaxed);
                // Whoever tries again after an answer that was lost must meet the same job.
                if !matches!(error, PerformError::Store(error) if error.is_unknown()) {
                    shared.sent().forget(id);
                }
            }
        }
        answer
    }
}

impl Shared {
    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sent {
    fn note(&mut self, id: JobId) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        while self.order.len() > REMEMBERED {
            self.order.pop_front().inspect(|id| _ = self.ids.remove(id));
        }
    }

    fn forget(&mut self, id: JobId) {
        if self.ids.remove(&id) {
            self.order.retain(|other| *other != id);
        }
    }
}

impl Worker for OverflowWorker {
    async fn perform(&self, job: Job) -> Result<JobHandle, PerformError> {
        let shared = &self.shared;
        let parts = job.parts();
        if parts.unique.is_some() || parts.scheduled_at.is_some() || shared.sent().ids.contains(&parts.id) {
            return self.spill(job).await;
        }
        let capacity = shared.local.capacity().saturating_sub(shared.gate.held());
        match shared.local.try_within(job, capacity) {
            Err(PerformError::Full { job, .. }) => self.spill(*job).await,
            Ok(handle) => {
                shared.here.fetch_add(1, Ordering::Relaxed);
                Ok(handle)
            }
            Err(error) => Err(error),
        }
    }

    /// On the store.
    async fn perform_at(&self, job: Job, at: DateTime<Utc>) -> Result<JobHandle, PerformError> {
        self.shared.queue.perform_at(job.queue(self.shared.name.clone()), at).await
    }

    /// On the store.
    async fn perform_in(&self, job: Job, delay: Duration) -> Result<JobHandle, PerformError> {
        self.shared.queue.perform_in(job.queue(self.shared.name.clone()), delay).await
    }

    async fn perform_every(&self, job: Job, schedule: Schedule) -> Result<Recurring, PerformError> {
        every::every(self, job, schedule).await
    }

    /// In memory: items stay in their source while there is no room.
    async fn perform_receive<T: Source>(
        &self,
        kind: impl Into<Kind> + Send,
        source: T,
    ) -> Result<Recurring, PerformError> {
        self.shared.local.perform_receive(kind, source).await
    }

    fn accepts(&self, job: &Job) -> Result<(), PerformError> {
        self.shared.local.accepts(job)
    }

    async fn cancel(&self, id: JobId) -> Result<bool, PerformError> {
        if self.shared.local.cancel(id).await? {
            return Ok(true);
        }
        self.shared.queue.cancel(id).await
    }

    async fn stop(&self) {
        futures_util::future::join(self.shared.local.stop(), self.shared.queue.stop()).await;
    }

    async fn stop_within(&self, grace: Duration) -> Stopped {
        let (local, queue) = (self.shared.local.stop_within(grace), self.shared.queue.stop_within(grace));
        let (mut stopped, surplus) = futures_util::future::join(local, queue).await;
        stopped.interrupted.extend(surplus.interrupted);
        stopped
    }
}

impl every::Recurs for OverflowWorker {
    fn clock(&self) -> &crate::Clock {
        every::Recurs::clock(&self.shared.local)
    }

    fn stopping(&self) -> &tokio_util::sync::CancellationToken {
        every::Recurs::stopping(&self.shared.local)
    }

    fn recurring(&self) -> &tokio_util::task::TaskTracker {
        every::Recurs::recurring(&self.shared.local)
    }
}

impl fmt::Debug for OverflowWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverflowWorker").field("local", &self.shared.local).field("queue", &self.shared.name).finish()
    }
}
