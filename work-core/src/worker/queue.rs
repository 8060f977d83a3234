use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_core::Stream;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Recurring, Worker, check_delay, every};
use crate::clock::later;
use crate::error::WaitError;
use crate::handle::Accepted;
use crate::router::Routes;
use crate::runner::{Report, Runner, Waiters};
use crate::store::{BoxFuture, CancelOutcome, ErrorRecord, Inserted, Inspect, StoredJob};
use crate::{
    Clock, DEFAULT_MAX_ARGS, InvalidJob, Job, JobHandle, JobId, Kind, Outcome, PerformError, Queue, RetryPolicy,
    Router, Schedule, Status,
};

/// Performs jobs that a store keeps: what is accepted survives this process. Cheap to clone.
///
/// [`run_until`](Self::run_until) drains the queues here; any number of processes may do so on one store. A program
/// that only makes jobs never calls it.
///
/// ```
/// use work_core::{Args, Job, QueueWorker, Router, Status, Worker, store::MemoryStore};
///
/// async fn greet(Args(name): Args<String>) {
///     println!("hello {name}");
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let worker = QueueWorker::new(MemoryStore::new(), Router::new().route("greet", greet));
/// let handle = worker.perform(Job::new("greet", "Ann")).await?; // returns after the commit
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let running = tokio::spawn(worker.clone().run_until(async { drop(stopped.await) }));
///
/// assert_eq!(handle.outcome().await?.status(), Status::SUCCESS);
/// drop(stop);
/// assert_eq!(running.await??.performed, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct QueueWorker {
    shared: Arc<Shared>,
}

/// Settings of a [`QueueWorker`].
#[derive(Debug, Clone)]
pub struct QueueWorkerBuilder {
    runner: Runner,
    store: StoreHandle,
    router: Router,
    clock: Clock,
    max_args: usize,
}

#[derive(Clone)]
struct StoreHandle(Arc<dyn Inspect>);

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store(..)")
    }
}

struct Shared {
    store: Arc<dyn Inspect>,
    routes: Routes,
    runner: Runner,
    clock: Clock,
    max_args: usize,
    stopping: CancellationToken,
    waiters: Arc<Waiters>,
}

macro_rules! runner_settings {
    ($($(#[$doc:meta])* $name:ident($value:ident: $type:ty);)*) => {
        /// Settings of the draining: see [`Runner`].
        impl QueueWorkerBuilder {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $value: $type) -> Self {
                self.runner = self.runner.$name($value);
                self
            })*
        }
    };
}

runner_settings! {
    /// The queues to drain, the first one first; by default `default`.
    queues(queues: impl IntoIterator<Item = impl Into<Queue>>);
    /// How many jobs run at once, 1 to 1,000,000; by default 100.
    concurrency(jobs: usize);
    /// How long a lease lasts without being extended; by default 30 s.
    lease_for(time: Duration);
    /// How long running jobs may go on after the shutdown began; by default 25 s.
    grace(time: Duration);
    /// How many attempts may end without a report before the job is a dead letter; by default 3.
    max_crashes(attempts: u32);
    /// What becomes of a job after an attempt.
    retry(policy: RetryPolicy);
}

impl QueueWorkerBuilder {
    /// What says "now"; by default this machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.runner = self.runner.clock(clock.clone());
        self.clock = clock;
        self
    }

    /// How many bytes of JSON the arguments of a job may have; by default 1 MiB.
    #[must_use]
    pub const fn max_args(mut self, bytes: usize) -> Self {
        self.max_args = bytes;
        self
    }

    /// Makes the worker.
    ///
    /// # Errors
    ///
    /// [`InvalidJob`] names a setting that is out of its range.
    pub fn build(self) -> Result<QueueWorker, InvalidJob> {
        self.runner.validate()?;
        Ok(self.finish())
    }

    fn finish(self) -> QueueWorker {
        let waiters = Arc::<Waiters>::default();
        let shared = Shared {
            store: self.store.0,
            routes: self.router.into_routes(),
            runner: self.runner.waiters(waiters.clone()),
            clock: self.clock,
            max_args: self.max_args,
            stopping: CancellationToken::new(),
            waiters,
        };
        QueueWorker { shared: Arc::new(shared) }
    }
}

impl QueueWorker {
    /// A worker on this store with the default settings.
    pub fn new(store: impl Inspect, router: Router) -> Self {
        Self::builder(store, router).finish()
    }

    /// A worker on this store with settings.
    pub fn builder(store: impl Inspect, router: Router) -> QueueWorkerBuilder {
        let store: Arc<dyn Inspect> = Arc::new(store);
        let runner = Runner::new(store.clone(), router.clone());
        let store = StoreHandle(store);
        QueueWorkerBuilder { runner, store, router, clock: Clock::system(), max_args: DEFAULT_MAX_ARGS }
    }

    /// The store, to look into.
    #[must_use]
    pub fn store(&self) -> &dyn Inspect {
        &*self.shared.store
    }

    /// Drains the queues until `shutdown` resolves or the worker is [stopped](Worker::stop), then stops gracefully,
    /// see [`Runner::run_until`].
    ///
    /// # Errors
    ///
    /// [`InvalidJob`] names a setting that is out of its range; nothing was run then.
    ///
    /// # Cancel safety
    ///
    /// As [`Runner::run_until`].
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<Report, InvalidJob> {
        let Self { shared } = self;
        let stop = async {
            shared.stopping.run_until_cancelled(shutdown).await;
            shared.stopping.cancel();
        };
        shared.runner.clone().run_until(stop).await
    }

    /// Performs all of these jobs now, or none of them: one round trip to the store.
    ///
    /// # Errors
    ///
    /// As [`perform`](Worker::perform); the first job that is refused names itself.
    ///
    /// # Cancel safety
    ///
    /// As [`perform`](Worker::perform).
    pub async fn perform_many(
        &self,
        jobs: impl IntoIterator<Item = Job> + Send,
    ) -> Result<Vec<JobHandle>, PerformError> {
        let stored = jobs.into_iter().map(|job| self.check(job)).collect::<Result<Vec<_>, _>>()?;
        let inserted = self.shared.store.insert(stored).await?;
        Ok(inserted.into_iter().map(|inserted| self.handle(inserted)).collect())
    }

    fn check(&self, job: Job) -> Result<crate::store::NewJob, PerformError> {
        if self.shared.stopping.is_cancelled() {
            return Err(PerformError::Stopped);
        }
        self.shared.routes.check_kind(job.kind())?;
        Ok(job.into_stored(self.shared.max_args)?)
    }

    fn handle(&self, inserted: Inserted) -> JobHandle {
        let accepted = match inserted {
            Inserted::New(_) => Accepted::New,
            Inserted::Duplicate(_) => Accepted::Duplicate,
        };
        JobHandle::stored(inserted.id(), accepted, self.shared.clone())
    }
}

impl Shared {
    /// Waits for this process to settle the job, and looks into the store now and then in case another one does.
    async fn outcome(self: Arc<Self>, id: JobId) -> Result<Outcome, WaitError> {
        const LOOK_AGAIN: Duration = Duration::from_millis(250);
        let mut settled_here = self.waiters.wait(id);
        loop {
            match self.store.get(id).await? {
                Some(stored) if stored.state.is_terminal() => return Ok(outcome_of(&stored)),
                Some(_) => {}
                None => return Err(WaitError::WorkerGone(id)),
            }
            if let Ok(Ok(outcome)) = tokio::time::timeout(LOOK_AGAIN, &mut settled_here).await {
                return Ok(outcome);
            }
        }
    }
}

impl crate::handle::Waits for Shared {
    fn wait(self: Arc<Self>, id: JobId) -> BoxFuture<'static, Result<Outcome, WaitError>> {
        Box::pin(self.outcome(id))
    }
}

fn outcome_of(stored: &StoredJob) -> Outcome {
    let mut outcome = Outcome::new(stored.status.unwrap_or(Status::CANCELLED));
    if let Some(output) = stored.output.clone() {
        outcome = outcome.with_output(output);
    }
    match stored.last_error() {
        Some(error) if !outcome.status().is_complete() => {
            let error: ErrorRecord = error.clone();
            outcome.with_error(error)
        }
        _ => outcome,
    }
}

impl Worker for QueueWorker {
    async fn perform(&self, job: Job) -> Result<JobHandle, PerformError> {
        let job = self.check(job)?;
        let id = job.parts.id;
        let inserted = self.shared.store.insert(vec![job]).await?;
        Ok(self.handle(inserted.first().copied().unwrap_or(Inserted::New(id))))
    }

    async fn perform_at(&self, job: Job, at: DateTime<Utc>) -> Result<JobHandle, PerformError> {
        check_delay((at - self.shared.clock.now()).to_std().unwrap_or_default())?;
        self.perform(job.scheduled_at(at)).await
    }

    async fn perform_in(&self, job: Job, delay: Duration) -> Result<JobHandle, PerformError> {
        check_delay(delay)?;
        self.perform(job.scheduled_at(later(self.shared.clock.now(), delay))).await
    }

    async fn perform_every(&self, job: Job, schedule: Schedule) -> Result<Recurring, PerformError> {
        every::every(self, &self.shared.stopping, job, schedule).await
    }

    async fn perform_receive<T>(&self, kind: impl Into<Kind> + Send, items: T) -> Result<Recurring, PerformError>
    where
        T: Stream<Item: Serialize + Send + Sync + 'static> + Send + 'static,
    {
        let kind = kind.into();
        self.shared.routes.check_kind(&kind)?;
        Ok(every::receive(self, &self.shared.stopping, kind, items))
    }

    async fn cancel(&self, id: JobId) -> Result<bool, PerformError> {
        let outcomes = self.shared.store.cancel(vec![id]).await?;
        Ok(matches!(outcomes.first(), Some(CancelOutcome::Cancelled | CancelOutcome::Requested)))
    }

    async fn stop(&self) {
        self.shared.stopping.cancel();
    }
}

impl fmt::Debug for QueueWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueWorker").field("runner", &self.shared.runner).finish()
    }
}
