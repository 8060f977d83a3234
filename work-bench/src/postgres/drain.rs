use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use work_core::store::{Inspect, JobFilter, Store};
use work_core::{DEFAULT_MAX_ARGS, JobState, QueueWorker, Router};
use work_postgres::PostgresStore;

use super::{Schema, job, raw};
use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};

pub(crate) const DRAIN: Bench = Bench {
    name: "postgres_drain",
    what: "200,000 jobs drained with default settings, against raw claim+complete on two connections",
    run: drain,
};

const JOBS: u64 = 200_000;

fn drain(printer: &Printer) -> Result<(), BoxError> {
    printer.line("postgres_drain", Some(0.6), Unit::Rate, &Pairs::measure(ours, raw)?);
    Ok(())
}

fn raw() -> Result<Timed, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    let (one, two) = runtime.block_on(async {
        let one = raw::open(&schema).await?;
        raw::insert(&schema, &one, JOBS, raw::BATCH).await?;
        Ok::<_, BoxError>((one, schema.connect().await?))
    })?;
    let both = async {
        let drained = tokio::try_join!(raw::drain(&schema, &one, raw::BATCH), raw::drain(&schema, &two, raw::BATCH))?;
        if drained.0 + drained.1 == JOBS { Ok(()) } else { Err(format!("{drained:?} of {JOBS} jobs").into()) }
    };
    let timed = time(JOBS, || runtime.block_on(both))?;
    runtime.block_on(schema.closed())?;
    Ok(timed)
}

/// The clock stops when the last end is committed.
fn ours() -> Result<Timed, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    let store = runtime.block_on(schema.store())?;
    runtime.block_on(insert(&store))?;
    let timed = time(JOBS, || runtime.block_on(run(&store)))?;
    let filter = JobFilter::all().state(JobState::Completed);
    let completed = runtime.block_on(store.counts(filter))?.total();
    if completed != JOBS {
        return Err(format!("{completed} of {JOBS} jobs were completed").into());
    }
    drop(store);
    runtime.block_on(schema.closed())?;
    Ok(timed)
}

async fn insert(store: &PostgresStore) -> Result<(), BoxError> {
    for _ in 0..JOBS / 1_000 {
        let batch = (0..1_000).map(|_| job().into_stored(DEFAULT_MAX_ARGS)).collect::<Result<_, _>>()?;
        store.insert(batch).await?;
    }
    Ok(())
}

/// Runs until all jobs have run, and stops gracefully, which settles the last.
async fn run(store: &PostgresStore) -> Result<(), BoxError> {
    let ran = Arc::new((AtomicU64::new(0), Notify::new()));
    let counter = ran.clone();
    let handler = move || {
        if counter.0.fetch_add(1, Ordering::Relaxed) + 1 == JOBS {
            counter.1.notify_one();
        }
        std::future::ready(())
    };
    let worker = QueueWorker::new(store.clone(), Router::new().route("noop", handler));
    worker.run_until(ran.1.notified()).await?;
    Ok(())
}
