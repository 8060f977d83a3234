mod capacity;
mod change;
mod keys;
mod operate;
mod rates;
mod schedules;
mod table;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::{
    Act, Acted, BoxFuture, CancelOutcome, Change, Counts, DeleteOutcome, Fired, Firing, Inserted, Inspect, JobFilter,
    JobVersion, LeaseKey, Leased, NewJob, Order, Page, QueueInfo, Rescued, Retention, Settle, Settled, Store,
    StoredJob, StoredSchedule, Want, WorkerInfo, check_capacity, check_limit, check_new_args, check_queue, check_rate,
};
use crate::clock::later;
use crate::limit::Rate;
use crate::{Clock, JobId, Queue, StoreError};

use table::Table;

/// Keeps jobs in memory: the reference that every other store is compared with, and a store for tests.
///
/// What it holds is gone with the process.
///
/// ```
/// use work_core::{Job, Store, store::{Inserted, MemoryStore}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let store = MemoryStore::new();
/// let job = Job::new("greet", "Ann").into_stored(1024)?;
/// let id = job.parts.id;
/// assert_eq!(store.insert(vec![job.clone()]).await?, [Inserted::New(id)]);
/// assert_eq!(store.insert(vec![job]).await?, [Inserted::Duplicate(id)]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    clock: Clock,
    /// Held for map operations only, never over an await.
    table: Mutex<Table>,
    arrived: Notify,
}

fn answer<'a, T: Send + 'a>(answer: T) -> BoxFuture<'a, Result<T, StoreError>> {
    Box::pin(std::future::ready(Ok(answer)))
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store with another clock.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        Self { shared: Arc::new(Shared { clock, ..Shared::default() }) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> DateTime<Utc> {
        self.shared.clock.now()
    }

    /// Answers, and wakes who waits for jobs.
    fn changed<T: Send + 'static>(&self, answer: T) -> BoxFuture<'_, Result<T, StoreError>> {
        self.shared.arrived.notify_waiters();
        self::answer(answer)
    }
}

impl Store for MemoryStore {
    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        let now = self.now();
        let mut table = self.table();
        let answers = table.insert_within(jobs, now);
        drop(table);
        match answers {
            Ok(answers) => self.changed(answers),
            Err(full) => Box::pin(std::future::ready(Err(full.into()))),
        }
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        let now = self.now();
        let mut table = self.table();
        let want = if want.has_keys() { table.with_keys(&want, now) } else { want };
        let jobs = table.lease(&want, now);
        let short = jobs.len() < want.limit;
        let open = want.queues.iter().filter(|queue| table.room(queue) > 0);
        let next_of = |queue| table.next_at(queue).map(|at| at.max(table.permit_at(queue, now)));
        let next = if short { open.filter_map(next_of).min() } else { None };
        let next_due_in = next.map(|at| (at - now).to_std().unwrap_or_default());
        answer(Leased { jobs, next_due_in })
    }

    fn extend(&self, leases: Vec<LeaseKey>, lease_for: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        let until = later(self.now(), lease_for);
        let mut table = self.table();
        let held = leases.into_iter().filter(|key| table.extend(key, until)).collect();
        answer(held)
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        let now = self.now();
        let mut table = self.table();
        let answers = table.settle(done, now);
        drop(table);
        self.changed(answers)
    }

    fn completed(&self, leases: Vec<LeaseKey>) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        let table = self.table();
        let completed = leases.into_iter().filter(|key| table.is_completed(key)).collect();
        answer(completed)
    }

    fn rescue(&self, limit: usize, max_crashes: u32) -> BoxFuture<'_, Result<Rescued, StoreError>> {
        let rescued = self.table().rescue(limit, max_crashes, self.now());
        self.changed(rescued)
    }

    fn take_back(&self, worker: String, held: Vec<LeaseKey>) -> BoxFuture<'_, Result<u64, StoreError>> {
        let taken = self.table().take_back(&worker, &held);
        self.changed(taken)
    }

    fn cancel(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<CancelOutcome>, StoreError>> {
        let now = self.now();
        let mut table = self.table();
        let answers = ids.into_iter().map(|id| table.cancel(id, now)).collect();
        answer(answers)
    }

    fn stop_requests(&self) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        answer(self.table().stop_requests())
    }

    fn set_progress(&self, of: Vec<(LeaseKey, f32)>) -> BoxFuture<'_, Result<(), StoreError>> {
        let now = self.now();
        let mut table = self.table();
        of.into_iter().for_each(|(key, done)| table.set_progress(&key, done, now));
        answer(())
    }

    fn beat(&self, worker: WorkerInfo) -> BoxFuture<'_, Result<(), StoreError>> {
        self.table().beat(worker, self.now());
        answer(())
    }

    fn leave(&self, worker: String) -> BoxFuture<'_, Result<(), StoreError>> {
        self.table().workers.remove(&worker);
        answer(())
    }

    fn prune(&self, retention: Retention, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        answer(self.table().prune(retention, limit, self.now()))
    }

    fn declare_limit(&self, queue: Queue, at_most: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        if let Err(error) = check_limit(&queue, Some(at_most)) {
            return Box::pin(std::future::ready(Err(error)));
        }
        answer(*self.table().limits.entry(queue).or_insert(at_most))
    }

    fn declare_rate(&self, queue: Queue, rate: Rate) -> BoxFuture<'_, Result<Rate, StoreError>> {
        if let Err(error) = check_rate(&queue, Some(&rate)) {
            return Box::pin(std::future::ready(Err(error)));
        }
        answer(self.table().declare_rate(queue, rate))
    }

    fn put_schedule(&self, schedule: StoredSchedule) -> BoxFuture<'_, Result<(), StoreError>> {
        self.table().put_schedule(schedule, self.now());
        answer(())
    }

    fn schedules(&self) -> BoxFuture<'_, Result<Vec<StoredSchedule>, StoreError>> {
        answer(self.table().schedules.values().cloned().collect())
    }

    fn fire(&self, due: Vec<Firing>) -> BoxFuture<'_, Result<Vec<Fired>, StoreError>> {
        let now = self.now();
        let mut table = self.table();
        let fired: Vec<Fired> = due.into_iter().map(|due| table.fire(due, now)).collect();
        drop(table);
        self.changed(fired)
    }

    fn ready<'a>(&'a self, _: &'a [Queue]) -> BoxFuture<'a, ()> {
        Box::pin(self.shared.arrived.notified())
    }
}

impl Inspect for MemoryStore {
    fn get(&self, id: JobId) -> BoxFuture<'_, Result<Option<StoredJob>, StoreError>> {
        let table = self.table();
        let found = table.by_id.get(&id).and_then(|seq| table.rows.get(seq)).map(|row| row.stored.clone());
        answer(found)
    }

    fn list(
        &self,
        filter: JobFilter,
        order: Order,
        after: Option<i64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        let page = self.table().list(&filter, order, after, limit);
        answer(page)
    }

    fn counts(&self, filter: JobFilter) -> BoxFuture<'_, Result<Counts, StoreError>> {
        let mut counts = Counts::default();
        for row in self.table().rows.values().filter(|row| filter.fits(&row.stored)) {
            *counts.0.entry(row.stored.state).or_default() += 1;
        }
        answer(counts)
    }

    fn retry(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        let retried = self.table().retry(id, self.now());
        self.changed(retried)
    }

    fn run_now(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        let due = self.table().run_now(id, self.now());
        self.changed(due)
    }

    fn edit(&self, id: JobId, args: Bytes) -> BoxFuture<'_, Result<bool, StoreError>> {
        if let Err(error) = check_new_args(&args, crate::DEFAULT_MAX_ARGS) {
            return Box::pin(std::future::ready(Err(error)));
        }
        answer(self.table().edit(id, args))
    }

    fn act_if(&self, id: JobId, seen: JobVersion, act: Act) -> BoxFuture<'_, Result<Acted, StoreError>> {
        if let Some(Err(error)) = act.args().map(|args| check_new_args(args, crate::DEFAULT_MAX_ARGS)) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let acted = self.table().act_if(id, &seen, act, self.now());
        self.changed(acted)
    }

    fn delete(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<DeleteOutcome>, StoreError>> {
        let mut table = self.table();
        let deleted = ids.into_iter().map(|id| table.delete(id)).collect();
        answer(deleted)
    }

    fn change_all(&self, change: Change, filter: JobFilter, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        let changed = self.table().change_all(change, filter, limit, self.now());
        self.changed(changed)
    }

    fn pause(&self, queue: Queue) -> BoxFuture<'_, Result<bool, StoreError>> {
        if let Err(error) = check_queue(&queue) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let now = self.now();
        let mut table = self.table();
        let worked = !table.paused.contains_key(&queue);
        table.paused.entry(queue).or_insert(now);
        answer(worked)
    }

    fn resume(&self, queue: Queue) -> BoxFuture<'_, Result<bool, StoreError>> {
        let paused = self.table().paused.remove(&queue).is_some();
        self.changed(paused)
    }

    fn limit_queue(&self, queue: Queue, at_most: Option<u32>) -> BoxFuture<'_, Result<Option<u32>, StoreError>> {
        if let Err(error) = check_limit(&queue, at_most) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let mut table = self.table();
        let before = match at_most {
            Some(at_most) => table.limits.insert(queue.clone(), at_most),
            None => table.limits.remove(&queue),
        };
        table.limits.retain(|other, _| !other.is_key_of(&queue));
        drop(table);
        self.changed(before)
    }

    fn rate_queue(&self, queue: Queue, rate: Option<Rate>) -> BoxFuture<'_, Result<Option<Rate>, StoreError>> {
        if let Err(error) = check_rate(&queue, rate.as_ref()) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let before = self.table().set_rate(queue, rate);
        self.changed(before)
    }

    fn bound_queue(&self, queue: Queue, capacity: Option<u32>) -> BoxFuture<'_, Result<Option<u32>, StoreError>> {
        if let Err(error) = check_capacity(&queue, capacity) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let mut table = self.table();
        let before = match capacity {
            Some(capacity) => table.capacities.insert(queue, capacity),
            None => table.capacities.remove(&queue),
        };
        answer(before)
    }

    fn keep_queues(&self, prefix: Queue) -> BoxFuture<'_, Result<bool, StoreError>> {
        if let Err(error) = check_queue(&prefix) {
            return Box::pin(std::future::ready(Err(error)));
        }
        answer(self.table().kept.insert(prefix))
    }

    fn release_queues(&self, prefix: Queue) -> BoxFuture<'_, Result<bool, StoreError>> {
        answer(self.table().kept.remove(&prefix))
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, StoreError>> {
        answer(self.table().queues(self.now()))
    }

    fn workers(&self) -> BoxFuture<'_, Result<Vec<WorkerInfo>, StoreError>> {
        answer(self.table().workers(self.now()))
    }

    fn pause_schedule(&self, name: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        answer(self.table().pause_schedule(&name, self.now()))
    }

    fn resume_schedule(&self, name: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        answer(self.table().resume_schedule(&name, self.now()))
    }

    fn remove_schedule(&self, name: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        answer(self.table().schedules.remove(&name).is_some())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("jobs", &self.table().rows.len()).finish()
    }
}
