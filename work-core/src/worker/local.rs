use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_core::Stream;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::local_run::{self as run, Entry, Local};
use super::{Recurring, Worker, check_delay, every};
use crate::pool::Pool;
use crate::{Clock, InvalidJob, Job, JobHandle, JobId, Kind, PerformError, RetryPolicy, Router, Schedule};

/// Performs jobs in memory, in this process. Cheap to clone; every clone is the same worker.
///
/// Arguments stay typed: nothing is serialised. A job has one attempt unless it says
/// [`max_attempts`](Job::max_attempts); then it is retried as on a store.
///
/// ```
/// use work_core::{Args, Job, LocalWorker, Outcome, Router, Status, Worker};
///
/// async fn double(Args(n): Args<u32>) -> work_core::Json<u32> {
///     work_core::Json(n * 2)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let worker = LocalWorker::new(Router::new().route("double", double));
/// let outcome = worker.perform(Job::new("double", 21)).await?.outcome().await?;
/// assert_eq!(outcome.output::<u32>()?, Some(42));
/// worker.stop().await;
/// assert!(worker.perform(Job::new("double", 1)).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LocalWorker {
    pool: Pool<Local>,
}

/// Settings of a [`LocalWorker`].
#[derive(Debug, Clone)]
pub struct LocalWorkerBuilder {
    router: Router,
    concurrency: usize,
    capacity: usize,
    retry: RetryPolicy,
    clock: Clock,
}

/// A setting of a worker that is out of its range.
pub(crate) fn check_range(option: &'static str, given: usize, max: usize) -> Result<(), InvalidJob> {
    if (1..=max).contains(&given) { Ok(()) } else { Err(InvalidJob::out_of_range(option, given, "1 to 1000000")) }
}

impl LocalWorkerBuilder {
    /// How many jobs run at once, 1 to 1,000,000; by default 1,000.
    #[must_use]
    pub const fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs;
        self
    }

    /// How many jobs wait or run at once, 1 to 1,000,000, which is the default. At that number `perform` waits for
    /// room, and [`try_perform`](LocalWorker::try_perform) gives the job back.
    #[must_use]
    pub const fn capacity(mut self, jobs: usize) -> Self {
        self.capacity = jobs;
        self
    }

    /// What becomes of a job that says [`max_attempts`](Job::max_attempts), after an attempt.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// What says "now" for `perform_at`.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the worker.
    ///
    /// # Errors
    ///
    /// [`InvalidJob::OutOfRange`] names a setting that is out of its range.
    pub fn build(self) -> Result<LocalWorker, InvalidJob> {
        const MAX: usize = 1_000_000;
        check_range("concurrency", self.concurrency, MAX)?;
        check_range("capacity", self.capacity, MAX)?;
        let local = Local {
            routes: self.router.into_routes(),
            capacity: self.capacity,
            retry: self.retry,
            clock: self.clock,
            stopping: CancellationToken::new(),
            delayed: Mutex::default(),
        };
        Ok(LocalWorker { pool: Pool::new(local, self.concurrency) })
    }
}

impl LocalWorker {
    /// A worker with the default settings.
    #[must_use]
    pub fn new(router: Router) -> Self {
        let builder = Self::builder(router);
        Self::build_default(builder)
    }

    fn build_default(builder: LocalWorkerBuilder) -> Self {
        builder.build().unwrap_or_else(|error| unreachable!("the defaults are in range: {error}"))
    }

    /// A worker with settings.
    #[must_use]
    pub fn builder(router: Router) -> LocalWorkerBuilder {
        LocalWorkerBuilder {
            router,
            concurrency: 1_000,
            capacity: 1_000_000,
            retry: RetryPolicy::default(),
            clock: Clock::system(),
        }
    }

    /// Performs a job now if there is room for it.
    ///
    /// # Errors
    ///
    /// As `perform`, and [`PerformError::Full`] gives the job back.
    pub fn try_perform(&self, job: Job) -> Result<JobHandle, PerformError> {
        self.check(&job)?;
        let entry = Entry::new(job);
        let handle = entry.handle();
        match self.pool.submit(entry, self.local().capacity) {
            Ok(()) => Ok(handle),
            Err(entry) => Err(PerformError::Full { job: Box::new(entry.into_job()), capacity: self.local().capacity }),
        }
    }

    /// Jobs that wait or run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pool.len()
    }

    /// True if no job waits or runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Jobs that may wait or run at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.local().capacity
    }

    fn local(&self) -> &Local {
        self.pool.executor()
    }

    fn until(&self, at: DateTime<Utc>) -> Duration {
        (at - self.local().clock.now()).to_std().unwrap_or_default()
    }

    /// Waits for room.
    async fn accept(&self, job: Job) -> Result<JobHandle, PerformError> {
        self.check(&job)?;
        let mut entry = Entry::new(job);
        let handle = entry.handle();
        let capacity = self.local().capacity;
        while let Err(back) = self.pool.submit(entry, capacity) {
            entry = back;
            self.pool.at_most(capacity - 1).await;
            if self.local().stopping.is_cancelled() {
                return Err(PerformError::Stopped);
            }
        }
        Ok(handle)
    }

    fn accept_later(&self, job: Job, delay: Duration) -> Result<JobHandle, PerformError> {
        check_delay(delay)?;
        self.check(&job)?;
        let entry = Entry::new(job);
        let handle = entry.handle();
        run::submit_in(&self.pool, entry, delay);
        Ok(handle)
    }

    fn check(&self, job: &Job) -> Result<(), PerformError> {
        if self.local().stopping.is_cancelled() {
            return Err(PerformError::Stopped);
        }
        self.local().routes.check_kind(job.kind())?;
        Ok(job.validate()?)
    }
}

impl Worker for LocalWorker {
    async fn perform(&self, job: Job) -> Result<JobHandle, PerformError> {
        match job.parts().scheduled_at.map(|at| self.until(at)).filter(|delay| !delay.is_zero()) {
            Some(delay) => self.accept_later(job, delay),
            None => self.accept(job).await,
        }
    }

    async fn perform_at(&self, job: Job, at: DateTime<Utc>) -> Result<JobHandle, PerformError> {
        self.perform_in(job, self.until(at)).await
    }

    async fn perform_in(&self, job: Job, delay: Duration) -> Result<JobHandle, PerformError> {
        if delay.is_zero() { self.accept(job).await } else { self.accept_later(job, delay) }
    }

    async fn perform_every(&self, job: Job, schedule: Schedule) -> Result<Recurring, PerformError> {
        every::every(self, &self.local().stopping, job, schedule).await
    }

    async fn perform_receive<T>(&self, kind: impl Into<Kind> + Send, items: T) -> Result<Recurring, PerformError>
    where
        T: Stream<Item: Serialize + Send + Sync + 'static> + Send + 'static,
    {
        let kind = kind.into();
        self.local().routes.check_kind(&kind)?;
        Ok(every::receive(self, &self.local().stopping, kind, items))
    }

    async fn cancel(&self, id: JobId) -> Result<bool, PerformError> {
        let found = run::find(&self.pool, id);
        if let Some(context) = &found {
            context.cancel();
        }
        Ok(found.is_some())
    }

    async fn stop(&self) {
        self.local().stopping.cancel();
        self.pool.at_most(0).await;
    }
}

impl fmt::Debug for LocalWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalWorker").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}
