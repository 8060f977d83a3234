mod alarm;
mod book;
mod builder;
mod counts;
mod delayed;
mod engine;
mod entry;
mod group;
mod rescue;
mod timers;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use builder::LocalWorkerBuilder;
pub use counts::LocalCounts;
pub(crate) use delayed::Delayed;
pub use rescue::Rescued;

use self::book::Refused;
use self::delayed::Pending;
use self::engine::Engine;
use self::entry::Entry;
use self::timers::Timers;
use super::receive::{self, Accept};
use super::{Recurring, Stopped, Worker, check_delay, check_due, check_runtime, every};
use crate::clock::later;
use crate::pool::Pool;
use crate::source::{Receipt, Source};
use crate::{
    Accepted, Clock, Job, JobHandle, JobId, Kind, Outcome, PerformError, RouteError, Router, Schedule, Status,
};

/// Performs jobs in memory, in this process. Cheap to clone; every clone is the same worker.
///
/// Arguments stay typed: nothing is serialised. A job has one attempt unless it says
/// [`max_attempts`](Job::max_attempts); then it is retried as on a store. While a job has not ended, its id and its unique
/// key are taken: a second one is a [duplicate](Accepted::Duplicate), whose handle is that of the first.
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
    pool: Pool<Engine>,
}

/// When a job is to run.
#[derive(Clone, Copy)]
enum When {
    Now,
    In(Duration),
    At(DateTime<Utc>),
}

/// A job that was not taken.
struct Back {
    job: Job,
    receipt: Option<Receipt>,
    refused: Refused,
}

impl LocalWorker {
    /// A worker with the default settings.
    #[must_use]
    pub fn new(router: Router) -> Self {
        let worker = Self::builder(router).build();
        worker.unwrap_or_else(|error| unreachable!("the defaults are in range: {error}"))
    }

    /// A worker with settings.
    #[must_use]
    pub fn builder(router: Router) -> LocalWorkerBuilder {
        LocalWorkerBuilder::new(router)
    }

    /// Performs a job if there is room for it.
    ///
    /// # Errors
    ///
    /// As `perform`, and [`PerformError::Full`] gives the job back.
    pub fn try_perform(&self, job: Job) -> Result<JobHandle, PerformError> {
        let when = self.when(&job);
        self.accepts(&job)?;
        self.offer(job, when).or_else(|back| self.refusal(*back))
    }

    /// Jobs that were accepted and have not ended, those that are not due included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pool.len()
    }

    /// True if no job waits or runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until no job waits or runs, those that are not due yet included. The worker goes on.
    ///
    /// # Cancel safety
    ///
    /// Waiting again is fine.
    pub async fn idle(&self) {
        self.pool.at_most(0).await;
    }

    /// How many jobs may be accepted and not ended at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.engine().capacity
    }

    /// How many jobs are where, and how they ended.
    #[must_use]
    pub fn counts(&self) -> LocalCounts {
        self.pool.with(|pool| {
            let mut counts = pool.book.counts;
            let waiting = pool.waiting.len();
            counts.delayed = pool.book.delayed() as u64;
            counts.waiting = waiting as u64;
            counts.running = (pool.book.live() - pool.book.delayed() - waiting) as u64;
            counts
        })
    }

    /// Adds the routes of a router to a worker that is at work.
    ///
    /// # Errors
    ///
    /// [`RouteError::Duplicate`] names a kind that has a handler already; then no route was added.
    pub fn register(&self, router: Router) -> Result<(), RouteError> {
        self.engine().routes.register(router)
    }

    /// As [`try_perform`](Self::try_perform), with another capacity.
    pub(super) fn try_within(&self, job: Job, capacity: usize) -> Result<JobHandle, PerformError> {
        self.accepts(&job)?;
        self.offer_now(job, None, capacity).or_else(|back| self.refusal(*back))
    }

    /// Waits until so many jobs were accepted and have not ended, at most.
    pub(super) async fn at_most(&self, jobs: usize) {
        self.pool.at_most(jobs).await;
    }

    fn engine(&self) -> &Engine {
        self.pool.executor()
    }

    fn when(&self, job: &Job) -> When {
        job.parts().scheduled_at.map_or(When::Now, When::At)
    }

    /// Waits for room.
    async fn accept(&self, mut job: Job, when: When) -> Result<JobHandle, PerformError> {
        self.accepts(&job)?;
        loop {
            match self.offer(job, when) {
                Ok(handle) => return Ok(handle),
                Err(back) if matches!(back.refused, Refused::Full) => job = back.job,
                Err(back) => return self.refusal(*back),
            }
            self.pool.at_most(self.capacity() - 1).await;
        }
    }

    fn offer(&self, job: Job, when: When) -> Result<JobHandle, Box<Back>> {
        let capacity = self.capacity();
        let due = match when {
            When::In(delay) if !delay.is_zero() => self.pool.with(|pool| pool.book.timers.after(delay)),
            When::At(at) if at > self.engine().clock.now() => Timers::at(at),
            _ => return self.offer_now(job, None, capacity),
        };
        let (answer, first) = self.pool.with(|pool| {
            if let Err(refused) = pool.book.check(&job, capacity) {
                return (Err(Box::new(Back { job, receipt: None, refused })), false);
            }
            let unique = job.parts().unique.as_ref().map(|unique| unique.key().to_owned());
            let id = job.id();
            let pending = Pending::new(job, due);
            let handle = JobHandle::local(id, Accepted::New, pending.ticket());
            (Ok(handle), pool.book.enter_later(pending, unique))
        });
        if first {
            alarm::watch(&self.pool);
            self.engine().earlier.notify_one();
        }
        answer
    }

    fn offer_now(&self, job: Job, receipt: Option<Receipt>, capacity: usize) -> Result<JobHandle, Box<Back>> {
        let mut entry = Entry::new(job);
        let handle = entry.handle();
        entry.promise.tell(receipt);
        let admitted = self.pool.submit(self.engine().item(entry), |book, (entry, _), _| {
            book.check(&entry.job, capacity)?;
            book.enter(entry);
            Ok(())
        });
        match admitted {
            Ok(()) => Ok(handle),
            Err(((mut entry, _), refused)) => {
                Err(Box::new(Back { job: entry.job, receipt: entry.promise.take_receipt(), refused }))
            }
        }
    }

    /// Accepts a job that was received, also while the worker stops: stopping waits for that.
    async fn take_one(&self, mut job: Job, mut receipt: Option<Receipt>) {
        loop {
            let stopping = self.engine().stopping.is_cancelled();
            let capacity = if stopping { usize::MAX } else { self.capacity() };
            let Err(mut back) = self.offer_now(job, receipt, capacity) else { return };
            if !matches!(back.refused, Refused::Full) {
                let receipt = back.receipt.take();
                match self.refusal(*back) {
                    Ok(duplicate) => receive::tell_later(duplicate, receipt),
                    Err(error) => tracing::error!(%error, "an item was received too late"),
                }
                return;
            }
            (job, receipt) = (back.job, back.receipt);
            let room = self.pool.at_most(self.capacity() - 1);
            self.engine().stopping.run_until_cancelled(room).await;
        }
    }

    fn refusal(&self, back: Back) -> Result<JobHandle, PerformError> {
        match back.refused {
            Refused::Duplicate(id, ticket) => {
                ticket.completion().share();
                Ok(JobHandle::local(id, Accepted::Duplicate, ticket))
            }
            Refused::Stopped => Err(PerformError::Stopped),
            Refused::Full => Err(PerformError::Full { job: Box::new(back.job), capacity: self.capacity() }),
        }
    }
}

impl Worker for LocalWorker {
    async fn perform(&self, job: Job) -> Result<JobHandle, PerformError> {
        let when = self.when(&job);
        self.accept(job, when).await
    }

    async fn perform_at(&self, job: Job, at: DateTime<Utc>) -> Result<JobHandle, PerformError> {
        check_delay((at - self.engine().clock.now()).to_std().unwrap_or_default())?;
        self.accept(job.scheduled_at(at), When::At(at)).await
    }

    async fn perform_in(&self, job: Job, delay: Duration) -> Result<JobHandle, PerformError> {
        check_delay(delay)?;
        if delay.is_zero() {
            return self.accept(job, When::Now).await;
        }
        let at = later(self.engine().clock.now(), delay);
        self.accept(job.scheduled_at(at), When::In(delay)).await
    }

    async fn perform_every(&self, job: Job, schedule: Schedule) -> Result<Recurring, PerformError> {
        every::every(self, job, schedule).await
    }

    async fn perform_receive<T: Source>(
        &self,
        kind: impl Into<Kind> + Send,
        source: T,
    ) -> Result<Recurring, PerformError> {
        receive::receive(self, kind.into(), source)
    }

    fn accepts(&self, job: &Job) -> Result<(), PerformError> {
        if self.engine().stopping.is_cancelled() {
            return Err(PerformError::Stopped);
        }
        self.engine().routes.check_kind(job.kind())?;
        check_due(job, &self.engine().clock)?;
        check_runtime()?;
        Ok(job.validate()?)
    }

    async fn cancel(&self, id: JobId) -> Result<bool, PerformError> {
        let (found, entry) = self.pool.with(|pool| {
            if let Some(entry) = pool.book.take_delayed(&id) {
                pool.book.counts.cancelled += 1;
                return (true, Some(entry));
            }
            let Some(context) = pool.book.active(&id).cloned() else { return (false, None) };
            context.cancel();
            // One that waits makes room at once.
            let at = pool.waiting.iter().position(|(entry, _)| entry.context.is_same(&context));
            let entry = at.and_then(|at| pool.waiting.remove(at)).map(|(entry, _)| entry);
            if let Some(entry) = &entry {
                pool.book.leave(&context, entry.key());
                pool.book.counts.cancelled += 1;
            }
            (true, entry)
        });
        if let Some(entry) = entry {
            entry.promise.keep(Outcome::new(Status::CANCELLED));
        }
        Ok(found)
    }

    async fn stop(&self) {
        self.drain(None).await;
    }

    async fn stop_within(&self, grace: Duration) -> Stopped {
        self.drain(Some(grace)).await
    }
}

impl every::Recurs for LocalWorker {
    fn clock(&self) -> &Clock {
        &self.engine().clock
    }

    fn stopping(&self) -> &tokio_util::sync::CancellationToken {
        &self.engine().stopping
    }

    fn recurring(&self) -> &tokio_util::task::TaskTracker {
        &self.engine().recurring
    }
}

impl Accept for LocalWorker {
    /// Items stay in their source while many wait for a slot here: there they can be left when the worker stops.
    async fn room(&self) -> usize {
        const ENOUGH: usize = 512;
        self.pool.at_most(self.capacity() - 1).await;
        self.pool.few_waiting(ENOUGH).await;
        self.capacity().saturating_sub(self.len()).max(1)
    }

    /// All that fit in one step; the others wait for room, in order.
    async fn take(&self, jobs: &mut Vec<(Job, Option<Receipt>)>) {
        let engine = self.engine();
        let capacity = if engine.stopping.is_cancelled() { usize::MAX } else { self.capacity() };
        let valid = jobs.drain(..).filter_map(|(job, receipt)| match job.validate() {
            Ok(()) => {
                let mut entry = Entry::new(job);
                entry.promise.tell(receipt);
                Some(entry)
            }
            Err(error) => {
                receive::refuse(&job, receipt, &error);
                None
            }
        });
        let mut entries = VecDeque::from_iter(valid);
        self.pool.submit_all(|book| {
            std::iter::from_fn(|| {
                book.check(&entries.front()?.job, capacity).ok()?;
                let entry = entries.pop_front()?;
                book.enter(&entry);
                Some(engine.item(entry))
            })
            .collect::<Vec<_>>()
        });
        for mut entry in entries {
            let receipt = entry.promise.take_receipt();
            self.take_one(entry.job, receipt).await;
        }
    }
}

impl fmt::Debug for LocalWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalWorker").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}
