mod look;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;
use work_core::limit::Rate;
use work_core::store::{
    BoxFuture, CancelOutcome, Fired, Firing, Inserted, LeaseKey, Leased, NewJob, Rescued, Retention, Settle, Settled,
    Store, StoredSchedule, Want, WorkerInfo, check_limit, check_rate,
};
use work_core::{Clock, DEFAULT_MAX_ARGS, JobId, Queue, StoreError};

use crate::arrivals::Arrivals;
use crate::capacity::Rooms;
use crate::error::OpenError;
use crate::prune::{Sweep, Swept};
use crate::thread::{self, Call, Sender};
use crate::{SqliteStoreBuilder, change, insert, lease, prune, queues, rates, schedules, settle, workers};

/// Jobs in an SQLite file. Cheap to clone; the file is closed when the last clone is gone.
///
/// ```
/// use work_core::{Job, Store};
/// use work_sqlite::SqliteStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let store = SqliteStore::open(dir.path().join("jobs.db")).await?;
/// let inserted = store.insert(vec![Job::new("greet", "Ann").into_stored(1024)?]).await?;
/// assert_eq!(inserted.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteStore {
    writer: Sender,
    /// For one job, which somebody waits for.
    reader: Sender,
    /// For many, which takes a while.
    lister: Sender,
    shared: Arc<Shared>,
    path: PathBuf,
}

/// What the threads and the callers share.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) max_args: usize,
    pub(crate) arrivals: Arrivals,
    pub(crate) rooms: Rooms,
    /// The last row that was looked at for being old.
    swept: AtomicI64,
    /// Rows and entries of indexes that were read for people.
    read: AtomicU64,
}

impl Shared {
    fn new(clock: Clock, max_args: usize) -> Self {
        let (arrivals, rooms, swept) = (Arrivals::new(), Rooms::default(), AtomicI64::new(i64::MIN));
        Self { clock, max_args, arrivals, rooms, swept, read: AtomicU64::new(0) }
    }

    /// For the transactions of others: whoever waits for jobs looks at the file.
    pub(crate) fn of_nobody() -> Self {
        Self::new(Clock::system(), DEFAULT_MAX_ARGS)
    }

    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    pub(crate) fn has_read(&self, rows: usize) {
        self.read.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(crate) fn made_available(&self) {
        self.arrivals.made_available();
    }
}

impl SqliteStore {
    /// The version of the tables that this program knows: a file of an earlier one is brought up to date when it is opened,
    /// a file of a later one is refused.
    pub const SCHEMA_VERSION: i64 = crate::migrate::VERSION;

    /// Opens a file with the default settings; it is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is wrong with the path, the file or its settings.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        Self::builder(path).open().await
    }

    /// Opens a file with settings.
    pub fn builder(path: impl Into<PathBuf>) -> SqliteStoreBuilder {
        SqliteStoreBuilder::new(path.into())
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// How many rows and entries of indexes this store has read for people: for lists, counts, queues, workers and single
    /// jobs. What workers read is not counted.
    #[must_use]
    pub fn rows_read(&self) -> u64 {
        self.shared.read.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) const fn reader(&self) -> &Sender {
        &self.reader
    }

    pub(crate) async fn start(settings: SqliteStoreBuilder) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::new(settings.clock.clone(), settings.max_args));
        let path = settings.path.clone();
        let writer = thread::writer(settings.clone(), shared.clone()).await?;
        let reader = thread::reader(settings.clone(), shared.clone()).await?;
        let lister = thread::reader(settings, shared.clone()).await?;
        Ok(Self { writer, reader, lister, shared, path })
    }

    pub(crate) fn write<I: Send + 'static, A: Send + 'static>(
        &self,
        rows: usize,
        input: I,
        run: fn(&Connection, &Shared, &I) -> rusqlite::Result<A>,
    ) -> BoxFuture<'_, Result<A, StoreError>> {
        call(&self.writer, rows, input, run)
    }
}

/// Hands a request to a thread and waits for its answer. Dropping the future before the hand-over does nothing at
/// all, after it loses only the answer.
pub(crate) fn call<I: Send + 'static, A: Send + 'static>(
    thread: &Sender,
    rows: usize,
    input: I,
    run: fn(&Connection, &Shared, &I) -> rusqlite::Result<A>,
) -> BoxFuture<'_, Result<A, StoreError>> {
    Box::pin(async move {
        let (reply, answer) = oneshot::channel();
        let request = Box::new(Call { input, rows, run, answer: None, reply });
        thread.send(request).await.map_err(|_| StoreError::closed())?;
        answer.await.map_err(|error| StoreError::unknown("the thread of the store went away", error))?
    })
}

impl Store for SqliteStore {
    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        if let Err(error) = jobs.iter().try_for_each(|job| insert::check(job, self.shared.max_args)) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let answers = self.write(jobs.len(), jobs, |connection, shared, jobs| insert::accept(connection, shared, jobs));
        Box::pin(async move { Ok(answers.await??) })
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        self.write(want.limit, want, lease::lease)
    }

    fn extend(&self, leases: Vec<LeaseKey>, lease_for: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        self.write(leases.len(), (leases, lease_for), change::extend)
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        self.write(done.len(), done, |connection, shared, done| settle::settle(connection, shared, done))
    }

    fn completed(&self, leases: Vec<LeaseKey>) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        call(&self.reader, leases.len(), leases, settle::completed)
    }

    fn rescue(&self, limit: usize, max_crashes: u32) -> BoxFuture<'_, Result<Rescued, StoreError>> {
        self.write(limit, (limit, max_crashes), change::rescue)
    }

    fn take_back(&self, worker: String, held: Vec<LeaseKey>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.write(held.len(), (worker, held), change::take_back)
    }

    fn cancel(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<CancelOutcome>, StoreError>> {
        self.write(ids.len(), ids, |connection, shared, ids| change::cancel(connection, shared, ids))
    }

    fn stop_requests(&self) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        call(&self.reader, 1, (), workers::stop_requests)
    }

    fn set_progress(&self, of: Vec<(LeaseKey, f32)>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(of.len(), of, |connection, shared, of| workers::set_progress(connection, shared, of))
    }

    fn beat(&self, worker: WorkerInfo) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(1, worker, workers::beat)
    }

    fn leave(&self, worker: String) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(1, worker, workers::leave)
    }

    fn prune(&self, retention: Retention, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        /// Jobs that are forgotten in one transaction, so that nobody waits long behind it.
        const AT_ONCE: usize = 500;
        Box::pin(async move {
            let mut forgotten = 0;
            while forgotten < limit as u64 {
                let after = self.shared.swept.load(Ordering::Relaxed);
                let left = limit - usize::try_from(forgotten).unwrap_or(limit);
                let sweep = Sweep { retention, after, limit: left.min(AT_ONCE) };
                let Swept { rows, next } = call(&self.lister, 1, sweep, prune::sweep).await?;
                if !rows.is_empty() {
                    forgotten += self.write(rows.len(), (retention, rows), prune::forget).await?;
                }
                self.shared.swept.store(next.unwrap_or(i64::MIN), Ordering::Relaxed);
                if next.is_none() {
                    break;
                }
            }
            Ok(forgotten)
        })
    }

    fn declare_limit(&self, queue: Queue, at_most: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        match check_limit(&queue, Some(at_most)) {
            Ok(()) => self.write(1, (queue, at_most), queues::declare),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn declare_rate(&self, queue: Queue, rate: Rate) -> BoxFuture<'_, Result<Rate, StoreError>> {
        match check_rate(&queue, Some(&rate)) {
            Ok(()) => self.write(1, (queue, rate), rates::declare),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn put_schedule(&self, schedule: StoredSchedule) -> BoxFuture<'_, Result<(), StoreError>> {
        match insert::check(&schedule.job, self.shared.max_args) {
            Ok(()) => self.write(1, schedule, schedules::put),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn schedules(&self) -> BoxFuture<'_, Result<Vec<StoredSchedule>, StoreError>> {
        call(&self.reader, 1, (), schedules::schedules)
    }

    fn fire(&self, due: Vec<Firing>) -> BoxFuture<'_, Result<Vec<Fired>, StoreError>> {
        self.write(due.len(), due, |connection, shared, due| schedules::fire(connection, shared, due))
    }

    fn ready<'a>(&'a self, _: &'a [Queue]) -> BoxFuture<'a, ()> {
        Box::pin(self.shared.arrivals.arrival())
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}
