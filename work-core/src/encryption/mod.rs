//! Encryption at rest: a store that keeps nothing which can be read without a key.

mod envelope;
mod jobs;
mod keys;

use std::sync::Arc;
use std::time::Duration;

pub use keys::{InvalidKey, Keys};

use crate::store::{
    Act, Acted, BoxFuture, Bytes, Change, Counts, ErrorRecord, Fired, Firing, HandedOver, Inserted, Inspect, JobFilter,
    JobVersion, Lease, LeaseKey, Leased, NewJob, Order, Page, Settle, Settled, Settlement, Store, StoredJob,
    StoredSchedule, Tally, Told, Want, on_error_job,
};
use crate::{JobId, Queue, Status, StoreError};
use envelope::CannotOpen;

/// A store that encrypts what its jobs are about, before any other store sees it: arguments, outputs, the texts of errors, and
/// what travels from one job of a chain to the next. XChaCha20-Poly1305, with a random nonce each time.
///
/// The database has `{"$enc":"v1","key":…,"data":…}` in their places, which opens only in the job that it was written for.
/// Whoever looks at the store inside, as the command `work` does, sees that; through this store everything is readable.
/// [Unique keys](crate::Unique) become hashes that cannot be computed without a key. In clear are: kinds, queues, tags,
/// your own headers, times, statuses, names of schedules, progress, and how long everything is.
///
/// A job that does not open becomes a dead letter when it is leased, and the error names the key: give that key to the
/// process, and retry the job. Jobs that others insert in clear are performed too.
///
/// Filters on [`args`](JobFilter::args), and on [`error_contains`](JobFilter::error_contains), are refused. What is
/// encrypted has about 4/3 of its length and 100 bytes more, which counts for the limit of the store inside. Give jobs that
/// you insert in a transaction of your own to [`seal`](Self::seal) first.
///
/// ```
/// use work_core::encryption::{EncryptedStore, Keys};
/// use work_core::{Args, Job, Json, QueueWorker, Router, Worker, store::{Inspect, MemoryStore}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let inside = MemoryStore::new();
/// let store = EncryptedStore::new(inside.clone(), Keys::new("2026", [7; 32])?);
/// let router = Router::new().route("greet", |Args(name): Args<String>| async move { Json(format!("Hello {name}")) });
/// let worker = QueueWorker::new(store, router);
/// let greeting = worker.perform(Job::new("greet", "Ann")).await?;
/// let id = greeting.id();
/// let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
/// assert_eq!(greeting.output::<String>().await?.as_deref(), Some("Hello Ann"));
///
/// let kept = inside.get(id).await?.ok_or("no job")?;
/// assert!(kept.job.args.starts_with(br#"{"$enc":"v1","key":"2026""#));
/// assert!(kept.output.is_some_and(|output| output.starts_with(br#"{"$enc""#)));
/// # running.abort();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EncryptedStore<S> {
    store: S,
    keys: Arc<Keys>,
}

impl<S> EncryptedStore<S> {
    /// Encrypts what goes into a store, and decrypts what comes out.
    pub fn new(store: S, keys: Keys) -> Self {
        Self { store, keys: Arc::new(keys) }
    }

    /// The store inside.
    pub const fn inside(&self) -> &S {
        &self.store
    }

    /// Jobs as the store inside keeps them: for those that you insert past this store, in a transaction of your own.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the system has no random numbers.
    pub fn seal(&self, jobs: Vec<NewJob>) -> Result<Vec<NewJob>, StoreError> {
        jobs.into_iter().map(|job| self.keys.seal_job(job)).collect()
    }

    fn open(&self, mut lease: Lease, refused: &mut Vec<Settle>) -> Option<Lease> {
        match self.keys.open_job(&mut lease.job) {
            Ok(()) => {
                lease.job.parts.seal = Some(self.keys.clone());
                Some(lease)
            }
            Err(why) => {
                refused.push(dead_letter(&lease, &why));
                None
            }
        }
    }

    fn searchable(&self, filter: &JobFilter) -> Result<(), StoreError> {
        let refuse = |what, why: &str| Err(StoreError::rejected(what, why.to_owned()));
        if !filter.args.is_empty() {
            return refuse("args cannot be searched", "they are encrypted: find jobs by tags instead");
        }
        if filter.error_contains.is_some() && self.keys.errors == keys::Errors::Sealed {
            return refuse("errors cannot be searched", "they are encrypted: see `Keys::errors_in_clear`");
        }
        Ok(())
    }
}

impl<S: Store> EncryptedStore<S> {
    /// Those that open. The others are dead letters.
    async fn opened(&self, Leased { jobs, next_due_in }: Leased) -> Leased {
        let mut refused = Vec::new();
        let jobs = jobs.into_iter().filter_map(|lease| self.open(lease, &mut refused)).collect();
        if !refused.is_empty()
            && let Err(error) = self.store.settle(refused).await
        {
            tracing::warn!(%error, "jobs that could not be decrypted are leased until their leases end");
        }
        Leased { jobs, next_due_in }
    }
}

/// Nothing in it is lost: with the right key it can be retried.
fn dead_letter(lease: &Lease, why: &CannotOpen) -> Settle {
    let (parts, status) = (&lease.job.parts, Status::BAD_REQUEST);
    tracing::error!(job.id = %parts.id, job.kind = %parts.kind, error = %why, "a job could not be decrypted");
    let error = ErrorRecord::new(why.to_string());
    let then = on_error_job(parts, status, lease.attempt, &error).into_iter().collect();
    Settle { key: lease.key, status, settlement: Settlement::Discard, error: Some(error), then }
}

/// What a store that cannot do it answers.
fn refused<'a, T: Send + 'a>(error: StoreError) -> BoxFuture<'a, Result<T, StoreError>> {
    Box::pin(std::future::ready(Err(error)))
}

impl<S: Store> Store for EncryptedStore<S> {
    crate::forward_methods! { self => self.store;
        extend(leases: Vec<LeaseKey>, lease_for: Duration) -> Vec<LeaseKey>;
        completed(leases: Vec<LeaseKey>) -> Vec<LeaseKey>;
        rescue(limit: usize, max_crashes: u32) -> crate::store::Rescued;
        take_back(worker: String, held: Vec<LeaseKey>) -> u64;
        cancel(ids: Vec<JobId>) -> Vec<crate::store::CancelOutcome>;
        stop_requests() -> Vec<LeaseKey>;
        set_progress(of: Vec<(LeaseKey, f32)>) -> ();
        beat(worker: crate::store::WorkerInfo) -> ();
        leave(worker: String) -> ();
        prune(retention: crate::store::Retention, limit: usize) -> u64;
        declare_limit(queue: Queue, at_most: u32) -> u32;
        declare_rate(queue: Queue, rate: crate::limit::Rate) -> crate::limit::Rate;
    }

    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>> {
        self.seal(jobs).map_or_else(refused, |jobs| self.store.insert(jobs))
    }

    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>> {
        Box::pin(async move { Ok(self.opened(self.store.lease(want).await?).await) })
    }

    fn hand_over<'a>(&'a self, want: Want, told: Told<'a>) -> BoxFuture<'a, Option<HandedOver>> {
        Box::pin(async move {
            let HandedOver { asked, leased } = self.store.hand_over(want, told).await?;
            Some(HandedOver { asked, leased: self.opened(leased).await })
        })
    }

    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        let sealed = done.into_iter().map(|done| self.keys.seal_settle(done)).collect::<Result<_, _>>();
        sealed.map_or_else(refused, |done| self.store.settle(done))
    }

    fn schedules(&self) -> BoxFuture<'_, Result<Vec<StoredSchedule>, StoreError>> {
        Box::pin(async move {
            let schedules = self.store.schedules().await?;
            Ok(schedules.into_iter().map(|schedule| self.keys.open_schedule(schedule)).collect())
        })
    }

    fn put_schedule(&self, schedule: StoredSchedule) -> BoxFuture<'_, Result<(), StoreError>> {
        self.keys.seal_schedule(schedule).map_or_else(refused, |schedule| self.store.put_schedule(schedule))
    }

    fn fire(&self, due: Vec<Firing>) -> BoxFuture<'_, Result<Vec<Fired>, StoreError>> {
        let sealed = |firing: Firing| Ok(Firing { jobs: self.seal(firing.jobs)?, ..firing });
        let due = due.into_iter().map(sealed).collect::<Result<_, _>>();
        due.map_or_else(refused, |due| self.store.fire(due))
    }

    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()> {
        self.store.ready(queues)
    }
}

impl<S: Inspect> Inspect for EncryptedStore<S> {
    crate::forward_methods! { self => self.store;
        retry(id: JobId) -> bool;
        run_now(id: JobId) -> bool;
        delete(ids: Vec<JobId>) -> Vec<crate::store::DeleteOutcome>;
        pause(queue: Queue) -> bool;
        resume(queue: Queue) -> bool;
        limit_queue(queue: Queue, at_most: Option<u32>) -> Option<u32>;
        rate_queue(queue: Queue, rate: Option<crate::limit::Rate>) -> Option<crate::limit::Rate>;
        bound_queue(queue: Queue, capacity: Option<u32>) -> Option<u32>;
        keep_queues(prefix: Queue) -> bool;
        release_queues(prefix: Queue) -> bool;
        queues() -> Vec<crate::store::QueueInfo>;
        queues_up_to(entries: usize) -> crate::store::Queues;
        workers() -> Vec<crate::store::WorkerInfo>;
        pause_schedule(name: String) -> bool;
        resume_schedule(name: String) -> bool;
        remove_schedule(name: String) -> bool;
    }

    fn get(&self, id: JobId) -> BoxFuture<'_, Result<Option<StoredJob>, StoreError>> {
        Box::pin(async move { Ok(self.store.get(id).await?.map(|job| self.keys.open_stored(job))) })
    }

    fn list(
        &self,
        filter: JobFilter,
        order: Order,
        after: Option<i64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(async move {
            self.searchable(&filter)?;
            let Page { jobs, next } = self.store.list(filter, order, after, limit).await?;
            Ok(Page { jobs: jobs.into_iter().map(|job| self.keys.open_stored(job)).collect(), next })
        })
    }

    fn counts(&self, filter: JobFilter) -> BoxFuture<'_, Result<Counts, StoreError>> {
        self.searchable(&filter).map_or_else(refused, |()| self.store.counts(filter))
    }

    fn tally(&self, filter: JobFilter, after: Option<i64>, rows: usize) -> BoxFuture<'_, Result<Tally, StoreError>> {
        self.searchable(&filter).map_or_else(refused, |()| self.store.tally(filter, after, rows))
    }

    fn change_all(&self, change: Change, filter: JobFilter, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.searchable(&filter).map_or_else(refused, |()| self.store.change_all(change, filter, limit))
    }

    fn act_if(&self, id: JobId, seen: JobVersion, act: Act) -> BoxFuture<'_, Result<Acted, StoreError>> {
        Box::pin(async move {
            // The same args are other bytes each time they are sealed: what was seen is compared open, and what is sealed now
            // by the store.
            let Some(stored) = self.store.get(id).await? else { return Ok(Acted::NotFound) };
            let (sealed, parts) = (JobVersion::of(&stored), stored.job.parts.clone());
            if JobVersion::of(&self.keys.open_stored(stored)) != seen {
                return Ok(Acted::Changed);
            }
            let seal = |args: Bytes| {
                crate::store::check_new_args(&args, crate::DEFAULT_MAX_ARGS)?;
                self.keys.seal_edited(&parts, &args)
            };
            let act = match act {
                Act::Edit(args) => Act::Edit(seal(args)?),
                Act::EditAndRetry(args) => Act::EditAndRetry(seal(args)?),
                other => other,
            };
            self.store.act_if(id, sealed, act).await
        })
    }

    fn edit(&self, id: JobId, args: Bytes) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            crate::store::check_new_args(&args, crate::DEFAULT_MAX_ARGS)?;
            let Some(stored) = self.store.get(id).await? else { return Ok(false) };
            self.store.edit(id, self.keys.seal_edited(&stored.job.parts, &args)?).await
        })
    }
}
