use std::time::Duration;

use tokio::time::Instant;

/// Where the time of an execution went, up to now: the parts sum to [`total`](Self::total).
///
/// Read it with [`Context::timings`](crate::Context::timings), if the worker was built with `timings()`.
///
/// ```
/// use std::time::Duration;
/// use work_core::{Context, Job, LocalWorker, Router, Status, Worker};
///
/// async fn nap(context: Context) -> Status {
///     tokio::time::sleep(Duration::from_millis(20)).await;
///     let times = context.timings().unwrap_or_default();
///     assert!(times.executing >= Duration::from_millis(20));
///     assert_eq!(times.queued + times.throttled + times.waiting + times.executing, times.total);
///     Status::SUCCESS
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let worker = LocalWorker::builder(Router::new().route("nap", nap)).timings().build()?;
/// assert_eq!(worker.perform(Job::new("nap", ())).await?.outcome().await?.status(), Status::SUCCESS);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct JobTimings {
    /// From when it was due until a slot of the worker took it.
    pub queued: Duration,
    /// Held back by a rate limit.
    pub throttled: Duration,
    /// Waiting for a slot of a concurrency limit.
    pub waiting: Duration,
    /// The rest: layers and handler.
    pub executing: Duration,
    /// From when it was due until now.
    pub total: Duration,
}

/// What a context notes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) queued: Duration,
    pub(crate) started: Instant,
    pub(crate) throttled: Duration,
    pub(crate) waiting: Duration,
}

impl Times {
    pub(crate) fn started(queued: Duration) -> Self {
        Self { queued, started: Instant::now(), throttled: Duration::ZERO, waiting: Duration::ZERO }
    }

    pub(crate) fn until_now(&self) -> JobTimings {
        let Self { queued, throttled, waiting, .. } = *self;
        let running = self.started.elapsed();
        let executing = running.saturating_sub(throttled).saturating_sub(waiting);
        JobTimings { queued, throttled, waiting, executing, total: queued + throttled + waiting + executing }
    }
}
