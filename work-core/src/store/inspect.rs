use bytes::Bytes;

use super::{
    Act, Acted, BoxFuture, CancelOutcome, Counts, JobFilter, JobVersion, Order, Page, QueueInfo, Queues, Store,
    StoredJob, Tally, WorkerInfo,
};
use crate::limit::Rate;
use crate::{JobId, Queue, StoreError};

/// What people look through and act on: never the hot path.
pub trait Inspect: Store {
    /// One job, if it is kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn get(&self, id: JobId) -> BoxFuture<'_, Result<Option<StoredJob>, StoreError>>;

    /// Jobs in the order of their arrival, from the start or after a page's [`next`](Page::next), at most `limit`.
    ///
    /// A page reads at most about 10,000 rows, however many there are and whatever the filter, beside the attempts of its
    /// jobs; see [`Page`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn list(
        &self,
        filter: JobFilter,
        order: Order,
        after: Option<i64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// How many jobs of a filter are in each state. Quick with a million jobs if the filter
    /// [is coarse](JobFilter::is_coarse); otherwise every job may be looked at, a part at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn counts(&self, filter: JobFilter) -> BoxFuture<'_, Result<Counts, StoreError>>;

    /// Counts a part of the jobs of a filter: in the order of their arrival, from the start or after a part's
    /// [`next`](Tally::next). About `rows` rows are read, or twice as many if the filter asks for anything.
    ///
    /// A job keeps its place for life, and a part is one look at the store. So all parts together count each job that was
    /// there all the time exactly once, in a state that it had meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn tally(&self, filter: JobFilter, after: Option<i64>, rows: usize) -> BoxFuture<'_, Result<Tally, StoreError>> {
        Box::pin(async move { Ok(Tally::of_page(&self.list(filter, Order::OldestFirst, after, rows).await?)) })
    }

    /// Makes a dead letter or a cancelled job available again, with one more attempt if it had none left.
    /// Answers whether it was one. If another job has its unique key by now, it stays where it is.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    fn retry(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Makes a job that waits for a later time due now. Answers whether it was one that waits.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    fn run_now(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Gives a job that does not run other arguments, as JSON. One that has ended is left so:
    /// [`retry`](Self::retry) it. Answers whether it was changed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the arguments are no JSON or too large, or if the store cannot be written.
    fn edit(&self, id: JobId, args: Bytes) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Acts on a job that is still what it was when it was seen: compared and done in one transaction, so that of two who
    /// saw the same only one acts.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if new arguments are no JSON or too large, or if the store cannot be written.
    fn act_if(&self, id: JobId, seen: JobVersion, act: Act) -> BoxFuture<'_, Result<Acted, StoreError>>;

    /// Forgets jobs that do not run, with all that is known of them.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; repeating the call is safe.
    fn delete(&self, ids: Vec<JobId>) -> BoxFuture<'_, Result<Vec<DeleteOutcome>, StoreError>>;

    /// Changes jobs of a filter, the oldest first and at most `limit`, and answers how many were changed. Jobs that
    /// the change does not suit are passed over.
    ///
    /// Done a part at a time, so that it holds up nobody: jobs that come to meet the filter meanwhile may be changed too.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; some of them may have been changed. Repeating the call goes on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the rest as it is.
    fn change_all(&self, change: Change, filter: JobFilter, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Leases nothing more from a queue, in any process, within a second. What runs goes on, and jobs are still
    /// accepted. Answers whether it was at work before.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the name is no name of a queue, or the store cannot be written.
    fn pause(&self, queue: Queue) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Leases from a queue again, and wakes the runners. Answers whether it was paused.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    fn resume(&self, queue: Queue) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Lets at most so many jobs of a queue be leased at once, by all runners together, or any number; from the next lease
    /// on, and whatever was [declared](Store::declare_limit). What is leased already goes on. Answers the limit before.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the name is no name of a queue, if the number is 0, or if the store cannot be written.
    fn limit_queue(&self, queue: Queue, at_most: Option<u32>) -> BoxFuture<'_, Result<Option<u32>, StoreError>>;

    /// Lets jobs of a queue start at no more than this rate, by all runners together, or at any; from the next lease on, and
    /// whatever was [declared](Store::declare_rate). Other queues with the same [name](Rate::named) get the same rate. Answers
    /// the rate before.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a name is none, or if the store cannot be written.
    fn rate_queue(&self, queue: Queue, rate: Option<Rate>) -> BoxFuture<'_, Result<Option<Rate>, StoreError>>;

    /// Lets at most so many jobs wait or run in a queue, from 1 to 10,000,000, or any number: an insert that does not fit is
    /// refused as a whole with [`QueueFull`](crate::QueueFull), whoever inserts, also while others do. What was accepted stays;
    /// the jobs that follow it, those of schedules and those that a person retries are taken whatever the number says. Answers
    /// the capacity before.
    ///
    /// The jobs are counted up to the capacity once for each commit that inserts into such a queue: what costs nothing for
    /// thousands takes milliseconds for a hundred thousand. A [key](Queue::of_key) of a queue is a queue of its own.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the name is no name of a queue, if the number is out of its range, or if the store cannot be written.
    fn bound_queue(&self, queue: Queue, capacity: Option<u32>) -> BoxFuture<'_, Result<Option<u32>, StoreError>>;

    /// [Forgets](Store::prune) no job of the queues whose names begin with this, by any runner's retention, until they are
    /// [released](Self::release_queues): for who needs jobs that have ended. Answers whether it was not kept before.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if no queue could begin so, or if the store cannot be written.
    fn keep_queues(&self, prefix: Queue) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Forgets jobs of these queues again. Answers whether they were kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    fn release_queues(&self, prefix: Queue) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// The queues by name: those that hold jobs that have not ended well, that are paused or limited, or that a worker
    /// drains.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, StoreError>>;

    /// The queues as [`queues`](Self::queues) tells them, counted only so far that about `entries` entries are read,
    /// however many jobs and queues there are. What was not counted to its end [says so](QueueInfo::at_least).
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn queues_up_to(&self, entries: usize) -> BoxFuture<'_, Result<Queues, StoreError>> {
        let _ = entries;
        Box::pin(async move { Ok(Queues { queues: self.queues().await?, complete: true }) })
    }

    /// The workers that were heard of in the last [minute](super::WorkerInfo::GONE_AFTER), by id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn workers(&self) -> BoxFuture<'_, Result<Vec<WorkerInfo>, StoreError>>;

    /// Makes no more jobs of a schedule until it is [resumed](Self::resume_schedule). Answers whether it was at work.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    fn pause_schedule(&self, name: String) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Makes jobs of a schedule again, from its next slot on: those of the pause are passed over. Answers whether it was
    /// paused.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    fn resume_schedule(&self, name: String) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Forgets a schedule; the jobs that it made stay. Answers whether there was one. A program that
    /// [keeps it](crate::QueueWorker::schedule) makes it again when it starts.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    fn remove_schedule(&self, name: String) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Makes a job of a schedule now, whatever its slots and whether it is paused. Answers which, if there is such a
    /// schedule.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read or written.
    fn run_schedule_now(&self, name: String) -> BoxFuture<'_, Result<Option<JobId>, StoreError>> {
        Box::pin(async move {
            let schedules = self.schedules().await?;
            let Some(schedule) = schedules.into_iter().find(|schedule| schedule.name == name) else { return Ok(None) };
            let inserted = self.insert(vec![schedule.run_now()]).await?;
            Ok(inserted.first().map(|inserted| inserted.id()))
        })
    }

    /// [Retries](Self::retry) jobs of a filter, as [`change_all`](Self::change_all).
    ///
    /// # Errors
    ///
    /// As [`change_all`](Self::change_all).
    fn retry_all(&self, filter: JobFilter, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.change_all(Change::Retry, filter, limit)
    }

    /// [Cancels](Store::cancel) jobs of a filter, as [`change_all`](Self::change_all).
    ///
    /// # Errors
    ///
    /// As [`change_all`](Self::change_all).
    fn cancel_all(&self, filter: JobFilter, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.change_all(Change::Cancel, filter, limit)
    }

    /// [Deletes](Self::delete) jobs of a filter, as [`change_all`](Self::change_all).
    ///
    /// # Errors
    ///
    /// As [`change_all`](Self::change_all).
    fn delete_all(&self, filter: JobFilter, limit: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.change_all(Change::Delete, filter, limit)
    }
}

/// What [`Inspect::change_all`] does with each job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Dead letters and cancelled jobs become available, see [`Inspect::retry`].
    Retry,
    /// Jobs that wait are cancelled, and those that run are asked to stop, see [`Store::cancel`].
    Cancel,
    /// Jobs that do not run are forgotten, see [`Inspect::delete`].
    Delete,
}

impl Change {
    /// The states that it changes.
    #[must_use]
    pub const fn states(self) -> &'static [crate::JobState] {
        use crate::JobState::{Available, Cancelled, Completed, Discarded, Running};
        match self {
            Self::Retry => &[Discarded, Cancelled],
            Self::Cancel => &[Available, Running],
            Self::Delete => &[Available, Completed, Discarded, Cancelled],
        }
    }

    /// The filter with the states that it changes, or `None` if it has none of them.
    #[must_use]
    pub fn narrowed(self, mut filter: JobFilter) -> Option<JobFilter> {
        let mut states = self.states().to_vec();
        states.retain(|state| filter.states.is_empty() || filter.states.contains(state));
        filter.states = states;
        (!filter.states.is_empty()).then_some(filter)
    }
}

/// What [`Inspect::delete`] did with one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeleteOutcome {
    /// It is gone.
    Deleted,
    /// It runs, and is kept: cancel it first.
    Running,
    /// No job has that id.
    NotFound,
}

impl CancelOutcome {
    /// True if the call changed something.
    #[must_use]
    pub const fn is_change(self) -> bool {
        matches!(self, Self::Cancelled | Self::Requested)
    }
}
