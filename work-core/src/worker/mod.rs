mod every;
mod local;
mod local_run;
mod queue;

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_core::Stream;
use serde::Serialize;

pub use every::Recurring;
pub(crate) use local::check_range;
pub use local::{LocalWorker, LocalWorkerBuilder};
pub use queue::{QueueWorker, QueueWorkerBuilder};

use crate::{Job, JobHandle, JobId, Kind, PerformError, Schedule};

/// The verbs: perform a job now, at, in, every, or for each thing received.
///
/// [`LocalWorker`] keeps jobs in memory, [`QueueWorker`] on a store. A program that is written against this trait, or
/// just uses the same verbs, changes from one to the other by its constructor.
///
/// Each verb refuses a kind without handler, a job that no store would take, and a worker that has stopped.
pub trait Worker: Clone + Send + Sync + 'static {
    /// Performs a job now. Returns once it is accepted: in memory at once, on a store after the commit.
    ///
    /// # Errors
    ///
    /// [`PerformError`]; unless its store error says that the answer was lost, nothing was accepted.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the job accepted whole or not at all.
    fn perform(&self, job: Job) -> impl Future<Output = Result<JobHandle, PerformError>> + Send;

    /// Performs a job at an instant; one in the past is now.
    ///
    /// # Errors
    ///
    /// As [`perform`](Self::perform), and for an instant more than ten years away.
    fn perform_at(&self, job: Job, at: DateTime<Utc>) -> impl Future<Output = Result<JobHandle, PerformError>> + Send;

    /// Performs a job so long from now.
    ///
    /// # Errors
    ///
    /// As [`perform`](Self::perform), and for more than ten years.
    fn perform_in(&self, job: Job, delay: Duration) -> impl Future<Output = Result<JobHandle, PerformError>> + Send;

    /// Performs a job at once and then by a schedule, each run with an id of its own, until the worker stops or the
    /// answer is [cancelled](Recurring::cancel). The schedule itself lives in this process.
    ///
    /// # Errors
    ///
    /// As [`perform`](Self::perform).
    fn perform_every(
        &self,
        job: Job,
        schedule: Schedule,
    ) -> impl Future<Output = Result<Recurring, PerformError>> + Send;

    /// Performs a job of this kind for each item of a stream, with the item as its arguments, until the stream ends,
    /// the worker stops or the answer is cancelled. An item is taken only when there is room for it.
    ///
    /// # Errors
    ///
    /// As [`perform`](Self::perform).
    fn perform_receive<T>(
        &self,
        kind: impl Into<Kind> + Send,
        items: T,
    ) -> impl Future<Output = Result<Recurring, PerformError>> + Send
    where
        T: Stream<Item: Serialize + Send + Sync + 'static> + Send + 'static;

    /// Cancels a job: one that waits never runs, one that runs is told to stop.
    /// Answers whether there was anything to cancel.
    ///
    /// # Errors
    ///
    /// [`PerformError::Store`] if the store cannot be asked.
    fn cancel(&self, id: JobId) -> impl Future<Output = Result<bool, PerformError>> + Send;

    /// Accepts no more jobs, and waits for those that run; in memory also for those that wait.
    fn stop(&self) -> impl Future<Output = ()> + Send;
}

/// The farthest that a job may be scheduled ahead: ten years.
pub(crate) const MAX_AHEAD: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Where `delay` from now leads.
pub(crate) fn check_delay(delay: Duration) -> Result<(), PerformError> {
    if delay > MAX_AHEAD {
        return Err(crate::InvalidJob::out_of_range("delay", format!("{delay:?}"), "at most ten years").into());
    }
    Ok(())
}
