use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::sleep;
use work_core::runner::Queues;
use work_core::testing::history::{RecordedStore, Recorder};
use work_core::{Backoff, CatchUp, Clock, JobId, Overlap, Queue, QueueWorker, RetryPolicy, Schedule};

use super::at::At;
use super::handlers::{Shared, router, task};
use super::limit::Limit;
use super::mix::Mix;
use crate::Chance;

/// What a worker process is to do: its one argument, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// The store.
    pub at: At,
    /// Where the history is written.
    pub history: PathBuf,
    /// How long leases last.
    pub lease_for: Duration,
    /// How long jobs may go on when it stops.
    pub grace: Duration,
    /// How many jobs run at once.
    pub concurrency: usize,
    /// Schedules to keep: their intervals. Each is named after its interval.
    pub schedules: Vec<Duration>,
    /// It makes jobs itself as well, by chance out of this seed.
    pub makes: Option<u64>,
    /// Queues beside the default one.
    pub limits: Vec<Limit>,
}

/// What a worker process says when it has stopped, as JSON on its standard output.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Said {
    /// Attempts that were recorded.
    pub performed: u64,
    /// Ends that were refused.
    pub stale: u64,
    /// Jobs that were told to stop.
    pub interrupted: Vec<JobId>,
    /// Jobs that did not stop.
    pub left: Vec<JobId>,
    /// The metrics, as Prometheus reads them.
    pub metrics: String,
}

/// The worker process: works until its standard input ends.
///
/// # Panics
///
/// If it has no orders, or no store.
pub fn work() {
    let orders = std::env::args().nth(1).expect("orders");
    let orders: Orders = serde_json::from_str(&orders).expect("orders");
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_max_level(level()).init();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
    let said = runtime.block_on(run(orders));
    println!("{}", serde_json::to_string(&said).expect("JSON"));
    // A handler that holds a thread does not hold the process.
    runtime.shutdown_background();
}

fn level() -> tracing_subscriber::filter::LevelFilter {
    let level = std::env::var("WORK_TEST_LOG").ok().and_then(|level| level.parse().ok());
    level.unwrap_or(tracing_subscriber::filter::LevelFilter::WARN)
}

async fn run(orders: Orders) -> Said {
    let metrics = work_adapters::prometheus::install().expect("a recorder");
    let worker = worker(&orders).await;
    for interval in orders.schedules {
        let schedule = Schedule::every(interval).expect("an interval").overlap(Overlap::Allow);
        let schedule = schedule.catch_up(CatchUp::All { max: 1_000 });
        let kept = worker.schedule(format!("every-{}", interval.as_millis()), task("plain", 5), schedule).await;
        kept.expect("a schedule");
    }
    if let Some(seed) = orders.makes {
        tokio::spawn(make(worker.clone(), seed));
    }
    let report = worker.run_until(end_of_input()).await.expect("a runner");
    let ids = |jobs: Vec<(JobId, work_core::Kind)>| jobs.into_iter().map(|(id, _)| id).collect();
    Said {
        performed: report.performed,
        stale: report.stale,
        interrupted: ids(report.interrupted),
        left: ids(report.left),
        metrics: metrics.render(),
    }
}

/// Makes jobs all the time, a few at once. What the store does not take is not offered again.
async fn make(worker: QueueWorker, seed: u64) {
    let mut chance = Chance::new(seed);
    let mut mix = Mix::new(chance.clone());
    loop {
        let few = 1 + chance.below(6) as usize;
        drop(mix.perform(&worker, few).await);
        sleep(chance.between(Duration::ZERO, Duration::from_millis(40))).await;
    }
}

/// A worker whose store and handlers write the history.
pub(super) async fn worker(orders: &Orders) -> QueueWorker {
    let recorder = Recorder::append(&orders.history, Clock::system()).expect("a history");
    let (store, ledger) = orders.at.open_with_ledger().await.expect("a store");
    let shared = Shared { recorder: recorder.clone(), worker: Arc::default(), ledger };
    let retry = RetryPolicy::default().backoff(Backoff::constant(Duration::from_millis(100)).jitter(0.5));
    let mut worker = QueueWorker::builder(RecordedStore::new(store, recorder), router(shared.clone()))
        .concurrency(orders.concurrency)
        .lease_for(orders.lease_for)
        .grace(orders.grace)
        .retry(retry);
    if !orders.limits.is_empty() {
        let names = orders.limits.iter().map(|limit| Queue::from(limit.queue().to_owned())).chain([Queue::DEFAULT]);
        let queues = Queues::weighted(names.map(|name| (name, 1)));
        worker = worker.queues(orders.limits.iter().fold(queues, |queues, limit| limit.on(queues)));
    }
    let worker = worker.build().expect("settings");
    drop(shared.worker.set(worker.clone()));
    worker
}

async fn end_of_input() {
    let (ended, end) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        drop(ended);
    });
    drop(end.await);
}
