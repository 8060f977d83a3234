mod every;
mod local;
mod overflow;
mod queue;
mod receive;

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, Interval, MissedTickBehavior};

pub use every::Recurring;
pub(crate) use local::Delayed;
pub use local::{LocalCounts, LocalWorker, LocalWorkerBuilder, Rescued};
pub use overflow::{OverflowCounts, OverflowWorker, OverflowWorkerBuilder};
pub use queue::{MAX_BATCH, QueueWorker, QueueWorkerBuilder};
pub(crate) use receive::log_refused;

use crate::{Chain, ChainHandle, Clock, InvalidJob, Job, JobHandle, JobId, Kind, PerformError, Schedule, Source};

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

    /// Performs jobs one after the other, see [`Chain`]. Returns once the first one is accepted, with the others inside.
    ///
    /// # Errors
    ///
    /// As [`perform`](Self::perform) for any of the jobs; and for a chain of fewer than two jobs, or of more than 1 MiB.
    ///
    /// # Cancel safety
    ///
    /// As [`perform`](Self::perform).
    fn perform_chain(&self, chain: Chain) -> impl Future<Output = Result<ChainHandle, PerformError>> + Send {
        async move {
            chain.jobs().iter().try_for_each(|job| self.accepts(job))?;
            let (first, steps) = chain.pack()?;
            Ok(ChainHandle::new(self.perform(first).await?, steps))
        }
    }

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

    /// Performs a job by a schedule, each run with an id of its own, until the worker stops or the answer is
    /// [cancelled](Recurring::cancel): of an interval at once and then each time, of a cron at its next slot. The schedule
    /// itself lives in this process.
    ///
    /// # Errors
    ///
    /// As [`perform`](Self::perform).
    fn perform_every(
        &self,
        job: Job,
        schedule: Schedule,
    ) -> impl Future<Output = Result<Recurring, PerformError>> + Send;

    /// Performs a job of this kind for each item of a [`Source`], with the item as its args, until the source ends, the
    /// worker stops or the answer is cancelled. Any stream is a source; for tokio's channels see [`source`](crate::source).
    ///
    /// Items are taken only while there is room for them, and what was taken is performed, also when this is stopped in
    /// the same moment.
    ///
    /// # Errors
    ///
    /// As [`perform`](Self::perform).
    fn perform_receive<T: Source>(
        &self,
        kind: impl Into<Kind> + Send,
        source: T,
    ) -> impl Future<Output = Result<Recurring, PerformError>> + Send;

    /// Whether a verb would take this job now, as far as that can be seen without asking a store.
    ///
    /// # Errors
    ///
    /// As [`perform`](Self::perform).
    fn accepts(&self, job: &Job) -> Result<(), PerformError>;

    /// Cancels a job: one that waits never runs, one that runs is told to stop.
    /// Answers whether there was anything to cancel.
    ///
    /// # Errors
    ///
    /// [`PerformError::Store`] if the store cannot be asked.
    fn cancel(&self, id: JobId) -> impl Future<Output = Result<bool, PerformError>> + Send;

    /// Accepts no more jobs, and waits for those that run; in memory also for those that wait. Jobs that are not due are
    /// dropped in memory, and kept on a store.
    ///
    /// A handler that awaits this waits for itself, for ever: let it spawn that.
    fn stop(&self) -> impl Future<Output = ()> + Send;

    /// As [`stop`](Self::stop), but after `grace` what still runs is told to stop, and what still waits is dropped in memory
    /// and kept on a store. Says what was cut off.
    fn stop_within(&self, grace: Duration) -> impl Future<Output = Stopped> + Send;
}

/// What a worker that stopped has cut off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Jobs that ran when the grace was over, and were told to stop.
    pub interrupted: Vec<(JobId, Kind)>,
    /// Jobs that were accepted in memory and never started, those that were not due included.
    pub unstarted: Vec<(JobId, Kind)>,
}

/// A setting of a worker that is out of its range.
pub(crate) fn check_range(option: &'static str, given: usize) -> Result<(), InvalidJob> {
    if (1..=1_000_000).contains(&given) { Ok(()) } else { Err(InvalidJob::out_of_range(option, given, "1 to 1000000")) }
}

pub(crate) fn check_interval(option: &'static str, given: Duration) -> Result<(), InvalidJob> {
    let long_enough = given >= Duration::from_millis(1);
    if long_enough { Ok(()) } else { Err(InvalidJob::out_of_range(option, format!("{given:?}"), "at least 1 ms")) }
}

/// Slot n is at start + n × interval, however late the one before was.
pub(crate) fn ticks(start: Instant, interval: Duration) -> Interval {
    let mut ticks =
        tokio::time::interval_at(start.checked_add(interval).unwrap_or_else(|| start + MAX_AHEAD), interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// The farthest that a job may be scheduled ahead: ten years.
pub(crate) const MAX_AHEAD: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Where `delay` from now leads.
pub(crate) fn check_delay(delay: Duration) -> Result<(), PerformError> {
    if delay > MAX_AHEAD {
        return Err(InvalidJob::out_of_range("delay", format!("{delay:?}"), "at most ten years").into());
    }
    Ok(())
}

/// What spawns needs a runtime, and would panic without one.
pub(crate) fn check_runtime() -> Result<(), PerformError> {
    // Most callers are tasks, and to ask for their id costs next to nothing.
    let inside = tokio::task::try_id().is_some() || tokio::runtime::Handle::try_current().is_ok();
    if inside { Ok(()) } else { Err(PerformError::NoRuntime) }
}

/// When a job says itself that it is due.
pub(crate) fn check_due(job: &Job, clock: &Clock) -> Result<(), PerformError> {
    match job.parts().scheduled_at {
        Some(at) if (at - clock.now()).to_std().is_ok_and(|ahead| ahead > MAX_AHEAD) => {
            Err(InvalidJob::out_of_range("scheduled_at", at, "at most ten years from now").into())
        }
        _ => Ok(()),
    }
}
