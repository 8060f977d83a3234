use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::{
    AttemptRecord, BoxFuture, CancelOutcome, Counts, ErrorRecord, Fence, Inserted, Inspect, JobFilter, Lease, LeaseKey,
    Leased, NewJob, Page, Rescued, Settle, Settled, Settlement, Store, StoredJob, Want,
};
use crate::clock::later;
use crate::{Clock, JobId, JobState, Queue, RetryPolicy, Status, StoreError, UniqueScope};

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

#[derive(Default)]
struct Table {
    rows: BTreeMap<i64, Row>,
    by_id: HashMap<JobId, i64>,
    by_key: HashMap<String, i64>,
    /// What can be leased, in the order to do it.
    ready: BTreeSet<(Queue, u8, DateTime<Utc>, i64)>,
    leases: BTreeSet<(DateTime<Utc>, i64)>,
}

struct Row {
    stored: StoredJob,
    scheduled_at: DateTime<Utc>,
    fence: u64,
    until: DateTime<Utc>,
    cancel_requested: bool,
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
        Box::pin(std::future::ready(Ok(answer)))
    }
}

impl Table {
    fn insert(&mut self, job: NewJob, now: DateTime<Utc>) -> Inserted {
        let id = job.parts.id;
        if self.by_id.contains_key(&id) {
            return Inserted::Duplicate(id);
        }
        let seq = self.rows.last_key_value().map_or(1, |(seq, _)| seq + 1);
        if let Some(unique) = &job.parts.unique {
            if let Some(holder) = self.by_key.get(unique.key()).and_then(|seq| self.rows.get(seq)) {
                return Inserted::Duplicate(holder.stored.job.parts.id);
            }
            self.by_key.insert(unique.key().to_owned(), seq);
        }
        let scheduled_at = job.parts.scheduled_at.unwrap_or(now);
        let mut stored = StoredJob::new(job, now);
        stored.job.parts.max_attempts.get_or_insert(crate::DEFAULT_MAX_ATTEMPTS);
        self.by_id.insert(id, seq);
        self.rows.insert(seq, Row { stored, scheduled_at, fence: 0, until: now, cancel_requested: false });
        self.make_available(seq, scheduled_at);
        Inserted::New(id)
    }

    fn make_available(&mut self, seq: i64, at: DateTime<Utc>) {
        let Some(row) = self.rows.get_mut(&seq) else { return };
        self.leases.remove(&(row.until, seq));
        row.scheduled_at = at;
        row.stored.state = JobState::Available;
        let parts = &row.stored.job.parts;
        self.ready.insert((parts.queue.clone(), parts.priority, at, seq));
    }

    fn end(&mut self, seq: i64, state: JobState, status: Status, now: DateTime<Utc>) {
        let Some(row) = self.rows.get_mut(&seq) else { return };
        let parts = &row.stored.job.parts;
        self.leases.remove(&(row.until, seq));
        self.ready.remove(&(parts.queue.clone(), parts.priority, row.scheduled_at, seq));
        if let Some(unique) = parts.unique.as_ref().filter(|u| u.scope() == UniqueScope::WhileActive) {
            self.by_key.remove(unique.key());
        }
        row.stored.state = state;
        row.stored.status = Some(status);
        row.stored.finished_at = Some(now);
    }

    fn record(&mut self, seq: i64, status: Status, error: ErrorRecord, at: DateTime<Utc>) {
        if let Some(row) = self.rows.get_mut(&seq) {
            let attempt = row.stored.attempt;
            row.stored.attempts.push(AttemptRecord { attempt, status, error, at });
        }
    }

    /// The next job of a queue that is due.
    fn next_due(&self, queue: &Queue, now: DateTime<Utc>) -> Option<i64> {
        (0..=crate::MAX_PRIORITY).find_map(|priority| {
            let from = (queue.clone(), priority, DateTime::<Utc>::MIN_UTC, i64::MIN);
            let to = (queue.clone(), priority, now, i64::MAX);
            self.ready.range(from..=to).next().map(|(.., seq)| *seq)
        })
    }

    fn lease(&mut self, want: &Want, now: DateTime<Utc>) -> Vec<Lease> {
        let mut leased = Vec::new();
        for queue in &want.queues {
            while leased.len() < want.limit {
                let Some(seq) = self.next_due(queue, now) else { break };
                leased.extend(self.take(seq, now, want.lease_for));
            }
        }
        leased
    }

    fn take(&mut self, seq: i64, now: DateTime<Utc>, lease_for: Duration) -> Option<Lease> {
        let row = self.rows.get_mut(&seq)?;
        let parts = &row.stored.job.parts;
        self.ready.remove(&(parts.queue.clone(), parts.priority, row.scheduled_at, seq));
        if parts.expires_at.is_some_and(|at| at <= now) {
            self.record(seq, Status::BAD_REQUEST, ErrorRecord::new("it expired before it started"), now);
            self.end(seq, JobState::Discarded, Status::BAD_REQUEST, now);
            return None;
        }
        row.stored.state = JobState::Running;
        row.stored.attempt += 1;
        row.fence += 1;
        row.until = later(now, lease_for);
        self.leases.insert((row.until, seq));
        Some(Lease {
            key: LeaseKey { id: row.stored.job.parts.id, fence: Fence(row.fence), row: seq },
            job: row.stored.job.clone(),
            attempt: row.stored.attempt,
            until: row.until,
            created_at: row.stored.created_at,
        })
    }

    /// The row of a lease that is current.
    fn held(&mut self, key: &LeaseKey) -> Option<&mut Row> {
        let row = self.rows.get_mut(&key.row)?;
        (row.stored.state == JobState::Running && row.fence == key.fence.0).then_some(row)
    }

    fn extend(&mut self, key: &LeaseKey, until: DateTime<Utc>) -> bool {
        let Some(row) = self.held(key).filter(|row| !row.cancel_requested) else { return false };
        let before = std::mem::replace(&mut row.until, until);
        self.leases.remove(&(before, key.row));
        self.leases.insert((until, key.row));
        true
    }

    fn settle(&mut self, done: Settle, now: DateTime<Utc>) -> Settled {
        let seq = done.key.row;
        let Some(row) = self.held(&done.key) else { return Settled::Lost };
        row.stored.status = Some(done.status);
        if let Settlement::Complete { output } = &done.settlement {
            row.stored.output.clone_from(output);
        }
        if matches!(done.settlement, Settlement::Snooze { .. }) {
            row.stored.attempt -= 1;
        }
        if let Some(error) = done.error {
            self.record(seq, done.status, error, now);
        }
        match done.settlement {
            Settlement::Retry { at } | Settlement::Snooze { at } => self.make_available(seq, at),
            Settlement::Complete { .. } => self.end(seq, JobState::Completed, done.status, now),
            Settlement::Discard => self.end(seq, JobState::Discarded, done.status, now),
            Settlement::Cancel => self.end(seq, JobState::Cancelled, done.status, now),
        }
        for job in done.then {
            self.insert(job, now);
        }
        Settled::Done
    }

    fn rescue(&mut self, limit: usize, max_crashes: u32, now: DateTime<Utc>) -> Rescued {
        let expired: Vec<i64> = self.leases.range(..(now, i64::MIN)).take(limit).map(|(_, seq)| *seq).collect();
        let mut rescued = Rescued::default();
        for seq in expired {
            let Some(row) = self.rows.get_mut(&seq) else { continue };
            row.stored.crashes += 1;
            let (crashes, at, cancelled) = (row.stored.crashes, row.scheduled_at, row.cancel_requested);
            let error = ErrorRecord::new("crashed: the attempt ended without a report");
            self.record(seq, Status::INTERNAL_ERROR, error, now);
            if cancelled {
                self.end(seq, JobState::Cancelled, Status::CANCELLED, now);
            } else if crashes >= max_crashes {
                self.end(seq, JobState::Discarded, Status::INTERNAL_ERROR, now);
                rescued.discarded += 1;
            } else {
                if let Some(row) = self.rows.get_mut(&seq) {
                    row.stored.attempt -= 1;
                }
                self.make_available(seq, at);
                rescued.available += 1;
            }
        }
        rescued
    }

    fn cancel(&mut self, id: JobId, now: DateTime<Utc>) -> CancelOutcome {
        let Some(seq) = self.by_id.get(&id).copied() else { return CancelOutcome::NotFound };
        let Some(row) = self.rows.get_mut(&seq) else { return CancelOutcome::NotFound };
        match row.stored.state {
            JobState::Available => {
                self.end(seq, JobState::Cancelled, Status::CANCELLED, now);
                CancelOutcome::Cancelled
            }
            JobState::Running => {
                row.cancel_requested = true;
                CancelOutcome::Requested
            }
            _ => CancelOutcome::Ended,
        }
    }

    fn retry(&mut self, id: JobId, now: DateTime<Utc>) -> bool {
        let Some(seq) = self.by_id.get(&id).copied() else { return false };
        let Some(row) = self.rows.get_mut(&seq) else { return false };
        if !matches!(row.stored.state, JobState::Discarded | JobState::Cancelled) {
            return false;
        }
        let attempts = RetryPolicy::max_attempts(&row.stored.job).max(row.stored.attempt + 1);
        row.stored.job.parts.max_attempts = Some(attempts);
        row.stored.finished_at = None;
        row.stored.crashes = 0;
        row.cancel_requested = false;
        if let Some(unique) = &row.stored.job.parts.unique {
            self.by_key.entry(unique.key().to_owned()).or_insert(seq);
        }
        self.make_available(seq, now);
        true
    }
}

impl Store for MemoryStore {
    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        let now = self.now();
        let mut table = self.table();
        let answers: Vec<Inserted> = jobs.into_iter().map(|job| table.insert(job, now)).collect();
        drop(table);
        self.changed(answers)
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        let now = self.now();
        let mut table = self.table();
        let jobs = table.lease(&want, now);
        let short = jobs.len() < want.limit;
        let due = |(queue, _, at, _): &(Queue, u8, DateTime<Utc>, i64)| want.queues.contains(queue).then_some(*at);
        let next = if short { table.ready.iter().filter_map(due).min() } else { None };
        let next_due_in = next.map(|at| (at - now).to_std().unwrap_or_default());
        Box::pin(std::future::ready(Ok(Leased { jobs, next_due_in })))
    }

    fn extend(&self, leases: Vec<LeaseKey>, lease_for: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>> {
        let until = later(self.now(), lease_for);
        let mut table = self.table();
        let held = leases.into_iter().filter(|key| table.extend(key, until)).collect();
        Box::pin(std::future::ready(Ok(held)))
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        let now = self.now();
        let mut table = self.table();
        let answers: Vec<Settled> = done.into_iter().map(|done| table.settle(done, now)).collect();
        drop(table);
        self.changed(answers)
    }

    fn rescue(&self, limit: usize, max_crashes: u32) -> BoxFuture<'_, Result<Rescued, StoreError>> {
        let rescued = self.table().rescue(limit, max_crashes, self.now());
        self.changed(rescued)
    }

    fn cancel(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<CancelOutcome>, StoreError>> {
        let now = self.now();
        let mut table = self.table();
        let answers = ids.into_iter().map(|id| table.cancel(id, now)).collect();
        Box::pin(std::future::ready(Ok(answers)))
    }

    fn ready<'a>(&'a self, _: &'a [Queue]) -> BoxFuture<'a, ()> {
        Box::pin(self.shared.arrived.notified())
    }
}

impl Inspect for MemoryStore {
    fn get(&self, id: JobId) -> BoxFuture<'_, Result<Option<StoredJob>, StoreError>> {
        let table = self.table();
        let found = table.by_id.get(&id).and_then(|seq| table.rows.get(seq)).map(|row| row.stored.clone());
        Box::pin(std::future::ready(Ok(found)))
    }

    fn list(&self, filter: JobFilter, after: Option<i64>, limit: usize) -> BoxFuture<'_, Result<Page, StoreError>> {
        let table = self.table();
        let rows = table.rows.range(after.map_or(i64::MIN, |seq| seq.saturating_add(1))..);
        let mut found = rows.filter(|(_, row)| filter.fits(&row.stored));
        let page: Vec<(i64, StoredJob)> =
            found.by_ref().take(limit).map(|(seq, row)| (*seq, row.stored.clone())).collect();
        let next = found.next().and(page.last()).map(|(seq, _)| *seq);
        Box::pin(std::future::ready(Ok(Page { jobs: page.into_iter().map(|(_, job)| job).collect(), next })))
    }

    fn counts(&self, filter: JobFilter) -> BoxFuture<'_, Result<Counts, StoreError>> {
        let mut counts = Counts::default();
        for row in self.table().rows.values().filter(|row| filter.fits(&row.stored)) {
            *counts.0.entry(row.stored.state).or_default() += 1;
        }
        Box::pin(std::future::ready(Ok(counts)))
    }

    fn retry(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>> {
        let retried = self.table().retry(id, self.now());
        self.changed(retried)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("jobs", &self.table().rows.len()).finish()
    }
}
