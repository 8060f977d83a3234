use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use work_core::store::{
    BoxFuture, CancelOutcome, Counts, Inserted, Inspect, JobFilter, LeaseKey, Leased, NewJob, Page, Rescued, Settle,
    Settled, Store, StoredJob, Want,
};
use work_core::{JobId, Queue, StoreError};
use work_sqlite::SqliteStore;

/// The store, and since when it takes nothing.
///
/// A runner waits for a store that fails, as long as it takes. Who started a command and sees a full disk wants it to end.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    store: SqliteStore,
    failing: Arc<Mutex<Option<(Instant, String)>>>,
}

impl Watched {
    /// Watches this store.
    pub(crate) fn new(store: SqliteStore) -> Self {
        Self { store, failing: Arc::default() }
    }

    /// Why nothing could be written for so long, if that is so.
    pub(crate) fn failing_for(&self, time: Duration) -> Option<String> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.as_ref().filter(|(since, _)| since.elapsed() >= time).map(|(_, why)| why.clone())
    }

    /// Notes how a write ended; one of nothing says nothing.
    fn note<A>(&self, answer: Result<A, StoreError>, wrote: impl FnOnce(&A) -> bool) -> Result<A, StoreError> {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match &answer {
            Ok(done) if wrote(done) => *failing = None,
            Ok(_) => {}
            Err(error) => {
                failing.get_or_insert_with(|| (Instant::now(), String::new())).1 = error.to_string();
            }
        }
        drop(failing);
        answer
    }
}

impl Store for Watched {
    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        Box::pin(async move {
            let wrote = |done: &Vec<Inserted>| done.iter().any(|one| matches!(one, Inserted::New(_)));
            self.note(self.store.insert(jobs).await, wrote)
        })
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        Box::pin(async move { self.note(self.store.lease(want).await, |leased| !leased.jobs.is_empty()) })
    }

    fn extend(&self, leases: Vec<LeaseKey>, lease_for: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        Box::pin(async move { self.note(self.store.extend(leases, lease_for).await, |held| !held.is_empty()) })
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        Box::pin(async move { self.note(self.store.settle(done).await, |done| done.contains(&Settled::Done)) })
    }

    fn rescue(&self, limit: usize, max_crashes: u32) -> BoxFuture<'_, Result<Rescued, StoreError>> {
        self.store.rescue(limit, max_crashes)
    }

    fn cancel(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<CancelOutcome>, StoreError>> {
        self.store.cancel(ids)
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.store.ready(queues)
    }
}

impl Inspect for Watched {
    fn get(&self, id: JobId) -> BoxFuture<'_, Result<Option<StoredJob>, StoreError>> {
        self.store.get(id)
    }

    fn list(&self, filter: JobFilter, after: Option<i64>, limit: usize) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.store.list(filter, after, limit)
    }

    fn counts(&self, filter: JobFilter) -> BoxFuture<'_, Result<Counts, StoreError>> {
        self.store.counts(filter)
    }

    fn retry(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.store.retry(id)
    }
}
