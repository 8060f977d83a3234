use crate::Status;

/// How many jobs of a worker are where, all seen in one moment.
///
/// `submitted` is always the sum of all the others.
///
/// ```
/// use work_core::{Job, LocalWorker, Router, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let worker = LocalWorker::new(Router::new().route("nothing", async || {}));
/// worker.perform(Job::new("nothing", ())).await?.outcome().await?;
/// let counts = worker.counts();
/// assert_eq!((counts.submitted, counts.succeeded, counts.ended()), (1, 1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LocalCounts {
    /// Accepted, ever.
    pub submitted: u64,
    /// Not due yet, retries included.
    pub delayed: u64,
    /// Due, without a slot.
    pub waiting: u64,
    /// In a slot.
    pub running: u64,
    /// Ended with 2xx or 444.
    pub succeeded: u64,
    /// Ended with any other status than 499.
    pub failed: u64,
    /// Ended with 499, or never ran because they were cancelled.
    pub cancelled: u64,
    /// Expired before they started.
    pub expired: u64,
    /// Handed out by [`rescue`](crate::LocalWorker::rescue).
    pub rescued: u64,
    /// Lost with the runtime, or when the worker stopped before they were due.
    pub dropped: u64,
}

impl LocalCounts {
    /// Jobs that are no longer this worker's.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled + self.expired + self.rescued + self.dropped
    }

    /// Jobs that are still this worker's.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.delayed + self.waiting + self.running
    }

    pub(super) const fn note(&mut self, status: Status) {
        if status.is_complete() {
            self.succeeded += 1;
        } else if status.code() == Status::CANCELLED.code() {
            self.cancelled += 1;
        } else {
            self.failed += 1;
        }
    }
}
