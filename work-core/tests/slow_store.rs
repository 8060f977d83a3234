//! A runner whose store is slow, or away: what it leases, and what it knows about its leases.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use work_core::runner::Runner;
use work_core::store::{
    BoxFuture, Inserted, Inspect, JobFilter, LeaseKey, Leased, MemoryStore, NewJob, Settle, Settled, Store, Want,
};
use work_core::{Clock, Job, JobState, Queue, Router, StoreError};

async fn insert(store: &MemoryStore, n: u32) {
    let jobs = (0..n).map(|n| Job::new("test", n).into_stored(1024).unwrap()).collect();
    store.insert(jobs).await.unwrap();
}

/// Answers late that it has leased something, and extends nothing.
struct Slow {
    inner: MemoryStore,
    answers_after: Duration,
    /// When each lease was given.
    given: mpsc::Sender<Instant>,
}

impl Store for Slow {
    work_core::forward_upkeep!(self => self.inner);

    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        self.inner.insert(jobs)
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        Box::pin(async move {
            let (given, leased) = (Instant::now(), self.inner.lease(want).await?);
            if !leased.jobs.is_empty() {
                let _ = self.given.try_send(given);
                tokio::time::sleep(self.answers_after).await;
            }
            Ok(leased)
        })
    }

    fn extend(&self, _: Vec<LeaseKey>, _: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        Box::pin(async { Err(StoreError::rejected("away", "by order of the test")) })
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        self.inner.settle(done)
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.inner.ready(queues)
    }
}

/// Who is told to stop is dropped.
struct Told(mpsc::Sender<Instant>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.try_send(Instant::now());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_is_told_to_stop_before_its_lease_ends() {
    const LEASE: Duration = Duration::from_secs(3);
    // Counted from the answer, the lease would seem to end when it has ended long since.
    for answers_after in [Duration::ZERO, Duration::from_millis(700), Duration::from_millis(1_800)] {
        let inner = MemoryStore::new();
        insert(&inner, 1).await;
        let (given, mut was_given) = mpsc::channel(8);
        let (told, mut was_told) = mpsc::channel(1);
        let handler = move || {
            let told = Told(told.clone());
            async move {
                let _told = told;
                std::future::pending::<()>().await;
            }
        };
        let store = Arc::new(Slow { inner: inner.clone(), answers_after, given });
        let (stop, stopped) = oneshot::channel::<()>();
        let runner = Runner::new(store, Router::new().route("test", handler)).lease_for(LEASE);
        let running = tokio::spawn(runner.run_until(async { drop(stopped.await) }));
        let told = tokio::time::timeout(LEASE * 5, was_told.recv()).await.unwrap().unwrap();
        let given = was_given.recv().await.unwrap();
        assert!(told < given + LEASE, "{answers_after:?}: told after {:?}", told - given);
        assert!(told > given + LEASE / 2, "{answers_after:?}: told already after {:?}", told - given);
        drop(stop);
        running.await.unwrap().unwrap();
        let counts = inner.counts(JobFilter::all()).await.unwrap();
        assert_eq!(counts.of(JobState::Available), 1, "{answers_after:?}: nobody has cancelled it: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_of_jobs_that_take_long_are_leased_than_run() {
    let store = MemoryStore::new();
    insert(&store, 2_000).await;
    let (started, looked) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let (count, go_on) = (started.clone(), looked.clone());
    let handler = move || {
        count.fetch_add(1, Ordering::SeqCst);
        go_on.clone().cancelled_owned()
    };
    let runner = Runner::new(Arc::new(store.clone()), Router::new().route("test", handler)).concurrency(8);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(runner.run_until(async { drop(stopped.await) }));
    while started.load(Ordering::SeqCst) < 8 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Long enough for many more requests.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let counts = store.counts(JobFilter::all()).await.unwrap();
    assert_eq!((counts.of(JobState::Running), started.load(Ordering::SeqCst)), (8, 8));
    drop(stop);
    looked.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_leased_is_not_started_if_the_answer_comes_when_the_lease_has_ended() {
    const LEASE: Duration = Duration::from_secs(3);
    for (answers_after, starts) in [(LEASE / 2, 1), (LEASE * 19 / 20, 0), (LEASE * 2, 0)] {
        let inner = MemoryStore::with_clock(Clock::tokio(chrono::DateTime::UNIX_EPOCH));
        insert(&inner, 1).await;
        let (given, _was_given) = mpsc::channel(8);
        let started = Arc::new(AtomicUsize::new(0));
        let count = started.clone();
        let handler = move || {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(())
        };
        let store = Arc::new(Slow { inner: inner.clone(), answers_after, given });
        let runner = Runner::new(store, Router::new().route("test", handler)).lease_for(LEASE).simulated();
        let answered = tokio::time::sleep(answers_after + LEASE / 10);
        runner.run_until(answered).await.unwrap();
        assert_eq!(started.load(Ordering::SeqCst), starts, "{answers_after:?}");
        let counts = inner.counts(JobFilter::all()).await.unwrap();
        assert_eq!(counts.of(JobState::Available), 1 - starts as u64, "{answers_after:?}: {counts:?}");
    }
}

/// Says some times at once that there may be jobs, and there are none.
struct Eager {
    inner: MemoryStore,
    times: AtomicUsize,
}

impl Store for Eager {
    work_core::forward_upkeep!(self => self.inner);

    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        self.inner.insert(jobs)
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        self.inner.lease(want)
    }

    fn extend(&self, leases: Vec<LeaseKey>, by: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        self.inner.extend(leases, by)
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        self.inner.settle(done)
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        let left = self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |times| times.checked_sub(1));
        if left.is_ok() { Box::pin(async {}) } else { self.inner.ready(queues) }
    }
}

#[tokio::test]
async fn a_store_that_says_in_vain_that_there_are_jobs_is_asked_again() {
    let inner = MemoryStore::new();
    let store = Arc::new(Eager { inner: inner.clone(), times: AtomicUsize::new(5) });
    let (done, mut was_done) = mpsc::channel(1);
    let router = Router::new().route("test", move || {
        let done = done.clone();
        async move { done.send(()).await.unwrap() }
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(Runner::new(store.clone(), router).run_until(async { drop(stopped.await) }));
    tokio::time::timeout(Duration::from_secs(10), async {
        while store.times.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        insert(&inner, 1).await;
        was_done.recv().await.unwrap();
    })
    .await
    .unwrap();
    drop(stop);
    assert_eq!(running.await.unwrap().unwrap().performed, 1);
}
