//! Drains queues: leases jobs, performs them, settles them.
//!
//! Four loops share a board and nothing else. None of them ends by an error: a job that cannot be performed is an
//! outcome, and a store that fails is waited for.
//!
//! | loop | does |
//! |---|---|
//! | `fetch` | takes a batch of leases as soon as there is room for some |
//! | `execute` | performs each job and decides what becomes of it |
//! | `settle` | reports everything that ended while the report before it was under way |
//! | `keep` | on a thread of its own: extends the leases, takes back what others lost, hears who is to stop, forgets |

mod admission;
mod board;
mod execute;
#[cfg(test)]
mod explored;
mod fetch;
mod gate;
mod groups;
mod keep;
mod queues;
mod ramp;
mod schedules;
mod settle;
mod slots;
mod turns;
mod upkeep;
mod wind_down;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use admission::Admission;
use board::Board;
pub(crate) use board::Waiters;

use crate::pool::{self, Pool};
use futures_util::future::{Either, select};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::compose::MAX_RESERVED;
use crate::limit::{Adapts, Gradient, Limit};
use crate::router::Routes;
use crate::store::{BoxFuture, Inspect, Retention};
use crate::worker::check_range;
use crate::{
    Backoff, Clock, DEFAULT_MAX_OUTPUT, InvalidJob, JobId, Kind, Queue, RetryPolicy, Router, Store, StoreError,
};

use crate::sync;
use execute::Leases;
pub(crate) use gate::{Gate, Others};
pub use queues::{InvalidQueues, Queues};
pub use ramp::Ramp;

/// The longest lease.
const MAX_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest step of aging.
const MAX_AGING: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Drains queues of a store with the handlers of a router. Made by [`Runner::new`], changed by its setters.
///
/// ```
/// use std::sync::Arc;
/// use work_core::{Job, Router, Store, runner::Runner, store::{Inspect, JobFilter, MemoryStore}};
///
/// async fn greet() {}
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let store = Arc::new(MemoryStore::new());
/// store.insert(vec![Job::new("greet", ()).into_stored(1024)?]).await?;
///
/// let empty = async {
///     while store.counts(JobFilter::default()).await.is_ok_and(|counts| counts.open() > 0) {
///         tokio::time::sleep(std::time::Duration::from_millis(1)).await;
///     }
/// };
/// let report = Runner::new(store.clone(), Router::new().route("greet", greet)).run_until(empty).await?;
/// assert_eq!(report.performed, 1);
/// assert!(report.left.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a runner does nothing until it is run"]
pub struct Runner {
    store: Arc<dyn Store>,
    routes: Routes,
    settings: Settings,
    waiters: Arc<Waiters>,
    hurry: CancellationToken,
    cancelled: Arc<Notify>,
    inspect: Option<Arc<dyn Inspect>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    queues: Queues,
    concurrency: usize,
    lease_for: Duration,
    grace: Duration,
    max_crashes: u32,
    retry: RetryPolicy,
    clock: Clock,
    timings: bool,
    ramp: Option<Ramp>,
    aging: Option<Duration>,
    retention: Retention,
    max_output: usize,
    gate: Option<Gate>,
    admission: Option<Arc<Admission>>,
    gradient: Option<Gradient>,
    /// Everything is done on the caller's runtime.
    is_simulated: bool,
    /// The version of the program.
    version: String,
    /// Who we are, for people who look at a lease. Each run has a name of its own.
    worker: String,
}

/// What a runner did, and what it could not end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Attempts that ended and were recorded. Those whose report had to be repeated, since an answer of the store was lost,
    /// are only counted if the repetition was the one that counts.
    pub performed: u64,
    /// Attempts whose lease had passed to someone else by the time they ended; nothing of them was recorded.
    pub stale: u64,
    /// Jobs that were given back, unstarted or interrupted, with their attempt.
    pub released: u64,
    /// Jobs that still ran when the grace was over, and were told to stop.
    pub interrupted: Vec<(JobId, Kind)>,
    /// Jobs that did not stop when they were told to: they still hold a thread, and were given back all the same.
    pub left: Vec<(JobId, Kind)>,
}

impl Settings {
    /// How many jobs run at once, as it stands.
    fn slots(&self) -> usize {
        self.gradient.as_ref().map_or(self.concurrency, Gradient::slots)
    }
}

impl Runner {
    /// A runner of the queue `default` with default settings.
    pub fn new(store: Arc<dyn Store>, router: Router) -> Self {
        let settings = Settings {
            queues: Queues::default(),
            concurrency: 100,
            lease_for: Duration::from_secs(30),
            grace: Duration::from_secs(25),
            max_crashes: 3,
            retry: RetryPolicy::default(),
            clock: Clock::system(),
            timings: false,
            ramp: None,
            aging: None,
            retention: Retention::default(),
            max_output: DEFAULT_MAX_OUTPUT,
            gate: None,
            admission: None,
            gradient: None,
            is_simulated: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            worker: String::new(),
        };
        let routes = router.into_routes();
        let (waiters, hurry, cancelled) = (Arc::default(), CancellationToken::new(), Arc::default());
        Self { store, routes, settings, waiters, hurry, cancelled, inspect: None }
    }

    /// The queues to drain: a list of names, the first one first, or [`Queues`] with weights and limits.
    pub fn queues(mut self, queues: impl Into<Queues>) -> Self {
        self.settings.queues = queues.into();
        self
    }

    /// Lets a job's priority rise with the time that it waits, by one for each `step`, so that no priority starves; off by
    /// default. A job starts before one of a smaller priority number if it has been due longer by more than `step` for each
    /// number between them. 1 ms to 365 days; each runner goes by its own.
    pub const fn aging(mut self, step: Duration) -> Self {
        self.settings.aging = Some(step);
        self
    }

    /// How many jobs run at once, 1 to 1,000,000; by default 100.
    pub const fn concurrency(mut self, jobs: usize) -> Self {
        self.settings.concurrency = jobs;
        self
    }

    /// How long a lease lasts without being extended: how soon others take over when this process dies. 100 ms to a
    /// day; by default 30 s. It is extended every third of that, from a thread that no handler can block.
    pub const fn lease_for(mut self, time: Duration) -> Self {
        self.settings.lease_for = time;
        self
    }

    /// How long running jobs may go on after the shutdown began; by default 25 s.
    pub const fn grace(mut self, time: Duration) -> Self {
        self.settings.grace = time;
        self
    }

    /// How many attempts may end without a report before the job is a dead letter; by default 3.
    pub const fn max_crashes(mut self, attempts: u32) -> Self {
        self.settings.max_crashes = attempts;
        self
    }

    /// How long jobs are kept after they have ended; by default a day, and dead letters 7 days. Those that are older are
    /// deleted in small batches, a few seconds after the start and then about once a minute.
    pub const fn retention(mut self, keep: Retention) -> Self {
        self.settings.retention = keep;
        self
    }

    /// How many bytes of JSON a job may return, at most 16 MiB; by default 1 MiB.
    ///
    /// A job that returns more is a dead letter that says so, with status 500. What its handler did has been done: it is not
    /// performed again by itself, since it would return as much.
    pub const fn max_output(mut self, bytes: usize) -> Self {
        self.settings.max_output = bytes;
        self
    }

    /// The version of your program, for people who look at the [workers](crate::store::Inspect::workers) of a store; by
    /// default that of this library.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.settings.version = version.into();
        self
    }

    /// What becomes of a job after an attempt.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.settings.retry = policy;
        self
    }

    /// What says "now" when the next attempt is scheduled.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Takes the times of each execution, for [`Context::timings`](crate::Context::timings).
    pub const fn timings(mut self) -> Self {
        self.settings.timings = true;
        self
    }

    /// Starts with one job at a time, and gradually runs more; by default all slots are there at once.
    pub fn ramp(mut self, ramp: Ramp) -> Self {
        self.settings.ramp = Some(ramp);
        self
    }

    /// How often jobs may start here; by default as often as there are slots. A job that has to wait for its permit is not
    /// leased: it costs no lease and no attempt, and other runners may have it. A handler that ends with 429 or 503 and says
    /// when to come again stops the whole runner until then.
    ///
    /// It counts in this process: an `Arc` of one limit may be given to several runners. For a limit of all processes see
    /// [`Queues::rate_everywhere`].
    pub fn limit(mut self, limit: impl Limit + 'static) -> Self {
        self.settings.admission = Some(Arc::new(Admission::fixed(limit)));
        self
    }

    /// As [`limit`](Self::limit), with one that learns from how the attempts end: 429 and 503 are refusals, and what ends well
    /// was accepted. Give it an `Arc` and keep a clone, to see its [rate](Adapts::rate).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use work_core::limit::{Adaptive, Adapts};
    /// use work_core::{Router, runner::Runner, store::MemoryStore};
    ///
    /// let limit = Arc::new(Adaptive::new(100.0, 1.0, 10_000.0)?);
    /// let runner = Runner::new(Arc::new(MemoryStore::new()), Router::new()).adaptive(limit.clone());
    /// assert!(runner.validate().is_ok());
    /// assert_eq!(limit.rate(), 100.0);
    /// # Ok::<(), work_core::limit::InvalidLimit>(())
    /// ```
    pub fn adaptive(mut self, limit: impl Adapts + 'static) -> Self {
        self.settings.admission = Some(Arc::new(Admission::adaptive(limit)));
        self
    }

    /// Lets as many jobs run at once as the other side takes before they get slower, within the bounds of the rule, instead of
    /// as many as [`concurrency`](Self::concurrency) says; off by default. A job that has to wait is not leased, but for those
    /// that are leased ahead while jobs are short. Keep a clone, to see its [slots](Gradient::slots).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use work_core::limit::Gradient;
    /// use work_core::{Router, runner::Runner, store::MemoryStore};
    ///
    /// let slots = Gradient::new(2, 100)?;
    /// let runner = Runner::new(Arc::new(MemoryStore::new()), Router::new()).concurrency_by_latency(slots.clone());
    /// assert!(runner.validate().is_ok());
    /// assert_eq!(slots.slots(), 2);
    /// # Ok::<(), work_core::limit::InvalidLimit>(())
    /// ```
    pub fn concurrency_by_latency(mut self, rule: Gradient) -> Self {
        self.settings.gradient = Some(rule);
        self
    }

    /// Starts no thread: leases are extended by a task, so that they follow the time of a test that pauses it, and what
    /// happens follows from a seed. A handler that blocks makes leases late then, so this is for simulations alone.
    #[cfg(feature = "testing")]
    pub const fn simulated(mut self) -> Self {
        self.settings.is_simulated = true;
        self
    }

    /// Leases only what this leaves room for.
    pub(crate) fn gate(mut self, gate: Gate) -> Self {
        self.settings.gate = Some(gate);
        self
    }

    pub(crate) const fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Whoever cancels this ends the grace at once.
    pub(crate) fn hurry(mut self, hurry: CancellationToken) -> Self {
        self.hurry = hurry;
        self
    }

    /// To look at the jobs of groups with.
    pub(crate) fn inspect(mut self, store: Arc<dyn Inspect>) -> Self {
        self.inspect = Some(store);
        self
    }

    pub(crate) fn waiters(mut self, waiters: Arc<Waiters>) -> Self {
        self.waiters = waiters;
        self
    }

    /// Wakes every run of this, and one that is just not listening.
    pub(crate) fn tell_of_cancel(&self) {
        self.cancelled.notify_waiters();
        self.cancelled.notify_one();
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`InvalidJob`] names the setting that is out of its range, or the queue whose name is no name.
    pub fn validate(&self) -> Result<(), InvalidJob> {
        let settings = &self.settings;
        check_range("concurrency", settings.concurrency)?;
        if !(Duration::from_millis(100)..=MAX_LEASE).contains(&settings.lease_for) {
            let given = format!("{:?}", settings.lease_for);
            return Err(InvalidJob::out_of_range("lease_for", given, "at least 100 ms, at most a day"));
        }
        if settings.max_output > MAX_RESERVED {
            return Err(InvalidJob::out_of_range("max_output", settings.max_output, "at most 16777216 bytes"));
        }
        if let Some(step) = settings.aging
            && !(Duration::from_millis(1)..=MAX_AGING).contains(&step)
        {
            return Err(InvalidJob::out_of_range("aging", format!("{step:?}"), "1 ms to 365 days"));
        }
        if settings.ramp.is_some() && settings.gradient.is_some() {
            let why = "one of the two: concurrency by latency begins with few jobs itself";
            return Err(InvalidJob::out_of_range("ramp", "beside concurrency by latency", why));
        }
        Ok(settings.queues.validate()?)
    }

    /// Drains the queues until `shutdown` resolves, and then stops gracefully: leases nothing more, gives back what
    /// has not started, lets running jobs end within the [grace](Self::grace), cancels the rest and gives them back.
    ///
    /// # Errors
    ///
    /// [`InvalidJob`] if a setting is out of its range, or if a queue is to have
    /// [another limit](Queues::at_most_everywhere) than the store keeps; nothing was run then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops without any of that: leases end by themselves, and the jobs run again elsewhere.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<Report, InvalidJob> {
        self.validate()?;
        let Self { store, routes, mut settings, waiters, hurry, cancelled, inspect } = self;
        settings.worker = name_of_run();
        let mut shutdown = pin!(shutdown);
        if let Either::Left((declared, _)) = select(pin!(declare(&*store, &settings.queues)), &mut shutdown).await {
            declared?;
        } else {
            return Ok(Report::default());
        }
        let board = Arc::new(Board::new(store, settings, waiters, cancelled, inspect));
        let ramp = board.settings.ramp.clone();
        let concurrency = if ramp.is_some() { 1 } else { board.settings.slots() };
        let pool = Pool::new(Leases::new(board.clone(), routes), (), concurrency);
        let keeper = keep::Keeper::start(board.clone());
        let settler = tokio::spawn(settle::run(board.clone()));
        let fetcher = tokio::spawn(fetch::run(board.clone(), pool.clone()));
        if let Some(ramp) = ramp {
            tokio::spawn(ramp::run(ramp, board.clone(), pool.clone()));
        }
        if board.settings.gradient.is_some() {
            tokio::spawn(slots::follow(board.clone(), pool.clone()));
        }
        // However this future ends, the loops end with it.
        let _end = board.stopping.clone().drop_guard();
        let _end_settling = board.closed.clone().drop_guard();

        shutdown.await;
        board.stopping.cancel();
        let _ = fetcher.await;
        wind_down::run(&board, &pool, &hurry).await;
        board.closed.cancel();
        let _ = settler.await;
        keeper.stop().await;
        Ok(board.report())
    }
}

/// Says to the store which limits hold everywhere. It is waited for.
async fn declare(store: &dyn Store, queues: &Queues) -> Result<(), InvalidQueues> {
    for (queue, given) in queues.declared() {
        let kept = until_done(queue, || store.declare_limit(queue.clone(), given)).await;
        if kept != given {
            return Err(InvalidQueues::OtherLimit { queue: queue.clone(), given, kept });
        }
    }
    for (queue, given) in queues.rates() {
        let kept = until_done(queue, || store.declare_rate(queue.clone(), given.clone())).await;
        if kept != *given {
            let (given, kept) = (Box::new(given.clone()), Box::new(kept));
            return Err(InvalidQueues::OtherRate { queue: queue.clone(), given, kept });
        }
    }
    Ok(())
}

async fn until_done<'s, T>(queue: &Queue, call: impl Fn() -> BoxFuture<'s, Result<T, StoreError>>) -> T {
    let backoff = Backoff::exponential(Duration::from_millis(50), 2.0).cap(Duration::from_secs(5)).jitter(0.5);
    let mut failures = 0;
    loop {
        match call().await {
            Ok(kept) => return kept,
            Err(error) => {
                failures += 1;
                let delay = backoff.delay(failures);
                tracing::warn!(%error, ?delay, %queue, "the limit of a queue could not be declared");
                tokio::time::sleep(delay).await;
            }
        }
    }
}

/// Machine, process, and what no other run has.
fn name_of_run() -> String {
    let unique = crate::JobId::new().as_uuid().simple().to_string();
    format!("{}:{}:{}", host(), std::process::id(), &unique[unique.len() - 8..])
}

/// The name of this machine, as far as a file or the environment tells.
fn host() -> String {
    let file =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    let name = file.ok().or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "unknown".to_owned())
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("settings", &self.settings).finish_non_exhaustive()
    }
}
