//! Twenty jobs of all sorts in a process of its own, to be killed at each of its system calls, and what is done after that.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use work_core::store::{Change, Inspect, JobFilter, LeaseKey, Order, Retention, Settle, Settlement, Want};
use work_core::testing::history::{History, RecordedStore, Recorder, Report, What, When, expects, follow_up};
use work_core::{
    Backoff, Chain, Clock, Context, DEFAULT_MAX_ARGS, Job, JobId, Outcome, QueueWorker, RetryPolicy, Router, State,
    Status, Unique, Worker,
};
use work_postgres::{PostgresStore, PostgresStoreBuilder};
use work_sqlite::SqliteStore;

/// Longer than the process lives, however slow it is while it is traced.
const LEASE: Duration = Duration::from_secs(20);

/// The queue of a job that no runner performs, unless the process dies with it.
const BY_HAND: &str = "by-hand";

/// The queue of a job that is to be cancelled.
const LATER: &str = "later";

/// How long the jobs may take that are left.
const DRAIN: Duration = Duration::from_secs(60);

/// What the process is to use: its one argument, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// The store. Its tables are there.
    pub place: Place,
    /// Where the history is written.
    pub history: PathBuf,
}

/// Where the store is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Place {
    /// In a file.
    Sqlite(PathBuf),
    /// On a server, in a schema.
    Postgres {
        /// The server.
        url: String,
        /// The schema.
        schema: String,
    },
}

impl Place {
    /// A new schema on the server for tests; nothing if there is none.
    #[must_use]
    pub fn postgres() -> Option<Self> {
        let url = std::env::var("WORK_TEST_POSTGRES").ok()?;
        Some(Self::Postgres { url, schema: format!("s_{}", JobId::new().as_uuid().simple()) })
    }

    /// Opens it, with a clock of its own if one is given.
    ///
    /// # Panics
    ///
    /// If it cannot be opened.
    pub async fn open(&self, clock: Option<Clock>) -> Arc<dyn Inspect> {
        match self {
            Self::Sqlite(path) => {
                let builder = SqliteStore::builder(path).clock(clock.unwrap_or_default());
                Arc::new(builder.open().await.expect("a store"))
            }
            Self::Postgres { url, schema } => {
                let builder = PostgresStore::builder(url).schema(schema).pool_size(4);
                let builder = clock.into_iter().fold(builder, PostgresStoreBuilder::clock);
                Arc::new(builder.connect().await.expect("a store"))
            }
        }
    }
}

/// The process: makes the jobs, performs them, and ends.
///
/// # Panics
///
/// If it has no orders, or anything goes wrong.
pub fn work() {
    let orders = std::env::args().nth(1).expect("orders");
    let orders: Orders = serde_json::from_str(&orders).expect("orders");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let recorder = orders.recorder();
        let worker = orders.worker(&recorder).await;
        by_hand(worker.store()).await;
        make(&worker).await;
        drain(&worker).await;
    });
}

impl Orders {
    /// Where this process writes.
    ///
    /// # Panics
    ///
    /// If it cannot, as all methods here.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        Recorder::append(&self.history, Clock::system()).expect("a history")
    }

    /// Performs in this process whatever the other one has left, and checks what both have written down.
    pub async fn finish(&self, recorder: &Recorder) -> Report {
        self.rescue().await;
        let worker = self.worker(recorder).await;
        let later = JobFilter::all().queue(LATER);
        worker.store().change_all(Change::Cancel, later, 10).await.expect("cancelled");
        drain(&worker).await;
        let mut after = None;
        loop {
            let page = worker.store().list(JobFilter::all(), Order::default(), after, 500).await.expect("a page");
            recorder.note_since(recorder.now(), page.jobs.iter().map(What::stored)).expect("a history");
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        self.history().check()
    }

    /// Takes back what the other process held, by a clock that is ahead: nobody has to wait until its leases have ended.
    async fn rescue(&self) {
        let ahead = Clock::manual(Clock::system().now() + LEASE * 2);
        self.place.open(Some(ahead)).await.rescue(1_000, 3).await.expect("taken back");
    }

    /// What was written down so far.
    #[must_use]
    pub fn history(&self) -> History {
        History::read([&self.history]).expect("a history")
    }

    async fn worker(&self, recorder: &Recorder) -> QueueWorker {
        let store = RecordedStore::new(self.place.open(None).await, recorder.clone());
        let retry = RetryPolicy::default().backoff(Backoff::constant(Duration::from_millis(20)));
        let worker = QueueWorker::builder(store, router(recorder.clone())).concurrency(4).lease_for(LEASE).retry(retry);
        worker.queues(["default", BY_HAND]).build().expect("settings")
    }
}

/// Progress, a longer lease, and the end of the keeping of a job, as a runner would do it after seconds or days.
async fn by_hand(store: &dyn Inspect) {
    let job = Job::new("plain", ()).queue(BY_HAND).into_stored(DEFAULT_MAX_ARGS).expect("a job");
    store.insert(vec![job]).await.expect("inserted");
    let want = Want { queues: vec![BY_HAND.into()], limit: 1, lease_for: LEASE, ..Want::default() };
    let leased = store.lease(want).await.expect("leased").jobs;
    let keys: Vec<LeaseKey> = leased.iter().map(|lease| lease.key).collect();
    store.extend(keys.clone(), LEASE).await.expect("extended");
    store.set_progress(keys.iter().map(|key| (*key, 0.5)).collect()).await.expect("told");
    let end = |key| {
        let settlement = Settlement::Complete { output: None };
        Settle { key, status: Status::SUCCESS, settlement, error: None, then: Vec::new() }
    };
    store.settle(keys.into_iter().map(end).collect()).await.expect("settled");
    store.prune(Retention::default(), 10).await.expect("pruned");
}

/// By every verb, one after the other.
async fn make(worker: &QueueWorker) {
    let plain = || Job::new("plain", ());
    for _ in 0..3 {
        worker.perform(plain()).await.expect("accepted");
    }
    worker.perform_many((0..5).map(|_| plain()).collect::<Vec<_>>()).await.expect("accepted");
    for _ in 0..2 {
        worker.perform(plain().unique(Unique::new("one"))).await.expect("accepted, or known");
    }
    worker.perform(Job::new("flaky", ())).await.expect("accepted");
    let doomed = expects(Job::new("doomed", ()), "on-error", When::Discarded);
    let on_error = follow_up(plain(), doomed.id(), "on-error");
    worker.perform(doomed.on_error(on_error)).await.expect("accepted");
    let makes = expects(expects(Job::new("makes", ()), "left", When::Completed), "right", When::Completed);
    worker.perform(makes).await.expect("accepted");
    let first = expects(plain(), "second", When::Completed);
    let second = expects(follow_up(Job::new("flaky", ()), first.id(), "second"), "third", When::Completed);
    let third = follow_up(plain(), second.id(), "third");
    worker.perform_chain(Chain::new(first).then(second).then(third)).await.expect("accepted");
    let later = worker.perform_in(plain().queue(LATER), Duration::from_secs(3600)).await.expect("accepted");
    worker.cancel(later.id()).await.expect("cancelled");
}

async fn drain(worker: &QueueWorker) {
    let drained = async {
        let drained = tokio::time::timeout(DRAIN, async {
            // Twice in a row, so that what comes too late to what it follows is seen as that.
            let mut quiet = 0;
            while quiet < 2 {
                let open = worker.store().counts(JobFilter::all()).await.expect("counts").open();
                quiet = if open == 0 { quiet + 1 } else { 0 };
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        });
        drained.await.expect("every job ends");
    };
    worker.clone().run_until(drained).await.expect("a runner");
}

fn router(recorder: Recorder) -> Router {
    Router::new()
        .route("plain", async |State(recorder): State<Recorder>, context: Context| {
            note(&recorder, &context);
        })
        .route("flaky", async |State(recorder): State<Recorder>, context: Context| {
            note(&recorder, &context);
            if context.attempt() == 1 { Status::UNAVAILABLE } else { Status::SUCCESS }
        })
        .route("doomed", async |State(recorder): State<Recorder>, context: Context| {
            note(&recorder, &context);
            Outcome::discard("doomed")
        })
        .route("makes", async |State(recorder): State<Recorder>, context: Context| {
            let job = note(&recorder, &context);
            let follows = |name| follow_up(Job::new("plain", ()), job, name);
            Outcome::done().then(follows("left")).then(follows("right"))
        })
        .with_state(recorder)
}

/// A handler that begins, does what it is there for, and returns.
fn note(recorder: &Recorder, context: &Context) -> JobId {
    let (job, fence) = (context.job_id().expect("a job"), context.fence().expect("a lease").0);
    for what in [
        What::Started { job, fence, attempt: context.attempt() },
        What::Effect { job, fence },
        What::Returned { job, fence },
    ] {
        recorder.note(what).expect("a history");
    }
    job
}
