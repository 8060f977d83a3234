use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio_util::time::DelayQueue;
use work_core::{Args, Job, LocalWorker, Router, Worker};

use crate::figure::{Bench, BoxError, Printer, in_turn, runtime, sorted};

pub(crate) const LATENESS: Bench = Bench {
    name: "local_lateness",
    what: "how late 10,000 delayed jobs a second start, p50 and p99, against a bare DelayQueue",
    run: lateness,
};

/// A second of timers at ten thousand a second, while a hundred thousand more are pending.
const TIMERS: u64 = 10_000;
const PENDING: u64 = 100_000;

fn lateness(printer: &Printer) -> Result<(), BoxError> {
    // Twice the time is half of the rate.
    printer.ranks("local_lateness", [Some(0.5), Some(0.5)], &in_turn(ours, raw)?);
    Ok(())
}

/// When timer `n` is due, after a start that leaves time to set them all.
fn due(start: Instant, n: u64) -> Instant {
    start + Duration::from_millis(500) + Duration::from_micros(n * 1_000_000 / TIMERS)
}

fn far(n: u64) -> Duration {
    Duration::from_secs(3_600 + n)
}

/// Seconds from when each was due to its start, in ascending order.
fn ours() -> Result<Vec<f64>, BoxError> {
    let delays = Arc::<Mutex<Vec<f64>>>::default();
    let (noted, start) = (delays.clone(), Instant::now());
    let handler = move |Args(n): Args<u64>| {
        let late = due(start, n).elapsed().as_secs_f64();
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(late);
        std::future::ready(())
    };
    runtime()?.block_on(async {
        let worker = LocalWorker::new(Router::new().route("note", handler));
        for n in 0..PENDING {
            drop(worker.perform_in(Job::new("note", n), far(n)).await?);
        }
        for n in 0..TIMERS {
            let delay = due(start, n).saturating_duration_since(Instant::now());
            drop(worker.perform_in(Job::new("note", n), delay).await?);
        }
        while delays.lock().unwrap_or_else(PoisonError::into_inner).len() < usize::try_from(TIMERS)? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, BoxError>(())
    })?;
    Ok(sorted(std::mem::take(&mut *delays.lock().unwrap_or_else(PoisonError::into_inner))))
}

fn raw() -> Result<Vec<f64>, BoxError> {
    let start = Instant::now();
    let task = async move {
        let mut queue = DelayQueue::new();
        for n in 0..PENDING {
            queue.insert(n, far(n));
        }
        for n in 0..TIMERS {
            queue.insert(n, due(start, n).saturating_duration_since(Instant::now()));
        }
        let mut delays = Vec::new();
        while delays.len() < usize::try_from(TIMERS)? {
            let expired = queue.next().await.ok_or("the queue is empty")?;
            delays.push(due(start, expired.into_inner()).elapsed().as_secs_f64());
        }
        Ok::<_, BoxError>(sorted(delays))
    };
    runtime()?.block_on(async { tokio::spawn(task).await? })
}
