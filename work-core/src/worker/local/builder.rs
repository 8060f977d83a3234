use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::LocalWorker;
use super::book::Book;
use super::engine::{Engine, Keeps};
use crate::pool::Pool;
use crate::worker::check_range;
use crate::{Clock, InvalidJob, RetryPolicy, Router};

/// Settings of a [`LocalWorker`].
#[derive(Debug, Clone)]
pub struct LocalWorkerBuilder {
    router: Router,
    concurrency: usize,
    capacity: usize,
    retry: RetryPolicy,
    clock: Clock,
    keeps: Keeps,
}

impl LocalWorkerBuilder {
    pub(super) fn new(router: Router) -> Self {
        Self {
            router,
            concurrency: 1_000,
            capacity: 1_000_000,
            retry: RetryPolicy::default(),
            clock: Clock::system(),
            keeps: Keeps::default(),
        }
    }

    /// How many jobs run at once, 1 to 1,000,000; by default 1,000.
    #[must_use]
    pub const fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs;
        self
    }

    /// How many jobs may be accepted and not ended at once, those that are not due included: 1 to 100,000,000, by default
    /// 1,000,000. At that number the verbs wait for room, and [`try_perform`](LocalWorker::try_perform) gives the job
    /// back.
    #[must_use]
    pub const fn capacity(mut self, jobs: usize) -> Self {
        self.capacity = jobs;
        self
    }

    /// What becomes of a job that says [`max_attempts`](crate::Job::max_attempts), after an attempt.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// What says "now" for `perform_at`, for schedules in a time zone and for expiry. In a test with tokio's clock
    /// paused, use [`Clock::tokio`].
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps the args of running jobs, so that [`rescue`](LocalWorker::rescue) hands them out whole. Args then go through
    /// JSON on their way to the handler.
    #[must_use]
    pub const fn keep_args(mut self) -> Self {
        self.keeps.args = true;
        self
    }

    /// Takes the times of each execution, for [`Context::timings`](crate::Context::timings): two looks at the clock and
    /// an allocation a job.
    #[must_use]
    pub const fn timings(mut self) -> Self {
        self.keeps.timings = true;
        self
    }

    /// Makes the worker.
    ///
    /// # Errors
    ///
    /// [`InvalidJob::OutOfRange`] names a setting that is out of its range.
    pub fn build(self) -> Result<LocalWorker, InvalidJob> {
        check_range("concurrency", self.concurrency)?;
        if !(1..=100_000_000).contains(&self.capacity) {
            return Err(InvalidJob::out_of_range("capacity", self.capacity, "1 to 100000000"));
        }
        let engine = Engine {
            routes: self.router.into_routes(),
            capacity: self.capacity,
            retry: self.retry,
            clock: self.clock.clone(),
            keeps: self.keeps,
            stopping: CancellationToken::new(),
            recurring: TaskTracker::new(),
            earlier: Arc::default(),
        };
        Ok(LocalWorker { pool: Pool::new(engine, Book::new(self.clock), self.concurrency) })
    }
}
