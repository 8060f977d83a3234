use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use work_core::store::{
    BoxFuture, Inserted, Inspect, JobFilter, LeaseKey, Leased, MemoryStore, NewJob, Settle, Settled, Store, Want,
};
use work_core::{JobState, Queue, StoreError};

/// The queue that has a limit everywhere.
pub(crate) const NARROW: &str = "narrow";

/// How many of its jobs may be leased at once.
pub(crate) const AT_MOST: u32 = 2;

/// The queues of keys, each of which may have one job leased.
pub(crate) const KEYED: &str = "keyed";

/// How many keys there are.
pub(crate) const KEYS: u64 = 3;

/// Looks after each lease how many jobs of the queue with a limit are leased.
#[derive(Clone)]
pub(crate) struct Limited {
    pub(crate) inner: MemoryStore,
    pub(crate) broken: Arc<Mutex<Vec<String>>>,
}

impl Limited {
    fn look(&self) {
        self.look_at(&NARROW.into(), AT_MOST);
        (0..KEYS).for_each(|key| self.look_at(&Queue::of_key(KEYED, key), 1));
    }

    fn look_at(&self, queue: &Queue, at_most: u32) {
        let filter = JobFilter::all().queue(queue.clone()).state(JobState::Running);
        let leased = self.inner.counts(filter).now_or_never().unwrap().unwrap().total();
        if leased > u64::from(at_most) {
            self.broken.lock().unwrap().push(format!("{leased} jobs of {queue} are leased, of at most {at_most}"));
        }
    }
}

impl Store for Limited {
    work_core::forward_upkeep!(self => self.inner);

    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        self.inner.insert(jobs)
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        let leased = self.inner.lease(want);
        self.look();
        leased
    }

    fn extend(&self, leases: Vec<LeaseKey>, by: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        self.inner.extend(leases, by)
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        self.inner.settle(done)
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.inner.ready(queues)
    }
}

impl Inspect for Limited {
    work_core::forward_inspect!(self => self.inner);
}
