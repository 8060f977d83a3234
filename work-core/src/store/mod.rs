//! Where jobs are kept: the seam between the runtime and a store.
//!
//! [`Store`] is all that a runner needs, [`Inspect`] is what people look through. Every method takes a batch; every
//! change of a running job carries the fence token of its lease, and a store refuses one that is no longer current.

mod act;
mod check;
mod complete;
mod filter;
mod inspect;
mod lease;
mod memory;
mod operate;
mod schedule;
mod seal;
mod settle;
mod shared;
mod stored;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use act::{Act, Acted, JobVersion};
#[doc(no_inline)]
pub use bytes::Bytes;
pub use check::{MAX_CAPACITY, check_capacity, check_limit, check_new_args, check_queue, check_rate};
pub(crate) use complete::left_behind;
pub use complete::{CompleteError, Completing};
pub use filter::{ArgsField, JobFilter, Order, TimeRange};
pub use inspect::{Change, DeleteOutcome, Inspect};
pub use lease::{CancelOutcome, Fence, HandedOver, Lease, LeaseKey, Leased, Rescued, Want};
pub use memory::MemoryStore;
pub use operate::{QueueInfo, Queues, Retention, WorkerInfo};
pub use schedule::{Fired, Firing, SCHEDULE_HEADER, SLOT_HEADER, StoredSchedule, options_from_json, options_to_json};
pub(crate) use seal::Seal;
pub use settle::{ErrorRecord, MAX_ERROR_TEXT, Settle, Settled, Settlement};
pub use stored::{AttemptRecord, Counts, Page, StoredJob, Tally};

pub use crate::args::{MAX_JSON_DEPTH, json_depth};
pub use crate::compose::{GROUP_KIND, on_error_job};
use crate::limit::Rate;
use crate::{JobId, Parts, Queue, StoreError};

/// A future that a trait object can return: one allocation for a whole batch.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What [`Store::hand_over`] waits for as well. It is not polled again once it has resolved.
pub type Told<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send + 'a)>;

/// A job as a store keeps it: its parts, and its arguments as JSON.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Everything but the arguments.
    pub parts: Parts,
    /// The arguments as JSON text.
    pub args: Bytes,
}

/// What an insert did with one job of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored.
    New(JobId),
    /// A job with this id or this unique key is there already; nothing was stored. The id is the existing one's.
    Duplicate(JobId),
}

impl Inserted {
    /// The job that is in the store now.
    #[must_use]
    pub const fn id(self) -> JobId {
        match self {
            Self::New(id) | Self::Duplicate(id) => id,
        }
    }
}

/// A durable home of jobs.
///
/// A batch is all or nothing: one error for all of it, one answer a job otherwise, in the order given. "Now" is the
/// store's own clock, so that workers with wrong clocks agree. Implementations prove themselves with
/// `work_core::testing::conformance`.
///
/// # Cancel safety
///
/// Dropping a future of a store leaves either the whole batch done or none of it, and harms no later call.
pub trait Store: Send + Sync + 'static {
    /// Keeps new jobs. A job whose id or unique key is held already is not stored: the answer names the holder.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`is_unknown`](StoreError::is_unknown) if the batch may be stored all the same.
    fn insert(&self, jobs: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>, StoreError>>;

    /// Takes jobs that are due, by priority, then due time, then order of arrival, and counts an attempt for each.
    ///
    /// A job whose `expires_at` has passed, or whose attempts are used up, is discarded instead. Nothing is taken from a
    /// queue that is [paused](Inspect::pause), and of one that is [limited](Inspect::limit_queue) no more than that are
    /// running after it, whoever leases at the same time. Of a queue with a [rate](Inspect::rate_queue), no more are taken
    /// than there are permits: a permit is used up by each job that is taken, and by nothing else.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; leases that were taken all the same end by themselves, unless they are [taken back](Self::take_back).
    fn lease(&self, want: Want) -> BoxFuture<'_, Result<Leased, StoreError>>;

    /// Lets leases end `lease_for` from now instead, and answers those that are still held.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the leases keep their old end.
    fn extend(&self, leases: Vec<LeaseKey>, lease_for: Duration) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>>;

    /// Ends attempts, and then inserts what follows from each, in one transaction. A job that was asked to stop and is made
    /// available again is asked again when it runs again.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; repeating the batch is safe, a second settlement of one lease is refused.
    fn settle(&self, done: Vec<Settle>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>>;

    /// Those of these leases that ended by completing their job: for runners, when a handler completed it in a
    /// [transaction](Completing) of its own, and may or may not have committed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn completed(&self, leases: Vec<LeaseKey>) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>>;

    /// Takes back jobs whose lease has ended, at most `limit`: they become available, or dead letters if that
    /// happened `max_crashes` times. A dead letter that the store makes, here or in [`lease`](Self::lease), gets its
    /// [on-error job](on_error_job) in the same transaction; a job of kind [`GROUP_KIND`] is never made one here.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the next call finds them again.
    fn rescue(&self, limit: usize, max_crashes: u32) -> BoxFuture<'_, Result<Rescued, StoreError>>;

    /// Takes back what is leased to this worker but for these leases, with its attempt and not as a crash, and answers how
    /// many jobs that were: the answer to a [`lease`](Self::lease) was lost, and nobody runs what it named. A job that was
    /// asked to stop is left to [`rescue`](Self::rescue).
    ///
    /// # Errors
    ///
    /// [`StoreError`]; repeating the call is safe.
    fn take_back(&self, worker: String, held: Vec<LeaseKey>) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Cancels jobs. One that waits is cancelled at once; one that runs is told: through
    /// [`stop_requests`](Self::stop_requests), and through its next [`extend`](Self::extend), which no longer answers
    /// its lease.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; repeating the call is safe.
    fn cancel(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<CancelOutcome>, StoreError>>;

    /// Running jobs, of any worker, that were [asked to stop](Self::cancel). Each runner asks about twice a second while
    /// it holds leases, so that jobs stop within a second: keep it cheap.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn stop_requests(&self) -> BoxFuture<'_, Result<Vec<LeaseKey>, StoreError>>;

    /// Notes how much of the work of running jobs is done, from 0 to 1, and when the store heard of it. What comes of a
    /// lease that is no longer current is ignored. A job that is made available again has no progress.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the next progress replaces this one anyway.
    fn set_progress(&self, of: Vec<(LeaseKey, f32)>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Notes that a worker is alive, by its [id](WorkerInfo::id), with the store's own times. Workers that have been
    /// silent for [too long](WorkerInfo::GONE_AFTER) are forgotten.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the next beat says the same.
    fn beat(&self, worker: WorkerInfo) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Forgets a worker that stops.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; it is forgotten after a while all the same.
    fn leave(&self, worker: String) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Forgets jobs that ended so long ago that they are no longer to be kept, at most `limit`, and answers how many.
    /// Fewer than `limit` says that it has got to the end: what ended meanwhile before its place is found by the next call,
    /// which begins anew. Must not slow down leasing, however many there are.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the next call goes on.
    fn prune(&self, retention: Retention, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Lets at most so many jobs of a queue be leased at once, by all runners together, unless the queue has a limit
    /// already. Answers the limit that stands, so that who declared another one can be told.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the name is no name of a queue, if the number is 0, or if the store cannot be written. Repeating
    /// the call is safe.
    fn declare_limit(&self, queue: Queue, at_most: u32) -> BoxFuture<'_, Result<u32, StoreError>>;

    /// Lets jobs of a queue start at no more than this rate, by all runners together, unless the queue has one already, or its
    /// [name](Rate::named) is given to another rate. Answers the rate that stands, so that who declared another one can be told.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a name is none, or if the store cannot be written. Repeating the call is safe.
    fn declare_rate(&self, queue: Queue, rate: Rate) -> BoxFuture<'_, Result<Rate, StoreError>>;

    /// Keeps a schedule by its name. If there is one already, its job and its times are replaced; that it is paused and
    /// its last slot stay as they are. If the text of its times is another one, it begins anew: `created_at` is now, and
    /// there is no last slot.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; repeating the call is safe.
    fn put_schedule(&self, schedule: StoredSchedule) -> BoxFuture<'_, Result<(), StoreError>>;

    /// All schedules, by name. Each runner asks about once a second: keep it cheap.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn schedules(&self) -> BoxFuture<'_, Result<Vec<StoredSchedule>, StoreError>>;

    /// Deals with slots that are due. For each, in one transaction: only if the schedule is there, is not paused, and
    /// its last slot still is [`planned_after`](Firing::planned_after), the last slot becomes [`slot`](Firing::slot) and
    /// the jobs are inserted. So each slot is dealt with once, however many ask for it.
    ///
    /// If its [last job](StoredSchedule::last_job) is available or running, its [`Overlap`](crate::Overlap) decides: no
    /// job is inserted, or the last job is [cancelled](Self::cancel) first, or nothing of that.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; repeating the call is safe.
    fn fire(&self, due: Vec<Firing>) -> BoxFuture<'_, Result<Vec<Fired>, StoreError>>;

    /// Resolves when it is worth looking again: a job arrived, or some time has passed. Never fails.
    ///
    /// Whatever arrives after the first poll wakes it, so that a runner polls it once *before* it leases and misses nothing.
    fn ready<'a>(&'a self, queues: &'a [Queue]) -> BoxFuture<'a, ()>;

    /// Waits until `told` resolves, and answers nothing; or earlier, with jobs that were leased for `want` in the transaction that
    /// inserted them: an idle worker gets a job of its own process without a second commit. What is under way when `told` resolves
    /// is waited for, so that no later job overtakes it. Of jobs that were handed over, [`ready`](Self::ready) need not tell. The
    /// default hands over nothing.
    ///
    /// # Cancel safety
    ///
    /// What was leased for a future that is dropped is given back, with its attempt.
    fn hand_over<'a>(&'a self, want: Want, told: Told<'a>) -> BoxFuture<'a, Option<HandedOver>> {
        drop(want);
        Box::pin(async move {
            told.await;
            None
        })
    }
}
