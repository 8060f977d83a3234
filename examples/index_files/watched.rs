use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use work_core::store::{BoxFuture, Inserted, Inspect, LeaseKey, Leased, NewJob, Settle, Settled, Store, Want};
use work_core::{Queue, StoreError};
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

    work_core::forward_upkeep!(self => self.store);

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.store.ready(queues)
    }
}

impl Inspect for Watched {
    work_core::forward_inspect!(self => self.store);
}
