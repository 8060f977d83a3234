//! Where the time of executions went.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::Traced;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower_layer::layer_fn;
use tower_service::Service;
use tracing::level_filters::LevelFilter;
use work_adapters::stats::{Ledger, LedgerLayer};
use work_adapters::{CatchPanicLayer, TimeoutLayer};
use work_core::{Args, BoxError, Job, LocalWorker, Outcome, Router, Status, Worker};

/// Lets one job through a second, and says how long each was held back.
fn one_a_second<S>(inner: S) -> impl Service<Job, Response = Outcome, Error = BoxError, Future: Send> + Clone + use<S>
where
    S: Service<Job, Response = Outcome, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let next = Arc::new(Mutex::new(Instant::now()));
    tower::service_fn(move |job: Job| {
        let (mut inner, next) = (inner.clone(), next.clone());
        async move {
            let start = Instant::now();
            let mut next = next.lock().await;
            tokio::time::sleep_until(*next).await;
            *next = Instant::now() + Duration::from_secs(1);
            drop(next);
            job.context().add_throttled(start.elapsed());
            inner.call(job).await
        }
    })
}

async fn nap(Args(ms): Args<u64>) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    assert!(ms != 13, "no such luck");
}

#[tokio::test(start_paused = true)]
async fn queue_wait_throttle_and_execution_sum_to_the_total() {
    let ledger = Ledger::new(10).unwrap();
    let router = Router::new().route("nap", nap).layer(layer_fn(one_a_second)).layer(LedgerLayer::new(ledger.clone()));
    let worker = LocalWorker::builder(router).concurrency(1).timings().build().unwrap();
    let (mut handles, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        handles.push(worker.perform(Job::new("nap", 100_u64)).await.unwrap());
    }
    for handle in handles {
        ids.push(handle.id());
        handle.outcome().await.unwrap();
    }
    let entries = ledger.entries();
    assert_eq!(entries.iter().map(|e| e.job_id).collect::<Vec<_>>(), ids);
    let near = |time: Duration, ms: u64| time.abs_diff(Duration::from_millis(ms)) <= Duration::from_millis(5);
    for (entry, [queued, throttled, executing]) in entries.iter().zip([[0, 0, 100], [100, 900, 100]]) {
        let times = entry.timings;
        assert!(near(times.queued, queued) && near(times.throttled, throttled), "{times:?}");
        assert!(near(times.executing, executing) && near(times.total, queued + throttled + executing), "{times:?}");
        assert_eq!(times.queued + times.throttled + times.waiting + times.executing, times.total);
    }
    assert!(near(ledger.sum().total, 1_200) && near(ledger.sum().throttled, 900), "{:?}", ledger.sum());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_jobs_leave_the_last_ten_and_the_sum_of_all() {
    let ledger = Ledger::new(10).unwrap();
    let router = Router::new().route("nap", nap).layer(LedgerLayer::new(ledger.clone()));
    let worker = LocalWorker::builder(router).concurrency(1).timings().build().unwrap();
    assert_eq!(ledger.percentile(0.5, |times| times.total), None);
    for n in 1..=1_000_u64 {
        let ms = if n > 990 { (n - 990) * 1_000 } else { 0 };
        worker.perform(Job::new("nap", ms)).await.unwrap().outcome().await.unwrap();
    }
    assert_eq!((ledger.entries().len(), ledger.recorded()), (10, 1_000));
    let seconds = |share| ledger.percentile(share, |times| times.executing).unwrap().as_secs();
    assert_eq!([-1.0, 0.0, 0.1, 0.5, 0.51, 0.9, 0.99, 1.0, 2.0].map(seconds), [1, 1, 1, 5, 6, 9, 10, 10, 10]);
    assert_eq!(ledger.sum().executing.as_secs(), 55);
}

#[tokio::test(start_paused = true)]
async fn panics_and_timeouts_are_in_it_with_their_status() {
    let ledger = Ledger::new(10).unwrap();
    let router = Router::new().route("nap", nap).layer(LedgerLayer::new(ledger.clone()));
    let router = router.layer(CatchPanicLayer::new()).layer(TimeoutLayer::new());
    let worker = LocalWorker::builder(router).timings().build().unwrap();
    for ms in [13_u64, 10_000] {
        let job = Job::new("nap", ms).timeout(Duration::from_secs(1));
        worker.perform(job).await.unwrap().outcome().await.unwrap();
    }
    let ends: Vec<(Status, u128)> =
        ledger.entries().iter().map(|e| (e.status, e.timings.executing.as_millis() / 10)).collect();
    assert_eq!(ends, [(Status::INTERNAL_ERROR, 1), (Status::TIMEOUT, 100)]);
}

#[tokio::test]
async fn a_worker_that_takes_no_times_is_told_once() {
    let traced = Traced::default();
    let _default = tracing::subscriber::set_default(traced.subscriber(LevelFilter::WARN));
    let ledger = Ledger::new(10).unwrap();
    let worker = LocalWorker::new(Router::new().route("nap", nap).layer(LedgerLayer::new(ledger.clone())));
    for _ in 0..3 {
        worker.perform(Job::new("nap", 0_u64)).await.unwrap().outcome().await.unwrap();
    }
    assert_eq!(
        (ledger.entries(), traced.said("the ledger stays empty: build the worker with timings()").len()),
        (vec![], 1)
    );
}

#[test]
fn a_ledger_of_nothing_is_refused() {
    let error = Ledger::new(0).unwrap_err().to_string();
    assert_eq!(error, "a ledger of 0 executions is out of range; use 1 to 1000000");
    assert!(Ledger::new(1_000_001).is_err());
}
