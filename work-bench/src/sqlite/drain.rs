use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use work_core::store::{Inspect, JobFilter, Store};
use work_core::{DEFAULT_MAX_ARGS, JobState, QueueWorker, QueueWorkerBuilder, Router};
use work_sqlite::SqliteStore;

use super::job;
use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};
use crate::place::Place;
use crate::raw;

pub(crate) const DRAIN: Bench = Bench {
    name: "sqlite_drain",
    what: "200,000 jobs drained, with default settings and with a concurrency of 1,000, against raw claim+complete",
    run: drain,
};

const JOBS: u64 = 200_000;

fn drain(printer: &Printer) -> Result<(), BoxError> {
    let default = Pairs::measure(|| drained(JOBS, 1, |worker| worker), raw)?;
    printer.line("sqlite_drain", Some(0.35), Unit::Rate, &default);
    let thousand = Pairs::measure(|| drained(JOBS, 1, |worker| worker.concurrency(1_000)), raw)?;
    printer.line("sqlite_drain_1000", None, Unit::Rate, &thousand);
    Ok(())
}

fn raw() -> Result<Timed, BoxError> {
    let place = Place::new()?;
    let connection = raw::open(&place.file())?;
    raw::insert_batches(&connection, JOBS, 1_000)?;
    let timed = time(JOBS, || raw::drain(&connection).map(drop))?;
    drop(connection);
    place.closed()?;
    Ok(timed)
}

/// The settings of a worker that drains.
pub(super) type Settings = fn(QueueWorkerBuilder) -> QueueWorkerBuilder;

/// Drains `jobs` jobs `times` times, each from a backlog of its own. The clock stops when the last end is committed.
pub(super) fn drained(jobs: u64, times: u64, settings: Settings) -> Result<Timed, BoxError> {
    let (place, runtime) = (Place::new()?, runtime()?);
    let store = runtime.block_on(SqliteStore::open(place.file()))?;
    let (mut seconds, total) = (0.0, jobs * times);
    for _ in 0..times {
        runtime.block_on(insert(&store, jobs))?;
        seconds += time(jobs, || runtime.block_on(run(&store, jobs, settings)))?.seconds(jobs);
    }
    let filter = JobFilter::all().state(JobState::Completed);
    let completed = runtime.block_on(store.counts(filter))?.total();
    if completed != total {
        return Err(format!("{completed} of {total} jobs were completed").into());
    }
    drop((store, runtime));
    place.closed()?;
    Ok(Timed::of(total, seconds))
}

async fn insert(store: &SqliteStore, jobs: u64) -> Result<(), BoxError> {
    for _ in 0..jobs / 1_000 {
        let batch = (0..1_000).map(|_| job().into_stored(DEFAULT_MAX_ARGS)).collect::<Result<_, _>>()?;
        store.insert(batch).await?;
    }
    Ok(())
}

/// Runs until `jobs` jobs have run, and stops gracefully, which settles the last.
async fn run(store: &SqliteStore, jobs: u64, settings: Settings) -> Result<(), BoxError> {
    let ran = Arc::new((AtomicU64::new(0), Notify::new()));
    let counter = ran.clone();
    let handler = move || {
        if counter.0.fetch_add(1, Ordering::Relaxed) + 1 == jobs {
            counter.1.notify_one();
        }
        std::future::ready(())
    };
    let builder = QueueWorker::builder(store.clone(), Router::new().route("noop", handler));
    settings(builder).build()?.run_until(ran.1.notified()).await?;
    Ok(())
}
