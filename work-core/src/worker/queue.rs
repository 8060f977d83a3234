use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::receive::{self, Accept};
use super::{Recurring, Stopped, Worker, check_delay, check_due, every};
use crate::clock::later;
use crate::compose::Plan;
use crate::error::WaitError;
use crate::handle::Accepted;
use crate::limit::{Adapts, Gradient, Limit};
use crate::router::Routes;
use crate::runner::{Gate, Queues, Ramp, Report, Runner, Waiters};
use crate::source::{Receipt, Source};
use crate::store::{
    BoxFuture, CancelOutcome, ErrorRecord, Inserted, Inspect, NewJob, Retention, StoredJob, StoredSchedule,
};
use crate::{
    Backoff, Clock, DEFAULT_MAX_ARGS, Directive, Group, GroupHandle, GroupStatus, InvalidJob, Job, JobHandle, JobId,
    JobState, Kind, Outcome, OutputError, PerformError, RetryPolicy, RouteError, Router, Schedule, Status, StoreError,
};

/// How many jobs [`QueueWorker::perform_many`] takes at once.
pub const MAX_BATCH: usize = 100_000;

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
    /// Fires when what runs has to end now.
    hurry: CancellationToken,
    /// What makes jobs: schedules and sources.
    recurring: TaskTracker,
    /// What drains queues, and what it had to cut off.
    draining: TaskTracker,
    interrupted: Mutex<Vec<(JobId, Kind)>>,
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
    /// The queues to drain: a list of names, the first one first, or [`Queues`] with weights and limits; by default
    /// `default`.
    queues(queues: impl Into<Queues>);
    /// Lets a job's priority rise by one for each `step` that it waits; by default it never does. See [`Runner::aging`].
    aging(step: Duration);
    /// How many jobs run at once, 1 to 1,000,000; by default 100.
    concurrency(jobs: usize);
    /// How long a lease lasts without being extended; by default 30 s.
    lease_for(time: Duration);
    /// How long running jobs may go on after the shutdown began; by default 25 s.
    grace(time: Duration);
    /// How many attempts may end without a report before the job is a dead letter; by default 3.
    max_crashes(attempts: u32);
    /// How long jobs are kept after they have ended; by default a day, and dead letters 7 days.
    retention(keep: Retention);
    /// How many bytes of JSON a job may return, at most 16 MiB; by default 1 MiB. See [`Runner::max_output`].
    max_output(bytes: usize);
    /// The version of your program, for people who look at workers; by default that of this library.
    version(version: impl Into<String>);
    /// What becomes of a job after an attempt.
    retry(policy: RetryPolicy);
    /// Starts with one job at a time, and gradually runs more; by default all slots are there at once.
    ramp(ramp: Ramp);
    /// How often jobs may start here; one that has to wait is not leased. See [`Runner::limit`].
    limit(limit: impl Limit + 'static);
    /// How often jobs may start here, as it learns from 429 and 503. See [`Runner::adaptive`].
    adaptive(limit: impl Adapts + 'static);
    /// Lets as many jobs run at once as the other side takes before they get slower; off by default. See
    /// [`Runner::concurrency_by_latency`].
    concurrency_by_latency(rule: Gradient);
}

impl QueueWorkerBuilder {
    /// What says "now"; by default this machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.runner = self.runner.clock(clock.clone());
        self.clock = clock;
        self
    }

    /// Takes the times of each execution, for [`Context::timings`](crate::Context::timings).
    #[must_use]
    pub fn timings(mut self) -> Self {
        self.runner = self.runner.timings();
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

    /// Drains only into slots that this leaves free.
    pub(super) fn gate(mut self, gate: Gate) -> Self {
        self.runner = self.runner.gate(gate);
        self
    }

    fn finish(self) -> QueueWorker {
        let waiters = Arc::<Waiters>::default();
        let hurry = CancellationToken::new();
        let shared = Shared {
            store: self.store.0,
            routes: self.runner.routes().clone(),
            runner: self.runner.waiters(waiters.clone()).hurry(hurry.clone()),
            clock: self.clock,
            max_args: self.max_args,
            stopping: CancellationToken::new(),
            hurry,
            recurring: TaskTracker::new(),
            draining: TaskTracker::new(),
            interrupted: Mutex::default(),
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
        let runner = Runner::new(store.clone(), router).inspect(store.clone());
        let store = StoreHandle(store);
        QueueWorkerBuilder { runner, store, clock: Clock::system(), max_args: DEFAULT_MAX_ARGS }
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
        let _draining = shared.draining.token();
        let report = shared.runner.clone().run_until(stop).await?;
        lock(&shared.interrupted).extend(report.interrupted.iter().cloned());
        Ok(report)
    }

    /// Adds the routes of a router to a worker that is at work.
    ///
    /// # Errors
    ///
    /// [`RouteError::Duplicate`] names a kind that has a handler already; then no route was added.
    pub fn register(&self, router: Router) -> Result<(), RouteError> {
        self.shared.routes.register(router)
    }

    /// Performs all of these jobs now, or none of them: one round trip to the store.
    ///
    /// # Errors
    ///
    /// As [`perform`](Worker::perform): [`PerformError::InBatch`] says which job it is that is refused. And for more than
    /// [`MAX_BATCH`] jobs.
    ///
    /// # Cancel safety
    ///
    /// As [`perform`](Worker::perform).
    pub async fn perform_many(
        &self,
        jobs: impl IntoIterator<Item = Job> + Send,
    ) -> Result<Vec<JobHandle>, PerformError> {
        let mut stored = Vec::new();
        for (index, job) in jobs.into_iter().enumerate() {
            if index == MAX_BATCH {
                let given = format!("of more than {MAX_BATCH} jobs");
                return Err(InvalidJob::out_of_range("batch", given, "at most 100000 jobs at once").into());
            }
            stored.push(self.check(job).map_err(|error| error.in_batch(index))?);
        }
        let inserted = self.shared.store.insert(stored).await?;
        Ok(inserted.into_iter().map(|inserted| self.handle(inserted)).collect())
    }

    /// Performs the jobs of a group, all or none of them, and its callback once when they have ended: see [`Group`].
    ///
    /// A job of its own, whose id is the group's, watches over them in the queue of the callback: a
    /// [`QueueWorker`] must drain that. It looks at an eighth of the group's age again, between 50 ms and 5 s, and inserts the callback
    /// in the transaction that completes it. Cancelling the group's id makes that the callback never runs.
    ///
    /// ```
    /// use work_core::{Group, Job, QueueWorker, Router, Worker, store::MemoryStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let worker = QueueWorker::new(MemoryStore::new(), Router::new().route("page", async || {}).route("merge", async || {}));
    /// let group = Group::new((1..=3).map(|page| Job::new("page", page))).then(Job::new("merge", ()));
    /// let id = worker.perform_group(group).await?.id();
    /// let status = worker.group(id).await?.ok_or("no group")?;
    /// assert_eq!((status.total, status.waiting, status.has_ended()), (3, 3, false));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`perform`](Worker::perform) for any of the jobs; and for a group of more than 10,000 jobs, or a job of it that has
    /// a unique key.
    ///
    /// # Cancel safety
    ///
    /// As [`perform`](Worker::perform): all of it is accepted or none. Repeating it with a clone of the group is safe.
    pub async fn perform_group(&self, group: Group) -> Result<GroupHandle, PerformError> {
        group.all().try_for_each(|job| self.accepts(job))?;
        let (id, limit) = (group.id(), self.shared.max_args);
        let (jobs, watch) = group.pack()?;
        let members = jobs.iter().map(Job::id).collect();
        let all = jobs.into_iter().chain([watch]).map(|job| job.into_stored(limit));
        let inserted = self.shared.store.insert(all.collect::<Result<Vec<_>, _>>()?).await?;
        let watch = inserted.last().copied().unwrap_or(Inserted::New(id));
        Ok(GroupHandle::new(members, self.handle(watch)))
    }

    /// How a group stands, from its jobs as they are now; `None` if the store keeps no group of this id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub async fn group(&self, id: JobId) -> Result<Option<GroupStatus>, StoreError> {
        let store = &*self.shared.store;
        let Some(plan) = store.get(id).await?.and_then(|watch| Plan::of(&watch.job)) else { return Ok(None) };
        plan.status(id, store).await.map(Some)
    }

    /// Keeps a schedule in the store under a name: from now on, its jobs are made by whatever
    /// [runner](Self::run_until) of the store is up, each slot once, whether this process lives or not. One of that name
    /// is replaced; if its times stay the same, it goes on where it was.
    ///
    /// [`Schedule::overlap`] and [`Schedule::catch_up`] say what happens when runs overlap or were missed. Look at and
    /// change schedules through [`store`](Self::store): [`pause_schedule`](Inspect::pause_schedule),
    /// [`run_schedule_now`](Inspect::run_schedule_now), [`remove_schedule`](Inspect::remove_schedule). The jobs carry the
    /// schedule's name and their slot in the headers [`schedule`](crate::store::SCHEDULE_HEADER) and
    /// [`schedule-slot`](crate::store::SLOT_HEADER).
    ///
    /// ```
    /// use std::time::Duration;
    /// use work_core::{CatchUp, Job, QueueWorker, Router, Schedule, store::{MemoryStore, Store}};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let worker = QueueWorker::new(MemoryStore::new(), Router::new().route("report", async || {}));
    /// let daily = Schedule::every(Duration::from_secs(86_400))?.catch_up(CatchUp::One);
    /// worker.schedule("daily-report", Job::new("report", ()).queue("reports"), daily).await?;
    ///
    /// let schedules = worker.store().schedules().await?;
    /// assert_eq!((schedules[0].name.as_str(), schedules[0].schedule.as_str()), ("daily-report", "every 86400s"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`perform`](Worker::perform); and the name must be one that a kind could have.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the schedule kept or not; repeating the call is safe.
    pub async fn schedule(&self, name: impl Into<String>, job: Job, schedule: Schedule) -> Result<(), PerformError> {
        let name = name.into();
        crate::name::check("schedule", &name).map_err(InvalidJob::from)?;
        let job = self.check(job)?;
        let stored = StoredSchedule::of(name, job, &schedule);
        Ok(self.shared.store.put_schedule(stored).await?)
    }

    /// Waits until a job has ended for good, whoever made it and whoever performs it, and answers what it returned: `None`
    /// if it returned nothing. As [`JobHandle::output`], from any process.
    ///
    /// ```
    /// use work_core::{Args, Job, Json, QueueWorker, Router, Worker, store::MemoryStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let router = Router::new().route("double", |Args(n): Args<u32>| async move { Json(n * 2) });
    /// let worker = QueueWorker::new(MemoryStore::new(), router);
    /// let id = worker.perform(Job::new("double", 21)).await?.id();
    /// let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    /// assert_eq!(worker.output::<u32>(id).await?, Some(42));
    /// # running.abort();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`JobHandle::output`]; [`WaitError::WorkerGone`] also if the store keeps no job of this id.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the answer, not the job.
    pub async fn output<T: DeserializeOwned>(&self, id: JobId) -> Result<Option<T>, OutputError> {
        JobHandle::stored(id, Accepted::Duplicate, self.shared.clone()).output().await
    }

    fn check(&self, job: Job) -> Result<NewJob, PerformError> {
        self.accepts(&job)?;
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
    match stored.state {
        JobState::Discarded => outcome = outcome.with_directive(Directive::Discard),
        JobState::Cancelled => outcome = outcome.with_directive(Directive::Cancel),
        _ => {}
    }
    if let Some(output) = stored.output.clone() {
        outcome = outcome.with_output(output);
    }
    match stored.last_error() {
        Some(error) if !outcome.is_completed() => {
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
        if self.shared.stopping.is_cancelled() {
            return Err(PerformError::Stopped);
        }
        self.shared.routes.check_kind(job.kind())?;
        check_due(job, &self.shared.clock)?;
        Ok(job.validate()?)
    }

    async fn cancel(&self, id: JobId) -> Result<bool, PerformError> {
        let outcomes = self.shared.store.cancel(vec![id]).await?;
        if outcomes.first() == Some(&CancelOutcome::Requested) {
            self.shared.runner.tell_of_cancel();
        }
        Ok(matches!(outcomes.first(), Some(CancelOutcome::Cancelled | CancelOutcome::Requested)))
    }

    async fn stop(&self) {
        let shared = &self.shared;
        shared.stopping.cancel();
        shared.recurring.close();
        shared.draining.close();
        shared.recurring.wait().await;
        shared.draining.wait().await;
    }

    async fn stop_within(&self, grace: Duration) -> Stopped {
        if tokio::time::timeout(grace, self.stop()).await.is_err() {
            self.shared.hurry.cancel();
            self.shared.draining.wait().await;
        }
        Stopped { interrupted: std::mem::take(&mut *lock(&self.shared.interrupted)), unstarted: Vec::new() }
    }
}

impl every::Recurs for QueueWorker {
    fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    fn stopping(&self) -> &CancellationToken {
        &self.shared.stopping
    }

    fn recurring(&self) -> &TaskTracker {
        &self.shared.recurring
    }
}

/// Items that are stored at once, at most.
const AT_ONCE: usize = 1_000;

impl Accept for QueueWorker {
    /// A store has room.
    async fn room(&self) -> usize {
        AT_ONCE
    }

    /// All of them in one round trip. While the store fails they are kept and tried again.
    async fn take(&self, jobs: &mut Vec<(Job, Option<Receipt>)>) {
        let mut stored = Vec::with_capacity(jobs.len());
        let mut receipts = Vec::with_capacity(jobs.len());
        for (job, receipt) in jobs.drain(..) {
            match job.clone().into_stored(self.shared.max_args) {
                Ok(new) => {
                    stored.push(new);
                    receipts.push(receipt);
                }
                Err(error) => receive::refuse(&job, receipt, &error),
            }
        }
        match self.insert_again(stored).await {
            Ok(inserted) => {
                for (inserted, receipt) in inserted.into_iter().zip(receipts) {
                    receive::tell_later(self.handle(inserted), receipt);
                }
            }
            Err(error) => tracing::error!(%error, items = receipts.len(), "items that were received are not stored"),
        }
    }
}

impl QueueWorker {
    /// Ids make a repeated insert safe. Gives up when the store is closed, or does not come back while the worker stops.
    async fn insert_again(&self, jobs: Vec<NewJob>) -> Result<Vec<Inserted>, StoreError> {
        const LAST_TRIES: u32 = 5;
        let backoff = Backoff::exponential(Duration::from_millis(20), 2.0).cap(Duration::from_secs(2)).jitter(0.5);
        let mut tries = 0;
        loop {
            match self.shared.store.insert(jobs.clone()).await {
                Ok(inserted) => return Ok(inserted),
                Err(error) if error.is_closed() => return Err(error),
                Err(error) if tries >= LAST_TRIES && self.shared.stopping.is_cancelled() => return Err(error),
                Err(error) => {
                    tries += 1;
                    let delay = backoff.delay(tries);
                    tracing::warn!(%error, ?delay, "items that were received could not be stored");
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for QueueWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueWorker").field("runner", &self.shared.runner).finish()
    }
}
