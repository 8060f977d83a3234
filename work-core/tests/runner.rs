//! The runner, where a test of every store would be too much.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use work_core::runner::Runner;
use work_core::store::{Fence, Inspect, JobFilter, MemoryStore, Order, Retention, Store};
use work_core::{Args, Backoff, Clock, Context, Job, JobState, QueueWorker, RetryPolicy, Router, Status, Worker};

async fn insert(store: &MemoryStore, n: u32) {
    let jobs = (0..n).map(|n| Job::new("test", n).into_stored(1024).unwrap()).collect();
    store.insert(jobs).await.unwrap();
}

async fn open(store: &MemoryStore) -> u64 {
    store.counts(JobFilter::default()).await.unwrap().open()
}

async fn drained(store: MemoryStore) {
    while open(&store).await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_handler_that_blocks_its_thread_keeps_its_lease() {
    let store = MemoryStore::new();
    insert(&store, 1).await;
    let runs = Arc::new(AtomicU32::new(0));
    let count = runs.clone();
    let handler = move || {
        count.fetch_add(1, Ordering::SeqCst);
        // Longer than two leases, on the only thread of the runtime.
        std::thread::sleep(Duration::from_millis(4_500));
        std::future::ready(())
    };
    let runner = Runner::new(Arc::new(store.clone()), Router::new().route("test", handler));
    let runner = runner.lease_for(Duration::from_secs(2));
    // Another one would take the job over as soon as its lease ends.
    let rescuer = std::thread::spawn({
        let store = store.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for _ in 0..400 {
                std::thread::sleep(Duration::from_millis(10));
                let rescued = runtime.block_on(store.rescue(10, 3)).unwrap();
                assert_eq!(rescued.available + rescued.discarded, 0, "the lease lapsed");
            }
        }
    });
    let report = runner.run_until(drained(store.clone())).await.unwrap();
    rescuer.join().unwrap();
    assert_eq!((runs.load(Ordering::SeqCst), report.performed, report.stale), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_cancelled_while_it_runs_is_told_and_ends_cancelled() {
    let store = MemoryStore::new();
    let started = CancellationToken::new();
    let token = started.clone();
    let handler = move || {
        token.cancel();
        std::future::pending::<()>()
    };
    let builder = QueueWorker::builder(store.clone(), Router::new().route("test", handler));
    let worker = builder.lease_for(Duration::from_millis(300)).build().unwrap();
    let handle = worker.perform(Job::new("test", 0)).await.unwrap();
    let id = handle.id();
    let running = tokio::spawn(worker.clone().run_until(drained(store.clone())));
    started.cancelled().await;
    assert!(worker.cancel(id).await.unwrap());
    running.await.unwrap().unwrap();
    assert_eq!(store.get(id).await.unwrap().unwrap().state, JobState::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_stop_is_named_and_given_back() {
    let store = MemoryStore::new();
    insert(&store, 1).await;
    let started = CancellationToken::new();
    let token = started.clone();
    let handler = move || {
        token.cancel();
        std::thread::sleep(Duration::from_secs(5));
        std::future::ready(())
    };
    let runner = Runner::new(Arc::new(store.clone()), Router::new().route("test", handler));
    let report = runner.grace(Duration::from_millis(50)).run_until(started.cancelled_owned()).await.unwrap();
    assert_eq!(report.left.len(), 1);
    assert_eq!(report.left[0].1.as_str(), "test");
    let page = store.list(JobFilter::default(), Order::OldestFirst, None, 10).await.unwrap();
    assert_eq!((page.jobs[0].state, page.jobs[0].attempt), (JobState::Available, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runners_share_a_queue_and_each_job_runs_once() {
    let store = MemoryStore::new();
    insert(&store, 5_000).await;
    let runs = Arc::new(std::sync::Mutex::new(Vec::new()));
    let runner = || {
        let log = runs.clone();
        let handler = move |Args(n): Args<u32>, context: Context| {
            log.lock().unwrap().push(n);
            assert_eq!(context.fence(), Some(Fence(1)));
            std::future::ready(())
        };
        Runner::new(Arc::new(store.clone()), Router::new().route("test", handler)).concurrency(8)
    };
    let (first, second) = (runner().run_until(drained(store.clone())), runner().run_until(drained(store.clone())));
    let (first, second) = futures_util::future::join(first, second).await;
    assert_eq!(first.unwrap().performed + second.unwrap().performed, 5_000);
    let mut runs = runs.lock().unwrap().clone();
    runs.sort_unstable();
    assert_eq!(runs, (0..5_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn settings_out_of_range_are_named() {
    let runner = || Runner::new(Arc::new(MemoryStore::new()), Router::new());
    let none: [&'static str; 0] = [];
    for (runner, part) in [
        (runner().concurrency(0), "concurrency 0 is out of range; use 1 to 1000000"),
        (runner().lease_for(Duration::from_millis(99)), "lease_for 99ms is out of range; use at least 100 ms"),
        (runner().aging(Duration::from_micros(999)), "aging 999µs is out of range; use 1 ms to 365 days"),
        (runner().aging(Duration::from_secs(365 * 86_400 + 1)), "aging 31536001s is out of range"),
        (runner().queues(none), "at least one queue"),
        (runner().queues(["a b"]), "U+0020"),
    ] {
        let error = runner.run_until(std::future::ready(())).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let year = runner().aging(Duration::from_secs(365 * 86_400));
    assert!(year.run_until(std::future::ready(())).await.is_ok(), "as long as it may be");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_forgets_what_ended_long_ago_a_batch_after_the_other() {
    let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
    let store = MemoryStore::with_clock(clock.clone());
    insert(&store, 2_500).await;
    let runner = || {
        let router = Router::new().route("test", async || {});
        Runner::new(Arc::new(store.clone()), router).clock(clock.clone())
    };
    runner().run_until(drained(store.clone())).await.unwrap();
    clock.advance(Duration::from_secs(25 * 3600));
    let total = async || store.counts(JobFilter::all()).await.unwrap().total();
    runner().retention(Retention::FOREVER).run_until(tokio::time::sleep(Duration::from_secs(6))).await.unwrap();
    assert_eq!(total().await, 2_500, "kept for ever");
    let forgotten = async {
        while total().await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    runner().run_until(tokio::time::timeout(Duration::from_secs(30), forgotten).map(drop)).await.unwrap();
    assert_eq!(total().await, 0);
}

/// Told to stop, it holds its thread for longer than a lease: until it is given up its lease is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_lease_of_a_job_that_does_not_stop_is_kept_until_the_job_is_given_back() {
    let store = MemoryStore::new();
    insert(&store, 1).await;
    let started = CancellationToken::new();
    let token = started.clone();
    let handler = move || {
        token.cancel();
        std::thread::sleep(Duration::from_secs(3));
        std::future::ready(())
    };
    let runner = Runner::new(Arc::new(store.clone()), Router::new().route("test", handler));
    let runner = runner.lease_for(Duration::from_millis(300)).grace(Duration::ZERO);
    // Another process looks for leases that have lapsed.
    let rescuer = tokio::spawn({
        let store = store.clone();
        async move {
            loop {
                store.rescue(10, 3).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let report = runner.run_until(started.cancelled()).await.unwrap();
    rescuer.abort();
    assert_eq!((report.left.len(), report.released, report.stale), (1, 1, 0));
    let jobs = store.list(JobFilter::all(), Order::default(), None, 10).await.unwrap().jobs;
    assert_eq!((jobs[0].state, jobs[0].crashes, jobs[0].attempt), (JobState::Available, 0, 0));
}

/// Whatever they call would be called by all of them at once again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_jobs_that_failed_in_one_moment_come_back_evenly_spread() {
    const JOBS: usize = 10_000;
    const BUCKETS: usize = 20;
    let clock = Clock::manual("2026-05-01T12:00:00Z".parse().unwrap());
    let store = MemoryStore::with_clock(clock.clone());
    insert(&store, JOBS as u32).await;
    let retry = RetryPolicy::default().backoff(Backoff::exponential(Duration::from_secs(1_000), 2.0));
    let failing = Router::new().route("test", async || Status::UNAVAILABLE);
    let runner = Runner::new(Arc::new(store.clone()), failing).clock(clock.clone()).retry(retry);
    let watched = store.clone();
    let all_failed = async {
        let later = JobFilter::all().due(clock.now() + Duration::from_secs(1)..);
        while watched.counts(later.clone()).await.unwrap().total() < JOBS as u64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    runner.run_until(all_failed).await.unwrap();
    let jobs = store.list(JobFilter::all(), Order::OldestFirst, None, JOBS).await.unwrap().jobs;
    // 1,000 s, and a tenth of that more or less.
    let mut buckets = [0; BUCKETS];
    for job in &jobs {
        let after = (job.job.parts.scheduled_at.unwrap() - clock.now()).as_seconds_f64() - 900.0;
        assert!((0.0..=200.0).contains(&after), "{after}");
        buckets[((after / 200.0 * BUCKETS as f64) as usize).min(BUCKETS - 1)] += 1;
    }
    println!("{buckets:?}");
    assert_eq!(jobs.len(), JOBS);
    // 500 each; chance alone is within 110 of that, but for one run of a million.
    assert!(buckets.iter().all(|jobs| (390..=610).contains(jobs)), "{buckets:?}");
}
