//! Jobs that wait for a millisecond, on every store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use work_core::store::Inspect;
use work_core::{QueueWorker, Router};

use crate::figure::{BoxError, Timed, runtime};
use crate::queued::{self, Ran};

const JOBS: u64 = 50_000;

/// Jobs at once, in both.
const CONCURRENCY: u16 = 256;

/// How long each takes. The timer rounds up to its next tick, in both.
const PAUSE: Duration = Duration::from_millis(1);

/// A worker on a store.
pub(crate) async fn ours(store: &(impl Inspect + Clone)) -> Result<Timed, BoxError> {
    queued::insert(store, JOBS).await?;
    let ran = Ran::new(JOBS);
    let counter = ran.clone();
    let handler = move || {
        let counter = counter.clone();
        async move {
            tokio::time::sleep(PAUSE).await;
            counter.one();
        }
    };
    let router = Router::new().route("noop", handler);
    let worker = QueueWorker::builder(store.clone(), router).concurrency(CONCURRENCY.into()).build()?;
    let start = Instant::now();
    worker.run_until(ran.all()).await?;
    let seconds = start.elapsed().as_secs_f64();
    queued::check_completed(store, JOBS).await?;
    Ok(Timed::of(JOBS, seconds))
}

/// What the slots and the timer allow: a task for each slot, and no store.
pub(crate) fn bound() -> Result<Timed, BoxError> {
    runtime()?.block_on(async {
        let (taken, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let slots: Vec<_> = (0..CONCURRENCY).map(|_| tokio::spawn(slot(taken.clone()))).collect();
        for slot in slots {
            slot.await?;
        }
        Ok(Timed::of(JOBS, start.elapsed().as_secs_f64()))
    })
}

async fn slot(taken: Arc<AtomicU64>) {
    while taken.fetch_add(1, Ordering::Relaxed) < JOBS {
        tokio::time::sleep(PAUSE).await;
    }
}
