//! A store whose answers are lost now and then, as those of a server behind a network.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use work_core::runner::Runner;
use work_core::store::{
    BoxFuture, Inserted, Inspect, JobFilter, LeaseKey, Leased, MemoryStore, NewJob, Settle, Settled, Store, Want,
};
use work_core::{DEFAULT_MAX_ARGS, Job, JobState, Queue, Router, StoreError};

/// Settles, and says that it does not know the first time.
struct Forgetful(MemoryStore, AtomicBool);

impl Store for Forgetful {
    work_core::forward_upkeep!(self => self.0);

    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        self.0.insert(jobs)
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        self.0.lease(want)
    }

    fn extend(&self, leases: Vec<LeaseKey>, by: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        self.0.extend(leases, by)
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        Box::pin(async move {
            let answers = self.0.settle(done).await?;
            if self.1.swap(true, Ordering::SeqCst) { Ok(answers) } else { Err(StoreError::unknown("no answer", "cut")) }
        })
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.0.ready(queues)
    }
}

#[tokio::test]
async fn an_end_that_was_recorded_while_its_answer_was_lost_is_not_called_stale() {
    let (inner, ran) = (MemoryStore::new(), Arc::new(AtomicUsize::new(0)));
    let job = Job::new("count", ()).into_stored(DEFAULT_MAX_ARGS).expect("valid");
    inner.insert(vec![job]).await.expect("insert");
    let store = Arc::new(Forgetful(inner.clone(), AtomicBool::new(false)));
    let count = ran.clone();
    let handler = move || {
        let count = count.clone();
        async move { _ = count.fetch_add(1, Ordering::SeqCst) }
    };
    let watched = store.clone();
    let repeated = async move {
        while !watched.1.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let report = Runner::new(store, Router::new().route("count", handler)).run_until(repeated).await.expect("valid");
    assert_eq!((report.stale, ran.load(Ordering::SeqCst)), (0, 1));
    let counts = inner.counts(JobFilter::all()).await.expect("counts");
    assert_eq!((counts.of(JobState::Completed), counts.total()), (1, 1));
}

/// Leases, and says that it does not know, so many times.
struct Deaf(MemoryStore, AtomicUsize);

impl Store for Deaf {
    work_core::forward_upkeep!(self => self.0);

    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        self.0.insert(jobs)
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        Box::pin(async move {
            let leased = self.0.lease(want).await?;
            let left = self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if left.is_ok() { Err(StoreError::unknown("no answer", "cut")) } else { Ok(leased) }
        })
    }

    fn extend(&self, leases: Vec<LeaseKey>, by: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        self.0.extend(leases, by)
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        self.0.settle(done)
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.0.ready(queues)
    }
}

/// More often than a job may crash, and long before a lease would end.
#[tokio::test]
async fn a_job_whose_lease_was_answered_to_nobody_runs_soon_and_has_not_crashed() {
    let inner = MemoryStore::new();
    let job = Job::new("tell", ()).into_stored(DEFAULT_MAX_ARGS).expect("valid");
    let id = job.parts.id;
    inner.insert(vec![job]).await.expect("insert");
    let ran = Arc::new(tokio::sync::Notify::new());
    let tell = ran.clone();
    let handler = move || {
        tell.notify_one();
        std::future::ready(())
    };
    let runner = Runner::new(Arc::new(Deaf(inner.clone(), AtomicUsize::new(5))), Router::new().route("tell", handler));
    let soon = async { tokio::time::timeout(Duration::from_secs(20), ran.notified()).await.expect("it runs") };
    runner.run_until(soon).await.expect("valid");
    let stored = inner.get(id).await.expect("a call").expect("it is kept");
    assert_eq!((stored.state, stored.attempt, stored.crashes), (JobState::Completed, 1, 0));
}
