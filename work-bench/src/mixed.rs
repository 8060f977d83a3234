//! Producers and a worker at the same time, on every store.

use std::time::Instant;

use work_core::DEFAULT_MAX_ARGS;
use work_core::store::{Inspect, Store};

use crate::figure::{BoxError, Timed};
use crate::queued::{self, job};

pub(crate) const JOBS: u64 = 50_000;

const PRODUCERS: u64 = 4;

/// Jobs that a producer inserts at once.
const BATCH: u64 = 100;

/// Four producers, each with its share, in batches.
async fn produce(store: &(impl Store + Clone + 'static)) -> Result<(), BoxError> {
    let producers: Vec<_> = (0..PRODUCERS).map(|_| tokio::spawn(share(store.clone()))).collect();
    for producer in producers {
        producer.await??;
    }
    Ok(())
}

async fn share(store: impl Store) -> Result<(), BoxError> {
    for _ in 0..JOBS / PRODUCERS / BATCH {
        let batch = (0..BATCH).map(|_| job().into_stored(DEFAULT_MAX_ARGS)).collect::<Result<_, _>>()?;
        store.insert(batch).await?;
    }
    Ok(())
}

/// Inserted and run at the same time.
pub(crate) async fn together(store: &(impl Inspect + Clone + 'static)) -> Result<Timed, BoxError> {
    let start = Instant::now();
    tokio::try_join!(produce(store), queued::drain(store.clone(), JOBS, |worker| worker))?;
    let seconds = start.elapsed().as_secs_f64();
    queued::check_completed(store, JOBS).await?;
    Ok(Timed::of(JOBS, seconds))
}

/// Inserted, and then run.
pub(crate) async fn one_after_the_other(store: &(impl Inspect + Clone + 'static)) -> Result<Timed, BoxError> {
    let start = Instant::now();
    produce(store).await?;
    queued::drain(store.clone(), JOBS, |worker| worker).await?;
    let seconds = start.elapsed().as_secs_f64();
    queued::check_completed(store, JOBS).await?;
    Ok(Timed::of(JOBS, seconds))
}
