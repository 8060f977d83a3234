//! Counters that add up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tower::util::ServiceExt;
use tower_layer::Layer;
use work_adapters::stats::{Counts, Snapshot};
use work_adapters::{Stats, StatsLayer, TimeoutLayer};
use work_core::{Args, BoxError, Job, LocalWorker, Outcome, Router, Status, Worker};

async fn handler(Args(n): Args<u32>) -> Result<Status, BoxError> {
    if n % 3 == 0 {
        tokio::time::sleep(Duration::from_micros(50)).await;
    }
    match n % 5 {
        0 => Err("it failed".into()),
        1 => panic!("no such luck"),
        2 => Ok(Status::NO_RESPONSE),
        _ => Ok(Status::SUCCESS),
    }
}

fn adds_up(counts: &Counts) -> bool {
    let ended: u64 = counts.statuses().map(|(_, count)| count).sum();
    counts.started() == counts.succeeded() + counts.failed() + counts.running()
        && ended == counts.succeeded() + counts.failed()
}

fn check(snapshot: &Snapshot) {
    assert!(adds_up(snapshot.total()), "{snapshot:?}");
    assert!(snapshot.kinds().all(|(_, counts)| adds_up(counts)), "{snapshot:?}");
    let started: u64 = snapshot.kinds().map(|(_, counts)| counts.started()).sum();
    assert_eq!(started, snapshot.total().started());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submitted_is_done_failed_running_and_waiting_at_every_sample_of_10_000_jobs() {
    const JOBS: u64 = 10_000;
    const SLOTS: u64 = 8;
    std::panic::set_hook(Box::new(|_| {}));
    let stats = Stats::new();
    let router = Router::new().route("a", handler).route("b", handler).layer(StatsLayer::new(stats.clone()));
    let builder = LocalWorker::builder(router).concurrency(usize::try_from(SLOTS).unwrap());
    let worker = builder.capacity(usize::try_from(JOBS).unwrap()).build().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    // Before and after the worker took each job.
    let (offered, accepted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let sampler = std::thread::spawn({
        let (stats, worker, over) = (stats.clone(), worker.clone(), over.clone());
        let (offered, accepted) = (offered.clone(), accepted.clone());
        move || {
            let (mut samples, mut last) = (0_u32, 0);
            while !over.load(Ordering::SeqCst) {
                let (before, accepted) = (stats.snapshot(), accepted.load(Ordering::SeqCst));
                let counts = worker.counts();
                assert_eq!(counts.submitted, counts.ended() + counts.open(), "{counts:?}");
                let waiting_or_running = counts.open();
                let (offered, after) = (offered.load(Ordering::SeqCst), stats.snapshot());
                check(&before);
                assert!(before.total().running() <= SLOTS && before.total().started() >= last);
                last = before.total().started();
                // The layer and the worker count each for itself, so between two looks at the one the other fits in.
                let ended = |snapshot: &Snapshot| snapshot.total().succeeded() + snapshot.total().failed();
                assert!(accepted <= ended(&after) + waiting_or_running, "{accepted}, {after:?}, {waiting_or_running}");
                // A job leaves the worker a moment after its layers saw the end, so as many as there are slots may be
                // counted in both.
                assert!(ended(&before) + waiting_or_running <= offered + SLOTS, "{before:?}, {waiting_or_running}");
                samples += u32::from(ended(&before) > 0 && waiting_or_running > 0);
            }
            samples
        }
    });
    let mut handles = Vec::new();
    for n in 0..u32::try_from(JOBS).unwrap() {
        offered.fetch_add(1, Ordering::SeqCst);
        handles.push(worker.perform(Job::new(if n % 4 == 0 { "a" } else { "b" }, n)).await.unwrap());
        accepted.fetch_add(1, Ordering::SeqCst);
    }
    for handle in handles {
        handle.outcome().await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    let samples = sampler.join().unwrap();
    assert!(samples > 10, "{samples} samples while jobs ran");
    let end = stats.snapshot();
    check(&end);
    let total = end.total();
    assert_eq!((total.started(), total.succeeded(), total.failed(), total.running()), (JOBS, 6_000, 4_000, 0));
    assert_eq!((total.ended_with(Status::NO_RESPONSE), total.ended_with(Status::INTERNAL_ERROR)), (2_000, 4_000));
    let kinds: Vec<(&str, u64)> = end.kinds().map(|(kind, counts)| (kind.as_str(), counts.started())).collect();
    assert_eq!(kinds, [("a", 2_500), ("b", 7_500)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_or_timed_out_has_ended() {
    let stats = Stats::new();
    let layered = Router::new().route("endless", std::future::pending::<()>).layer(StatsLayer::new(stats.clone()));
    let worker = LocalWorker::new(layered.layer(TimeoutLayer::new()));
    let slow = worker.perform(Job::new("endless", ()).timeout(Duration::from_secs(1))).await.unwrap();
    let cancelled = worker.perform(Job::new("endless", ())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(stats.snapshot().total().running(), 2);
    worker.cancel(cancelled.id()).await.unwrap();
    cancelled.outcome().await.unwrap();
    slow.outcome().await.unwrap();
    let end = stats.snapshot();
    check(&end);
    let total = end.total();
    assert_eq!((total.ended_with(Status::TIMEOUT), total.ended_with(Status::CANCELLED), total.running()), (1, 1, 0));
}

#[tokio::test]
async fn three_attempts_are_three_executions() {
    let stats = Stats::new();
    let router = Router::new().route("bad", async || Status::INTERNAL_ERROR).layer(StatsLayer::new(stats.clone()));
    let retry = work_core::RetryPolicy::default().backoff(work_core::Backoff::constant(Duration::ZERO));
    let worker = LocalWorker::builder(router).retry(retry).build().unwrap();
    worker.perform(Job::new("bad", ()).max_attempts(3)).await.unwrap().outcome().await.unwrap();
    assert_eq!((stats.snapshot().total().started(), stats.snapshot().total().failed()), (3, 3));
}

#[tokio::test]
async fn kinds_without_end_are_counted_together_from_the_257th_on() {
    let stats = Stats::new();
    let layer = StatsLayer::new(stats.clone());
    let done = tower::service_fn(async |_: Job| Ok::<_, BoxError>(Outcome::done()));
    for n in 0..1_000 {
        layer.layer(done).oneshot(Job::new(format!("kind-{n}"), ())).await.unwrap();
    }
    let snapshot = stats.snapshot();
    check(&snapshot);
    assert_eq!((snapshot.kinds().len(), snapshot.kind("other").unwrap().started()), (257, 744));
}
