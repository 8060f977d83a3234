//! Attempts, the times between them, and who is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use work_adapters::HooksLayer;
use work_core::store::Inspect;
use work_core::{Attempt, Backoff, Classify, Job, JobState, QueueWorker, RetryPolicy, Router, Worker};

use crate::Log;
use crate::stores::{Running, Store, all_done, on_every_store};

on_every_store!(
    four_attempts_are_four_starts_three_retries_and_one_failure,
    the_gaps_between_attempts_double_within_a_fifth,
    each_job_has_exactly_one_outcome,
    an_on_error_job_runs_once_after_the_last_attempt,
);

fn always_fails() -> Router {
    Router::new().route("fails", async || Err::<(), _>("no luck").retryable())
}

fn soon() -> RetryPolicy {
    RetryPolicy::default().backoff(Backoff::constant(Duration::from_millis(5)))
}

/// Start, success, retry, exhausted, finish.
fn counting() -> (HooksLayer, Arc<Mutex<[u32; 5]>>) {
    let counts = Arc::<Mutex<[u32; 5]>>::default();
    let count = |at: usize| {
        let counts = counts.clone();
        move |_: &work_adapters::hooks::Event<'_>| counts.lock().unwrap()[at] += 1
    };
    let layer = HooksLayer::new();
    let layer = layer.on_start(count(0)).on_success(count(1)).on_retry(count(2)).on_exhausted(count(3));
    (layer.on_finish(count(4)), counts)
}

async fn four_attempts_are_four_starts_three_retries_and_one_failure(store: Store) {
    let (layer, counts) = counting();
    let running = Running::start(QueueWorker::builder(store.clone(), always_fails().layer(layer)).retry(soon()));
    let id = running.worker.perform(Job::new("fails", ()).max_attempts(4)).await.unwrap().id();
    all_done(&store).await;
    running.stop().await;
    let dead = store.get(id).await.unwrap().unwrap();
    assert_eq!((dead.state, dead.attempt, dead.attempts.len()), (JobState::Discarded, 4, 4));
    assert_eq!(*counts.lock().unwrap(), [4, 0, 3, 1, 4]);
}

/// From the end of one attempt to the start of the next, as the store says when it was due: 100, 200 and 400 ms.
async fn the_gaps_between_attempts_double_within_a_fifth(store: Store) {
    let backoff = Backoff::exponential(Duration::from_millis(100), 2.0);
    let starts = Arc::<Mutex<Vec<Instant>>>::default();
    let noted = starts.clone();
    let router = Router::new().route("fails", move || {
        noted.lock().unwrap().push(Instant::now());
        std::future::ready(Err::<(), _>("no luck").retryable())
    });
    let builder = QueueWorker::builder(store.clone(), router).retry(RetryPolicy::default().backoff(backoff));
    let running = Running::start(builder);
    running.worker.perform(Job::new("fails", ()).max_attempts(4)).await.unwrap();
    all_done(&store).await;
    running.stop().await;
    let starts = starts.lock().unwrap().clone();
    assert_eq!(starts.len(), 4);
    for (n, pair) in starts.windows(2).enumerate() {
        let (gap, planned) = (pair[1] - pair[0], Duration::from_millis(100 << n));
        assert!(gap >= planned * 8 / 10, "gap {n}: {gap:?}");
        // Never before it is due; a busy machine may be later.
        assert!(gap <= planned * 12 / 10 + Duration::from_millis(100), "gap {n}: {gap:?}");
    }
}

async fn each_job_has_exactly_one_outcome(store: Store) {
    let (layer, counts) = counting();
    let router = always_fails()
        .route("well", async || {})
        .route("third", async |Attempt(n): Attempt| if n < 3 { Err("not yet").retryable() } else { Ok(()) });
    let running = Running::start(QueueWorker::builder(store.clone(), router.layer(layer)).retry(soon()));
    let kinds = ["well", "third", "fails"];
    let jobs = (0..90).map(|n| Job::new(kinds[n % 3], ()).max_attempts(3));
    running.worker.perform_many(jobs).await.unwrap();
    all_done(&store).await;
    running.stop().await;
    let [starts, successes, retries, failures, finishes] = *counts.lock().unwrap();
    assert_eq!((starts, finishes), (30 + 90 + 90, 30 + 90 + 90));
    assert_eq!((successes, retries, failures), (60, 60 + 60, 30), "each of the 90 jobs is one success or one failure");
}

async fn an_on_error_job_runs_once_after_the_last_attempt(store: Store) {
    let log = Log::default();
    let (tried, told) = (log.clone(), log.clone());
    let fails = move || {
        tried.push(1);
        std::future::ready(Err::<(), _>("no luck").retryable())
    };
    let report = move |failed: work_core::FailedJob| {
        told.push(failed.attempt);
        std::future::ready(())
    };
    let router = Router::new().route("fails", fails).route("report", report);
    let running = Running::start(QueueWorker::builder(store.clone(), router).retry(soon()));
    let job = Job::new("fails", ()).max_attempts(3).on_error(Job::new("report", ()));
    running.worker.perform(job).await.unwrap();
    all_done(&store).await;
    running.stop().await;
    assert_eq!(log.all(), [1, 1, 1, 3]);
}
