//! What is measured in the same way on every store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{Notify, mpsc, oneshot};
use work_core::store::{Inspect, JobFilter, Store};
use work_core::{DEFAULT_MAX_ARGS, Job, JobState, QueueWorker, QueueWorkerBuilder, Router, Worker};

use crate::figure::{BoxError, sorted};
use crate::raw::PAYLOAD;

pub(crate) fn job() -> Job {
    Job::from_json("noop", PAYLOAD)
}

/// The settings of a worker that drains.
pub(crate) type Settings = fn(QueueWorkerBuilder) -> QueueWorkerBuilder;

pub(crate) async fn insert(store: &impl Store, jobs: u64) -> Result<(), BoxError> {
    for _ in 0..jobs / 1_000 {
        let batch = (0..1_000).map(|_| job().into_stored(DEFAULT_MAX_ARGS)).collect::<Result<_, _>>()?;
        store.insert(batch).await?;
    }
    Ok(())
}

/// Counts jobs that ran, and tells when the last has.
#[derive(Clone)]
pub(crate) struct Ran(Arc<(AtomicU64, Notify)>);

impl Ran {
    /// Waits for `jobs` jobs.
    pub(crate) fn new(jobs: u64) -> Self {
        Self(Arc::new((AtomicU64::new(jobs), Notify::new())))
    }

    /// One more.
    pub(crate) fn one(&self) {
        if self.0.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.1.notify_one();
        }
    }

    /// Until the last.
    pub(crate) async fn all(&self) {
        self.0.1.notified().await;
    }
}

/// Runs until `jobs` jobs have run, and stops gracefully, which settles the last.
pub(crate) async fn drain(store: impl Inspect, jobs: u64, settings: Settings) -> Result<(), BoxError> {
    let ran = Ran::new(jobs);
    let counter = ran.clone();
    let handler = move || {
        counter.one();
        std::future::ready(())
    };
    let builder = QueueWorker::builder(store, Router::new().route("noop", handler));
    settings(builder).build()?.run_until(ran.all()).await?;
    Ok(())
}

/// An error unless so many jobs were completed.
pub(crate) async fn check_completed(store: &impl Inspect, jobs: u64) -> Result<(), BoxError> {
    let completed = store.counts(JobFilter::all().state(JobState::Completed)).await?.total();
    if completed == jobs { Ok(()) } else { Err(format!("{completed} of {jobs} jobs were completed").into()) }
}

/// Jobs before those that are timed: connections are opened, and statements planned.
pub(crate) const WARM_UP: usize = 50;

/// Seconds from the call to the start of the handler of an idle worker, in ascending order.
pub(crate) async fn pickups(store: impl Inspect, jobs: usize) -> Result<Vec<f64>, BoxError> {
    let (sender, mut started) = mpsc::channel(1);
    let handler = move || {
        let sender = sender.clone();
        async move { sender.send(Instant::now()).await }
    };
    let worker = QueueWorker::new(store, Router::new().route("noop", handler));
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(worker.clone().run_until(async { drop(stopped.await) }));
    let mut delays = Vec::with_capacity(jobs);
    for _ in 0..WARM_UP + jobs {
        let start = Instant::now();
        let handle = worker.perform(job()).await?;
        delays.push(seconds(start, started.recv().await)?);
        // The worker is idle again once it has reported the end.
        handle.outcome().await?;
    }
    drop(stop);
    running.await??;
    Ok(sorted(delays.split_off(WARM_UP)))
}

/// From the call to the start, which may never have come.
pub(crate) fn seconds(start: Instant, end: Option<Instant>) -> Result<f64, BoxError> {
    let end = end.ok_or("the job never started")?;
    Ok(end.duration_since(start).as_secs_f64())
}
