//! On disk: the store and the worker against raw SQLite doing the same work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use work_core::store::{Inspect, JobFilter, Store};
use work_core::{DEFAULT_MAX_ARGS, Job, JobState, QueueWorker, Router, Worker};
use work_sqlite::SqliteStore;

use crate::figure::{BoxError, Pairs, Timed, runtime, time};
use crate::raw::{self, PAYLOAD};

fn job() -> Job {
    Job::from_json("noop", PAYLOAD)
}

/// On the disk that builds are on: a file system in memory has nothing to flush.
fn folder() -> Result<TempDir, BoxError> {
    Ok(tempfile::tempdir_in(std::env::current_dir()?.join("target"))?)
}

async fn worker(dir: &TempDir) -> Result<QueueWorker, BoxError> {
    let store = SqliteStore::open(dir.path().join("jobs.db")).await?;
    Ok(QueueWorker::new(store, Router::new().route("noop", async || {})))
}

const CALLERS: u64 = 256;

pub(crate) fn perform_256() -> Result<Pairs, BoxError> {
    const EACH: u64 = 800;
    let ours = || {
        let (dir, runtime) = (folder()?, runtime()?);
        let worker = runtime.block_on(worker(&dir))?;
        time(CALLERS * EACH, || {
            runtime.block_on(callers(move || {
                let worker = worker.clone();
                async move {
                    for _ in 0..EACH {
                        drop(worker.perform(job()).await?);
                    }
                    Ok(())
                }
            }))
        })
    };
    let raw = || {
        let (dir, runtime) = (folder()?, runtime()?);
        let writer = raw::group_commit(raw::open(&dir.path().join("raw.db"))?);
        time(CALLERS * EACH, || {
            runtime.block_on(callers(move || {
                let writer = writer.clone();
                async move {
                    for _ in 0..EACH {
                        let (reply, answer) = oneshot::channel();
                        writer.send(reply).await?;
                        answer.await?;
                    }
                    Ok(())
                }
            }))
        })
    };
    Pairs::measure(ours, raw)
}

async fn callers<F>(call: impl Fn() -> F) -> Result<(), BoxError>
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let callers: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(call())).collect();
    for caller in callers {
        caller.await??;
    }
    Ok(())
}

pub(crate) fn drain() -> Result<Pairs, BoxError> {
    const JOBS: u64 = 200_000;
    let raw = || {
        let dir = folder()?;
        let connection = raw::open(&dir.path().join("raw.db"))?;
        raw::insert_batches(&connection, JOBS, 1_000)?;
        time(JOBS, || raw::drain(&connection).map(drop))
    };
    Pairs::measure(|| drained(JOBS, 1), raw)
}

pub(crate) fn backlog() -> Result<Pairs, BoxError> {
    Pairs::measure(|| drained(1_000, 20), || drained(100_000, 1))
}

/// Drains `jobs` jobs `times` times, each from a backlog of its own. The clock stops when the last end is committed.
fn drained(jobs: u64, times: u64) -> Result<Timed, BoxError> {
    let (dir, runtime) = (folder()?, runtime()?);
    let store = runtime.block_on(SqliteStore::open(dir.path().join("jobs.db")))?;
    let (mut rates, mut total) = (0.0, 0);
    for _ in 0..times {
        runtime.block_on(insert(&store, jobs))?;
        let timed = time(jobs, || runtime.block_on(run(&store, jobs)))?;
        rates += timed.seconds(jobs);
        total += jobs;
    }
    let filter = JobFilter { state: Some(JobState::Completed), ..JobFilter::default() };
    let completed = runtime.block_on(store.counts(filter))?.total();
    if completed != total {
        return Err(format!("{completed} of {total} jobs were completed").into());
    }
    Ok(Timed::of(total, rates))
}

async fn insert(store: &SqliteStore, jobs: u64) -> Result<(), BoxError> {
    for _ in 0..jobs / 1_000 {
        let batch = (0..1_000).map(|_| job().into_stored(DEFAULT_MAX_ARGS)).collect::<Result<_, _>>()?;
        store.insert(batch).await?;
    }
    Ok(())
}

/// Runs with default settings until `jobs` jobs have run, and stops gracefully, which settles the last.
async fn run(store: &SqliteStore, jobs: u64) -> Result<(), BoxError> {
    let ran = Arc::new((AtomicU64::new(0), Notify::new()));
    let counter = ran.clone();
    let handler = move || {
        if counter.0.fetch_add(1, Ordering::Relaxed) + 1 == jobs {
            counter.1.notify_one();
        }
        std::future::ready(())
    };
    let worker = QueueWorker::new(store.clone(), Router::new().route("noop", handler));
    worker.run_until(async { ran.1.notified().await }).await?;
    Ok(())
}

pub(crate) fn bulk() -> Result<Pairs, BoxError> {
    const JOBS: u64 = 100_000;
    let ours = || {
        let (dir, runtime) = (folder()?, runtime()?);
        let worker = runtime.block_on(worker(&dir))?;
        time(JOBS, || {
            runtime.block_on(async {
                for _ in 0..JOBS / 1_000 {
                    drop(worker.perform_many((0..1_000).map(|_| job())).await?);
                }
                Ok(())
            })
        })
    };
    let raw = || {
        let dir = folder()?;
        let connection = raw::open(&dir.path().join("raw.db"))?;
        time(JOBS, || raw::insert_batches(&connection, JOBS, 1_000))
    };
    Pairs::measure(ours, raw)
}
